/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Timers of a clock
 */
#ifndef PARKCLOCK_SELFTESTS_TIMERS_H
#define PARKCLOCK_SELFTESTS_TIMERS_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/parkclock.h>

#define ABSOLUTE	PARKCLOCK_TIMER_ABSOLUTE
#define CANCEL		PARKCLOCK_TIMER_CANCEL
#define NONBLOCK	PARKCLOCK_TIMER_NONBLOCK
#define CPUTIME		PARKCLOCK_CPUTIME_ID

#define MSEC		1000000LL
#define HOUR		(3600 * 1000 * MSEC)

/* Those that try return what the call returns, or its errno, negated. */
int try_timer(int clock, int id, uint32_t flags);
int try_set(int timer, struct parkclock_timer_set *to);
int try_state(int timer, struct parkclock_timer_state *from);	/* TIMER_RESTORE */

/* Up to 16 bytes, as read() returns them */
int try_expired(int timer, struct parkclock_expired *out);

int make_timer(int clock, int id, uint32_t flags);

/* Sets a timer, and returns the argument as it is after that. */
struct parkclock_timer_set set_timer(int timer, uint32_t flags, int64_t value, int64_t interval);
struct parkclock_timer_state get_timer(int timer);

/* Reads a timer that does not wait: how often it has expired; 0 if it has not. */
uint64_t expirations(int timer);

/* What poll() says within so many ms */
int poll_timer(int timer, int ms);

/* Has the timer expired, or does it soon? */
bool expires(int timer);

#endif
