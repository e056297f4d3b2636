// SPDX-License-Identifier: GPL-2.0
/*
 * Context switches of registered tasks.
 *
 * A registered task holds a reference to the updater from being switched in until
 * it blocks or dies; being preempted keeps it. The reference is taken by a probe on
 * the tracepoint sched_switch, before the task runs: the page is valid before its
 * first instruction. The probes are attached while anything is registered.
 *
 * Of every switch on the host the probe looks up both tasks. Nearly always neither is
 * registered, which one bit of a filter tells; else it is found in a hash table by
 * its address. An address is as good as a reference here: the last switch of a task
 * takes it out of the table, before the address can be anybody else's.
 *
 * The probe runs under a run-queue lock with interrupts disabled, on PREEMPT_RT too.
 * It takes raw locks only, allocates nothing and wakes nobody. What it finds in the
 * table stays for as long as it runs, because to RCU it is a reader. Under the
 * run-queue lock it may take
 *
 *	parkclock_task.lock		the task's switches against those who come from
 *					the side: settle, remove, QUERY; and under that
 *	  parkclock_timebase_lock	in parkclock_updater_get() and parkclock_vmclock_get()
 *	table_lock			changes of the table, filter and lists
 *
 * The switches of one task come one after another, on whatever CPUs, each ordered
 * after the one before by the run-queue locks.
 *
 * A task that is registered by another may be anywhere in a switch at that time. It
 * is added to the table first; then a grace period is waited for. From before its
 * probe until after it has changed on_cpu a switch has interrupts disabled. It does
 * report a quiescent state, before the probe; but that counts for grace periods only
 * that had begun by then, and after the beginning of ours the probe sees what was
 * added. So after the grace period every switch either has seen the registration or
 * is over, and on_cpu with it. If none has seen it, the task has not switched since,
 * and on_cpu tells whether it runs (parkclock_switch_settle()). Who registers itself
 * needs no grace period: it runs, and would see its own switches.
 */
#include <linux/hash.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rculist.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>
#include <trace/events/sched.h>
#include <asm/msr.h>

#include "segment.h"
#include "host.h"
#include "switch.h"
#include "tasks.h"
#include "timebase.h"
#include "trace.h"
#include "updater.h"
#include "vmclock.h"

/* 10,000 tasks set one bit of the filter in 26, and few share a bucket. */
#define FILTER_BITS	18
#define BUCKET_BITS	14

static DECLARE_BITMAP(filter, 1 << FILTER_BITS);
static struct hlist_head table[1 << BUCKET_BITS];
static DEFINE_RAW_SPINLOCK(table_lock);
static unsigned int all_tasks;		/* in the table; protected by table_lock */

/*
 * Whether the probes are attached, and how many need them. When nobody does any more
 * they are detached a second later: each time, the kernel's text is changed.
 */
static DEFINE_MUTEX(attach_lock);
static bool attached;
static atomic_t pins = ATOMIC_INIT(0);

static void detach_unneeded(struct work_struct *work);
static DECLARE_DELAYED_WORK(detach_work, detach_unneeded);

/* Not all kernels have them. */
static struct tracepoint *switch_tracepoint, *fork_tracepoint;

struct transitions {
	u64 begun;	/* references taken */
	u64 ended;	/* and dropped */
	u64 wakes;	/* those that found the updater parked */
};

static DEFINE_PER_CPU(struct transitions, transitions);

static u32 hash_of(const struct task_struct *task)
{
	return hash_ptr(task, FILTER_BITS);
}

static struct hlist_head *bucket_of(u32 hash)
{
	/* As a sum: of an index, a kernel with UBSAN would check the bounds at each switch. */
	return table + (hash >> (FILTER_BITS - BUCKET_BITS));
}

/**
 * parkclock_switch_prepare() - fill in a registration
 * @t:       zeroed
 * @tasks:   the clock's registrations
 * @task:    the task
 * @inherit: see struct parkclock_task
 *
 * Context: any.
 */
void parkclock_switch_prepare(struct parkclock_task *t, struct parkclock_tasks *tasks,
			      struct task_struct *task, bool inherit)
{
	t->tasks = tasks;
	t->task = task;
	t->hash = hash_of(task);
	t->inherit = inherit;
	raw_spin_lock_init(&t->lock);
}

/**
 * parkclock_switch_check() - can a task be added?
 * @tasks: the clock's registrations
 * @task:  the task
 *
 * Context: an RCU reader.
 * Return: 0, -EEXIST, or -ENOSPC if the task has too many clocks.
 */
int parkclock_switch_check(const struct parkclock_tasks *tasks, const struct task_struct *task)
{
	const struct parkclock_task *t;
	unsigned int clocks = 0;

	hlist_for_each_entry_rcu(t, bucket_of(hash_of(task)), link,
				 lockdep_is_held(&table_lock)) {
		if (t->task != task)
			continue;
		if (t->tasks == tasks)
			return -EEXIST;
		clocks++;
	}
	return clocks < PARKCLOCK_TASK_CLOCKS_MAX ? 0 : -ENOSPC;
}

/**
 * parkclock_switch_add() - let switches see a registration
 * @t:      it; the caller sees to it that the task does not go meanwhile
 * @parent: from which it is inherited, or NULL
 *
 * Into the table, and at the end of the clock's list.
 *
 * Context: any but NMI. The probes are pinned.
 * Return: 0, an error as from parkclock_switch_check(), or -ENOENT if @parent was
 * removed.
 */
int parkclock_switch_add(struct parkclock_task *t, const struct parkclock_task *parent)
{
	unsigned long flags;
	int err;

	raw_spin_lock_irqsave(&table_lock, flags);
	if (parent && hlist_unhashed(&parent->link))
		err = -ENOENT;
	else
		err = parkclock_switch_check(t->tasks, t->task);
	if (!err) {
		/* Nobody sees it yet. */
		t->hold = t->tasks->vmclock ? PARKCLOCK_TASK_PUBLISHES : 0;
		hlist_add_head_rcu(&t->link, bucket_of(t->hash));
		set_bit(t->hash, filter);
		list_add_tail_rcu(&t->list_link, &t->tasks->list);
		WRITE_ONCE(all_tasks, all_tasks + 1);
	}
	raw_spin_unlock_irqrestore(&table_lock, flags);
	return err;
}

/* Out of the table. False if it is not there any more: somebody else has done it. */
static bool take_out(struct parkclock_task *t)
{
	const struct parkclock_task *other;
	unsigned long flags;
	bool shared = false;
	bool mine;

	raw_spin_lock_irqsave(&table_lock, flags);
	mine = !hlist_unhashed(&t->link);
	if (mine) {
		hlist_del_init_rcu(&t->link);
		hlist_for_each_entry(other, bucket_of(t->hash), link) {
			shared = other->hash == t->hash;
			if (shared)
				break;
		}
		if (!shared)
			clear_bit(t->hash, filter);
		WRITE_ONCE(all_tasks, all_tasks - 1);
	}
	raw_spin_unlock_irqrestore(&table_lock, flags);
	return mine;
}

/**
 * parkclock_switch_unlist() - take a registration off its clock's list
 * @t: it; removed
 *
 * Context: any but NMI; nobody walks along the list.
 */
void parkclock_switch_unlist(struct parkclock_task *t)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&table_lock, flags);
	list_del(&t->list_link);
	raw_spin_unlock_irqrestore(&table_lock, flags);
}

/**
 * parkclock_switch_set_vmclock() - let what is added from now on know of it
 * @tasks: the clock's registrations
 * @vm:    its VMClock page
 *
 * Context: any but NMI.
 */
void parkclock_switch_set_vmclock(struct parkclock_tasks *tasks, struct parkclock_vmclock *vm)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&table_lock, flags);
	tasks->vmclock = vm;
	raw_spin_unlock_irqrestore(&table_lock, flags);
}

/**
 * parkclock_switch_publish() - and what was added before
 * @t: a registration of that clock
 *
 * Context: any but NMI.
 */
void parkclock_switch_publish(struct parkclock_task *t)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&t->lock, flags);
	if (!(t->hold & PARKCLOCK_TASK_PUBLISHES)) {
		t->hold |= PARKCLOCK_TASK_PUBLISHES;
		if (t->hold & PARKCLOCK_TASK_HOLDS)
			parkclock_vmclock_get(t->tasks->vmclock);
	}
	raw_spin_unlock_irqrestore(&t->lock, flags);
}

/**
 * parkclock_switch_find() - the registration of a task
 * @tasks: the clock's registrations
 * @task:  the task
 *
 * Context: in an RCU reader, in which it stays.
 * Return: it, or NULL.
 */
struct parkclock_task *parkclock_switch_find(const struct parkclock_tasks *tasks,
					     const struct task_struct *task)
{
	struct parkclock_task *t;

	hlist_for_each_entry_rcu(t, bucket_of(hash_of(task)), link)
		if (t->task == task && t->tasks == tasks)
			return t;
	return NULL;
}

/* It holds nothing yet. */
static __always_inline void take_reference(struct parkclock_task *t, u64 cycles)
{
	this_cpu_inc(transitions.begun);
	if (parkclock_updater_get(cycles)) {
		this_cpu_inc(transitions.wakes);
		trace_parkclock_run_wake(t->task);
	}
}

/* The rest of begin(): what it does seldom. */
static noinline void begin_slow(struct parkclock_task *t, u64 cycles)
{
	if (!(t->hold & PARKCLOCK_TASK_HOLDS)) {
		t->hold |= PARKCLOCK_TASK_HOLDS;
		take_reference(t, cycles);
		parkclock_vmclock_get(t->tasks->vmclock);
	} else if (unlikely(parkclock_timebase_stale(cycles))) {
		/* It was preempted, and all is well but that the timer is late. */
		parkclock_updater_get_slow();
	}
}

/* The rest of end(): likewise. */
static noinline void end_slow(struct parkclock_task *t)
{
	if (!(t->hold & PARKCLOCK_TASK_HOLDS))
		return;
	t->hold &= ~PARKCLOCK_TASK_HOLDS;
	parkclock_vmclock_put(t->tasks->vmclock);
	this_cpu_inc(transitions.ended);
	parkclock_updater_put();
}

/* The task begins to run on @cpu. */
static __always_inline void begin(struct parkclock_task *t, int cpu)
{
	u64 cycles = rdtsc();

	lockdep_assert_held(&t->lock);

	/* A probe can be late; remove() has ended it, or waits for the lock to do so. */
	if (hlist_unhashed_lockless(&t->link))
		return;
	t->running = true;
	t->cpu = cpu;
	t->since = cycles;
	if (!t->hold) {
		t->hold = PARKCLOCK_TASK_HOLDS;
		take_reference(t, cycles);
	} else {
		begin_slow(t, cycles);
	}
}

/* The task runs no more; if it was preempted it keeps its reference. */
static __always_inline void end(struct parkclock_task *t, u64 ran, bool preempted)
{
	lockdep_assert_held(&t->lock);

	t->ran += ran;
	t->running = false;
	if (preempted)
		return;
	if (t->hold == PARKCLOCK_TASK_HOLDS) {
		t->hold = 0;
		this_cpu_inc(transitions.ended);
		parkclock_updater_put();
	} else {
		end_slow(t);
	}
}

/*
 * How long it has run now, as seen from any CPU: where the counters of CPUs differ,
 * only what is sure.
 */
static u64 runs_for(const struct parkclock_task *t)
{
	s64 cycles;

	lockdep_assert_held(&t->lock);

	if (!t->running || (t->cpu != smp_processor_id() && !parkclock_host_usable()))
		return 0;
	cycles = rdtsc() - t->since;
	return max(cycles, 0LL);
}

/* In the last switch of its task. */
static noinline void died(struct parkclock_task *t)
{
	if (take_out(t))
		parkclock_tasks_discard(t);
}

/*
 * @prev_state: what it waits in, or 0 if it was preempted. Not only who waits has one: a
 * signal may keep it from waiting. Then the reference is dropped, and taken again when
 * it is switched in.
 */
static noinline void switch_out(struct task_struct *prev, u32 hash, unsigned int prev_state)
{
	struct parkclock_task *t;

	hlist_for_each_entry_rcu(t, bucket_of(hash), link) {
		if (t->task != prev)
			continue;
		raw_spin_lock(&t->lock);
		t->seen = true;
		/* On the CPU that it ran on; settle() may not have known of it. */
		end(t, t->running ? rdtsc() - t->since : 0, !prev_state);
		raw_spin_unlock(&t->lock);
		if (unlikely(prev_state & TASK_DEAD))
			died(t);
	}
}

static noinline void switch_in(struct task_struct *next, u32 hash)
{
	struct parkclock_task *t;

	hlist_for_each_entry_rcu(t, bucket_of(hash), link) {
		if (t->task != next)
			continue;
		raw_spin_lock(&t->lock);
		t->seen = true;
		begin(t, smp_processor_id());
		raw_spin_unlock(&t->lock);
	}
}

/*
 * The probe: under the run-queue lock, in the context of @prev. A task that was about
 * to wait when it was preempted has a state, but would go on.
 */
static void on_switch(void *data, bool preempt, struct task_struct *prev,
		      struct task_struct *next, unsigned int prev_state)
{
	u32 hash = hash_of(prev);

	if (unlikely(test_bit(hash, filter)))
		switch_out(prev, hash, preempt ? 0 : prev_state);
	hash = hash_of(next);
	if (unlikely(test_bit(hash, filter)))
		switch_in(next, hash);
}

/* In the parent's context, before the child can run. May have preemption disabled. */
static void on_fork(void *data, struct task_struct *parent, struct task_struct *child)
{
	u32 hash = hash_of(parent);
	struct parkclock_task *t;

	/*
	 * The child is among its process's threads, then look for the parent. Pairs
	 * with the barrier in parkclock_tasks_register(), which adds the parent and
	 * then looks for threads: one of the two sees the child and its parent.
	 */
	smp_mb();
	if (likely(!test_bit(hash, filter)))
		return;
	rcu_read_lock();
	hlist_for_each_entry_rcu(t, bucket_of(hash), link)
		if (t->task == parent && t->inherit)
			parkclock_tasks_inherit(t, child);
	rcu_read_unlock();
}

/**
 * parkclock_switch_remove() - let switches see a registration no more
 * @t: it; its reference is dropped, and how long it has run is final
 *
 * Context: any but NMI.
 * Return: true; or false if that was done before, by its task's death maybe.
 */
bool parkclock_switch_remove(struct parkclock_task *t)
{
	unsigned long flags;

	if (!take_out(t))
		return false;
	/* A switch may have found it just before. */
	raw_spin_lock_irqsave(&t->lock, flags);
	end(t, runs_for(t), false);
	raw_spin_unlock_irqrestore(&t->lock, flags);
	return true;
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
 * parkclock_switch_settle() - protect a task that runs already
 * @t: its registration, added; if the task is not the caller, a grace period ago
 *
 * Context: any but NMI. The task is there.
 * Return: true, or false if the task is dead, or about to switch for the last time.
 */
bool parkclock_switch_settle(struct parkclock_task *t)
{
	unsigned long flags;
	bool alive = true;

	raw_spin_lock_irqsave(&t->lock, flags);
	if (!t->seen) {
		if (READ_ONCE(t->task->__state) & TASK_DEAD)
			alive = false;
		else if (is_on_cpu(t->task))
			begin(t, task_cpu(t->task));
	}
	raw_spin_unlock_irqrestore(&t->lock, flags);
	return alive;
}

/**
 * parkclock_switch_ran() - how long a task has run since it was registered
 * @t:       its registration
 * @holding: set to whether it runs, or was preempted
 *
 * Context: any but NMI.
 * Return: the time, in cycles.
 */
u64 parkclock_switch_ran(struct parkclock_task *t, bool *holding)
{
	unsigned long flags;
	u64 cycles;

	raw_spin_lock_irqsave(&t->lock, flags);
	cycles = t->ran + runs_for(t);
	*holding = t->hold & PARKCLOCK_TASK_HOLDS;
	raw_spin_unlock_irqrestore(&t->lock, flags);
	return cycles;
}

/**
 * parkclock_switch_query() - what there is to know about all registrations
 * @q: its fields about that are filled in
 *
 * Context: any.
 */
void parkclock_switch_query(struct parkclock_query *q)
{
	u64 ended = 0;
	int cpu;

	q->all_tasks = READ_ONCE(all_tasks);
	for_each_possible_cpu(cpu)
		ended += READ_ONCE(per_cpu(transitions.ended, cpu));
	/* Ends first: what has ended has begun. On x86 all CPUs see that in order. */
	smp_rmb();
	for_each_possible_cpu(cpu) {
		q->run_transitions += READ_ONCE(per_cpu(transitions.begun, cpu));
		q->run_wakes += READ_ONCE(per_cpu(transitions.wakes, cpu));
	}
	q->all_running = q->run_transitions - ended;
}

static int attach(void)
{
	int err = -EOPNOTSUPP;

	lockdep_assert_held(&attach_lock);
	check_trace_callback_type_sched_switch(on_switch);
	check_trace_callback_type_sched_process_fork(on_fork);

	if (!IS_ENABLED(CONFIG_TRACEPOINTS) || !switch_tracepoint || !fork_tracepoint)
		return err;
	err = tracepoint_probe_register(switch_tracepoint, on_switch, NULL);
	if (err)
		return err;
	err = tracepoint_probe_register(fork_tracepoint, on_fork, NULL);
	if (err)
		tracepoint_probe_unregister(switch_tracepoint, on_switch, NULL);
	return err;
}

/* A probe may still run for a moment; it finds nothing. */
static void detach_unneeded(struct work_struct *work)
{
	mutex_lock(&attach_lock);
	if (IS_ENABLED(CONFIG_TRACEPOINTS) && attached && !atomic_read(&pins)) {
		tracepoint_probe_unregister(fork_tracepoint, on_fork, NULL);
		tracepoint_probe_unregister(switch_tracepoint, on_switch, NULL);
		attached = false;
	}
	mutex_unlock(&attach_lock);
}

/**
 * parkclock_switch_pin() - need the probes, until unpin
 *
 * Context: may sleep; or, if they are pinned already, any.
 * Return: 0, -EOPNOTSUPP if this kernel has no such tracepoints, or another error
 * number.
 */
int parkclock_switch_pin(void)
{
	int err = 0;

	if (atomic_inc_not_zero(&pins))
		return 0;
	mutex_lock(&attach_lock);
	if (!attached) {
		err = attach();
		attached = !err;
	}
	if (!err)
		atomic_inc(&pins);
	mutex_unlock(&attach_lock);
	return err;
}

/**
 * parkclock_switch_unpin() - take that back
 * @n: so many times
 *
 * Context: process context.
 */
void parkclock_switch_unpin(unsigned int n)
{
	if (atomic_sub_and_test(n, &pins))
		schedule_delayed_work(&detach_work, HZ);
}

static void pick(struct tracepoint *tp, void *data)
{
	if (!strcmp(tp->name, "sched_switch"))
		switch_tracepoint = tp;
	else if (!strcmp(tp->name, "sched_process_fork"))
		fork_tracepoint = tp;
}

/**
 * parkclock_switch_init() - look for the tracepoints
 *
 * Context: may sleep.
 */
void parkclock_switch_init(void)
{
	if (IS_ENABLED(CONFIG_TRACEPOINTS))
		for_each_kernel_tracepoint(pick, NULL);
}

/**
 * parkclock_switch_exit() - detach the probes, and wait until none runs any more
 *
 * Context: may sleep. Nothing is registered.
 */
void parkclock_switch_exit(void)
{
	cancel_delayed_work_sync(&detach_work);
	detach_unneeded(&detach_work.work);
	tracepoint_synchronize_unregister();
}
