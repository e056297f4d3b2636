/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What runs inside the sandbox of sandbox.c, and what it finds there.
 */
#ifndef PARKCLOCK_EXAMPLES_WORKLOAD_H
#define PARKCLOCK_EXAMPLES_WORKLOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define NAP_NS		100000000	/* between two bursts of reads */
#define ATTEMPTS	32		/* more than there are */

/* In memory that the inside shares with the runtime, to which it cannot talk. */
struct report {
	atomic_ulong bursts;		/* so many are over */
	unsigned long by_page, by_read;
	unsigned long unprotected;	/* of by_read: the page should have been valid */
	unsigned long back;		/* times that time went back */
	int64_t kernel_ns;		/* the kernel's MONOTONIC there, at the beginning */
	int64_t first_ns, last_ns;	/* the clock's */
	int attempts;
	struct {
		char what[24];
		int error[2];		/* without the filter, and with it */
	} attempt[ATTEMPTS];
};

void __attribute__((__noreturn__)) work(struct report *r, int view, const void *map);
void probe(struct report *r, int view, bool filtered);

#endif
