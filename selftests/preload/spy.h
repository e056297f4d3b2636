/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PARKCLOCK_SELFTESTS_SPY_H
#define PARKCLOCK_SELFTESTS_SPY_H

#include <stdatomic.h>
#include <stdbool.h>

/*
 * The environment variable with the number of a descriptor that may be told of the host's
 * counters, for a program whose user may not
 */
#define COUNTERS "PARKCLOCK_COUNTERS"

/**
 * struct spy - what spy.c has seen; "spy" in the dynamic symbols
 * @ours:	   calls that libc got, though they are not for it
 * @others:	   calls that are for libc
 * @early_is_right: the first calls of all were answered with the time
 */
struct spy {
	atomic_ulong ours;
	atomic_ulong others;
	bool early_is_right;
};

#endif
