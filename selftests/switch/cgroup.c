// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever runs in a registered cgroup, or below it, finds the page valid and is counted once.
 *
 * Checked: a task in a registered cgroup finds the page valid at its first instruction, however
 * it came there: it was there before; it was moved there while it slept or ran; it was born there;
 * its cgroup is new; the cgroup's memory was another one's before. One that was moved out while
 * it runs holds nothing any more. Registrations nest, with one clock and with several, and stand
 * beside those of tasks: CPU time counts once, and no reference is left. They end with
 * UNREGISTER_CGROUP, with the cgroup, and with the owner, however he goes. Threads have cgroups of
 * their own. CPUs go and come. Who may not move tasks into a cgroup cannot register it.
 *
 * Fails if what a CPU remembers of a cgroup outlives the truth; if a task that runs at the
 * moment of a change is forgotten; if something is taken and not dropped, or dropped twice; or if
 * somebody gets a cgroup that is not his.
 */
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
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/parkclock.h>
#include <linux/sched.h>

#include "lib/cgroups.h"
#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/messages.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/timers.h"
#include "lib/updater.h"
#include "lib/vmclock.h"
#include "lib/wait.h"

#define NOBODY	65534

/* As SKIP(): @statement leaves the test. */
#define NEEDS_CPUS(statement) do { \
	if (cpus_online() < 2) \
		SKIP(statement, "needs two CPUs"); \
} while (0)

/* What children share with their test */
static struct shared {
	struct pclock c;
	atomic_int spin;	/* a child that spins goes on */
	atomic_int spinning;	/* number of these */
} *shared;

FIXTURE(cgroup) {
	struct pclock c;
	int dir;		/* of the cgroup "t" */
};

FIXTURE_SETUP(cgroup)
{
	NEEDS_CGROUPS(return);
	start_parked("10", "4", "0");
	self->c = open_owner();
	self->dir = make_cgroup("t");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		die("mmap");
	shared->c = self->c;
}

FIXTURE_TEARDOWN(cgroup)
{
	if (!shared)
		return;
	munmap(shared, sizeof(*shared));
	shared = NULL;
	close(self->dir);
	close_clock(&self->c);
	remove_cgroup("t");
	default_params();
}

/* Nothing is held, and the timer rests. */
static bool all_gone(int fd)
{
	return wait_running(fd, 0) && wait_references(fd, 0) && !query(fd).all_running &&
	       wait_state(fd, PARKCLOCK_PARKED);
}

static unsigned int used(int fd)
{
	struct parkclock_limits l;

	must(fd, PARKCLOCK_IOC_LIMITS, (unsigned long)&l);
	return l.limit[PARKCLOCK_LIMIT_CGROUPS].host_used;
}

/* What a child is told */
enum { READ, SPIN, FORK, END };

static void spin(void)
{
	shared->spinning++;
	while (shared->spin)
		;
	shared->spinning--;
}

/* Reads first of all, when it is told to. */
static void reader(int sock)
{
	for (;;) {
		const int64_t what = hear(sock);
		const bool time = valid(shared->c.map);

		switch (what) {
		case READ:
			say(sock, time);
			break;
		case SPIN:
			say(sock, 0);
			spin();
			break;
		case FORK:
			/* A child that does nothing but read */
			if (!fork())
				_exit(valid(shared->c.map));
			wait(NULL);
			say(sock, 0);
			break;
		default:
			return;
		}
	}
}

static struct child start_reader(const char *cgroup)
{
	struct child c = start_child(reader);

	move(cgroup, c.pid);
	return c;
}

/* Tells a child to spin until shared->spin is 0, and waits until it does. */
static void start_spinning(const struct child *c)
{
	const int before = shared->spinning;

	shared->spin = 1;
	ask(c, SPIN);
	wait_until(shared->spinning == before + 1);
}

static void stop_spinning(void)
{
	shared->spin = 0;
	wait_until(!shared->spinning);
}

/* Does the child, which sleeps, find the page valid? */
static bool finds_time(const struct pclock *c, const struct child *child)
{
	int64_t t0;

	for (int tries = 0; tries < 20; tries++) {
		if (!wait_parked_and_expired(c))
			die("the clock does not park");
		t0 = now_ns(CLOCK_MONOTONIC);
		if (ask(child, READ))
			return true;
		if (now_ns(CLOCK_MONOTONIC) - t0 < 30 * MSEC)
			return false;
		/* The machine stood still, perhaps for a window, before the child could read. */
	}
	return false;
}

#define EXPECT_COVERED(child)	EXPECT_TRUE(!counter_usable() || finds_time(&self->c, child))
#define EXPECT_UNCOVERED(child)	EXPECT_FALSE(finds_time(&self->c, child))

TEST_F(cgroup, covers_what_runs)
{
	struct child in = start_reader("t"), out = start_reader("");
	const int rounds = scaled(300);

	must_register_cgroup(self->c.fd, self->dir);
	EXPECT_EQ(0, query(self->c.fd).tasks);
	for (int i = 0; i < rounds; i++) {
		EXPECT_COVERED(&in);
		EXPECT_UNCOVERED(&out);
	}
	must_unregister_cgroup(self->c.fd, self->dir);
	EXPECT_UNCOVERED(&in);
	end_child(&in);
	end_child(&out);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* Several on few CPUs preempt each other, beside others that preempt them. */
TEST_F(cgroup, preempted)
{
	struct child in[4], out[2];

	must_register_cgroup(self->c.fd, self->dir);
	for (int i = 0; i < 4; i++)
		in[i] = start_reader("t");
	for (int i = 0; i < 2; i++)
		out[i] = start_reader("");
	shared->spin = 1;
	for (int i = 0; i < 4; i++)
		ask(&in[i], SPIN);
	for (int i = 0; i < 2; i++)
		ask(&out[i], SPIN);
	for (int i = 0; i < 20; i++) {
		sleep_ms(20);
		EXPECT_GE(cpus_online(), query(self->c.fd).running);
	}
	stop_spinning();
	EXPECT_LT(0, query(self->c.fd).cpu_ns);
	for (int i = 0; i < 4; i++)
		end_child(&in[i]);
	for (int i = 0; i < 2; i++)
		end_child(&out[i]);
	EXPECT_TRUE(all_gone(self->c.fd));
}

TEST_F(cgroup, runs_when_registered)
{
	struct child in = start_reader("t");

	NEEDS_CPUS(return);
	for (int i = 0; i < 20; i++) {
		start_spinning(&in);
		ASSERT_TRUE(wait_parked_and_expired(&self->c));
		must_register_cgroup(self->c.fd, self->dir);
		if (counter_usable())
			EXPECT_TRUE(valid(self->c.map) || comes_back(self->c.map));
		EXPECT_TRUE(wait_running(self->c.fd, 1));
		/* Longer than the page lasts by itself */
		sleep_ms(60);
		EXPECT_TRUE(!counter_usable() || comes_back(self->c.map));
		must_unregister_cgroup(self->c.fd, self->dir);
		EXPECT_TRUE(wait_running(self->c.fd, 0));
		EXPECT_TRUE(wait_parked_and_expired(&self->c));
		stop_spinning();
	}
	end_child(&in);
	EXPECT_TRUE(all_gone(self->c.fd));
}

TEST_F(cgroup, moved_while_it_runs)
{
	struct child c = start_reader("");
	const int rounds = scaled(200);

	NEEDS_CPUS(return);
	must_register_cgroup(self->c.fd, self->dir);
	start_spinning(&c);
	for (int i = 0; i < rounds; i++) {
		move("t", c.pid);
		EXPECT_TRUE(wait_running(self->c.fd, 1));
		if (counter_usable())
			EXPECT_TRUE(comes_back(self->c.map));
		move("", c.pid);
		EXPECT_TRUE(wait_running(self->c.fd, 0));
		if (i % 8 == 0)
			EXPECT_TRUE(wait_parked_and_expired(&self->c));
	}
	stop_spinning();
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

static void *spinning_thread(void *tid)
{
	*(atomic_int *)tid = gettid();
	spin();
	return NULL;
}

/* A process of more threads than are looked at one by one */
TEST_F(cgroup, moved_with_many_threads)
{
	struct child many;

	NEEDS_CPUS(return);
	must_register_cgroup(self->c.fd, self->dir);
	for (int threads = 2; threads <= 512; threads *= 256) {
		many = start_sleeping_child(threads);
		move("t", many.pid);
		move("", many.pid);
		end_child(&many);
	}
	EXPECT_TRUE(all_gone(self->c.fd));
}

TEST_F(cgroup, born_there)
{
	struct child in = start_reader("t");

	must_register_cgroup(self->c.fd, self->dir);
	for (unsigned int i = 0; i < scaled(200); i++)
		ask(&in, FORK);
	end_child(&in);
	EXPECT_TRUE(all_gone(self->c.fd));
	EXPECT_LT(0, query(self->c.fd).cpu_ns);
}

/* By clone3(), as runtimes do it; its parent is elsewhere. Returns what it finds. */
static bool born_into(int dir)
{
	struct clone_args args = {
		.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = dir,
	};
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));
	int status;

	if (pid < 0)
		die("clone3");
	if (!pid)
		_exit(valid(shared->c.map));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		die("waitpid");
	return WEXITSTATUS(status);
}

TEST_F(cgroup, born_into)
{
	must_register_cgroup(self->c.fd, self->dir);
	for (unsigned int i = 0; i < scaled(50); i++) {
		bool found = false;

		/* The machine may stand still for a window. */
		for (int tries = 0; !found && tries < 5; tries++) {
			EXPECT_TRUE(wait_parked_and_expired(&self->c));
			found = born_into(self->dir);
		}
		EXPECT_TRUE(found || !counter_usable());
	}
	EXPECT_TRUE(all_gone(self->c.fd));
}

TEST_F(cgroup, made_later)
{
	static const char * const names[] = { "t/a", "t/a/b", "t/a/b/c" };
	struct child c;

	must_register_cgroup(self->c.fd, self->dir);
	for (int i = 0; i < 3; i++)
		close(make_cgroup(names[i]));
	c = start_reader("t/a/b/c");
	EXPECT_COVERED(&c);
	move("t/a", c.pid);
	EXPECT_COVERED(&c);
	end_child(&c);
	for (int i = 2; i >= 0; i--)
		remove_cgroup(names[i]);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* A registration ends with its cgroup. The next one of that name is another one. */
TEST_F(cgroup, removed_and_made_again)
{
	struct child c = start_reader("");
	int dir = make_cgroup("x");

	must_register_cgroup(self->c.fd, dir);
	EXPECT_EQ(1, used(self->c.fd));
	move("x", c.pid);
	EXPECT_COVERED(&c);
	move("", c.pid);
	remove_cgroup("x");
	EXPECT_EQ(-ENOENT, try_register_cgroup(self->c.fd, dir));
	EXPECT_EQ(-ENOENT, try_unregister_cgroup(self->c.fd, dir));
	EXPECT_TRUE(wait_until(!used(self->c.fd)));
	close(dir);
	dir = make_cgroup("x");
	move("x", c.pid);
	EXPECT_UNCOVERED(&c);
	EXPECT_EQ(-ENOENT, try_unregister_cgroup(self->c.fd, dir));
	must_register_cgroup(self->c.fd, dir);
	EXPECT_COVERED(&c);
	end_child(&c);
	remove_cgroup("x");
	close(dir);
	EXPECT_TRUE(all_gone(self->c.fd));
	EXPECT_TRUE(wait_until(!used(self->c.fd)));
}

/*
 * What CPUs remember not to be covered is an address. A cgroup that is made below a registered one
 * soon after another was removed may get it.
 */
TEST_F(cgroup, memory_used_again)
{
	struct child c = start_reader("");
	const int rounds = scaled(500);

	/* What is freed is the next that is allocated: on the same CPU. */
	pin(0);
	must_register_cgroup(self->c.fd, self->dir);
	for (int i = 0; i < rounds; i++) {
		close(make_cgroup("x"));
		move("x", c.pid);
		EXPECT_UNCOVERED(&c);
		move("", c.pid);
		remove_cgroup("x");
		/* It is freed some grace periods later. */
		sleep_ms(i % 64);
		close(make_cgroup("t/y"));
		move("t/y", c.pid);
		EXPECT_COVERED(&c);
		move("", c.pid);
		remove_cgroup("t/y");
	}
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* CPU time of a clock */
static int64_t cpu_ms(int fd)
{
	return query(fd).cpu_ns / MSEC;
}

/* For 100 ms. Is what the clock counts what one child can have run? */
static bool counts_once(int fd, const struct child *c)
{
	const int64_t t0 = now_ns(CLOCK_MONOTONIC), before = cpu_ms(fd);
	int64_t ms, most;

	start_spinning(c);
	sleep_ms(100);
	stop_spinning();
	ms = cpu_ms(fd) - before;
	most = (now_ns(CLOCK_MONOTONIC) - t0) / MSEC;
	/* It is more than alone on its CPU only if the machine is. */
	if (ms >= 20 && ms <= most + 5)
		return true;
	fprintf(stderr, "# counted %lld ms of %lld\n", (long long)ms, (long long)most);
	return false;
}

static bool counts_nothing(int fd, const struct child *c)
{
	const int64_t before = cpu_ms(fd);

	start_spinning(c);
	sleep_ms(30);
	stop_spinning();
	return cpu_ms(fd) == before;
}

TEST_F(cgroup, nested)
{
	int a = make_cgroup("t/a"), b = make_cgroup("t/a/b");
	struct child c = start_reader("t/a/b");
	int second = open_device();

	NEEDS_CPUS(return);
	/* One clock, twice */
	must_register_cgroup(self->c.fd, self->dir);
	must_register_cgroup(self->c.fd, b);
	EXPECT_COVERED(&c);
	EXPECT_TRUE(counts_once(self->c.fd, &c));
	must_unregister_cgroup(self->c.fd, self->dir);
	EXPECT_COVERED(&c);
	EXPECT_TRUE(counts_once(self->c.fd, &c));
	must_register_cgroup(self->c.fd, self->dir);
	must_unregister_cgroup(self->c.fd, b);
	EXPECT_COVERED(&c);

	/* Two clocks: one above, one below */
	must_register_cgroup(second, a);
	EXPECT_TRUE(counts_once(self->c.fd, &c));
	EXPECT_TRUE(counts_once(second, &c));
	move("t", c.pid);
	EXPECT_TRUE(counts_once(self->c.fd, &c));
	EXPECT_TRUE(counts_nothing(second, &c));
	/* Moved from one to the other while it runs */
	start_spinning(&c);
	move("t/a", c.pid);
	EXPECT_TRUE(wait_running(second, 1));
	must_unregister_cgroup(self->c.fd, self->dir);
	EXPECT_TRUE(wait_running(self->c.fd, 0));
	EXPECT_TRUE(wait_running(second, 1));
	stop_spinning();
	close(second);
	EXPECT_UNCOVERED(&c);
	end_child(&c);
	close(a);
	close(b);
	remove_cgroup("t/a/b");
	remove_cgroup("t/a");
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* Whatever comes first, and whatever ends first */
TEST_F(cgroup, task_besides)
{
	struct child c = start_reader("t");

	for (int order = 0; order < 16; order++) {
		const bool runs = order & 1 && cpus_online() > 1;

		if (runs)
			start_spinning(&c);
		if (order & 2)
			must_register_cgroup(self->c.fd, self->dir);
		must_register(self->c.fd, c.pid, 0);
		if (!(order & 2))
			must_register_cgroup(self->c.fd, self->dir);
		if (runs) {
			EXPECT_TRUE(wait_running(self->c.fd, 1));
			stop_spinning();
		}
		EXPECT_COVERED(&c);
		EXPECT_TRUE(counts_once(self->c.fd, &c));
		if (runs)
			start_spinning(&c);
		if (order & 4)
			must_unregister_cgroup(self->c.fd, self->dir);
		if (!(order & 4))
			ASSERT_EQ(0, try_unregister(self->c.fd, c.pid, 0));
		if (runs) {
			EXPECT_TRUE(wait_running(self->c.fd, 1));
			stop_spinning();
		}
		EXPECT_COVERED(&c);
		if (order & 8)
			EXPECT_TRUE(counts_once(self->c.fd, &c));
		if (order & 4)
			ASSERT_EQ(0, try_unregister(self->c.fd, c.pid, 0));
		if (!(order & 4))
			must_unregister_cgroup(self->c.fd, self->dir);
		EXPECT_UNCOVERED(&c);
		EXPECT_TRUE(counts_nothing(self->c.fd, &c));
	}
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

TEST_F(cgroup, cpu_timer)
{
	struct child c = start_reader("t");
	int before, after;

	/* A timer that is there before the cgroup is registered, and one that comes later */
	before = make_timer(self->c.fd, CPUTIME, NONBLOCK);
	must_register_cgroup(self->c.fd, self->dir);
	start_spinning(&c);
	after = make_timer(self->c.fd, CPUTIME, NONBLOCK);
	set_timer(before, 0, 20 * MSEC, 0);
	set_timer(after, 0, 40 * MSEC, 0);
	EXPECT_TRUE(expires(before));
	EXPECT_TRUE(expires(after));
	EXPECT_TRUE(wait_until(cpu_ms(self->c.fd) >= 40));
	set_timer(after, 0, 1000 * MSEC, 0);
	stop_spinning();
	sleep_ms(30);
	EXPECT_EQ(0, expirations(after));
	close(before);
	close(after);
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

TEST_F(cgroup, vmclock)
{
	struct child c = start_reader("t");
	const struct vmclock *v;

	if (!counter_usable())
		SKIP(return, "needs a host that keeps time by the TSC");
	must_register_cgroup(self->c.fd, self->dir);
	/* The page comes while the cgroup runs. */
	start_spinning(&c);
	must(self->c.fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC);
	v = map_vmclock(self->c.fd);
	EXPECT_TRUE(becomes_reliable(v));
	sleep_ms(60);
	EXPECT_TRUE(becomes_reliable(v));
	stop_spinning();
	EXPECT_TRUE(becomes_unreliable(v));
	/* And it is there before the cgroup runs. */
	start_spinning(&c);
	EXPECT_TRUE(becomes_reliable(v));
	must_unregister_cgroup(self->c.fd, self->dir);
	EXPECT_TRUE(becomes_unreliable(v));
	stop_spinning();
	munmap((void *)v, PARKCLOCK_PAGE_SIZE);
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

static void owner(int sock)
{
	int fd = open_device();

	must_register_cgroup(fd, open_cgroup("t"));
	say(sock, 0);
	hear(sock);
}

TEST_F(cgroup, owner_goes)
{
	struct child c = start_reader("t"), o;

	NEEDS_CPUS(return);
	for (int i = 0; i < 10; i++) {
		start_spinning(&c);
		o = start_child(owner);
		hear(o.sock);
		EXPECT_TRUE(wait_until(query(self->c.fd).all_running == 1));
		if (i % 2)
			say(o.sock, END);
		else
			kill(o.pid, SIGKILL);
		reap_child(&o);
		EXPECT_TRUE(wait_until(!query(self->c.fd).all_running));
		EXPECT_TRUE(wait_references(self->c.fd, 0));
		EXPECT_TRUE(wait_until(!used(self->c.fd)));
		stop_spinning();
	}
	EXPECT_UNCOVERED(&c);
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

static void of_two_threads(int sock)
{
	atomic_int tid = 0;

	shared->spin = 1;
	start_thread(spinning_thread, &tid);
	wait_until(tid);
	say(sock, tid);
	hear(sock);
}

TEST_F(cgroup, threaded)
{
	int dir = make_cgroup("t/th");
	struct child c;
	pid_t tid;

	NEEDS_CPUS(return);
	ASSERT_EQ(0, write_cgroup("t/th", "cgroup.type", "threaded"));
	must_register_cgroup(self->c.fd, dir);
	c = start_child(of_two_threads);
	tid = hear(c.sock);
	move("t", c.pid);
	sleep_ms(5);
	EXPECT_EQ(0, query(self->c.fd).running);
	move_thread("t/th", tid);
	EXPECT_TRUE(wait_running(self->c.fd, 1));
	move_thread("t", tid);
	EXPECT_TRUE(wait_running(self->c.fd, 0));
	stop_spinning();
	end_child(&c);
	close(dir);
	remove_cgroup("t/th");
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* Not by what runs now: where there is one CPU left, that is who asks. */
static bool goes_on(int fd)
{
	const int64_t before = cpu_ms(fd);

	return wait_until(cpu_ms(fd) >= before + 5);
}

TEST_F(cgroup, cpus_go_and_come)
{
	struct child c = start_reader("t");

	if (cpus_online() < 2 || set_online(1, true))
		SKIP(return, "needs CPUs that go");
	must_register_cgroup(self->c.fd, self->dir);
	for (int i = 0; i < 4; i++) {
		start_spinning(&c);
		if (set_online(1, false))
			die("a CPU does not go");
		EXPECT_TRUE(goes_on(self->c.fd));
		/* What is registered changes meanwhile. */
		must_unregister_cgroup(self->c.fd, self->dir);
		EXPECT_TRUE(wait_running(self->c.fd, 0));
		if (i % 2)
			must_register_cgroup(self->c.fd, self->dir);
		ASSERT_TRUE(bring_online(1));
		if (i % 2 == 0)
			must_register_cgroup(self->c.fd, self->dir);
		EXPECT_TRUE(goes_on(self->c.fd));
		stop_spinning();
		EXPECT_COVERED(&c);
	}
	end_child(&c);
	EXPECT_TRUE(all_gone(self->c.fd));
}

static void tie(const struct child *c, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(c->pid, sizeof(set), &set))
		die("sched_setaffinity");
}

/* What a CPU knew when it went is not what is true when it comes back. */
TEST_F(cgroup, cpu_away)
{
	int dir = make_cgroup("x"), second = open_device();
	struct child c = start_reader("t");

	if (cpus_online() < 2 || set_online(1, true))
		SKIP(return, "needs CPUs that go");
	/* So that CPUs look at cgroups at all */
	must_register_cgroup(second, dir);
	for (int i = 0; i < 4; i++) {
		tie(&c, 1);
		EXPECT_UNCOVERED(&c);
		if (set_online(1, false))
			die("a CPU does not go");
		must_register_cgroup(self->c.fd, self->dir);
		ASSERT_TRUE(bring_online(1));
		tie(&c, 1);
		EXPECT_COVERED(&c);
		if (set_online(1, false))
			die("a CPU does not go");
		must_unregister_cgroup(self->c.fd, self->dir);
		ASSERT_TRUE(bring_online(1));
	}
	end_child(&c);
	close(second);
	close(dir);
	remove_cgroup("x");
	EXPECT_TRUE(all_gone(self->c.fd));
}

/* Rights */

static int as_nobody(int (*run)(int fd, int dir), int fd, int dir)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
			die("setresuid");
		_exit(-run(fd, dir));
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		die("waitpid");
	return -WEXITSTATUS(status);
}

/* In a user namespace of one's own nobody has more rights to what is not his. */
static int in_user_namespace(int fd, int dir)
{
	if (unshare(CLONE_NEWUSER))
		die("unshare");
	return try_register_cgroup(fd, dir);
}

/* In a mount namespace of one's own one's own file can be in the place of cgroup.procs. */
static int with_own_file(int fd, int dir)
{
	int file = open("/tmp/own", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	(void)dir;
	if (file < 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS))
		die("unshare");
	/* From the new namespace's own mounts */
	if (mount("/tmp/own", CGROUPS "/t/cgroup.procs", NULL, MS_BIND, NULL))
		die("mount");
	return try_register_cgroup(fd, open_cgroup("t"));
}

TEST_F(cgroup, rights)
{
	int view = ioctl(self->c.fd, PARKCLOCK_IOC_VIEW, 0), reader = open_device_reader();

	EXPECT_EQ(-EPERM, try_register_cgroup(reader, self->dir));
	EXPECT_NE(0, try_register_cgroup(view, self->dir));
	EXPECT_EQ(-EACCES, as_nobody(try_register_cgroup, self->c.fd, self->dir));
	EXPECT_EQ(-EACCES, as_nobody(in_user_namespace, self->c.fd, self->dir));
	EXPECT_EQ(-EACCES, as_nobody(with_own_file, self->c.fd, self->dir));
	EXPECT_EQ(0, used(self->c.fd));
	/* His by cgroup.procs, as systemd delegates */
	ASSERT_EQ(0, chown(CGROUPS "/t/cgroup.procs", NOBODY, NOBODY));
	EXPECT_EQ(0, as_nobody(try_register_cgroup, self->c.fd, self->dir));
	must_unregister_cgroup(self->c.fd, self->dir);
	EXPECT_EQ(0, as_nobody(in_user_namespace, self->c.fd, self->dir));
	must_unregister_cgroup(self->c.fd, self->dir);
	/* What he has below another one's */
	close(view);
	close(reader);
	EXPECT_TRUE(wait_until(!used(self->c.fd)));
}

/* As the kernel's own rule: with nsdelegate, what is outside of a cgroup namespace is not there. */
static void in_namespace(int sock)
{
	int dir = receive_fd(sock), fd = receive_fd(sock), own;

	if (unshare(CLONE_NEWCGROUP))
		die("unshare");
	own = open_cgroup("t/own");
	say(sock, try_register_cgroup(fd, dir));
	say(sock, try_register_cgroup(fd, own));
}

TEST_F(cgroup, namespaces)
{
	struct child c;

	close(make_cgroup("t/own"));
	for (int delegate = 0; delegate < 2; delegate++) {
		if (mount(NULL, CGROUPS, NULL, MS_REMOUNT, delegate ? "nsdelegate" : ""))
			die("remount");
		c = start_child(in_namespace);
		move("t/own", c.pid);
		send_fd(c.sock, self->dir);
		send_fd(c.sock, self->c.fd);
		EXPECT_EQ(delegate ? -ENOENT : 0, hear(c.sock));
		EXPECT_EQ(0, hear(c.sock));
		reap_child(&c);
		if (!delegate)
			must_unregister_cgroup(self->c.fd, self->dir);
		must_unregister_cgroup(self->c.fd, open_cgroup("t/own"));
	}
	if (mount(NULL, CGROUPS, NULL, MS_REMOUNT, ""))
		die("remount");
	remove_cgroup("t/own");
}

TEST_F(cgroup, refused)
{
	struct parkclock_cgroup arg = { .fd = self->dir };
	int root = open_cgroup(""), tmp = open("/tmp", O_RDONLY | O_CLOEXEC);
	int path = open(CGROUPS "/t", O_PATH | O_CLOEXEC), fds[8];
	int procs = open(CGROUPS "/t/cgroup.procs", O_WRONLY | O_CLOEXEC);
	char name[256] = "t";

	EXPECT_EQ(-EINVAL, try_register_cgroup(self->c.fd, root));
	EXPECT_EQ(-EBADF, try_register_cgroup(self->c.fd, -1));
	EXPECT_EQ(-EBADF, try_register_cgroup(self->c.fd, tmp));
	EXPECT_EQ(-EBADF, try_register_cgroup(self->c.fd, path));
	EXPECT_EQ(-EBADF, try_register_cgroup(self->c.fd, procs));
	EXPECT_EQ(-EBADF, try_register_cgroup(self->c.fd, self->c.fd));
	EXPECT_EQ(-EBADF, try_unregister_cgroup(self->c.fd, tmp));
	EXPECT_EQ(-ENOENT, try_unregister_cgroup(self->c.fd, self->dir));
	arg.flags = 1;
	EXPECT_EQ(-EINVAL, try(self->c.fd, PARKCLOCK_IOC_REGISTER_CGROUP, (unsigned long)&arg));
	arg.flags = 0;
	arg.reserved[2] = 1;
	EXPECT_EQ(-EINVAL, try(self->c.fd, PARKCLOCK_IOC_REGISTER_CGROUP, (unsigned long)&arg));
	EXPECT_EQ(-EINVAL, try(self->c.fd, PARKCLOCK_IOC_UNREGISTER_CGROUP, (unsigned long)&arg));
	EXPECT_EQ(0, used(self->c.fd));

	must_register_cgroup(self->c.fd, self->dir);
	EXPECT_EQ(-EEXIST, try_register_cgroup(self->c.fd, self->dir));
	EXPECT_EQ(1, used(self->c.fd));

	/* Clocks of one cgroup, and of one above and one below */
	close(make_cgroup("t/a"));
	for (int i = 0; i < 8; i++)
		fds[i] = open_device();
	for (int i = 0; i < PARKCLOCK_CGROUP_CLOCKS_MAX - 1; i++)
		must_register_cgroup(fds[i], open_cgroup("t/a"));
	EXPECT_EQ(-EMLINK, try_register_cgroup(fds[4], open_cgroup("t/a")));
	EXPECT_EQ(-EMLINK, try_register_cgroup(fds[4], self->dir));
	EXPECT_EQ(0, try_register_cgroup(fds[0], self->dir));
	must_unregister_cgroup(self->c.fd, self->dir);
	must_register_cgroup(fds[4], self->dir);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	remove_cgroup("t/a");

	/* Levels */
	for (int level = 2; level <= PARKCLOCK_CGROUP_LEVELS; level++) {
		strcat(name, "/d");
		close(make_cgroup(name));
	}
	EXPECT_EQ(-E2BIG, try_register_cgroup(self->c.fd, open_cgroup(name)));
	remove_cgroup(name);
	name[strlen(name) - 2] = 0;
	must_register_cgroup(self->c.fd, open_cgroup(name));
	for (int level = PARKCLOCK_CGROUP_LEVELS - 1; level > 1; level--) {
		remove_cgroup(name);
		name[strlen(name) - 2] = 0;
	}
	EXPECT_TRUE(wait_until(!used(self->c.fd)));

	/* The limits of the user and of the host; this one is root. */
	must_set("host_cgroups", "0");
	EXPECT_EQ(-ENFILE, try_register_cgroup(self->c.fd, self->dir));
	must_set("host_cgroups", "4096");
	close(root);
	close(tmp);
	close(path);
	close(procs);
}

/* Everything at once */

#define CHILDREN	6
#define NAMES		5

static const char * const churned[NAMES] = { "", "t", "t/a", "t/a/b", "t/c" };

static unsigned int upto(uint64_t *seed, unsigned int most)
{
	return rnd(seed) % (most + 1);
}

static void busy(int sock)
{
	uint64_t seed = gettid();

	(void)sock;
	for (;;) {
		switch (upto(&seed, 3)) {
		case 0:
			for (const uint64_t end = tsc() + 20000; tsc() < end;)
				;
			break;
		case 1:
			sleep_us(upto(&seed, 2000));
			break;
		case 2:
			if (!fork())
				_exit(0);
			wait(NULL);
			break;
		default:
			sched_yield();
		}
	}
}

TEST_F(cgroup, churn)
{
	const int64_t t0 = now_ns(CLOCK_MONOTONIC);
	struct child children[CHILDREN];
	uint64_t seed = tsc();
	int clocks[3], dirs[NAMES];
	int64_t ms = scaled(20000), most;

	printf("# seed %llu\n", (unsigned long long)seed);
	for (int i = 2; i < NAMES; i++)
		close(make_cgroup(churned[i]));
	for (int i = 1; i < NAMES; i++)
		dirs[i] = open_cgroup(churned[i]);
	for (int i = 0; i < CHILDREN; i++)
		children[i] = start_child(busy);
	clocks[0] = self->c.fd;
	for (int i = 1; i < 3; i++)
		clocks[i] = open_device();
	while (now_ns(CLOCK_MONOTONIC) - t0 < ms * MSEC) {
		const int child = upto(&seed, CHILDREN - 1), clock = upto(&seed, 2);
		const int dir = 1 + upto(&seed, NAMES - 2);

		switch (upto(&seed, 6)) {
		case 0:
			try_register_cgroup(clocks[clock], dirs[dir]);
			break;
		case 1:
			try_unregister_cgroup(clocks[clock], dirs[dir]);
			break;
		case 2:
			try_register(clocks[clock], children[child].pid, INHERIT);
			break;
		case 3:
			try_unregister(clocks[clock], children[child].pid, 0);
			break;
		case 4:
			end_child(&children[child]);
			children[child] = start_child(busy);
			break;
		default:
			move(churned[upto(&seed, NAMES - 1)], children[child].pid);
		}
	}
	most = (now_ns(CLOCK_MONOTONIC) - t0) / MSEC * sysconf(_SC_NPROCESSORS_CONF);
	for (int i = 0; i < CHILDREN; i++)
		end_child(&children[i]);
	for (int i = 0; i < 3; i++) {
		EXPECT_GE(most, cpu_ms(clocks[i]));
		EXPECT_TRUE(wait_running(clocks[i], 0));
	}
	for (int i = 1; i < 3; i++)
		close(clocks[i]);
	for (int i = 1; i < NAMES; i++) {
		try_unregister_cgroup(self->c.fd, dirs[i]);
		close(dirs[i]);
	}
	for (int i = NAMES - 1; i > 1; i--)
		remove_cgroup(churned[i]);
	EXPECT_TRUE(wait_all_tasks(self->c.fd, 0));
	EXPECT_TRUE(all_gone(self->c.fd));
	EXPECT_TRUE(wait_until(!used(self->c.fd)));
}

TEST_HARNESS_MAIN
