// SPDX-License-Identifier: GPL-2.0
/*
 * The values of the module parameters.
 */
#include "config.h"

#define DEFAULT(name, least, most, def, text)	.name = (def),

struct parkclock_config parkclock_config = {
	PARKCLOCK_PARAMETERS(DEFAULT)
};
