/* SPDX-License-Identifier: GPL-2.0 */
/*
 * parkclock: the table of what QUERY tells
 *
 * status, watch and their JSON are made from this table. "make lint" compares it with the
 * header's kernel-doc and with parkclock(1).
 */
#ifndef QUERY_H
#define QUERY_H

#include <stdbool.h>
#include <stddef.h>

#include <linux/parkclock.h>

/**
 * enum query_kind - how a member of struct parkclock_query is shown
 * @QUERY_COUNTER: counts on the host since the module was loaded. status and watch show
 *		   each counter in a line of its own, JSON as a number. Tells of others.
 * @QUERY_OTHERS:  tells of others. JSON shows it as a number.
 * @QUERY_NUMBER:  describes the host. JSON shows it as a number.
 * @QUERY_SPECIAL: describes the host. JSON shows it in another form.
 * @QUERY_OPENER:  describes the clock that is asked. status opens a clock of its own, and
 *		   leaves it out.
 */
enum query_kind { QUERY_COUNTER, QUERY_OTHERS, QUERY_NUMBER, QUERY_SPECIAL, QUERY_OPENER };

/**
 * struct query_field - a member of struct parkclock_query
 * @kind:    how it is shown
 * @name:    its name in the structure and in JSON
 * @label:   of a counter, its name for people
 * @meaning: of a counter, what it counts, in the words of the header
 * @offset:  where it is in the structure
 */
struct query_field {
	enum query_kind kind;
	const char *name;
	const char *label;
	const char *meaning;
	size_t offset;
};

/* In the order in which they are shown; a NULL name ends the table. */
extern const struct query_field query_fields[];

/**
 * query_next_counter() - go through the counters
 * @f: a row of the table, or NULL to begin
 *
 * Return: the next counter, NULL after the last one.
 */
const struct query_field *query_next_counter(const struct query_field *f);

/* What is shown instead of a member that tells of others, where that is hidden */
#define QUERY_HIDDEN_HINT \
	"Only who may write to the device is told of others: be root, or in the group clock."

/**
 * query_hidden() - is the member hidden from this user?
 * @q: result of a query
 * @f: which member
 *
 * Return: true if its value means nothing.
 */
bool query_hidden(const struct parkclock_query *q, const struct query_field *f);

/**
 * query_value() - a member that is a __u64
 * @q: result of a query
 * @f: which member
 *
 * Return: its value.
 */
__u64 query_value(const struct parkclock_query *q, const struct query_field *f);

/* What PARKCLOCK_IOC_LIMITS tells, in the words of the module's parameters */
extern const char *const limit_names[PARKCLOCK_LIMITS];

#endif /* QUERY_H */
