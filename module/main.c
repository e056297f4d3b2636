// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock: the host's clock as a read-only mapping that costs nothing while
 * nobody can read it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

#include "device.h"
#include "segment.h"
#include "host.h"
#include "switch.h"
#include "timebase.h"
#include "updater.h"
#include "version.h"
#include "wall_timer.h"
#include "workers.h"

static int __init parkclock_init(void)
{
	struct parkclock_sample sample;
	int err;

	err = parkclock_workers_init();
	if (err)
		return err;
	err = parkclock_timebase_init();
	if (err)
		goto err_workers;
	err = parkclock_updater_init();
	if (err)
		goto err_timebase;
	if (!parkclock_host_sample(&sample))
		pr_info("the host does not keep time by the TSC: all reads take the slow path\n");
	err = parkclock_switch_init();
	if (err)
		goto err_updater;
	parkclock_wall_timers_init();
	err = parkclock_device_init();
	if (err)
		goto err_timers;
	return 0;

err_timers:
	parkclock_wall_timers_exit();
	parkclock_switch_exit();
err_updater:
	parkclock_updater_exit();
err_timebase:
	parkclock_timebase_exit();
err_workers:
	parkclock_workers_exit();
	return err;
}

static void __exit parkclock_exit(void)
{
	parkclock_device_exit();
	parkclock_wall_timers_exit();
	parkclock_switch_exit();
	parkclock_updater_exit();
	parkclock_timebase_exit();
	parkclock_workers_exit();
}

module_init(parkclock_init);
module_exit(parkclock_exit);

MODULE_DESCRIPTION("Host clock as a read-only mapping that parks when idle");
MODULE_AUTHOR("The parkclock authors");
MODULE_LICENSE("GPL");
MODULE_VERSION(PARKCLOCK_RELEASE);
