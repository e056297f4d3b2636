// SPDX-License-Identifier: GPL-2.0
/*
 * Page 0 of a clock's mapping, and how it changes.
 *
 * The page says how its clock differs from the host's clocks. Readers may be anywhere in
 * it when it changes. So a condition bit announces a change, and a count in the same word
 * ends it: a reader that reads meanwhile has no time, or starts again. The change is made
 * under the timebase's lock. So the slow path sees all of it or nothing, and no change
 * takes long.
 */
#include <linux/errno.h>
#include <linux/gfp.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/time_namespace.h>
#include <linux/time64.h>

#include "host.h"
#include "page.h"
#include "timebase.h"

/* By how much clock_gettime() differs for the caller, because of its time namespace. */
static void take_timens_offsets(s64 *offset_ns)
{
	struct timespec64 monotonic = {}, boottime = {};

	timens_add_monotonic(&monotonic);
	timens_add_boottime(&boottime);
	offset_ns[PARKCLOCK_MONOTONIC] = timespec64_to_ns(&monotonic);
	offset_ns[PARKCLOCK_BOOTTIME] = timespec64_to_ns(&boottime);
}

/**
 * parkclock_page_create() - create a page 0 that reads as clock_gettime() does here
 * @page: zeroed; filled in
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: 0 or -ENOMEM.
 */
int parkclock_page_create(struct parkclock_page *page)
{
	page->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page->page)
		return -ENOMEM;
	page->guest = PARKCLOCK_NO_GUEST;
	page->map = page_address(page->page);
	page->map->magic = PARKCLOCK_CLOCK_MAGIC;
	page->map->version = PARKCLOCK_VERSION;
	page->map->size = sizeof(*page->map);
	page->map->timebase = PARKCLOCK_PAGE_SIZE;
	take_timens_offsets(page->map->offset_ns);
	return 0;
}

/**
 * parkclock_page_destroy() - let go of the page
 * @page: the page; whoever has pinned its memory keeps that
 *
 * Context: any.
 */
void parkclock_page_destroy(struct parkclock_page *page)
{
	put_page(page->page);
}

/**
 * parkclock_page_as_it_is() - the change that changes nothing
 * @page: the page
 *
 * Context: any; for a whole answer, parkclock_timebase_lock or the clock's lock held.
 */
struct parkclock_change parkclock_page_as_it_is(const struct parkclock_page *page)
{
	const struct parkclock_clock *map = page->map;
	struct parkclock_change c = {
		.conditions = map->state & PARKCLOCK_STATE_CONDITIONS,
		.generation = map->generation,
		.monotonic_ns = map->offset_ns[PARKCLOCK_MONOTONIC],
		.boottime_ns = map->offset_ns[PARKCLOCK_BOOTTIME],
		.guest = page->guest,
		.guest_disruptions = map->guest_disruptions,
	};

	memcpy(c.moved_ns, page->moved_ns, sizeof(c.moved_ns));
	return c;
}

/**
 * parkclock_page_change() - change the page
 * @page: the page
 * @to:   what the page becomes
 *
 * Context: may sleep; the clock's lock held, so that there is one change at a time.
 * Return: true if the generation has changed; then the caller wakes those who wait for
 * that.
 */
bool parkclock_page_change(struct parkclock_page *page, const struct parkclock_change *to)
{
	struct parkclock_clock *map = page->map;
	bool jumps = to->generation != map->generation;
	unsigned long flags;
	u64 changes;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	changes = (map->state | PARKCLOCK_STATE_CONDITIONS) + 1;
	WRITE_ONCE(map->state, map->state | PARKCLOCK_STATE_CHANGING);
	/*
	 * The announcement before the change; pairs with the order in which readers
	 * load. A reader that has loaded a new value finds another state at its end.
	 */
	smp_wmb();
	WRITE_ONCE(map->generation, to->generation);
	WRITE_ONCE(map->offset_ns[PARKCLOCK_MONOTONIC], to->monotonic_ns);
	WRITE_ONCE(map->offset_ns[PARKCLOCK_BOOTTIME], to->boottime_ns);
	WRITE_ONCE(page->moved_ns[PARKCLOCK_MONOTONIC], to->moved_ns[PARKCLOCK_MONOTONIC]);
	WRITE_ONCE(page->moved_ns[PARKCLOCK_BOOTTIME], to->moved_ns[PARKCLOCK_BOOTTIME]);
	WRITE_ONCE(map->guest_offset, to->guest.offset);
	WRITE_ONCE(map->guest_inverse, to->guest.inverse);
	WRITE_ONCE(map->guest_shift, to->guest.inverse_shift);
	WRITE_ONCE(map->guest_lag, to->guest.lag);
	WRITE_ONCE(map->guest_disruptions, to->guest_disruptions);
	/* The whole change before its end; pairs with the readers' acquire of the state. */
	smp_store_release(&map->state, changes | to->conditions);
	page->guest = to->guest;
	if (page->follower)
		page->follower->changed(page->follower);
	parkclock_timebase_unlock(flags);
	return jumps;
}

/* The slow part of parkclock_page_look(). */
static int look_slow(const struct parkclock_page *page, int index, struct parkclock_look *look)
{
	struct parkclock_sample sample;
	struct parkclock_now now;
	unsigned long flags;
	int err = 0;

	look->behind_ns = 0;
	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	if (!parkclock_timebase_now_page(&now)) {
		if (!parkclock_host_sample(&sample)) {
			/* Not under the lock. */
			parkclock_timebase_unlock(flags);
			parkclock_host_sample_slow(&sample);
			raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
		}
		if (!parkclock_timebase_now_page(&now)) {
			parkclock_timebase_look(&sample, &now);
			look->behind_ns = now.error_ns;
		}
	}
	look->offset_ns = page->map->offset_ns[index];
	look->moved_ns = page->moved_ns[index];
	look->ns = now.ns[index] + look->offset_ns;
	if (page->map->state & PARKCLOCK_STATE_STOPPED)
		err = -ENODATA;
	parkclock_timebase_unlock(flags);
	return err;
}

/**
 * parkclock_page_look() - read a clock without waking the updater
 * @page:     the page
 * @clock_id: one that parkclock_index() knows
 * @look:     filled in; no later reading is less than @look->ns, as after a READ
 *
 * Context: any but NMI, and not within an update of the timekeeper; parkclock_timebase_lock is
 * not held.
 * Return: 0, or -ENODATA if the clock is stopped: then there is no time.
 */
int parkclock_page_look(const struct parkclock_page *page, int clock_id,
			struct parkclock_look *look)
{
	const int index = parkclock_index(clock_id);
	u64 state;

	/* Pairs with the release in parkclock_page_change(). */
	state = smp_load_acquire(&page->map->state);
	look->ns = __parkclock_read(page->map, parkclock_timebase_map(), clock_id, 1, 0, NULL);
	look->offset_ns = READ_ONCE(page->map->offset_ns[index]);
	look->moved_ns = READ_ONCE(page->moved_ns[index]);
	look->behind_ns = 0;
	/* What was read, then the state; pairs with the announcement there. */
	smp_rmb();
	if (look->ns >= 0 && READ_ONCE(page->map->state) == state)
		return 0;
	return look_slow(page, index, look);
}

/**
 * parkclock_page_follow() - set who is told of each change
 * @page:     the page
 * @follower: the follower
 *
 * Context: any but NMI. Called at most once for a page.
 */
void parkclock_page_follow(struct parkclock_page *page, struct parkclock_page_follower *follower)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	page->follower = follower;
	parkclock_timebase_unlock(flags);
}
