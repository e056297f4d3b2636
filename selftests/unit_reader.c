// SPDX-License-Identifier: GPL-2.0
/*
 * The inline readers and the layout, on a mapping made by hand.
 *
 * Every reason for which a reader must refuse is tried alone, on a mapping that
 * is otherwise good: a reader that forgets one of its checks fails here.
 */
#include "kselftest_harness.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <linux/parkclock.h>

#define OFFSET(type, field, where) \
	static_assert(offsetof(struct type, field) == (where), #type "." #field " has moved")

OFFSET(parkclock_clock, magic, 0);
OFFSET(parkclock_clock, version, 4);
OFFSET(parkclock_clock, size, 8);
OFFSET(parkclock_clock, timebase, 12);
OFFSET(parkclock_clock, state, 16);
OFFSET(parkclock_clock, generation, 24);
OFFSET(parkclock_clock, offset_ns, 32);
OFFSET(parkclock_clock, reserved, 64);
static_assert(sizeof(struct parkclock_clock) == 128, "struct parkclock_clock");

OFFSET(parkclock_segment, base_cycles, 0);
OFFSET(parkclock_segment, base_ns, 8);
OFFSET(parkclock_segment, base_frac, 16);
OFFSET(parkclock_segment, rate, 24);
OFFSET(parkclock_segment, valid_cycles, 32);
OFFSET(parkclock_segment, epoch, 40);
OFFSET(parkclock_segment, error_ns, 48);
OFFSET(parkclock_segment, error_rate, 56);
OFFSET(parkclock_segment, offset_ns, 64);
OFFSET(parkclock_segment, generation, 96);
OFFSET(parkclock_segment, reserved, 104);
static_assert(sizeof(struct parkclock_segment) == 128, "struct parkclock_segment");

OFFSET(parkclock_timebase, magic, 0);
OFFSET(parkclock_timebase, version, 4);
OFFSET(parkclock_timebase, size, 8);
OFFSET(parkclock_timebase, counter, 12);
OFFSET(parkclock_timebase, counter_hz, 16);
OFFSET(parkclock_timebase, reserved0, 24);
OFFSET(parkclock_timebase, seq, 64);
OFFSET(parkclock_timebase, epoch, 72);
OFFSET(parkclock_timebase, reserved1, 80);
OFFSET(parkclock_timebase, segment, 128);
static_assert(sizeof(struct parkclock_timebase) == 384, "struct parkclock_timebase");

static_assert(sizeof(struct parkclock_read) == 64, "read");
static_assert(sizeof(struct parkclock_query) == 256, "query");
static_assert(PARKCLOCK_IOC_QUERY == 0x8100bc00, "query");
static_assert(PARKCLOCK_IOC_READ == 0xc040bc01, "read");
static_assert(PARKCLOCK_IOC_HOLD == 0xbc02, "hold");
static_assert(PARKCLOCK_IOC_RELEASE == 0xbc03, "release");

static const int ids[PARKCLOCK_CLOCKS] = { 1, 0, 7, 11 };

FIXTURE(reader)
{
	uint64_t map[PARKCLOCK_MAP_SIZE / 8];
	struct parkclock_clock *clock;
	struct parkclock_timebase *timebase;
	struct parkclock_segment *seg;
};

/* A good mapping; the copy that may not be read would give a wrong time. */
FIXTURE_SETUP(reader)
{
	__u64 zero;

	memset(self->map, 0, sizeof(self->map));
	self->clock = (struct parkclock_clock *)self->map;
	self->timebase = (struct parkclock_timebase *)((char *)self->map + PARKCLOCK_PAGE_SIZE);
	self->clock->magic = PARKCLOCK_CLOCK_MAGIC;
	self->clock->version = PARKCLOCK_VERSION;
	self->clock->size = sizeof(*self->clock);
	self->clock->timebase = PARKCLOCK_PAGE_SIZE;
	self->clock->state = 0x4200;
	self->clock->generation = 10;
	self->timebase->magic = PARKCLOCK_TIMEBASE_MAGIC;
	self->timebase->version = PARKCLOCK_VERSION;
	self->timebase->size = sizeof(*self->timebase);
	self->timebase->counter = PARKCLOCK_COUNTER_X86_TSC;
	self->timebase->seq = 7;
	self->timebase->epoch = 5;
	self->seg = &self->timebase->segment[1];
	*self->seg = (struct parkclock_segment) {
		.base_cycles = __parkclock_tsc(1, &zero),
		.base_ns = 1000000000000,
		.rate = 0,	/* time stands still, so that it is known */
		.valid_cycles = 1ULL << 50,
		.epoch = 5,
		.error_ns = 3,
		.generation = 4,
	};
	for (int i = 1; i < PARKCLOCK_CLOCKS; i++)
		self->seg->offset_ns[i] = i * 1000000000LL;
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		self->clock->offset_ns[i] = -i;
	self->timebase->segment[0] = *self->seg;
	self->timebase->segment[0].base_ns = 1;
}

FIXTURE_TEARDOWN(reader)
{
}

static int times(const void *map)
{
	struct parkclock_reading r;
	int n = 0;

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		n += parkclock_page_read(map, ids[i]) != PARKCLOCK_EXPIRED;
		n += parkclock_page_read_relaxed(map, ids[i]) != PARKCLOCK_EXPIRED;
		n += parkclock_page_read_bound(map, ids[i], &r) != PARKCLOCK_EXPIRED;
	}
	return n;
}

TEST_F(reader, reads)
{
	struct parkclock_reading r;

	EXPECT_EQ(1, parkclock_usable(self->map));
	EXPECT_EQ(3 * PARKCLOCK_CLOCKS, times(self->map));
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		int64_t ns = 1000000000000 + i * 1000000000LL - i;

		EXPECT_EQ(ns, parkclock_page_read(self->map, ids[i]));
		EXPECT_EQ(ns, parkclock_page_read_relaxed(self->map, ids[i]));
		EXPECT_EQ(ns, parkclock_page_read_bound(self->map, ids[i], &r));
		EXPECT_EQ(ns, r.ns);
		EXPECT_EQ(3, r.error_ns);
		EXPECT_EQ(14, r.generation);
		EXPECT_GE(r.cycles, self->seg->base_cycles);
	}
	self->timebase->seq = 8;
	EXPECT_EQ(1, parkclock_page_read(self->map, 1));
}

TEST_F(reader, computes)
{
	struct parkclock_reading r;

	self->seg->rate = (1ULL << 56) - 1;
	self->seg->base_frac = (1ULL << 56) - 1;
	self->seg->error_rate = 1;
	ASSERT_NE(PARKCLOCK_EXPIRED, parkclock_page_read_bound(self->map, 1, &r));
	/* delta * (1 - 2^-56) + 1 - 2^-56 is just below delta + 1 */
	EXPECT_EQ(1000000000000 + r.cycles - self->seg->base_cycles, r.ns);
	/* and a growth of next to nothing is rounded up */
	EXPECT_EQ(4, r.error_ns);
}

TEST_F(reader, refuses_other_clocks)
{
	struct parkclock_reading r = { .ns = 77 };

	for (int id = -70; id < 70; id++) {
		if (id == 0 || id == 1 || id == 7 || id == 11)
			continue;
		EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read(self->map, id));
		EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read_relaxed(self->map, id));
		EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read_bound(self->map, id, &r));
	}
	EXPECT_EQ(77, r.ns);
}

TEST_F(reader, refuses_no_window)
{
	self->seg->valid_cycles = 0;
	EXPECT_EQ(0, times(self->map));
}

TEST_F(reader, refuses_after_the_window)
{
	/* It ends now. */
	__u64 zero, now = __parkclock_tsc(1, &zero);

	self->seg->valid_cycles = now - self->seg->base_cycles;
	EXPECT_EQ(0, times(self->map));
}

TEST_F(reader, refuses_a_counter_that_went_back)
{
	self->seg->base_cycles += 1ULL << 49;
	EXPECT_EQ(0, times(self->map));
}

TEST_F(reader, refuses_another_epoch)
{
	self->timebase->epoch++;
	EXPECT_EQ(0, times(self->map));
	self->timebase->epoch -= 2;
	EXPECT_EQ(0, times(self->map));
}

TEST_F(reader, refuses_conditions)
{
	for (int bit = 0; bit < 8; bit++) {
		self->clock->state = 1ULL << bit | 0x4200;
		EXPECT_EQ(0, times(self->map));
	}
	for (int bit = 8; bit < 64; bit++) {
		self->clock->state = 1ULL << bit;
		EXPECT_EQ(3 * PARKCLOCK_CLOCKS, times(self->map));
	}
}

TEST_F(reader, usable)
{
	self->clock->magic++;
	EXPECT_EQ(0, parkclock_usable(self->map));
	self->clock->magic--;
	self->clock->version = 0;
	EXPECT_EQ(0, parkclock_usable(self->map));
	self->clock->version = PARKCLOCK_VERSION + 1;	/* later versions only add */
	EXPECT_EQ(1, parkclock_usable(self->map));
	self->clock->timebase *= 2;
	EXPECT_EQ(0, parkclock_usable(self->map));
	self->clock->timebase /= 2;
	self->timebase->magic++;
	EXPECT_EQ(0, parkclock_usable(self->map));
	self->timebase->magic--;
	self->timebase->version = 0;
	EXPECT_EQ(0, parkclock_usable(self->map));
	self->timebase->version = PARKCLOCK_VERSION;
	self->timebase->counter++;
	EXPECT_EQ(0, parkclock_usable(self->map));
}

TEST_HARNESS_MAIN
