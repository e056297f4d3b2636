// SPDX-License-Identifier: GPL-2.0
/*
 * Registered cgroups: whatever runs in one, or below it, holds a reference.
 *
 * A task is *covered* by the registrations of its cgroup (of the v2 hierarchy) and of those
 * above it. Nothing is kept of the task: each CPU has a record of what it has taken
 * (struct cover), and at a switch compares the cgroup of the task that comes with that. While it
 * runs covered tasks it holds one reference to the updater, whatever the number of clocks, and has
 * a share of each of these clocks (shares.c), which counts their CPU time and holds their VMClock
 * pages. A task that is preempted by one that is not covered keeps nothing: the reference is
 * dropped, and taken again when the task comes back. The page may have parked meanwhile, but is
 * valid again before the task's next instruction.
 *
 * What a switch looks at, in this order:
 *
 * 1. The cgroups that the CPU knows not to be covered, by address: direct-mapped, a few. That is
 *    all that a switch between others sees. While the CPU has something taken the table is
 *    replaced by an empty one, so that such a switch comes to 2.
 * 2. The cgroups of which the CPU knows the clocks, by address, as well. In and out of a container,
 *    and between its tasks, is over here.
 * 3. The ancestors of the cgroup, at the levels at which anything is registered: a look into a
 *    hash table for each, at most PARKCLOCK_CGROUP_LEVELS. This happens when the CPU has not seen
 *    the cgroup lately. The number of levels is bounded, and the table has as many buckets as there
 *    can be registrations by default; so neither deep cgroups nor many registrations make it
 *    longer than that.
 *
 * What makes a record untrue, and what is done:
 *
 * - A registration is added or ended: refresh_all() has each CPU, in an interrupt, forget what it
 *   knows and look at the task that it runs. A switch has interrupts disabled from before its
 *   look into the hash table until it has changed the record and runs the next task. So when
 *   refresh_all() returns, each switch either came after the change, or its record was thrown
 *   away. A CPU that is offline runs nothing; its record is cleared by the caller, with CPUs kept
 *   from coming and going.
 * - A task is moved while it runs: parkclock_cgroups_attach() interrupts each CPU where that can
 *   be. It runs after task->cgroups was stored. The interrupt comes after the switch that is
 *   under way there, and finds the new cgroup. Nobody waits for it: for some microseconds after
 *   the move the CPU has what the old cgroup has. look_at_task() says which CPUs that are.
 * - A cgroup is removed and freed, and another one gets its address: parkclock_cgroups_mkdir()
 *   takes that address from all tables of 1 and 2 before any task can be in the new cgroup. The
 *   old one has no tasks left, so no CPU adds it again: a switch adds only the cgroup of its own
 *   task.
 * - A cgroup does not change its ancestors, and a threaded one is like any other: each task
 *   has a cgroup of its own, that of its thread.
 *
 * Exit. A task keeps its cgroup until after its last switch, where it is covered like before;
 * the task that comes next has the CPU's record changed. CPUs that go offline end in the idle
 * task, which is in the root cgroup. That cannot be registered: nothing would ever park.
 *
 * Exec. A registration of a cgroup does not end when a program in it gains privileges: who may
 * move tasks into the cgroup, and so control them, sees their CPU time in its cpu.stat anyway.
 *
 * Lifetimes. A registration keeps its cgroup's memory, and by that its address, so that no other
 * cgroup is taken for it. It pins its registry. When its cgroup is removed it is ended, by a
 * worker; so the owner of one clock may register any number of containers one after another.
 * It is freed a grace period after it was ended, because the probes that run outside of switches
 * read the table under RCU. A record that names a registry was thrown away before the
 * registry loses the pin.
 *
 * Locks: groups_lock serialises what is added and ended; a mutex, taken by workers only, and never
 * in a probe. The registry's own lock is not taken under it.
 */
#ifdef CONFIG_CGROUPS
#include <linux/build_bug.h>
#include <linux/cgroup.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/hash.h>
#include <linux/irqflags.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/workqueue.h>
#include <asm/msr.h>

#include "account.h"
#include "cgroups.h"
#include "compat.h"
#include "config.h"
#include "probes.h"
#include "registration.h"
#include "shares.h"
#include "trace.h"
#include "updater.h"
#include "workers.h"

/* A registered cgroup is at a level of less than this; the root is at level 0. */
#define LEVELS		PARKCLOCK_CGROUP_LEVELS

/* Buckets of the hash table */
#define BUCKETS_BITS	12

/* Threads of a process that are looked at when it is moved; with more, all CPUs are asked. */
#define THREADS_MOST	256

/* Cgroups of which a CPU remembers the clocks; a power of two */
#define KNOWN		64

/* How many clocks a task can have by the cgroups it is in: of each of two kinds */
#define CLOCKS_MOST	(2 * PARKCLOCK_CGROUP_CLOCKS_MAX)

/**
 * struct group - a registration: of one cgroup, with one clock
 * @link:     in the hash table
 * @cgrp:     the cgroup, with a reference to it
 * @registry: the registrations of the clock, pinned
 * @of_clock: in @registry->cgroups, protected by groups_lock
 * @removed:  the cgroup was removed
 * @rcu:      frees it
 */
struct group {
	struct hlist_node link;
	struct cgroup *cgrp;
	struct parkclock_registry *registry;
	struct list_head of_clock;
	bool removed;
	struct rcu_head rcu;
};

/**
 * struct found - the clocks that cover a cgroup
 * @n:	    number of them
 * @clocks: each once, though it may be registered at several levels
 */
struct found {
	unsigned int n;
	struct parkclock_registry *clocks[CLOCKS_MOST];
};

/**
 * struct known - a cgroup that is covered
 * @cgrp: the cgroup, not a reference; or NULL
 * @key:  if two have the same key, they have the same clocks
 * @by:	  the clocks, one at least
 */
struct known {
	struct cgroup *cgrp;
	unsigned long key;
	struct found by;
};

/**
 * struct cover - what a CPU has taken, and what it knows of cgroups
 * @key:   of the clocks that the CPU has taken, and then it holds a reference, too; or 0
 * @taken: these clocks
 * @keys:  the last key that was made up
 * @begun: references taken
 * @ended: references dropped
 * @wakes: references whose get found the updater parked
 * @none:  cgroups that are not covered
 * @known: cgroups that are
 *
 * Changed by its own CPU with interrupts disabled, or in the name of a CPU that is offline; but
 * see parkclock_cgroups_mkdir().
 */
struct cover {
	unsigned long key;
	struct found taken;
	unsigned long keys;
	u64 begun;
	u64 ended;
	u64 wakes;
	struct cgroup *none[PARKCLOCK_CGROUP_PLACES];
	struct known known[KNOWN];
};

DEFINE_PER_CPU(struct cgroup *const *, parkclock_cgroup_places);
DEFINE_STATIC_KEY_FALSE(parkclock_cgroups_used);

/* Allocated when the first cgroup is registered: modules can have little that is static. */
static struct cover __percpu *covers;

/* Of a CPU that has taken something: each cgroup is unknown. */
static struct cgroup *const unknown[PARKCLOCK_CGROUP_PLACES];

/* Serialises changes of the table; protects the lists of each clock, and the next three. */
static DEFINE_MUTEX(groups_lock);
static unsigned int at_level[LEVELS];	/* registrations of cgroups of each level */
static unsigned int count;		/* of registrations */
static bool used;			/* parkclock_cgroups_used is true */

static struct hlist_head buckets[1 << BUCKETS_BITS];

/* A bit for each level at which something is registered */
static u32 levels;

/* Of version 2: one of another version has nothing to do with what is registered. */
static bool is_of_v2(const struct cgroup *cgrp)
{
	return cgrp->root == &cgrp_dfl_root;
}

static struct hlist_head *bucket_of(const struct cgroup *cgrp)
{
	return &buckets[hash_ptr(cgrp, BUCKETS_BITS)];
}

static bool has(const struct found *found, const struct parkclock_registry *registry)
{
	unsigned int i;

	for (i = 0; i < found->n; i++)
		if (found->clocks[i] == registry)
			return true;
	return false;
}

/* Those at one level. More than fit are never registered, but may be half-way ended. */
static void find_at(struct cgroup *ancestor, struct found *found)
{
	struct group *g;

	hlist_for_each_entry_rcu(g, bucket_of(ancestor), link, lockdep_is_held(&groups_lock) ||
				 rcu_read_lock_sched_held())
		if (g->cgrp == ancestor && found->n < ARRAY_SIZE(found->clocks) &&
		    !has(found, g->registry))
			found->clocks[found->n++] = g->registry;
}

/* For an RCU reader, which a switch is, too; or under groups_lock. */
static void find(struct cgroup *cgrp, struct found *found)
{
	unsigned long todo = READ_ONCE(levels);
	struct cgroup *ancestor;
	unsigned int level;

	found->n = 0;
	for_each_set_bit(level, &todo, LEVELS) {
		ancestor = cgroup_ancestor(cgrp, level);
		if (!ancestor)
			break;
		find_at(ancestor, found);
	}
}

static bool same(const struct found *a, const struct found *b)
{
	unsigned int i;

	if (a->n != b->n)
		return false;
	/* In whatever order */
	for (i = 0; i < a->n; i++)
		if (!has(b, a->clocks[i]))
			return false;
	return true;
}

/* Switches */

static struct cgroup **none_at(struct cover *c, const struct cgroup *cgrp)
{
	return &c->none[parkclock_cgroup_place(cgrp) & (PARKCLOCK_CGROUP_PLACES - 1)];
}

static struct known *known_at(struct cover *c, const struct cgroup *cgrp)
{
	return &c->known[parkclock_cgroup_place(cgrp) & (KNOWN - 1)];
}

/* Of several clocks, all but the first */

static noinline void take_others(struct cover *c, const struct known *k, u64 cycles)
{
	unsigned int i;

	for (i = 1; i < k->by.n; i++) {
		c->taken.clocks[i] = k->by.clocks[i];
		parkclock_share_cover(k->by.clocks[i], cycles);
	}
}

static noinline void drop_others(struct cover *c)
{
	unsigned int i;

	for (i = 1; i < c->taken.n; i++)
		parkclock_share_uncover(c->taken.clocks[i]);
}

static __always_inline void take(struct cover *c, const struct known *k,
				 const struct task_struct *task)
{
	const u64 cycles = rdtsc();

	this_cpu_write(parkclock_cgroup_places, unknown);
	WRITE_ONCE(c->key, k->key);
	/* Nobody but QUERY reads it meanwhile, as a whole. */
	data_race(c->begun++);
	/*
	 * Has a full barrier: taken, then the caller looks at the task's cgroup again. Pairs with
	 * the one in parkclock_cgroups_attach().
	 */
	if (parkclock_updater_get(cycles)) {
		/* As above */
		data_race(c->wakes++);
		trace_parkclock_run_wake(task);
	}
	c->taken.n = k->by.n;
	c->taken.clocks[0] = k->by.clocks[0];
	parkclock_share_cover(k->by.clocks[0], cycles);
	if (unlikely(k->by.n > 1))
		take_others(c, k, cycles);
}

static noinline void drop(struct cover *c)
{
	parkclock_share_uncover(c->taken.clocks[0]);
	if (unlikely(c->taken.n > 1))
		drop_others(c);
	parkclock_updater_put();
	/* As in take() */
	data_race(c->ended++);
	WRITE_ONCE(c->key, 0);
	this_cpu_write(parkclock_cgroup_places, c->none);
}

/* The cgroup of the task is covered, and the CPU has taken nothing. */
static noinline void begin(struct cover *c, const struct known *k, struct task_struct *next,
			   struct cgroup *cgrp)
{
	struct cgroup *now;

	take(c, k, next);
	/* It may have been moved out of it, and parkclock_cgroups_attach() seen nothing taken. */
	now = parkclock_cgroup_of(next);
	if (unlikely(now != cgrp))
		parkclock_cgroups_change(next, now);
}

/* The CPU has taken what covers another cgroup. */
static noinline void change_from_other(struct cover *c, struct known *k, struct task_struct *next,
				       struct cgroup *cgrp)
{
	if (same(&c->taken, &k->by)) {
		k->key = c->key;
		return;
	}
	drop(c);
	begin(c, k, next, cgrp);
}

static __always_inline void change_to(struct cover *c, struct known *k, struct task_struct *next,
				      struct cgroup *cgrp)
{
	if (c->key == k->key)
		return;
	if (unlikely(c->key))
		change_from_other(c, k, next, cgrp);
	else
		begin(c, k, next, cgrp);
}

/* Find out what the CPU does not know. */
static noinline void learn(struct cover *c, struct task_struct *next, struct cgroup *cgrp)
{
	struct known *k = known_at(c, cgrp);
	struct found found;

	find(cgrp, &found);
	if (!found.n) {
		WRITE_ONCE(*none_at(c, cgrp), cgrp);
		if (c->key)
			drop(c);
		return;
	}
	k->by = found;
	/* One clock is its own key. Made up keys are odd. */
	k->key = found.n == 1 ? (unsigned long)found.clocks[0] : (c->keys += 2);
	WRITE_ONCE(k->cgrp, cgrp);
	change_to(c, k, next, cgrp);
}

/**
 * parkclock_cgroups_change() - the slow part of parkclock_cgroups_switch()
 * @next: the task that is about to run, or runs
 * @cgrp: its cgroup
 *
 * Context: interrupts disabled, also under a run-queue lock.
 */
void parkclock_cgroups_change(struct task_struct *next, struct cgroup *cgrp)
{
	struct cover *c = this_cpu_ptr(covers);
	struct known *k = known_at(c, cgrp);

	if (READ_ONCE(k->cgrp) == cgrp) {
		change_to(c, k, next, cgrp);
	} else if (READ_ONCE(*none_at(c, cgrp)) == cgrp) {
		if (c->key)
			drop(c);
	} else {
		learn(c, next, cgrp);
	}
}

/* Changes of what is registered, and of cgroups */

/* What a CPU has taken it keeps: it is dropped when it is found not to be right any more. */
static void forget(struct cover *c)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(c->none); i++)
		WRITE_ONCE(c->none[i], NULL);
	for (i = 0; i < ARRAY_SIZE(c->known); i++)
		WRITE_ONCE(c->known[i].cgrp, NULL);
}

/* In an interrupt on each CPU */
static void refresh(void *unused)
{
	forget(this_cpu_ptr(covers));
	parkclock_cgroups_change(current, parkclock_cgroup_of(current));
}

/* When this returns all CPUs have taken what is registered now. */
static void refresh_all(void)
{
	int cpu;

	lockdep_assert_held(&groups_lock);

	cpus_read_lock();
	on_each_cpu(refresh, NULL, true);
	for_each_possible_cpu(cpu)
		if (!cpu_online(cpu))
			forget(per_cpu_ptr(covers, cpu));
	cpus_read_unlock();
}

static void look(void)
{
	unsigned long flags;

	local_irq_save(flags);
	parkclock_cgroups_change(current, parkclock_cgroup_of(current));
	local_irq_restore(flags);
}

/* In a hard interrupt: a task was moved, which may be the one that runs here. */
static void moved(void *unused)
{
	/*
	 * This call can be made again, then look. Pairs with the barrier in
	 * parkclock_cgroups_attach(), after which a call that is still to come is not made again.
	 */
	smp_mb();
	look();
}

static DEFINE_PER_CPU(call_single_data_t, moved_call);

/* Serialises those who make these calls. */
static DEFINE_RAW_SPINLOCK(moved_lock);

/* Preemption is disabled, so that no CPU goes offline. */
static void look_at(int cpu, bool covered)
{
	unsigned long flags;

	/* A CPU that has taken nothing has nothing to drop. */
	if (!cpu_online(cpu) || (!covered && !READ_ONCE(per_cpu_ptr(covers, cpu)->key)))
		return;
	if (cpu == smp_processor_id()) {
		look();
		return;
	}
	raw_spin_lock_irqsave(&moved_lock, flags);
	/* Where it fails the last call is still to come. */
	smp_call_function_single_async(cpu, per_cpu_ptr(&moved_call, cpu));
	raw_spin_unlock_irqrestore(&moved_lock, flags);
}

/*
 * Look at the CPU of a task that was moved, if the task may run. A thread that does not, or has
 * another CPU by now, is switched in later, and that switch finds the new cgroup: between the
 * store that is not seen here and that switch there is the run-queue lock with a full barrier.
 */
static void look_at_task(const struct task_struct *task, bool covered)
{
	if (READ_ONCE(task->on_rq))
		look_at(task_cpu(task), covered);
}

/**
 * parkclock_cgroups_attach() - tasks were moved
 * @data:	 unused
 * @dst:	 where to
 * @path:	 unused
 * @leader:	 the task
 * @threadgroup: with all threads of its process
 *
 * Context: the probe of cgroup_attach_task.
 */
void parkclock_cgroups_attach(void *data, struct cgroup *dst, const char *path,
			      struct task_struct *leader, bool threadgroup)
{
	const struct task_struct *thread;
	unsigned int n = 0;
	struct found found;
	int cpu;

	/*
	 * The tasks' cgroups were stored, then look at what is registered, at the CPUs' records and
	 * at where the tasks run. Pairs with the barriers in take(), in refresh_all() (the
	 * interrupts), and with that of the run-queue lock.
	 */
	smp_mb();
	if (!READ_ONCE(levels) || !is_of_v2(dst))
		return;
	preempt_disable();
	rcu_read_lock();
	find(dst, &found);
	if (!threadgroup) {
		look_at_task(leader, found.n);
		goto out;
	}
	for_each_thread(leader, thread) {
		if (++n > THREADS_MOST)
			break;
		look_at_task(thread, found.n);
	}
	if (n > THREADS_MOST)
		for_each_online_cpu(cpu)
			look_at(cpu, found.n);
out:
	rcu_read_unlock();
	preempt_enable();
}

/* The CPU may put another one into the place meanwhile. */
static void clear(struct cgroup **place, struct cgroup *cgrp)
{
	if (READ_ONCE(*place) == cgrp)
		cmpxchg(place, cgrp, NULL);
}

/**
 * parkclock_cgroups_mkdir() - there is a new cgroup
 * @data: unused
 * @cgrp: the cgroup; no task can be in it yet
 * @path: unused
 *
 * It may have the address of one that CPUs remember. If nothing is registered now, whoever
 * registers something clears all tables after this.
 *
 * Context: the probe of cgroup_mkdir.
 */
void parkclock_cgroups_mkdir(void *data, struct cgroup *cgrp, const char *path)
{
	int cpu;

	/* The cgroup is new, then look; see refresh_all(). */
	smp_mb();
	if (!READ_ONCE(levels) || !is_of_v2(cgrp))
		return;
	for_each_possible_cpu(cpu) {
		struct cover *c = per_cpu_ptr(covers, cpu);

		clear(none_at(c, cgrp), cgrp);
		clear(&known_at(c, cgrp)->cgrp, cgrp);
	}
}

/* Let no switch find it any more. */
static void take_out(struct group *g)
{
	const int level = g->cgrp->level;

	lockdep_assert_held(&groups_lock);

	hlist_del_rcu(&g->link);
	list_del(&g->of_clock);
	count--;
	if (!--at_level[level])
		WRITE_ONCE(levels, levels & ~BIT(level));
}

static void linger(void);

static void free_group(struct rcu_head *rcu)
{
	struct group *g = container_of(rcu, struct group, rcu);

	parkclock_registry_unpin(g->registry);
	cgroup_put(g->cgrp);
	kfree(g);
	parkclock_probes_unpin(1);
}

/* After refresh_all() */
static void discard(struct list_head *gone)
{
	struct group *g, *next;

	list_for_each_entry_safe(g, next, gone, of_clock) {
		parkclock_account_uncharge(g->registry->account, PARKCLOCK_LIMIT_CGROUPS, 1);
		call_rcu_hurry(&g->rcu, free_group);
	}
	if (!count)
		linger();
}

/* The cgroups of which registrations are left were removed. */
static void bury(struct work_struct *work)
{
	struct hlist_node *next;
	struct group *g;
	LIST_HEAD(gone);
	unsigned int i;

	mutex_lock(&groups_lock);
	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		hlist_for_each_entry_safe(g, next, &buckets[i], link) {
			if (!READ_ONCE(g->removed))
				continue;
			take_out(g);
			list_add(&g->of_clock, &gone);
		}
	}
	if (!list_empty(&gone)) {
		refresh_all();
		discard(&gone);
	}
	mutex_unlock(&groups_lock);
}

static DECLARE_WORK(bury_work, bury);

/**
 * parkclock_cgroups_rmdir() - a cgroup was removed
 * @data: unused
 * @cgrp: the cgroup
 * @path: unused
 *
 * Context: the probe of cgroup_rmdir.
 */
void parkclock_cgroups_rmdir(void *data, struct cgroup *cgrp, const char *path)
{
	bool found = false;
	struct group *g;

	/* It went offline, then look for it; pairs with the barrier in do_add(). */
	smp_mb();
	rcu_read_lock();
	hlist_for_each_entry_rcu(g, bucket_of(cgrp), link) {
		if (g->cgrp == cgrp) {
			WRITE_ONCE(g->removed, true);
			found = true;
		}
	}
	rcu_read_unlock();
	if (found)
		queue_work(parkclock_workers, &bury_work);
}

/* The code of switches is changed, which interrupts all CPUs: not at once when it is unneeded. */
static void unuse(struct work_struct *work)
{
	mutex_lock(&groups_lock);
	if (used && !count) {
		static_branch_disable(&parkclock_cgroups_used);
		used = false;
	}
	mutex_unlock(&groups_lock);
}

static DECLARE_DELAYED_WORK(unuse_work, unuse);

static void linger(void)
{
	mod_delayed_work(parkclock_workers, &unuse_work, parkclock_param(probes_linger_s) * HZ);
}

static bool privileged(const struct parkclock_registry *registry)
{
	return parkclock_account_privileged(registry->account);
}

/* How many of a kind cover a cgroup */
static unsigned int of_kind(struct cgroup *cgrp, bool kind)
{
	unsigned int i, n = 0;
	struct found found;

	find(cgrp, &found);
	for (i = 0; i < found.n; i++)
		n += privileged(found.clocks[i]) == kind;
	return n;
}

/*
 * Would no cgroup have too many clocks? Not this one, and none of those below it. What is below
 * and is not registered has as many as the nearest one above it.
 */
static bool fits(const struct parkclock_registry *registry, struct cgroup *cgrp)
{
	const bool kind = privileged(registry);
	const struct group *g;
	struct found found;
	unsigned int i;

	lockdep_assert_held(&groups_lock);

	find(cgrp, &found);
	/* It is covered already, and so is what is below. */
	if (has(&found, registry))
		return true;
	if (of_kind(cgrp, kind) >= PARKCLOCK_CGROUP_CLOCKS_MAX)
		return false;
	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		hlist_for_each_entry(g, &buckets[i], link) {
			if (g->cgrp == cgrp || !cgroup_is_descendant(g->cgrp, cgrp))
				continue;
			find(g->cgrp, &found);
			if (!has(&found, registry) &&
			    of_kind(g->cgrp, kind) >= PARKCLOCK_CGROUP_CLOCKS_MAX)
				return false;
		}
		cond_resched();
	}
	return true;
}

static struct group *group_of(const struct parkclock_registry *registry, const struct cgroup *cgrp)
{
	struct group *g;

	lockdep_assert_held(&groups_lock);

	hlist_for_each_entry(g, bucket_of(cgrp), link)
		if (g->cgrp == cgrp && g->registry == registry)
			return g;
	return NULL;
}

/* Those of the whole host, charged to nobody. They stay. */
static int make_covers(void)
{
	struct cover __percpu *made = alloc_percpu(struct cover);
	int cpu;

	lockdep_assert_held(&groups_lock);

	if (!made)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		per_cpu(parkclock_cgroup_places, cpu) = per_cpu_ptr(made, cpu)->none;
		per_cpu_ptr(made, cpu)->keys = 1;
	}
	/* Before anything looks at them: parkclock_cgroups_used, and @levels, are set later. */
	WRITE_ONCE(covers, made);
	return 0;
}

/**
 * struct change - a change of what is registered
 * @work:     makes it
 * @what:     does that, with groups_lock held
 * @registry: of the clock
 * @cgrp:     the cgroup, or NULL
 * @g:        a registration to be added, or NULL
 * @err:      what @what returned
 *
 * Each is made by a worker. Whoever asks for it may have to wait, in the middle of it, for as long
 * as its cgroup's quota wants, and all others would wait for groups_lock.
 */
struct change {
	struct work_struct work;
	int (*what)(struct change *change);
	struct parkclock_registry *registry;
	struct cgroup *cgrp;
	struct group *g;
	int err;
};

/* One after another: those that wait for groups_lock would keep other work waiting. */
static struct workqueue_struct *changes;

static void make_here(struct work_struct *work)
{
	struct change *change = container_of(work, struct change, work);

	mutex_lock(&groups_lock);
	change->err = change->what(change);
	mutex_unlock(&groups_lock);
}

static int make(int (*what)(struct change *change), struct parkclock_registry *registry,
		struct cgroup *cgrp, struct group *g)
{
	struct change change = { .what = what, .registry = registry, .cgrp = cgrp, .g = g };

	INIT_WORK_ONSTACK(&change.work, make_here);
	queue_work(changes, &change.work);
	flush_work(&change.work);
	destroy_work_on_stack(&change.work);
	return change.err;
}

static int do_add(struct change *change)
{
	struct group *g = change->g;
	struct cgroup *cgrp = change->cgrp;

	lockdep_assert_held(&groups_lock);

	if (group_of(g->registry, cgrp))
		return -EEXIST;
	if (!fits(g->registry, cgrp))
		return -EMLINK;
	if (!covers) {
		int err = make_covers();

		if (err)
			return err;
	}
	if (!used) {
		static_branch_enable(&parkclock_cgroups_used);
		used = true;
	}
	parkclock_registry_pin(g->registry);
	cgroup_get(cgrp);
	hlist_add_head_rcu(&g->link, bucket_of(cgrp));
	list_add(&g->of_clock, &g->registry->cgroups);
	count++;
	at_level[cgrp->level]++;
	WRITE_ONCE(levels, levels | BIT(cgrp->level));
	/* Add it, then look; pairs with the barrier in parkclock_cgroups_rmdir(). */
	smp_mb();
	if (!(READ_ONCE(cgrp->self.flags) & CSS_ONLINE))
		WRITE_ONCE(g->removed, true);
	refresh_all();
	if (READ_ONCE(g->removed))
		queue_work(parkclock_workers, &bury_work);
	return 0;
}

/**
 * parkclock_cgroups_reserve() - before parkclock_cgroups_register(), and before shares are made
 * @registry: the clock's registrations
 * @cgrp:     the cgroup
 *
 * Who may register none can make no clock have shares, which are changed by interrupts of all CPUs.
 *
 * Context: may sleep.
 * Return: 0 or an error number; see PARKCLOCK_IOC_REGISTER_CGROUP. If it is 0,
 * parkclock_cgroups_register() or parkclock_cgroups_unreserve() must follow.
 */
int parkclock_cgroups_reserve(struct parkclock_registry *registry, const struct cgroup *cgrp)
{
	if (!cgrp->level)
		return -EINVAL;
	if (cgrp->level >= LEVELS)
		return -E2BIG;
	return parkclock_account_charge(registry->account, PARKCLOCK_LIMIT_CGROUPS, 1, true);
}

/**
 * parkclock_cgroups_unreserve() - undo parkclock_cgroups_reserve()
 * @registry: the clock's registrations
 *
 * Context: any.
 */
void parkclock_cgroups_unreserve(struct parkclock_registry *registry)
{
	parkclock_account_uncharge(registry->account, PARKCLOCK_LIMIT_CGROUPS, 1);
}

/**
 * parkclock_cgroups_register() - let what runs in a cgroup hold references
 * @registry: the clock's registrations, which have shares, and of which one is reserved
 * @cgrp:     the cgroup; the caller may move tasks into it, and has a reference
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: 0 or an error number, and nothing is reserved; see PARKCLOCK_IOC_REGISTER_CGROUP.
 */
int parkclock_cgroups_register(struct parkclock_registry *registry, struct cgroup *cgrp)
{
	struct group *g;
	int err;

	g = kzalloc(sizeof(*g), GFP_KERNEL_ACCOUNT);
	if (!g) {
		err = -ENOMEM;
		goto err_charge;
	}
	g->cgrp = cgrp;
	g->registry = registry;
	err = parkclock_probes_pin();
	if (err)
		goto err_alloc;
	err = make(do_add, registry, cgrp, g);
	if (!err)
		return 0;
	parkclock_probes_unpin(1);
err_alloc:
	kfree(g);
err_charge:
	parkclock_cgroups_unreserve(registry);
	return err;
}

static int do_unregister(struct change *change)
{
	struct group *g = group_of(change->registry, change->cgrp);
	LIST_HEAD(gone);

	if (!g)
		return -ENOENT;
	take_out(g);
	list_add(&g->of_clock, &gone);
	refresh_all();
	discard(&gone);
	return 0;
}

/**
 * parkclock_cgroups_unregister() - take back parkclock_cgroups_register()
 * @registry: the clock's registrations
 * @cgrp:     the cgroup
 *
 * Context: may sleep.
 * Return: 0, or -ENOENT if it is not registered.
 */
int parkclock_cgroups_unregister(struct parkclock_registry *registry, struct cgroup *cgrp)
{
	return make(do_unregister, registry, cgrp, NULL);
}

static int do_destroy(struct change *change)
{
	struct group *g, *next;
	LIST_HEAD(gone);

	list_for_each_entry_safe(g, next, &change->registry->cgroups, of_clock) {
		take_out(g);
		list_add(&g->of_clock, &gone);
		cond_resched();
	}
	if (!list_empty(&gone)) {
		refresh_all();
		discard(&gone);
	}
	return 0;
}

/**
 * parkclock_cgroups_destroy() - end all registrations of cgroups of a clock
 * @registry: the clock's registrations
 *
 * Context: may sleep, waits for no grace period. No ioctl can come any more.
 */
void parkclock_cgroups_destroy(struct parkclock_registry *registry)
{
	/* Nobody adds any more, and the worker only takes away. */
	if (READ_ONCE(registry->shares))
		make(do_destroy, registry, NULL, NULL);
}

/**
 * parkclock_cgroups_query() - the part of QUERY about what CPUs have taken
 * @q: its members about registrations, filled in for tasks, are raised
 *
 * Context: any.
 */
void parkclock_cgroups_query(struct parkclock_query *q)
{
	const struct cover __percpu *all = READ_ONCE(covers);
	u64 begun = 0, ended = 0;
	int cpu;

	if (!all)
		return;
	for_each_possible_cpu(cpu) {
		/* These change meanwhile, each in one store. */
		ended += data_race(per_cpu_ptr(all, cpu)->ended);
	}
	/* Ends before begins, as in parkclock_switch_query(). */
	smp_rmb();
	for_each_possible_cpu(cpu) {
		/* As above */
		begun += data_race(per_cpu_ptr(all, cpu)->begun);
		/* As above */
		q->run_wakes += data_race(per_cpu_ptr(all, cpu)->wakes);
	}
	q->run_transitions += begun;
	q->all_running += begun - ended;
}

/**
 * parkclock_cgroups_init() - before anything is registered
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int parkclock_cgroups_init(void)
{
	int cpu;

	BUILD_BUG_ON(BITS_PER_TYPE(levels) < LEVELS);
	changes = alloc_ordered_workqueue("parkclock-cgroups", 0);
	if (!changes)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		INIT_CSD(per_cpu_ptr(&moved_call, cpu), moved, NULL);
	return 0;
}

static void nothing(void *unused)
{
}

/**
 * parkclock_cgroups_exit() - wait until all is over
 *
 * Context: may sleep. Nothing is registered, and no probe runs.
 */
void parkclock_cgroups_exit(void)
{
	/* After this, what was queued on a CPU has begun, and after a grace period it is over. */
	on_each_cpu(nothing, NULL, true);
	synchronize_rcu();
	cancel_work_sync(&bury_work);
	cancel_delayed_work_sync(&unuse_work);
	destroy_workqueue(changes);
	free_percpu(covers);
}
#endif
