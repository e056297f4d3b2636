/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Registering tasks, and what QUERY says of registrations
 */
#ifndef PARKCLOCK_SELFTESTS_REGISTRATION_H
#define PARKCLOCK_SELFTESTS_REGISTRATION_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "clock.h"

#define REGISTER	PARKCLOCK_IOC_REGISTER
#define UNREGISTER	PARKCLOCK_IOC_UNREGISTER
#define PROCESS		PARKCLOCK_TASK_PROCESS
#define INHERIT		PARKCLOCK_TASK_INHERIT

/* Return 0 or the errno, negated. */
int try_register(int fd, pid_t tid, uint32_t flags);
int try_unregister(int fd, pid_t tid, uint32_t flags);

void must_register(int fd, pid_t tid, uint32_t flags);

/* Finds out by trying to register the task, and undoes that. */
bool is_registered(int fd, pid_t tid);

/*
 * As SKIP(): @statement leaves the test. Only a kernel with tracepoints tells of context
 * switches.
 */
#define NEEDS_SWITCHES(statement) do { \
	int fd_ = open_device(), err_ = try_register(fd_, 0, 0); \
	close(fd_); \
	if (err_ == -EOPNOTSUPP) \
		SKIP(statement, "needs a kernel with tracepoints"); \
} while (0)

/* Wait for a number of QUERY: that of a task that dies or sleeps goes a little later. */
bool wait_tasks(int fd, uint64_t tasks);
bool wait_all_tasks(int fd, uint64_t tasks);
bool wait_running(int fd, uint64_t running);

/* What a call that fails must leave as it is, if no registered task is awake */
struct counts {
	uint64_t tasks;
	uint64_t all_tasks;
	uint64_t running;
	uint64_t references;
	uint64_t run_missed;
};

struct counts counts(int fd);
bool same_counts(const struct counts *a, const struct counts *b);

#endif
