/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The descriptor of a timer.
 */
#ifndef PARKCLOCK_TIMER_H
#define PARKCLOCK_TIMER_H

#include <linux/parkclock.h>

struct parkclock;

int parkclock_timer_open(struct parkclock *clock, const struct parkclock_timer __user *arg);

#endif
