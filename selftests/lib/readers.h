/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Threads on all CPUs that read all the while
 */
#ifndef PARKCLOCK_SELFTESTS_READERS_H
#define PARKCLOCK_SELFTESTS_READERS_H

#include <stdbool.h>
#include <stdint.h>

#include "look.h"

/* Starts them: by the page only, where READ would wake what is to be left parked or idle. */
void start_readers(bool page_only);

/* How many of their readings so far have come to that */
uint64_t readers_saw(enum seen what);

/* Waits until each of them has looked so often since it was started, or has found a bug. */
bool readers_have_looked(uint64_t times);

/* Ends them. Returns what one of them has found, or "". */
const char *stop_readers(void);

#endif
