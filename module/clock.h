/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A clock: what one open of the device has for itself.
 */
#ifndef PARKCLOCK_CLOCK_H
#define PARKCLOCK_CLOCK_H

#include <linux/mutex.h>
#include <linux/parkclock.h>

#include "tasks.h"

struct page;

/**
 * struct parkclock - a clock
 * @page:  page 0 of its mapping
 * @map:   the same, for the kernel
 * @lock:  protects @holds
 * @holds: number of references to the updater held through this clock
 * @tasks: those that are registered with it
 */
struct parkclock {
	struct page *page;
	struct parkclock_clock *map;
	struct mutex lock;	/* holds */
	unsigned int holds;
	struct parkclock_tasks tasks;
};

struct parkclock *parkclock_clock_create(void);
void parkclock_clock_destroy(struct parkclock *clock);
int parkclock_clock_hold(struct parkclock *clock);
int parkclock_clock_release(struct parkclock *clock);
void parkclock_clock_query(struct parkclock *clock, struct parkclock_query *q);

#endif
