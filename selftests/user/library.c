// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock, and the parts of the tool that need a process with threads or a view.
 *
 * Checked: each function does what libparkclock.h says, on the page, on the slow path, and where
 * it must fail. "parkclock register" ($PARKCLOCK, or /bin/parkclock) registers all threads of a
 * process, or one of them if asked. "parkclock status" shows who has a clock and who a view.
 *
 * Fails if a function returns another result or errno than documented, changes errno when it
 * succeeds, or stores something when it fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/cgroups.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"
#include "libparkclock.h"

#define NOT_TOUCHED 4711	/* an errno that nothing sets */

/* Where a page that is held must be valid, though the machine may be slow. */
#define LONG_INTERVAL	"60000"	/* ms */

typedef int read_fn(struct parkclock *pc, clockid_t id, struct parkclock_reading *r);

/* parkclock_now() with the bound that the others return: that of the reading after it. */
static int now(struct parkclock *pc, clockid_t id, struct parkclock_reading *r)
{
	struct parkclock_reading after;
	int64_t ns = 0;

	if (parkclock_now(pc, id, &ns) || parkclock_now_bound(pc, id, &after))
		return -1;
	*r = after;
	r->ns = ns;
	return 0;
}

/* parkclock_now_range(), as what it was made of */
static int range(struct parkclock *pc, clockid_t id, struct parkclock_reading *r)
{
	int64_t earliest = 0, latest = -1;

	if (parkclock_now_bound(pc, id, r) || parkclock_now_range(pc, id, &earliest, &latest))
		return -1;
	r->ns = earliest + (latest - earliest) / 2;
	r->error_ns = latest < earliest ? 0 : (latest - earliest) / 2;
	return 0;
}

/* Does every clock, read in this way, lie in its bracket of clock_gettime()? */
static bool right(struct parkclock *pc, read_fn *read)
{
	bool ok = true;

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		struct parkclock_reading r = { 0 };
		int64_t t0 = now_ns(clock_ids[i]), t1;
		int err;

		errno = NOT_TOUCHED;
		err = read(pc, clock_ids[i], &r);
		if (err || errno != NOT_TOUCHED) {
			fprintf(stderr, "# clock %d: returns %d, errno %d\n", clock_ids[i], err,
				errno);
			ok = false;
			continue;
		}
		t1 = now_ns(clock_ids[i]);
		if (!within_bound(&r, t0, t1)) {
			fprintf(stderr, "# clock %d: %lld +- %llu, clock_gettime %lld to %lld\n",
				clock_ids[i], (long long)r.ns, (unsigned long long)r.error_ns,
				(long long)t0, (long long)t1);
			ok = false;
		}
	}
	return ok;
}

static uint64_t slow_reads(struct parkclock *pc)
{
	struct parkclock_query q;

	if (parkclock_query(pc, &q))
		die("parkclock_query");
	return q.slow_reads;
}

/* Parked, and the window over. */
static void wait_expired(struct parkclock *pc)
{
	struct parkclock_query q;

	for (int i = 0; i < PATIENCE_MS; i++) {
		if (parkclock_query(pc, &q))
			die("parkclock_query");
		if (q.state == PARKCLOCK_PARKED && !q.window_left_ns)
			return;
		sleep_ms(1);
	}
	fprintf(stderr, "# the page does not expire\n");
	abort();
}

FIXTURE(library) {
	struct parkclock *pc;
	struct parkclock *reader;	/* cannot write */
};

FIXTURE_SETUP(library)
{
	start_parked("50", "4", "5");
	self->pc = parkclock_open_owner(NULL);
	ASSERT_NE(NULL, self->pc);
	self->reader = parkclock_open(NULL);
	ASSERT_NE(NULL, self->reader);
}

FIXTURE_TEARDOWN(library)
{
	parkclock_close(self->reader);
	parkclock_close(self->pc);
	default_params();
}

/* A leaked descriptor would move the number that the next open gets. */
TEST(close_gives_back_the_descriptor)
{
	struct parkclock *pc = parkclock_open(PARKCLOCK_DEVICE);
	int fd;

	ASSERT_NE(NULL, pc);
	fd = parkclock_fd(pc);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(O_RDONLY, fcntl(fd, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(1, parkclock_usable(parkclock_map(pc)));
	errno = NOT_TOUCHED;
	parkclock_close(pc);
	EXPECT_EQ(NOT_TOUCHED, errno);
	EXPECT_EQ(-1, fcntl(fd, F_GETFD));
	parkclock_close(NULL);

	EXPECT_EQ(NULL, parkclock_open("/dev/zero"));
	EXPECT_EQ(-1, fcntl(fd, F_GETFD));
}

TEST(owner_may_write)
{
	struct parkclock *pc = parkclock_open_owner(NULL);
	int64_t ns;
	int fd;

	ASSERT_NE(NULL, pc);
	fd = parkclock_fd(pc);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(O_RDWR, fcntl(fd, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(1, parkclock_usable(parkclock_map(pc)));
	EXPECT_EQ(0, parkclock_now(pc, CLOCK_MONOTONIC, &ns));
	parkclock_close(pc);

	EXPECT_EQ(NULL, parkclock_open_owner("/dev/zero"));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, fcntl(fd, F_GETFD));
}

/* A mapping that outlives the close would keep the reference. */
TEST(close_gives_back_the_references)
{
	struct parkclock *pc = parkclock_open(NULL), *other = parkclock_open_owner(NULL);

	ASSERT_NE(NULL, pc);
	ASSERT_NE(NULL, other);
	ASSERT_TRUE(wait_references(parkclock_fd(other), 0));
	ASSERT_EQ(0, parkclock_hold(pc));
	EXPECT_EQ(1, query(parkclock_fd(other)).references);
	parkclock_close(pc);
	EXPECT_EQ(0, query(parkclock_fd(other)).references);
	parkclock_close(other);
}

TEST(open_says_why_it_fails)
{
	char dir[] = "/tmp/parkclock.XXXXXX", path[64];

	errno = 0;
	EXPECT_EQ(NULL, parkclock_open("/dev/there-is-no-such-clock"));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_NE(NULL, strstr(parkclock_explain_open(ENOENT), "modprobe parkclock"));

	/* None of these bears being mapped and read, or gives nonsense. */
	EXPECT_EQ(NULL, parkclock_open("/dev/zero"));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(NULL, parkclock_open("/dev/null"));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(NULL, parkclock_open("/"));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_NE(NULL, strstr(parkclock_explain_open(ENOTTY), "not a parkclock device"));

	/* A file that is empty would kill a reader of its mapping. */
	ASSERT_NE(NULL, mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/empty", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	EXPECT_EQ(NULL, parkclock_open(path));
	EXPECT_EQ(ENOTTY, errno);
	unlink(path);
	rmdir(dir);
}

TEST(open_says_that_files_run_out)
{
	struct rlimit none = { 0, 0 }, old;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none.rlim_max = old.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(NULL, parkclock_open(NULL));
	EXPECT_EQ(EMFILE, errno);
	EXPECT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
}

/* Every errno of the manual has a text, and not the same one. */
TEST(explanations)
{
	static const int open_errs[] = {
		0, ENOENT, ENODEV, EACCES, EPERM, ENOTTY, EPROTO, EMFILE, ENFILE, ENOMEM, EAGAIN,
		EBADF
	};
	static const int errs[] = { 0, EAGAIN, EINVAL, EPERM, ENOENT, EOVERFLOW, ENODATA, ENOTTY };
	static const int register_errs[] = {
		0, ESRCH, EPERM, EEXIST, ENOENT, EINVAL, ENOSPC, ENOMEM, EOPNOTSUPP, ENOTTY
	};
	static const int change_errs[] = {
		0, EPERM, ENOTTY, EBUSY, EALREADY, EINVAL, ERANGE, EBADMSG, EOPNOTSUPP, EMFILE,
		ENFILE, ENOMEM
	};
	const int n = ARRAY_SIZE(open_errs);
	const int m = ARRAY_SIZE(errs);
	const int l = ARRAY_SIZE(register_errs);
	const int k = ARRAY_SIZE(change_errs);

	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++)
			EXPECT_STRNE(parkclock_explain_open(open_errs[i]),
				     parkclock_explain_open(open_errs[j]));
	for (int i = 0; i < m; i++)
		for (int j = 0; j < i; j++)
			EXPECT_STRNE(parkclock_explain(errs[i]), parkclock_explain(errs[j]));
	for (int i = 0; i < l; i++)
		for (int j = 0; j < i; j++)
			EXPECT_STRNE(parkclock_explain_register(register_errs[i]),
				     parkclock_explain_register(register_errs[j]));
	for (int i = 0; i < k; i++)
		for (int j = 0; j < i; j++)
			EXPECT_STRNE(parkclock_explain_change(change_errs[i]),
				     parkclock_explain_change(change_errs[j]));
	EXPECT_STRNE(parkclock_explain(ENOENT), parkclock_explain_open(ENOENT));
	EXPECT_STRNE(parkclock_explain(ENOENT), parkclock_explain_register(ENOENT));
	EXPECT_STRNE(parkclock_explain(EPERM), parkclock_explain_register(EPERM));
	EXPECT_NE(NULL, strstr(parkclock_explain_register(EOPNOTSUPP), "without tracepoints"));
	EXPECT_NE(NULL, strstr(parkclock_explain(ENODATA), "stopped"));
	EXPECT_NE(NULL, strstr(parkclock_explain_change(EBADMSG), "damaged"));
}

TEST(words_for_errors_of_cgroups)
{
	static const int errs[] = {
		EBADF, EINVAL, EACCES, EPERM, ENOENT, EEXIST, E2BIG, EMLINK, EDQUOT, ENFILE, EINTR,
		ENOMEM, EOPNOTSUPP, ENOTTY, EIO
	};

	for (size_t i = 0; i < ARRAY_SIZE(errs); i++)
		for (size_t j = 0; j < i; j++)
			EXPECT_STRNE(parkclock_explain_cgroup(errs[i]),
				     parkclock_explain_cgroup(errs[j]));
	EXPECT_NE(NULL, strstr(parkclock_explain_cgroup(EDQUOT), "user_cgroups"));
}

TEST(cgroups)
{
	struct parkclock *pc = parkclock_open_owner(NULL);
	int tmp = open("/tmp", O_RDONLY | O_CLOEXEC), dir;

	ASSERT_NE(NULL, pc);
	NEEDS_CGROUPS(return);
	dir = make_cgroup("library");
	EXPECT_EQ(0, parkclock_register_cgroup(pc, dir));
	EXPECT_EQ(-1, parkclock_register_cgroup(pc, dir));
	EXPECT_EQ(EEXIST, errno);
	EXPECT_EQ(0, parkclock_unregister_cgroup(pc, dir));
	EXPECT_EQ(-1, parkclock_unregister_cgroup(pc, dir));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, parkclock_register_cgroup(pc, tmp));
	EXPECT_EQ(EBADF, errno);
	parkclock_close(pc);
	close(tmp);
	close(dir);
	remove_cgroup("library");
}

TEST(words_for_errors_of_timers)
{
	static const int errs[] = { EINVAL, ENOTTY, EPERM, EMFILE, ENFILE, EDQUOT, ENOMEM, EIO };

	for (size_t i = 0; i < ARRAY_SIZE(errs); i++)
		for (size_t j = 0; j < i; j++)
			EXPECT_STRNE(parkclock_explain_timer(errs[i]),
				     parkclock_explain_timer(errs[j]));
	EXPECT_NE(NULL, strstr(parkclock_explain_timer(EDQUOT), "user_timers"));
}

TEST(words_for_reasons)
{
	for (int i = 0; i <= PARKCLOCK_REASON_FORK; i++) {
		EXPECT_STRNE("unknown", parkclock_reason(i));
		for (int j = 0; j < i; j++)
			EXPECT_STRNE(parkclock_reason(i), parkclock_reason(j));
	}
	EXPECT_STREQ("unknown", parkclock_reason(PARKCLOCK_REASON_FORK + 1));
	EXPECT_STREQ("unknown", parkclock_reason(UINT64_MAX));
}

/* What was replaced while it was held is counted, and asking wakes nobody. */
TEST_F(library, accuracy)
{
	struct parkclock_accuracy a[2];
	struct parkclock_query q[2];
	uint64_t n = 0;

	ASSERT_EQ(0, parkclock_query(self->pc, &q[0]));
	ASSERT_EQ(0, parkclock_accuracy(self->pc, &a[0]));
	ASSERT_EQ(0, parkclock_query(self->pc, &q[1]));
	EXPECT_EQ(PARKCLOCK_PARKED, q[1].state);
	EXPECT_EQ(q[0].wakes, q[1].wakes);
	NEEDS_COUNTER(return);
	ASSERT_EQ(0, parkclock_hold(self->pc));
	for (int ms = 0; ms < PATIENCE_MS && n < 3; ms++) {
		sleep_ms(1);
		ASSERT_EQ(0, parkclock_accuracy(self->pc, &a[1]));
		n = 0;
		for (int i = 0; i < PARKCLOCK_BINS; i++)
			n += a[1].steady[i] - a[0].steady[i] + a[1].changed[i] - a[0].changed[i];
	}
	EXPECT_LE(3, n);
	ASSERT_EQ(0, parkclock_query(self->pc, &q[1]));
	EXPECT_LE(n, q[1].refreshes - q[0].refreshes);
	EXPECT_EQ(0, parkclock_release(self->pc));
}

/* A reader is told of its own clock, and that there is more. */
TEST_F(library, readers_are_not_told_of_others)
{
	struct parkclock_accuracy a;
	struct parkclock_query q;

	ASSERT_EQ(0, parkclock_hold(self->pc));
	ASSERT_EQ(0, parkclock_hold(self->reader));
	ASSERT_EQ(0, parkclock_query(self->reader, &q));
	EXPECT_EQ(1, q.holds);
	EXPECT_EQ(0, q.references);
	EXPECT_EQ(PARKCLOCK_HOST_HIDDEN, q.flags & PARKCLOCK_HOST_HIDDEN);
	ASSERT_EQ(0, parkclock_query(self->pc, &q));
	EXPECT_EQ(2, q.references);
	EXPECT_EQ(0, q.flags & PARKCLOCK_HOST_HIDDEN);
	EXPECT_EQ(-1, parkclock_accuracy(self->reader, &a));
	EXPECT_EQ(EPERM, errno);
}

/* With a reference, every way to read is right, and only one makes slow reads. */
TEST_F(library, held_reads)
{
	uint64_t before;

	NEEDS_COUNTER(return);
	must_set("interval_ms", LONG_INTERVAL);
	ASSERT_EQ(0, parkclock_hold(self->pc));
	before = slow_reads(self->pc);
	EXPECT_TRUE(right(self->pc, parkclock_page_now_bound));
	EXPECT_TRUE(right(self->pc, parkclock_now_bound));
	EXPECT_TRUE(right(self->pc, now));
	EXPECT_TRUE(right(self->pc, range));
	EXPECT_EQ(before, slow_reads(self->pc));
	EXPECT_TRUE(right(self->pc, parkclock_slow_now_bound));
	EXPECT_EQ(before + PARKCLOCK_CLOCKS, slow_reads(self->pc));
	EXPECT_EQ(0, parkclock_release(self->pc));
}

/* A reader that computed from the expired page would need no slow read. */
TEST_F(library, expired_page)
{
	struct parkclock_reading r = { .ns = 42 };
	struct parkclock_query q;
	int64_t t0, t1, ns = 0;
	uint64_t before;

	ASSERT_EQ(0, parkclock_hold(self->pc));
	ASSERT_EQ(0, parkclock_release(self->pc));
	wait_expired(self->pc);
	before = slow_reads(self->pc);
	/* What the page says after the reading is still about the same segment. */
	must_set("interval_ms", LONG_INTERVAL);

	EXPECT_EQ(-1, parkclock_page_now_bound(self->pc, CLOCK_MONOTONIC, &r));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(42, r.ns);
	ASSERT_EQ(0, parkclock_query(self->pc, &q));
	EXPECT_EQ(PARKCLOCK_PARKED, q.state);

	t0 = now_ns(CLOCK_MONOTONIC);
	errno = NOT_TOUCHED;
	EXPECT_EQ(0, parkclock_now(self->pc, CLOCK_MONOTONIC, &ns));
	EXPECT_EQ(NOT_TOUCHED, errno);
	t1 = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(before + 1, slow_reads(self->pc));
	ASSERT_EQ(0, parkclock_query(self->pc, &q));
	EXPECT_LE(t0 - (int64_t)q.error_ns, ns);
	EXPECT_GE(t1 + (int64_t)q.error_ns, ns);

	must_set("interval_ms", "50");
	wait_expired(self->pc);
	EXPECT_TRUE(right(self->pc, parkclock_now_bound));
	EXPECT_LT(before + 1, slow_reads(self->pc));
	wait_expired(self->pc);
	EXPECT_TRUE(right(self->pc, range));
}

/* The slow path is not asked in vain, and results are left alone. */
TEST_F(library, bad_clock)
{
	static const clockid_t bad[] = {
		CLOCK_PROCESS_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, -1, 1 << 30
	};
	struct parkclock_reading r = { .ns = 42 };
	int64_t ns = 42, earliest = 42, latest = 42;

	ASSERT_EQ(0, parkclock_hold(self->pc));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		errno = 0;
		EXPECT_EQ(-1, parkclock_now(self->pc, bad[i], &ns));
		EXPECT_EQ(EINVAL, errno);
		errno = 0;
		EXPECT_EQ(-1, parkclock_now_bound(self->pc, bad[i], &r));
		EXPECT_EQ(EINVAL, errno);
		errno = 0;
		EXPECT_EQ(-1, parkclock_now_range(self->pc, bad[i], &earliest, &latest));
		EXPECT_EQ(EINVAL, errno);
		errno = 0;
		EXPECT_EQ(-1, parkclock_page_now_bound(self->pc, bad[i], &r));
		EXPECT_EQ(EINVAL, errno);
		errno = 0;
		EXPECT_EQ(-1, parkclock_slow_now_bound(self->pc, bad[i], &r));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(42, ns);
	EXPECT_EQ(42, earliest);
	EXPECT_EQ(42, latest);
	EXPECT_EQ(42, r.ns);
	EXPECT_EQ(0, parkclock_release(self->pc));
}

TEST_F(library, references)
{
	struct parkclock_query q;

	EXPECT_EQ(-1, parkclock_release(self->pc));
	EXPECT_EQ(ENOENT, errno);
	errno = NOT_TOUCHED;
	EXPECT_EQ(0, parkclock_hold(self->pc));
	EXPECT_EQ(0, parkclock_hold(self->pc));
	ASSERT_EQ(0, parkclock_query(self->pc, &q));
	EXPECT_EQ(NOT_TOUCHED, errno);
	EXPECT_EQ(2, q.holds);
	EXPECT_EQ(state_held(), q.state);
	EXPECT_EQ(0, parkclock_release(self->pc));
	EXPECT_EQ(0, parkclock_release(self->pc));
	EXPECT_EQ(-1, parkclock_release(self->pc));
	EXPECT_EQ(ENOENT, errno);
}

static struct parkclock_query query_of(struct parkclock *pc)
{
	struct parkclock_query q;

	if (parkclock_query(pc, &q))
		die("parkclock_query");
	return q;
}

/* The CPU clock goes on while the caller runs; without the TSC, by ticks. */
static bool cpu_clock_runs(struct parkclock *pc)
{
	const int64_t end = now_ns(CLOCK_MONOTONIC) + PATIENCE_MS * 1000000LL;
	const uint64_t before = query_of(pc).cpu_ns;

	while (now_ns(CLOCK_MONOTONIC) < end)
		if (query_of(pc).cpu_ns > before)
			return true;
	return false;
}

/* Registered, the caller runs: that is a reference, and CPU time. */
TEST_F(library, register_self)
{
	struct parkclock *pc = self->pc;

	NEEDS_SWITCHES(return);
	must_set("interval_ms", LONG_INTERVAL);
	errno = NOT_TOUCHED;
	EXPECT_EQ(0, parkclock_register(pc, 0, 0));
	EXPECT_EQ(1, query_of(pc).tasks);
	EXPECT_EQ(1, query_of(pc).running);
	EXPECT_EQ(state_held(), query_of(pc).state);
	if (counter_usable())
		EXPECT_TRUE(right(pc, parkclock_page_now_bound));
	EXPECT_TRUE(cpu_clock_runs(pc));
	EXPECT_EQ(-1, parkclock_register(pc, gettid(), PARKCLOCK_TASK_INHERIT));
	EXPECT_EQ(EEXIST, errno);
	EXPECT_EQ(-1, parkclock_register(pc, 0, PARKCLOCK_TASK_PROCESS));
	EXPECT_EQ(EEXIST, errno);
	EXPECT_EQ(1, query_of(pc).tasks);

	errno = NOT_TOUCHED;
	EXPECT_EQ(0, parkclock_unregister(pc, gettid(), 0));
	EXPECT_EQ(NOT_TOUCHED, errno);
	EXPECT_EQ(0, query_of(pc).tasks);
	EXPECT_EQ(0, query_of(pc).references);
	EXPECT_EQ(-1, parkclock_unregister(pc, 0, 0));
	EXPECT_EQ(ENOENT, errno);
	EXPECT_EQ(-1, parkclock_unregister(pc, 0, PARKCLOCK_TASK_PROCESS));
	EXPECT_EQ(ENOENT, errno);
}

/* A handle that is closed leaves no registration behind. */
TEST_F(library, close_unregisters)
{
	struct parkclock *pc = parkclock_open_owner(NULL);

	NEEDS_SWITCHES(return);
	ASSERT_NE(NULL, pc);
	ASSERT_EQ(0, parkclock_register(pc, 0, PARKCLOCK_TASK_PROCESS));
	EXPECT_EQ(1, query_of(self->pc).all_tasks);
	EXPECT_EQ(0, query_of(self->pc).tasks);
	parkclock_close(pc);
	EXPECT_EQ(0, query_of(self->pc).all_tasks);
}

TEST_F(library, bad_registrations)
{
	struct parkclock *pc = self->pc;
	pid_t dead;

	EXPECT_EQ(-1, parkclock_register(pc, 0, 0x4));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, parkclock_register(pc, -1, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, parkclock_unregister(pc, 0, PARKCLOCK_TASK_INHERIT));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, parkclock_unregister(pc, -1, 0));
	EXPECT_EQ(EINVAL, errno);
	dead = fork();
	ASSERT_LE(0, dead);
	if (!dead)
		_exit(0);
	ASSERT_EQ(dead, waitpid(dead, NULL, 0));
	EXPECT_EQ(-1, parkclock_register(pc, dead, 0));
	EXPECT_EQ(ESRCH, errno);
	EXPECT_EQ(-1, parkclock_unregister(pc, dead, 0));
	EXPECT_EQ(ESRCH, errno);
	EXPECT_EQ(0, query_of(pc).tasks);
}

/* A task of another process: only through the handle of an owner. */
TEST_F(library, register_others)
{
	struct parkclock *owner = parkclock_open_owner(NULL);
	pid_t child;
	int status;

	NEEDS_SWITCHES(return);
	ASSERT_NE(NULL, owner);
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		pause();
	EXPECT_EQ(-1, parkclock_register(self->reader, child, 0));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, parkclock_unregister(self->reader, child, 0));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, parkclock_register(self->reader, 0, 0));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(0, parkclock_register(owner, child, PARKCLOCK_TASK_PROCESS));
	EXPECT_EQ(1, query_of(owner).tasks);
	EXPECT_EQ(0, parkclock_unregister(owner, child, 0));
	EXPECT_EQ(0, query_of(owner).tasks);
	EXPECT_EQ(0, parkclock_register(owner, child, 0));
	kill(child, SIGKILL);
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(wait_tasks(parkclock_fd(owner), 0));
	parkclock_close(owner);
}

/* For a child: another user, with a handle of root's, who may read the device only. */
static int as_nobody(struct parkclock *owner, pid_t roots)
{
	if (setresuid(65534, 65534, 65534))
		return 1;
	if (parkclock_open_owner(NULL) || errno != EACCES)
		return 2;
	if (!parkclock_register(owner, roots, 0) || errno != EPERM)
		return 3;
	if (parkclock_register(owner, 0, 0) || parkclock_unregister(owner, 0, 0))
		return 4;
	return 0;
}

TEST_F(library, not_permitted)
{
	struct parkclock *owner = parkclock_open_owner(NULL);
	pid_t child;
	int status;

	NEEDS_SWITCHES(return);
	ASSERT_NE(NULL, owner);
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		_exit(as_nobody(owner, getppid()));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, query_of(owner).tasks);
	parkclock_close(owner);
}

TEST_F(library, no_switches)
{
	if (exists(TRACING "events/sched/sched_switch"))
		SKIP(return, "needs a kernel without tracepoints");
	EXPECT_EQ(-1, parkclock_register(self->pc, 0, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, query_of(self->pc).tasks);
}

struct idler {
	pthread_t thread;
	atomic_int tid;
	int pipe[2];
};

/* Until its pipe is closed. */
static void *idle(void *arg)
{
	struct idler *idler = arg;
	char byte;

	idler->tid = gettid();
	while (read(idler->pipe[0], &byte, 1) > 0)
		;
	return NULL;
}

/* "parkclock register [--thread] ID" in a child, whose id is returned. */
static pid_t tool(const char *option, pid_t id)
{
	const char *path = getenv("PARKCLOCK");
	char text[16];
	pid_t child;
	int null;

	snprintf(text, sizeof(text), "%d", id);
	child = fork();
	if (child < 0)
		die("fork");
	if (child)
		return child;
	null = open("/dev/null", O_WRONLY);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	path = path ? path : "/bin/parkclock";
	if (option)
		execl(path, path, "register", option, text, NULL);
	else
		execl(path, path, "register", text, NULL);
	_exit(127);
}

/* The exit status of the tool, which is asked to end if it has not. */
static int end_tool(pid_t child)
{
	int status;

	kill(child, SIGTERM);
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The threads of this process, registered by the tool. */
TEST_F(library, tool_registers_threads)
{
	struct idler idlers[3] = { 0 };
	pid_t child;
	int status;

	NEEDS_SWITCHES(return);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, pipe2(idlers[i].pipe, O_CLOEXEC));
		ASSERT_EQ(0, pthread_create(&idlers[i].thread, NULL, idle, &idlers[i]));
	}
	for (int i = 0; i < 3; i++)
		while (!idlers[i].tid)
			sleep_ms(1);

	child = tool(NULL, getpid());
	EXPECT_TRUE(wait_all_tasks(parkclock_fd(self->pc), 4));
	EXPECT_EQ(0, end_tool(child));
	EXPECT_EQ(0, query_of(self->pc).all_tasks);

	/* It is no process. */
	child = tool(NULL, idlers[1].tid);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(1, WEXITSTATUS(status));

	/* Its registration ends with the thread, and the tool by itself. */
	child = tool("--thread", idlers[1].tid);
	EXPECT_TRUE(wait_all_tasks(parkclock_fd(self->pc), 1));
	/* They are counted before all is done for them; then it looks, now and then. */
	EXPECT_TRUE(wait_state_of(child, 'S'));
	EXPECT_EQ(0, waitpid(child, &status, WNOHANG));
	for (int i = 0; i < 3; i++) {
		close(idlers[i].pipe[1]);
		EXPECT_EQ(0, pthread_join(idlers[i].thread, NULL));
		close(idlers[i].pipe[0]);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, query_of(self->pc).all_tasks);
}

/*
 * In a child, as it is for ever: a page read would end it by SIGSEGV. Returns
 * its exit status; 0 if all was as it should.
 */
static int without_tsc(void)
{
	struct parkclock_reading r;
	struct parkclock *pc;

	if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV))
		return 1;
	pc = parkclock_open(NULL);
	if (!pc || parkclock_map(pc))
		return 2;
	if (parkclock_hold(pc) || counter_usable() != !!query(parkclock_fd(pc)).window_left_ns)
		return 3;
	errno = 0;
	if (!parkclock_page_now_bound(pc, CLOCK_MONOTONIC, &r) || errno != EPERM)
		return 4;
	/* clock_gettime() reads the TSC too: no bracket here. */
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		int64_t ns;

		errno = NOT_TOUCHED;
		if (parkclock_now(pc, clock_ids[i], &ns) ||
		    parkclock_now_bound(pc, clock_ids[i], &r) || errno != NOT_TOUCHED)
			return 5;
		if (r.ns < ns || r.ns > ns + 10000000000LL)
			return 6;
	}
	if (parkclock_release(pc))
		return 7;
	parkclock_close(pc);
	return 0;
}

TEST_F(library, tsc_forbidden)
{
	int status;
	pid_t pid;

	must_set("interval_ms", LONG_INTERVAL);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(without_tsc());
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* A stopped updater leaves only the slow path, for every clock. */
TEST_F(library, disabled)
{
	struct parkclock_reading r;

	must_set("interval_ms", LONG_INTERVAL);
	must_set("enabled", "N");
	EXPECT_EQ(0, parkclock_hold(self->pc));
	EXPECT_EQ(-1, parkclock_page_now_bound(self->pc, CLOCK_TAI, &r));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_TRUE(right(self->pc, parkclock_now_bound));
	must_set("enabled", "Y");
	EXPECT_TRUE(right(self->pc, counter_usable() ? parkclock_page_now_bound :
							parkclock_now_bound));
	EXPECT_EQ(0, parkclock_release(self->pc));
}

/* A clock of one's own: what the owner of a clock can do to it */

/* More than the bound of any reading, and less than what is waited for */
#define SLACK_NS 1000000

static struct parkclock *must_open_owner(void)
{
	struct parkclock *pc = parkclock_open_owner(PARKCLOCK_DEVICE);

	if (!pc)
		die("parkclock_open_owner");
	return pc;
}

static int64_t must_read(struct parkclock *pc, clockid_t id)
{
	int64_t ns;

	if (parkclock_now(pc, id, &ns))
		die("parkclock_now");
	return ns;
}

/* Is the clock so far from the host's, give or take its bound? */
static bool is_off_by(struct parkclock *pc, clockid_t id, int64_t offset)
{
	int64_t t0 = now_ns(id), t1;
	struct parkclock_reading r;

	if (parkclock_now_bound(pc, id, &r))
		die("parkclock_now_bound");
	t1 = now_ns(id);
	if (within_bound(&r, t0 + offset, t1 + offset))
		return true;
	fprintf(stderr, "# clock %d: %lld +- %llu, not from %lld to %lld\n", id, (long long)r.ns,
		(unsigned long long)r.error_ns, (long long)(t0 + offset),
		(long long)(t1 + offset));
	return false;
}

/* Mappings of the device or of a view in this process */
static int mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	int n = 0;

	if (!f)
		die("/proc/self/maps");
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "parkclock") && strstr(line, " r--s ");
	fclose(f);
	return n;
}

/* What does not read it leaves it fresh; what reads it does not. */
TEST_F(library, fresh_until_read)
{
	struct parkclock *pc = must_open_owner(), *copy = parkclock_open_fd(parkclock_fd(pc));
	const int before = mappings();
	struct parkclock_accuracy accuracy;
	struct parkclock_reading r;
	uint64_t generation;

	ASSERT_NE(NULL, copy);
	query_of(pc);
	EXPECT_EQ(0, parkclock_accuracy(pc, &accuracy));
	EXPECT_EQ(0, parkclock_acknowledge(copy, &generation));
	EXPECT_EQ(0, parkclock_hold(copy));
	EXPECT_EQ(0, parkclock_epoch(pc));
	EXPECT_EQ(0, parkclock_epoch(copy));
	EXPECT_EQ(before, mappings());
	EXPECT_LT(0, must_read(pc, CLOCK_MONOTONIC));
	EXPECT_EQ(-1, parkclock_epoch(copy));
	EXPECT_EQ(EBUSY, errno);
	parkclock_close(copy);
	parkclock_close(pc);

	pc = must_open_owner();
	EXPECT_EQ(1, parkclock_usable(parkclock_map(pc)));
	EXPECT_EQ(-1, parkclock_epoch(pc));
	EXPECT_EQ(EBUSY, errno);
	parkclock_close(pc);

	pc = must_open_owner();
	EXPECT_EQ(0, parkclock_slow_now_bound(pc, CLOCK_TAI, &r));
	EXPECT_EQ(-1, parkclock_epoch(pc));
	EXPECT_EQ(EBUSY, errno);
	parkclock_close(pc);
	EXPECT_EQ(before, mappings());
}

/* An epoch begins near zero, and not at it. */
TEST_F(library, epoch)
{
	int64_t before = now_ns(CLOCK_REALTIME), t0 = now_ns(CLOCK_MONOTONIC), ns;
	struct parkclock *pc = must_open_owner();

	EXPECT_EQ(0, parkclock_epoch(pc));
	EXPECT_LE(before, query_of(pc).boot_ns + SLACK_NS);
	EXPECT_GE(now_ns(CLOCK_REALTIME), query_of(pc).boot_ns - SLACK_NS);
	ns = must_read(pc, CLOCK_MONOTONIC);
	EXPECT_LE(1, ns);
	EXPECT_GE(now_ns(CLOCK_MONOTONIC) - t0 + SLACK_NS, ns);
	EXPECT_LE(1, must_read(pc, CLOCK_BOOTTIME));
	EXPECT_TRUE(is_off_by(pc, CLOCK_REALTIME, 0));
	parkclock_close(pc);
}

#define HOUR_NS (3600 * 1000000000LL)

TEST_F(library, offsets)
{
	struct parkclock *pc = must_open_owner();

	EXPECT_EQ(0, parkclock_set_offsets(pc, HOUR_NS, 2 * HOUR_NS));
	EXPECT_TRUE(is_off_by(pc, CLOCK_MONOTONIC, HOUR_NS));
	EXPECT_TRUE(is_off_by(pc, CLOCK_BOOTTIME, 2 * HOUR_NS));
	EXPECT_TRUE(is_off_by(pc, CLOCK_REALTIME, 0));
	EXPECT_TRUE(is_off_by(pc, CLOCK_TAI, 0));
	EXPECT_EQ(-1, parkclock_set_offsets(pc, HOUR_NS - 1, 2 * HOUR_NS));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, parkclock_set_offsets(pc, HOUR_NS, PARKCLOCK_MOST_NS));
	EXPECT_EQ(ERANGE, errno);
	EXPECT_TRUE(is_off_by(pc, CLOCK_MONOTONIC, HOUR_NS));
	EXPECT_EQ(0, parkclock_set_offsets(pc, 3 * HOUR_NS, 2 * HOUR_NS));
	EXPECT_TRUE(is_off_by(pc, CLOCK_MONOTONIC, 3 * HOUR_NS));
	parkclock_close(pc);
}

/* No function gives a time, and none changes what it was to fill in. */
static bool has_no_time(struct parkclock *pc)
{
	int64_t ns = 42, earliest = 42, latest = 42;
	struct parkclock_reading r = { .ns = 42 };

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		const clockid_t id = clock_ids[i];

		if (!parkclock_now(pc, id, &ns) || errno != ENODATA ||
		    !parkclock_now_bound(pc, id, &r) || errno != ENODATA ||
		    !parkclock_now_range(pc, id, &earliest, &latest) || errno != ENODATA ||
		    !parkclock_slow_now_bound(pc, id, &r) || errno != ENODATA ||
		    !parkclock_page_now_bound(pc, id, &r) || errno != ENODATA)
			return false;
	}
	return ns == 42 && earliest == 42 && latest == 42 && r.ns == 42;
}

static struct parkclock_timer_state timer_state(int timer)
{
	struct parkclock_timer_state state;

	if (parkclock_timer_get(timer, &state))
		die("parkclock_timer_get");
	return state;
}

TEST_F(library, timers)
{
	const int ids[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME, PARKCLOCK_CPUTIME_ID };
	struct parkclock_timer_set hour = { .value_ns = HOUR_NS, .interval_ns = 7 };
	struct parkclock_timer_set soon = { .value_ns = 1000 }, bad = { .value_ns = -1 };
	struct parkclock *pc = must_open_owner(), *view, *other;
	struct parkclock_timer_state states[3];
	struct parkclock_expired expired;
	struct parkclock_saved saved;
	int timers[3], restored[3], fd;
	int64_t ns = NOT_TOUCHED;

	for (size_t i = 0; i < 3; i++) {
		errno = NOT_TOUCHED;
		timers[i] = parkclock_timer(pc, ids[i], 0);
		ASSERT_LE(0, timers[i]);
		EXPECT_EQ(0, parkclock_timer_set(timers[i], &hour));
		EXPECT_EQ(1, hour.number);
		EXPECT_EQ(7, timer_state(timers[i]).interval_ns);
		EXPECT_EQ(NOT_TOUCHED, errno);
		hour.number = 0;
	}
	EXPECT_EQ(-1, parkclock_timer(pc, 77, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, parkclock_timer_set(timers[0], &bad));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, bad.value_ns);
	EXPECT_EQ(-1, parkclock_timer_get(parkclock_fd(pc), &states[0]));
	EXPECT_EQ(ENOTTY, errno);

	/* They live on in another clock, and expire there. */
	EXPECT_EQ(0, parkclock_save_with(pc, &saved, timers, states, 3));
	other = parkclock_open_owner(PARKCLOCK_DEVICE);
	ASSERT_NE(NULL, other);
	EXPECT_EQ(0, parkclock_restore_with(other, &saved, PARKCLOCK_GAP_FREEZE, states, restored,
					    3));
	for (size_t i = 0; i < 3; i++) {
		struct parkclock_timer_state state = timer_state(restored[i]);

		EXPECT_EQ(ids[i], state.clock_id);
		EXPECT_EQ(7, state.interval_ns);
		EXPECT_GE(states[i].left_ns, state.left_ns);
		EXPECT_LT(0, state.left_ns);
	}
	EXPECT_EQ(states[0].expiry_ns, timer_state(restored[0]).expiry_ns);
	EXPECT_EQ(0, parkclock_timer_set(restored[0], &soon));
	EXPECT_EQ(sizeof(expired), read(restored[0], &expired, sizeof(expired)));
	EXPECT_EQ(1, expired.expirations);
	EXPECT_EQ(soon.number, expired.number);
	EXPECT_EQ(-1, parkclock_timer_restore(restored[0], &states[1]));
	EXPECT_EQ(EINVAL, errno);
	/* The clock has been used: it is not restored again, and no timer is left over. */
	EXPECT_EQ(-1, parkclock_restore_with(other, &saved, PARKCLOCK_GAP_FREEZE, states, restored,
					     3));
	EXPECT_EQ(EBUSY, errno);

	/* A view with the right, and the CPU time */
	fd = parkclock_view_with(other, PARKCLOCK_VIEW_TIMERS);
	view = parkclock_open_fd(fd);
	ASSERT_NE(NULL, view);
	close(fd);
	fd = parkclock_timer(view, CLOCK_MONOTONIC, PARKCLOCK_TIMER_NONBLOCK);
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, parkclock_now(view, PARKCLOCK_CPUTIME_ID, &ns));
	EXPECT_EQ(0, ns);
	close(fd);
	EXPECT_EQ(-1, parkclock_view_with(other, 4));
	EXPECT_EQ(EINVAL, errno);
	parkclock_close(view);
	fd = parkclock_view(other);
	view = parkclock_open_fd(fd);
	ASSERT_NE(NULL, view);
	close(fd);
	EXPECT_EQ(-1, parkclock_timer(view, CLOCK_MONOTONIC, 0));
	EXPECT_EQ(EPERM, errno);
	parkclock_close(view);
	for (size_t i = 0; i < 3; i++) {
		close(timers[i]);
		close(restored[i]);
	}
	parkclock_close(other);
	parkclock_close(pc);
}

TEST_F(library, stop_and_start)
{
	struct parkclock *pc = must_open_owner(), *view, *late;
	int64_t ns, after;
	int fd;

	fd = parkclock_view(pc);
	ASSERT_LE(0, fd);
	view = parkclock_open_fd(fd);
	ASSERT_NE(NULL, view);
	EXPECT_EQ(-1, parkclock_start(pc, PARKCLOCK_GAP_FREEZE));
	EXPECT_EQ(EALREADY, errno);
	EXPECT_EQ(0, parkclock_hold(pc));
	EXPECT_EQ(0, parkclock_stop(pc));
	EXPECT_TRUE(has_no_time(pc));
	EXPECT_TRUE(has_no_time(view));
	EXPECT_TRUE(is_off_by(self->pc, CLOCK_MONOTONIC, 0));
	EXPECT_EQ(-1, parkclock_stop(pc));
	EXPECT_EQ(EALREADY, errno);
	EXPECT_EQ(PARKCLOCK_CLOCK_STOPPED, query_of(pc).flags & PARKCLOCK_CLOCK_STOPPED);
	EXPECT_EQ(1, query_of(pc).holds);

	/* A stopped one is found to be a clock, too. */
	late = parkclock_open_fd(fd);
	ASSERT_NE(NULL, late);
	EXPECT_TRUE(has_no_time(late));

	ns = now_ns(CLOCK_MONOTONIC);
	sleep_ms(200);
	EXPECT_EQ(-1, parkclock_start(pc, 7));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, parkclock_start(pc, PARKCLOCK_GAP_INCLUDE));
	EXPECT_TRUE(is_off_by(pc, CLOCK_MONOTONIC, 0));
	EXPECT_EQ(0, parkclock_stop(pc));
	sleep_ms(200);
	EXPECT_EQ(0, parkclock_start(pc, PARKCLOCK_GAP_FREEZE));
	/* The last 200 ms are not in it, and nothing else is missing. */
	after = must_read(late, CLOCK_MONOTONIC);
	EXPECT_GE(now_ns(CLOCK_MONOTONIC) - 200000000 + SLACK_NS, after);
	EXPECT_LE(ns, after + SLACK_NS);
	parkclock_close(late);
	parkclock_close(view);
	parkclock_close(pc);
	close(fd);
}

/* Saved and restored under both rules; a new clock each time, as on another host. */
TEST_F(library, save_and_restore)
{
	struct parkclock *pc = must_open_owner(), *next;
	struct parkclock_saved saved[3];

	memset(saved, 0, sizeof(saved));
	EXPECT_EQ(0, parkclock_epoch(pc));
	errno = NOT_TOUCHED;
	EXPECT_EQ(0, parkclock_save(pc, &saved[0]));
	EXPECT_EQ(NOT_TOUCHED, errno);
	EXPECT_TRUE(has_no_time(pc));
	sleep_ms(200);
	for (unsigned int gap = PARKCLOCK_GAP_INCLUDE; gap <= PARKCLOCK_GAP_FREEZE; gap++) {
		const int64_t t0 = now_ns(CLOCK_MONOTONIC);
		struct parkclock_saved *s = &saved[gap];
		int64_t passed;

		next = must_open_owner();
		EXPECT_EQ(0, parkclock_restore(next, &saved[0], gap));
		EXPECT_LE(saved[0].monotonic_ns, must_read(next, CLOCK_MONOTONIC));
		EXPECT_EQ(-1, parkclock_restore(next, &saved[0], gap));
		EXPECT_EQ(EBUSY, errno);
		EXPECT_EQ(0, parkclock_save(next, s));
		EXPECT_EQ(saved[0].boot_ns, s->boot_ns);
		EXPECT_LT(saved[0].generation, s->generation);
		passed = s->monotonic_ns - saved[0].monotonic_ns;
		EXPECT_EQ(s->boottime_ns - saved[0].boottime_ns, passed);
		EXPECT_TRUE(gap == PARKCLOCK_GAP_INCLUDE ?
			    passed == s->realtime_ns - saved[0].realtime_ns :
			    passed <= now_ns(CLOCK_MONOTONIC) - t0 + SLACK_NS);
		parkclock_close(next);
	}
	parkclock_close(pc);
}

TEST_F(library, bad_restore)
{
	struct parkclock *pc = must_open_owner(), *next = must_open_owner();
	struct parkclock_saved saved, bad;

	ASSERT_EQ(0, parkclock_save(pc, &saved));
	parkclock_close(pc);
	bad = saved;
	bad.monotonic_ns ^= 1;
	EXPECT_EQ(-1, parkclock_restore(next, &bad, PARKCLOCK_GAP_FREEZE));
	EXPECT_EQ(EBADMSG, errno);
	bad = saved;
	bad.version++;
	EXPECT_EQ(-1, parkclock_restore(next, &bad, PARKCLOCK_GAP_FREEZE));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(-1, parkclock_restore(next, &saved, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, parkclock_restore(next, &saved, PARKCLOCK_GAP_FREEZE));
	parkclock_close(next);
}

/* What changes a clock, and must be refused: each errno, or 0 for one that was done. */
static int change(struct parkclock *pc, int which)
{
	struct parkclock_saved saved = { 0 };
	int ret = -1;

	errno = 0;
	switch (which) {
	case 0:
		ret = parkclock_epoch(pc);
		break;
	case 1:
		ret = parkclock_set_offsets(pc, 0, 0);
		break;
	case 2:
		ret = parkclock_stop(pc);
		break;
	case 3:
		ret = parkclock_start(pc, PARKCLOCK_GAP_INCLUDE);
		break;
	case 4:
		ret = parkclock_save(pc, &saved);
		break;
	case 5:
		ret = parkclock_restore(pc, &saved, PARKCLOCK_GAP_INCLUDE);
		break;
	}
	return ret ? errno : 0;
}

#define CHANGES 6

TEST_F(library, readers_change_nothing)
{
	for (int i = 0; i < CHANGES; i++)
		EXPECT_EQ(EPERM, change(self->reader, i));
	EXPECT_TRUE(is_off_by(self->reader, CLOCK_MONOTONIC, 0));
}

/* A view reads what its clock reads, also when that has no owner, and that is all. */
TEST_F(library, view)
{
	struct parkclock *pc = must_open_owner(), *view;
	struct parkclock_accuracy accuracy;
	struct parkclock_query q;
	int fd;

	EXPECT_EQ(0, parkclock_set_offsets(pc, HOUR_NS, 0));
	fd = parkclock_view(pc);
	ASSERT_LE(0, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	view = parkclock_open_fd(fd);
	ASSERT_NE(NULL, view);
	close(fd);
	EXPECT_EQ(1, parkclock_usable(parkclock_map(view)));
	for (int i = 0; i < 100; i++) {
		const int64_t before = must_read(pc, CLOCK_MONOTONIC);
		const int64_t ns = must_read(view, CLOCK_MONOTONIC);

		EXPECT_LE(before, ns);
		EXPECT_LE(ns, must_read(pc, CLOCK_MONOTONIC));
	}
	EXPECT_EQ(-1, parkclock_query(view, &q));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, parkclock_accuracy(view, &accuracy));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, parkclock_hold(view));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, parkclock_release(view));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, parkclock_register(view, 0, 0));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, parkclock_unregister(view, 0, 0));
	EXPECT_EQ(ENOTTY, errno);
	EXPECT_EQ(-1, parkclock_view(view));
	EXPECT_EQ(ENOTTY, errno);
	for (int i = 0; i < CHANGES; i++)
		EXPECT_EQ(ENOTTY, change(view, i));
	parkclock_close(pc);
	EXPECT_TRUE(is_off_by(view, CLOCK_MONOTONIC, HOUR_NS));
	parkclock_close(view);
}

static bool polls_in(struct parkclock *pc)
{
	struct pollfd p = { .fd = parkclock_fd(pc), .events = POLLIN };

	if (poll(&p, 1, 0) < 0)
		die("poll");
	return p.revents == POLLIN;
}

/* What is acknowledged is that of a reading, and of this open file alone. */
TEST_F(library, acknowledge)
{
	struct parkclock *pc = must_open_owner(), *view;
	struct parkclock_reading r;
	uint64_t generation = 0;
	int fd = parkclock_view(pc);

	ASSERT_LE(0, fd);
	view = parkclock_open_fd(fd);
	ASSERT_NE(NULL, view);
	EXPECT_FALSE(polls_in(pc));
	EXPECT_EQ(0, parkclock_set_offsets(pc, 1, 1));
	EXPECT_TRUE(polls_in(pc));
	EXPECT_TRUE(polls_in(view));
	errno = NOT_TOUCHED;
	EXPECT_EQ(0, parkclock_acknowledge(view, &generation));
	EXPECT_EQ(NOT_TOUCHED, errno);
	EXPECT_FALSE(polls_in(view));
	EXPECT_TRUE(polls_in(pc));
	EXPECT_EQ(0, parkclock_now_bound(view, CLOCK_MONOTONIC, &r));
	EXPECT_EQ(r.generation, generation);

	/* To find out what it is acknowledges nothing. */
	parkclock_close(view);
	view = parkclock_open_fd(parkclock_fd(pc));
	ASSERT_NE(NULL, view);
	EXPECT_TRUE(polls_in(pc));
	/* Nor does looking. */
	EXPECT_EQ(generation, query_of(pc).generation);
	EXPECT_TRUE(polls_in(pc));
	EXPECT_EQ(0, parkclock_acknowledge(pc, &generation));
	EXPECT_FALSE(polls_in(pc));
	parkclock_close(view);
	parkclock_close(pc);
	close(fd);
}

/* The handle has its own descriptor, with the rights of the other. */
TEST(open_fd)
{
	int fd = open(PARKCLOCK_DEVICE, O_RDONLY), null = open("/dev/null", O_RDWR);
	struct parkclock *pc = parkclock_open_fd(fd);

	ASSERT_NE(NULL, pc);
	EXPECT_NE(fd, parkclock_fd(pc));
	EXPECT_EQ(FD_CLOEXEC, fcntl(parkclock_fd(pc), F_GETFD));
	EXPECT_EQ(0, fcntl(fd, F_GETFD));
	EXPECT_EQ(EPERM, change(pc, 2));
	close(fd);
	EXPECT_TRUE(is_off_by(pc, CLOCK_MONOTONIC, 0));
	EXPECT_EQ(0, parkclock_hold(pc));
	parkclock_close(pc);

	EXPECT_EQ(NULL, parkclock_open_fd(fd));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(NULL, parkclock_open_fd(-1));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(NULL, parkclock_open_fd(null));
	EXPECT_EQ(ENOTTY, errno);
	fd = open(PARKCLOCK_DEVICE, O_WRONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(NULL, parkclock_open_fd(fd));
	EXPECT_EQ(EBADF, errno);
	close(fd);
	fd = open("/dev/zero", O_RDONLY);
	EXPECT_EQ(NULL, parkclock_open_fd(fd));
	EXPECT_EQ(ENOTTY, errno);
	close(fd);
	close(null);
}

static void give(int fd)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	setenv("PARKCLOCK_FD", number, 1);
}

/* By how many hours the clock is off that a program gets which asks for none by name */
static int64_t given_hours(void)
{
	struct parkclock *pc = parkclock_open(NULL);
	int64_t ns;

	if (!pc)
		die("parkclock_open");
	ns = must_read(pc, CLOCK_MONOTONIC) - now_ns(CLOCK_MONOTONIC);
	parkclock_close(pc);
	return (ns + HOUR_NS / 2) / HOUR_NS;
}

/* Why there is no clock, for a reader and an owner alike; 0 if there is one */
static int given_error(void)
{
	struct parkclock *pc = parkclock_open(NULL), *owner;
	const int err = errno;

	owner = parkclock_open_owner(NULL);
	if (!pc && !owner && errno == err)
		return err;
	parkclock_close(pc);
	parkclock_close(owner);
	return 0;
}

TEST_F(library, given_clock)
{
	static const char * const bad[] = { "", "x", "-1", "1x", " 3", "99999999999999999999" };
	struct parkclock *pc = must_open_owner(), *owner;
	int view, null = open("/dev/null", O_RDONLY);

	EXPECT_EQ(0, parkclock_set_offsets(pc, HOUR_NS, 0));
	EXPECT_EQ(0, given_hours());

	/* An owner's is the owner's, and it is not read before it is read. */
	give(parkclock_fd(pc));
	owner = parkclock_open_owner(NULL);
	ASSERT_NE(NULL, owner);
	EXPECT_EQ(query_of(pc).clock, query_of(owner).clock);
	EXPECT_EQ(0, parkclock_set_offsets(owner, 0, 0));
	EXPECT_EQ(0, parkclock_set_offsets(owner, 2 * HOUR_NS, 0));
	EXPECT_EQ(2, given_hours());
	EXPECT_EQ(-1, parkclock_set_offsets(pc, 0, 0));
	parkclock_close(owner);

	view = parkclock_view(pc);
	ASSERT_LE(0, view);
	give(view);
	EXPECT_EQ(2, given_hours());
	EXPECT_EQ(NULL, parkclock_open_owner(NULL));
	EXPECT_EQ(EACCES, errno);
	owner = parkclock_open_owner(PARKCLOCK_DEVICE);
	ASSERT_NE(NULL, owner);
	EXPECT_TRUE(is_off_by(owner, CLOCK_MONOTONIC, 0));
	parkclock_close(owner);
	close(view);

	/* Left over from somebody else, or wrong: no other clock is given instead. */
	EXPECT_EQ(EBADF, given_error());
	give(null);
	EXPECT_EQ(ENOTTY, given_error());
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		setenv("PARKCLOCK_FD", bad[i], 1);
		EXPECT_EQ(EBADF, given_error());
	}
	unsetenv("PARKCLOCK_FD");
	EXPECT_EQ(0, given_hours());
	close(null);
	parkclock_close(pc);
}

/* The whole output of "parkclock status --json" */
static char *tool_status(char *text, size_t size)
{
	const char *path = getenv("PARKCLOCK");
	char command[256];
	size_t n;
	FILE *f;

	snprintf(command, sizeof(command), "%s status --json", path ? path : "/bin/parkclock");
	f = popen(command, "r");
	if (!f)
		die("popen");
	n = fread(text, 1, size - 1, f);
	text[n] = '\0';
	if (pclose(f))
		text[0] = '\0';
	return text;
}

/* For a child: has the view alone, and a name to confuse whoever reads it. */
static void have_view(struct parkclock *pc, FIXTURE_DATA(library) *self, int fd)
{
	if (dup(fd) < 0)
		die("dup");
	parkclock_close(pc);
	parkclock_close(self->pc);
	parkclock_close(self->reader);
	prctl(PR_SET_NAME, "a\"b\\c\033[2J\n,d");
	raise(SIGSTOP);
	_exit(0);
}

/* One row for each clock, with all who have it, once each. */
TEST_F(library, tool_shows_clocks)
{
	struct parkclock *pc = must_open_owner();
	char text[16384], want[1024];
	int fd = parkclock_view(pc), status;
	pid_t child;
	FILE *f;

	parkclock_close(self->reader);
	self->reader = NULL;
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, parkclock_set_offsets(pc, HOUR_NS, 2 * HOUR_NS));
	EXPECT_EQ(0, parkclock_hold(pc));
	EXPECT_EQ(0, parkclock_stop(pc));
	child = fork();
	ASSERT_LE(0, child);
	if (!child)
		have_view(pc, self, fd);
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	close(fd);
	prctl(PR_SET_NAME, "owner");
	f = fmemopen(want, sizeof(want), "w");
	ASSERT_NE(NULL, f);
	fprintf(f, "\"clocks\":[{\"clock\":%llu,\"stopped\":false", query_of(self->pc).clock);
	fprintf(f, ",\"monotonic_offset_ns\":0,\"boottime_offset_ns\":0,\"holds\":0,\"tasks\":0");
	fprintf(f, ",\"open_in\":[{\"pid\":%d,\"command\":\"owner\",\"view\":false}]}", getpid());
	fprintf(f, ",{\"clock\":%llu,\"stopped\":true", query_of(pc).clock);
	fprintf(f, ",\"monotonic_offset_ns\":%lld", HOUR_NS);
	fprintf(f, ",\"boottime_offset_ns\":%lld,\"holds\":1,\"tasks\":0", 2 * HOUR_NS);
	fprintf(f, ",\"open_in\":[{\"pid\":%d,\"command\":\"owner\",\"view\":false}", getpid());
	fprintf(f, ",{\"pid\":%d,\"command\":\"a\\\"b\\\\c?[2J?,d\",\"view\":true}]}]}\n", child);
	fclose(f);
	EXPECT_STREQ(want, strstr(tool_status(text, sizeof(text)), "\"clocks\":["));

	/* The clock of those who have only a view is seen. */
	parkclock_close(pc);
	EXPECT_NE(NULL, strstr(tool_status(text, sizeof(text)), "\"view\":true}]}]}"));
	kill(child, SIGKILL);
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(NULL, strstr(tool_status(text, sizeof(text)), "\"view\":true"));
}

struct worker {
	pthread_t thread;
	struct parkclock *pc;
	uint64_t seed;
	int mistakes;
};

/* Holds, reads and releases at random; time goes forward, errno stays. */
static void *work(void *arg)
{
	struct worker *w = arg;
	int64_t last = 0, ns = 0;
	int held = 0;

	for (int i = 0; i < 20000; i++) {
		errno = NOT_TOUCHED;
		switch (rnd(&w->seed) % 8) {
		case 0:
			w->mistakes += parkclock_hold(w->pc) != 0;
			held++;
			break;
		case 1:
			if (!held)
				break;
			w->mistakes += parkclock_release(w->pc) != 0;
			held--;
			break;
		default:
			w->mistakes += parkclock_now(w->pc, CLOCK_MONOTONIC, &ns) != 0;
			w->mistakes += ns < last;
			last = ns;
		}
		w->mistakes += errno != NOT_TOUCHED;
	}
	while (held--)
		w->mistakes += parkclock_release(w->pc) != 0;
	return NULL;
}

TEST_F(library, threads_share_a_handle)
{
	struct worker workers[4];

	must_set("interval_ms", "1");
	for (int i = 0; i < 4; i++) {
		workers[i] = (struct worker){ .pc = self->pc, .seed = i + 1 };
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, work, &workers[i]));
	}
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(0, pthread_join(workers[i].thread, NULL));
		EXPECT_EQ(0, workers[i].mistakes);
	}
	EXPECT_EQ(0, query(parkclock_fd(self->pc)).holds);
}

struct first_read {
	struct parkclock *pc;
	pthread_barrier_t barrier;
	atomic_int mistakes;
};

static void *read_first(void *arg)
{
	struct first_read *first = arg;
	int64_t ns;

	pthread_barrier_wait(&first->barrier);
	first->mistakes += parkclock_now(first->pc, CLOCK_MONOTONIC, &ns) != 0;
	return NULL;
}

/* Threads that all are the first to read: one mapping is made, and none is left. */
TEST_F(library, threads_share_a_fresh_handle)
{
	pthread_t threads[4];
	struct first_read first = { 0 };
	const int before = mappings();

	ASSERT_EQ(0, pthread_barrier_init(&first.barrier, NULL, 4));
	for (int i = 0; i < 300; i++) {
		first.pc = must_open_owner();
		for (int t = 0; t < 4; t++)
			ASSERT_EQ(0, pthread_create(&threads[t], NULL, read_first, &first));
		for (int t = 0; t < 4; t++)
			ASSERT_EQ(0, pthread_join(threads[t], NULL));
		parkclock_close(first.pc);
	}
	EXPECT_EQ(0, first.mistakes);
	EXPECT_EQ(before, mappings());
}

TEST_HARNESS_MAIN
