// SPDX-License-Identifier: GPL-2.0
/*
 * Registrations: which task has which clock. This file has the list of each clock, who pays
 * for a registration, and the freeing of those that are gone.
 *
 * A switch finds a registration in the table (table.c) by its task's address. The address
 * serves as a reference: the last switch of a task takes its registrations out of the table,
 * before another task can have the address. So a registration keeps no task alive.
 *
 * A registration is in the table until it is ended or its task dies. Whoever takes it out of
 * the table discards it: nobody finds it there any more. Nobody waits until it is freed:
 *
 *	discard()	anywhere, also under a run-queue lock: puts it on a list of this CPU
 *	collect()	soon after, in an interrupt: passes it on to its clock
 *	reap()		in a worker, or else who has the clock's lock: adds its task's time to
 *			the clock's, takes it off the list
 *	free_gone()	a grace period later, when no probe that has found it still runs
 *
 * Each registration keeps its registry, and so the clock, until it is freed.
 */
#include <linux/irq_work.h>
#include <linux/log2.h>
#include <linux/percpu.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "account.h"
#include "compat.h"
#include "config.h"
#include "probes.h"
#include "registration.h"
#include "workers.h"

/* Registrations that were discarded on a CPU, for collect() there */
struct discarded {
	struct llist_head list;
	struct irq_work work;
};

static DEFINE_PER_CPU(struct discarded, discarded);

/**
 * parkclock_registration_alloc() - allocate a registration
 * @gfp: allocation flags
 *
 * The size is rounded up to a power of two, which aligns the memory to cache lines.
 *
 * Context: as @gfp says.
 * Return: the registration, zeroed, for kfree(); or NULL.
 */
struct parkclock_registration *parkclock_registration_alloc(gfp_t gfp)
{
	return kzalloc(roundup_pow_of_two(sizeof(struct parkclock_registration)), gfp);
}

/**
 * parkclock_registration_prepare() - fill in a registration
 * @r:        zeroed
 * @registry: the clock's registrations
 * @task:     the task
 * @inherit:  see struct parkclock_registration
 * @place:    see there
 *
 * Context: any.
 */
void parkclock_registration_prepare(struct parkclock_registration *r,
				    struct parkclock_registry *registry,
				    const struct task_struct *task, bool inherit,
				    enum parkclock_place place)
{
	r->entry.task = task;
	r->registry = registry;
	r->inherit = inherit;
	r->place = place;
	raw_spin_lock_init(&r->lock);
}

/**
 * parkclock_registration_place() - which place of a task the caller may take
 * @registry: the clock's registrations
 * @task:     the task
 *
 * A sandbox cannot keep its runtime from registering it: not by registering its tasks itself,
 * nor, if the runtime has CAP_SYS_RESOURCE, by having them register each other.
 *
 * Context: process context.
 */
enum parkclock_place parkclock_registration_place(const struct parkclock_registry *registry,
						  struct task_struct *task)
{
	if (same_thread_group(task, current))
		return PARKCLOCK_PLACE_OWN;
	return parkclock_account_privileged(registry->account) ? PARKCLOCK_PLACE_PRIVILEGED :
								 PARKCLOCK_PLACE_OTHERS;
}

/**
 * parkclock_registration_check() - can a registration of a task be added?
 * @registry: the clock's registrations
 * @task:     the task
 * @place:    the kind of place that it is to take
 *
 * Context: an RCU reader, or under the table's lock.
 * Return: 0; -EEXIST if the task is registered with this clock; or -EMLINK if it has too
 * many clocks in places of that kind.
 */
int parkclock_registration_check(const struct parkclock_registry *registry,
				 const struct task_struct *task, enum parkclock_place place)
{
	const struct parkclock_table *table = parkclock_table_get();
	const u64 hash = parkclock_table_hash(task);
	const struct parkclock_registration *r;
	struct parkclock_entry *e;
	struct hlist_node *link;
	unsigned int clocks = 0;

	for (link = parkclock_table_first(table, hash); link; link = parkclock_table_next(link)) {
		e = parkclock_table_entry(table, link);
		if (e->task != task)
			continue;
		r = parkclock_registration_of(e);
		if (r->registry == registry)
			return -EEXIST;
		clocks += r->place == place;
	}
	return clocks < PARKCLOCK_TASK_CLOCKS_MAX ? 0 : -EMLINK;
}

/**
 * parkclock_registration_add() - let switches find a registration
 * @r:      the registration; the caller keeps its task from going meanwhile
 * @parent: the registration that it is inherited from, or NULL
 *
 * Adds the registration to the table, and to the end of the clock's list.
 *
 * Context: any but NMI. The probes are pinned.
 * Return: 0, an error as from parkclock_registration_check(), or -ENOENT if @parent was
 * taken out.
 */
int parkclock_registration_add(struct parkclock_registration *r,
			       const struct parkclock_registration *parent)
{
	unsigned long flags;
	int err;

	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	if (parent && parent->entry.ended)
		err = -ENOENT;
	else
		err = parkclock_registration_check(r->registry, r->entry.task, r->place);
	if (!err) {
		/* Nobody can find it yet. */
		r->hold = (r->registry->vmclock ? PARKCLOCK_TASK_PUBLISHES : 0) |
			  (r->registry->cpu ? PARKCLOCK_TASK_TIMED : 0) |
			  (r->registry->shares ? PARKCLOCK_TASK_SHARES : 0);
		refcount_inc(&r->registry->pins);
		list_add_tail_rcu(&r->list_link, &r->registry->list);
		parkclock_table_add(&r->entry);
	}
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
	return err;
}

/**
 * parkclock_registration_find() - the registration of a task with a clock
 * @registry: the clock's registrations
 * @task:     the task
 *
 * Context: an RCU reader; the registration stays until it ends.
 * Return: the registration, or NULL.
 */
struct parkclock_registration *
parkclock_registration_find(const struct parkclock_registry *registry,
			    const struct task_struct *task)
{
	const struct parkclock_table *table = parkclock_table_get();
	const u64 hash = parkclock_table_hash(task);
	struct parkclock_entry *e;
	struct hlist_node *link;

	for (link = parkclock_table_first(table, hash); link; link = parkclock_table_next(link)) {
		e = parkclock_table_entry(table, link);
		if (e->task == task && parkclock_registration_of(e)->registry == registry)
			return parkclock_registration_of(e);
	}
	return NULL;
}

/*
 * Memory for inherited registrations. On PREEMPT_RT the probe that needs it cannot allocate.
 * So each clock keeps some spares there once something inherits from it, replaced soon after
 * they are used. Whoever forks faster than that makes the children of his own clock miss their
 * registration, and nobody else's. They are limited by the limit of clocks: for each they are
 * two pages, which are charged to the cgroup of who asks for inheritance. What replaces them is
 * charged to nobody, but is limited as registrations are. Other kernels keep no spares.
 */
#define SPARES	(IS_ENABLED(CONFIG_PREEMPT_RT) ? 64 : 0)

static DEFINE_RAW_SPINLOCK(spares_lock);	/* protects taking a spare */

static void fill_spares(struct parkclock_registry *registry)
{
	while (atomic_add_unless(&registry->spares_count, 1, SPARES)) {
		struct parkclock_registration *r = parkclock_registration_alloc(GFP_KERNEL_ACCOUNT);

		if (!r) {
			atomic_dec(&registry->spares_count);
			return;
		}
		llist_add(&r->gone_link, &registry->spares);
		cond_resched();
	}
}

/**
 * parkclock_registry_keep_spares() - prepare for tasks that inherit
 * @registry: the clock's registrations
 *
 * Context: may sleep.
 */
void parkclock_registry_keep_spares(struct parkclock_registry *registry)
{
	/* From now on reap() replaces what is used. */
	WRITE_ONCE(registry->inherits, true);
	fill_spares(registry);
}

/* When the last pin is gone. */
static void free_spares(struct parkclock_registry *registry)
{
	struct parkclock_registration *r, *next;

	llist_for_each_entry_safe(r, next, llist_del_all(&registry->spares), gone_link)
		kfree(r);
}

static struct parkclock_registration *take_spare(struct parkclock_registry *registry)
{
	struct llist_node *node;
	unsigned long flags;

	raw_spin_lock_irqsave(&spares_lock, flags);
	node = llist_del_first(&registry->spares);
	raw_spin_unlock_irqrestore(&spares_lock, flags);
	return node ? llist_entry(node, struct parkclock_registration, gone_link) : NULL;
}

static void put(struct parkclock_registry *registry)
{
	if (!refcount_dec_and_test(&registry->pins))
		return;
	free_spares(registry);
	registry->release(registry);
}

/**
 * parkclock_registration_discard() - have a registration freed later
 * @r: the registration; the caller has taken it out
 *
 * Context: any but NMI, also under a run-queue lock.
 */
void parkclock_registration_discard(struct parkclock_registration *r)
{
	struct discarded *d;

	parkclock_registry_unreserve(r->registry, 1);
	d = get_cpu_ptr(&discarded);
	llist_add(&r->gone_link, &d->list);
	irq_work_queue(&d->work);
	put_cpu_ptr(&discarded);
}

/**
 * parkclock_registry_lock() - take a registry's lock, for one who may have no pin
 * @registry: the registrations; the caller keeps the clock
 *
 * Once the owner has gone and the last registration is freed the registry is released, but a
 * view keeps the clock. Then the list stays empty, and nothing is left to free or to reap.
 *
 * Context: may sleep.
 * Return: true if the caller has a pin now; false if the registry was released.
 */
bool parkclock_registry_lock(struct parkclock_registry *registry)
{
	const bool pinned = refcount_inc_not_zero(&registry->pins);

	mutex_lock(&registry->lock);
	return pinned;
}

/**
 * parkclock_registry_unlock_of() - take back parkclock_registry_lock()
 * @registry: the registrations
 * @pinned:   what that returned
 *
 * Context: may sleep.
 */
void parkclock_registry_unlock_of(struct parkclock_registry *registry, bool pinned)
{
	if (pinned) {
		parkclock_registry_unlock(registry);
		put(registry);
	} else {
		mutex_unlock(&registry->lock);
	}
}

/* The caller has a pin. */
static void queue_reap(struct parkclock_registry *registry)
{
	refcount_inc(&registry->pins);
	/* Queued already: then it sees what is gone by now, and is pinned. */
	if (!queue_work(parkclock_workers, &registry->reap_work))
		refcount_dec(&registry->pins);
}

/*
 * Workers cannot be woken under a run-queue lock, which is where a task dies; here they can.
 * Interrupts are off, so that a registration that is passed on here is not freed before the
 * end.
 */
static void collect(struct irq_work *work)
{
	struct discarded *d = container_of(work, struct discarded, work);
	struct parkclock_registration *r, *next;

	llist_for_each_entry_safe(r, next, llist_del_all(&d->list), gone_link) {
		llist_add(&r->gone_link, &r->registry->gone);
		queue_reap(r->registry);
	}
}

/* A probe may have found the registration before it was taken out; it has ended by now. */
static void free_gone(struct rcu_head *rcu)
{
	struct parkclock_registration *r = container_of(rcu, struct parkclock_registration, rcu);
	struct parkclock_registry *registry = r->registry;

	kfree(r);
	parkclock_probes_unpin(1);
	put(registry);
}

/* How long the task ran. It is dead, or its registration has ended: the time is final. */
static u64 ran(struct parkclock_registration *r)
{
	unsigned long flags;
	u64 cycles;

	raw_spin_lock_irqsave(&r->lock, flags);
	cycles = r->ran;
	raw_spin_unlock_irqrestore(&r->lock, flags);
	return cycles;
}

static void unlist(struct parkclock_registration *r)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	list_del(&r->list_link);
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
}

/**
 * parkclock_registry_unlock() - release a registry's lock, and free what is gone
 * @registry: the registry; the caller has a pin
 *
 * Whoever has the lock does the work of a worker that found it taken. So no worker waits for
 * a task, which may itself have to wait for as long as its cgroup wants.
 *
 * Context: may sleep.
 */
void parkclock_registry_unlock(struct parkclock_registry *registry)
{
	struct llist_node *gone = llist_del_all(&registry->gone);
	struct parkclock_registration *r, *next;

	llist_for_each_entry(r, gone, gone_link) {
		registry->past += ran(r);
		unlist(r);
		cond_resched();
	}
	mutex_unlock(&registry->lock);
	llist_for_each_entry_safe(r, next, gone, gone_link) {
		call_rcu_hurry(&r->rcu, free_gone);
		cond_resched();
	}
	/*
	 * Unlock, then look at the list. Pairs with the barrier in reap(), which comes after
	 * something was added to the list and before the look at the lock: one of the two sees
	 * the other.
	 */
	smp_mb();
	if (!llist_empty(&registry->gone))
		queue_reap(registry);
}

static void reap(struct work_struct *work)
{
	struct parkclock_registry *registry =
		container_of(work, struct parkclock_registry, reap_work);

	/* Pairs with the one in parkclock_registry_unlock(). */
	smp_mb();
	if (mutex_trylock(&registry->lock))
		parkclock_registry_unlock(registry);
	if (READ_ONCE(registry->inherits))
		fill_spares(registry);
	put(registry);
}

/* Allocate for a child, in a probe. */
static struct parkclock_registration *alloc_in_probe(struct parkclock_registry *registry)
{
	struct parkclock_registration *r;

	if (!SPARES)
		return parkclock_registration_alloc(GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
	r = take_spare(registry);
	/* There may be memory again. */
	if (!r)
		queue_reap(registry);
	return r;
}

/* What was allocated in a probe is a registration now, or not. */
static void used_in_probe(struct parkclock_registry *registry)
{
	if (SPARES) {
		atomic_dec(&registry->spares_count);
		queue_reap(registry);
	}
}

static void free_in_probe(struct parkclock_registry *registry, struct parkclock_registration *r)
{
	if (SPARES) {
		memset(r, 0, sizeof(*r));
		llist_add(&r->gone_link, &registry->spares);
	} else {
		kfree(r);
	}
}

/**
 * parkclock_registry_reserve() - count registrations that are about to be added
 * @registry: the clock's registrations
 * @n:        how many
 * @last:     see parkclock_account_charge()
 *
 * Context: any.
 * Return: 0; or, and then nothing is counted, -ENOSPC if the clock would have too many, or
 * an error as from parkclock_account_charge().
 */
int parkclock_registry_reserve(struct parkclock_registry *registry, unsigned int n, bool last)
{
	int err, count = atomic_read(&registry->count);

	do {
		if (count + n > parkclock_param(max_tasks))
			return -ENOSPC;
	} while (!atomic_try_cmpxchg(&registry->count, &count, count + n));
	err = parkclock_account_charge(registry->account, PARKCLOCK_LIMIT_TASKS, n, last);
	if (err)
		atomic_sub(n, &registry->count);
	return err;
}

/**
 * parkclock_registry_unreserve() - take back parkclock_registry_reserve()
 * @registry: the clock's registrations
 * @n:        how many
 *
 * Context: any.
 */
void parkclock_registry_unreserve(struct parkclock_registry *registry, unsigned int n)
{
	atomic_sub(n, &registry->count);
	parkclock_account_uncharge(registry->account, PARKCLOCK_LIMIT_TASKS, n);
}

/**
 * parkclock_registration_inherit() - register a child as its parent is registered
 * @parent: a registration of the parent
 * @child:  the child; it has not run yet
 *
 * A failure is only counted, because there is nobody to return it to. The child then finds
 * an expired page, as any task does that is not registered.
 *
 * Context: the parent's, preemption may be disabled; an RCU reader.
 */
void parkclock_registration_inherit(const struct parkclock_registration *parent,
				    const struct task_struct *child)
{
	struct parkclock_registry *registry = parent->registry;
	struct parkclock_registration *r;
	int err = -ENOMEM;

	/* Those who fork are strangers, also where the clock is a privileged runtime's. */
	if (parkclock_registry_reserve(registry, 1, false))
		goto missed;
	r = alloc_in_probe(registry);
	if (r) {
		parkclock_registration_prepare(r, registry, child, true, parent->place);
		err = parkclock_registration_add(r, parent);
		if (!err) {
			/* The parent's pin stays until this RCU reader ends. */
			parkclock_probes_pin();
			used_in_probe(registry);
			return;
		}
		free_in_probe(registry, r);
	}
	parkclock_registry_unreserve(registry, 1);
	/* These lose nothing: the child is registered already, or the parent no more. */
	if (err == -EEXIST || err == -ENOENT)
		return;
missed:
	atomic64_inc(&registry->missed);
}

/**
 * parkclock_registry_set_vmclock() - let registrations hold the VMClock page, too
 * @registry: the clock's registrations; those that are added from now on will hold it
 * @vm:       the clock's VMClock page
 *
 * Context: any but NMI.
 */
void parkclock_registry_set_vmclock(struct parkclock_registry *registry,
				    struct parkclock_vmclock *vm)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	registry->vmclock = vm;
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
}

/**
 * parkclock_registry_set_cpu() - let what tasks run be added up
 * @registry: the clock's registrations; those that are added from now on will add to it
 * @cpu:      what adds it up
 *
 * Context: any but NMI.
 */
void parkclock_registry_set_cpu(struct parkclock_registry *registry, struct parkclock_cpu *cpu)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	/* Also read without the lock, where a registration is known to add to it. */
	WRITE_ONCE(registry->cpu, cpu);
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
}

/**
 * parkclock_registry_set_shares() - let what runs be counted by CPU
 * @registry: the clock's registrations; those that are added from now on will be counted there
 * @shares:   of each CPU
 *
 * Context: any but NMI.
 */
void parkclock_registry_set_shares(struct parkclock_registry *registry,
				   struct parkclock_share __percpu *shares)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	/* Also read without the lock, where a share is known to be in use. */
	WRITE_ONCE(registry->shares, shares);
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
}

/**
 * parkclock_registry_pin() - keep a registry, until parkclock_registry_unpin()
 * @registry: the registrations; the caller has a pin, or is the owner
 *
 * Context: any.
 */
void parkclock_registry_pin(struct parkclock_registry *registry)
{
	refcount_inc(&registry->pins);
}

/**
 * parkclock_registry_unpin() - take back parkclock_registry_pin()
 * @registry: the registrations
 *
 * Context: any but hard interrupts.
 */
void parkclock_registry_unpin(struct parkclock_registry *registry)
{
	put(registry);
}

/**
 * parkclock_registry_create() - initialise the registrations of a clock
 * @registry: zeroed
 * @account:  see struct parkclock_registry
 * @release:  see there
 *
 * Context: any.
 */
void parkclock_registry_create(struct parkclock_registry *registry,
			       struct parkclock_account *account,
			       void (*release)(struct parkclock_registry *registry))
{
	registry->account = account;
	registry->release = release;
	refcount_set(&registry->pins, 1);
	INIT_LIST_HEAD(&registry->cgroups);
	INIT_LIST_HEAD(&registry->list);
	mutex_init(&registry->lock);
	init_llist_head(&registry->gone);
	init_llist_head(&registry->spares);
	INIT_WORK(&registry->reap_work, reap);
}

/**
 * parkclock_registry_destroy() - have a registry released when its registrations are freed
 * @registry: the registrations; each was taken out
 *
 * Context: may sleep.
 */
void parkclock_registry_destroy(struct parkclock_registry *registry)
{
	put(registry);
}

/**
 * parkclock_registration_init() - prepare for registrations
 *
 * Context: may sleep. There are workers.
 * Return: 0 or -ENOMEM.
 */
int parkclock_registration_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct discarded *d = per_cpu_ptr(&discarded, cpu);

		init_llist_head(&d->list);
		d->work = IRQ_WORK_INIT_HARD(collect);
	}
	return parkclock_table_init();
}

/**
 * parkclock_registration_exit() - wait until all registrations are freed
 *
 * Context: may sleep. No clock is left but those that a registration keeps, and no probe
 * runs.
 */
void parkclock_registration_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		irq_work_sync(&per_cpu_ptr(&discarded, cpu)->work);
	flush_workqueue(parkclock_workers);
	rcu_barrier();
	parkclock_table_exit();
}
