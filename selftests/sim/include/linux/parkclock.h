/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The real header, but for its read of the counter: what it says in assembler becomes a
 * call of the simulator.
 */
#ifndef SIM_PARKCLOCK_H
#define SIM_PARKCLOCK_H

#include <kernel.h>

/* @text is the source text of the operands. */
static inline void sim_asm(const char *text, __u64 *lo, __u64 *hi)
{
	__u64 cycles;

	if (text[1] == 'a') {		/* andl $0: to order what follows */
		*hi = 0;
		return;
	}
	cycles = sim_rdtsc(text[1] == 'l');	/* lfence; rdtsc, or rdtsc */
	*lo = (__u32)cycles;
	*hi = cycles >> 32;
}

#define __asm__
#define __volatile__(...)	sim_asm(#__VA_ARGS__, &lo, &hi)
#include_next <linux/parkclock.h>
#undef __asm__
#undef __volatile__

#endif
