/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What every open file of a clock can do, the owner's and a view's.
 */
#ifndef PARKCLOCK_FILE_H
#define PARKCLOCK_FILE_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/parkclock.h>
#include <linux/poll.h>

struct parkclock;
struct seq_file;

/**
 * struct parkclock_file - private data of an open file
 * @clock: the clock, which outlives the file
 * @seen:  the generation that was acknowledged last through this file
 * @rights: PARKCLOCK_VIEW_*
 */
struct parkclock_file {
	struct parkclock *clock;
	atomic64_t seen;
	unsigned int rights;
};

struct parkclock_file *parkclock_file_create(struct parkclock *clock, unsigned int rights);

ssize_t parkclock_file_read(struct file *file, char __user *buf, size_t size, loff_t *pos);
__poll_t parkclock_file_poll(struct file *file, poll_table *wait);
int parkclock_file_mmap(struct file *file, struct vm_area_struct *vma);
void parkclock_file_show_fdinfo(struct seq_file *m, struct file *file);
long parkclock_file_ioctl_read(struct parkclock_file *f, struct parkclock_read __user *arg);

long parkclock_file_ioctl_timer(struct parkclock_file *f, struct parkclock_timer __user *arg);

int parkclock_view_create(struct parkclock *clock, unsigned long rights);

#endif
