/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registered cgroups: whatever runs in one, or below it, holds a reference.
 */
#ifndef PARKCLOCK_CGROUPS_H
#define PARKCLOCK_CGROUPS_H

#include <linux/parkclock.h>
#include <linux/types.h>

struct cgroup;
struct parkclock_registry;
struct task_struct;

#ifdef CONFIG_CGROUPS

#include <linux/cgroup.h>
#include <linux/jump_label.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>

/* Places in which a CPU remembers cgroups, of those that are not covered; a power of two */
#define PARKCLOCK_CGROUP_PLACES	32

/*
 * Where to look for the cgroup of the task that comes: the cgroups that are known not to be
 * covered; or, while the CPU has taken something, a table in which no cgroup is.
 */
DECLARE_PER_CPU(struct cgroup *const *, parkclock_cgroup_places);
DECLARE_STATIC_KEY_FALSE(parkclock_cgroups_used);

/* Never does a task have none. */
static __always_inline struct cgroup *parkclock_cgroup_of(const struct task_struct *task)
{
	return rcu_dereference_raw(task->cgroups)->dfl_cgrp;
}

/*
 * Where a cgroup is remembered, modulo the number of places: it takes more than 1 kB, so that bits
 * from 2^11 on differ.
 */
static __always_inline unsigned int parkclock_cgroup_place(const struct cgroup *cgrp)
{
	return (u32)(unsigned long)cgrp >> 11;
}

void parkclock_cgroups_change(struct task_struct *next, struct cgroup *cgrp);

/**
 * parkclock_cgroups_switch() - the part of a switch that is about cgroups
 * @next: the task that is about to run on this CPU
 *
 * Nearly always no registered cgroup has to do with it. Then this is eight instructions.
 *
 * Context: the probe of sched_switch.
 */
static __always_inline void parkclock_cgroups_switch(struct task_struct *next)
{
	struct cgroup *cgrp;
	unsigned int place;

	if (!static_branch_likely(&parkclock_cgroups_used))
		return;
	cgrp = parkclock_cgroup_of(next);
	place = parkclock_cgroup_place(cgrp) & (PARKCLOCK_CGROUP_PLACES - 1);
	/* Changed by others only where no task can be in it: see parkclock_cgroups_mkdir(). */
	if (unlikely(data_race(this_cpu_read(parkclock_cgroup_places)[place]) != cgrp))
		parkclock_cgroups_change(next, cgrp);
}

void parkclock_cgroups_attach(void *data, struct cgroup *dst, const char *path,
			      struct task_struct *leader, bool threadgroup);
void parkclock_cgroups_mkdir(void *data, struct cgroup *cgrp, const char *path);
void parkclock_cgroups_rmdir(void *data, struct cgroup *cgrp, const char *path);

int parkclock_cgroups_reserve(struct parkclock_registry *registry, const struct cgroup *cgrp);
void parkclock_cgroups_unreserve(struct parkclock_registry *registry);
int parkclock_cgroups_register(struct parkclock_registry *registry, struct cgroup *cgrp);
int parkclock_cgroups_unregister(struct parkclock_registry *registry, struct cgroup *cgrp);
void parkclock_cgroups_destroy(struct parkclock_registry *registry);
void parkclock_cgroups_query(struct parkclock_query *q);
int parkclock_cgroups_init(void);
void parkclock_cgroups_exit(void);

#else

static inline void parkclock_cgroups_switch(struct task_struct *next)
{
}

static inline void parkclock_cgroups_destroy(struct parkclock_registry *registry)
{
}

static inline void parkclock_cgroups_query(struct parkclock_query *q)
{
}

static inline int parkclock_cgroups_init(void)
{
	return 0;
}

static inline void parkclock_cgroups_exit(void)
{
}

#endif

#endif
