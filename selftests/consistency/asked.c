// SPDX-License-Identifier: GPL-2.0
/*
 * A clock that can be asked without the module, for "make lint"
 *
 * Linked before the tool's own objects, these functions replace the library's: so
 * "parkclock status" and "watch" print all that they can print, and each member of
 * QUERY's result has a value of its own: its offset, plus ASKED_BASE.
 *
 * With QUERY_FIELDS in its environment the program prints the tool's table instead: name,
 * kind, offset, label and meaning, separated by tabs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clocks.h"
#include "query.h"
#include "tool.h"

#define ASKED_BASE 1000000

static void __attribute__((constructor)) print_fields(void)
{
	if (!getenv("QUERY_FIELDS"))
		return;
	for (const struct query_field *f = query_fields; f->name; f++)
		printf("%s\t%s\t%zu\t%s\t%s\n", f->name,
		       f->kind == QUERY_COUNTER ? "counter" :
		       f->kind == QUERY_OTHERS ? "others" : "own", ASKED_BASE + f->offset,
		       f->label ? f->label : "", f->meaning ? f->meaning : "");
	exit(EXIT_SUCCESS);
}

struct parkclock *parkclock_open(const char *path)
{
	static char clock;

	(void)path;
	return (void *)&clock;
}

struct parkclock *parkclock_open_owner(const char *path)
{
	return parkclock_open(path);
}

void parkclock_close(struct parkclock *pc)
{
	(void)pc;
}

int parkclock_fd(const struct parkclock *pc)
{
	(void)pc;
	return STDIN_FILENO;
}

int parkclock_query(struct parkclock *pc, struct parkclock_query *q)
{
	(void)pc;
	for (size_t at = 0; at < sizeof(*q); at += sizeof(__u64))
		*(__u64 *)((char *)q + at) = ASKED_BASE + at;
	q->state = PARKCLOCK_PARKED;
	q->flags = 0;
	q->reason = PARKCLOCK_REASON_STEP;
	return 0;
}

int parkclock_accuracy(struct parkclock *pc, struct parkclock_accuracy *a)
{
	(void)pc;
	memset(a, 0, sizeof(*a));
	a->steady[0] = 1;
	return 0;
}

int parkclock_limits(struct parkclock *pc, struct parkclock_limits *limits)
{
	(void)pc;
	memset(limits, 0, sizeof(*limits));
	return 0;
}

bool find_clocks(dev_t device, struct sightings *all)
{
	(void)device;
	all->known = true;
	all->count = 1;
	all->list = calloc(1, sizeof(*all->list));
	return all->list;
}
