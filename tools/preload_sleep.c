// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock-preload.so: sleeps, and waits for descriptors and signals, by a clock of the
 * program's own
 *
 * Each calls libc's function, which waits on the host's clock, and calls it again for as long
 * as the clock has not come so far. So libc's function is what a signal interrupts, what is a
 * cancellation point, and what refuses invalid arguments. Nothing here takes a lock or
 * allocates: sleeps are called in signal handlers.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <threads.h>

#include "preload.h"

#define NSEC_PER_MSEC	1000000
#define NSEC_PER_USEC	1000

EXPORT int preload_clock_nanosleep(clockid_t id, int flags, const struct timespec *request,
				   struct timespec *rest) AS(clock_nanosleep);
EXPORT int preload_nanosleep(const struct timespec *request, struct timespec *rest) AS(nanosleep);
EXPORT unsigned int preload_sleep(unsigned int seconds) AS(sleep);
EXPORT int preload_usleep(useconds_t us) AS(usleep);
EXPORT int preload_thrd_sleep(const struct timespec *request, struct timespec *rest) AS(thrd_sleep);
EXPORT int preload_poll(struct pollfd *fds, nfds_t count, int timeout) AS(poll);
EXPORT int preload_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
			 const sigset_t *mask) AS(ppoll);
EXPORT int preload___poll_chk(struct pollfd *fds, nfds_t count, int timeout,
			      size_t size) AS(__poll_chk);
EXPORT int preload___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
			       const sigset_t *mask, size_t size) AS(__ppoll_chk);
EXPORT int preload_select(int count, fd_set *in, fd_set *out, fd_set *except,
			  struct timeval *timeout) AS(select);
EXPORT int preload_pselect(int count, fd_set *in, fd_set *out, fd_set *except,
			   const struct timespec *timeout, const sigset_t *mask) AS(pselect);
EXPORT int preload_epoll_wait(int fd, struct epoll_event *events, int count,
			      int timeout) AS(epoll_wait);
EXPORT int preload_epoll_pwait(int fd, struct epoll_event *events, int count, int timeout,
			       const sigset_t *mask) AS(epoll_pwait);
EXPORT int preload_epoll_pwait2(int fd, struct epoll_event *events, int count,
				const struct timespec *timeout,
				const sigset_t *mask) AS(epoll_pwait2);
EXPORT int preload_sigtimedwait(const sigset_t *set, siginfo_t *info,
				const struct timespec *timeout) AS(sigtimedwait);

static TYPE(clock_nanosleep) next_clock_nanosleep;
static TYPE(nanosleep) next_nanosleep;
static TYPE(sleep) next_sleep;
static TYPE(usleep) next_usleep;
static TYPE(thrd_sleep) next_thrd_sleep;
static TYPE(poll) next_poll;
static TYPE(ppoll) next_ppoll;
static TYPE(__poll_chk) next___poll_chk;
static TYPE(__ppoll_chk) next___ppoll_chk;
static TYPE(select) next_select;
static TYPE(pselect) next_pselect;
static TYPE(epoll_wait) next_epoll_wait;
static TYPE(epoll_pwait) next_epoll_pwait;
static TYPE(epoll_pwait2) next_epoll_pwait2;
static TYPE(sigtimedwait) next_sigtimedwait;

/* SLEEPS */

/* @id is for libc: a relative sleep by REALTIME is one by MONOTONIC. */
static int sleep_for(clockid_t id, struct preload_span *span)
{
	__s64 left = preload_span_left(span);

	while (left) {
		const struct timespec ts = preload_timespec(left);
		const int err = NEXT(clock_nanosleep)(id, 0, &ts, NULL);

		left = preload_span_left(span);
		/* As the kernel: what is over was not interrupted. */
		if (err && (err != EINTR || left))
			return err;
	}
	return 0;
}

static int sleep_until(clockid_t id, __s64 until)
{
	struct timespec host;

	while (preload_deadline(preload_clock(id), until, &host)) {
		const int err = NEXT(clock_nanosleep)(id, TIMER_ABSTIME, &host, NULL);

		if (err)
			return err;
	}
	return 0;
}

int preload_clock_nanosleep(clockid_t id, int flags, const struct timespec *request,
			    struct timespec *rest)
{
	struct preload_span span;
	__s64 until;
	int err;

	if (!preload_is_until(id, request, &until))
		return NEXT(clock_nanosleep)(id, flags, request, rest);
	if (flags & TIMER_ABSTIME)
		return sleep_until(id, until);
	if (!preload_is_span(request, &span))
		return NEXT(clock_nanosleep)(id, flags, request, rest);
	if (preload_clock(id) == CLOCK_BOOTTIME)
		span.id = CLOCK_BOOTTIME;
	err = sleep_for(id, &span);
	if (err == EINTR && rest)
		*rest = preload_timespec(span.left);
	return err;
}

int preload_nanosleep(const struct timespec *request, struct timespec *rest)
{
	int err;

	if (!preload_own())
		return NEXT(nanosleep)(request, rest);
	err = preload_clock_nanosleep(CLOCK_MONOTONIC, 0, request, rest);
	if (!err)
		return 0;
	errno = err;
	return -1;
}

unsigned int preload_sleep(unsigned int seconds)
{
	struct timespec ts = { .tv_sec = seconds };

	if (!preload_own())
		return NEXT(sleep)(seconds);
	return preload_nanosleep(&ts, &ts) ? ts.tv_sec : 0;
}

int preload_usleep(useconds_t us)
{
	const struct timespec ts = preload_timespec((__s64)us * NSEC_PER_USEC);

	return preload_own() ? preload_nanosleep(&ts, NULL) : NEXT(usleep)(us);
}

int preload_thrd_sleep(const struct timespec *request, struct timespec *rest)
{
	if (!preload_own())
		return NEXT(thrd_sleep)(request, rest);
	switch (preload_clock_nanosleep(CLOCK_MONOTONIC, 0, request, rest)) {
	case 0:
		return 0;
	case EINTR:
		return -1;
	default:
		return -2;
	}
}

/* DESCRIPTORS */

static int in_ms(__s64 ns)
{
	const __s64 ms = (ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;

	return ms < INT_MAX ? ms : INT_MAX;
}

int preload_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	struct preload_span span = PRELOAD_SPAN((__s64)timeout * NSEC_PER_MSEC);
	__s64 left;
	int n;

	if (timeout <= 0 || !preload_own())
		return NEXT(poll)(fds, count, timeout);
	do {
		left = preload_span_left(&span);
		n = NEXT(poll)(fds, count, in_ms(left));
	} while (!n && left);
	return n;
}

int preload_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		  const sigset_t *mask)
{
	struct preload_span span;
	struct timespec ts;
	__s64 left;
	int n;

	if (!preload_is_span(timeout, &span))
		return NEXT(ppoll)(fds, count, timeout, mask);
	do {
		left = preload_span_left(&span);
		ts = preload_timespec(left);
		n = NEXT(ppoll)(fds, count, &ts, mask);
	} while (!n && left);
	return n;
}

/* What a program calls that was compiled with _FORTIFY_SOURCE; libc's ends it if need be. */
int preload___poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t size)
{
	if (size / sizeof(*fds) < count)
		return NEXT(__poll_chk)(fds, count, timeout, size);
	return preload_poll(fds, count, timeout);
}

int preload___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
			const sigset_t *mask, size_t size)
{
	if (size / sizeof(*fds) < count)
		return NEXT(__ppoll_chk)(fds, count, timeout, mask, size);
	return preload_ppoll(fds, count, timeout, mask);
}

/* The three sets of select(), as the caller has given them: a timeout clears them. */
struct sets {
	size_t size;
	fd_set *set[3];
	fd_set given[3];
};

/*
 * Of more descriptors the kernel looks at fewer than are named, and nobody knows at how many:
 * the caller's sets may be smaller. So false: the wait is libc's.
 */
static bool save_sets(struct sets *sets, int count, fd_set *in, fd_set *out, fd_set *except)
{
	if (count < 0 || count > FD_SETSIZE)
		return false;
	sets->size = ((size_t)count + NFDBITS - 1) / NFDBITS * sizeof(fd_mask);
	sets->set[0] = in;
	sets->set[1] = out;
	sets->set[2] = except;
	for (int i = 0; i < 3; i++)
		if (sets->set[i])
			memcpy(&sets->given[i], sets->set[i], sets->size);
	return true;
}

static void restore_sets(const struct sets *sets)
{
	for (int i = 0; i < 3; i++)
		if (sets->set[i])
			memcpy(sets->set[i], &sets->given[i], sets->size);
}

/* libc normalises, and refuses what is negative. */
static bool select_span(const struct timeval *timeout, struct preload_span *span)
{
	struct timespec ts;

	if (!timeout || timeout->tv_sec < 0 || timeout->tv_usec < 0)
		return false;
	ts.tv_nsec = timeout->tv_usec % 1000000 * NSEC_PER_USEC;
	if (__builtin_add_overflow(timeout->tv_sec, timeout->tv_usec / 1000000, &ts.tv_sec))
		return false;
	return preload_is_span(&ts, span);
}

/* As on Linux, the caller is told what was left. */
int preload_select(int count, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	struct preload_span span;
	struct sets sets;
	struct timeval tv;
	__s64 left;
	int n, err;

	if (!select_span(timeout, &span) || !save_sets(&sets, count, in, out, except))
		return NEXT(select)(count, in, out, except, timeout);
	for (;;) {
		left = preload_span_left(&span);
		/* Rounded up: 0 looks, and does not wait. */
		tv.tv_sec = left / NSEC_PER_SEC;
		tv.tv_usec = (left % NSEC_PER_SEC + NSEC_PER_USEC - 1) / NSEC_PER_USEC;
		n = NEXT(select)(count, in, out, except, &tv);
		if (n || !left)
			break;
		restore_sets(&sets);
	}
	err = errno;
	preload_span_left(&span);
	timeout->tv_sec = span.left / NSEC_PER_SEC;
	timeout->tv_usec = span.left % NSEC_PER_SEC / NSEC_PER_USEC;
	errno = err;
	return n;
}

int preload_pselect(int count, fd_set *in, fd_set *out, fd_set *except,
		    const struct timespec *timeout, const sigset_t *mask)
{
	struct preload_span span;
	struct sets sets;
	struct timespec ts;
	__s64 left;
	int n;

	if (!preload_is_span(timeout, &span) || !save_sets(&sets, count, in, out, except))
		return NEXT(pselect)(count, in, out, except, timeout, mask);
	for (;;) {
		left = preload_span_left(&span);
		ts = preload_timespec(left);
		n = NEXT(pselect)(count, in, out, except, &ts, mask);
		if (n || !left)
			return n;
		restore_sets(&sets);
	}
}

int preload_epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
	struct preload_span span = PRELOAD_SPAN((__s64)timeout * NSEC_PER_MSEC);
	__s64 left;
	int n;

	if (timeout <= 0 || !preload_own())
		return NEXT(epoll_wait)(fd, events, count, timeout);
	do {
		left = preload_span_left(&span);
		n = NEXT(epoll_wait)(fd, events, count, in_ms(left));
	} while (!n && left);
	return n;
}

int preload_epoll_pwait(int fd, struct epoll_event *events, int count, int timeout,
			const sigset_t *mask)
{
	struct preload_span span = PRELOAD_SPAN((__s64)timeout * NSEC_PER_MSEC);
	__s64 left;
	int n;

	if (timeout <= 0 || !preload_own())
		return NEXT(epoll_pwait)(fd, events, count, timeout, mask);
	do {
		left = preload_span_left(&span);
		n = NEXT(epoll_pwait)(fd, events, count, in_ms(left), mask);
	} while (!n && left);
	return n;
}

int preload_epoll_pwait2(int fd, struct epoll_event *events, int count,
			 const struct timespec *timeout, const sigset_t *mask)
{
	TYPE(epoll_pwait2) const wait = NEXT(epoll_pwait2);
	struct preload_span span;
	struct timespec ts;
	__s64 left;
	int n;

	if (!wait) {
		errno = ENOTSUP;
		return -1;
	}
	if (!preload_is_span(timeout, &span))
		return wait(fd, events, count, timeout, mask);
	do {
		left = preload_span_left(&span);
		ts = preload_timespec(left);
		n = wait(fd, events, count, &ts, mask);
	} while (!n && left);
	return n;
}

/* SIGNALS */

int preload_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	struct preload_span span;
	struct timespec ts;
	__s64 left;
	int sig;

	if (!preload_is_span(timeout, &span))
		return NEXT(sigtimedwait)(set, info, timeout);
	do {
		left = preload_span_left(&span);
		ts = preload_timespec(left);
		sig = NEXT(sigtimedwait)(set, info, &ts);
	} while (sig < 0 && errno == EAGAIN && left);
	return sig;
}

static void __attribute__((__constructor__)) find(void)
{
	const int err = errno;

	NEXT(clock_nanosleep);
	NEXT(nanosleep);
	NEXT(sleep);
	NEXT(usleep);
	NEXT(thrd_sleep);
	NEXT(poll);
	NEXT(ppoll);
	NEXT(select);
	NEXT(pselect);
	NEXT(epoll_wait);
	NEXT(epoll_pwait);
	NEXT(epoll_pwait2);
	NEXT(sigtimedwait);
	errno = err;
}
