/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a reader finds in the two pages
 */
#ifndef PARKCLOCK_SELFTESTS_PAGE_H
#define PARKCLOCK_SELFTESTS_PAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/parkclock.h>

/* Does the page have a time? */
bool valid(const void *map);

/* All the inline readers, each for all clocks */
#define ALL_READERS	(3 * PARKCLOCK_CLOCKS)

/* How many of ALL_READERS get a time */
int readers_with_time(const void *map);

/* The number that readers_with_time() must be while the updater is held and runs */
int readers_held(void);

/* timebase->epoch and timebase->reason */
uint64_t page_epoch(const void *map);
uint64_t page_reason(const void *map);

/* What this clock adds to the host's, by its index in the page */
int64_t offset_of(const void *map, int index);

/* Where the page's segment lies, as one copy of it says */
struct extent {
	uint64_t base;		/* in cycles, as both of these */
	uint64_t length;
	uint64_t epoch;		/* of the segment, which may not be that of the page */
	uint64_t seq;		/* of the page: how often segments were published, times 2 */
};

struct extent segment_extent(const void *map);

/*
 * Has the page been without a valid segment since the counter was @since? If it was valid
 * at any later moment, its segment ends later: ends do not go back.
 */
bool expired_since(const void *map, uint64_t since);

/*
 * Waits for the time to come back. A page that expires while a reference is held has a
 * late timer (the whole machine may have been stopped for longer than the window), or an
 * updater that has lost the reference. A late timer fires; a parked updater never
 * refreshes.
 */
bool comes_back(const void *map);

#endif
