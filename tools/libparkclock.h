/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libparkclock: the time from /dev/parkclock
 *
 * A thin layer over <linux/parkclock.h>, which says what the times are worth.
 * It reads the mapped page where it can, and asks the kernel where it must.
 *
 * Times are in ns. Clocks are CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME
 * and CLOCK_TAI. Functions that return int return 0 and leave errno alone, or
 * return -1 and set errno; then what they should have filled in is unchanged.
 * Any number of threads may use one handle at the same time, but none during
 * or after parkclock_close().
 */
#ifndef LIBPARKCLOCK_H
#define LIBPARKCLOCK_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <linux/parkclock.h>

#ifdef __cplusplus
extern "C" {
#endif

struct parkclock;

/**
 * parkclock_open() - open a clock
 * @path: the device; NULL for PARKCLOCK_DEVICE
 *
 * The handle is a descriptor (close-on-exec) and a mapping. A child of fork()
 * shares both, and the references held; they go when the last of them is
 * closed.
 *
 * The page is read only if the calling thread may read the TSC (PR_GET_TSC).
 * Where it may not, everything works by the READ ioctl. The answer is kept:
 * who forbids the TSC to a thread afterwards must open another handle there.
 *
 * Return: the handle, or NULL with errno. As of open(2) and mmap(2), and
 *	ENOTTY  @path is something else than a parkclock device
 *	EPROTO  the module's pages follow a specification that is not known here
 */
struct parkclock *parkclock_open(const char *path);

/**
 * parkclock_open_owner() - open a clock, for reading and writing
 * @path: as above
 *
 * As parkclock_open(); and the tasks of other processes may be registered
 * through the handle.
 *
 * Return: as above.
 */
struct parkclock *parkclock_open_owner(const char *path);

/**
 * parkclock_close() - close a clock
 * @pc: the handle; NULL does nothing
 *
 * References held through it are given back, and registrations end, unless
 * another process shares them. Leaves errno alone.
 */
void parkclock_close(struct parkclock *pc);

/**
 * parkclock_fd() - the descriptor, for ioctls; it belongs to the handle
 * @pc: the handle
 *
 * Return: the descriptor.
 */
int parkclock_fd(const struct parkclock *pc);

/**
 * parkclock_map() - the mapping, for the readers of <linux/parkclock.h>
 * @pc: the handle, to which the mapping belongs
 *
 * Return: the mapping, or NULL where the TSC may not be read: there those
 * readers would be killed.
 */
const void *parkclock_map(const struct parkclock *pc);

/**
 * parkclock_now() - the time: from the page, by the READ ioctl if that expired
 * @pc:       the handle
 * @clock_id: the clock
 * @ns:       the time
 *
 * Return: 0, or -1 with errno:
 *	EINVAL  @clock_id is none of the four clocks
 */
int parkclock_now(struct parkclock *pc, clockid_t clock_id, int64_t *ns);

/**
 * parkclock_now_bound() - the time as by parkclock_now(), and its error bound
 * @pc:       the handle
 * @clock_id: the clock
 * @reading:  the time, counter value, bound (ns) and generation
 *
 * Return: as parkclock_now().
 */
int parkclock_now_bound(struct parkclock *pc, clockid_t clock_id,
			struct parkclock_reading *reading);

/**
 * parkclock_now_range() - between what the host's clock was, as by parkclock_now()
 * @pc:       the handle
 * @clock_id: the clock
 * @earliest: the least that it can have read, in ns
 * @latest:   the most
 *
 * Of two events, one came first for certain if its latest is less than the other's
 * earliest, unless the clock was set in between (see the generation of a reading).
 *
 * Return: as parkclock_now().
 */
int parkclock_now_range(struct parkclock *pc, clockid_t clock_id, int64_t *earliest,
			int64_t *latest);

/**
 * parkclock_page_now_bound() - the time from the page alone
 * @pc:       the handle
 * @clock_id: the clock
 * @reading:  as above
 *
 * Never makes a system call, and so never wakes the clock.
 *
 * Return: 0, or -1 with errno:
 *	EAGAIN  the page has no time now
 *	EINVAL  @clock_id is none of the four clocks
 *	EPERM   the TSC may not be read (PR_SET_TSC)
 */
int parkclock_page_now_bound(struct parkclock *pc, clockid_t clock_id,
			     struct parkclock_reading *reading);

/**
 * parkclock_slow_now_bound() - the time by the READ ioctl alone
 * @pc:       the handle
 * @clock_id: the clock
 * @reading:  as above
 *
 * Wakes the clock if it is parked.
 *
 * Return: as parkclock_now().
 */
int parkclock_slow_now_bound(struct parkclock *pc, clockid_t clock_id,
			     struct parkclock_reading *reading);

/**
 * parkclock_hold() - take a reference: the page stays valid until it is released
 * @pc: the handle
 *
 * References count. They belong to the open file, not to the caller.
 *
 * Return: 0, or -1 with errno:
 *	EOVERFLOW  PARKCLOCK_HOLD_MAX references are held already
 */
int parkclock_hold(struct parkclock *pc);

/**
 * parkclock_release() - give one reference back
 * @pc: the handle
 *
 * Return: 0, or -1 with errno:
 *	ENOENT  none is held
 */
int parkclock_release(struct parkclock *pc);

/**
 * parkclock_register() - keep the page valid while a task runs
 * @pc:    the handle
 * @tid:   id of the task (a thread), as by gettid(); 0 for the calling thread
 * @flags: PARKCLOCK_TASK_PROCESS (every thread of its process that is not
 *	   registered yet), PARKCLOCK_TASK_INHERIT (and the threads and child
 *	   processes that they create from now on), both, or 0
 *
 * The task finds the page valid from its first instruction after it was
 * switched in, until it blocks. A task that sleeps lets the clock park.
 *
 * It lasts until parkclock_unregister(), the task's exit, or the end of the
 * open file: execve() does not end it if a copy of the descriptor stays open.
 * May take some ms for a task that is not the calling thread.
 *
 * Return: 0, or -1 with errno:
 *	EEXIST      the task, or each thread of the process, is registered
 *	EINVAL      unknown @flags, or @tid is negative
 *	ENOMEM      no memory
 *	ENOSPC      more tasks than the module's parameter max_tasks allows, or
 *		    more than PARKCLOCK_TASK_CLOCKS_MAX clocks for one task
 *	EOPNOTSUPP  this kernel was built without tracepoints
 *	EPERM       a task of another process, and the handle is not of
 *		    parkclock_open_owner(), or the task is another user's and the
 *		    caller lacks CAP_SYS_PTRACE; or a task of the kernel's own
 *	ESRCH       there is no such task, or it has exited
 */
int parkclock_register(struct parkclock *pc, pid_t tid, unsigned int flags);

/**
 * parkclock_unregister() - take a registration back
 * @pc:    the handle
 * @tid:   as above
 * @flags: PARKCLOCK_TASK_PROCESS (every registered thread of its process) or 0
 *
 * Return: 0, or -1 with errno:
 *	EINVAL  other @flags, or @tid is negative
 *	ENOENT  the task is not registered through this handle, or no thread of
 *		the process
 *	EPERM   a task of another process, and the handle is not of
 *		parkclock_open_owner()
 *	ESRCH   there is no such task, or it has exited
 */
int parkclock_unregister(struct parkclock *pc, pid_t tid, unsigned int flags);

/**
 * parkclock_query() - state and counters
 * @pc:    the handle
 * @query: what <linux/parkclock.h> says
 *
 * Does not wake the clock.
 *
 * Return: 0, or -1 with errno as of ioctl(2).
 */
int parkclock_query(struct parkclock *pc, struct parkclock_query *query);

/**
 * parkclock_accuracy() - how far off pages were when they were replaced
 * @pc:       the handle
 * @accuracy: what <linux/parkclock.h> says
 *
 * Does not wake the clock.
 *
 * Return: 0, or -1 with errno as of ioctl(2).
 */
int parkclock_accuracy(struct parkclock *pc, struct parkclock_accuracy *accuracy);

/**
 * parkclock_reason() - a word for PARKCLOCK_REASON_*
 * @reason: of struct parkclock_query
 *
 * Return: "none", "step", "leap", "tai", "suspend", "counter", "fork"; "unknown" for
 * what a newer module says. It stays valid for ever, and any thread may call.
 */
const char *parkclock_reason(uint64_t reason);

/**
 * parkclock_explain_open() - why parkclock_open() or parkclock_open_owner()
 *			      failed, and what to do
 * @err: the errno that it left
 *
 * Return: a sentence or two, in English, without a newline. Never NULL; it
 * stays valid for ever, and any thread may call.
 */
const char *parkclock_explain_open(int err);

/**
 * parkclock_explain_register() - why parkclock_register() or
 *				  parkclock_unregister() failed, and what to do
 * @err: the errno that it left
 *
 * Return: as above.
 */
const char *parkclock_explain_register(int err);

/**
 * parkclock_explain() - why another function failed, and what to do
 * @err: the errno that it left
 *
 * Return: as above.
 */
const char *parkclock_explain(int err);

#ifdef __cplusplus
}
#endif

#endif /* LIBPARKCLOCK_H */
