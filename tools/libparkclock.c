// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock: the time from /dev/parkclock
 *
 * A handle does not change between open and close, but for its mapping, which is
 * made once at most: that is all there is to its thread safety. The page comes first;
 * a time that it does not have is asked of the kernel.
 *
 * Through a descriptor that is open for writing a clock can be restored, as long as
 * nobody can have read it. So that alone decides when to map it, and how to find out
 * what it is: a handle that can write is mapped when it is first read.
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

/* If it cannot be known, no: READ is slower, but nobody is killed by it. */
static int tsc_readable(void)
{
	int mode;

	return !prctl(PR_GET_TSC, &mode) && mode == PR_TSC_ENABLE;
}

/* -1 with errno if it is not open. */
static int can_write(int fd)
{
	const int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : (flags & O_ACCMODE) != O_RDONLY;
}

/*
 * Is it a clock? Something else may not bear being mapped and read. ACCURACY leaves
 * everything as it is, but is not for views, and a sandbox may forbid all but READ.
 */
static int is_clock(int fd)
{
	struct parkclock_read read = { .clock_id = CLOCK_MONOTONIC };
	struct parkclock_accuracy accuracy;
	const int writes = can_write(fd);

	if (writes)
		return writes > 0 && !ioctl(fd, PARKCLOCK_IOC_ACCURACY, &accuracy);
	return !ioctl(fd, PARKCLOCK_IOC_READ, &read) || errno == ENODATA;
}

/* Leaves errno alone. Returns an error number, or 0 and the mapping. */
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

/* Threads may do this at the same time: one of them wins. Likewise. */
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

/* A handle that the descriptor belongs to, which is a clock's; else it is closed. */
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
	struct parkclock_accuracy accuracy;
	int err;

	if (fd < 0)
		return NULL;
	/* It need not be woken by READ. */
	if (!ioctl(fd, PARKCLOCK_IOC_ACCURACY, &accuracy))
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

/* What somebody who started this program has left open for it, or -1. */
static int given_fd(void)
{
	const char *text = secure_getenv(PARKCLOCK_FD_VARIABLE);
	long fd;

	if (!text || !*text || text[strspn(text, "0123456789")])
		return -1;
	fd = strtol(text, NULL, 10);
	return fd <= INT_MAX && is_clock(fd) ? fd : -1;
}

static struct parkclock *open_handle(const char *path, int access)
{
	const int fd = path ? -1 : given_fd();

	if (fd < 0)
		return open_path(path ? path : PARKCLOCK_DEVICE, access);
	if (access == O_RDONLY || can_write(fd) > 0)
		return attach_copy(fd);
	errno = EACCES;
	return NULL;
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

/* The mapping, or NULL. Leaves errno alone, too, and returns an error number. */
static int get_page(struct parkclock *pc, void **map)
{
	*map = NULL;
	return pc->tsc ? get_map(pc, map) : EPERM;
}

/* To its users the handle is the same after this as before. */
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

int parkclock_query(struct parkclock *pc, struct parkclock_query *query)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_QUERY, query);
}

int parkclock_accuracy(struct parkclock *pc, struct parkclock_accuracy *accuracy)
{
	return ioctl(pc->fd, PARKCLOCK_IOC_ACCURACY, accuracy);
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

/* What it is and why, then what to do. */
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
		return SAY("The device file has no driver: it is left over, or made by hand.",
			   "Load the module with \"modprobe parkclock\", as root, and try again.");
	case EACCES:
		return SAY("The device's permissions forbid it, or PARKCLOCK_FD is read-only.",
			   "Ask for it (chmod, or a udev rule), try as root, or unset that.");
	case EBADF:
		return SAY("This number is not that of a descriptor, or it is not for reading.",
			   "Have it opened, and left open (no close-on-exec), for reading.");
	case EPERM:
		return SAY("A policy (seccomp, a device cgroup) forbids the device here.",
			   "Allow it in the configuration of the sandbox.");
	case ENOTTY:
	case EISDIR:
		return SAY("This is not a parkclock device, or one of a module that is too old.",
			   "Give the path of the device, usually " PARKCLOCK_DEVICE ".");
	case EPROTO:
		return SAY("The module speaks another version, or uses another counter.",
			   "Install the module and the program of one release.");
	case EMFILE:
		return SAY("This process has too many files open.",
			   "Close some, or raise its limit (\"ulimit -n\").");
	case ENFILE:
		return SAY("The system has too many files open.",
			   "Close some, or raise /proc/sys/fs/file-max.");
	case ENOMEM:
		return SAY("There is not enough memory, or too much is mapped already.",
			   "Free some, or raise the memory limits of the process or its cgroup.");
	case EAGAIN:
		return SAY("The mapping would exceed the limit of locked memory.",
			   "Raise it (\"ulimit -l\"), or do without mlockall(MCL_FUTURE).");
	default:
		return UNEXPECTED;
	}
}

const char *parkclock_explain(int err)
{
	switch (err) {
	case EAGAIN:
		return SAY("The page has no time: the clock is parked, or was made invalid.",
			   "Read by the slow path, or hold a reference.");
	case EINVAL:
		return SAY("This clock does not exist here.",
			   "Take CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME or CLOCK_TAI.");
	case EPERM:
		return SAY("The TSC may not be read here (PR_SET_TSC), or a policy forbids it.",
			   "Use the slow path, or allow it in the configuration of the sandbox.");
	case ENOENT:
		return SAY("No reference is held through this handle.",
			   "Release only what was held.");
	case EOVERFLOW:
		return SAY("As many references are held as one open file can hold.",
			   "Release some, or open another handle.");
	case ENODATA:
		return SAY("The clock is stopped: nobody has a time from it.",
			   "Have its owner start it, or restore it where it was saved.");
	case ENOTTY:
		return SAY("This is a view of a clock, with which one can read it and no more.",
			   "Leave that to its owner, or open the device.");
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
		return SAY("The task is another user's, the kernel's, or not for this handle.",
			   "Register your own tasks, those of other processes by an owner's handle.");
	case EEXIST:
		return SAY("The task, or each thread of the process, is registered already.",
			   "Go on; to have other flags, unregister it first.");
	case ENOENT:
		return SAY("The task is not registered, or has exited meanwhile.",
			   "Unregister only what was registered through this handle.");
	case EINVAL:
		return SAY("The id is negative, or the flags are not among those for this.",
			   "Take 0 or the id of a thread, and PARKCLOCK_TASK_*.");
	case ENOSPC:
		return SAY("More tasks than one clock may have, or more clocks than one task may.",
			   "Raise the module's parameter max_tasks, or close other clocks.");
	case ENOMEM:
		return SAY("There is not enough memory for the registration.",
			   "Free some, or raise the memory limit of the cgroup.");
	case EOPNOTSUPP:
		return SAY("This kernel was built without tracepoints: it tells of no switches.",
			   "Hold a reference instead, or use a kernel that has them.");
	case ENOTTY:
		return SAY("This is a view of a clock, with which nothing can be registered.",
			   "Have the clock's owner do it, or open the device.");
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
		return SAY("This is a view of a clock, which can change nothing.",
			   "Have the clock's owner do it.");
	case EBUSY:
		return SAY("The clock was mapped, read or viewed already: it would go back.",
			   "Do it first thing after the clock was opened.");
	case EALREADY:
		return SAY("The clock is stopped, or started, as it was to be.",
			   "Go on.");
	case EINVAL:
		return SAY("There is no such rule for the gap.",
			   "Take PARKCLOCK_GAP_INCLUDE or PARKCLOCK_GAP_FREEZE.");
	case ERANGE:
		return SAY("MONOTONIC or BOOTTIME would not be between 1 ns and 146 years.",
			   "Take other offsets or, to restore it, GAP_FREEZE or another saved clock.");
	case EBADMSG:
		return SAY("This is not a saved clock, or it is damaged.",
			   "Take another copy, or save the clock again.");
	case EOPNOTSUPP:
		return SAY("It was saved by a module that keeps it in another way.",
			   "Restore it where such a module is, or save it by this one.");
	case EMFILE:
		return SAY("This process has no descriptor left for the view.",
			   "Close some, or raise its limit (\"ulimit -n\").");
	case ENFILE:
		return SAY("The system has no file left for the view.",
			   "Close some, or raise /proc/sys/fs/file-max.");
	case ENOMEM:
		return SAY("There is not enough memory for the view.",
			   "Free some, or raise the memory limit of the cgroup.");
	default:
		return UNEXPECTED;
	}
}
