// SPDX-License-Identifier: GPL-2.0
/*
 * What one user can take is limited, and keeps nobody else from his own.
 *
 * Checked, for clocks, views, registrations, references and VMClock pages: a user gets as many
 * as his limit, then EDQUOT, while another user still gets his own; all users together get what
 * the host has less a sixteenth, then ENFILE, and that sixteenth, or at least one, is for who has
 * CAP_SYS_RESOURCE. What is given back can be taken again. Who makes a user namespace pays for
 * what is opened there by whatever user id. LIMITS tells what is used; of what others use, only
 * through a descriptor that is open for writing. A REGISTER that a limit refuses has allocated no
 * registration before: so calls that are under way have no more memory than what is counted. On
 * PREEMPT_RT each clock has memory of its own for what is inherited.
 *
 * Fails if a limit is not looked at, is counted twice or not given back, if one user is on
 * another's account, if memory comes before the limit, or if root can be locked out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/cgroups.h"
#include "lib/children.h"
#include "lib/clock.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/messages.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/trace.h"
#include "lib/clocksource.h"
#include "lib/timers.h"
#include "lib/updater.h"

#define DEVICE	"/dev/parkclock"
#define USER	1000
#define OTHER	1001
#define MOST	40	/* more than any test takes */

/* Opens the device as a user; returns a descriptor or the error, negative. */
static int open_as(uid_t uid, int flags)
{
	int fd;

	if (seteuid(uid))
		die("seteuid");
	fd = open(DEVICE, flags | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	if (seteuid(0))
		die("seteuid");
	return fd;
}

static int timer_as(uid_t uid, int clock)
{
	int fd;

	if (seteuid(uid))
		die("seteuid");
	fd = try_timer(clock, CLOCK_MONOTONIC, 0);
	if (seteuid(0))
		die("seteuid");
	return fd;
}

static struct parkclock_limits limits(int fd)
{
	struct parkclock_limits l;

	must(fd, PARKCLOCK_IOC_LIMITS, (unsigned long)&l);
	return l;
}

FIXTURE(limits) {
	int user;		/* a clock of each */
	int other;
	int root;
	struct child pool;	/* tasks to be registered */
	pid_t tids[MOST];
	int used_tids;
	int fds[MOST];
	int used_fds;
	bool has_cgroups;
	int used_cgroups;
};

/* What can be taken: PARKCLOCK_LIMIT_*, and the names of its parameters */
FIXTURE_VARIANT(limits) {
	unsigned int kind;
	const char *user, *host;
	const char *user_default, *host_default;
};

FIXTURE_VARIANT_ADD(limits, clocks) {
	.kind = PARKCLOCK_LIMIT_CLOCKS,
	.user = "user_clocks", .user_default = "16384",
	.host = "host_clocks", .host_default = "65536",
};

FIXTURE_VARIANT_ADD(limits, views) {
	.kind = PARKCLOCK_LIMIT_VIEWS,
	.user = "user_views", .user_default = "16384",
	.host = "host_views", .host_default = "65536",
};

FIXTURE_VARIANT_ADD(limits, tasks) {
	.kind = PARKCLOCK_LIMIT_TASKS,
	.user = "user_tasks", .user_default = "131072",
	.host = "host_tasks", .host_default = "1048576",
};

FIXTURE_VARIANT_ADD(limits, holds) {
	.kind = PARKCLOCK_LIMIT_HOLDS,
	.user = "user_holds", .user_default = "131072",
	.host = "host_holds", .host_default = "1048576",
};

FIXTURE_VARIANT_ADD(limits, vmclocks) {
	.kind = PARKCLOCK_LIMIT_VMCLOCKS,
	.user = "user_vmclocks", .user_default = "64",
	.host = "host_vmclocks", .host_default = "128",
};

FIXTURE_VARIANT_ADD(limits, timers) {
	.kind = PARKCLOCK_LIMIT_TIMERS,
	.user = "user_timers", .user_default = "65536",
	.host = "host_timers", .host_default = "262144",
};

FIXTURE_VARIANT_ADD(limits, cgroups) {
	.kind = PARKCLOCK_LIMIT_CGROUPS,
	.user = "user_cgroups", .user_default = "0",
	.host = "host_cgroups", .host_default = "4096",
};

/* Each is registered once; whoever registers them here is root. */
static void make_cgroups(bool make)
{
	char name[32];

	for (int i = 0; i < MOST; i++) {
		snprintf(name, sizeof(name), "limit%d", i);
		if (make)
			close(make_cgroup(name));
		else
			remove_cgroup(name);
	}
}

static void find_tids(FIXTURE_DATA(limits) *self)
{
	char path[64];
	struct dirent *d;
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", self->pool.pid);
	dir = opendir(path);
	if (!dir)
		die(path);
	while ((d = readdir(dir)) && n < MOST)
		if (d->d_name[0] != '.')
			self->tids[n++] = atoi(d->d_name);
	closedir(dir);
	if (n < MOST)
		die("not enough threads");
}

FIXTURE_SETUP(limits)
{
	settle();
	if (chmod(DEVICE, 0666))
		die(DEVICE);
	self->user = open_as(USER, O_RDWR);
	self->other = open_as(OTHER, O_RDWR);
	self->root = open_as(0, O_RDWR);
	ASSERT_LE(0, self->user);
	ASSERT_LE(0, self->other);
	ASSERT_LE(0, self->root);
	/* By default a user has none of these. */
	if (variant->kind == PARKCLOCK_LIMIT_CGROUPS)
		must_set(variant->user, "1024");
	if (variant->kind == PARKCLOCK_LIMIT_TASKS) {
		self->pool = start_sleeping_child(MOST);
		find_tids(self);
	}
	if (variant->kind == PARKCLOCK_LIMIT_CGROUPS) {
		NEEDS_CGROUPS(return);
		make_cgroups(true);
		self->has_cgroups = true;
	}
}

static int cgroup_at(int i)
{
	char name[32];

	snprintf(name, sizeof(name), "limit%d", i);
	return open_cgroup(name);
}

static void give_back(FIXTURE_DATA(limits) *self, const FIXTURE_VARIANT(limits) *variant)
{
	while (self->used_fds)
		close(self->fds[--self->used_fds]);
	if (variant->kind == PARKCLOCK_LIMIT_HOLDS) {
		while (!try(self->user, PARKCLOCK_IOC_RELEASE, 0))
			;
		while (!try(self->other, PARKCLOCK_IOC_RELEASE, 0))
			;
		while (!try(self->root, PARKCLOCK_IOC_RELEASE, 0))
			;
	}
	if (variant->kind == PARKCLOCK_LIMIT_TASKS) {
		try_unregister(self->user, self->pool.pid, PARKCLOCK_TASK_PROCESS);
		try_unregister(self->other, self->pool.pid, PARKCLOCK_TASK_PROCESS);
		try_unregister(self->root, self->pool.pid, PARKCLOCK_TASK_PROCESS);
		self->used_tids = 0;
	}
	while (self->used_cgroups) {
		const int dir = cgroup_at(--self->used_cgroups);

		if (try_unregister_cgroup(self->user, dir) &&
		    try_unregister_cgroup(self->other, dir))
			must_unregister_cgroup(self->root, dir);
		close(dir);
	}
}

FIXTURE_TEARDOWN(limits)
{
	give_back(self, variant);
	must_set(variant->user, variant->user_default);
	must_set(variant->host, variant->host_default);
	close(self->user);
	close(self->other);
	close(self->root);
	if (variant->kind == PARKCLOCK_LIMIT_TASKS)
		end_child(&self->pool);
	if (self->has_cgroups)
		make_cgroups(false);
	if (chmod(DEVICE, 0444))
		die(DEVICE);
}

static int keep(FIXTURE_DATA(limits) *self, int fd)
{
	if (fd < 0)
		return fd;
	self->fds[self->used_fds++] = fd;
	return 0;
}

/* The user, who has that clock, takes one. Returns 0 or the error, negative. */
static int take(FIXTURE_DATA(limits) *self, const FIXTURE_VARIANT(limits) *variant, uid_t uid)
{
	const int clock = uid == USER ? self->user : uid == OTHER ? self->other : self->root;
	int fd, err;

	switch (variant->kind) {
	case PARKCLOCK_LIMIT_CLOCKS:
		return keep(self, open_as(uid, O_RDWR));
	case PARKCLOCK_LIMIT_VIEWS:
		return keep(self, try(clock, PARKCLOCK_IOC_VIEW, 0));
	case PARKCLOCK_LIMIT_TASKS:
		err = try_register(clock, self->tids[self->used_tids], 0);
		self->used_tids += !err;
		return err;
	case PARKCLOCK_LIMIT_HOLDS:
		return try(clock, PARKCLOCK_IOC_HOLD, 0);
	case PARKCLOCK_LIMIT_TIMERS:
		return keep(self, timer_as(uid, clock));
	case PARKCLOCK_LIMIT_CGROUPS:
		fd = cgroup_at(self->used_cgroups);
		err = try_register_cgroup(clock, fd);
		close(fd);
		self->used_cgroups += !err;
		return err;
	default:
		fd = open_as(uid, O_RDWR);
		err = try(fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC);
		if (err)
			close(fd);
		else
			keep(self, fd);
		return err;
	}
}

static void set(const char *name, unsigned int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	must_set(name, text);
}

#define NEEDS_KIND(statement) do { \
	if (variant->kind == PARKCLOCK_LIMIT_TASKS) \
		NEEDS_SWITCHES(statement); \
} while (0)

#define NEEDS_CGROUP_KIND(statement) do { \
	if (variant->kind == PARKCLOCK_LIMIT_CGROUPS) \
		NEEDS_CGROUPS(statement); \
} while (0)

TEST_F(limits, of_a_user)
{
	const unsigned int kind = variant->kind;
	struct parkclock_limit before, now;

	NEEDS_KIND(return);
	NEEDS_CGROUP_KIND(return);
	before = limits(self->user).limit[kind];
	set(variant->user, before.user_used + 2);
	EXPECT_EQ(0, take(self, variant, USER));
	EXPECT_EQ(0, take(self, variant, USER));
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EDQUOT, take(self, variant, USER));
	now = limits(self->user).limit[kind];
	EXPECT_EQ(before.user_used + 2, now.user_used);
	EXPECT_EQ(now.user_used, now.user_most);
	EXPECT_EQ(before.host_used + 2, now.host_used);
	/* Nobody else is in the way, and root has no such limit. */
	EXPECT_EQ(0, take(self, variant, OTHER));
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(0, take(self, variant, 0));
	give_back(self, variant);
	now = limits(self->user).limit[kind];
	EXPECT_EQ(before.user_used, now.user_used);
	EXPECT_EQ(before.host_used, now.host_used);
	EXPECT_EQ(0, take(self, variant, USER));
	EXPECT_EQ(0, take(self, variant, USER));
	EXPECT_EQ(-EDQUOT, take(self, variant, USER));
}

TEST_F(limits, of_the_host)
{
	const unsigned int kind = variant->kind;
	struct parkclock_limit now;
	unsigned int taken = 0, users;

	NEEDS_KIND(return);
	NEEDS_CGROUP_KIND(return);
	now = limits(self->root).limit[kind];
	/* A multiple of 16, and with room for some */
	set(variant->host, now.host_used < 16 ? 16 : 32);
	while (taken < MOST && !take(self, variant, taken % 2 ? USER : OTHER))
		taken++;
	now = limits(self->root).limit[kind];
	EXPECT_EQ(now.host_most - now.host_most / 16, now.host_used);
	users = limits(self->user).limit[kind].user_used;
	EXPECT_EQ(-ENFILE, take(self, variant, USER));
	EXPECT_EQ(-ENFILE, take(self, variant, OTHER));
	/* What the host refuses is on nobody's account. */
	EXPECT_EQ(users, limits(self->user).limit[kind].user_used);
	/* The last ones are root's. */
	while (taken < MOST && !take(self, variant, 0))
		taken++;
	now = limits(self->root).limit[kind];
	EXPECT_EQ(now.host_most, now.host_used);
	EXPECT_EQ(-ENFILE, take(self, variant, 0));
}

/* Whoever makes a timer pays for it: with a view, and with a privileged user's clock. */
TEST_F(limits, of_who_makes_it)
{
	struct parkclock_limit user, other;
	int view;

	if (variant->kind != PARKCLOCK_LIMIT_TIMERS)
		SKIP(return, "all else is its clock's opener's");
	view = try(self->user, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_TIMERS);
	ASSERT_LE(0, view);
	user = limits(self->user).limit[variant->kind];
	other = limits(self->other).limit[variant->kind];
	set(variant->user, 2);
	EXPECT_EQ(0, keep(self, timer_as(OTHER, view)));
	EXPECT_EQ(0, keep(self, timer_as(OTHER, self->root)));
	EXPECT_EQ(-EDQUOT, timer_as(OTHER, view));
	EXPECT_EQ(user.user_used, limits(self->user).limit[variant->kind].user_used);
	EXPECT_EQ(other.user_used + 2, limits(self->other).limit[variant->kind].user_used);
	EXPECT_EQ(0, take(self, variant, USER));
	/* It keeps the account as long as it is there. */
	close(self->other);
	self->other = open_as(OTHER, O_RDWR);
	EXPECT_EQ(other.user_used + 2, limits(self->other).limit[variant->kind].user_used);
	close(view);
}

/* A sixteenth of what is less than 16 is one. */
TEST_F(limits, of_a_small_host)
{
	const unsigned int kind = variant->kind;
	struct parkclock_limit now;
	unsigned int taken = 0;

	NEEDS_KIND(return);
	NEEDS_CGROUP_KIND(return);
	now = limits(self->root).limit[kind];
	ASSERT_GT(12, now.host_used);
	set(variant->host, now.host_used + 3);
	while (taken < MOST && !take(self, variant, taken % 2 ? USER : OTHER))
		taken++;
	EXPECT_EQ(2, taken);
	EXPECT_EQ(-ENFILE, take(self, variant, USER));
	EXPECT_EQ(0, take(self, variant, 0));
	EXPECT_EQ(-ENFILE, take(self, variant, 0));
}

static void creates_threads(int sock)
{
	for (;;) {
		hear(sock);
		start_sleeping_thread();
		say(sock, 0);
	}
}

/* Those who fork are strangers, though the clock is root's. */
TEST_F(limits, inherited)
{
	struct parkclock_limit now;
	struct child c;

	if (variant->kind != PARKCLOCK_LIMIT_TASKS)
		SKIP(return, "only registrations are inherited");
	NEEDS_SWITCHES(return);
	c = start_child(creates_threads);
	now = limits(self->root).limit[variant->kind];
	set(variant->host, 32);
	must_register(self->root, c.pid, PARKCLOCK_TASK_INHERIT);
	for (unsigned int i = now.host_used + 1; i < 31; i++)
		EXPECT_EQ(0, ask(&c, 0));
	now = limits(self->root).limit[variant->kind];
	EXPECT_EQ(30, now.host_used);
	EXPECT_EQ(1, query(self->root).run_missed);
	EXPECT_EQ(0, take(self, variant, 0));
	end_child(&c);
}

#define ALLOCATIONS	"kmem/kmalloc"
#define OURS		"[parkclock]"	/* after the name of the function that allocates */

/*
 * On PREEMPT_RT what is inherited comes out of spares, which are allocated when something is
 * registered to be inherited. Each clock has its own: who uses up his takes none from others.
 */

#define SPARES	64

TEST(spares)
{
	const int user = open_as(0, O_RDWR), other = open_as(0, O_RDWR);
	struct child c = start_sleeping_child(1);
	const int fds[] = { user, other, other };
	int allocated[ARRAY_SIZE(fds)];
	char filter[64];

	NEEDS_SWITCHES(goto out);
	NEEDS_TRACE(goto out);
	if (!exists("/sys/kernel/realtime"))
		SKIP(goto out, "needs a kernel with PREEMPT_RT");
	snprintf(filter, sizeof(filter), "common_pid == %d", gettid());
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		try_unregister(fds[i], c.pid, 0);
		trace_start(ALLOCATIONS, filter);
		must_register(fds[i], c.pid, INHERIT);
		allocated[i] = trace_count(OURS, NULL);
		trace_stop(ALLOCATIONS);
	}
	EXPECT_LE(SPARES, allocated[0]);
	EXPECT_LE(SPARES, allocated[1]);
	/* It has them already. */
	EXPECT_GT(SPARES, allocated[2]);
out:
	end_child(&c);
	close(user);
	close(other);
}

TEST_F(limits, before_memory)
{
	unsigned int used;
	char filter[64];

	if (variant->kind != PARKCLOCK_LIMIT_TASKS)
		SKIP(return, "only registrations are many at a time");
	NEEDS_SWITCHES(return);
	NEEDS_TRACE(return);
	used = limits(self->user).limit[variant->kind].user_used;
	snprintf(filter, sizeof(filter), "common_pid == %d", gettid());
	trace_start(ALLOCATIONS, filter);
	set(variant->user, used + MOST - 1);
	EXPECT_EQ(-EDQUOT, try_register(self->user, self->pool.pid, PROCESS));
	EXPECT_EQ(0, trace_count(OURS, NULL));
	EXPECT_EQ(used, limits(self->user).limit[variant->kind].user_used);
	/* The process has that many threads. REGISTER asks for more, and makes do with these. */
	set(variant->user, used + MOST);
	EXPECT_EQ(0, try_register(self->user, self->pool.pid, PROCESS));
	EXPECT_LE(MOST, trace_count(OURS, NULL));
	EXPECT_EQ(used + MOST, limits(self->user).limit[variant->kind].user_used);
	trace_stop(ALLOCATIONS);
	/* Where there is room for what it asks, it gives back what it does not need. */
	EXPECT_EQ(0, try_unregister(self->user, self->pool.pid, PROCESS));
	EXPECT_EQ(used, limits(self->user).limit[variant->kind].user_used);
	set(variant->user, used + 2 * MOST);
	EXPECT_EQ(0, try_register(self->user, self->pool.pid, PROCESS));
	EXPECT_EQ(used + MOST, limits(self->user).limit[variant->kind].user_used);
}

TEST_F(limits, told)
{
	const unsigned int kind = variant->kind;
	int reader = open_as(USER, O_RDONLY);
	struct parkclock_limits l;

	NEEDS_KIND(return);
	NEEDS_CGROUP_KIND(return);
	ASSERT_LE(0, reader);
	EXPECT_EQ(0, take(self, variant, OTHER));
	must_set(variant->user, variant->user_default);
	l = limits(reader);
	EXPECT_EQ(0, l.limit[kind].host_used);
	EXPECT_EQ(atoi(variant->user_default), (int)l.limit[kind].user_most);
	EXPECT_EQ(atoi(variant->host_default), (int)l.limit[kind].host_most);
	for (unsigned int i = PARKCLOCK_LIMITS; i < ARRAY_SIZE(l.limit); i++)
		EXPECT_EQ(0, l.limit[i].user_used | l.limit[i].user_most | l.limit[i].host_used |
			     l.limit[i].host_most);
	l = limits(self->user);
	EXPECT_LE(1, l.limit[kind].host_used);
	l = limits(self->root);
	EXPECT_EQ(l.limit[kind].host_most, l.limit[kind].user_most);
	close(reader);
	EXPECT_EQ(-EFAULT, try(self->user, PARKCLOCK_IOC_LIMITS, 0));
}

/* A user namespace: whoever is in it, who made it pays. */

static void opens_in_a_namespace(int sock)
{
	int fd = -1;

	if (setresuid(USER, USER, USER))
		die("setresuid");
	if (unshare(CLONE_NEWUSER)) {
		say(sock, 1);
		hear(sock);
		_exit(0);
	}
	say(sock, 0);
	/* The parent has mapped another user. */
	hear(sock);
	if (setresuid(0, 0, 0))
		die("setresuid in the namespace");
	fd = open(DEVICE, O_RDWR);
	say(sock, fd < 0 ? errno : 0);
	hear(sock);
	close(fd);
	_exit(0);
}

TEST(namespace)
{
	unsigned int before;
	struct child c;
	char path[64];
	int user;

	if (chmod(DEVICE, 0666))
		die(DEVICE);
	user = open_as(USER, O_RDWR);
	ASSERT_LE(0, user);
	before = limits(user).limit[PARKCLOCK_LIMIT_CLOCKS].user_used;
	c = start_child(opens_in_a_namespace);
	if (hear(c.sock)) {
		end_child(&c);
		close(user);
		SKIP(return, "needs a kernel with user namespaces");
	}
	snprintf(path, sizeof(path), "/proc/%d/uid_map", c.pid);
	ASSERT_EQ(0, write_file(path, "0 5000 1"));
	EXPECT_EQ(0, ask(&c, 0));
	EXPECT_EQ(before + 1, limits(user).limit[PARKCLOCK_LIMIT_CLOCKS].user_used);
	end_child(&c);
	EXPECT_EQ(before, limits(user).limit[PARKCLOCK_LIMIT_CLOCKS].user_used);
	close(user);
	if (chmod(DEVICE, 0444))
		die(DEVICE);
}

TEST_HARNESS_MAIN
