// SPDX-License-Identifier: GPL-2.0
/*
 * The program that ../user/preload.c runs with the library and its spy (spy.c) preloaded:
 *
 *	preload_child MODE
 *
 * Exit status 0: as it must be; 77: this kernel cannot tell; else it has said what is
 * wrong. Its malloc() reads the time, too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/parkclock.h>
#include <linux/seccomp.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/files.h"
#include "lib/host_clock.h"
#include "lib/params.h"
#include "lib/wait.h"
#include "spy.h"

#define SKIPPED		77
#define NOT_TOUCHED	4711	/* an errno that nothing sets */
#define ROUNDS		500
#define CALLS		6	/* in a round: all that is ours */
#define LOWEST_FD	100	/* the library's descriptor is nowhere below */
#define LIBRARY		"/libparkclock-preload.so"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define CHECK(condition) do { \
	if (!(condition)) { \
		fprintf(stderr, "# child, line %d: not true: %s\n", __LINE__, #condition); \
		_exit(1); \
	} \
} while (0)

/* Malloc replacements read the time, before the library is ready and while it starts. */
void *__libc_malloc(size_t size);

static atomic_bool malloc_is_plain;

void *malloc(size_t size)
{
	struct timespec ts;

	if (!malloc_is_plain && clock_gettime(CLOCK_MONOTONIC, &ts))
		abort();
	return __libc_malloc(size);
}

static struct spy *spy(void)
{
	struct spy *spy = dlsym(RTLD_DEFAULT, "spy");

	CHECK(spy);
	return spy;
}

/* The host's clock, not by any library. */
static int64_t host_ns(int id)
{
	struct timespec ts;

	CHECK(!syscall(SYS_clock_gettime, id, &ts));
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

/* The library's descriptor, or -1; there must not be two. */
static int library_fd(void)
{
	struct stat dev, st;
	int found = -1;

	if (stat(PARKCLOCK_DEVICE, &dev))
		return -1;
	for (int fd = 0; fd < 2048; fd++) {
		if (fstat(fd, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != dev.st_rdev)
			continue;
		if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			continue;	/* that of "parkclock run" */
		CHECK(found < 0);
		found = fd;
	}
	return found;
}

/* Each way to read once, by the program's own calls: 6 that are the library's. */
static void round_of_calls(void)
{
	struct timespec ts;
	struct timeval tv;
	time_t t;

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		errno = NOT_TOUCHED;
		CHECK(!clock_gettime(clock_ids[i], &ts));
		CHECK(ts.tv_nsec >= 0 && ts.tv_nsec < NSEC && errno == NOT_TOUCHED);
	}
	CHECK(!gettimeofday(&tv, NULL));
	CHECK(tv.tv_usec >= 0 && tv.tv_usec < 1000000 && errno == NOT_TOUCHED);
	CHECK(time(&t) == t && errno == NOT_TOUCHED);
}

/*
 * What may be off: not more than the bounds before and after together, though a refresh
 * be between them. No device: nothing.
 */
static int64_t bound(int fd, int id)
{
	return fd < 0 ? 0 : slow_read(fd, id).error_ns;
}

static void in_bracket(const char *what, int64_t ns, int64_t from, int64_t to)
{
	if (ns >= from && ns <= to)
		return;
	fprintf(stderr, "# %s: %lld, not between %lld and %lld\n", what, (long long)ns,
		(long long)from, (long long)to);
	_exit(1);
}

/*
 * Each way against system calls before and after, by what READ through @fd says. libc's
 * time() is that of the last tick, as the kernel's coarse clocks are.
 */
static void right_by(int fd)
{
	for (int round = 0; round < ROUNDS; round++) {
		int64_t error, t0, t1, tick;
		struct timespec ts;
		struct timeval tv;
		time_t t;

		for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
			error = bound(fd, clock_ids[i]);
			t0 = host_ns(clock_ids[i]);
			CHECK(!clock_gettime(clock_ids[i], &ts));
			t1 = host_ns(clock_ids[i]);
			error += bound(fd, clock_ids[i]);
			in_bracket("clock_gettime", ts.tv_sec * NSEC + ts.tv_nsec, t0 - error,
				   t1 + error);
		}
		error = bound(fd, CLOCK_REALTIME);
		tick = host_ns(CLOCK_REALTIME_COARSE);
		t0 = host_ns(CLOCK_REALTIME);
		CHECK(!gettimeofday(&tv, NULL));
		CHECK(timespec_get(&ts, TIME_UTC) == TIME_UTC);
		t = time(NULL);
		t1 = host_ns(CLOCK_REALTIME);
		error += bound(fd, CLOCK_REALTIME);
		in_bracket("gettimeofday", tv.tv_sec * NSEC + tv.tv_usec * 1000,
			   t0 - error - 1000, t1 + error);
		in_bracket("timespec_get", ts.tv_sec * NSEC + ts.tv_nsec, t0 - error, t1 + error);
		in_bracket("time", t, (fd < 0 ? tick : t0 - error) / NSEC, (t1 + error) / NSEC);
	}
}

static void right(void)
{
	const int fd = open_device_reader();

	right_by(fd);
	close(fd);
	CHECK(!spy()->ours);
}

/* How many calls of READ the rounds take. */
static uint64_t slow_reads_of(int rounds)
{
	const char *given = getenv(COUNTERS);
	const int fd = given ? dup(atoi(given)) : open_device();
	uint64_t reads = query(fd).slow_reads;

	for (int i = 0; i < rounds; i++)
		round_of_calls();
	reads = query(fd).slow_reads - reads;
	close(fd);
	CHECK(!spy()->ours);
	return reads;
}

static uint64_t all_slow(int rounds)
{
	return (uint64_t)rounds * CALLS;
}

/* The page is valid: no READ. On a host where it never is: each call is one. */
static void page(void)
{
	CHECK(library_fd() >= LOWEST_FD);
	CHECK(slow_reads_of(ROUNDS) == (counter_usable() ? 0 : all_slow(ROUNDS)));
	right();
	CHECK(!spy()->others);
}

/* The page has expired, and the first call wakes the clock. */
static void expired(void)
{
	CHECK(slow_reads_of(ROUNDS) == (counter_usable() ? 1 : all_slow(ROUNDS)));
	right();
}

/* The page is never valid. */
static void slow(void)
{
	CHECK(slow_reads_of(ROUNDS) == all_slow(ROUNDS));
	right();
}

/* Everything goes to libc: no device, or none for us. */
static void libc(void)
{
	const unsigned long before = spy()->ours;

	CHECK(library_fd() < 0);
	malloc_is_plain = true;
	for (int i = 0; i < ROUNDS; i++)
		round_of_calls();
	CHECK(spy()->ours - before == all_slow(ROUNDS));
	right_by(-1);
}

static void early(void)
{
	CHECK(spy()->early_is_right);
	CHECK(!spy()->ours);
}

/* Results, errors and errno of what is not ours: the kernel's, by way of libc. */
static void other_clock(int id)
{
	const unsigned long others = spy()->others;
	struct timespec t0 = { 0 }, ts = { 0 }, t1 = { 0 };
	int want, want_errno, got;

	errno = NOT_TOUCHED;
	want = syscall(SYS_clock_gettime, id, &t0);
	want_errno = errno;
	errno = NOT_TOUCHED;
	got = clock_gettime(id, &ts);
	if (got != want || errno != want_errno) {
		fprintf(stderr, "# clock %d: %d, errno %d, not %d, %d\n", id, got, errno, want,
			want_errno);
		_exit(1);
	}
	CHECK(spy()->others == others + 1);
	if (got)
		return;
	CHECK(!syscall(SYS_clock_gettime, id, &t1));
	in_bracket("another clock", ts.tv_sec * NSEC + ts.tv_nsec, t0.tv_sec * NSEC + t0.tv_nsec,
		   t1.tv_sec * NSEC + t1.tv_nsec);
}

/* NULL, but the compiler must not know: libc declares that these pointers are not. */
void *nothing;

static void null_by_name(void)
{
	_exit(clock_gettime(CLOCK_MONOTONIC, nothing) ? errno : 0);
}

static void null_by_libc(void)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	int (*const get)(clockid_t id, struct timespec *ts) = dlsym(libc, "clock_gettime");

	_exit(get(CLOCK_MONOTONIC, nothing) ? errno : 0);
}

static int status_of(void (*run)(void))
{
	const pid_t pid = fork();
	int status;

	if (!pid) {
		run();
		_exit(0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

static void others(void)
{
	struct timezone zone = { 1234, 5678 }, want = { 8765, 4321 };
	struct timeval tv;

	for (int id = -200; id < 200; id++)
		if (parkclock_index(id) < 0)
			other_clock(id);
	other_clock(INT_MAX);
	other_clock(INT_MIN);
	other_clock(~getpid() << 3 | 2);	/* CPU time of this process, */
	other_clock(~gettid() << 3 | 6);	/* of this thread, */
	other_clock(~library_fd() << 3 | 3);	/* and a dynamic clock that is none. */
	CHECK(!spy()->ours);

	CHECK(!syscall(SYS_gettimeofday, &tv, &want));
	CHECK(!gettimeofday(&tv, &zone) && !memcmp(&zone, &want, sizeof(zone)));
	in_bracket("gettimeofday, with a zone", tv.tv_sec, host_ns(CLOCK_REALTIME) / NSEC - 20,
		   host_ns(CLOCK_REALTIME) / NSEC + 1);
	zone = (struct timezone) { 1234, 5678 };
	CHECK(!gettimeofday(nothing, &zone) && !memcmp(&zone, &want, sizeof(zone)));
	CHECK(!gettimeofday(nothing, NULL));
	CHECK(time(NULL));
	CHECK(!spy()->ours);
	CHECK(status_of(null_by_name) == status_of(null_by_libc));
}

static void forked_again(void)
{
	page();
	CHECK(!status_of(page));
}

static void forks(void)
{
	page();
	CHECK(!status_of(forked_again));
	page();
}

static char *again[] = { "preload_child", "page", NULL };

static void execs(void)
{
	page();
	execv("/proc/self/exe", again);
	CHECK(!"exec");
}

static void spawns(void)
{
	int status;
	pid_t pid;

	CHECK(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, again, environ));
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	pid = vfork();
	if (!pid) {
		struct timespec ts;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		execv("/proc/self/exe", again);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	page();
}

static int64_t monotonic(void)
{
	struct timespec ts;

	CHECK(!clock_gettime(CLOCK_MONOTONIC, &ts));
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

/* Threads that pass a maximum on, while the clock parks and processes are forked. */
static void *reader(void *latest)
{
	atomic_long *max = latest;

	for (int i = 0; i < 100000; i++) {
		long before = *max, now = monotonic();

		CHECK(now >= before);
		while (before < now && !atomic_compare_exchange_weak(max, &before, now))
			;
		if (i % 2000 == 0)
			sleep_ms(5);
	}
	return NULL;
}

static void reads(void)
{
	for (int i = 0; i < 100; i++)
		round_of_calls();
}

static void threads(void)
{
	const int fd = open_device();
	const uint64_t slow_reads = query(fd).slow_reads;
	atomic_long latest = 0;
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&thread[i], NULL, reader, &latest));
	for (int i = 0; i < 20; i++)
		CHECK(!status_of(reads));
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	/* Both ways were taken. */
	CHECK(query(fd).slow_reads > slow_reads);
	CHECK(!spy()->ours);
}

static atomic_long main_latest, handler_latest;
static atomic_int handled;

static void handler(int sig __attribute__((__unused__)))
{
	const int64_t now = monotonic();

	CHECK(now >= main_latest && now >= handler_latest);
	handler_latest = now;
	handled++;
}

/* Signals that come while the page is read, and while READ is asked. */
static void signals(void)
{
	const struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	const struct sigaction action = { .sa_handler = handler };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; handled < 300; i++) {
		const int64_t earlier = handler_latest, now = monotonic();

		CHECK(now >= earlier && now >= main_latest);
		main_latest = now;
		if (i % 1000 == 0)
			poll(NULL, 0, 5);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	CHECK(!spy()->ours);
}

static void close_all(void)
{
	for (int fd = 3; fd < 2048; fd++)
		close(fd);
}

/* All descriptors are closed: READ goes on by a new one, that is out of the way. */
static void closes(void)
{
	const int was = library_fd();

	CHECK(was >= LOWEST_FD);
	close_all();
	CHECK(library_fd() < 0);
	round_of_calls();
	CHECK(library_fd() >= LOWEST_FD);
	slow();
}

static bool filter(struct sock_filter *instructions, unsigned short n)
{
	struct sock_fprog program = { .len = n, .filter = instructions };

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#define ALLOW		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define LOAD(field)	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IF(value, yes, no)	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (yes), (no))

/*
 * Another file is where the library's descriptor was. Where the kernel can, an ioctl to
 * it is deadly.
 */
static void replaced(void)
{
	const int fd = library_fd();
	struct sock_filter no_ioctl[] = {
		LOAD(nr),
		IF(SYS_ioctl, 0, 3),
		LOAD(args[0]),
		IF(fd, 0, 1),
		KILL,
		ALLOW,
	};
	int pair[2];
	struct stat st;

	CHECK(fd >= LOWEST_FD);
	CHECK(!pipe(pair));
	CHECK(dup2(pair[1], fd) == fd);
	if (!filter(no_ioctl, ARRAY_SIZE(no_ioctl)))
		fprintf(stderr, "# no seccomp: an ioctl to the other file would not be seen\n");
	slow();
	CHECK(!fstat(fd, &st) && S_ISFIFO(st.st_mode));
	CHECK(library_fd() >= LOWEST_FD && library_fd() != fd);
}

/* Where nobody has put anything. */
static void leave_dev(void)
{
	char path[] = "/tmp/preload.XXXXXX";

	CHECK(mkdtemp(path));
	CHECK(!chroot(path) && !chdir("/"));
	CHECK(access(PARKCLOCK_DEVICE, F_OK));
}

/* READ has become impossible: libc's clock, for good, and time does not go back. */
static void lost(void)
{
	const int params = open(PARAMS "enabled", O_WRONLY), fd = library_fd();
	const bool usable = counter_usable();
	const int own = open_device();
	unsigned long ours;
	int64_t latest = 0;

	hold(own);
	CHECK(fd >= 0 && params >= 0);
	close(fd);
	leave_dev();
	malloc_is_plain = true;
	for (int i = 0; i < 20000; i++) {
		const int64_t now = monotonic();

		CHECK(now >= latest);
		latest = now;
		if (i == 10000) {
			/* Still by the page, where it can be. */
			CHECK(!usable || !spy()->ours);
			CHECK(write(params, "N", 1) == 1);
		}
		if (i == 15000)
			CHECK(write(params, "Y", 1) == 1);
	}
	ours = spy()->ours;
	CHECK(ours >= 9999);
	round_of_calls();
	CHECK(spy()->ours == ours + CALLS);
	right_by(-1);
}

/* In another time namespace since the fork: its time, by page and by READ. */
static int64_t before_fork;

static void in_namespace(void)
{
	CHECK(host_ns(CLOCK_MONOTONIC) - before_fork > 900000 * NSEC);
	page();
	must_set("enabled", "N");
	slow();
	must_set("enabled", "Y");
	CHECK(!status_of(page));
}

static void other_namespace(void)
{
	static const char offsets[] = "monotonic 1000000 5\nboottime 2000000 0\n";

	if (unshare(CLONE_NEWTIME)) {
		fprintf(stderr, "# no time namespaces: %s\n", strerror(errno));
		_exit(SKIPPED);
	}
	CHECK(!write_file("/proc/self/timens_offsets", offsets));
	page();
	before_fork = host_ns(CLOCK_MONOTONIC);
	CHECK(!status_of(in_namespace));
	page();
}

static void no_tsc_in_child(void)
{
	CHECK(slow_reads_of(ROUNDS) == all_slow(ROUNDS));
	right();
}

/* A thread that may not read the TSC forks. */
static void no_tsc(void)
{
	malloc_is_plain = true;
	CHECK(!prctl(PR_SET_TSC, PR_TSC_SIGSEGV));
	CHECK(!status_of(no_tsc_in_child));
}

/* A valid page needs no system call at all. */
static void filtered(void)
{
	struct sock_filter nothing[] = {
		LOAD(nr),
		IF(SYS_write, 2, 0),
		IF(SYS_exit_group, 1, 0),
		KILL,
		ALLOW,
	};

	if (!counter_usable())
		_exit(SKIPPED);
	round_of_calls();
	malloc_is_plain = true;
	if (!filter(nothing, ARRAY_SIZE(nothing))) {
		fprintf(stderr, "# no seccomp: %s\n", strerror(errno));
		_exit(SKIPPED);
	}
	for (int i = 0; i < ROUNDS; i++)
		round_of_calls();
	_exit(0);
}

/* Started by "parkclock run --preload": registered, and the library before the spy. */
static void run(void)
{
	const char *preload = getenv("LD_PRELOAD"), *colon;

	CHECK(preload);
	colon = strchr(preload, ':');
	CHECK(colon && colon - preload >= (int)strlen(LIBRARY));
	CHECK(!strncmp(colon - strlen(LIBRARY), LIBRARY, strlen(LIBRARY)));
	CHECK(!strcmp(colon, ":/tests/preload_spy.so"));
	page();
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{ "page", page }, { "expired", expired }, { "slow", slow }, { "libc", libc },
	{ "early", early }, { "others", others }, { "forks", forks }, { "execs", execs },
	{ "spawns", spawns }, { "threads", threads }, { "signals", signals },
	{ "closes", closes }, { "replaced", replaced }, { "lost", lost },
	{ "other_namespace", other_namespace }, { "no_tsc", no_tsc }, { "filtered", filtered },
	{ "run", run },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(modes); i++) {
		if (!strcmp(argv[1], modes[i].name)) {
			modes[i].run();
			return 0;
		}
	}
	fprintf(stderr, "usage: preload_child MODE\n");
	return 2;
}
