/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The timeline of a clock: what its owner does to MONOTONIC and BOOTTIME.
 */
#ifndef PARKCLOCK_TIMELINE_H
#define PARKCLOCK_TIMELINE_H

#include <linux/parkclock.h>
#include <linux/types.h>

struct parkclock;

int parkclock_timeline_epoch(struct parkclock *clock);
int parkclock_timeline_offsets(struct parkclock *clock, const struct parkclock_offsets *offsets);
int parkclock_timeline_stop(struct parkclock *clock);
int parkclock_timeline_start(struct parkclock *clock, unsigned long gap);
void parkclock_timeline_save(struct parkclock *clock, struct parkclock_saved *saved);
int parkclock_timeline_restore(struct parkclock *clock, const struct parkclock_saved *saved,
			       u32 gap);

#endif
