/* SPDX-License-Identifier: GPL-2.0 */
/*
 * References to the updater, counted per CPU.
 */
#ifndef PARKCLOCK_REFS_H
#define PARKCLOCK_REFS_H

#include <linux/percpu.h>
#include <linux/types.h>

/* See refs.c. */
struct parkclock_refs {
	unsigned long gets;
	unsigned long puts;
};

DECLARE_PER_CPU(struct parkclock_refs, parkclock_refs);

/**
 * parkclock_refs_get() - count a reference
 *
 * Ends with a full barrier.
 *
 * Context: any.
 */
static inline void parkclock_refs_get(void)
{
	this_cpu_inc(parkclock_refs.gets);
	/*
	 * Count, then read the updater's state. Pairs with the barrier in
	 * parkclock_refs_held(), before which the state is changed, and after which the
	 * gets are counted: at least one of the two sees the other. It also comes before
	 * the put: see there.
	 */
	smp_mb();
}

/**
 * parkclock_refs_put() - uncount a reference
 *
 * Needs no barrier of its own. Its get ended with a full one, before this began, on
 * whatever CPU: so a CPU that sees this put also sees that get.
 *
 * Context: any.
 */
static inline void parkclock_refs_put(void)
{
	this_cpu_inc(parkclock_refs.puts);
}

unsigned long parkclock_refs_held(void);

#endif
