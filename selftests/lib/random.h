/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Random numbers that a seed repeats
 */
#ifndef PARKCLOCK_SELFTESTS_RANDOM_H
#define PARKCLOCK_SELFTESTS_RANDOM_H

#include <stdint.h>

/* xorshift64. Each thread has a state of its own, which is never 0. */
uint64_t rnd(uint64_t *state);

#endif
