// SPDX-License-Identifier: GPL-2.0
/*
 * How long interrupts, or preemption, are disabled at a stretch by work on many objects.
 *
 * By the kernel's tracers irqsoff and preemptoff, where an instruction takes 1 ns ("run"). What
 * is done is done twice: by a process that has as many threads or descriptors and nothing of
 * the module's, and with the module's. So whatever begins or ends a section, an interrupt of
 * ours among it, is in the figure. A section may last MOST_US; or as long as the kernel's
 * own does where that is longer. A longer one is shown, with what was called at its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "bench.h"
#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/host_clock.h"
#include "lib/messages.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/requests.h"
#include "lib/timers.h"
#include "lib/trace.h"
#include "lib/wait.h"

/* 50 us of a host that executes three instructions in a ns */
#define MOST_US		150
#define THREADS		10000
#define CLOCKS		10000
#define SOME		1000
#define GUESTS		128	/* host_vmclocks, by default */

/* With something of the module's? */
static bool ours;
static struct child child;
static int fds[CLOCKS];
static int others[CLOCKS];
static int clock_fd;

/* A clock; or what has a page as well: a pipe with something in it */
static int open_one(void)
{
	int ends[2];

	if (ours)
		return open_device();
	if (pipe2(ends, O_CLOEXEC) || write(ends[1], "", 1) != 1)
		die("pipe2");
	close(ends[1]);
	return ends[0];
}

static void open_some(int n)
{
	for (int i = 0; i < n; i++)
		fds[i] = open_one();
}

static void close_all(const int *fd, int n)
{
	for (int i = 0; i < n; i++)
		close(fd[i]);
}

static void own_clock(void)
{
	clock_fd = open_device();
}

static void forget_clock(void)
{
	close(clock_fd);
}

/* A process of many threads */

static void start_threads(void)
{
	own_clock();
	child = start_sleeping_child(THREADS);
}

static void register_threads(void)
{
	if (ours)
		must_register(clock_fd, child.pid, PARKCLOCK_TASK_PROCESS | PARKCLOCK_TASK_INHERIT);
}

static void unregister_threads(void)
{
	if (ours && try_unregister(clock_fd, child.pid, PARKCLOCK_TASK_PROCESS))
		die("PARKCLOCK_IOC_UNREGISTER");
}

static void start_registered(void)
{
	start_threads();
	register_threads();
}

static void kill_threads(void)
{
	end_child(&child);
	/* What is gone is freed later. */
	sleep_ms(500);
}

static void end_threads(void)
{
	end_child(&child);
	forget_clock();
}

static void close_registered(void)
{
	forget_clock();
	sleep_ms(500);
}

static void end_unregistered(void)
{
	end_child(&child);
}

/* An owner of many clocks, each in use */

static void own_many(int sock)
{
	for (int i = 0; i < CLOCKS; i++) {
		fds[i] = open_one();
		if (ours) {
			hold(fds[i]);
			if (i % 4 == 0)
				make_timer(fds[i], CLOCK_MONOTONIC, 0);
			if (i < 4)
				must_register(fds[i], 0, 0);
		}
	}
	say(sock, 1);
	for (;;)
		pause();
}

static void start_owner(void)
{
	child = start_child(own_many);
	if (hear(child.sock) != 1)
		die("the owner of many clocks");
}

static void kill_owner(void)
{
	end_child(&child);
	sleep_ms(2000);
}

/* VMClock pages of guests that run */

static void start_guests(void)
{
	open_some(GUESTS);
	for (int i = 0; ours && i < GUESTS; i++) {
		must(fds[i], PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC);
		hold(fds[i]);
	}
}

static void change_rate(void)
{
	for (int i = 0; i < 4; i++) {
		set_frequency(i & 1 ? 100 << 16 : 0);
		sleep_ms(300);
	}
	restore_frequency();
}

static void end_guests(void)
{
	close_all(fds, GUESTS);
}

/* Timers of one clock */

static void start_timers(void)
{
	own_clock();
	for (int i = 0; i < SOME; i++) {
		const struct itimerspec spec = {
			.it_value = { now_ns(CLOCK_REALTIME) / NSEC + 3600, i },
		};

		others[i] = ours ? make_timer(clock_fd, CLOCK_REALTIME, 0) :
				   timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
		if (others[i] < 0)
			die("making a timer");
		if (ours)
			set_timer(others[i], ABSOLUTE, now_ns(CLOCK_REALTIME) + HOUR + i, 0);
		else if (timerfd_settime(others[i], TFD_TIMER_ABSTIME, &spec, NULL))
			die("timerfd_settime");
	}
}

/* All are due at once. */
static void step_by_hours(void)
{
	const int64_t offset = realtime_offset();

	set_realtime(kernel_ns(CLOCK_REALTIME) + 2 * HOUR);
	sleep_ms(500);
	set_realtime(kernel_ns(CLOCK_MONOTONIC) + offset);
}

static void stop_and_start(void)
{
	for (int i = 0; ours && i < 3; i++) {
		must(clock_fd, PARKCLOCK_IOC_STOP, 0);
		must(clock_fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
	}
	sleep_ms(200);
}

static void end_timers(void)
{
	close_all(others, SOME);
	forget_clock();
}

/* Those who poll */

static void start_pollers(void)
{
	struct epoll_event event = { .events = EPOLLPRI | EPOLLIN };

	open_some(SOME);
	for (int i = 0; i < SOME; i++) {
		others[i] = epoll_create1(EPOLL_CLOEXEC);
		if (others[i] < 0 || epoll_ctl(others[i], EPOLL_CTL_ADD, fds[i], &event))
			die("epoll");
	}
}

static void step_a_little(void)
{
	for (int i = 0; i < 4; i++)
		set_realtime(kernel_ns(CLOCK_REALTIME) + (i & 1 ? -NSEC : NSEC));
	sleep_ms(500);
}

static void end_pollers(void)
{
	close_all(others, SOME);
	close_all(fds, SOME);
}

static void nothing(void)
{
}

static const struct work {
	const char *text;
	void (*prepare)(void);
	void (*act)(void);
	void (*end)(void);
} works[] = {
	{ "REGISTER of a process of 10,000 threads",
	  start_threads, register_threads, end_threads },
	{ "UNREGISTER of a process of 10,000 threads",
	  start_registered, unregister_threads, end_threads },
	{ "10,000 registered threads are killed",
	  start_registered, kill_threads, forget_clock },
	{ "a clock with 10,000 registrations is closed",
	  start_registered, close_registered, end_unregistered },
	{ "an owner of 10,000 clocks is killed",
	  start_owner, kill_owner, nothing },
	{ "the host's rate changes, 128 VMClock pages are held",
	  start_guests, change_rate, end_guests },
	{ "the host's clock is set, 1,000 timers of one clock are due",
	  start_timers, step_by_hours, end_timers },
	{ "a clock of 1,000 timers is stopped and started",
	  start_timers, stop_and_start, end_timers },
	{ "the host's clock is set, 1,000 clocks are polled",
	  start_pollers, step_a_little, end_pollers },
};

/* What the tracer has kept of the longest section */
static void show_section(void)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[256];
	int lines = 0;

	if (!f)
		die(TRACING "trace");
	while (fgets(line, sizeof(line), f) && lines < 24)
		if (strstr(line, "=>") && ++lines)
			printf("section %s", line);
	fclose(f);
}

/* The longest section, in us */
static unsigned int longest(const struct work *work, const char *tracer)
{
	char text[32];

	work->prepare();
	sleep_ms(1000);
	trace_write("tracing_max_latency", "0");
	trace_write("current_tracer", tracer);
	trace_write("tracing_on", "1");
	work->act();
	trace_write("tracing_on", "0");
	if (read_file(TRACING "tracing_max_latency", text, sizeof(text)))
		die("tracing_max_latency");
	if (ours && atoi(text) > MOST_US)
		show_section();
	trace_write("current_tracer", "nop");
	work->end();
	sleep_ms(1000);
	return atoi(text);
}

int main(void)
{
	static const char *const tracers[] = { "irqsoff", "preemptoff" };
	struct rlimit files = { 65536, 65536 };

	setvbuf(stdout, NULL, _IOLBF, 0);
	settle();
	if (!counter_usable())
		die("the host does not keep time by the TSC");
	if (setrlimit(RLIMIT_NOFILE, &files))
		die("setrlimit");
	must_set("probes_linger_s", "1");
	must_set("user_vmclocks", "128");
	for (int t = 0; t < 2; t++)
		for (size_t i = 0; i < sizeof(works) / sizeof(*works); i++) {
			unsigned int kernels, us;

			ours = false;
			kernels = longest(&works[i], tracers[t]);
			ours = true;
			us = longest(&works[i], tracers[t]);
			show(NO_TARGET, kernels, "us, %s, the kernel alone: %s", tracers[t],
			     works[i].text);
			show(kernels > MOST_US ? kernels : MOST_US, us, "us, %s: %s", tracers[t],
			     works[i].text);
		}
	return 0;
}
