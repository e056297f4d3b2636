// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "die.h"
#include "disturb.h"
#include "files.h"

void load_disturb(void)
{
	int fd = open("/lib/parkclock_disturb.ko", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
		die("/lib/parkclock_disturb.ko");
	close(fd);
}

void unload_disturb(void)
{
	if (syscall(SYS_delete_module, "parkclock_disturb", O_NONBLOCK))
		die("unload parkclock_disturb");
}

void disturb(const char *command, const char *value)
{
	char path[128];
	int err;

	snprintf(path, sizeof(path), DISTURB "%s", command);
	err = write_file(path, value);
	if (err)
		die_of(err, path);
}

/*
 * Finds where a function of the parkclock module begins, and where the next one does. The
 * compiler may have put a dot and something behind it to the function's name.
 */
static bool find_function(const char *function, char *name, unsigned long long *begin,
			  unsigned long long *end)
{
	const size_t length = strlen(function);
	char line[256], other[128], module[64];
	unsigned long long at;

	*begin = 0;
	*end = ULLONG_MAX;
	for (int pass = 0; pass < 2; pass++) {
		FILE *f = fopen("/proc/kallsyms", "r");

		if (!f)
			die("/proc/kallsyms");
		while (fgets(line, sizeof(line), f)) {
			if (sscanf(line, "%llx %*c %127s [%63[^]]]", &at, other, module) != 3 ||
			    strcmp(module, "parkclock"))
				continue;
			if (!pass && !strncmp(other, function, length) &&
			    (!other[length] || other[length] == '.')) {
				*begin = at;
				strcpy(name, other);
			}
			if (pass && at > *begin && at < *end)
				*end = at;
		}
		fclose(f);
	}
	return *begin && *end != ULLONG_MAX;
}

int at_each_instruction(const char *function, unsigned int us, unsigned int every,
			void (*run)(void *arg), void *arg)
{
	unsigned long long begin, end;
	char name[128], text[192];
	int places = 0;

	if (!exists(DISTURB "stop_at") || !find_function(function, name, &begin, &end))
		return 0;
	for (unsigned long long at = begin; at < end; at++) {
		/* Every so many bytes is a random choice of instructions. */
		if ((at - begin) % every)
			continue;
		snprintf(text, sizeof(text), "parkclock:%s+%llu %u", name, at - begin, us);
		/* No instruction begins there, or one that cannot be probed. */
		if (write_file(DISTURB "stop_at", text))
			continue;
		run(arg);
		places++;
	}
	write_file(DISTURB "stop_at", "nothing");
	return places;
}

unsigned int every(void)
{
	const char *wanted = getenv("EVERY");

	return wanted ? atoi(wanted) : getenv("BRIEF") ? 40 : 8;
}
