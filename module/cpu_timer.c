// SPDX-License-Identifier: GPL-2.0
/*
 * CPU timers: on the CPU time of a clock's registered tasks.
 *
 * A clock that has a CPU timer, or had one, adds up what its tasks run. While n of them run, the
 * sum at a counter value is a straight line,
 *
 *	done + n * counter - since,
 *
 * and each switch of a task (switch.c) changes n, done and since. The sum is what QUERY adds up
 * from the registrations, to the cycle. There is one hrtimer for all timers of the clock. It is
 * aimed at the instant at which the line will be at the first expiry, and aimed anew when n
 * changes; while n is 0 it is not armed. There is no other event: no tick, and no polling.
 *
 * The hrtimer goes by the host's clock, and the sum by the counter: if the sum is not there yet
 * when it fires, it is aimed again. So no timer expires early. A sum that a switch has brought to
 * an expiry fires it at once.
 *
 * Contexts. The switch, and the hrtimer on PREEMPT_RT, may take raw locks only, and may wake
 * nobody. So the hrtimer's callback takes those timers off the queue that have expired, and
 * another hrtimer, whose callback runs in a softirq, wakes those who wait. Both take
 * EXPIRE_AT_ONCE at a time, and let the CPU have other interrupts in between. It is no irq_work,
 * because nobody can wait for the end of that: irq_work_sync() may return while one CPU still
 * runs it, if another CPU has run it meanwhile; and on PREEMPT_RT it waits for a grace period.
 *
 * An hrtimer that is armed while its callback runs cannot be disarmed before that ends: a hard
 * irq_work, which a switch may queue, sees to that. The memory waits for its end.
 *
 * Where the host does not keep time by the counter, the counters of two CPUs may differ. Then a
 * run counts while it lasts only on its own CPU, on which the hrtimer is armed when the run
 * begins; if several tasks run at once, each counts when its run ends.
 */
#include <linux/container_of.h>
#include <linux/ktime.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/time64.h>
#include <asm/msr.h>

#include "compat.h"
#include "cpu_timer.h"
#include "host.h"
#include "timebase.h"

#define EXPIRE_AT_ONCE	64
#define EXPIRE_PAUSE_NS	(20 * NSEC_PER_USEC)
#define FAR_NS		(100 * NSEC_PER_MSEC)

/* Can a run be counted here while it lasts? */
static bool counts(const struct parkclock_cpu *cpu)
{
	return parkclock_host_usable() || (cpu->runners == 1 && cpu->cpus == smp_processor_id());
}

/* The CPU time in cycles, which never goes back. */
static s64 sum(struct parkclock_cpu *cpu)
{
	s64 cycles = cpu->done;

	lockdep_assert_held(&cpu->lock);

	if (counts(cpu))
		cycles += cpu->runners * rdtsc() - cpu->since;
	/* The counter of another CPU may be some cycles behind. */
	cpu->told = max(cpu->told, cycles);
	return cpu->told;
}

/* The CPU time in ns */
static s64 now(struct parkclock_cpu *cpu)
{
	return min_t(u64, parkclock_timebase_ns(sum(cpu)), S64_MAX);
}

/* Up to when it counts: what comes after a stop counts after the start. */
static s64 until(struct parkclock_cpu *cpu)
{
	return cpu->stopped ? cpu->until : now(cpu);
}

/* The first timer that waits, or NULL */
static struct parkclock_cpu_timer *first(struct parkclock_cpu *cpu)
{
	struct timerqueue_node *node = timerqueue_getnext(&cpu->queue);

	return node ? container_of(node, struct parkclock_cpu_timer, node) : NULL;
}

static void start(struct parkclock_cpu *cpu, u64 ns)
{
	hrtimer_start(&cpu->hrtimer, ns_to_ktime(ns), HRTIMER_MODE_REL_PINNED_HARD);
}

/* Arm the hrtimer for the first expiry, or disarm it. Never waits for its callback. */
static void aim(struct parkclock_cpu *cpu)
{
	const struct parkclock_cpu_timer *t = first(cpu);
	s64 left;
	u64 ns;

	lockdep_assert_held(&cpu->lock);

	cpu->astray = false;
	if (t && !cpu->stopped) {
		left = parkclock_timebase_cycles(t->setting.expiry) - sum(cpu);
		if (left <= 0) {
			start(cpu, 0);
			return;
		}
		if (cpu->runners && counts(cpu)) {
			/* Unsigned: a timer that never comes is as far away as can be. */
			ns = parkclock_timebase_host_ns(div_u64((u64)left + cpu->runners - 1,
								cpu->runners));
			/*
			 * NTP may change the host's rate meanwhile, by 500 ppm and more, and does
			 * not tell. So one that is far is aimed at again a little before.
			 */
			if (ns > FAR_NS)
				ns -= ns >> 9;
			start(cpu, ns);
			return;
		}
	}
	/*
	 * It is armed under the lock only. So if it is not queued there is nothing to do, which
	 * is what most switches find: the hrtimer's own lock is not taken for them. If the callback
	 * runs then it waits for the lock, and comes here, too.
	 */
	if (!hrtimer_is_queued(&cpu->hrtimer) || hrtimer_try_to_cancel(&cpu->hrtimer) >= 0)
		return;
	/*
	 * It was armed while its callback was coming or going, and cannot be disarmed before
	 * that is over. So an irq_work tries again.
	 */
	cpu->astray = true;
	irq_work_queue(&cpu->again);
}

static void aim_again(struct irq_work *work)
{
	struct parkclock_cpu *cpu = container_of(work, struct parkclock_cpu, again);
	unsigned long flags;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	if (cpu->astray)
		aim(cpu);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
}

/* Have those woken who wait for what has expired. Nothing is woken here, under the lock. */
static void wake_soon(struct parkclock_cpu *cpu)
{
	lockdep_assert_held(&cpu->lock);

	/* If its callback runs now, it may have seen the list empty: it is to run again. */
	if (!list_empty(&cpu->woken) && !hrtimer_is_queued(&cpu->waker))
		hrtimer_start(&cpu->waker, 0, HRTIMER_MODE_REL_SOFT);
}

/* Take those off the queue that have expired, up to so many. Returns false if there are more. */
static bool expire(struct parkclock_cpu *cpu)
{
	const s64 reached = until(cpu);
	struct parkclock_cpu_timer *t;
	int most = EXPIRE_AT_ONCE;

	lockdep_assert_held(&cpu->lock);

	for (t = first(cpu); t && t->setting.expiry <= reached; t = first(cpu)) {
		if (!most--)
			return false;
		timerqueue_del(&cpu->queue, &t->node);
		parkclock_setting_reach(&t->setting, reached);
		if (list_empty(&t->woken))
			list_add_tail(&t->woken, &cpu->woken);
	}
	return true;
}

static enum hrtimer_restart parkclock_cpu_timer_expire(struct hrtimer *hrtimer)
{
	struct parkclock_cpu *cpu = container_of(hrtimer, struct parkclock_cpu, hrtimer);
	unsigned long flags;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	/* If the hrtimer is queued it was aimed anew meanwhile. */
	if (!hrtimer_is_queued(hrtimer)) {
		if (expire(cpu))
			aim(cpu);
		else
			start(cpu, EXPIRE_PAUSE_NS);
		wake_soon(cpu);
	}
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
	return HRTIMER_NORESTART;
}

/* What is found here is not destroyed meanwhile: see parkclock_cpu_timer_destroy(). */
static enum hrtimer_restart parkclock_cpu_timer_wake(struct hrtimer *waker)
{
	struct parkclock_cpu *cpu = container_of(waker, struct parkclock_cpu, waker);
	struct parkclock_cpu_timer *t;
	unsigned long flags;
	int most;

	for (most = EXPIRE_AT_ONCE; most; most--) {
		raw_spin_lock_irqsave(&cpu->lock, flags);
		t = list_first_entry_or_null(&cpu->woken, struct parkclock_cpu_timer, woken);
		if (t)
			list_del_init(&t->woken);
		raw_spin_unlock_irqrestore(&cpu->lock, flags);
		if (!t)
			return HRTIMER_NORESTART;
		wake_up_interruptible(&t->wait);
	}
	raw_spin_lock_irqsave(&cpu->lock, flags);
	wake_soon(cpu);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
	return HRTIMER_NORESTART;
}

/**
 * parkclock_cpu_begin() - a task of the clock begins to run
 * @cpu:   the CPU time of the clock
 * @since: the counter when it began
 * @on:    the CPU on which it runs
 *
 * Context: any but NMI, also under a run-queue lock.
 */
void parkclock_cpu_begin(struct parkclock_cpu *cpu, u64 since, int on)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	cpu->runners++;
	cpu->since += since;
	cpu->cpus += on;
	aim(cpu);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
}

/**
 * parkclock_cpu_end() - a task of the clock stops running
 * @cpu:   the CPU time of the clock
 * @since: as parkclock_cpu_begin() had it
 * @on:    as parkclock_cpu_begin() had it
 * @ran:   for how many cycles the task has run
 *
 * Context: any but NMI, also under a run-queue lock.
 */
void parkclock_cpu_end(struct parkclock_cpu *cpu, u64 since, int on, u64 ran)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	cpu->runners--;
	cpu->since -= since;
	cpu->cpus -= on;
	cpu->done += ran;
	aim(cpu);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
}

/**
 * parkclock_cpu_ran() - add what tasks had run before
 * @cpu: the CPU time of the clock
 * @ran: in cycles
 *
 * Context: any but NMI.
 */
void parkclock_cpu_ran(struct parkclock_cpu *cpu, u64 ran)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	cpu->done += ran;
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
}

/**
 * parkclock_cpu_tell() - agree on a CPU time that somebody is told
 * @cpu:    the CPU time of the clock
 * @cycles: what the registrations add up to
 *
 * Context: any but NMI, and not under a run-queue lock.
 * Return: cycles: not less than by which a timer has expired.
 */
u64 parkclock_cpu_tell(struct parkclock_cpu *cpu, u64 cycles)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	cpu->told = max_t(s64, cpu->told, cycles);
	cycles = cpu->told;
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
	return cycles;
}

/**
 * parkclock_cpu_read() - read the CPU time of a clock
 * @cpu: the CPU time of the clock
 *
 * Context: any but NMI, and not under a run-queue lock.
 * Return: ns; no later reading is less, and no timer has expired by a later time.
 */
u64 parkclock_cpu_read(struct parkclock_cpu *cpu)
{
	unsigned long flags;
	u64 ns;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	ns = now(cpu);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
	return ns;
}

/**
 * parkclock_cpu_stop() - the clock was stopped, or started again
 * @cpu:     its CPU time
 * @stopped: what is due by now has expired when this returns, and then nothing expires; or
 *	     false: what was due meanwhile has expired
 *
 * Context: may sleep; the clock's lock held.
 */
void parkclock_cpu_stop(struct parkclock_cpu *cpu, bool stopped)
{
	unsigned long flags;
	bool done;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	cpu->until = now(cpu);
	cpu->stopped = stopped;
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
	do {
		raw_spin_lock_irqsave(&cpu->lock, flags);
		done = expire(cpu);
		aim(cpu);
		wake_soon(cpu);
		raw_spin_unlock_irqrestore(&cpu->lock, flags);
		cond_resched();
	} while (!done);
}

/**
 * parkclock_cpu_hang_up() - the clock's owner has gone
 * @cpu: its CPU time; no registration is left
 *
 * Context: may sleep.
 */
void parkclock_cpu_hang_up(struct parkclock_cpu *cpu)
{
	struct parkclock_cpu_timer *t;
	unsigned long flags;
	LIST_HEAD(todo);
	bool done;
	int i;

	/* What the last runs have brought comes first: a reader gets that, and then the end. */
	do {
		raw_spin_lock_irqsave(&cpu->lock, flags);
		done = expire(cpu);
		wake_soon(cpu);
		raw_spin_unlock_irqrestore(&cpu->lock, flags);
		cond_resched();
	} while (!done);
	raw_spin_lock_irqsave(&cpu->lock, flags);
	WRITE_ONCE(cpu->hung_up, true);
	list_splice_init(&cpu->list, &todo);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
	do {
		raw_spin_lock_irqsave(&cpu->lock, flags);
		for (i = 0; i < EXPIRE_AT_ONCE && !list_empty(&todo); i++) {
			t = list_first_entry(&todo, struct parkclock_cpu_timer, link);
			list_move_tail(&t->link, &cpu->list);
			if (list_empty(&t->woken))
				list_add_tail(&t->woken, &cpu->woken);
		}
		done = list_empty(&todo);
		wake_soon(cpu);
		raw_spin_unlock_irqrestore(&cpu->lock, flags);
		cond_resched();
	} while (!done);
}

/* A timer has its new setting: let it wait, or expire. */
static bool settle(struct parkclock_cpu_timer *t)
{
	struct parkclock_cpu *cpu = t->cpu;

	lockdep_assert_held(&cpu->lock);

	if (!cpu->stopped)
		parkclock_setting_reach(&t->setting, now(cpu));
	if (t->setting.state == PARKCLOCK_TIMER_WAITING) {
		t->node.expires = t->setting.expiry;
		timerqueue_add(&cpu->queue, &t->node);
	}
	aim(cpu);
	return t->setting.expirations;
}

/* Take the timer off the queue, and count what has expired. */
static void unsettle(struct parkclock_cpu_timer *t)
{
	lockdep_assert_held(&t->cpu->lock);

	if (t->setting.state == PARKCLOCK_TIMER_WAITING)
		timerqueue_del(&t->cpu->queue, &t->node);
	parkclock_setting_reach(&t->setting, until(t->cpu));
}

/**
 * parkclock_cpu_timer_set() - set a timer
 * @t:	the timer
 * @to: the setting, valid; filled in with what is returned
 *
 * Context: any but NMI, and not under a run-queue lock.
 */
void parkclock_cpu_timer_set(struct parkclock_cpu_timer *t, struct parkclock_timer_set *to)
{
	unsigned long flags;
	bool wake;

	raw_spin_lock_irqsave(&t->cpu->lock, flags);
	unsettle(t);
	to->old_left_ns = parkclock_setting_left(&t->setting, now(t->cpu));
	parkclock_setting_replace(&t->setting, to, now(t->cpu), 0);
	wake = settle(t);
	raw_spin_unlock_irqrestore(&t->cpu->lock, flags);
	if (wake)
		wake_up_interruptible(&t->wait);
}

/**
 * parkclock_cpu_timer_restore() - set a timer to go on
 * @t:	  the timer
 * @from: the state, valid
 *
 * Context: any but NMI, and not under a run-queue lock.
 * Return: number of the setting.
 */
u64 parkclock_cpu_timer_restore(struct parkclock_cpu_timer *t,
				const struct parkclock_timer_state *from)
{
	unsigned long flags;
	s64 expiry = 0;
	u64 number;
	bool wake;

	raw_spin_lock_irqsave(&t->cpu->lock, flags);
	unsettle(t);
	if (from->left_ns)
		expiry = parkclock_setting_sum(now(t->cpu), from->left_ns);
	parkclock_setting_restore(&t->setting, from, expiry);
	number = t->setting.number;
	wake = settle(t);
	raw_spin_unlock_irqrestore(&t->cpu->lock, flags);
	if (wake)
		wake_up_interruptible(&t->wait);
	return number;
}

/**
 * parkclock_cpu_timer_get() - tell what a timer is set to
 * @t:	 the timer
 * @out: zeroed; filled in but for the clock id
 *
 * Context: any but NMI, and not under a run-queue lock.
 */
void parkclock_cpu_timer_get(struct parkclock_cpu_timer *t, struct parkclock_timer_state *out)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&t->cpu->lock, flags);
	if (t->setting.state == PARKCLOCK_TIMER_EXPIRED)
		parkclock_setting_reach(&t->setting, until(t->cpu));
	parkclock_setting_get(&t->setting, now(t->cpu), out);
	raw_spin_unlock_irqrestore(&t->cpu->lock, flags);
}

/**
 * parkclock_cpu_timer_take() - read what has expired
 * @t:	 the timer
 * @out: filled in
 *
 * Context: as parkclock_cpu_timer_set().
 * Return: 1, or 0 if nothing has expired.
 */
int parkclock_cpu_timer_take(struct parkclock_cpu_timer *t, struct parkclock_expired *out)
{
	bool waited, wake = false;
	unsigned long flags;
	int ret;

	raw_spin_lock_irqsave(&t->cpu->lock, flags);
	waited = t->setting.state == PARKCLOCK_TIMER_WAITING;
	if (t->setting.state == PARKCLOCK_TIMER_EXPIRED)
		parkclock_setting_reach(&t->setting, until(t->cpu));
	ret = parkclock_setting_take(&t->setting, 0, out);
	if (!waited && t->setting.state == PARKCLOCK_TIMER_WAITING)
		wake = settle(t);
	raw_spin_unlock_irqrestore(&t->cpu->lock, flags);
	/* The time has gone on: the next expiration may have come meanwhile. */
	if (wake)
		wake_up_interruptible(&t->wait);
	return ret;
}

/**
 * parkclock_cpu_timer_pending() - would a read find something?
 * @t: the timer
 *
 * Context: any but NMI.
 */
bool parkclock_cpu_timer_pending(struct parkclock_cpu_timer *t)
{
	unsigned long flags;
	bool pending;

	raw_spin_lock_irqsave(&t->cpu->lock, flags);
	pending = parkclock_setting_pending(&t->setting, 0);
	raw_spin_unlock_irqrestore(&t->cpu->lock, flags);
	return pending;
}

/**
 * parkclock_cpu_timer_create() - make a timer
 * @t:	  zeroed
 * @cpu:  the CPU time of its clock
 *
 * Context: any.
 */
void parkclock_cpu_timer_create(struct parkclock_cpu_timer *t, struct parkclock_cpu *cpu)
{
	unsigned long flags;

	t->cpu = cpu;
	init_waitqueue_head(&t->wait);
	timerqueue_init(&t->node);
	INIT_LIST_HEAD(&t->woken);
	raw_spin_lock_irqsave(&cpu->lock, flags);
	list_add_tail(&t->link, &cpu->list);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
}

/* Does the callback that wakes not run? Then it has no timer in its hands that is off the lists. */
static bool nobody_wakes(struct parkclock_cpu *cpu)
{
	unsigned long flags;
	bool passed;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	passed = hrtimer_try_to_cancel(&cpu->waker) >= 0;
	wake_soon(cpu);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
	return passed;
}

/**
 * parkclock_cpu_timer_destroy() - unmake a timer
 * @t: the timer; nobody uses it any more
 *
 * Context: may sleep.
 */
void parkclock_cpu_timer_destroy(struct parkclock_cpu_timer *t)
{
	struct parkclock_cpu *cpu = t->cpu;
	unsigned long flags;

	raw_spin_lock_irqsave(&cpu->lock, flags);
	if (t->setting.state == PARKCLOCK_TIMER_WAITING)
		timerqueue_del(&cpu->queue, &t->node);
	list_del(&t->woken);
	list_del(&t->link);
	/* In one step: the caller may be preempted for as long as its cgroup likes. */
	aim(cpu);
	raw_spin_unlock_irqrestore(&cpu->lock, flags);
	while (!nobody_wakes(cpu))
		parkclock_let_callback_run();
	/* After the last timer nobody queues it any more. See parkclock_cpu_destroy(), too. */
	irq_work_sync(&cpu->again);
}

/**
 * parkclock_cpu_create() - begin to add up the CPU time of a clock
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: what adds it up, without any time; or NULL if there is no memory.
 */
struct parkclock_cpu *parkclock_cpu_create(void)
{
	struct parkclock_cpu *cpu = kzalloc(sizeof(*cpu), GFP_KERNEL_ACCOUNT);

	if (!cpu)
		return NULL;
	raw_spin_lock_init(&cpu->lock);
	timerqueue_init_head(&cpu->queue);
	INIT_LIST_HEAD(&cpu->woken);
	INIT_LIST_HEAD(&cpu->list);
	cpu->again = IRQ_WORK_INIT_HARD(aim_again);
	hrtimer_setup(&cpu->waker, parkclock_cpu_timer_wake, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_SOFT);
	hrtimer_setup(&cpu->hrtimer, parkclock_cpu_timer_expire, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_PINNED_HARD);
	return cpu;
}

/**
 * parkclock_cpu_destroy() - free what adds up the CPU time of a clock
 * @cpu: that, or NULL; no timer and no registration is left
 *
 * Context: any.
 */
void parkclock_cpu_destroy(struct parkclock_cpu *cpu)
{
	/*
	 * Nothing is armed or queued. The callback of @hrtimer may still run, and @again: if that
	 * ran on two CPUs at a time, nobody has waited for the end of the first. Both are in hard
	 * interrupts, for which a grace period waits.
	 */
	if (cpu)
		kfree_rcu(cpu, rcu);
}
