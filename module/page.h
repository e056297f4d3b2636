/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Page 0 of a clock's mapping, and how it changes.
 */
#ifndef PARKCLOCK_PAGE_H
#define PARKCLOCK_PAGE_H

#include <linux/compiler.h>
#include <linux/parkclock.h>
#include <linux/types.h>

#include "guest.h"

struct page;

/**
 * struct parkclock_page_follower - somebody who is told of each change of a page 0
 * @changed: called after the change, under parkclock_timebase_lock
 */
struct parkclock_page_follower {
	void (*changed)(struct parkclock_page_follower *follower);
};

/**
 * struct parkclock_page - page 0 of a clock's mapping
 * @page:     the page
 * @map:      its contents; changed under both parkclock_timebase_lock and the clock's lock
 * @moved_ns: by how much its owner has set MONOTONIC and BOOTTIME so far; changed with the page
 * @guest:    the guest whose counter the page is for; changed with the page
 * @follower: who is told of a change, or NULL; set under parkclock_timebase_lock
 */
struct parkclock_page {
	struct page *page;
	struct parkclock_clock *map;
	s64 moved_ns[PARKCLOCK_CLOCKS];
	struct parkclock_guest guest;
	struct parkclock_page_follower *follower;
};

/**
 * struct parkclock_change - what a page 0 becomes
 * @conditions:	       PARKCLOCK_STATE_*
 * @generation:	       see struct parkclock_clock
 * @monotonic_ns:      offset of MONOTONIC
 * @boottime_ns:       offset of BOOTTIME
 * @moved_ns:	       see struct parkclock_page
 * @guest:	       the guest whose counter the page will be for
 * @guest_disruptions: see struct parkclock_clock
 *
 * The offsets of REALTIME and TAI never change.
 */
struct parkclock_change {
	u64 conditions;
	u64 generation;
	s64 monotonic_ns;
	s64 boottime_ns;
	s64 moved_ns[PARKCLOCK_CLOCKS];
	struct parkclock_guest guest;
	u64 guest_disruptions;
};

/**
 * struct parkclock_look - what a clock read, and how it was set then
 * @ns:	       the time; not if the clock is stopped
 * @offset_ns: offset of the clock id in the page
 * @moved_ns:  of the clock id, see struct parkclock_page
 * @behind_ns: the host's clock has to go on for so long before the time does
 */
struct parkclock_look {
	s64 ns;
	s64 behind_ns;
	s64 offset_ns;
	s64 moved_ns;
};

int parkclock_page_create(struct parkclock_page *page);
void parkclock_page_destroy(struct parkclock_page *page);
struct parkclock_change parkclock_page_as_it_is(const struct parkclock_page *page);
bool parkclock_page_change(struct parkclock_page *page, const struct parkclock_change *to);
int parkclock_page_look(const struct parkclock_page *page, int clock_id,
			struct parkclock_look *look);
void parkclock_page_follow(struct parkclock_page *page, struct parkclock_page_follower *follower);

/**
 * parkclock_page_stopped() - does the page say that its clock is stopped?
 * @page: the page
 *
 * Context: any. Without one of the locks that protect the page, the answer can be out of
 * date.
 */
static inline bool parkclock_page_stopped(const struct parkclock_page *page)
{
	return READ_ONCE(page->map->state) & PARKCLOCK_STATE_STOPPED;
}

#endif
