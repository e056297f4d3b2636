/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The updater: keeps the page fresh while somebody holds a reference.
 */
#ifndef PARKCLOCK_UPDATER_H
#define PARKCLOCK_UPDATER_H

#include <linux/bits.h>
#include <linux/parkclock.h>

/* Why the updater is stopped. It runs when there is no reason left. */
#define PARKCLOCK_STOP_UNLOADED	BIT(0)
#define PARKCLOCK_STOP_DISABLED	BIT(1)
#define PARKCLOCK_STOP_SUSPEND	BIT(2)

int parkclock_updater_init(void);
void parkclock_updater_exit(void);
void parkclock_updater_start(unsigned int reason);
void parkclock_updater_stop(unsigned int reason);
void parkclock_updater_set(unsigned int *parameter, unsigned int value);

void parkclock_updater_get(void);
void parkclock_updater_put(void);
void parkclock_updater_read(const struct parkclock_clock *clock, int clock_id,
			    struct parkclock_reading *r);
void parkclock_updater_query(struct parkclock_query *q);

#endif
