/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Timers by the wall: on MONOTONIC, REALTIME, BOOTTIME and TAI of a clock.
 */
#ifndef PARKCLOCK_WALL_TIMER_H
#define PARKCLOCK_WALL_TIMER_H

#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/parkclock.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "setting.h"

struct parkclock_now;
struct parkclock_page;

/**
 * struct parkclock_wall_timers - the timers by the wall of a clock
 * @lock:    the clock's; protects @list, @hung_up and @stopped, and is held while the page
 *	     changes
 * @page:    page 0 of the clock
 * @stopped: the host's clocks when the clock was stopped, if it is stopped
 * @list:    the timers
 * @hung_up: the clock is stopped for ever
 */
struct parkclock_wall_timers {
	struct mutex *lock;	/* see above */
	const struct parkclock_page *page;
	const struct parkclock_now *stopped;
	struct list_head list;
	bool hung_up;
};

/**
 * struct parkclock_wall_timer - a timer by the wall
 * @timers:    the timers of its clock
 * @wait:      those who wait for it
 * @lock:      protects @by, @setting and @hrtimer
 * @clock_id:  constant
 * @by:	       the clock by which @setting counts: MONOTONIC, or @clock_id
 * @setting:   what it is set to. A relative one does not count by how much the owner has set the
 *	       clock so far, see struct parkclock_page
 * @hrtimer:   armed if @setting waits and the clock is not stopped
 * @link:      in @timers->list
 * @listener:  in the list of those that a jump of the host's clock may cancel, or empty
 */
struct parkclock_wall_timer {
	struct parkclock_wall_timers *timers;
	wait_queue_head_t wait;
	raw_spinlock_t lock;	/* see above */
	u8 clock_id;
	u8 by;
	struct parkclock_setting setting;
	struct hrtimer hrtimer;
	struct list_head link;
	struct list_head listener;
};

void parkclock_wall_timers_init(void);
void parkclock_wall_timers_exit(void);

void parkclock_wall_timers_create(struct parkclock_wall_timers *timers, struct mutex *lock,
				  const struct parkclock_page *page,
				  const struct parkclock_now *stopped);
void parkclock_wall_timers_stop(struct parkclock_wall_timers *timers);
void parkclock_wall_timers_follow(struct parkclock_wall_timers *timers);
void parkclock_wall_timers_hang_up(struct parkclock_wall_timers *timers);

void parkclock_wall_timer_create(struct parkclock_wall_timer *t,
				 struct parkclock_wall_timers *timers, int clock_id);
void parkclock_wall_timer_destroy(struct parkclock_wall_timer *t);
void parkclock_wall_timer_set(struct parkclock_wall_timer *t, struct parkclock_timer_set *to);
void parkclock_wall_timer_get(struct parkclock_wall_timer *t, struct parkclock_timer_state *out);
u64 parkclock_wall_timer_restore(struct parkclock_wall_timer *t,
				 const struct parkclock_timer_state *from);
int parkclock_wall_timer_take(struct parkclock_wall_timer *t, struct parkclock_expired *out);
bool parkclock_wall_timer_pending(struct parkclock_wall_timer *t);

#endif
