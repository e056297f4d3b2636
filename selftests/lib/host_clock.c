// SPDX-License-Identifier: GPL-2.0
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include "die.h"
#include "host_clock.h"
#include "random.h"

const int clock_ids[PARKCLOCK_CLOCKS] = {
	CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI
};

int64_t now_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts))
		die("clock_gettime");
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

int64_t kernel_ns(clockid_t id)
{
	struct timespec ts;

	if (syscall(SYS_clock_gettime, id, &ts))
		die("clock_gettime");
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

void set_frequency(long freq)
{
	struct timex tx = { .modes = ADJ_FREQUENCY, .freq = freq };

	if (adjtimex(&tx) < 0)
		die("adjtimex");
}

void throw_frequency(unsigned int n, uint64_t *seed)
{
	const long most = 500L << 16;

	if (n % 5 == 4)
		set_frequency((long)(rnd(seed) % (2 * most)) - most);
	else
		set_frequency(n & 1 ? most : -most);
}

void restore_frequency(void)
{
	set_frequency(0);
}

int64_t realtime_offset(void)
{
	return kernel_ns(CLOCK_REALTIME) - kernel_ns(CLOCK_MONOTONIC);
}

void set_realtime(int64_t to)
{
	struct timespec ts = { to / NSEC, to % NSEC };

	if (clock_settime(CLOCK_REALTIME, &ts))
		die("clock_settime");
}
