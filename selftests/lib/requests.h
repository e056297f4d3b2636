/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Random ioctls, and what may come of them. selftests/fuzz/parkclock.txt describes the same
 * interface for syzkaller.
 */
#ifndef PARKCLOCK_SELFTESTS_REQUESTS_H
#define PARKCLOCK_SELFTESTS_REQUESTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/parkclock.h>

/* What a descriptor is, which decides what it can be used for */
enum access {
	READER,		/* a clock's, open for reading */
	WRITER,		/* a clock's, open for reading and writing */
	WRITE_ONLY,
	VIEW,
	TIMER,		/* a timer's */
};

struct request {
	const char *name;
	unsigned long number;
	bool writer;		/* needs a WRITER */
	int errors[16];		/* what it may fail with; 0 ends the list */
};

/* All of the header; a NULL name ends the table. */
extern const struct request requests[];

/* What random arguments are about */
struct surroundings {
	pid_t tids[4];			/* tasks; 0 is the caller */
	struct parkclock_saved saved;	/* one that SAVE has returned, or nothing */
	uint64_t disruptions;
	char *edge;			/* so much memory that ends there: see make_edge() */
};

/* A page that can be written, in front of one that cannot be accessed. Returns its end. */
char *make_edge(void);

union argument {
	struct parkclock_read read;
	struct parkclock_query query;
	struct parkclock_register reg;
	struct parkclock_cgroup cgroup;
	struct parkclock_accuracy accuracy;
	struct parkclock_offsets offsets;
	struct parkclock_saved saved;
	struct parkclock_restore restore;
	struct parkclock_guest_tsc guest;
	struct parkclock_timer timer;
	struct parkclock_timer_set set;
	struct parkclock_timer_state state;
	char bytes[1024];
};

/**
 * struct call - an ioctl
 * @what:    the request, or NULL if it is none of the header's
 * @number:  its number
 * @in:      the argument as it was, if it was a pointer
 * @out:     the argument after the call
 * @value:   the argument as it was passed
 * @pointer: @value is a pointer, to memory that the kernel may write
 * @fault:   @value is a pointer to memory that the kernel may not write, or not read
 * @ret:     what it returned, or its errno, negated
 */
struct call {
	const struct request *what;
	unsigned long number;
	union argument in, out;
	unsigned long value;
	bool pointer;
	bool fault;
	int ret;
};

/* Makes up a call: mostly a good one, at times one that is wrong in any way. */
void make_call(struct call *c, uint64_t *seed, const struct surroundings *s);

/* Makes up a call of this request. */
void make_call_of(struct call *c, const struct request *what, uint64_t *seed,
		  const struct surroundings *s);

/* Calls it. Returns @ret. */
int do_call(int fd, struct call *c, const struct surroundings *s);

/*
 * Makes random calls on a descriptor that TIMER has returned, reads it and polls it, and closes it.
 * Returns what is wrong with the result of a call, or NULL; *@of is that call.
 */
const char *try_out_timer(int fd, uint64_t *seed, const struct surroundings *s, struct call *of);

/* What is wrong with the result, or NULL: a right that is missing, an errno that must not be. */
const char *wrong_result(const struct call *c, enum access access);

#endif
