// SPDX-License-Identifier: GPL-2.0
#include <string.h>

#include "clocksource.h"
#include "die.h"
#include "files.h"
#include "wait.h"

#define CURRENT	CLOCKSOURCE "current_clocksource"

const char *clocksource(char *name, size_t size)
{
	if (read_file(CURRENT, name, size))
		die(CURRENT);
	return name;
}

bool choose(const char *name)
{
	char now[32];

	return !write_file(CURRENT, name) && !strcmp(clocksource(now, sizeof(now)), name);
}

void settle(void)
{
	char name[32];

	wait_until(strcmp(clocksource(name, sizeof(name)), "tsc-early"));
}

bool counter_usable(void)
{
	char name[32];

	return !strcmp(clocksource(name, sizeof(name)), "tsc");
}
