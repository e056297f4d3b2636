/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests of what a clock's owner does with it.
 */
#ifndef PARKCLOCK_SELFTESTS_OWNER_H
#define PARKCLOCK_SELFTESTS_OWNER_H

#include <poll.h>

#include "common.h"

/* What the ioctl returns, or its errno, negated */
static inline int try(int fd, unsigned long request, unsigned long arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

static inline int try_offsets(int fd, int64_t monotonic_ns, int64_t boottime_ns)
{
	struct parkclock_offsets arg = {
		.monotonic_ns = monotonic_ns, .boottime_ns = boottime_ns
	};

	return try(fd, PARKCLOCK_IOC_OFFSETS, (unsigned long)&arg);
}

static inline int try_restore(int fd, const struct parkclock_saved *saved, uint32_t gap)
{
	struct parkclock_restore arg = { .saved = *saved, .gap = gap };

	return try(fd, PARKCLOCK_IOC_RESTORE, (unsigned long)&arg);
}

static inline int try_read(int fd, int clock_id, struct parkclock_reading *reading)
{
	struct parkclock_read arg = { .clock_id = clock_id };
	int err = try(fd, PARKCLOCK_IOC_READ, (unsigned long)&arg);

	if (!err)
		*reading = arg.reading;
	return err;
}

static inline void must(int fd, unsigned long request, unsigned long arg)
{
	int err = try(fd, request, arg);

	if (err < 0) {
		errno = -err;
		fprintf(stderr, "# request %#lx\n", request);
		die("ioctl of the owner");
	}
}

static inline struct parkclock_saved save(int fd)
{
	struct parkclock_saved saved;

	memset(&saved, 0xff, sizeof(saved));
	must(fd, PARKCLOCK_IOC_SAVE, (unsigned long)&saved);
	return saved;
}

/* A clock that nobody can have read, for writing */
static inline int open_fresh(void)
{
	int fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("open " PARKCLOCK_DEVICE " for writing");
	return fd;
}

/* From here on it is not fresh. */
static inline void *map_clock(int fd)
{
	void *map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		die("mmap");
	return map;
}

static inline int64_t offset_of(const void *map, int index)
{
	return __parkclock_load(&__parkclock_clock(map)->offset_ns[index]);
}

static inline uint64_t disruptions(int fd)
{
	void *map = map_clock(fd);
	uint64_t n = parkclock_disruptions(map);

	munmap(map, PARKCLOCK_MAP_SIZE);
	return n;
}

/* The clock is not fresh any more, unless it is that there is no guest. */
static inline int try_guest_tsc(int fd, uint64_t offset, uint64_t ratio, uint32_t shift)
{
	struct parkclock_guest_tsc arg = { .offset = offset, .ratio = ratio, .shift = shift };

	if (ratio)
		arg.disruptions = disruptions(fd);
	return try(fd, PARKCLOCK_IOC_SET_GUEST_TSC, (unsigned long)&arg);
}

static inline bool is_stopped(int fd)
{
	return query(fd).flags & PARKCLOCK_CLOCK_STOPPED;
}

/*
 * A clock that is never changed, to compare with: readings of the two, one after the
 * other, are ordered. With clock_gettime() they would differ by the bounds as well.
 */
static inline int64_t host_ns(int host, int clock_id)
{
	return slow_read(host, clock_id).ns;
}

static inline int events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, 0) < 0)
		die("poll");
	return p.revents;
}

/* Reads the generation, and acknowledges it. */
static inline uint64_t acknowledge(int fd)
{
	uint64_t generation;

	if (read(fd, &generation, sizeof(generation)) != sizeof(generation))
		die("read of the generation");
	return generation;
}

#endif
