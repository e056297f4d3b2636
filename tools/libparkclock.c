// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock: the time from /dev/parkclock
 *
 * A handle does not change between open and close, which is all there is to
 * its thread safety. The page comes first; a time that it does not have is
 * asked of the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "libparkclock.h"

struct parkclock {
	int fd;
	int tsc;		/* the page may be read: RDTSC does not fault */
	void *map;
};

/* If it cannot be known, no: READ is slower, but nobody is killed by it. */
static int tsc_readable(void)
{
	int mode;

	return !prctl(PR_GET_TSC, &mode) && mode == PR_TSC_ENABLE;
}

/* QUERY comes first: something else may not bear being mapped and read. */
static int attach(struct parkclock *pc, const char *path, int access)
{
	struct parkclock_query query;

	pc->fd = open(path, access | O_CLOEXEC);
	if (pc->fd < 0)
		return -1;
	if (parkclock_query(pc, &query))
		goto err_close;
	pc->map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, pc->fd, 0);
	if (pc->map == MAP_FAILED)
		goto err_close;
	if (!parkclock_usable(pc->map)) {
		munmap(pc->map, PARKCLOCK_MAP_SIZE);
		errno = EPROTO;
		goto err_close;
	}
	pc->tsc = tsc_readable();
	return 0;

err_close:
	close(pc->fd);
	return -1;
}

static struct parkclock *open_handle(const char *path, int access)
{
	struct parkclock *pc = malloc(sizeof(*pc));

	if (!pc)
		return NULL;
	if (attach(pc, path ? path : PARKCLOCK_DEVICE, access)) {
		free(pc);
		return NULL;
	}
	return pc;
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
	munmap(pc->map, PARKCLOCK_MAP_SIZE);
	close(pc->fd);
	free(pc);
	errno = err;
}

int parkclock_fd(const struct parkclock *pc)
{
	return pc->fd;
}

const void *parkclock_map(const struct parkclock *pc)
{
	return pc->tsc ? pc->map : NULL;
}

int parkclock_page_now_bound(struct parkclock *pc, clockid_t clock_id,
			     struct parkclock_reading *reading)
{
	if (parkclock_index(clock_id) < 0)
		errno = EINVAL;
	else if (!pc->tsc)
		errno = EPERM;
	else if (parkclock_page_read_bound(pc->map, clock_id, reading) < 0)
		errno = EAGAIN;
	else
		return 0;
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
	if (pc->tsc && parkclock_page_read_bound(pc->map, clock_id, reading) >= 0)
		return 0;
	return parkclock_slow_now_bound(pc, clock_id, reading);
}

int parkclock_now(struct parkclock *pc, clockid_t clock_id, int64_t *ns)
{
	struct parkclock_reading reading;

	if (pc->tsc) {
		const __s64 now = parkclock_page_read(pc->map, clock_id);

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
		return SAY("The permissions of the device do not let this user do so.",
			   "Ask for it (chmod, or a udev rule), or try as root.");
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
	default:
		return UNEXPECTED;
	}
}
