// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "die.h"
#include "owner.h"

int try(int fd, unsigned long request, unsigned long arg)
{
	int ret = ioctl(fd, request, arg);

	return ret < 0 ? -errno : ret;
}

int try_offsets(int fd, int64_t monotonic_ns, int64_t boottime_ns)
{
	struct parkclock_offsets arg = {
		.monotonic_ns = monotonic_ns, .boottime_ns = boottime_ns
	};

	return try(fd, PARKCLOCK_IOC_OFFSETS, (unsigned long)&arg);
}

int try_restore(int fd, const struct parkclock_saved *saved, uint32_t gap)
{
	struct parkclock_restore arg = { .saved = *saved, .gap = gap };

	return try(fd, PARKCLOCK_IOC_RESTORE, (unsigned long)&arg);
}

int try_read(int fd, int clock_id, struct parkclock_reading *reading)
{
	struct parkclock_read arg = { .clock_id = clock_id };
	int err = try(fd, PARKCLOCK_IOC_READ, (unsigned long)&arg);

	if (!err)
		*reading = arg.reading;
	return err;
}

int try_guest_tsc(int fd, uint64_t offset, uint64_t ratio, uint32_t shift)
{
	struct parkclock_guest_tsc arg = { .offset = offset, .ratio = ratio, .shift = shift };

	if (ratio)
		arg.disruptions = disruptions(fd);
	return try(fd, PARKCLOCK_IOC_SET_GUEST_TSC, (unsigned long)&arg);
}

void must(int fd, unsigned long request, unsigned long arg)
{
	int err = try(fd, request, arg);

	if (err < 0) {
		fprintf(stderr, "# request %#lx\n", request);
		die_of(err, "ioctl of the owner");
	}
}

struct parkclock_saved save(int fd)
{
	struct parkclock_saved saved;

	/* Whatever the kernel does not fill in is seen. */
	memset(&saved, 0xff, sizeof(saved));
	must(fd, PARKCLOCK_IOC_SAVE, (unsigned long)&saved);
	return saved;
}

int open_fresh(void)
{
	int fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("open " PARKCLOCK_DEVICE " for writing");
	return fd;
}

uint64_t disruptions(int fd)
{
	void *map = map_clock(fd);
	uint64_t n = parkclock_disruptions(map);

	munmap(map, PARKCLOCK_MAP_SIZE);
	return n;
}

bool is_stopped(int fd)
{
	return query(fd).flags & PARKCLOCK_CLOCK_STOPPED;
}

int64_t host_ns(int host, int clock_id)
{
	return slow_read(host, clock_id).ns;
}

int events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, 0) < 0)
		die("poll");
	return p.revents;
}

uint64_t acknowledge(int fd)
{
	uint64_t generation;

	if (read(fd, &generation, sizeof(generation)) != sizeof(generation))
		die("read of the generation");
	return generation;
}
