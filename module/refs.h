/* SPDX-License-Identifier: GPL-2.0 */
/*
 * References to the updater, counted per CPU.
 */
#ifndef PARKCLOCK_REFS_H
#define PARKCLOCK_REFS_H

#include <linux/types.h>

void parkclock_refs_get(void);
void parkclock_refs_put(void);
unsigned long parkclock_refs_held(void);

#endif
