// SPDX-License-Identifier: GPL-2.0
/*
 * Every reading is within its own error bound of the host's clock.
 *
 * Checked: a reading between two clock_gettime() of the same clock lies between them, give or
 * take its error_ns, and its counter value was read in between, too. This holds for all four
 * clocks, by the page and by READ, while active, right after a wake, and stopped. It holds for
 * 10 million readings on all CPUs while the host's frequency is thrown from end to end of its
 * range, REALTIME is set back and forth by an hour, a tenth of a second and a microsecond, and
 * the clock parks and wakes. Where the host keeps time by another counter, READ's cycles are 0.
 *
 * Fails if an offset is wrong, if the rate is off by more than the bound grows, if a wake keeps
 * an old rate or base, or if the bound is a wish. A bound so large that it is useless fails as
 * well.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/timex.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/machine.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define READS		20000	/* of each clock */
#define USEFUL_NS	100000

FIXTURE(bound) {
	struct pclock c;
	bool usable;
	unsigned int readings;
	unsigned int useful;
	uint64_t best;
};

FIXTURE_SETUP(bound)
{
	start_parked("10", "4", "5");
	self->c = open_clock();
	self->usable = counter_usable();
	self->best = UINT64_MAX;
}

FIXTURE_TEARDOWN(bound)
{
	close_clock(&self->c);
	default_params();
}

/* False if there was no time to be had from the page. */
static bool check(struct __test_metadata *_metadata, FIXTURE_DATA(bound) *self, int id,
		  bool by_page)
{
	struct parkclock_reading r;
	uint64_t c0, c1;
	int64_t t0, t1;

	c0 = tsc();
	t0 = now_ns(id);
	if (!by_page)
		r = slow_read(self->c.fd, id);
	else if (parkclock_page_read_bound(self->c.map, id, &r) == PARKCLOCK_EXPIRED)
		return false;
	t1 = now_ns(id);
	c1 = tsc();
	ASSERT_TRUE(within_bound(&r, t0, t1)) {
		TH_LOG("clock %d by %s: %lld +- %llu, clock_gettime %lld to %lld", id,
		       by_page ? "page" : "READ", (long long)r.ns,
		       (unsigned long long)r.error_ns, (long long)t0, (long long)t1);
	}
	if (self->usable) {
		ASSERT_LE(c0, r.cycles);
		ASSERT_LE(r.cycles, c1);
	} else {
		ASSERT_EQ(0, r.cycles);
	}
	self->readings++;
	self->useful += r.error_ns <= USEFUL_NS;
	if (r.error_ns < self->best)
		self->best = r.error_ns;
	return true;
}

static void check_useful(struct __test_metadata *_metadata, FIXTURE_DATA(bound) *self)
{
	EXPECT_GE(self->useful, self->readings / 2);
	TH_LOG("%u readings, %u within %d ns, best bound %llu ns", self->readings, self->useful,
	       USEFUL_NS, (unsigned long long)self->best);
}

TEST_F(bound, page_while_active)
{
	NEEDS_COUNTER(return);
	hold(self->c.fd);
	for (int i = 0; i < READS * PARKCLOCK_CLOCKS;) {
		if (check(_metadata, self, clock_ids[i % PARKCLOCK_CLOCKS], true))
			i++;
		else
			ASSERT_TRUE(comes_back(self->c.map));
	}
	check_useful(_metadata, self);
}

/* Long segments show an error of the rate that short ones hide. */
TEST_F(bound, page_over_seconds)
{
	NEEDS_COUNTER(return);
	must_set("interval_ms", "1000");
	hold(self->c.fd);
	for (int i = 0; i < 5000; i++) {
		if (!check(_metadata, self, clock_ids[i % PARKCLOCK_CLOCKS], true))
			ASSERT_TRUE(comes_back(self->c.map));
		sleep_ms(1);
	}
	check_useful(_metadata, self);
}

TEST_F(bound, read_while_active)
{
	hold(self->c.fd);
	for (int i = 0; i < READS; i++)
		check(_metadata, self, clock_ids[i % PARKCLOCK_CLOCKS], false);
	check_useful(_metadata, self);
}

TEST_F(bound, after_wake)
{
	unsigned int by_page = 0;
	uint64_t seed = 5;

	NEEDS_COUNTER(return);
	must_set("interval_ms", "1");
	/* Some pages expire before they are read; on a slow machine, most. */
	for (int round = 0; round < 300 || by_page < 300; round++) {
		bool by_hold = round & 1;

		ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
		sleep_us(rnd(&seed) % 10000);
		if (by_hold)
			hold(self->c.fd);
		for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
			check(_metadata, self, clock_ids[(round + i) % PARKCLOCK_CLOCKS], by_hold);
			by_page += check(_metadata, self, clock_ids[i], true);
		}
		if (by_hold)
			release(self->c.fd);
	}
	check_useful(_metadata, self);
}

TEST_F(bound, after_long_park)
{
	must_set("interval_ms", "20000");
	for (int i = 0; i < 4; i++) {
		sleep_ms(1500);
		check(_metadata, self, clock_ids[i], false);
		EXPECT_EQ(self->usable, check(_metadata, self, clock_ids[i], true));
		must_set("interval_ms", "10");
		ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
		must_set("interval_ms", "20000");
	}
	check_useful(_metadata, self);
}

TEST_F(bound, read_while_stopped)
{
	must_set("enabled", "N");
	for (int i = 0; i < READS; i++)
		check(_metadata, self, clock_ids[i % PARKCLOCK_CLOCKS], false);
	check_useful(_metadata, self);
}

/*
 * Which steps of REALTIME were made, begun ones odd: a bracket that has one in it
 * says nothing about REALTIME and TAI. By the kernel's own clock, see kernel_ns().
 */
static atomic_uint steps;
static atomic_bool over;

struct checker {
	pthread_t thread;
	int cpu;
	atomic_ullong reads;
	unsigned long long slow, void_brackets;
	struct parkclock_reading r;
	int64_t t0, t1;
	int id;
	bool by_page;
	atomic_bool bug;
};

static void *checker(void *arg)
{
	struct checker *k = arg;
	struct pclock c = open_clock();

	pin(k->cpu);
	for (unsigned int i = 0; !over; i++) {
		unsigned int before = steps;

		k->id = clock_ids[i % PARKCLOCK_CLOCKS];
		k->t0 = kernel_ns(k->id);
		k->by_page = i % 256 && parkclock_page_read_bound(c.map, k->id, &k->r) >= 0;
		if (!k->by_page) {
			k->r = slow_read(c.fd, k->id);
			k->slow++;
		}
		k->t1 = kernel_ns(k->id);
		if ((k->id == CLOCK_REALTIME || k->id == CLOCK_TAI) &&
		    (before & 1 || steps != before)) {
			k->void_brackets++;
			continue;
		}
		if (!within_bound(&k->r, k->t0, k->t1)) {
			k->bug = true;
			over = true;
		}
		k->reads++;
	}
	close_clock(&c);
	return NULL;
}

/* By exactly so many us, however long it takes: to set it could also be no step at all. */
static void step_realtime(int64_t by)
{
	struct timex tx = { .modes = ADJ_SETOFFSET };

	tx.time.tv_sec = by / 1000000;
	tx.time.tv_usec = by % 1000000;
	if (tx.time.tv_usec < 0) {
		tx.time.tv_sec--;
		tx.time.tv_usec += 1000000;
	}
	steps++;
	if (adjtimex(&tx) < 0)
		die("adjtimex");
	steps++;
}

TEST_F_TIMEOUT(bound, under_all_treatments, 1200)
{
	static const int64_t by[] = { 3600000000, -3600000000, 100000, -100000, 1, -1 };
	/* A checker of the kernel's makes a system call many times as long. */
	const unsigned long long wanted = has_checkers() ? 1000000 : scaled(10000000);
	struct parkclock_query start = query(self->c.fd), end;
	unsigned long long reads, slow = 0, void_brackets = 0;
	struct checker checkers[64] = { 0 };
	int cpus = cpus_online() < 64 ? cpus_online() : 64;
	unsigned int n = 0;
	uint64_t seed = 7;

	must_set("interval_ms", "1");
	over = false;
	for (int i = 0; i < cpus; i++) {
		checkers[i].cpu = i;
		if (pthread_create(&checkers[i].thread, NULL, checker, &checkers[i]))
			die("pthread_create");
	}
	do {
		bool held = rnd(&seed) & 1;

		throw_frequency(n, &seed);
		if (held)
			hold(self->c.fd);
		sleep_us(rnd(&seed) % 10000);
		if (n % 3 == 0)
			step_realtime(by[n / 3 % ARRAY_SIZE(by)]);
		sleep_us(rnd(&seed) % 10000);
		if (held)
			release(self->c.fd);
		n++;
		reads = 0;
		for (int i = 0; i < cpus; i++)
			reads += checkers[i].reads;
		end = query(self->c.fd);
	} while (!over && (reads < wanted || n % (3 * ARRAY_SIZE(by)) || n < 300));
	over = true;
	for (int i = 0; i < cpus; i++) {
		struct checker *k = &checkers[i];

		pthread_join(k->thread, NULL);
		slow += k->slow;
		void_brackets += k->void_brackets;
		EXPECT_FALSE(k->bug) {
			TH_LOG("CPU %d, clock %d by %s: %lld +- %llu, the host %lld to %lld",
			       k->cpu, k->id, k->by_page ? "page" : "READ", (long long)k->r.ns,
			       (unsigned long long)k->r.error_ns, (long long)k->t0,
			       (long long)k->t1);
		}
	}
	restore_frequency();
	TH_LOG("%llu readings, %llu of all by READ, %llu said nothing; %u changes of frequency",
	       reads, slow, void_brackets, n);
	EXPECT_LT(void_brackets, reads);
	EXPECT_GE(end.generation, start.generation + n / 3);
	EXPECT_TRUE(!self->usable || end.refreshes > start.refreshes + 300);
}

TEST_HARNESS_MAIN
