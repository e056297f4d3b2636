/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The host's clock at any value of the counter, as far as that can be known: between what
 * it read shortly before and shortly after.
 */
#ifndef PARKCLOCK_EXAMPLES_BRACKET_H
#define PARKCLOCK_EXAMPLES_BRACKET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define BRACKET_SAMPLES	65536

struct bracket {
	int clock_id;
	int at;
	atomic_int n;
	atomic_bool stop;
	pthread_t thread;
	struct {
		uint64_t before, after;		/* the counter, */
		int64_t ns;			/* and the host's clock in between */
	} sample[BRACKET_SAMPLES];
};

int bracket_begin(struct bracket *b, int clock_id);
void bracket_end(struct bracket *b);
int64_t bracket_distance(struct bracket *b, uint64_t cycles, int64_t ns, int64_t *width);

#endif
