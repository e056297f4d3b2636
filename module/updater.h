/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The updater: keeps the page fresh while somebody holds a reference.
 */
#ifndef PARKCLOCK_UPDATER_H
#define PARKCLOCK_UPDATER_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/compiler.h>
#include <linux/parkclock.h>
#include <linux/types.h>

#include "refs.h"
#include "timebase.h"

/* Reasons why the updater is stopped. It runs when no reason is left. */
#define PARKCLOCK_STOP_UNLOADED	BIT(0)
#define PARKCLOCK_STOP_DISABLED	BIT(1)
#define PARKCLOCK_STOP_SUSPEND	BIT(2)

int parkclock_updater_init(void);
void parkclock_updater_exit(void);
void parkclock_updater_start(unsigned int reason);
void parkclock_updater_stop(unsigned int reason);
void parkclock_updater_set(unsigned int *parameter, unsigned int value);

void parkclock_updater_now(struct parkclock_now *now);
int parkclock_updater_read(const struct parkclock_clock *clock, int clock_id,
			   struct parkclock_reading *r);
void parkclock_updater_query(struct parkclock_query *q);
void parkclock_updater_query_others(struct parkclock_query *q);

/* Used by parkclock_updater_get() only. */
extern atomic_t parkclock_updater_state;

bool parkclock_updater_get_slow(void);

/**
 * parkclock_updater_get() - take a reference
 * @cycles: the counter now
 *
 * The page is valid when this returns, and a timer keeps it valid until the matching put;
 * except where the page cannot be valid (STOPPED, or a counter that may not be used).
 *
 * Context: any but NMI, also under a run-queue lock.
 * Return: true if this has woken the updater.
 */
static __always_inline bool parkclock_updater_get(u64 cycles)
{
	parkclock_refs_get();	/* has a full barrier */
	if (likely(atomic_read_acquire(&parkclock_updater_state) == PARKCLOCK_ACTIVE &&
		   !parkclock_timebase_stale(cycles)))
		return false;
	return parkclock_updater_get_slow();
}

/**
 * parkclock_updater_put() - drop a reference
 *
 * Context: any.
 */
static inline void parkclock_updater_put(void)
{
	parkclock_refs_put();
}

#endif
