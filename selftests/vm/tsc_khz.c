// SPDX-License-Identifier: GPL-2.0
/*
 * Prints the frequency of this machine's TSC, in kHz: that of an emulated machine's.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#define MEASURE_NS	100000000

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_RAW, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* Both at one instant: of some tries, the one that took the least time. */
static void both(int64_t *ns, uint64_t *cycles)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 20; i++) {
		uint64_t before = __rdtsc(), after;
		int64_t t = now_ns();

		after = __rdtsc();
		if (after - before < least) {
			least = after - before;
			*cycles = before + least / 2;
			*ns = t;
		}
	}
}

int main(void)
{
	const struct timespec wait = { .tv_nsec = MEASURE_NS };
	uint64_t c0, c1;
	int64_t t0, t1;

	both(&t0, &c0);
	nanosleep(&wait, NULL);
	both(&t1, &c1);
	printf("%.0f\n", (double)(c1 - c0) * 1e6 / (t1 - t0));
	return 0;
}
