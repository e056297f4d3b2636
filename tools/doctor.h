/* SPDX-License-Identifier: GPL-2.0 */
/*
 * parkclock doctor: what its parts share
 *
 * doctor.c has the list of checks, runs and prints them; doctor_host.c looks at the
 * host, doctor_clock.c measures the clock.
 */
#ifndef DOCTOR_H
#define DOCTOR_H

#include "tool.h"

#define SAY(one, other)	one " " other	/* joins a text that is too long for a line */

enum verdict { OK, NOTE, WARNING, FAILURE, SKIPPED };

/**
 * struct finding - the result of a check
 * @result: of OK to SKIPPED
 * @text:   what was found, one sentence or two
 * @advice: what to do about it; NULL with OK and SKIPPED
 */
struct finding {
	enum verdict result;
	char text[512];
	const char *advice;
};

/**
 * find() - fill in a finding; the text as printf does
 * @f:      the finding
 * @result: its member @result
 * @advice: its member @advice, which is not copied
 * @fmt:    format of its text
 */
void find(struct finding *f, enum verdict result, const char *advice, const char *fmt, ...)
	__attribute__((__format__(__printf__, 4, 5)));

/**
 * struct measurement - the clock, compared with clock_gettime()
 * @hold_errno:	why no reference could be held or given back, or 0
 * @read_errno:	why READ failed, or 0
 * @page_used:	the page can have a time: the host keeps time by the TSC, the updater runs,
 *		and RDTSC is allowed
 * @ns:		how long the measurement took, by CLOCK_MONOTONIC
 * @by_page:	readings from the page that were compared with clock_gettime()
 * @by_read:	readings by READ that were compared
 * @expired:	times that the page had no time, though a reference was held
 * @unjudged:	readings that were off while the host's clock was being changed
 * @wrong:	readings that were off by more than their bound, and not unjudged
 * @outside_ns:	the largest distance of a reading from its bracket
 * @wrong_ns:	the largest distance of a reading from its bracket and bound
 * @best_ns:	the least bound
 * @median_ns:	the bound that half of the readings did not exceed
 * @threads:	threads that passed the largest reading to each other
 * @passed:	readings that they compared with it
 * @back:	readings that were less than it
 * @back_ns:	by how much at most
 * @rate_ppb:	how much faster than CLOCK_MONOTONIC the clock was
 * @slack_ppb:	how far from 0 that may be, by the bounds of the readings
 * @counter_ppb: how much faster than nominal the counter was
 * @counter:	@counter_ppb is known
 */
struct measurement {
	int hold_errno, read_errno;
	bool page_used;
	__s64 ns;
	__u64 by_page, by_read, expired, unjudged;
	__u64 wrong, outside_ns, wrong_ns;
	__u64 best_ns, median_ns;
	unsigned int threads;
	__u64 passed, back, back_ns;
	double rate_ppb, slack_ppb, counter_ppb;
	bool counter;
};

/**
 * struct patient - what is examined
 * @device:	path of the device
 * @pc:		the device, or NULL
 * @open_errno:	why @pc is NULL
 * @for_ns:	how long to measure
 * @quiet:	show no progress
 * @m:		valid if @measured
 */
struct patient {
	const char *device;
	struct parkclock *pc;
	int open_errno;
	__s64 for_ns;
	bool quiet;
	bool measured;
	struct measurement m;
};

/**
 * measure() - hold a reference and compare, for p->for_ns
 * @p: has the device open; p->m is filled in
 */
void measure(struct patient *p);

/* The checks: each examines one thing and fills in what it found. */
typedef void check_fn(struct patient *p, struct finding *f);

check_fn check_module, check_device, check_abi, check_write, check_cpu, check_clocksource,
	check_virtual, check_tsc, check_time_namespace, check_registration, check_limits,
	check_discontinuity;

/* These need a measurement, and all but the first need a successful one. */
check_fn check_reference, check_bounds, check_monotonic, check_rate;

#endif /* DOCTOR_H */
