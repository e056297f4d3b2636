// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "die.h"
#include "files.h"
#include "trace.h"

bool has_trace(void)
{
	return exists(TRACING "events/" TIMER_EVENT);
}

void trace_write(const char *file, const char *text)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), TRACING "%s", file);
	err = write_file(path, text);
	if (err)
		die_of(err, path);
}

void trace_start(const char *event, const char *filter)
{
	char file[128];

	if (!has_trace())
		return;
	trace_write("tracing_on", "1");
	trace_write("trace", "");
	if (filter) {
		snprintf(file, sizeof(file), "events/%s/filter", event);
		trace_write(file, filter);
	}
	snprintf(file, sizeof(file), "events/%s/enable", event);
	trace_write(file, "1");
}

void trace_stop(const char *event)
{
	char file[128];

	if (!has_trace())
		return;
	snprintf(file, sizeof(file), "events/%s/enable", event);
	trace_write(file, "0");
	snprintf(file, sizeof(file), "events/%s/filter", event);
	trace_write(file, "0");
	trace_write("trace", "");
}

int trace_count(const char *word, const char *mark)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[512];
	int n = 0;

	if (!f)
		die(TRACING "trace");
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#')
			continue;
		if (mark && strstr(line, mark))
			n = 0;
		else if (strstr(line, word))
			n++;
	}
	fclose(f);
	return n;
}

void our_timer(char *filter, size_t size)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[256], name[128];
	unsigned long long address;

	if (!f)
		die("/proc/kallsyms");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %*c %127s", &address, name) == 2 &&
		    !strcmp(name, TIMER_FUNCTION) && address) {
			fclose(f);
			snprintf(filter, size, "function == 0x%llx", address);
			return;
		}
	}
	fclose(f);
	die_of(-ENOENT, TIMER_FUNCTION " in /proc/kallsyms");
}
