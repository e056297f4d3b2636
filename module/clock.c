// SPDX-License-Identifier: GPL-2.0
/*
 * A clock: what one open of the device has for itself.
 *
 * Its page is written once, before anybody can map it.
 */
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/time64.h>
#include <linux/time_namespace.h>
#include <asm/msr.h>

#include "clock.h"
#include "updater.h"

/* Where clock_gettime() differs for the caller, because of its time namespace. */
static void take_timens_offsets(s64 *offset_ns)
{
	struct timespec64 monotonic = {}, boottime = {};

	timens_add_monotonic(&monotonic);
	timens_add_boottime(&boottime);
	offset_ns[PARKCLOCK_MONOTONIC] = timespec64_to_ns(&monotonic);
	offset_ns[PARKCLOCK_BOOTTIME] = timespec64_to_ns(&boottime);
}

/**
 * parkclock_clock_create() - a clock that reads as clock_gettime() does here
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: the clock, or an ERR_PTR: -ENOMEM.
 */
struct parkclock *parkclock_clock_create(void)
{
	struct parkclock *clock = kzalloc(sizeof(*clock), GFP_KERNEL_ACCOUNT);

	if (!clock)
		return ERR_PTR(-ENOMEM);
	clock->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!clock->page) {
		kfree(clock);
		return ERR_PTR(-ENOMEM);
	}
	mutex_init(&clock->lock);
	parkclock_tasks_create(&clock->tasks);
	clock->map = page_address(clock->page);
	clock->map->magic = PARKCLOCK_CLOCK_MAGIC;
	clock->map->version = PARKCLOCK_VERSION;
	clock->map->size = sizeof(*clock->map);
	clock->map->timebase = PARKCLOCK_PAGE_SIZE;
	take_timens_offsets(clock->map->offset_ns);
	return clock;
}

/**
 * parkclock_clock_destroy() - the last descriptor and mapping are gone
 * @clock: the clock; its page lives on for whoever has pinned it
 *
 * Context: may sleep.
 */
void parkclock_clock_destroy(struct parkclock *clock)
{
	parkclock_tasks_destroy(&clock->tasks);
	while (clock->holds--)
		parkclock_updater_put();
	mutex_destroy(&clock->lock);
	put_page(clock->page);
	kfree(clock);
}

/**
 * parkclock_clock_hold() - take a reference that counts per clock
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -EOVERFLOW if there are PARKCLOCK_HOLD_MAX already.
 */
int parkclock_clock_hold(struct parkclock *clock)
{
	int err = 0;

	mutex_lock(&clock->lock);
	if (clock->holds == PARKCLOCK_HOLD_MAX) {
		err = -EOVERFLOW;
	} else {
		clock->holds++;
		parkclock_updater_get(rdtsc());
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_release() - give one back
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -ENOENT if there is none.
 */
int parkclock_clock_release(struct parkclock *clock)
{
	int err = 0;

	mutex_lock(&clock->lock);
	if (!clock->holds) {
		err = -ENOENT;
	} else {
		clock->holds--;
		parkclock_updater_put();
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_query() - what a clock adds to the updater's answer
 * @clock: the clock
 * @q:     as parkclock_updater_query() left it
 *
 * Context: may sleep.
 */
void parkclock_clock_query(struct parkclock *clock, struct parkclock_query *q)
{
	mutex_lock(&clock->lock);
	q->holds = clock->holds;
	mutex_unlock(&clock->lock);
	q->generation += clock->map->generation;
	parkclock_tasks_query(&clock->tasks, q);
}
