// SPDX-License-Identifier: GPL-2.0
/*
 * Stands between libparkclock-preload.so and libc (LD_PRELOAD names it second), and
 * counts the calls that come through to libc: those that the page and READ should have
 * answered, and the others. At the end it writes both to the file $PARKCLOCK_SPY.
 *
 * Its constructor runs before the library's, and reads the time. If $PARKCLOCK_NO_TSC is
 * set it then forbids the TSC, which the dynamic linker has read by now.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "spy.h"

struct spy spy;

static int (*real_clock_gettime)(clockid_t id, struct timespec *ts);
static int (*real_gettimeofday)(struct timeval *tv, void *tz);
static time_t (*real_time)(time_t *t);

/* Not by libc's declarations: they say that no pointer is NULL. */
int spy_clock_gettime(clockid_t id, struct timespec *ts) __asm__("clock_gettime");
int spy_gettimeofday(struct timeval *tv, void *tz) __asm__("gettimeofday");
time_t spy_time(time_t *t) __asm__("time");

int spy_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (ts && (id == CLOCK_MONOTONIC || id == CLOCK_REALTIME || id == CLOCK_BOOTTIME ||
		   id == CLOCK_TAI))
		spy.ours++;
	else
		spy.others++;
	return real_clock_gettime(id, ts);
}

int spy_gettimeofday(struct timeval *tv, void *tz)
{
	if (tv)
		spy.ours++;
	else
		spy.others++;
	return real_gettimeofday(tv, tz);
}

time_t spy_time(time_t *t)
{
	spy.ours++;
	return real_time(t);
}

/* Is what the functions say before the library's constructor has run the time? */
static bool early_is_right(void)
{
	int (*const get)(clockid_t id, struct timespec *ts) = dlsym(RTLD_DEFAULT, "clock_gettime");
	int (*const day)(struct timeval *tv, void *tz) = dlsym(RTLD_DEFAULT, "gettimeofday");
	time_t (*const now)(time_t *t) = dlsym(RTLD_DEFAULT, "time");
	struct timespec before, ts, after, real, tick;
	struct timeval tv;
	time_t t, t2;

	/* The kernel's time() is that of the last tick. */
	syscall(SYS_clock_gettime, CLOCK_REALTIME_COARSE, &tick);
	syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &before);
	if (get(CLOCK_MONOTONIC, &ts) || day(&tv, NULL))
		return false;
	t = now(&t2);
	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &after);
	return (ts.tv_sec - before.tv_sec) * 1000000000 + ts.tv_nsec - before.tv_nsec >= 0 &&
	       (after.tv_sec - ts.tv_sec) * 1000000000 + after.tv_nsec - ts.tv_nsec >= 0 &&
	       tv.tv_sec >= real.tv_sec && t == t2 && t >= tick.tv_sec;
}

static void __attribute__((__constructor__)) start(void)
{
	real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	real_gettimeofday = dlsym(RTLD_NEXT, "gettimeofday");
	real_time = dlsym(RTLD_NEXT, "time");
	spy.early_is_right = early_is_right();
	if (getenv("PARKCLOCK_NO_TSC") && prctl(PR_SET_TSC, PR_TSC_SIGSEGV))
		abort();
}

static void __attribute__((__destructor__)) end(void)
{
	const char *path = getenv("PARKCLOCK_SPY");
	FILE *f = path ? fopen(path, "w") : NULL;

	if (!f)
		return;
	fprintf(f, "%lu %lu\n", spy.ours, spy.others);
	fclose(f);
}
