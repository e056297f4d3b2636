// SPDX-License-Identifier: GPL-2.0
/*
 * The updater: keeps the page fresh while somebody holds a reference.
 *
 * What can make it run:
 *
 * - The timer, once an interval. It is armed when the updater becomes active, and again
 *   by its own callback until that parks. (The timers that programs make by
 *   PARKCLOCK_IOC_TIMER do not make the updater run: they only look at the page.)
 * - A reference taken while the updater is parked (get): refreshes and arms the timer.
 * - A change of the host's clock, within the update of the timekeeper that makes it
 *   (host.c): refreshes if the updater is idle or active. After the update an irq_work wakes
 *   the updater if it is parked with references held, because the host did not keep time
 *   by the counter until now.
 * - On a host with isolated CPUs: an irq_work and a call, by which an isolated CPU has the
 *   timer armed on another one.
 *
 * The states:
 *
 *	STOPPED		refreshes nothing, until started
 *	PARKED		no timer; no references either, unless the host does not
 *			keep time by the counter
 *	IDLE		the last tick found no reference; the next one parks
 *	ACTIVE		references are held, or were a moment ago
 *
 * What changes them, under updater_lock unless it says otherwise:
 *
 *	get		IDLE -> ACTIVE	(lockless compare-and-swap)
 *	get		PARKED -> ACTIVE, after a step
 *	put		none
 *	tick		ACTIVE -> IDLE, and back if references are held; refresh
 *	tick		IDLE -> PARKED, unless a get was faster
 *	tick		any -> PARKED, if the counter cannot be used any more
 *	start		STOPPED -> PARKED, or ACTIVE if references are held
 *	stop		any -> STOPPED
 *
 * A referenced updater is never left winding down. A get counts its reference, then reads
 * the state. A tick stores IDLE, then reads the count. Both have a full barrier in between.
 * So either the tick sees the reference and raises the state again, or the get sees the
 * lower state and raises it itself. From IDLE the next tick parks by a compare-and-swap, as
 * a get raises by one: either the get is first, and the tick goes on; or the get sees
 * PARKED, and wakes the updater. After the last put at most two ticks follow: the first that
 * finds no reference makes the updater IDLE, the next one parks.
 *
 * A get that sees ACTIVE or IDLE finds a page that was refreshed since the updater left
 * PARKED or STOPPED: on the way out of these the state is stored last, with release.
 *
 * There are two locks. updater_lock serialises the changes of the state, except the lockless
 * one, and the arming of the timer. Under it the time is read: an hrtimer's start does so.
 * parkclock_timebase_lock nests in it and serialises the refreshes. An update of the
 * timekeeper waits for parkclock_timebase_lock, so nobody reads the time under that.
 *
 * host_changing(), READ and the like refresh the page under parkclock_timebase_lock alone.
 * They do so only if the state says that the page is kept fresh. Two changes of the state
 * must not race with them: activate() stores ACTIVE before it releases that lock, and
 * parkclock_updater_stop() stores STOPPED before it takes it to invalidate the page.
 */
#include <linux/atomic.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/errno.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/pm.h>
#include <linux/rcupdate.h>
#include <linux/sched/isolation.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <asm/msr.h>

#include "compat.h"
#include "config.h"
#include "host.h"
#include "refs.h"
#include "timebase.h"
#include "trace.h"
#include "updater.h"

atomic_t parkclock_updater_state = ATOMIC_INIT(PARKCLOCK_STOPPED);
static struct hrtimer timer;

/* See above. Taken with interrupts disabled, also under a run-queue lock, hence raw. */
static DEFINE_RAW_SPINLOCK(updater_lock);

/* Protected by updater_lock. */
static u64 parks, wakes, expirations, late_ticks;
static u64 due;		/* the counter by which the timer must have fired, its slack included */

/* Calls to other CPUs that are on their way, or have not ended. */
static atomic_t calls = ATOMIC_INIT(0);

/* READ calls: the only event here that can be frequent on many CPUs at once. */
static DEFINE_PER_CPU(u64, slow_reads);

/* Serialises start and stop. Protects stop_reasons. */
static DEFINE_MUTEX(lifecycle);
static unsigned int stop_reasons = PARKCLOCK_STOP_UNLOADED;

/* Also called without the lock. Returns the old state; a full barrier if it has changed. */
static int change(int from, int to)
{
	return atomic_cmpxchg(&parkclock_updater_state, from, to);
}

/* Does the updater keep the page fresh? */
static bool runs(void)
{
	return atomic_read(&parkclock_updater_state) >= PARKCLOCK_IDLE;
}

static bool refresh(enum parkclock_refresh how)
{
	bool valid;

	lockdep_assert_held(&updater_lock);

	raw_spin_lock(&parkclock_timebase_lock);
	valid = parkclock_timebase_refresh(how);
	parkclock_timebase_unlock_nested();
	return valid;
}

/* May a CPU be interrupted by the timer? */
static bool is_housekeeper(int cpu)
{
	return housekeeping_cpu(cpu, HK_TYPE_TIMER) && housekeeping_cpu(cpu, HK_TYPE_DOMAIN);
}

static void arm_here(void)
{
	unsigned int interval_ms = parkclock_param(interval_ms);
	unsigned int slack_percent = parkclock_param(slack_percent);
	u64 slack = (u64)interval_ms * slack_percent * (NSEC_PER_MSEC / 100);
	u64 interval = parkclock_timebase_interval();

	lockdep_assert_held(&updater_lock);

	hrtimer_start_range_ns(&timer, ms_to_ktime(interval_ms), slack, HRTIMER_MODE_REL_HARD);
	due = rdtsc() + interval + interval / 100 * slack_percent;
	/*
	 * The machine may have stood still between the refresh and this, for so long that
	 * the page ends before the timer is due. From here on such a stop makes the timer
	 * late, and so come at once. The timer goes by the host's clock, and due by the
	 * counter's nominal frequency: they differ by 10 % at most, see adjtimex().
	 */
	if (parkclock_timebase_stale(due + interval / 8))
		refresh(PARKCLOCK_SLEW);
}

/*
 * The timer is armed on the CPU that does it, or on one that the kernel likes better,
 * and then stays there. Where CPUs are isolated it is armed on one that is not, by a call
 * to that CPU. A timer whose callback runs stays where it is. So an irq_work makes the call,
 * when the callback is over.
 */
static void arm_called(void *unused)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&updater_lock, flags);
	if (runs())
		arm_here();
	raw_spin_unlock_irqrestore(&updater_lock, flags);
	/* All of it before the end; pairs with the acquire in stop_calls(). */
	(void)atomic_dec_return_release(&calls);
}

static call_single_data_t call = CSD_INIT(arm_called, NULL);

static void make_call(struct irq_work *work)
{
	int cpu, err;

	atomic_inc(&calls);
	for_each_cpu_and(cpu, housekeeping_cpumask(HK_TYPE_TIMER), cpu_online_mask) {
		if (!is_housekeeper(cpu))
			continue;
		err = smp_call_function_single_async(cpu, &call);
		/* If it is busy, a call is on its way that has not begun: that will do. */
		if (err == -EBUSY)
			atomic_dec(&calls);
		if (!err || err == -EBUSY)
			return;
	}
	/* There is no such CPU, or none any more. */
	arm_called(NULL);
}

static struct irq_work caller = IRQ_WORK_INIT_HARD(make_call);

/* Nobody asks for a call any more, as the updater is stopped. */
static void stop_calls(void)
{
	irq_work_sync(&caller);
	while (atomic_read_acquire(&calls))
		usleep_range(10, 100);
}

static void arm(void)
{
	if (likely(is_housekeeper(smp_processor_id())))
		arm_here();
	else
		irq_work_queue(&caller);
}

/*
 * Leave PARKED, with a fresh page. Where the host does not keep time by the counter no
 * page can be fresh, and a timer would have nothing to do: the updater stays parked until
 * that changes.
 */
static bool activate(void)
{
	bool valid;

	lockdep_assert_held(&updater_lock);

	raw_spin_lock(&parkclock_timebase_lock);
	valid = parkclock_timebase_refresh(PARKCLOCK_STEP);
	/*
	 * The page before the state; pairs with atomic_read_acquire() in get. Under the
	 * lock, so that an update of the timekeeper finds that the page is in use, or has
	 * been before it. (Should either be missed, get and arm() find that the page is stale,
	 * and refresh it.)
	 */
	if (valid)
		atomic_set_release(&parkclock_updater_state, PARKCLOCK_ACTIVE);
	parkclock_timebase_unlock_nested();
	if (!valid)
		return false;
	arm();
	wakes++;
	trace_parkclock_wake(wakes);
	return true;
}

/* Refresh the page for a new reference: out of PARKED, or if the timer is late. */
static bool freshen(void)
{
	unsigned long flags;
	bool woke = false;

	raw_spin_lock_irqsave(&updater_lock, flags);
	if (atomic_read(&parkclock_updater_state) == PARKCLOCK_PARKED)
		woke = activate();
	else if (runs() && parkclock_timebase_stale(rdtsc()))
		refresh(PARKCLOCK_SLEW);
	raw_spin_unlock_irqrestore(&updater_lock, flags);
	return woke;
}

/**
 * parkclock_updater_get_slow() - the slow part of parkclock_updater_get()
 *
 * Also called for a reference that is held already, if the page is stale.
 *
 * Context: as parkclock_updater_get(). The reference is counted.
 * Return: true if this has woken the updater.
 */
bool parkclock_updater_get_slow(void)
{
	switch (atomic_read_acquire(&parkclock_updater_state)) {
	case PARKCLOCK_STOPPED:
		return false;
	case PARKCLOCK_IDLE:
		/* If this fails, a tick, another get or a stop was faster. */
		if (change(PARKCLOCK_IDLE, PARKCLOCK_ACTIVE) == PARKCLOCK_PARKED)
			break;
		fallthrough;
	case PARKCLOCK_ACTIVE:
		if (!parkclock_timebase_stale(rdtsc()))
			return false;
		break;
	case PARKCLOCK_PARKED:
		/* Stays parked. host_changed() reads the count when the counter becomes usable. */
		if (!parkclock_host_usable())
			return false;
	}
	return freshen();
}

/* Lower the state by one, or keep it. Returns true if the timer must go on. */
static bool wind_down(void)
{
	switch (atomic_read(&parkclock_updater_state)) {
	case PARKCLOCK_ACTIVE:
		atomic_set(&parkclock_updater_state, PARKCLOCK_IDLE);
		/* State, then count: parkclock_refs_held() has the full barrier. */
		if (parkclock_refs_held())
			atomic_set(&parkclock_updater_state, PARKCLOCK_ACTIVE);
		return true;
	case PARKCLOCK_IDLE:
		/*
		 * A get may raise IDLE to ACTIVE at any moment. If none did, no reference has
		 * to be looked for: the look after IDLE was stored saw all that were counted
		 * by gets which read ACTIVE. Any other get fails to raise IDLE, or reads
		 * PARKED, and then waits for this lock and wakes the updater.
		 */
		return change(PARKCLOCK_IDLE, PARKCLOCK_PARKED) != PARKCLOCK_IDLE;
	default:
		return false;
	}
}

/* One step towards PARKED, or a refresh and the next tick. */
static void tick(void)
{
	lockdep_assert_held(&updater_lock);

	if ((s64)(rdtsc() - due) > (s64)parkclock_timebase_interval())
		late_ticks++;
	if (wind_down() && refresh(PARKCLOCK_SLEW)) {
		arm();
	} else if (atomic_read(&parkclock_updater_state) != PARKCLOCK_STOPPED) {
		atomic_set(&parkclock_updater_state, PARKCLOCK_PARKED);
		parks++;
		trace_parkclock_park(parks);
	}
}

/*
 * The timer's callback. Hard interrupt context, on PREEMPT_RT too.
 *
 * It arms the timer anew and does not forward it: hrtimer_forward() counts from the end
 * of the slack, and does nothing before that. If another CPU has armed the timer while
 * this callback waited for the lock, only the next expiry is a tick: a tick now could
 * park and leave the timer armed.
 */
static enum hrtimer_restart parkclock_updater_tick(struct hrtimer *t)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&updater_lock, flags);
	expirations++;
	if (!hrtimer_is_queued(t))
		tick();
	raw_spin_unlock_irqrestore(&updater_lock, flags);
	return HRTIMER_NORESTART;
}

/*
 * The host's clock is being changed, by an update of the timekeeper that is not over: no
 * time may be read. Interrupts are disabled.
 *
 * A page that is kept fresh has the new terms when this returns. Any other is invalid:
 * it is not made valid for a window more while the updater is parked.
 */
static void host_changing(void)
{
	raw_spin_lock(&parkclock_timebase_lock);
	parkclock_timebase_check_epoch();
	if (runs())
		parkclock_timebase_refresh(PARKCLOCK_SLEW);
	else
		parkclock_timebase_invalidate();
	raw_spin_unlock(&parkclock_timebase_lock);
}

/* The host's clock was changed. Hard interrupt context. */
static void host_changed(void)
{
	unsigned long flags;

	parkclock_timebase_trace();
	raw_spin_lock_irqsave(&updater_lock, flags);
	if (atomic_read(&parkclock_updater_state) == PARKCLOCK_PARKED && parkclock_refs_held())
		activate();	/* parked because the counter was unusable */
	raw_spin_unlock_irqrestore(&updater_lock, flags);
}

/**
 * parkclock_updater_set() - change the interval, the window or the slack
 * @parameter: the parameter to change
 * @value:     its new value, in range
 *
 * Context: any but NMI.
 */
void parkclock_updater_set(unsigned int *parameter, unsigned int value)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&updater_lock, flags);
	/* Others read the parameter without the lock. */
	WRITE_ONCE(*parameter, value);
	/*
	 * At once: an old window could end before a new, longer interval does. arm() would
	 * see to that, too, but a new window is to begin now.
	 */
	if (runs()) {
		refresh(PARKCLOCK_SLEW);
		arm();
	}
	raw_spin_unlock_irqrestore(&updater_lock, flags);
}

/*
 * Read the page. If it has no time, because its timer was late, refresh it and read again;
 * up to three times, because the same can happen in between.
 */
static bool now_page(struct parkclock_now *now)
{
	int refreshes;

	lockdep_assert_held(&parkclock_timebase_lock);

	for (refreshes = 0; runs(); refreshes++) {
		if (parkclock_timebase_now_page(now))
			return true;
		if (refreshes == 3 || !parkclock_timebase_refresh(PARKCLOCK_SLEW))
			break;
	}
	return false;
}

/*
 * Where the page cannot be valid (STOPPED, or no TSC) the host's clock is asked; without
 * the lock, under which no time may be read.
 */
static unsigned long now_lock(struct parkclock_now *now)
	__acquires(&parkclock_timebase_lock)
{
	struct parkclock_sample sample;
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	if (now_page(now))
		return flags;
	parkclock_timebase_unlock(flags);
	if (!parkclock_host_sample(&sample))
		parkclock_host_sample_slow(&sample);
	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	/* Meanwhile that may have changed, and then the page is not to be made invalid. */
	if (!now_page(now))
		parkclock_timebase_now_host(&sample, now);
	return flags;
}

/**
 * parkclock_updater_now() - read the host's clocks by the slow path
 * @now: filled in
 *
 * Wakes the updater, and leaves the page valid if it can be.
 *
 * Context: any but NMI.
 */
void parkclock_updater_now(struct parkclock_now *now)
{
	parkclock_updater_get(rdtsc());
	parkclock_timebase_unlock(now_lock(now));
	parkclock_updater_put();
}

/**
 * parkclock_updater_read() - read a clock by the slow path
 * @clock:    page 0 of the clock
 * @clock_id: one that parkclock_index() knows
 * @r:        filled in
 *
 * Context: any but NMI.
 * Return: 0, or -ENODATA if the clock is stopped. A clock that was stopped before the call
 * does not wake the updater.
 */
int parkclock_updater_read(const struct parkclock_clock *clock, int clock_id,
			   struct parkclock_reading *r)
{
	const struct parkclock_timebase *timebase = parkclock_timebase_map();
	const int index = parkclock_index(clock_id);
	struct parkclock_now now;
	unsigned long flags;
	int err = 0;

	if (READ_ONCE(clock->state) & PARKCLOCK_STATE_STOPPED)
		return -ENODATA;
	parkclock_updater_get(rdtsc());
	if (__parkclock_read(clock, timebase, clock_id, 1, 0, r) < 0) {
		flags = now_lock(&now);
		/* A clock changes under this lock only: here it is whole. */
		if (clock->state & PARKCLOCK_STATE_STOPPED) {
			err = -ENODATA;
		} else {
			r->ns = now.ns[index] + clock->offset_ns[index];
			r->cycles = now.cycles;
			r->error_ns = now.error_ns;
			r->generation = now.generation + clock->generation;
		}
		parkclock_timebase_unlock(flags);
	}
	parkclock_updater_put();
	if (!err)
		this_cpu_inc(slow_reads);
	return err;
}

/**
 * parkclock_updater_query() - the updater's part of QUERY
 * @q: all members but those about one clock are filled in
 *
 * Context: any but NMI.
 */
void parkclock_updater_query(struct parkclock_query *q)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&updater_lock, flags);
	q->state = atomic_read(&parkclock_updater_state);
	q->flags = parkclock_host_usable() ? 0 : PARKCLOCK_COUNTER_UNUSABLE;
	q->parks = parks;
	q->wakes = wakes;
	q->expirations = expirations;
	q->late_ticks = late_ticks;
	raw_spin_lock(&parkclock_timebase_lock);
	parkclock_timebase_query(q);
	parkclock_timebase_unlock_nested();
	raw_spin_unlock_irqrestore(&updater_lock, flags);

	q->interval_ns = parkclock_param(interval_ms) * (u64)NSEC_PER_MSEC;
	q->window_ns = q->interval_ns * parkclock_param(window_intervals);
	q->slack_ns = q->interval_ns * parkclock_param(slack_percent) / 100;
}

/**
 * parkclock_updater_query_others() - the part of QUERY that adds up what all CPUs count
 * @q: its members about references and READs are filled in
 *
 * Not for those who must not know: the time that the addition takes tells whether another CPU
 * has counted since, and the addition slows the next count of each CPU.
 *
 * Context: any.
 */
void parkclock_updater_query_others(struct parkclock_query *q)
{
	int cpu;

	q->references = parkclock_refs_held();
	for_each_possible_cpu(cpu)
		q->slow_reads += READ_ONCE(per_cpu(slow_reads, cpu));
}

/**
 * parkclock_updater_start() - take back a reason to be stopped
 * @reason: PARKCLOCK_STOP_*
 *
 * If it was the last reason, the updater comes up parked, or active with a fresh
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
			raw_spin_lock_irqsave(&updater_lock, flags);
			atomic_set(&parkclock_updater_state, PARKCLOCK_PARKED);
			/*
			 * State, then count: a get that saw STOPPED is counted here.
			 * parkclock_refs_held() has the full barrier.
			 */
			if (parkclock_refs_held())
				activate();
			raw_spin_unlock_irqrestore(&updater_lock, flags);
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
		raw_spin_lock_irqsave(&updater_lock, flags);
		atomic_set(&parkclock_updater_state, PARKCLOCK_STOPPED);
		/* STOPPED, then the lock; see at the top. */
		raw_spin_lock(&parkclock_timebase_lock);
		parkclock_timebase_invalidate();
		parkclock_timebase_unlock_nested();
		raw_spin_unlock_irqrestore(&updater_lock, flags);
		/* Not under the lock: the timer's callback, and what starts it, take it. */
		stop_calls();
		hrtimer_cancel(&timer);
	}
	stop_reasons |= reason;
	mutex_unlock(&lifecycle);
}

/*
 * Time stands still while the host sleeps, and the counter may start anew. Devices are
 * suspended after all tasks were frozen, and resumed before any is thawed: while a task can
 * read the page, the page is valid. This is not a syscore callback, because suspend to idle
 * calls none.
 */
static int updater_suspend(struct device *dev)
{
	parkclock_host_suspending(true);
	parkclock_updater_stop(PARKCLOCK_STOP_SUSPEND);
	return 0;
}

static int updater_resume(struct device *dev)
{
	parkclock_host_suspending(false);
	parkclock_updater_start(PARKCLOCK_STOP_SUSPEND);
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(updater_pm, updater_suspend, updater_resume);

/* For its callbacks. It needs no driver, whose binding could fail without a word. */
static struct device *updater_device;

static void updater_device_release(struct device *dev)
{
	kfree(dev);
}

static const struct device_type updater_type = {
	.name = KBUILD_MODNAME,
	.pm = pm_sleep_ptr(&updater_pm),
	.release = updater_device_release,
};

static int listen_for_sleep(void)
{
	int err;

	updater_device = kzalloc(sizeof(*updater_device), GFP_KERNEL);
	if (!updater_device)
		return -ENOMEM;
	device_initialize(updater_device);
	/* Before it is added, which is when Linux notes whether there are callbacks. */
	updater_device->type = &updater_type;
	err = dev_set_name(updater_device, KBUILD_MODNAME);
	if (!err)
		err = device_add(updater_device);
	if (err)
		put_device(updater_device);
	return err;
}

static void stop_listening_for_sleep(void)
{
	device_unregister(updater_device);
}

/**
 * parkclock_updater_init() - begin with the updater parked
 *
 * If the parameter enabled is N, the updater stays stopped.
 *
 * Context: may sleep. The timebase is initialised.
 * Return: 0 or an error number.
 */
int parkclock_updater_init(void)
{
	int err;

	hrtimer_setup(&timer, parkclock_updater_tick, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	err = parkclock_host_init(parkclock_timebase_map(), host_changing, host_changed);
	if (err)
		return err;
	err = listen_for_sleep();
	if (err) {
		parkclock_host_exit();
		return err;
	}
	parkclock_updater_start(PARKCLOCK_STOP_UNLOADED);
	return 0;
}

/**
 * parkclock_updater_exit() - stop the updater for good
 *
 * Context: may sleep. Nobody holds a reference or can take one.
 */
void parkclock_updater_exit(void)
{
	parkclock_updater_stop(PARKCLOCK_STOP_UNLOADED);
	stop_listening_for_sleep();
	parkclock_host_exit();
	/* A call by another CPU may have its last instructions before it. */
	synchronize_rcu();
}
