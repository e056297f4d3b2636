// SPDX-License-Identifier: GPL-2.0
/*
 * What runs in the containers of ../user/crun.sh and ../runtimes/run:
 *
 *	preload_inside read N		N readings of MONOTONIC
 *	preload_inside watch		some readings every 10 ms, until it is killed
 *	preload_inside idle		nothing, until it is killed
 *	preload_inside wakes N		sleeps N times, so that the page expires, and looks for a
 *					time in that of the view, descriptor 3
 *	preload_inside probe		everything that a descriptor could do, with the view
 *
 * The first three know nothing of parkclock: what they read is the preload library's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#define VIEW		3
#define SIZE		8192	/* of the mapping */
#define REQUESTS	0x20	/* more than there are */
#define EXPIRED_MS	120	/* by then the page has expired, if the interval is 10 ms */

static long long monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static long long last;
static unsigned long back;

static void readings(unsigned long n)
{
	while (n--) {
		const long long now = monotonic();

		back += now < last;
		last = now;
	}
}

static void say(long long first)
{
	printf("first %lld last %lld back %lu\n", first, last, back);
	fflush(stdout);
}

static void __attribute__((noreturn)) watch(void)
{
	for (;;) {
		const long long before = last;

		readings(1000);
		say(before);
		poll(NULL, 0, 10);
	}
}

static int wakes(unsigned long n)
{
	const void *page = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, VIEW, 0);
	const unsigned long all = n;
	unsigned long by_page = 0;

	if (page == MAP_FAILED) {
		perror("mmap");
		return EXIT_FAILURE;
	}
	while (n--) {
		/* The library's poll() would read the clock, and so wake it. */
		syscall(SYS_poll, NULL, 0, EXPIRED_MS);
		by_page += parkclock_page_read(page, CLOCK_MONOTONIC) > 0;
	}
	printf("sleeps %lu by_page %lu\n", all, by_page);
	return EXIT_SUCCESS;
}

static void tried(const char *what, long result)
{
	printf("%s %s\n", what, result < 0 ? strerrorname_np(errno) : "0");
}

static int probe(void)
{
	static char arg[4096];
	struct pollfd p = { .fd = VIEW, .events = POLLIN };
	uint64_t generation;
	char name[32];

	printf("uid %d fds", getuid());
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf(" %d", fd);
	printf("\n");
	tried("open", open(PARKCLOCK_DEVICE, O_RDONLY));
	tried("read", read(VIEW, &generation, sizeof(generation)));
	tried("write", write(VIEW, &generation, sizeof(generation)));
	tried("poll", poll(&p, 1, 0));
	tried("map_ro", mmap(NULL, SIZE, PROT_READ, MAP_SHARED, VIEW, 0) == MAP_FAILED ? -1 : 0);
	tried("map_rw", mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, VIEW, 0) ==
	      MAP_FAILED ? -1 : 0);
	tried("map_rx", mmap(NULL, SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, VIEW, 0) ==
	      MAP_FAILED ? -1 : 0);
	/* By number, with every direction and size that they could have */
	for (int nr = 0; nr < REQUESTS; nr++) {
		int err = ENOTTY;

		for (int size = 0; size < 1024; size += 4) {
			for (int way = 0; way < 4; way++) {
				memset(arg, 0, sizeof(arg));
				if (ioctl(VIEW, _IOC(way, PARKCLOCK_IOC_TYPE, nr, size), arg) >= 0)
					err = 0;
				else if (errno != ENOTTY)
					err = errno;
			}
		}
		snprintf(name, sizeof(name), "ioctl_0x%02x", nr);
		printf("%s %s\n", name, err ? strerrorname_np(err) : "0");
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	const unsigned long n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	long long first;

	if (!strcmp(mode, "read")) {
		first = monotonic();
		last = first;
		readings(n);
		say(first);
		return EXIT_SUCCESS;
	}
	if (!strcmp(mode, "watch"))
		watch();
	if (!strcmp(mode, "idle"))
		for (;;)
			pause();
	if (!strcmp(mode, "wakes"))
		return wakes(n);
	if (!strcmp(mode, "probe"))
		return probe();
	fprintf(stderr, "usage: preload_inside read|watch|idle|wakes|probe [N]\n");
	return 2;
}
