/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What of a clock runs on each CPU: for clocks that have a registered cgroup, or had one.
 */
#ifndef PARKCLOCK_SHARES_H
#define PARKCLOCK_SHARES_H

#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/minmax.h>
#include <linux/percpu.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <asm/msr.h>

#include "registration.h"

/**
 * struct parkclock_share - what of a clock runs on one CPU
 * @lock:   taken under a run-queue lock; see below
 * @seq:    for who reads @covers, @since and @ran, where the CPU changes them without the lock
 * @hold:   PARKCLOCK_TASK_PUBLISHES, _TIMED: see there; _SHARES: registered tasks of the clock
 *	    are counted here, too
 * @covers: the CPU runs a task in a registered cgroup
 * @runs:   if @hold is not 0: number of reasons for which the clock's CPU time goes on here:
 *	    @covers, and a registered task that runs. They can be about one task.
 * @since:  the counter when the time began to go on
 * @ran:    how long it went on before, in cycles
 *
 * While @hold is 0, the CPU alone changes all this, with interrupts disabled, and takes no lock:
 * so cheap is a clock that has nothing but cgroups. Otherwise whoever changes it has the lock.
 * A bit of @hold is set by the CPU itself, with the lock, or in the name of one that is offline;
 * none is ever cleared.
 */
struct parkclock_share {
	raw_spinlock_t lock;	/* see above */
	seqcount_t seq;
	u8 hold;
	bool covers;
	u16 runs;
	u64 since;
	u64 ran;
} ____cacheline_aligned;

/**
 * parkclock_passed() - how many cycles since then
 * @since: value of the counter
 *
 * The counter may have begun anew, in a suspend; and this CPU may have read it for that before
 * a lock was taken, which does not order it.
 *
 * Context: any.
 */
static inline u64 parkclock_passed(u64 since)
{
	s64 cycles = rdtsc() - since;

	return max(cycles, 0LL);
}

void parkclock_share_cover_slow(struct parkclock_registry *registry, u64 cycles);
void parkclock_share_uncover_slow(struct parkclock_registry *registry);

/**
 * parkclock_share_cover() - a task that runs in a registered cgroup begins to run on this CPU
 * @registry: the clock's registrations
 * @cycles:   the counter now
 *
 * Context: interrupts disabled, also under a run-queue lock.
 */
static __always_inline void parkclock_share_cover(struct parkclock_registry *registry, u64 cycles)
{
	struct parkclock_share *s = this_cpu_ptr(registry->shares);

	if (unlikely(s->hold)) {
		parkclock_share_cover_slow(registry, cycles);
		return;
	}
	raw_write_seqcount_begin(&s->seq);
	s->covers = true;
	s->since = cycles;
	raw_write_seqcount_end(&s->seq);
}

/**
 * parkclock_share_uncover() - take back parkclock_share_cover(), on the same CPU
 * @registry: the clock's registrations
 *
 * Context: interrupts disabled, also under a run-queue lock.
 */
static __always_inline void parkclock_share_uncover(struct parkclock_registry *registry)
{
	struct parkclock_share *s = this_cpu_ptr(registry->shares);

	if (unlikely(s->hold)) {
		parkclock_share_uncover_slow(registry);
		return;
	}
	raw_write_seqcount_begin(&s->seq);
	s->covers = false;
	s->ran += parkclock_passed(s->since);
	raw_write_seqcount_end(&s->seq);
}

void parkclock_share_begin(struct parkclock_registry *registry, int cpu, u64 cycles);
void parkclock_share_end(struct parkclock_registry *registry, int cpu);

struct parkclock_share __percpu *parkclock_shares_alloc(void);
void parkclock_shares_free(struct parkclock_share __percpu *shares);
void parkclock_shares_prepare(const struct parkclock_registry *registry,
			      struct parkclock_share __percpu *shares);
void parkclock_shares_set(struct parkclock_registry *registry, u8 bit);
u64 parkclock_shares_ran(struct parkclock_registry *registry, u64 *covers);

#endif
