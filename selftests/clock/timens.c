// SPDX-License-Identifier: GPL-2.0
/*
 * A clock reads what clock_gettime() reads in the time namespace of its opener.
 *
 * Checked, for all four clocks, by page and by READ: a clock that is opened inside a namespace;
 * one that is opened outside and used inside, which keeps the outside's time; and one that is
 * opened by a process that has only made a namespace for its children.
 *
 * Fails if the offsets are the host's or the reader's, are taken from time_ns_for_children, or
 * reach REALTIME or TAI, which have none.
 */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
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
#include "lib/messages.h"
#include "lib/params.h"
#include "lib/updater.h"

FIXTURE(timens) {
	struct pclock outside;
};

FIXTURE_VARIANT(timens) {
	const char *offsets;
	int64_t monotonic, boottime;
};

FIXTURE_VARIANT_ADD(timens, ahead) {
	.offsets = "monotonic 1000000 123456789\nboottime 2000000 987654321\n",
	.monotonic = 1000000 * NSEC + 123456789,
	.boottime = 2000000 * NSEC + 987654321,
};

/* -1 + 0.5 s: the kernel's ns part is never negative. */
FIXTURE_VARIANT_ADD(timens, behind) {
	.offsets = "monotonic -1 500000000\nboottime -1 1\n",
	.monotonic = -NSEC + 500000000,
	.boottime = -NSEC + 1,
};

static bool has_timens(void)
{
	return exists("/proc/self/ns/time");
}

#define NEEDS_TIMENS(statement) do { \
	if (!has_timens()) \
		SKIP(statement, "needs a kernel with time namespaces"); \
} while (0)

FIXTURE_SETUP(timens)
{
	start_parked("20000", "4", "5");
	self->outside = open_clock();
	if (!has_timens())
		return;
	if (unshare(CLONE_NEWTIME)) {
		int err = errno;

		close_clock(&self->outside);
		default_params();
		ASSERT_EQ(0, err);
	}
	ASSERT_EQ(0, write_file("/proc/self/timens_offsets", variant->offsets));
}

FIXTURE_TEARDOWN(timens)
{
	close_clock(&self->outside);
	default_params();
}

/* Is this clock @behind the caller's clock_gettime(), within its bound? */
static bool right(struct pclock *c, int id, int64_t behind)
{
	struct parkclock_reading page = { 0 }, ioctl;
	int64_t t0, t1;

	bool by_page;

	hold(c->fd);
	t0 = now_ns(id) - behind;
	by_page = parkclock_page_read_bound(c->map, id, &page) != PARKCLOCK_EXPIRED;
	ioctl = slow_read(c->fd, id);
	t1 = now_ns(id) - behind;
	release(c->fd);
	if (by_page != counter_usable())
		return false;
	if (!by_page)
		page = ioctl;
	if (within_bound(&page, t0, t1) && within_bound(&ioctl, t0, t1))
		return true;
	fprintf(stderr, "# clock %d: page %lld, READ %lld, expected %lld to %lld\n", id,
		(long long)page.ns, (long long)ioctl.ns, (long long)t0, (long long)t1);
	return false;
}

/* Runs in a child: that is who is in the new namespace. */
static int child_fails(void (*child)(void *), void *arg)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		child(arg);
		_exit(0);
	}
	return waitpid(pid, &status, 0) != pid || status;
}

static void inside(void *arg __attribute__((__unused__)))
{
	struct pclock c = open_clock();

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		if (!right(&c, clock_ids[i], 0))
			_exit(1);
}

TEST_F(timens, opened_inside)
{
	NEEDS_TIMENS(return);
	EXPECT_EQ(0, child_fails(inside, NULL));
}

struct from_outside {
	struct pclock *c;
	int64_t behind[PARKCLOCK_CLOCKS];
};

static void use_outside(void *arg)
{
	struct from_outside *o = arg;
	int64_t ns = now_ns(CLOCK_MONOTONIC);

	/* Is this a namespace at all? Time that passes here adds to what one is behind. */
	ns -= slow_read(o->c->fd, CLOCK_MONOTONIC).ns;
	if (llabs(ns) < NSEC / 10)
		_exit(2);
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		if (!right(o->c, clock_ids[i], o->behind[i]))
			_exit(1);
}

TEST_F(timens, opened_outside)
{
	struct from_outside o = {
		.c = &self->outside,
		.behind[PARKCLOCK_MONOTONIC] = variant->monotonic,
		.behind[PARKCLOCK_BOOTTIME] = variant->boottime,
	};

	NEEDS_TIMENS(return);
	hold(self->outside.fd);
	EXPECT_EQ(0, child_fails(use_outside, &o));
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		EXPECT_TRUE(right(&self->outside, clock_ids[i], 0));
}

TEST_F(timens, namespace_for_children_is_not_ours)
{
	struct pclock c = open_clock();

	NEEDS_TIMENS(return);
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		EXPECT_TRUE(right(&c, clock_ids[i], 0));
	close_clock(&c);
}

static void leave_open(void *arg)
{
	send_fd(*(int *)arg, open_device());
}

/* The clock outlives the namespace that it was opened in. */
TEST_F(timens, opener_is_gone)
{
	struct from_outside o = {
		.behind[PARKCLOCK_MONOTONIC] = -variant->monotonic,
		.behind[PARKCLOCK_BOOTTIME] = -variant->boottime,
	};
	struct pclock c;
	int sock[2];

	NEEDS_TIMENS(return);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	ASSERT_EQ(0, child_fails(leave_open, &sock[1]));
	c.fd = receive_fd(sock[0]);
	c.map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, c.fd, 0);
	ASSERT_NE(MAP_FAILED, c.map);
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		EXPECT_TRUE(right(&c, clock_ids[i], o.behind[i]));
	close_clock(&c);
	close(sock[0]);
	close(sock[1]);
}

TEST_HARNESS_MAIN
