// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock-preload.so: the time from /dev/parkclock for programs that do not know
 * parkclock
 *
 * Loaded by LD_PRELOAD, it replaces clock_gettime(), gettimeofday(), time() and timespec_get().
 * MONOTONIC, REALTIME, BOOTTIME and TAI are read from the page, or by the READ ioctl if the page
 * has expired. All other clocks go to libc's functions. If PARKCLOCK_FD is set, preload_own.c
 * reads the clock that it names. Else this file reads the host's. Where there is no device, or
 * the page has a version that is not known here, every call goes to libc.
 *
 * This code runs wherever a program asks for the time: in signal handlers, under any lock,
 * in a constructor or a malloc() that is called before our constructor has run, between
 * vfork() and exec. So a read takes no lock, allocates nothing, and calls no function of
 * another library. System calls are made here directly, which also avoids changes of errno,
 * cancellation points and other libraries' wrappers.
 *
 * MONOTONIC and BOOTTIME never go back while the page and READ take turns: they are one
 * clock. libc's clock may differ from it by the page's bound. So there is one change at the
 * start, see catch_up(), and one at the end if the device is lost, see give_up().
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "preload.h"

#define NOBODY		(-1)	/* instead of a descriptor: all readings come from libc, for good */

/* More than the bound of any page: 1 ppm of the longest window is 1 ms. */
#define ERROR_MAX_NS	10000000

EXPORT int preload_clock_gettime(clockid_t id, struct timespec *ts) AS(clock_gettime);
EXPORT int preload_gettimeofday(struct timeval *tv, void *tz) AS(gettimeofday);
EXPORT time_t preload_time(time_t *t) AS(time);
EXPORT int preload_timespec_get(struct timespec *ts, int base) AS(timespec_get);

/* libc's; NULL until the constructor has found them. */
static TYPE(clock_gettime) next_clock_gettime;
static TYPE(gettimeofday) next_gettimeofday;
static TYPE(time) next_time;
static TYPE(timespec_get) next_timespec_get;

/* The page, once there is one that may be read. */
static const void *page;

/* The descriptor for READ, or NOBODY. The program can put any file at that number. */
static atomic_int descriptor = NOBODY;

/* Written by the constructor, and by forked() while there is one thread. */
static void *map;
static dev_t device;
static struct {
	bool known;
	dev_t dev;
	ino_t ino;
} namespace;

static void close_fd(int fd)
{
	sys3(SYS_close, fd, 0, 0);
}

/* The path may be anything: do not wait for it, and do not make it our terminal. */
static int open_device(void)
{
	const int fd = sys3(SYS_open, (long)PARKCLOCK_DEVICE,
			    O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	int high;

	if (fd < 0)
		return fd;
	high = preload_high_copy(fd);
	close_fd(fd);
	return high;
}

/* 0 if it is not a device. */
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

/* Before the change to the page: wait until it has passed what libc has returned. */
static void catch_up(void)
{
	struct timespec ts = { 0 };
	__s64 before, now;

	sys3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&ts, 0);
	before = preload_ns(&ts);
	do
		now = parkclock_page_read(map, CLOCK_MONOTONIC);
	while (now >= 0 && now < before && before - now < ERROR_MAX_NS);
}

/*
 * Open a clock, and map it where the last one was, if there was one: code that a signal has
 * interrupted may be reading there. QUERY comes first, because mapping and reading something
 * else may do harm. On failure all readings come from libc.
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
	if (preload_tsc_readable()) {
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
 * READ is lost for good. Go on only when libc's clock has passed all that can have been read
 * from the page before it expired. If somebody wakes the clock meanwhile, the page is valid
 * again, and nothing is lost.
 */
static __s64 give_up(int id)
{
	TYPE(clock_gettime) get = LOAD(next_clock_gettime);
	const void *from = LOAD(page);
	struct timespec ts;

	if (get && !get(CLOCK_MONOTONIC, &ts)) {
		const __s64 until = preload_ns(&ts) + ERROR_MAX_NS;

		while (!get(CLOCK_MONOTONIC, &ts) && preload_ns(&ts) < until)
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
 * Return our descriptor, or a new one if the program has closed ours. What is at its number
 * now is the program's, and is left alone; but it may be the program's own open of the device,
 * which has the same time. In another time namespace (setns(2)) a new one would not have it.
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
		/* The file is not ours; or another thread was faster, and has opened @fd. */
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
	/* Try again: another thread can close the descriptor at any moment. */
	for (int tries = 0; tries < 3; tries++) {
		fd = find_descriptor();
		if (fd == NOBODY)
			break;
		if (!sys3(SYS_ioctl, fd, PARKCLOCK_IOC_READ, (long)&arg))
			return arg.reading.ns;
	}
	return give_up(id);
}

/* The time in ns; negative if libc must be asked. */
static __s64 read_clock(int id)
{
	const void *from = LOAD(page);
	__s64 ns;

	if (preload_own()) {
		id = preload_clock(id);
		return id < 0 ? PARKCLOCK_EXPIRED : preload_reading(id);
	}
	if (from) {
		ns = parkclock_page_read(from, id);
		if (ns >= 0)
			return ns;
	}
	return parkclock_index(id) < 0 ? PARKCLOCK_EXPIRED : read_slow(id);
}

/* Return an error as libc does: -1 and errno. */
static long result_of(long ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

static int pass_gettimeofday(struct timeval *tv, void *tz)
{
	TYPE(gettimeofday) get = LOAD(next_gettimeofday);

	return get ? get(tv, tz) : result_of(sys3(SYS_gettimeofday, (long)tv, (long)tz, 0));
}

int preload_clock_gettime(clockid_t id, struct timespec *ts)
{
	TYPE(clock_gettime) get = LOAD(next_clock_gettime);
	__s64 ns = PARKCLOCK_EXPIRED;

	if (ts)
		ns = read_clock(id);
	if (ns >= 0) {
		*ts = preload_timespec(ns);
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
	TYPE(time) get = LOAD(next_time);
	const __s64 ns = read_clock(CLOCK_REALTIME);
	const time_t seconds = ns / NSEC_PER_SEC;

	if (ns < 0)
		return get ? get(t) : result_of(sys3(SYS_time, (long)t, 0, 0));
	if (t)
		*t = seconds;
	return seconds;
}

#define BASE_MONOTONIC	2	/* C23's TIME_MONOTONIC, which not every libc knows */

/* Only libc says whether it knows a base. That of REALTIME is as old as the function. */
int preload_timespec_get(struct timespec *ts, int base)
{
	TYPE(timespec_get) get = NEXT(timespec_get);
	const int id = base == TIME_UTC ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	__s64 ns = PARKCLOCK_EXPIRED;

	if (base != TIME_UTC && !(get && get(ts, base)))
		return 0;
	if (base == TIME_UTC || base == BASE_MONOTONIC)
		ns = read_clock(id);
	if (ns >= 0)
		*ts = preload_timespec(ns);
	else if (base == TIME_UTC && !(get && get(ts, base)))
		return 0;
	return base;
}

/*
 * Runs in the child of fork(). unshare(2) takes effect in children, so the child may need
 * another clock, unless it has its own. The thread that has forked may not be allowed to read
 * the TSC.
 */
static void forked(void)
{
	if (descriptor != NOBODY && in_other_namespace(true)) {
		if (device_of(descriptor) == device)
			close_fd(descriptor);
		attach();
	} else if (!preload_tsc_readable()) {
		STORE(page, NULL);
		preload_own_without_page();
	}
}

static void __attribute__((__constructor__)) start(void)
{
	const int err = errno;

	NEXT(clock_gettime);
	NEXT(gettimeofday);
	NEXT(time);
	NEXT(timespec_get);
	if (!preload_own()) {
		in_other_namespace(true);
		attach();
	}
	if (pthread_atfork(NULL, NULL, forked)) {
		/* A child could be in another time namespace, or without TSC, and not know. */
		STORE(page, NULL);
		descriptor = NOBODY;
		preload_own_without_page();
	}
	errno = err;
}
