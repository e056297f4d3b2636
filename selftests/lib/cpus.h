/* SPDX-License-Identifier: GPL-2.0 */
/*
 * CPUs: which ones there are, taking them away, and who runs where
 */
#ifndef PARKCLOCK_SELFTESTS_CPUS_H
#define PARKCLOCK_SELFTESTS_CPUS_H

#include <stdbool.h>
#include <stdint.h>

int cpus_online(void);

/* Ties the calling thread to a CPU. */
void pin(int cpu);

/* As pin(), but does without a CPU that is not there at the moment. */
void try_to_pin(int cpu);

/*
 * How often the calling thread has blocked, by the scheduler: that often it has begun to
 * run again. A nap that is over before the thread has blocked does not count.
 */
int64_t times_blocked(void);

/* Returns 0 or the errno, negated. */
int set_online(int cpu, bool online);

/* Does the CPU run, by what the scheduler says? */
bool is_online(int cpu);

/*
 * The kernel gives up on a CPU that does not start in 10 s, as an emulated one may not.
 * This tries again, and returns whether the CPU runs.
 */
bool bring_online(int cpu);

#endif
