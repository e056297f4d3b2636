// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters, as sysfs and the module's command line show them, in
 * /sys/module/parkclock/parameters. Their values are in config.c.
 */
#include <linux/compiler.h>
#include <linux/kstrtox.h>
#include <linux/moduleparam.h>
#include <linux/stringify.h>
#include <linux/sysfs.h>

#include "config.h"
#include "updater.h"

/**
 * struct parameter - a parameter that is a number
 * @value: where the number is
 * @least: the smallest value
 * @most:  the largest value
 * @set:   sets @value to @to, which is in range
 */
struct parameter {
	unsigned int *value;
	unsigned int least;
	unsigned int most;
	void (*set)(unsigned int *value, unsigned int to);
};

static int number_set(const char *text, const struct kernel_param *kp)
{
	const struct parameter *p = kp->arg;
	unsigned int to;
	int err;

	err = kstrtouint(text, 0, &to);
	if (err)
		return err;
	if (to < p->least || to > p->most)
		return -EINVAL;
	p->set(p->value, to);
	return 0;
}

static int number_get(char *buffer, const struct kernel_param *kp)
{
	const struct parameter *p = kp->arg;

	return sysfs_emit(buffer, "%u\n", *p->value);
}

static const struct kernel_param_ops number_ops = {
	.set = number_set,
	.get = number_get,
};

/* Lowering a limit evicts nothing; a new time to linger is for the next time. */
static void set_value(unsigned int *value, unsigned int to)
{
	WRITE_ONCE(*value, to);
}

#define NUMBER(name, least, most, def, text, set)				\
	static struct parameter name##_parameter = {				\
		&parkclock_config.name, least, most, set			\
	};									\
	module_param_cb(name, &number_ops, &name##_parameter, 0644);		\
	__MODULE_PARM_TYPE(name, "uint");					\
	MODULE_PARM_DESC(name, text " (" __stringify(least) " to "		\
			 __stringify(most) ", default " __stringify(def) ")");

#define TIMING(name, least, most, def, text)	\
	NUMBER(name, least, most, def, text, parkclock_updater_set)
#define OTHER(name, least, most, def, text)	\
	NUMBER(name, least, most, def, text, set_value)

PARKCLOCK_TIMING_PARAMETERS(TIMING)
PARKCLOCK_OTHER_PARAMETERS(OTHER)

static bool enabled = true;

static int enabled_set(const char *text, const struct kernel_param *kp)
{
	int err = param_set_bool(text, kp);

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
