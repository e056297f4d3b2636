/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The host's clock: what it says at a counter value, and when it changes.
 */
#ifndef PARKCLOCK_HOST_H
#define PARKCLOCK_HOST_H

#include <linux/wait.h>

#include "segment.h"

/* Who waits for a discontinuity; woken when parkclock_host_generation() tells of it. */
extern wait_queue_head_t parkclock_host_jumped;

int parkclock_host_init(struct parkclock_timebase *page, void (*changed)(void));
void parkclock_host_exit(void);

void parkclock_host_suspending(bool suspending);
bool parkclock_host_usable(void);
bool parkclock_host_sample(struct parkclock_sample *sample);
void parkclock_host_sample_slow(struct parkclock_sample *sample);
bool parkclock_host_rate(u64 epoch, u64 *rate, u64 *slop);
u64 parkclock_host_generation(void);
s64 parkclock_host_boot_ns(void);

#endif
