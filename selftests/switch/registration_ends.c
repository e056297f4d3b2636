// SPDX-License-Identifier: GPL-2.0
/*
 * How registrations begin by inheritance, and how they end.
 *
 * Checked: a registration ends with its task, in whatever state that is killed, and so do its
 * references; the time that the task ran still counts. A registration survives execve(),
 * unless that gains privileges.
 * Children and threads get one if and only if INHERIT says so, also those that are created
 * while their process is being registered. Ids are those that the caller sees, and a new task
 * with an old id has no registration. A registration ends with the last descriptor and the last
 * mapping, and not before, while its task lives on.
 *
 * Fails if a way to die, or to be born, goes unnoticed; if a new task at a dead task's address,
 * or with its id, counts as registered; or if a closed clock keeps a task or a reference.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>
#include <linux/sched.h>

#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/messages.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(registration_ends) {
	struct pclock c;
};

FIXTURE_SETUP(registration_ends)
{
	start_parked("10", "4", "0");
	self->c = open_owner();
}

FIXTURE_TEARDOWN(registration_ends)
{
	close_clock(&self->c);
	default_params();
}

/* Nothing is registered, nobody holds anything, and the timer rests. */
static bool all_gone(int fd)
{
	return wait_tasks(fd, 0) && wait_all_tasks(fd, 0) && wait_running(fd, 0) &&
	       wait_references(fd, 0) && wait_state(fd, PARKCLOCK_PARKED);
}

/* The tasks of a process that ends: what they do before it does */

static void *spinning_thread(void *unused __attribute__((__unused__)))
{
	for (;;)
		;
	return NULL;
}

static void *exiting_thread(void *unused __attribute__((__unused__)))
{
	sleep_ms(20);
	exit(0);
	return NULL;
}

static int vforked(void *sock)
{
	say(*(int *)sock, getpid());
	sleep_for_ever();
	return 0;
}

static void *vforking_thread(void *sock)
{
	static char stack[65536] __attribute__((__aligned__(16)));

	clone(vforked, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, sock);
	return NULL;
}

static void sleeps(int sock __attribute__((__unused__)))
{
	start_sleeping_thread();
	sleep_for_ever();
}

static void spins(int sock __attribute__((__unused__)))
{
	start_thread(spinning_thread, NULL);
	spinning_thread(NULL);
}

static void exits(int sock __attribute__((__unused__)))
{
	start_sleeping_thread();
	start_thread(exiting_thread, NULL);
	sleep_for_ever();
}

static void returns(int sock __attribute__((__unused__)))
{
	start_sleeping_thread();
	sleep_ms(20);
}

static void crashes(int sock __attribute__((__unused__)))
{
	start_sleeping_thread();
	sleep_ms(20);
	raise(SIGSEGV);
}

static void waits_in_vfork(int sock)
{
	start_thread(vforking_thread, &sock);
	sleep_for_ever();
}

static void traps(int sock __attribute__((__unused__)))
{
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	start_sleeping_thread();
	raise(SIGSTOP);
}

FIXTURE(end) {
	struct pclock c;
};

/*
 * @run: what the process does; @tasks: how many it has then; @running: how many of them
 * run; @state: in which state its first one is when it is killed, or 0 if it ends
 * by itself
 */
FIXTURE_VARIANT(end) {
	void (*run)(int sock);
	unsigned int tasks;
	unsigned int running;
	char state;
	int signal;
};

FIXTURE_VARIANT_ADD(end, returns) { returns, 2, 0, 0, 0 };
FIXTURE_VARIANT_ADD(end, exit_of_another_thread) { exits, 3, 0, 0, 0 };
FIXTURE_VARIANT_ADD(end, crash) { crashes, 2, 0, 0, 0 };
FIXTURE_VARIANT_ADD(end, killed_asleep) { sleeps, 2, 0, 'S', 0 };
FIXTURE_VARIANT_ADD(end, killed_running) { spins, 2, 2, 'R', 0 };
FIXTURE_VARIANT_ADD(end, killed_stopped) { sleeps, 2, 0, 'T', SIGSTOP };
FIXTURE_VARIANT_ADD(end, killed_running_stopped) { spins, 2, 0, 'T', SIGSTOP };
/* The child of the vfork is a process of its own, and is not killed with it. */
FIXTURE_VARIANT_ADD(end, killed_in_vfork) { waits_in_vfork, 3, 0, 'S', 0 };
FIXTURE_VARIANT_ADD(end, killed_traced) { traps, 2, 0, 't', 0 };

FIXTURE_SETUP(end)
{
	start_parked("10", "4", "0");
	self->c = open_owner();
}

FIXTURE_TEARDOWN(end)
{
	close_clock(&self->c);
	default_params();
}

static void (*then_run)(int sock);
static int inherited;

/* Registers itself first, so that all it does is seen. */
static void registered_process(int sock)
{
	must_register(inherited, 0, INHERIT);
	say(sock, 0);
	then_run(sock);
}

TEST_F(end, takes_registrations_along)
{
	struct parkclock_query q;
	pid_t orphan;
	struct child c;

	NEEDS_SWITCHES(return);
	then_run = variant->run;
	inherited = self->c.fd;
	c = start_child(registered_process);
	hear(c.sock);
	if (variant->state) {
		ASSERT_TRUE(wait_tasks(self->c.fd, variant->tasks));
		if (variant->signal)
			kill(c.pid, variant->signal);
		ASSERT_TRUE(wait_state_of(c.pid, variant->state));
		/* With one CPU they take turns: one may not have run yet. */
		ASSERT_TRUE(wait_running(self->c.fd, variant->running));
		EXPECT_TRUE(wait_references(self->c.fd, variant->running));
		q = query(self->c.fd);
		EXPECT_LT(0, q.cpu_ns);
		kill(c.pid, SIGKILL);
	} else {
		q = query(self->c.fd);
	}
	if (variant->run == waits_in_vfork) {
		orphan = hear(c.sock);
		EXPECT_TRUE(wait_tasks(self->c.fd, 1));
		EXPECT_TRUE(wait_references(self->c.fd, 0));
		EXPECT_TRUE(is_registered(self->c.fd, orphan));
		kill(orphan, SIGKILL);
	}
	reap_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
	EXPECT_LE(q.cpu_ns, query(self->c.fd).cpu_ns);
	EXPECT_LT(0, query(self->c.fd).cpu_ns);
	/* It is final. */
	q = query(self->c.fd);
	sleep_ms(50);
	EXPECT_EQ(q.cpu_ns, query(self->c.fd).cpu_ns);
	EXPECT_EQ(q.run_transitions, query(self->c.fd).run_transitions);
	EXPECT_EQ(0, q.run_missed);
}

/* Threads */

static void *napping_thread(void *end)
{
	while (!*(atomic_bool *)end)
		sleep_ms(1);
	return NULL;
}

TEST_F(registration_ends, thread_exit)
{
	atomic_bool end = false;
	pthread_t thread[8];

	NEEDS_SWITCHES(return);
	must_register(self->c.fd, 0, INHERIT);
	for (int i = 0; i < 8; i++)
		thread[i] = start_thread(napping_thread, &end);
	EXPECT_EQ(9, query(self->c.fd).tasks);
	end = true;
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], NULL);
	EXPECT_TRUE(wait_tasks(self->c.fd, 1));
	EXPECT_TRUE(wait_references(self->c.fd, 1));
	EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
	EXPECT_TRUE(all_gone(self->c.fd));
}

static void loses_its_leader(int sock __attribute__((__unused__)))
{
	start_sleeping_thread();
	start_sleeping_thread();
	syscall(SYS_exit, 0);
}

TEST_F(registration_ends, leader_exits_first)
{
	struct child c;

	NEEDS_SWITCHES(return);
	/* Before it is registered */
	c = start_child(loses_its_leader);
	ASSERT_TRUE(wait_state_of(c.pid, 'Z'));
	EXPECT_EQ(-ESRCH, try_register(self->c.fd, c.pid, 0));
	EXPECT_EQ(0, query(self->c.fd).tasks);
	EXPECT_EQ(0, try_register(self->c.fd, c.pid, PROCESS));
	EXPECT_EQ(2, query(self->c.fd).tasks);
	EXPECT_EQ(-EEXIST, try_register(self->c.fd, c.pid, PROCESS));
	EXPECT_EQ(0, try_unregister(self->c.fd, c.pid, PROCESS));
	EXPECT_EQ(-ENOENT, try_unregister(self->c.fd, c.pid, PROCESS));
	EXPECT_EQ(0, query(self->c.fd).tasks);
	must_register(self->c.fd, c.pid, PROCESS);
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));

	/* Or after that */
	then_run = loses_its_leader;
	inherited = self->c.fd;
	c = start_child(registered_process);
	ASSERT_TRUE(wait_state_of(c.pid, 'Z'));
	EXPECT_TRUE(wait_tasks(self->c.fd, 2));
	EXPECT_EQ(-EEXIST, try_register(self->c.fd, c.pid, PROCESS));
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* execve() */

static void execs(int sock __attribute__((__unused__)))
{
	execl("/bin/sleep", "sleep", "1000", NULL);
	die("/bin/sleep");
}

/* The socket closes when the new program begins. */
static bool wait_exec(struct child *c)
{
	int64_t value;

	return recv(c->sock, &value, sizeof(value), 0) == 0;
}

TEST_F(registration_ends, exec)
{
	struct parkclock_query q;
	struct child c;

	NEEDS_SWITCHES(return);
	then_run = execs;
	inherited = self->c.fd;
	c = start_child(registered_process);
	hear(c.sock);
	ASSERT_TRUE(wait_exec(&c));
	ASSERT_TRUE(wait_asleep(c.pid));
	q = query(self->c.fd);
	EXPECT_EQ(1, q.tasks);
	EXPECT_TRUE(is_registered(self->c.fd, c.pid));
	/* It did not only stay in the list. */
	kill(c.pid, SIGSTOP);
	ASSERT_TRUE(wait_state_of(c.pid, 'T'));
	EXPECT_LT(q.run_transitions, query(self->c.fd).run_transitions);
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/*
 * A program that gains privileges by its set-user-id bit is nobody's to watch. One that has
 * them already, or gains none, keeps its registration.
 */

static const char *program;

static void execs_the_program(int sock __attribute__((__unused__)))
{
	if (setresuid(1, 1, 1))
		die("setresuid");
	execl(program, "sleep", "1000", NULL);
	die(program);
}

static void copy_of_busybox(const char *path, mode_t mode)
{
	static char buffer[1 << 16];
	int from = open("/bin/busybox", O_RDONLY), to = open(path, O_WRONLY | O_CREAT, 0600);
	ssize_t n;

	if (from < 0 || to < 0)
		die(path);
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		if (write(to, buffer, n) != n)
			die(path);
	if (fchmod(to, mode))
		die(path);
	close(from);
	close(to);
}

TEST_F(registration_ends, exec_that_gains_privileges)
{
	struct child c;

	NEEDS_SWITCHES(return);
	then_run = execs_the_program;
	inherited = self->c.fd;
	copy_of_busybox("/tmp/plain", 0755);
	copy_of_busybox("/tmp/privileged", 04755);
	program = "/tmp/plain";
	c = start_child(registered_process);
	hear(c.sock);
	ASSERT_TRUE(wait_exec(&c));
	EXPECT_TRUE(is_registered(self->c.fd, c.pid));
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));

	if (has_trace())
		trace_start("parkclock/parkclock_exec", NULL);
	program = "/tmp/privileged";
	c = start_child(registered_process);
	hear(c.sock);
	ASSERT_TRUE(wait_exec(&c));
	EXPECT_TRUE(all_gone(self->c.fd));
	EXPECT_FALSE(is_registered(self->c.fd, c.pid));
	if (has_trace()) {
		EXPECT_EQ(1, trace_count("parkclock_exec", NULL));
		trace_stop("parkclock/parkclock_exec");
	}
	end_child(&c);
	unlink("/tmp/plain");
	unlink("/tmp/privileged");
}

static void *execing_thread(void *leader)
{
	must_register(inherited, leader ? getpid() : 0, 0);
	execs(-1);
	return NULL;
}

static void execs_in_a_thread(int sock __attribute__((__unused__)))
{
	start_thread(execing_thread, NULL);
	sleep_for_ever();
}

static void execs_with_a_registered_leader(int sock __attribute__((__unused__)))
{
	start_thread(execing_thread, execing_thread);
	sleep_for_ever();
}

/* The thread becomes the leader, whose id it takes; the old leader dies. */
TEST_F(registration_ends, exec_of_another_thread)
{
	struct child c;

	NEEDS_SWITCHES(return);
	inherited = self->c.fd;
	c = start_child(execs_in_a_thread);
	ASSERT_TRUE(wait_exec(&c));
	EXPECT_TRUE(wait_tasks(self->c.fd, 1));
	EXPECT_TRUE(is_registered(self->c.fd, c.pid));
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));

	c = start_child(execs_with_a_registered_leader);
	ASSERT_TRUE(wait_exec(&c));
	EXPECT_TRUE(wait_tasks(self->c.fd, 0));
	EXPECT_FALSE(is_registered(self->c.fd, c.pid));
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* Children: a process that creates what it is told to, and says the ids */

enum { A_THREAD, A_CHILD, A_GRANDCHILD, A_VFORK };

static void creates(int sock)
{
	for (;;) {
		switch (hear(sock)) {
		case A_THREAD:
			say(sock, start_sleeping_thread());
			break;
		case A_CHILD:
			/* It goes on here, as its parent does. */
			if (!fork())
				say(sock, getpid());
			break;
		case A_GRANDCHILD:
			if (!fork()) {
				if (!fork()) {
					say(sock, getpid());
					sleep_for_ever();
				}
				_exit(0);
			}
			break;
		case A_VFORK:
			start_thread(vforking_thread, &sock);
			break;
		}
	}
}

TEST_F(registration_ends, not_inherited)
{
	struct child c;
	pid_t tid;

	NEEDS_SWITCHES(return);
	c = start_child(creates);
	must_register(self->c.fd, c.pid, PROCESS);
	for (int what = A_THREAD; what <= A_GRANDCHILD; what++) {
		tid = ask(&c, what);
		EXPECT_EQ(1, query(self->c.fd).tasks);
		EXPECT_FALSE(is_registered(self->c.fd, tid));
		if (what != A_THREAD)
			kill(tid, SIGKILL);
		/* It listens where its parent does, and must not take along what comes next. */
		if (what == A_CHILD)
			ASSERT_TRUE(wait_state_of(tid, 'Z'));
	}
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
	EXPECT_EQ(0, query(self->c.fd).run_missed);
}

TEST_F(registration_ends, inherited)
{
	pid_t thread, grandchild, vfork_child;
	struct child c;

	NEEDS_SWITCHES(return);
	c = start_child(creates);
	must_register(self->c.fd, c.pid, INHERIT);
	thread = ask(&c, A_THREAD);
	EXPECT_EQ(2, query(self->c.fd).tasks);
	EXPECT_TRUE(is_registered(self->c.fd, thread));
	grandchild = ask(&c, A_GRANDCHILD);
	/* Its parent has exited. */
	EXPECT_TRUE(wait_tasks(self->c.fd, 3));
	EXPECT_TRUE(is_registered(self->c.fd, grandchild));
	/* A thread for it, which waits, and the child */
	vfork_child = ask(&c, A_VFORK);
	EXPECT_EQ(5, query(self->c.fd).tasks);
	EXPECT_TRUE(is_registered(self->c.fd, vfork_child));
	EXPECT_TRUE(wait_running(self->c.fd, 0));
	EXPECT_TRUE(wait_references(self->c.fd, 0));

	kill(vfork_child, SIGKILL);
	EXPECT_TRUE(wait_tasks(self->c.fd, 3));
	kill(grandchild, SIGKILL);
	EXPECT_TRUE(wait_tasks(self->c.fd, 2));

	/* It creates registered ones no longer, but those that are, do. */
	EXPECT_EQ(0, try_unregister(self->c.fd, c.pid, 0));
	EXPECT_EQ(1, query(self->c.fd).tasks);
	EXPECT_FALSE(is_registered(self->c.fd, ask(&c, A_THREAD)));
	EXPECT_TRUE(is_registered(self->c.fd, thread));
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
	EXPECT_EQ(0, query(self->c.fd).run_missed);
}

/* A child inherits from the child that inherited, and outlives it. */
TEST_F(registration_ends, inherited_by_generations)
{
	pid_t generation[5];
	struct child c;

	NEEDS_SWITCHES(return);
	c = start_child(creates);
	must_register(self->c.fd, c.pid, INHERIT);
	/* All hear the same socket: the oldest is stopped, so that the youngest does. */
	generation[0] = c.pid;
	for (int i = 1; i < 5; i++) {
		generation[i] = ask(&c, A_CHILD);
		kill(generation[i - 1], SIGSTOP);
		ASSERT_TRUE(wait_state_of(generation[i - 1], 'T'));
		EXPECT_EQ(i + 1, query(self->c.fd).tasks);
		EXPECT_TRUE(is_registered(self->c.fd, generation[i]));
	}
	for (int i = 0; i < 5; i++) {
		kill(generation[i], SIGKILL);
		EXPECT_TRUE(wait_tasks(self->c.fd, 4 - i));
	}
	reap_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* More than may be registered: the rest is counted, the parent does not notice. */
TEST_F(registration_ends, inherited_up_to_the_limit)
{
	struct child c;

	NEEDS_SWITCHES(return);
	must_set("max_tasks", "4");
	c = start_child(creates);
	must_register(self->c.fd, c.pid, INHERIT);
	for (int i = 1; i <= 6; i++) {
		pid_t tid = ask(&c, A_THREAD);

		EXPECT_EQ(i < 4 ? i + 1 : 4, query(self->c.fd).tasks);
		EXPECT_EQ(i < 4 ? 0 : i - 3, query(self->c.fd).run_missed);
		EXPECT_EQ(i < 4 ? -EEXIST : -ENOSPC, try_register(self->c.fd, tid, 0));
	}
	must_set("max_tasks", "16384");
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* A process that creates threads as fast as it can, while it is registered */

#define CREATORS	3
#define MOST_THREADS	300

struct storm {
	atomic_bool stop;
	atomic_int creating;
	atomic_int threads;
};

static struct storm *storm;

static void *creator(void *unused __attribute__((__unused__)))
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	while (!storm->stop) {
		if (storm->threads >= MOST_THREADS) {
			sleep_ms(1);
			continue;
		}
		if (pthread_create(&thread, &attr, sleeping_thread, NULL))
			die("pthread_create");
		storm->threads++;
	}
	storm->creating--;
	sleep_for_ever();
	return NULL;
}

static void creates_a_storm(int sock)
{
	storm->creating = CREATORS;
	for (int i = 0; i < CREATORS; i++)
		start_thread(creator, NULL);
	hear(sock);
}

/* How many threads of the process are not registered? */
static int unregistered(int fd, pid_t pid)
{
	int n = 0, threads = 0;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		die(path);
	while ((entry = readdir(dir))) {
		int tid = atoi(entry->d_name);

		if (!tid)
			continue;
		threads++;
		n += try_register(fd, tid, 0) != -EEXIST;
	}
	closedir(dir);
	if (threads < CREATORS + 1)
		die("no threads");
	return n;
}

TEST_F(registration_ends, process_that_creates_threads)
{
	int64_t t0 = now_ns(CLOCK_MONOTONIC);
	int rounds = 0, late = 0;

	NEEDS_SWITCHES(return);
	storm = mmap(NULL, sizeof(*storm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	ASSERT_NE(MAP_FAILED, storm);
	/* Until it was registered in the middle of it often enough. */
	while (rounds < 10 || (late < 5 && now_ns(CLOCK_MONOTONIC) - t0 < 60000000000LL)) {
		struct pclock clock = open_owner();
		struct child c;
		int before;

		memset(storm, 0, sizeof(*storm));
		c = start_child(creates_a_storm);
		while (storm->threads < 20 + rounds % 50)
			sleep_us(100);
		before = storm->threads;
		EXPECT_EQ(0, try_register(clock.fd, c.pid, PROCESS | INHERIT));
		late += storm->threads > before && storm->threads < MOST_THREADS;
		sleep_ms(rounds % 10);
		storm->stop = true;
		ASSERT_TRUE(wait_until(!storm->creating));
		/* For want of memory one may have been missed, but not unnoticed. */
		EXPECT_LE((uint64_t)unregistered(clock.fd, c.pid), query(clock.fd).run_missed);
		end_child(&c);
		EXPECT_TRUE(wait_tasks(clock.fd, 0));
		close_clock(&clock);
		rounds++;
	}
	EXPECT_TRUE(all_gone(self->c.fd));
	TH_LOG("%d times, %d of them with threads created meanwhile", rounds, late);
}

/* Ids */

static pid_t fork_with_id(pid_t pid)
{
	struct clone_args args = { .exit_signal = SIGCHLD };

	if (pid) {
		args.set_tid = (uintptr_t)&pid;
		args.set_tid_size = 1;
	}
	return syscall(SYS_clone3, &args, sizeof(args));
}

/*
 * As soon as an id, and with it most likely the memory of a task, is free, it goes to
 * the next one.
 */
TEST_F(registration_ends, same_id_again)
{
	pid_t pid = 0, same;

	NEEDS_SWITCHES(return);
	for (int i = 0; i < 200; i++) {
		same = fork_with_id(pid);
		ASSERT_LE(0, same) {
			TH_LOG("clone3: %s", strerror(errno));
		}
		if (!same)
			sleep_for_ever();
		if (pid)
			ASSERT_EQ(pid, same);
		pid = same;
		ASSERT_EQ(0, try_register(self->c.fd, pid, 0));
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
		/* A new one at once, which is not registered; and the old one goes. */
		same = fork_with_id(pid);
		ASSERT_LE(0, same);
		if (!same)
			sleep_for_ever();
		ASSERT_EQ(-ENOENT, try_unregister(self->c.fd, pid, 0));
		ASSERT_TRUE(wait_tasks(self->c.fd, 0));
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
	EXPECT_TRUE(all_gone(self->c.fd));
}

static void in_a_new_pid_namespace(int sock)
{
	pid_t outer = hear(sock), child;

	say(sock, try_register(inherited, outer, 0));
	say(sock, try_unregister(inherited, outer, 0));
	say(sock, try_register(inherited, getpid(), 0));
	say(sock, try_register(inherited, 0, 0));
	child = fork();
	if (!child)
		sleep_for_ever();
	say(sock, child);
	say(sock, try_register(inherited, child, PROCESS));
	hear(sock);
}

static void enters_a_pid_namespace(int sock)
{
	struct child c;

	if (unshare(CLONE_NEWPID))
		die("unshare");
	c = start_child(in_a_new_pid_namespace);
	say(sock, c.pid);
	send_fd(sock, c.sock);
	hear(sock);
}

TEST_F(registration_ends, pid_namespace)
{
	struct child outer;
	pid_t inner;
	int sock;

	NEEDS_SWITCHES(return);
	inherited = self->c.fd;
	outer = start_child(enters_a_pid_namespace);
	inner = hear(outer.sock);
	sock = receive_fd(outer.sock);
	/* In there are ids 1 and 2, no more. */
	ASSERT_LT(2, getpid());
	say(sock, getpid());
	EXPECT_EQ(-ESRCH, hear(sock));
	EXPECT_EQ(-ESRCH, hear(sock));
	EXPECT_EQ(0, hear(sock));
	EXPECT_EQ(-EEXIST, hear(sock));
	EXPECT_EQ(2, hear(sock));
	EXPECT_EQ(0, hear(sock));
	EXPECT_EQ(2, query(self->c.fd).tasks);
	EXPECT_TRUE(is_registered(self->c.fd, inner));
	EXPECT_FALSE(is_registered(self->c.fd, outer.pid));
	/* Its init takes the others along. */
	kill(inner, SIGKILL);
	EXPECT_TRUE(wait_tasks(self->c.fd, 0));
	end_child(&outer);
	close(sock);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* The clock's end */

static void *spinning_while_told(void *stop)
{
	while (!*(atomic_bool *)stop)
		;
	return NULL;
}

static void sleeps_and_spins(int sock)
{
	static atomic_bool stop;
	pthread_t spinner = start_thread(spinning_while_told, &stop);

	say(sock, 0);
	hear(sock);
	stop = true;
	pthread_join(spinner, NULL);
	say(sock, 0);
	hear(sock);
}

TEST_F(registration_ends, close_takes_registrations_along)
{
	struct child c[4];

	NEEDS_SWITCHES(return);
	for (int i = 0; i < 4; i++) {
		c[i] = start_child(sleeps_and_spins);
		hear(c[i].sock);
		ASSERT_TRUE(wait_asleep(c[i].pid));
	}
	for (int round = 0; round < 20; round++) {
		struct pclock clock = open_owner();

		for (int i = 0; i < 4; i++)
			must_register(clock.fd, c[i].pid, PROCESS | (round & 1 ? INHERIT : 0));
		must_register(clock.fd, 0, 0);
		EXPECT_EQ(9, query(clock.fd).tasks);
		EXPECT_TRUE(wait_running(clock.fd, 5));
		EXPECT_EQ(5, query(self->c.fd).references);
		close_clock(&clock);
		EXPECT_EQ(0, query(self->c.fd).all_tasks);
		EXPECT_EQ(0, query(self->c.fd).all_running);
		EXPECT_EQ(0, query(self->c.fd).references);
	}
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	/* They live on, and do as they are told. */
	for (int i = 0; i < 4; i++) {
		EXPECT_EQ(0, ask(&c[i], 0));
		end_child(&c[i]);
	}
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* How often did this thread wait? */
static long waits(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		die("getrusage");
	return usage.ru_nvcsw;
}

/* A grace period for each of them would be a wait for each. */
TEST_F(registration_ends, close_waits_for_nobody)
{
	enum { CLOCKS = 100 };
	struct pclock clocks[CLOCKS];
	struct child c;
	long before;

	NEEDS_SWITCHES(return);
	c = start_sleeping_child(1);
	before = waits();
	for (int i = 0; i < CLOCKS; i++) {
		clocks[i] = open_owner();
		must_register(clocks[i].fd, 0, 0);
		close_clock(&clocks[i]);
	}
	EXPECT_GT(CLOCKS / 2, waits() - before);
	before = waits();
	for (int i = 0; i < CLOCKS; i++) {
		must_register(self->c.fd, 0, 0);
		EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
	}
	EXPECT_GT(CLOCKS / 2, waits() - before);
	/* It is registered by another process, which has to wait, unlike who closes. */
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++) {
		clocks[i] = open_owner();
		must_register(clocks[i].fd, c.pid, 0);
	}
	before = waits();
	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
		close_clock(&clocks[i]);
	EXPECT_GT(PARKCLOCK_TASK_CLOCKS_MAX, waits() - before);
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/*
 * So many that the table grows, and shrinks again, while others come and go: each is found
 * as long as it is there, and no longer.
 */

#define CROWD	400

static atomic_bool crowd_over;

static void *comes_and_goes(void *unused __attribute__((__unused__)))
{
	struct pclock own = open_owner();

	while (!crowd_over) {
		must_register(own.fd, 0, 0);
		if (!is_registered(own.fd, gettid()) || try_unregister(own.fd, 0, 0))
			die("a registration was lost");
	}
	close_clock(&own);
	return NULL;
}

static int tids_of(pid_t pid, pid_t *tids, int most)
{
	char path[64];
	struct dirent *d;
	int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		die(path);
	while ((d = readdir(dir)) && n < most)
		if (d->d_name[0] != '.')
			tids[n++] = atoi(d->d_name);
	closedir(dir);
	return n;
}

TEST_F(registration_ends, many)
{
	struct pclock clocks[PARKCLOCK_TASK_CLOCKS_MAX];
	struct child c;
	pid_t tids[CROWD];
	pthread_t thread;

	NEEDS_SWITCHES(return);
	c = start_sleeping_child(CROWD);
	ASSERT_EQ(CROWD, tids_of(c.pid, tids, CROWD));
	crowd_over = false;
	thread = start_thread(comes_and_goes, NULL);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++) {
			clocks[i] = open_owner();
			must_register(clocks[i].fd, c.pid, PROCESS);
		}
		for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
			for (int t = 0; t < CROWD; t++)
				ASSERT_TRUE(is_registered(clocks[i].fd, tids[t]));
		/* One by one, then all. */
		for (int t = 0; t < CROWD; t += 2)
			ASSERT_EQ(0, try_unregister(clocks[0].fd, tids[t], 0));
		for (int t = 0; t < CROWD; t += t % 2 ? 41 : 1)
			ASSERT_EQ(t % 2, is_registered(clocks[0].fd, tids[t]));
		for (int i = 1; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
			close_clock(&clocks[i]);
		for (int t = 1; t < CROWD; t += 2)
			ASSERT_TRUE(is_registered(clocks[0].fd, tids[t]));
		close_clock(&clocks[0]);
	}
	crowd_over = true;
	pthread_join(thread, NULL);
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

TEST_F(registration_ends, mapping_keeps_registrations)
{
	struct pclock clock;
	struct child c;

	NEEDS_SWITCHES(return);
	/* Forked first, or it would have the descriptor and the mapping as well. */
	c = start_sleeping_child(2);
	clock = open_owner();
	must_register(clock.fd, c.pid, PROCESS);
	close(clock.fd);
	EXPECT_EQ(2, query(self->c.fd).all_tasks);
	/* Half of the mapping is as good. */
	ASSERT_EQ(0, munmap(clock.map, PARKCLOCK_PAGE_SIZE));
	EXPECT_EQ(2, query(self->c.fd).all_tasks);
	ASSERT_EQ(0, munmap(clock.map + PARKCLOCK_PAGE_SIZE, PARKCLOCK_PAGE_SIZE));
	EXPECT_EQ(0, query(self->c.fd).all_tasks);
	end_child(&c);
}

static void receives(int sock)
{
	int fd;

	hear(sock);
	fd = receive_fd(sock);
	say(sock, query(fd).tasks);
	hear(sock);
	close(fd);
	say(sock, 0);
	hear(sock);
}

TEST_F(registration_ends, passed_descriptor_keeps_registrations)
{
	struct child c, other;
	int fd;

	NEEDS_SWITCHES(return);
	c = start_sleeping_child(2);
	other = start_child(receives);
	fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	must_register(fd, c.pid, PROCESS);
	say(other.sock, 0);
	send_fd(other.sock, fd);
	close(fd);
	/* On its way, or received */
	EXPECT_EQ(2, query(self->c.fd).all_tasks);
	EXPECT_EQ(2, hear(other.sock));
	EXPECT_EQ(2, query(self->c.fd).all_tasks);
	EXPECT_EQ(0, ask(&other, 0));
	EXPECT_EQ(0, query(self->c.fd).all_tasks);
	end_child(&other);
	end_child(&c);
}

/* PARKCLOCK_VIEW_KEEP */

static int keeping_view(int fd)
{
	return try(fd, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_KEEP);
}

TEST_F(registration_ends, keeping_views_keep_registrations)
{
	struct parkclock_register of = { 0 };
	struct pclock clock;
	struct child c;
	int plain, one, other;
	void *map;

	NEEDS_SWITCHES(return);
	c = start_sleeping_child(2);
	clock = open_owner();
	must_register(clock.fd, c.pid, PROCESS);
	hold(clock.fd);
	plain = try(clock.fd, PARKCLOCK_IOC_VIEW, 0);
	one = keeping_view(clock.fd);
	other = keeping_view(clock.fd);
	ASSERT_TRUE(plain >= 0 && one >= 0 && other >= 0);
	close_clock(&clock);
	EXPECT_EQ(2, query(self->c.fd).all_tasks);
	/* What the owner held has gone with it. */
	EXPECT_TRUE(wait_references(self->c.fd, 0));
	of.tid = c.pid;
	EXPECT_EQ(-ENOTTY, try(one, PARKCLOCK_IOC_UNREGISTER, (unsigned long)&of));
	EXPECT_EQ(-ENOTTY, try(one, PARKCLOCK_IOC_REGISTER, (unsigned long)&of));
	close(plain);
	EXPECT_EQ(2, query(self->c.fd).all_tasks);
	map = map_clock(other);
	close(one);
	close(other);
	EXPECT_EQ(2, query(self->c.fd).all_tasks);
	ASSERT_EQ(0, munmap(map, PARKCLOCK_MAP_SIZE));
	EXPECT_EQ(0, query(self->c.fd).all_tasks);
	end_child(&c);
}

TEST_F(registration_ends, views_that_do_not_keep)
{
	struct child c;
	int owner, view;

	NEEDS_SWITCHES(return);
	c = start_sleeping_child(2);
	owner = open_device();
	must_register(owner, c.pid, PROCESS);
	view = try(owner, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_TIMERS);
	/* One that keeps, and has gone before the owner */
	close(keeping_view(owner));
	EXPECT_EQ(2, query(self->c.fd).all_tasks);
	close(owner);
	EXPECT_EQ(0, query(self->c.fd).all_tasks);
	close(view);
	end_child(&c);
}

/* Gets a view, and creates a thread when it is told to. */
static void keeps_itself(int sock)
{
	const int view = receive_fd(sock);
	void *map = map_clock(view);

	say(sock, 0);
	hear(sock);
	start_thread(spinning_thread, NULL);
	/* By the page: the caller runs, and is registered. */
	say(sock, parkclock_page_read(map, CLOCK_MONOTONIC) >= 0);
	hear(sock);
}

/* As the init of a container, whose runtime has gone */
TEST_F(registration_ends, task_that_keeps_its_own)
{
	NEEDS_SWITCHES(return);
	for (int round = 0; round < 20; round++) {
		struct child c = start_child(keeps_itself);
		int owner = open_device();
		int view = keeping_view(owner);

		must_register(owner, c.pid, PROCESS | INHERIT);
		send_fd(c.sock, view);
		close(view);
		EXPECT_EQ(0, hear(c.sock));
		close(owner);
		ASSERT_EQ(1, query(self->c.fd).all_tasks);
		EXPECT_EQ(counter_usable(), ask(&c, 0));
		ASSERT_TRUE(wait_all_tasks(self->c.fd, 2));
		end_child(&c);
		EXPECT_TRUE(wait_all_tasks(self->c.fd, 0));
		EXPECT_TRUE(wait_references(self->c.fd, 0));
	}
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* A task that is registered with its own descriptor only: both go at once. */
static void registers_itself(int sock)
{
	struct pclock clock = open_owner();

	start_sleeping_thread();
	must_register(clock.fd, 0, PROCESS | INHERIT);
	say(sock, 0);
	start_thread(spinning_thread, NULL);
	hear(sock);
}

TEST_F(registration_ends, process_with_its_own_clock)
{
	NEEDS_SWITCHES(return);
	for (int round = 0; round < 50; round++) {
		struct child c = start_child(registers_itself);

		hear(c.sock);
		EXPECT_LE(2, query(self->c.fd).all_tasks);
		end_child(&c);
		EXPECT_TRUE(wait_all_tasks(self->c.fd, 0));
		EXPECT_TRUE(wait_references(self->c.fd, 0));
	}
	EXPECT_TRUE(all_gone(self->c.fd));
}

TEST_HARNESS_MAIN
