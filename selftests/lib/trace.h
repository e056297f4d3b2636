/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's trace
 */
#ifndef PARKCLOCK_SELFTESTS_TRACE_H
#define PARKCLOCK_SELFTESTS_TRACE_H

#include <stdbool.h>
#include <stddef.h>

#define TRACING		"/sys/kernel/tracing/"
#define TIMER_EVENT	"timer/hrtimer_expire_entry"

/* The function of the updater's timer */
#define TIMER_FUNCTION	"parkclock_updater_tick"

bool has_trace(void);

/* As SKIP(): @statement leaves the test. */
#define NEEDS_TRACE(statement) do { \
	if (!has_trace()) \
		SKIP(statement, "needs a kernel with trace events"); \
} while (0)

void trace_write(const char *file, const char *text);

/*
 * Starts with an empty trace. @filter may be NULL. Does nothing where the kernel has no
 * trace.
 */
void trace_start(const char *event, const char *filter);

void trace_stop(const char *event);

/* Counts the lines with @word, after the last line with @mark if that is not NULL. */
int trace_count(const char *word, const char *mark);

/* Makes a filter for those timer events that are about the updater's timer. */
void our_timer(char *filter, size_t size);

#endif
