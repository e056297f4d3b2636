// SPDX-License-Identifier: GPL-2.0
/*
 * References to the updater, counted per CPU.
 *
 * One counter would bounce between all CPUs that take and drop references. So
 * each CPU counts the gets and the puts that happen on it, apart, and whoever
 * wants to know adds up first all puts and then all gets, as SRCU does:
 *
 * - A reference that is held during the whole addition is seen: its get is
 *   there, its put is not.
 * - A put that is seen has its get seen, because the get was there before the
 *   put, and the puts are added first. So the difference is never too small by
 *   a reference that has come and gone meanwhile, on whatever CPUs.
 *
 * The counters wrap; the difference does not care.
 */
#include <linux/cpumask.h>
#include <linux/percpu.h>

#include "refs.h"

struct refs {
	unsigned long gets;
	unsigned long puts;
};

static DEFINE_PER_CPU(struct refs, refs);

/**
 * parkclock_refs_get() - count a reference
 *
 * A full barrier follows the counting.
 *
 * Context: any.
 */
void parkclock_refs_get(void)
{
	this_cpu_inc(refs.gets);
	/*
	 * Count, then look at the updater's state. Pairs with the barriers in
	 * parkclock_updater_tick(), which changes the state, then looks at the
	 * count: at least one of the two sees the other.
	 */
	smp_mb();
}

/**
 * parkclock_refs_put() - uncount a reference
 *
 * Context: any.
 */
void parkclock_refs_put(void)
{
	/*
	 * Whoever sees this put sees the get that it belongs to, which another
	 * thread may have done on another CPU. Pairs with the barrier in
	 * parkclock_refs_held().
	 */
	smp_mb();
	this_cpu_inc(refs.puts);
}

/**
 * parkclock_refs_held() - the number of references held
 *
 * Not less than the number of those that are held throughout the call. To be
 * sure of those whose taker is about to look at a state, change the state first,
 * with a full barrier after it.
 *
 * Context: any.
 */
unsigned long parkclock_refs_held(void)
{
	unsigned long gets = 0, puts = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		puts += READ_ONCE(per_cpu(refs.puts, cpu));
	/* Puts before gets; pairs with the barrier in parkclock_refs_put(). */
	smp_mb();
	for_each_possible_cpu(cpu)
		gets += READ_ONCE(per_cpu(refs.gets, cpu));
	return gets - puts;
}
