/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Module parameters. All may be read at any time, in any context.
 */
#ifndef PARKCLOCK_PARAMS_H
#define PARKCLOCK_PARAMS_H

unsigned int parkclock_interval_ms(void);
unsigned int parkclock_window_intervals(void);
unsigned int parkclock_slack_percent(void);
unsigned int parkclock_max_tasks(void);
unsigned int parkclock_max_vmclocks(void);

#endif
