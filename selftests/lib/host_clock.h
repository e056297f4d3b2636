/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The host's clock: reading it, setting it, and throwing its frequency about
 */
#ifndef PARKCLOCK_SELFTESTS_HOST_CLOCK_H
#define PARKCLOCK_SELFTESTS_HOST_CLOCK_H

#include <stdint.h>
#include <time.h>
#include <linux/parkclock.h>

#define NSEC	1000000000LL

/* The ids of all clocks in the page, by their index there */
extern const int clock_ids[PARKCLOCK_CLOCKS];

/* The counter. Inlined, because tests measure with it. */
static inline uint64_t tsc(void)
{
	__u64 zero;

	return __parkclock_tsc(1, &zero);
}

int64_t now_ns(clockid_t id);

/*
 * Reads the clock by the system call, and never by the vDSO. An update of the host's clock
 * keeps the readers of the system call waiting until the module knows of the update; the
 * vDSO of another CPU may know earlier than the module.
 */
int64_t kernel_ns(clockid_t id);

/* Sets the host's frequency, in units of 2^-16 ppm. The kernel's limit is 500 ppm. */
void set_frequency(long freq);

/* Throws the frequency from one end of its range to the other; each fifth time between. */
void throw_frequency(unsigned int n, uint64_t *seed);

void restore_frequency(void);

/* REALTIME minus MONOTONIC */
int64_t realtime_offset(void);

void set_realtime(int64_t to);

#endif
