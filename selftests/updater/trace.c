// SPDX-License-Identifier: GPL-2.0
/*
 * Trace events and counters report what happened, when it happened; and a step of the host's
 * REALTIME is followed at once.
 *
 * Checked: park, wake, refresh and invalidate each appear once for their cause, together with
 * QUERY's counter, and never without it. After clock_settime() no reader gets the old REALTIME,
 * and the generation has been raised.
 *
 * Fails if an event or a count is missing or doubled, if park is reported when nothing parked,
 * or if the page still shows the time from before the step.
 */
#include <stdbool.h>
#include <stdint.h>
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
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(trace) {
	struct pclock c;
	struct parkclock_query q;
	bool stepped;
};

FIXTURE_SETUP(trace)
{
	start_parked("20000", "4", "5");
	self->c = open_clock();
	trace_start("parkclock", NULL);
	self->q = query(self->c.fd);
}

static void step_realtime(int64_t by)
{
	int64_t to = now_ns(CLOCK_REALTIME) + by;
	struct timespec ts = { to / NSEC, to % NSEC };

	if (clock_settime(CLOCK_REALTIME, &ts))
		die("clock_settime");
}

FIXTURE_TEARDOWN(trace)
{
	if (self->stepped)
		step_realtime(-NSEC);
	trace_stop("parkclock");
	close_clock(&self->c);
	default_params();
}

/* Events and counters since the last call must be these and agree. */
static void expect_events(struct __test_metadata *_metadata, FIXTURE_DATA(trace) *self,
			  int wakes, int parks, int invalidations)
{
	struct parkclock_query q = query(self->c.fd);

	EXPECT_EQ(wakes, trace_count("parkclock_wake:", NULL));
	EXPECT_EQ(parks, trace_count("parkclock_park:", NULL));
	EXPECT_EQ(invalidations, trace_count("parkclock_invalidate:", NULL));
	EXPECT_EQ(wakes, q.wakes - self->q.wakes);
	EXPECT_EQ(parks, q.parks - self->q.parks);
	EXPECT_EQ(invalidations, q.invalidations - self->q.invalidations);
	EXPECT_EQ(q.refreshes - self->q.refreshes, trace_count("parkclock_refresh:", NULL));
	trace_write("trace", "");
	self->q = q;
}

TEST_F(trace, wake_and_park)
{
	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	expect_events(_metadata, self, 0, 0, 0);
	hold(self->c.fd);
	EXPECT_GE(query(self->c.fd).refreshes, self->q.refreshes + 1);
	expect_events(_metadata, self, 1, 0, 0);
	hold(self->c.fd);
	release(self->c.fd);
	(void)slow_read(self->c.fd, CLOCK_MONOTONIC);
	expect_events(_metadata, self, 0, 0, 0);
	release(self->c.fd);
	must_set("interval_ms", "10");
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	expect_events(_metadata, self, 0, 1, 0);
	must_set("interval_ms", "20000");
	(void)slow_read(self->c.fd, CLOCK_MONOTONIC);
	expect_events(_metadata, self, 1, 0, 0);
}

TEST_F(trace, refresh)
{
	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	hold(self->c.fd);
	expect_events(_metadata, self, 1, 0, 0);
	must_set("interval_ms", "10");
	EXPECT_TRUE(wait_until(trace_count("parkclock_refresh:", NULL) >= 5));
	must_set("interval_ms", "20000");
	/* Each expiration of an updater that is held refreshes. */
	EXPECT_GE(query(self->c.fd).refreshes - self->q.refreshes,
		  query(self->c.fd).expirations - self->q.expirations);
	expect_events(_metadata, self, 0, 0, 0);
}

TEST_F(trace, stop_invalidates)
{
	const int once = counter_usable();

	NEEDS_TRACE(return);
	hold(self->c.fd);
	expect_events(_metadata, self, once, 0, 0);
	must_set("enabled", "N");
	expect_events(_metadata, self, 0, 0, once);
	must_set("enabled", "Y");
	expect_events(_metadata, self, once, 0, 0);
}

TEST_F(trace, step_of_the_host)
{
	struct parkclock_reading after;
	int64_t mono0, mono1;

	NEEDS_TRACE(return);
	hold(self->c.fd);
	ASSERT_EQ(readers_held(), readers_with_time(self->c.map));
	for (int i = 0; i < 20; i++) {
		uint64_t generation = query(self->c.fd).generation;
		int64_t t0, t1;
		bool by_page;

		mono0 = slow_read(self->c.fd, CLOCK_MONOTONIC).ns;
		step_realtime(i & 1 ? -NSEC : NSEC);
		self->stepped = !(i & 1);
		/* The first read after the step is right, or there is none. */
		t0 = now_ns(CLOCK_REALTIME);
		by_page = parkclock_page_read_bound(self->c.map, CLOCK_REALTIME, &after) !=
			  PARKCLOCK_EXPIRED;
		t1 = now_ns(CLOCK_REALTIME);
		if (by_page) {
			ASSERT_TRUE(within_bound(&after, t0, t1)) {
				TH_LOG("step %d: page %lld, clock_gettime %lld", i,
				       (long long)after.ns, (long long)t0);
			}
			ASSERT_GT(after.generation, generation);
		}
		ASSERT_TRUE(slow_read_is_right(self->c.fd, CLOCK_REALTIME));
		ASSERT_GT(slow_read(self->c.fd, CLOCK_REALTIME).generation, generation);
		ASSERT_GT(query(self->c.fd).generation, generation);
		/* Held, it comes back without help, long before the next tick. */
		ASSERT_TRUE(!counter_usable() || comes_back(self->c.map));
		for (int k = 0; k < PARKCLOCK_CLOCKS; k++)
			ASSERT_TRUE(slow_read_is_right(self->c.fd, clock_ids[k]));
		mono1 = slow_read(self->c.fd, CLOCK_MONOTONIC).ns;
		ASSERT_GE(mono1, mono0);
		ASSERT_LT(mono1 - mono0, now_ns(CLOCK_MONOTONIC) - mono0 + 1000000);
	}
	/* What was never valid does not become invalid. */
	EXPECT_GE(trace_count("parkclock_invalidate:", NULL), counter_usable() ? 20 : 0);
	EXPECT_EQ(query(self->c.fd).invalidations - self->q.invalidations,
		  trace_count("parkclock_invalidate:", NULL));
	EXPECT_EQ(1, query(self->c.fd).references);
	EXPECT_EQ(state_held(), query(self->c.fd).state);
}

/* Parked, nobody is woken for a step; the next wake must have it. */
TEST_F(trace, step_while_parked)
{
	uint64_t generation = query(self->c.fd).generation;

	NEEDS_TRACE(return);
	/* A page that is valid, with nobody holding on. */
	hold(self->c.fd);
	release(self->c.fd);
	must_set("interval_ms", "1");
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	self->q = query(self->c.fd);
	step_realtime(NSEC);
	self->stepped = true;
	EXPECT_EQ(PARKCLOCK_PARKED, query(self->c.fd).state);
	EXPECT_EQ(self->q.wakes, query(self->c.fd).wakes);
	must_set("interval_ms", "20000");
	hold(self->c.fd);
	for (int k = 0; k < PARKCLOCK_CLOCKS; k++) {
		struct parkclock_reading r;
		int64_t t0 = now_ns(clock_ids[k]);

		if (parkclock_page_read_bound(self->c.map, clock_ids[k], &r) == PARKCLOCK_EXPIRED) {
			ASSERT_FALSE(counter_usable());
			r = slow_read(self->c.fd, clock_ids[k]);
		}
		EXPECT_TRUE(within_bound(&r, t0, now_ns(clock_ids[k])));
		EXPECT_GT(r.generation, generation);
	}
}

TEST_HARNESS_MAIN
