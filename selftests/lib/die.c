// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"

void die(const char *what)
{
	fprintf(stderr, "# %s: %s\n", what, strerror(errno));
	abort();
}

void die_of(int err, const char *what)
{
	errno = -err;
	die(what);
}
