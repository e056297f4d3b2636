/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMClock page of a clock.
 */
#ifndef PARKCLOCK_VMCLOCK_H
#define PARKCLOCK_VMCLOCK_H

#include <linux/list.h>

struct page;
struct parkclock;
struct parkclock_vmclock;

struct parkclock_vmclock *parkclock_vmclock_create(const struct parkclock *clock, int index);
void parkclock_vmclock_free(struct parkclock_vmclock *vm);
struct page *parkclock_vmclock_page(const struct parkclock_vmclock *vm);
const char *parkclock_vmclock_name(const struct parkclock_vmclock *vm);

void parkclock_vmclock_get(struct parkclock_vmclock *vm);
void parkclock_vmclock_put(struct parkclock_vmclock *vm);
void parkclock_vmclock_write(struct parkclock_vmclock *vm);
void parkclock_vmclock_retire(struct parkclock_vmclock *vm);

/* For parkclock_vmclock_update() alone. */
extern struct list_head parkclock_vmclock_live;

void parkclock_vmclock_update_slow(void);

/**
 * parkclock_vmclock_update() - the timebase has changed
 *
 * Context: parkclock_timebase_lock held.
 */
static inline void parkclock_vmclock_update(void)
{
	if (unlikely(!list_empty(&parkclock_vmclock_live)))
		parkclock_vmclock_update_slow();
}

#endif
