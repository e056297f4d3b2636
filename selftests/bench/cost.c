// SPDX-License-Identifier: GPL-2.0
/*
 * What run transitions cost, in TSC cycles, which "run" makes instructions.
 *
 * Every figure is the least of many samples, or a
 * difference of such: an interrupt in some of the samples changes nothing.
 *
 * Switches are measured in a ring of threads, on one CPU, all of the same real-time
 * priority, so that nothing else gets in between. Either all are runnable, and each
 * yields to the next one; or each wakes the next one and blocks. A turn of the
 * ring is one switch to each of its members, and each has its own least. They are many
 * because where a task lies in memory matters: that is averaged.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "bench.h"
#include "lib/cgroups.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/host_clock.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define MEMBERS		64
#define TURNS		50
#define WAKES		100
#define STACK_SIZE	16384

#define BENCH_MODULE	"/lib/parkclock_bench.ko"
#define BENCH_PARAMS	"/sys/module/parkclock_bench/parameters/"

static void keep_least(uint64_t *least, uint64_t value)
{
	if (value < *least)
		*least = value;
}

/* Above all that is not the kernel's own. What is created from now on is, too. */
static void be_real_time(void)
{
	struct sched_param param = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &param))
		die("sched_setscheduler");
}

static void pass_on(int event)
{
	uint64_t one = 1;

	if (write(event, &one, sizeof(one)) != sizeof(one))
		die("eventfd write");
}

static void wait_on(int event)
{
	uint64_t count;

	if (read(event, &count, sizeof(count)) != sizeof(count))
		die("eventfd read");
}

static int new_event(void)
{
	int event = eventfd(0, EFD_CLOEXEC);

	if (event < 0)
		die("eventfd");
	return event;
}

/* The ring */

enum turn { YIELD, BLOCK };

/* Of each four members, the one that is registered, and one that is not. */
#define REGISTERED	1
#define OTHER		3

static struct {
	enum turn how;
	int clock;		/* every fourth member is registered with it; or -1 */
	const char *const *cgroups;	/* of each of four members; or NULL */
	int event[MEMBERS];
	pthread_barrier_t ready;
	int turns;
	uint64_t last;		/* when the member before ran */
	uint64_t least[MEMBERS];
} ring;

/* To the next member and round to this one. */
static void turn(int member)
{
	if (ring.how == YIELD) {
		sched_yield();
	} else {
		pass_on(ring.event[(member + 1) % MEMBERS]);
		wait_on(ring.event[member]);
	}
}

static void *run_member(void *arg)
{
	int member = (intptr_t)arg;
	uint64_t now;

	if (ring.clock >= 0 && member % 4 == REGISTERED)
		must_register(ring.clock, 0, 0);
	if (ring.cgroups)
		move_thread(ring.cgroups[member % 4], gettid());
	pthread_barrier_wait(&ring.ready);
	if (ring.how == BLOCK && member)
		wait_on(ring.event[member]);
	while (ring.turns < TURNS) {
		now = tsc();
		/* In the first turn they come from elsewhere. */
		if (ring.turns > 1)
			keep_least(&ring.least[member], now - ring.last);
		ring.last = now;
		ring.turns += !member;
		turn(member);
	}
	if (ring.how == BLOCK)
		pass_on(ring.event[(member + 1) % MEMBERS]);
	return NULL;
}

static void run_ring(enum turn how, int clock)
{
	pthread_t threads[MEMBERS];

	ring.how = how;
	ring.clock = clock;
	ring.turns = 0;
	ring.last = 0;
	pthread_barrier_init(&ring.ready, NULL, MEMBERS);
	for (int i = 0; i < MEMBERS; i++) {
		ring.event[i] = new_event();
		ring.least[i] = UINT64_MAX;
	}
	for (int i = 0; i < MEMBERS; i++) {
		errno = pthread_create(&threads[i], NULL, run_member, (void *)(intptr_t)i);
		if (errno)
			die("pthread_create");
	}
	for (int i = 0; i < MEMBERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < MEMBERS; i++)
		close(ring.event[i]);
	pthread_barrier_destroy(&ring.ready);
}

/* What a switch takes to one of each four members, or from the one before it. */
static double mean(int which)
{
	uint64_t sum = 0;
	int n = 0;

	/* Member 0 counts the turns, and so takes longer to pass on. */
	for (int i = 4 + which; i < MEMBERS; i += 4, n++)
		sum += ring.least[i];
	return (double)sum / n;
}

/* A switch between tasks that are not registered, with the system call. */
static double measure_switch(void)
{
	run_ring(YIELD, -1);
	return (mean(0) + mean(1) + mean(2) + mean(3)) / 4;
}

/*
 * The others: a process of @n threads that sleep. It registers itself with the @clocks
 * that it is given.
 */
static pid_t start_others(int n, const int *clocks, int n_clocks)
{
	int ready = new_event();
	pthread_attr_t attr;
	pid_t pid = fork();
	char *stacks;

	if (pid < 0)
		die("fork");
	if (pid) {
		wait_on(ready);
		close(ready);
		return pid;
	}
	stacks = mmap(NULL, (size_t)n * STACK_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (stacks == MAP_FAILED)
		die("mmap");
	pthread_attr_init(&attr);
	for (int i = 1; i < n; i++) {
		pthread_t thread;

		errno = pthread_attr_setstack(&attr, stacks + (size_t)i * STACK_SIZE, STACK_SIZE);
		if (!errno)
			errno = pthread_create(&thread, &attr, sleeping_thread, NULL);
		if (errno)
			die("pthread_create");
	}
	for (int i = 0; i < n_clocks; i++)
		must_register(clocks[i], 0, PARKCLOCK_TASK_PROCESS);
	pass_on(ready);
	sleep_for_ever();
}

static void end_others(pid_t pid)
{
	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) != pid)
		die("waitpid");
}

static void wait_until_unused(int clock)
{
	if (!wait_tasks(clock, 0))
		die("registrations are left");
	/* Freed after a grace period, and the probes detached probes_linger_s later, 1 s here. */
	sleep_ms(3000);
}

/* The figures */

static double bench_param(const char *name)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), BENCH_PARAMS "%s", name);
	if (read_file(path, text, sizeof(text)))
		die(path);
	return atof(text);
}

/* Returns what a wake may cost. */
static double measure_kernel(void)
{
	int fd = open(BENCH_MODULE, O_RDONLY | O_CLOEXEC);
	double snapshot, start;

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		die(BENCH_MODULE);
	close(fd);
	snapshot = bench_param("snapshot");
	start = bench_param("start");
	show(NO_TARGET, snapshot, "the kernel's: one clock snapshot");
	show(NO_TARGET, start, "the kernel's: one hrtimer start");
	show(NO_TARGET, bench_param("restart"), "the kernel's: the same, armed already");
	return 2.5 * (snapshot + start);
}

/*
 * Switches of registered tasks against others of the same ring: what a switch takes
 * with its system calls is not always the same from one ring to the next.
 */
static void measure_registered(double target, int clock, int n, enum turn how, const char *text)
{
	double in, out;

	run_ring(how, clock);
	in = mean(REGISTERED) - mean(OTHER);
	out = mean(REGISTERED + 1) - mean((OTHER + 1) % 4);
	show(NO_TARGET, in, "%d registered, one %s: in", n, text);
	show(NO_TARGET, out, "%d registered, one %s: out", n, text);
	show(target, in + out, "%d registered, one %s: in and out", n, text);
}

/*
 * Cgroups. All are threaded, so that threads of one process can be in different ones: a switch
 * between processes costs more, and not by what is measured here.
 */

static void make_threaded(const char *name)
{
	int dir = make_cgroup(name);

	if (write_cgroup(name, "cgroup.type", "threaded"))
		die(name);
	close(dir);
}

static void set_cgroup(int clock, const char *name, bool on)
{
	int dir = open_cgroup(name);

	if (on)
		must_register_cgroup(clock, dir);
	else
		must_unregister_cgroup(clock, dir);
	close(dir);
}

/* Of a ring whose members are in these cgroups: between any two; in; out. */
struct switches {
	double any, in, out;
};

static struct switches measure_in(const char *const *names, enum turn how)
{
	struct switches s;

	ring.cgroups = names;
	run_ring(how, -1);
	ring.cgroups = NULL;
	s.any = (mean(0) + mean(1) + mean(2) + mean(3)) / 4;
	s.in = mean(REGISTERED) - mean(OTHER);
	s.out = mean(REGISTERED + 1) - mean((OTHER + 1) % 4);
	return s;
}

static const char * const others[] = { "s", "s/a", "s/b", "s/c" };
static const char * const fourth[] = { "s", "b", "s", "s" };
static const char * const nested[] = { "s", "b/d/e", "s", "s" };
static const char * const inside[] = { "b", "b", "b", "b" };
static const char * const below[] = { "b", "b/d", "b", "b/d/e" };

/* The kernel's own part differs with the cgroups: each is measured before and after. */
static const struct layout {
	const char *const *names;
	enum turn how;
	double target;
	const char *text;
} layouts[] = {
	{ others, YIELD, 8, "a switch between others of four cgroups" },
	{ fourth, BLOCK, 150, "one of a registered cgroup blocks" },
	{ fourth, YIELD, 150, "one of a registered cgroup is preempted" },
	{ nested, BLOCK, 150, "one of a cgroup below a registered one blocks" },
	{ inside, YIELD, 40, "a switch inside a registered cgroup" },
	{ below, YIELD, 40, "a switch between cgroups below a registered one" },
};

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define LAYOUTS		ARRAY_SIZE(layouts)

static void measure_layouts(struct switches *s)
{
	for (unsigned int i = 0; i < LAYOUTS; i++)
		s[i] = measure_in(layouts[i].names, layouts[i].how);
}

static void show_layouts(const struct switches *before, const char *text)
{
	struct switches now[LAYOUTS];

	measure_layouts(now);
	for (unsigned int i = 0; i < LAYOUTS; i++) {
		const double in = now[i].in - before[i].in, out = now[i].out - before[i].out;
		const struct layout *l = &layouts[i];

		if (l->names == fourth || l->names == nested) {
			show(NO_TARGET, in, "%s, %s: in", text, l->text);
			show(NO_TARGET, out, "%s, %s: out", text, l->text);
			show(l->target, in + out, "%s, %s: in and out", text, l->text);
		} else {
			/* A task or two have a bit of the filter that is another's by chance. */
			show(l->target, (long)(now[i].any - before[i].any + 0.5), "%s: %s", text,
			     l->text);
		}
	}
}

/* Levels at which strangers register, and how many on each */
#define DEEP		25
#define WIDE		40

/* All is more than beside one task registered. */
static void measure_cgroups(int clock)
{
	static const char * const all[] = { "s", "s/a", "s/b", "s/c", "b", "b/d", "b/d/e", "x" };
	struct switches before[LAYOUTS];
	char name[512] = "x";
	double alone;
	int first, second;

	for (unsigned int i = 0; i < 8; i++)
		make_threaded(all[i]);
	must_register(clock, 0, 0);
	alone = measure_switch();
	measure_layouts(before);
	first = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	set_cgroup(first, "b", true);
	show(8, measure_switch() - alone, "1 cgroup: a switch between others");
	show_layouts(before, "1 cgroup");
	second = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	set_cgroup(second, "b", true);
	show_layouts(before, "2 clocks");
	for (int level = 2; level < 2 + DEEP; level++) {
		size_t end = strlen(name);

		for (int i = 0; i < WIDE; i++) {
			snprintf(name + end, sizeof(name) - end, "/%d", i);
			make_threaded(name);
			set_cgroup(second, name, true);
		}
	}
	set_cgroup(second, "b", false);
	show(8, measure_switch() - alone, "%d cgroups, %d levels: a switch between others",
	     DEEP * WIDE + 1, DEEP + 1);
	show_layouts(before, "1001 cgroups");
	close(second);
	set_cgroup(clock, "b", true);
	set_cgroup(first, "b", false);
	show_layouts(before, "a clock with a task besides");
	set_cgroup(clock, "b", false);
	close(first);
	/* The code of switches is changed back probes_linger_s later. */
	sleep_ms(3000);
	show(0, measure_switch() - alone, "0 cgroups registered any more: a switch");
	if (try_unregister(clock, 0, 0))
		die("PARKCLOCK_IOC_UNREGISTER");
	wait_until_unused(clock);
}

/* With @n other tasks, before and after they are registered. */
static void measure_switches(int clock, int n)
{
	pid_t others = start_others(n, NULL, 0);
	double before = measure_switch();

	must_register(clock, others, PARKCLOCK_TASK_PROCESS);
	if (query(clock).tasks != (uint64_t)n)
		die("not all of the others are registered");
	hold(clock);
	show(40, measure_switch() - before, "%d registered: a switch between others", n);
	measure_registered(150, clock, n, BLOCK, "blocks");
	measure_registered(150, clock, n, YIELD, "is preempted");
	release(clock);
	end_others(others);
	wait_until_unused(clock);
}

/*
 * The worst that strangers can do: as many tasks as there is room for, each with all its
 * clocks. The target is what all this may add to a switch between others, with the probes
 * attached before and after.
 */
static void measure_crowd(int clock)
{
	const char *wanted = getenv("BENCH_THREADS");
	const int n = wanted ? atoi(wanted) : 20000;
	enum { CLOCKS = 2 * PARKCLOCK_TASK_CLOCKS_MAX };
	int clocks[CLOCKS];
	double before;
	pid_t others;

	must_set("max_tasks", "1048576");
	must_set("host_tasks", "4194304");
	must_register(clock, 0, 0);
	before = measure_switch();
	for (int i = 0; i < CLOCKS; i++) {
		clocks[i] = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
		if (clocks[i] < 0)
			die(PARKCLOCK_DEVICE);
	}
	others = start_others(n, clocks, CLOCKS / 2);
	for (int i = CLOCKS / 2; i < CLOCKS; i++)
		must_register(clocks[i], others, PARKCLOCK_TASK_PROCESS);
	if (query(clock).all_tasks != (uint64_t)n * CLOCKS + 1)
		die("not all are registered");
	/* The table grows a moment later. */
	sleep_ms(3000);
	show(2, measure_switch() - before,
	     "%d registered: a switch between others, more than beside 1", n * CLOCKS);
	end_others(others);
	for (int i = 0; i < CLOCKS; i++)
		close(clocks[i]);
	if (try_unregister(clock, 0, 0))
		die("PARKCLOCK_IOC_UNREGISTER");
	wait_until_unused(clock);
}

static struct {
	int clock;
	int question;
	int answer;
} partner;

static void __attribute__((__noreturn__)) *run_partner(void *arg)
{
	(void)arg;
	must_register(partner.clock, 0, 0);
	for (;;) {
		pass_on(partner.answer);
		wait_on(partner.question);
	}
}

/* A round trip to a registered task, which finds the clock in @state. */
static uint64_t measure_round_trip(uint32_t state)
{
	uint64_t least = UINT64_MAX, begin;

	for (int i = 0; i < WAKES; i++) {
		/* It parks fast; and wakes as it does by default. */
		must_set("interval_ms", "1");
		sleep_ms(5);
		if (!wait_state(partner.clock, state))
			die("the clock does not come to the state wanted");
		must_set("interval_ms", "1000");
		begin = tsc();
		pass_on(partner.question);
		wait_on(partner.answer);
		keep_least(&least, tsc() - begin);
	}
	return least;
}

static void measure_wake(int clock, double target)
{
	double active, parked;
	pthread_t thread;

	partner.clock = clock;
	partner.question = new_event();
	partner.answer = new_event();
	errno = pthread_create(&thread, NULL, run_partner, NULL);
	if (errno)
		die("pthread_create");
	wait_on(partner.answer);

	parked = measure_round_trip(PARKCLOCK_PARKED);
	hold(clock);
	active = measure_round_trip(PARKCLOCK_ACTIVE);
	release(clock);
	show(target, parked - active, "1 registered: a wake from PARKED, in the switch");
}

/* The partner above is registered already, so that nothing is attached. */
static void measure_calls(int clock)
{
	uint64_t enter = UINT64_MAX, leave = UINT64_MAX, nothing = UINT64_MAX;
	uint64_t t0, t1, t2, t3;

	for (int i = 0; i < WAKES; i++) {
		t0 = tsc();
		t1 = tsc();
		must_register(clock, 0, 0);
		t2 = tsc();
		if (try_unregister(clock, 0, 0))
			die("PARKCLOCK_IOC_UNREGISTER");
		t3 = tsc();
		keep_least(&nothing, t1 - t0);
		keep_least(&enter, t2 - t1);
		keep_least(&leave, t3 - t2);
		sleep_ms(100);
	}
	show(NO_TARGET, enter - nothing, "REGISTER of the caller, a system call");
	show(NO_TARGET, leave - nothing, "UNREGISTER of the caller, a system call");
}

/* A refresh, and the system call that brings it. The updater is active. */
static uint64_t measure_refresh(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < WAKES; i++) {
		uint64_t begin = tsc();

		must_set("interval_ms", "1000");
		keep_least(&least, tsc() - begin);
	}
	return least;
}

/* What a VMClock page costs each refresh, and a switch of who holds it. */
static void measure_vmclocks(int clock)
{
	int fds[MEMBERS];
	double without;

	hold(clock);
	without = measure_refresh();
	for (int i = 0; i < MEMBERS; i++) {
		fds[i] = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
		if (fds[i] < 0 || ioctl(fds[i], PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC))
			die("PARKCLOCK_IOC_VMCLOCK");
		hold(fds[i]);
	}
	show(NO_TARGET, (measure_refresh() - without) / MEMBERS,
	     "a refresh, more for each VMClock page");
	for (int i = 1; i < MEMBERS; i++)
		close(fds[i]);
	measure_registered(NO_TARGET, fds[0], 1, BLOCK, "with a VMClock page blocks");
	close(fds[0]);
	release(clock);
}

int main(void)
{
	int clock = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	double target, before;

	if (clock < 0)
		die("open " PARKCLOCK_DEVICE);
	pin(0);
	settle();
	if (!counter_usable())
		die("the kernel does not keep time by the TSC");
	if (write_file("/proc/sys/kernel/pid_max", "4194304") ||
	    write_file("/proc/sys/kernel/threads-max", "2000000"))
		die("threads-max");
	if (setrlimit(RLIMIT_NPROC, &(struct rlimit){ RLIM_INFINITY, RLIM_INFINITY }))
		die("setrlimit");
	be_real_time();

	target = measure_kernel();
	before = measure_switch();
	show(NO_TARGET, before, "the kernel's: a switch, by sched_yield()");

	must_set("probes_linger_s", "1");
	must_register(clock, 0, 0);
	if (try_unregister(clock, 0, 0))
		die("PARKCLOCK_IOC_UNREGISTER");
	wait_until_unused(clock);
	show(0, measure_switch() - before, "0 registered any more: a switch");

	for (int n = 1; n <= 10000; n = n == 10 ? 1000 : n * 10)
		measure_switches(clock, n);
	measure_crowd(clock);
	measure_cgroups(clock);
	measure_wake(clock, target);
	measure_calls(clock);
	measure_vmclocks(clock);
	measure_timers();
	return 0;
}
