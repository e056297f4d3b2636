// SPDX-License-Identifier: GPL-2.0
/*
 * References to the updater, counted per CPU.
 *
 * One counter would bounce between all CPUs that take and drop references. So each CPU
 * counts the gets and the puts that happen on it, apart. parkclock_refs_held() adds up first
 * all puts and then all gets, as SRCU does:
 *
 * - A reference that is held during the whole addition is seen: its get is counted, and its
 *   put has not happened.
 * - If a put is seen, its get is seen, too: the get was there before the put, and the puts
 *   are added first. So a reference that comes and goes meanwhile, on whatever CPUs, never
 *   makes the difference too small. The updater could do without: the get that the sum has
 *   missed reads the lowered state, and raises it. QUERY shows the number to people.
 *
 * The counters may wrap; the difference is right nevertheless.
 */
#include <linux/cpumask.h>

#include "refs.h"

DEFINE_PER_CPU(struct parkclock_refs, parkclock_refs);

/**
 * parkclock_refs_held() - number of references held
 *
 * At least the number of references that are held throughout the call. Has a full barrier:
 * a caller that has changed the updater's state sees the reference of each get that read
 * the state before.
 *
 * Context: any.
 */
unsigned long parkclock_refs_held(void)
{
	unsigned long gets = 0, puts = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		puts += READ_ONCE(per_cpu(parkclock_refs.puts, cpu));
	/*
	 * What the caller has stored, and the puts, before the gets. Pairs with the barrier
	 * in parkclock_refs_get().
	 */
	smp_mb();
	for_each_possible_cpu(cpu)
		gets += READ_ONCE(per_cpu(parkclock_refs.gets, cpu));
	return gets - puts;
}
