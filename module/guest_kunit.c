// SPDX-License-Identifier: GPL-2.0
/*
 * From a guest's counter to the host's, and VMClock's lines: guest.c is compared with the
 * slow and obviously right way, over all ratios and a century of cycles.
 *
 * Fails if the conversion gives more than the host's counter or less by more than the lag,
 * if it changes the order of two counters, or if a line leaves its bound.
 */
#include <kunit/test.h>
#include <linux/errno.h>

#include "guest.h"
#include "segment.h"

#define ONE	PARKCLOCK_ONE_NS
#define RATE	(ONE * 10 / 23)		/* 2.3 GHz */

typedef unsigned __int128 u128;
typedef __int128 s128;

/* As in segment_kunit.c. */
#ifdef __KERNEL__
#define ROUNDS(n)	((n) / 5)
#else
#define ROUNDS(n)	(n)
#endif

static u64 rnd(void)
{
	static u64 seed = 88172645463325252ULL;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* floor(n / d), digit by digit: the kernel has no such division. */
static u128 divide(u128 n, u64 d)
{
	u128 rest = 0, quotient = 0;

	for (int i = 127; i >= 0; i--) {
		rest = rest << 1 | (n >> i & 1);
		quotient <<= 1;
		if (rest >= d) {
			rest -= d;
			quotient |= 1;
		}
	}
	return quotient;
}

/* From 2^-56 ns to 2^-64 s; exact down to that unit. */
static u128 seconds(u128 fixed)
{
	const u64 ns = fixed >> 56, frac = fixed & (ONE - 1), second = 1000000000;

	return ((u128)(ns / second) << 64) +
	       divide(((u128)(ns % second) << 64) + (frac << 8), second);
}

/* From 2^-64 s to 2^-56 ns. */
static u128 nanoseconds(u128 time)
{
	u64 frac = time;

	return (u128)(u64)(time >> 64) * 1000000000 * ONE + ((u128)frac * 1000000000 >> 8);
}

/* Any guest that can exist; *@now is a counter value for which its terms are valid. */
static struct parkclock_guest any_guest(struct kunit *test, u64 *now)
{
	struct parkclock_guest guest = {};
	u32 shift = rnd() % 49;
	u128 one = (u128)1 << shift;
	u64 ratio;

	switch (rnd() % 4) {
	case 0:		/* nearly the same */
		ratio = one + rnd() % 3 - 1;
		break;
	case 1:		/* the ends */
		ratio = rnd() & 1 ? one * 64 : (one + 63) / 64;
		break;
	default:
		ratio = rnd() % (one * 64) + 1;
		if (ratio < (one + 63) / 64)
			ratio = (one + 63) / 64;
	}
	if (!ratio)
		ratio = 1;
	/* ratio * 2^57 / 2^shift must fit. */
	*now = (rnd() >> (7 + rnd() % 40)) + 1;
	KUNIT_ASSERT_EQ(test, 0, parkclock_guest_make(&guest, rnd(), ratio, shift, *now));
	return guest;
}

/*
 * Any guest whose terms are valid where the host's counter is far beyond 2^62. The
 * firmware or another hypervisor may have written it.
 */
static struct parkclock_guest guest_of_large_counter(struct kunit *test, u64 *now)
{
	struct parkclock_guest guest = {};
	u32 shift = 6 + rnd() % 43;
	u64 one = 1ULL << shift, ratio = rnd() % (one - one / 64) + one / 64;

	*now = -(1ULL << 56) - 1 - (rnd() >> (1 + rnd() % 8));
	KUNIT_ASSERT_EQ(test, 0, parkclock_guest_make(&guest, rnd(), ratio, shift, *now));
	return guest;
}

static u64 back(const struct parkclock_guest *g, u64 counter)
{
	return parkclock_guest_to_host(counter, g->offset, g->inverse, g->inverse_shift);
}

/* The converted counter: never more than the host's, less by at most the lag, in order. */
static void way_back(struct kunit *test)
{
	for (int i = 0; i < ROUNDS(100000); i++) {
		u64 now, last = 0;
		struct parkclock_guest g = i % 4 ? any_guest(test, &now) :
						   guest_of_large_counter(test, &now);

		KUNIT_ASSERT_LE(test, g.lag, 70 + ((now + (1ULL << 56)) >> 62));
		KUNIT_ASSERT_EQ(test, !g.lag, g.ratio == 1ULL << g.ratio_shift);
		KUNIT_ASSERT_GT(test, g.inverse, 1ULL << 62);
		KUNIT_ASSERT_EQ(test, g.inverse <= 1ULL << 63, true);
		KUNIT_ASSERT_EQ(test, g.inverse_shift >= 57 && g.inverse_shift <= 69, true);
		for (int j = 0; j < 10; j++) {
			/* By the definition, without guest.c. */
			u64 counter = (u64)((u128)now * g.ratio >> g.ratio_shift) + g.offset;
			u64 h = back(&g, counter);

			KUNIT_ASSERT_EQ(test, counter, parkclock_guest_cycles(&g, now));
			KUNIT_ASSERT_LE(test, h, now);
			KUNIT_ASSERT_LE(test, now - h, g.lag);
			KUNIT_ASSERT_LE(test, last, h);
			last = h;
			now += rnd() % 8;
		}
		cond_resched();
	}
}

/* Where the product does not fit any more, the converted counter is far from any window. */
static void outgrown(struct kunit *test)
{
	for (int i = 0; i < 1000; i++) {
		u64 now, h, late;
		struct parkclock_guest g = any_guest(test, &now);
		u128 first = divide((u128)1 << 127, g.ratio) >> (63 - g.ratio_shift);

		/* From here on the product does not fit. */
		if (first >> 63)
			continue;
		late = (u64)first + (first >> 8) + (rnd() & 0xffffffff);
		h = back(&g, parkclock_guest_cycles(&g, late));
		KUNIT_ASSERT_GT(test, late - h, 1ULL << 48);
		KUNIT_ASSERT_GT(test, h - late, 1ULL << 48);
	}
}

static int make(u64 offset, u64 ratio, u32 shift, u64 now)
{
	struct parkclock_guest guest = {};

	return parkclock_guest_make(&guest, offset, ratio, shift, now);
}

static void refused(struct kunit *test)
{
	const u64 now = 1ULL << 50;

	KUNIT_EXPECT_EQ(test, 0, make(~0ULL, 1ULL << 48, 48, now));
	KUNIT_EXPECT_EQ(test, -EINVAL, make(0, 1ULL << 49, 49, now));
	KUNIT_EXPECT_EQ(test, -EINVAL, make(0, 1, ~0U, now));
	KUNIT_EXPECT_EQ(test, -EINVAL, make(0, 0, 0, now));
	KUNIT_EXPECT_EQ(test, 0, make(0, 64ULL << 48, 48, now));
	KUNIT_EXPECT_EQ(test, -ERANGE, make(0, (64ULL << 48) + 1, 48, now));
	KUNIT_EXPECT_EQ(test, -ERANGE, make(0, ~0ULL, 48, now));
	KUNIT_EXPECT_EQ(test, 0, make(0, 1ULL << 42, 48, now));
	KUNIT_EXPECT_EQ(test, -ERANGE, make(0, (1ULL << 42) - 1, 48, now));
	KUNIT_EXPECT_EQ(test, 0, make(0, 64, 0, now));
	KUNIT_EXPECT_EQ(test, -ERANGE, make(0, 65, 0, now));
	KUNIT_EXPECT_EQ(test, 0, make(0, 1, 0, now));
	KUNIT_EXPECT_EQ(test, 0, make(0, 1, 6, now));
	KUNIT_EXPECT_EQ(test, -ERANGE, make(0, 1, 7, now));

	/* (now + 2^56) * 64 < 2^64 */
	KUNIT_EXPECT_EQ(test, 0, make(0, 64, 0, (1ULL << 58) - (1ULL << 56) - 1));
	KUNIT_EXPECT_EQ(test, -ERANGE, make(0, 64, 0, (1ULL << 58) - (1ULL << 56)));
	KUNIT_EXPECT_EQ(test, 0, make(0, 1, 0, ~0ULL - (1ULL << 56)));
	KUNIT_EXPECT_EQ(test, -ERANGE, make(0, 1, 0, -(1ULL << 56)));
	KUNIT_EXPECT_EQ(test, -ERANGE, make(0, 1, 1, -(1ULL << 56)));
}

/* As parkclock_segment_make() makes it, except for fields that nobody reads here. */
static struct parkclock_segment any_segment(u64 base)
{
	return (struct parkclock_segment) {
		.base_cycles = base,
		.base_ns = (rnd() >> (2 + rnd() % 30)) + 1000000,
		.base_frac = rnd() & (ONE - 1),
		.rate = RATE + rnd() % (RATE / 1000),
		.valid_cycles = 1ULL << 34,
		.error_ns = rnd() % 100,
	};
}

/*
 * The period is the rate * 2^29 / 10^9, where of the rate in ns per cycle the upper 64 bits
 * are left. It is rounded down, by no more than its error says.
 */
static void period_is_rounded(struct kunit *test, const struct parkclock_line *line,
			      const struct parkclock_segment *seg, const struct parkclock_guest *g)
{
	const unsigned int drop = 21 + g->inverse_shift - line->shift;
	const u128 rate = (u128)seg->rate * g->inverse >> drop;
	const u128 most = (u128)line->period + line->period_error;

	KUNIT_ASSERT_EQ(test, (u128)line->period * 1000000000 <= rate << 29, true);
	KUNIT_ASSERT_EQ(test, most * 1000000000 >= (rate + 1) << 29, true);
}

/*
 * A reader computes the segment's time within the stated error, if the host's rate is the
 * segment's; at any host's counter, from a little before now on.
 */
static void rounded(struct kunit *test)
{
	for (int i = 0; i < ROUNDS(20000); i++) {
		u64 now, bound, at;
		struct parkclock_guest g = any_guest(test, &now);
		struct parkclock_segment seg;
		struct parkclock_line line;
		u128 reader, truth;
		s64 offset = (s64)(rnd() >> 4);

		now += 1ULL << 36;
		if (make(0, g.ratio, g.ratio_shift, now))
			continue;
		seg = any_segment(now - (rnd() & ((1ULL << 34) - 1)));
		seg.base_ns >>= 1;
		parkclock_line_make(&line, &seg, 0, offset, &g, now);
		KUNIT_ASSERT_EQ(test, line.period >> 62 != 0, true);
		period_is_rounded(test, &line, &seg, &g);
		at = now - PARKCLOCK_SKEW_CYCLES + (rnd() >> (30 + rnd() % 30));
		if (make(0, g.ratio, g.ratio_shift, at))
			continue;
		reader = nanoseconds(parkclock_line_at(&line, parkclock_guest_cycles(&g, at)));
		truth = (u128)(seg.base_ns + offset) * ONE + seg.base_frac +
			(s128)(s64)(at - seg.base_cycles) * (s128)seg.rate;
		bound = line.error_ns +
			(u64)(nanoseconds((u128)(parkclock_guest_cycles(&g, at) - line.counter) *
					  line.period_error >> line.shift) >> 56) + 1;
		/* The segment's own error is not needed here: it is 0. */
		bound -= seg.error_ns;
		KUNIT_ASSERT_LE(test, (u64)((reader > truth ? reader - truth :
							     truth - reader) >> 56), bound);
		/* The errors that are added are small. */
		KUNIT_ASSERT_LE(test, line.error_ns, seg.error_ns + 30);
		cond_resched();
	}
}

/* If both counters have the same rate, by less than a picosecond. */
static void exact(struct kunit *test)
{
	const struct parkclock_guest g = PARKCLOCK_NO_GUEST;

	for (int i = 0; i < ROUNDS(10000); i++) {
		u64 now = rnd() >> 8;
		struct parkclock_segment seg = any_segment(now - 5000000);
		struct parkclock_line line;
		u128 reader, truth;

		parkclock_line_make(&line, &seg, 0, 0, &g, now);
		KUNIT_ASSERT_EQ(test, line.error_ns, seg.error_ns + 1);
		KUNIT_ASSERT_EQ(test, line.counter, now - PARKCLOCK_SKEW_CYCLES);
		for (int j = 0; j < 4; j++) {
			u64 at = now + (rnd() & 0xffffffff);

			reader = parkclock_line_at(&line, at);
			truth = seconds(parkclock_segment_at(&seg, at));
			KUNIT_ASSERT_LE(test, reader, truth + 1000000);
			KUNIT_ASSERT_LE(test, truth, reader + 10000000);
		}
	}
}

/* The host's rate at either end of its range, for as long as nobody writes the page. */
static void beyond_window(struct kunit *test)
{
	for (int i = 0; i < ROUNDS(10000); i++) {
		const struct parkclock_guest none = PARKCLOCK_NO_GUEST;
		const u64 window = 1ULL << 34, slop = RATE >> 22;
		struct parkclock_segment seg;
		struct parkclock_sample sample = {
			.cycles = 1ULL << 40, .now = (u128)1000000000000 * ONE,
			.rate = RATE, .rate_slop = slop,
		};
		struct parkclock_line line;
		u64 guess = RATE - slop + rnd() % (2 * slop);
		u128 base = sample.now + (rnd() & ((1ULL << (56 + rnd() % 8)) - 1)) - ONE * 4;
		u64 error, rate = i & 1 ? RATE + slop : RATE - slop;

		parkclock_segment_make(&seg, &sample, guess, base, window, window / 4);
		error = slop + (seg.rate > RATE ? seg.rate - RATE : RATE - seg.rate);
		parkclock_line_make(&line, &seg, error, 0, &none, sample.cycles + window / 2);
		for (int j = 0; j < 20; j++) {
			u64 at = sample.cycles + window / 2 + (rnd() >> (20 + rnd() % 20));
			u64 delta = at - line.counter;
			u128 reader = nanoseconds(parkclock_line_at(&line, at));
			u128 host = sample.now + (u128)(at - sample.cycles) * rate;
			u128 bound = line.error_ns * ONE +
				nanoseconds((u128)delta * line.period_error >> line.shift);

			KUNIT_ASSERT_EQ(test, (reader > host ? reader - host : host - reader) <=
					      bound, true);
		}
	}
}

/* A lifted line gives the least time, then returns to its old course; the bound holds. */
static void lifted(struct kunit *test)
{
	for (int i = 0; i < ROUNDS(10000); i++) {
		u64 now, interval;
		struct parkclock_guest g = any_guest(test, &now);
		struct parkclock_segment seg;
		struct parkclock_line line, old;
		u128 least, little;

		now += 1ULL << 36;
		if (make(0, g.ratio, g.ratio_shift, now + (1ULL << 40)))
			continue;
		seg = any_segment(now - 50000);
		parkclock_line_make(&line, &seg, 0, 0, &g, now);
		old = line;
		interval = parkclock_guest_scale(&g, 2300000000ULL);
		now = parkclock_guest_cycles(&g, now);
		least = parkclock_line_at(&line, now) - 1;
		parkclock_line_lift(&line, now, least, interval);
		KUNIT_ASSERT_EQ(test, line.time == old.time && line.period == old.period, true);
		/* By up to a microsecond, in 2^-64 s */
		least += rnd() >> (20 + rnd() % 20);
		parkclock_line_lift(&line, now, least, interval);
		KUNIT_ASSERT_EQ(test, parkclock_line_at(&line, now) >= least, true);
		KUNIT_ASSERT_EQ(test, parkclock_line_at(&line, now) <= least + 1, true);
		KUNIT_ASSERT_EQ(test, line.error_ns >= old.error_ns +
				(u64)(nanoseconds(line.time - old.time) >> 56), true);
		for (u64 t = 0; t <= 4 * interval; t += interval) {
			u128 was = parkclock_line_at(&old, now + t);
			u128 is = parkclock_line_at(&line, now + t);
			u128 more = (line.error_ns - old.error_ns) * ONE +
				nanoseconds((u128)(now + t - old.counter) *
					    (line.period_error - old.period_error) >> line.shift);

			KUNIT_ASSERT_EQ(test, nanoseconds(is > was ? is - was : was - is) <= more,
					true);
			/* After the interval, about a 4000th of the lift is left. */
			little = ((line.time - old.time) >> 12) + (1ULL << 26);
			if (t == interval && line.period < old.period)
				KUNIT_ASSERT_EQ(test, (is > was ? is - was : was - is) <= little,
						true);
		}
		cond_resched();
	}
}

/* More than can be taken out soon: the slew is at its limit, and the time never stops. */
static void lifted_far(struct kunit *test)
{
	const struct parkclock_guest g = PARKCLOCK_NO_GUEST;
	struct parkclock_segment seg = any_segment(1ULL << 40);
	u64 now = (1ULL << 40) + 50000;
	struct parkclock_line line, old;

	for (int s = 0; s < 62; s++) {
		u128 least;
		u64 up_ns;

		parkclock_line_make(&line, &seg, 0, 0, &g, now);
		old = line;
		least = parkclock_line_at(&line, now) + ((u128)1 << (62 + s / 2));
		parkclock_line_lift(&line, now, least, 1000);
		KUNIT_ASSERT_EQ(test, parkclock_line_at(&line, now) >= least, true);
		KUNIT_ASSERT_EQ(test, line.period, old.period - (old.period >> 11));
		KUNIT_ASSERT_EQ(test, line.period_error, old.period_error + (old.period >> 11));
		up_ns = nanoseconds(line.time - old.time) >> 56;
		KUNIT_ASSERT_GT(test, line.error_ns, up_ns);
	}
}

/* A clock that has just begun has no time before its beginning. */
static void begun_just_now(struct kunit *test)
{
	const struct parkclock_guest g = PARKCLOCK_NO_GUEST;
	struct parkclock_line line;

	for (int i = 0; i < 40000; i++) {
		struct parkclock_segment seg = any_segment(1ULL << 40);
		u64 now = seg.base_cycles + 1000000;
		s64 is = parkclock_segment_at(&seg, now) >> 56;

		/* It says i ns now. */
		parkclock_line_make(&line, &seg, 0, i - is, &g, now);
		KUNIT_ASSERT_EQ(test, nanoseconds(parkclock_line_at(&line, now) + 100) >> 56 ==
				(u128)i, true);
		KUNIT_ASSERT_EQ(test, line.time >> 64 == 0, true);
	}
}

static struct kunit_case cases[] = {
	KUNIT_CASE(way_back),
	KUNIT_CASE(outgrown),
	KUNIT_CASE(refused),
	KUNIT_CASE(rounded),
	KUNIT_CASE(exact),
	KUNIT_CASE(beyond_window),
	KUNIT_CASE(lifted),
	KUNIT_CASE(lifted_far),
	KUNIT_CASE(begun_just_now),
	{}
};

static struct kunit_suite suite = {
	.name = "parkclock_guest",
	.test_cases = cases,
};

kunit_test_suite(suite);
