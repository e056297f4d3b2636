// SPDX-License-Identifier: GPL-2.0
/*
 * The updater: keeps the page fresh while somebody holds a reference.
 *
 * What can make it run:
 *
 * - The timer, once an interval. Armed when the updater becomes active, and again
 *   by its own callback until that parks. There is no other timer in the module.
 * - A reference taken while it is parked (get): re-calibrates and arms the timer.
 * - A change of the host's clock (an irq_work of host.c): re-calibrates if the
 *   updater is idle or active, or has references but had no counter until now.
 *
 * The states:
 *
 *	STOPPED		refreshes nothing, until started
 *	PARKED		no timer; no references either, unless the host does not
 *			keep time by the counter
 *	IDLE		the last tick saw no reference; the next one parks
 *	ACTIVE		references are held, or were a moment ago
 *
 * Who changes them, under parkclock_timebase_lock unless it says otherwise:
 *
 *	get		IDLE -> ACTIVE	(lockless compare-and-swap)
 *	get		PARKED -> ACTIVE, after a step
 *	put		none
 *	tick		ACTIVE -> IDLE, and back if references are held; refresh
 *	tick		IDLE -> PARKED, unless references are held
 *	tick		any -> PARKED, if the counter cannot be used any more
 *	start		STOPPED -> PARKED, or ACTIVE if references are held
 *	stop		any -> STOPPED
 *
 * A referenced updater is never left winding down. A get counts, then reads the
 * state; a tick lowers the state, then reads the count; each with a full barrier
 * in between. So either the tick sees the reference and raises the state again,
 * or the get sees the lower state and raises it itself. After the last put at
 * most two ticks follow: the first one that sees no reference makes it IDLE, the
 * next one parks.
 *
 * Whoever sees ACTIVE or IDLE finds a page that was refreshed since the updater
 * was parked: out of PARKED and STOPPED the state is stored last, with release.
 */
#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/hrtimer.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/suspend.h>
#include <asm/msr.h>

#include "compat.h"
#include "host.h"
#include "params.h"
#include "refs.h"
#include "timebase.h"
#include "trace.h"
#include "updater.h"

atomic_t parkclock_updater_state = ATOMIC_INIT(PARKCLOCK_STOPPED);
static struct hrtimer timer;

/* Protected by parkclock_timebase_lock. */
static u64 parks, wakes, expirations;

/* READ calls; the only event here that can be frequent on many CPUs at once. */
static DEFINE_PER_CPU(u64, slow_reads);

/* Start and stop come one after another. Protects stop_reasons. */
static DEFINE_MUTEX(lifecycle);
static unsigned int stop_reasons = PARKCLOCK_STOP_UNLOADED;

/* Without the lock, too. Returns what the state was; a full barrier if it has changed. */
static int change(int from, int to)
{
	return atomic_cmpxchg(&parkclock_updater_state, from, to);
}

static void arm(void)
{
	unsigned int interval_ms = parkclock_interval_ms();
	u64 slack = (u64)interval_ms * parkclock_slack_percent() * (NSEC_PER_MSEC / 100);

	lockdep_assert_held(&parkclock_timebase_lock);

	hrtimer_start_range_ns(&timer, ms_to_ktime(interval_ms), slack, HRTIMER_MODE_REL_HARD);
	/*
	 * The machine may have stood still for a window between the refresh and
	 * this. From here on such a stop makes the timer late, and so come at once.
	 */
	if (parkclock_timebase_stale(rdtsc()))
		parkclock_timebase_refresh(PARKCLOCK_SLEW);
}

/*
 * Out of PARKED, with a fresh page. Where the host does not keep time by the
 * counter there is no such page, and nothing for a timer to do: it stays parked
 * until that changes.
 */
static bool activate(void)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	if (!parkclock_timebase_refresh(PARKCLOCK_STEP))
		return false;
	/* The page before the state; pairs with atomic_read_acquire() in get. */
	atomic_set_release(&parkclock_updater_state, PARKCLOCK_ACTIVE);
	arm();
	wakes++;
	trace_parkclock_wake(wakes);
	return true;
}

/* Does the updater keep the page fresh? Under the lock this does not change. */
static bool runs(void)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	return atomic_read(&parkclock_updater_state) >= PARKCLOCK_IDLE;
}

/* The page for a new reference: out of PARKED, or before a timer or irq_work that is late. */
static bool freshen(void)
{
	unsigned long flags;
	bool woke = false;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	if (atomic_read(&parkclock_updater_state) == PARKCLOCK_PARKED)
		woke = activate();
	else if (runs() && parkclock_timebase_stale(rdtsc()))
		parkclock_timebase_refresh(PARKCLOCK_SLEW);
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
	return woke;
}

/**
 * parkclock_updater_get_slow() - the rest of parkclock_updater_get()
 *
 * And all that is to be done if a reference is held, and the page stale nevertheless.
 *
 * Context: as there. The reference is counted.
 * Return: likewise.
 */
bool parkclock_updater_get_slow(void)
{
	switch (atomic_read_acquire(&parkclock_updater_state)) {
	case PARKCLOCK_STOPPED:
		return false;
	case PARKCLOCK_IDLE:
		/* If it fails, a tick was faster, or another get, or a stop. */
		if (change(PARKCLOCK_IDLE, PARKCLOCK_ACTIVE) == PARKCLOCK_PARKED)
			break;
		fallthrough;
	case PARKCLOCK_ACTIVE:
		if (!parkclock_timebase_stale(rdtsc()))
			return false;
		break;
	case PARKCLOCK_PARKED:
		/* It stays so; host_changed() looks at the count when it may not. */
		if (!parkclock_host_usable())
			return false;
	}
	return freshen();
}

/* Lower the state by one, or keep it ACTIVE. Tells whether to go on ticking. */
static bool wind_down(void)
{
	switch (atomic_read(&parkclock_updater_state)) {
	case PARKCLOCK_ACTIVE:
		atomic_set(&parkclock_updater_state, PARKCLOCK_IDLE);
		/* State, then count; pairs with the one in parkclock_refs_get(). */
		smp_mb();
		if (parkclock_refs_held())
			atomic_set(&parkclock_updater_state, PARKCLOCK_ACTIVE);
		return true;
	case PARKCLOCK_IDLE:
		/* A get may make it ACTIVE at any moment. A full barrier if it did not. */
		if (change(PARKCLOCK_IDLE, PARKCLOCK_PARKED) != PARKCLOCK_IDLE)
			return true;
		if (!parkclock_refs_held())
			return false;
		/* Nobody was told anything yet: who saw PARKED waits for our lock. */
		atomic_set(&parkclock_updater_state, PARKCLOCK_ACTIVE);
		return true;
	default:
		return false;
	}
}

/* One step towards parked, or a refresh and the next tick. */
static void tick(void)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	if (wind_down() && parkclock_timebase_refresh(PARKCLOCK_SLEW)) {
		arm();
	} else if (atomic_read(&parkclock_updater_state) != PARKCLOCK_STOPPED) {
		atomic_set(&parkclock_updater_state, PARKCLOCK_PARKED);
		parks++;
		trace_parkclock_park(parks);
	}
}

/*
 * The timer. Hard interrupt context, on PREEMPT_RT too.
 *
 * It is armed anew instead of being forwarded: hrtimer_forward() goes by the end
 * of the slack, and does nothing before that. If somebody else has armed it while
 * this waited for the lock, the tick that counts is the next one: this one could
 * park, and leave that armed.
 */
static enum hrtimer_restart parkclock_updater_tick(struct hrtimer *t)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	expirations++;
	if (!hrtimer_is_queued(t))
		tick();
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
	return HRTIMER_NORESTART;
}

/* The host's clock has changed. Hard interrupt context. */
static void host_changed(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	parkclock_timebase_check_epoch();
	if (runs())
		parkclock_timebase_refresh(PARKCLOCK_SLEW);
	else if (atomic_read(&parkclock_updater_state) == PARKCLOCK_PARKED && parkclock_refs_held())
		activate();	/* was parked for want of a counter */
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
}

/**
 * parkclock_updater_set() - change the interval, the window or the slack
 * @parameter: which
 * @value:     to what; it is in range
 *
 * Context: any but NMI.
 */
void parkclock_updater_set(unsigned int *parameter, unsigned int value)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	/* Read without the lock by those who only want to know. */
	WRITE_ONCE(*parameter, value);
	/* At once: an old window could end before a new interval does. */
	if (runs()) {
		parkclock_timebase_refresh(PARKCLOCK_SLEW);
		arm();
	}
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
}

/*
 * Where the page has no time, because its timer was late or the host's clock has
 * changed, it is refreshed; once more if that happens in between, too. Where it cannot
 * be valid (STOPPED, or no TSC) the host's clock is asked.
 */
static void now_locked(struct parkclock_now *now)
{
	int refreshes;

	for (refreshes = 0; runs(); refreshes++) {
		if (parkclock_timebase_now_page(now))
			return;
		if (refreshes == 3 || !parkclock_timebase_refresh(PARKCLOCK_SLEW))
			break;
	}
	parkclock_timebase_now_host(now);
}

/**
 * parkclock_updater_now() - the host's clocks, by the slow way
 * @now: filled in
 *
 * Wakes the updater, and leaves the page valid if it can be.
 *
 * Context: any but NMI.
 */
void parkclock_updater_now(struct parkclock_now *now)
{
	unsigned long flags;

	parkclock_updater_get(rdtsc());
	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	now_locked(now);
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
	parkclock_updater_put();
}

/* A clock changes under the lock only: here it is whole. */
static int read_locked(const struct parkclock_clock *clock, int index,
		       struct parkclock_reading *r)
{
	struct parkclock_now now;

	lockdep_assert_held(&parkclock_timebase_lock);

	if (clock->state & PARKCLOCK_STATE_STOPPED)
		return -ENODATA;
	now_locked(&now);
	r->ns = now.ns[index] + clock->offset_ns[index];
	r->cycles = now.cycles;
	r->error_ns = now.error_ns;
	r->generation = now.generation + clock->generation;
	return 0;
}

/**
 * parkclock_updater_read() - read a clock by the slow way
 * @clock:    the clock
 * @clock_id: one that parkclock_index() knows
 * @r:        filled in
 *
 * Context: any but NMI.
 * Return: 0, or -ENODATA if the clock is stopped; then the updater was not woken,
 * unless it was stopped just now.
 */
int parkclock_updater_read(const struct parkclock_clock *clock, int clock_id,
			   struct parkclock_reading *r)
{
	const struct parkclock_timebase *timebase = parkclock_timebase_get();
	unsigned long flags;
	int err = 0;

	if (READ_ONCE(clock->state) & PARKCLOCK_STATE_STOPPED)
		return -ENODATA;
	parkclock_updater_get(rdtsc());
	if (__parkclock_read(clock, timebase, clock_id, 1, 0, r) < 0) {
		raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
		err = read_locked(clock, parkclock_index(clock_id), r);
		raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
	}
	parkclock_updater_put();
	if (!err)
		this_cpu_inc(slow_reads);
	return err;
}

/**
 * parkclock_updater_query() - what there is to know about the updater
 * @q: all but the fields about one clock are filled in
 *
 * Context: any but NMI.
 */
void parkclock_updater_query(struct parkclock_query *q)
{
	struct parkclock_sample sample;
	unsigned long flags;
	int cpu;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	q->state = atomic_read(&parkclock_updater_state);
	q->flags = parkclock_host_sample(&sample) ? 0 : PARKCLOCK_COUNTER_UNUSABLE;
	q->parks = parks;
	q->wakes = wakes;
	q->expirations = expirations;
	parkclock_timebase_query(q);
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);

	q->references = parkclock_refs_held();
	q->interval_ns = parkclock_interval_ms() * (u64)NSEC_PER_MSEC;
	q->window_ns = q->interval_ns * parkclock_window_intervals();
	q->slack_ns = q->interval_ns * parkclock_slack_percent() / 100;
	for_each_possible_cpu(cpu)
		q->slow_reads += READ_ONCE(per_cpu(slow_reads, cpu));
}

/**
 * parkclock_updater_start() - take back a reason to be stopped
 * @reason: PARKCLOCK_STOP_*
 *
 * If it was the last one the updater comes up parked, or active with a fresh
 * page if references are held by now.
 *
 * Context: may sleep.
 */
void parkclock_updater_start(unsigned int reason)
{
	unsigned long flags;

	mutex_lock(&lifecycle);
	if (stop_reasons) {
		stop_reasons &= ~reason;
		if (!stop_reasons) {
			raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
			atomic_set(&parkclock_updater_state, PARKCLOCK_PARKED);
			/* State, then count: a get saw STOPPED, or is seen here. */
			smp_mb();
			if (parkclock_refs_held())
				activate();
			raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
		}
	}
	mutex_unlock(&lifecycle);
}

/**
 * parkclock_updater_stop() - give the updater a reason to be stopped
 * @reason: PARKCLOCK_STOP_*
 *
 * When this returns the page is invalid, the timer is off, and no get can start
 * it again.
 *
 * Context: may sleep.
 */
void parkclock_updater_stop(unsigned int reason)
{
	unsigned long flags;

	mutex_lock(&lifecycle);
	if (!stop_reasons) {
		raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
		atomic_set(&parkclock_updater_state, PARKCLOCK_STOPPED);
		parkclock_timebase_invalidate();
		raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
		/* Not under the lock: the callback takes it. */
		hrtimer_cancel(&timer);
	}
	stop_reasons |= reason;
	mutex_unlock(&lifecycle);
}

/*
 * Time stands still in a suspend, and the counter may start anew. Not a syscore
 * callback, because suspend to idle has none.
 */
static int updater_pm(struct notifier_block *nb, unsigned long event, void *data)
{
	switch (event) {
	case PM_SUSPEND_PREPARE:
	case PM_HIBERNATION_PREPARE:
		parkclock_host_suspending(true);
		parkclock_updater_stop(PARKCLOCK_STOP_SUSPEND);
		break;
	case PM_POST_SUSPEND:
	case PM_POST_HIBERNATION:
		parkclock_host_suspending(false);
		parkclock_updater_start(PARKCLOCK_STOP_SUSPEND);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block updater_pm_listener = {
	.notifier_call = updater_pm,
};

/**
 * parkclock_updater_init() - begin with the updater parked
 *
 * Unless the administrator wants it disabled.
 *
 * Context: may sleep. The timebase is there.
 * Return: 0 or an error number.
 */
int parkclock_updater_init(void)
{
	int err;

	hrtimer_setup(&timer, parkclock_updater_tick, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	err = parkclock_host_init(parkclock_timebase_get(), host_changed);
	if (err)
		return err;
	err = register_pm_notifier(&updater_pm_listener);
	if (err) {
		parkclock_host_exit();
		return err;
	}
	parkclock_updater_start(PARKCLOCK_STOP_UNLOADED);
	return 0;
}

/**
 * parkclock_updater_exit() - stop for good
 *
 * Context: may sleep. Nobody holds a reference or can take one.
 */
void parkclock_updater_exit(void)
{
	parkclock_updater_stop(PARKCLOCK_STOP_UNLOADED);
	unregister_pm_notifier(&updater_pm_listener);
	parkclock_host_exit();
}
