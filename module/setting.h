/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The setting of a timer, and how its expirations count.
 */
#ifndef PARKCLOCK_SETTING_H
#define PARKCLOCK_SETTING_H

#include <linux/parkclock.h>
#include <linux/types.h>

enum parkclock_setting_state {
	PARKCLOCK_TIMER_DISARMED,	/* there is no next expiration */
	PARKCLOCK_TIMER_WAITING,	/* for @expiry */
	PARKCLOCK_TIMER_EXPIRED,	/* and not read; from @expiry on nothing is counted yet */
};

/**
 * struct parkclock_setting - the setting of a timer
 * @number:	 number of the setting; 0: the timer was never set
 * @expiry:	 the first expiration that is not counted, in ns of the timer's clock
 * @interval:	 ns from one expiration to the next; 0: there is no next one
 * @slack:	 how late an expiration may be to share an interrupt, in ns
 * @expirations: counted, and not read
 * @generation:	 of the clock, as acknowledged last
 * @flags:	 PARKCLOCK_TIMER_*
 * @state:	 see above
 *
 * A timer that has expired waits for nothing: expirations after the first are counted when
 * somebody asks. So nobody is interrupted for a timer that nobody reads.
 */
struct parkclock_setting {
	u64 number;
	s64 expiry;
	s64 interval;
	s64 slack;
	u64 expirations;
	u64 generation;
	u32 flags;
	enum parkclock_setting_state state;
};

s64 parkclock_setting_sum(s64 a, s64 b);
bool parkclock_setting_reach(struct parkclock_setting *s, s64 now);
s64 parkclock_setting_left(const struct parkclock_setting *s, s64 now);
int parkclock_setting_take(struct parkclock_setting *s, u64 generation,
			   struct parkclock_expired *out);
bool parkclock_setting_pending(const struct parkclock_setting *s, u64 generation);
void parkclock_setting_replace(struct parkclock_setting *s, struct parkclock_timer_set *to, s64 now,
			       u64 generation);
void parkclock_setting_get(const struct parkclock_setting *s, s64 now,
			   struct parkclock_timer_state *out);
void parkclock_setting_restore(struct parkclock_setting *s,
			       const struct parkclock_timer_state *from, s64 expiry);

#endif
