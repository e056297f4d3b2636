/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registered tasks: whose they are, and who may register them.
 */
#ifndef PARKCLOCK_TASKS_H
#define PARKCLOCK_TASKS_H

#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/parkclock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct parkclock;
struct parkclock_task;
struct parkclock_vmclock;
struct task_struct;

/**
 * struct parkclock_tasks - the registrations of a clock
 * @vmclock:   the clock's VMClock page, if it has one: those who run hold it, too.
 *             Protected by the lock of switch.c
 * @list:      all of them; what is added, is added at its end under the lock of
 *             switch.c, while others walk along it
 * @lock:      protects what is on @list from going, and the next three
 * @used:      there have been some
 * @past:      how long those have run that are not on @list any more, in cycles
 * @told:      the most that QUERY was told about how long all have run
 * @count:     of those that are not gone, or are about to be added
 * @missed:    tasks that could not inherit a registration
 * @gone:      those that are out of the table, for @reap_work to free
 * @reap_irq:  queues @reap_work, which may not be done where a task dies
 * @reap_work: frees what is on @gone
 */
struct parkclock_tasks {
	struct parkclock_vmclock *vmclock;
	struct list_head list;
	struct mutex lock;	/* see above */
	bool used;
	u64 past;
	u64 told;
	atomic_t count;
	atomic64_t missed;
	struct llist_head gone;
	struct irq_work reap_irq;
	struct work_struct reap_work;
};

void parkclock_tasks_create(struct parkclock_tasks *tasks);
void parkclock_tasks_destroy(struct parkclock_tasks *tasks);
int parkclock_tasks_register(struct parkclock_tasks *tasks, s32 tid, u32 flags, bool others);
int parkclock_tasks_unregister(struct parkclock_tasks *tasks, s32 tid, u32 flags, bool others);
void parkclock_tasks_query(struct parkclock_tasks *tasks, struct parkclock_query *q);
void parkclock_tasks_publish(struct parkclock_tasks *tasks, struct parkclock_vmclock *vm);

void parkclock_tasks_inherit(struct parkclock_task *parent, struct task_struct *child);
void parkclock_tasks_discard(struct parkclock_task *t);

void parkclock_tasks_exit(void);

#endif
