/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A clock: opening it, holding it, and asking it
 */
#ifndef PARKCLOCK_SELFTESTS_CLOCK_H
#define PARKCLOCK_SELFTESTS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/parkclock.h>

struct pclock {
	int fd;
	void *map;
};

/* For writing, too, as whoever registers tasks or is to be told of the host needs it. */
int open_device(void);

/* For reading only, as everybody may */
int open_device_reader(void);

/* Opens the device as these do, and maps it. */
struct pclock open_clock(void);
struct pclock open_reader(void);

/* As open_clock() */
struct pclock open_owner(void);

void close_clock(struct pclock *c);

/* Maps the two pages. The clock is not fresh from here on. */
void *map_clock(int fd);

struct parkclock_query query(int fd);
struct parkclock_reading slow_read(int fd, int clock_id);
void hold(int fd);
void release(int fd);

/* Waits until so many references are held. Those of a dead process go a little later. */
bool wait_references(int fd, uint64_t references);

#endif
