// SPDX-License-Identifier: GPL-2.0
/*
 * The arithmetic of segments, from the module's own source.
 *
 * - Products and sums are right over the whole range of values (against long
 *   multiplication by hand), and no step of it overflows.
 * - The rate stays within what the host's rate is known to be, whatever the
 *   samples say, and is the mean where they are good.
 * - A new segment never begins below what the old one can have said, nor below
 *   the floor, whatever the sample says.
 * - A chain of segments over a host clock that dithers, refreshed as irregularly
 *   as can be, is never further from the host's clock than its bound, never goes
 *   back, and comes close to it in the end. It would fail if the slew overshot,
 *   if a term of the bound were missing, or if a lift were too small.
 */
#include "kselftest_harness.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "segment.h"

typedef unsigned __int128 fixed;

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Of any size, small ones as often as large ones. */
static uint64_t rnd_any(uint64_t *state)
{
	uint64_t bits = rnd(state) % 64;

	return rnd(state) >> bits;
}

/* floor((a * b + c) / 2^56) mod 2^64, in pieces of 32 bits */
static uint64_t scale_by_hand(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t part[4] = { 0 }, sum = 0, carry = 0;
	uint32_t word[4];

	for (int i = 0; i < 2; i++) {
		for (int j = 0; j < 2; j++) {
			uint64_t product = (a >> 32 * i & 0xffffffff) * (b >> 32 * j & 0xffffffff);

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
	return (uint64_t)word[1] >> 24 | (uint64_t)word[2] << 8 | (uint64_t)word[3] << 40;
}

TEST(scale)
{
	uint64_t seed = 1;

	for (int i = 0; i < 2000000; i++) {
		uint64_t a = rnd_any(&seed), b = rnd_any(&seed), c = rnd_any(&seed) >> 8;

		ASSERT_EQ(scale_by_hand(a, b, c), parkclock_scale(a, b, c));
	}
	EXPECT_EQ(scale_by_hand(~0ULL, ~0ULL, ~0ULL), parkclock_scale(~0ULL, ~0ULL, ~0ULL));
	EXPECT_EQ(1, parkclock_scale(1, 1ULL << 56, 0));
	EXPECT_EQ(0, parkclock_scale(1, (1ULL << 56) - 1, 0));
	EXPECT_EQ(1, parkclock_scale(1, (1ULL << 56) - 1, 1));
}

/* A reader and the module agree about what a segment says. */
TEST(reader_and_module_agree)
{
	uint64_t seed = 2;

	for (int i = 0; i < 1000000; i++) {
		struct parkclock_segment seg = {
			.base_cycles = rnd(&seed),
			.base_ns = rnd(&seed) >> 2,
			.base_frac = rnd(&seed) >> 8,
			.rate = rnd(&seed) >> (4 + rnd(&seed) % 8),
			.valid_cycles = rnd(&seed) >> (20 + rnd(&seed) % 20),
		};
		uint64_t delta = rnd_any(&seed);
		fixed at = parkclock_segment_at(&seg, seg.base_cycles + delta);

		ASSERT_EQ(delta < seg.valid_cycles,
			  parkclock_segment_covers(&seg, seg.base_cycles + delta));
		if (delta > seg.valid_cycles)
			delta = seg.valid_cycles;
		ASSERT_EQ(seg.base_ns + parkclock_scale(delta, seg.rate, seg.base_frac),
			  (uint64_t)(at >> PARKCLOCK_SHIFT));
	}
}

TEST(rate_is_the_mean)
{
	uint64_t seed = 3;

	for (int i = 0; i < 200000; i++) {
		uint64_t slop = 1ULL << (24 + rnd(&seed) % 9);
		uint64_t rate = (1ULL << 53) + rnd(&seed) % (1ULL << 57);
		uint64_t cycles = (1ULL << 18) + rnd(&seed) % (1ULL << 42);
		int64_t off = (int64_t)(rnd(&seed) % (2 * slop)) - (int64_t)slop;
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
		int64_t error = parkclock_segment_rate(&from, &to) - (rate + off);

		/* Cut towards the middle, and by less than 2^-14 of the change. */
		ASSERT_LE(llabs(error), (llabs(off) >> 14) + 1);
	}
}

TEST(rate_of_nonsense)
{
	uint64_t seed = 4;

	for (int i = 0; i < 1000000; i++) {
		struct parkclock_sample from = {
			.cycles = rnd_any(&seed), .now = (fixed)rnd_any(&seed) << 56,
		};
		struct parkclock_sample to = {
			.cycles = rnd_any(&seed), .now = (fixed)rnd_any(&seed) << 56,
			.rate = 1ULL << 55, .rate_slop = 1ULL << 32,
		};
		uint64_t rate = parkclock_segment_rate(&from, &to);

		ASSERT_GE(rate, to.rate - to.rate_slop);
		ASSERT_LE(rate, to.rate + to.rate_slop);
	}
}

TEST(slew_is_limited)
{
	const uint64_t rate = 1ULL << 55;
	struct parkclock_sample sample = { .now = (fixed)1 << 110, .rate = rate };
	struct parkclock_segment seg;

	for (int sign = -1; sign <= 1; sign += 2) {
		/* From a nanosecond to a century. */
		for (int bits = 0; bits < 52; bits++) {
			__int128 off = sign * ((__int128)1 << (56 + bits));

			parkclock_segment_make(&seg, &sample, rate, sample.now - off, 4ULL << 31);
			ASSERT_LE(llabs((int64_t)(seg.rate - rate)), rate >> 11);
			ASSERT_GT(sign * (int64_t)(seg.rate - rate), 0);
			ASSERT_EQ(1ULL << bits, seg.error_ns);
		}
	}
	parkclock_segment_make(&seg, &sample, rate, sample.now, 0);
	EXPECT_EQ(rate, seg.rate);
	EXPECT_EQ(0, seg.error_ns);
}

TEST(lift)
{
	uint64_t seed = 5;

	for (int i = 0; i < 1000000; i++) {
		struct parkclock_segment seg = {
			.base_cycles = rnd(&seed),
			.base_ns = rnd(&seed) >> 4,
			.base_frac = rnd(&seed) >> 8,
			.rate = rnd(&seed) >> 8,
			.valid_cycles = 1ULL << 40,
			.error_ns = rnd(&seed) % 100,
		};
		const struct parkclock_segment before = seg;
		uint64_t cycles = seg.base_cycles + rnd(&seed) % (1ULL << 40);
		fixed said = parkclock_segment_at(&seg, cycles);
		fixed least = said + rnd_any(&seed) - rnd_any(&seed);
		fixed says;

		parkclock_segment_lift(&seg, cycles, least);
		says = parkclock_segment_at(&seg, cycles);
		ASSERT_LT(seg.base_frac, 1ULL << PARKCLOCK_SHIFT);
		if (said >= least) {
			ASSERT_EQ(0, memcmp(&before, &seg, sizeof(seg)));
		} else {
			ASSERT_TRUE(says == least);
			ASSERT_GE(seg.error_ns - before.error_ns,
				  (uint64_t)((least - said) >> PARKCLOCK_SHIFT));
		}
	}
}

/* A segment, and a sample taken around it that may say anything. */
TEST(base_is_never_below)
{
	uint64_t seed = 6;
	int slewed = 0, stepped = 0, floored = 0;

	for (int i = 0; i < 1000000; i++) {
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

		sample.now = was + rnd_any(&seed) - rnd_any(&seed);
		base = parkclock_segment_base(&old, &sample, how, floor);
		ASSERT_TRUE(base >= floor);
		if (base == floor) {
			floored++;
			continue;
		}
		if (!old.valid_cycles) {
			ASSERT_TRUE(base == sample.now);
		} else if (covers && how == PARKCLOCK_SLEW) {
			ASSERT_TRUE(base == was);
			slewed++;
		} else {
			ASSERT_TRUE(base == (sample.now > was ? sample.now : was));
			stepped++;
		}
	}
	/* Each of these happened, so that each of them was checked. */
	EXPECT_GT(slewed, 10000);
	EXPECT_GT(stepped, 10000);
	EXPECT_GT(floored, 10000);
}

/*
 * The host: its rate is middle + n * slop, n = -1, 0, 1, and changes at random.
 * A straight line since cycles, as in the timekeeper.
 */
struct host {
	struct parkclock_sample s;
	uint64_t rate;
};

static fixed host_at(const struct host *host, uint64_t cycles)
{
	return host->s.now + (fixed)(cycles - host->s.cycles) * host->rate;
}

static void host_advance(struct host *host, uint64_t cycles, uint64_t *seed)
{
	host->s.now = host_at(host, cycles);
	host->s.cycles = cycles;
	host->rate = host->s.rate + ((int64_t)(rnd(seed) % 3) - 1) * (int64_t)host->s.rate_slop;
}

#define HZ	2300000000ULL	/* cycles per second */
#define WINDOW	(4 * HZ)

struct outcome {
	uint64_t beyond_bound;
	uint64_t backwards;
	int64_t worst_ns;	/* error before a refresh, the first ones left out */
};

/* @irregular: refreshes come anywhere in the window, else once a second. */
static struct outcome run_chain(uint64_t seed, int64_t first_error_ns, bool irregular)
{
	struct host host = { .s = {
		.cycles = rnd(&seed),
		.now = (fixed)12345000000000 << 56,
		.rate = (1000000000ULL << 24) / HZ << 32,	/* a mult of 23 bits */
		.rate_slop = 1ULL << 32,
	} };
	struct parkclock_sample last;
	struct parkclock_segment seg, new;
	struct outcome out = { 0 };

	host.rate = host.s.rate;
	last = host.s;
	parkclock_segment_make(&seg, &host.s, host.s.rate,
			       host.s.now + (__int128)first_error_ns * (__int128)PARKCLOCK_ONE_NS,
			       WINDOW);
	for (int i = 0; i < 400; i++) {
		uint64_t wait = irregular ? rnd(&seed) % WINDOW : HZ + rnd(&seed) % (HZ / 20);
		uint64_t at = seg.base_cycles, end = at + wait;
		int64_t error;

		/* Reads while the host's rate changes now and then. */
		while (at < end) {
			uint64_t now, host_now, bound;

			at += 1 + rnd(&seed) % (wait / 8 + 1);
			if (at > end)
				at = end;
			now = parkclock_segment_at(&seg, at) >> PARKCLOCK_SHIFT;
			host_now = host_at(&host, at) >> PARKCLOCK_SHIFT;
			bound = parkclock_error(seg.error_ns, seg.error_rate, at - seg.base_cycles);
			if ((uint64_t)llabs((int64_t)(now - host_now)) > bound)
				out.beyond_bound++;
			if (rnd(&seed) % 2)
				host_advance(&host, at, &seed);
		}
		host_advance(&host, end, &seed);
		error = (int64_t)(parkclock_segment_at(&seg, end) >> PARKCLOCK_SHIFT) -
			(int64_t)(host.s.now >> PARKCLOCK_SHIFT);
		if (i >= 200 && llabs(error) > out.worst_ns)
			out.worst_ns = llabs(error);

		/* As parkclock_timebase_refresh() does it. */
		parkclock_segment_make(&new, &host.s, parkclock_segment_rate(&last, &host.s),
				       parkclock_segment_base(&seg, &host.s, rnd(&seed) % 8 ?
							      PARKCLOCK_SLEW : PARKCLOCK_STEP, 0),
				       WINDOW);
		last = host.s;
		if (new.rate < seg.rate) {
			uint64_t cut = end + 46000;

			parkclock_segment_lift(&new, cut, parkclock_segment_at(&seg, cut));
			if (parkclock_segment_at(&new, cut) < parkclock_segment_at(&seg, cut))
				out.backwards++;
		}
		if (parkclock_segment_at(&new, end) < parkclock_segment_at(&seg, end))
			out.backwards++;
		seg = new;
	}
	return out;
}

TEST(chain_once_a_second)
{
	for (int seed = 1; seed <= 50; seed++) {
		struct outcome out = run_chain(seed, 0, false);

		ASSERT_EQ(0, out.beyond_bound);
		ASSERT_EQ(0, out.backwards);
		/* 3 changes of slop (137 ns in a second) is what random dither can do. */
		ASSERT_LE(out.worst_ns, 1000);
	}
}

TEST(chain_irregular)
{
	for (int seed = 1; seed <= 50; seed++) {
		struct outcome out = run_chain(seed, 0, true);

		ASSERT_EQ(0, out.beyond_bound);
		ASSERT_EQ(0, out.backwards);
		ASSERT_LE(out.worst_ns, 10000);
	}
}

TEST(chain_from_a_large_error)
{
	const int64_t errors[] = { 1000, -1000, 100000, -100000, 20000000, -20000000 };

	for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
		for (int seed = 1; seed <= 10; seed++) {
			struct outcome out = run_chain(seed, errors[e], false);

			ASSERT_EQ(0, out.beyond_bound);
			ASSERT_EQ(0, out.backwards);
			ASSERT_LE(out.worst_ns, 1000);
		}
	}
}

TEST_HARNESS_MAIN
