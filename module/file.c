// SPDX-License-Identifier: GPL-2.0
/*
 * What every open file of a clock can do, the owner's and a view's; and views.
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/kref.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "account.h"
#include "clock.h"
#include "compat.h"
#include "file.h"
#include "host.h"
#include "timebase.h"
#include "timer.h"
#include "updater.h"
#include "vmclock.h"

/**
 * parkclock_file_create() - create the private data of an open file
 * @clock:  the clock of that file
 * @rights: see struct parkclock_file
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: the private data, or NULL if there is no memory.
 */
struct parkclock_file *parkclock_file_create(struct parkclock *clock, unsigned int rights)
{
	struct parkclock_file *f = kmalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);

	if (f) {
		f->clock = clock;
		f->rights = rights;
		atomic64_set(&f->seen, parkclock_clock_generation(clock));
	}
	return f;
}

/* The file operations that owners' files and views share. */

/* Return the generation, and acknowledge it. */
ssize_t parkclock_file_read(struct file *file, char __user *buf, size_t size, loff_t *pos)
{
	struct parkclock_file *f = file->private_data;
	u64 generation = parkclock_clock_generation(f->clock);

	if (size < sizeof(generation))
		return -EINVAL;
	if (copy_to_user(buf, &generation, sizeof(generation)))
		return -EFAULT;
	atomic64_set(&f->seen, generation);
	return sizeof(generation);
}

/* Does the generation differ from the acknowledged one? */
__poll_t parkclock_file_poll(struct file *file, poll_table *wait)
{
	struct parkclock_file *f = file->private_data;

	poll_wait(file, &f->clock->jumped, wait);
	poll_wait(file, &parkclock_host_jumped, wait);
	/* The generation is raised before the wake-up: a change that is missed here wakes. */
	if (parkclock_clock_generation(f->clock) == atomic64_read(&f->seen))
		return 0;
	return EPOLLIN | EPOLLRDNORM;
}

#define VMCLOCK_PGOFF	(PARKCLOCK_VMCLOCK_OFFSET / PARKCLOCK_PAGE_SIZE)

static vm_fault_t parkclock_fault(struct vm_fault *vmf)
{
	struct parkclock_file *f = vmf->vma->vm_file->private_data;
	struct page *page;

	switch (vmf->pgoff) {
	case 0:
		page = f->clock->page.page;
		break;
	case 1:
		page = parkclock_timebase_page();
		break;
	case VMCLOCK_PGOFF:
		page = parkclock_vmclock_page(f->clock->vmclock);
		break;
	default:
		return VM_FAULT_SIGBUS;
	}
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct parkclock_vm_ops = {
	.fault = parkclock_fault,
};

int parkclock_file_mmap(struct file *file, struct vm_area_struct *vma)
{
	const unsigned long size = vma->vm_end - vma->vm_start;
	struct parkclock_file *f = file->private_data;

	BUILD_BUG_ON(PAGE_SIZE != PARKCLOCK_PAGE_SIZE);

	/* Once mapped, a page never disappears. */
	if (vma->vm_pgoff == VMCLOCK_PGOFF && size == PARKCLOCK_PAGE_SIZE) {
		/* Pairs with the release in parkclock_clock_publish(). */
		if (!smp_load_acquire(&f->clock->vmclock))
			return -ENXIO;
	} else if (vma->vm_pgoff || size != PARKCLOCK_MAP_SIZE) {
		return -EINVAL;
	}
	if (vma->vm_flags & (VM_WRITE | VM_EXEC))
		return -EACCES;
	/* Neither mprotect() nor a forced write (ptrace) gets past this. */
	vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
	vm_flags_set(vma, VM_DONTEXPAND);
	vma->vm_ops = &parkclock_vm_ops;
	parkclock_clock_use(f->clock);
	return 0;
}

void parkclock_file_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct parkclock_file *f = file->private_data;

	parkclock_clock_show(f->clock, m);
}

/**
 * parkclock_file_ioctl_read() - PARKCLOCK_IOC_READ
 * @f:   the open file
 * @arg: the argument
 *
 * Context: may sleep.
 * Return: 0 or an error number.
 */
long parkclock_file_ioctl_read(struct parkclock_file *f, struct parkclock_read __user *arg)
{
	struct parkclock_read in;
	struct parkclock_reading out;
	int err;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if (in.flags || memchr_inv(in.reserved, 0, sizeof(in.reserved)) ||
	    (parkclock_index(in.clock_id) < 0 && in.clock_id != PARKCLOCK_CPUTIME_ID))
		return -EINVAL;
	/*
	 * Do not wake the updater if the result cannot be returned. What was there is
	 * written, so that a call that fails below changes nothing.
	 */
	if (copy_to_user(&arg->reading, &in.reading, sizeof(in.reading)))
		return -EFAULT;
	if (parkclock_page_stopped(&f->clock->page))
		return -ENODATA;
	parkclock_clock_use(f->clock);
	if (in.clock_id == PARKCLOCK_CPUTIME_ID)
		err = parkclock_clock_cpu_read(f->clock, &out);
	else
		err = parkclock_updater_read(f->clock->page.map, in.clock_id, &out);
	if (err)
		return err;
	return copy_to_user(&arg->reading, &out, sizeof(out)) ? -EFAULT : 0;
}

/**
 * parkclock_file_ioctl_timer() - PARKCLOCK_IOC_TIMER
 * @f:   the open file
 * @arg: the argument
 *
 * Context: may sleep.
 * Return: the timer's descriptor, or an error number.
 */
long parkclock_file_ioctl_timer(struct parkclock_file *f, struct parkclock_timer __user *arg)
{
	if (!(f->rights & PARKCLOCK_VIEW_TIMERS))
		return -EPERM;
	return parkclock_timer_open(f->clock, arg);
}

static long view_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case PARKCLOCK_IOC_READ:
		return parkclock_file_ioctl_read(file->private_data, (void __user *)arg);
	case PARKCLOCK_IOC_TIMER:
		return parkclock_file_ioctl_timer(file->private_data, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

/* A mapping holds the file, so this runs after the last munmap(). */
static int view_release(struct inode *inode, struct file *file)
{
	struct parkclock_file *f = file->private_data;

	if (f->rights & PARKCLOCK_VIEW_KEEP)
		parkclock_clock_let_go(f->clock);
	parkclock_account_uncharge(f->clock->account, PARKCLOCK_LIMIT_VIEWS, 1);
	parkclock_clock_put(f->clock);
	kfree(f);
	return 0;
}

static const struct file_operations view_fops = {
	.owner = THIS_MODULE,
	.release = view_release,
	.read = parkclock_file_read,
	.poll = parkclock_file_poll,
	.mmap = parkclock_file_mmap,
	.unlocked_ioctl = view_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = parkclock_file_show_fdinfo,
};

/**
 * parkclock_view_create() - create a view: another descriptor, for looking only
 * @clock:  the clock; it is not fresh any more
 * @rights: what else it may: PARKCLOCK_VIEW_*
 *
 * Context: may sleep.
 * Return: the descriptor, or an error number.
 */
int parkclock_view_create(struct parkclock *clock, unsigned long rights)
{
	struct parkclock_file *f;
	struct file *file;
	int fd, err;

	if (rights & ~(unsigned long)(PARKCLOCK_VIEW_TIMERS | PARKCLOCK_VIEW_KEEP))
		return -EINVAL;
	err = parkclock_account_charge(clock->account, PARKCLOCK_LIMIT_VIEWS, 1, true);
	if (err)
		return err;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		err = fd;
		goto err_charge;
	}
	f = parkclock_file_create(clock, rights);
	file = f ? anon_inode_getfile("[parkclock-view]", &view_fops, f, O_RDONLY) :
		   ERR_PTR(-ENOMEM);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		kfree(f);
		goto err_fd;
	}
	kref_get(&clock->users);
	if (rights & PARKCLOCK_VIEW_KEEP)
		parkclock_clock_keep(clock);
	parkclock_clock_use(clock);
	fd_install(fd, file);
	return fd;

err_fd:
	put_unused_fd(fd);
err_charge:
	parkclock_account_uncharge(clock->account, PARKCLOCK_LIMIT_VIEWS, 1);
	return err;
}
