// SPDX-License-Identifier: GPL-2.0
/*
 * A registered task never finds an expired page, and a registered task that sleeps costs
 * nothing.
 *
 * Checked: the clock parks while registered tasks sleep, with not one timer expiry. Whatever
 * wakes a task, its first read comes from the page. Tasks may spin, or be preempted, for many
 * windows. Registering a task that sleeps wakes nobody. Registering a task that runs protects it
 * at once. The CPU time is the scheduler's.
 *
 * Fails if the probe takes its reference late or not at all, drops it when the task is
 * preempted, keeps it when the task sleeps, or refreshes nothing when it finds the updater
 * parked: the tests wait until what is left in the page has expired.
 *
 * Two cases are no failure. A page that was refreshed in the switch may have expired when it is
 * read, because the machine stood still: see expired_since(). And the page of a task that has
 * not slept may have expired: the task was not switched in, and the timer may be late.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/machine.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define CYCLES		5000
#define PROCESSES	100
#define THREADS		10
#define MANY_SECONDS	10

static uint64_t ns_to_cycles(int fd, uint64_t ns)
{
	return (unsigned __int128)ns * query(fd).counter_hz / 1000000000;
}

FIXTURE(run_transitions) {
	struct pclock c;
};

FIXTURE_SETUP(run_transitions)
{
	start_parked("10", "4", "0");
	self->c = open_owner();
}

FIXTURE_TEARDOWN(run_transitions)
{
	trace_stop(TIMER_EVENT);
	close_clock(&self->c);
	default_params();
}

/* A thread that waits to be woken, and then reads first of all. */

enum means { BY_TIMER, BY_SIGNAL, BY_PIPE, BY_FUTEX, MEANS };

static const char *const means_names[] = { "a timer", "a signal", "a pipe", "a futex" };

struct sleeper {
	struct pclock c;
	pthread_t thread;
	int pipe[2];
	uint64_t nap_cycles;
	int64_t blocked;		/* while it was registered */
	atomic_int futex;
	atomic_int round;		/* about to wait for the last time but so many */
	atomic_int done;
	atomic_ullong woken;		/* the counter before it was woken */
	atomic_llong woken_ns;		/* and the time */
	bool expired;
	bool late;
	bool wrong;
};

static const struct timespec nap = { 0, 8000000 };	/* a window and more */

static void wait_by(struct sleeper *s, int round)
{
	sigset_t set;
	int value;
	char byte;

	switch ((enum means)(round % MEANS)) {
	case BY_TIMER:
		s->woken_ns = now_ns(CLOCK_MONOTONIC);
		s->woken = tsc() + s->nap_cycles;
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
		break;
	case BY_SIGNAL:
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		sigwaitinfo(&set, NULL);
		break;
	case BY_PIPE:
		if (read(s->pipe[0], &byte, 1) != 1)
			die("read");
		break;
	case BY_FUTEX:
		while ((value = s->futex) < round)
			syscall(SYS_futex, &s->futex, FUTEX_WAIT, value, NULL, NULL, 0);
	case MEANS:
		break;
	}
}

static void *sleeper(void *arg)
{
	struct parkclock_reading r;
	struct sleeper *s = arg;
	const int cycles = scaled(CYCLES);

	must_register(s->c.fd, 0, 0);
	s->blocked = times_blocked();
	for (int round = 1; round <= cycles; round++) {
		int64_t blocked = times_blocked();

		s->round = round;
		wait_by(s, round);
		if (parkclock_page_read_bound(s->c.map, CLOCK_MONOTONIC, &r) < 0) {
			/* A nap may be over before it has begun. */
			s->expired = expired_since(s->c.map, s->woken) &&
				     times_blocked() != blocked;
			s->late = !s->expired;
		} else {
			s->wrong = !within_bound(&r, s->woken_ns, now_ns(CLOCK_MONOTONIC));
			s->late = false;
		}
		s->done = round;
	}
	s->blocked = times_blocked() - s->blocked;
	return NULL;
}

static void wake_by(struct sleeper *s, int round)
{
	s->woken_ns = now_ns(CLOCK_MONOTONIC);
	s->woken = tsc();
	switch ((enum means)(round % MEANS)) {
	case BY_SIGNAL:
		pthread_kill(s->thread, SIGUSR1);
		break;
	case BY_PIPE:
		if (write(s->pipe[1], "", 1) != 1)
			die("write");
		break;
	case BY_FUTEX:
		s->futex = round;
		syscall(SYS_futex, &s->futex, FUTEX_WAKE, 1, NULL, NULL, 0);
	case BY_TIMER:
	case MEANS:
		break;
	}
}

TEST_F_TIMEOUT(run_transitions, first_read_after_a_wake, 900)
{
	struct sleeper s = { .c = self->c };
	struct parkclock_query start, end;
	const int cycles = scaled(CYCLES);
	int late = 0, woken = 0;
	sigset_t set;

	NEEDS_SWITCHES(return);
	NEEDS_COUNTER(return);
	must_set("interval_ms", "1");
	s.nap_cycles = ns_to_cycles(self->c.fd, nap.tv_nsec) - 1000;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ASSERT_EQ(0, pipe(s.pipe));
	start = query(self->c.fd);
	ASSERT_EQ(0, pthread_create(&s.thread, NULL, sleeper, &s));
	for (int round = 1; round <= cycles; round++) {
		int64_t t0 = now_ns(CLOCK_MONOTONIC);

		while (s.round < round) {
			ASSERT_LT(now_ns(CLOCK_MONOTONIC) - t0, PATIENCE_MS * 1000000LL);
			sleep_us(50);
		}
		if (round % MEANS != BY_TIMER) {
			ASSERT_TRUE(wait_parked_and_expired(&self->c));
			woken++;
			wake_by(&s, round);
		}
		while (s.done < round) {
			ASSERT_LT(now_ns(CLOCK_MONOTONIC) - t0, PATIENCE_MS * 1000000LL);
			sleep_us(50);
		}
		ASSERT_FALSE(s.expired) {
			TH_LOG("cycle %d, woken by %s: expired", round, means_names[round % MEANS]);
		}
		ASSERT_FALSE(s.wrong) {
			TH_LOG("cycle %d, woken by %s: out of its bound", round,
			       means_names[round % MEANS]);
		}
		late += s.late;
	}
	pthread_join(s.thread, NULL);
	EXPECT_TRUE(wait_tasks(self->c.fd, 0));
	end = query(self->c.fd);
	/* Nobody else has woken it, and those by hand found it parked for certain. */
	EXPECT_EQ(end.wakes - start.wakes, end.run_wakes - start.run_wakes);
	EXPECT_GE(end.run_wakes - start.run_wakes, (uint64_t)woken);
	EXPECT_GE(s.blocked, woken);
	EXPECT_GE(end.run_transitions - start.run_transitions, (uint64_t)s.blocked);
	TH_LOG("%llu wakes, page late %d times",
	       (unsigned long long)(end.run_wakes - start.run_wakes), late);
}

/* Other threads: one that sleeps, or spins, until told. */

struct other {
	pthread_t thread;
	atomic_int tid;
	atomic_bool spin;
	atomic_bool stop;
	int cpu;
};

static void *other(void *arg)
{
	struct other *o = arg;

	if (o->cpu >= 0)
		pin(o->cpu);
	o->tid = gettid();
	while (!o->stop)
		if (!o->spin)
			sleep_ms(100);
	return NULL;
}

static void start_other(struct other *o)
{
	if (pthread_create(&o->thread, NULL, other, o))
		die("pthread_create");
	while (!o->tid)
		sleep_us(100);
}

static void stop_other(struct other *o)
{
	o->stop = true;
	pthread_join(o->thread, NULL);
}

TEST_F(run_transitions, sleeping_costs_nothing)
{
	struct parkclock_query parked, later;
	char filter[64];
	pid_t child;
	int ready[2];

	NEEDS_SWITCHES(return);
	NEEDS_COUNTER(return);
	NEEDS_TRACE(return);
	ASSERT_EQ(0, pipe(ready));
	must_set("interval_ms", "100");
	child = fork();
	if (!child) {
		must_register(self->c.fd, 0, 0);
		(void)!write(ready[1], "", 1);
		for (;;)
			pause();
	}
	ASSERT_EQ(1, read(ready[0], filter, 1));
	ASSERT_TRUE(wait_asleep(child));
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	parked = query(self->c.fd);
	EXPECT_EQ(1, parked.tasks);
	EXPECT_EQ(0, parked.running);
	EXPECT_EQ(0, parked.references);
	our_timer(filter, sizeof(filter));
	trace_start(TIMER_EVENT, filter);
	for (int i = 0; i < 30; i++) {
		sleep_ms(100);
		EXPECT_EQ(PARKCLOCK_PARKED, query(self->c.fd).state);
	}
	later = query(self->c.fd);
	EXPECT_EQ(0, trace_count("hrtimer_expire_entry", NULL));
	EXPECT_EQ(parked.expirations, later.expirations);
	EXPECT_EQ(parked.run_transitions, later.run_transitions);
	EXPECT_EQ(parked.cpu_ns, later.cpu_ns);

	/*
	 * That was the timer: it fires when the task runs, twice at most after that. On its
	 * way out the task may block, but not for so long that the clock parks meanwhile.
	 */
	must_set("interval_ms", "20000");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT_TRUE(wait_tasks(self->c.fd, 0));
	must_set("interval_ms", "1");
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	later = query(self->c.fd);
	EXPECT_EQ(parked.wakes + 1, later.wakes);
	EXPECT_EQ(parked.run_wakes + 1, later.run_wakes);
	EXPECT_GE(trace_count("hrtimer_expire_entry", NULL), 1);
	EXPECT_EQ(later.expirations - parked.expirations,
		  (uint64_t)trace_count("hrtimer_expire_entry", NULL));
}

TEST_F(run_transitions, registered_asleep)
{
	struct parkclock_query before, after;
	struct other o = { .cpu = -1 };

	NEEDS_SWITCHES(return);
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	must_set("interval_ms", "20000");
	start_other(&o);
	/* It sleeps for 100 ms at a time: mostly it does so while it is registered. */
	for (int i = 0; i < 100; i++) {
		before = query(self->c.fd);
		must_register(self->c.fd, o.tid, 0);
		after = query(self->c.fd);
		if (after.run_transitions == before.run_transitions)
			break;
		ASSERT_EQ(0, try_unregister(self->c.fd, o.tid, 0));
	}
	EXPECT_EQ(before.run_transitions, after.run_transitions);
	EXPECT_EQ(1, after.tasks);
	EXPECT_EQ(0, after.running);
	EXPECT_EQ(0, after.references);
	EXPECT_EQ(before.wakes, after.wakes);
	stop_other(&o);
}

TEST_F(run_transitions, registered_while_running)
{
	struct other o = { .cpu = cpus_online() - 1, .spin = true };
	struct parkclock_query q;

	NEEDS_SWITCHES(return);
	NEEDS_COUNTER(return);
	must_set("interval_ms", "500");
	pin(0);
	start_other(&o);
	for (int round = 0; round < 20; round++) {
		must_register(self->c.fd, o.tid, 0);
		/* With one CPU it does not run now, and is seen when it does. */
		EXPECT_TRUE(wait_running(self->c.fd, 1));
		EXPECT_TRUE(valid(self->c.map) || comes_back(self->c.map));
		q = query(self->c.fd);
		EXPECT_EQ(1, q.references);
		EXPECT_GE(q.state, PARKCLOCK_IDLE);
		EXPECT_EQ(0, try_unregister(self->c.fd, o.tid, 0));
		q = query(self->c.fd);
		EXPECT_EQ(0, q.references);
		EXPECT_EQ(0, q.tasks);
		EXPECT_EQ(0, q.running);
	}
	/* For some windows, and then it stops running. */
	must_set("interval_ms", "50");
	must_register(self->c.fd, o.tid, 0);
	EXPECT_TRUE(wait_running(self->c.fd, 1));
	q = query(self->c.fd);
	for (int i = 0; i < 100; i++) {
		ASSERT_TRUE(valid(self->c.map) || comes_back(self->c.map));
		sleep_ms(10);
	}
	EXPECT_EQ(q.parks, query(self->c.fd).parks);
	EXPECT_EQ(q.wakes, query(self->c.fd).wakes);
	o.spin = false;
	EXPECT_TRUE(wait_running(self->c.fd, 0));
	stop_other(&o);
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
}

/*
 * Spins, and reads all the time. Returns how often the page had expired; and how
 * often the thread stood still for a window, if that is wanted.
 */
static int read_all_the_time(struct pclock *c, unsigned int ms, int *gaps)
{
	uint64_t window = ns_to_cycles(c->fd, query(c->fd).window_ns), last = tsc(), now;
	uint64_t end = last + ns_to_cycles(c->fd, ms * 1000000ULL);
	int expired = 0;

	for (; (int64_t)(last - end) < 0; last = now) {
		uint64_t before = tsc();
		bool ok = valid(c->map);

		now = tsc();
		if (gaps && now - last > window)
			++*gaps;
		/* Refreshed since, and expired: the machine stood still. */
		if (!ok && expired_since(c->map, before))
			expired++;
	}
	return expired;
}

TEST_F(run_transitions, spins_for_ten_windows)
{
	struct parkclock_query start, end;
	int expired = 0;
	int64_t t0;

	NEEDS_SWITCHES(return);
	NEEDS_COUNTER(return);
	/* To find out has woken it. */
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	must_set("interval_ms", "50");
	start = query(self->c.fd);
	must_register(self->c.fd, 0, 0);
	t0 = now_ns(CLOCK_MONOTONIC);
	/* Once more if the machine, and with it the timer, stood still meanwhile. */
	do {
		expired += read_all_the_time(&self->c, 2000, NULL);
		end = query(self->c.fd);
	} while (end.refreshes - start.refreshes < 10 &&
		 now_ns(CLOCK_MONOTONIC) - t0 < PATIENCE_MS * 1000000LL);
	/* A timer that is late does not park. */
	if (expired)
		TH_LOG("page late %d times", expired);
	EXPECT_TRUE(valid(self->c.map) || comes_back(self->c.map));
	EXPECT_EQ(start.parks, end.parks);
	EXPECT_EQ(start.wakes + 1, end.wakes);
	EXPECT_GE(end.refreshes - start.refreshes, 10);
	EXPECT_EQ(1, end.running);
	EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
}

struct hog {
	pthread_t thread;
	unsigned int ms;
	atomic_bool stop;
};

/* Takes CPU 0 for itself, again and again. */
static void *hog(void *arg)
{
	struct sched_param fifo = { .sched_priority = 1 };
	struct hog *h = arg;

	pin(0);
	if (sched_setscheduler(0, SCHED_FIFO, &fifo))
		die("sched_setscheduler");
	while (!h->stop) {
		int64_t t0 = now_ns(CLOCK_MONOTONIC);

		while (now_ns(CLOCK_MONOTONIC) - t0 < h->ms * 1000000LL)
			;
		sleep_ms(h->ms);
	}
	return NULL;
}

TEST_F(run_transitions, preempted_for_longer_than_the_window)
{
	struct parkclock_query start, end;
	struct hog h = { .ms = 200 };
	int gaps = 0, expired = 0;
	int64_t t0;

	NEEDS_SWITCHES(return);
	NEEDS_COUNTER(return);
	must_set("interval_ms", "20");
	pin(0);
	must_register(self->c.fd, 0, 0);
	ASSERT_EQ(0, pthread_create(&h.thread, NULL, hog, &h));
	start = query(self->c.fd);
	t0 = now_ns(CLOCK_MONOTONIC);
	/* Longer if the machine stood still, and the other thread took nothing meanwhile. */
	do {
		expired += read_all_the_time(&self->c, 4000, &gaps);
		end = query(self->c.fd);
	} while (gaps < 5 && now_ns(CLOCK_MONOTONIC) - t0 < PATIENCE_MS * 1000000LL);
	h.stop = true;
	pthread_join(h.thread, NULL);
	EXPECT_GE(gaps, 5);
	/* Preempted, it went on holding: nobody parked, nobody had to be woken. */
	EXPECT_EQ(start.parks, end.parks);
	EXPECT_EQ(start.wakes, end.wakes);
	EXPECT_EQ(start.run_transitions, end.run_transitions);
	if (expired)
		TH_LOG("page late %d times", expired);
	EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
}

/* Many tasks */

struct many {
	struct pclock c;
	uint64_t nap_max_us;
	int start[2];		/* a pipe: each reads a byte before it begins */
	atomic_bool stop;
	atomic_int awake;
	atomic_ullong reads;
	atomic_ullong late;
	atomic_ullong expired;
};

static struct many *many;

static void *naps(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	char byte;

	many->awake++;
	if (read(many->start[0], &byte, 1) != 1)
		die("read");
	while (!many->stop) {
		uint64_t us = rnd(&seed) % many->nap_max_us;
		/* Less what the frequency may be off by. */
		uint64_t nap = ns_to_cycles(many->c.fd, us * 1000) / 100000 * 99999;
		int64_t blocked = times_blocked();
		uint64_t woken = tsc() + nap;

		sleep_us(us);
		many->reads++;
		if (valid(many->c.map))
			continue;
		/* As in sleeper() */
		if (expired_since(many->c.map, woken) && times_blocked() != blocked)
			many->expired++;
		else
			many->late++;
	}
	many->awake--;
	for (;;)
		pause();
	return NULL;
}

static void many_threads(int n)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (int i = 1; i <= THREADS; i++)
		if (pthread_create(&thread, &attr, naps, (void *)(n * 7919L + i * 104729L)))
			die("pthread_create");
	for (;;)
		pause();
}

TEST_F_TIMEOUT(run_transitions, many_tasks, 600)
{
	char bytes[PROCESSES * THREADS] = { 0 };
	pid_t pid[PROCESSES];

	NEEDS_SWITCHES(return);
	NEEDS_COUNTER(return);
	many = mmap(NULL, sizeof(*many), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, many);
	many->c = self->c;
	many->nap_max_us = 5000000;
	ASSERT_EQ(0, pipe(many->start));
	for (int i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		ASSERT_LE(0, pid[i]);
		if (!pid[i])
			many_threads(i);
	}
	for (int ms = 0; many->awake < PROCESSES * THREADS; ms += 10) {
		ASSERT_LT(ms, 5 * PATIENCE_MS);
		sleep_ms(10);
	}
	for (int i = 0; i < PROCESSES; i++)
		must_register(self->c.fd, pid[i], PARKCLOCK_TASK_PROCESS);
	EXPECT_EQ(PROCESSES * (THREADS + 1), query(self->c.fd).tasks);
	EXPECT_TRUE(wait_running(self->c.fd, 0));
	EXPECT_EQ((ssize_t)sizeof(bytes), write(many->start[1], bytes, sizeof(bytes)));
	sleep_ms(MANY_SECONDS * 1000);
	EXPECT_EQ(0, many->expired);
	EXPECT_LT(0, many->reads);
	many->stop = true;
	for (int ms = 0; many->awake; ms += 10) {
		ASSERT_LT(ms, 5 * PATIENCE_MS);
		sleep_ms(10);
	}
	EXPECT_TRUE(wait_running(self->c.fd, 0));
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	EXPECT_EQ(0, query(self->c.fd).references);
	TH_LOG("%llu reads, page late %llu times", (unsigned long long)many->reads,
	       (unsigned long long)many->late);
	for (int i = 0; i < PROCESSES; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	EXPECT_TRUE(wait_tasks(self->c.fd, 0));
	munmap(many, sizeof(*many));
}

/* The CPU clock */

static int64_t usage_ns(const struct rusage *u)
{
	return (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000000LL +
	       (u->ru_utime.tv_usec + u->ru_stime.tv_usec) * 1000LL;
}

static void spin_cpu(int64_t ns)
{
	int64_t t0 = now_ns(CLOCK_THREAD_CPUTIME_ID);

	while (now_ns(CLOCK_THREAD_CPUTIME_ID) - t0 < ns)
		;
}

/*
 * The machine may stand still between a look at one clock and one at the other: the
 * scheduler's is looked at before and after each look at ours. If it does so in the
 * middle of a switch, the two do not agree about whose time that was: then once more.
 */
#define ATTEMPTS	5

static bool agree(int64_t ns, int64_t inner, int64_t outer)
{
	return ns > inner / 10 * 9 && ns < outer / 10 * 11;
}

TEST_F(run_transitions, cpu_clock_of_a_thread)
{
	int64_t outer, inner, ns;
	int attempts = 0;

	NEEDS_SWITCHES(return);
	must_register(self->c.fd, 0, 0);
	/* The sleeps would be as much again. */
	do {
		ASSERT_GT(ATTEMPTS, attempts++);
		outer = now_ns(CLOCK_THREAD_CPUTIME_ID);
		ns = query(self->c.fd).cpu_ns;
		inner = now_ns(CLOCK_THREAD_CPUTIME_ID);
		for (int i = 0; i < 20; i++) {
			spin_cpu(10000000);
			sleep_ms(10);
		}
		inner = now_ns(CLOCK_THREAD_CPUTIME_ID) - inner;
		ns = query(self->c.fd).cpu_ns - ns;
		outer = now_ns(CLOCK_THREAD_CPUTIME_ID) - outer;
		TH_LOG("ran %lld ns, %lld to %lld ns by the scheduler", (long long)ns,
		       (long long)inner, (long long)outer);
	} while (!agree(ns, inner, outer));
	EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
	/* What has run stays counted. */
	EXPECT_LE(ns, (int64_t)query(self->c.fd).cpu_ns);
	ns = query(self->c.fd).cpu_ns;
	spin_cpu(10000000);
	EXPECT_EQ(ns, (int64_t)query(self->c.fd).cpu_ns);
}

static void *spinner(void *arg)
{
	for (int i = 0; i < 10; i++) {
		spin_cpu((intptr_t)arg);
		sleep_ms(1);
	}
	return NULL;
}

#define SPIN_NS		5000000
#define PROCESS_NS	(8 * 10 * SPIN_NS)

/* A registered process; @inside: what it has used when it begins, and before it ends */
static void eight_threads(int fd, struct rusage *inside)
{
	pthread_t thread[8];

	must_register(fd, 0, PARKCLOCK_TASK_INHERIT);
	/* What it ran before that is not counted. */
	getrusage(RUSAGE_SELF, &inside[0]);
	for (int i = 0; i < 8; i++)
		thread[i] = start_thread(spinner, (void *)(intptr_t)SPIN_NS);
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	getrusage(RUSAGE_SELF, &inside[1]);
	_exit(0);
}

TEST_F(run_transitions, cpu_clock_of_a_process)
{
	struct rusage usage, *inside;
	int64_t ns, inner, before;
	int attempts = 0;
	pid_t child;

	NEEDS_SWITCHES(return);
	inside = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, inside);
	do {
		struct parkclock_query q;

		ASSERT_GT(ATTEMPTS, attempts++);
		before = query(self->c.fd).cpu_ns;
		child = fork();
		ASSERT_LE(0, child);
		if (!child)
			eight_threads(self->c.fd, inside);
		/* Some of them, or it is over already. */
		do {
			sleep_us(100);
			q = query(self->c.fd);
			ns = q.cpu_ns;
		} while (q.tasks < 4 && ns - before < PROCESS_NS / 10 * 9);
		for (int i = 0; i < 100; i++) {
			int64_t now = query(self->c.fd).cpu_ns;

			ASSERT_LE(ns, now);
			ns = now;
			sleep_us(500);
		}
		EXPECT_EQ(child, wait4(child, NULL, 0, &usage));
		EXPECT_TRUE(wait_tasks(self->c.fd, 0));
		ns = query(self->c.fd).cpu_ns - before;
		inner = usage_ns(&inside[1]) - usage_ns(&inside[0]);
		TH_LOG("ran %lld ns, %lld to %lld ns by getrusage", (long long)ns,
		       (long long)inner, (long long)usage_ns(&usage));
	} while (!agree(ns, inner, usage_ns(&usage)) || ns < PROCESS_NS);
	munmap(inside, 4096);
}

TEST_F(run_transitions, cpu_clock_stands_still_with_the_task)
{
	struct other o = { .cpu = -1 };
	struct parkclock_query q[3];
	int still = 0;

	NEEDS_SWITCHES(return);
	start_other(&o);
	must_register(self->c.fd, o.tid, 0);
	q[0] = query(self->c.fd);
	q[1] = query(self->c.fd);
	for (int i = 0; i < 200; i++) {
		sleep_ms(5);
		q[2] = query(self->c.fd);
		/*
		 * One query is no instant; but between the first of three and the last
		 * the task did not begin to run, and in the second it did not run.
		 */
		if (q[0].run_transitions == q[2].run_transitions && !q[1].running) {
			ASSERT_EQ(q[1].cpu_ns, q[2].cpu_ns);
			still++;
		}
		ASSERT_LE(q[1].cpu_ns, q[2].cpu_ns);
		q[0] = q[1];
		q[1] = q[2];
	}
	EXPECT_LT(10, still);
	stop_other(&o);
}

TEST_HARNESS_MAIN
