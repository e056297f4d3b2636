// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock: the time from /dev/parkclock
 *
 * A handle does not change between open and close, except for its mapping, which is made
 * at most once. That is why threads may share it. A reading tries the page first, and asks
 * the kernel if the page has no time.
 *
 * A descriptor that is open for writing can restore a clock, as long as nobody can have
 * read it. So access alone decides when to map the clock, and how to find out what a
 * descriptor is: a handle that can write is mapped when it is first read.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "libparkclock.h"

struct parkclock {
	int fd;
	int tsc;		/* the page may be read: RDTSC does not fault */
	void *map;		/* NULL until it is made */
};

/* If this cannot be found out, no: READ is slower, but kills nobody. */
static int tsc_readable(void)
{
	int mode;

	return !prctl(PR_GET_TSC, &mode) && mode == PR_TSC_ENABLE;
}

/* Returns -1 with errno if @fd is not open. */
static int can_write(int fd)
{
	const int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : (flags & O_ACCMODE) != O_RDONLY;
}

/*
 * Is it a clock? Mapping and reading something else may do harm. QUERY changes nothing, but
 * views do not accept it, and a sandbox may allow READ only.
 */
static int is_clock(int fd)
{
	struct parkclock_read read = { .clock_id = CLOCK_MONOTONIC };
	struct parkclock_query query;
	const int writes = can_write(fd);

	if (writes)
		return writes > 0 && !ioctl(fd, PARKCLOCK_IOC_QUERY, &query);
	return !ioctl(fd, PARKCLOCK_IOC_READ, &read) || errno == ENODATA;
}

/* Leaves errno unchanged. Returns an error number, or 0 and the mapping. */
static int make_map(int fd, void **map)
{
	const int before = errno;
	int err = 0;

	*map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (*map == MAP_FAILED) {
		err = errno;
	} else if (!parkclock_usable(*map)) {
		munmap(*map, PARKCLOCK_MAP_SIZE);
		err = EPROTO;
	}
	errno = before;
	return err;
}

/* As get_map(). Several threads may do this at the same time: one of them wins. */
static int get_map(struct parkclock *pc, void **map)
{
	void *winner = NULL;
	int err;

	*map = __atomic_load_n(&pc->map, __ATOMIC_ACQUIRE);
	if (*map)
		return 0;
	err = make_map(pc->fd, map);
	if (err || __atomic_compare_exchange_n(&pc->map, &winner, *map, 0, __ATOMIC_ACQ_REL,
					       __ATOMIC_ACQUIRE))
		return err;
	munmap(*map, PARKCLOCK_MAP_SIZE);
	*map = winner;
	return 0;
}

/* Make a handle of @fd, which is a clock's descriptor; on failure @fd is closed. */
static struct parkclock *attach(int fd)
{
	struct parkclock *pc = malloc(sizeof(*pc));
	int err = ENOMEM;

	if (pc) {
		*pc = (struct parkclock){ .fd = fd, .tsc = tsc_readable() };
		err = can_write(fd) ? 0 : make_map(fd, &pc->map);
		if (!err)
			return pc;
	}
	close(fd);
	free(pc);
	errno = err;
	return NULL;
}

static struct parkclock *open_path(const char *path, int access)
{
	const int fd = open(path, access | O_CLOEXEC);
	struct parkclock_query query;
	int err;

	if (fd < 0)
		return NULL;
	/* READ need not wake the clock for that. */
	if (!ioctl(fd, PARKCLOCK_IOC_QUERY, &query))
		return attach(fd);
	err = errno;
	close(fd);
	errno = err;
	return NULL;
}

static struct parkclock *attach_copy(int fd)
{
	const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? NULL : attach(copy);
}

struct parkclock *parkclock_open_fd(int fd)
{
	return is_clock(fd) ? attach_copy(fd) : NULL;
}

/* The number that the text is, or -1. */
static int parse_fd(const char *text)
{
	long fd;

	if (!*text || text[strspn(text, "0123456789")])
		return -1;
	fd = strtol(text, NULL, 10);
	return fd <= INT_MAX ? fd : -1;
}

/* The clock of PARKCLOCK_FD, and no other instead: its time would be taken for that one's. */
static struct parkclock *open_given(const char *text, int access)
{
	const int fd = parse_fd(text);

	if (fd < 0) {
		errno = EBADF;
		return NULL;
	}
	if (!is_clock(fd))
		return NULL;
	if (access == O_RDONLY || can_write(fd) > 0)
		return attach_copy(fd);
	errno = EACCES;
	return NULL;
}

static struct parkclock *open_handle(const char *path, int access)
{
	const char *given = path ? NULL : secure_getenv(PARKCLOCK_FD_VARIABLE);

	if (given)
		return open_given(given, access);
	return open_path(path ? path : PARKCLOCK_DEVICE, access);
}

struct parkclock *parkclock_open(const char *path)
{
	return open_handle(path, O_RDONLY);
}

struct parkclock *parkclock_open_owner(const char *path)
{
	return open_handle(path, O_RDWR);
}

void parkclock_close(struct parkclock *pc)
{
	const int err = errno;

	if (!pc)
		return;
	if (pc->map)
		munmap(pc->map, PARKCLOCK_MAP_SIZE);
	close(pc->fd);
	free(pc);
	errno = err;
}

int parkclock_fd(const struct parkclock *pc)
{
	return pc->fd;
}

/* The mapping, or NULL. Leaves errno unchanged. Returns an error number. */
static int get_page(struct parkclock *pc, void **map)
{
	*map = NULL;
	return pc->tsc ? get_map(pc, map) : EPERM;
}

/* Callers see the same handle after this as before, so they may pass a const one. */
const void *parkclock_map(const struct parkclock *pc)
{
	void *map;
	const int err = get_page((struct parkclock *)pc, &map);

	if (!err)
		return map;
	errno = err;
	return NULL;
}

int parkclock_page_now_bound(struct parkclock *pc, clockid_t clock_id,
			     struct parkclock_reading *reading)
{
	__s64 ns;
	void *map;
	int err;

	err = parkclock_index(clock_id) < 0 ? EINVAL : get_page(pc, &map);
	if (!err) {
		ns = parkclock_page_read_bound(map, clock_id, reading);
		if (ns >= 0)
			return 0;
		err = ns == PARKCLOCK_IS_STOPPED ? ENODATA : EAGAIN;
	}
	errno = err;
	return -1;
}

int parkclock_slow_now_bound(struct parkclock *pc, clockid_t clock_id,
			     struct parkclock_reading *reading)
{
	struct parkclock_read arg = { .clock_id = clock_id };

	if (ioctl(pc->fd, PARKCLOCK_IOC_READ, &arg))
		return -1;
	*reading = arg.reading;
	return 0;
}

int parkclock_now_bound(struct parkclock *pc, clockid_t clock_id,
			struct parkclock_reading *reading)
{
	void *map;

	if (!get_page(pc, &map) && parkclock_page_read_bound(map, clock_id, reading) >= 0)
		return 0;
	return parkclock_slow_now_bound(pc, clock_id, reading);
}

int parkclock_now(struct parkclock *pc, clockid_t clock_id, int64_t *ns)
{
	struct parkclock_reading reading;
	void *map;

	if (!get_page(pc, &map)) {
		const __s64 now = parkclock_page_read(map, clock_id);

		if (now >= 0) {
			*ns = now;
			return 0;
		}
	}
	if (parkclock_slow_now_bound(pc, clock_id, &reading))
		return -1;
	*ns = reading.ns;
	return 0;
}

int parkclock_now_range(struct parkclock *pc, clockid_t clock_id, int64_t *earliest,
			int64_t *latest)
{
	struct parkclock_reading reading;

	if (parkclock_now_bound(pc, clock_id, &reading))
		return -1;
	*earliest = parkclock_earliest(&reading);
	*latest = parkclock_latest(&reading);
	return 0;
}

int parkclock_hold(struct parkclock *pc)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_HOLD, 0);
}

int parkclock_release(struct parkclock *pc)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_RELEASE, 0);
}

int parkclock_register(struct parkclock *pc, pid_t tid, unsigned int flags)
{
	const struct parkclock_register arg = { .tid = tid, .flags = flags };

	return ioctl(pc->fd, PARKCLOCK_IOC_REGISTER, &arg);
}

int parkclock_unregister(struct parkclock *pc, pid_t tid, unsigned int flags)
{
	const struct parkclock_register arg = { .tid = tid, .flags = flags };

	return ioctl(pc->fd, PARKCLOCK_IOC_UNREGISTER, &arg);
}

int parkclock_register_cgroup(struct parkclock *pc, int dir)
{
	const struct parkclock_cgroup arg = { .fd = dir };

	return ioctl(pc->fd, PARKCLOCK_IOC_REGISTER_CGROUP, &arg);
}

int parkclock_unregister_cgroup(struct parkclock *pc, int dir)
{
	const struct parkclock_cgroup arg = { .fd = dir };

	return ioctl(pc->fd, PARKCLOCK_IOC_UNREGISTER_CGROUP, &arg);
}

int parkclock_query(struct parkclock *pc, struct parkclock_query *query)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_QUERY, query);
}

int parkclock_accuracy(struct parkclock *pc, struct parkclock_accuracy *accuracy)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_ACCURACY, accuracy);
}

int parkclock_limits(struct parkclock *pc, struct parkclock_limits *limits)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_LIMITS, limits);
}

int parkclock_acknowledge(struct parkclock *pc, uint64_t *generation)
{
	uint64_t now;

	if (read(pc->fd, &now, sizeof(now)) < 0)
		return -1;
	*generation = now;
	return 0;
}

int parkclock_view(struct parkclock *pc)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_VIEW, 0);
}

int parkclock_view_with(struct parkclock *pc, unsigned int rights)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_VIEW, (unsigned long)rights);
}

int parkclock_timer(struct parkclock *pc, clockid_t clock_id, unsigned int flags)
{
	const struct parkclock_timer arg = { .clock_id = clock_id, .flags = flags };

	return ioctl(pc->fd, PARKCLOCK_IOC_TIMER, &arg);
}

int parkclock_timer_set(int timer, struct parkclock_timer_set *setting)
{
	struct parkclock_timer_set arg = *setting;

	if (ioctl(timer, PARKCLOCK_IOC_TIMER_SET, &arg))
		return -1;
	*setting = arg;
	return 0;
}

int parkclock_timer_get(int timer, struct parkclock_timer_state *state)
{
	struct parkclock_timer_state arg;

	if (ioctl(timer, PARKCLOCK_IOC_TIMER_GET, &arg))
		return -1;
	*state = arg;
	return 0;
}

int parkclock_timer_restore(int timer, const struct parkclock_timer_state *state)
{
	struct parkclock_timer_state arg = *state;

	return ioctl(timer, PARKCLOCK_IOC_TIMER_RESTORE, &arg);
}

int parkclock_save_with(struct parkclock *pc, struct parkclock_saved *saved, const int *timers,
			struct parkclock_timer_state *states, size_t n)
{
	/* The clock first: from then on no timer changes by itself. */
	if (parkclock_save(pc, saved))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (parkclock_timer_get(timers[i], &states[i]))
			return -1;
	return 0;
}

int parkclock_restore_with(struct parkclock *pc, const struct parkclock_saved *saved,
			   unsigned int gap, const struct parkclock_timer_state *states,
			   int *timers, size_t n)
{
	int err;

	if (parkclock_restore(pc, saved, gap))
		return -1;
	for (size_t i = 0; i < n; i++) {
		timers[i] = parkclock_timer(pc, states[i].clock_id, 0);
		if (timers[i] >= 0 && !parkclock_timer_restore(timers[i], &states[i]))
			continue;
		err = errno;
		if (timers[i] >= 0)
			close(timers[i]);
		while (i--)
			close(timers[i]);
		errno = err;
		return -1;
	}
	return 0;
}

int parkclock_epoch(struct parkclock *pc)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_EPOCH, 0);
}

int parkclock_set_offsets(struct parkclock *pc, int64_t monotonic_ns, int64_t boottime_ns)
{
	const struct parkclock_offsets arg = {
		.monotonic_ns = monotonic_ns, .boottime_ns = boottime_ns
	};

	return ioctl(pc->fd, PARKCLOCK_IOC_OFFSETS, &arg);
}

int parkclock_stop(struct parkclock *pc)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_STOP, 0);
}

int parkclock_start(struct parkclock *pc, unsigned int gap)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_START, (unsigned long)gap);
}

int parkclock_save(struct parkclock *pc, struct parkclock_saved *saved)
{
	struct parkclock_saved arg;

	if (ioctl(pc->fd, PARKCLOCK_IOC_SAVE, &arg))
		return -1;
	*saved = arg;
	return 0;
}

int parkclock_restore(struct parkclock *pc, const struct parkclock_saved *saved,
		      unsigned int gap)
{
	const struct parkclock_restore arg = { .saved = *saved, .gap = gap };

	return ioctl(pc->fd, PARKCLOCK_IOC_RESTORE, &arg);
}

const char *parkclock_reason(uint64_t reason)
{
	static const char *const words[] = {
		[PARKCLOCK_REASON_NONE] = "none",
		[PARKCLOCK_REASON_STEP] = "step",
		[PARKCLOCK_REASON_LEAP] = "leap",
		[PARKCLOCK_REASON_TAI] = "tai",
		[PARKCLOCK_REASON_SUSPEND] = "suspend",
		[PARKCLOCK_REASON_COUNTER] = "counter",
		[PARKCLOCK_REASON_FORK] = "fork",
	};

	return reason <= PARKCLOCK_REASON_FORK ? words[reason] : "unknown";
}

/* A sentence about what happened, then one about what to do. */
#define SAY(why, what) why " " what
#define UNEXPECTED \
	"This is not expected of the device. The kernel log (\"dmesg\") may say more."

const char *parkclock_explain_open(int err)
{
	switch (err) {
	case ENOENT:
		return SAY("There is no device: the module is not loaded, or the path is wrong.",
			   "Load it, as root: \"modprobe parkclock\", or \"insmod parkclock.ko\".");
	case ENXIO:
	case ENODEV:
		return SAY("The device file has no driver: it is a leftover, or was made by hand.",
			   "Load the module with \"modprobe parkclock\", as root, and try again.");
	case EACCES:
		return SAY("The device's permissions forbid this, or PARKCLOCK_FD is read-only.",
			   "To write, be root or in the group clock, or unset PARKCLOCK_FD.");
	case EBADF:
		return SAY("This is not the number of a descriptor that is open for reading.",
			   "Leave it open for reading (no close-on-exec), or unset PARKCLOCK_FD.");
	case EPERM:
		return SAY("A policy (seccomp, a device cgroup) forbids the device here.",
			   "Allow it in the configuration of the sandbox.");
	case ENOTTY:
	case EISDIR:
		return SAY("This is not a parkclock device, or its module is too old.",
			   "Give " PARKCLOCK_DEVICE ", or in PARKCLOCK_FD a clock's descriptor.");
	case EPROTO:
		return SAY("The module has another version, or uses another counter.",
			   "Install the module and the program from the same release.");
	case EMFILE:
		return SAY("This process has too many files open.",
			   "Close some, or raise its limit (\"ulimit -n\").");
	case ENFILE:
		return SAY("The host has too many clocks, or too many files open.",
			   "Raise the module's parameter host_clocks, or /proc/sys/fs/file-max.");
	case EDQUOT:
		return SAY("This user has too many clocks.",
			   "Close some, or raise the module's parameter user_clocks.");
	case ENOMEM:
		return SAY("There is not enough memory, or the process has too many mappings.",
			   "Free memory, or raise the memory limits of the process or its cgroup.");
	case EAGAIN:
		return SAY("The mapping would exceed the limit of locked memory.",
			   "Raise that limit (\"ulimit -l\"), or do without mlockall(MCL_FUTURE).");
	default:
		return UNEXPECTED;
	}
}

const char *parkclock_explain(int err)
{
	switch (err) {
	case EAGAIN:
		return SAY("The page has no time: the clock is parked, or was made invalid.",
			   "Use the slow path, or hold a reference.");
	case EINVAL:
		return SAY("There is no such clock here.",
			   "Use CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME or CLOCK_TAI.");
	case EPERM:
		return SAY("PR_SET_TSC or a policy forbids this, or it needs an owner's handle.",
			   "Use the slow path, open the clock for writing, or have the sandbox allow it.");
	case ENOENT:
		return SAY("No reference is held through this handle.",
			   "Release only a reference that is held.");
	case EOVERFLOW:
		return SAY("This open file holds as many references as it can.",
			   "Release some, or open another handle.");
	case EDQUOT:
		return SAY("This user holds too many references.",
			   "Release some, or raise the module's parameter user_holds.");
	case ENFILE:
		return SAY("The host holds too many references.",
			   "Release some, or raise the module's parameter host_holds.");
	case ENODATA:
		return SAY("The clock is stopped: nobody gets a time from it.",
			   "Ask its owner to start it, or restore it from where it was saved.");
	case ENOTTY:
		return SAY("This is a view of a clock: it can only be read.",
			   "Ask the clock's owner to do this, or open the device.");
	default:
		return UNEXPECTED;
	}
}

const char *parkclock_explain_register(int err)
{
	switch (err) {
	case ESRCH:
		return SAY("There is no such task, or it has exited.",
			   "Give an id that is in use here: ids differ between pid namespaces.");
	case EPERM:
		return SAY("The handle is not open for writing, or the task is not yours to trace.",
			   "Be root, or in the group clock to open for writing; register your own.");
	case EEXIST:
		return SAY("The task, or each thread of the process, is registered already.",
			   "Nothing needs to be done; to change the flags, unregister it first.");
	case ENOENT:
		return SAY("The task is not registered, or has exited meanwhile.",
			   "Unregister only what was registered through this handle.");
	case EINVAL:
		return SAY("The id is negative, or a flag is not valid here.",
			   "Use 0 or the id of a thread, and PARKCLOCK_TASK_*.");
	case ENOSPC:
		return SAY("The clock has too many tasks.",
			   "Raise the module's parameter max_tasks, or use another clock.");
	case EMLINK:
		return SAY("The task is registered with too many clocks.",
			   "Unregister it from another clock, or close that.");
	case EDQUOT:
		return SAY("This user has too many registrations.",
			   "End some, or raise the module's parameter user_tasks.");
	case ENFILE:
		return SAY("The host has too many registrations.",
			   "End some, or raise the module's parameter host_tasks.");
	case EINTR:
		return SAY("The call was interrupted by a signal that ends the process.",
			   "Nothing needs to be done.");
	case ENOMEM:
		return SAY("There is not enough memory for the registration.",
			   "Free some, or raise the memory limit of the cgroup.");
	case EOPNOTSUPP:
		return SAY("This kernel was built without tracepoints: it reports no switches.",
			   "Hold a reference instead, or use a kernel with tracepoints.");
	case ENOTTY:
		return SAY("This is a view of a clock: nothing can be registered with it.",
			   "Ask the clock's owner to do this, or open the device.");
	default:
		return UNEXPECTED;
	}
}

const char *parkclock_explain_cgroup(int err)
{
	switch (err) {
	case EBADF:
		return SAY("This is not the directory of a cgroup of version 2.",
			   "Open the directory itself, for reading, where cgroup2 is mounted.");
	case EINVAL:
		return SAY("The host's root cgroup cannot be registered: the CPUs idle in it.",
			   "Register a cgroup below it, or hold a reference.");
	case EACCES:
	case EROFS:
		return SAY("You may not move processes into this cgroup: its cgroup.procs says so.",
			   "Be root, or have the cgroup delegated to you.");
	case EPERM:
		return SAY("The handle is not open for writing, or the cgroup is not yours.",
			   "Be root, or in the group clock, with a cgroup that is delegated to you.");
	case ENOENT:
		return SAY("The cgroup was removed, is not in your namespace, or not registered.",
			   "Register one that you may move processes to, and unregister only that.");
	case EEXIST:
		return SAY("The cgroup is registered with this clock already.",
			   "Nothing needs to be done.");
	case E2BIG:
		return SAY("The cgroup is too far below the host's root.",
			   "Register one above it.");
	case EMLINK:
		return SAY("The cgroup, or one below it, is registered with too many clocks.",
			   "Unregister it from another clock, or close that.");
	case EDQUOT:
		return SAY("This user has registered too many cgroups.",
			   "End some, or raise the module's parameter user_cgroups.");
	case ENFILE:
		return SAY("Too many cgroups are registered on the host.",
			   "End some, or raise the module's parameter host_cgroups.");
	case EINTR:
		return SAY("The call was interrupted by a signal that ends the process.",
			   "Nothing needs to be done.");
	case ENOMEM:
		return SAY("There is not enough memory for the registration.",
			   "Free some, or raise the memory limit of the cgroup.");
	case EOPNOTSUPP:
		return SAY("This kernel was built without cgroups, or without tracepoints.",
			   "Register processes, hold a reference, or use another kernel.");
	case ENOTTY:
		return SAY("This is a view of a clock, or the module is too old.",
			   "Ask the clock's owner to do this, or open the device.");
	default:
		return UNEXPECTED;
	}
}

const char *parkclock_explain_change(int err)
{
	switch (err) {
	case EPERM:
		return SAY("The clock was opened for reading only, or a policy forbids it.",
			   "Use an owner's handle, or allow it in the sandbox's configuration.");
	case ENOTTY:
		return SAY("This is a view of a clock: it can change nothing.",
			   "Ask the clock's owner to do this.");
	case EBUSY:
		return SAY("The clock was mapped, read or viewed already, and would go back.",
			   "Do this right after the clock was opened.");
	case EALREADY:
		return SAY("The clock is in the wanted state already.",
			   "Nothing needs to be done.");
	case EINVAL:
		return SAY("There is no such gap policy.",
			   "Use PARKCLOCK_GAP_INCLUDE or PARKCLOCK_GAP_FREEZE.");
	case ERANGE:
		return SAY("MONOTONIC or BOOTTIME would not be between 1 ns and 146 years.",
			   "Use other offsets; or to restore, GAP_FREEZE or another saved clock.");
	case EBADMSG:
		return SAY("This is not a saved clock, or it is damaged.",
			   "Use another copy, or save the clock again.");
	case EOPNOTSUPP:
		return SAY("The module that saved this clock uses another version of the format.",
			   "Restore it with a module of that version, or save it again with this one.");
	case EMFILE:
		return SAY("This process has no descriptor left for the view.",
			   "Close some, or raise its limit (\"ulimit -n\").");
	case ENFILE:
		return SAY("The host has too many views, or no file left for this one.",
			   "Raise the module's parameter host_views, or /proc/sys/fs/file-max.");
	case EDQUOT:
		return SAY("This user has too many views.",
			   "Close some, or raise the module's parameter user_views.");
	case ENOMEM:
		return SAY("There is not enough memory for the view.",
			   "Free some, or raise the memory limit of the cgroup.");
	default:
		return UNEXPECTED;
	}
}

const char *parkclock_explain_timer(int err)
{
	switch (err) {
	case EINVAL:
		return SAY("There is no such clock or flag here, or a time is below 0.",
			   "Use CLOCK_*, PARKCLOCK_CPUTIME_ID and PARKCLOCK_TIMER_*.");
	case ENOTTY:
		return SAY("This is not a timer of a clock, or the module is too old.",
			   "Give a descriptor of parkclock_timer().");
	case EPERM:
		return SAY("This view of a clock has no right to timers.",
			   "Ask the clock's owner for one with PARKCLOCK_VIEW_TIMERS.");
	case EMFILE:
		return SAY("This process has no descriptor left for the timer.",
			   "Close some, or raise its limit (\"ulimit -n\").");
	case ENFILE:
		return SAY("The host has too many timers, or no file left for this one.",
			   "Raise the module's parameter host_timers, or /proc/sys/fs/file-max.");
	case EDQUOT:
		return SAY("This user has too many timers.",
			   "Close some, or raise the module's parameter user_timers.");
	case ENOMEM:
		return SAY("There is not enough memory for the timer.",
			   "Free some, or raise the memory limit of the cgroup.");
	default:
		return UNEXPECTED;
	}
}
