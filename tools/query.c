// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock: the table of what QUERY tells
 */
#include <assert.h>

#include "query.h"
#include "tool.h"

#define FIELD(kind, member, label, meaning) \
	{ kind, #member, label, meaning, offsetof(struct parkclock_query, member) }
#define COUNTER(member, label, meaning)	FIELD(QUERY_COUNTER, member, label, meaning)
#define OTHERS(member)			FIELD(QUERY_OTHERS, member, NULL, NULL)
#define NUMBER(member)			FIELD(QUERY_NUMBER, member, NULL, NULL)
#define SPECIAL(member)			FIELD(QUERY_SPECIAL, member, NULL, NULL)
#define OPENER(member)			FIELD(QUERY_OPENER, member, NULL, NULL)

const struct query_field query_fields[] = {
	SPECIAL(state),
	OTHERS(references),
	OTHERS(all_tasks),
	OTHERS(all_running),
	NUMBER(interval_ns),
	NUMBER(window_ns),
	NUMBER(slack_ns),
	NUMBER(window_left_ns),
	SPECIAL(error_ns),
	SPECIAL(counter_hz),
	SPECIAL(flags),
	NUMBER(cycles),
	SPECIAL(rate),
	NUMBER(generation),
	SPECIAL(reason),
	COUNTER(parks, "parks", "times the updater parked"),
	COUNTER(wakes, "wakes",
		"times the updater left PARKED, or was started with references held"),
	COUNTER(refreshes, "refreshes", "times the page was calibrated again"),
	COUNTER(expirations, "expirations", "times the timer fired"),
	COUNTER(late_ticks, "late ticks", "ticks that came more than an interval late"),
	COUNTER(invalidations, "invalidations",
		"times the page was made invalid before its window ended"),
	COUNTER(slow_reads, "slow reads", "calls of PARKCLOCK_IOC_READ that succeeded"),
	COUNTER(run_transitions, "run transitions",
		"times that the task of a registration began to run"),
	COUNTER(run_wakes, "run wakes", "run transitions that woke the updater"),
	OPENER(holds),
	OPENER(tasks),
	OPENER(running),
	OPENER(cpu_ns),
	OPENER(run_missed),
	OPENER(boot_ns),
	OPENER(clock),
	{ .name = NULL }
};

/* A row for each member but reserved, two of which share 8 bytes; and the row at the end. */
static_assert(ARRAY_SIZE(query_fields) == offsetof(struct parkclock_query, reserved) / 8 + 2,
	      "query_fields lacks a member of struct parkclock_query");

const struct query_field *query_next_counter(const struct query_field *f)
{
	for (f = f ? f + 1 : query_fields; f->name; f++)
		if (f->kind == QUERY_COUNTER)
			return f;
	return NULL;
}

bool query_hidden(const struct parkclock_query *q, const struct query_field *f)
{
	return q->flags & PARKCLOCK_HOST_HIDDEN &&
	       (f->kind == QUERY_COUNTER || f->kind == QUERY_OTHERS);
}

__u64 query_value(const struct parkclock_query *q, const struct query_field *f)
{
	return *(const __u64 *)((const char *)q + f->offset);
}

const char *const limit_names[PARKCLOCK_LIMITS] = {
	[PARKCLOCK_LIMIT_CLOCKS] = "clocks",
	[PARKCLOCK_LIMIT_VIEWS] = "views",
	[PARKCLOCK_LIMIT_TASKS] = "tasks",
	[PARKCLOCK_LIMIT_HOLDS] = "holds",
	[PARKCLOCK_LIMIT_VMCLOCKS] = "vmclocks",
	[PARKCLOCK_LIMIT_TIMERS] = "timers",
	[PARKCLOCK_LIMIT_CGROUPS] = "cgroups",
};
