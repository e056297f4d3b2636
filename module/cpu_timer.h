/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CPU timers: on the CPU time of a clock's registered tasks.
 */
#ifndef PARKCLOCK_CPU_TIMER_H
#define PARKCLOCK_CPU_TIMER_H

#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/parkclock.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/timerqueue.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "setting.h"

/**
 * struct parkclock_cpu - the CPU time of a clock, and its timers
 * @lock:    protects the members up to @astray; taken under a run-queue lock
 * @done:    cycles of all runs of tasks that have ended
 * @since:   sum of the counter values at which the runs began that have not
 * @runners: number of these
 * @cpus:    sum of the numbers of the CPUs where these run: if it is one, its CPU
 * @told:    the largest sum so far, in cycles
 * @stopped: the clock is stopped: nothing expires
 * @until:   the CPU time when the clock was stopped, in ns
 * @queue:   the timers that wait, by their expiry
 * @woken:   those that have expired, and whose readers @waker will wake
 * @astray:  @hrtimer is armed, and must not be
 * @hrtimer: armed while tasks run and a timer waits, for when the sum will be there
 * @waker:   armed to fire at once while there is a timer in @woken
 * @again:   sees to @astray; a hard one, for which nobody waits long on PREEMPT_RT
 * @rcu:     frees it
 * @list:    all timers; protected by @lock, too
 * @hung_up: no task will ever run for this clock
 */
struct parkclock_cpu {
	raw_spinlock_t lock;	/* see above */
	u64 done;
	u64 since;
	unsigned int runners;
	int cpus;
	s64 told;
	bool stopped;
	s64 until;
	struct timerqueue_head queue;
	struct list_head woken;
	bool astray;
	struct hrtimer hrtimer;
	struct hrtimer waker;
	struct irq_work again;
	struct rcu_head rcu;
	struct list_head list;
	bool hung_up;
};

/**
 * struct parkclock_cpu_timer - a CPU timer
 * @cpu:     the CPU time of its clock
 * @wait:    those who wait for it
 * @setting: what it is set to; protected by @cpu->lock, as the next two
 * @node:    in @cpu->queue if @setting waits
 * @woken:   in @cpu->woken, or empty
 * @link:    in @cpu->list
 */
struct parkclock_cpu_timer {
	struct parkclock_cpu *cpu;
	wait_queue_head_t wait;
	struct parkclock_setting setting;
	struct timerqueue_node node;
	struct list_head woken;
	struct list_head link;
};

struct parkclock_cpu *parkclock_cpu_create(void);
void parkclock_cpu_destroy(struct parkclock_cpu *cpu);
void parkclock_cpu_begin(struct parkclock_cpu *cpu, u64 since, int on);
void parkclock_cpu_end(struct parkclock_cpu *cpu, u64 since, int on, u64 ran);
void parkclock_cpu_ran(struct parkclock_cpu *cpu, u64 ran);
u64 parkclock_cpu_read(struct parkclock_cpu *cpu);
u64 parkclock_cpu_tell(struct parkclock_cpu *cpu, u64 cycles);
void parkclock_cpu_stop(struct parkclock_cpu *cpu, bool stopped);
void parkclock_cpu_hang_up(struct parkclock_cpu *cpu);

void parkclock_cpu_timer_create(struct parkclock_cpu_timer *t, struct parkclock_cpu *cpu);
void parkclock_cpu_timer_destroy(struct parkclock_cpu_timer *t);
void parkclock_cpu_timer_set(struct parkclock_cpu_timer *t, struct parkclock_timer_set *to);
void parkclock_cpu_timer_get(struct parkclock_cpu_timer *t, struct parkclock_timer_state *out);
u64 parkclock_cpu_timer_restore(struct parkclock_cpu_timer *t,
				const struct parkclock_timer_state *from);
int parkclock_cpu_timer_take(struct parkclock_cpu_timer *t, struct parkclock_expired *out);
bool parkclock_cpu_timer_pending(struct parkclock_cpu_timer *t);

#endif
