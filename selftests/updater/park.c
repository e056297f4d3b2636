// SPDX-License-Identifier: GPL-2.0
/*
 * Parking costs nothing, and a wake costs the reader no wrong or missing time.
 *
 * Checked: after the last reference is dropped the timer fires at most twice, then never
 * again, by the count of the kernel's own timer trace. The page that is left expires by itself
 * for every reader. HOLD and READ wake the updater; QUERY and page reads do not. The page is
 * valid when HOLD and READ return, and stays valid while held.
 *
 * Fails if the timer is armed once too often, or by QUERY; if a wake leaves the old segment; if
 * the window is not honoured; or if a held reference does not keep the timer going.
 */
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
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(park) {
	struct pclock c;
};

FIXTURE_SETUP(park)
{
	start_parked("100", "4", "5");
	self->c = open_clock();
}

FIXTURE_TEARDOWN(park)
{
	trace_stop(TIMER_EVENT);
	close_clock(&self->c);
	default_params();
}

TEST_F(park, two_ticks_then_none)
{
	struct parkclock_query held, released, parked, later;
	char filter[64];
	int n;

	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	our_timer(filter, sizeof(filter));
	hold(self->c.fd);
	held = query(self->c.fd);
	trace_start(TIMER_EVENT, filter);
	/* Without this the zeros below would prove nothing. */
	ASSERT_TRUE(wait_until(trace_count("hrtimer_expire_entry", NULL) >= 3));
	ASSERT_GE(query(self->c.fd).expirations, held.expirations + 3);

	/* It takes two to park: here is before the first of them, */
	n = trace_count("hrtimer_expire_entry", NULL);
	held = query(self->c.fd);
	release(self->c.fd);
	/* and the last reference is gone since before this line of the trace, or earlier. */
	trace_write("trace_marker", "released");
	released = query(self->c.fd);
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	parked = query(self->c.fd);
	EXPECT_LE(trace_count("hrtimer_expire_entry", "released"), 2);
	EXPECT_GE(trace_count("hrtimer_expire_entry", NULL), n + 2);
	EXPECT_LE(parked.expirations - released.expirations, 2);
	EXPECT_GE(parked.expirations - held.expirations, 2);
	EXPECT_EQ(0, parked.references);
	EXPECT_EQ(held.parks + 1, parked.parks);

	trace_write("trace", "");
	for (int i = 0; i < 30; i++) {
		sleep_ms(100);
		(void)readers_with_time(self->c.map);
		EXPECT_EQ(PARKCLOCK_PARKED, query(self->c.fd).state);
	}
	later = query(self->c.fd);
	EXPECT_EQ(0, trace_count("hrtimer_expire_entry", NULL));
	EXPECT_EQ(parked.expirations, later.expirations);
	EXPECT_EQ(parked.refreshes, later.refreshes);
	EXPECT_EQ(parked.wakes, later.wakes);
	EXPECT_EQ(parked.parks, later.parks);
}

TEST_F(park, winds_down_in_order)
{
	bool idle = false;

	NEEDS_COUNTER(return);
	/* A machine that stands still for a whole interval can hide IDLE. */
	must_set("interval_ms", "1000");
	for (int round = 0; round < 5 && !idle; round++) {
		uint32_t state, last = PARKCLOCK_ACTIVE;

		hold(self->c.fd);
		EXPECT_EQ(PARKCLOCK_ACTIVE, query(self->c.fd).state);
		release(self->c.fd);
		do {
			state = query(self->c.fd).state;
			ASSERT_LE(state, last);
			ASSERT_GE(state, PARKCLOCK_PARKED);
			idle |= state == PARKCLOCK_IDLE;
			last = state;
			sleep_ms(5);
		} while (state != PARKCLOCK_PARKED);
	}
	EXPECT_TRUE(idle);
}

TEST_F(park, open_and_query_do_not_wake)
{
	struct parkclock_query before = query(self->c.fd), after;

	for (int i = 0; i < 100; i++) {
		struct pclock c = open_clock();

		(void)query(c.fd);
		(void)readers_with_time(c.map);
		close_clock(&c);
	}
	after = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_PARKED, after.state);
	EXPECT_EQ(before.wakes, after.wakes);
	EXPECT_EQ(before.refreshes, after.refreshes);
	EXPECT_EQ(before.expirations, after.expirations);
}

/* A window of minutes: nothing below can expire because the machine is slow. */
TEST_F(park, hold_wakes)
{
	struct parkclock_query before = query(self->c.fd), after;

	must_set("interval_ms", "20000");
	hold(self->c.fd);
	EXPECT_EQ(readers_held(), readers_with_time(self->c.map));
	after = query(self->c.fd);
	EXPECT_EQ(state_held(), after.state);
	EXPECT_EQ(1, after.holds);
	EXPECT_EQ(1, after.references);
	EXPECT_EQ(before.wakes + counter_usable(), after.wakes);
	EXPECT_EQ(counter_usable(), before.refreshes < after.refreshes);
	EXPECT_EQ(counter_usable(), after.window_left_ns > 0);
	EXPECT_EQ(counter_usable(), after.rate != 0);

	/* Another reference finds it awake. */
	hold(self->c.fd);
	EXPECT_EQ(2, query(self->c.fd).references);
	EXPECT_EQ(after.wakes, query(self->c.fd).wakes);
	EXPECT_EQ(after.refreshes, query(self->c.fd).refreshes);
}

TEST_F(park, read_wakes)
{
	struct parkclock_query before = query(self->c.fd), after;

	must_set("interval_ms", "20000");
	EXPECT_TRUE(slow_read_is_right(self->c.fd, CLOCK_MONOTONIC));
	EXPECT_EQ(readers_held(), readers_with_time(self->c.map));
	after = query(self->c.fd);
	EXPECT_EQ(state_held(), after.state);
	EXPECT_EQ(0, after.holds);
	EXPECT_EQ(0, after.references);
	EXPECT_EQ(before.wakes + counter_usable(), after.wakes);
	EXPECT_EQ(before.slow_reads + 1, after.slow_reads);

	/* READ leaves no reference behind. */
	must_set("interval_ms", "10");
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
}

TEST_F(park, expires_after_parking)
{
	struct parkclock_reading r = { .ns = 42 };

	NEEDS_COUNTER(return);
	must_set("interval_ms", "10");
	for (int round = 0; round < 20; round++) {
		int id = clock_ids[round % PARKCLOCK_CLOCKS];

		hold(self->c.fd);
		release(self->c.fd);
		ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
		/* The last refresh was at the tick before the one that parked. */
		sleep_us(query(self->c.fd).window_ns / 1000);
		ASSERT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read(self->c.map, id));
		ASSERT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read_relaxed(self->c.map, id));
		ASSERT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read_bound(self->c.map, id, &r));
		ASSERT_EQ(42, r.ns);
		ASSERT_EQ(0, readers_with_time(self->c.map));
		ASSERT_EQ(0, query(self->c.fd).window_left_ns);
		ASSERT_EQ(0, query(self->c.fd).error_ns);

		must_set("interval_ms", "20000");
		ASSERT_TRUE(slow_read_is_right(self->c.fd, id));
		ASSERT_EQ(ALL_READERS, readers_with_time(self->c.map));
		must_set("interval_ms", "10");
		ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	}
}

/* What is left in the page has no time then, and nobody calibrates it for nobody. */
TEST_F(park, rate_change_wakes_nobody)
{
	NEEDS_COUNTER(return);
	for (int i = 0; i < 5; i++) {
		struct parkclock_query parked, now;

		hold(self->c.fd);
		release(self->c.fd);
		ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
		parked = query(self->c.fd);
		set_frequency((i & 1 ? 100L : -100L) << 16);
		now = query(self->c.fd);
		EXPECT_FALSE(valid(self->c.map));
		EXPECT_EQ(parked.refreshes, now.refreshes);
		EXPECT_EQ(parked.wakes, now.wakes);
		EXPECT_EQ(PARKCLOCK_PARKED, now.state);
	}
	restore_frequency();
}

TEST_F(park, stays_valid_while_held)
{
	struct parkclock_query start, end;
	int late = 0;

	NEEDS_COUNTER(return);
	must_set("interval_ms", "20");
	hold(self->c.fd);
	start = query(self->c.fd);
	/* 30 windows of 80 ms */
	for (int i = 0; i < 1200; i++) {
		if (!valid(self->c.map)) {
			late++;
			ASSERT_TRUE(comes_back(self->c.map));
		}
		sleep_ms(2);
	}
	end = query(self->c.fd);
	EXPECT_EQ(start.parks, end.parks);
	EXPECT_EQ(start.wakes, end.wakes);
	EXPECT_GE(end.refreshes, start.refreshes + 30);
	if (late)
		TH_LOG("page was late %d times", late);
}

TEST_HARNESS_MAIN
