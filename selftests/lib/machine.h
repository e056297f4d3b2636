/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The machine that the tests run in: how much of what takes long it is to do, and what it
 * can be asked for
 */
#ifndef PARKCLOCK_SELFTESTS_MACHINE_H
#define PARKCLOCK_SELFTESTS_MACHINE_H

#include <stdbool.h>
#include <stdlib.h>

/* How much of what takes long: @n, or a tenth of it with BRIEF=1 */
unsigned int scaled(unsigned int n);

/* Does the kernel look at every access, or lock? Then it is slow. */
bool has_checkers(void);

/* As SKIP(): @statement leaves the test. */
#define NEEDS_ANSWERS(statement) do { \
	if (!getenv("PARKCLOCK_ASKED")) \
		SKIP(statement, "needs \"make check\", which does things to the machine"); \
} while (0)

/*
 * Asks for something to be done to the machine; vm/run has the list. When this returns,
 * init has passed the question on: if the machine falls asleep now, init is not frozen
 * with the question in its hands.
 */
void request(const char *what);

#endif
