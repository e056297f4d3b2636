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
 *
 * A handle of a view, which parkclock_view() makes, can read the time and what
 * parkclock_acknowledge() tells. All that asks or changes more is ENOTTY there.
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

/* The environment variable by which a program is given a clock: see parkclock_open(). */
#define PARKCLOCK_FD_VARIABLE "PARKCLOCK_FD"

/**
 * parkclock_open() - open a clock
 * @path: the device; NULL for the clock that the program was given, else for
 *	  PARKCLOCK_DEVICE
 *
 * A program is given a clock, or a view of one, by the environment variable
 * PARKCLOCK_FD: the number of a descriptor of it. If that is something else, or not
 * open, or the program is set-user-id or the like, it was given none.
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
 * through the handle, and the clock changed.
 *
 * A descriptor that is open for writing is not mapped before the clock is read, or
 * parkclock_map() asks for it: until then the clock is fresh, and can be restored. If
 * that fails it is no error of parkclock_now() and others that can do without it.
 *
 * Return: as above, and
 *	EACCES  the clock that the program was given is not for writing, or a view
 */
struct parkclock *parkclock_open_owner(const char *path);

/**
 * parkclock_open_fd() - a handle of a clock that is open already
 * @fd: a descriptor of it, or of a view; it stays the caller's
 *
 * The handle has a duplicate of it, of the same open file, and so the same rights. If
 * it is open for writing it is mapped as by parkclock_open_owner(). If not, READ is
 * used to find out what it is, which wakes the clock, once; and no other ioctl.
 *
 * Return: the handle, or NULL with errno. As of dup(2) and mmap(2), and
 *	EBADF   @fd is not open, or not for reading
 *	ENOTTY  @fd is something else than a clock or a view of one
 *	EPROTO  as above
 */
struct parkclock *parkclock_open_fd(int fd);

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
 * Return: the mapping, or NULL with errno. As of mmap(2), and
 *	EPERM   the TSC may not be read: those readers would be killed
 *	EPROTO  as of parkclock_open()
 */
const void *parkclock_map(const struct parkclock *pc);

/**
 * parkclock_now() - the time: from the page, by the READ ioctl if that expired
 * @pc:       the handle
 * @clock_id: the clock
 * @ns:       the time
 *
 * Return: 0, or -1 with errno:
 *	EINVAL   @clock_id is none of the four clocks
 *	ENODATA  the clock is stopped
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
 * Never makes a system call, but for the mapping if it has to be made, and so never
 * wakes the clock.
 *
 * Return: 0, or -1 with errno. As of parkclock_map(), and
 *	EAGAIN   the page has no time now
 *	EINVAL   @clock_id is none of the four clocks
 *	ENODATA  the clock is stopped
 *	EPERM    the TSC may not be read (PR_SET_TSC)
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
 * Does not wake the clock. Acknowledges the generation, as parkclock_acknowledge().
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
 * parkclock_acknowledge() - the generation, which is known from now on
 * @pc:         the handle
 * @generation: of a reading now
 *
 * While it is another than the last one that was acknowledged through this open file,
 * poll(2) says POLLIN of parkclock_fd(). Does not wake the clock.
 *
 * Return: 0, or -1 with errno as of read(2).
 */
int parkclock_acknowledge(struct parkclock *pc, uint64_t *generation);

/**
 * parkclock_view() - another descriptor of the clock, for the inside of a sandbox
 * @pc: the handle
 *
 * With it the clock can be read, and polled, and nothing else: it can be given to
 * somebody who is not trusted, who uses it by parkclock_open_fd() or PARKCLOCK_FD. It
 * is close-on-exec, and the caller's to close; it outlives the handle. The clock is
 * not fresh any more.
 *
 * Return: the descriptor, or -1 with errno as of open(2), or
 *	ENOTTY  the handle is one of a view
 */
int parkclock_view(struct parkclock *pc);

/**
 * parkclock_epoch() - begin a life: MONOTONIC and BOOTTIME go on from 1 ns
 * @pc: the handle
 *
 * This, and what follows, is for handles that are open for writing. A clock is fresh
 * while it was not mapped, read or viewed by anybody.
 *
 * Return: 0, or -1 with errno:
 *	EBUSY   the clock is not fresh
 *	ENOTTY  the handle is one of a view
 *	EPERM   the handle is not open for writing
 */
int parkclock_epoch(struct parkclock *pc);

/**
 * parkclock_set_offsets() - set how far the clock is from the host's clocks
 * @pc:           the handle
 * @monotonic_ns: its MONOTONIC minus the host's, in ns
 * @boottime_ns:  its BOOTTIME minus the host's
 *
 * The host's are those outside of any time namespace.
 *
 * Return: 0, or -1 with errno. As of parkclock_epoch(), and
 *	EBUSY   one of them would be set back, and the clock is not fresh
 *	ERANGE  one of them would not be between 1 ns and PARKCLOCK_MOST_NS
 */
int parkclock_set_offsets(struct parkclock *pc, int64_t monotonic_ns, int64_t boottime_ns);

/**
 * parkclock_stop() - from now on nobody has a time from the clock
 * @pc: the handle
 *
 * Reading it fails with ENODATA. References and registrations stay.
 *
 * Return: 0, or -1 with errno:
 *	EALREADY  it is stopped
 *	ENOTTY    the handle is one of a view
 *	EPERM     the handle is not open for writing
 */
int parkclock_stop(struct parkclock *pc);

/**
 * parkclock_start() - let it have the time again
 * @pc:  the handle
 * @gap: PARKCLOCK_GAP_INCLUDE: as if it had never been stopped;
 *	 PARKCLOCK_GAP_FREEZE: MONOTONIC and BOOTTIME go on from where they were
 *
 * Return: 0, or -1 with errno. As of parkclock_stop(), and
 *	EALREADY  it is not stopped
 *	EINVAL    another @gap
 */
int parkclock_start(struct parkclock *pc, unsigned int gap);

/**
 * parkclock_save() - stop the clock, unless it is stopped, and say where
 * @pc:    the handle
 * @saved: to be kept as it is, and to be restored here or elsewhere
 *
 * Return: 0, or -1 with errno:
 *	ENOTTY  the handle is one of a view
 *	EPERM   the handle is not open for writing
 */
int parkclock_save(struct parkclock *pc, struct parkclock_saved *saved);

/**
 * parkclock_restore() - continue a clock that was saved
 * @pc:    the handle of another, which is fresh
 * @saved: the saved one
 * @gap:   PARKCLOCK_GAP_INCLUDE: MONOTONIC and BOOTTIME go on from where they were, plus
 *	   the REALTIME that has passed since then, if any; PARKCLOCK_GAP_FREEZE: from
 *	   where they were
 *
 * If it is stopped it stays so.
 *
 * Return: 0, or -1 with errno. As of parkclock_epoch(), and
 *	EBADMSG     @saved is damaged, or no saved clock
 *	EINVAL      another @gap
 *	EOPNOTSUPP  @saved is of another version
 *	ERANGE      a time in @saved is out of range, or would be after the gap
 */
int parkclock_restore(struct parkclock *pc, const struct parkclock_saved *saved,
		      unsigned int gap);

/**
 * parkclock_reason() - a word for PARKCLOCK_REASON_*
 * @reason: of struct parkclock_query
 *
 * Return: "none", "step", "leap", "tai", "suspend", "counter", "fork"; "unknown" for
 * what a newer module says. It stays valid for ever, and any thread may call.
 */
const char *parkclock_reason(uint64_t reason);

/**
 * parkclock_explain_open() - why parkclock_open(), parkclock_open_owner() or
 *			      parkclock_open_fd() failed, and what to do
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
 * parkclock_explain_change() - why parkclock_view() or one of those that change a
 *				clock failed, and what to do
 * @err: the errno that it left
 *
 * Those are parkclock_epoch(), parkclock_set_offsets(), parkclock_stop(),
 * parkclock_start(), parkclock_save() and parkclock_restore().
 *
 * Return: as above.
 */
const char *parkclock_explain_change(int err);

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
