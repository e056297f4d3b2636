// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock-preload.so: waits for other threads, by a clock of the program's own: locks,
 * condition variables, semaphores, message queues, and threads that end
 *
 * Each calls libc's function, which waits until a time of the host's clock, and calls it again
 * for as long as the clock has not come so far. What was not there at one call is there at the
 * next: only a condition variable forgets, see cond_wait().
 */
#include <errno.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <threads.h>

#include "preload.h"

/* A thread that has a mutex may be as late as that without anybody taking note. */
#define SHORT_NS	1000000

EXPORT int preload_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
					  const struct timespec *until) AS(pthread_cond_timedwait);
EXPORT int preload_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
					  clockid_t id,
					  const struct timespec *until) AS(pthread_cond_clockwait);
EXPORT int preload_cnd_timedwait(cnd_t *cond, mtx_t *mutex,
				 const struct timespec *until) AS(cnd_timedwait);
EXPORT int preload_pthread_mutex_timedlock(pthread_mutex_t *mutex,
					   const struct timespec *until)
	AS(pthread_mutex_timedlock);
EXPORT int preload_pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t id,
					   const struct timespec *until)
	AS(pthread_mutex_clocklock);
EXPORT int preload_mtx_timedlock(mtx_t *mutex, const struct timespec *until) AS(mtx_timedlock);
EXPORT int preload_pthread_rwlock_timedrdlock(pthread_rwlock_t *lock,
					      const struct timespec *until)
	AS(pthread_rwlock_timedrdlock);
EXPORT int preload_pthread_rwlock_timedwrlock(pthread_rwlock_t *lock,
					      const struct timespec *until)
	AS(pthread_rwlock_timedwrlock);
EXPORT int preload_pthread_rwlock_clockrdlock(pthread_rwlock_t *lock, clockid_t id,
					      const struct timespec *until)
	AS(pthread_rwlock_clockrdlock);
EXPORT int preload_pthread_rwlock_clockwrlock(pthread_rwlock_t *lock, clockid_t id,
					      const struct timespec *until)
	AS(pthread_rwlock_clockwrlock);
EXPORT int preload_pthread_timedjoin_np(pthread_t thread, void **value,
					const struct timespec *until) AS(pthread_timedjoin_np);
EXPORT int preload_pthread_clockjoin_np(pthread_t thread, void **value, clockid_t id,
					const struct timespec *until) AS(pthread_clockjoin_np);
EXPORT int preload_sem_timedwait(sem_t *sem, const struct timespec *until) AS(sem_timedwait);
EXPORT int preload_sem_clockwait(sem_t *sem, clockid_t id,
				 const struct timespec *until) AS(sem_clockwait);
EXPORT int preload_mq_timedsend(mqd_t queue, const char *data, size_t size, unsigned int priority,
				const struct timespec *until) AS(mq_timedsend);
EXPORT ssize_t preload_mq_timedreceive(mqd_t queue, char *data, size_t size, unsigned int *priority,
				       const struct timespec *until) AS(mq_timedreceive);

static TYPE(pthread_cond_timedwait) next_pthread_cond_timedwait;
static TYPE(pthread_cond_clockwait) next_pthread_cond_clockwait;
static TYPE(cnd_timedwait) next_cnd_timedwait;
static TYPE(pthread_mutex_timedlock) next_pthread_mutex_timedlock;
static TYPE(pthread_mutex_clocklock) next_pthread_mutex_clocklock;
static TYPE(mtx_timedlock) next_mtx_timedlock;
static TYPE(pthread_rwlock_timedrdlock) next_pthread_rwlock_timedrdlock;
static TYPE(pthread_rwlock_timedwrlock) next_pthread_rwlock_timedwrlock;
static TYPE(pthread_rwlock_clockrdlock) next_pthread_rwlock_clockrdlock;
static TYPE(pthread_rwlock_clockwrlock) next_pthread_rwlock_clockwrlock;
static TYPE(pthread_timedjoin_np) next_pthread_timedjoin_np;
static TYPE(pthread_clockjoin_np) next_pthread_clockjoin_np;
static TYPE(sem_timedwait) next_sem_timedwait;
static TYPE(sem_clockwait) next_sem_clockwait;
static TYPE(mq_timedsend) next_mq_timedsend;
static TYPE(mq_timedreceive) next_mq_timedreceive;

/*
 * Call @wait, which waits until @host, a time of libc's clock @id, for as long as it says that
 * the time is up (@timed_out, in which @ret is what it has returned) and by ours it is not.
 */
#define AGAIN(id, until, host, ret, wait, timed_out) do { \
	bool more_; \
	\
	do { \
		more_ = preload_deadline(id, until, &(host)); \
		ret = wait; \
	} while (more_ && (timed_out)); \
} while (0)

/* CONDITION VARIABLES */

/*
 * Where a condition variable has the id of its clock, which nobody can ask for: the difference
 * between one of MONOTONIC and one of REALTIME.
 */
static struct {
	size_t byte;
	unsigned char mask;	/* 0: not found, and the waits are libc's */
	unsigned char monotonic;
} clock_bit;

static void find_clock_bit(void)
{
	union {
		pthread_cond_t cond;
		unsigned char byte[sizeof(pthread_cond_t)];
	} mono = { 0 }, real = { 0 };
	pthread_condattr_t attr;

	if (pthread_condattr_init(&attr) || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
	    pthread_cond_init(&mono.cond, &attr) || pthread_cond_init(&real.cond, NULL))
		return;
	for (size_t i = 0; i < sizeof(mono.byte); i++) {
		if (mono.byte[i] == real.byte[i])
			continue;
		clock_bit.byte = i;
		clock_bit.mask = mono.byte[i] ^ real.byte[i];
		clock_bit.monotonic = mono.byte[i] & clock_bit.mask;
		return;
	}
}

static clockid_t clock_of_cond(const pthread_cond_t *cond)
{
	const unsigned char *byte = (const unsigned char *)cond + clock_bit.byte;

	return (__parkclock_load(byte) & clock_bit.mask) == clock_bit.monotonic ? CLOCK_MONOTONIC :
										 CLOCK_REALTIME;
}

/*
 * A wait is over, by the host's clock. If it is not by ours, the thread must not just wait
 * again: another may have signalled meanwhile, and nobody was waiting then. For a moment it
 * waits with the mutex. If there is more to wait for, the clock was stopped meanwhile. Then the
 * thread wakes up as if it had been signalled, which POSIX allows, and the caller looks at what
 * it waits for. While the clock is stopped this happens each LOOK_NS.
 */
static bool cond_timed_out(int id, __s64 until)
{
	__s64 left = preload_left(id, until);

	while (left && left <= SHORT_NS) {
		const struct timespec ts = { .tv_nsec = left };

		sys3(SYS_nanosleep, (long)&ts, 0, 0);
		left = preload_left(id, until);
	}
	return !left;
}

int preload_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				   const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	int id, err;

	if (!clock_bit.mask || !preload_is_until(CLOCK_REALTIME, time, &until))
		return NEXT(pthread_cond_timedwait)(cond, mutex, time);
	id = clock_of_cond(cond);
	preload_deadline(id, until, &host);
	err = NEXT(pthread_cond_timedwait)(cond, mutex, &host);
	return err == ETIMEDOUT && !cond_timed_out(id, until) ? 0 : err;
}

int preload_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t id,
				   const struct timespec *time)
{
	TYPE(pthread_cond_clockwait) const wait = NEXT(pthread_cond_clockwait);
	struct timespec host;
	__s64 until;
	int err = ENOTSUP;

	if (!wait)
		return err;
	if (!preload_is_until(id, time, &until))
		return wait(cond, mutex, id, time);
	preload_deadline(id, until, &host);
	err = wait(cond, mutex, id, &host);
	return err == ETIMEDOUT && !cond_timed_out(id, until) ? 0 : err;
}

int preload_cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *time)
{
	TYPE(cnd_timedwait) const wait = NEXT(cnd_timedwait);
	struct timespec host;
	__s64 until;
	int ret;

	if (!wait)
		return thrd_error;
	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return wait(cond, mutex, time);
	preload_deadline(CLOCK_REALTIME, until, &host);
	ret = wait(cond, mutex, &host);
	return ret == thrd_timedout && !cond_timed_out(CLOCK_REALTIME, until) ? thrd_success : ret;
}

/* LOCKS, AND THREADS THAT END */

int preload_pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	int err;

	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return NEXT(pthread_mutex_timedlock)(mutex, time);
	AGAIN(CLOCK_REALTIME, until, host, err, NEXT(pthread_mutex_timedlock)(mutex, &host),
	      err == ETIMEDOUT);
	return err;
}

int preload_mtx_timedlock(mtx_t *mutex, const struct timespec *time)
{
	TYPE(mtx_timedlock) const lock = NEXT(mtx_timedlock);
	struct timespec host;
	__s64 until;
	int ret;

	if (!lock)
		return thrd_error;
	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return lock(mutex, time);
	AGAIN(CLOCK_REALTIME, until, host, ret, lock(mutex, &host), ret == thrd_timedout);
	return ret;
}

int preload_pthread_rwlock_timedrdlock(pthread_rwlock_t *lock, const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	int err;

	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return NEXT(pthread_rwlock_timedrdlock)(lock, time);
	AGAIN(CLOCK_REALTIME, until, host, err, NEXT(pthread_rwlock_timedrdlock)(lock, &host),
	      err == ETIMEDOUT);
	return err;
}

int preload_pthread_rwlock_timedwrlock(pthread_rwlock_t *lock, const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	int err;

	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return NEXT(pthread_rwlock_timedwrlock)(lock, time);
	AGAIN(CLOCK_REALTIME, until, host, err, NEXT(pthread_rwlock_timedwrlock)(lock, &host),
	      err == ETIMEDOUT);
	return err;
}

int preload_pthread_timedjoin_np(pthread_t thread, void **value, const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	int err;

	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return NEXT(pthread_timedjoin_np)(thread, value, time);
	AGAIN(CLOCK_REALTIME, until, host, err, NEXT(pthread_timedjoin_np)(thread, value, &host),
	      err == ETIMEDOUT);
	return err;
}

/* Those with a clock id are not in every libc: glibc has them since 2.30 or 2.31. */

int preload_pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t id,
				    const struct timespec *time)
{
	TYPE(pthread_mutex_clocklock) const lock = NEXT(pthread_mutex_clocklock);
	struct timespec host;
	__s64 until;
	int err = ENOTSUP;

	if (!lock)
		return err;
	if (!preload_is_until(id, time, &until))
		return lock(mutex, id, time);
	AGAIN(id, until, host, err, lock(mutex, id, &host), err == ETIMEDOUT);
	return err;
}

static int clocklock(TYPE(pthread_rwlock_clockrdlock) wait, pthread_rwlock_t *lock,
		     clockid_t id, const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	int err = ENOTSUP;

	if (!wait)
		return err;
	if (!preload_is_until(id, time, &until))
		return wait(lock, id, time);
	AGAIN(id, until, host, err, wait(lock, id, &host), err == ETIMEDOUT);
	return err;
}

int preload_pthread_rwlock_clockrdlock(pthread_rwlock_t *lock, clockid_t id,
				       const struct timespec *time)
{
	return clocklock(NEXT(pthread_rwlock_clockrdlock), lock, id, time);
}

int preload_pthread_rwlock_clockwrlock(pthread_rwlock_t *lock, clockid_t id,
				       const struct timespec *time)
{
	return clocklock(NEXT(pthread_rwlock_clockwrlock), lock, id, time);
}

int preload_pthread_clockjoin_np(pthread_t thread, void **value, clockid_t id,
				 const struct timespec *time)
{
	TYPE(pthread_clockjoin_np) const join = NEXT(pthread_clockjoin_np);
	struct timespec host;
	__s64 until;
	int err = ENOTSUP;

	if (!join)
		return err;
	if (!preload_is_until(id, time, &until))
		return join(thread, value, id, time);
	AGAIN(id, until, host, err, join(thread, value, id, &host), err == ETIMEDOUT);
	return err;
}

/* SEMAPHORES AND MESSAGE QUEUES */

int preload_sem_timedwait(sem_t *sem, const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	int ret;

	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return NEXT(sem_timedwait)(sem, time);
	AGAIN(CLOCK_REALTIME, until, host, ret, NEXT(sem_timedwait)(sem, &host),
	      ret && errno == ETIMEDOUT);
	return ret;
}

int preload_sem_clockwait(sem_t *sem, clockid_t id, const struct timespec *time)
{
	TYPE(sem_clockwait) const wait = NEXT(sem_clockwait);
	struct timespec host;
	__s64 until;
	int ret;

	if (!wait) {
		errno = ENOTSUP;
		return -1;
	}
	if (!preload_is_until(id, time, &until))
		return wait(sem, id, time);
	AGAIN(id, until, host, ret, wait(sem, id, &host), ret && errno == ETIMEDOUT);
	return ret;
}

int preload_mq_timedsend(mqd_t queue, const char *data, size_t size, unsigned int priority,
			 const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	int ret;

	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return NEXT(mq_timedsend)(queue, data, size, priority, time);
	AGAIN(CLOCK_REALTIME, until, host, ret,
	      NEXT(mq_timedsend)(queue, data, size, priority, &host), ret && errno == ETIMEDOUT);
	return ret;
}

ssize_t preload_mq_timedreceive(mqd_t queue, char *data, size_t size, unsigned int *priority,
				const struct timespec *time)
{
	struct timespec host;
	__s64 until;
	ssize_t n;

	if (!preload_is_until(CLOCK_REALTIME, time, &until))
		return NEXT(mq_timedreceive)(queue, data, size, priority, time);
	AGAIN(CLOCK_REALTIME, until, host, n,
	      NEXT(mq_timedreceive)(queue, data, size, priority, &host),
	      n < 0 && errno == ETIMEDOUT);
	return n;
}

/* The older pthread_cond_timedwait() is for condition variables of another size. */
static void __attribute__((__constructor__)) find(void)
{
	const int err = errno;

	STORE(next_pthread_cond_timedwait,
	      (TYPE(pthread_cond_timedwait))
	      dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2"));
	find_clock_bit();
	errno = err;
}
