// SPDX-License-Identifier: GPL-2.0
/*
 * What timers cost, beside timerfd's and the kernel's CPU timers: see cost.c.
 *
 * - Setting a timer that is armed, and an expiration that nobody waits for: instructions, the least
 *   of many.
 * - 1,000 CPU timers of 10 ms on one thread that does nothing but run: how much of the CPU they
 *   take from it, and how late the thread that waits for one of them is. The kernel's are those
 *   of timer_create(CLOCK_THREAD_CPUTIME_ID).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "bench.h"
#include "lib/clock.h"
#include "lib/die.h"
#include "lib/host_clock.h"
#include "lib/registration.h"
#include "lib/timers.h"

#define SAMPLES		2000
#define MANY		1000
#define PERIOD_NS	(10 * MSEC)
#define WINDOW_NS	(500 * MSEC)

/* A timer to be measured: timerfd's if @ours is false */
struct timer {
	bool ours;
	int fd;
};

static void set(const struct timer *t, int64_t ns)
{
	const struct itimerspec spec = { .it_value = { ns / NSEC, ns % NSEC } };
	struct parkclock_timer_set to = { .value_ns = ns };

	if (t->ours ? try_set(t->fd, &to) : timerfd_settime(t->fd, 0, &spec, NULL))
		die("setting a timer");
}

/* The least that it takes to set a timer that is armed */
static uint64_t setting(const struct timer *t)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < SAMPLES; i++) {
		uint64_t begin = tsc(), took;

		set(t, HOUR);
		took = tsc() - begin;
		if (took < least)
			least = took;
	}
	set(t, 0);
	return least;
}

/* The least by which an expiration interrupts */
static uint64_t expiration(const struct timer *t)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < SAMPLES; i++) {
		uint64_t now, then, longest = 0, end, count[2];

		set(t, 20000);
		then = tsc();
		end = then + 60000;
		do {
			now = tsc();
			if (now - then > longest)
				longest = now - then;
			then = now;
		} while (now < end);
		/* Whether it came, and in that time, is seen by what there is to read. */
		if (read(t->fd, count, sizeof(count)) >= 8 && longest < least)
			least = longest;
	}
	return least;
}

static void measure_one(void)
{
	int clock = open_device();
	const struct timer theirs = { false, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK) };
	const struct timer ours = { true, make_timer(clock, CLOCK_MONOTONIC, NONBLOCK) };
	double kernel;

	hold(clock);
	kernel = setting(&theirs);
	show(NO_TARGET, kernel, "the kernel's: timerfd_settime()");
	show(1.5 * kernel, setting(&ours), "TIMER_SET");
	kernel = expiration(&theirs);
	show(NO_TARGET, kernel, "the kernel's: an expiration of timerfd");
	show(1.5 * kernel, expiration(&ours), "an expiration of a timer");
	release(clock);
	show(1.5 * kernel, expiration(&ours), "the same, with the page parked");
	close(theirs.fd);
	close(ours.fd);
	close(clock);
}

/* The busy thread */
static struct {
	atomic_int tid;
	atomic_ullong turns;
	atomic_bool stop;
	pthread_t thread;
	clockid_t clock;
} busy;

static void *be_busy(void *unused)
{
	const struct sched_param none = {};

	(void)unused;
	/* Below all others */
	if (sched_setscheduler(0, SCHED_OTHER, &none))
		die("sched_setscheduler");
	busy.tid = gettid();
	while (!busy.stop)
		atomic_store_explicit(&busy.turns, busy.turns + 1, memory_order_relaxed);
	return NULL;
}

static void sleep_ns(int64_t ns)
{
	const struct timespec ts = { ns / NSEC, ns % NSEC };

	nanosleep(&ts, NULL);
}

/* How many turns the busy thread makes meanwhile */
static uint64_t turns(void)
{
	uint64_t begin = busy.turns;

	sleep_ns(WINDOW_NS);
	return busy.turns - begin;
}

static int64_t thread_ns(void)
{
	return now_ns(busy.clock);
}

/* How late whoever waits for a timer of the kernel is, in ns of the thread's CPU time */
static void posix_lateness(double *mean, double *most)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec spec = {};
	int64_t at, late;
	sigset_t set;
	timer_t timer;
	siginfo_t info;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (timer_create(busy.clock, &event, &timer))
		die("timer_create");
	*mean = 0;
	*most = 0;
	for (int i = 0; i < 20; i++) {
		at = thread_ns() + PERIOD_NS;
		spec.it_value.tv_sec = at / NSEC;
		spec.it_value.tv_nsec = at % NSEC;
		if (timer_settime(timer, TIMER_ABSTIME, &spec, NULL) ||
		    sigwaitinfo(&set, &info) < 0)
			die("timer_settime");
		late = thread_ns() - at;
		*mean += late / 20.0;
		if (late > *most)
			*most = late;
	}
	timer_delete(timer);
}

static void our_lateness(int clock, double *mean, double *most)
{
	int fd = make_timer(clock, CPUTIME, 0);
	struct parkclock_expired e;
	int64_t at, late;

	*mean = 0;
	*most = 0;
	for (int i = 0; i < 20; i++) {
		at = slow_read(clock, CPUTIME).ns + PERIOD_NS;
		set_timer(fd, ABSOLUTE, at, 0);
		if (try_expired(fd, &e) != sizeof(e))
			die("read of a timer");
		late = slow_read(clock, CPUTIME).ns - at;
		*mean += late / 20.0;
		if (late > *most)
			*most = late;
	}
	close(fd);
}

static void show_lost(double target, uint64_t without, uint64_t with, const char *text)
{
	show(target, 100.0 * ((double)without - with) / without, "%s, %% of the CPU", text);
}

static void measure_posix(uint64_t without)
{
	struct sigevent none = { .sigev_notify = SIGEV_NONE };
	const struct itimerspec each = { { 0, PERIOD_NS }, { 0, PERIOD_NS } };
	timer_t *timers = calloc(MANY, sizeof(*timers));
	double mean, most;

	posix_lateness(&mean, &most);
	show(NO_TARGET, mean / 1000, "the kernel's: how late is a CPU timer, us, mean");
	show(NO_TARGET, most / 1000, "the kernel's: how late is a CPU timer, us, most");
	if (!timers)
		die("calloc");
	for (int i = 0; i < MANY; i++)
		if (timer_create(busy.clock, &none, &timers[i]) ||
		    timer_settime(timers[i], 0, &each, NULL))
			die("timer_create");
	show_lost(NO_TARGET, without, turns(), "the kernel's: 1,000 CPU timers of 10 ms");
	for (int i = 0; i < MANY; i++)
		timer_delete(timers[i]);
	free(timers);
}

/* Reads all timers, each time that the first of them has expired. */
static uint64_t turns_while_read(int *fds)
{
	uint64_t begin = busy.turns;
	int64_t end = now_ns(CLOCK_MONOTONIC) + WINDOW_NS;
	struct parkclock_expired e;

	fcntl(fds[0], F_SETFL, 0);
	while (now_ns(CLOCK_MONOTONIC) < end) {
		if (try_expired(fds[0], &e) != sizeof(e))
			die("read of a timer");
		for (int i = 1; i < MANY; i++)
			try_expired(fds[i], &e);
	}
	return busy.turns - begin;
}

static void measure_ours(uint64_t without)
{
	const struct rlimit files = { 4096, 4096 };
	int clock = open_device(), *fds = calloc(MANY, sizeof(*fds));
	double mean, most;

	if (!fds || setrlimit(RLIMIT_NOFILE, &files))
		die("setrlimit");
	must_register(clock, busy.tid, 0);
	our_lateness(clock, &mean, &most);
	show(NO_TARGET, mean / 1000, "how late is a CPU timer, us, mean");
	show(NO_TARGET, most / 1000, "how late is a CPU timer, us, most");
	for (int i = 0; i < MANY; i++) {
		fds[i] = make_timer(clock, CPUTIME, NONBLOCK);
		set_timer(fds[i], 0, PERIOD_NS, PERIOD_NS);
	}
	show_lost(NO_TARGET, without, turns(), "1,000 CPU timers of 10 ms that nobody reads");
	show_lost(NO_TARGET, without, turns_while_read(fds),
		  "1,000 CPU timers of 10 ms, all of them read each time");
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	free(fds);
	close(clock);
}

void measure_timers(void)
{
	uint64_t without;
	sigset_t set;

	measure_one();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	errno = pthread_create(&busy.thread, NULL, be_busy, NULL);
	if (errno)
		die("pthread_create");
	while (!busy.tid)
		sleep_ns(MSEC);
	if (pthread_getcpuclockid(busy.thread, &busy.clock))
		die("pthread_getcpuclockid");
	turns();
	without = turns();
	measure_posix(without);
	measure_ours(without);
	busy.stop = true;
	pthread_join(busy.thread, NULL);
}
