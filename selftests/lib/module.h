/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module, for programs that load it themselves
 */
#ifndef PARKCLOCK_SELFTESTS_MODULE_H
#define PARKCLOCK_SELFTESTS_MODULE_H

#define MODULE	"/lib/parkclock.ko"

/* Return 0 or the errno, negated. */
int load(const char *params);
int unload(void);

/* Where something of the module is still found after it was unloaded, or "" */
const char *what_is_left(void);

#endif
