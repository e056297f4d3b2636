/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Is a reading right? It is held against the host's clock.
 */
#ifndef PARKCLOCK_SELFTESTS_LOOK_H
#define PARKCLOCK_SELFTESTS_LOOK_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/parkclock.h>

#include "clock.h"

/* Is the reading what the host's clock read between @t0 and @t1? */
bool within_bound(const struct parkclock_reading *r, int64_t t0, int64_t t1);

/* Is a READ right, by clock_gettime()? Prints it if it is not. */
bool slow_read_is_right(int fd, int clock_id);

/* What comes of a reading that is held against the host's clock */
enum seen {
	REFUSED,	/* the page had no time */
	CHANGED,	/* the host's clock changed meanwhile, so nobody knows */
	RIGHT,
	WRONG,		/* and what is wrong is printed */
	SEEN_KINDS
};

/*
 * Reads by the page or by READ, and holds that against the kernel's own clock: a reading
 * that belongs to the same epoch before and after must be right. Fills in @r, unless the
 * page has no time.
 */
enum seen look(const struct pclock *c, int id, bool by_page, struct parkclock_reading *r);

/* Looks until the host's clock does not change meanwhile. */
enum seen look_again(const struct pclock *c, int id, bool by_page);

/*
 * With a reference: is every clock right, by READ, and by the page too if the host keeps
 * time by the counter? A page that has expired may come back first: where the window is
 * short the machine may stand still for longer, and the timer comes a moment later.
 */
bool right_now(const struct pclock *c);

/* Wakes the updater, if it is parked. Are the first readings right? */
bool right_when_held(const struct pclock *c);

#endif
