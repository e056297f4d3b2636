// SPDX-License-Identifier: GPL-2.0
/*
 * Where the module's work is done that cannot be done at once.
 */
#include <linux/errno.h>
#include <linux/workqueue.h>

#include "workers.h"

struct workqueue_struct *parkclock_workers;

/**
 * parkclock_workers_init() - before anybody queues work
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int parkclock_workers_init(void)
{
	parkclock_workers = alloc_workqueue("parkclock", WQ_UNBOUND, 0);
	return parkclock_workers ? 0 : -ENOMEM;
}

/**
 * parkclock_workers_exit() - wait until all work is done
 *
 * Context: may sleep. Nobody queues work any more.
 */
void parkclock_workers_exit(void)
{
	destroy_workqueue(parkclock_workers);
}
