/* SPDX-License-Identifier: GPL-2.0 */
/*
 * REGISTER and UNREGISTER: which tasks, and who may register them.
 */
#ifndef PARKCLOCK_TASKS_H
#define PARKCLOCK_TASKS_H

#include <linux/parkclock.h>
#include <linux/types.h>

struct parkclock_cpu;
struct parkclock_registry;
struct parkclock_vmclock;

int parkclock_tasks_register(struct parkclock_registry *registry,
			     const struct parkclock_register *in);
int parkclock_tasks_unregister(struct parkclock_registry *registry,
			       const struct parkclock_register *in);
void parkclock_tasks_query(struct parkclock_registry *registry, struct parkclock_query *q);
void parkclock_tasks_publish(struct parkclock_registry *registry, struct parkclock_vmclock *vm);
void parkclock_tasks_add_up(struct parkclock_registry *registry, struct parkclock_cpu *cpu);
int parkclock_tasks_share(struct parkclock_registry *registry);
void parkclock_tasks_destroy(struct parkclock_registry *registry);

#endif
