// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock-preload.so: the time from /dev/parkclock for programs that do not know
 * of it
 *
 * Loaded by LD_PRELOAD it takes the place of clock_gettime(), gettimeofday() and
 * time(). MONOTONIC, REALTIME, BOOTTIME and TAI are read from the page, or if that has
 * expired by the READ ioctl; everything else goes to libc's functions. Where there is no
 * device, or the page is not for us, everything does.
 *
 * This runs wherever a program asks for the time: in signal handlers, under any lock,
 * in a constructor or a malloc() that are called before ours has run, between vfork()
 * and exec. So a read takes no lock, allocates nothing, and calls nobody: system calls
 * are made here, which also keeps errno, cancellation points and other libraries'
 * wrappers out of it.
 *
 * MONOTONIC and BOOTTIME never go back while the page and READ take turns: they are one
 * clock. libc's may differ from it by the page's bound; so there is one change at the
 * start, see catch_up(), and if the device is lost one at the end, see give_up().
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <linux/parkclock.h>

#ifndef __x86_64__
#error The reader of <linux/parkclock.h>, and so this library, is for x86-64 alone.
#endif

#define EXPORT		__attribute__((__visibility__("default")))
#define NSEC_PER_SEC	1000000000ULL
#define NOBODY		(-1)	/* as a descriptor: libc has the time, for good */

/* More than the bound of any page: 1 ppm of the longest window is 1 ms. */
#define ERROR_MAX_NS	10000000

/* Programs that close descriptors, or choose their numbers, mean low ones. */
#define LOWEST_FD	512

/* Other threads may be reading. */
#define LOAD(p)		__atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define STORE(p, value)	__atomic_store_n(&(p), value, __ATOMIC_RELEASE)

typedef int clock_gettime_fn(clockid_t id, struct timespec *ts);
typedef int gettimeofday_fn(struct timeval *tv, void *tz);
typedef time_t time_fn(time_t *t);

/* libc's; NULL until the constructor has found them. */
static clock_gettime_fn *libc_clock_gettime;
static gettimeofday_fn *libc_gettimeofday;
static time_fn *libc_time;

/* The page, once there is one that may be read. */
static const void *page;

/* For READ, or NOBODY. A number only: the program can put any file there. */
static atomic_int descriptor = NOBODY;

/* Written by the constructor, and by forked() when there is one thread. */
static void *map;
static dev_t device;
static struct {
	bool known;
	dev_t dev;
	ino_t ino;
} namespace;

/* Returns what the kernel does: an error is negative. */
static long sys(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ __volatile__("syscall" : "=a" (ret)
			     : "a" (nr), "D" (a), "S" (b), "d" (c), "r" (r10), "r" (r8), "r" (r9)
			     : "rcx", "r11", "memory");
	return ret;
}

static long sys3(long nr, long a, long b, long c)
{
	return sys(nr, a, b, c, 0, 0, 0);
}

static void close_fd(int fd)
{
	sys3(SYS_close, fd, 0, 0);
}

/* It may be anything that is opened here: nothing to wait for, and no terminal of ours. */
static int open_device(void)
{
	const int fd = sys3(SYS_open, (long)PARKCLOCK_DEVICE,
			    O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	int high = -1;

	if (fd < 0)
		return fd;
	/* Less if the limit of descriptors is low. */
	for (int lowest = LOWEST_FD; lowest && high < 0; lowest /= 2)
		high = sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, lowest);
	close_fd(fd);
	return high;
}

/* 0 if it is no device. */
static dev_t device_of(int fd)
{
	struct stat st;

	if (sys3(SYS_fstat, fd, (long)&st, 0) || !S_ISCHR(st.st_mode))
		return 0;
	return st.st_rdev;
}

/* Has the time namespace changed since the last call that recorded it? */
static bool in_other_namespace(bool record)
{
	struct stat st;
	bool other;

	if (sys3(SYS_stat, (long)"/proc/self/ns/time", (long)&st, 0))
		return false;
	other = namespace.known && (st.st_dev != namespace.dev || st.st_ino != namespace.ino);
	if (record) {
		namespace.known = true;
		namespace.dev = st.st_dev;
		namespace.ino = st.st_ino;
	}
	return other;
}

/* If it cannot be known, no: READ is slower, but nobody is killed by it. */
static bool tsc_readable(void)
{
	int mode;

	return !sys3(SYS_prctl, PR_GET_TSC, (long)&mode, 0) && mode == PR_TSC_ENABLE;
}

static __s64 ns_of(const struct timespec *ts)
{
	return ts->tv_sec * NSEC_PER_SEC + ts->tv_nsec;
}

/* Before the change to the page: until it has passed what was read without us. */
static void catch_up(void)
{
	struct timespec ts = { 0 };
	__s64 before, now;

	sys3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&ts, 0);
	before = ns_of(&ts);
	do
		now = parkclock_page_read(map, CLOCK_MONOTONIC);
	while (now >= 0 && now < before && before - now < ERROR_MAX_NS);
}

/*
 * Open a clock, and map it where the last one was, if there was one: what a signal has
 * interrupted may be reading there. QUERY comes first: something else may not bear being
 * mapped and read. On failure everything is libc's.
 */
static void attach(void)
{
	const long at = (long)map;
	struct parkclock_query query;
	const int fd = open_device();
	long mapped;

	if (fd < 0)
		goto err;
	device = device_of(fd);
	if (!device || sys3(SYS_ioctl, fd, PARKCLOCK_IOC_QUERY, (long)&query))
		goto err_close;
	mapped = sys(SYS_mmap, at, PARKCLOCK_MAP_SIZE, PROT_READ,
		     MAP_SHARED | MAP_POPULATE | (at ? MAP_FIXED : 0), fd, 0);
	if (mapped < 0)
		goto err_close;
	map = (void *)mapped;
	if (!parkclock_usable(map))
		goto err_unmap;
	descriptor = fd;
	if (tsc_readable()) {
		catch_up();
		STORE(page, map);
	} else {
		STORE(page, NULL);
	}
	return;

err_unmap:
	sys3(SYS_munmap, mapped, PARKCLOCK_MAP_SIZE, 0);
	map = NULL;
err_close:
	close_fd(fd);
err:
	STORE(page, NULL);
	descriptor = NOBODY;
}

/*
 * There is no way to READ any more. Go on only when libc's clock has passed what can
 * have been read from the page before it expired. If somebody wakes the clock meanwhile,
 * the page is good again, and nothing has happened.
 */
static __s64 give_up(int id)
{
	clock_gettime_fn *get = LOAD(libc_clock_gettime);
	const void *from = LOAD(page);
	struct timespec ts;

	if (get && !get(CLOCK_MONOTONIC, &ts)) {
		const __s64 until = ns_of(&ts) + ERROR_MAX_NS;

		while (!get(CLOCK_MONOTONIC, &ts) && ns_of(&ts) < until)
			;
	}
	if (from) {
		const __s64 ns = parkclock_page_read(from, id);

		if (ns >= 0)
			return ns;
	}
	STORE(page, NULL);
	descriptor = NOBODY;
	return PARKCLOCK_EXPIRED;
}

/*
 * Our descriptor, or a new one if the program has closed it. What is at its number now
 * is none of our business; unless it is the program's own open of the device, which
 * tells the same time. In another time namespace (setns(2)) a new one would not.
 */
static int find_descriptor(void)
{
	int fd = descriptor, new;

	if (fd == NOBODY || device_of(fd) == device)
		return fd;
	if (in_other_namespace(false))
		return NOBODY;
	new = open_device();
	if (new < 0)
		return NOBODY;
	if (device_of(new) != device || !atomic_compare_exchange_strong(&descriptor, &fd, new)) {
		/* Not ours; or another thread was quicker, and @fd is what it has opened. */
		close_fd(new);
		return device_of(fd) == device ? fd : NOBODY;
	}
	return new;
}

static __s64 read_slow(int id)
{
	struct parkclock_read arg = { .clock_id = id };
	int fd;

	if (descriptor == NOBODY)
		return PARKCLOCK_EXPIRED;
	/* Again: another thread can close it at any moment. */
	for (int tries = 0; tries < 3; tries++) {
		fd = find_descriptor();
		if (fd == NOBODY)
			break;
		if (!sys3(SYS_ioctl, fd, PARKCLOCK_IOC_READ, (long)&arg))
			return arg.reading.ns;
	}
	return give_up(id);
}

/* The time in ns; negative if it is to be had of libc. */
static __s64 read_clock(int id)
{
	const void *from = LOAD(page);
	__s64 ns;

	if (from) {
		ns = parkclock_page_read(from, id);
		if (ns >= 0)
			return ns;
	}
	return parkclock_index(id) < 0 ? PARKCLOCK_EXPIRED : read_slow(id);
}

/* As a function of libc's: -1 and errno. */
static long result_of(long ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

static int pass_gettimeofday(struct timeval *tv, void *tz)
{
	gettimeofday_fn *get = LOAD(libc_gettimeofday);

	return get ? get(tv, tz) : result_of(sys3(SYS_gettimeofday, (long)tv, (long)tz, 0));
}

/*
 * The names that programs know. Here they are others, because libc's declarations
 * promise the compiler that pointers are not NULL.
 */
EXPORT int preload_clock_gettime(clockid_t id, struct timespec *ts) __asm__("clock_gettime");
EXPORT int preload_gettimeofday(struct timeval *tv, void *tz) __asm__("gettimeofday");
EXPORT time_t preload_time(time_t *t) __asm__("time");

int preload_clock_gettime(clockid_t id, struct timespec *ts)
{
	clock_gettime_fn *get = LOAD(libc_clock_gettime);
	__s64 ns = PARKCLOCK_EXPIRED;

	if (ts)
		ns = read_clock(id);
	if (ns >= 0) {
		ts->tv_sec = ns / NSEC_PER_SEC;
		ts->tv_nsec = ns % NSEC_PER_SEC;
		return 0;
	}
	return get ? get(id, ts) : result_of(sys3(SYS_clock_gettime, id, (long)ts, 0));
}

int preload_gettimeofday(struct timeval *tv, void *tz)
{
	__s64 ns = PARKCLOCK_EXPIRED;

	if (tv)
		ns = read_clock(CLOCK_REALTIME);
	if (ns < 0)
		return pass_gettimeofday(tv, tz);
	if (tz && pass_gettimeofday(NULL, tz))
		return -1;
	tv->tv_sec = ns / NSEC_PER_SEC;
	tv->tv_usec = ns % NSEC_PER_SEC / 1000;
	return 0;
}

time_t preload_time(time_t *t)
{
	const __s64 ns = read_clock(CLOCK_REALTIME);
	time_fn *get = LOAD(libc_time);
	const time_t seconds = ns / (__s64)NSEC_PER_SEC;

	if (ns < 0)
		return get ? get(t) : result_of(sys3(SYS_time, (long)t, 0, 0));
	if (t)
		*t = seconds;
	return seconds;
}

/*
 * In the child of fork(): unshare(2) has its effect on children, and their clock is
 * another one. The TSC may be forbidden to the thread that has forked.
 */
static void forked(void)
{
	if (descriptor == NOBODY)
		return;
	if (in_other_namespace(true)) {
		if (device_of(descriptor) == device)
			close_fd(descriptor);
		attach();
	} else if (!tsc_readable()) {
		STORE(page, NULL);
	}
}

static void __attribute__((__constructor__)) start(void)
{
	const int err = errno;

	STORE(libc_clock_gettime, (clock_gettime_fn *)dlsym(RTLD_NEXT, "clock_gettime"));
	STORE(libc_gettimeofday, (gettimeofday_fn *)dlsym(RTLD_NEXT, "gettimeofday"));
	STORE(libc_time, (time_fn *)dlsym(RTLD_NEXT, "time"));
	in_other_namespace(true);
	attach();
	if (descriptor != NOBODY && pthread_atfork(NULL, NULL, forked)) {
		/* A child could be in another namespace, and would not know. */
		STORE(page, NULL);
		descriptor = NOBODY;
	}
	errno = err;
}
