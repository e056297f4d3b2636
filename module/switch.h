/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Context switches of registered tasks.
 */
#ifndef PARKCLOCK_SWITCH_H
#define PARKCLOCK_SWITCH_H

#include <linux/parkclock.h>
#include <linux/types.h>

struct parkclock_registration;

bool parkclock_switch_settle(struct parkclock_registration *r);
bool parkclock_switch_remove(struct parkclock_registration *r);
void parkclock_switch_publish(struct parkclock_registration *r);
void parkclock_switch_add_up(struct parkclock_registration *r);
void parkclock_switch_share(struct parkclock_registration *r);
u64 parkclock_switch_ran(struct parkclock_registration *r, bool *holding);
void parkclock_switch_query(struct parkclock_query *q);

int parkclock_switch_init(void);
void parkclock_switch_exit(void);

#endif
