// SPDX-License-Identifier: GPL-2.0
/*
 * A host that does not keep time by the TSC: the page never has a time, no timer is armed in
 * vain, and everybody still gets the right time.
 *
 * Checked, on such a host, or else after the test has chosen another clocksource: every reader
 * of the page finds no time, for all clocks. The updater stays parked whatever is held, and its
 * timer is silent by the kernel's own trace. READ and the library are right within their bound,
 * and never go back between threads. References count. Where the TSC can be chosen, the change
 * is tested, too: the page is invalid as soon as the change is made, whoever holds it, and
 * valid again after the change back if it is held. Time goes on through all of it.
 *
 * Fails if the page is filled from a counter that is not the host's clocksource, if a reference
 * arms a timer that has nothing to refresh, or if a change of the clocksource, either way, takes
 * effect only at the next tick.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"
#include "libparkclock.h"

#define READS		2000	/* of each clock, in each way */
#define USEFUL_NS	1000000
#define THREADS		4

/* One that the kernel has and that is not the TSC; false if there is none. */
static bool other_clocksource(char *name, size_t size)
{
	char names[256], *word, *rest;

	if (read_file(CLOCKSOURCE "available_clocksource", names, sizeof(names)))
		die(CLOCKSOURCE "available_clocksource");
	for (word = strtok_r(names, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (strncmp(word, "tsc", 3)) {
			snprintf(name, size, "%s", word);
			return true;
		}
	}
	return false;
}

FIXTURE(counter_unusable) {
	struct pclock c;
	bool chosen;
};

FIXTURE_SETUP(counter_unusable)
{
	char other[32];

	start_parked("10", "4", "5");
	self->c = open_clock();
	self->chosen = counter_usable() && other_clocksource(other, sizeof(other));
	if (self->chosen)
		ASSERT_TRUE(choose(other));
}

FIXTURE_TEARDOWN(counter_unusable)
{
	if (self->chosen)
		EXPECT_TRUE(choose("tsc"));
	close_clock(&self->c);
	default_params();
}

/* The harness lets only a test skip, not its setup. */
#define NEEDS_ANOTHER(statement, condition) do { \
	if (!(condition)) \
		SKIP(statement, "needs a kernel that has another clocksource than the TSC"); \
} while (0)

TEST_F(counter_unusable, page_refuses)
{
	struct parkclock_query before = query(self->c.fd), q;
	struct parkclock_reading r = { .ns = 42 };

	NEEDS_ANOTHER(return, !counter_usable());
	for (int i = 0; i < 50; i++) {
		hold(self->c.fd);
		ASSERT_EQ(0, readers_with_time(self->c.map));
		(void)slow_read(self->c.fd, CLOCK_TAI);
		ASSERT_EQ(0, readers_with_time(self->c.map));
		q = query(self->c.fd);
		ASSERT_EQ(PARKCLOCK_PARKED, q.state);
		ASSERT_EQ(PARKCLOCK_COUNTER_UNUSABLE, q.flags);
		ASSERT_EQ(i + 1, q.holds);
		ASSERT_EQ(i + 1, q.references);
		ASSERT_EQ(0, q.window_left_ns);
		ASSERT_EQ(0, q.error_ns);
		sleep_ms(2);
	}
	EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read_bound(self->c.map, CLOCK_REALTIME, &r));
	EXPECT_EQ(42, r.ns);
	EXPECT_EQ(1, parkclock_usable(self->c.map));
	/* Neither parameters nor stop and start change it. */
	must_set("interval_ms", "1");
	must_set("enabled", "N");
	EXPECT_EQ(PARKCLOCK_STOPPED, query(self->c.fd).state);
	must_set("enabled", "Y");
	q = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_PARKED, q.state);
	EXPECT_EQ(0, readers_with_time(self->c.map));
	EXPECT_EQ(before.wakes, q.wakes);
	EXPECT_EQ(before.parks, q.parks);
	EXPECT_EQ(before.refreshes, q.refreshes);
	EXPECT_EQ(before.invalidations, q.invalidations);
}

/* Without a filter: other timers show that the trace works. */
TEST_F(counter_unusable, no_timer)
{
	struct parkclock_query before, after;

	NEEDS_TRACE(return);
	NEEDS_ANOTHER(return, !counter_usable());
	trace_start(TIMER_EVENT, NULL);
	before = query(self->c.fd);
	hold(self->c.fd);
	for (int i = 0; i < 30; i++) {
		(void)slow_read(self->c.fd, CLOCK_MONOTONIC);
		sleep_ms(10);
	}
	release(self->c.fd);
	sleep_ms(50);
	after = query(self->c.fd);
	EXPECT_GE(trace_count("hrtimer_expire_entry", NULL), 30);
	EXPECT_EQ(0, trace_count(TIMER_FUNCTION, NULL));
	EXPECT_EQ(before.expirations, after.expirations);
	trace_stop(TIMER_EVENT);
}

TEST_F(counter_unusable, readings_are_right)
{
	struct parkclock *pc;

	NEEDS_ANOTHER(return, !counter_usable());
	pc = parkclock_open(NULL);
	ASSERT_NE(NULL, pc);
	for (int i = 0; i < READS * PARKCLOCK_CLOCKS; i++) {
		const int id = clock_ids[i % PARKCLOCK_CLOCKS];
		struct parkclock_reading r[3], page;
		int64_t t0, t1, ns;

		t0 = now_ns(id);
		r[0] = slow_read(self->c.fd, id);
		ASSERT_EQ(0, parkclock_now_bound(pc, id, &r[1]));
		ASSERT_EQ(0, parkclock_now(pc, id, &ns));
		ASSERT_EQ(0, parkclock_slow_now_bound(pc, id, &r[2]));
		t1 = now_ns(id);
		for (int k = 0; k < 3; k++) {
			ASSERT_TRUE(within_bound(&r[k], t0, t1)) {
				TH_LOG("clock %d, way %d: %lld +- %llu, clock_gettime %lld to %lld",
				       id, k, (long long)r[k].ns, (unsigned long long)r[k].error_ns,
				       (long long)t0, (long long)t1);
			}
			ASSERT_EQ(0, r[k].cycles);
			ASSERT_LE(r[k].error_ns, USEFUL_NS);
			ASSERT_EQ(r[0].generation, r[k].generation);
		}
		ASSERT_LE(r[0].ns, r[1].ns);
		ASSERT_LE(r[1].ns, ns);
		ASSERT_LE(ns, r[2].ns);
		errno = 0;
		ASSERT_EQ(-1, parkclock_page_now_bound(pc, id, &page));
		ASSERT_EQ(EAGAIN, errno);
	}
	EXPECT_EQ(query(self->c.fd).generation, slow_read(self->c.fd, CLOCK_TAI).generation);
	parkclock_close(pc);
}

static atomic_bool stop;
static atomic_llong latest;

struct reader {
	pthread_t thread;
	uint64_t seed;
	unsigned int reads;
	const char *bug;
};

/* By READ and by the library in turn, and holding now and then. */
static void *reader(void *arg)
{
	struct reader *r = arg;
	struct parkclock *pc = parkclock_open(NULL);
	bool held = false;

	if (!pc)
		die("parkclock_open");
	for (; !stop && !r->bug; r->reads++) {
		long long seen = atomic_load(&latest);
		int64_t t0 = now_ns(CLOCK_MONOTONIC), ns;
		struct parkclock_reading reading;

		if (rnd(&r->seed) & 1)
			reading = slow_read(parkclock_fd(pc), CLOCK_MONOTONIC);
		else if (parkclock_now_bound(pc, CLOCK_MONOTONIC, &reading))
			die("parkclock_now_bound");
		ns = reading.ns;
		if (ns < seen)
			r->bug = "time went back";
		if (!within_bound(&reading, t0, now_ns(CLOCK_MONOTONIC)))
			r->bug = "reading outside its bound";
		while (ns > seen && !atomic_compare_exchange_weak(&latest, &seen, ns))
			;
		if (rnd(&r->seed) % 64 == 0) {
			if (held ? parkclock_release(pc) : parkclock_hold(pc))
				r->bug = "reference refused";
			held = !held;
		}
	}
	parkclock_close(pc);
	return NULL;
}

static void start_readers(struct reader *r)
{
	stop = false;
	latest = 0;
	for (int i = 0; i < THREADS; i++) {
		r[i] = (struct reader){ .seed = i + 1 };
		if (pthread_create(&r[i].thread, NULL, reader, &r[i]))
			die("pthread_create");
	}
}

/* What one of them has found, or "" */
static const char *join_readers(struct reader *r)
{
	const char *bug = "";

	stop = true;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(r[i].thread, NULL);
		if (r[i].bug)
			bug = r[i].bug;
		else if (r[i].reads < 100 && !*bug)
			bug = "a thread that has read nearly nothing";
	}
	return bug;
}

static bool all_have_read(const struct reader *r, unsigned int reads)
{
	for (int i = 0; i < THREADS; i++)
		if (__atomic_load_n(&r[i].reads, __ATOMIC_RELAXED) < reads &&
		    !__atomic_load_n(&r[i].bug, __ATOMIC_RELAXED))
			return false;
	return true;
}

TEST_F(counter_unusable, monotonic_across_threads)
{
	struct reader r[THREADS];

	NEEDS_ANOTHER(return, !counter_usable());
	start_readers(r);
	while (!all_have_read(r, 10000))
		sleep_ms(10);
	EXPECT_STREQ("", join_readers(r));
	EXPECT_TRUE(wait_references(self->c.fd, 0));
	EXPECT_EQ(PARKCLOCK_PARKED, query(self->c.fd).state);
}

TEST_F(counter_unusable, references_count)
{
	int fd, ready[2], status;
	char byte;
	pid_t pid;

	NEEDS_ANOTHER(return, !counter_usable());
	fd = open_device();
	for (int i = 0; i < 1000; i++)
		hold(fd);
	EXPECT_EQ(1000, query(self->c.fd).references);
	for (int i = 0; i < 999; i++)
		release(fd);
	EXPECT_EQ(1, query(self->c.fd).references);
	release(fd);
	EXPECT_EQ(-1, ioctl(fd, PARKCLOCK_IOC_RELEASE, 0));
	EXPECT_EQ(ENOENT, errno);
	hold(fd);
	close(fd);
	EXPECT_EQ(0, query(self->c.fd).references);

	ASSERT_EQ(0, pipe(ready));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		hold(open_device());
		if (write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	EXPECT_EQ(1, query(self->c.fd).references);
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(wait_references(self->c.fd, 0));
	EXPECT_EQ(PARKCLOCK_PARKED, query(self->c.fd).state);
}

/* The way there and back, where the TSC is the clocksource otherwise. */
FIXTURE(change) {
	struct pclock c;
	bool usable;
	bool has_other;
	char other[32];
};

FIXTURE_SETUP(change)
{
	start_parked("10", "4", "5");
	self->c = open_clock();
	self->usable = counter_usable();
	self->has_other = other_clocksource(self->other, sizeof(self->other));
}

FIXTURE_TEARDOWN(change)
{
	if (self->usable)
		EXPECT_TRUE(choose("tsc"));
	close_clock(&self->c);
	default_params();
}

TEST_F(change, while_held)
{
	NEEDS_COUNTER(return);
	NEEDS_ANOTHER(return, self->has_other);
	hold(self->c.fd);
	for (int i = 0; i < 10; i++) {
		struct parkclock_query held, q;
		struct parkclock_reading r;
		int64_t ns;

		ASSERT_TRUE(comes_back(self->c.map));
		ns = parkclock_page_read(self->c.map, CLOCK_MONOTONIC);
		held = query(self->c.fd);
		ASSERT_EQ(PARKCLOCK_ACTIVE, held.state);
		ASSERT_EQ(0, held.flags);

		ASSERT_TRUE(choose(self->other));
		ASSERT_EQ(0, readers_with_time(self->c.map));
		r = slow_read(self->c.fd, CLOCK_MONOTONIC);
		ASSERT_GE(r.ns, ns);
		ASSERT_EQ(0, r.cycles);
		ASSERT_GT(r.generation, held.generation);
		for (int k = 0; k < PARKCLOCK_CLOCKS; k++)
			ASSERT_TRUE(slow_read_is_right(self->c.fd, clock_ids[k]));
		ns = r.ns;
		/* The tick that is armed finds nothing to refresh, and is the last. */
		ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
		q = query(self->c.fd);
		ASSERT_EQ(PARKCLOCK_COUNTER_UNUSABLE, q.flags);
		ASSERT_EQ(1, q.references);
		ASSERT_EQ(held.parks + 1, q.parks);
		ASSERT_EQ(held.wakes, q.wakes);
		sleep_ms(30);
		ASSERT_EQ(q.expirations, query(self->c.fd).expirations);
		ASSERT_EQ(0, readers_with_time(self->c.map));

		/* Nobody has to come for the page to be valid again. */
		must_set("interval_ms", "20000");
		ASSERT_TRUE(choose("tsc"));
		ASSERT_TRUE(comes_back(self->c.map));
		ASSERT_EQ(ALL_READERS, readers_with_time(self->c.map));
		ASSERT_NE(PARKCLOCK_EXPIRED,
			  parkclock_page_read_bound(self->c.map, CLOCK_MONOTONIC, &r));
		ASSERT_GE(r.ns, ns);
		ASSERT_GT(r.generation, q.generation);
		for (int k = 0; k < PARKCLOCK_CLOCKS; k++)
			ASSERT_TRUE(slow_read_is_right(self->c.fd, clock_ids[k]));
		held = query(self->c.fd);
		ASSERT_EQ(PARKCLOCK_ACTIVE, held.state);
		ASSERT_EQ(q.wakes + 1, held.wakes);
		must_set("interval_ms", "10");
	}
}

TEST_F(change, while_nobody_holds)
{
	struct parkclock_query before, after;

	NEEDS_COUNTER(return);
	NEEDS_ANOTHER(return, self->has_other);
	hold(self->c.fd);
	release(self->c.fd);
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	before = query(self->c.fd);
	ASSERT_TRUE(choose(self->other));
	EXPECT_EQ(0, readers_with_time(self->c.map));
	EXPECT_TRUE(slow_read_is_right(self->c.fd, CLOCK_REALTIME));
	ASSERT_TRUE(choose("tsc"));
	sleep_ms(50);
	after = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_PARKED, after.state);
	EXPECT_EQ(before.wakes, after.wakes);
	EXPECT_EQ(before.expirations, after.expirations);
	EXPECT_GT(after.generation, before.generation);
	EXPECT_EQ(0, readers_with_time(self->c.map));

	must_set("interval_ms", "20000");
	hold(self->c.fd);
	EXPECT_EQ(ALL_READERS, readers_with_time(self->c.map));
	EXPECT_EQ(before.wakes + 1, query(self->c.fd).wakes);
	for (int k = 0; k < PARKCLOCK_CLOCKS; k++)
		EXPECT_TRUE(slow_read_is_right(self->c.fd, clock_ids[k]));
}

TEST_F(change, under_load)
{
	struct reader r[THREADS];

	NEEDS_COUNTER(return);
	NEEDS_ANOTHER(return, self->has_other);
	must_set("interval_ms", "1");
	start_readers(r);
	for (unsigned int i = 1; i <= 40; i++) {
		ASSERT_TRUE(choose(i & 1 ? self->other : "tsc"));
		while (!all_have_read(r, 50 * i))
			sleep_ms(1);
	}
	EXPECT_STREQ("", join_readers(r));
	EXPECT_TRUE(wait_references(self->c.fd, 0));
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
}

TEST_HARNESS_MAIN
