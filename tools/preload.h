/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libparkclock-preload.so: what its files share
 *
 * preload_clock.c	readings, and the host's clock
 * preload_own.c	a clock of the program's own, which PARKCLOCK_FD names
 * preload_fds.c	its descriptors
 * preload_sleep.c	its sleeps, and its waits for descriptors and signals
 * preload_lock.c	its waits for other threads: locks, semaphores, message queues
 * preload_timer.c	its timers
 *
 * Where PARKCLOCK_FD is not set the clock is the host's, and all waits and timers are libc's.
 */
#ifndef PRELOAD_H
#define PRELOAD_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>

#include <linux/parkclock.h>

#ifndef __x86_64__
#error The reader of <linux/parkclock.h>, and so this library, is for x86-64 alone.
#endif

#define NSEC_PER_SEC	1000000000LL
#define FOR_EVER	((__s64)(~0ULL >> 1))

/* How long a wait that is due waits on before it looks whether a stopped clock was started. */
#define LOOK_NS		20000000

/* Other threads may be reading. */
#define LOAD(p)		__atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define STORE(p, value)	__atomic_store_n(&(p), value, __ATOMIC_RELEASE)

/*
 * A function of libc that is defined anew is preload_NAME in C, because libc's declarations
 * promise the compiler that pointers are not NULL. It is declared so:
 *
 *	EXPORT int preload_poll(...) AS(poll);
 *	static TYPE(poll) next_poll;
 */
#define EXPORT		__attribute__((__visibility__("default")))
#define AS(name)	__asm__(#name)
#define TYPE(name)	__typeof__(true ? preload_##name : NULL)

/*
 * libc's function of that name, or NULL where libc has none. What may be called in a signal
 * handler is found by a constructor.
 */
#define NEXT(name) ({ \
	__auto_type next_ = LOAD(next_##name); \
	\
	if (!next_) { \
		next_ = (__typeof__(next_))dlsym(RTLD_NEXT, #name); \
		STORE(next_##name, next_); \
	} \
	next_; \
})

/* Returns the kernel's own value: an error is negative. Leaves errno unchanged. */
static inline long sys(long nr, long a, long b, long c, long d, long e, long f)
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

static inline long sys3(long nr, long a, long b, long c)
{
	return sys(nr, a, b, c, 0, 0, 0);
}

static inline __s64 preload_ns(const struct timespec *ts)
{
	__s64 ns;

	if (__builtin_mul_overflow(ts->tv_sec, NSEC_PER_SEC, &ns) ||
	    __builtin_add_overflow(ns, ts->tv_nsec, &ns))
		return FOR_EVER;
	return ns;
}

/* @ns is not negative. */
static inline struct timespec preload_timespec(__s64 ns)
{
	return (struct timespec){ .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };
}

/* The sum of two times that are not negative; a time that is too large never comes. */
static inline __s64 preload_sum(__s64 a, __s64 b)
{
	return a > FOR_EVER - b ? FOR_EVER : a + b;
}

/* If not, RDTSC kills: the page cannot be read. */
bool preload_tsc_readable(void);

/* A copy of a descriptor, with a high number, close-on-exec; negative if there is none. */
int preload_high_copy(int fd);

/*
 * Has the program a clock of its own? Can be called before any constructor has run. What follows
 * is for a program that has one.
 */
bool preload_own(void);

/* The TSC may not be read from now on: readings are READ's. */
void preload_own_without_page(void);

/*
 * Which of the four clocks a clock id stands for, or -1. Ids for the time of the last tick, and
 * for waits that wake the host, stand for the clock itself. Nobody can wait for a last tick.
 */
int preload_clock(clockid_t id);
int preload_clock_of_wait(clockid_t id);

/* The time of one of the four clocks, in ns; or PARKCLOCK_IS_STOPPED. */
__s64 preload_now(int id);

/* The same, but if the clock is stopped this waits until it is started. */
__s64 preload_reading(int id);

/* A descriptor of the clock, or -1. The program can close it at any moment. */
int preload_descriptor(void);

/* Does this descriptor stay open if the program closes it? The lowest of them from @first, or -1 */
bool preload_keeps(int fd);
int preload_kept(int first);

/*
 * A wait is made of libc's waits on the host's clock, each until the clock can have come to
 * @until. Then look again. While the clock is stopped no wait ends because of the time.
 */

/*
 * Does a time for a wait come from a clock of one's own? Then it is @until. If not, or if libc
 * will refuse it, the wait is libc's.
 */
bool preload_is_until(clockid_t id, const struct timespec *ts, __s64 *until);

/* How long to wait before looking again, in ns; 0: the clock has come to @until. */
__s64 preload_left(int id, __s64 until);

/* As a time of libc's clock. False: the clock has come to @until, and @host is long past. */
bool preload_deadline(int id, __s64 until, struct timespec *host);

/**
 * struct preload_span - a wait for so long, not until then
 * @id:    the clock
 * @left:  ns that were left at the last look
 * @until: when it ends; negative: it begins when the clock runs
 */
struct preload_span {
	int id;
	__s64 left;
	__s64 until;
};

/* A span of MONOTONIC */
#define PRELOAD_SPAN(ns)	{ .id = CLOCK_MONOTONIC, .left = (ns), .until = -1 }

/*
 * As preload_is_until(), for a time to be waited for. A wait of no time is libc's, and so is
 * one for ever (NULL).
 */
bool preload_is_span(const struct timespec *ts, struct preload_span *span);

/* As preload_left() */
__s64 preload_span_left(struct preload_span *span);

#endif
