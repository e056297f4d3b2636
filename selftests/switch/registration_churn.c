// SPDX-License-Identifier: GPL-2.0
/*
 * Registrations come and go, with their tasks, their clocks and the module, in any order. This
 * program starts without the module, and loads it.
 *
 * Checked: after registering, forking, killing, passing on and closing, all at the same time,
 * no task and no reference is left. The module unloads as soon as the last descriptor is
 * closed, while its registered tasks live on. An inherited registration exists or was counted
 * as missed. Nothing hangs. Afterwards the VM's init looks for splats and leaks in the kernel's
 * log.
 *
 * Fails if a registration outlives its task or its clock, is freed while a probe that has found
 * it still runs, or is ended twice; if probes or work outlive the module; or if an error path
 * loses or leaks a registration.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/module.h"
#include "lib/page.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/wait.h"

#define WORKERS		4
#define THREADS		3
#define SHORT_THREADS	3	/* of a worker, at a time */
#define SLOTS		4	/* descriptors of a worker */
#define TIDS		16
#define MAX_DEPTH	2	/* a worker's child's child */
#define MIN_ROUNDS	20
#define MIN_NAPS	20	/* in a round: a measure for everything */
#define MIN_DONE	10	/* times, everything */
#define SECONDS		30
#define SECONDS_DEBUG	120
#define UNLOAD_MS	(3 * PATIENCE_MS)

#define ALL_FLAGS	(PARKCLOCK_TASK_PROCESS | PARKCLOCK_TASK_INHERIT)

static int64_t now_ms(void)
{
	return now_ns(CLOCK_MONOTONIC) / 1000000;
}

static uint64_t seed_of(unsigned int n)
{
	return 0x9e3779b97f4a7c15ULL * (n + 1);
}

static void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void must_load(const char *params)
{
	int err = load(params);

	if (err) {
		errno = -err;
		die("load " MODULE);
	}
}

static bool kernel_can_register(void)
{
	int fd, err;

	must_load("");
	fd = open_device();
	err = try_register(fd, 0, 0);
	close(fd);
	if (unload())
		die("unload");
	return err != -EOPNOTSUPP;
}

/* Who loads and unloads is to get on, however busy the others are. */
static void be_nice(void)
{
	if (nice(10) < 0)
		die("nice");
}

#define NEEDS_REGISTER(statement) do { \
	if (!kernel_can_register()) \
		SKIP(statement, "needs a kernel with tracepoints"); \
} while (0)

/* Children of ours, and of children that died: reap those that are dead. */
static bool all_died_well = true;

static bool reap(int flags)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, flags)) > 0) {
		if (WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : !WEXITSTATUS(status))
			continue;
		fprintf(stderr, "# process %d ended with status 0x%x\n", pid, status);
		all_died_well = false;
	}
	return !pid;
}

/* Descriptors on their way to anybody */
static int exchange[2] = { -1, -1 };

static bool post_fd(int to, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { "", 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(to, &msg, MSG_DONTWAIT) == 1;
}

/* A descriptor, or -1 */
static int take_fd(int from)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c;
	int fd = -1;

	if (recvmsg(from, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

static void drain(void)
{
	int fd;

	while ((fd = take_fd(exchange[1])) >= 0)
		close(fd);
}

/* All registrations and references on the host are gone, or soon are. */
static bool wait_nothing(int fd)
{
	struct parkclock_query q = {};

	for (int64_t end = now_ms() + UNLOAD_MS; now_ms() < end; sleep_ms(1)) {
		drain();
		q = query(fd);
		if (!q.all_tasks && !q.all_running && !q.references)
			return true;
	}
	fprintf(stderr, "# left: %llu tasks, %llu running, %llu references\n",
		(unsigned long long)q.all_tasks, (unsigned long long)q.all_running,
		(unsigned long long)q.references);
	return false;
}

FIXTURE(registration_churn) {
};

FIXTURE_SETUP(registration_churn)
{
	settle();
	if (exists("/sys/module/parkclock"))
		ASSERT_EQ(0, unload());
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		die("PR_SET_CHILD_SUBREAPER");
}

FIXTURE_TEARDOWN(registration_churn)
{
	if (exists("/sys/module/parkclock"))
		EXPECT_EQ(0, unload());
}

/* At random: what all the processes know */

enum op {
	OPEN, CLOSE, MAP, UNMAP, HOLD, RELEASE, READ, QUERY, REGISTER_SELF, REGISTER_OTHER,
	UNREGISTER_SELF, UNREGISTER_OTHER, SEND, RECEIVE, SEND_AND_FORGET, FORK, VFORK,
	EXEC, KILL, THREAD, SPIN, SLEEP, OPS
};

static const char *const op_names[OPS] = {
	"open", "close", "map", "unmap", "hold", "release", "read", "query",
	"register self", "register another", "unregister self", "unregister another",
	"send", "receive", "send and forget", "fork", "vfork", "exec", "kill", "thread",
	"spin", "sleep"
};

struct world {
	atomic_bool quiet;		/* close everything, open nothing */
	atomic_int tids[TIDS];		/* of those that live or lived */
	atomic_ulong done[OPS];		/* with success */
	atomic_ulong wrong;		/* errors that should not be */
};

static struct world *world;

/* and what the threads of a process share */
static atomic_int slots[SLOTS] = { [0 ... SLOTS - 1] = -1 };
static atomic_int short_threads;

struct self {
	uint64_t seed;
	void *map;
	int depth;
	bool stubborn;	/* opens also when it should be quiet */
};

static unsigned int upto(struct self *me, unsigned int n)
{
	return (rnd(&me->seed) >> 16) % n;
}

static atomic_int *slot(struct self *me)
{
	return &slots[upto(me, SLOTS)];
}

static int some_tid(struct self *me)
{
	return world->tids[upto(me, TIDS)];
}

/* Count it; is the error one of those that may be? A descriptor may be gone, or another. */
static void result(enum op op, int err, const int *may_be)
{
	if (!err) {
		world->done[op]++;
		return;
	}
	if (err == -EBADF || err == -ENOTTY)
		return;
	for (; *may_be; may_be++)
		if (err == -*may_be)
			return;
	if (!world->wrong++)
		fprintf(stderr, "# %s: %s\n", op_names[op], strerror(-err));
}

static const int register_errors[] = { EEXIST, ESRCH, EPERM, ENOSPC, EMLINK, EOPNOTSUPP, 0 };
static const int unregister_errors[] = { ENOENT, ESRCH, EPERM, 0 };
static const int hold_errors[] = { ENOENT, EOVERFLOW, 0 };
static const int no_errors[] = { 0 };

static void put_in_slot(struct self *me, int fd)
{
	int old = atomic_exchange(slot(me), fd);

	if (old >= 0 && !close(old))
		world->done[CLOSE]++;
}

static void do_open(struct self *me)
{
	int fd = open(PARKCLOCK_DEVICE, (upto(me, 4) ? O_RDWR : O_RDONLY) | O_CLOEXEC);

	if (fd < 0)
		return;		/* the module is not there */
	world->done[OPEN]++;
	put_in_slot(me, fd);
}

static void do_map(struct self *me)
{
	void *map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, *slot(me), 0);

	if (map == MAP_FAILED)
		return;
	if (me->map)
		munmap(me->map, PARKCLOCK_MAP_SIZE);
	me->map = map;
	(void)valid(map);
	world->done[MAP]++;
}

static void do_unmap(struct self *me)
{
	if (!me->map)
		return;
	if (!munmap(me->map, PARKCLOCK_MAP_SIZE))
		world->done[UNMAP]++;
	me->map = NULL;
}

static void do_ioctl(enum op op, int fd)
{
	struct parkclock_read r = { .clock_id = CLOCK_MONOTONIC };
	struct parkclock_query q;
	int ret;

	switch (op) {
	case HOLD:
		ret = ioctl(fd, PARKCLOCK_IOC_HOLD, 0);
		break;
	case RELEASE:
		ret = ioctl(fd, PARKCLOCK_IOC_RELEASE, 0);
		break;
	case READ:
		ret = ioctl(fd, PARKCLOCK_IOC_READ, &r);
		break;
	default:
		ret = ioctl(fd, PARKCLOCK_IOC_QUERY, &q);
		break;
	}
	result(op, ret ? -errno : 0, op == HOLD || op == RELEASE ? hold_errors : no_errors);
}

static void do_receive(struct self *me)
{
	int fd = take_fd(exchange[1]);

	if (fd < 0)
		return;
	world->done[RECEIVE]++;
	put_in_slot(me, fd);
}

/* It goes with the socket that it is in. */
static void do_send_and_forget(struct self *me)
{
	int fd = atomic_exchange(slot(me), -1), pair[2];

	if (fd < 0)
		return;
	if (!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		if (post_fd(pair[0], fd))
			world->done[SEND_AND_FORGET]++;
		close(fd);
		close(pair[0]);
		close(pair[1]);
	} else {
		close(fd);
	}
}

static void spin_us(unsigned int us)
{
	int64_t t0 = now_ns(CLOCK_MONOTONIC);

	while (now_ns(CLOCK_MONOTONIC) - t0 < us * 1000LL)
		;
}

static void let_go(struct self *me)
{
	do_unmap(me);
	for (int i = 0; i < SLOTS; i++) {
		int fd = atomic_exchange(&slots[i], -1);

		if (fd >= 0 && !close(fd))
			world->done[CLOSE]++;
	}
}

/* Another program, registered as before: argv[1] is a descriptor, or what was one. */
static void __attribute__((constructor)) after_exec(int argc, char **argv)
{
	int fd;

	if (argc != 3 || strcmp(argv[1], "after-exec"))
		return;
	fd = atoi(argv[2]);
	if (try_unregister(fd, 0, 0) == -ENOENT)
		try_register(fd, 0, PARKCLOCK_TASK_INHERIT);
	if (!fork())
		spin_us(100);
	_exit(0);
}

static void exec_with(int fd)
{
	char number[12];

	snprintf(number, sizeof(number), "%d", fd);
	execl("/proc/self/exe", "churn", "after-exec", number, NULL);
	_exit(127);
}

static void do_vfork(struct self *me)
{
	int fd = *slot(me), other = some_tid(me);
	pid_t child;

	child = vfork();
	if (!child) {
		try_register(fd, other, PARKCLOCK_TASK_INHERIT);
		try_register(fd, 0, PARKCLOCK_TASK_INHERIT);
		_exit(0);
	}
	if (child > 0 && waitpid(child, NULL, 0) == child)
		world->done[VFORK]++;
}

static void life(struct self *me, int steps);

static void do_fork(struct self *me)
{
	uint64_t seed = rnd(&me->seed);
	bool killed = !upto(me, 3), execs = !upto(me, 4);
	int fd = *slot(me), status;
	pid_t child;

	if (me->depth == MAX_DEPTH)
		return;
	child = fork();
	if (!child) {
		me->seed = seed | 1;
		me->depth++;
		life(me, 10);
		if (!execs)
			_exit(0);
		fcntl(fd, F_SETFD, 0);
		exec_with(fd);
	}
	if (child < 0)
		return;
	world->tids[upto(me, TIDS)] = child;
	if (upto(me, 2))
		result(REGISTER_OTHER, try_register(fd, child, upto(me, 4)), register_errors);
	if (killed) {
		sleep_us(upto(me, 3000));
		kill(child, SIGKILL);
		world->done[KILL]++;
	}
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	world->done[FORK]++;
	if (WIFSIGNALED(status) ? WTERMSIG(status) != SIGKILL : WEXITSTATUS(status))
		world->wrong++;
	else if (execs && WIFEXITED(status))
		world->done[EXEC]++;
}

static void *short_life(void *arg)
{
	struct self me = { .seed = seed_of((uintptr_t)arg), .depth = MAX_DEPTH };

	life(&me, 5);
	short_threads--;
	return NULL;
}

static void start_thread(void *(*f)(void *arg), uintptr_t n)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, f, (void *)n))
		die("pthread_create");
	pthread_attr_destroy(&attr);
}

static void do_thread(struct self *me)
{
	/* Not in a child of a process with threads. */
	if (me->depth)
		return;
	if (short_threads++ >= SHORT_THREADS) {
		short_threads--;
		return;
	}
	start_thread(short_life, upto(me, 1 << 20));
	world->done[THREAD]++;
}

static void step(struct self *me)
{
	enum op op = upto(me, OPS);
	int err, fd = *slot(me);

	switch (op) {
	case KILL:	/* a part of fork */
	case OPEN:
		do_open(me);
		break;
	case CLOSE:
		put_in_slot(me, -1);
		break;
	case MAP:
		do_map(me);
		break;
	case UNMAP:
		do_unmap(me);
		break;
	case HOLD:
	case RELEASE:
	case READ:
	case QUERY:
		do_ioctl(op, fd);
		break;
	case REGISTER_SELF:
		world->tids[upto(me, TIDS)] = gettid();
		result(op, try_register(fd, 0, upto(me, ALL_FLAGS + 1)), register_errors);
		break;
	case REGISTER_OTHER:
		err = try_register(fd, some_tid(me), upto(me, ALL_FLAGS + 1));
		result(op, err, register_errors);
		break;
	case UNREGISTER_SELF:
		for (int i = 0; i < SLOTS; i++) {
			err = try_unregister(slots[i], 0, upto(me, 2));
			result(op, err, unregister_errors);
		}
		break;
	case UNREGISTER_OTHER:
		/* Of this clock: mostly few or none of them are. */
		for (int i = 0; i < TIDS; i++) {
			err = try_unregister(fd, world->tids[i], upto(me, 2));
			result(op, err, unregister_errors);
		}
		break;
	case SEND:
		if (post_fd(exchange[0], fd))
			world->done[op]++;
		break;
	case RECEIVE:
		do_receive(me);
		break;
	case SEND_AND_FORGET:
		do_send_and_forget(me);
		break;
	case EXEC:	/* likewise */
	case FORK:
		do_fork(me);
		break;
	case VFORK:
		do_vfork(me);
		break;
	case THREAD:
		do_thread(me);
		break;
	case SPIN:
		spin_us(upto(me, 500));
		world->done[op]++;
		break;
	case SLEEP:
	case OPS:
		sleep_us(upto(me, 2000));
		world->done[op]++;
	}
}

/* Registered maybe, of clocks that are being closed. */
static void be_quiet(struct self *me)
{
	let_go(me);
	if (me->stubborn && !upto(me, 8)) {
		do_open(me);
		try_register(*slot(me), 0, upto(me, ALL_FLAGS + 1));
		let_go(me);
	}
	switch (upto(me, 16)) {
	case 0:
		do_fork(me);
		break;
	case 1:
	case 2:
		spin_us(upto(me, 1000));
		break;
	default:
		sleep_us(upto(me, 20000));
	}
}

/* For so many steps, or for ever if that is negative */
static void life(struct self *me, int steps)
{
	world->tids[upto(me, TIDS)] = gettid();
	for (; steps; steps -= steps > 0) {
		if (!world->quiet)
			step(me);
		else if (!me->depth)
			be_quiet(me);
		else
			break;
	}
	do_unmap(me);
}

static void *long_life(void *arg)
{
	unsigned int n = (uintptr_t)arg;
	struct self me = { .seed = seed_of(n), .stubborn = n % (WORKERS * THREADS) == 0 };

	life(&me, -1);
	return NULL;
}

static pid_t start_worker(unsigned int worker, unsigned int generation)
{
	unsigned int n = (generation * WORKERS + worker) * THREADS;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid) {
		setpgid(pid, pid);
		return pid;
	}
	setpgid(0, 0);
	be_nice();
	for (int i = 1; i < THREADS; i++)
		start_thread(long_life, n + i);
	long_life((void *)(uintptr_t)n);
	_exit(1);
}

/* The process alone, a little later what it has started, then wait for that. */
static void kill_worker(pid_t pid, unsigned int us)
{
	kill(pid, SIGKILL);
	sleep_us(us);
	kill(-pid, SIGKILL);
	world->done[KILL]++;
}

/* A task that registers is protected, whenever it wakes. */
static bool is_protected(void)
{
	struct pclock c = open_clock();
	struct parkclock_query start, end;
	int expired = 0, naps = 0;

	must_register(c.fd, 0, 0);
	if (!counter_usable())
		goto out;
	start = query(c.fd);
	do {
		uint64_t nap = query(c.fd).counter_hz / 50;
		int64_t blocked = times_blocked();
		uint64_t woken = tsc() + nap - 1000;

		sleep_ms(20);
		/* A nap that was over before it had begun is none. */
		if (!valid(c.map))
			expired += expired_since(c.map, woken) && times_blocked() != blocked;
		end = query(c.fd);
	} while (++naps < 1000 && end.run_wakes - start.run_wakes < 10);
	if (expired || naps == 1000)
		fprintf(stderr, "# expired %d times in %d naps with %llu wakes\n", expired, naps,
			(unsigned long long)(end.run_wakes - start.run_wakes));
out:
	if (try_unregister(c.fd, 0, 0))
		die("UNREGISTER");
	close_clock(&c);
	return !expired && naps < 1000;
}

static bool enough(bool can_register)
{
	for (enum op op = 0; op < OPS; op++) {
		bool registers = op >= REGISTER_SELF && op <= UNREGISTER_OTHER;

		if (world->done[op] < scaled(MIN_DONE) && (can_register || !registers))
			return false;
	}
	return true;
}

TEST_F_TIMEOUT(registration_churn, at_random, 900)
{
	static const char *const params[] = { "interval_ms=1", "", "interval_ms=1 max_tasks=20" };
	unsigned int rounds = 0, refused = 0, raced = 0, generation = 0;
	uint64_t seed = seed_of(1 << 24);
	/* More where most would be noticed */
	int64_t seconds = scaled(exists("/sys/kernel/debug/kmemleak") ? SECONDS_DEBUG : SECONDS);
	int64_t end = now_ms() + seconds * 1000, deadline;
	pid_t pids[WORKERS];
	bool can_register = kernel_can_register();
	int err;

	world = shared(sizeof(*world));
	world->quiet = true;
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, exchange));
	for (int i = 0; i < WORKERS; i++)
		pids[i] = start_worker(i, generation);
	/* Until it was enough of everything, however slow the machine. */
	while (now_ms() < end || rounds < scaled(MIN_ROUNDS) || !enough(can_register)) {
		const char *param = params[rounds % ARRAY_SIZE(params)];
		unsigned long naps = world->done[SLEEP] + MIN_NAPS;
		int64_t until;
		int fd = -1;

		must_load(param);
		until = now_ms() + 100 + rnd(&seed) % 600;
		world->quiet = false;
		while (now_ms() < until || world->done[SLEEP] < naps) {
			unsigned int i = rnd(&seed) % WORKERS;

			if (!(rnd(&seed) % 32)) {
				kill_worker(pids[i], rnd(&seed) % 500);
				pids[i] = start_worker(i, ++generation);
			}
			if (!(rnd(&seed) % 4)) {
				err = unload();
				refused += !!err;
				if (!err) {
					raced++;
					world->quiet = true;
					must_load(param);
					world->quiet = false;
				}
			}
			reap(WNOHANG);
			sleep_us(rnd(&seed) % 20000);
		}
		if (rounds % 2)
			fd = open_device();
		world->quiet = true;
		if (!(rounds % 4))
			for (int i = 0; i < WORKERS; i++)
				kill_worker(pids[i], 0);
		if (fd >= 0) {
			ASSERT_TRUE(wait_nothing(fd));
			close(fd);
		}
		deadline = now_ms() + UNLOAD_MS;
		while ((err = unload()) == -EWOULDBLOCK && now_ms() < deadline) {
			drain();
			reap(WNOHANG);
			sleep_us(500);
			refused++;
		}
		ASSERT_EQ(0, err);
		if (!(rounds % 4))
			for (int i = 0; i < WORKERS; i++)
				pids[i] = start_worker(i, ++generation);
		rounds++;
		ASSERT_EQ(0, world->wrong);
	}
	for (int i = 0; i < WORKERS; i++)
		kill_worker(pids[i], 0);
	reap(0);
	EXPECT_TRUE(all_died_well);

	must_load("interval_ms=1");
	err = open_device();
	EXPECT_TRUE(wait_nothing(err));
	close(err);
	if (can_register)
		EXPECT_TRUE(is_protected());
	EXPECT_EQ(0, unload());
	EXPECT_STREQ("", what_is_left());

	TH_LOG("%u rounds, %u more unloads in between, %u refused, %u workers", rounds, raced,
	       refused, generation + WORKERS);
	for (enum op op = 0; op < OPS; op++)
		TH_LOG("%9lu %s", world->done[op], op_names[op]);
	munmap(world, sizeof(*world));
}

/* Tasks that live on: with the module gone */

#define LIVES		4
#define LIFE_THREADS	3
#define LIVES_ROUNDS	10

struct lives {
	atomic_ulong beats[LIVES][LIFE_THREADS];
};

static struct lives *lives;

/* Thread 0 makes children, thread 1 spins, thread 2 sleeps. */
static void *beat(void *arg)
{
	uintptr_t n = (uintptr_t)arg;
	atomic_ulong *beats = &lives->beats[n / LIFE_THREADS][n % LIFE_THREADS];

	for (;;) {
		if (n % LIFE_THREADS == 0) {
			pid_t child = fork();

			if (!child)
				_exit(0);
			waitpid(child, NULL, 0);
		} else if (n % LIFE_THREADS == 1) {
			spin_us(100);
		} else {
			sleep_ms(5);
		}
		++*beats;
	}
}

/* All threads have gone on since then. */
static bool wait_beats(void)
{
	struct lives before;
	int i, j;

	for (i = 0; i < LIVES; i++)
		for (j = 0; j < LIFE_THREADS; j++)
			before.beats[i][j] = lives->beats[i][j];
	for (int64_t end = now_ms() + UNLOAD_MS; now_ms() < end; sleep_ms(1)) {
		bool all = true;

		for (i = 0; i < LIVES; i++)
			for (j = 0; j < LIFE_THREADS; j++)
				all &= lives->beats[i][j] > before.beats[i][j] + 1;
		if (all)
			return true;
	}
	return false;
}

/* Let go of a clock, so that nothing of it is left when this returns. */
static void last_of(struct pclock *c, int way)
{
	int pair[2];

	switch (way) {
	case 0:
		munmap(c->map, PARKCLOCK_MAP_SIZE);
		close(c->fd);
		break;
	case 1:
		close(c->fd);
		munmap(c->map, PARKCLOCK_MAP_SIZE);
		break;
	default:
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || !post_fd(pair[0], c->fd))
			die("SCM_RIGHTS");
		close_clock(c);
		close(pair[0]);
		close(pair[1]);
	}
}

TEST_F_TIMEOUT(registration_churn, unload_with_registered_tasks_alive, 900)
{
	pid_t pids[LIVES];
	struct pclock c;

	NEEDS_REGISTER(return);
	lives = shared(sizeof(*lives));
	for (int i = 0; i < LIVES; i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (pids[i])
			continue;
		be_nice();
		for (int j = 1; j < LIFE_THREADS; j++)
			start_thread(beat, i * LIFE_THREADS + j);
		beat((void *)(uintptr_t)(i * LIFE_THREADS));
	}
	ASSERT_TRUE(wait_beats());
	for (int round = 0; round < LIVES_ROUNDS; round++) {
		uint32_t flags = PARKCLOCK_TASK_PROCESS |
				 (round % 2 ? PARKCLOCK_TASK_INHERIT : 0);

		must_load(round % 3 ? "interval_ms=1" : "");
		c = open_owner();
		hold(c.fd);
		for (int i = 0; i < LIVES; i++)
			must_register(c.fd, pids[i], flags);
		EXPECT_LE(LIVES * LIFE_THREADS, query(c.fd).tasks);
		ASSERT_TRUE(wait_beats());
		EXPECT_EQ(-EWOULDBLOCK, unload());
		last_of(&c, round % 3);
		ASSERT_EQ(0, unload());
		ASSERT_STREQ("", what_is_left());
		ASSERT_TRUE(wait_beats());
	}
	/* And they die while they are registered. */
	must_load("");
	c = open_owner();
	for (int i = 0; i < LIVES; i++) {
		must_register(c.fd, pids[i], ALL_FLAGS);
		kill(pids[i], SIGKILL);
	}
	reap(0);
	EXPECT_TRUE(all_died_well);
	EXPECT_TRUE(wait_nothing(c.fd));
	close_clock(&c);
	munmap(lives, sizeof(*lives));
}

/*
 * Tasks that die, on all CPUs, at the time of the last close: the one that dies last has
 * the least time to tell the clock before that goes.
 */

#define DYING		3
#define DYING_ROUNDS	150

TEST_F(registration_churn, closed_while_its_tasks_die)
{
	uint64_t seed = seed_of(0);

	NEEDS_REGISTER(return);
	must_load("interval_ms=1");
	for (int round = 0; round < (int)scaled(DYING_ROUNDS); round++) {
		struct pclock c = open_owner();
		pid_t pids[DYING];
		int go[2];

		ASSERT_EQ(0, pipe(go));
		for (int i = 0; i < DYING; i++) {
			unsigned int us = (rnd(&seed) >> 16) % 100;

			pids[i] = fork();
			ASSERT_LE(0, pids[i]);
			if (pids[i])
				continue;
			close_clock(&c);
			close(go[1]);
			pin(i % cpus_online());
			/* Its end tells all of them. */
			(void)!read(go[0], &c, 1);
			spin_us(us);
			_exit(0);
		}
		for (int i = 0; i < DYING; i++)
			must_register(c.fd, pids[i], 0);
		munmap(c.map, PARKCLOCK_MAP_SIZE);
		close(go[0]);
		close(go[1]);
		/* Most are closed when all are out of the table, some before. */
		for (int i = 0; i < 10000 && round % 8 && query(c.fd).all_tasks; i++)
			;
		close(c.fd);
		reap(0);
		if (round % 10)
			continue;
		ASSERT_EQ(0, unload());
		must_load("interval_ms=1");
	}
	EXPECT_TRUE(all_died_well);
	EXPECT_EQ(0, unload());
}

/* Inherited by many */

#define BOMBS		4
#define BOMB_DEPTH	5	/* 2^5 processes */
#define BOMB_ROUNDS	4	/* and two */
#define LIMIT		50

struct bomb {
	atomic_uint ready;	/* roots that have registered */
	atomic_uint go;		/* a futex, as die is */
	atomic_uint alive;	/* all that were there so far */
	atomic_uint die;
};

static struct bomb *bomb;

/* Not a look every ms: a hundred of these would keep the CPUs busy. */
static void wait_for(atomic_uint *flag)
{
	while (!*flag)
		syscall(SYS_futex, flag, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void say(atomic_uint *flag)
{
	*flag = 1;
	syscall(SYS_futex, flag, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void burst(int depth, bool stay)
{
	/* So does the child, as often as is left. */
	while (depth--)
		if (fork() < 0)
			_exit(2);
	bomb->alive++;
	if (stay)
		wait_for(&bomb->die);
	_exit(0);
}

static bool wait_count(const atomic_uint *count, unsigned int n)
{
	for (int64_t end = now_ms() + UNLOAD_MS; now_ms() < end; sleep_ms(1))
		if (*count == n)
			return true;
	fprintf(stderr, "# %u processes of %u\n", *count, n);
	return false;
}

static bool may_miss(void)
{
	return exists("/sys/kernel/realtime");
}

TEST_F_TIMEOUT(registration_churn, inherited_by_fork_bombs, 900)
{
	const int rounds = scaled(BOMB_ROUNDS) + 2;
	const unsigned int all = BOMBS << BOMB_DEPTH;
	struct parkclock_query before, q;
	unsigned long missed = 0;
	struct pclock c;

	NEEDS_REGISTER(return);
	bomb = shared(sizeof(*bomb));
	must_load("interval_ms=1");
	c = open_clock();
	for (int round = 0; round < rounds; round++) {
		bool stay = round % 2;

		memset(bomb, 0, sizeof(*bomb));
		before = query(c.fd);
		for (int i = 0; i < BOMBS; i++) {
			pid_t pid = fork();

			ASSERT_LE(0, pid);
			if (pid)
				continue;
			must_register(c.fd, 0, PARKCLOCK_TASK_INHERIT);
			bomb->ready++;
			wait_for(&bomb->go);
			burst(BOMB_DEPTH, stay);
		}
		ASSERT_TRUE(wait_count(&bomb->ready, BOMBS));
		EXPECT_EQ(BOMBS, query(c.fd).tasks);
		say(&bomb->go);
		ASSERT_TRUE(wait_count(&bomb->alive, all));
		if (stay) {
			q = query(c.fd);
			/* Who is missed has children that nobody misses. */
			EXPECT_EQ(q.run_missed == before.run_missed, q.tasks == all);
			EXPECT_GE(all, q.tasks);
			/* Each of them ran. */
			EXPECT_LE(q.tasks, q.run_transitions - before.run_transitions);
			say(&bomb->die);
		}
		reap(0);
		EXPECT_TRUE(wait_tasks(c.fd, 0));
		EXPECT_TRUE(wait_nothing(c.fd));
		q = query(c.fd);
		missed += q.run_missed - before.run_missed;
		if (!may_miss())
			EXPECT_EQ(before.run_missed, q.run_missed);
	}
	close_clock(&c);
	EXPECT_EQ(0, unload());
	TH_LOG("%u processes inherited, %lu missed", rounds * (all - BOMBS), missed);
	munmap(bomb, sizeof(*bomb));
}

/* The children of one that is registered are so, up to the limit; the others are counted. */
TEST_F(registration_churn, inherited_up_to_the_limit)
{
	const unsigned int children = 2 * LIMIT;
	struct parkclock_query q;
	char params[32];
	struct pclock c;

	NEEDS_REGISTER(return);
	bomb = shared(sizeof(*bomb));
	snprintf(params, sizeof(params), "max_tasks=%u", LIMIT);
	must_load(params);
	c = open_clock();
	must_register(c.fd, 0, PARKCLOCK_TASK_INHERIT);
	for (unsigned int i = 0; i < children; i++) {
		pid_t pid = fork();

		ASSERT_LE(0, pid);
		if (pid)
			continue;
		bomb->alive++;
		wait_for(&bomb->die);
		_exit(0);
	}
	ASSERT_TRUE(wait_count(&bomb->alive, children));
	q = query(c.fd);
	EXPECT_EQ(children + 1, q.tasks + q.run_missed);
	EXPECT_GE(LIMIT, q.tasks);
	if (!may_miss())
		EXPECT_EQ(LIMIT, q.tasks);
	say(&bomb->die);
	reap(0);
	EXPECT_TRUE(all_died_well);
	EXPECT_TRUE(wait_tasks(c.fd, 1));
	EXPECT_EQ(0, try_unregister(c.fd, 0, 0));
	EXPECT_TRUE(wait_nothing(c.fd));
	close_clock(&c);
	munmap(bomb, sizeof(*bomb));
}

/* Many that register the same */

#define SAME_SECONDS	10
#define REGISTRARS	3
#define UNREGISTRARS	2

struct actor {
	pthread_t thread;
	uint64_t seed;
	unsigned long done;
	unsigned long refused;
	int wrong;		/* an errno that should not be */
	int64_t longest_ms;
};

static struct {
	int fd;
	pid_t target;
	atomic_bool stop;
} same;

struct crowd {
	atomic_int tids[4];
	atomic_ulong started;
};

static struct crowd *crowd;

static void *comes_and_goes(void *arg)
{
	uintptr_t n = (uintptr_t)arg;

	crowd->tids[n % ARRAY_SIZE(crowd->tids)] = gettid();
	spin_us(n % 300);
	sleep_us(n % 1700);
	short_threads--;
	return NULL;
}

static void be_target(void)
{
	for (unsigned int n = 0;; n++) {
		if (short_threads < 6) {
			short_threads++;
			start_thread(comes_and_goes, n * 7919);
			crowd->started++;
		} else {
			sleep_us(n % 200);
		}
	}
}

static int someone(struct actor *a)
{
	unsigned int n = (rnd(&a->seed) >> 16) % (2 * ARRAY_SIZE(crowd->tids));

	return n < ARRAY_SIZE(crowd->tids) ? crowd->tids[n] : same.target;
}

static void *registrar(void *arg)
{
	struct actor *a = arg;

	while (!same.stop) {
		int64_t t0 = now_ms(), ms;
		int err = try_register(same.fd, someone(a), (rnd(&a->seed) >> 16) % 4);

		ms = now_ms() - t0;
		if (ms > a->longest_ms)
			a->longest_ms = ms;
		if (!err)
			a->done++;
		else if (err == -EEXIST || err == -ESRCH)
			a->refused++;
		else
			a->wrong = -err;
		sleep_us((rnd(&a->seed) >> 16) % 300);
	}
	return NULL;
}

static void *unregistrar(void *arg)
{
	struct actor *a = arg;

	while (!same.stop) {
		int err = try_unregister(same.fd, someone(a), (rnd(&a->seed) >> 16) % 2);

		if (!err)
			a->done++;
		else if (err == -ENOENT || err == -ESRCH)
			a->refused++;
		else
			a->wrong = -err;
		sleep_us((rnd(&a->seed) >> 16) % 1000);
	}
	return NULL;
}

/* Puts another clock in its place: the number is always a descriptor of one. */
static void *closer(void *arg)
{
	struct actor *a = arg;

	while (!same.stop) {
		int fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);

		if (fd < 0 || dup3(fd, same.fd, O_CLOEXEC) < 0)
			a->wrong = errno;
		close(fd);
		a->done++;
		sleep_us((rnd(&a->seed) >> 16) % 30000);
	}
	return NULL;
}

static bool all_have_done(const struct actor *a, int n, unsigned long times)
{
	for (int i = 0; i < n; i++)
		if (__atomic_load_n(&a[i].done, __ATOMIC_RELAXED) < times)
			return false;
	return true;
}

TEST_F_TIMEOUT(registration_churn, same_target_at_the_same_time, 600)
{
	struct actor actors[REGISTRARS + UNREGISTRARS + 1] = { 0 };
	const int n = ARRAY_SIZE(actors);
	int64_t end = now_ms() + SAME_SECONDS * 1000;

	NEEDS_REGISTER(return);
	crowd = shared(sizeof(*crowd));
	must_load("interval_ms=1");
	same.target = fork();
	ASSERT_LE(0, same.target);
	if (!same.target)
		be_target();
	same.fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, same.fd);
	for (int i = 0; i < n; i++) {
		void *(*f)(void *arg) = i < REGISTRARS ? registrar : i < n - 1 ? unregistrar :
					closer;

		actors[i].seed = seed_of(i);
		ASSERT_EQ(0, pthread_create(&actors[i].thread, NULL, f, &actors[i]));
	}
	/* Until each has done enough: on a slow machine a call that registers waits long. */
	while (now_ms() < end || !all_have_done(actors, n, MIN_DONE + 1))
		sleep_ms(100);
	same.stop = true;
	for (int i = 0; i < n; i++) {
		struct actor *a = &actors[i];

		pthread_join(a->thread, NULL);
		TH_LOG("thread %d: %lu done, %lu refused, longest %lld ms", i, a->done,
		       a->refused, (long long)a->longest_ms);
		EXPECT_EQ(0, a->wrong);
		/* Whatever others take back, the call ends. */
		EXPECT_GT(UNLOAD_MS, a->longest_ms);
	}
	TH_LOG("%lu threads came and went", crowd->started);
	kill(same.target, SIGKILL);
	reap(0);
	EXPECT_TRUE(wait_nothing(same.fd));
	close(same.fd);
	munmap(crowd, sizeof(*crowd));
}

/* REGISTER ends, however often others take back what it has done so far. */

#define TAKEN_BACK	100

struct spoiler {
	pthread_t thread;
	int fd;
	pid_t target;
	atomic_uint done;
	atomic_bool stop;
};

static void *spoiler(void *arg)
{
	struct spoiler *s = arg;

	while (!s->stop && s->done < TAKEN_BACK) {
		if (!try_unregister(s->fd, s->target, PARKCLOCK_TASK_PROCESS))
			s->done++;
		sched_yield();
	}
	return NULL;
}

TEST_F(registration_churn, register_ends_while_others_unregister)
{
	struct spoiler s = { 0 };
	struct pclock c;
	int calls = 0;

	NEEDS_REGISTER(return);
	must_load("");
	c = open_owner();
	s.fd = c.fd;
	s.target = fork();
	ASSERT_LE(0, s.target);
	if (!s.target)
		for (;;)
			pause();
	ASSERT_EQ(0, pthread_create(&s.thread, NULL, spoiler, &s));
	for (; calls < 10 && s.done < TAKEN_BACK; calls++) {
		int err = try_register(c.fd, s.target, ALL_FLAGS);

		EXPECT_TRUE(!err || err == -EEXIST);
	}
	s.stop = true;
	pthread_join(s.thread, NULL);
	EXPECT_GT(TAKEN_BACK, s.done);
	TH_LOG("%d calls, taken back %u times", calls, s.done);
	kill(s.target, SIGKILL);
	reap(0);
	EXPECT_TRUE(wait_nothing(c.fd));
	close_clock(&c);
}

TEST_HARNESS_MAIN
