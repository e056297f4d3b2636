// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel itself takes for the two things that a wake of the clock cannot do
 * without: one snapshot of its clock, and one start of an hrtimer.
 *
 * It measures once, when it is loaded, in TSC cycles; its parameters are the results.
 * A sample is taken with interrupts disabled, and of many the least counts.
 */
#include <linux/hrtimer.h>
#include <linux/irqflags.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/timekeeping.h>
#include <asm/msr.h>

#include "compat.h"

#define SAMPLES	1000

static unsigned int snapshot = UINT_MAX;
module_param(snapshot, uint, 0444);
MODULE_PARM_DESC(snapshot, "a snapshot of the kernel's clock");

static unsigned int start = UINT_MAX;
module_param(start, uint, 0444);
MODULE_PARM_DESC(start, "hrtimer_start() of a timer that is not armed");

static unsigned int restart = UINT_MAX;
module_param(restart, uint, 0444);
MODULE_PARM_DESC(restart, "hrtimer_start() of one that is");

static struct hrtimer timer;

static enum hrtimer_restart expired(struct hrtimer *t)
{
	return HRTIMER_NORESTART;
}

static void take_nothing(void)
{
}

static void take_snapshot(void)
{
	struct system_time_snapshot s;

#ifdef PARKCLOCK_HAS_ktime_get_snapshot_id
	ktime_get_snapshot_id(CLOCK_MONOTONIC, &s);
#else
	ktime_get_snapshot(&s);
#endif
}

static void start_timer(void)
{
	hrtimer_start(&timer, ms_to_ktime(1000), HRTIMER_MODE_REL_HARD);
}

static __always_inline unsigned int measure(void (*what)(void), bool armed)
{
	unsigned int least = UINT_MAX;
	unsigned long flags;
	u64 begin, end;
	int i;

	for (i = 0; i < SAMPLES; i++) {
		local_irq_save(flags);
		if (armed)
			start_timer();
		begin = rdtsc_ordered();
		what();
		end = rdtsc_ordered();
		local_irq_restore(flags);
		least = min_t(u64, least, end - begin);
		hrtimer_cancel(&timer);
	}
	return least;
}

static int __init parkclock_bench_init(void)
{
	unsigned int nothing;

	hrtimer_setup(&timer, expired, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	nothing = measure(take_nothing, false);
	snapshot = measure(take_snapshot, false) - nothing;
	start = measure(start_timer, false) - nothing;
	restart = measure(start_timer, true) - nothing;
	return 0;
}

static void __exit parkclock_bench_exit(void)
{
}

module_init(parkclock_bench_init);
module_exit(parkclock_bench_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What a clock snapshot and an hrtimer start cost");
