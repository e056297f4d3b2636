// SPDX-License-Identifier: GPL-2.0
/*
 * A clock: what one open of the device has for itself.
 */
#include <linux/atomic.h>
#include <linux/container_of.h>
#include <linux/err.h>
#include <linux/limits.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <asm/msr.h>

#include "account.h"
#include "cgroups.h"
#include "clock.h"
#include "cpu_timer.h"
#include "host.h"
#include "pollers.h"
#include "shares.h"
#include "tasks.h"
#include "timebase.h"
#include "updater.h"
#include "vmclock.h"

static void registry_released(struct parkclock_registry *registry)
{
	parkclock_clock_put(container_of(registry, struct parkclock, registry));
}

/**
 * parkclock_clock_create() - create a clock that reads as clock_gettime() does here
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: the clock, or an ERR_PTR: -ENOMEM, or as from parkclock_account_charge().
 */
struct parkclock *parkclock_clock_create(void)
{
	static atomic64_t last_id = ATOMIC64_INIT(0);
	struct parkclock *clock = kzalloc(sizeof(*clock), GFP_KERNEL_ACCOUNT);
	int err = -ENOMEM;

	if (!clock)
		return ERR_PTR(-ENOMEM);
	clock->account = parkclock_account_open();
	if (!clock->account)
		goto err_clock;
	err = parkclock_account_charge(clock->account, PARKCLOCK_LIMIT_CLOCKS, 1, true);
	if (err)
		goto err_account;
	err = parkclock_page_create(&clock->page);
	if (err)
		goto err_charge;
	kref_init(&clock->users);
	refcount_set(&clock->keepers, 1);
	clock->id = atomic64_inc_return(&last_id);
	mutex_init(&clock->lock);
	mutex_init(&clock->use_lock);
	clock->fresh = true;
	init_waitqueue_head(&clock->jumped);
	parkclock_wall_timers_create(&clock->timers, &clock->lock, &clock->page,
				     &clock->stopped);
	/* Until its registrations are freed. */
	kref_get(&clock->users);
	parkclock_registry_create(&clock->registry, clock->account, registry_released);
	return clock;

err_charge:
	parkclock_account_uncharge(clock->account, PARKCLOCK_LIMIT_CLOCKS, 1);
err_account:
	parkclock_account_put(clock->account);
err_clock:
	kfree(clock);
	return ERR_PTR(err);
}

static void hang_up_cpu(struct parkclock *clock)
{
	mutex_lock(&clock->lock);
	clock->left = true;
	if (clock->cpu)
		parkclock_cpu_hang_up(clock->cpu);
	mutex_unlock(&clock->lock);
}

/**
 * parkclock_clock_keep() - somebody else is to keep the clock's registrations
 * @clock: the clock; whoever calls this keeps them already
 *
 * Context: any. Undone by parkclock_clock_let_go().
 */
void parkclock_clock_keep(struct parkclock *clock)
{
	refcount_inc(&clock->keepers);
}

/**
 * parkclock_clock_let_go() - undo parkclock_clock_keep()
 * @clock: the clock; if this was the last keeper, its registrations are ended
 *
 * Context: may sleep. If this was the last keeper, no ioctl of an owner can come any more: the
 * owner was one.
 */
void parkclock_clock_let_go(struct parkclock *clock)
{
	if (!refcount_dec_and_test(&clock->keepers))
		return;
	/*
	 * None of them holds anything when these return. Cgroups first: no CPU has taken the clock
	 * any more when its CPU time ends, and its page.
	 */
	parkclock_cgroups_destroy(&clock->registry);
	parkclock_tasks_destroy(&clock->registry);
	hang_up_cpu(clock);
	if (clock->vmclock)
		parkclock_vmclock_retire(clock->vmclock);
}

/**
 * parkclock_clock_leave() - the owner's last descriptor and mapping are gone
 * @clock: the clock; its references are dropped, and its registrations ended unless a view keeps
 *	   them
 *
 * Context: may sleep.
 */
void parkclock_clock_leave(struct parkclock *clock)
{
	unsigned int holds = clock->holds;

	parkclock_wall_timers_hang_up(&clock->timers);
	/* Nobody else changes @holds any more, but the fdinfo of a view still shows it. */
	WRITE_ONCE(clock->holds, 0);
	parkclock_account_uncharge(clock->account, PARKCLOCK_LIMIT_HOLDS, holds);
	while (holds--) {
		if (clock->vmclock)
			parkclock_vmclock_put(clock->vmclock);
		parkclock_updater_put();
		cond_resched();
	}
	parkclock_clock_let_go(clock);
	parkclock_clock_put(clock);
}

static void destroy(struct kref *users)
{
	struct parkclock *clock = container_of(users, struct parkclock, users);

	mutex_destroy(&clock->lock);
	mutex_destroy(&clock->use_lock);
	mutex_destroy(&clock->registry.lock);
	parkclock_cpu_destroy(clock->cpu);
	parkclock_shares_free(clock->registry.shares);
	if (clock->vmclock) {
		parkclock_vmclock_free(clock->vmclock);
		parkclock_account_uncharge(clock->account, PARKCLOCK_LIMIT_VMCLOCKS, 1);
	}
	parkclock_page_destroy(&clock->page);
	parkclock_account_uncharge(clock->account, PARKCLOCK_LIMIT_CLOCKS, 1);
	parkclock_account_put(clock->account);
	kfree(clock);
}

/**
 * parkclock_clock_put() - an open file of the clock is gone, or its registrations are
 * @clock: the clock; freed when nobody needs it any more
 *
 * Context: any but hard interrupts.
 */
void parkclock_clock_put(struct parkclock *clock)
{
	kref_put(&clock->users, destroy);
}

/**
 * parkclock_clock_hold() - take a reference that counts for this clock
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, -EOVERFLOW if PARKCLOCK_HOLD_MAX references are held already, or an error as
 * from parkclock_account_charge().
 */
int parkclock_clock_hold(struct parkclock *clock)
{
	int err = -EOVERFLOW;

	mutex_lock(&clock->lock);
	if (clock->holds < PARKCLOCK_HOLD_MAX)
		err = parkclock_account_charge(clock->account, PARKCLOCK_LIMIT_HOLDS, 1, true);
	if (!err) {
		WRITE_ONCE(clock->holds, clock->holds + 1);
		parkclock_updater_get(rdtsc());
		if (clock->vmclock)
			parkclock_vmclock_get(clock->vmclock);
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_release() - drop a reference of parkclock_clock_hold()
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -ENOENT if none is held.
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
		parkclock_account_uncharge(clock->account, PARKCLOCK_LIMIT_HOLDS, 1);
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_clock_use() - somebody is about to be able to read the clock
 * @clock: the clock; it is not fresh any more
 *
 * Context: may sleep; mmap_lock may be held.
 */
void parkclock_clock_use(struct parkclock *clock)
{
	/* Once false, @fresh stays false. */
	if (!READ_ONCE(clock->fresh))
		return;
	mutex_lock(&clock->use_lock);
	WRITE_ONCE(clock->fresh, false);
	mutex_unlock(&clock->use_lock);
}

/**
 * parkclock_clock_generation() - discontinuities of the clock and of the host so far
 * @clock: the clock
 *
 * Context: any but NMI.
 */
u64 parkclock_clock_generation(const struct parkclock *clock)
{
	return parkclock_host_generation() + READ_ONCE(clock->page.map->generation);
}

/**
 * parkclock_clock_change() - change page 0, and wake those who wait for a discontinuity
 * @clock: the clock
 * @to:    what the page becomes
 *
 * Context: may sleep; the clock's lock held.
 */
void parkclock_clock_change(struct parkclock *clock, const struct parkclock_change *to)
{
	lockdep_assert_held(&clock->lock);

	if (parkclock_page_change(&clock->page, to))
		parkclock_pollers_wake(&clock->jumped);
}

/**
 * parkclock_clock_show() - the clock's lines in /proc/PID/fdinfo
 * @clock: the clock
 * @m:     the file to print to
 *
 * Context: may sleep.
 */
void parkclock_clock_show(struct parkclock *clock, struct seq_file *m)
{
	const struct parkclock_vmclock *vm;
	unsigned long flags;
	struct parkclock_change c;

	/* Not the clock's lock: the holder of a view could keep the owner waiting for it. */
	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	c = parkclock_page_as_it_is(&clock->page);
	parkclock_timebase_unlock(flags);
	seq_printf(m, "parkclock:\t%llu\n", clock->id);
	seq_printf(m, "state:\t%s\n",
		   c.conditions & PARKCLOCK_STATE_STOPPED ? "stopped" : "running");
	seq_printf(m, "monotonic_offset_ns:\t%lld\n", c.monotonic_ns);
	seq_printf(m, "boottime_offset_ns:\t%lld\n", c.boottime_ns);
	seq_printf(m, "holds:\t%u\n", READ_ONCE(clock->holds));
	seq_printf(m, "tasks:\t%d\n", atomic_read(&clock->registry.count));
	if (c.conditions & PARKCLOCK_STATE_GUEST)
		seq_printf(m, "guest:\toffset %llu ratio %llu/2^%u%s\n", c.guest.offset,
			   c.guest.ratio, c.guest.ratio_shift,
			   c.guest_disruptions == parkclock_timebase_disruptions() ?
			   "" : " disrupted");
	/* Pairs with the release in parkclock_clock_publish(). */
	vm = smp_load_acquire(&clock->vmclock);
	if (vm)
		seq_printf(m, "vmclock:\t%s\n", parkclock_vmclock_name(vm));
}

/**
 * parkclock_clock_cpu() - what adds up the CPU time of a clock
 * @clock: the clock; from now on it has that
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: that, or NULL if there is no memory.
 */
struct parkclock_cpu *parkclock_clock_cpu(struct parkclock *clock)
{
	/* Pairs with the release below. */
	struct parkclock_cpu *cpu = smp_load_acquire(&clock->cpu);

	if (cpu)
		return cpu;
	/* Not under the lock: to get memory can take the caller's cgroup as long as it likes. */
	cpu = parkclock_cpu_create();
	if (!cpu)
		return NULL;
	mutex_lock(&clock->lock);
	if (clock->cpu) {
		parkclock_cpu_destroy(cpu);
		cpu = clock->cpu;
		goto out;
	}
	if (parkclock_page_stopped(&clock->page))
		parkclock_cpu_stop(cpu, true);
	parkclock_tasks_add_up(&clock->registry, cpu);
	if (clock->left)
		parkclock_cpu_hang_up(cpu);
	/* All is added up, then somebody reads it. */
	smp_store_release(&clock->cpu, cpu);
out:
	mutex_unlock(&clock->lock);
	return cpu;
}

/**
 * parkclock_clock_cpu_read() - read the CPU time of a clock
 * @clock: the clock
 * @r:     filled in
 *
 * Context: may sleep.
 * Return: 0, or -ENODATA if the clock is stopped.
 */
int parkclock_clock_cpu_read(struct parkclock *clock, struct parkclock_reading *r)
{
	/* Pairs with the release in parkclock_clock_cpu(). */
	struct parkclock_cpu *cpu = smp_load_acquire(&clock->cpu);
	struct parkclock_query q = {};

	if (parkclock_page_stopped(&clock->page))
		return -ENODATA;
	/* Where counters differ, a registration knows more of a task that runs here. */
	if (cpu && parkclock_host_usable())
		q.cpu_ns = parkclock_cpu_read(cpu);
	else
		parkclock_tasks_query(&clock->registry, &q);
	*r = (struct parkclock_reading) {
		.ns = min_t(u64, q.cpu_ns, S64_MAX),
		.cycles = rdtsc(),
		.generation = parkclock_clock_generation(clock),
	};
	return 0;
}

/**
 * parkclock_clock_query() - add a clock's part to the updater's answer
 * @clock: the clock
 * @q:     as parkclock_updater_query() left it
 *
 * Context: may sleep.
 */
void parkclock_clock_query(struct parkclock *clock, struct parkclock_query *q)
{
	mutex_lock(&clock->lock);
	q->holds = clock->holds;
	if (parkclock_page_stopped(&clock->page))
		q->flags |= PARKCLOCK_CLOCK_STOPPED;
	q->generation += clock->page.map->generation;
	q->boot_ns = clock->lived ? clock->boot_ns : parkclock_host_boot_ns();
	mutex_unlock(&clock->lock);
	q->clock = clock->id;
	parkclock_tasks_query(&clock->registry, q);
}

/**
 * parkclock_clock_set_guest() - set how a guest's counter follows from the host's
 * @clock: the clock
 * @tsc:   the terms; reserved fields are zero
 *
 * Context: may sleep.
 * Return: 0, or -EINVAL, -ERANGE or -ESTALE: see PARKCLOCK_IOC_SET_GUEST_TSC.
 */
int parkclock_clock_set_guest(struct parkclock *clock, const struct parkclock_guest_tsc *tsc)
{
	struct parkclock_guest guest = PARKCLOCK_NO_GUEST;
	struct parkclock_change c;
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
	c = parkclock_page_as_it_is(&clock->page);
	c.conditions &= ~PARKCLOCK_STATE_GUEST;
	if (tsc->ratio)
		c.conditions |= PARKCLOCK_STATE_GUEST;
	c.guest = guest;
	/* If a disruption has come meanwhile, readers see that these terms are out of date. */
	c.guest_disruptions = tsc->disruptions;
	parkclock_clock_change(clock, &c);
	mutex_unlock(&clock->lock);
	return 0;
}

/**
 * parkclock_clock_publish() - give the clock a VMClock page
 * @clock:    the clock; it is not fresh any more
 * @clock_id: the time to publish: CLOCK_MONOTONIC or CLOCK_REALTIME
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
	err = parkclock_account_charge(clock->account, PARKCLOCK_LIMIT_VMCLOCKS, 1, true);
	if (err)
		goto out;
	vm = parkclock_vmclock_create(&clock->page, parkclock_index(clock_id));
	if (IS_ERR(vm)) {
		parkclock_account_uncharge(clock->account, PARKCLOCK_LIMIT_VMCLOCKS, 1);
		err = PTR_ERR(vm);
		goto out;
	}
	/* Nobody can read the page before the store below. */
	WRITE_ONCE(clock->fresh, false);
	/* From here on the page can be mapped; pairs with the acquire in parkclock_file_mmap(). */
	smp_store_release(&clock->vmclock, vm);
	for (i = 0; i < clock->holds; i++) {
		parkclock_vmclock_get(vm);
		cond_resched();
	}
	parkclock_tasks_publish(&clock->registry, vm);
out:
	mutex_unlock(&clock->lock);
	return err;
}
