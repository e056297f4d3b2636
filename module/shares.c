// SPDX-License-Identifier: GPL-2.0
/*
 * What of a clock runs on each CPU: for clocks that have a registered cgroup, or had one.
 *
 * A CPU that runs a task of a registered cgroup counts its time here, for the clock. A task may
 * be registered by itself with the same clock besides. Its time, too, is counted here then, and
 * no longer in its registration: on one CPU the clock's time goes on while there is a reason for
 * that, one or more, so that nothing is counted twice.
 *
 * A share's lock is taken under parkclock_registration.lock, and under the run-queue lock alone;
 * under it are taken what the former may take, too: parkclock_cpu.lock, parkclock_timebase_lock.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include "cpu_timer.h"
#include "host.h"
#include "shares.h"
#include "vmclock.h"

/* A reason more for the time to go on */
static void begin(struct parkclock_registry *registry, struct parkclock_share *s, int cpu,
		  u64 cycles)
{
	lockdep_assert_held(&s->lock);

	if (s->runs++)
		return;
	s->since = cycles;
	if (s->hold & PARKCLOCK_TASK_TIMED)
		parkclock_cpu_begin(registry->cpu, cycles, cpu);
}

/*
 * How long the run has lasted, as seen from any CPU. Where the counters of CPUs differ, 0,
 * because nothing more is certain.
 */
static u64 runs_for(u64 since, int cpu)
{
	if (cpu != smp_processor_id() && !parkclock_host_usable())
		return 0;
	return parkclock_passed(since);
}

/* A reason less */
static void end(struct parkclock_registry *registry, struct parkclock_share *s, int cpu)
{
	u64 ran;

	lockdep_assert_held(&s->lock);

	if (--s->runs)
		return;
	ran = runs_for(s->since, cpu);
	s->ran += ran;
	if (s->hold & PARKCLOCK_TASK_TIMED)
		parkclock_cpu_end(registry->cpu, s->since, cpu, ran);
}

/**
 * parkclock_share_cover_slow() - the slow part of parkclock_share_cover()
 * @registry: the clock's registrations
 * @cycles:   the counter now
 *
 * Context: interrupts disabled, also under a run-queue lock.
 */
void parkclock_share_cover_slow(struct parkclock_registry *registry, u64 cycles)
{
	struct parkclock_share *s = this_cpu_ptr(registry->shares);

	raw_spin_lock(&s->lock);
	s->covers = true;
	begin(registry, s, smp_processor_id(), cycles);
	if (s->hold & PARKCLOCK_TASK_PUBLISHES)
		parkclock_vmclock_get(registry->vmclock);
	raw_spin_unlock(&s->lock);
}

/**
 * parkclock_share_uncover_slow() - the slow part of parkclock_share_uncover()
 * @registry: the clock's registrations
 *
 * Context: interrupts disabled, also under a run-queue lock.
 */
void parkclock_share_uncover_slow(struct parkclock_registry *registry)
{
	struct parkclock_share *s = this_cpu_ptr(registry->shares);

	raw_spin_lock(&s->lock);
	s->covers = false;
	end(registry, s, smp_processor_id());
	if (s->hold & PARKCLOCK_TASK_PUBLISHES)
		parkclock_vmclock_put(registry->vmclock);
	raw_spin_unlock(&s->lock);
}

/**
 * parkclock_share_begin() - a registered task begins to run
 * @registry: the clock's registrations, in whose shares tasks are counted
 * @cpu:      where it runs
 * @cycles:   the counter now
 *
 * Context: interrupts disabled, also under a run-queue lock.
 */
void parkclock_share_begin(struct parkclock_registry *registry, int cpu, u64 cycles)
{
	struct parkclock_share *s = per_cpu_ptr(registry->shares, cpu);

	raw_spin_lock(&s->lock);
	begin(registry, s, cpu, cycles);
	raw_spin_unlock(&s->lock);
}

/**
 * parkclock_share_end() - take back parkclock_share_begin()
 * @registry: the clock's registrations
 * @cpu:      as parkclock_share_begin() had it
 *
 * Context: interrupts disabled, also under a run-queue lock.
 */
void parkclock_share_end(struct parkclock_registry *registry, int cpu)
{
	struct parkclock_share *s = per_cpu_ptr(registry->shares, cpu);

	raw_spin_lock(&s->lock);
	end(registry, s, cpu);
	raw_spin_unlock(&s->lock);
}

/**
 * parkclock_shares_alloc() - allocate shares
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: the shares, or NULL if there is no memory.
 */
struct parkclock_share __percpu *parkclock_shares_alloc(void)
{
	struct parkclock_share __percpu *shares;
	int cpu;

	shares = alloc_percpu_gfp(struct parkclock_share, GFP_KERNEL_ACCOUNT);
	if (!shares)
		return NULL;
	for_each_possible_cpu(cpu) {
		raw_spin_lock_init(&per_cpu_ptr(shares, cpu)->lock);
		seqcount_init(&per_cpu_ptr(shares, cpu)->seq);
	}
	return shares;
}

/**
 * parkclock_shares_free() - free shares
 * @shares: what parkclock_shares_alloc() returned, or NULL; nobody uses them any more
 *
 * Context: any but hard interrupts.
 */
void parkclock_shares_free(struct parkclock_share __percpu *shares)
{
	free_percpu(shares);
}

/**
 * parkclock_shares_prepare() - before shares are a clock's
 * @registry: the clock's registrations; their lock is held
 * @shares:   the shares
 *
 * Context: may sleep.
 */
void parkclock_shares_prepare(const struct parkclock_registry *registry,
			      struct parkclock_share __percpu *shares)
{
	const u8 hold = (registry->vmclock ? PARKCLOCK_TASK_PUBLISHES : 0) |
			(registry->cpu ? PARKCLOCK_TASK_TIMED : 0) |
			(list_empty(&registry->list) ? 0 : PARKCLOCK_TASK_SHARES);
	int cpu;

	lockdep_assert_held(&registry->lock);

	for_each_possible_cpu(cpu)
		per_cpu_ptr(shares, cpu)->hold = hold;
}

struct setting {
	struct parkclock_registry *registry;
	u8 bit;
};

static void set_one(const struct setting *setting, int cpu)
{
	struct parkclock_registry *registry = setting->registry;
	struct parkclock_share *s = per_cpu_ptr(registry->shares, cpu);

	raw_spin_lock(&s->lock);
	if (!s->hold)
		s->runs = s->covers;
	if (setting->bit & ~s->hold & PARKCLOCK_TASK_PUBLISHES && s->covers)
		parkclock_vmclock_get(registry->vmclock);
	if (setting->bit & ~s->hold & PARKCLOCK_TASK_TIMED) {
		parkclock_cpu_ran(registry->cpu, s->ran);
		if (s->runs)
			parkclock_cpu_begin(registry->cpu, s->since, cpu);
	}
	s->hold |= setting->bit;
	raw_spin_unlock(&s->lock);
}

/* In an interrupt on each CPU */
static void set_here(void *setting)
{
	set_one(setting, smp_processor_id());
}

/**
 * parkclock_shares_set() - set a bit of the shares' @hold
 * @registry: the clock's registrations; their lock is held, and they have what the bit is about
 * @bit:      PARKCLOCK_TASK_PUBLISHES, _TIMED or _SHARES
 *
 * Each CPU does it for itself, so that it is not in the middle of a switch, which may take no lock.
 *
 * Context: may sleep.
 */
void parkclock_shares_set(struct parkclock_registry *registry, u8 bit)
{
	struct setting setting = { registry, bit };
	unsigned long flags;
	int cpu;

	lockdep_assert_held(&registry->lock);

	/* All have the same bits. */
	if (!registry->shares || this_cpu_read(registry->shares->hold) & bit)
		return;
	cpus_read_lock();
	on_each_cpu(set_here, &setting, true);
	for_each_possible_cpu(cpu) {
		if (cpu_online(cpu))
			continue;
		local_irq_save(flags);
		set_one(&setting, cpu);
		local_irq_restore(flags);
	}
	cpus_read_unlock();
}

/**
 * parkclock_shares_ran() - how long a clock's CPU time went on, by its shares
 * @registry: the clock's registrations; their lock is held
 * @covers:   raised by the number of CPUs that run a task of a registered cgroup which is not
 *	      counted by its own registration
 *
 * Context: may sleep.
 * Return: the time, in cycles.
 */
u64 parkclock_shares_ran(struct parkclock_registry *registry, u64 *covers)
{
	struct parkclock_share *s;
	unsigned long flags;
	u64 cycles = 0, ran;
	unsigned int seq;
	bool alone;
	int cpu;

	lockdep_assert_held(&registry->lock);

	if (!registry->shares)
		return 0;
	for_each_possible_cpu(cpu) {
		s = per_cpu_ptr(registry->shares, cpu);
		raw_spin_lock_irqsave(&s->lock, flags);
		do {
			seq = read_seqcount_begin(&s->seq);
			ran = s->ran;
			alone = s->covers && (!s->hold || s->runs == 1);
			if (s->hold ? s->runs : s->covers)
				ran += runs_for(s->since, cpu);
		} while (read_seqcount_retry(&s->seq, seq));
		raw_spin_unlock_irqrestore(&s->lock, flags);
		cycles += ran;
		*covers += alone;
	}
	return cycles;
}
