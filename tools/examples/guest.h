/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the guest of guest.c and its VMM, vmm.c, know of each other: where things are in
 * the guest's memory, and what the guest does when it is told to.
 *
 * The guest does what its struct guest_cpu says, and then writes to a port: that is an
 * exit, on which the VMM finds what came of it, and gives the next order before it lets
 * the guest run on. Between two of these exits nothing but the guest itself, and the
 * host's interrupts, can have caused one.
 */
#ifndef PARKCLOCK_EXAMPLES_GUEST_H
#define PARKCLOCK_EXAMPLES_GUEST_H

#include <linux/parkclock.h>
#include <stdint.h>

/* The guest's memory, by physical addresses, which are also its virtual ones */
#define GUEST_TABLES	0x1000		/* page tables and descriptors, by the VMM */
#define GUEST_IMAGE	0x10000		/* guest.c; see guest.lds */
#define GUEST_SHARED	0xff000		/* struct guest_shared */
#define GUEST_CPUS	0x100000	/* an area for each virtual CPU: */
#define GUEST_CPU_SIZE	0x80000		/* struct guest_cpu, and the stack behind it */
#define GUEST_CPUS_MAX	4
#define GUEST_RAM_SIZE	(GUEST_CPUS + GUEST_CPUS_MAX * GUEST_CPU_SIZE)
#define GUEST_CLOCK	0x1000000	/* the two pages of the clock */

#define GUEST_PORT	0x10		/* written to when an order is done */
#define GUEST_VECTOR	0x40		/* of the VMM's interrupt */

#define GUEST_READINGS	10000

enum guest_order {
	GUEST_READ,	/* tell the time so many times */
	GUEST_TURNS,	/* the same, each after what the others have read before */
	GUEST_HALT,	/* halt until there is an interrupt, and tell the time */
	GUEST_STORE,	/* try to write to memory, */
	GUEST_EXCHANGE,	/* or to change it by one instruction */
};

struct guest_cpu {
	/* What is to be done */
	uint32_t order;			/* enum guest_order */
	int32_t clock_id;
	uint64_t count;			/* of reads; of GUEST_READ, GUEST_READINGS at most */
	uint64_t address;		/* of what is to be written */

	/* What came of it. The VMM believes the guest nothing that could harm itself. */
	uint32_t usable;		/* parkclock_usable() */
	uint32_t interrupts;
	uint64_t readings;		/* reads with a time */
	uint64_t expired, stopped;	/* those without one */
	uint64_t back;			/* times that the time went back, ever */
	int64_t last_ns;		/* the latest one */
	int64_t woken_ns;		/* of the first read in the interrupt, also if negative, */
	struct parkclock_reading woken;	/* with its bound; */
	uint64_t woken_end;		/* of that without a time: when it had ended (host's TSC) */
	struct parkclock_reading reading[GUEST_READINGS];
};

struct guest_shared {
	int64_t latest_ns;		/* that any of the CPUs has read in its turn */
};

#endif
