// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include "die.h"
#include "files.h"
#include "params.h"

int set_param(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMS "%s", name);
	return write_file(path, value);
}

void must_set(const char *name, const char *value)
{
	int err = set_param(name, value);

	if (err) {
		fprintf(stderr, "# parameter %s=%s refused\n", name, value);
		die_of(err, name);
	}
}

const char *get_param(const char *name, char *value, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMS "%s", name);
	if (read_file(path, value, size))
		die(path);
	return value;
}

void set_params(const char *interval, const char *window, const char *slack)
{
	must_set("interval_ms", interval);
	must_set("window_intervals", window);
	must_set("slack_percent", slack);
	must_set("enabled", "Y");
}

void default_params(void)
{
	set_params("1000", "4", "5");
}
