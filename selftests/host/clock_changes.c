// SPDX-License-Identifier: GPL-2.0
/*
 * The call that sets or slews the host's clock takes effect in the page before it returns.
 *
 * Checked, for each way to set or slew: the page that the same thread reads after the call is
 * within its bound of the host's clock, or has no time. It is never right by chance, because
 * each change is far larger than the bound; steps of REALTIME from 1 ns to an hour are checked
 * by their exact size. A jump raises the generation exactly once, with its reason. What does
 * not jump (frequency, tick, offsets that are slewed) does not raise it. A held page becomes
 * valid again by itself, long before the next tick. Meanwhile threads on all CPUs read, and
 * must never see time go back, nor a reading outside its bound.
 *
 * Fails if a change takes effect only at the next tick, if two clocks of a page are from before
 * and after it, if a slew counts as a step, or if a rate is kept that the host no longer has.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/readers.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define STEPS	1500	/* in each way */

FIXTURE(clock_changes) {
	struct pclock c;
	bool usable;
	struct timex saved;
	int64_t offset;
};

static int adjust(struct timex *t, unsigned int modes)
{
	int state;

	t->modes = modes;
	state = adjtimex(t);
	if (state < 0)
		die("adjtimex");
	return state;
}

/* One value; its unit is that of the mode. */
static int adjust_to(unsigned int mode, long value)
{
	struct timex t = { 0 };

	if (mode == ADJ_FREQUENCY)
		t.freq = value;
	else if (mode == ADJ_TICK)
		t.tick = value;
	else if (mode == ADJ_STATUS)
		t.status = value;
	else if (mode == ADJ_TAI || mode == ADJ_TIMECONST)
		t.constant = value;
	else
		t.offset = value;
	return adjust(&t, mode);
}

/* REALTIME by so many ns, exactly */
static void step(int64_t by)
{
	struct timex t = { 0 };

	t.time.tv_sec = by / NSEC;
	t.time.tv_usec = by % NSEC;
	if (t.time.tv_usec < 0) {
		t.time.tv_sec--;
		t.time.tv_usec += NSEC;
	}
	adjust(&t, ADJ_SETOFFSET | ADJ_NANO);
}

FIXTURE_SETUP(clock_changes)
{
	start_parked("20000", "4", "5");
	self->c = open_clock();
	self->usable = counter_usable();
	adjust(&self->saved, 0);
	self->offset = realtime_offset();
	hold(self->c.fd);
	start_readers(false);
}

FIXTURE_TEARDOWN(clock_changes)
{
	EXPECT_STREQ("", stop_readers());
	/* Nothing is left that slews, or waits for a leap second. */
	adjust_to(ADJ_STATUS, STA_PLL | STA_UNSYNC);
	adjust_to(ADJ_OFFSET, 0);
	adjust_to(ADJ_OFFSET_SINGLESHOT, 0);
	adjust_to(ADJ_STATUS, STA_UNSYNC);
	adjust_to(self->saved.status & STA_NANO ? ADJ_NANO : ADJ_MICRO, 0);
	adjust_to(ADJ_TIMECONST, self->saved.constant);
	adjust_to(ADJ_FREQUENCY, self->saved.freq);
	adjust_to(ADJ_TICK, self->saved.tick);
	adjust_to(ADJ_TAI, self->saved.tai);
	if (llabs(realtime_offset() - self->offset) > NSEC / 100)
		set_realtime(kernel_ns(CLOCK_MONOTONIC) + self->offset);
	close_clock(&self->c);
	default_params();
}

/* An offset of the segment that is published */
static int64_t page_offset(const struct pclock *c, int index)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(c->map);
	int64_t offset;
	uint64_t seq;

	do {
		seq = __parkclock_acquire(&tb->seq);
		offset = __parkclock_acquire(&tb->segment[seq & 1].offset_ns[index]);
	} while (__parkclock_acquire(&tb->seq) != seq);
	return offset;
}

/* A reading of each clock, right after the call. The page may be refused. */
static void right_after(struct __test_metadata *_metadata, FIXTURE_DATA(clock_changes) *self)
{
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		ASSERT_NE(WRONG, look_again(&self->c, clock_ids[i], true));
}

/* As it must be after something that jumps (or none did, with @jumps 0). */
static void counted(struct __test_metadata *_metadata, FIXTURE_DATA(clock_changes) *self,
		    const struct parkclock_query *before, int jumps, uint64_t reason)
{
	struct parkclock_query after = query(self->c.fd);

	ASSERT_EQ(before->generation + jumps, after.generation);
	ASSERT_EQ(reason, after.reason);
	ASSERT_EQ(reason, page_reason(self->c.map));
	ASSERT_EQ(after.generation, slow_read(self->c.fd, CLOCK_REALTIME).generation);
}

/* From 1 ns to an hour: every power of two, and by chance in between. */
static int64_t any_size(uint64_t *seed)
{
	int64_t size = 1LL << (rnd(seed) % 42);

	size += rnd(seed) % size;
	if (size > 3600 * NSEC)
		size = 3600 * NSEC;
	return rnd(seed) & 1 ? size : -size;
}

TEST_F(clock_changes, steps_by_adjtimex)
{
	unsigned int by_page = 0;
	uint64_t seed = 7;

	for (int i = 0; i < STEPS; i++) {
		struct parkclock_query before = query(self->c.fd);
		int64_t by = any_size(&seed), old = page_offset(&self->c, PARKCLOCK_REALTIME);
		int64_t tai = page_offset(&self->c, PARKCLOCK_TAI);
		struct parkclock_reading r;

		/* Not too far away from now. */
		if (llabs(realtime_offset() + by - self->offset) > 36000 * NSEC)
			by = -by;
		step(by);
		by_page += look(&self->c, CLOCK_REALTIME, true, &r) == RIGHT;
		right_after(_metadata, self);
		counted(_metadata, self, &before, 1, PARKCLOCK_REASON_STEP);
		if (!self->usable)
			continue;
		ASSERT_TRUE(comes_back(self->c.map));
		ASSERT_EQ(old + by, page_offset(&self->c, PARKCLOCK_REALTIME));
		ASSERT_EQ(tai + by, page_offset(&self->c, PARKCLOCK_TAI));
	}
	EXPECT_TRUE(right_now(&self->c));
	/* Not all of them were refused. */
	if (self->usable)
		EXPECT_GT(by_page, STEPS / 10);
	TH_LOG("%u of %u steps were read by page at once", by_page, STEPS);
}

TEST_F(clock_changes, steps_by_clock_settime)
{
	uint64_t seed = 8;

	for (int i = 0; i < STEPS; i++) {
		struct parkclock_query before = query(self->c.fd);
		int64_t by = any_size(&seed), old = page_offset(&self->c, PARKCLOCK_REALTIME);
		bool moved;

		if (llabs(realtime_offset() + by - self->offset) > 36000 * NSEC)
			by = -by;
		set_realtime(kernel_ns(CLOCK_REALTIME) + by);
		right_after(_metadata, self);
		if (!self->usable) {
			ASSERT_TRUE(slow_read_is_right(self->c.fd, CLOCK_REALTIME));
			continue;
		}
		/* The call may take just as long as the step is: then there is none. */
		ASSERT_TRUE(comes_back(self->c.map));
		moved = page_offset(&self->c, PARKCLOCK_REALTIME) != old;
		ASSERT_TRUE(moved || llabs(by) < NSEC / 100);
		counted(_metadata, self, &before, moved, moved ? PARKCLOCK_REASON_STEP :
								 before.reason);
	}
	EXPECT_TRUE(right_now(&self->c));
}

/* An hour, 100 ms, 1 us: also when nobody holds, and at the next wake. */
TEST_F(clock_changes, steps_while_parked)
{
	static const int64_t sizes[] = { 3600 * NSEC, NSEC / 10, 1000 };
	struct parkclock_query before;

	EXPECT_STREQ("", stop_readers());
	release(self->c.fd);
	for (int i = 0; i < 30; i++) {
		if (self->usable)
			enter(&self->c, PARKCLOCK_PARKED);
		before = query(self->c.fd);
		step(i & 1 ? -sizes[i / 2 % 3] : sizes[i / 2 % 3]);
		EXPECT_EQ(before.wakes, query(self->c.fd).wakes);
		EXPECT_EQ(0, readers_with_time(self->c.map));
		EXPECT_TRUE(right_when_held(&self->c));
		counted(_metadata, self, &before, 1, PARKCLOCK_REASON_STEP);
	}
	start_readers(false);
}

TEST_F(clock_changes, tai_offset)
{
	for (int i = 0; i < 200; i++) {
		struct parkclock_query before = query(self->c.fd);
		int64_t real = page_offset(&self->c, PARKCLOCK_REALTIME);

		adjust_to(ADJ_TAI, 37 + (i & 1));
		right_after(_metadata, self);
		counted(_metadata, self, &before, 1, PARKCLOCK_REASON_TAI);
		if (!self->usable)
			continue;
		ASSERT_TRUE(comes_back(self->c.map));
		ASSERT_EQ(real, page_offset(&self->c, PARKCLOCK_REALTIME));
		ASSERT_EQ(real + (37 + (i & 1)) * NSEC, page_offset(&self->c, PARKCLOCK_TAI));
	}
	EXPECT_TRUE(right_now(&self->c));
}

/* MONOTONIC and the clock that nothing slews, read as close together as can be */
static void read_both(int64_t *mono, int64_t *raw)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < 100; i++) {
		int64_t before = kernel_ns(CLOCK_MONOTONIC_RAW);
		int64_t between = kernel_ns(CLOCK_MONOTONIC);
		int64_t after = kernel_ns(CLOCK_MONOTONIC_RAW);

		if (after - before < best) {
			best = after - before;
			*mono = between;
			*raw = before + best / 2;
		}
	}
}

/* How much the kernel slews now, in ppm, over a second */
static int rate_ppm(void)
{
	int64_t mono, raw, mono_end, raw_end;

	read_both(&mono, &raw);
	sleep_ms(1000);
	read_both(&mono_end, &raw_end);
	mono = mono_end - mono;
	raw = raw_end - raw;
	return (mono - raw) * 1000000 / raw;
}

/* Reads each clock for some ms, by page and by READ: right, and no jump counted. */
static void right_for(struct __test_metadata *_metadata, FIXTURE_DATA(clock_changes) *self,
		      const struct parkclock_query *before, unsigned int ms)
{
	const int64_t end = kernel_ns(CLOCK_MONOTONIC) + ms * 1000000LL;
	unsigned int right = 0;

	do {
		for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
			enum seen seen = look_again(&self->c, clock_ids[i], true);

			ASSERT_NE(WRONG, seen);
			right += seen == RIGHT;
			ASSERT_EQ(RIGHT, look_again(&self->c, clock_ids[i], false));
		}
	} while (kernel_ns(CLOCK_MONOTONIC) < end);
	EXPECT_EQ(self->usable, right > 0);
	counted(_metadata, self, before, 0, before->reason);
}

/*
 * The next update of the timekeeper would notice it too: but the page has a new segment when
 * the call returns, and has not been without one.
 */
static void slew_at_once(struct __test_metadata *_metadata, FIXTURE_DATA(clock_changes) *self,
			 unsigned int mode, const long *values, int n)
{
	for (int i = 0; i < 4 * n; i++) {
		struct parkclock_query before = query(self->c.fd);
		uint64_t epoch = page_epoch(self->c.map), begin = tsc();

		adjust_to(mode, values[i % n]);
		if (self->usable) {
			ASSERT_GE(segment_extent(self->c.map).base, begin);
			ASSERT_EQ(epoch, page_epoch(self->c.map));
		}
		right_after(_metadata, self);
		right_for(_metadata, self, &before, 30);
	}
	EXPECT_TRUE(right_now(&self->c));
}

/* In 2^-16 ppm */
TEST_F(clock_changes, frequency)
{
	static const long values[] = { 500 << 16, -500 * 65536, 100 << 16, 1 << 20, 0 };

	slew_at_once(_metadata, self, ADJ_FREQUENCY, values, 5);
}

/* In us for a tick of 10 ms, so 100 ppm each */
TEST_F(clock_changes, tick)
{
	static const long values[] = { 10001, 9999, 10100, 9500, 11000, 9000, 10000 };

	slew_at_once(_metadata, self, ADJ_TICK, values, 7);
}

/* The kernel slews by this from its next second on. */
TEST_F(clock_changes, offset)
{
	for (int i = 0; i < 2; i++) {
		struct parkclock_query before = query(self->c.fd);
		struct timex t = { .status = STA_PLL | STA_UNSYNC };

		t.offset = i ? -2000000 : 2000000;
		adjust(&t, ADJ_STATUS | ADJ_NANO | ADJ_TIMECONST | ADJ_OFFSET);
		right_for(_metadata, self, &before, 1200);
		/* A quarter of it a second, so there is no doubt that it does. */
		EXPECT_GT(rate_ppm() * (i ? -1 : 1), 50);
		right_for(_metadata, self, &before, 1200);
	}
}

/* At most 500 us a second */
TEST_F(clock_changes, offset_singleshot)
{
	for (int i = 0; i < 2; i++) {
		struct parkclock_query before = query(self->c.fd);

		adjust_to(ADJ_OFFSET_SINGLESHOT, i ? -100000 : 100000);
		right_for(_metadata, self, &before, 1200);
		EXPECT_GT(rate_ppm() * (i ? -1 : 1), 200);
		right_for(_metadata, self, &before, 1200);
	}
}

/* What tells the kernel something, but changes no clock */
TEST_F(clock_changes, nothing)
{
	struct parkclock_query before = query(self->c.fd);
	struct timex t = { 0 };

	for (int i = 0; i < 100; i++) {
		adjust(&t, 0);
		adjust_to(ADJ_TIMECONST, i % 7);
		adjust_to(ADJ_FREQUENCY, t.freq);
		adjust_to(ADJ_STATUS, STA_UNSYNC);
		adjust_to(ADJ_TAI, t.tai);
	}
	right_for(_metadata, self, &before, 50);
}

#define DAY	(86400 * NSEC)

/*
 * Shortly before the end of a day, with a leap second to come. The kernel looks at the
 * status at the end of each second, one after the other, however late. Returns when the
 * day ends.
 */
static int64_t before_leap(int status)
{
	int64_t day;

	do {
		/* Two seconds end without: the last one is over. */
		adjust_to(ADJ_STATUS, STA_UNSYNC);
		sleep_ms(3000);
		day = (kernel_ns(CLOCK_REALTIME) / DAY + 1) * DAY;
		set_realtime(day - 3 * NSEC);
		adjust_to(ADJ_STATUS, STA_UNSYNC | status);
		/* Unless the machine stood still. */
	} while (kernel_ns(CLOCK_REALTIME) > day - 2 * NSEC);
	return day;
}

/* Nobody calls anything when it comes. */
static void leap(struct __test_metadata *_metadata, FIXTURE_DATA(clock_changes) *self, int status)
{
	const int64_t by = status == STA_INS ? -NSEC : NSEC;
	struct parkclock_query before, after;
	int64_t real, tai, end, day;

	do {
		day = before_leap(status);
		before = query(self->c.fd);
		ASSERT_TRUE(!self->usable || comes_back(self->c.map));
		real = page_offset(&self->c, PARKCLOCK_REALTIME);
		tai = page_offset(&self->c, PARKCLOCK_TAI);
		/* It may have come meanwhile. */
	} while (kernel_ns(CLOCK_REALTIME) >= day - NSEC);
	EXPECT_EQ(PARKCLOCK_REASON_STEP, before.reason);
	end = kernel_ns(CLOCK_MONOTONIC) + PATIENCE_MS * 1000000LL;
	do {
		right_after(_metadata, self);
		ASSERT_EQ(RIGHT, look_again(&self->c, CLOCK_REALTIME, false));
		after = query(self->c.fd);
	} while (after.generation == before.generation && kernel_ns(CLOCK_MONOTONIC) < end);
	right_after(_metadata, self);
	counted(_metadata, self, &before, 1, PARKCLOCK_REASON_LEAP);
	EXPECT_TRUE(right_now(&self->c));
	if (self->usable) {
		EXPECT_EQ(real + by, page_offset(&self->c, PARKCLOCK_REALTIME));
		EXPECT_EQ(tai, page_offset(&self->c, PARKCLOCK_TAI));
	}
	adjust_to(ADJ_STATUS, STA_UNSYNC);
	after = query(self->c.fd);
	right_for(_metadata, self, &after, 100);
}

TEST_F(clock_changes, leap_second_inserted)
{
	leap(_metadata, self, STA_INS);
}

TEST_F(clock_changes, leap_second_deleted)
{
	leap(_metadata, self, STA_DEL);
}

TEST_HARNESS_MAIN
