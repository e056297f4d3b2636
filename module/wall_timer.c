// SPDX-License-Identifier: GPL-2.0
/*
 * Timers by the wall: on MONOTONIC, REALTIME, BOOTTIME and TAI of a clock.
 *
 * A timer that waits has an hrtimer on the host's clock of the same id, which the kernel keeps
 * right when the host's clock is stepped, or the host has slept. The hrtimer is only a hint: a
 * reading of this clock can be behind the host's clock, by as much as its bound. So the
 * callback reads this clock, without waking the updater, and waits for the rest if the time has
 * not come. What it has read, no later reading is below (parkclock_page_look()).
 *
 * Whoever changes the clock (timeline.c) changes the page first, and then walks along the
 * clock's timers. Whoever has a timer's lock looks at the page under it. So the work of a
 * setting, a read or a callback that comes before the walk is found by the walk, whichever page
 * it was done by; one that comes after it finds the new page.
 *
 *	STOP	A callback that finds the clock stopped does nothing. The walk counts what was
 *		due at the instant at which the clock stopped.
 *	START	The walk counts what is due, and arms the rest by the new offsets.
 *	OFFSETS	As START. Whoever looks at the page sees, together with the time, by how much
 *		the owner has set the clock so far. A relative timer counts without that.
 *
 * The callback runs in an interrupt, on PREEMPT_RT in a softirq, where it may wake those who
 * wait. That is done without the timer's lock.
 */
#include <linux/bug.h>
#include <linux/container_of.h>
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "host.h"
#include "page.h"
#include "timebase.h"
#include "wall_timer.h"
#include "workers.h"

static u64 generation(const struct parkclock_wall_timer *t)
{
	return parkclock_host_generation() + READ_ONCE(t->timers->page->map->generation);
}

/* A relative timer of a clock that may be stepped counts by the one that is not. */
static int counts_by(int clock_id, u32 flags)
{
	if (flags & PARKCLOCK_TIMER_ABSOLUTE || clock_id == CLOCK_BOOTTIME)
		return clock_id;
	return CLOCK_MONOTONIC;
}

/* What a stopped clock reads: the time at which it was stopped. */
static void look_stopped(const struct parkclock_wall_timers *timers, int clock_id,
			 struct parkclock_look *look)
{
	const int index = parkclock_index(clock_id);

	lockdep_assert_held(timers->lock);

	look->offset_ns = timers->page->map->offset_ns[index];
	look->moved_ns = timers->page->moved_ns[index];
	look->ns = timers->stopped->ns[index] + look->offset_ns;
}

/* By how much the owner has set the clock, without the timer's setting counting it */
static s64 moved(const struct parkclock_wall_timer *t, const struct parkclock_look *look)
{
	return t->setting.flags & PARKCLOCK_TIMER_ABSOLUTE ? 0 : look->moved_ns;
}

/* The time as the timer's setting counts it */
static s64 counted(const struct parkclock_wall_timer *t, const struct parkclock_look *look)
{
	return look->ns - moved(t, look);
}

/* Count what is due, and wait for the rest. Returns true if somebody is to be woken. */
static bool settle(struct parkclock_wall_timer *t, const struct parkclock_look *look)
{
	bool wake;
	s64 host;

	lockdep_assert_held(&t->lock);

	wake = parkclock_setting_reach(&t->setting, counted(t, look));
	if (t->setting.state == PARKCLOCK_TIMER_WAITING) {
		host = parkclock_setting_sum(t->setting.expiry, moved(t, look) - look->offset_ns);
		hrtimer_start_range_ns(&t->hrtimer, ns_to_ktime(host), t->setting.slack,
				       HRTIMER_MODE_ABS);
	}
	return wake;
}

static enum hrtimer_restart parkclock_wall_timer_expire(struct hrtimer *hrtimer)
{
	struct parkclock_wall_timer *t = container_of(hrtimer, struct parkclock_wall_timer,
						      hrtimer);
	struct parkclock_look look;
	unsigned long flags;
	bool wake = false;
	s64 left;

	raw_spin_lock_irqsave(&t->lock, flags);
	/* If the hrtimer is queued, a read came first: the timer waits for what comes next. */
	if (t->setting.state == PARKCLOCK_TIMER_WAITING && !hrtimer_is_queued(hrtimer) &&
	    !parkclock_page_look(t->timers->page, t->by, &look)) {
		wake = parkclock_setting_reach(&t->setting, counted(t, &look));
		/* This clock is not there yet: wait for the rest. */
		left = parkclock_setting_left(&t->setting, counted(t, &look)) + look.behind_ns;
		if (!wake)
			hrtimer_start(hrtimer, ns_to_ktime(left), HRTIMER_MODE_REL);
	}
	raw_spin_unlock_irqrestore(&t->lock, flags);
	if (wake)
		wake_up_interruptible(&t->wait);
	return HRTIMER_NORESTART;
}

/* Lock a timer whose hrtimer is then not armed, and whose callback does not run. */
static unsigned long lock_idle(struct parkclock_wall_timer *t)
	__acquires(&t->lock)
{
	unsigned long flags;

	for (;;) {
		raw_spin_lock_irqsave(&t->lock, flags);
		if (hrtimer_try_to_cancel(&t->hrtimer) >= 0)
			return flags;
		raw_spin_unlock_irqrestore(&t->lock, flags);
		/*
		 * Not under the lock, for which the callback may wait. And not by hrtimer_cancel():
		 * without the lock, another setting may set up the hrtimer anew meanwhile (end()),
		 * which clears it first.
		 */
		parkclock_let_callback_run();
	}
}

/**
 * struct change - a change of a timer's setting
 * @flags:   of the timer's lock, which is held
 * @held:    the clock's lock is held, too
 * @stopped: the clock is stopped; then its lock is held
 * @old:     the clock by which the timer counts
 * @new:     the clock by which the timer will count
 */
struct change {
	unsigned long flags;
	bool held;
	bool stopped;
	struct parkclock_look old;
	struct parkclock_look new;
};

/* Lock a timer, disarm it, and count what has expired. It will count by @by. */
static void begin(struct parkclock_wall_timer *t, struct change *c, int by)
	__acquires(&t->lock)
{
	const struct parkclock_wall_timers *timers = t->timers;

	c->held = false;
	for (;;) {
		c->flags = lock_idle(t);
		c->stopped = parkclock_page_look(timers->page, t->by, &c->old);
		c->new = c->old;
		if (!c->stopped && by != t->by)
			c->stopped = parkclock_page_look(timers->page, by, &c->new);
		if (!c->stopped || c->held)
			break;
		raw_spin_unlock_irqrestore(&t->lock, c->flags);
		/* What a stopped clock reads is protected by this, and it stays stopped. */
		mutex_lock(timers->lock);
		c->held = true;
	}
	if (c->stopped) {
		look_stopped(timers, t->by, &c->old);
		look_stopped(timers, by, &c->new);
	}
	if (!c->stopped)
		parkclock_setting_reach(&t->setting, counted(t, &c->old));
}

/* The timer has its new setting: arm it, unlock it, and wake those for whom there is something. */
static void end(struct parkclock_wall_timer *t, const struct change *c, int by)
	__releases(&t->lock)
{
	bool wake;

	if (t->by != by) {
		t->by = by;
		hrtimer_setup(&t->hrtimer, parkclock_wall_timer_expire, by, HRTIMER_MODE_ABS);
	}
	/* If the clock was stopped since, whoever does that waits for this lock. */
	if (!c->stopped)
		settle(t, &c->new);
	/* Also for the discontinuity of a setting that was restored. */
	wake = parkclock_setting_pending(&t->setting, generation(t));
	raw_spin_unlock_irqrestore(&t->lock, c->flags);
	if (c->held)
		mutex_unlock(t->timers->lock);
	if (wake)
		wake_up_interruptible(&t->wait);
}

/*
 * The timers of all clocks that were ever set with PARKCLOCK_TIMER_CANCEL, and that a jump of the
 * host's clock may cancel. Anybody can have many of them. So among those who wait for a jump
 * there is one entry for all, and a worker goes along the list, a few at a time.
 */
static LIST_HEAD(listeners);

/* Protects the list. A timer is on it until it is destroyed, so whoever has it found is there. */
static DEFINE_SPINLOCK(listeners_lock);

/* How many are looked at before others may have the lock and the CPU. */
#define LISTENERS_AT_ONCE	64

static void wake_listeners(struct work_struct *work)
{
	struct parkclock_wall_timer *t;
	struct list_head here;
	int n = 0;

	spin_lock(&listeners_lock);
	/* A mark. Those who come meanwhile are added before it, and know of the jump. */
	list_add(&here, &listeners);
	while (here.next != &listeners) {
		t = list_entry(here.next, struct parkclock_wall_timer, listener);
		list_move(&here, &t->listener);
		if (parkclock_wall_timer_pending(t))
			wake_up_interruptible(&t->wait);
		if (++n % LISTENERS_AT_ONCE)
			continue;
		spin_unlock(&listeners_lock);
		cond_resched();
		spin_lock(&listeners_lock);
	}
	list_del(&here);
	spin_unlock(&listeners_lock);
}

static DECLARE_WORK(listeners_work, wake_listeners);

/* The host's clock has jumped: among those who wait for that, with interrupts off. */
static int jumped(struct wait_queue_entry *entry, unsigned int mode, int sync, void *key)
{
	queue_work(parkclock_workers, &listeners_work);
	return 0;
}

static struct wait_queue_entry jumps;

/*
 * On the list, then the caller looks at the generation; a jump changes that, then takes the lock
 * to go along the list. So one of the two sees the other.
 */
static void listen(struct parkclock_wall_timer *t)
{
	spin_lock(&listeners_lock);
	if (list_empty(&t->listener))
		list_add(&t->listener, &listeners);
	spin_unlock(&listeners_lock);
}

/**
 * parkclock_wall_timer_set() - set a timer
 * @t:	the timer
 * @to: the setting, valid; filled in with what is returned
 *
 * Context: may sleep.
 */
void parkclock_wall_timer_set(struct parkclock_wall_timer *t, struct parkclock_timer_set *to)
{
	const int by = counts_by(t->clock_id, to->flags);
	struct change c;

	if (to->flags & PARKCLOCK_TIMER_CANCEL)
		listen(t);
	begin(t, &c, by);
	to->old_left_ns = parkclock_setting_left(&t->setting, counted(t, &c.old));
	/* The value of an absolute setting needs no time. */
	parkclock_setting_replace(&t->setting, to, c.new.ns - c.new.moved_ns, generation(t));
	end(t, &c, by);
}

/**
 * parkclock_wall_timer_restore() - set a timer to go on
 * @t:	  the timer
 * @from: the state, valid
 *
 * Context: may sleep.
 * Return: number of the setting.
 */
u64 parkclock_wall_timer_restore(struct parkclock_wall_timer *t,
				 const struct parkclock_timer_state *from)
{
	const int by = counts_by(t->clock_id, from->flags);
	s64 expiry = from->expiry_ns;
	struct change c;
	u64 number;

	if (from->flags & PARKCLOCK_TIMER_CANCEL)
		listen(t);
	begin(t, &c, by);
	if (expiry && !(from->flags & PARKCLOCK_TIMER_ABSOLUTE))
		expiry = parkclock_setting_sum(expiry, -c.new.moved_ns) ?: 1;
	parkclock_setting_restore(&t->setting, from, expiry);
	number = t->setting.number;
	end(t, &c, by);
	return number;
}

/**
 * parkclock_wall_timer_get() - tell what a timer is set to
 * @t:	 the timer
 * @out: zeroed; filled in but for the clock id
 *
 * Context: may sleep.
 */
void parkclock_wall_timer_get(struct parkclock_wall_timer *t, struct parkclock_timer_state *out)
{
	struct parkclock_look look;
	unsigned long flags;
	bool held = false;
	int err;

	for (;;) {
		raw_spin_lock_irqsave(&t->lock, flags);
		err = parkclock_page_look(t->timers->page, t->by, &look);
		if (!err || held)
			break;
		raw_spin_unlock_irqrestore(&t->lock, flags);
		mutex_lock(t->timers->lock);
		held = true;
	}
	if (err)
		look_stopped(t->timers, t->by, &look);
	/* What is due, but for which nobody was woken, the callback will count. */
	else if (t->setting.state == PARKCLOCK_TIMER_EXPIRED)
		parkclock_setting_reach(&t->setting, counted(t, &look));
	parkclock_setting_get(&t->setting, counted(t, &look), out);
	if (out->expiry_ns)
		out->expiry_ns = parkclock_setting_sum(out->expiry_ns, moved(t, &look));
	raw_spin_unlock_irqrestore(&t->lock, flags);
	if (held)
		mutex_unlock(t->timers->lock);
}

/**
 * parkclock_wall_timer_take() - read what has expired
 * @t:	 the timer
 * @out: filled in
 *
 * Context: any but NMI.
 * Return: 1; 0 if nothing has expired; or -ECANCELED.
 */
int parkclock_wall_timer_take(struct parkclock_wall_timer *t, struct parkclock_expired *out)
{
	struct parkclock_look look;
	unsigned long flags;
	bool expired;
	int ret;

	raw_spin_lock_irqsave(&t->lock, flags);
	/* Of a timer that waits nothing has expired. While the clock is stopped nothing counts. */
	expired = t->setting.state == PARKCLOCK_TIMER_EXPIRED &&
		  !parkclock_page_look(t->timers->page, t->by, &look);
	if (expired)
		parkclock_setting_reach(&t->setting, counted(t, &look));
	ret = parkclock_setting_take(&t->setting, generation(t), out);
	if (ret > 0 && expired)
		settle(t, &look);
	raw_spin_unlock_irqrestore(&t->lock, flags);
	return ret;
}

/**
 * parkclock_wall_timer_pending() - would a read find something?
 * @t: the timer
 *
 * Context: any but NMI.
 */
bool parkclock_wall_timer_pending(struct parkclock_wall_timer *t)
{
	unsigned long flags;
	bool pending;

	raw_spin_lock_irqsave(&t->lock, flags);
	pending = parkclock_setting_pending(&t->setting, generation(t));
	raw_spin_unlock_irqrestore(&t->lock, flags);
	return pending;
}

/**
 * parkclock_wall_timer_create() - make a timer
 * @t:	      zeroed
 * @timers:   the timers of its clock
 * @clock_id: one that parkclock_index() knows
 *
 * Context: may sleep.
 */
void parkclock_wall_timer_create(struct parkclock_wall_timer *t,
				 struct parkclock_wall_timers *timers, int clock_id)
{
	t->timers = timers;
	init_waitqueue_head(&t->wait);
	raw_spin_lock_init(&t->lock);
	t->clock_id = clock_id;
	t->by = clock_id;
	INIT_LIST_HEAD(&t->listener);
	hrtimer_setup(&t->hrtimer, parkclock_wall_timer_expire, clock_id, HRTIMER_MODE_ABS);
	mutex_lock(timers->lock);
	list_add_tail(&t->link, &timers->list);
	mutex_unlock(timers->lock);
}

/**
 * parkclock_wall_timer_destroy() - unmake a timer
 * @t: the timer; nobody uses it any more
 *
 * Context: may sleep.
 */
void parkclock_wall_timer_destroy(struct parkclock_wall_timer *t)
{
	mutex_lock(t->timers->lock);
	list_del(&t->link);
	mutex_unlock(t->timers->lock);
	/* When this has the lock nobody has found it there, and wakes. */
	spin_lock(&listeners_lock);
	list_del(&t->listener);
	spin_unlock(&listeners_lock);
	hrtimer_cancel(&t->hrtimer);
}

/* The clock has changed. @due: what was due at the instant at which it stopped has expired. */
static void walk(struct parkclock_wall_timers *timers, bool due)
{
	struct parkclock_wall_timer *t;
	struct parkclock_look look;
	unsigned long flags;
	bool wake;

	lockdep_assert_held(timers->lock);

	list_for_each_entry(t, &timers->list, link) {
		flags = lock_idle(t);
		if (!parkclock_page_look(timers->page, t->by, &look)) {
			settle(t, &look);
		} else if (due) {
			look_stopped(timers, t->by, &look);
			parkclock_setting_reach(&t->setting, counted(t, &look));
		}
		wake = parkclock_setting_pending(&t->setting, generation(t));
		raw_spin_unlock_irqrestore(&t->lock, flags);
		if (wake)
			wake_up_interruptible(&t->wait);
		cond_resched();
	}
}

/**
 * parkclock_wall_timers_stop() - the clock was stopped, and it is known when
 * @timers: the timers
 *
 * When this returns, none of them expires.
 *
 * Context: may sleep; the clock's lock held since before it was stopped.
 */
void parkclock_wall_timers_stop(struct parkclock_wall_timers *timers)
{
	walk(timers, true);
}

/**
 * parkclock_wall_timers_follow() - the clock was started, or its offsets were changed
 * @timers: the timers
 *
 * When this returns, what is due has expired, unless the clock is stopped.
 *
 * Context: may sleep; the clock's lock held since before the change.
 */
void parkclock_wall_timers_follow(struct parkclock_wall_timers *timers)
{
	walk(timers, false);
}

/**
 * parkclock_wall_timers_hang_up() - the clock's owner has gone
 * @timers: the timers
 *
 * Context: may sleep.
 */
void parkclock_wall_timers_hang_up(struct parkclock_wall_timers *timers)
{
	struct parkclock_wall_timer *t;

	mutex_lock(timers->lock);
	if (parkclock_page_stopped(timers->page)) {
		WRITE_ONCE(timers->hung_up, true);
		list_for_each_entry(t, &timers->list, link) {
			wake_up_interruptible_all(&t->wait);
			cond_resched();
		}
	}
	mutex_unlock(timers->lock);
}

/**
 * parkclock_wall_timers_create() - initialise the timers of a clock
 * @timers:  zeroed
 * @lock:    see struct parkclock_wall_timers
 * @page:    see there
 * @stopped: see there
 *
 * Context: any.
 */
void parkclock_wall_timers_create(struct parkclock_wall_timers *timers, struct mutex *lock,
				  const struct parkclock_page *page,
				  const struct parkclock_now *stopped)
{
	timers->lock = lock;
	timers->page = page;
	timers->stopped = stopped;
	INIT_LIST_HEAD(&timers->list);
}

/**
 * parkclock_wall_timers_init() - prepare for timers
 *
 * Context: may sleep. The updater is there.
 */
void parkclock_wall_timers_init(void)
{
	init_waitqueue_func_entry(&jumps, jumped);
	add_wait_queue(&parkclock_host_jumped, &jumps);
}

/**
 * parkclock_wall_timers_exit() - take back parkclock_wall_timers_init()
 *
 * Context: may sleep. No timer is left; the workers are, and finish what is queued.
 */
void parkclock_wall_timers_exit(void)
{
	remove_wait_queue(&parkclock_host_jumped, &jumps);
}
