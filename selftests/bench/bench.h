/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the benchmark share
 */
#ifndef PARKCLOCK_SELFTESTS_BENCH_H
#define PARKCLOCK_SELFTESTS_BENCH_H

#define NO_TARGET	(-1.0)

/*
 * Prints a figure: "figure TARGET VALUE TEXT", where the target is the most that it may be, or
 * "-"
 */
void show(double target, double value, const char *text, ...)
	__attribute__((__format__(__printf__, 3, 4)));

void measure_timers(void);

#endif
