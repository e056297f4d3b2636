// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cpus.h"
#include "die.h"
#include "files.h"

#define CPU		"/sys/devices/system/cpu/"

int cpus_online(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

static int set_affinity(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

void pin(int cpu)
{
	if (set_affinity(cpu))
		die("sched_setaffinity");
}

void try_to_pin(int cpu)
{
	if (set_affinity(cpu) && errno != EINVAL)
		die("sched_setaffinity");
}

int64_t times_blocked(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		die("getrusage");
	return usage.ru_nvcsw;
}

int set_online(int cpu, bool online)
{
	char path[128];

	snprintf(path, sizeof(path), CPU "cpu%d/online", cpu);
	return write_file(path, online ? "1" : "0");
}

/* "online" of a single CPU is what was asked for, and not what is so. */
bool is_online(int cpu)
{
	char text[256], *p = text;

	if (read_file(CPU "online", text, sizeof(text)))
		die(CPU "online");
	while (*p) {
		long first = strtol(p, &p, 10), last = first;

		if (*p == '-')
			last = strtol(p + 1, &p, 10);
		if (cpu >= first && cpu <= last)
			return true;
		p += *p == ',';
	}
	return false;
}

/* The kernel's number for the state of a CPU that runs: the last one of its list. */
static const char *online_state(void)
{
	static char state[16];
	FILE *f = fopen(CPU "hotplug/states", "r");
	char line[128];

	if (!f)
		die(CPU "hotplug/states");
	while (fgets(line, sizeof(line), f))
		snprintf(state, sizeof(state), "%d", atoi(line));
	fclose(f);
	return state;
}

/*
 * If the kernel gives up on a CPU while the machine resumes, "online" goes on to say 1, and
 * writing that does nothing.
 */
bool bring_online(int cpu)
{
	char asked[128], target[128];

	snprintf(asked, sizeof(asked), CPU "cpu%d/online", cpu);
	snprintf(target, sizeof(target), CPU "cpu%d/hotplug/target", cpu);
	for (int tries = 0; tries < 10 && !is_online(cpu); tries++) {
		if (mentions(asked, "1"))
			write_file(target, online_state());
		else
			set_online(cpu, true);
	}
	return is_online(cpu);
}
