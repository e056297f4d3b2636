/* SPDX-License-Identifier: GPL-2.0 */
/*
 * parkclock: which clocks are open, and where
 */
#ifndef CLOCKS_H
#define CLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <linux/types.h>

/**
 * struct sighting - a process that has a clock open, or a view of it
 * @clock:        number of the clock
 * @stopped:      by its owner
 * @view:         only a view of it
 * @pid:          of the process
 * @command:      its name; what is not printable ASCII there is a question mark
 * @monotonic_ns: the clock's MONOTONIC minus the host's
 * @boottime_ns:  the same of BOOTTIME
 * @holds:        references held by its owner
 * @tasks:        registered with it
 */
struct sighting {
	__u64 clock;
	bool stopped, view;
	pid_t pid;
	char command[32];
	__s64 monotonic_ns, boottime_ns;
	__u64 holds, tasks;
};

/**
 * struct sightings - all that can be seen
 * @known: false if there is no /proc
 * @count: how many
 * @list:  sorted by clock and process; no two are the same. To be freed.
 */
struct sightings {
	bool known;
	size_t count;
	struct sighting *list;
};

/**
 * find_clocks() - look for open clocks in the processes that this user may look at
 * @device: whose clocks
 * @all:    all zero; filled in
 *
 * Processes may come and go meanwhile.
 *
 * Return: true, or false after it has complained.
 */
bool find_clocks(dev_t device, struct sightings *all);

#endif /* CLOCKS_H */
