// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock-preload.so: timers, by a clock of the program's own
 *
 * Timers that are descriptors (timerfd_create()) are the module's (PARKCLOCK_IOC_TIMER): they
 * are read and polled as timerfd's, wherever they are passed on to. Whether a descriptor is such
 * a timer is asked of the descriptor.
 *
 * Timers that send a signal (timer_create()) are libc's, because the signal, its number and what
 * it carries are libc's business. The module's timer of each waits. When that has expired, a
 * thread of the library has libc's timer expire at once. There is such a thread once a program
 * has created a timer.
 *
 * Setting and asking a timer is allowed in signal handlers. So a timer is found without a lock,
 * and what locks it blocks all signals meanwhile.
 *
 * Timers of other clocks, such as those of CPU time, are libc's altogether.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "preload.h"

#define NOBODY	(-1)	/* instead of a descriptor */

EXPORT int preload_timerfd_create(clockid_t id, int flags) AS(timerfd_create);
EXPORT int preload_timerfd_settime(int fd, int flags, const struct itimerspec *new,
				   struct itimerspec *old) AS(timerfd_settime);
EXPORT int preload_timerfd_gettime(int fd, struct itimerspec *now) AS(timerfd_gettime);
EXPORT int preload_timer_create(clockid_t id, struct sigevent *event,
				timer_t *timer) AS(timer_create);
EXPORT int preload_timer_settime(timer_t timer, int flags, const struct itimerspec *new,
				 struct itimerspec *old) AS(timer_settime);
EXPORT int preload_timer_gettime(timer_t timer, struct itimerspec *now) AS(timer_gettime);
EXPORT int preload_timer_getoverrun(timer_t timer) AS(timer_getoverrun);
EXPORT int preload_timer_delete(timer_t timer) AS(timer_delete);

static TYPE(timerfd_create) next_timerfd_create;
static TYPE(timerfd_settime) next_timerfd_settime;
static TYPE(timerfd_gettime) next_timerfd_gettime;
static TYPE(timer_create) next_timer_create;
static TYPE(timer_settime) next_timer_settime;
static TYPE(timer_gettime) next_timer_gettime;
static TYPE(timer_getoverrun) next_timer_getoverrun;
static TYPE(timer_delete) next_timer_delete;

static int fail(int err)
{
	errno = err;
	return -1;
}

/* THE MODULE'S TIMERS */

/* Returns a descriptor, or an error number, negated. */
static int open_timer(int id, unsigned int flags)
{
	const struct parkclock_timer arg = { .clock_id = id, .flags = flags };

	return sys3(SYS_ioctl, preload_descriptor(), PARKCLOCK_IOC_TIMER, (long)&arg);
}

static bool is_valid(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < NSEC_PER_SEC;
}

/* @flags are the module's. Returns 0, or an error number, negated. */
static int set(int fd, unsigned int flags, const struct itimerspec *new, struct itimerspec *old)
{
	struct parkclock_timer_set arg = { .flags = flags };
	int err;

	if (!is_valid(&new->it_value) || !is_valid(&new->it_interval))
		return -EINVAL;
	arg.value_ns = preload_ns(&new->it_value);
	arg.interval_ns = preload_ns(&new->it_interval);
	err = sys3(SYS_ioctl, fd, PARKCLOCK_IOC_TIMER_SET, (long)&arg);
	if (!err && old) {
		old->it_value = preload_timespec(arg.old_left_ns);
		old->it_interval = preload_timespec(arg.old_interval_ns);
	}
	return err;
}

static int get(int fd, struct parkclock_timer_state *state)
{
	return sys3(SYS_ioctl, fd, PARKCLOCK_IOC_TIMER_GET, (long)state);
}

static void tell(const struct parkclock_timer_state *state, struct itimerspec *now)
{
	now->it_value = preload_timespec(state->left_ns);
	now->it_interval = preload_timespec(state->interval_ns);
}

/* TIMERS THAT ARE DESCRIPTORS */

/* libc knows what is invalid or not permitted; timers of the module do not wake the host. */
int preload_timerfd_create(clockid_t id, int flags)
{
	const int libcs = NEXT(timerfd_create)(id, flags);
	int fd;

	if (libcs < 0 || !preload_own() || preload_clock_of_wait(id) < 0)
		return libcs;
	sys3(SYS_close, libcs, 0, 0);
	fd = open_timer(preload_clock(id), flags & TFD_NONBLOCK ? PARKCLOCK_TIMER_NONBLOCK : 0);
	if (fd < 0)
		return fail(fd == -EDQUOT ? EMFILE : -fd);
	if (!(flags & TFD_CLOEXEC))
		sys3(SYS_fcntl, fd, F_SETFD, 0);
	return fd;
}

int preload_timerfd_settime(int fd, int flags, const struct itimerspec *new,
			    struct itimerspec *old)
{
	struct parkclock_timer_state state;
	unsigned int ours = 0;
	int err;

	if (!preload_own() || get(fd, &state))
		return NEXT(timerfd_settime)(fd, flags, new, old);
	if (flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
		return fail(EINVAL);
	if (!new)
		return fail(EFAULT);
	if (flags & TFD_TIMER_ABSTIME) {
		ours = PARKCLOCK_TIMER_ABSOLUTE;
		if (flags & TFD_TIMER_CANCEL_ON_SET && state.clock_id == CLOCK_REALTIME)
			ours |= PARKCLOCK_TIMER_CANCEL;
	}
	err = set(fd, ours, new, old);
	return err ? fail(-err) : 0;
}

int preload_timerfd_gettime(int fd, struct itimerspec *now)
{
	struct parkclock_timer_state state;

	if (!preload_own() || get(fd, &state))
		return NEXT(timerfd_gettime)(fd, now);
	if (!now)
		return fail(EFAULT);
	tell(&state, now);
	return 0;
}

/* TIMERS THAT SEND SIGNALS */

/**
 * struct timer - a timer of libc's, and the module's that it goes by
 * @next:     the list only grows: a timer that was deleted is used again
 * @used:     what follows is valid
 * @lock:     of the setting, and of what is done about an expiration; all signals are blocked
 * @id:	      libc's
 * @fd:	      the module's
 * @overruns: expirations that the last signal did not count
 */
struct timer {
	struct timer *next;
	atomic_bool used;
	atomic_flag lock;
	timer_t id;
	int fd;
	int overruns;
};

static struct timer *timers;

/* For create and delete, which no signal handler calls */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static int waiting = NOBODY;	/* the thread waits for this: the module's timers */

static struct timer *find_timer(timer_t id)
{
	struct timer *t;

	if (!preload_own())
		return NULL;
	for (t = LOAD(timers); t; t = t->next)
		if (t->used && t->id == id)
			return t;
	return NULL;
}

/* Even libc's own signals are blocked, for as long as that takes. */
static __u64 lock_timer(struct timer *t)
{
	const __u64 all = ~0ULL;
	__u64 mask = 0;

	sys(SYS_rt_sigprocmask, SIG_BLOCK, (long)&all, (long)&mask, sizeof(mask), 0, 0);
	while (atomic_flag_test_and_set(&t->lock))
		sys3(SYS_sched_yield, 0, 0, 0);
	return mask;
}

static void unlock_timer(struct timer *t, __u64 mask)
{
	atomic_flag_clear(&t->lock);
	sys(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, sizeof(mask), 0, 0);
}

/* The module's timer has expired: so does libc's, unless it was set meanwhile. */
static void expire(struct timer *t)
{
	const struct itimerspec at_once = { .it_value.tv_nsec = 1 };
	const __u64 mask = lock_timer(t);
	struct parkclock_expired expired;
	long n = -1;

	if (t->used)
		n = sys3(SYS_read, t->fd, (long)&expired, sizeof(expired));
	if (n > 0) {
		t->overruns = expired.expirations > INT_MAX ? INT_MAX : expired.expirations - 1;
		NEXT(timer_settime)(t->id, 0, &at_once, NULL);
	} else if (!n) {
		/* It never will: the clock is stopped, and nobody is left who could start it. */
		sys(SYS_epoll_ctl, waiting, EPOLL_CTL_DEL, t->fd, 0, 0, 0);
	}
	unlock_timer(t, mask);
}

static void *wait_for_timers(void *arg __attribute__((__unused__)))
{
	struct epoll_event event;

	for (;;)
		if (sys(SYS_epoll_pwait, waiting, (long)&event, 1, -1, 0, 0) == 1)
			expire(event.data.ptr);
	return NULL;
}

/* The thread takes none of the program's signals. Returns 0, or an error number, negated. */
static int start_thread(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, mask;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &mask);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, wait_for_timers, NULL);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

/* With the list's lock. Returns 0, or an error number, negated. */
static int start_waiting(void)
{
	int fd, err;

	if (waiting != NOBODY)
		return 0;
	fd = sys3(SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0);
	if (fd < 0)
		return fd;
	waiting = preload_high_copy(fd);
	sys3(SYS_close, fd, 0, 0);
	if (waiting < 0) {
		waiting = NOBODY;
		return -EMFILE;
	}
	err = start_thread();
	if (err) {
		sys3(SYS_close, waiting, 0, 0);
		waiting = NOBODY;
	}
	return err;
}

/* With the list's lock. NULL: no memory */
static struct timer *unused_timer(void)
{
	struct timer *t;

	for (t = timers; t; t = t->next)
		if (!t->used)
			return t;
	t = calloc(1, sizeof(*t));
	if (t) {
		t->next = timers;
		STORE(timers, t);
	}
	return t;
}

/* With the list's lock. Returns 0, or an error number, negated. */
static int add_timer(timer_t id, int clock)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct timer *t = unused_timer();
	int err = start_waiting(), fd;

	if (!t || err)
		return t ? err : -ENOMEM;
	fd = open_timer(clock, PARKCLOCK_TIMER_NONBLOCK);
	if (fd < 0)
		return fd == -EDQUOT ? -EAGAIN : fd;
	t->fd = preload_high_copy(fd);
	sys3(SYS_close, fd, 0, 0);
	if (t->fd < 0)
		return -EAGAIN;
	t->id = id;
	t->overruns = 0;
	event.data.ptr = t;
	err = sys(SYS_epoll_ctl, waiting, EPOLL_CTL_ADD, t->fd, (long)&event, 0, 0);
	if (err) {
		sys3(SYS_close, t->fd, 0, 0);
		return err;
	}
	t->used = true;
	return 0;
}

int preload_timer_create(clockid_t id, struct sigevent *event, timer_t *timer)
{
	int err = NEXT(timer_create)(id, event, timer);

	if (err || !preload_own() || preload_clock_of_wait(id) < 0)
		return err;
	pthread_mutex_lock(&list_lock);
	err = add_timer(*timer, preload_clock(id));
	pthread_mutex_unlock(&list_lock);
	if (!err)
		return 0;
	NEXT(timer_delete)(*timer);
	return fail(-err);
}

/* An expiration that the thread has passed on, but that is not a signal yet, is forgotten. */
int preload_timer_settime(timer_t timer, int flags, const struct itimerspec *new,
			  struct itimerspec *old)
{
	const struct itimerspec never = { 0 };
	struct timer *t = find_timer(timer);
	__u64 mask;
	int err;

	if (!t)
		return NEXT(timer_settime)(timer, flags, new, old);
	if (!new)
		return fail(EINVAL);
	mask = lock_timer(t);
	err = set(t->fd, flags & TIMER_ABSTIME ? PARKCLOCK_TIMER_ABSOLUTE : 0, new, old);
	if (!err) {
		NEXT(timer_settime)(timer, 0, &never, NULL);
		t->overruns = 0;
	}
	unlock_timer(t, mask);
	return err ? fail(-err) : 0;
}

int preload_timer_gettime(timer_t timer, struct itimerspec *now)
{
	const struct timer *t = find_timer(timer);
	struct parkclock_timer_state state;
	int err;

	if (!t)
		return NEXT(timer_gettime)(timer, now);
	if (!now)
		return fail(EFAULT);
	err = get(t->fd, &state);
	if (err)
		return fail(-err);
	tell(&state, now);
	return 0;
}

/* libc's counts how often the module's has expired while the signal was pending. */
int preload_timer_getoverrun(timer_t timer)
{
	const struct timer *t = find_timer(timer);
	const int n = NEXT(timer_getoverrun)(timer);
	int sum;

	if (!t || n < 0)
		return n;
	return __builtin_add_overflow(n, t->overruns, &sum) ? INT_MAX : sum;
}

int preload_timer_delete(timer_t timer)
{
	struct timer *t = find_timer(timer);
	__u64 mask;
	int ret;

	if (!t)
		return NEXT(timer_delete)(timer);
	pthread_mutex_lock(&list_lock);
	mask = lock_timer(t);
	t->used = false;
	sys3(SYS_close, t->fd, 0, 0);
	ret = NEXT(timer_delete)(timer);
	unlock_timer(t, mask);
	pthread_mutex_unlock(&list_lock);
	return ret;
}

/* The child has neither its parent's timers nor the thread. */
static void forked(void)
{
	pthread_mutex_init(&list_lock, NULL);
	for (struct timer *t = timers; t; t = t->next) {
		if (t->used)
			sys3(SYS_close, t->fd, 0, 0);
		t->used = false;
		atomic_flag_clear(&t->lock);
	}
	if (waiting != NOBODY)
		sys3(SYS_close, waiting, 0, 0);
	waiting = NOBODY;
}

static void __attribute__((__constructor__)) find(void)
{
	const int err = errno;

	NEXT(timerfd_settime);
	NEXT(timerfd_gettime);
	NEXT(timer_settime);
	NEXT(timer_gettime);
	NEXT(timer_getoverrun);
	if (preload_own())
		pthread_atfork(NULL, NULL, forked);
	errno = err;
}
