// SPDX-License-Identifier: GPL-2.0
/*
 * REGISTER and UNREGISTER: who may use them, and what they refuse.
 *
 * Checked: each errno of the header, and that a call that fails leaves the numbers of
 * registrations and references as they were; the two limits; whose tasks may be registered,
 * through which descriptor, by which user and group, in which user namespace, dumpable or not;
 * that run transitions count the registered tasks; that nothing is attached to the kernel's
 * tracepoints once nothing was registered for probes_linger_s, and that a loop of REGISTER and
 * UNREGISTER does not attach and detach each time.
 *
 * Fails if a check is missing, uses the wrong credentials, or comes after something was
 * counted; if a process is registered in part; or if probes stay attached.
 * registration_ends.c tests how registrations end.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/elf.h>
#include <linux/parkclock.h>

#include "lib/children.h"
#include "lib/clock.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/messages.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(reg) {
	struct pclock c;
	struct pclock another;
	struct pclock reader;		/* cannot write */
};

FIXTURE_SETUP(reg)
{
	start_parked("10", "4", "0");
	self->c = open_owner();
	self->another = open_clock();
	self->reader = open_reader();
}

FIXTURE_TEARDOWN(reg)
{
	close_clock(&self->reader);
	close_clock(&self->another);
	close_clock(&self->c);
	set_param("max_tasks", "16384");
	set_param("probes_linger_s", "60");
	default_params();
}

/* The same call must fail, and change nothing. */
#define EXPECT_REFUSED(error, call) do { \
	struct counts before_ = counts(self->c.fd), after_; \
	EXPECT_EQ(-(error), (call)); \
	after_ = counts(self->c.fd); \
	EXPECT_TRUE(same_counts(&before_, &after_)) { \
		TH_LOG("tasks %llu, on the host %llu, running %llu, references %llu", \
		       (unsigned long long)after_.tasks, (unsigned long long)after_.all_tasks, \
		       (unsigned long long)after_.running, \
		       (unsigned long long)after_.references); \
	} \
} while (0)

static int request(int fd, unsigned long cmd, const void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

static const unsigned long both[] = { REGISTER, UNREGISTER };

TEST_F(reg, bad_pointers)
{
	char *page = mmap(NULL, 2 * PARKCLOCK_PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, page);
	ASSERT_EQ(0, munmap(page + PARKCLOCK_PAGE_SIZE, PARKCLOCK_PAGE_SIZE));
	for (int i = 0; i < 2; i++) {
		EXPECT_REFUSED(EFAULT, request(self->c.fd, both[i], NULL));
		EXPECT_REFUSED(EFAULT, request(self->c.fd, both[i], (void *)-4096L));
		/* The last byte is missing. */
		EXPECT_REFUSED(EFAULT, request(self->c.fd, both[i], page + PARKCLOCK_PAGE_SIZE + 1 -
					       sizeof(struct parkclock_register)));
	}
}

TEST_F(reg, bad_arguments)
{
	static const int32_t negative[] = { -1, -2, INT_MIN };
	struct parkclock_register r = { 0 };

	for (int bit = 2; bit < 32; bit++) {
		EXPECT_REFUSED(EINVAL, try_register(self->c.fd, 0, 1U << bit));
		EXPECT_REFUSED(EINVAL, try_register(self->c.fd, 0, 1U << bit | PROCESS | INHERIT));
		EXPECT_REFUSED(EINVAL, try_unregister(self->c.fd, 0, 1U << bit));
	}
	EXPECT_REFUSED(EINVAL, try_unregister(self->c.fd, 0, INHERIT));
	EXPECT_REFUSED(EINVAL, try_unregister(self->c.fd, 0, PROCESS | INHERIT));
	for (int i = 0; i < 3; i++) {
		EXPECT_REFUSED(EINVAL, try_register(self->c.fd, negative[i], 0));
		EXPECT_REFUSED(EINVAL, try_register(self->c.fd, negative[i], PROCESS));
		EXPECT_REFUSED(EINVAL, try_unregister(self->c.fd, negative[i], 0));
	}
	for (int word = 0; word < 3; word++) {
		for (int bit = 0; bit < 64; bit += 21) {
			r.reserved[word] = 1ULL << bit;
			for (int i = 0; i < 2; i++)
				EXPECT_REFUSED(EINVAL, request(self->c.fd, both[i], &r));
		}
		r.reserved[word] = 0;
	}
}

TEST_F(reg, no_read_access)
{
	int fd = open(PARKCLOCK_DEVICE, O_WRONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	EXPECT_REFUSED(EBADF, try_register(fd, 0, 0));
	EXPECT_REFUSED(EBADF, try_unregister(fd, 0, 0));
	close(fd);
}

/* Works, or says that it does not work on this kernel. Nothing here is skipped. */
TEST_F(reg, works_where_there_are_tracepoints)
{
	static const uint32_t flags[] = { 0, PROCESS, INHERIT, PROCESS | INHERIT };

	for (int i = 0; i < 4; i++) {
		EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, 0, 0));
		if (has_trace()) {
			EXPECT_EQ(0, try_register(self->c.fd, 0, flags[i]));
			EXPECT_EQ(1, counts(self->c.fd).tasks);
			EXPECT_EQ(1, counts(self->c.fd).all_tasks);
			EXPECT_EQ(1, counts(self->c.fd).running);
			EXPECT_EQ(1, counts(self->c.fd).references);
			EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
			EXPECT_EQ(0, counts(self->c.fd).references);
		} else {
			EXPECT_REFUSED(EOPNOTSUPP, try_register(self->c.fd, 0, flags[i]));
		}
	}
}

TEST_F(reg, no_such_task)
{
	struct child dead;

	NEEDS_SWITCHES(return);
	dead = start_sleeping_child(1);
	kill(dead.pid, SIGKILL);
	ASSERT_TRUE(wait_state_of(dead.pid, 'Z'));
	/* Dead, and then gone */
	for (int reaped = 0; reaped < 2; reaped++) {
		EXPECT_REFUSED(ESRCH, try_register(self->c.fd, dead.pid, 0));
		EXPECT_REFUSED(ESRCH, try_register(self->c.fd, dead.pid, PROCESS));
		EXPECT_REFUSED(ESRCH, try_register(self->c.fd, dead.pid, PROCESS | INHERIT));
		EXPECT_REFUSED(reaped ? ESRCH : ENOENT, try_unregister(self->c.fd, dead.pid, 0));
		EXPECT_REFUSED(reaped ? ESRCH : ENOENT,
			       try_unregister(self->c.fd, dead.pid, PROCESS));
		if (!reaped)
			reap_child(&dead);
	}
	EXPECT_REFUSED(ESRCH, try_register(self->c.fd, INT_MAX, 0));
	EXPECT_REFUSED(ESRCH, try_unregister(self->c.fd, INT_MAX, 0));
}

TEST_F(reg, kernel_threads)
{
	NEEDS_SWITCHES(return);
	/* kthreadd */
	EXPECT_REFUSED(EPERM, try_register(self->c.fd, 2, 0));
	EXPECT_REFUSED(EPERM, try_register(self->c.fd, 2, PROCESS));
	EXPECT_REFUSED(EPERM, try_register(self->c.fd, 2, INHERIT));
	EXPECT_REFUSED(EPERM, try_register(self->reader.fd, 2, 0));
}

TEST_F(reg, twice)
{
	struct child other;
	pid_t thread;

	NEEDS_SWITCHES(return);
	other = start_sleeping_child(1);
	thread = start_sleeping_thread();
	must_register(self->c.fd, other.pid, 0);
	for (uint32_t flags = 0; flags <= (PROCESS | INHERIT); flags++)
		EXPECT_REFUSED(EEXIST, try_register(self->c.fd, other.pid, flags));

	/* Of two threads one is registered: the other follows, once. */
	must_register(self->c.fd, 0, 0);
	EXPECT_EQ(2, counts(self->c.fd).tasks);
	EXPECT_REFUSED(EEXIST, try_register(self->c.fd, 0, INHERIT));
	EXPECT_REFUSED(EEXIST, try_register(self->c.fd, gettid(), 0));
	EXPECT_EQ(0, try_register(self->c.fd, 0, PROCESS));
	EXPECT_EQ(3, counts(self->c.fd).tasks);
	EXPECT_REFUSED(EEXIST, try_register(self->c.fd, 0, PROCESS));
	EXPECT_REFUSED(EEXIST, try_register(self->c.fd, thread, PROCESS));
	EXPECT_REFUSED(EEXIST, try_register(self->c.fd, thread, PROCESS | INHERIT));
	EXPECT_REFUSED(EEXIST, try_register(self->c.fd, thread, 0));

	/* Another clock does not care. */
	EXPECT_EQ(0, try_register(self->another.fd, thread, PROCESS));
	EXPECT_EQ(2, query(self->another.fd).tasks);
	EXPECT_EQ(5, counts(self->c.fd).all_tasks);
	end_child(&other);
	EXPECT_TRUE(wait_tasks(self->c.fd, 2));
}

TEST_F(reg, not_registered)
{
	struct child other;
	pid_t thread;

	NEEDS_SWITCHES(return);
	other = start_sleeping_child(3);
	thread = start_sleeping_thread();
	EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, 0, 0));
	EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, gettid(), PROCESS));
	EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, other.pid, 0));
	EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, other.pid, PROCESS));
	must_register(self->another.fd, 0, PROCESS);
	EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, 0, PROCESS));
	EXPECT_EQ(0, try_unregister(self->another.fd, 0, PROCESS));
	EXPECT_REFUSED(ENOENT, try_unregister(self->another.fd, 0, PROCESS));

	/* One of two threads, by whatever id of the process. */
	must_register(self->c.fd, thread, 0);
	EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, gettid(), 0));
	EXPECT_EQ(0, try_unregister(self->c.fd, gettid(), PROCESS));
	EXPECT_EQ(0, counts(self->c.fd).all_tasks);

	/* All of a process, and one by one. */
	must_register(self->c.fd, other.pid, PROCESS);
	EXPECT_EQ(3, counts(self->c.fd).tasks);
	EXPECT_EQ(0, try_unregister(self->c.fd, other.pid, 0));
	EXPECT_EQ(2, counts(self->c.fd).tasks);
	EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, other.pid, 0));
	EXPECT_EQ(0, try_unregister(self->c.fd, other.pid, PROCESS));
	EXPECT_EQ(0, counts(self->c.fd).tasks);
	end_child(&other);
}

TEST_F(reg, max_tasks)
{
	struct child big, small;

	NEEDS_SWITCHES(return);
	big = start_sleeping_child(5);
	small = start_sleeping_child(1);
	must_set("max_tasks", "4");
	EXPECT_REFUSED(ENOSPC, try_register(self->c.fd, big.pid, PROCESS));
	EXPECT_REFUSED(ENOSPC, try_register(self->c.fd, big.pid, PROCESS | INHERIT));
	must_register(self->c.fd, big.pid, 0);
	/* The four that are left are one too many. */
	EXPECT_REFUSED(ENOSPC, try_register(self->c.fd, big.pid, PROCESS));
	must_set("max_tasks", "5");
	EXPECT_EQ(0, try_register(self->c.fd, big.pid, PROCESS));
	EXPECT_REFUSED(ENOSPC, try_register(self->c.fd, small.pid, 0));
	EXPECT_REFUSED(ENOSPC, try_register(self->c.fd, 0, 0));
	/* Each clock has its own limit. What is there stays when it is lowered. */
	must_register(self->another.fd, 0, 0);
	EXPECT_EQ(0, try_unregister(self->another.fd, 0, 0));
	must_set("max_tasks", "1");
	EXPECT_EQ(5, counts(self->c.fd).tasks);
	EXPECT_REFUSED(ENOSPC, try_register(self->c.fd, small.pid, 0));
	EXPECT_REFUSED(EEXIST, try_register(self->c.fd, big.pid, 0));
	/* There is room when they are gone. */
	end_child(&big);
	EXPECT_TRUE(wait_tasks(self->c.fd, 0));
	EXPECT_EQ(0, try_register(self->c.fd, small.pid, 0));
	end_child(&small);
}

/* A child of the caller registers it. Returns its error, negative, or 0. */
static int registered_by_child(int fd)
{
	const pid_t parent = gettid(), pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid)
		_exit(-try_register(fd, parent, 0));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		die("waitpid");
	return -WEXITSTATUS(status);
}

/* A task has places for clocks of others, and as many for those of its own process. */
TEST_F(reg, too_many_clocks)
{
	struct pclock clocks[PARKCLOCK_TASK_CLOCKS_MAX], own[PARKCLOCK_TASK_CLOCKS_MAX];
	struct child other;

	NEEDS_SWITCHES(return);
	other = start_sleeping_child(3);
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++) {
		clocks[i] = open_owner();
		must_register(clocks[i].fd, other.pid, 0);
	}
	EXPECT_REFUSED(EMLINK, try_register(self->c.fd, other.pid, 0));
	/* One thread has no room: none is registered. */
	EXPECT_REFUSED(EMLINK, try_register(self->c.fd, other.pid, PROCESS));
	EXPECT_EQ(PARKCLOCK_TASK_CLOCKS_MAX, counts(self->c.fd).all_tasks);
	EXPECT_EQ(0, try_unregister(clocks[3].fd, other.pid, 0));
	EXPECT_EQ(0, try_register(self->c.fd, other.pid, PROCESS));
	EXPECT_REFUSED(EMLINK, try_register(clocks[3].fd, other.pid, 0));
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
		close_clock(&clocks[i]);
	EXPECT_EQ(3, counts(self->c.fd).all_tasks);
	end_child(&other);
	EXPECT_TRUE(wait_tasks(self->c.fd, 0));
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++) {
		own[i] = open_owner();
		must_register(own[i].fd, 0, 0);
	}
	EXPECT_REFUSED(EMLINK, try_register(self->c.fd, 0, 0));
	/* All its own places are taken; others can register it, up to as many. */
	EXPECT_EQ(0, registered_by_child(self->c.fd));
	EXPECT_EQ(PARKCLOCK_TASK_CLOCKS_MAX + 1, counts(self->c.fd).all_tasks);
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
		close_clock(&own[i]);
	EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
}

static void creates_threads(int sock)
{
	for (;;) {
		hear(sock);
		start_sleeping_thread();
		say(sock, 0);
	}
}

static struct pclock open_as_stranger(void)
{
	struct pclock c;

	if (seteuid(1000))
		die("seteuid");
	c = open_owner();
	if (seteuid(0))
		die("seteuid");
	return c;
}

/*
 * A sandbox has its processes register each other, until no place is left for others. Whoever
 * opened his clock with CAP_SYS_RESOURCE has places of his own, which children inherit.
 */
TEST_F(reg, places_of_the_privileged)
{
	struct pclock strangers[PARKCLOCK_TASK_CLOCKS_MAX + 1], more[PARKCLOCK_TASK_CLOCKS_MAX];
	struct child task;

	NEEDS_SWITCHES(return);
	if (chmod(PARKCLOCK_DEVICE, 0666))
		die(PARKCLOCK_DEVICE);
	task = start_child(creates_threads);
	ASSERT_TRUE(wait_asleep(task.pid));
	for (int i = 0; i <= PARKCLOCK_TASK_CLOCKS_MAX; i++)
		strangers[i] = open_as_stranger();
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
		EXPECT_EQ(0, try_register(strangers[i].fd, task.pid, INHERIT));
	EXPECT_REFUSED(EMLINK, try_register(strangers[PARKCLOCK_TASK_CLOCKS_MAX].fd, task.pid, 0));
	EXPECT_EQ(0, try_register(self->c.fd, task.pid, INHERIT));
	EXPECT_EQ(0, ask(&task, 0));
	ASSERT_TRUE(wait_asleep(task.pid));
	EXPECT_EQ(2, query(self->c.fd).tasks);
	EXPECT_EQ(0, query(self->c.fd).run_missed);
	EXPECT_EQ(2 * (PARKCLOCK_TASK_CLOCKS_MAX + 1), counts(self->c.fd).all_tasks);
	/* There are as many, and no more. */
	for (int i = 1; i < PARKCLOCK_TASK_CLOCKS_MAX; i++) {
		more[i] = open_owner();
		EXPECT_EQ(0, try_register(more[i].fd, task.pid, PROCESS));
	}
	EXPECT_REFUSED(EMLINK, try_register(self->another.fd, task.pid, 0));
	EXPECT_REFUSED(EMLINK, try_register(self->another.fd, task.pid, PROCESS));
	end_child(&task);
	for (int i = 1; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
		close_clock(&more[i]);
	for (int i = 0; i <= PARKCLOCK_TASK_CLOCKS_MAX; i++)
		close_clock(&strangers[i]);
	if (chmod(PARKCLOCK_DEVICE, 0444))
		die(PARKCLOCK_DEVICE);
}

/* Rights */

TEST_F(reg, read_only_descriptor)
{
	struct child other;
	pid_t thread;

	NEEDS_SWITCHES(return);
	other = start_sleeping_child(2);
	thread = start_sleeping_thread();
	for (uint32_t flags = 0; flags <= (PROCESS | INHERIT); flags++) {
		EXPECT_REFUSED(EPERM, try_register(self->reader.fd, other.pid, flags));
		EXPECT_REFUSED(EPERM, try_register(self->reader.fd, getppid(), flags));
	}
	EXPECT_REFUSED(EPERM, try_unregister(self->reader.fd, other.pid, 0));
	EXPECT_REFUSED(EPERM, try_unregister(self->reader.fd, other.pid, PROCESS));

	/* Not even its own: while anything is registered each switch of the host costs more. */
	EXPECT_REFUSED(EPERM, try_register(self->reader.fd, 0, 0));
	EXPECT_REFUSED(EPERM, try_register(self->reader.fd, thread, 0));
	EXPECT_REFUSED(EPERM, try_register(self->reader.fd, getpid(), PROCESS | INHERIT));
	EXPECT_REFUSED(EPERM, try_unregister(self->reader.fd, 0, 0));
	EXPECT_REFUSED(EPERM, try_unregister(self->reader.fd, thread, PROCESS));
	/* The right comes before the argument. */
	EXPECT_REFUSED(EPERM, try_register(self->reader.fd, -1, ~0U));
	EXPECT_REFUSED(EPERM, request(self->reader.fd, REGISTER, NULL));
	end_child(&other);
}

/* The credentials of a process that is to be registered, or to register one. */
struct who {
	uid_t uid[4];			/* real, effective, saved, filesystem */
	gid_t gid[4];			/* the same */
	bool undumpable;
	bool user_namespace;		/* in one of its own, whose root it is */
	uint64_t capabilities;
};

#define ROOT	.uid = { 0, 0, 0, 0 }
#define USER	.uid = { 1000, 1000, 1000, 1000 }
#define OTHER	.uid = { 1001, 1001, 1001, 1001 }
#define CAP(name)	(1ULL << (name))

static void set_capabilities(uint64_t mask)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].effective = mask >> 32 * i;
		data[i].permitted = mask >> 32 * i;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data))
		die("capset");
}

static struct who becomes;
static int device;

static void become(const struct who *who)
{
	if (setresgid(who->gid[0], who->gid[1], who->gid[2]))
		die("setresgid");
	setfsgid(who->gid[3]);
	if (prctl(PR_SET_KEEPCAPS, 1) || setresuid(who->uid[0], who->uid[1], who->uid[2]))
		die("setresuid");
	/* Back, for setfsuid(): they are kept as permitted ones only. */
	set_capabilities(CAP(CAP_SETUID) | who->capabilities);
	setfsuid(who->uid[3]);
	set_capabilities(who->capabilities);
	if (who->user_namespace && unshare(CLONE_NEWUSER))
		die("unshare");
	/* A change of credentials forgets the one and takes the other, as no exec would. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, !who->undumpable);
}

static void sleep_as(int sock)
{
	become(&becomes);
	say(sock, 0);
	hear(sock);
}

/* Is told whom to register, with the descriptor that it was born with. */
static void register_as(int sock)
{
	become(&becomes);
	say(sock, 0);
	for (;;) {
		pid_t tid = hear(sock);
		uint32_t flags = hear(sock);

		say(sock, try_register(device, tid, flags));
	}
}

static struct child start_as(void (*run)(int sock), const struct who *who)
{
	struct child c;

	becomes = *who;
	c = start_child(run);
	hear(c.sock);
	return c;
}

static int ask_to_register(const struct child *c, pid_t tid, uint32_t flags)
{
	say(c->sock, tid);
	return ask(c, flags);
}

static const struct permission {
	const char *what;
	struct who caller, target;
	bool yes;
} permissions[] = {
	{ "the same user", { USER }, { USER }, true },
	{ "the same user, more capable", { USER }, { USER, .capabilities = CAP(CAP_NET_ADMIN) },
	  false },
	{ "the same user, less capable", { USER, .capabilities = CAP(CAP_NET_ADMIN) }, { USER },
	  true },
	{ "root without capabilities, the same", { ROOT }, { ROOT }, true },
	{ "another user", { OTHER }, { USER }, false },
	{ "root's", { OTHER }, { ROOT }, false },
	{ "root without capabilities", { ROOT }, { USER }, false },
	{ "every capability but one", {
		OTHER, .capabilities = (CAP(CAP_BPF) - 1) & ~CAP(CAP_SYS_PTRACE)
	}, { USER }, false },
	{ "CAP_SYS_PTRACE", { OTHER, .capabilities = CAP(CAP_SYS_PTRACE) },
	  { USER }, true },
	{ "CAP_SYS_PTRACE, root's", { OTHER, .capabilities = CAP(CAP_SYS_PTRACE) },
	  { ROOT }, true },
	{ "task with another real user", { USER },
	  { .uid = { 1001, 1000, 1000, 1000 } }, false },
	{ "task with another effective user", { USER },
	  { .uid = { 1000, 1001, 1000, 1001 } }, false },
	{ "task with another saved user", { USER },
	  { .uid = { 1000, 1000, 1001, 1000 } }, false },
	{ "task with another filesystem user", { USER },
	  { .uid = { 1000, 1000, 1000, 1001 } }, true },
	{ "caller with another filesystem user", { .uid = { 1000, 1000, 1000, 1001 } },
	  { USER }, false },
	{ "caller with the filesystem user", { .uid = { 1001, 1001, 1001, 1000 } },
	  { USER }, true },
	{ "task with another real group", { USER }, { USER, .gid = { 1001, 0, 0, 0 } }, false },
	{ "task with another effective group", { USER },
	  { USER, .gid = { 0, 1001, 0, 1001 } }, false },
	{ "task with another saved group", { USER }, { USER, .gid = { 0, 0, 1001, 0 } }, false },
	{ "task with another filesystem group", { USER },
	  { USER, .gid = { 0, 0, 0, 1001 } }, true },
	{ "caller with another filesystem group", { USER, .gid = { 0, 0, 0, 1001 } },
	  { USER }, false },
	{ "the same user, undumpable", { USER }, { USER, .undumpable = true }, false },
	{ "undumpable caller", { USER, .undumpable = true }, { USER }, true },
	{ "undumpable, CAP_SYS_PTRACE", { OTHER, .capabilities = CAP(CAP_SYS_PTRACE) },
	  { USER, .undumpable = true }, true },
	{ "root of its own user namespace, undumpable", { USER, .user_namespace = true },
	  { USER, .undumpable = true }, false },
	{ "root of its own user namespace, the host's user", { OTHER, .user_namespace = true },
	  { USER }, false },
	{ "root of its own user namespace, root's", { OTHER, .user_namespace = true },
	  { ROOT }, false },
	{ "root of its own user namespace, the same user", { USER, .user_namespace = true },
	  { USER }, false },
	{ "the same user, who is root of its own user namespace", { USER },
	  { USER, .user_namespace = true }, true },
	{ "two user namespaces", { OTHER, .user_namespace = true },
	  { USER, .user_namespace = true }, false },
	{ "another user's namespace", { OTHER },
	  { USER, .user_namespace = true }, false },
	{ "another user's namespace, root without capabilities", { ROOT },
	  { USER, .user_namespace = true }, false },
	{ "another user's namespace, CAP_SYS_PTRACE outside",
	  { OTHER, .capabilities = CAP(CAP_SYS_PTRACE) },
	  { USER, .user_namespace = true }, true },
};

TEST_F(reg, other_users)
{
	NEEDS_SWITCHES(return);
	device = self->c.fd;
	for (size_t i = 0; i < ARRAY_SIZE(permissions); i++) {
		const struct permission *p = &permissions[i];
		struct child target = start_as(sleep_as, &p->target);
		struct child caller = start_as(register_as, &p->caller);

		for (uint32_t flags = 0; flags <= (PROCESS | INHERIT); flags++) {
			struct counts before = counts(device), after;

			EXPECT_EQ(p->yes ? 0 : -EPERM,
				  ask_to_register(&caller, target.pid, flags)) {
				TH_LOG("%s", p->what);
			}
			after = counts(device);
			EXPECT_EQ(p->yes, after.tasks);
			EXPECT_EQ(p->yes ? 0 : -ENOENT, try_unregister(device, target.pid, 0));
			EXPECT_TRUE(p->yes || same_counts(&before, &after));
		}
		/* Itself anybody may. */
		EXPECT_EQ(0, ask_to_register(&caller, 0, 0));
		end_child(&caller);
		end_child(&target);
		EXPECT_TRUE(wait_tasks(device, 0));
	}
}

static void unregister_as(int sock)
{
	becomes = (struct who) { OTHER };
	become(&becomes);
	say(sock, try_unregister(device, hear(sock), 0));
}

/* To have the descriptor is enough. */
TEST_F(reg, unregister_of_another_user)
{
	struct child target, caller;

	NEEDS_SWITCHES(return);
	device = self->c.fd;
	target = start_as(sleep_as, &(struct who) { USER });
	must_register(device, target.pid, 0);
	caller = start_child(unregister_as);
	EXPECT_EQ(0, ask(&caller, target.pid));
	EXPECT_EQ(0, counts(device).tasks);
	end_child(&caller);
	end_child(&target);
}

/* Run transitions */

/* Long enough for nearly all to begin before they are over. */
#define NAPS	200
#define NAP_US	2000

static void naps(int sock)
{
	for (;;) {
		int64_t blocked;

		hear(sock);
		blocked = times_blocked();
		for (int i = 0; i < NAPS; i++)
			sleep_us(NAP_US);
		say(sock, times_blocked() - blocked);
	}
}

TEST_F(reg, transitions)
{
	struct parkclock_query start, end;
	struct child other, asleep;
	int64_t blocked;

	NEEDS_SWITCHES(return);
	other = start_child(naps);
	asleep = start_sleeping_child(1);
	must_register(self->c.fd, asleep.pid, 0);
	ASSERT_TRUE(wait_running(self->c.fd, 0));

	/* It is not registered; the probes are attached because another one is. */
	start = query(self->c.fd);
	ask(&other, 0);
	end = query(self->c.fd);
	EXPECT_EQ(start.run_transitions, end.run_transitions);
	EXPECT_EQ(start.wakes, end.wakes);
	EXPECT_EQ(start.cpu_ns, end.cpu_ns);

	must_register(self->c.fd, other.pid, 0);
	start = query(self->c.fd);
	blocked = ask(&other, 0);
	end = query(self->c.fd);
	EXPECT_LE(NAPS / 2, blocked);
	EXPECT_GE(end.run_transitions - start.run_transitions, (uint64_t)blocked);
	EXPECT_LT(start.cpu_ns, end.cpu_ns);
	EXPECT_TRUE(wait_running(self->c.fd, 0));

	/* And no more. */
	EXPECT_EQ(0, try_unregister(self->c.fd, other.pid, 0));
	start = query(self->c.fd);
	ask(&other, 0);
	end = query(self->c.fd);
	EXPECT_EQ(start.run_transitions, end.run_transitions);
	EXPECT_EQ(start.cpu_ns, end.cpu_ns);
	end_child(&other);
	end_child(&asleep);
}

/* Probes: the kernel's memory tells how many a tracepoint has. */

/* Address of a symbol, or 0 if the kernel does not say */
static uint64_t address_of(const char *symbol)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[256], name[128];
	unsigned long long address, found = 0;

	if (!f)
		die("/proc/kallsyms");
	while (!found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %*c %127s", &address, name) == 2 && !strcmp(name, symbol))
			found = address;
	fclose(f);
	return found;
}

/* Of that many bytes; it is an ELF file. */
static bool kernel_memory(uint64_t address, void *to, size_t size)
{
	int fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	bool ok = false;
	struct elf64_phdr p;
	struct elf64_hdr e;

	if (fd < 0 || pread(fd, &e, sizeof(e), 0) != sizeof(e))
		return false;
	for (int i = 0; i < e.e_phnum && !ok; i++) {
		if (pread(fd, &p, sizeof(p), e.e_phoff + i * sizeof(p)) != sizeof(p))
			break;
		if (p.p_type == PT_LOAD && address - p.p_vaddr < p.p_memsz)
			ok = pread(fd, to, size, p.p_offset + address - p.p_vaddr) ==
			     (ssize_t)size;
	}
	close(fd);
	return ok;
}

/* Begins like the kernel's struct tracepoint: a key that is 0 if there is no probe. */
struct tracepoint {
	uint64_t name;
	int32_t enabled;
};

static uint64_t tracepoints[2];

static bool find_tracepoints(void)
{
	tracepoints[0] = address_of("__tracepoint_sched_switch");
	tracepoints[1] = address_of("__tracepoint_sched_process_fork");
	return tracepoints[0] && tracepoints[1] && exists("/proc/kcore");
}

/* How many of the two have a probe? */
static int attached(void)
{
	struct tracepoint tp;
	int n = 0;

	for (int i = 0; i < 2; i++) {
		if (!kernel_memory(tracepoints[i], &tp, sizeof(tp)))
			die("/proc/kcore");
		n += tp.enabled != 0;
	}
	return n;
}

/* Those that are needed no more go a little later. */
static bool wait_detached(void)
{
	return wait_until(!attached());
}

TEST_F(reg, probes_linger)
{
	NEEDS_SWITCHES(return);
	if (!find_tracepoints())
		SKIP(return, "needs a kernel that shows its memory");
	must_set("probes_linger_s", "3600");
	for (int i = 0; i < 200; i++) {
		must_register(self->c.fd, 0, 0);
		ASSERT_EQ(2, attached());
		ASSERT_EQ(0, try_unregister(self->c.fd, 0, 0));
		sleep_ms(i % 20);
		ASSERT_EQ(2, attached());
	}
	/* Whoever registers and unregisters anew begins the time anew, with its new length. */
	must_set("probes_linger_s", "1");
	must_register(self->c.fd, 0, 0);
	ASSERT_EQ(0, try_unregister(self->c.fd, 0, 0));
	EXPECT_TRUE(wait_detached());
}

TEST_F(reg, nothing_attached_while_nothing_is_registered)
{
	struct child other;
	struct pclock c;

	NEEDS_SWITCHES(return);
	must_set("probes_linger_s", "1");
	must_register(self->c.fd, 0, 0);
	ASSERT_EQ(0, try_unregister(self->c.fd, 0, 0));
	if (!find_tracepoints())
		SKIP(return, "needs a kernel that shows its memory");
	/* NEEDS_SWITCHES has just unregistered something, by a close. */
	EXPECT_TRUE(wait_detached());
	other = start_sleeping_child(2);

	must_register(self->c.fd, other.pid, PROCESS);
	EXPECT_EQ(2, attached());
	EXPECT_EQ(0, try_unregister(self->c.fd, other.pid, 0));
	EXPECT_EQ(2, attached());
	EXPECT_EQ(0, try_unregister(self->c.fd, other.pid, PROCESS));
	EXPECT_TRUE(wait_detached());

	/* What fails leaves nothing. */
	EXPECT_EQ(-EPERM, try_register(self->c.fd, 2, 0));
	EXPECT_EQ(-EPERM, try_register(self->reader.fd, other.pid, PROCESS));
	EXPECT_TRUE(wait_detached());

	c = open_owner();
	must_register(c.fd, other.pid, PROCESS);
	must_register(c.fd, 0, 0);
	EXPECT_EQ(2, attached());
	close_clock(&c);
	EXPECT_TRUE(wait_detached());

	must_register(self->c.fd, other.pid, PROCESS);
	EXPECT_EQ(2, attached());
	end_child(&other);
	EXPECT_TRUE(wait_detached());
}

TEST_HARNESS_MAIN
