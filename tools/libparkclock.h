/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libparkclock: the time from /dev/parkclock
 *
 * The library is a thin layer over <linux/parkclock.h>, which specifies the times and
 * their bounds. It reads the mapped page where it can, and asks the kernel elsewhere.
 *
 * Times are in ns. Clocks are CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME and
 * CLOCK_TAI; READ and timers know PARKCLOCK_CPUTIME_ID, too. A function that returns int
 * returns 0 and leaves errno unchanged, or returns -1, sets errno and stores nothing. Any
 * number of threads may use one handle at the same time, but none during or after
 * parkclock_close().
 *
 * A handle of a view (see parkclock_view()) can read the time and acknowledge the
 * generation. Every function that needs more fails there with ENOTTY.
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

/* The environment variable that names the clock of a program: see parkclock_open(). */
#define PARKCLOCK_FD_VARIABLE "PARKCLOCK_FD"

/**
 * parkclock_open() - open a clock
 * @path: the device; or NULL for the program's clock, or without one for
 *	  PARKCLOCK_DEVICE
 *
 * The environment variable PARKCLOCK_FD names the program's clock: its value is the
 * number of a descriptor of a clock, or of a view of one. If the value is anything else, or
 * that descriptor is not open, the call fails: it never gives another clock instead. The
 * variable is ignored if the program is set-user-id, set-group-id or has gained
 * capabilities.
 *
 * The handle has a descriptor (close-on-exec) and a mapping. A child of fork() shares
 * both, and the references held. These end when the last copy is closed.
 *
 * The page is read only if the calling thread may read the TSC (PR_GET_TSC). Otherwise
 * every function uses the READ ioctl. The handle keeps the answer: a thread that forbids
 * itself the TSC afterwards must open another handle.
 *
 * Return: the handle; or NULL with an errno of open(2) or mmap(2), or one of
 *	EBADF   the value of PARKCLOCK_FD is no number, or that descriptor is not open for
 *		reading
 *	ENOTTY  @path is not a parkclock device, or PARKCLOCK_FD names no clock
 *	EPROTO  the module's pages follow a specification that this library does not know
 */
struct parkclock *parkclock_open(const char *path);

/**
 * parkclock_open_owner() - open a clock for reading and writing
 * @path: as of parkclock_open()
 *
 * The handle can do all that one of parkclock_open() can. It can also register tasks, change
 * the clock, and be told of others (parkclock_query(), parkclock_accuracy()). Usually root
 * and the group "clock" may open the device for writing.
 *
 * A handle that is open for writing maps the clock only when the clock is read, or when
 * parkclock_map() is called. Until then the clock stays fresh and can be restored. If the
 * mapping fails, parkclock_now() and other functions that can do without it still work.
 *
 * Return: as parkclock_open(), or NULL with
 *	EACCES  the program's clock is not open for writing, or is a view
 */
struct parkclock *parkclock_open_owner(const char *path);

/**
 * parkclock_open_fd() - make a handle from a descriptor
 * @fd: a descriptor of a clock or of a view; the caller keeps it
 *
 * The handle has a duplicate of @fd, so it has the same open file and the same rights. If
 * that is open for writing, it is mapped as by parkclock_open_owner(). If not, the function
 * calls READ once, and no other ioctl, to find out what @fd is; that wakes the clock.
 *
 * Return: the handle; or NULL with an errno of dup(2) or mmap(2), or one of
 *	EBADF   @fd is not open, or not open for reading
 *	ENOTTY  @fd is neither a clock nor a view of one
 *	EPROTO  as of parkclock_open()
 */
struct parkclock *parkclock_open_fd(int fd);

/**
 * parkclock_close() - close a clock
 * @pc: the handle; NULL does nothing
 *
 * Gives back the references held through the handle and ends its registrations, unless
 * another process shares them. Leaves errno unchanged.
 */
void parkclock_close(struct parkclock *pc);

/**
 * parkclock_fd() - the descriptor of a handle, for ioctls
 * @pc: the handle, which keeps the descriptor
 *
 * Return: the descriptor.
 */
int parkclock_fd(const struct parkclock *pc);

/**
 * parkclock_map() - the mapping of a handle, for the readers of <linux/parkclock.h>
 * @pc: the handle, which keeps the mapping
 *
 * Return: the mapping; or NULL with an errno of mmap(2), or one of
 *	EPERM   the TSC may not be read: those readers would be killed
 *	EPROTO  as of parkclock_open()
 */
const void *parkclock_map(const struct parkclock *pc);

/**
 * parkclock_now() - the time, from the page, or by the READ ioctl if the page expired
 * @pc:       the handle
 * @clock_id: the clock
 * @ns:       filled in: the time
 *
 * Return: 0, or -1 with errno:
 *	EINVAL   @clock_id is none of the four clocks, nor PARKCLOCK_CPUTIME_ID, for which
 *		 there is no page
 *	ENODATA  the clock is stopped
 */
int parkclock_now(struct parkclock *pc, clockid_t clock_id, int64_t *ns);

/**
 * parkclock_now_bound() - the time as by parkclock_now(), and its error bound
 * @pc:       the handle
 * @clock_id: the clock
 * @reading:  filled in: the time, counter value, bound (ns) and generation
 *
 * Return: as parkclock_now().
 */
int parkclock_now_bound(struct parkclock *pc, clockid_t clock_id,
			struct parkclock_reading *reading);

/**
 * parkclock_now_range() - the range in which the host's clock was, as by parkclock_now()
 * @pc:       the handle
 * @clock_id: the clock
 * @earliest: filled in: the least that the host's clock can have read, in ns
 * @latest:   filled in: the most, in ns
 *
 * Of two events, one certainly came first if its latest is less than the other's
 * earliest, unless the clock was set in between (see the generation of a reading).
 *
 * Return: as parkclock_now().
 */
int parkclock_now_range(struct parkclock *pc, clockid_t clock_id, int64_t *earliest,
			int64_t *latest);

/**
 * parkclock_page_now_bound() - the time and its bound, from the page only
 * @pc:       the handle
 * @clock_id: the clock
 * @reading:  as of parkclock_now_bound()
 *
 * Makes no system call, except to map the clock if that was not done yet. So it never
 * wakes the clock.
 *
 * Return: 0; or -1 with an errno of parkclock_map(), or one of
 *	EAGAIN   the page has no time now
 *	EINVAL   @clock_id is none of the four clocks
 *	ENODATA  the clock is stopped
 *	EPERM    the TSC may not be read (PR_SET_TSC)
 */
int parkclock_page_now_bound(struct parkclock *pc, clockid_t clock_id,
			     struct parkclock_reading *reading);

/**
 * parkclock_slow_now_bound() - the time and its bound, by the READ ioctl only
 * @pc:       the handle
 * @clock_id: the clock
 * @reading:  as of parkclock_now_bound()
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
 *	EDQUOT     the user holds too many references (parkclock_limits())
 *	ENFILE     the host does
 *	EOVERFLOW  PARKCLOCK_HOLD_MAX references are held already
 */
int parkclock_hold(struct parkclock *pc);

/**
 * parkclock_release() - give one reference back
 * @pc: the handle
 *
 * Return: 0, or -1 with errno:
 *	ENOENT  no reference is held through this handle's open file
 */
int parkclock_release(struct parkclock *pc);

/**
 * parkclock_register() - keep the page valid while a task runs
 * @pc:    the handle
 * @tid:   id of the task (a thread), as by gettid(); 0 for the calling thread
 * @flags: PARKCLOCK_TASK_PROCESS (every thread of the task's process that is not
 *	   registered yet), PARKCLOCK_TASK_INHERIT (also the threads and child processes
 *	   that these create from now on), both, or 0
 *
 * From its first instruction after it was switched in, and until it blocks, the task finds
 * the page valid. A task that sleeps lets the clock park.
 *
 * The registration lasts until parkclock_unregister(), the task's exit, or the end of the
 * open file. It survives execve() if a copy of the descriptor stays open. For a task that
 * is not the calling thread the call may take some ms.
 *
 * Return: 0, or -1 with errno:
 *	EDQUOT      the user has too many registrations (parkclock_limits())
 *	EEXIST      the task, or each thread of the process, is registered
 *	EINVAL      unknown @flags, or @tid is negative
 *	ENOMEM      no memory
 *	EMLINK      the task has PARKCLOCK_TASK_CLOCKS_MAX clocks already, not counting
 *		    those that its own process registered it with, or only counting these
 *		    if the caller is of that process
 *	ENFILE      the host has too many registrations
 *	ENOSPC      more tasks than the module's parameter max_tasks allows
 *	EOPNOTSUPP  this kernel was built without tracepoints
 *	EPERM       the handle is not open for writing; or the task is of another process
 *		    that the caller may not trace (ptrace(2)); or it is a task of the
 *		    kernel's own
 *	ESRCH       there is no such task, or it has exited
 */
int parkclock_register(struct parkclock *pc, pid_t tid, unsigned int flags);

/**
 * parkclock_unregister() - end the registration of a task
 * @pc:    the handle
 * @tid:   as of parkclock_register()
 * @flags: PARKCLOCK_TASK_PROCESS (every registered thread of the task's process) or 0
 *
 * Return: 0, or -1 with errno:
 *	EINVAL  any other @flags, or @tid is negative
 *	ENOENT  the task, or each thread of the process, is not registered through this
 *		handle
 *	EPERM   the handle is not open for writing
 *	ESRCH   there is no such task, or it has exited
 */
int parkclock_unregister(struct parkclock *pc, pid_t tid, unsigned int flags);

/**
 * parkclock_register_cgroup() - keep the page valid while anything in a cgroup runs
 * @pc:  the handle
 * @dir: descriptor of the directory of the cgroup, of version 2; it may be closed after the call
 *
 * Whatever runs in the cgroup or below it, whenever it came there, finds the page valid from its
 * first instruction after it was switched in. While all of it sleeps the clock may park.
 *
 * The registration lasts until parkclock_unregister_cgroup(), until the cgroup is removed, or
 * until the end of the open file.
 *
 * Return: 0, or -1 with errno:
 *	E2BIG       the cgroup is PARKCLOCK_CGROUP_LEVELS or more below the host's root
 *	EACCES      the caller may not move processes into the cgroup
 *	EBADF       @dir is no such descriptor
 *	EDQUOT      the user has registered too many cgroups (parkclock_limits())
 *	EEXIST      the cgroup is registered through this handle
 *	EINVAL      the host's root cgroup
 *	EMLINK      the cgroup, or a registered one below it, has PARKCLOCK_CGROUP_CLOCKS_MAX
 *		    clocks already
 *	ENFILE      too many cgroups are registered on the host
 *	ENOENT      the cgroup was removed, or is not in the caller's cgroup namespace
 *	ENOMEM      no memory
 *	EOPNOTSUPP  this kernel was built without cgroups, or without tracepoints
 *	EPERM       the handle is not open for writing; or as EACCES
 *	EROFS       as EACCES: it is mounted read-only
 */
int parkclock_register_cgroup(struct parkclock *pc, int dir);

/**
 * parkclock_unregister_cgroup() - end the registration of a cgroup
 * @pc:  the handle
 * @dir: as of parkclock_register_cgroup()
 *
 * Return: 0, or -1 with errno:
 *	EBADF       @dir is no such descriptor
 *	ENOENT      the cgroup was removed, or is not registered through this handle
 *	EOPNOTSUPP  this kernel was built without cgroups
 *	EPERM       the handle is not open for writing
 */
int parkclock_unregister_cgroup(struct parkclock *pc, int dir);

/**
 * parkclock_query() - state and counters
 * @pc:    the handle
 * @query: filled in, as <linux/parkclock.h> says
 *
 * Does not wake the clock, and does not acknowledge the generation. If the handle is not open
 * for writing, the members that tell of others are 0, and flags has PARKCLOCK_HOST_HIDDEN.
 *
 * Return: 0, or -1 with errno as of ioctl(2).
 */
int parkclock_query(struct parkclock *pc, struct parkclock_query *query);

/**
 * parkclock_accuracy() - histogram of the errors of pages when they were replaced
 * @pc:       the handle
 * @accuracy: filled in, as <linux/parkclock.h> says
 *
 * Does not wake the clock.
 *
 * Return: 0; or -1 with an errno of ioctl(2), or
 *	EPERM  the handle is not open for writing
 */
int parkclock_accuracy(struct parkclock *pc, struct parkclock_accuracy *accuracy);

/**
 * parkclock_limits() - what may be taken, and what is used of it
 * @pc:     the handle
 * @limits: filled in, as <linux/parkclock.h> says
 *
 * Return: 0, or -1 with errno as of ioctl(2).
 */
int parkclock_limits(struct parkclock *pc, struct parkclock_limits *limits);

/**
 * parkclock_acknowledge() - return the generation, and acknowledge it
 * @pc:         the handle
 * @generation: filled in: the generation that a reading has now
 *
 * While the clock's generation differs from the one that was last acknowledged through
 * this open file, poll(2) reports POLLIN for parkclock_fd(). Does not wake the clock.
 *
 * Return: 0, or -1 with errno as of read(2).
 */
int parkclock_acknowledge(struct parkclock *pc, uint64_t *generation);

/**
 * parkclock_view() - another descriptor of the clock, for the inside of a sandbox
 * @pc: the handle
 *
 * The holder of a view can read the clock and poll it, and do nothing else. So the view
 * can be given to a program that is not trusted. That program uses it by
 * parkclock_open_fd() or PARKCLOCK_FD. The descriptor is close-on-exec. The caller must
 * close it; it outlives the handle. From now on the clock is not fresh.
 *
 * Return: the descriptor; or -1 with an errno of open(2), or
 *	ENOTTY  the handle is of a view
 */
int parkclock_view(struct parkclock *pc);

/**
 * parkclock_view_with() - a view as by parkclock_view(), with rights
 * @pc:     the handle
 * @rights: PARKCLOCK_VIEW_TIMERS: the view's holder can make timers; PARKCLOCK_VIEW_KEEP: the
 *	    clock's registrations outlive its owner, until the last such view is closed and
 *	    unmapped; both; or 0
 *
 * Return: the descriptor; or -1 with an errno of parkclock_view(), or
 *	EINVAL  any other @rights
 */
int parkclock_view_with(struct parkclock *pc, unsigned int rights);

/**
 * parkclock_timer() - make a timer of the clock
 * @pc:       the handle
 * @clock_id: CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI or
 *	      PARKCLOCK_CPUTIME_ID
 * @flags:    PARKCLOCK_TIMER_NONBLOCK, or 0
 *
 * The timer is a descriptor (close-on-exec), disarmed. read(2) returns a struct
 * parkclock_expired; poll(2) and close(2) work as with timerfd_create(2). It outlives the
 * handle. From now on the clock is not fresh.
 *
 * Return: the descriptor; or -1 with errno:
 *	EDQUOT  the user has too many timers (parkclock_limits())
 *	EINVAL  @clock_id is none of the five clocks, or unknown @flags
 *	EMFILE  the process has too many files open
 *	ENFILE  the host has too many timers, or files
 *	ENOMEM  no memory
 *	EPERM   the handle is of a view without PARKCLOCK_VIEW_TIMERS
 */
int parkclock_timer(struct parkclock *pc, clockid_t clock_id, unsigned int flags);

/**
 * parkclock_timer_set() - set a timer, or disarm it
 * @timer:   the timer's descriptor
 * @setting: flags, value_ns (0 disarms), interval_ns and slack_ns; the rest is filled in, as
 *	     <linux/parkclock.h> says
 *
 * Return: 0, or -1 with errno:
 *	EINVAL  unknown flags, or a time below 0
 *	ENOTTY  @timer is not a timer
 */
int parkclock_timer_set(int timer, struct parkclock_timer_set *setting);

/**
 * parkclock_timer_get() - what a timer is set to, and what is left
 * @timer: the timer's descriptor
 * @state: filled in, as <linux/parkclock.h> says
 *
 * Return: 0, or -1 with errno:
 *	ENOTTY  @timer is not a timer
 */
int parkclock_timer_get(int timer, struct parkclock_timer_state *state);

/**
 * parkclock_timer_restore() - set a timer to go on
 * @timer: the descriptor of a timer of the same clock id
 * @state: of parkclock_timer_get(), perhaps of another clock, or on another host
 *
 * Return: 0, or -1 with errno:
 *	EINVAL  @state is of another clock id, or is no state
 *	ENOTTY  @timer is not a timer
 */
int parkclock_timer_restore(int timer, const struct parkclock_timer_state *state);

/**
 * parkclock_save_with() - save the clock as by parkclock_save(), and its timers
 * @pc:     the handle
 * @saved:  filled in, as by parkclock_save()
 * @timers: descriptors of timers of this clock
 * @states: filled in: the state of each
 * @n:	    how many there are
 *
 * Return: 0; or -1 with an errno of parkclock_save() or parkclock_timer_get(). After the
 * latter the clock is stopped, and a part of @states may be filled in.
 */
int parkclock_save_with(struct parkclock *pc, struct parkclock_saved *saved, const int *timers,
			struct parkclock_timer_state *states, size_t n);

/**
 * parkclock_restore_with() - continue a saved clock as by parkclock_restore(), with its timers
 * @pc:     the handle of another clock, which is fresh
 * @saved:  the saved clock
 * @gap:    as of parkclock_restore()
 * @states: of parkclock_save_with()
 * @timers: filled in: the descriptor of a new timer for each
 * @n:	    how many there are
 *
 * What fell into the gap has expired.
 *
 * Return: 0; or -1 with an errno of parkclock_restore(), parkclock_timer() or
 * parkclock_timer_restore(). After the latter two the clock is restored, without timers.
 */
int parkclock_restore_with(struct parkclock *pc, const struct parkclock_saved *saved,
			   unsigned int gap, const struct parkclock_timer_state *states,
			   int *timers, size_t n);

/**
 * parkclock_epoch() - begin a life: MONOTONIC and BOOTTIME continue from 1 ns
 * @pc: the handle
 *
 * This function and the following ones, up to parkclock_restore(), need a handle that is
 * open for writing. A clock is fresh while nobody has mapped, read, saved or viewed it.
 *
 * Return: 0, or -1 with errno:
 *	EBUSY   the clock is not fresh
 *	ENOTTY  the handle is of a view
 *	EPERM   the handle is not open for writing
 */
int parkclock_epoch(struct parkclock *pc);

/**
 * parkclock_set_offsets() - set the clock's distance to the host's clocks
 * @pc:           the handle
 * @monotonic_ns: the clock's MONOTONIC minus the host's, in ns
 * @boottime_ns:  the clock's BOOTTIME minus the host's, in ns
 *
 * The host's clocks here are those outside of any time namespace.
 *
 * Return: 0; or -1 with an errno of parkclock_epoch(), or
 *	EBUSY   one of them would be set back, and the clock is not fresh
 *	ERANGE  MONOTONIC or BOOTTIME would not be between 1 ns and PARKCLOCK_MOST_NS
 */
int parkclock_set_offsets(struct parkclock *pc, int64_t monotonic_ns, int64_t boottime_ns);

/**
 * parkclock_stop() - stop the clock: nobody gets a time from it
 * @pc: the handle
 *
 * Reading the clock fails with ENODATA from now on. References and registrations stay.
 *
 * Return: 0, or -1 with errno:
 *	EALREADY  the clock is stopped already
 *	ENOTTY    the handle is of a view
 *	EPERM     the handle is not open for writing
 */
int parkclock_stop(struct parkclock *pc);

/**
 * parkclock_start() - start a stopped clock again
 * @pc:  the handle
 * @gap: PARKCLOCK_GAP_INCLUDE: the clock reads as if it had never been stopped;
 *	 PARKCLOCK_GAP_FREEZE: MONOTONIC and BOOTTIME continue from where they stopped
 *
 * Return: 0; or -1 with an errno of parkclock_stop(), or
 *	EALREADY  the clock is not stopped
 *	EINVAL    any other @gap
 */
int parkclock_start(struct parkclock *pc, unsigned int gap);

/**
 * parkclock_save() - stop the clock, unless it is stopped already, and save it
 * @pc:    the handle
 * @saved: filled in: where the clock stopped; keep it unchanged, and restore it here or
 *	   elsewhere
 *
 * Return: 0, or -1 with errno:
 *	ENOTTY  the handle is of a view
 *	EPERM   the handle is not open for writing
 */
int parkclock_save(struct parkclock *pc, struct parkclock_saved *saved);

/**
 * parkclock_restore() - continue a saved clock
 * @pc:    the handle of another clock, which is fresh
 * @saved: the saved clock
 * @gap:   PARKCLOCK_GAP_INCLUDE: MONOTONIC and BOOTTIME continue from the saved times plus
 *	   the REALTIME that has passed since, if any; PARKCLOCK_GAP_FREEZE: they continue
 *	   from the saved times
 *
 * If the clock of @pc is stopped it stays stopped.
 *
 * Return: 0; or -1 with an errno of parkclock_epoch(), or
 *	EBADMSG     @saved is damaged, or is no saved clock
 *	EINVAL      any other @gap
 *	EOPNOTSUPP  @saved has another version
 *	ERANGE      a time in @saved is out of range, or would be after the gap
 */
int parkclock_restore(struct parkclock *pc, const struct parkclock_saved *saved,
		      unsigned int gap);

/**
 * parkclock_reason() - a word for a PARKCLOCK_REASON_*
 * @reason: of struct parkclock_query
 *
 * Return: "none", "step", "leap", "tai", "suspend", "counter" or "fork"; "unknown" for a
 * reason that only a newer module has. The string is constant, and any thread may call.
 */
const char *parkclock_reason(uint64_t reason);

/**
 * parkclock_explain_open() - explain why opening failed, and what to do
 * @err: the errno of parkclock_open(), parkclock_open_owner() or parkclock_open_fd()
 *
 * Return: a sentence or two in English, without a newline; never NULL. The string is
 * constant, and any thread may call.
 */
const char *parkclock_explain_open(int err);

/**
 * parkclock_explain_register() - explain why registering failed, and what to do
 * @err: the errno of parkclock_register() or parkclock_unregister()
 *
 * Return: as parkclock_explain_open().
 */
const char *parkclock_explain_register(int err);

/**
 * parkclock_explain_cgroup() - explain why registering a cgroup failed, and what to do
 * @err: the errno of parkclock_register_cgroup() or parkclock_unregister_cgroup()
 *
 * Return: as parkclock_explain_open().
 */
const char *parkclock_explain_cgroup(int err);

/**
 * parkclock_explain_change() - explain why changing a clock failed, and what to do
 * @err: the errno of parkclock_view(), parkclock_epoch(), parkclock_set_offsets(),
 *	 parkclock_stop(), parkclock_start(), parkclock_save() or parkclock_restore()
 *
 * Return: as parkclock_explain_open().
 */
const char *parkclock_explain_change(int err);

/**
 * parkclock_explain_timer() - explain why a function about timers failed, and what to do
 * @err: the errno of parkclock_timer(), parkclock_timer_set(), parkclock_timer_get() or
 *	 parkclock_timer_restore()
 *
 * Return: as parkclock_explain_open().
 */
const char *parkclock_explain_timer(int err);

/**
 * parkclock_explain() - explain why any other function failed, and what to do
 * @err: the errno that the function left
 *
 * Return: as parkclock_explain_open().
 */
const char *parkclock_explain(int err);

#ifdef __cplusplus
}
#endif

#endif /* LIBPARKCLOCK_H */
