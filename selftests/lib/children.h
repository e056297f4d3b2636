/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Child processes that do what their test tells them, through a socket
 */
#ifndef PARKCLOCK_SELFTESTS_CHILDREN_H
#define PARKCLOCK_SELFTESTS_CHILDREN_H

#include <stdint.h>
#include <sys/types.h>

struct child {
	pid_t pid;
	int sock;	/* see messages.h */
};

/* Runs @run in a new process, which does not outlive this one. */
struct child start_child(void (*run)(int sock));

/* Starts a child of so many threads. Each sleeps, the first until it is told something. */
struct child start_sleeping_child(int threads);

/* Tells the child, and returns what it answers. */
int64_t ask(const struct child *c, int64_t value);

/* Waits until the child is dead. */
void reap_child(struct child *c);

/* Kills the child. */
void end_child(struct child *c);

#endif
