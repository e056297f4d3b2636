// SPDX-License-Identifier: GPL-2.0
/*
 * Accuracy: the error of a page just before a refresh replaces it, after an interval of
 * prediction.
 *
 * Checked, at intervals of 1 s, by the module's trace event: if the host's own rate did not
 * change in the interval, 99 % of the errors are at most 5 ns and all at most 10 ns. If it did
 * change, they are at most 1.1 of its smallest change times the interval. This holds in a calm
 * machine, while the host's rate goes up and down by that smallest change, and two intervals
 * after the host's frequency was changed by 500 ppm. Then the bound in the page is small, too,
 * and grows slowly. The histogram of PARKCLOCK_IOC_ACCURACY counts what the trace shows.
 *
 * An interval that was longer, because the machine stood still, is left out and repeated. Its
 * error is taken out by the next intervals.
 *
 * Fails if the rate is off by some parts in 10^9; if a refresh does not take an error out, or a
 * late refresh takes it out twice; if the rate from before a change of the host's is kept; or
 * if the bound is only a safe guess.
 *
 * ACCURACY_SECONDS in the environment says how long to watch a calm machine:
 *
 *	make check TESTS=accuracy VM_CMDLINE=ACCURACY_SECONDS=600
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/params.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define EVENT		"parkclock/parkclock_accuracy"
#define MAX_EVENTS	4000

struct event {
	int64_t error_ns;
	uint64_t age_cycles, rate_changes;
};

FIXTURE(accuracy) {
	struct pclock c;
	struct event event[MAX_EVENTS];
	int events;
	int over;		/* events before those */
	struct event before;	/* the last one of them */
	uint64_t longest;	/* an interval that is in time, in cycles */
	uint64_t unit;		/* the host's smallest change of rate, in 2^-56 ns per cycle */
};

FIXTURE_SETUP(accuracy)
{
	start_parked("1000", "4", "5");
	self->c = open_clock();
	self->longest = query(self->c.fd).counter_hz / 10 * 11;
	self->unit = UINT64_MAX;
	trace_start(EVENT, NULL);
}

FIXTURE_TEARDOWN(accuracy)
{
	restore_frequency();
	trace_stop(EVENT);
	close_clock(&self->c);
	default_params();
}

static void read_events(FIXTURE_DATA(accuracy) *self)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[512];

	if (!f)
		die(TRACING "trace");
	self->events = -self->over;
	while (fgets(line, sizeof(line), f) && self->events < MAX_EVENTS) {
		struct event *e = self->events < 0 ? &self->before : &self->event[self->events];
		const char *text = strstr(line, "error_ns=");
		unsigned long long age, changes;
		long long error;

		if (text && sscanf(text, "error_ns=%lld age_cycles=%llu rate_changes=%llu", &error,
				   &age, &changes) == 3) {
			*e = (struct event){ error, age, changes };
			self->events++;
		}
	}
	fclose(f);
}

/* How many of them are about intervals that were in time? */
static int in_time(FIXTURE_DATA(accuracy) *self)
{
	int n = 0;

	read_events(self);
	for (int i = 0; i < self->events; i++)
		n += self->event[i].age_cycles <= self->longest;
	return n;
}

/* Two intervals and more, all of them in time, which are over then */
static void wait_intervals(FIXTURE_DATA(accuracy) *self)
{
	do {
		const uint64_t ticks = query(self->c.fd).expirations + 2;

		trace_write("trace", "");
		self->over = 0;
		sleep_ms(2500);
		wait_until(query(self->c.fd).expirations >= ticks);
	} while (in_time(self) < self->events);
	self->over = self->events;
}

/*
 * The page, while time passes. Where it neither slews nor has just seen a change, its
 * bound grows by one of the host's smallest changes: there is no less. An interval in
 * which the host changed its rate begins the next with its error; and so does the one
 * after it, with as much of that as the refresh was early or late.
 */
static void watch(struct __test_metadata *_metadata, FIXTURE_DATA(accuracy) *self, int seconds)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(self->c.map);
	const int64_t end = now_ns(CLOCK_MONOTONIC) + seconds * 1000000000LL;
	unsigned int small = 0, all = 0;

	while (in_time(self) < seconds / 2 || now_ns(CLOCK_MONOTONIC) < end) {
		const struct parkclock_segment *seg;
		uint64_t seq, error, growth, rate;

		sleep_ms(100);
		do {
			seq = __parkclock_acquire(&tb->seq);
			seg = &tb->segment[seq & 1];
			error = __parkclock_acquire(&seg->error_ns);
			growth = __parkclock_acquire(&seg->error_rate);
			rate = __parkclock_acquire(&seg->rate);
		} while (__parkclock_acquire(&tb->seq) != seq);
		if (growth < self->unit)
			self->unit = growth;
		ASSERT_LE(growth, rate / 1000000) {
			TH_LOG("the bound grows by %g ppm", growth * 1e6 / rate);
		}
		if (!self->events &&
		    (self->before.rate_changes || llabs(self->before.error_ns) > 5))
			continue;
		small += error <= 50;
		all++;
	}
	for (int i = 0; i < self->events; i++)
		if (self->event[i].rate_changes)
			return;
	EXPECT_EQ(all, small);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void check_events(struct __test_metadata *_metadata, FIXTURE_DATA(accuracy) *self,
			 const char *when)
{
	uint64_t steady[MAX_EVENTS], most, worst = 0, left = 0;
	int n = 0, changed = 0;

	for (int i = 0; i < self->events; i++) {
		const struct event *e = &self->event[i];
		uint64_t error = llabs(e->error_ns), before = left;

		/* All of it is taken out by the next one; after one that was late, half. */
		left = before * 5 / 8;
		if (e->age_cycles > self->longest) {
			TH_LOG("%s: %lld ns after %llu changes, in %.2f intervals", when,
			       (long long)e->error_ns, (unsigned long long)e->rate_changes,
			       e->age_cycles * 1.1 / self->longest);
			left = error * 5 / 8;
			continue;
		}
		error = error > before ? error - before : 0;
		if (!e->rate_changes) {
			steady[n++] = error;
			continue;
		}
		most = parkclock_scale(e->age_cycles, self->unit + self->unit / 10, 0);
		EXPECT_LE(error, most) {
			TH_LOG("%lld ns after %llu changes of the host's rate",
			       (long long)e->error_ns, (unsigned long long)e->rate_changes);
		}
		changed++;
		if (worst < error)
			worst = error;
	}
	qsort(steady, n, sizeof(*steady), compare);
	if (n) {
		EXPECT_LE(steady[n - 1 - n / 100], 5);
		EXPECT_LE(steady[n - 1], 10);
		TH_LOG("%s: %d intervals, 99 %% off by at most %llu ns, all by %llu ns", when, n,
		       (unsigned long long)steady[n - 1 - n / 100],
		       (unsigned long long)steady[n - 1]);
	}
	if (changed)
		TH_LOG("%s, rate changed: %d intervals, all off by at most %llu ns", when, changed,
		       (unsigned long long)worst);
	EXPECT_LT(0, n + changed);
}

static int calm_seconds(void)
{
	const char *text = getenv("ACCURACY_SECONDS");

	return text ? atoi(text) : 10 + (int)scaled(10);
}

TEST_F_TIMEOUT(accuracy, calm, 4000)
{
	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	hold(self->c.fd);
	watch(_metadata, self, calm_seconds());
	check_events(_metadata, self, "calm");
}

/* What the host's rate cannot be exactly: it takes two neighbours of that by turns. */
TEST_F(accuracy, rate_goes_up_and_down)
{
	static const long freq[6] = { 6553, 2000, 10000, 15000, 20000, 33000 };

	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	hold(self->c.fd);
	for (unsigned int i = 0; i < 1 + scaled(50) / 10; i++) {
		set_frequency(freq[i]);
		wait_intervals(self);
		watch(_metadata, self, 5);
		check_events(_metadata, self, "up and down");
	}
}

TEST_F(accuracy, after_500_ppm)
{
	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	hold(self->c.fd);
	for (int i = 0; i < 4; i++) {
		set_frequency((i & 1 ? 0 : i & 2 ? -500L : 500L) << 16);
		wait_intervals(self);
		watch(_metadata, self, 4);
		check_events(_metadata, self, "after 500 ppm");
	}
}

TEST_F(accuracy, histogram)
{
	struct parkclock_accuracy a[2];
	uint64_t steady[PARKCLOCK_BINS] = { 0 }, changed[PARKCLOCK_BINS] = { 0 };

	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	must_set("interval_ms", "10");
	ASSERT_EQ(0, ioctl(self->c.fd, PARKCLOCK_IOC_ACCURACY, &a[0]));
	hold(self->c.fd);
	/* Errors of all sizes. */
	for (int i = 0; i < 100; i++) {
		set_frequency(i * 20);
		sleep_ms(20);
	}
	release(self->c.fd);
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	ASSERT_EQ(0, ioctl(self->c.fd, PARKCLOCK_IOC_ACCURACY, &a[1]));
	read_events(self);
	ASSERT_LT(50, self->events);
	for (int i = 0; i < self->events; i++) {
		const struct event *e = &self->event[i];
		uint64_t error = llabs(e->error_ns);
		int bin = PARKCLOCK_BINS - 1;

		while (error < parkclock_bin_ns(bin))
			bin--;
		(e->rate_changes ? changed : steady)[bin]++;
		EXPECT_TRUE(error <= a[1].changed_worst_ns ||
			    (!e->rate_changes && error <= a[1].steady_worst_ns));
	}
	for (int i = 0; i < PARKCLOCK_BINS; i++) {
		const uint64_t as_steady = a[1].steady[i] - a[0].steady[i];
		const uint64_t as_changed = a[1].changed[i] - a[0].changed[i];

		EXPECT_EQ(steady[i] + changed[i], as_steady + as_changed);
		/* What began with an error is not steady, though the host's rate did not change. */
		EXPECT_LE(as_steady, steady[i]);
	}
}

/* What is counted is in a bin; no bin overlaps another, none is left out. */
TEST(bins)
{
	for (int i = 0; i < PARKCLOCK_BINS; i++)
		EXPECT_LT(parkclock_bin_ns(i), parkclock_bin_ns(i + 1));
	EXPECT_EQ(0, parkclock_bin_ns(0));
	EXPECT_EQ(16, parkclock_bin_ns(16));
	EXPECT_EQ(1 << 19, parkclock_bin_ns(PARKCLOCK_BINS - 1));
}

TEST_HARNESS_MAIN
