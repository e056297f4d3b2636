// SPDX-License-Identifier: GPL-2.0
/*
 * The descriptor of a timer: made by PARKCLOCK_IOC_TIMER, and used as that of timerfd is.
 * wall_timer.c and cpu_timer.c say when it expires.
 */
#include <linux/anon_inodes.h>
#include <linux/bug.h>
#include <linux/compat.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <asm/msr.h>

#include "account.h"
#include "clock.h"
#include "cpu_timer.h"
#include "timer.h"
#include "updater.h"
#include "wall_timer.h"

/**
 * struct timer - private data of a timer's open file
 * @clock:   the clock, which outlives the timer
 * @account: of who made it, with a view perhaps, and pays for it
 * @is_cpu:  it is @cpu, else @wall
 * @wall:    a timer by the wall
 * @cpu:     a CPU timer
 */
struct timer {
	struct parkclock *clock;
	struct parkclock_account *account;
	bool is_cpu;
	union {
		struct parkclock_wall_timer wall;
		struct parkclock_cpu_timer cpu;
	};
};

static wait_queue_head_t *queue_of(struct timer *t)
{
	return t->is_cpu ? &t->cpu.wait : &t->wall.wait;
}

static int id_of(const struct timer *t)
{
	return t->is_cpu ? PARKCLOCK_CPUTIME_ID : t->wall.clock_id;
}

static int take(struct timer *t, struct parkclock_expired *out)
{
	return t->is_cpu ? parkclock_cpu_timer_take(&t->cpu, out) :
			   parkclock_wall_timer_take(&t->wall, out);
}

static bool pending(struct timer *t)
{
	return t->is_cpu ? parkclock_cpu_timer_pending(&t->cpu) :
			   parkclock_wall_timer_pending(&t->wall);
}

/* Will it never expire? */
static bool hung_up(struct timer *t)
{
	return READ_ONCE(t->clock->timers.hung_up) || (t->is_cpu && READ_ONCE(t->cpu.cpu->hung_up));
}

/* Returns what take() does; *@ended: nothing will come after that. In this order. */
static int take_or_end(struct timer *t, struct parkclock_expired *out, bool *ended)
{
	*ended = hung_up(t);
	/* Pairs with the timer's lock, under which what expired before the end was counted. */
	smp_rmb();
	return take(t, out);
}

static ssize_t timer_read(struct file *file, char __user *buf, size_t size, loff_t *pos)
{
	struct timer *t = file->private_data;
	struct parkclock_expired out;
	int ret, err;
	bool ended;

	if (size < sizeof(out.expirations))
		return -EINVAL;
	size = size < sizeof(out) ? sizeof(out.expirations) : sizeof(out);
	/* So nothing is lost because the result cannot be returned. A read that fails clears it. */
	if (clear_user(buf, size))
		return -EFAULT;
	ret = take_or_end(t, &out, &ended);
	if (!ret && !ended) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(*queue_of(t),
					       (ret = take_or_end(t, &out, &ended)) || ended);
		if (err)
			return err;
	}
	if (ret <= 0)
		return ret;
	/* Whoever reads the page next finds it valid: the timer held no reference. */
	parkclock_updater_get(rdtsc());
	parkclock_updater_put();
	return copy_to_user(buf, &out, size) ? -EFAULT : size;
}

static __poll_t timer_poll(struct file *file, poll_table *wait)
{
	struct timer *t = file->private_data;
	__poll_t events = 0;

	poll_wait(file, queue_of(t), wait);
	if (hung_up(t))
		events |= EPOLLHUP;
	if (pending(t))
		events |= EPOLLIN | EPOLLRDNORM;
	return events;
}

/* Are these the numbers and flags of a setting? */
static bool valid(const struct timer *t, u32 flags, s64 value, s64 interval, s64 slack)
{
	const u32 known = PARKCLOCK_TIMER_ABSOLUTE | (t->is_cpu ? 0 : PARKCLOCK_TIMER_CANCEL);

	return !(flags & ~known) && value >= 0 && interval >= 0 && slack >= 0;
}

static long timer_set(struct timer *t, struct parkclock_timer_set __user *arg)
{
	struct parkclock_timer_set to;

	if (copy_from_user(&to, arg, sizeof(to)))
		return -EFAULT;
	if (to.reserved0 || memchr_inv(to.reserved, 0, sizeof(to.reserved)) ||
	    !valid(t, to.flags, to.value_ns, to.interval_ns, to.slack_ns))
		return -EINVAL;
	/* Nothing is set if the result cannot be returned. */
	if (copy_to_user(arg, &to, sizeof(to)))
		return -EFAULT;
	if (t->is_cpu)
		parkclock_cpu_timer_set(&t->cpu, &to);
	else
		parkclock_wall_timer_set(&t->wall, &to);
	return copy_to_user(arg, &to, sizeof(to)) ? -EFAULT : 0;
}

static void get(struct timer *t, struct parkclock_timer_state *out)
{
	out->clock_id = id_of(t);
	if (t->is_cpu)
		parkclock_cpu_timer_get(&t->cpu, out);
	else
		parkclock_wall_timer_get(&t->wall, out);
}

static long timer_get(struct timer *t, struct parkclock_timer_state __user *arg)
{
	struct parkclock_timer_state out = {};

	get(t, &out);
	return copy_to_user(arg, &out, sizeof(out)) ? -EFAULT : 0;
}

static long timer_restore(struct timer *t, struct parkclock_timer_state __user *arg)
{
	struct parkclock_timer_state from;

	if (copy_from_user(&from, arg, sizeof(from)))
		return -EFAULT;
	if (from.clock_id != id_of(t) || memchr_inv(from.reserved, 0, sizeof(from.reserved)) ||
	    from.left_ns < 0 ||
	    !valid(t, from.flags, from.expiry_ns, from.interval_ns, from.slack_ns))
		return -EINVAL;
	if (copy_to_user(arg, &from, sizeof(from)))
		return -EFAULT;
	from.number = t->is_cpu ? parkclock_cpu_timer_restore(&t->cpu, &from) :
				  parkclock_wall_timer_restore(&t->wall, &from);
	return copy_to_user(arg, &from, sizeof(from)) ? -EFAULT : 0;
}

static long timer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct timer *t = file->private_data;

	switch (cmd) {
	case PARKCLOCK_IOC_TIMER_SET:
		return timer_set(t, (void __user *)arg);
	case PARKCLOCK_IOC_TIMER_GET:
		return timer_get(t, (void __user *)arg);
	case PARKCLOCK_IOC_TIMER_RESTORE:
		return timer_restore(t, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static void timer_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct timer *t = file->private_data;
	struct parkclock_timer_state s = {};

	get(t, &s);
	seq_printf(m, "parkclock:\t%llu\n", t->clock->id);
	seq_printf(m, "clock_id:\t%d\n", s.clock_id);
	seq_printf(m, "setting:\t%llu\n", s.number);
	seq_printf(m, "setting_flags:\t%#x\n", s.flags);
	seq_printf(m, "left_ns:\t%lld\n", s.left_ns);
	seq_printf(m, "interval_ns:\t%lld\n", s.interval_ns);
	seq_printf(m, "expirations:\t%llu\n", s.expirations);
}

static void destroy(struct timer *t)
{
	if (t->is_cpu)
		parkclock_cpu_timer_destroy(&t->cpu);
	else
		parkclock_wall_timer_destroy(&t->wall);
	parkclock_account_uncharge(t->account, PARKCLOCK_LIMIT_TIMERS, 1);
	parkclock_account_put(t->account);
	parkclock_clock_put(t->clock);
	kfree(t);
}

static int timer_release(struct inode *inode, struct file *file)
{
	destroy(file->private_data);
	return 0;
}

static const struct file_operations timer_fops = {
	.owner = THIS_MODULE,
	.release = timer_release,
	.read = timer_read,
	.poll = timer_poll,
	.unlocked_ioctl = timer_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.show_fdinfo = timer_show_fdinfo,
};

/* Make a timer; its account is charged, and both become the timer's. */
static struct timer *create(struct parkclock *clock, struct parkclock_account *account, int id)
{
	struct timer *t = kzalloc(sizeof(*t), GFP_KERNEL_ACCOUNT);
	struct parkclock_cpu *cpu;

	/* What the documents say; debugging makes locks larger. */
	BUILD_BUG_ON(!IS_ENABLED(CONFIG_DEBUG_SPINLOCK) && !IS_ENABLED(CONFIG_DEBUG_LOCK_ALLOC) &&
		     sizeof(*t) > 256);
	if (!t)
		return NULL;
	t->clock = clock;
	t->account = account;
	t->is_cpu = id == PARKCLOCK_CPUTIME_ID;
	if (t->is_cpu) {
		cpu = parkclock_clock_cpu(clock);
		if (!cpu) {
			kfree(t);
			return NULL;
		}
		parkclock_cpu_timer_create(&t->cpu, cpu);
	} else {
		parkclock_wall_timer_create(&t->wall, &clock->timers, id);
	}
	kref_get(&clock->users);
	return t;
}

/**
 * parkclock_timer_open() - PARKCLOCK_IOC_TIMER
 * @clock: the clock; it is not fresh any more
 * @arg:   the argument
 *
 * Context: may sleep.
 * Return: the descriptor, or an error number.
 */
int parkclock_timer_open(struct parkclock *clock, const struct parkclock_timer __user *arg)
{
	struct parkclock_account *account;
	struct parkclock_timer in;
	struct timer *t;
	struct file *file;
	int fd, err;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	if ((parkclock_index(in.clock_id) < 0 && in.clock_id != PARKCLOCK_CPUTIME_ID) ||
	    in.flags & ~PARKCLOCK_TIMER_NONBLOCK ||
	    memchr_inv(in.reserved, 0, sizeof(in.reserved)))
		return -EINVAL;
	account = parkclock_account_open();
	if (!account)
		return -ENOMEM;
	err = parkclock_account_charge(account, PARKCLOCK_LIMIT_TIMERS, 1, true);
	if (err)
		goto err_account;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		err = fd;
		goto err_charge;
	}
	t = create(clock, account, in.clock_id);
	if (!t) {
		err = -ENOMEM;
		goto err_fd;
	}
	file = anon_inode_getfile("[parkclock-timer]", &timer_fops, t, O_RDONLY |
				  (in.flags & PARKCLOCK_TIMER_NONBLOCK ? O_NONBLOCK : 0));
	if (IS_ERR(file)) {
		destroy(t);
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	parkclock_clock_use(clock);
	fd_install(fd, file);
	return fd;

err_fd:
	put_unused_fd(fd);
err_charge:
	parkclock_account_uncharge(account, PARKCLOCK_LIMIT_TIMERS, 1);
err_account:
	parkclock_account_put(account);
	return err;
}
