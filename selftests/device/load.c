// SPDX-License-Identifier: GPL-2.0
/*
 * Load and unload. This program starts without the module, and loads it.
 *
 * Checked: the module loads and unloads any number of times, also with its timer armed and
 * while others open the device. An open descriptor or mapping keeps the module, and the page
 * stays readable after an attempt to unload. Parameters at load are accepted or refused.
 * Unload leaves no device, no trace event, no directory in sysfs, no symbol and no timer.
 *
 * Fails if a mapping does not pin the module, if an exit path forgets a part, or if the timer
 * outlives the code.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/look.h"
#include "lib/machine.h"
#include "lib/module.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/trace.h"
#include "lib/wait.h"

FIXTURE(load) {
};

FIXTURE_SETUP(load)
{
	settle();
	if (exists("/sys/module/parkclock"))
		ASSERT_EQ(0, unload());
}

FIXTURE_TEARDOWN(load)
{
	if (exists("/sys/module/parkclock"))
		EXPECT_EQ(0, unload());
}

/* The interval is long: what is held must be valid, though the machine may stand still. */
TEST_F(load, fifty_times)
{
	for (unsigned int i = 0; i < scaled(50); i++) {
		struct pclock c;

		ASSERT_EQ(0, load("interval_ms=60000"));
		ASSERT_EQ(-EEXIST, load(""));
		ASSERT_EQ(has_trace(), exists(TRACING "events/parkclock/parkclock_wake"));
		c = open_clock();
		ASSERT_EQ(0, query(c.fd).wakes | query(c.fd).parks | query(c.fd).expirations |
			     query(c.fd).slow_reads);
		ASSERT_EQ(PARKCLOCK_PARKED, query(c.fd).state);
		ASSERT_EQ(0, readers_with_time(c.map));
		/* Unload must find the timer armed. */
		hold(c.fd);
		ASSERT_EQ(readers_held(), readers_with_time(c.map));
		close_clock(&c);
		ASSERT_EQ(0, unload());
		EXPECT_STREQ("", what_is_left());
	}
}

TEST_F(load, no_timer_left)
{
	bool seen = false;
	char filter[64];

	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	ASSERT_EQ(0, load("interval_ms=1"));
	our_timer(filter, sizeof(filter));
	trace_start(TIMER_EVENT, filter);
	/* More than that if it is late each time. */
	for (int i = 0; i < 30 || (!seen && i < PATIENCE_MS / 5); i++) {
		struct pclock c = open_clock();

		hold(c.fd);
		sleep_ms(5);
		close_clock(&c);
		seen = trace_count("hrtimer_expire_entry", NULL) > 0;
	}
	EXPECT_TRUE(seen);
	ASSERT_EQ(0, unload());
	trace_write("trace", "");
	sleep_ms(500);
	EXPECT_EQ(0, trace_count("hrtimer_expire_entry", NULL));
	trace_stop(TIMER_EVENT);
}

/* delete_module(2) says EWOULDBLOCK for a module that is in use. */
TEST_F(load, descriptor_keeps_it)
{
	int fd;

	ASSERT_EQ(0, load(""));
	fd = open_device();
	EXPECT_EQ(-EWOULDBLOCK, unload());
	EXPECT_EQ(0, query(fd).references);
	hold(fd);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	EXPECT_EQ(1, query(fd).references);
	close(fd);
	EXPECT_EQ(0, unload());
	EXPECT_STREQ("", what_is_left());
}

TEST_F(load, mapping_keeps_it)
{
	struct parkclock_clock before;
	struct pclock c;

	ASSERT_EQ(0, load("interval_ms=20000"));
	c = open_clock();
	memcpy(&before, c.map, sizeof(before));
	hold(c.fd);
	close(c.fd);
	for (int i = 0; i < 5; i++) {
		EXPECT_EQ(-EWOULDBLOCK, unload());
		EXPECT_EQ(1, parkclock_usable(c.map));
		EXPECT_EQ(0, memcmp(&before, c.map, sizeof(before)));
		EXPECT_EQ(readers_held(), readers_with_time(c.map));
	}
	/* Either page alone keeps it as well. */
	ASSERT_EQ(0, munmap(c.map, PARKCLOCK_PAGE_SIZE));
	EXPECT_EQ(-EWOULDBLOCK, unload());
	EXPECT_EQ(PARKCLOCK_TIMEBASE_MAGIC, __parkclock_timebase(c.map)->magic);
	ASSERT_EQ(0, munmap((char *)c.map + PARKCLOCK_PAGE_SIZE, PARKCLOCK_PAGE_SIZE));
	EXPECT_EQ(0, unload());
	EXPECT_STREQ("", what_is_left());
}

TEST_F(load, parameters)
{
	struct parkclock_query q;
	char value[32];
	int fd;

	ASSERT_EQ(0, load("interval_ms=20 window_intervals=16 slack_percent=0 enabled=0"));
	EXPECT_STREQ("20", get_param("interval_ms", value, sizeof(value)));
	EXPECT_STREQ("16", get_param("window_intervals", value, sizeof(value)));
	EXPECT_STREQ("0", get_param("slack_percent", value, sizeof(value)));
	EXPECT_STREQ("N", get_param("enabled", value, sizeof(value)));
	fd = open_device();
	q = query(fd);
	EXPECT_EQ(20000000ULL, q.interval_ns);
	EXPECT_EQ(320000000ULL, q.window_ns);
	EXPECT_EQ(0, q.slack_ns);
	EXPECT_EQ(PARKCLOCK_STOPPED, q.state);
	EXPECT_TRUE(slow_read_is_right(fd, CLOCK_REALTIME));
	close(fd);
	ASSERT_EQ(0, unload());

	ASSERT_EQ(0, load(""));
	EXPECT_STREQ("1000", get_param("interval_ms", value, sizeof(value)));
	EXPECT_STREQ("4", get_param("window_intervals", value, sizeof(value)));
	EXPECT_STREQ("5", get_param("slack_percent", value, sizeof(value)));
	EXPECT_STREQ("Y", get_param("enabled", value, sizeof(value)));
}

TEST_F(load, bad_parameters)
{
	static const char * const bad[] = {
		"interval_ms=0", "interval_ms=60001", "interval_ms=-1", "interval_ms=abc",
		"window_intervals=1", "window_intervals=17", "slack_percent=51", "enabled=maybe",
		"interval_ms=10 slack_percent=51"
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, load(bad[i])) {
			TH_LOG("%s", bad[i]);
		}
		EXPECT_STREQ("", what_is_left());
	}
	EXPECT_EQ(0, load("interval_ms=60000 window_intervals=2 slack_percent=50"));
}

static atomic_bool stop;

static void *opener(void *arg)
{
	atomic_uint *opened = arg;

	while (!stop) {
		int fd = open(PARKCLOCK_DEVICE, O_RDONLY | O_CLOEXEC);
		void *map;

		if (fd < 0)
			continue;
		ioctl(fd, PARKCLOCK_IOC_HOLD, 0);
		map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
		close(fd);
		if (map != MAP_FAILED) {
			(void)valid(map);
			munmap(map, PARKCLOCK_MAP_SIZE);
			++*opened;
		}
		/* Leave a gap for unload. */
		sleep_us(*opened % 700);
	}
	return NULL;
}

TEST_F(load, raced_by_open)
{
	atomic_uint opened = 0;
	unsigned int unloads = 0, refusals = 0;
	pthread_t thread;

	stop = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, opener, &opened));
	/* More than that if the other thread has not come to it yet. */
	for (unsigned int i = 0; i < scaled(50) || (!opened && i < 5000); i++) {
		int err;

		ASSERT_EQ(0, load("interval_ms=1"));
		sleep_ms(i % 8);
		while ((err = unload()) == -EWOULDBLOCK)
			refusals++;
		ASSERT_EQ(0, err);
		unloads++;
	}
	stop = true;
	pthread_join(thread, NULL);
	EXPECT_STREQ("", what_is_left());
	EXPECT_GT(opened, 0);
	TH_LOG("%u unloads, %u refused, device opened %u times", unloads, refusals, opened);
}

TEST_HARNESS_MAIN
