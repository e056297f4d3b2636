// SPDX-License-Identifier: GPL-2.0
/*
 * A reference lives exactly as long as its open file.
 *
 * Checked: references end when their holder is killed, and not before the last descriptor and
 * the last mapping are gone: through fork, dup and descriptor passing (also in flight, when no
 * process has the descriptor). The sum over all CPUs is right when one CPU holds and another
 * releases.
 *
 * Fails if closing a copy drops a reference, if references count per process, if one survives
 * a kill, or if the per-CPU counts do not add up.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/messages.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(hold) {
	struct pclock c;	/* holds nothing, watches */
	int pipe[2];		/* children say that they are ready */
};

FIXTURE_SETUP(hold)
{
	start_parked("20000", "4", "5");
	self->c = open_clock();
	ASSERT_EQ(0, pipe(self->pipe));
}

FIXTURE_TEARDOWN(hold)
{
	close(self->pipe[0]);
	close(self->pipe[1]);
	close_clock(&self->c);
	default_params();
}

static void ready(FIXTURE_DATA(hold) *self)
{
	if (write(self->pipe[1], "r", 1) != 1)
		die("write to pipe");
}

static void wait_ready(FIXTURE_DATA(hold) *self)
{
	char byte;

	if (read(self->pipe[0], &byte, 1) != 1)
		die("read from pipe");
}

static void kill_child(pid_t pid)
{
	if (kill(pid, SIGKILL) || waitpid(pid, NULL, 0) != pid)
		die("kill");
}

static uint64_t references(FIXTURE_DATA(hold) *self)
{
	return query(self->c.fd).references;
}

TEST_F(hold, killed_holder)
{
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (!pid) {
		struct pclock c = open_clock();

		for (int i = 0; i < 100; i++)
			hold(c.fd);
		ready(self);
		pause();
	}
	wait_ready(self);
	EXPECT_EQ(100, references(self));
	kill_child(pid);
	EXPECT_TRUE(wait_references(self->c.fd, 0));
	must_set("interval_ms", "1");
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
}

/* Killed at any moment, also inside the ioctl. */
TEST_F(hold, killed_at_random)
{
	uint64_t seed = 7;

	must_set("interval_ms", "1");
	for (int i = 0; i < 50; i++) {
		pid_t pid = fork();

		ASSERT_GE(pid, 0);
		if (!pid) {
			struct pclock c = open_clock();

			ready(self);
			for (;;) {
				hold(c.fd);
				hold(c.fd);
				(void)slow_read(c.fd, CLOCK_MONOTONIC);
				release(c.fd);
			}
		}
		wait_ready(self);
		sleep_us(rnd(&seed) % 5000);
		kill_child(pid);
	}
	EXPECT_TRUE(wait_references(self->c.fd, 0));
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
}

TEST_F(hold, inherited_descriptor)
{
	int fd = open_device();
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	if (!pid) {
		hold(fd);
		ready(self);
		pause();
	}
	wait_ready(self);
	EXPECT_EQ(1, references(self));
	EXPECT_EQ(1, query(fd).holds);
	kill_child(pid);
	/* The child is dead, its open file is not. */
	sleep_ms(50);
	EXPECT_EQ(1, references(self));
	EXPECT_EQ(1, query(fd).holds);
	close(fd);
	EXPECT_EQ(0, references(self));
}

TEST_F(hold, copies_share)
{
	int fd = open_device(), copy = dup(fd);

	ASSERT_GE(copy, 0);
	hold(fd);
	EXPECT_EQ(1, query(copy).holds);
	hold(copy);
	EXPECT_EQ(2, query(fd).holds);
	close(fd);
	EXPECT_EQ(2, references(self));
	release(copy);
	release(copy);
	EXPECT_EQ(0, references(self));
	hold(copy);
	close(copy);
	EXPECT_EQ(0, references(self));
}

TEST_F(hold, passed_descriptor)
{
	int sock[2], fd;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		fd = open_device();
		hold(fd);
		send_fd(sock[1], fd);
		ready(self);
		pause();
	}
	wait_ready(self);
	close(sock[1]);
	kill_child(pid);
	/* In flight: no process has it. */
	sleep_ms(50);
	EXPECT_EQ(1, references(self));
	fd = receive_fd(sock[0]);
	EXPECT_EQ(1, references(self));
	EXPECT_EQ(1, query(fd).holds);
	close(fd);
	EXPECT_EQ(0, references(self));
	close(sock[0]);
}

TEST_F(hold, lost_in_flight)
{
	int sock[2], fd = open_device();

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	hold(fd);
	send_fd(sock[1], fd);
	close(fd);
	EXPECT_EQ(1, references(self));
	close(sock[0]);
	close(sock[1]);
	EXPECT_TRUE(wait_references(self->c.fd, 0));
}

TEST_F(hold, mapping_keeps_it)
{
	struct pclock c = open_clock();

	hold(c.fd);
	close(c.fd);
	EXPECT_EQ(1, references(self));
	EXPECT_EQ(readers_held(), readers_with_time(c.map));
	munmap(c.map, PARKCLOCK_PAGE_SIZE);
	EXPECT_EQ(1, references(self));
	munmap((char *)c.map + PARKCLOCK_PAGE_SIZE, PARKCLOCK_PAGE_SIZE);
	EXPECT_EQ(0, references(self));
}

TEST_F(hold, mapping_in_child_keeps_it)
{
	struct pclock c = open_clock();
	pid_t pid;

	hold(c.fd);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		close(c.fd);
		ready(self);
		pause();
	}
	wait_ready(self);
	close_clock(&c);
	EXPECT_EQ(1, references(self));
	kill_child(pid);
	EXPECT_TRUE(wait_references(self->c.fd, 0));
}

TEST_F(hold, many_descriptors)
{
	int fd[500];

	for (size_t i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = open_device();
		hold(fd[i]);
		if (i & 1)
			hold(fd[i]);
	}
	EXPECT_EQ(ARRAY_SIZE(fd) * 3 / 2, references(self));
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
	EXPECT_EQ(0, references(self));
}

TEST_F(hold, summed_over_cpus)
{
	int cpus = cpus_online(), fd;

	if (cpus < 2)
		SKIP(return, "needs two CPUs");
	fd = open_device();
	must_set("interval_ms", "20");
	for (int round = 0; round < 100; round++) {
		pin(round % cpus);
		hold(fd);
		pin((round + 1) % cpus);
		hold(fd);
		ASSERT_EQ(2, references(self));
		release(fd);
		ASSERT_EQ(1, references(self));
		release(fd);
		ASSERT_EQ(0, references(self));
	}
	/* All held on one CPU, all released on another. */
	pin(0);
	for (int i = 0; i < 1000; i++)
		hold(fd);
	pin(1);
	for (int i = 0; i < 1000; i++) {
		ASSERT_EQ(1000 - i, references(self));
		release(fd);
	}
	EXPECT_EQ(0, references(self));
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	close(fd);
}

/*
 * One reference is handed round: at no moment may the sum miss it. With one CPU
 * it is the mover's preemption that makes the moments.
 */
static atomic_bool stop;

static void *mover(void *arg)
{
	int fd[2] = { open_device(), open_device() }, cpus = cpus_online();

	hold(fd[0]);
	atomic_store((atomic_bool *)arg, true);
	for (unsigned int i = 0; !stop; i++) {
		pin(i % cpus);
		hold(fd[1]);
		release(fd[0]);
		hold(fd[0]);
		release(fd[1]);
	}
	close(fd[0]);
	close(fd[1]);
	return NULL;
}

TEST_F(hold, never_seen_gone)
{
	struct parkclock_query start, end;
	atomic_bool started = false;
	pthread_t thread;

	must_set("interval_ms", "1");
	stop = false;
	ASSERT_EQ(0, pthread_create(&thread, NULL, mover, &started));
	while (!started)
		sleep_ms(1);
	start = query(self->c.fd);
	for (int i = 0; i < 50000; i++)
		ASSERT_GE(query(self->c.fd).references, 1);
	end = query(self->c.fd);
	EXPECT_EQ(start.parks, end.parks);
	stop = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(0, references(self));
}

TEST_HARNESS_MAIN
