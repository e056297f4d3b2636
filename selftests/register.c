// SPDX-License-Identifier: GPL-2.0
/*
 * REGISTER and UNREGISTER: who may, and what is refused.
 *
 * Checked: each errno of the header, and that a call that fails leaves the numbers of
 * registrations and references as they were; the two limits; whose tasks may be
 * registered, through which descriptor, by which user, in which user namespace; that
 * run transitions count those who are registered; that nothing is attached to the
 * kernel's tracepoints while nothing is registered.
 *
 * Fails if a check is missing, looks at the wrong credentials, or comes after something
 * was counted; if a process is registered in part; if probes stay behind. How
 * registrations end is in lifetime.c.
 */
#include "common.h"
#include "children.h"
#include <linux/capability.h>
#include <linux/elf.h>
#include <sys/fsuid.h>
#include "test_harness.h"

FIXTURE(reg) {
	struct pclock c;
	struct pclock reader;		/* cannot write */
};

FIXTURE_SETUP(reg)
{
	start_parked("10", "4", "0");
	self->c = open_owner();
	self->reader = open_clock();
}

FIXTURE_TEARDOWN(reg)
{
	close_clock(&self->reader);
	close_clock(&self->c);
	set_param("max_tasks", "16384");
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
	EXPECT_EQ(0, try_register(self->reader.fd, thread, PROCESS));
	EXPECT_EQ(2, query(self->reader.fd).tasks);
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
	must_register(self->reader.fd, 0, PROCESS);
	EXPECT_REFUSED(ENOENT, try_unregister(self->c.fd, 0, PROCESS));
	EXPECT_EQ(0, try_unregister(self->reader.fd, 0, PROCESS));
	EXPECT_REFUSED(ENOENT, try_unregister(self->reader.fd, 0, PROCESS));

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
	must_register(self->reader.fd, 0, 0);
	EXPECT_EQ(0, try_unregister(self->reader.fd, 0, 0));
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

TEST_F(reg, too_many_clocks)
{
	struct pclock clocks[PARKCLOCK_TASK_CLOCKS_MAX];
	struct child other;

	NEEDS_SWITCHES(return);
	other = start_sleeping_child(3);
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++) {
		clocks[i] = open_owner();
		must_register(clocks[i].fd, other.pid, 0);
	}
	EXPECT_REFUSED(ENOSPC, try_register(self->c.fd, other.pid, 0));
	/* One thread has no room: none is registered. */
	EXPECT_REFUSED(ENOSPC, try_register(self->c.fd, other.pid, PROCESS));
	EXPECT_EQ(PARKCLOCK_TASK_CLOCKS_MAX, counts(self->c.fd).all_tasks);
	EXPECT_EQ(0, try_unregister(clocks[3].fd, other.pid, 0));
	EXPECT_EQ(0, try_register(self->c.fd, other.pid, PROCESS));
	EXPECT_REFUSED(ENOSPC, try_register(clocks[3].fd, other.pid, 0));
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
		close_clock(&clocks[i]);
	EXPECT_EQ(3, counts(self->c.fd).all_tasks);
	end_child(&other);
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

	EXPECT_EQ(0, try_register(self->reader.fd, thread, 0));
	EXPECT_EQ(0, try_register(self->reader.fd, getpid(), PROCESS));
	EXPECT_EQ(2, query(self->reader.fd).tasks);
	EXPECT_EQ(0, try_unregister(self->reader.fd, 0, 0));
	EXPECT_EQ(0, try_unregister(self->reader.fd, thread, PROCESS));
	EXPECT_EQ(0, query(self->reader.fd).tasks);
	end_child(&other);
}

/* The credentials of a process that is to be registered, or to register one. */
struct who {
	uid_t uid[4];			/* real, effective, saved, filesystem */
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
	if (prctl(PR_SET_KEEPCAPS, 1) || setresuid(who->uid[0], who->uid[1], who->uid[2]))
		die("setresuid");
	/* Back, for setfsuid(): they are kept as permitted ones only. */
	set_capabilities(CAP(CAP_SETUID) | who->capabilities);
	setfsuid(who->uid[3]);
	set_capabilities(who->capabilities);
	if (who->user_namespace && unshare(CLONE_NEWUSER))
		die("unshare");
	/* A change of credentials forgets it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
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
	{ "root without capabilities, root", { ROOT }, { ROOT }, true },
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
	{ "root of its own user namespace, the host's user", { OTHER, .user_namespace = true },
	  { USER }, false },
	{ "root of its own user namespace, root's", { OTHER, .user_namespace = true },
	  { ROOT }, false },
	{ "root of its own user namespace, the same user", { USER, .user_namespace = true },
	  { USER }, true },
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
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (!attached())
			return true;
		sleep_ms(1);
	}
	return false;
}

TEST_F(reg, nothing_attached_while_nothing_is_registered)
{
	struct child other;
	struct pclock c;

	NEEDS_SWITCHES(return);
	tracepoints[0] = address_of("__tracepoint_sched_switch");
	tracepoints[1] = address_of("__tracepoint_sched_process_fork");
	if (!tracepoints[0] || !tracepoints[1] || !exists("/proc/kcore"))
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
