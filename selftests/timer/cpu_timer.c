// SPDX-License-Identifier: GPL-2.0
/*
 * CPU timers: on the CPU time of a clock's registered tasks.
 *
 * Checked: READ has the CPU time, which is that of QUERY; it advances while registered tasks run,
 * on one CPU or several, and not while they sleep. A timer never expires before a READ says so,
 * to the ns: with one task, with two at once, with tasks that sleep and wake all the time, and that
 * ran before the first timer was made. While all tasks sleep, and while no timer waits, the kernel
 * has no timer armed for it. STOP, START, GET, SET, saving, intervals, the owner's end.
 *
 * Fails if a timer expires early or not at all, if what tasks run is counted twice or forgotten, or
 * if something is armed while all sleep.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/timers.h"
#include "lib/wait.h"

#define TIMES	(getenv("BRIEF") ? 50 : 500)

/* What a worker does */
enum work { SLEEP, SPIN, NAP, END };

struct worker {
	pthread_t thread;
	atomic_int work;
	atomic_int tid;
	int cpu;
};

FIXTURE(cpu_timer) {
	int clock;
	int fd;		/* a timer */
	struct worker w[2];
};

static void *worker(void *arg)
{
	struct worker *w = arg;
	uint64_t seed = w->cpu;
	int work;

	try_to_pin(w->cpu);
	w->tid = gettid();
	while ((work = w->work) != END) {
		if (work == SLEEP)
			sleep_ms(1);
		else if (work == NAP)
			sleep_us(rnd(&seed) % 200);
		for (int i = work == NAP ? rnd(&seed) % 20000 : 0; i > 0; i--)
			__asm__ __volatile__("");
	}
	return NULL;
}

FIXTURE_SETUP(cpu_timer)
{
	NEEDS_SWITCHES(return);
	default_params();
	self->clock = open_device();
	for (int i = 0; i < 2; i++) {
		self->w[i].cpu = i % cpus_online();
		self->w[i].work = SLEEP;
		self->w[i].thread = start_thread(worker, &self->w[i]);
		while (!self->w[i].tid)
			sleep_us(100);
	}
	self->fd = make_timer(self->clock, CPUTIME, 0);
}

FIXTURE_TEARDOWN(cpu_timer)
{
	for (int i = 0; i < 2; i++) {
		self->w[i].work = END;
		pthread_join(self->w[i].thread, NULL);
	}
	close(self->fd);
	if (self->clock >= 0)
		close(self->clock);
}

static int64_t cpu_ns(int clock)
{
	return slow_read(clock, CPUTIME).ns;
}

static void use(FIXTURE_DATA(cpu_timer) *self, int workers, enum work work)
{
	for (int i = 0; i < workers; i++) {
		must_register(self->clock, self->w[i].tid, 0);
		self->w[i].work = work;
	}
}

TEST_F(cpu_timer, read_is_what_query_says)
{
	struct parkclock_reading r;
	int64_t before = 0, after;

	EXPECT_EQ(0, cpu_ns(self->clock));
	use(self, 2, SPIN);
	for (int i = 0; i < 200; i++) {
		before = query(self->clock).cpu_ns;
		EXPECT_EQ(0, try_read(self->clock, CPUTIME, &r));
		after = query(self->clock).cpu_ns;
		EXPECT_LE(before, r.ns);
		EXPECT_LE(r.ns, after);
		EXPECT_EQ(0, r.error_ns);
		EXPECT_EQ(query(self->clock).generation, r.generation);
		sleep_us(100);
	}
	EXPECT_GT(before, 0);
	/* A view reads it, too. */
	after = try(self->clock, PARKCLOCK_IOC_VIEW, 0);
	EXPECT_GE(cpu_ns(after), before);
	close(after);
	must(self->clock, PARKCLOCK_IOC_STOP, 0);
	EXPECT_EQ(-ENODATA, try_read(self->clock, CPUTIME, &r));
}

/* Sets the timer so often, and waits for it. */
static void expire(struct __test_metadata *_metadata, FIXTURE_DATA(cpu_timer) *self)
{
	struct parkclock_expired e;
	uint64_t seed = 5;

	for (int i = 0; i < TIMES; i++) {
		int64_t in = 1 + rnd(&seed) % (i % 2 ? 3000000 : 50000);
		int64_t at = cpu_ns(self->clock) + in;

		set_timer(self->fd, i % 4 / 2, i % 4 / 2 ? at : in, 0);
		ASSERT_EQ(sizeof(e), try_expired(self->fd, &e));
		ASSERT_EQ(1, e.expirations);
		ASSERT_EQ(i + 1, e.number);
		ASSERT_LE(at, cpu_ns(self->clock));
	}
}

TEST_F(cpu_timer, never_early_with_one_task)
{
	use(self, 1, SPIN);
	expire(_metadata, self);
}

TEST_F(cpu_timer, never_early_with_two_tasks)
{
	use(self, 2, SPIN);
	expire(_metadata, self);
}

TEST_F(cpu_timer, never_early_with_tasks_that_sleep)
{
	use(self, 2, NAP);
	expire(_metadata, self);
}

TEST_F(cpu_timer, never_early_for_oneself)
{
	int fd = make_timer(self->clock, CPUTIME, NONBLOCK);
	uint64_t seed = 6;

	must_register(self->clock, 0, 0);
	for (int i = 0; i < TIMES; i++) {
		int64_t at = cpu_ns(self->clock) + 1 + rnd(&seed) % 200000, seen;

		set_timer(fd, ABSOLUTE, at, 0);
		while (!expirations(fd)) {
			/* As long as it has not expired, nobody can wait for what is over. */
			seen = get_timer(fd).left_ns;
			ASSERT_LE(seen, 200001);
		}
		ASSERT_LE(at, cpu_ns(self->clock));
	}
	close(fd);
}

TEST_F(cpu_timer, counts_what_ran_before)
{
	int clock = open_device(), fd;
	struct parkclock_timer_state s;
	int64_t before, after;

	must_register(clock, self->w[0].tid, 0);
	must_register(clock, self->w[1].tid, 0);
	self->w[0].work = SPIN;
	self->w[1].work = NAP;
	ASSERT_TRUE(wait_until(cpu_ns(clock) > 20 * MSEC));
	/* One that is gone, and whose time stays */
	EXPECT_EQ(0, try_unregister(clock, self->w[1].tid, 0));
	before = cpu_ns(clock);
	fd = make_timer(clock, CPUTIME, 0);
	set_timer(fd, 0, HOUR, 0);
	s = get_timer(fd);
	after = cpu_ns(clock);
	EXPECT_LE(before, s.expiry_ns - HOUR);
	EXPECT_GE(after, s.expiry_ns - s.left_ns);
	EXPECT_LE(before, s.expiry_ns - s.left_ns);
	close(fd);
	close(clock);
}

TEST_F(cpu_timer, what_is_left)
{
	struct parkclock_timer_state s;
	int64_t before, after;

	use(self, 2, NAP);
	set_timer(self->fd, 0, HOUR, 0);
	for (int i = 0; i < 200; i++) {
		before = cpu_ns(self->clock);
		s = get_timer(self->fd);
		after = cpu_ns(self->clock);
		ASSERT_LE(before, s.expiry_ns - s.left_ns);
		ASSERT_GE(after, s.expiry_ns - s.left_ns);
		sleep_us(100);
	}
}

TEST_F(cpu_timer, interval)
{
	int64_t at, n = 0;
	struct parkclock_expired e;

	use(self, 2, SPIN);
	at = cpu_ns(self->clock) + MSEC;
	set_timer(self->fd, ABSOLUTE, at, 300000);
	while (n < 50) {
		ASSERT_EQ(sizeof(e), try_expired(self->fd, &e));
		n += e.expirations;
		ASSERT_GE(cpu_ns(self->clock), at + (n - 1) * 300000);
	}
	EXPECT_EQ(0, (get_timer(self->fd).expiry_ns - at) % 300000);
}

#define ARMED "parkclock_cpu_timer_expire"

/* Is the kernel's timer armed? */
static bool armed(void)
{
	return mentions("/proc/timer_list", ARMED);
}

static bool tells_of_timers(void)
{
	return exists("/proc/timer_list") && mentions("/proc/kallsyms", ARMED);
}

TEST_F(cpu_timer, nothing_is_armed_while_all_sleep)
{
	struct parkclock_timer_state s;

	if (!tells_of_timers())
		SKIP(return, "needs /proc/timer_list");
	EXPECT_FALSE(armed());
	set_timer(self->fd, 0, HOUR, 0);
	EXPECT_FALSE(armed());
	use(self, 2, SPIN);
	EXPECT_TRUE(wait_until(armed()));
	/* One of them goes on. */
	self->w[0].work = END;
	EXPECT_TRUE(wait_until(armed()));
	set_timer(self->fd, 0, 0, 0);
	EXPECT_TRUE(wait_until(!armed()));
	set_timer(self->fd, 0, HOUR, 0);
	EXPECT_TRUE(wait_until(armed()));
	must(self->clock, PARKCLOCK_IOC_STOP, 0);
	EXPECT_FALSE(armed());
	must(self->clock, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
	EXPECT_TRUE(wait_until(armed()));
	self->w[1].work = END;
	EXPECT_TRUE(wait_tasks(self->clock, 0));
	EXPECT_FALSE(armed());
	/* The time stands still. */
	s = get_timer(self->fd);
	sleep_ms(20);
	EXPECT_EQ(s.left_ns, get_timer(self->fd).left_ns);
}

TEST_F(cpu_timer, stopped)
{
	int fd = make_timer(self->clock, CPUTIME, NONBLOCK);
	int64_t at;

	use(self, 2, SPIN);
	at = cpu_ns(self->clock) + 10 * MSEC;
	set_timer(fd, ABSOLUTE, at, 10 * MSEC);
	must(self->clock, PARKCLOCK_IOC_STOP, 0);
	at += 10 * MSEC * expirations(fd);
	/* The tasks run on, but nothing expires. */
	ASSERT_TRUE(wait_until((int64_t)query(self->clock).cpu_ns > at + 60 * MSEC));
	EXPECT_EQ(0, poll_timer(fd, 20));
	EXPECT_EQ(1, get_timer(fd).left_ns);
	set_timer(self->fd, 0, 1, 0);
	EXPECT_EQ(0, poll_timer(self->fd, 20));
	must(self->clock, PARKCLOCK_IOC_START, PARKCLOCK_GAP_INCLUDE);
	EXPECT_EQ(POLLIN, poll_timer(fd, 0));
	EXPECT_EQ(POLLIN, poll_timer(self->fd, 0));
	EXPECT_GE(expirations(fd), 7);
	close(fd);
}

TEST_F(cpu_timer, saved_and_restored)
{
	struct parkclock_timer_state s, r;
	int clock, fd;

	use(self, 1, SPIN);
	ASSERT_TRUE(wait_until(cpu_ns(self->clock) > MSEC));
	set_timer(self->fd, 0, HOUR, 3);
	save(self->clock);
	s = get_timer(self->fd);
	/* The CPU time of another clock begins at 0: what is left is left. */
	clock = open_device();
	fd = make_timer(clock, CPUTIME, NONBLOCK);
	r = s;
	EXPECT_EQ(0, try_state(fd, &r));
	r = get_timer(fd);
	EXPECT_EQ(s.left_ns, r.left_ns);
	EXPECT_EQ(s.left_ns, r.expiry_ns);
	EXPECT_EQ(3, r.interval_ns);
	close(fd);
	close(clock);
}

static void *close_soon(void *fd)
{
	sleep_ms(30);
	close(*(int *)fd);
	return NULL;
}

TEST_F(cpu_timer, the_owner_goes)
{
	struct parkclock_expired e;
	int view = try(self->clock, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_TIMERS), other;
	pthread_t closer;

	use(self, 2, SPIN);
	set_timer(self->fd, 0, HOUR, 0);
	ASSERT_EQ(0, pthread_create(&closer, NULL, close_soon, &self->clock));
	EXPECT_EQ(0, try_expired(self->fd, &e));
	pthread_join(closer, NULL);
	self->clock = -1;
	EXPECT_EQ(POLLHUP, poll_timer(self->fd, 0));
	other = make_timer(view, CPUTIME, 0);
	set_timer(other, 0, 1, 0);
	EXPECT_EQ(0, try_expired(other, &e));
	close(other);
	close(view);
}

/* A view reads on; whoever reads a timer gets what has expired, and then the end. */
TEST_F(cpu_timer, the_end_comes_last)
{
	struct parkclock_expired e;
	uint64_t seed = 7;

	self->w[0].work = SPIN;
	for (int i = 0; i < TIMES; i++) {
		int clock = open_device();
		int view = try(clock, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_TIMERS);
		int fd = make_timer(i % 2 ? view : clock, CPUTIME, 0);
		int64_t at = 1 + rnd(&seed) % 200000;

		set_timer(fd, ABSOLUTE, at, 0);
		must_register(clock, self->w[0].tid, 0);
		sleep_us(rnd(&seed) % 200);
		close(clock);
		/* The time stands still from now on. */
		ASSERT_EQ(cpu_ns(view) >= at ? sizeof(e) : 0, try_expired(fd, &e));
		ASSERT_EQ(0, try_expired(fd, &e));
		close(fd);
		close(view);
	}
}

/* Also where nothing has added up the time before */
TEST_F(cpu_timer, a_view_reads_after_the_owner)
{
	int clock = open_device();
	int view = try(clock, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_TIMERS), fd;
	int64_t before, after;

	must_register(clock, self->w[0].tid, 0);
	self->w[0].work = SPIN;
	ASSERT_TRUE(wait_until(cpu_ns(view) > MSEC));
	before = cpu_ns(clock);
	close(clock);
	after = cpu_ns(view);
	EXPECT_LE(before, after);
	sleep_ms(20);
	EXPECT_EQ(after, cpu_ns(view));
	fd = make_timer(view, CPUTIME, 0);
	set_timer(fd, ABSOLUTE, after, 0);
	EXPECT_EQ(1, expirations(fd));
	set_timer(fd, 0, HOUR, 0);
	EXPECT_EQ(after + HOUR, get_timer(fd).expiry_ns);
	EXPECT_EQ(after, cpu_ns(view));
	close(fd);
	close(view);
}

/* Whose tasks are registered as long as the view is there */
TEST_F(cpu_timer, a_view_keeps_it_going)
{
	int clock = open_device(), fd;
	int view = try(clock, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_TIMERS | PARKCLOCK_VIEW_KEEP);
	struct parkclock_expired e;

	fd = make_timer(view, CPUTIME, 0);
	set_timer(fd, 0, 20 * MSEC, 0);
	must_register(clock, self->w[0].tid, 0);
	close(clock);
	self->w[0].work = SPIN;
	EXPECT_EQ(sizeof(e), try_expired(fd, &e));
	EXPECT_EQ(1, e.expirations);
	EXPECT_LE(20 * MSEC, cpu_ns(view));
	set_timer(fd, 0, HOUR, 0);
	/* The timer is no keeper. */
	close(view);
	EXPECT_EQ(0, try_expired(fd, &e));
	close(fd);
}

TEST_F(cpu_timer, closing_one_leaves_the_others)
{
	int seen = 0;

	if (!tells_of_timers())
		SKIP(return, "needs /proc/timer_list");
	if (cpus_online() < 2)
		SKIP(return, "needs two CPUs");
	/* The one that runs is alone on its CPU: no switch arms it again. */
	try_to_pin(self->w[1].cpu);
	use(self, 1, SPIN);
	set_timer(self->fd, 0, HOUR, 0);
	ASSERT_TRUE(wait_until(armed()));
	for (int i = 0; i < TIMES; i++) {
		close(make_timer(self->clock, CPUTIME, 0));
		/* The file does not show all CPUs at one instant. */
		seen += armed();
	}
	EXPECT_GT(seen, TIMES / 2);
}

TEST_F(cpu_timer, many)
{
	int fds[300];
	int64_t at;

	/* More than are expired at once, of the same time and of others */
	use(self, 2, SPIN);
	at = cpu_ns(self->clock) + 5 * MSEC;
	for (int i = 0; i < 300; i++) {
		fds[i] = make_timer(self->clock, CPUTIME, NONBLOCK);
		set_timer(fds[i], ABSOLUTE, at + (i % 3 ? 0 : i * 1000), 0);
	}
	for (int i = 0; i < 300; i++) {
		EXPECT_TRUE(expires(fds[i]));
		EXPECT_EQ(1, expirations(fds[i]));
		EXPECT_GE(cpu_ns(self->clock), at + (i % 3 ? 0 : i * 1000));
		close(fds[i]);
	}
}

TEST_HARNESS_MAIN
