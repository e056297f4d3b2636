// SPDX-License-Identifier: GPL-2.0
/*
 * A clock: what one open of the device has for itself.
 *
 * Its page says how it differs from the host's clocks. Readers may be anywhere in it
 * when it is changed: the change is announced by a condition bit, and counted when it
 * is over, so that who was reading meanwhile has no time, or begins again. It is made
 * under the timebase's lock, which lets those who read by the slow way see all of it or
 * nothing, and lets nobody be in the midst of it for long.
 *
 * A clock that is stopped was last read before the instant that it was stopped at: a
 * reader looks at the state after the counter, and the state is out before the counter
 * is read that says what that instant was.
 */
#include <linux/atomic.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nsproxy.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/time64.h>
#include <linux/time_namespace.h>
#include <asm/msr.h>

#include "clock.h"
#include "host.h"
#include "saved.h"
#include "updater.h"
#include "vmclock.h"

/* Where clock_gettime() differs for the caller, because of its time namespace. */
static void take_timens_offsets(s64 *offset_ns)
{
	struct timespec64 monotonic = {}, boottime = {};

	timens_add_monotonic(&monotonic);
	timens_add_boottime(&boottime);
	offset_ns[PARKCLOCK_MONOTONIC] = timespec64_to_ns(&monotonic);
	offset_ns[PARKCLOCK_BOOTTIME] = timespec64_to_ns(&boottime);
}

/**
 * parkclock_clock_create() - a clock that reads as clock_gettime() does here
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: the clock, or an ERR_PTR: -ENOMEM.
 */
struct parkclock *parkclock_clock_create(void)
{
	static atomic64_t last_id = ATOMIC64_INIT(0);
	struct parkclock *clock = kzalloc(sizeof(*clock), GFP_KERNEL_ACCOUNT);

	if (!clock)
		return ERR_PTR(-ENOMEM);
	clock->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!clock->page) {
		kfree(clock);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&clock->users);
	clock->id = atomic64_inc_return(&last_id);
	mutex_init(&clock->lock);
	clock->fresh = true;
	clock->guest = PARKCLOCK_NO_GUEST;
	init_waitqueue_head(&clock->jumped);
	parkclock_tasks_create(&clock->tasks);
	clock->map = page_address(clock->page);
	clock->map->magic = PARKCLOCK_CLOCK_MAGIC;
	clock->map->version = PARKCLOCK_VERSION;
	clock->map->size = sizeof(*clock->map);
	clock->map->timebase = PARKCLOCK_PAGE_SIZE;
	take_timens_offsets(clock->map->offset_ns);
	return clock;
}

/**
 * parkclock_clock_leave() - the owner's last descriptor and mapping are gone
 * @clock: the clock; what was held through it is given back
 *
 * Context: may sleep.
 */
void parkclock_clock_leave(struct parkclock *clock)
{
	unsigned int holds = clock->holds;

	parkclock_tasks_destroy(&clock->tasks);
	/* Nobody else changes it any more; who has a view can still see it. */
	WRITE_ONCE(clock->holds, 0);
	if (clock->vmclock)
		parkclock_vmclock_retire(clock->vmclock);
	while (holds--)
		parkclock_updater_put();
	parkclock_clock_put(clock);
}

static void destroy(struct kref *users)
{
	struct parkclock *clock = container_of(users, struct parkclock, users);

	mutex_destroy(&clock->lock);
	parkclock_vmclock_free(clock->vmclock);
	/* It lives on for whoever has pinned it. */
	put_page(clock->page);
	kfree(clock);
}

/**
 * parkclock_clock_put() - an open file of it is gone
 * @clock: the clock, which goes with the last one
 *
 * Context: may sleep.
 */
void parkclock_clock_put(struct parkclock *clock)
{
	kref_put(&clock->users, destroy);
}

/**
 * parkclock_clock_hold() - take a reference that counts per clock
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -EOVERFLOW if there are PARKCLOCK_HOLD_MAX already.
 */
int parkclock_clock_hold(struct parkclock *clock)
{
	int err = 0;

	mutex_lock(&clock->lock);
	if (clock->holds == PARKCLOCK_HOLD_MAX) {
		err = -EOVERFLOW;
	} else {
		WRITE_ONCE(clock->holds, clock->holds + 1);
		parkclock_updater_get(rdtsc());
		if (clock->vmclock)
			parkclock_vmclock_get(clock->vmclock);
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_release() - give one back
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -ENOENT if there is none.
 */
int parkclock_clock_release(struct parkclock *clock)
{
	int err = 0;

	mutex_lock(&clock->lock);
	if (!clock->holds) {
		err = -ENOENT;
	} else {
		WRITE_ONCE(clock->holds, clock->holds - 1);
		if (clock->vmclock)
			parkclock_vmclock_put(clock->vmclock);
		parkclock_updater_put();
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_use() - somebody will be able to read it
 * @clock: the clock, which is not fresh any more
 *
 * Context: may sleep; mmap_lock may be held.
 */
void parkclock_clock_use(struct parkclock *clock)
{
	/* Once false it stays so. */
	if (!READ_ONCE(clock->fresh))
		return;
	mutex_lock(&clock->lock);
	WRITE_ONCE(clock->fresh, false);
	mutex_unlock(&clock->lock);
}

/**
 * parkclock_clock_generation() - discontinuities of the clock so far, the host's included
 * @clock: the clock
 *
 * Context: any but NMI.
 */
u64 parkclock_clock_generation(const struct parkclock *clock)
{
	return parkclock_host_generation() + READ_ONCE(clock->map->generation);
}

static bool is_stopped(const struct parkclock *clock)
{
	lockdep_assert_held(&clock->lock);

	return clock->map->state & PARKCLOCK_STATE_STOPPED;
}

/* What its page becomes; REALTIME and TAI never change. */
struct change {
	u64 conditions;
	u64 generation;
	s64 monotonic_ns, boottime_ns;
	struct parkclock_guest guest;
	u64 guest_disruptions;
};

/* The change that is none. */
static struct change as_it_is(const struct parkclock *clock)
{
	const struct parkclock_clock *map = clock->map;

	return (struct change) {
		.conditions = map->state & PARKCLOCK_STATE_CONDITIONS,
		.generation = map->generation,
		.monotonic_ns = map->offset_ns[PARKCLOCK_MONOTONIC],
		.boottime_ns = map->offset_ns[PARKCLOCK_BOOTTIME],
		.guest = clock->guest,
		.guest_disruptions = map->guest_disruptions,
	};
}

static void change_page(struct parkclock *clock, const struct change *to)
{
	struct parkclock_clock *map = clock->map;
	bool jumps = to->generation != map->generation;
	unsigned long flags;
	u64 changes;

	lockdep_assert_held(&clock->lock);

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	changes = (map->state | PARKCLOCK_STATE_CONDITIONS) + 1;
	WRITE_ONCE(map->state, map->state | PARKCLOCK_STATE_CHANGING);
	/*
	 * The announcement before the change; pairs with the order in which readers
	 * load. One that has loaded something new finds another state in the end.
	 */
	smp_wmb();
	WRITE_ONCE(map->generation, to->generation);
	WRITE_ONCE(map->offset_ns[PARKCLOCK_MONOTONIC], to->monotonic_ns);
	WRITE_ONCE(map->offset_ns[PARKCLOCK_BOOTTIME], to->boottime_ns);
	WRITE_ONCE(map->guest_offset, to->guest.offset);
	WRITE_ONCE(map->guest_inverse, to->guest.inverse);
	WRITE_ONCE(map->guest_shift, to->guest.inverse_shift);
	WRITE_ONCE(map->guest_lag, to->guest.lag);
	WRITE_ONCE(map->guest_disruptions, to->guest_disruptions);
	/* All of it before its end; pairs with the readers' acquire of the state. */
	smp_store_release(&map->state, changes | to->conditions);
	clock->guest = to->guest;
	if (clock->vmclock)
		parkclock_vmclock_write(clock->vmclock);
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
	if (jumps)
		wake_up_interruptible_all(&clock->jumped);
}

/**
 * parkclock_clock_show() - what there is to know about it, for people and tools
 * @clock: the clock
 * @m:     the file that says so
 *
 * Context: may sleep.
 */
void parkclock_clock_show(struct parkclock *clock, struct seq_file *m)
{
	const struct parkclock_vmclock *vm;
	unsigned long flags;
	struct change c;

	/* Not the mutex: who has but a view could keep the owner waiting for it. */
	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	c = as_it_is(clock);
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
	seq_printf(m, "parkclock:\t%llu\n", clock->id);
	seq_printf(m, "state:\t%s\n",
		   c.conditions & PARKCLOCK_STATE_STOPPED ? "stopped" : "running");
	seq_printf(m, "monotonic_offset_ns:\t%lld\n", c.monotonic_ns);
	seq_printf(m, "boottime_offset_ns:\t%lld\n", c.boottime_ns);
	seq_printf(m, "holds:\t%u\n", READ_ONCE(clock->holds));
	seq_printf(m, "tasks:\t%d\n", atomic_read(&clock->tasks.count));
	if (c.conditions & PARKCLOCK_STATE_GUEST)
		seq_printf(m, "guest:\toffset %llu ratio %llu/2^%u%s\n", c.guest.offset,
			   c.guest.ratio, c.guest.ratio_shift,
			   c.guest_disruptions == parkclock_timebase_disruptions() ?
			   "" : " disrupted");
	/* Pairs with parkclock_clock_publish(). */
	vm = smp_load_acquire(&clock->vmclock);
	if (vm)
		seq_printf(m, "vmclock:\t%s\n", parkclock_vmclock_name(vm));
}

/**
 * parkclock_clock_query() - what a clock adds to the updater's answer
 * @clock: the clock
 * @q:     as parkclock_updater_query() left it
 *
 * Context: may sleep.
 */
void parkclock_clock_query(struct parkclock *clock, struct parkclock_query *q)
{
	mutex_lock(&clock->lock);
	q->holds = clock->holds;
	if (is_stopped(clock))
		q->flags |= PARKCLOCK_CLOCK_STOPPED;
	q->generation += clock->map->generation;
	q->boot_ns = clock->lived ? clock->boot_ns : parkclock_host_boot_ns();
	mutex_unlock(&clock->lock);
	q->clock = clock->id;
	parkclock_tasks_query(&clock->tasks, q);
}

/* What its clocks say, if it becomes @c, when the host's are @at */
static s64 monotonic(const struct change *c, const struct parkclock_now *at)
{
	return at->ns[PARKCLOCK_MONOTONIC] + c->monotonic_ns;
}

static s64 boottime(const struct change *c, const struct parkclock_now *at)
{
	return at->ns[PARKCLOCK_BOOTTIME] + c->boottime_ns;
}

static bool sum_in_range(s64 host_ns, s64 offset_ns)
{
	s64 ns;

	return !check_add_overflow(host_ns, offset_ns, &ns) && ns >= 1 && ns <= PARKCLOCK_MOST_NS;
}

/* MONOTONIC and BOOTTIME so far apart from the host's that they say this at @now */
static void say(struct change *c, const struct parkclock_now *now, s64 monotonic_ns,
		s64 boottime_ns)
{
	c->monotonic_ns = monotonic_ns - now->ns[PARKCLOCK_MONOTONIC];
	c->boottime_ns = boottime_ns - now->ns[PARKCLOCK_BOOTTIME];
}

/* The life of a fresh clock, from @now on; if it is stopped, that is where. */
static void begin(struct parkclock *clock, const struct parkclock_now *now, s64 monotonic_ns,
		  s64 boottime_ns, s64 boot_ns, u64 generation)
{
	struct change c = as_it_is(clock);

	lockdep_assert_held(&clock->lock);

	say(&c, now, monotonic_ns, boottime_ns);
	c.generation = generation - now->generation;
	clock->lived = true;
	clock->boot_ns = boot_ns;
	if (is_stopped(clock))
		clock->stopped = *now;
	change_page(clock, &c);
}

/**
 * parkclock_clock_epoch() - begin a life
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -EBUSY if it is not fresh.
 */
int parkclock_clock_epoch(struct parkclock *clock)
{
	struct parkclock_now now;
	int err = -EBUSY;

	mutex_lock(&clock->lock);
	if (clock->fresh) {
		parkclock_updater_now(&now);
		begin(clock, &now, 1, 1, now.ns[PARKCLOCK_REALTIME],
		      now.generation + clock->map->generation + 1);
		err = 0;
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_offsets() - set how far it is from the host's clocks
 * @clock:   the clock
 * @offsets: its MONOTONIC and BOOTTIME minus the host's
 *
 * Context: may sleep.
 * Return: 0, or -EBUSY or -ERANGE: see PARKCLOCK_IOC_OFFSETS.
 */
int parkclock_clock_offsets(struct parkclock *clock, const struct parkclock_offsets *offsets)
{
	struct parkclock_now now;
	struct change c;
	int err = 0;

	mutex_lock(&clock->lock);
	c = as_it_is(clock);
	if (is_stopped(clock))
		now = clock->stopped;
	else
		parkclock_updater_now(&now);
	if (!sum_in_range(now.ns[PARKCLOCK_MONOTONIC], offsets->monotonic_ns) ||
	    !sum_in_range(now.ns[PARKCLOCK_BOOTTIME], offsets->boottime_ns)) {
		err = -ERANGE;
	} else if (!clock->fresh && (offsets->monotonic_ns < c.monotonic_ns ||
				     offsets->boottime_ns < c.boottime_ns)) {
		err = -EBUSY;
	} else if (offsets->monotonic_ns != c.monotonic_ns ||
		   offsets->boottime_ns != c.boottime_ns) {
		c.monotonic_ns = offsets->monotonic_ns;
		c.boottime_ns = offsets->boottime_ns;
		c.generation++;
		change_page(clock, &c);
	}
	mutex_unlock(&clock->lock);
	return err;
}

static void stop(struct parkclock *clock)
{
	struct change c = as_it_is(clock);

	c.conditions |= PARKCLOCK_STATE_STOPPED;
	change_page(clock, &c);
	/*
	 * The state before the counter; pairs with the readers' second look at the
	 * state. Who has not seen it has read the counter before.
	 */
	smp_mb();
	parkclock_updater_now(&clock->stopped);
}

/**
 * parkclock_clock_stop() - let nobody have a time from it
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -EALREADY if it is stopped.
 */
int parkclock_clock_stop(struct parkclock *clock)
{
	int err = -EALREADY;

	mutex_lock(&clock->lock);
	if (!is_stopped(clock)) {
		stop(clock);
		err = 0;
	}
	mutex_unlock(&clock->lock);
	return err;
}

static void start(struct parkclock *clock, unsigned long gap)
{
	struct change c = as_it_is(clock);
	struct parkclock_now now;

	parkclock_updater_now(&now);
	c.conditions &= ~PARKCLOCK_STATE_STOPPED;
	if (gap == PARKCLOCK_GAP_FREEZE) {
		say(&c, &now, monotonic(&c, &clock->stopped), boottime(&c, &clock->stopped));
		c.generation++;
	}
	change_page(clock, &c);
}

/**
 * parkclock_clock_start() - let it have the time again
 * @clock: the clock
 * @gap:   PARKCLOCK_GAP_*: what becomes of the time for which it was stopped
 *
 * Context: may sleep.
 * Return: 0, or -EALREADY if it is not stopped, or -EINVAL for another @gap.
 */
int parkclock_clock_start(struct parkclock *clock, unsigned long gap)
{
	int err = -EALREADY;

	if (gap != PARKCLOCK_GAP_INCLUDE && gap != PARKCLOCK_GAP_FREEZE)
		return -EINVAL;
	mutex_lock(&clock->lock);
	if (is_stopped(clock)) {
		start(clock, gap);
		err = 0;
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_save() - stop it, and say where
 * @clock: the clock
 * @saved: filled in
 *
 * Context: may sleep.
 */
void parkclock_clock_save(struct parkclock *clock, struct parkclock_saved *saved)
{
	const struct parkclock_now *at = &clock->stopped;
	struct change c;

	mutex_lock(&clock->lock);
	WRITE_ONCE(clock->fresh, false);
	if (!is_stopped(clock))
		stop(clock);
	c = as_it_is(clock);
	*saved = (struct parkclock_saved) {
		.monotonic_ns = monotonic(&c, at),
		.boottime_ns = boottime(&c, at),
		.realtime_ns = at->ns[PARKCLOCK_REALTIME],
		.boot_ns = clock->lived ? clock->boot_ns : at->ns[PARKCLOCK_REALTIME] -
							   at->ns[PARKCLOCK_BOOTTIME],
		.generation = at->generation + c.generation,
	};
	mutex_unlock(&clock->lock);
	parkclock_saved_seal(saved);
}

/**
 * parkclock_clock_restore() - continue one that was saved
 * @clock: the clock
 * @saved: where it was stopped; it may come from anybody
 * @gap:   PARKCLOCK_GAP_*: what becomes of the time since then
 *
 * Context: may sleep.
 * Return: 0, or an error number: see PARKCLOCK_IOC_RESTORE.
 */
int parkclock_clock_restore(struct parkclock *clock, const struct parkclock_saved *saved,
			    u32 gap)
{
	struct parkclock_now now;
	s64 passed = 0;
	int err;

	if (gap != PARKCLOCK_GAP_INCLUDE && gap != PARKCLOCK_GAP_FREEZE)
		return -EINVAL;
	err = parkclock_saved_check(saved);
	if (err)
		return err;
	mutex_lock(&clock->lock);
	err = -EBUSY;
	if (!clock->fresh)
		goto out;
	parkclock_updater_now(&now);
	if (gap == PARKCLOCK_GAP_INCLUDE)
		passed = max(now.ns[PARKCLOCK_REALTIME] - saved->realtime_ns, 0LL);
	err = -ERANGE;
	if (!sum_in_range(saved->monotonic_ns, passed) || !sum_in_range(saved->boottime_ns, passed))
		goto out;
	begin(clock, &now, saved->monotonic_ns + passed, saved->boottime_ns + passed,
	      saved->boot_ns,
	      max(saved->generation, now.generation + clock->map->generation) + 1);
	err = 0;
out:
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_set_guest() - say how a guest's counter follows from the host's
 * @clock: the clock
 * @tsc:   how; reserved fields are zero
 *
 * Context: may sleep.
 * Return: 0, or -EINVAL, -ERANGE or -ESTALE: see PARKCLOCK_IOC_SET_GUEST_TSC.
 */
int parkclock_clock_set_guest(struct parkclock *clock, const struct parkclock_guest_tsc *tsc)
{
	struct parkclock_guest guest = PARKCLOCK_NO_GUEST;
	struct change c;
	int err = 0;

	if (tsc->ratio)
		err = parkclock_guest_make(&guest, tsc->offset, tsc->ratio, tsc->shift, rdtsc());
	else if (tsc->offset || tsc->shift || tsc->disruptions)
		err = -EINVAL;
	if (!err && tsc->ratio && tsc->disruptions != parkclock_timebase_disruptions())
		err = -ESTALE;
	if (err)
		return err;
	mutex_lock(&clock->lock);
	c = as_it_is(clock);
	c.conditions &= ~PARKCLOCK_STATE_GUEST;
	if (tsc->ratio)
		c.conditions |= PARKCLOCK_STATE_GUEST;
	c.guest = guest;
	/* Should there be another by now, this is out of date, and readers see that. */
	c.guest_disruptions = tsc->disruptions;
	change_page(clock, &c);
	mutex_unlock(&clock->lock);
	return 0;
}

/**
 * parkclock_clock_publish() - let it have a VMClock page
 * @clock:    the clock, which is not fresh any more
 * @clock_id: of which time: CLOCK_MONOTONIC or CLOCK_REALTIME
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: 0, or an error number: see PARKCLOCK_IOC_VMCLOCK.
 */
int parkclock_clock_publish(struct parkclock *clock, unsigned long clock_id)
{
	struct parkclock_vmclock *vm;
	unsigned int i;
	int err = 0;

	if (clock_id != CLOCK_MONOTONIC && clock_id != CLOCK_REALTIME)
		return -EINVAL;
	mutex_lock(&clock->lock);
	if (clock->vmclock) {
		err = -EALREADY;
		goto out;
	}
	vm = parkclock_vmclock_create(clock, parkclock_index(clock_id));
	if (IS_ERR(vm)) {
		err = PTR_ERR(vm);
		goto out;
	}
	/* Nobody can have read it before it is there. */
	WRITE_ONCE(clock->fresh, false);
	/* From here on its changes are seen; pairs with who maps the page. */
	smp_store_release(&clock->vmclock, vm);
	for (i = 0; i < clock->holds; i++)
		parkclock_vmclock_get(vm);
	parkclock_tasks_publish(&clock->tasks, vm);
out:
	mutex_unlock(&clock->lock);
	return err;
}
