/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Saved clocks: is one whole, and is it in range?
 */
#ifndef PARKCLOCK_SAVED_H
#define PARKCLOCK_SAVED_H

#include <linux/parkclock.h>

void parkclock_saved_seal(struct parkclock_saved *saved);
int parkclock_saved_check(const struct parkclock_saved *saved);

#endif
