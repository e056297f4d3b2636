// SPDX-License-Identifier: GPL-2.0
/*
 * The arithmetic of segments, from the module's own source.
 *
 * - Products and sums are right over the whole range of values (compared with long
 *   multiplication by hand), and none of them overflows.
 * - The rate stays within the range in which the host's rate is known to be, whatever the
 *   samples say, and is the mean where the samples are good.
 * - A new segment never begins below any value of the old one, nor below the floor,
 *   whatever the sample says; nor far above, because the counter of one CPU is a little
 *   behind.
 * - A chain of segments follows a host clock that dithers, with refreshes as irregular as
 *   they can be. It is never further from the host's clock than its bound, never goes
 *   back, and comes close to the host's clock in the end. Fails if the slew overshoots, if
 *   a term of the bound is missing, or if a lift is too small.
 */
#include <kunit/test.h>

#include "segment.h"

/* Fewer rounds: a kernel with KUnit often has checkers, too, and is emulated. */
#ifdef __KERNEL__
#define ROUNDS(n)	((n) / 5)
#else
#define ROUNDS(n)	(n)
#endif

#define TSC_HZ	2300000000ULL	/* cycles per second, and in an interval */

typedef unsigned __int128 fixed;

/* In halves, whose values KUnit can show. */
#define ASSERT_SAME(test, a, b) do {					\
	struct kunit *t = (test);					\
	const fixed left = (a);						\
	const fixed right = (b);					\
									\
	KUNIT_ASSERT_EQ(t, (u64)(left >> 64), (u64)(right >> 64));	\
	KUNIT_ASSERT_EQ(t, (u64)left, (u64)right);			\
} while (0)

static u64 magnitude(s64 n)
{
	return n < 0 ? -n : n;
}

static u64 rnd(u64 *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A number of any size; small ones are as frequent as large ones. */
static u64 rnd_any(u64 *state)
{
	u64 bits = rnd(state) % 64;

	return rnd(state) >> bits;
}

/* floor((a * b + c) / 2^56) mod 2^64, in pieces of 32 bits */
static u64 scale_by_hand(u64 a, u64 b, u64 c)
{
	u64 part[4] = { 0 }, sum = 0, carry = 0;
	u32 word[4];

	for (int i = 0; i < 2; i++) {
		for (int j = 0; j < 2; j++) {
			u64 product = (a >> 32 * i & 0xffffffff) * (b >> 32 * j & 0xffffffff);

			part[i + j] += product & 0xffffffff;
			part[i + j + 1] += product >> 32;
		}
	}
	part[0] += c & 0xffffffff;
	part[1] += c >> 32;
	for (int i = 0; i < 4; i++) {
		sum = part[i] + carry;
		word[i] = sum;
		carry = sum >> 32;
	}
	return (u64)word[1] >> 24 | (u64)word[2] << 8 | (u64)word[3] << 40;
}

static void scale(struct kunit *test)
{
	u64 seed = 1;

	for (int i = 0; i < ROUNDS(2000000); i++) {
		u64 a = rnd_any(&seed), b = rnd_any(&seed), c = rnd_any(&seed) >> 8;

		KUNIT_ASSERT_EQ(test, scale_by_hand(a, b, c), parkclock_scale(a, b, c));
		cond_resched();
	}
	KUNIT_EXPECT_EQ(test, scale_by_hand(~0ULL, ~0ULL, ~0ULL),
			parkclock_scale(~0ULL, ~0ULL, ~0ULL));
	KUNIT_EXPECT_EQ(test, 1, parkclock_scale(1, 1ULL << 56, 0));
	KUNIT_EXPECT_EQ(test, 0, parkclock_scale(1, (1ULL << 56) - 1, 0));
	KUNIT_EXPECT_EQ(test, 1, parkclock_scale(1, (1ULL << 56) - 1, 1));
}

/* The reader and the module compute the same value of a segment. */
static void reader_and_module_agree(struct kunit *test)
{
	u64 seed = 2;

	for (int i = 0; i < ROUNDS(1000000); i++) {
		struct parkclock_segment seg = {
			.base_cycles = rnd(&seed),
			.base_ns = rnd(&seed) >> 2,
			.base_frac = rnd(&seed) >> 8,
			.rate = rnd(&seed) >> (4 + rnd(&seed) % 8),
			.valid_cycles = rnd(&seed) >> (20 + rnd(&seed) % 20),
		};
		u64 delta = rnd_any(&seed);
		fixed at = parkclock_segment_at(&seg, seg.base_cycles + delta);

		KUNIT_ASSERT_EQ(test, delta < seg.valid_cycles,
				parkclock_segment_covers(&seg, seg.base_cycles + delta));
		if (delta > seg.valid_cycles)
			delta = seg.valid_cycles;
		KUNIT_ASSERT_EQ(test,
				seg.base_ns + parkclock_scale(delta, seg.rate, seg.base_frac),
				(u64)(at >> PARKCLOCK_SHIFT));
		/* The window's last cycle belongs to it, and the next one does not. */
		delta = seg.base_cycles + seg.valid_cycles;
		KUNIT_ASSERT_EQ(test, 0, parkclock_segment_covers(&seg, delta));
		KUNIT_ASSERT_EQ(test, 1, parkclock_segment_covers(&seg, delta - 1));
		cond_resched();
	}
}

static void rate_is_the_mean(struct kunit *test)
{
	u64 seed = 3;

	for (int i = 0; i < ROUNDS(200000); i++) {
		u64 slop = 1ULL << (24 + rnd(&seed) % 9);
		u64 rate = (1ULL << 53) + rnd(&seed) % (1ULL << 57);
		u64 cycles = (1ULL << 18) + rnd(&seed) % (1ULL << 42);
		s64 off = (s64)(rnd(&seed) % (2 * slop)) - (s64)slop;
		struct parkclock_sample from = {
			.cycles = rnd(&seed),
			.now = (fixed)rnd(&seed) << 50,
		};
		struct parkclock_sample to = {
			.cycles = from.cycles + cycles,
			.now = from.now + (fixed)cycles * (rate + off),
			.rate = rate,
			.rate_slop = slop,
		};
		s64 error = parkclock_segment_rate(&from, &to) - (rate + off);

		/* Rounded towards the middle, by less than 2^-14 of the change. */
		KUNIT_ASSERT_LE(test, magnitude(error), (magnitude(off) >> 14) + 1);
		cond_resched();
	}
}

static void rate_of_nonsense(struct kunit *test)
{
	u64 seed = 4;

	for (int i = 0; i < ROUNDS(1000000); i++) {
		struct parkclock_sample from = {
			.cycles = rnd_any(&seed), .now = (fixed)rnd_any(&seed) << 56,
		};
		struct parkclock_sample to = {
			.cycles = rnd_any(&seed), .now = (fixed)rnd_any(&seed) << 56,
			.rate = 1ULL << 55, .rate_slop = 1ULL << 32,
		};
		u64 rate = parkclock_segment_rate(&from, &to);

		KUNIT_ASSERT_GE(test, rate, to.rate - to.rate_slop);
		KUNIT_ASSERT_LE(test, rate, to.rate + to.rate_slop);
		cond_resched();
	}
}

static void slew_is_limited(struct kunit *test)
{
	const u64 rate = 1ULL << 55;
	struct parkclock_sample sample = { .now = (fixed)1 << 110, .rate = rate };
	struct parkclock_segment seg;

	for (int sign = -1; sign <= 1; sign += 2) {
		/* From a nanosecond to a century. */
		for (int bits = 0; bits < 52; bits++) {
			__int128 off = sign * ((__int128)1 << (56 + bits));

			parkclock_segment_make(&seg, &sample, rate, sample.now - off, 4ULL << 31,
					       1ULL << 31);
			KUNIT_ASSERT_LE(test, magnitude((s64)(seg.rate - rate)), rate >> 11);
			KUNIT_ASSERT_GT(test, sign * (s64)(seg.rate - rate), 0);
			KUNIT_ASSERT_EQ(test, 1ULL << bits, seg.error_ns);
		}
	}
	parkclock_segment_make(&seg, &sample, rate, sample.now, 0, 0);
	KUNIT_EXPECT_EQ(test, rate, seg.rate);
	KUNIT_EXPECT_EQ(test, 0, seg.error_ns);
}

static void lift(struct kunit *test)
{
	u64 seed = 5;

	for (int i = 0; i < ROUNDS(1000000); i++) {
		struct parkclock_segment seg = {
			.base_cycles = rnd(&seed),
			.base_ns = rnd(&seed) >> 4,
			.base_frac = rnd(&seed) >> 8,
			.rate = rnd(&seed) >> 8,
			.valid_cycles = 1ULL << 40,
			.error_ns = rnd(&seed) % 100,
		};
		const struct parkclock_segment before = seg;
		u64 cycles = seg.base_cycles + rnd(&seed) % (1ULL << 40);
		fixed said = parkclock_segment_at(&seg, cycles);
		fixed least = said + rnd_any(&seed) - rnd_any(&seed);
		fixed says;

		parkclock_segment_lift(&seg, cycles, least);
		says = parkclock_segment_at(&seg, cycles);
		KUNIT_ASSERT_LT(test, seg.base_frac, 1ULL << PARKCLOCK_SHIFT);
		if (said >= least) {
			KUNIT_ASSERT_EQ(test, 0, memcmp(&before, &seg, sizeof(seg)));
		} else {
			ASSERT_SAME(test, least, says);
			KUNIT_ASSERT_GE(test, seg.error_ns - before.error_ns,
					(u64)((least - said) >> PARKCLOCK_SHIFT));
		}
		cond_resched();
	}
}

/* A segment, and a sample near it with any values. */
static void base_is_never_below(struct kunit *test)
{
	u64 seed = 6;
	int slewed = 0, stepped = 0, floored = 0;

	for (int i = 0; i < ROUNDS(1000000); i++) {
		struct parkclock_segment old = {
			.base_cycles = rnd(&seed),
			.base_ns = rnd(&seed) >> 4,
			.base_frac = rnd(&seed) >> 8,
			.rate = 1ULL << 55,
			.valid_cycles = rnd(&seed) % 4 ? 1ULL << 40 : 0,
		};
		struct parkclock_sample sample = {
			.cycles = old.base_cycles + rnd(&seed) % (1ULL << 41),
		};
		enum parkclock_refresh how = rnd(&seed) % 2 ? PARKCLOCK_SLEW : PARKCLOCK_STEP;
		fixed was = parkclock_segment_at(&old, sample.cycles);
		fixed floor = rnd(&seed) % 2 ? was + rnd_any(&seed) - rnd_any(&seed) : 0;
		bool covers = parkclock_segment_covers(&old, sample.cycles);
		fixed base;

		cond_resched();
		sample.now = was + rnd_any(&seed) - rnd_any(&seed);
		base = parkclock_segment_base(&old, &sample, how, floor);
		ASSERT_SAME(test, base < floor ? floor : base, base);
		if (base == floor) {
			floored++;
			continue;
		}
		if (!old.valid_cycles) {
			ASSERT_SAME(test, sample.now, base);
		} else if (covers && how == PARKCLOCK_SLEW) {
			ASSERT_SAME(test, was, base);
			slewed++;
		} else {
			ASSERT_SAME(test, sample.now > was ? sample.now : was, base);
			stepped++;
		}
	}
	/* Each case happened, so each was checked. */
	KUNIT_EXPECT_GT(test, slewed, ROUNDS(10000));
	KUNIT_EXPECT_GT(test, stepped, ROUNDS(10000));
	KUNIT_EXPECT_GT(test, floored, ROUNDS(10000));
}

/*
 * The counter of another CPU may be a little behind the base. It must not be
 * taken for a counter that has begun anew, for which only the window's end is safe.
 */
static void late_counter(struct kunit *test)
{
	const struct parkclock_segment old = {
		.base_cycles = 1000,	/* so that some are before 0 */
		.base_ns = 5000000000ULL,
		.rate = 1ULL << 55,
		.valid_cycles = 1ULL << 33,
	};
	const fixed base = parkclock_segment_at(&old, old.base_cycles);
	const fixed end = parkclock_segment_at(&old, old.base_cycles + old.valid_cycles);

	for (u64 late = 0; late <= 10000; late++) {
		const struct parkclock_sample sample = {
			.cycles = old.base_cycles - late,
			.now = base - (fixed)late * old.rate,
		};

		ASSERT_SAME(test, base, parkclock_segment_at(&old, sample.cycles));
		ASSERT_SAME(test, base,
			    parkclock_segment_base(&old, &sample, PARKCLOCK_SLEW, 0));
		ASSERT_SAME(test, base,
			    parkclock_segment_base(&old, &sample, PARKCLOCK_STEP, 0));
	}
	ASSERT_SAME(test, end, parkclock_segment_at(&old, old.base_cycles - (1ULL << 22)));
}

/*
 * The host: its rate is middle + n * slop, n = -1, 0, 1, and changes at random.
 * A straight line since cycles, as in the timekeeper.
 */
struct host {
	struct parkclock_sample s;
	u64 rate;
};

static fixed host_at(const struct host *host, u64 cycles)
{
	return host->s.now + (fixed)(cycles - host->s.cycles) * host->rate;
}

static void host_advance(struct host *host, u64 cycles, u64 *seed)
{
	host->s.now = host_at(host, cycles);
	host->s.cycles = cycles;
	host->rate = host->s.rate + ((s64)(rnd(seed) % 3) - 1) * (s64)host->s.rate_slop;
}

#define WINDOW	(4 * TSC_HZ)

struct outcome {
	u64 beyond_bound;
	u64 backwards;
	u64 worst_ns;	/* error before each refresh, except for the first ones */
};

/* @irregular: refreshes come anywhere in the window; otherwise once a second. */
static struct outcome run_chain(u64 seed, s64 first_error_ns, bool irregular)
{
	struct host host = { .s = {
		.cycles = rnd(&seed),
		.now = (fixed)12345000000000 << 56,
		.rate = (1000000000ULL << 24) / TSC_HZ << 32,	/* a mult of 23 bits */
		.rate_slop = 1ULL << 32,
	} };
	struct parkclock_sample last;
	struct parkclock_segment seg, new;
	struct outcome out = { 0 };
	u64 slew = TSC_HZ;

	host.rate = host.s.rate;
	last = host.s;
	parkclock_segment_make(&seg, &host.s, host.s.rate,
			       host.s.now + (__int128)first_error_ns * (__int128)PARKCLOCK_ONE_NS,
			       WINDOW, slew);
	for (int i = 0; i < 400; i++) {
		u64 wait = irregular ? rnd(&seed) % WINDOW : TSC_HZ + rnd(&seed) % (TSC_HZ / 20);
		u64 at = seg.base_cycles, end = at + wait;
		s64 error;

		/* Read while the host's rate changes now and then. */
		while (at < end) {
			u64 now, host_now, bound;

			at += 1 + rnd(&seed) % (wait / 8 + 1);
			if (at > end)
				at = end;
			now = parkclock_segment_at(&seg, at) >> PARKCLOCK_SHIFT;
			host_now = host_at(&host, at) >> PARKCLOCK_SHIFT;
			bound = parkclock_error(seg.error_ns, seg.error_rate, at - seg.base_cycles);
			if (magnitude((s64)(now - host_now)) > bound)
				out.beyond_bound++;
			if (rnd(&seed) % 2)
				host_advance(&host, at, &seed);
		}
		host_advance(&host, end, &seed);
		error = (s64)(parkclock_segment_at(&seg, end) >> PARKCLOCK_SHIFT) -
			(s64)(host.s.now >> PARKCLOCK_SHIFT);
		if (i >= 200 && magnitude(error) > out.worst_ns)
			out.worst_ns = magnitude(error);

		/* As parkclock_timebase_refresh() does. */
		slew = parkclock_segment_slew(slew, wait, TSC_HZ, WINDOW);
		parkclock_segment_make(&new, &host.s, parkclock_segment_rate(&last, &host.s),
				       parkclock_segment_base(&seg, &host.s, rnd(&seed) % 8 ?
							      PARKCLOCK_SLEW : PARKCLOCK_STEP, 0),
				       WINDOW, slew);
		last = host.s;
		if (new.rate < seg.rate) {
			/* When it can be read last, if the writer is stopped now and then. */
			u64 cut = end + (rnd(&seed) % 4 ? 46000 : rnd(&seed) % (TSC_HZ / 10));

			parkclock_segment_lift(&new, cut, parkclock_segment_at(&seg, cut));
			if (parkclock_segment_at(&new, cut) < parkclock_segment_at(&seg, cut))
				out.backwards++;
		}
		if (parkclock_segment_at(&new, end) < parkclock_segment_at(&seg, end))
			out.backwards++;
		seg = new;
		cond_resched();
	}
	return out;
}

static void chain_once_a_second(struct kunit *test)
{
	for (int seed = 1; seed <= ROUNDS(50); seed++) {
		struct outcome out = run_chain(seed, 0, false);

		KUNIT_ASSERT_EQ(test, 0, out.beyond_bound);
		KUNIT_ASSERT_EQ(test, 0, out.backwards);
		/* 3 changes of slop (137 ns in a second) is what random dither can do. */
		KUNIT_ASSERT_LE(test, out.worst_ns, 1000);
	}
}

static void chain_irregular(struct kunit *test)
{
	for (int seed = 1; seed <= ROUNDS(50); seed++) {
		struct outcome out = run_chain(seed, 0, true);

		KUNIT_ASSERT_EQ(test, 0, out.beyond_bound);
		KUNIT_ASSERT_EQ(test, 0, out.backwards);
		KUNIT_ASSERT_LE(test, out.worst_ns, 10000);
	}
}

static void chain_from_a_large_error(struct kunit *test)
{
	const s64 errors[] = { 1000, -1000, 100000, -100000, 20000000, -20000000 };

	for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
		for (int seed = 1; seed <= ROUNDS(50); seed++) {
			struct outcome out = run_chain(seed, errors[e], false);

			KUNIT_ASSERT_EQ(test, 0, out.beyond_bound);
			KUNIT_ASSERT_EQ(test, 0, out.backwards);
			KUNIT_ASSERT_LE(test, out.worst_ns, 1000);
		}
	}
}

/*
 * Slewed, with a host whose rate is known: all of the bound is for what is slewed, and for
 * how far the host's clock may have left the line of the sample.
 */
static void bound_over_whole_window(struct kunit *test)
{
	u64 seed = 7;

	for (int i = 0; i < ROUNDS(200000); i++) {
		u64 window = (1ULL << 22) + rnd(&seed) % (1ULL << 40);
		u64 rate = (1ULL << 54) + rnd(&seed) % (1ULL << 56);
		struct parkclock_sample sample = {
			.now = (fixed)1 << 110,
			.now_slop = rnd(&seed) >> 6,	/* up to 4 ns */
			.rate = rate,
		};
		const fixed left = sample.now - (i & 1 ? sample.now_slop : -(fixed)sample.now_slop);
		s64 off = (s64)(rnd_any(&seed) >> 24) * (rnd(&seed) % 2 ? 1 : -1);
		struct parkclock_segment seg;

		parkclock_segment_make(&seg, &sample, rate,
				       sample.now + (__int128)off * (1LL << 40), window,
				       window / (2 + rnd(&seed) % 15));
		for (int k = 0; k <= 16; k++) {
			u64 t = k < 16 ? window / 16 * k : window - 1;
			u64 host = (left + (fixed)t * rate) >> PARKCLOCK_SHIFT;
			u64 says = parkclock_segment_at(&seg, t) >> PARKCLOCK_SHIFT;

			KUNIT_ASSERT_LE(test, magnitude(says - host),
					parkclock_error(seg.error_ns, seg.error_rate, t));
		}
		/* And no more than that: the most that it can be off is what it began with. */
		if (seg.error_rate)
			KUNIT_ASSERT_GE(test, magnitude(seg.rate - rate), seg.error_rate);
		cond_resched();
	}
}

/* Refreshes that come after these parts of an interval (%), by turns; 0: late */
static void slew_by_turns(struct kunit *test, u64 window, const unsigned int *waits, bool on_time)
{
	const u64 rate = 1ULL << 55, error_ns = 100000;
	struct parkclock_sample sample = { .now = (fixed)1 << 110, .rate = rate };
	fixed base = sample.now + error_ns * PARKCLOCK_ONE_NS;
	u64 slew = TSC_HZ, off = error_ns;
	struct parkclock_segment seg;

	for (int i = 0; i < 2000; i++) {
		u64 wait = waits[i % 4] ? TSC_HZ / 100 * waits[i % 4] : window / 40 * 39;

		parkclock_segment_make(&seg, &sample, rate, base, window, slew);
		sample.cycles += wait;
		sample.now += (fixed)wait * rate;
		base = parkclock_segment_base(&seg, &sample, PARKCLOCK_SLEW, 0);
		off = (base < sample.now ? sample.now - base : base - sample.now) >>
		      PARKCLOCK_SHIFT;
		slew = parkclock_segment_slew(slew, wait, TSC_HZ, window);
		if (i == 1 && on_time)
			KUNIT_ASSERT_LE(test, off, error_ns / 100);
		KUNIT_ASSERT_LE(test, off, (window / TSC_HZ - 1) * error_ns);
	}
	KUNIT_ASSERT_LE(test, off, error_ns / 10);
}

/* Never less than an interval, nor than the last segment was in use, up to half the window. */
static void slew_is_in_range(struct kunit *test)
{
	u64 seed = 8;

	for (int i = 0; i < ROUNDS(200000); i++) {
		u64 interval = 1 + (rnd_any(&seed) >> 16);
		u64 window = interval * (2 + rnd(&seed) % 15);
		u64 before = rnd(&seed) % window, length = rnd(&seed) % (2 * window);
		u64 slew = parkclock_segment_slew(before, length, interval, window);

		KUNIT_ASSERT_LE(test, slew, window / 2);
		KUNIT_ASSERT_GE(test, slew, interval);
		KUNIT_ASSERT_GE(test, slew, length < window / 2 ? length : window / 2);
		cond_resched();
	}
}

/* A counter that is behind the base says nothing about how late the refresh is. */
static void slew_of_late_counter(struct kunit *test)
{
	for (u64 before = 0; before < 4 * TSC_HZ; before += TSC_HZ / 7)
		for (u64 late = 1; late <= 1ULL << 20; late *= 2)
			KUNIT_ASSERT_EQ(test,
					parkclock_segment_slew(before, 0, TSC_HZ, WINDOW),
					parkclock_segment_slew(before, -late, TSC_HZ, WINDOW));
}

/*
 * An error is gone at the next refresh if that comes when it is expected. Where it
 * does not, the error may grow once, but not for good, not even by turns of the worst
 * kind.
 */
static void slew_takes_out(struct kunit *test)
{
	static const unsigned int waits[][4] = {
		{ 100, 100, 100, 100 }, { 105, 105, 105, 105 }, { 0, 0, 0, 0 }, { 100, 0, 100, 0 },
		{ 100, 100, 100, 0 }, { 100, 150, 190, 0 }, { 10, 0, 10, 0 }, { 10, 10, 10, 0 },
	};

	for (u64 window = 4; window <= 16; window *= 2)
		for (size_t k = 0; k < ARRAY_SIZE(waits); k++)
			slew_by_turns(test, window * TSC_HZ, waits[k], k < 2);
	/* A window of two intervals leaves no choice; and what is late is soon too late. */
	for (size_t k = 0; k < ARRAY_SIZE(waits); k++)
		slew_by_turns(test, 2 * TSC_HZ, waits[k], !k);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(scale),
	KUNIT_CASE(reader_and_module_agree),
	KUNIT_CASE(rate_is_the_mean),
	KUNIT_CASE(rate_of_nonsense),
	KUNIT_CASE(slew_is_limited),
	KUNIT_CASE(lift),
	KUNIT_CASE(base_is_never_below),
	KUNIT_CASE(late_counter),
	KUNIT_CASE(bound_over_whole_window),
	KUNIT_CASE(slew_is_in_range),
	KUNIT_CASE(slew_of_late_counter),
	KUNIT_CASE(slew_takes_out),
	KUNIT_CASE(chain_once_a_second),
	KUNIT_CASE(chain_irregular),
	KUNIT_CASE(chain_from_a_large_error),
	{}
};

static struct kunit_suite suite = {
	.name = "parkclock_segment",
	.test_cases = cases,
};

kunit_test_suite(suite);

MODULE_DESCRIPTION("Unit tests of parkclock's arithmetic");
MODULE_LICENSE("GPL");
