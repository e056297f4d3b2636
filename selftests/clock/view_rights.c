// SPDX-License-Identifier: GPL-2.0
/*
 * A view: what a sandbox gets of its clock.
 *
 * Checked: a view can be mapped, read and polled, and shows the same clock as the owner's
 * descriptor. Nothing else that can be done with a descriptor works or changes anything. READ
 * through a view keeps the clock awake only for the call. When the owner goes, its references
 * and registrations end, while the view's pages and time go on, stopped if the owner left them
 * so. An open view keeps the module, and a closed one does not. Of views that keep registrations
 * see registration_ends.
 *
 * Fails if a view has a reference or a registration, can change or reopen the clock, or uses
 * something that went with the owner.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/module.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(view_rights) {
	int owner;
	int fd;		/* the view */
	int host;	/* another clock */
	void *map;	/* through the view */
	struct parkclock_query before;
};

FIXTURE_SETUP(view_rights)
{
	start_parked("60000", "4", "5");
	self->host = open_device();
	self->owner = open_fresh();
	must(self->owner, PARKCLOCK_IOC_EPOCH, 0);
	self->fd = try(self->owner, PARKCLOCK_IOC_VIEW, 0);
	ASSERT_GE(self->fd, 0);
	self->map = map_clock(self->fd);
	must_set("interval_ms", "1");
	ASSERT_TRUE(wait_state(self->host, PARKCLOCK_PARKED));
	must_set("interval_ms", "60000");
	self->before = query(self->owner);
}

static void close_owner(FIXTURE_DATA(view_rights) *self)
{
	close(self->owner);
	self->owner = -1;
}

FIXTURE_TEARDOWN(view_rights)
{
	munmap(self->map, PARKCLOCK_MAP_SIZE);
	if (self->owner >= 0)
		close(self->owner);
	close(self->fd);
	close(self->host);
	default_params();
}

/* Is it the clock that began a moment ago? */
static bool reads_its_clock(int fd, const void *map)
{
	struct parkclock_reading slow, page;

	slow = slow_read(fd, CLOCK_MONOTONIC);
	if (slow.ns <= 0 || slow.ns >= kernel_ns(CLOCK_MONOTONIC))
		return false;
	if (!counter_usable())
		return parkclock_page_read_bound(map, CLOCK_MONOTONIC, &page) < 0;
	return parkclock_page_read_bound(map, CLOCK_MONOTONIC, &page) >= slow.ns &&
	       page.ns <= slow_read(fd, CLOCK_MONOTONIC).ns &&
	       page.generation == slow.generation;
}

TEST_F(view_rights, shows_the_clock)
{
	void *owner = map_clock(self->owner);

	EXPECT_TRUE(reads_its_clock(self->fd, self->map));
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		EXPECT_EQ(offset_of(owner, i), offset_of(self->map, i));
	EXPECT_EQ(0, try_offsets(self->owner, NSEC, NSEC));
	EXPECT_EQ(NSEC, offset_of(self->map, PARKCLOCK_MONOTONIC));
	EXPECT_EQ(acknowledge(self->owner), acknowledge(self->fd));
	munmap(owner, PARKCLOCK_MAP_SIZE);
}

static void expect_unchanged(struct __test_metadata *_metadata, FIXTURE_DATA(view_rights) *self)
{
	struct parkclock_query q = query(self->owner);

	EXPECT_EQ(self->before.state, q.state);
	EXPECT_EQ(self->before.flags, q.flags);
	EXPECT_EQ(self->before.holds, q.holds);
	EXPECT_EQ(self->before.references, q.references);
	EXPECT_EQ(self->before.generation, q.generation);
	EXPECT_EQ(self->before.wakes, q.wakes);
	EXPECT_EQ(self->before.tasks, q.tasks);
	EXPECT_EQ(self->before.all_tasks, q.all_tasks);
	EXPECT_EQ(self->before.boot_ns, q.boot_ns);
}

TEST_F(view_rights, no_other_request)
{
	static const unsigned long known[] = {
		PARKCLOCK_IOC_QUERY, PARKCLOCK_IOC_HOLD, PARKCLOCK_IOC_RELEASE,
		PARKCLOCK_IOC_REGISTER, PARKCLOCK_IOC_UNREGISTER, PARKCLOCK_IOC_ACCURACY,
		PARKCLOCK_IOC_EPOCH, PARKCLOCK_IOC_OFFSETS, PARKCLOCK_IOC_STOP,
		PARKCLOCK_IOC_START, PARKCLOCK_IOC_SAVE, PARKCLOCK_IOC_RESTORE,
		PARKCLOCK_IOC_VIEW, PARKCLOCK_IOC_REGISTER_CGROUP,
		PARKCLOCK_IOC_UNREGISTER_CGROUP
	};
	static char arg[1024];

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		for (unsigned long n = 0; n < 3; n++) {
			EXPECT_EQ(-ENOTTY, try(self->fd, known[i], n));
			EXPECT_EQ(-ENOTTY, try(self->fd, known[i], (unsigned long)arg));
		}
	for (int nr = 0; nr < 256; nr++) {
		EXPECT_EQ(-ENOTTY, try(self->fd, _IO(PARKCLOCK_IOC_TYPE, nr), 0));
		for (int dir = 1; dir < 4; dir++)
			for (unsigned int size = 8; size <= 256; size += 8) {
				unsigned long request =
					_IOC(dir, PARKCLOCK_IOC_TYPE, nr, size);

				if (request != PARKCLOCK_IOC_READ)
					EXPECT_EQ(request == PARKCLOCK_IOC_TIMER ? -EPERM : -ENOTTY,
						  try(self->fd, request, (unsigned long)arg));
			}
	}
	expect_unchanged(_metadata, self);
}

TEST_F(view_rights, nothing_else_to_do_with_it)
{
	static const int bad[] = { PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC };
	char path[64], buf[64] = { 0 };
	struct iovec iov = { buf, sizeof(buf) };

	EXPECT_EQ(-1, write(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(-1, pwrite(self->fd, buf, sizeof(buf), 0));
	EXPECT_EQ(-1, writev(self->fd, &iov, 1));
	EXPECT_EQ(-1, ftruncate(self->fd, 0));
	EXPECT_EQ(-1, fallocate(self->fd, 0, 0, 4096));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(MAP_FAILED, mmap(NULL, PARKCLOCK_MAP_SIZE, bad[i], MAP_SHARED,
					   self->fd, 0));
		EXPECT_EQ(-1, mprotect(self->map, PARKCLOCK_MAP_SIZE, bad[i]));
	}
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE,
				   self->fd, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PARKCLOCK_PAGE_SIZE, PROT_READ, MAP_SHARED, self->fd, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 2 * PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED,
				   self->fd, 0));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, self->fd,
				   PARKCLOCK_PAGE_SIZE));
	/* Not a way to the device, either. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->fd);
	EXPECT_EQ(-1, open(path, O_RDONLY));
	EXPECT_EQ(-1, open(path, O_RDWR));
	EXPECT_EQ(O_RDONLY, fcntl(self->fd, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(FD_CLOEXEC, fcntl(self->fd, F_GETFD));
	expect_unchanged(_metadata, self);
}

TEST_F(view_rights, read_holds_it_awake_for_the_call_only)
{
	EXPECT_TRUE(reads_its_clock(self->fd, self->map));
	EXPECT_EQ(0, query(self->host).references);
	must_set("interval_ms", "1");
	EXPECT_TRUE(wait_state(self->host, PARKCLOCK_PARKED));
}

/* Neither mapping nor polling it wakes the clock. */
TEST_F(view_rights, looking_does_not_wake)
{
	for (int i = 0; i < 10; i++) {
		munmap(map_clock(self->fd), PARKCLOCK_MAP_SIZE);
		EXPECT_EQ(0, events(self->fd));
		acknowledge(self->fd);
	}
	expect_unchanged(_metadata, self);
}

TEST_F(view_rights, outlives_its_owner)
{
	int64_t last = slow_read(self->owner, CLOCK_MONOTONIC).ns;
	int64_t offset = offset_of(self->map, PARKCLOCK_MONOTONIC);
	void *again;

	hold(self->owner);
	hold(self->owner);
	if (try_register(self->owner, 0, 0))
		TH_LOG("no registration on this kernel");
	close_owner(self);
	/* What it held is gone with it. */
	EXPECT_TRUE(wait_references(self->host, 0));
	EXPECT_EQ(0, query(self->host).all_tasks);
	EXPECT_EQ(offset, offset_of(self->map, PARKCLOCK_MONOTONIC));
	EXPECT_GE(slow_read(self->fd, CLOCK_MONOTONIC).ns, last);
	EXPECT_TRUE(reads_its_clock(self->fd, self->map));
	again = map_clock(self->fd);
	EXPECT_TRUE(reads_its_clock(self->fd, again));
	munmap(again, PARKCLOCK_MAP_SIZE);
	EXPECT_EQ(0, events(self->fd));
}

TEST_F(view_rights, mapping_outlives_both)
{
	void *map = map_clock(self->fd);
	int64_t last = slow_read(self->fd, CLOCK_MONOTONIC).ns;

	close_owner(self);
	close(self->fd);
	self->fd = dup(self->host);
	hold(self->host);
	if (counter_usable())
		EXPECT_GE(parkclock_page_read(map, CLOCK_MONOTONIC), last);
	munmap(map, PARKCLOCK_MAP_SIZE);
}

TEST_F(view_rights, of_a_clock_that_was_left_stopped)
{
	struct parkclock_reading r;

	must(self->owner, PARKCLOCK_IOC_STOP, 0);
	close_owner(self);
	EXPECT_EQ(-ENODATA, try_read(self->fd, CLOCK_MONOTONIC, &r));
	EXPECT_EQ(PARKCLOCK_IS_STOPPED, parkclock_page_read(self->map, CLOCK_REALTIME));
}

TEST_F(view_rights, epoll_tells)
{
	struct epoll_event e = { .events = EPOLLIN }, got;
	int ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->fd, &e));
	EXPECT_EQ(0, epoll_wait(ep, &got, 1, 0));
	must(self->owner, PARKCLOCK_IOC_STOP, 0);
	EXPECT_EQ(0, epoll_wait(ep, &got, 1, 0));
	must(self->owner, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
	EXPECT_EQ(1, epoll_wait(ep, &got, 1, PATIENCE_MS));
	EXPECT_EQ(EPOLLIN, got.events);
	acknowledge(self->fd);
	EXPECT_EQ(0, epoll_wait(ep, &got, 1, 0));
	/* The owner goes; the view's file goes while it is being watched. */
	close_owner(self);
	EXPECT_EQ(0, epoll_wait(ep, &got, 1, 0));
	close(self->fd);
	munmap(self->map, PARKCLOCK_MAP_SIZE);
	EXPECT_EQ(0, epoll_wait(ep, &got, 1, 0));
	self->fd = dup(self->host);
	self->map = map_clock(self->fd);
	close(ep);
}

static int users_of_the_module(void)
{
	char text[32];

	if (read_file("/sys/module/parkclock/refcnt", text, sizeof(text)))
		die("/sys/module/parkclock/refcnt");
	return atoi(text);
}

TEST_F(view_rights, keeps_the_module_while_it_is_open)
{
	int users = users_of_the_module(), view;

	view = try(self->owner, PARKCLOCK_IOC_VIEW, 0);
	ASSERT_GE(view, 0);
	EXPECT_EQ(users + 1, users_of_the_module());
	close(view);
	EXPECT_EQ(users, users_of_the_module());
	close_owner(self);
	EXPECT_EQ(users - 1, users_of_the_module());
	EXPECT_EQ(-EBUSY, unload() == -EAGAIN ? -EBUSY : unload());
}

/* No descriptor to be had: nothing is left of the attempt. */
TEST_F(view_rights, no_room_for_it)
{
	struct rlimit old, none;
	int users = users_of_the_module();

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = 3;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, try(self->owner, PARKCLOCK_IOC_VIEW, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(users, users_of_the_module());
	EXPECT_TRUE(reads_its_clock(self->fd, self->map));
}

TEST_HARNESS_MAIN
