/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a helper gives up: it prints why and aborts, which the harness reports as a failed
 * test.
 */
#ifndef PARKCLOCK_SELFTESTS_DIE_H
#define PARKCLOCK_SELFTESTS_DIE_H

/* Prints @what and errno. */
void die(const char *what) __attribute__((__noreturn__));

/* The same for a negated errno. */
void die_of(int err, const char *what) __attribute__((__noreturn__));

#endif
