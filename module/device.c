// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/parkclock: open and ioctls. include/uapi/linux/parkclock.h says what the ioctls
 * mean; this file checks their arguments.
 */
#include <linux/compat.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "account.h"
#include "cgroup_dirs.h"
#include "clock.h"
#include "device.h"
#include "file.h"
#include "switch.h"
#include "tasks.h"
#include "timebase.h"
#include "timeline.h"
#include "updater.h"

static int parkclock_open(struct inode *inode, struct file *file)
{
	struct parkclock *clock = parkclock_clock_create();

	if (IS_ERR(clock))
		return PTR_ERR(clock);
	file->private_data = parkclock_file_create(clock, PARKCLOCK_VIEW_TIMERS);
	if (!file->private_data) {
		parkclock_clock_leave(clock);
		return -ENOMEM;
	}
	return nonseekable_open(inode, file);
}

/* A mapping holds the file, so this runs after the last munmap(). */
static int parkclock_release(struct inode *inode, struct file *file)
{
	struct parkclock_file *f = file->private_data;

	parkclock_clock_leave(f->clock);
	kfree(f);
	return 0;
}

/*
 * What the members of the host tell is what others do: that they hold references, and when
 * their tasks run.
 */
static void hide_host(struct parkclock_query *q)
{
	q->flags |= PARKCLOCK_HOST_HIDDEN;
	/* IDLE ends when anybody takes a reference, and page 1 does not show it. */
	if (q->state == PARKCLOCK_IDLE)
		q->state = PARKCLOCK_ACTIVE;
	q->parks = 0;
	q->wakes = 0;
	q->refreshes = 0;
	q->expirations = 0;
	q->invalidations = 0;
	q->late_ticks = 0;
}

static long parkclock_ioctl_query(struct file *file, struct parkclock_query __user *arg)
{
	struct parkclock_file *f = file->private_data;
	struct parkclock_query q = {};

	parkclock_updater_query(&q);
	parkclock_clock_query(f->clock, &q);
	if (file->f_mode & FMODE_WRITE) {
		parkclock_updater_query_others(&q);
		parkclock_switch_query(&q);
	} else {
		hide_host(&q);
	}
	return copy_to_user(arg, &q, sizeof(q)) ? -EFAULT : 0;
}

static long parkclock_ioctl_accuracy(struct parkclock_accuracy __user *arg)
{
	struct parkclock_accuracy a;

	parkclock_timebase_accuracy(&a);
	return copy_to_user(arg, &a, sizeof(a)) ? -EFAULT : 0;
}

/* What all users have is told to those who administer them. */
static long parkclock_ioctl_limits(struct file *file, struct parkclock_limits __user *arg)
{
	struct parkclock_file *f = file->private_data;
	struct parkclock_limits out = {};

	parkclock_account_query(f->clock->account, file->f_mode & FMODE_WRITE, &out);
	return copy_to_user(arg, &out, sizeof(out)) ? -EFAULT : 0;
}

static long parkclock_ioctl_register(struct parkclock *clock, unsigned int cmd,
				     const struct parkclock_register __user *arg)
{
	u32 known = PARKCLOCK_TASK_PROCESS |
		    (cmd == PARKCLOCK_IOC_REGISTER ? PARKCLOCK_TASK_INHERIT : 0);
	struct parkclock_register in;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.tid < 0 || in.flags & ~known || memchr_inv(in.reserved, 0, sizeof(in.reserved)))
		return -EINVAL;
	if (cmd == PARKCLOCK_IOC_REGISTER)
		return parkclock_tasks_register(&clock->registry, &in);
	return parkclock_tasks_unregister(&clock->registry, &in);
}

static long parkclock_ioctl_cgroup(struct parkclock *clock, unsigned int cmd,
				   const struct parkclock_cgroup __user *arg)
{
	struct parkclock_cgroup in;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.flags || memchr_inv(in.reserved, 0, sizeof(in.reserved)))
		return -EINVAL;
	if (cmd == PARKCLOCK_IOC_REGISTER_CGROUP)
		return parkclock_cgroup_dirs_register(&clock->registry, in.fd);
	return parkclock_cgroup_dirs_unregister(&clock->registry, in.fd);
}

static long parkclock_ioctl_offsets(struct parkclock *clock,
				    const struct parkclock_offsets __user *arg)
{
	struct parkclock_offsets in;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (memchr_inv(in.reserved, 0, sizeof(in.reserved)))
		return -EINVAL;
	return parkclock_timeline_offsets(clock, &in);
}

static long parkclock_ioctl_save(struct parkclock *clock, struct parkclock_saved __user *arg)
{
	struct parkclock_saved out;

	/* Do not stop the clock if the result cannot be returned. */
	if (clear_user(arg, sizeof(*arg)))
		return -EFAULT;
	parkclock_timeline_save(clock, &out);
	/* If this fails the clock stays stopped: others may rely on that by now. */
	return copy_to_user(arg, &out, sizeof(out)) ? -EFAULT : 0;
}

static long parkclock_ioctl_restore(struct parkclock *clock,
				    const struct parkclock_restore __user *arg)
{
	struct parkclock_restore in;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.reserved0 || memchr_inv(in.reserved1, 0, sizeof(in.reserved1)))
		return -EINVAL;
	return parkclock_timeline_restore(clock, &in.saved, in.gap);
}

static long parkclock_ioctl_set_guest(struct parkclock *clock,
				      const struct parkclock_guest_tsc __user *arg)
{
	struct parkclock_guest_tsc in;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.reserved0 || memchr_inv(in.reserved1, 0, sizeof(in.reserved1)))
		return -EINVAL;
	return parkclock_clock_set_guest(clock, &in);
}

/* The ioctls that change a clock, cost others, or tell of others. */
static long parkclock_ioctl_owner(struct parkclock *clock, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case PARKCLOCK_IOC_REGISTER:
	case PARKCLOCK_IOC_UNREGISTER:
		return parkclock_ioctl_register(clock, cmd, (void __user *)arg);
	case PARKCLOCK_IOC_REGISTER_CGROUP:
	case PARKCLOCK_IOC_UNREGISTER_CGROUP:
		return parkclock_ioctl_cgroup(clock, cmd, (void __user *)arg);
	case PARKCLOCK_IOC_ACCURACY:
		return parkclock_ioctl_accuracy((void __user *)arg);
	case PARKCLOCK_IOC_EPOCH:
		return arg ? -EINVAL : parkclock_timeline_epoch(clock);
	case PARKCLOCK_IOC_OFFSETS:
		return parkclock_ioctl_offsets(clock, (void __user *)arg);
	case PARKCLOCK_IOC_STOP:
		return arg ? -EINVAL : parkclock_timeline_stop(clock);
	case PARKCLOCK_IOC_START:
		return parkclock_timeline_start(clock, arg);
	case PARKCLOCK_IOC_SAVE:
		return parkclock_ioctl_save(clock, (void __user *)arg);
	case PARKCLOCK_IOC_SET_GUEST_TSC:
		return parkclock_ioctl_set_guest(clock, (void __user *)arg);
	case PARKCLOCK_IOC_VMCLOCK:
		return parkclock_clock_publish(clock, arg);
	default:
		return parkclock_ioctl_restore(clock, (void __user *)arg);
	}
}

static long parkclock_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct parkclock_file *f = file->private_data;
	struct parkclock *clock = f->clock;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;

	switch (cmd) {
	case PARKCLOCK_IOC_QUERY:
		return parkclock_ioctl_query(file, (void __user *)arg);
	case PARKCLOCK_IOC_READ:
		return parkclock_file_ioctl_read(f, (void __user *)arg);
	case PARKCLOCK_IOC_HOLD:
		return arg ? -EINVAL : parkclock_clock_hold(clock);
	case PARKCLOCK_IOC_RELEASE:
		return arg ? -EINVAL : parkclock_clock_release(clock);
	case PARKCLOCK_IOC_LIMITS:
		return parkclock_ioctl_limits(file, (void __user *)arg);
	case PARKCLOCK_IOC_VIEW:
		return parkclock_view_create(clock, arg);
	case PARKCLOCK_IOC_TIMER:
		return parkclock_file_ioctl_timer(f, (void __user *)arg);
	case PARKCLOCK_IOC_REGISTER:
	case PARKCLOCK_IOC_UNREGISTER:
	case PARKCLOCK_IOC_ACCURACY:
	case PARKCLOCK_IOC_EPOCH:
	case PARKCLOCK_IOC_OFFSETS:
	case PARKCLOCK_IOC_STOP:
	case PARKCLOCK_IOC_START:
	case PARKCLOCK_IOC_SAVE:
	case PARKCLOCK_IOC_RESTORE:
	case PARKCLOCK_IOC_SET_GUEST_TSC:
	case PARKCLOCK_IOC_VMCLOCK:
	case PARKCLOCK_IOC_REGISTER_CGROUP:
	case PARKCLOCK_IOC_UNREGISTER_CGROUP:
		if (!(file->f_mode & FMODE_WRITE))
			return -EPERM;
		return parkclock_ioctl_owner(clock, cmd, arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations parkclock_fops = {
	.owner = THIS_MODULE,
	.open = parkclock_open,
	.release = parkclock_release,
	.read = parkclock_file_read,
	.poll = parkclock_file_poll,
	.mmap = parkclock_file_mmap,
	.unlocked_ioctl = parkclock_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = parkclock_file_show_fdinfo,
};

/*
 * Everybody may read the time; the administrator decides who may write. A module cannot name
 * a group, whose number is each host's own: the udev rule of tools/udev gives the device to
 * the group "clock". Until that has run, and where there is no udev, only root may write.
 */
static struct miscdevice parkclock_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "parkclock",
	.fops = &parkclock_fops,
	.mode = 0444,
};

/**
 * parkclock_device_init() - create the device
 *
 * Context: may sleep. All other parts are initialised.
 * Return: 0 or an error number.
 */
int parkclock_device_init(void)
{
	return misc_register(&parkclock_misc);
}

/**
 * parkclock_device_exit() - remove the device
 *
 * Context: may sleep. No descriptor or mapping is left.
 */
void parkclock_device_exit(void)
{
	misc_deregister(&parkclock_misc);
}
