/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The timebase: the page with the host's time, and its only writer.
 */
#ifndef PARKCLOCK_TIMEBASE_H
#define PARKCLOCK_TIMEBASE_H

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

int parkclock_timebase_init(void);
void parkclock_timebase_exit(void);

struct page *parkclock_timebase_page(void);
const struct parkclock_timebase *parkclock_timebase_get(void);
__u64 *parkclock_timebase_epoch(void);

bool parkclock_timebase_refresh(enum parkclock_refresh how);
void parkclock_timebase_invalidate(void);
void parkclock_timebase_check_epoch(void);
bool parkclock_timebase_stale(void);
void parkclock_timebase_read_host(const struct parkclock_clock *clock, int index,
				  struct parkclock_reading *r);
void parkclock_timebase_query(struct parkclock_query *q);

#endif
