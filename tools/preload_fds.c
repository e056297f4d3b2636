// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock-preload.so: the descriptors of a clock of the program's own stay open
 *
 * Many programs close all descriptors that they do not know, before they execute another
 * program or when they become daemons. Without its descriptor that other program would have no
 * clock, and could not run.
 */
#include <limits.h>
#include <unistd.h>

#include "preload.h"

EXPORT int preload_close(int fd) AS(close);
EXPORT void preload_closefrom(int first) AS(closefrom);
EXPORT int preload_close_range(unsigned int first, unsigned int last, int flags) AS(close_range);

static TYPE(close) next_close;
static TYPE(closefrom) next_closefrom;
static TYPE(close_range) next_close_range;

int preload_close(int fd)
{
	return preload_keeps(fd) ? 0 : NEXT(close)(fd);
}

void preload_closefrom(int first)
{
	int kept;

	if (first < 0)
		first = 0;
	for (kept = preload_kept(first); kept >= 0; kept = preload_kept(first)) {
		while (first < kept)
			sys3(SYS_close, first++, 0, 0);
		first = kept + 1;
	}
	NEXT(closefrom)(first);
}

int preload_close_range(unsigned int first, unsigned int last, int flags)
{
	while (first <= last && first <= INT_MAX) {
		const int kept = preload_kept(first);

		if (kept < 0 || (unsigned int)kept > last)
			break;
		if (first < (unsigned int)kept && NEXT(close_range)(first, kept - 1, flags))
			return -1;
		if ((unsigned int)kept == last)
			return 0;
		first = kept + 1;
	}
	return NEXT(close_range)(first, last, flags);
}

static void __attribute__((__constructor__)) find(void)
{
	NEXT(close);
	NEXT(closefrom);
	NEXT(close_range);
}
