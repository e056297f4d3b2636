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
 * @stopped:      the clock was stopped by its owner
 * @view:         the process has only a view of the clock
 * @pid:          id of the process
 * @command:      its name; question marks stand for what is not printable ASCII
 * @monotonic_ns: the clock's MONOTONIC minus the host's
 * @boottime_ns:  the clock's BOOTTIME minus the host's
 * @holds:        references that the clock's owner holds
 * @tasks:        number of tasks registered with the clock
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
 * struct sightings - all clocks that can be seen
 * @known: false if there is no /proc
 * @count: length of @list
 * @list:  sorted by clock and process, without duplicates; the caller must free it
 */
struct sightings {
	bool known;
	size_t count;
	struct sighting *list;
};

/**
 * find_clocks() - find open clocks in the processes that this user may look at
 * @device: the device whose clocks to find
 * @all:    zeroed; filled in
 *
 * Processes may come and go meanwhile.
 *
 * Return: true, or false after a message.
 */
bool find_clocks(dev_t device, struct sightings *all);

#endif /* CLOCKS_H */
