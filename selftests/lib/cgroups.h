/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cgroups, and registering them
 */
#ifndef PARKCLOCK_SELFTESTS_CGROUPS_H
#define PARKCLOCK_SELFTESTS_CGROUPS_H

#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "clock.h"

/* Where init has mounted them */
#define CGROUPS		"/sys/fs/cgroup"

/* A cgroup is named by its path below that, without a slash at its beginning; "" is the root. */

/* Returns a descriptor of the directory of a new cgroup. */
int make_cgroup(const char *name);

/* As make_cgroup(), of one that exists */
int open_cgroup(const char *name);

/* Removes the cgroup as soon as nothing runs in it any more. */
void remove_cgroup(const char *name);

/* Writes to a file of the cgroup. Returns 0 or the errno, negated. */
int write_cgroup(const char *name, const char *file, const char *text);

/* Moves a process, or a thread. */
void move(const char *name, pid_t pid);
void move_thread(const char *name, pid_t tid);

/* Return 0 or the errno, negated. */
int try_register_cgroup(int fd, int dir);
int try_unregister_cgroup(int fd, int dir);

void must_register_cgroup(int fd, int dir);
void must_unregister_cgroup(int fd, int dir);

/* As SKIP(): @statement leaves the test. */
#define NEEDS_CGROUPS(statement) do { \
	int fd_ = open_device(), err_ = try_register_cgroup(fd_, -1); \
	close(fd_); \
	if (err_ == -EOPNOTSUPP) \
		SKIP(statement, "needs a kernel with cgroups"); \
} while (0)

#endif
