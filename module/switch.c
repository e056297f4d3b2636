// SPDX-License-Identifier: GPL-2.0
/*
 * Context switches of registered tasks.
 *
 * A registered task holds a reference to the updater from being switched in until it
 * blocks or dies. Being preempted keeps the reference. A probe on the tracepoint
 * sched_switch takes the reference before the task runs, so the page is valid before the
 * task's first instruction. The probes are attached while anything is registered.
 *
 * For every switch on the host the probe looks up both tasks (table.c).
 *
 * The probe runs under a run-queue lock with interrupts disabled, on PREEMPT_RT too. It
 * takes raw locks only, allocates nothing and wakes nobody. To RCU it is a reader, so what
 * it finds in the table stays for as long as it runs. Under the run-queue lock it may take
 *
 *	parkclock_registration.lock	orders the task's switches with settle, remove and
 *					QUERY; and under that
 *	  parkclock_cpu.lock		where the clock has CPU timers
 *	  parkclock_timebase_lock	in parkclock_updater_get() and parkclock_vmclock_get()
 *	  parkclock_table_lock		in parkclock_switch_remove()
 *	parkclock_table_lock		changes of the table and the lists
 *
 * The switches of one task come one after another, on whatever CPUs. The run-queue locks
 * order each after the one before.
 *
 * A task that registers itself is running, and its own switches see the registration. A
 * task that another one registers may be anywhere in a switch at that time. So its
 * registration is added to the table first; then a grace period is waited for. Interrupts
 * are disabled from before a switch's probe until after the switch has changed on_cpu. The
 * switch does report a quiescent state before the probe. But that counts only for grace
 * periods that had begun by then, and after the beginning of ours the probe sees what was
 * added. So after the grace period every switch either has seen the registration, or is
 * over and has changed on_cpu. If no switch has seen it, the task has not switched since,
 * and on_cpu tells whether it runs (parkclock_switch_settle()).
 */
#include <linux/binfmts.h>
#include <linux/mm_types.h>	/* of which trace/events/sched.h has need */
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <trace/events/sched.h>
#include <asm/msr.h>

#include "cgroups.h"
#include "cpu_timer.h"
#include "host.h"
#include "probes.h"
#include "registration.h"
#include "shares.h"
#include "switch.h"
#include "table.h"
#include "timebase.h"
#include "trace.h"
#include "updater.h"
#include "vmclock.h"

struct transitions {
	u64 begun;	/* references taken */
	u64 ended;	/* references dropped */
	u64 wakes;	/* references whose get found the updater parked */
};

static DEFINE_PER_CPU(struct transitions, transitions);

/**
 * parkclock_switch_publish() - let a registration hold its clock's VMClock page, too
 * @r: a registration that was added before the page was created
 *
 * Context: any but NMI.
 */
void parkclock_switch_publish(struct parkclock_registration *r)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&r->lock, flags);
	if (!(r->hold & PARKCLOCK_TASK_PUBLISHES)) {
		r->hold |= PARKCLOCK_TASK_PUBLISHES;
		if (r->hold & PARKCLOCK_TASK_HOLDS)
			parkclock_vmclock_get(r->registry->vmclock);
	}
	raw_spin_unlock_irqrestore(&r->lock, flags);
}

/**
 * parkclock_switch_add_up() - let what a task runs be added up
 * @r: a registration that was added before registry->cpu was set
 *
 * Context: any but NMI.
 */
void parkclock_switch_add_up(struct parkclock_registration *r)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&r->lock, flags);
	if (!(r->hold & PARKCLOCK_TASK_TIMED)) {
		r->hold |= PARKCLOCK_TASK_TIMED;
		parkclock_cpu_ran(r->registry->cpu, r->ran);
		if (r->running && !(r->hold & PARKCLOCK_TASK_SHARES))
			parkclock_cpu_begin(r->registry->cpu, r->since, r->cpu);
	}
	raw_spin_unlock_irqrestore(&r->lock, flags);
}

/* For a registration that holds nothing yet. */
static __always_inline void take_reference(struct parkclock_registration *r, u64 cycles)
{
	this_cpu_inc(transitions.begun);
	if (parkclock_updater_get(cycles)) {
		this_cpu_inc(transitions.wakes);
		trace_parkclock_run_wake(r->entry.task);
	}
}

/* The slow part of begin(). */
static noinline void begin_slow(struct parkclock_registration *r, u64 cycles)
{
	if (r->hold & PARKCLOCK_TASK_SHARES)
		parkclock_share_begin(r->registry, r->cpu, cycles);
	else if (r->hold & PARKCLOCK_TASK_TIMED)
		parkclock_cpu_begin(r->registry->cpu, cycles, r->cpu);
	if (!(r->hold & PARKCLOCK_TASK_HOLDS)) {
		r->hold |= PARKCLOCK_TASK_HOLDS;
		take_reference(r, cycles);
		if (r->hold & PARKCLOCK_TASK_PUBLISHES)
			parkclock_vmclock_get(r->registry->vmclock);
	} else if (unlikely(parkclock_timebase_stale(cycles))) {
		/* The task was preempted and kept its reference, but the timer is late. */
		parkclock_updater_get_slow();
	}
}

/* The slow part of end(). */
static noinline void end_slow(struct parkclock_registration *r)
{
	if (!(r->hold & PARKCLOCK_TASK_HOLDS))
		return;
	r->hold &= ~PARKCLOCK_TASK_HOLDS;
	if (r->hold & PARKCLOCK_TASK_PUBLISHES)
		parkclock_vmclock_put(r->registry->vmclock);
	this_cpu_inc(transitions.ended);
	parkclock_updater_put();
}

/* The task begins to run on @cpu. */
static __always_inline void begin(struct parkclock_registration *r, int cpu)
{
	u64 cycles = rdtsc();

	lockdep_assert_held(&r->lock);

	/* The probe can be late: remove() has ended the registration. */
	if (READ_ONCE(r->entry.ended))
		return;
	r->running = true;
	r->cpu = cpu;
	r->since = cycles;
	if (!r->hold) {
		r->hold = PARKCLOCK_TASK_HOLDS;
		take_reference(r, cycles);
	} else {
		begin_slow(r, cycles);
	}
}

/* A run has ended. Returns what is counted in the registration, and not in a share. */
static noinline u64 count(struct parkclock_registration *r, u64 ran)
{
	if (r->hold & PARKCLOCK_TASK_SHARES) {
		parkclock_share_end(r->registry, r->cpu);
		return 0;
	}
	parkclock_cpu_end(r->registry->cpu, r->since, r->cpu, ran);
	return ran;
}

/* The task stops running. If it was preempted it keeps its reference. */
static __always_inline void end(struct parkclock_registration *r, u64 ran, bool preempted)
{
	lockdep_assert_held(&r->lock);

	if (unlikely(r->hold & (PARKCLOCK_TASK_TIMED | PARKCLOCK_TASK_SHARES)) && r->running)
		ran = count(r, ran);
	r->ran += ran;
	r->running = false;
	if (preempted)
		return;
	if (r->hold == PARKCLOCK_TASK_HOLDS) {
		r->hold = 0;
		this_cpu_inc(transitions.ended);
		parkclock_updater_put();
	} else {
		end_slow(r);
	}
}

/*
 * How long the task has run since it was switched in, as seen from any CPU. Where the
 * counters of CPUs differ, 0, because nothing more is certain.
 */
static u64 runs_for(const struct parkclock_registration *r)
{
	lockdep_assert_held(&r->lock);

	if (!r->running || (r->cpu != smp_processor_id() && !parkclock_host_usable()))
		return 0;
	return parkclock_passed(r->since);
}

/**
 * parkclock_switch_share() - let what a task runs be counted in its CPU's share
 * @r: a registration that was added before registry->shares was set
 *
 * Context: any but NMI.
 */
void parkclock_switch_share(struct parkclock_registration *r)
{
	unsigned long flags;
	u64 ran;

	raw_spin_lock_irqsave(&r->lock, flags);
	if (!(r->hold & PARKCLOCK_TASK_SHARES)) {
		if (r->running) {
			ran = runs_for(r);
			if (r->hold & PARKCLOCK_TASK_TIMED)
				parkclock_cpu_end(r->registry->cpu, r->since, r->cpu, ran);
			r->ran += ran;
			parkclock_share_begin(r->registry, r->cpu, rdtsc());
		}
		r->hold |= PARKCLOCK_TASK_SHARES;
	}
	raw_spin_unlock_irqrestore(&r->lock, flags);
}

/* Called in the last switch of the task. */
static noinline void died(struct parkclock_registration *r)
{
	if (parkclock_table_take_out(&r->entry))
		parkclock_registration_discard(r);
}

/*
 * @prev_state: the state in which the task blocks, or 0 if it was preempted. A task may have
 * a state and not block, because a signal keeps it from that. Then the reference is dropped,
 * and taken again when the task is switched in.
 */
static noinline void switch_out(const struct parkclock_table *table, u64 hash,
				const struct task_struct *prev, unsigned int prev_state)
{
	struct parkclock_registration *r;
	struct parkclock_entry *e;
	struct hlist_node *link;

	for (link = parkclock_table_first(table, hash); link; link = parkclock_table_next(link)) {
		e = parkclock_table_entry(table, link);
		if (e->task != prev)
			continue;
		r = parkclock_registration_of(e);
		raw_spin_lock(&r->lock);
		r->seen = true;
		/* This is the CPU that the task ran on; settle() may have recorded another. */
		end(r, r->running ? parkclock_passed(r->since) : 0, !prev_state);
		raw_spin_unlock(&r->lock);
		if (unlikely(prev_state & TASK_DEAD))
			died(r);
	}
}

static noinline void switch_in(const struct parkclock_table *table, u64 hash,
			       const struct task_struct *next)
{
	struct parkclock_registration *r;
	struct parkclock_entry *e;
	struct hlist_node *link;

	for (link = parkclock_table_first(table, hash); link; link = parkclock_table_next(link)) {
		e = parkclock_table_entry(table, link);
		if (e->task != next)
			continue;
		r = parkclock_registration_of(e);
		raw_spin_lock(&r->lock);
		r->seen = true;
		begin(r, smp_processor_id());
		raw_spin_unlock(&r->lock);
	}
}

/*
 * The probe: under the run-queue lock, in the context of @prev. A task that is preempted on
 * its way to block has a state, but goes on running later: it counts as preempted.
 */
static void on_switch(void *data, bool preempt, struct task_struct *prev,
		      struct task_struct *next, unsigned int prev_state)
{
	const struct parkclock_table *table = parkclock_table_get();
	u64 hash = parkclock_table_hash(prev);

	if (unlikely(parkclock_table_maybe(table, hash)))
		switch_out(table, hash, prev, preempt ? 0 : prev_state);
	parkclock_cgroups_switch(next);
	hash = parkclock_table_hash(next);
	if (unlikely(parkclock_table_maybe(table, hash)))
		switch_in(table, hash, next);
}

/* In the parent's context, before the child can run. Preemption may be disabled. */
static void on_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	const u64 hash = parkclock_table_hash(parent);
	const struct parkclock_table *table;
	struct parkclock_registration *r;
	struct parkclock_entry *e;
	struct hlist_node *link;

	/*
	 * The child is among its process's threads, then look for the parent. Pairs
	 * with the barrier in catch_up(), where the parent is added, then the threads are
	 * looked for: one of the two sees both the child and its parent.
	 */
	smp_mb();
	rcu_read_lock();
	table = parkclock_table_get();
	for (link = parkclock_table_first(table, hash); link; link = parkclock_table_next(link)) {
		e = parkclock_table_entry(table, link);
		r = parkclock_registration_of(e);
		if (e->task == parent && READ_ONCE(r->inherit))
			parkclock_registration_inherit(r, child);
	}
	rcu_read_unlock();
}

/*
 * A program that gains privileges is not the one that was registered: what it does when is
 * nobody's business. In the task's own context, when the new program is in place.
 */
static void on_exec(void *data, struct task_struct *task, pid_t old_pid,
		    struct linux_binprm *bprm)
{
	const u64 hash = parkclock_table_hash(task);
	const struct parkclock_table *table;
	struct parkclock_registration *r;
	struct parkclock_entry *e;
	struct hlist_node *link;

	if (likely(!bprm->secureexec))
		return;
	rcu_read_lock();
	table = parkclock_table_get();
	for (link = parkclock_table_first(table, hash); link; link = parkclock_table_next(link)) {
		e = parkclock_table_entry(table, link);
		r = parkclock_registration_of(e);
		if (e->task != task || !parkclock_switch_remove(r))
			continue;
		trace_parkclock_exec(task);
		parkclock_registration_discard(r);
	}
	rcu_read_unlock();
}

/**
 * parkclock_switch_remove() - end a registration
 * @r: the registration; its reference is dropped, and the time that its task ran is final
 *
 * Context: any but NMI.
 * Return: true; or false if it was taken out before, for example in its task's last switch.
 */
bool parkclock_switch_remove(struct parkclock_registration *r)
{
	unsigned long flags;
	bool taken;

	raw_spin_lock_irqsave(&r->lock, flags);
	/*
	 * Before it is taken out: the next switch does not find it, and then nobody knows
	 * for how long the task ran. A switch that has found it waits for the lock.
	 */
	end(r, runs_for(r), false);
	taken = parkclock_table_take_out(&r->entry);
	raw_spin_unlock_irqrestore(&r->lock, flags);
	return taken;
}

static bool is_on_cpu(const struct task_struct *task)
{
#ifdef CONFIG_SMP
	return READ_ONCE(task->on_cpu);
#else
	return task == current;
#endif
}

/**
 * parkclock_switch_settle() - take the reference of a task that runs already
 * @r: its registration, added; if the task is not the caller, a grace period ago
 *
 * Context: any but NMI. The caller has a reference to the task.
 * Return: true, or false if the task is dead, or about to switch for the last time.
 */
bool parkclock_switch_settle(struct parkclock_registration *r)
{
	unsigned long flags;
	bool alive = true;

	raw_spin_lock_irqsave(&r->lock, flags);
	if (!r->seen) {
		if (READ_ONCE(r->entry.task->__state) & TASK_DEAD)
			alive = false;
		else if (is_on_cpu(r->entry.task))
			begin(r, task_cpu(r->entry.task));
	}
	raw_spin_unlock_irqrestore(&r->lock, flags);
	return alive;
}

/**
 * parkclock_switch_ran() - how long a task has run since it was registered
 * @r:       its registration
 * @holding: set to true if the task runs or was preempted
 *
 * Context: any but NMI.
 * Return: the time, in cycles.
 */
u64 parkclock_switch_ran(struct parkclock_registration *r, bool *holding)
{
	unsigned long flags;
	u64 cycles;

	raw_spin_lock_irqsave(&r->lock, flags);
	cycles = r->ran;
	if (!(r->hold & PARKCLOCK_TASK_SHARES))
		cycles += runs_for(r);
	*holding = r->hold & PARKCLOCK_TASK_HOLDS;
	raw_spin_unlock_irqrestore(&r->lock, flags);
	return cycles;
}

/**
 * parkclock_switch_query() - the part of QUERY about all registrations
 * @q: its members about registrations are filled in
 *
 * Context: any.
 */
void parkclock_switch_query(struct parkclock_query *q)
{
	u64 ended = 0;
	int cpu;

	q->all_tasks = parkclock_table_count();
	for_each_possible_cpu(cpu)
		ended += READ_ONCE(per_cpu(transitions.ended, cpu));
	/* Ends before begins: what has ended has begun. On x86 all CPUs see that in order. */
	smp_rmb();
	for_each_possible_cpu(cpu) {
		q->run_transitions += READ_ONCE(per_cpu(transitions.begun, cpu));
		q->run_wakes += READ_ONCE(per_cpu(transitions.wakes, cpu));
	}
	q->all_running = q->run_transitions - ended;
	parkclock_cgroups_query(q);
}

static struct parkclock_probe probes[] = {
	{ .name = "sched_switch", .probe = on_switch },
	{ .name = "sched_process_fork", .probe = on_fork },
	{ .name = "sched_process_exec", .probe = on_exec },
#ifdef CONFIG_CGROUPS
	{ .name = "cgroup_attach_task", .probe = parkclock_cgroups_attach },
	{ .name = "cgroup_mkdir", .probe = parkclock_cgroups_mkdir },
	{ .name = "cgroup_rmdir", .probe = parkclock_cgroups_rmdir },
#endif
};

/**
 * parkclock_switch_init() - prepare for registrations
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int parkclock_switch_init(void)
{
	int err;

	check_trace_callback_type_sched_switch(on_switch);
	check_trace_callback_type_sched_process_fork(on_fork);
	check_trace_callback_type_sched_process_exec(on_exec);
	parkclock_probes_init(probes, ARRAY_SIZE(probes));
	err = parkclock_cgroups_init();
	if (err)
		return err;
	err = parkclock_registration_init();
	if (err)
		parkclock_cgroups_exit();
	return err;
}

/**
 * parkclock_switch_exit() - detach the probes, and free all that is left
 *
 * When this returns no probe runs.
 *
 * Context: may sleep. Nothing is registered, and no clock has an owner.
 */
void parkclock_switch_exit(void)
{
	/* A probe may still discard a registration; freeing one unpins the probes. */
	parkclock_probes_detach();
	parkclock_cgroups_exit();
	parkclock_registration_exit();
	parkclock_probes_exit();
}
