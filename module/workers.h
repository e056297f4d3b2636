/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the module's work is done that cannot be done at once.
 */
#ifndef PARKCLOCK_WORKERS_H
#define PARKCLOCK_WORKERS_H

struct workqueue_struct;

/*
 * For work that may take long. It waits for nobody who may make it wait for long. Not the
 * system's workqueues: others wait for those.
 */
extern struct workqueue_struct *parkclock_workers;

int parkclock_workers_init(void);
void parkclock_workers_exit(void);

#endif
