/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registrations: which task has which clock. The table in which a context switch finds
 * them, the list of each clock, and the freeing of those that are gone.
 */
#ifndef PARKCLOCK_REGISTRATION_H
#define PARKCLOCK_REGISTRATION_H

#include <linux/cache.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/parkclock.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#include "table.h"

struct parkclock_account;
struct parkclock_cpu;
struct parkclock_share;
struct parkclock_vmclock;
struct task_struct;

/**
 * struct parkclock_registry - the registrations of a clock
 * @account:   who pays for them
 * @release:   called when the owner has destroyed the registry and all registrations are
 *	       freed; in any context but hard interrupts
 * @pins:      registrations that are not freed yet, also of cgroups, @reap_work while it is
 *	       queued, and one for the owner
 * @vmclock:   the clock's VMClock page, or NULL: tasks that run hold it, too. Protected by
 *	       the table's lock
 * @cpu:       adds up what tasks run, or NULL; protected as @vmclock
 * @shares:    of each CPU, once a cgroup was registered: what has run there; or NULL. Protected
 *	       as @vmclock, and once set, it stays
 * @cgroups:   the registered cgroups; see cgroups.c
 * @list:      all registrations; a new one is added at the end, under the table's lock,
 *	       while others walk along the list
 * @lock:      keeps registrations on @list from being freed; protects the next two. Released
 *	       by parkclock_registry_unlock()
 * @past:      how long the tasks of freed registrations have run, in cycles
 * @told:      the largest time that QUERY has returned for all tasks, in cycles
 * @count:     number of registrations that are in the table, or about to be added
 * @missed:    number of tasks that could not inherit a registration
 * @gone:      registrations that are out of the table, for @reap_work to free
 * @inherits:  something was registered with PARKCLOCK_TASK_INHERIT
 * @spares_count: number of registrations on @spares, about to be added there, or taken from
 *	       there by a probe that has not used them yet
 * @spares:    memory for inherited registrations (PREEMPT_RT)
 * @reap_work: has the registrations on @gone freed, and @spares replaced
 */
struct parkclock_registry {
	struct parkclock_account *account;
	void (*release)(struct parkclock_registry *registry);
	refcount_t pins;
	struct parkclock_vmclock *vmclock;
	struct parkclock_cpu *cpu;
	struct parkclock_share __percpu *shares;
	struct list_head cgroups;
	struct list_head list;
	struct mutex lock;	/* see above */
	u64 past;
	u64 told;
	atomic_t count;
	atomic64_t missed;
	struct llist_head gone;
	bool inherits;
	atomic_t spares_count;
	struct llist_head spares;
	struct work_struct reap_work;
};

/*
 * Bits of parkclock_registration.hold: it holds a reference to the updater; when it does, it
 * holds one to the clock's VMClock page, too; what its task runs is added up for CPU timers; and
 * it is counted in its CPU's share (shares.h).
 */
#define PARKCLOCK_TASK_HOLDS		0x1
#define PARKCLOCK_TASK_PUBLISHES	0x2
#define PARKCLOCK_TASK_TIMED		0x4
#define PARKCLOCK_TASK_SHARES		0x8

/*
 * A task has PARKCLOCK_TASK_CLOCKS_MAX places of each kind: for the clocks with which its own
 * process registers it; for those of others; and for those of who had CAP_SYS_RESOURCE when he
 * opened them. What is inherited takes a place of its parent's kind.
 */
enum parkclock_place {
	PARKCLOCK_PLACE_OWN,
	PARKCLOCK_PLACE_OTHERS,
	PARKCLOCK_PLACE_PRIVILEGED,
};

/**
 * struct parkclock_registration - a registration: of one task, with one clock
 * @entry:     in the table; has the task
 * @registry:  the registrations of the clock
 * @lock:      protects the members up to @ran
 * @hold:      PARKCLOCK_TASK_HOLDS, _PUBLISHES, _TIMED, _SHARES
 * @seen:      a switch of the task has seen this registration
 * @running:   the task runs on @cpu, since the counter was @since there
 * @inherit:   the threads and children that the task creates are registered as well
 * @place:     which of the task's places it takes
 * @cpu:       see @running
 * @since:     see @running
 * @ran:       how long the task ran before, in cycles
 * @list_link: in @registry->list
 * @gone_link: in the lists of those that are gone
 * @rcu:       frees it
 *
 * The members that every switch reads are in another cache line than those that a switch
 * of the task changes. switch.c uses the latter.
 */
struct parkclock_registration {
	struct parkclock_entry entry;
	struct parkclock_registry *registry;
	raw_spinlock_t lock ____cacheline_aligned;	/* see above */
	u8 hold;
	bool seen;
	bool running;
	bool inherit;
	u8 place;	/* enum parkclock_place */
	int cpu;
	u64 since;
	u64 ran;
	struct list_head list_link;
	union {
		struct llist_node gone_link;
		struct rcu_head rcu;
	};
};

/**
 * parkclock_registration_of() - the registration of an entry of the table
 * @e: the entry
 *
 * Context: any.
 */
static inline struct parkclock_registration *parkclock_registration_of(struct parkclock_entry *e)
{
	return container_of(e, struct parkclock_registration, entry);
}

void parkclock_registry_create(struct parkclock_registry *registry,
			       struct parkclock_account *account,
			       void (*release)(struct parkclock_registry *registry));
bool parkclock_registry_lock(struct parkclock_registry *registry);
void parkclock_registry_unlock_of(struct parkclock_registry *registry, bool pinned);
void parkclock_registry_unlock(struct parkclock_registry *registry);
void parkclock_registry_destroy(struct parkclock_registry *registry);
void parkclock_registry_set_vmclock(struct parkclock_registry *registry,
				    struct parkclock_vmclock *vm);
void parkclock_registry_set_cpu(struct parkclock_registry *registry, struct parkclock_cpu *cpu);
void parkclock_registry_set_shares(struct parkclock_registry *registry,
				   struct parkclock_share __percpu *shares);
void parkclock_registry_pin(struct parkclock_registry *registry);
void parkclock_registry_unpin(struct parkclock_registry *registry);
int parkclock_registry_reserve(struct parkclock_registry *registry, unsigned int n, bool last);
void parkclock_registry_unreserve(struct parkclock_registry *registry, unsigned int n);
void parkclock_registry_keep_spares(struct parkclock_registry *registry);

struct parkclock_registration *parkclock_registration_alloc(gfp_t gfp);
void parkclock_registration_prepare(struct parkclock_registration *r,
				    struct parkclock_registry *registry,
				    const struct task_struct *task, bool inherit,
				    enum parkclock_place place);
enum parkclock_place parkclock_registration_place(const struct parkclock_registry *registry,
						  struct task_struct *task);
int parkclock_registration_check(const struct parkclock_registry *registry,
				 const struct task_struct *task, enum parkclock_place place);
int parkclock_registration_add(struct parkclock_registration *r,
			       const struct parkclock_registration *parent);
struct parkclock_registration *
parkclock_registration_find(const struct parkclock_registry *registry,
			    const struct task_struct *task);
void parkclock_registration_inherit(const struct parkclock_registration *parent,
				    const struct task_struct *child);
void parkclock_registration_discard(struct parkclock_registration *r);

int parkclock_registration_init(void);
void parkclock_registration_exit(void);

#endif
