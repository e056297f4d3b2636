/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The values of the module parameters. params.c makes them visible in sysfs.
 */
#ifndef PARKCLOCK_CONFIG_H
#define PARKCLOCK_CONFIG_H

#include <linux/compiler.h>

/*
 * All parameters that are numbers: P(name, least, most, default, description). The
 * first list has what the updater must follow at once; the others take effect when they
 * are next looked at.
 *
 * Window and slack are relative to the interval, so that every combination of values
 * in range makes sense.
 */
#define PARKCLOCK_TIMING_PARAMETERS(P)						\
	P(interval_ms, 1, 60000, 1000, "Time between two refreshes, in ms")	\
	P(window_intervals, 2, 16, 4,						\
	  "How long a refresh is good for, in intervals")			\
	P(slack_percent, 0, 50, 5,						\
	  "How late a refresh may be to share a wake-up, in percent of the interval")

#define PARKCLOCK_OTHER_PARAMETERS(P)						\
	P(probes_linger_s, 1, 3600, 60,						\
	  "How long unneeded probes stay attached, in seconds")			\
	P(max_tasks, 1, 1048576, 16384,						\
	  "How many tasks may be registered with one clock")			\
	P(user_clocks, 1, 1048576, 16384, "How many clocks a user may have")	\
	P(host_clocks, 1, 1048576, 65536, "How many clocks there may be")	\
	P(user_views, 0, 1048576, 16384, "How many views a user may have")	\
	P(host_views, 0, 1048576, 65536, "How many views there may be")		\
	P(user_tasks, 1, 4194304, 131072,					\
	  "How many registrations a user may have")				\
	P(host_tasks, 1, 4194304, 1048576, "How many registrations there may be") \
	P(user_holds, 1, 16777216, 131072, "How many references a user may hold") \
	P(host_holds, 1, 16777216, 1048576, "How many references may be held")	\
	P(user_vmclocks, 0, 4096, 64, "How many VMClock pages a user may have")	\
	P(host_vmclocks, 0, 4096, 128, "How many VMClock pages there may be")	\
	P(user_timers, 0, 1048576, 65536, "How many timers a user may have")	\
	P(host_timers, 0, 1048576, 262144, "How many timers there may be")	\
	P(user_cgroups, 0, 16384, 0, "How many cgroups a user may register")	\
	P(host_cgroups, 0, 16384, 4096, "How many cgroups may be registered")

#define PARKCLOCK_PARAMETERS(P)							\
	PARKCLOCK_TIMING_PARAMETERS(P)						\
	PARKCLOCK_OTHER_PARAMETERS(P)

#define PARKCLOCK_CONFIG_FIELD(name, least, most, def, text)	unsigned int name;

/* Only parkclock_updater_set() and params.c write it; it is read without a lock. */
struct parkclock_config {
	PARKCLOCK_PARAMETERS(PARKCLOCK_CONFIG_FIELD)
};

extern struct parkclock_config parkclock_config;

/**
 * parkclock_param() - the value of a parameter
 * @name: name of the parameter
 *
 * Context: any.
 */
#define parkclock_param(name)	READ_ONCE(parkclock_config.name)

#endif
