// SPDX-License-Identifier: GPL-2.0
/*
 * When a timer by the wall expires: late, never early, and once.
 *
 * Checked: a reading of the page or by READ, on any CPU, that comes after an expiration is at least
 * what the timer was set to, to the ns: with the page held, with a page that parks meanwhile, with
 * one that has expired, with the updater stopped, and while the host's rate is thrown about.
 * Expirations that nobody reads add up without an interrupt for each. A timer keeps the clock from
 * parking no more than its absence, and whoever has read it finds the page valid.
 *
 * Fails if a reading is below the expiry, if expirations are lost or counted twice, if the host is
 * interrupted for a timer that nobody reads, or if the updater runs because a timer waits.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/timers.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define TIMES	(getenv("BRIEF") ? 100 : 1000)

/* A reader on another CPU, which reads as soon as it is told of an expiration */
struct witness {
	struct pclock clock;
	int id;
	atomic_llong expired;	/* at this time; 0: not yet; -1: the end */
	atomic_llong early;		/* by so many ns */
	pthread_t thread;
};

static int64_t reading(const struct pclock *c, int id)
{
	int64_t ns = parkclock_page_read(c->map, id);

	return ns >= 0 ? ns : slow_read(c->fd, id).ns;
}

static void *watch(void *arg)
{
	struct witness *w = arg;
	int64_t at;

	try_to_pin(cpus_online() - 1);
	while ((at = w->expired) >= 0) {
		if (!at)
			continue;
		at -= reading(&w->clock, w->id);
		if (at > w->early)
			w->early = at;
		w->expired = 0;
	}
	return NULL;
}

FIXTURE(expiry) {
	struct witness w;
	int fd;
};

FIXTURE_VARIANT(expiry) {
	int id;
};

FIXTURE_VARIANT_ADD(expiry, monotonic) { .id = CLOCK_MONOTONIC };
FIXTURE_VARIANT_ADD(expiry, realtime) { .id = CLOCK_REALTIME };
FIXTURE_VARIANT_ADD(expiry, boottime) { .id = CLOCK_BOOTTIME };
FIXTURE_VARIANT_ADD(expiry, tai) { .id = CLOCK_TAI };

FIXTURE_SETUP(expiry)
{
	default_params();
	self->w.clock = open_owner();
	self->w.id = variant->id;
	self->fd = make_timer(self->w.clock.fd, variant->id, 0);
	if (pthread_create(&self->w.thread, NULL, watch, &self->w))
		die("pthread_create");
	try_to_pin(0);
}

FIXTURE_TEARDOWN(expiry)
{
	self->w.expired = -1;
	pthread_join(self->w.thread, NULL);
	close(self->fd);
	close_clock(&self->w.clock);
	default_params();
}

/* Sets the timer, waits for it, and has both CPUs read. Returns by how many ns it was early. */
static int64_t early(FIXTURE_DATA(expiry) *self, uint64_t *seed, bool absolute)
{
	const struct pclock *c = &self->w.clock;
	int64_t in = 1 + rnd(seed) % (rnd(seed) % 2 ? 200000 : 5000), at, ns, by = 0;
	struct parkclock_expired e;

	at = reading(c, self->w.id) + in;
	set_timer(self->fd, absolute ? ABSOLUTE : 0, absolute ? at : in, 0);
	if (try_expired(self->fd, &e) != sizeof(e) || e.expirations != 1)
		return INT64_MAX;
	/* A relative timer of REALTIME counts by MONOTONIC: by these the bounds may differ. */
	if (!absolute && (self->w.id == CLOCK_REALTIME || self->w.id == CLOCK_TAI))
		return 0;
	self->w.expired = at;
	ns = reading(c, self->w.id);
	if (ns < at)
		by = at - ns;
	while (self->w.expired)
		;
	return by > self->w.early ? by : self->w.early;
}

TEST_F(expiry, never_early_with_a_page_that_is_held)
{
	uint64_t seed = 1;

	hold(self->w.clock.fd);
	for (int i = 0; i < TIMES; i++)
		ASSERT_EQ(0, early(self, &seed, i % 2));
}

TEST_F(expiry, never_early_with_a_page_that_parks)
{
	uint64_t seed = 2;

	/* The shortest: the page parks, expires, and is made anew all the time. */
	set_params("1", "2", "0");
	for (int i = 0; i < TIMES; i++) {
		ASSERT_EQ(0, early(self, &seed, i % 2));
		if (i % 16 == 0)
			sleep_ms(4);
	}
}

TEST_F(expiry, never_early_without_a_page)
{
	uint64_t seed = 3;

	must_set("enabled", "N");
	for (int i = 0; i < TIMES; i++)
		ASSERT_EQ(0, early(self, &seed, i % 2));
	must_set("enabled", "Y");
}

static void *throw(void *arg)
{
	atomic_bool *over = arg;
	uint64_t seed = 4;

	for (unsigned int n = 0; !*over; n++) {
		throw_frequency(n, &seed);
		sleep_us(300);
	}
	restore_frequency();
	return NULL;
}

TEST_F(expiry, never_early_when_the_rate_changes)
{
	atomic_bool over = false;
	uint64_t seed = 5;
	pthread_t thrower;

	set_params("1", "4", "50");
	hold(self->w.clock.fd);
	ASSERT_EQ(0, pthread_create(&thrower, NULL, throw, &over));
	for (int i = 0; i < TIMES; i++)
		EXPECT_EQ(0, early(self, &seed, i % 2));
	over = true;
	pthread_join(thrower, NULL);
}

#define INTERRUPTS "/proc/interrupts"

/* How often the CPUs' timers have interrupted so far */
static uint64_t ticks(void)
{
	char line[4096];
	uint64_t sum = 0;
	FILE *f = fopen(INTERRUPTS, "r");

	if (!f)
		die(INTERRUPTS);
	while (fgets(line, sizeof(line), f)) {
		char *p = line, *next;

		while (*p == ' ')
			p++;
		if (p[0] != 'L' || p[1] != 'O' || p[2] != 'C' || p[3] != ':')
			continue;
		for (p += 4; ; p = next) {
			uint64_t n = strtoull(p, &next, 10);

			if (next == p)
				break;
			sum += n;
		}
	}
	fclose(f);
	return sum;
}

TEST_F(expiry, nobody_is_interrupted_for_what_nobody_reads)
{
	uint64_t before, n;
	int64_t begin, end;

	begin = reading(&self->w.clock, self->w.id);
	set_timer(self->fd, ABSOLUTE, begin, 1000);
	before = ticks();
	sleep_ms(200);
	n = expirations(self->fd);
	end = reading(&self->w.clock, self->w.id);
	/* 200,000 and more, of which no interrupt is */
	EXPECT_GE(n, 200000);
	EXPECT_LE(n, (end - begin) / 1000 + 1);
	EXPECT_LT(ticks() - before, 20000);
}

TEST_F(expiry, no_storm_after_a_day)
{
	int64_t now = reading(&self->w.clock, self->w.id), day = 24 * HOUR;
	struct parkclock_expired e;

	set_timer(self->fd, ABSOLUTE, now > day ? now - day : 1, MSEC);
	EXPECT_EQ(sizeof(e), try_expired(self->fd, &e));
	EXPECT_GE(e.expirations, (now > day ? day : now - 1) / MSEC + 1);
	EXPECT_LE(e.expirations, (reading(&self->w.clock, self->w.id) -
				  (now > day ? now - day : 1)) / MSEC + 1);
}

TEST_F(expiry, slack)
{
	struct parkclock_timer_set set = { .value_ns = 2 * MSEC, .slack_ns = 30 * MSEC };
	int64_t before = reading(&self->w.clock, CLOCK_MONOTONIC);
	struct parkclock_expired e;

	EXPECT_EQ(0, try_set(self->fd, &set));
	EXPECT_EQ(30 * MSEC, get_timer(self->fd).slack_ns);
	EXPECT_EQ(sizeof(e), try_expired(self->fd, &e));
	EXPECT_GE(reading(&self->w.clock, CLOCK_MONOTONIC), before + 2 * MSEC);
}

TEST(a_timer_holds_no_reference)
{
	int clock, fd;
	struct parkclock_query before, after;

	start_parked("1", "2", "0");
	clock = open_device();
	fd = make_timer(clock, CLOCK_MONOTONIC, 0);
	set_timer(fd, 0, 60 * NSEC, 0);
	ASSERT_TRUE(wait_state(clock, PARKCLOCK_PARKED));
	before = query(clock);
	sleep_ms(100);
	/* It expires with the page parked, and that wakes nobody but its reader. */
	set_timer(fd, 0, 5 * MSEC, 0);
	EXPECT_TRUE(expires(fd));
	after = query(clock);
	EXPECT_EQ(before.references, after.references);
	EXPECT_EQ(before.wakes, after.wakes);
	EXPECT_EQ(before.expirations, after.expirations);
	EXPECT_EQ(PARKCLOCK_PARKED, after.state);
	close(fd);
	close(clock);
	default_params();
}

TEST(whoever_has_read_it_finds_the_page_valid)
{
	struct pclock c;
	struct parkclock_expired e;
	int fd;

	if (!counter_usable())
		SKIP(return, "needs a usable counter");
	start_parked("60000", "2", "0");
	c = open_clock();
	fd = make_timer(c.fd, CLOCK_MONOTONIC, 0);
	must_set("interval_ms", "1");
	ASSERT_TRUE(wait_state(c.fd, PARKCLOCK_PARKED));
	ASSERT_TRUE(wait_until(parkclock_page_read(c.map, CLOCK_MONOTONIC) < 0));
	must_set("interval_ms", "60000");
	set_timer(fd, 0, 3 * MSEC, 0);
	EXPECT_EQ(sizeof(e), try_expired(fd, &e));
	EXPECT_GT(parkclock_page_read(c.map, CLOCK_MONOTONIC), 0);
	close(fd);
	close_clock(&c);
	default_params();
}

TEST_HARNESS_MAIN
