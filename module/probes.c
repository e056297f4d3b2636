// SPDX-License-Identifier: GPL-2.0
/*
 * Probes on the scheduler's tracepoints: attached while somebody needs them.
 *
 * Whoever needs the probes pins them. The probes are detached probes_linger_s seconds after
 * the last pin is gone. Attaching and detaching change the kernel's text, which interrupts
 * all CPUs: the wait keeps registrations that come and go from doing that each time.
 */
#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>

#include "config.h"
#include "probes.h"
#include "workers.h"

/* Constant after init. */
static struct parkclock_probe *table;
static unsigned int table_size;

/* Serialises attaching and detaching. Protects @attached. */
static DEFINE_MUTEX(attach_lock);
static bool attached;

/* Number of those who need the probes. It leaves 0 only under @attach_lock. */
static atomic_t pins = ATOMIC_INIT(0);

static void detach_unneeded(struct work_struct *work);
static DECLARE_DELAYED_WORK(detach_work, detach_unneeded);

/* Detach the first @n probes of the table. */
static void detach(unsigned int n)
{
	lockdep_assert_held(&attach_lock);

	while (IS_ENABLED(CONFIG_TRACEPOINTS) && n--)
		tracepoint_probe_unregister(table[n].tracepoint, table[n].probe, NULL);
}

static int attach(void)
{
	unsigned int i;

	lockdep_assert_held(&attach_lock);

	for (i = 0; i < table_size; i++) {
		int err = -EOPNOTSUPP;

		if (IS_ENABLED(CONFIG_TRACEPOINTS) && table[i].tracepoint)
			err = tracepoint_probe_register(table[i].tracepoint, table[i].probe, NULL);
		if (err) {
			detach(i);
			return err;
		}
	}
	return 0;
}

/* A probe may still run for a moment after this; it finds no registration. */
static void detach_unneeded(struct work_struct *work)
{
	mutex_lock(&attach_lock);
	if (attached && !atomic_read(&pins)) {
		detach(table_size);
		attached = false;
	}
	mutex_unlock(&attach_lock);
}

/**
 * parkclock_probes_pin() - need the probes, until parkclock_probes_unpin()
 *
 * Context: may sleep; or, if they are pinned already, any.
 * Return: 0, -EOPNOTSUPP if this kernel has no such tracepoints, or another error
 * number.
 */
int parkclock_probes_pin(void)
{
	int err = 0;

	if (atomic_inc_not_zero(&pins))
		return 0;
	mutex_lock(&attach_lock);
	if (!attached) {
		err = attach();
		attached = !err;
	}
	if (!err)
		atomic_inc(&pins);
	mutex_unlock(&attach_lock);
	return err;
}

/**
 * parkclock_probes_unpin() - need the probes no more
 * @n: number of pins to take back
 *
 * Context: any but under a run-queue lock.
 */
void parkclock_probes_unpin(unsigned int n)
{
	if (atomic_sub_and_test(n, &pins))
		mod_delayed_work(parkclock_workers, &detach_work,
				 parkclock_param(probes_linger_s) * HZ);
}

static void pick(struct tracepoint *tp, void *data)
{
	unsigned int i;

	for (i = 0; i < table_size; i++)
		if (!strcmp(tp->name, table[i].name))
			table[i].tracepoint = tp;
}

/**
 * parkclock_probes_init() - find the tracepoints
 * @probes: a table of probes, in the order in which they are attached; the caller keeps it
 * @n:      number of probes in the table
 *
 * Context: may sleep.
 */
void parkclock_probes_init(struct parkclock_probe *probes, unsigned int n)
{
	table = probes;
	table_size = n;
	if (IS_ENABLED(CONFIG_TRACEPOINTS))
		for_each_kernel_tracepoint(pick, NULL);
}

/**
 * parkclock_probes_detach() - detach the probes, and wait until none runs any more
 *
 * Context: may sleep. Nobody needs the probes, but some may still have to unpin them.
 */
void parkclock_probes_detach(void)
{
	mutex_lock(&attach_lock);
	if (attached)
		detach(table_size);
	attached = false;
	mutex_unlock(&attach_lock);
	tracepoint_synchronize_unregister();
}

/**
 * parkclock_probes_exit() - the end of the probes
 *
 * Context: may sleep. The probes are detached, and nobody pins or unpins them any more.
 */
void parkclock_probes_exit(void)
{
	cancel_delayed_work_sync(&detach_work);
}
