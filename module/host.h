/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The host's clock: its value at a counter value, and its changes.
 */
#ifndef PARKCLOCK_HOST_H
#define PARKCLOCK_HOST_H

#include <linux/wait.h>

#include "segment.h"

/* Those who wait for a discontinuity; woken after parkclock_host_generation() has changed. */
extern wait_queue_head_t parkclock_host_jumped;

int parkclock_host_init(struct parkclock_timebase *page, void (*changing)(void),
			void (*changed)(void));
void parkclock_host_exit(void);

void parkclock_host_suspending(bool suspending);
bool parkclock_host_usable(void);
bool parkclock_host_sample(struct parkclock_sample *sample);
void parkclock_host_sample_slow(struct parkclock_sample *sample);
u64 parkclock_host_generation(void);
s64 parkclock_host_boot_ns(void);

#endif
