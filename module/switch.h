/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Context switches of registered tasks.
 */
#ifndef PARKCLOCK_SWITCH_H
#define PARKCLOCK_SWITCH_H

#include <linux/cache.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/parkclock.h>
#include <linux/spinlock.h>
#include <linux/types.h>

struct parkclock_tasks;
struct parkclock_vmclock;
struct task_struct;

/*
 * Bits of parkclock_task.hold: it holds a reference to the updater; and then one to the
 * clock's VMClock page, too.
 */
#define PARKCLOCK_TASK_HOLDS		0x1
#define PARKCLOCK_TASK_PUBLISHES	0x2

/**
 * struct parkclock_task - a registration: of one task, with one clock
 * @link:      in the table
 * @task:      the task; not a reference, see switch.c
 * @tasks:     the clock's registrations
 * @hash:      of @task
 * @inherit:   the threads and children that it creates are registered likewise
 * @list_link: in @tasks->list
 * @gone_link: in @tasks->gone
 * @lock:      protects the rest
 * @seen:      a switch of the task has seen this
 * @hold:      PARKCLOCK_TASK_HOLDS, _PUBLISHES
 * @running:   it runs, on @cpu, since the counter was @since there
 * @cpu:       see @running
 * @since:     see @running
 * @ran:       how long it ran before, in cycles
 *
 * What is looked up by every switch is apart from what a switch of the task changes.
 */
struct parkclock_task {
	struct hlist_node link;
	struct task_struct *task;
	struct parkclock_tasks *tasks;
	u32 hash;
	bool inherit;
	struct list_head list_link;
	struct llist_node gone_link;
	raw_spinlock_t lock ____cacheline_aligned;	/* the rest */
	bool seen;
	u8 hold;
	bool running;
	int cpu;
	u64 since;
	u64 ran;
};

int parkclock_switch_pin(void);
void parkclock_switch_unpin(unsigned int n);

void parkclock_switch_prepare(struct parkclock_task *t, struct parkclock_tasks *tasks,
			      struct task_struct *task, bool inherit);
int parkclock_switch_check(const struct parkclock_tasks *tasks, const struct task_struct *task);
int parkclock_switch_add(struct parkclock_task *t, const struct parkclock_task *parent);
bool parkclock_switch_remove(struct parkclock_task *t);
void parkclock_switch_unlist(struct parkclock_task *t);
void parkclock_switch_set_vmclock(struct parkclock_tasks *tasks, struct parkclock_vmclock *vm);
void parkclock_switch_publish(struct parkclock_task *t);
struct parkclock_task *parkclock_switch_find(const struct parkclock_tasks *tasks,
					     const struct task_struct *task);
bool parkclock_switch_settle(struct parkclock_task *t);
u64 parkclock_switch_ran(struct parkclock_task *t, bool *holding);
void parkclock_switch_query(struct parkclock_query *q);

void parkclock_switch_init(void);
void parkclock_switch_exit(void);

#endif
