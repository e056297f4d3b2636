// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <time.h>

#include "wait.h"

void sleep_us(unsigned int us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

void sleep_ms(unsigned int ms)
{
	sleep_us(ms * 1000);
}
