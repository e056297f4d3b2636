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

#include "refs.h"

DEFINE_PER_CPU(struct parkclock_refs, parkclock_refs);

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
		puts += READ_ONCE(per_cpu(parkclock_refs.puts, cpu));
	/* Puts before gets; pairs with the barrier in parkclock_refs_put(). */
	smp_mb();
	for_each_possible_cpu(cpu)
		gets += READ_ONCE(per_cpu(parkclock_refs.gets, cpu));
	return gets - puts;
}
