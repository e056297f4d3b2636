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
 * A full barrier follows the counting.
 *
 * Context: any.
 */
static inline void parkclock_refs_get(void)
{
	this_cpu_inc(parkclock_refs.gets);
	/*
	 * Count, then look at the updater's state. Pairs with the barriers in
	 * wind_down(), which changes the state, then looks at the count: at least
	 * one of the two sees the other.
	 */
	smp_mb();
}

/**
 * parkclock_refs_put() - uncount a reference
 *
 * Context: any.
 */
static inline void parkclock_refs_put(void)
{
	/*
	 * Whoever sees this put sees the get that it belongs to, which another
	 * thread may have done on another CPU. Pairs with the barrier in
	 * parkclock_refs_held().
	 */
	smp_mb();
	this_cpu_inc(parkclock_refs.puts);
}

unsigned long parkclock_refs_held(void);

#endif
