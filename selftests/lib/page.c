// SPDX-License-Identifier: GPL-2.0
#include <time.h>

#include "clocksource.h"
#include "host_clock.h"
#include "page.h"
#include "wait.h"

bool valid(const void *map)
{
	return parkclock_page_read(map, CLOCK_MONOTONIC) >= 0;
}

int readers_with_time(const void *map)
{
	struct parkclock_reading r;
	int n = 0;

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		n += parkclock_page_read(map, clock_ids[i]) >= 0;
		n += parkclock_page_read_relaxed(map, clock_ids[i]) >= 0;
		n += parkclock_page_read_bound(map, clock_ids[i], &r) >= 0;
	}
	return n;
}

int readers_held(void)
{
	return counter_usable() ? ALL_READERS : 0;
}

uint64_t page_epoch(const void *map)
{
	return __parkclock_acquire(&__parkclock_timebase(map)->epoch);
}

uint64_t page_reason(const void *map)
{
	return __parkclock_acquire(&__parkclock_timebase(map)->reason);
}

int64_t offset_of(const void *map, int index)
{
	return __parkclock_load(&__parkclock_clock(map)->offset_ns[index]);
}

struct extent segment_extent(const void *map)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(map);
	struct extent e;
	uint64_t seq;

	do {
		const struct parkclock_segment *seg;

		seq = __parkclock_acquire(&tb->seq);
		seg = &tb->segment[seq & 1];
		e.base = __parkclock_acquire(&seg->base_cycles);
		e.length = __parkclock_acquire(&seg->valid_cycles);
		e.epoch = __parkclock_acquire(&seg->epoch);
	} while (__parkclock_acquire(&tb->seq) != seq);
	e.seq = seq;
	return e;
}

bool expired_since(const void *map, uint64_t since)
{
	const struct extent e = segment_extent(map);

	return e.epoch != __parkclock_load(&__parkclock_timebase(map)->epoch) ||
	       (int64_t)(e.base + e.length - since) <= 0;
}

bool comes_back(const void *map)
{
	return wait_until(valid(map));
}
