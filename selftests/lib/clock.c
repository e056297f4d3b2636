// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "clock.h"
#include "die.h"
#include "wait.h"

int open_device(void)
{
	int fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die("open " PARKCLOCK_DEVICE " for writing");
	return fd;
}

int open_device_reader(void)
{
	int fd = open(PARKCLOCK_DEVICE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("open " PARKCLOCK_DEVICE);
	return fd;
}

void *map_clock(int fd)
{
	void *map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		die("mmap " PARKCLOCK_DEVICE);
	return map;
}

struct pclock open_clock(void)
{
	struct pclock c = { .fd = open_device() };

	c.map = map_clock(c.fd);
	return c;
}

struct pclock open_reader(void)
{
	struct pclock c = { .fd = open_device_reader() };

	c.map = map_clock(c.fd);
	return c;
}

struct pclock open_owner(void)
{
	return open_clock();
}

void close_clock(struct pclock *c)
{
	munmap(c->map, PARKCLOCK_MAP_SIZE);
	close(c->fd);
}

struct parkclock_query query(int fd)
{
	struct parkclock_query q;

	/* Whatever the kernel does not fill in is seen. */
	memset(&q, 0xff, sizeof(q));
	if (ioctl(fd, PARKCLOCK_IOC_QUERY, &q))
		die("PARKCLOCK_IOC_QUERY");
	return q;
}

struct parkclock_reading slow_read(int fd, int clock_id)
{
	struct parkclock_read r = { .clock_id = clock_id };

	if (ioctl(fd, PARKCLOCK_IOC_READ, &r))
		die("PARKCLOCK_IOC_READ");
	return r.reading;
}

void hold(int fd)
{
	if (ioctl(fd, PARKCLOCK_IOC_HOLD, 0))
		die("PARKCLOCK_IOC_HOLD");
}

void release(int fd)
{
	if (ioctl(fd, PARKCLOCK_IOC_RELEASE, 0))
		die("PARKCLOCK_IOC_RELEASE");
}

bool wait_references(int fd, uint64_t references)
{
	return wait_until(query(fd).references == references);
}
