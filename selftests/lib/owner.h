/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What an owner does with a clock
 */
#ifndef PARKCLOCK_SELFTESTS_OWNER_H
#define PARKCLOCK_SELFTESTS_OWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/parkclock.h>

/* Returns what the ioctl returns, or its errno, negated. So do the others that try. */
int try(int fd, unsigned long request, unsigned long arg);

int try_offsets(int fd, int64_t monotonic_ns, int64_t boottime_ns);
int try_restore(int fd, const struct parkclock_saved *saved, uint32_t gap);
int try_read(int fd, int clock_id, struct parkclock_reading *reading);

/* The clock is not fresh any more, unless @ratio is 0, which says that there is no guest. */
int try_guest_tsc(int fd, uint64_t offset, uint64_t ratio, uint32_t shift);

void must(int fd, unsigned long request, unsigned long arg);
struct parkclock_saved save(int fd);

/* Opens a clock for writing that nobody can have read. */
int open_fresh(void);

/* timebase->disruptions */
uint64_t disruptions(int fd);

bool is_stopped(int fd);

/*
 * Reads a clock that is never changed, to compare with: readings of the two, one after the
 * other, are ordered. With clock_gettime() they would differ by the bounds as well.
 */
int64_t host_ns(int host, int clock_id);

/* What poll() says now */
int events(int fd);

/* Reads the generation, and so acknowledges it. */
uint64_t acknowledge(int fd);

#endif
