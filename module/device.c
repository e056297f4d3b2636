// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/parkclock: open, mapping and ioctls. What they mean is in
 * include/uapi/linux/parkclock.h; here are the checks.
 */
#include <linux/compat.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "clock.h"
#include "compat.h"
#include "device.h"
#include "switch.h"
#include "tasks.h"
#include "timebase.h"
#include "updater.h"

static int parkclock_open(struct inode *inode, struct file *file)
{
	struct parkclock *clock = parkclock_clock_create();

	if (IS_ERR(clock))
		return PTR_ERR(clock);
	file->private_data = clock;
	return nonseekable_open(inode, file);
}

/* A mapping holds the file, so that this comes after the last munmap(). */
static int parkclock_release(struct inode *inode, struct file *file)
{
	parkclock_clock_destroy(file->private_data);
	return 0;
}

static vm_fault_t parkclock_fault(struct vm_fault *vmf)
{
	struct parkclock *clock = vmf->vma->vm_file->private_data;
	struct page *page = vmf->pgoff ? parkclock_timebase_page() : clock->page;

	if (vmf->pgoff > 1)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct parkclock_vm_ops = {
	.fault = parkclock_fault,
};

static int parkclock_mmap(struct file *file, struct vm_area_struct *vma)
{
	BUILD_BUG_ON(PAGE_SIZE != PARKCLOCK_PAGE_SIZE);

	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PARKCLOCK_MAP_SIZE)
		return -EINVAL;
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EACCES;
	/* Neither mprotect() nor a forced write (ptrace) comes past this. */
	vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
	vm_flags_set(vma, VM_DONTEXPAND);
	vma->vm_ops = &parkclock_vm_ops;
	return 0;
}

static long parkclock_ioctl_query(struct parkclock *clock, struct parkclock_query __user *arg)
{
	struct parkclock_query q = {};

	parkclock_updater_query(&q);
	parkclock_clock_query(clock, &q);
	parkclock_switch_query(&q);
	return copy_to_user(arg, &q, sizeof(q)) ? -EFAULT : 0;
}

static long parkclock_ioctl_read(struct parkclock *clock, struct parkclock_read __user *arg)
{
	struct parkclock_read in;
	struct parkclock_reading out;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.flags || memchr_inv(in.reserved, 0, sizeof(in.reserved)) ||
	    parkclock_index(in.clock_id) < 0)
		return -EINVAL;
	/* Do not wake the updater for somebody who cannot be told the time. */
	if (clear_user(&arg->reading, sizeof(arg->reading)))
		return -EFAULT;
	parkclock_updater_read(clock->map, in.clock_id, &out);
	return copy_to_user(&arg->reading, &out, sizeof(out)) ? -EFAULT : 0;
}

static long parkclock_ioctl_accuracy(struct parkclock_accuracy __user *arg)
{
	struct parkclock_accuracy a;

	parkclock_timebase_accuracy(&a);
	return copy_to_user(arg, &a, sizeof(a)) ? -EFAULT : 0;
}

static long parkclock_ioctl_register(struct file *file, unsigned int cmd, void __user *arg)
{
	u32 known = PARKCLOCK_TASK_PROCESS |
		    (cmd == PARKCLOCK_IOC_REGISTER ? PARKCLOCK_TASK_INHERIT : 0);
	struct parkclock *clock = file->private_data;
	bool others = file->f_mode & FMODE_WRITE;
	struct parkclock_register in;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.tid < 0 || in.flags & ~known || memchr_inv(in.reserved, 0, sizeof(in.reserved)))
		return -EINVAL;
	if (cmd == PARKCLOCK_IOC_REGISTER)
		return parkclock_tasks_register(&clock->tasks, in.tid, in.flags, others);
	return parkclock_tasks_unregister(&clock->tasks, in.tid, in.flags, others);
}

static long parkclock_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct parkclock *clock = file->private_data;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;

	switch (cmd) {
	case PARKCLOCK_IOC_QUERY:
		return parkclock_ioctl_query(clock, (void __user *)arg);
	case PARKCLOCK_IOC_READ:
		return parkclock_ioctl_read(clock, (void __user *)arg);
	case PARKCLOCK_IOC_HOLD:
		return arg ? -EINVAL : parkclock_clock_hold(clock);
	case PARKCLOCK_IOC_RELEASE:
		return arg ? -EINVAL : parkclock_clock_release(clock);
	case PARKCLOCK_IOC_REGISTER:
	case PARKCLOCK_IOC_UNREGISTER:
		return parkclock_ioctl_register(file, cmd, (void __user *)arg);
	case PARKCLOCK_IOC_ACCURACY:
		return parkclock_ioctl_accuracy((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations parkclock_fops = {
	.owner = THIS_MODULE,
	.open = parkclock_open,
	.release = parkclock_release,
	.mmap = parkclock_mmap,
	.unlocked_ioctl = parkclock_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

/* Anybody may read the time; writing is for whom the administrator allows it. */
static struct miscdevice parkclock_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "parkclock",
	.fops = &parkclock_fops,
	.mode = 0444,
};

/**
 * parkclock_device_init() - let users in
 *
 * Context: may sleep. Everything else is there.
 * Return: 0 or an error number.
 */
int parkclock_device_init(void)
{
	return misc_register(&parkclock_misc);
}

/**
 * parkclock_device_exit() - let nobody in any more
 *
 * Context: may sleep. No descriptor or mapping is left.
 */
void parkclock_device_exit(void)
{
	misc_deregister(&parkclock_misc);
}
