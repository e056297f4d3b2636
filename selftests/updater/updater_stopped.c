// SPDX-License-Identifier: GPL-2.0
/*
 * A stopped updater: nothing refreshes, references count, READ still has the time, and start
 * serves the references that were taken meanwhile.
 *
 * Checked: the page is invalid when the write of enabled=0 returns, and stays invalid whatever
 * is held or read. The timer is silent, by the kernel's own trace. Start leads to ACTIVE with a
 * valid page if references are held, else to PARKED. All of this also holds while holders and
 * readers race with the switch.
 *
 * Fails if a get restarts a stopped updater, if a tick in flight publishes after the stop, or
 * if a reference taken while stopped is forgotten.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(updater_stopped) {
	struct pclock c;
};

FIXTURE_SETUP(updater_stopped)
{
	start_parked("10", "4", "5");
	self->c = open_clock();
}

FIXTURE_TEARDOWN(updater_stopped)
{
	trace_stop(TIMER_EVENT);
	close_clock(&self->c);
	default_params();
}

TEST_F(updater_stopped, invalid_at_once)
{
	must_set("interval_ms", "20000");
	for (int i = 0; i < 20; i++) {
		struct parkclock_query q;

		hold(self->c.fd);
		ASSERT_EQ(readers_held(), readers_with_time(self->c.map));
		must_set("enabled", "N");
		ASSERT_EQ(0, readers_with_time(self->c.map));
		q = query(self->c.fd);
		ASSERT_EQ(PARKCLOCK_STOPPED, q.state);
		ASSERT_EQ(0, q.window_left_ns);
		ASSERT_EQ(1, q.references);
		must_set("enabled", "Y");
		ASSERT_EQ(readers_held(), readers_with_time(self->c.map));
		ASSERT_EQ(state_held(), query(self->c.fd).state);
		release(self->c.fd);
	}
}

TEST_F(updater_stopped, stays_stopped)
{
	struct parkclock_query before, after;
	char filter[64];

	NEEDS_TRACE(return);
	our_timer(filter, sizeof(filter));
	hold(self->c.fd);
	trace_start(TIMER_EVENT, filter);
	/* Without this the zeros below would prove nothing. */
	ASSERT_TRUE(!counter_usable() || wait_until(trace_count("hrtimer_expire_entry", NULL)));
	must_set("enabled", "N");
	trace_write("trace", "");
	before = query(self->c.fd);
	for (int i = 0; i < 30; i++) {
		hold(self->c.fd);
		for (int k = 0; k < PARKCLOCK_CLOCKS; k++)
			EXPECT_TRUE(slow_read_is_right(self->c.fd, clock_ids[k]));
		EXPECT_EQ(0, readers_with_time(self->c.map));
		EXPECT_EQ(PARKCLOCK_STOPPED, query(self->c.fd).state);
		EXPECT_EQ(i + 2, query(self->c.fd).references);
		sleep_ms(10);
	}
	after = query(self->c.fd);
	EXPECT_EQ(0, trace_count("hrtimer_expire_entry", NULL));
	EXPECT_EQ(before.expirations, after.expirations);
	EXPECT_EQ(before.refreshes, after.refreshes);
	EXPECT_EQ(before.wakes, after.wakes);
	EXPECT_EQ(before.slow_reads + 30 * PARKCLOCK_CLOCKS, after.slow_reads);
}

TEST_F(updater_stopped, start_with_references)
{
	struct parkclock_query before, after;

	must_set("interval_ms", "20000");
	must_set("enabled", "N");
	hold(self->c.fd);
	hold(self->c.fd);
	release(self->c.fd);
	before = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_STOPPED, before.state);
	EXPECT_EQ(1, before.references);
	EXPECT_EQ(0, readers_with_time(self->c.map));
	must_set("enabled", "Y");
	EXPECT_EQ(readers_held(), readers_with_time(self->c.map));
	after = query(self->c.fd);
	EXPECT_EQ(state_held(), after.state);
	EXPECT_EQ(before.wakes + counter_usable(), after.wakes);
	EXPECT_EQ(counter_usable(), before.refreshes < after.refreshes);
	EXPECT_EQ(1, after.references);
	for (int k = 0; k < PARKCLOCK_CLOCKS; k++)
		EXPECT_TRUE(slow_read_is_right(self->c.fd, clock_ids[k]));
}

TEST_F(updater_stopped, started_updater_goes_on)
{
	struct parkclock_query start;

	NEEDS_COUNTER(return);
	must_set("enabled", "N");
	hold(self->c.fd);
	must_set("enabled", "Y");
	start = query(self->c.fd);
	EXPECT_TRUE(wait_until(query(self->c.fd).refreshes >= start.refreshes + 5));
	release(self->c.fd);
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
}

TEST_F(updater_stopped, start_without_references)
{
	struct parkclock_query before, after;

	must_set("enabled", "N");
	before = query(self->c.fd);
	hold(self->c.fd);
	release(self->c.fd);
	must_set("enabled", "Y");
	EXPECT_EQ(PARKCLOCK_PARKED, query(self->c.fd).state);
	EXPECT_EQ(0, readers_with_time(self->c.map));
	sleep_ms(100);
	after = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_PARKED, after.state);
	EXPECT_EQ(before.wakes, after.wakes);
	EXPECT_EQ(before.expirations, after.expirations);
}

TEST_F(updater_stopped, twice_is_once)
{
	struct parkclock_query once, twice;

	must_set("interval_ms", "20000");
	hold(self->c.fd);
	once = query(self->c.fd);
	must_set("enabled", "Y");
	twice = query(self->c.fd);
	EXPECT_EQ(state_held(), twice.state);
	EXPECT_EQ(once.wakes, twice.wakes);
	EXPECT_EQ(once.generation, twice.generation);
	EXPECT_EQ(readers_held(), readers_with_time(self->c.map));
	must_set("enabled", "N");
	once = query(self->c.fd);
	must_set("enabled", "N");
	twice = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_STOPPED, twice.state);
	EXPECT_EQ(once.invalidations, twice.invalidations);
	must_set("interval_ms", "500");
	EXPECT_EQ(PARKCLOCK_STOPPED, query(self->c.fd).state);
	EXPECT_EQ(0, readers_with_time(self->c.map));
	release(self->c.fd);
}

#define RACERS	4

static atomic_bool stop;

struct racer {
	pthread_t thread;
	uint64_t seed;
	uint64_t rounds;
	const char *bug;
};

static void *racing_holder(void *arg)
{
	struct racer *r = arg;
	struct pclock c = open_clock();

	for (; !stop; r->rounds++) {
		hold(c.fd);
		if (query(c.fd).holds != 1)
			r->bug = "hold not counted";
		sleep_us(rnd(&r->seed) % 2000);
		release(c.fd);
		sleep_us(rnd(&r->seed) % 2000);
	}
	close_clock(&c);
	return NULL;
}

static void *racing_reader(void *arg)
{
	struct racer *r = arg;
	struct pclock c = open_clock();
	int64_t last = 0;

	for (; !stop; r->rounds++) {
		int64_t t0 = now_ns(CLOCK_MONOTONIC), ns;
		struct parkclock_reading reading;

		if (parkclock_page_read_bound(c.map, CLOCK_MONOTONIC, &reading) ==
		    PARKCLOCK_EXPIRED)
			reading = slow_read(c.fd, CLOCK_MONOTONIC);
		if (!within_bound(&reading, t0, now_ns(CLOCK_MONOTONIC)))
			r->bug = "reading outside its bound";
		ns = reading.ns;
		if (ns < last)
			r->bug = "time went back";
		last = ns;
	}
	close_clock(&c);
	return NULL;
}

static bool all_have_raced(const struct racer *r)
{
	for (int i = 0; i < RACERS; i++)
		if (__atomic_load_n(&r[i].rounds, __ATOMIC_RELAXED) <= 10)
			return false;
	return true;
}

TEST_F(updater_stopped, toggled_under_load)
{
	struct racer r[RACERS] = { 0 };
	uint64_t seed = 11;

	must_set("interval_ms", "1");
	stop = false;
	for (int i = 0; i < RACERS; i++) {
		r[i].seed = i + 1;
		ASSERT_EQ(0, pthread_create(&r[i].thread, NULL,
					    i < 2 ? racing_holder : racing_reader, &r[i]));
	}
	/* Until each has taken part, however long it was kept from that. */
	for (int i = 0; i < 2000 || i & 1 || !all_have_raced(r); i++) {
		must_set("enabled", i & 1 ? "Y" : "N");
		EXPECT_EQ(!(i & 1), query(self->c.fd).state == PARKCLOCK_STOPPED);
		if (i & 2)
			sleep_us(rnd(&seed) % 3000);
	}
	stop = true;
	for (int i = 0; i < RACERS; i++) {
		pthread_join(r[i].thread, NULL);
		EXPECT_EQ(NULL, r[i].bug) {
			TH_LOG("thread %d: %s", i, r[i].bug);
		}
		EXPECT_GT(r[i].rounds, 10);
	}
	EXPECT_EQ(0, query(self->c.fd).references);
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	must_set("interval_ms", "20000");
	hold(self->c.fd);
	EXPECT_EQ(readers_held(), readers_with_time(self->c.map));
	EXPECT_EQ(1, query(self->c.fd).references);
}

TEST_HARNESS_MAIN
