// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters: in /sys/module/parkclock/parameters, and at load.
 *
 * Window and slack are given relative to the interval, so that every
 * combination of values that are in range makes sense.
 */
#include <linux/compiler.h>
#include <linux/kstrtox.h>
#include <linux/moduleparam.h>
#include <linux/sysfs.h>

#include "params.h"
#include "updater.h"

static unsigned int interval_ms = 1000;
static unsigned int window_intervals = 4;
static unsigned int slack_percent = 5;
static unsigned int max_tasks = 16384;
static unsigned int max_vmclocks = 1024;
static bool enabled = true;

/* @set: makes it so; it is in range */
struct uint_range {
	unsigned int *value;
	unsigned int min;
	unsigned int max;
	void (*set)(unsigned int *parameter, unsigned int value);
};

static int range_set(const char *val, const struct kernel_param *kp)
{
	const struct uint_range *range = kp->arg;
	unsigned int value;
	int err;

	err = kstrtouint(val, 0, &value);
	if (err)
		return err;
	if (value < range->min || value > range->max)
		return -EINVAL;
	range->set(range->value, value);
	return 0;
}

static int range_get(char *buffer, const struct kernel_param *kp)
{
	const struct uint_range *range = kp->arg;

	return sysfs_emit(buffer, "%u\n", *range->value);
}

static const struct kernel_param_ops range_ops = {
	.set = range_set,
	.get = range_get,
};

static struct uint_range interval_range = { &interval_ms, 1, 60000, parkclock_updater_set };
module_param_cb(interval_ms, &range_ops, &interval_range, 0644);
__MODULE_PARM_TYPE(interval_ms, "uint");
MODULE_PARM_DESC(interval_ms, "Time between two refreshes, in ms (1 to 60000, default 1000)");

static struct uint_range window_range = { &window_intervals, 2, 16, parkclock_updater_set };
module_param_cb(window_intervals, &range_ops, &window_range, 0644);
__MODULE_PARM_TYPE(window_intervals, "uint");
MODULE_PARM_DESC(window_intervals,
		 "How long a refresh is good for, in intervals (2 to 16, default 4)");

static struct uint_range slack_range = { &slack_percent, 0, 50, parkclock_updater_set };
module_param_cb(slack_percent, &range_ops, &slack_range, 0644);
__MODULE_PARM_TYPE(slack_percent, "uint");
MODULE_PARM_DESC(slack_percent,
		 "How late a refresh may be to share a wake-up, in percent of the interval (0 to 50, default 5)");

/* What is there already stays. */
static void limit_set(unsigned int *parameter, unsigned int value)
{
	WRITE_ONCE(*parameter, value);
}

static struct uint_range tasks_range = { &max_tasks, 1, 1 << 20, limit_set };
module_param_cb(max_tasks, &range_ops, &tasks_range, 0644);
__MODULE_PARM_TYPE(max_tasks, "uint");
MODULE_PARM_DESC(max_tasks,
		 "How many tasks may be registered with one clock (1 to 1048576, default 16384)");

static struct uint_range vmclocks_range = { &max_vmclocks, 0, 4096, limit_set };
module_param_cb(max_vmclocks, &range_ops, &vmclocks_range, 0644);
__MODULE_PARM_TYPE(max_vmclocks, "uint");
MODULE_PARM_DESC(max_vmclocks,
		 "How many clocks may have a VMClock page (0 to 4096, default 1024)");

static int enabled_set(const char *val, const struct kernel_param *kp)
{
	int err = param_set_bool(val, kp);

	if (err)
		return err;
	if (enabled)
		parkclock_updater_start(PARKCLOCK_STOP_DISABLED);
	else
		parkclock_updater_stop(PARKCLOCK_STOP_DISABLED);
	return 0;
}

static const struct kernel_param_ops enabled_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = enabled_set,
	.get = param_get_bool,
};

module_param_cb(enabled, &enabled_ops, &enabled, 0644);
__MODULE_PARM_TYPE(enabled, "bool");
MODULE_PARM_DESC(enabled,
		 "Keep the page fresh; if not, all reads take the slow path (default Y)");

/**
 * parkclock_interval_ms() - time between two refreshes, in ms
 */
unsigned int parkclock_interval_ms(void)
{
	return READ_ONCE(interval_ms);
}

/**
 * parkclock_window_intervals() - how long a refresh is good for, in intervals
 */
unsigned int parkclock_window_intervals(void)
{
	return READ_ONCE(window_intervals);
}

/**
 * parkclock_slack_percent() - how late a refresh may be, in percent of the interval
 */
unsigned int parkclock_slack_percent(void)
{
	return READ_ONCE(slack_percent);
}

/**
 * parkclock_max_tasks() - how many tasks may be registered with one clock
 */
unsigned int parkclock_max_tasks(void)
{
	return READ_ONCE(max_tasks);
}

/**
 * parkclock_max_vmclocks() - how many clocks may have a VMClock page
 */
unsigned int parkclock_max_vmclocks(void)
{
	return READ_ONCE(max_vmclocks);
}
