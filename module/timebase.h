/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The timebase: the page with the host's time, and its only writer.
 */
#ifndef PARKCLOCK_TIMEBASE_H
#define PARKCLOCK_TIMEBASE_H

#include <linux/compiler.h>
#include <linux/spinlock.h>
#include <linux/parkclock.h>

#include "segment.h"

struct page;

/*
 * Serialises everything that is done to the timebase, and the updater's changes
 * of state that go with it. It is taken with interrupts disabled, also under a
 * run-queue lock, hence raw. Under it: the host's clock is read, and an hrtimer
 * started (which takes the timer base's lock).
 */
extern raw_spinlock_t parkclock_timebase_lock;

/**
 * struct parkclock_now - the host's clocks, all at one instant
 * @cycles:	value of the counter; 0 if the host does not keep time by it
 * @ns:		what they say
 * @error_ns:	bound of the error
 * @generation:	number of their discontinuities
 */
struct parkclock_now {
	u64 cycles;
	s64 ns[PARKCLOCK_CLOCKS];
	u64 error_ns;
	u64 generation;
};

int parkclock_timebase_init(void);
void parkclock_timebase_exit(void);

struct page *parkclock_timebase_page(void);
struct parkclock_timebase *parkclock_timebase_get(void);

bool parkclock_timebase_refresh(enum parkclock_refresh how);
void parkclock_timebase_invalidate(void);
void parkclock_timebase_check_epoch(void);
bool parkclock_timebase_now_page(struct parkclock_now *now);
void parkclock_timebase_now_host(struct parkclock_now *now);
void parkclock_timebase_query(struct parkclock_query *q);
void parkclock_timebase_accuracy(struct parkclock_accuracy *a);
u64 parkclock_timebase_ns(u64 cycles);
u64 parkclock_timebase_disruptions(void);
const struct parkclock_segment *parkclock_timebase_valid(u64 cycles, u64 *rate_error);
u64 parkclock_timebase_interval(void);

/* What is in the page, for parkclock_timebase_stale() alone; written under the lock. */
extern struct parkclock_window {
	u64 end;			/* 0: none */
	u64 epoch;
	const __u64 *page_epoch;	/* constant */
} parkclock_window;

/**
 * parkclock_timebase_stale() - is there no time in the page, for want of a refresh?
 * @cycles: the counter now
 *
 * Because its window has ended, it has none, or the host's clock has changed and
 * the refresh that this brings has not come yet.
 *
 * Context: any. Without the lock it may be about a page that is just replaced.
 */
static inline bool parkclock_timebase_stale(u64 cycles)
{
	return (s64)(cycles - READ_ONCE(parkclock_window.end)) >= 0 ||
	       READ_ONCE(parkclock_window.epoch) != READ_ONCE(*parkclock_window.page_epoch);
}

#endif
