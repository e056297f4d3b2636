/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the host keeps time by
 */
#ifndef PARKCLOCK_SELFTESTS_CLOCKSOURCE_H
#define PARKCLOCK_SELFTESTS_CLOCKSOURCE_H

#include <stdbool.h>
#include <stddef.h>

#define CLOCKSOURCE	"/sys/devices/system/clocksource/clocksource0/"

/* Puts the name of the kernel's clocksource into @name, and returns that. */
const char *clocksource(char *name, size_t size);

/* Asks the kernel for a clocksource. Returns whether the kernel keeps time by it now. */
bool choose(const char *name);

/*
 * Waits until the kernel has left the clocksource of the first seconds after boot. The
 * change to the TSC makes the page invalid, as it must.
 */
void settle(void);

/*
 * Does the host keep time by the counter? This asks the kernel, not the module: the test
 * "ioctl" checks that QUERY says the same. If not, the page never has a time, the updater
 * stays parked whatever is held, and READ asks the host's clock.
 */
bool counter_usable(void);

/* As SKIP(): @statement leaves the test. */
#define NEEDS_COUNTER(statement) do { \
	if (!counter_usable()) \
		SKIP(statement, "needs a host that keeps time by the TSC"); \
} while (0)

#endif
