// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters: a value in range takes effect at once; any other value is refused and
 * changes nothing.
 *
 * Checked: every limit from both sides, text that is no number, reading back, and QUERY. A
 * running updater follows a new interval at once, and not when the old interval is over; the
 * page of a holder stays valid meanwhile.
 *
 * Fails if a range is open, if a refused value sticks, or if a change waits for the next tick.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(params) {
	struct pclock c;
};

FIXTURE_SETUP(params)
{
	start_parked("1000", "4", "5");
	self->c = open_clock();
}

FIXTURE_TEARDOWN(params)
{
	close_clock(&self->c);
	default_params();
}

TEST_F(params, ranges)
{
	const struct {
		const char *name, *good[4], *bad[5];
	} params[] = {
		{ "interval_ms", { "1", "60000", "2", "59999" },
		  { "0", "60001", "4294967295", "-1", "100000" } },
		{ "window_intervals", { "2", "16", "3", "15" }, { "0", "1", "17", "-2", "65538" } },
		{ "slack_percent", { "0", "50", "1", "49" }, { "51", "100", "-1", "256", "300" } },
		{ "max_tasks", { "1", "1048576", "2", "16384" },
		  { "0", "1048577", "-1", "4294967295", "16777216" } },
		{ "user_clocks", { "1", "1048576", "2", "16384" },
		  { "0", "1048577", "-1", "4294967295", "16777216" } },
		{ "host_clocks", { "1", "1048576", "2", "65536" },
		  { "0", "1048577", "-1", "4294967295", "16777216" } },
		{ "user_views", { "0", "1048576", "1", "16384" },
		  { "1048577", "-1", "4294967295", "16777216", "x" } },
		{ "host_views", { "0", "1048576", "1", "65536" },
		  { "1048577", "-1", "4294967295", "16777216", "x" } },
		{ "user_tasks", { "1", "4194304", "2", "131072" },
		  { "0", "4194305", "-1", "4294967295", "16777216" } },
		{ "host_tasks", { "1", "4194304", "2", "1048576" },
		  { "0", "4194305", "-1", "4294967295", "16777216" } },
		{ "user_holds", { "1", "16777216", "2", "131072" },
		  { "0", "16777217", "-1", "4294967295", "100000000" } },
		{ "host_holds", { "1", "16777216", "2", "1048576" },
		  { "0", "16777217", "-1", "4294967295", "100000000" } },
		{ "user_vmclocks", { "0", "4096", "1", "64" },
		  { "4097", "-1", "4294967295", "100000", "-4096" } },
		{ "host_vmclocks", { "0", "4096", "1", "128" },
		  { "4097", "-1", "4294967295", "100000", "-4096" } },
		{ "user_timers", { "0", "1048576", "1", "65536" },
		  { "1048577", "-1", "4294967295", "16777216", "x" } },
		{ "host_timers", { "0", "1048576", "1", "262144" },
		  { "1048577", "-1", "4294967295", "16777216", "x" } },
		{ "user_cgroups", { "0", "16384", "1", "0" },
		  { "16385", "-1", "4294967295", "1048576", "x" } },
		{ "host_cgroups", { "0", "16384", "1", "4096" },
		  { "16385", "-1", "4294967295", "1048576", "x" } },
		{ "probes_linger_s", { "1", "3600", "2", "60" },
		  { "0", "3601", "-1", "4294967295", "100000" } },
		{ "enabled", { "N", "Y", "N", "Y" }, { "2", "maybe", "-1", "x", " " } },
	};
	static const char * const garbage[] = {
		"abc", "3x", "x3", "--3", "\n", "99999999999999999999", "4294967298",
		/* The kernel looks at the first character of a bool: only for numbers. */
		"1.5", "10 20"
	};
	char value[32];

	for (size_t p = 0; p < ARRAY_SIZE(params); p++) {
		const char *name = params[p].name;

		for (size_t i = 0; i < ARRAY_SIZE(params[p].good); i++) {
			const char *last = params[p].good[i];

			EXPECT_EQ(0, set_param(name, last));
			EXPECT_STREQ(last, get_param(name, value, sizeof(value)));
			for (size_t j = 0; j < ARRAY_SIZE(params[p].bad); j++) {
				EXPECT_EQ(-EINVAL, set_param(name, params[p].bad[j])) {
					TH_LOG("%s=%s", name, params[p].bad[j]);
				}
				EXPECT_STREQ(last, get_param(name, value, sizeof(value)));
			}
			for (size_t j = 0; j < ARRAY_SIZE(garbage) - 2 * !strcmp(name, "enabled");
			     j++) {
				int err = set_param(name, garbage[j]);

				/* ERANGE: not even a number that the kernel can hold */
				EXPECT_TRUE(err == -EINVAL || err == -ERANGE) {
					TH_LOG("%s=%s", name, garbage[j]);
				}
				EXPECT_STREQ(last, get_param(name, value, sizeof(value)));
			}
		}
	}
}

TEST_F(params, query_follows)
{
	must_set("interval_ms", "60000");
	must_set("window_intervals", "16");
	must_set("slack_percent", "50");
	EXPECT_EQ(60000000000ULL, query(self->c.fd).interval_ns);
	EXPECT_EQ(960000000000ULL, query(self->c.fd).window_ns);
	EXPECT_EQ(30000000000ULL, query(self->c.fd).slack_ns);
	must_set("interval_ms", "1");
	must_set("window_intervals", "2");
	must_set("slack_percent", "0");
	EXPECT_EQ(1000000ULL, query(self->c.fd).interval_ns);
	EXPECT_EQ(2000000ULL, query(self->c.fd).window_ns);
	EXPECT_EQ(0, query(self->c.fd).slack_ns);
}

TEST_F(params, shorter_interval_at_once)
{
	struct parkclock_query start, now;
	int64_t t0;

	NEEDS_COUNTER(return);
	must_set("interval_ms", "60000");
	hold(self->c.fd);
	must_set("interval_ms", "10");
	start = query(self->c.fd);
	t0 = now_ns(CLOCK_MONOTONIC);
	do {
		sleep_ms(1);
		now = query(self->c.fd);
	} while (now.expirations < start.expirations + 10 &&
		 now_ns(CLOCK_MONOTONIC) - t0 < PATIENCE_MS * 1000000LL);
	EXPECT_GE(now.expirations, start.expirations + 10);
	EXPECT_GE(now.refreshes, start.refreshes + 10);
	EXPECT_TRUE(comes_back(self->c.map));
}

/* The old window is 40 ms: a holder's page must not be left to end with it. */
TEST_F(params, longer_interval_at_once)
{
	struct parkclock_query start, end;

	NEEDS_COUNTER(return);
	must_set("interval_ms", "10");
	hold(self->c.fd);
	for (int i = 0; i < 20; i++) {
		must_set("interval_ms", "60000");
		ASSERT_EQ(ALL_READERS, readers_with_time(self->c.map));
		start = query(self->c.fd);
		sleep_ms(100);
		end = query(self->c.fd);
		ASSERT_EQ(ALL_READERS, readers_with_time(self->c.map));
		ASSERT_LE(end.expirations, start.expirations + 1);
		must_set("interval_ms", "10");
		sleep_ms(rand() % 30);
	}
}

TEST_F(params, window_at_once)
{
	NEEDS_COUNTER(return);
	must_set("interval_ms", "60000");
	must_set("window_intervals", "2");
	hold(self->c.fd);
	EXPECT_LE(query(self->c.fd).window_left_ns, 120000000000ULL);
	must_set("window_intervals", "16");
	/* All of the new window but the seconds a slow machine may have taken */
	EXPECT_GT(query(self->c.fd).window_left_ns, 900000000000ULL);
	EXPECT_EQ(ALL_READERS, readers_with_time(self->c.map));
	must_set("window_intervals", "2");
	EXPECT_EQ(ALL_READERS, readers_with_time(self->c.map));
}

TEST_F(params, changes_do_not_wake)
{
	struct parkclock_query before = query(self->c.fd), after;

	for (int i = 0; i < 50; i++) {
		must_set("interval_ms", i & 1 ? "1" : "500");
		must_set("window_intervals", i & 1 ? "2" : "16");
		must_set("slack_percent", i & 1 ? "0" : "50");
	}
	sleep_ms(100);
	after = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_PARKED, after.state);
	EXPECT_EQ(before.wakes, after.wakes);
	EXPECT_EQ(before.expirations, after.expirations);
}

/* Changes while the timer fires all the time; the time must outlive them. */
TEST_F(params, changes_under_load)
{
	static const char * const intervals[] = { "1", "2", "1000", "7", "30000" };
	static const char * const windows[] = { "16", "8", "12" };

	must_set("interval_ms", "1");
	must_set("window_intervals", "16");
	hold(self->c.fd);
	for (int i = 0; i < 3000; i++) {
		must_set("interval_ms", intervals[i % ARRAY_SIZE(intervals)]);
		must_set("window_intervals", windows[i / 5 % ARRAY_SIZE(windows)]);
		ASSERT_TRUE(counter_usable() ? comes_back(self->c.map) :
					       slow_read_is_right(self->c.fd, CLOCK_MONOTONIC));
		if (i % 7 == 0)
			sleep_ms(1);
	}
	release(self->c.fd);
	must_set("interval_ms", "1");
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
}

TEST_HARNESS_MAIN
