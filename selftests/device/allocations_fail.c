// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation fails once. This program starts without the module, and loads it.
 *
 * Checked: the first, second, third... allocation of a system call fails, until no further
 * one could (of load and unload, with BRIEF=1, every fourth). The system calls are open, mmap,
 * munmap, a page fault, each ioctl, close, fork, unload, and load from where our part of it
 * begins. A call that fails returns ENOMEM (EFAULT if an ioctl's argument cannot be reached;
 * fork may return EAGAIN). It has changed no reference, registration, state or counter, and
 * works when it is repeated. The kernel repeats a page fault itself. HOLD, RELEASE,
 * UNREGISTER, close and unload never fail. A registration that cannot be inherited for lack
 * of memory is counted, and the child is born.
 *
 * Fails if a result is ignored, if an error path undoes too little or too much. Leaks show in
 * kmemleak after the last program.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/cgroups.h"
#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/module.h"
#include "lib/params.h"
#include "lib/registration.h"

#define FAIL_NTH	"/proc/thread-self/fail-nth"
#define FAULTS		"/sys/kernel/debug/"
#define ENOUGH		100000	/* far more than any system call allocates */

/* With no other mapping near, all levels of the page table are new. */
#define FAR_AWAY	((void *)(1UL << 44))

static bool kernel_has_faults(void)
{
	return exists(FAIL_NTH) && exists(FAULTS "failslab") && exists(FAULTS "fail_page_alloc");
}

#define NEEDS_FAULTS(statement) do { \
	if (!kernel_has_faults()) \
		SKIP(statement, "needs a kernel that can make allocations fail"); \
} while (0)

/* Also allocations that may wait, and of single pages; and not a word about it. */
static void configure_faults(void)
{
	static const struct {
		const char *file, *value;
	} settings[] = {
		{ FAULTS "failslab/ignore-gfp-wait", "N" },
		{ FAULTS "failslab/verbose", "0" },
		{ FAULTS "fail_page_alloc/ignore-gfp-wait", "N" },
		{ FAULTS "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ FAULTS "fail_page_alloc/min-order", "0" },
		{ FAULTS "fail_page_alloc/verbose", "0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		int err = write_file(settings[i].file, settings[i].value);

		if (err) {
			errno = -err;
			die(settings[i].file);
		}
	}
}

/* By a test that was killed. */
static void unload_if_loaded(void)
{
	if (exists("/sys/module/parkclock") && unload())
		die("unload");
}

/* Of this thread; a child has none. */
static int fail_nth = -1;

/*
 * What the kernel is given to read and write while allocations fail. Shared memory
 * is not copied after a fork, for which there may be no page.
 */
static char *text;

#define TEXT_SIZE	16

static void open_fail_nth(void)
{
	fail_nth = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	text = mmap(NULL, TEXT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fail_nth < 0 || text == MAP_FAILED)
		die(FAIL_NTH);
}

/* The nth allocation from here on fails. */
static void arm(int nth)
{
	int n;

	if (fail_nth < 0)
		open_fail_nth();
	n = snprintf(text, TEXT_SIZE, "%d", nth);
	if (pwrite(fail_nth, text, n, 0) != n)
		die(FAIL_NTH);
}

/* No more. Returns how many allocations there would have been left: 0 if it failed. */
static int disarm(void)
{
	ssize_t n = pread(fail_nth, text, TEXT_SIZE - 1, 0);

	if (n <= 0 || pwrite(fail_nth, "0", 1, 0) != 1)
		die(FAIL_NTH);
	text[n] = '\0';
	return atoi(text);
}

/*
 * The kernel kills a thread if it cannot write where the C library wants to be told
 * of the CPU, which after a fork needs a page.
 */
static void leave_rseq(void)
{
	char *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	if (__rseq_size && syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG))
		die("rseq");
}

FIXTURE(allocations_fail) {
	struct pclock c;	/* watches */
	struct pclock other;	/* what is done is done to this one */
	void *page;
	pid_t child;
};

FIXTURE_SETUP(allocations_fail)
{
	settle();
	if (!kernel_has_faults())
		return;
	configure_faults();
	unload_if_loaded();
	ASSERT_EQ(0, load("interval_ms=60000"));
	self->c = open_clock();
}

FIXTURE_TEARDOWN(allocations_fail)
{
	if (!kernel_has_faults())
		return;
	close_clock(&self->c);
	EXPECT_EQ(0, unload());
	EXPECT_STREQ("", what_is_left());
}

/*
 * What is made to fail: @prepare comes before and @undo after it, undisturbed; all
 * return 0 or an errno. @errs are the errnos that it may fail with, if any. What
 * it allocates before the @first is not made to fail.
 */
struct operation {
	int (*prepare)(FIXTURE_DATA(allocations_fail) *self);
	int (*run)(FIXTURE_DATA(allocations_fail) *self);
	int (*undo)(FIXTURE_DATA(allocations_fail) *self);
	int errs[2];
	int first;
};

/* Returns how many allocations were made to fail. */
static int fail_each(struct __test_metadata *_metadata, FIXTURE_DATA(allocations_fail) *self,
		     const struct operation *op)
{
	const int first = op->first ? op->first : 1;

	for (int n = first;; n++) {
		struct parkclock_query before, after;
		int err, left;

		ASSERT_EQ(0, op->prepare ? op->prepare(self) : 0);
		before = query(self->c.fd);
		arm(n);
		err = op->run(self);
		left = disarm();
		if (err) {
			ASSERT_EQ(0, left) {
				TH_LOG("errno %d, though nothing failed", err);
			}
			ASSERT_TRUE(err == op->errs[0] || err == op->errs[1]) {
				TH_LOG("allocation %d: errno %d", n, err);
			}
			after = query(self->c.fd);
			/* Unless that was the tick, which comes once a minute. */
			if (before.expirations == after.expirations) {
				ASSERT_EQ(before.state, after.state);
				ASSERT_EQ(before.refreshes, after.refreshes);
			}
			ASSERT_EQ(before.references, after.references);
			ASSERT_EQ(before.wakes, after.wakes);
			ASSERT_EQ(before.slow_reads, after.slow_reads);
			ASSERT_EQ(before.all_tasks, after.all_tasks);
			ASSERT_EQ(before.all_running, after.all_running);
			ASSERT_EQ(before.run_transitions, after.run_transitions);
			ASSERT_EQ(0, op->run(self)) {
				TH_LOG("allocation %d: fails for good", n);
			}
		}
		ASSERT_EQ(0, op->undo(self));
		ASSERT_EQ(0, query(self->c.fd).references);
		ASSERT_EQ(0, query(self->c.fd).all_tasks);
		if (left)
			return n - first;
	}
}

static int do_open(FIXTURE_DATA(allocations_fail) *self)
{
	self->other.fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	return self->other.fd < 0 ? errno : 0;
}

static int do_close(FIXTURE_DATA(allocations_fail) *self)
{
	return close(self->other.fd) ? errno : 0;
}

static int map_far_away(FIXTURE_DATA(allocations_fail) *self)
{
	self->other.map = mmap(FAR_AWAY, PARKCLOCK_MAP_SIZE, PROT_READ,
			       MAP_SHARED | MAP_FIXED_NOREPLACE, self->c.fd, 0);
	return self->other.map == MAP_FAILED ? errno : 0;
}

static int unmap(FIXTURE_DATA(allocations_fail) *self)
{
	return munmap(self->other.map, PARKCLOCK_MAP_SIZE) ? errno : 0;
}

static int touch(FIXTURE_DATA(allocations_fail) *self)
{
	return parkclock_usable(self->other.map) ? 0 : EIO;
}

/* One that was never touched. */
static int fresh_page(FIXTURE_DATA(allocations_fail) *self)
{
	self->page = mmap(FAR_AWAY, PARKCLOCK_PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	return self->page == MAP_FAILED ? errno : 0;
}

static int drop_page(FIXTURE_DATA(allocations_fail) *self)
{
	return munmap(self->page, PARKCLOCK_PAGE_SIZE) ? errno : 0;
}

static int do_query(FIXTURE_DATA(allocations_fail) *self)
{
	return ioctl(self->c.fd, PARKCLOCK_IOC_QUERY, self->page) ? errno : 0;
}

/* All zero is a good argument: it asks for CLOCK_REALTIME. */
static int do_read(FIXTURE_DATA(allocations_fail) *self)
{
	return ioctl(self->c.fd, PARKCLOCK_IOC_READ, self->page) ? errno : 0;
}

static int do_hold(FIXTURE_DATA(allocations_fail) *self)
{
	return ioctl(self->c.fd, PARKCLOCK_IOC_HOLD, 0) ? errno : 0;
}

static int do_release(FIXTURE_DATA(allocations_fail) *self)
{
	return ioctl(self->c.fd, PARKCLOCK_IOC_RELEASE, 0) ? errno : 0;
}

static int open_and_hold(FIXTURE_DATA(allocations_fail) *self)
{
	int err = do_open(self);

	if (!err)
		hold(self->other.fd);
	return err;
}

static int nothing(FIXTURE_DATA(allocations_fail) *self __attribute__((__unused__)))
{
	return 0;
}

static int map_and_touch(FIXTURE_DATA(allocations_fail) *self)
{
	self->other = open_clock();
	return touch(self);
}

static int do_fork(FIXTURE_DATA(allocations_fail) *self)
{
	self->child = fork();
	if (!self->child)
		_exit(touch(self));
	return self->child < 0 ? errno : 0;
}

/* A copy of the mapping that a fork has left would keep the reference. */
static int reap(FIXTURE_DATA(allocations_fail) *self)
{
	int status;

	if (waitpid(self->child, &status, 0) != self->child)
		die("waitpid");
	hold(self->other.fd);
	close_clock(&self->other);
	return status || query(self->c.fd).references ? EBUSY : 0;
}

TEST_F(allocations_fail, open)
{
	const struct operation op = { .run = do_open, .undo = do_close, .errs = { ENOMEM } };

	NEEDS_FAULTS(return);
	/* Our own two are among them. */
	EXPECT_GE(fail_each(_metadata, self, &op), 2);
}

TEST_F(allocations_fail, mmap)
{
	const struct operation op = { .run = map_far_away, .undo = unmap, .errs = { ENOMEM } };

	NEEDS_FAULTS(return);
	EXPECT_GE(fail_each(_metadata, self, &op), 1);
}

TEST_F(allocations_fail, munmap)
{
	const struct operation op = {
		.prepare = map_far_away, .run = unmap, .undo = nothing, .errs = { ENOMEM }
	};

	NEEDS_FAULTS(return);
	EXPECT_GE(fail_each(_metadata, self, &op), 1);
}

TEST_F(allocations_fail, page_fault)
{
	const struct operation op = { .prepare = map_far_away, .run = touch, .undo = unmap };

	NEEDS_FAULTS(return);
	EXPECT_GE(fail_each(_metadata, self, &op), 1);
}

TEST_F(allocations_fail, query)
{
	const struct operation op = {
		.prepare = fresh_page, .run = do_query, .undo = drop_page, .errs = { EFAULT }
	};

	NEEDS_FAULTS(return);
	EXPECT_GE(fail_each(_metadata, self, &op), 1);
}

TEST_F(allocations_fail, read)
{
	const struct operation op = {
		.prepare = fresh_page, .run = do_read, .undo = drop_page, .errs = { EFAULT }
	};

	NEEDS_FAULTS(return);
	EXPECT_GE(fail_each(_metadata, self, &op), 1);
}

static int open_to_own(FIXTURE_DATA(allocations_fail) *self)
{
	self->other.fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	return self->other.fd < 0 ? errno : 0;
}

static int do_vmclock(FIXTURE_DATA(allocations_fail) *self)
{
	return ioctl(self->other.fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC) ? errno : 0;
}

TEST_F(allocations_fail, vmclock)
{
	const struct operation op = {
		.prepare = open_to_own, .run = do_vmclock, .undo = do_close,
		.errs = { ENOMEM }
	};

	NEEDS_FAULTS(return);
	/* Room for one at a time: what fails has not taken it. */
	must_set("host_vmclocks", "1");
	EXPECT_GE(fail_each(_metadata, self, &op), 2);
	must_set("host_vmclocks", "128");
}

static int cgroup_dir;

static int do_cgroup(FIXTURE_DATA(allocations_fail) *self)
{
	return -try_register_cgroup(self->other.fd, cgroup_dir);
}

/* The first one of a clock, and the first one at all: then CPUs begin to remember cgroups. */
TEST_F(allocations_fail, register_cgroup)
{
	const struct operation op = {
		.prepare = open_to_own, .run = do_cgroup, .undo = do_close,
		.errs = { ENOMEM, ENFILE }
	};

	NEEDS_FAULTS(return);
	NEEDS_CGROUPS(return);
	cgroup_dir = make_cgroup("f");
	/* Room for one at a time: what fails has not taken it. */
	must_set("host_cgroups", "1");
	EXPECT_GE(fail_each(_metadata, self, &op), 2);
	must_set("host_cgroups", "4096");
	close(cgroup_dir);
	remove_cgroup("f");
}

static int timer_fd;

static int do_timer(FIXTURE_DATA(allocations_fail) *self)
{
	const struct parkclock_timer arg = { .clock_id = CLOCK_MONOTONIC };

	timer_fd = ioctl(self->other.fd, PARKCLOCK_IOC_TIMER, &arg);
	return timer_fd < 0 ? errno : 0;
}

/* The first one of a clock: then that begins to add up its CPU time. */
static int do_cpu_timer(FIXTURE_DATA(allocations_fail) *self)
{
	const struct parkclock_timer arg = { .clock_id = PARKCLOCK_CPUTIME_ID };

	timer_fd = ioctl(self->other.fd, PARKCLOCK_IOC_TIMER, &arg);
	return timer_fd < 0 ? errno : 0;
}

static int close_timer(FIXTURE_DATA(allocations_fail) *self)
{
	close(timer_fd);
	return do_close(self);
}

TEST_F(allocations_fail, timer)
{
	const struct operation ops[] = {
		{ .prepare = open_to_own, .run = do_timer, .undo = close_timer,
		  .errs = { ENOMEM } },
		{ .prepare = open_to_own, .run = do_cpu_timer, .undo = close_timer,
		  .errs = { ENOMEM } },
	};

	NEEDS_FAULTS(return);
	/* Room for one at a time: what fails has not taken it. */
	must_set("host_timers", "1");
	EXPECT_GE(fail_each(_metadata, self, &ops[0]), 2);
	EXPECT_GE(fail_each(_metadata, self, &ops[1]), 3);
	must_set("host_timers", "262144");
}

/*
 * What the kernel's debugging allocates may fail here, unnoticed; an allocation of
 * ours would make the call fail, which it may not.
 */
TEST_F(allocations_fail, nothing_else_needs_memory)
{
	const struct operation ops[] = {
		{ .run = do_hold, .undo = do_release },
		{ .prepare = do_hold, .run = do_release, .undo = nothing },
		{ .prepare = open_and_hold, .run = do_close, .undo = nothing },
	};

	NEEDS_FAULTS(return);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		fail_each(_metadata, self, &ops[i]);
}

/*
 * Registering. It is done with a clock of its own, so that each time the probes have to
 * be attached as well: they go with the last registration, and close waits for that.
 */

static int register_self(FIXTURE_DATA(allocations_fail) *self)
{
	return -try_register(self->other.fd, 0, 0);
}

static int register_heirs(FIXTURE_DATA(allocations_fail) *self)
{
	return -try_register(self->other.fd, self->child, PROCESS | INHERIT);
}

static int register_process(FIXTURE_DATA(allocations_fail) *self)
{
	return -try_register(self->other.fd, self->child, PROCESS);
}

/* One of its threads is registered already, and the probes are attached. */
static int open_and_register_one(FIXTURE_DATA(allocations_fail) *self)
{
	int err = open_to_own(self);

	return err ? err : -try_register(self->other.fd, self->child, 0);
}

static int open_and_register(FIXTURE_DATA(allocations_fail) *self)
{
	int err = open_to_own(self);

	return err ? err : register_process(self);
}

static int unregister_process(FIXTURE_DATA(allocations_fail) *self)
{
	return -try_unregister(self->other.fd, self->child, PROCESS);
}

TEST_F(allocations_fail, register)
{
	const struct operation self_only = {
		.prepare = open_to_own, .run = register_self, .undo = do_close,
		.errs = { ENOMEM }
	};
	const struct operation others[] = {
		{ open_to_own, register_process, do_close, { ENOMEM }, 0 },
		{ open_to_own, register_heirs, do_close, { ENOMEM }, 0 },
		{ open_and_register_one, register_process, do_close, { ENOMEM }, 0 },
	};
	struct child c;

	NEEDS_FAULTS(return);
	NEEDS_SWITCHES(return);
	/* The registration, the list of them, and what attaching two probes needs */
	EXPECT_GE(fail_each(_metadata, self, &self_only), 4);
	c = start_sleeping_child(5);
	self->child = c.pid;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		EXPECT_GE(fail_each(_metadata, self, &others[i]), 5);
	end_child(&c);
}

/* See nothing_else_needs_memory. */
TEST_F(allocations_fail, unregister)
{
	const struct operation ops[] = {
		{ .prepare = open_and_register, .run = unregister_process, .undo = do_close },
		{ .prepare = open_and_register, .run = do_close, .undo = nothing },
	};
	struct child c;

	NEEDS_FAULTS(return);
	NEEDS_SWITCHES(return);
	c = start_sleeping_child(5);
	self->child = c.pid;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		fail_each(_metadata, self, &ops[i]);
	end_child(&c);
}

/* How many allocations are made for a process that shares its parent's memory? */
static int to_share_memory(void)
{
	pid_t pid;
	int left;

	arm(ENOUGH);
	pid = vfork();
	if (!pid)
		_exit(0);
	left = disarm();
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		die("vfork");
	return ENOUGH - left;
}

/*
 * The kernel complains at length if there is no memory for the stack of the child,
 * which comes first; that of its mappings comes late.
 */
TEST_F(allocations_fail, fork)
{
	struct operation op = {
		.prepare = map_and_touch, .run = do_fork, .undo = reap, .errs = { ENOMEM, EAGAIN }
	};

	NEEDS_FAULTS(return);
	leave_rseq();
	op.first = to_share_memory();
	EXPECT_GE(fail_each(_metadata, self, &op), 10);
}

/* What a child has seen, in the memory that it shares with its parent. */
static struct counts child_counts;

/* The nth allocation for a child fails. Returns how many there would have been left. */
static int __attribute__((__noinline__)) vfork_child(int fd, int nth, pid_t *child)
{
	pid_t pid;
	int left;

	arm(nth);
	pid = vfork();
	if (!pid) {
		child_counts = counts(fd);
		_exit(0);
	}
	left = disarm();
	*child = pid;
	return left;
}

/* One child after the other, from the @first allocation on. Returns how many missed it. */
static uint64_t inherit_without_memory(struct __test_metadata *_metadata,
				       FIXTURE_DATA(allocations_fail) *self, int first)
{
	uint64_t missed = 0;
	int left = 0;

	for (int n = first; !left; n++) {
		pid_t pid;

		left = vfork_child(self->other.fd, n, &pid);
		if (pid < 0) {
			ASSERT_EQ(0, left);
			ASSERT_EQ(1, query(self->other.fd).tasks);
			ASSERT_EQ(missed, query(self->other.fd).run_missed);
			continue;
		}
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		/* It was registered, or it was counted. */
		ASSERT_EQ(missed + 2 - child_counts.tasks, child_counts.run_missed) {
			TH_LOG("allocation %d: %llu tasks", n,
			       (unsigned long long)child_counts.tasks);
		}
		missed = child_counts.run_missed;
		ASSERT_TRUE(wait_tasks(self->other.fd, 1));
	}
	return missed;
}

/*
 * A child of a task that passes its registration on: without memory for that there is
 * one all the same, and it is counted.
 */
TEST_F(allocations_fail, inherit)
{
	uint64_t missed = 0;
	int first;

	NEEDS_FAULTS(return);
	NEEDS_SWITCHES(return);
	leave_rseq();
	ASSERT_EQ(0, open_to_own(self));
	first = to_share_memory();
	must_register(self->other.fd, 0, INHERIT);
	/*
	 * What can fail in a child that inherits nothing comes before it. How much that
	 * is differs: a stack that was kept takes nothing, a new one a page at a time.
	 */
	for (int tries = 0; tries < 20 && !missed; tries++) {
		int now = to_share_memory();

		ASSERT_TRUE(wait_tasks(self->other.fd, 1));
		first = now < first ? now : first;
		missed = inherit_without_memory(_metadata, self, first > 10 ? first - 10 : 1);
	}
	EXPECT_GE(missed, 1);
	ASSERT_EQ(0, do_close(self));
	EXPECT_EQ(0, query(self->c.fd).references);
	EXPECT_EQ(0, query(self->c.fd).all_tasks);
}

/* How many allocations are left when @params have been refused? */
static int until_refusal(struct __test_metadata *_metadata, const char *params)
{
	int err, left;

	arm(ENOUGH);
	err = load(params);
	left = disarm();
	ASSERT_EQ(-EINVAL, err);
	return ENOUGH - left;
}

/* A load takes seconds where there are checkers: with BRIEF=1 every fourth allocation fails. */
static int to_next(void)
{
	return getenv("BRIEF") ? 4 : 1;
}

FIXTURE(loading) {
};

FIXTURE_SETUP(loading)
{
	settle();
	unload_if_loaded();
	if (kernel_has_faults())
		configure_faults();
}

FIXTURE_TEARDOWN(loading)
{
	unload_if_loaded();
}

/*
 * The kernel's part of loading a module comes first, and has loud ways to run out
 * of memory. Parameters are looked at when it is nearly over, so that what a load
 * with a bad one allocates is not ours.
 */
TEST_F_TIMEOUT(loading, load, 800)
{
	int first, failed = 0;

	NEEDS_FAULTS(return);
	first = until_refusal(_metadata, "interval_ms=0");
	for (int n = first;; n += to_next()) {
		int err, left;

		arm(n);
		err = load("");
		left = disarm();
		if (err) {
			ASSERT_EQ(0, left);
			ASSERT_EQ(-ENOMEM, err) {
				TH_LOG("allocation %d", n);
			}
			ASSERT_STREQ("", what_is_left());
			failed++;
		} else {
			ASSERT_EQ(0, unload());
		}
		if (left)
			break;
	}
	/* Our page, and what a device needs */
	EXPECT_GE(failed * to_next(), 5);
	TH_LOG("%d loads failed", failed);
}

/* Not one of these may be in need of memory. */
TEST_F_TIMEOUT(loading, unload, 800)
{
	NEEDS_FAULTS(return);
	for (int n = 1, left = 0; !left; n += to_next()) {
		int err;

		ASSERT_EQ(0, load(""));
		arm(n);
		err = unload();
		left = disarm();
		ASSERT_EQ(0, err) {
			TH_LOG("allocation %d", n);
		}
		ASSERT_STREQ("", what_is_left());
	}
}

TEST_HARNESS_MAIN
