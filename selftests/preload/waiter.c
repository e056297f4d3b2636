// SPDX-License-Identifier: GPL-2.0
/*
 * The program that ../user/preload_waits.c runs with the preload library and a clock of its own,
 * which PARKCLOCK_FD names:
 *
 *	preload_waiter MODE [MS]
 *
 * Exit status 0: as it must be; 77: this kernel cannot tell; else it has said what is wrong.
 *
 * A kind of wait is a row of kinds[]. Each has a thread that waits once, and says how that ended.
 * Standard output is the test's: it gets the earliest time at which a thread began to wait, then
 * a byte from each thread whose wait is over. A thread reads the clock only then, because a
 * reading of a stopped clock waits.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/files.h"
#include "lib/host_clock.h"

#define SKIPPED		77
#define LONG_NS		(1000 * NSEC)	/* until somebody ends the wait */
#define WOKEN		(-1)		/* a wait ended before its time, as it should */
#define NOT_TOUCHED	4711		/* an errno that nothing sets */

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define CHECK(condition) do { \
	if (!(condition)) { \
		fprintf(stderr, "# waiter, line %d: not true: %s (errno %d)\n", __LINE__, \
			#condition, errno); \
		_exit(1); \
	} \
} while (0)

struct kind;

/* A thread that waits, and what it may wait for. */
struct waiter {
	const struct kind *kind;
	pthread_t thread;
	int64_t span, begun, until;
	int result;
	bool lacking;		/* this kernel has nothing of the kind */
	atomic_bool done;

	int pipe[2];
	sem_t sem;
	pthread_mutex_t mutex, taken;
	pthread_cond_t cond, mono;
	mtx_t mtx, mtx_taken;
	cnd_t cnd;
	pthread_rwlock_t locked;
	mqd_t queue;
	pthread_t sleeper;
	atomic_bool flag;
};

/**
 * struct kind - a kind of wait
 * @name:   as it is called in messages
 * @wait:   wait for @span of the waiter, or until its @until. Returns 0 if the time is up, WOKEN,
 *	    or an error number.
 * @id:	    the clock that must have come so far
 * @wake:   end the wait before its time; NULL: nothing does
 * @signal: a handler interrupts it
 */
struct kind {
	const char *name;
	int (*wait)(struct waiter *w);
	int id;
	void (*wake)(struct waiter *w);
	bool signal;
};

static int64_t now(int id)
{
	struct timespec ts;

	CHECK(!clock_gettime(id, &ts));
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){ .tv_sec = ns / NSEC, .tv_nsec = ns % NSEC };
}

/* A handler has run in this thread. */
static __thread bool handler_ran;

/* What a function says by -1 and errno; @what if it says something else */
static int said(long ret, int what)
{
	return ret < 0 ? errno : what;
}

/* SLEEPS */

static int relative(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->span);

	return clock_nanosleep(w->kind->id, 0, &ts, NULL);
}

static int absolute(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);

	return clock_nanosleep(w->kind->id, TIMER_ABSTIME, &ts, NULL);
}

static int nano(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->span);

	return said(nanosleep(&ts, NULL), 0);
}

static int micro(struct waiter *w)
{
	return said(usleep((w->span + 999) / 1000), 0);
}

static int whole(struct waiter *w)
{
	return sleep((w->span + NSEC - 1) / NSEC) ? EINTR : 0;
}

static int thread_sleep(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->span);
	const int ret = thrd_sleep(&ts, NULL);

	return ret == -1 ? EINTR : -ret;
}

/* DESCRIPTORS AND SIGNALS */

static void write_pipe(struct waiter *w)
{
	CHECK(write(w->pipe[1], "w", 1) == 1);
}

static int polls(struct waiter *w)
{
	struct pollfd fd = { .fd = w->pipe[0], .events = POLLIN };
	const int n = poll(&fd, 1, (w->span + 999999) / 1000000);

	return said(n, n ? WOKEN : 0);
}

static int ppolls(struct waiter *w)
{
	struct pollfd fd = { .fd = w->pipe[0], .events = POLLIN };
	const struct timespec ts = timespec_of(w->span);
	const int n = ppoll(&fd, 1, &ts, NULL);

	return said(n, n ? WOKEN : 0);
}

static int selects(struct waiter *w)
{
	struct timeval tv = { .tv_sec = w->span / NSEC, .tv_usec = (w->span % NSEC + 999) / 1000 };
	fd_set set;
	int n;

	FD_ZERO(&set);
	FD_SET(w->pipe[0], &set);
	n = select(w->pipe[0] + 1, &set, NULL, NULL, &tv);
	/* A timeout clears the set, and that again and again. */
	CHECK(n < 0 || !!n == !!FD_ISSET(w->pipe[0], &set));
	CHECK(n || (!tv.tv_sec && !tv.tv_usec));
	return said(n, n ? WOKEN : 0);
}

static int pselects(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->span);
	fd_set set;
	int n;

	FD_ZERO(&set);
	FD_SET(w->pipe[0], &set);
	n = pselect(w->pipe[0] + 1, &set, NULL, NULL, &ts, NULL);
	CHECK(n < 0 || !!n == !!FD_ISSET(w->pipe[0], &set));
	return said(n, n ? WOKEN : 0);
}

static int epoll_of(struct waiter *w)
{
	struct epoll_event event = { .events = EPOLLIN };
	const int fd = epoll_create1(EPOLL_CLOEXEC);

	CHECK(fd >= 0 && !epoll_ctl(fd, EPOLL_CTL_ADD, w->pipe[0], &event));
	return fd;
}

static int epolls(struct waiter *w)
{
	struct epoll_event event;
	const int n = epoll_wait(epoll_of(w), &event, 1, (w->span + 999999) / 1000000);

	return said(n, n ? WOKEN : 0);
}

static int epollps(struct waiter *w)
{
	struct epoll_event event;
	const int n = epoll_pwait(epoll_of(w), &event, 1, (w->span + 999999) / 1000000, NULL);

	return said(n, n ? WOKEN : 0);
}

static int epollp2s(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->span);
	struct epoll_event event;
	const int n = epoll_pwait2(epoll_of(w), &event, 1, &ts, NULL);

	return said(n, n ? WOKEN : 0);
}

/* Blocked in all threads */
static void signal_it(struct waiter *w)
{
	CHECK(!pthread_kill(w->thread, SIGUSR2));
}

static int signals(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->span);
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sig = sigtimedwait(&set, NULL, &ts);
	return sig < 0 && errno == EAGAIN ? 0 : said(sig, WOKEN);
}

/* THREADS */

static void post(struct waiter *w)
{
	CHECK(!sem_post(&w->sem));
}

static int timed_out(int err)
{
	return err == ETIMEDOUT ? 0 : err ? err : WOKEN;
}

static int semaphore(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);
	const int id = w->kind->id;
	const int ret = id == CLOCK_REALTIME ? sem_timedwait(&w->sem, &ts) :
					       sem_clockwait(&w->sem, id, &ts);

	return timed_out(said(ret, 0));
}

static void signal_cond(struct waiter *w)
{
	CHECK(!pthread_mutex_lock(&w->mutex));
	w->flag = true;
	CHECK(!pthread_cond_signal(&w->cond) && !pthread_cond_signal(&w->mono));
	CHECK(!pthread_mutex_unlock(&w->mutex));
}

/* Waking up without a reason is allowed. */
static int condition(struct waiter *w)
{
	pthread_cond_t *const cond = w->kind->id == CLOCK_MONOTONIC ? &w->mono : &w->cond;
	const struct timespec ts = timespec_of(w->until);
	int err = 0;

	CHECK(!pthread_mutex_lock(&w->mutex));
	while (!err && !w->flag)
		err = pthread_cond_timedwait(cond, &w->mutex, &ts);
	CHECK(!pthread_mutex_unlock(&w->mutex));
	return timed_out(err);
}

/* The clock that it was made with does not matter. */
static int condition_clock(struct waiter *w)
{
	pthread_cond_t *const cond = w->kind->id == CLOCK_MONOTONIC ? &w->cond : &w->mono;
	const struct timespec ts = timespec_of(w->until);
	int err = 0;

	CHECK(!pthread_mutex_lock(&w->mutex));
	while (!err && !w->flag)
		err = pthread_cond_clockwait(cond, &w->mutex, w->kind->id, &ts);
	CHECK(!pthread_mutex_unlock(&w->mutex));
	return timed_out(err);
}

static void signal_cnd(struct waiter *w)
{
	CHECK(mtx_lock(&w->mtx) == thrd_success);
	w->flag = true;
	CHECK(cnd_signal(&w->cnd) == thrd_success && mtx_unlock(&w->mtx) == thrd_success);
}

static int c11_condition(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);
	int ret = thrd_success;

	CHECK(mtx_lock(&w->mtx) == thrd_success);
	while (ret == thrd_success && !w->flag)
		ret = cnd_timedwait(&w->cnd, &w->mtx, &ts);
	CHECK(mtx_unlock(&w->mtx) == thrd_success);
	return ret == thrd_timedout ? 0 : ret == thrd_success ? WOKEN : EIO;
}

/* The locks are taken by the first thread. */
static void unlock_mutex(struct waiter *w)
{
	CHECK(!pthread_mutex_unlock(&w->taken));
}

static int mutex(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);
	const int id = w->kind->id;

	return timed_out(id == CLOCK_REALTIME ? pthread_mutex_timedlock(&w->taken, &ts) :
						pthread_mutex_clocklock(&w->taken, id, &ts));
}

static void unlock_mtx(struct waiter *w)
{
	CHECK(mtx_unlock(&w->mtx_taken) == thrd_success);
}

static int c11_mutex(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);
	const int ret = mtx_timedlock(&w->mtx_taken, &ts);

	return ret == thrd_timedout ? 0 : ret == thrd_success ? WOKEN : EIO;
}

static void unlock_rwlock(struct waiter *w)
{
	CHECK(!pthread_rwlock_unlock(&w->locked));
}

static int read_lock(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);
	const int id = w->kind->id;

	return timed_out(id == CLOCK_REALTIME ?
			 pthread_rwlock_timedrdlock(&w->locked, &ts) :
			 pthread_rwlock_clockrdlock(&w->locked, id, &ts));
}

static int write_lock(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);
	const int id = w->kind->id;

	return timed_out(id == CLOCK_REALTIME ?
			 pthread_rwlock_timedwrlock(&w->locked, &ts) :
			 pthread_rwlock_clockwrlock(&w->locked, id, &ts));
}

static void *sleeps(void *w)
{
	CHECK(!sem_wait(&((struct waiter *)w)->sem));
	return NULL;
}

static int join(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);
	const int id = w->kind->id;

	return timed_out(id == CLOCK_REALTIME ? pthread_timedjoin_np(w->sleeper, NULL, &ts) :
						pthread_clockjoin_np(w->sleeper, NULL, id, &ts));
}

static void send_message(struct waiter *w)
{
	CHECK(!mq_send(w->queue, "m", 1, 0));
}

static int receive(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);
	char message;

	return timed_out(said(mq_timedreceive(w->queue, &message, 1, NULL, &ts), 0));
}

static void take_message(struct waiter *w)
{
	char message;

	CHECK(mq_receive(w->queue, &message, 1, NULL) == 1);
}

/* The queue has room for one message. */
static int transmit(struct waiter *w)
{
	const struct timespec ts = timespec_of(w->until);

	CHECK(!mq_send(w->queue, "m", 1, 0));
	return timed_out(said(mq_timedsend(w->queue, "m", 1, 0, &ts), 0));
}

/* TIMERS */

static struct itimerspec setting(struct waiter *w, int flags, int64_t interval)
{
	return (struct itimerspec){
		.it_value = timespec_of(flags ? w->until : w->span),
		.it_interval = timespec_of(interval),
	};
}

/* Expires once, and is then disarmed. Whoever polls sees that it has expired. */
static int timerfd_once(struct waiter *w, int flags)
{
	const struct itimerspec new = setting(w, flags, 0);
	struct pollfd fd = { .events = POLLIN };
	struct itimerspec left;
	uint64_t count;

	fd.fd = timerfd_create(w->kind->id, TFD_CLOEXEC | TFD_NONBLOCK);
	CHECK(fd.fd >= 0 && !timerfd_gettime(fd.fd, &left));
	CHECK(!left.it_value.tv_sec && !left.it_value.tv_nsec);
	CHECK(!timerfd_settime(fd.fd, flags, &new, NULL));
	if (poll(&fd, 1, -1) != 1)
		return errno;
	CHECK(read(fd.fd, &count, sizeof(count)) == sizeof(count) && count == 1);
	CHECK(read(fd.fd, &count, sizeof(count)) < 0 && errno == EAGAIN);
	CHECK(!timerfd_gettime(fd.fd, &left) && !left.it_value.tv_sec && !left.it_value.tv_nsec);
	return 0;
}

static int timerfd_relative(struct waiter *w)
{
	return timerfd_once(w, 0);
}

static int timerfd_absolute(struct waiter *w)
{
	return timerfd_once(w, TFD_TIMER_ABSTIME);
}

/* Ten intervals, in the end. read() waits, and counts. */
static int timerfd_interval(struct waiter *w)
{
	const int64_t interval = w->span / 10;
	const struct itimerspec new = { timespec_of(interval), timespec_of(interval) };
	const int fd = timerfd_create(w->kind->id, TFD_CLOEXEC);
	uint64_t sum = 0, count;

	CHECK(fd >= 0 && !timerfd_settime(fd, 0, &new, NULL));
	while (sum < 10) {
		if (read(fd, &count, sizeof(count)) != sizeof(count))
			return errno;
		sum += count;
	}
	return 0;
}

/* The signal is the thread's, and blocked. */
static int timer_once(struct waiter *w, int flags)
{
	const struct itimerspec new = setting(w, flags, 0);
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2,
		.sigev_value.sival_ptr = w,
	};
	struct itimerspec left;
	siginfo_t info;
	timer_t timer;
	sigset_t set;

	event._sigev_un._tid = gettid();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(!timer_create(w->kind->id, &event, &timer));
	CHECK(!timer_settime(timer, flags, &new, NULL));
	CHECK(timer_getoverrun(timer) == 0);
	/* Linux also returns EINTR if another thing woke the thread, as a late futex. */
	while (sigwaitinfo(&set, &info) != SIGUSR2)
		if (errno != EINTR || __atomic_load_n(&handler_ran, __ATOMIC_RELAXED))
			return errno;
	CHECK(info.si_code == SI_TIMER && info.si_value.sival_ptr == w && !info.si_overrun);
	CHECK(!timer_getoverrun(timer) && !timer_gettime(timer, &left));
	CHECK(!left.it_value.tv_sec && !left.it_value.tv_nsec && !timer_delete(timer));
	return 0;
}

static int timer_relative(struct waiter *w)
{
	return timer_once(w, 0);
}

static int timer_absolute(struct waiter *w)
{
	return timer_once(w, TIMER_ABSTIME);
}

static void expired(union sigval value)
{
	post(value.sival_ptr);
}

/* Ten expirations, of each of which a thread of libc's is told. Some may be told as one. */
static int timer_interval(struct waiter *w)
{
	const int64_t interval = w->span / 10;
	const struct itimerspec new = { timespec_of(interval), timespec_of(interval) };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD, .sigev_value.sival_ptr = w,
		.sigev_notify_function = expired,
	};
	timer_t timer;

	CHECK(!timer_create(w->kind->id, &event, &timer));
	CHECK(!timer_settime(timer, 0, &new, NULL));
	for (int i = 0; i < 10; i++)
		if (sem_wait(&w->sem))
			return errno;
	CHECK(!timer_delete(timer));
	return 0;
}

/* THE KINDS */

static const struct kind kinds[] = {
	{ "relative, monotonic", relative, CLOCK_MONOTONIC, NULL, true },
	{ "relative, realtime", relative, CLOCK_REALTIME, NULL, true },
	{ "relative, boottime", relative, CLOCK_BOOTTIME, NULL, true },
	{ "relative, tai", relative, CLOCK_TAI, NULL, true },
	{ "absolute, monotonic", absolute, CLOCK_MONOTONIC, NULL, true },
	{ "absolute, realtime", absolute, CLOCK_REALTIME, NULL, true },
	{ "absolute, boottime", absolute, CLOCK_BOOTTIME, NULL, true },
	{ "absolute, tai", absolute, CLOCK_TAI, NULL, true },
	{ "nanosleep", nano, CLOCK_MONOTONIC, NULL, true },
	{ "usleep", micro, CLOCK_MONOTONIC, NULL, true },
	{ "sleep", whole, CLOCK_MONOTONIC, NULL, true },
	{ "thrd_sleep", thread_sleep, CLOCK_MONOTONIC, NULL, true },
	{ "poll", polls, CLOCK_MONOTONIC, write_pipe, true },
	{ "ppoll", ppolls, CLOCK_MONOTONIC, write_pipe, true },
	{ "select", selects, CLOCK_MONOTONIC, write_pipe, true },
	{ "pselect", pselects, CLOCK_MONOTONIC, write_pipe, true },
	{ "epoll_wait", epolls, CLOCK_MONOTONIC, write_pipe, true },
	{ "epoll_pwait", epollps, CLOCK_MONOTONIC, write_pipe, true },
	{ "epoll_pwait2", epollp2s, CLOCK_MONOTONIC, write_pipe, true },
	{ "sigtimedwait", signals, CLOCK_MONOTONIC, signal_it, true },
	{ "sem_timedwait", semaphore, CLOCK_REALTIME, post, true },
	{ "sem_clockwait", semaphore, CLOCK_MONOTONIC, post, true },
	{ "condition, realtime", condition, CLOCK_REALTIME, signal_cond, false },
	{ "condition, monotonic", condition, CLOCK_MONOTONIC, signal_cond, false },
	{ "cond_clockwait, realtime", condition_clock, CLOCK_REALTIME, signal_cond, false },
	{ "cond_clockwait, monotonic", condition_clock, CLOCK_MONOTONIC, signal_cond, false },
	{ "cnd_timedwait", c11_condition, CLOCK_REALTIME, signal_cnd, false },
	{ "mutex_timedlock", mutex, CLOCK_REALTIME, unlock_mutex, false },
	{ "mutex_clocklock", mutex, CLOCK_MONOTONIC, unlock_mutex, false },
	{ "mtx_timedlock", c11_mutex, CLOCK_REALTIME, unlock_mtx, false },
	{ "rwlock_timedrdlock", read_lock, CLOCK_REALTIME, unlock_rwlock, false },
	{ "rwlock_clockrdlock", read_lock, CLOCK_MONOTONIC, unlock_rwlock, false },
	{ "rwlock_timedwrlock", write_lock, CLOCK_REALTIME, unlock_rwlock, false },
	{ "rwlock_clockwrlock", write_lock, CLOCK_MONOTONIC, unlock_rwlock, false },
	{ "timedjoin", join, CLOCK_REALTIME, post, false },
	{ "clockjoin", join, CLOCK_MONOTONIC, post, false },
	{ "mq_timedreceive", receive, CLOCK_REALTIME, send_message, true },
	{ "mq_timedsend", transmit, CLOCK_REALTIME, take_message, true },
	{ "timerfd, relative, monotonic", timerfd_relative, CLOCK_MONOTONIC, NULL, true },
	{ "timerfd, relative, realtime", timerfd_relative, CLOCK_REALTIME, NULL, true },
	{ "timerfd, relative, boottime", timerfd_relative, CLOCK_BOOTTIME, NULL, true },
	{ "timerfd, absolute, monotonic", timerfd_absolute, CLOCK_MONOTONIC, NULL, true },
	{ "timerfd, absolute, realtime", timerfd_absolute, CLOCK_REALTIME, NULL, true },
	{ "timerfd, absolute, boottime", timerfd_absolute, CLOCK_BOOTTIME, NULL, true },
	{ "timerfd, interval", timerfd_interval, CLOCK_MONOTONIC, NULL, true },
	{ "timer, relative, monotonic", timer_relative, CLOCK_MONOTONIC, NULL, true },
	{ "timer, relative, realtime", timer_relative, CLOCK_REALTIME, NULL, true },
	{ "timer, relative, boottime", timer_relative, CLOCK_BOOTTIME, NULL, true },
	{ "timer, relative, tai", timer_relative, CLOCK_TAI, NULL, true },
	{ "timer, absolute, monotonic", timer_absolute, CLOCK_MONOTONIC, NULL, true },
	{ "timer, absolute, realtime", timer_absolute, CLOCK_REALTIME, NULL, true },
	{ "timer, absolute, boottime", timer_absolute, CLOCK_BOOTTIME, NULL, true },
	{ "timer, absolute, tai", timer_absolute, CLOCK_TAI, NULL, true },
	{ "timer, interval", timer_interval, CLOCK_MONOTONIC, NULL, true },
};

#define KINDS ARRAY_SIZE(kinds)

static struct waiter waiters[KINDS];
static pthread_barrier_t all;

/* Until it is told when the waits began, no end of one is. */
static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;

static mqd_t make_queue(int number)
{
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 1 };
	char name[32];
	mqd_t queue;

	snprintf(name, sizeof(name), "/waiter.%d.%d", getpid(), number);
	queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	/* Not every kernel has them. */
	CHECK(queue >= 0 || !exists("/proc/sys/fs/mqueue"));
	mq_unlink(name);
	return queue;
}

static bool has_timerfd(void)
{
	const int fd = syscall(SYS_timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC);

	close(fd);
	return fd >= 0;
}

static void prepare(struct waiter *w, const struct kind *kind)
{
	pthread_condattr_t attr;

	w->kind = kind;
	CHECK(!pipe2(w->pipe, O_CLOEXEC) && !sem_init(&w->sem, 0, 0));
	CHECK(!pthread_mutex_init(&w->mutex, NULL) && !pthread_mutex_init(&w->taken, NULL));
	CHECK(!pthread_condattr_init(&attr) &&
	      !pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
	CHECK(!pthread_cond_init(&w->cond, NULL) && !pthread_cond_init(&w->mono, &attr));
	CHECK(mtx_init(&w->mtx, mtx_plain) == thrd_success && cnd_init(&w->cnd) == thrd_success);
	CHECK(mtx_init(&w->mtx_taken, mtx_timed) == thrd_success);
	CHECK(!pthread_rwlock_init(&w->locked, NULL));
	CHECK(!pthread_mutex_lock(&w->taken) && mtx_lock(&w->mtx_taken) == thrd_success);
	CHECK(!pthread_rwlock_wrlock(&w->locked));
	if (kind->wait == receive || kind->wait == transmit) {
		w->queue = make_queue(w - waiters);
		w->lacking = w->queue < 0;
	}
	if (kind->wait == timerfd_relative || kind->wait == timerfd_absolute ||
	    kind->wait == timerfd_interval)
		w->lacking = !has_timerfd();
	if (kind->wait == join)
		CHECK(!pthread_create(&w->sleeper, NULL, sleeps, w));
}

static void *waits(void *arg)
{
	struct waiter *w = arg;

	w->begun = now(w->kind->id);
	w->until = w->begun + w->span;
	pthread_barrier_wait(&all);
	if (!w->lacking)
		w->result = w->kind->wait(w);
	w->done = true;
	/* Of what this kernel lacks there was no wait, and no end of one to tell. */
	if (w->lacking)
		return NULL;
	pthread_mutex_lock(&telling);
	CHECK(write(STDOUT_FILENO, "", 1) == 1);
	pthread_mutex_unlock(&telling);
	return NULL;
}

/* Has a thread of each kind wait. Returns when all are about to. */
static void start(int64_t span, bool (*which)(const struct kind *kind))
{
	int64_t begun = now(CLOCK_MONOTONIC);
	unsigned int count = 1;

	for (size_t i = 0; i < KINDS; i++)
		count += which(&kinds[i]);
	CHECK(count > 1 && !pthread_barrier_init(&all, NULL, count));
	pthread_mutex_lock(&telling);
	for (size_t i = 0; i < KINDS; i++) {
		if (!which(&kinds[i]))
			continue;
		prepare(&waiters[i], &kinds[i]);
		waiters[i].span = span;
		CHECK(!pthread_create(&waiters[i].thread, NULL, waits, &waiters[i]));
	}
	pthread_barrier_wait(&all);
	CHECK(write(STDOUT_FILENO, &begun, sizeof(begun)) == sizeof(begun));
	pthread_mutex_unlock(&telling);
}

/* Waits for all of them; how each must have ended */
static void finish(int result)
{
	for (struct waiter *w = waiters; w < waiters + KINDS; w++) {
		int64_t passed;

		if (!w->kind)
			continue;
		CHECK(!pthread_join(w->thread, NULL));
		passed = now(w->kind->id) - w->begun;
		if (w->lacking)
			continue;
		if (w->result != result)
			fprintf(stderr, "# %s: %d, not %d\n", w->kind->name, w->result, result);
		CHECK(w->result == result);
		if (!result && passed < w->span)
			fprintf(stderr, "# %s: %lld ns early\n", w->kind->name,
				(long long)(w->span - passed));
		CHECK(result || passed >= w->span);
	}
}

/* MODES */

static int64_t argument;	/* ns */

static bool every(const struct kind *kind)
{
	return kind;
}

/* No wait ends before its time. What happens to the clock meanwhile is up to the test. */
static void expire(void)
{
	start(argument, every);
	finish(0);
}

static bool wakeable(const struct kind *kind)
{
	return kind->wake;
}

/* What is waited for happens while the clock is stopped, when the test says a word. */
static void woken(void)
{
	char word;

	start(LONG_NS, wakeable);
	CHECK(read(STDIN_FILENO, &word, 1) == 1);
	for (size_t i = 0; i < KINDS; i++)
		if (waiters[i].kind && !waiters[i].lacking)
			waiters[i].kind->wake(&waiters[i]);
	for (size_t i = 0; i < KINDS; i++)
		if (waiters[i].kind)
			while (!waiters[i].done)
				sched_yield();
	/* The test starts the clock when it has heard of all, and finish() reads it. */
	finish(WOKEN);
}

static void handler(int sig)
{
	(void)sig;
	__atomic_store_n(&handler_ran, true, __ATOMIC_RELAXED);
}

static bool interruptible(const struct kind *kind)
{
	return kind->signal;
}

/* A signal may come before the wait, so there are some. */
static void interrupt(void)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < KINDS; i++) {
			if (!waiters[i].kind || waiters[i].done)
				continue;
			CHECK(!pthread_kill(waiters[i].thread, SIGUSR1));
			more = true;
		}
		syscall(SYS_nanosleep, &(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
}

static void interrupted(void)
{
	const struct sigaction action = { .sa_handler = handler };

	CHECK(!sigaction(SIGUSR1, &action, NULL));
	start(LONG_NS, interruptible);
	interrupt();
	finish(EINTR);
}

/* While the clock is stopped, too: the test stops it when the threads are about to wait. */
static void interrupted_stopped(void)
{
	const struct sigaction action = { .sa_handler = handler };
	char word;

	CHECK(!sigaction(SIGUSR1, &action, NULL));
	start(LONG_NS, interruptible);
	CHECK(read(STDIN_FILENO, &word, 1) == 1);
	interrupt();
	finish(EINTR);
}

static bool cancellable(const struct kind *kind)
{
	return kind->signal || kind->wait == condition || kind->wait == condition_clock ||
	       kind->wait == join;
}

/* Waits are cancellation points, as they are without the library. */
static void cancelled(void)
{
	void *value;

	start(LONG_NS, cancellable);
	for (size_t i = 0; i < KINDS; i++) {
		struct waiter *w = &waiters[i];

		if (!w->kind || w->lacking)
			continue;
		CHECK(!pthread_cancel(w->thread) && !pthread_join(w->thread, &value));
		CHECK(value == PTHREAD_CANCELED);
	}
}

static void soon(void)
{
	const struct sigaction action = { .sa_handler = handler };
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } };

	CHECK(!sigaction(SIGALRM, &action, NULL) && !setitimer(ITIMER_REAL, &often, NULL));
}

/* What is left of a sleep that was interrupted, and what has passed, is at least all. */
static void rest(void)
{
	const struct timespec ts = timespec_of(LONG_NS);
	struct timeval tv = { .tv_sec = LONG_NS / NSEC };
	struct timespec left;
	int64_t begun;

	soon();
	begun = now(CLOCK_MONOTONIC);
	errno = 0;
	CHECK(nanosleep(&ts, &left) == -1 && errno == EINTR);
	CHECK(left.tv_sec * NSEC + left.tv_nsec + now(CLOCK_MONOTONIC) - begun >= LONG_NS);
	CHECK(left.tv_sec * NSEC + left.tv_nsec < LONG_NS);
	left = ts;
	for (int i = 0; i < 5; i++)
		CHECK(clock_nanosleep(CLOCK_BOOTTIME, 0, &left, &left) == EINTR);
	CHECK(left.tv_sec * NSEC + left.tv_nsec + now(CLOCK_MONOTONIC) - begun >= LONG_NS);
	begun = now(CLOCK_MONOTONIC);
	CHECK(select(0, NULL, NULL, NULL, &tv) == -1 && errno == EINTR);
	CHECK((tv.tv_sec * 1000000 + tv.tv_usec + 1) * 1000 + now(CLOCK_MONOTONIC) - begun >=
	      LONG_NS);
	CHECK(tv.tv_sec < LONG_NS / NSEC);
	begun = now(CLOCK_MONOTONIC);
	left.tv_sec = sleep(LONG_NS / NSEC);
	CHECK(left.tv_sec && left.tv_sec < LONG_NS / NSEC);
	CHECK((left.tv_sec + 1) * NSEC + now(CLOCK_MONOTONIC) - begun >= LONG_NS);
}

static void *waits_once(void *arg)
{
	struct waiter *w = arg;

	w->until = now(w->kind->id) + w->span;
	w->result = w->kind->wait(w);
	if (w->result)
		fprintf(stderr, "# %s: %d\n", w->kind->name, w->result);
	CHECK(!w->result);
	return NULL;
}

/* Does it wait until a time? (The queue of transmit() is full after the first.) */
static bool has_past(const struct kind *kind)
{
	return !kind->signal || kind->wait == absolute || kind->wait == semaphore ||
	       kind->wait == receive || kind->wait == timerfd_absolute ||
	       kind->wait == timer_absolute;
}

/* A time in the past is over at once, and what is there is taken nevertheless. */
static void past(void)
{
	static const int64_t spans[] = { -1, -NSEC, -40000 * NSEC };
	pthread_mutex_t *free_one = &waiters[0].mutex;
	const struct timespec zero = { 0 };

	for (size_t i = 0; i < KINDS; i++) {
		struct waiter *w = &waiters[i];

		prepare(w, &kinds[i]);
		if (!has_past(&kinds[i]) || w->lacking)
			continue;
		for (size_t j = 0; j < ARRAY_SIZE(spans); j++) {
			w->span = spans[j];
			CHECK(!pthread_create(&w->thread, NULL, waits_once, w));
			CHECK(!pthread_join(w->thread, NULL));
		}
	}
	CHECK(!pthread_mutex_timedlock(free_one, &zero) && !pthread_mutex_unlock(free_one));
	CHECK(!pthread_mutex_clocklock(free_one, CLOCK_MONOTONIC, &zero));
	CHECK(!sem_post(&waiters[0].sem) && !sem_timedwait(&waiters[0].sem, &zero));
	CHECK(sem_timedwait(&waiters[0].sem, &zero) == -1 && errno == ETIMEDOUT);
	CHECK(!nanosleep(&zero, NULL) && !poll(NULL, 0, 0));
}

static void *libc;

/* No memory is there, but the compiler must not know. */
struct pollfd *nowhere = (void *)1;

/* The function that the program calls, and libc's: what they say of the same arguments */
#define SAME(name, ...) do { \
	__typeof__(name) *theirs_ = dlsym(libc, #name); \
	long ret_, want_; \
	int err_, want_err_; \
	\
	errno = NOT_TOUCHED; \
	want_ = theirs_(__VA_ARGS__); \
	want_err_ = errno; \
	errno = NOT_TOUCHED; \
	ret_ = name(__VA_ARGS__); \
	err_ = errno; \
	if (ret_ != want_ || err_ != want_err_) { \
		fprintf(stderr, "# %s, line %d: %ld, errno %d, not %ld, errno %d\n", #name, \
			__LINE__, ret_, err_, want_, want_err_); \
		_exit(1); \
	} \
} while (0)

static const struct timespec bad_settings[] = {
	{ 0, -1 }, { 0, NSEC }, { -1, 0 }, { -1, -1 },
};

static void invalid_timerfds(void)
{
	static const int ids[] = { CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW, 77, -77 };
	const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct itimerspec its = { .it_value = { 1000, 0 } };

	CHECK(fd >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		SAME(timerfd_create, ids[i], 0);
	SAME(timerfd_create, CLOCK_TAI, 0);
	SAME(timerfd_create, CLOCK_MONOTONIC, 77);
	SAME(timerfd_settime, -1, 0, &its, NULL);
	SAME(timerfd_settime, STDERR_FILENO, 0, &its, NULL);
	SAME(timerfd_gettime, -1, &its);
	SAME(timerfd_gettime, STDERR_FILENO, &its);
	for (size_t i = 0; i < ARRAY_SIZE(bad_settings); i++) {
		its = (struct itimerspec){ .it_value = bad_settings[i] };
		CHECK(timerfd_settime(fd, 0, &its, NULL) == -1 && errno == EINVAL);
		its = (struct itimerspec){ .it_interval = bad_settings[i],
					   .it_value = { 1000, 0 } };
		CHECK(timerfd_settime(fd, 0, &its, NULL) == -1 && errno == EINVAL);
	}
	its = (struct itimerspec){ .it_value = { 1000, 0 } };
	CHECK(timerfd_settime(fd, 77, &its, NULL) == -1 && errno == EINVAL);
}

static void invalid_timers(void)
{
	static const int ids[] = { CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW, 77, -77 };
	struct itimerspec its = { .it_value = { 1000, 0 } };
	timer_t timer, other;

	CHECK(!timer_create(CLOCK_MONOTONIC, NULL, &timer));
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		SAME(timer_create, ids[i], NULL, &other);
	SAME(timer_create, CLOCK_MONOTONIC, &(struct sigevent){ .sigev_notify = 77 }, &other);
	for (size_t i = 0; i < ARRAY_SIZE(bad_settings); i++) {
		its = (struct itimerspec){ .it_value = bad_settings[i] };
		CHECK(timer_settime(timer, 0, &its, NULL) == -1 && errno == EINVAL);
		its = (struct itimerspec){ .it_interval = bad_settings[i],
					   .it_value = { 1000, 0 } };
		CHECK(timer_settime(timer, 0, &its, NULL) == -1 && errno == EINVAL);
	}
	CHECK(!timer_delete(timer) && timer_delete(timer) == -1 && errno == EINVAL);
	CHECK(timer_settime(timer, 0, &its, NULL) == -1 && errno == EINVAL);
	CHECK(timer_gettime(timer, &its) == -1 && errno == EINVAL);
	CHECK(timer_getoverrun(timer) == -1 && errno == EINVAL);
}

/* Invalid times, clocks, descriptors and flags: what Linux says */
static void invalid(void)
{
	static const struct timespec bad[] = {
		{ 0, -1 }, { 0, NSEC }, { -1, 0 }, { -1, -1 }, { 0, LONG_MAX }, { 0, LONG_MIN },
	};
	static const int ids[] = {
		CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_MONOTONIC_RAW,
		CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME_COARSE, CLOCK_THREAD_CPUTIME_ID, 77, -77,
	};
	const struct timespec valid = { 0, 1 };
	struct waiter *w = &waiters[0];
	struct epoll_event event;
	struct timeval tv;
	char message;

	libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	CHECK(libc);
	prepare(w, &kinds[0]);
	CHECK(!pthread_mutex_lock(&w->mutex));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct timespec *ts = &bad[i];

		for (size_t j = 0; j < ARRAY_SIZE(ids); j++) {
			SAME(clock_nanosleep, ids[j], 0, ts, NULL);
			SAME(clock_nanosleep, ids[j], TIMER_ABSTIME, ts, NULL);
			SAME(sem_clockwait, &w->sem, ids[j], ts);
			SAME(pthread_mutex_clocklock, &w->taken, ids[j], ts);
			SAME(pthread_cond_clockwait, &w->cond, &w->mutex, ids[j], ts);
			SAME(pthread_rwlock_clockrdlock, &w->locked, ids[j], ts);
			SAME(pthread_rwlock_clockwrlock, &w->locked, ids[j], ts);
		}
		SAME(nanosleep, ts, NULL);
		SAME(ppoll, NULL, 0, ts, NULL);
		SAME(pselect, 0, NULL, NULL, NULL, ts, NULL);
		SAME(sigtimedwait, &(sigset_t){ 0 }, NULL, ts);
		SAME(pthread_cond_timedwait, &w->cond, &w->mutex, ts);
		SAME(pthread_cond_timedwait, &w->mono, &w->mutex, ts);
		SAME(pthread_mutex_timedlock, &w->taken, ts);
		SAME(pthread_rwlock_timedrdlock, &w->locked, ts);
		SAME(pthread_rwlock_timedwrlock, &w->locked, ts);
		SAME(sem_timedwait, &w->sem, ts);
		SAME(mq_timedreceive, -1, &message, 1, NULL, ts);
		tv = (struct timeval){ ts->tv_sec, ts->tv_nsec };
		if (tv.tv_sec < 0 || tv.tv_usec < 0)
			SAME(select, 0, NULL, NULL, NULL, &tv);
	}
	for (size_t j = 0; j < ARRAY_SIZE(ids); j++) {
		if (ids[j] == CLOCK_THREAD_CPUTIME_ID)
			continue;
		SAME(clock_nanosleep, ids[j], 0, &valid, NULL);
		SAME(clock_nanosleep, ids[j], TIMER_ABSTIME, &valid, NULL);
		SAME(sem_clockwait, &w->sem, ids[j], &valid);
		SAME(pthread_cond_clockwait, &w->cond, &w->mutex, ids[j], &valid);
	}
	SAME(clock_nanosleep, CLOCK_MONOTONIC, 77, &valid, NULL);
	SAME(poll, nowhere, 1, 1);
	SAME(ppoll, nowhere, 1, &valid, NULL);
	SAME(select, -1, NULL, NULL, NULL, &(struct timeval){ 0, 1 });
	SAME(pselect, -1, NULL, NULL, NULL, &valid, NULL);
	SAME(epoll_wait, -1, &event, 1, 1);
	SAME(epoll_wait, w->pipe[0], &event, 1, 1);
	SAME(epoll_pwait, -1, &event, 0, 1, NULL);
	SAME(mq_timedsend, -1, "m", 1, 0, &valid);
	invalid_timers();
	if (has_timerfd())
		invalid_timerfds();
}

/* What READ says of the clock that PARKCLOCK_FD names */
static int64_t read_given(int id)
{
	struct parkclock_read arg = { .clock_id = id };

	CHECK(!ioctl(atoi(getenv("PARKCLOCK_FD")), PARKCLOCK_IOC_READ, &arg));
	return arg.reading.ns;
}

static void reads_as(const char *what, int id, int64_t before, int64_t ns)
{
	const int64_t after = read_given(id);

	if (ns < before || ns > after)
		fprintf(stderr, "# %s: %lld, not between %lld and %lld\n", what, (long long)ns,
			(long long)before, (long long)after);
	CHECK(ns >= before && ns <= after);
}

/* All readings are of the clock. */
static void readings(void)
{
	static const int ids[][2] = {
		{ CLOCK_MONOTONIC, CLOCK_MONOTONIC }, { CLOCK_REALTIME, CLOCK_REALTIME },
		{ CLOCK_BOOTTIME, CLOCK_BOOTTIME }, { CLOCK_TAI, CLOCK_TAI },
		{ CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC },
		{ CLOCK_REALTIME_COARSE, CLOCK_REALTIME },
		{ CLOCK_BOOTTIME_ALARM, CLOCK_BOOTTIME },
		{ CLOCK_REALTIME_ALARM, CLOCK_REALTIME },
	};
	struct timespec ts, before_cpu, after_cpu, want;
	struct timeval tv;
	int64_t before;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		before = read_given(ids[i][1]);
		reads_as("clock_gettime", ids[i][1], before, now(ids[i][0]));
		if (i >= 4)
			continue;
		CHECK(!syscall(SYS_clock_getres, ids[i][0], &want));
		CHECK(!clock_getres(ids[i][0], &ts));
		CHECK(ts.tv_sec == want.tv_sec && ts.tv_nsec == want.tv_nsec);
	}
	before = read_given(CLOCK_REALTIME);
	CHECK(!gettimeofday(&tv, NULL));
	reads_as("gettimeofday", CLOCK_REALTIME, before / 1000 * 1000,
		 tv.tv_sec * NSEC + tv.tv_usec * 1000);
	before = read_given(CLOCK_REALTIME);
	CHECK(timespec_get(&ts, TIME_UTC) == TIME_UTC);
	reads_as("timespec_get", CLOCK_REALTIME, before, ts.tv_sec * NSEC + ts.tv_nsec);
	CHECK(!timespec_get(&ts, 0) && !timespec_get(&ts, 77));
	before = read_given(CLOCK_REALTIME);
	reads_as("time", CLOCK_REALTIME, before / NSEC * NSEC, time(NULL) * NSEC);
	for (int id = CLOCK_PROCESS_CPUTIME_ID; id <= CLOCK_THREAD_CPUTIME_ID; id++) {
		CHECK(!syscall(SYS_clock_gettime, id, &before_cpu));
		CHECK(!clock_gettime(id, &ts));
		CHECK(!syscall(SYS_clock_gettime, id, &after_cpu));
		CHECK(ts.tv_sec * NSEC + ts.tv_nsec >=
		      before_cpu.tv_sec * NSEC + before_cpu.tv_nsec);
		CHECK(ts.tv_sec * NSEC + ts.tv_nsec <=
		      after_cpu.tv_sec * NSEC + after_cpu.tv_nsec);
	}
}

static void in_child(void (*run)(void))
{
	const pid_t pid = fork();
	int status;

	if (!pid) {
		run();
		_exit(0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && !status);
}

static void readings_and_waits(void)
{
	readings();
	in_child(readings);
	expire();
}

/* In another time namespace: by a fork after unshare(), and by setns(). */
static void other_namespace(void)
{
	static const char offsets[] = "monotonic 1000000 5\nboottime 2000000 0\n";
	int fd;

	readings();
	if (unshare(CLONE_NEWTIME)) {
		fprintf(stderr, "# no time namespaces: %s\n", strerror(errno));
		_exit(SKIPPED);
	}
	CHECK(!write_file("/proc/self/timens_offsets", offsets));
	readings();
	in_child(readings_and_waits);
	fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && !setns(fd, CLONE_NEWTIME));
	readings_and_waits();
}

static int64_t ns_of(const struct timespec *ts)
{
	return ts->tv_sec * NSEC + ts->tv_nsec;
}

static atomic_int handled;

static void count(int sig)
{
	(void)sig;
	handled++;
}

static void without_timers(void)
{
	struct itimerspec its;
	timer_t timer;

	for (long id = 0; id < 100; id++)
		CHECK(timer_gettime((timer_t)id, &its) == -1);
	/* It can have some of its own. */
	CHECK(!timer_create(CLOCK_MONOTONIC, NULL, &timer) && !timer_delete(timer));
}

static const struct itimerspec long_one = { { 3, 4 }, { LONG_NS / NSEC, 0 } };
static const struct itimerspec soon_one = { { 0, 0 }, { 0, 20000000 } }, never;

static void timerfds(void)
{
	struct itimerspec its, old;
	const int fd = timerfd_create(CLOCK_BOOTTIME, 0);
	const int flags = fcntl(fd, F_GETFD);

	CHECK(fd >= 0 && !(flags & FD_CLOEXEC) && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
	CHECK(!timerfd_settime(fd, 0, &long_one, &old));
	CHECK(!ns_of(&old.it_value) && !ns_of(&old.it_interval));
	CHECK(!timerfd_gettime(fd, &its));
	CHECK(ns_of(&its.it_value) > 0 && ns_of(&its.it_value) <= LONG_NS);
	CHECK(ns_of(&its.it_interval) == ns_of(&long_one.it_interval));
	CHECK(!timerfd_settime(fd, 0, &never, &old));
	CHECK(ns_of(&old.it_value) > 0 && ns_of(&old.it_value) <= ns_of(&its.it_value));
	CHECK(ns_of(&old.it_interval) == ns_of(&long_one.it_interval));
}

/* What is set is told; what is replaced or deleted never expires; children have no timers. */
static void timers(void)
{
	const struct sigaction action = { .sa_handler = count };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	struct itimerspec its, old;
	timer_t timer, cpu;

	if (has_timerfd())
		timerfds();
	CHECK(!sigaction(SIGALRM, &action, NULL));
	CHECK(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	CHECK(!timer_settime(timer, 0, &long_one, &old));
	CHECK(!ns_of(&old.it_value) && !timer_gettime(timer, &its));
	CHECK(ns_of(&its.it_value) > 0 && ns_of(&its.it_value) <= LONG_NS);
	CHECK(ns_of(&its.it_interval) == ns_of(&long_one.it_interval));
	in_child(without_timers);
	CHECK(!timer_settime(timer, 0, &soon_one, &old));
	CHECK(ns_of(&old.it_value) > 0 && ns_of(&old.it_value) <= ns_of(&its.it_value));
	while (!handled)
		sched_yield();
	CHECK(handled == 1);
	/* Each time it is either too late, or the signal never comes. */
	for (int i = 0; i < 200; i++) {
		const struct itimerspec at_once = { .it_value.tv_nsec = 1 + 1000 * i };
		int before;

		CHECK(!timer_settime(timer, 0, &at_once, NULL));
		CHECK(!timer_settime(timer, 0, &never, NULL));
		before = handled;
		CHECK(!timer_gettime(timer, &its) && !ns_of(&its.it_value));
		syscall(SYS_nanosleep, &(struct timespec){ .tv_nsec = 1000000 }, NULL);
		CHECK(handled == before);
	}
	CHECK(!timer_settime(timer, 0, &soon_one, NULL) && !timer_delete(timer));

	/* Of no clock that is ours: libc's */
	handled = 0;
	CHECK(!timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &cpu));
	CHECK(!timer_settime(cpu, 0, &soon_one, NULL));
	while (!handled)
		;
	CHECK(handled == 1 && !timer_delete(cpu));
}

static void closed_from(void)
{
	closefrom(3);
	readings();
}

static void closed_range(void)
{
	CHECK(!close_range(3, ~0U, 0));
	readings();
}

static char *again[] = { "preload_waiter", "readings", NULL };

/* Whoever closes all descriptors keeps those of the clock, and so do the programs it executes. */
static void closes(void)
{
	const int pipe_end = dup(STDERR_FILENO);

	in_child(closed_from);
	in_child(closed_range);
	for (int fd = 3; fd < 2048; fd++)
		close(fd);
	CHECK(fcntl(pipe_end, F_GETFD) < 0);
	readings();
	execv("/proc/self/exe", again);
	CHECK(!"exec");
}

/* A view that may have no timers: there is no other clock's timer instead. */
static void no_timers(void)
{
	timer_t timer;

	CHECK(!has_timerfd() || (timerfd_create(CLOCK_MONOTONIC, 0) == -1 && errno == EPERM));
	CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == -1 && errno == EPERM);
	readings();
}

/* A program that takes all descriptors away, by system calls, and needs one: see lost(). */
static void without_descriptors(void)
{
	for (int fd = 3; fd < 2048; fd++)
		syscall(SYS_close, fd);
	now(CLOCK_MONOTONIC);
}

static void lost(void)
{
	const pid_t pid = fork();
	int status;

	if (!pid) {
		without_descriptors();
		_exit(0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{ "expire", expire }, { "woken", woken }, { "interrupted", interrupted },
	{ "interrupted_stopped", interrupted_stopped }, { "rest", rest }, { "past", past },
	{ "invalid", invalid }, { "readings", readings }, { "other_namespace", other_namespace },
	{ "closes", closes }, { "timers", timers }, { "cancelled", cancelled },
	{ "no_timers", no_timers }, { "lost", lost },
};

int main(int argc, char **argv)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL));
	argument = argc > 2 ? atoll(argv[2]) * 1000000 : NSEC / 10;
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(modes); i++) {
		if (!strcmp(argv[1], modes[i].name)) {
			modes[i].run();
			return 0;
		}
	}
	fprintf(stderr, "usage: preload_waiter MODE [MS]\n");
	return 2;
}
