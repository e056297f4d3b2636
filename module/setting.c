// SPDX-License-Identifier: GPL-2.0
/*
 * The setting of a timer, and how its expirations count.
 *
 * Needs nothing of the kernel but its types. The caller has the timer's lock. All times are ns
 * of the timer's clock, and not below 0.
 */
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/minmax.h>

#include "setting.h"

/**
 * parkclock_setting_sum() - add to a time
 * @a: a time, in ns
 * @b: what to add, in ns
 *
 * Context: any.
 * Return: the sum, from 0 to S64_MAX: a clock never comes that far.
 */
s64 parkclock_setting_sum(s64 a, s64 b)
{
	if (b > 0 && a > S64_MAX - b)
		return S64_MAX;
	return max(a + b, 0LL);
}

/**
 * parkclock_setting_reach() - count what has expired by now
 * @s:	 the setting
 * @now: the time
 *
 * Context: any.
 * Return: true if the timer has waited for this: whoever reads it is to be woken.
 */
bool parkclock_setting_reach(struct parkclock_setting *s, s64 now)
{
	bool waited = s->state == PARKCLOCK_TIMER_WAITING;
	u64 more = 1;

	if (s->state == PARKCLOCK_TIMER_DISARMED || now < s->expiry)
		return false;
	if (s->interval) {
		more += (u64)(now - s->expiry) / s->interval;
		/* The last of them is not after now. */
		s->expiry = parkclock_setting_sum(s->expiry + (s64)(more - 1) * s->interval,
						  s->interval);
		s->state = PARKCLOCK_TIMER_EXPIRED;
	} else {
		s->state = PARKCLOCK_TIMER_DISARMED;
	}
	s->expirations = more > U64_MAX - s->expirations ? U64_MAX : s->expirations + more;
	return waited;
}

/**
 * parkclock_setting_left() - how long until the next expiration
 * @s:	 the setting
 * @now: the time
 *
 * Context: any.
 * Return: ns; 0 if there is none, else at least 1.
 */
s64 parkclock_setting_left(const struct parkclock_setting *s, s64 now)
{
	if (s->state == PARKCLOCK_TIMER_DISARMED)
		return 0;
	return max(s->expiry - now, 1LL);
}

static bool canceled(const struct parkclock_setting *s, u64 generation)
{
	return s->flags & PARKCLOCK_TIMER_CANCEL && s->generation != generation;
}

/**
 * parkclock_setting_pending() - would a read find something?
 * @s:		the setting
 * @generation: of the clock
 *
 * Context: any.
 */
bool parkclock_setting_pending(const struct parkclock_setting *s, u64 generation)
{
	return s->expirations || canceled(s, generation);
}

/**
 * parkclock_setting_take() - read what has expired
 * @s:		the setting; what has expired by now is counted
 * @generation: of the clock
 * @out:	filled in
 *
 * The timer then waits again, if it has an interval: the caller arms it.
 *
 * Context: any.
 * Return: 1; 0 if nothing has expired; or -ECANCELED.
 */
int parkclock_setting_take(struct parkclock_setting *s, u64 generation,
			   struct parkclock_expired *out)
{
	if (canceled(s, generation)) {
		s->generation = generation;
		return -ECANCELED;
	}
	if (!s->expirations)
		return 0;
	out->expirations = s->expirations;
	out->number = s->number;
	s->expirations = 0;
	if (s->state == PARKCLOCK_TIMER_EXPIRED)
		s->state = PARKCLOCK_TIMER_WAITING;
	return 1;
}

/**
 * parkclock_setting_replace() - set a timer
 * @s:		the setting that there is; what has expired by now is counted
 * @to:		the new one, valid; filled in with what becomes of the old one
 * @now:	the time
 * @generation:	of the clock
 *
 * @to->old_left_ns is the caller's.
 *
 * Context: any.
 */
void parkclock_setting_replace(struct parkclock_setting *s, struct parkclock_timer_set *to, s64 now,
			       u64 generation)
{
	to->old_interval_ns = s->interval;
	to->old_expirations = s->expirations;
	s->number++;
	s->expiry = to->flags & PARKCLOCK_TIMER_ABSOLUTE ? to->value_ns :
		    parkclock_setting_sum(now, to->value_ns);
	s->interval = to->interval_ns;
	s->slack = to->slack_ns;
	s->expirations = 0;
	s->generation = generation;
	s->flags = to->flags;
	s->state = to->value_ns ? PARKCLOCK_TIMER_WAITING : PARKCLOCK_TIMER_DISARMED;
	to->number = s->number;
}

/**
 * parkclock_setting_get() - tell what a timer is set to
 * @s:	 the setting; what has expired by now is counted
 * @now: the time
 * @out: zeroed; filled in but for the clock id
 *
 * Context: any.
 */
void parkclock_setting_get(const struct parkclock_setting *s, s64 now,
			   struct parkclock_timer_state *out)
{
	out->flags = s->flags;
	out->expiry_ns = s->state == PARKCLOCK_TIMER_DISARMED ? 0 : s->expiry;
	out->left_ns = parkclock_setting_left(s, now);
	out->interval_ns = s->interval;
	out->slack_ns = s->slack;
	out->number = s->number;
	out->expirations = s->expirations;
	out->generation = s->generation;
}

/**
 * parkclock_setting_restore() - set a timer to go on
 * @s:	    the setting that there is
 * @from:   the state, valid
 * @expiry: when it expires next; 0: it is disarmed
 *
 * Context: any.
 */
void parkclock_setting_restore(struct parkclock_setting *s,
			       const struct parkclock_timer_state *from, s64 expiry)
{
	s->number++;
	s->expiry = expiry;
	s->interval = from->interval_ns;
	s->slack = from->slack_ns;
	s->expirations = from->expirations;
	s->generation = from->generation;
	s->flags = from->flags;
	s->state = expiry ? PARKCLOCK_TIMER_WAITING : PARKCLOCK_TIMER_DISARMED;
	/* One that nobody has read since it expired has no use for an interrupt. */
	if (expiry && s->interval && s->expirations)
		s->state = PARKCLOCK_TIMER_EXPIRED;
}
