// SPDX-License-Identifier: GPL-2.0
/*
 * A program that does not know parkclock lives by a clock of its own: with
 * libparkclock-preload.so its readings and its waits are of the clock that PARKCLOCK_FD names.
 *
 * Checked with preload/waiter.c, on a clock that is a day and more before the host's: each kind of
 * wait, in a thread of its own, takes as long as it should by the clock's own reading. The clock
 * is stopped meanwhile for longer than the waits, and started with each policy: no wait ends while
 * it is stopped. Signals and what is waited for end a wait nevertheless. What is invalid, or past,
 * gives what libc gives. Readings are of the clock in other time namespaces, in children, and in
 * programs that are executed when all descriptors were closed. A PARKCLOCK_FD that names no clock
 * runs nothing.
 *
 * Fails if a wait ends early, or while the clock is stopped; if one never ends; if a signal, an
 * event, an error or the rest of a sleep is lost; or if another clock is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define SKIPPED	77
#define NOT_RUN	127
#define DAY	(86400 * NSEC)
#define LIBRARY	"/usr/local/lib/libparkclock-preload.so"
#define WAITER	"/tests/preload_waiter"

/* A program that runs, and the ends of its standard input and output */
struct program {
	pid_t pid;
	int in, out;
};

static void set_fd(int fd)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	setenv("PARKCLOCK_FD", number, 1);
}

/* @clock is its PARKCLOCK_FD. */
static struct program run(int clock, const char *mode, const char *ms)
{
	struct program p;
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		die("pipe2");
	p.pid = fork();
	if (p.pid < 0)
		die("fork");
	if (!p.pid) {
		/* What hangs ends. */
		alarm(300);
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		set_fd(fcntl(clock, F_DUPFD, 100));
		setenv("LD_PRELOAD", LIBRARY, 1);
		execl(WAITER, WAITER, mode, ms, NULL);
		die(WAITER);
	}
	close(in[0]);
	close(out[1]);
	p.in = in[1];
	p.out = out[0];
	return p;
}

static int end(struct program *p)
{
	char byte;
	int status;

	while (read(p->out, &byte, 1) > 0)
		;
	close(p->in);
	close(p->out);
	if (waitpid(p->pid, &status, 0) != p->pid)
		die("waitpid");
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "# signal %d\n", WTERMSIG(status));
	return -1;
}

static int status_of(int clock, const char *mode)
{
	struct program p = run(clock, mode, NULL);

	return end(&p);
}

/* When the program began to wait, by its clock; -1: it has ended before. */
static int64_t begun(const struct program *p)
{
	int64_t ns = -1;

	if (read(p->out, &ns, sizeof(ns)) != sizeof(ns))
		return -1;
	return ns;
}

/* Is there a wait that has ended? Or has the program? */
static bool something_ended(const struct program *p)
{
	struct pollfd fd = { .fd = p->out, .events = POLLIN };

	return poll(&fd, 1, 0) != 0;
}

FIXTURE(waits) {
	int clock;
};

FIXTURE_SETUP(waits)
{
	default_params();
	self->clock = open_fresh();
	ASSERT_EQ(0, try_offsets(self->clock, DAY, 2 * DAY));
}

FIXTURE_TEARDOWN(waits)
{
	close(self->clock);
	default_params();
}

TEST_F(waits, are_of_the_clock)
{
	EXPECT_EQ(0, status_of(self->clock, "expire"));
}

/* Without a descriptor that may change the clock, too */
TEST_F(waits, of_a_view)
{
	const int view = ioctl(self->clock, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_TIMERS);

	ASSERT_GE(view, 0);
	EXPECT_EQ(0, status_of(view, "readings"));
	EXPECT_EQ(0, status_of(view, "expire"));
	close(view);
}

TEST_F(waits, of_a_view_without_timers)
{
	const int view = ioctl(self->clock, PARKCLOCK_IOC_VIEW, 0);

	ASSERT_GE(view, 0);
	EXPECT_EQ(0, status_of(view, "no_timers"));
	close(view);
}

/* Where the page never has a time */
TEST_F(waits, by_the_slow_path)
{
	must_set("enabled", "N");
	EXPECT_EQ(0, status_of(self->clock, "readings"));
	EXPECT_EQ(0, status_of(self->clock, "expire"));
}

TEST_F(waits, readings)
{
	EXPECT_EQ(0, status_of(self->clock, "readings"));
}

/*
 * The clock stops while the program waits, for twice as long as that waits. False: the machine
 * was so slow that a wait was over before.
 */
static bool stop_and_start(struct __test_metadata *_metadata, int clock, unsigned int gap, int ms)
{
	char text[16];
	struct program p;
	struct parkclock_saved saved;
	int64_t from;
	bool early;

	snprintf(text, sizeof(text), "%d", ms);
	p = run(clock, "expire", text);
	from = begun(&p);
	EXPECT_LE(0, from);
	saved = save(clock);
	early = saved.monotonic_ns < from + ms * 1000000LL;
	if (early) {
		sleep_ms(2 * ms);
		EXPECT_FALSE(something_ended(&p));
	}
	must(clock, PARKCLOCK_IOC_START, gap);
	EXPECT_EQ(0, end(&p));
	return early;
}

static void over_a_gap(struct __test_metadata *_metadata, int clock, unsigned int gap)
{
	int ms = 500;

	while (!stop_and_start(_metadata, clock, gap, ms) && ms < 60000)
		ms *= 2;
	EXPECT_LT(ms, 60000);
}

TEST_F(waits, frozen)
{
	over_a_gap(_metadata, self->clock, PARKCLOCK_GAP_FREEZE);
}

TEST_F(waits, gap_included)
{
	over_a_gap(_metadata, self->clock, PARKCLOCK_GAP_INCLUDE);
}

/* The program ends its waits itself, while the clock is stopped, when it is told. */
static void ended_while_stopped(struct __test_metadata *_metadata, int clock, const char *mode)
{
	struct program p = run(clock, mode, NULL);
	char byte;

	EXPECT_LE(0, begun(&p));
	must(clock, PARKCLOCK_IOC_STOP, 0);
	sleep_ms(100);
	EXPECT_FALSE(something_ended(&p));
	EXPECT_EQ(1, write(p.in, "x", 1));
	/* One is enough: then it is under way. */
	EXPECT_EQ(1, read(p.out, &byte, 1));
	sleep_ms(500);
	must(clock, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
	EXPECT_EQ(0, end(&p));
}

TEST_F(waits, end_by_what_they_wait_for)
{
	ended_while_stopped(_metadata, self->clock, "woken");
}

TEST_F(waits, end_by_a_signal)
{
	EXPECT_EQ(0, status_of(self->clock, "interrupted"));
	ended_while_stopped(_metadata, self->clock, "interrupted_stopped");
}

TEST_F(waits, end_by_cancellation)
{
	EXPECT_EQ(0, status_of(self->clock, "cancelled"));
}

TEST_F(waits, what_is_left_of_a_sleep)
{
	EXPECT_EQ(0, status_of(self->clock, "rest"));
}

TEST_F(waits, until_a_time_in_the_past)
{
	EXPECT_EQ(0, status_of(self->clock, "past"));
}

TEST_F(waits, invalid_arguments)
{
	EXPECT_EQ(0, status_of(self->clock, "invalid"));
}

TEST_F(waits, timers_are_set_and_asked)
{
	EXPECT_EQ(0, status_of(self->clock, "timers"));
}

TEST_F(waits, other_time_namespace)
{
	const int status = status_of(self->clock, "other_namespace");

	if (status == SKIPPED)
		SKIP(return, "needs a kernel with time namespaces");
	EXPECT_EQ(0, status);
}

TEST_F(waits, descriptors_are_closed)
{
	must_set("enabled", "N");
	EXPECT_EQ(0, status_of(self->clock, "closes"));
}

/* The program ends: the time of another clock would be wrong. */
TEST_F(waits, descriptors_are_lost)
{
	must_set("enabled", "N");
	EXPECT_EQ(0, status_of(self->clock, "lost"));
}

/* Another clock would be wrong, so nothing is run. */
static int status_with(const char *value, int fd, bool *said)
{
	char text[512] = "";
	int out[2], status;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC))
		die("pipe2");
	pid = fork();
	if (!pid) {
		dup2(out[1], STDERR_FILENO);
		if (fd >= 0)
			set_fd(fcntl(fd, F_DUPFD, 100));
		else
			setenv("PARKCLOCK_FD", value, 1);
		setenv("LD_PRELOAD", LIBRARY, 1);
		execl(WAITER, WAITER, "past", NULL);
		_exit(1);
	}
	close(out[1]);
	if (read(out[0], text, sizeof(text) - 1) < 0)
		die("read");
	*said = strstr(text, "not run: PARKCLOCK_FD=");
	close(out[0]);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(waits, no_other_clock_instead)
{
	static const char *const values[] = { "", "x", "-1", "1x", "999", "99999999999999999999" };
	static const char *const files[] = { "/dev/null", "/proc/self/status", "/" };
	bool said;

	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		EXPECT_EQ(NOT_RUN, status_with(values[i], -1, &said));
		EXPECT_TRUE(said);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		const int fd = open(files[i], O_RDONLY | O_CLOEXEC);

		ASSERT_GE(fd, 0);
		EXPECT_EQ(NOT_RUN, status_with(NULL, fd, &said));
		EXPECT_TRUE(said);
		close(fd);
	}
}

TEST_HARNESS_MAIN
