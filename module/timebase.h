/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The timebase: the page with the host's time, and its only writer.
 */
#ifndef PARKCLOCK_TIMEBASE_H
#define PARKCLOCK_TIMEBASE_H

#include <linux/compiler.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/parkclock.h>

#include "segment.h"

struct page;

/*
 * Serialises all that is done to the timebase and to the clocks' pages. Raw, because it is
 * taken with interrupts disabled, under a run-queue lock, and within an update of the
 * timekeeper. It is the innermost lock. Under it nobody reads the time, except by
 * parkclock_host_sample(), and nobody emits a trace event: see timebase.c. It is released by
 * parkclock_timebase_unlock(), which traces what was recorded.
 */
extern raw_spinlock_t parkclock_timebase_lock;

/**
 * struct parkclock_now - the host's clocks, all at one instant
 * @cycles:	value of the counter; 0 if the host does not keep time by it
 * @ns:		times of the clocks, in ns
 * @error_ns:	bound of their error
 * @generation:	number of discontinuities of the host's clocks
 */
struct parkclock_now {
	u64 cycles;
	s64 ns[PARKCLOCK_CLOCKS];
	u64 error_ns;
	u64 generation;
};

/**
 * struct parkclock_follower - somebody who is told of each change of the segment
 * @link:    in the timebase's list
 * @changed: called after the change, under parkclock_timebase_lock
 */
struct parkclock_follower {
	struct list_head link;
	void (*changed)(void);
};

int parkclock_timebase_init(void);
void parkclock_timebase_exit(void);

struct page *parkclock_timebase_page(void);
struct parkclock_timebase *parkclock_timebase_map(void);

void parkclock_timebase_trace(void);
bool parkclock_timebase_refresh(enum parkclock_refresh how);
void parkclock_timebase_invalidate(void);
void parkclock_timebase_check_epoch(void);
bool parkclock_timebase_now_page(struct parkclock_now *now);
void parkclock_timebase_now_host(const struct parkclock_sample *sample,
				 struct parkclock_now *now);
void parkclock_timebase_look(const struct parkclock_sample *sample, struct parkclock_now *now);
void parkclock_timebase_query(struct parkclock_query *q);
void parkclock_timebase_accuracy(struct parkclock_accuracy *a);
u64 parkclock_timebase_ns(u64 cycles);
u64 parkclock_timebase_cycles(u64 ns);
u64 parkclock_timebase_host_ns(u64 cycles);
u64 parkclock_timebase_disruptions(void);
const struct parkclock_segment *parkclock_timebase_valid(u64 cycles, u64 *rate_error);
u64 parkclock_timebase_interval(void);
void parkclock_timebase_follow(struct parkclock_follower *follower);
void parkclock_timebase_unfollow(struct parkclock_follower *follower);

/* For the two functions below only. */
extern unsigned int parkclock_timebase_recorded;

/**
 * parkclock_timebase_unlock() - release parkclock_timebase_lock, and trace what was recorded
 * @flags: as raw_spin_lock_irqsave() left them
 *
 * Context: not within an update of the timekeeper.
 */
static inline void parkclock_timebase_unlock(unsigned long flags)
{
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
	if (unlikely(READ_ONCE(parkclock_timebase_recorded)))
		parkclock_timebase_trace();
}

/**
 * parkclock_timebase_unlock_nested() - parkclock_timebase_unlock(), interrupts stay disabled
 *
 * Context: not within an update of the timekeeper.
 */
static inline void parkclock_timebase_unlock_nested(void)
{
	raw_spin_unlock(&parkclock_timebase_lock);
	if (unlikely(READ_ONCE(parkclock_timebase_recorded)))
		parkclock_timebase_trace();
}

/* Window of the published segment, for parkclock_timebase_stale(); written under the lock. */
extern struct parkclock_window {
	u64 end;			/* 0: none */
	u64 epoch;
	const __u64 *page_epoch;	/* constant */
} parkclock_window;

/**
 * parkclock_timebase_stale() - would a refresh give the page a time that it lacks?
 * @cycles: the counter now
 *
 * A page is stale if its window has ended, if it has no window, or if the host's clock has
 * changed and the refresh that follows the change has not come yet.
 *
 * Context: any. Without the lock the answer may be about a page that is just being replaced.
 */
static inline bool parkclock_timebase_stale(u64 cycles)
{
	return (s64)(cycles - READ_ONCE(parkclock_window.end)) >= 0 ||
	       READ_ONCE(parkclock_window.epoch) != READ_ONCE(*parkclock_window.page_epoch);
}

#endif
