// SPDX-License-Identifier: GPL-2.0
/*
 * Two things that a sandbox can do: tell the time from the page, and try what is
 * forbidden. All they have is a mapping of the clock, and a view of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/parkclock.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "workload.h"

#define READS	1000	/* of a burst */

/* Does the page's segment end after that value of the counter? Ends do not go back. */
static bool valid_since(const void *map, uint64_t counter)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(map);
	const struct parkclock_segment *segment;
	uint64_t seq, end;

	do {
		seq = __parkclock_acquire(&tb->seq);
		segment = &tb->segment[seq & 1];
		end = __parkclock_acquire(&segment->base_cycles) +
		      __parkclock_acquire(&segment->valid_cycles);
	} while (__parkclock_acquire(&tb->seq) != seq);
	return (int64_t)(end - counter) > 0;
}

/*
 * The page first. A registered task finds it valid when it has been @woken, and as long
 * as it runs. If it has expired since, the machine stood still for a whole window.
 */
static int64_t now_ns(struct report *r, int view, const void *map, uint64_t woken)
{
	struct parkclock_read slow = { .clock_id = CLOCK_MONOTONIC };
	const int64_t ns = parkclock_page_read(map, CLOCK_MONOTONIC);

	if (ns >= 0) {
		r->by_page++;
		return ns;
	}
	r->by_read++;
	r->unprotected += !valid_since(map, woken);
	/* Never ENODATA: the clock is stopped only when nobody runs who could see it. */
	if (ioctl(view, PARKCLOCK_IOC_READ, &slow))
		_exit(errno);
	return slow.reading.ns;
}

/**
 * work() - read MONOTONIC, in bursts between naps, for ever
 * @r:    says how often, by which way, and whether it ever went back
 * @view: the view's descriptor
 * @map:  its mapping
 */
void work(struct report *r, int view, const void *map)
{
	const struct timespec nap = { 0, NAP_NS };

	for (;;) {
		const uint64_t woken = __builtin_ia32_rdtsc();

		for (int i = 0; i < READS; i++) {
			const int64_t ns = now_ns(r, view, map, woken);

			if (!r->first_ns)
				r->first_ns = ns;
			r->back += ns < r->last_ns;
			r->last_ns = ns;
		}
		r->bursts++;
		/* Not that of libc, which is clock_nanosleep(): it can be asked for the time. */
		syscall(SYS_nanosleep, &nap, NULL);
	}
}

static void tried(struct report *r, bool filtered, const char *what, long result)
{
	const int error = result < 0 ? errno : 0;
	int i = 0;

	while (i < r->attempts && strcmp(r->attempt[i].what, what))
		i++;
	if (i == r->attempts)
		strcpy(r->attempt[r->attempts++].what, what);
	r->attempt[i].error[filtered] = error;
}

/**
 * probe() - try other ways to the time, and all that one can ask of a clock
 * @r:        says what came of it
 * @view:     the view's descriptor
 * @filtered: is the filter in place? To be called without and with it.
 */
void probe(struct report *r, int view, bool filtered)
{
	static const struct {
		const char *what;
		unsigned long request;
	} ioctls[] = {
		{ "READ", PARKCLOCK_IOC_READ }, { "QUERY", PARKCLOCK_IOC_QUERY },
		{ "HOLD", PARKCLOCK_IOC_HOLD }, { "RELEASE", PARKCLOCK_IOC_RELEASE },
		{ "REGISTER", PARKCLOCK_IOC_REGISTER }, { "UNREGISTER", PARKCLOCK_IOC_UNREGISTER },
		{ "ACCURACY", PARKCLOCK_IOC_ACCURACY }, { "EPOCH", PARKCLOCK_IOC_EPOCH },
		{ "OFFSETS", PARKCLOCK_IOC_OFFSETS }, { "STOP", PARKCLOCK_IOC_STOP },
		{ "START", PARKCLOCK_IOC_START }, { "SAVE", PARKCLOCK_IOC_SAVE },
		{ "RESTORE", PARKCLOCK_IOC_RESTORE }, { "VIEW", PARKCLOCK_IOC_VIEW },
	};
	struct pollfd p = { .fd = view, .events = POLLIN };
	const struct timespec past = { 0, 0 };
	char buf[1024];

	/* By system call: libc would ask the vDSO, which is none. */
	tried(r, filtered, "clock_gettime", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, buf));
	tried(r, filtered, "gettimeofday", syscall(SYS_gettimeofday, buf, NULL));
	tried(r, filtered, "time", syscall(SYS_time, NULL));
	tried(r, filtered, "clock_nanosleep",
	      syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL));
	tried(r, filtered, "open", open("/bin", O_RDONLY | O_CLOEXEC));
	for (size_t i = 0; i < ARRAY_SIZE(ioctls); i++) {
		memset(buf, 0, sizeof(buf));
		tried(r, filtered, ioctls[i].what, ioctl(view, ioctls[i].request, buf));
	}
	tried(r, filtered, "read", read(view, buf, sizeof(uint64_t)));
	tried(r, filtered, "poll", poll(&p, 1, 0));
}
