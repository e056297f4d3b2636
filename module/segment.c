// SPDX-License-Identifier: GPL-2.0
/*
 * Arithmetic of segments: see segment.h.
 *
 * Errors. Let v be the segment's value at its base, h the host's clock there, r the
 * segment's rate without its slew s, and R the host's rate, which may change unseen, but
 * only within R0 -+ slop. After t cycles
 *
 *	error(t) = (v + (r + s) * t) - (h + R * t)
 *		 = (v - h + s * t) + (r - R0) * t + (R0 - R) * t.
 *
 * The slew takes v - h out within L cycles, or less of it if the slew is limited:
 * |s| <= |v - h| / L. So the first term goes from v - h through 0, and after L to the other
 * side. At the end of the window W it has reached |s| * W - |v - h| at most. A straight line
 * from |v - h| at 0 that is nowhere below |first term| rises by o = |s| - 2 * |v - h| / W,
 * or not at all if W <= 2 * L. Hence
 *
 *	|error(t)| <= |v - h| + (|r - R0| + slop + o) * t	for 0 <= t < W.
 *
 * These are error_ns (rounded up) and error_rate. Readers drop the fraction of their
 * reading, and the host drops the fraction of its own. That costs nothing more: two
 * numbers that differ by at most e have whole parts that differ by at most ceil(e).
 *
 * A refresh that comes t after the last one finds (1 - t / L) of the error that the last
 * one found, plus what is new. If L is what t will be, nothing is left. The best guess of t
 * is its last value. But if the next refresh is late, an error that is being taken out
 * within a short L grows, once, by less than W / L - 1. Hence L is raised at once after a
 * late refresh, up to half the window, with which no error grows. L shrinks by a sixteenth
 * of the time that passes. Meanwhile the error shrinks by more than a late refresh can make
 * it grow then. After the window the page has expired, and the next segment steps.
 */
#include "segment.h"

/**
 * parkclock_segment_at() - value of a segment at a counter value
 * @seg:    the segment
 * @cycles: the counter
 *
 * After its window a segment keeps its last value: the result is never less than any
 * reading up to @cycles. The same value stands for counters before the base, where the
 * counter has begun anew. The exception are the few cycles by which the counter of another
 * CPU may be behind: for them the result is the value at the base.
 *
 * Return: MONOTONIC in 2^-56 ns.
 */
unsigned __int128 parkclock_segment_at(const struct parkclock_segment *seg, __u64 cycles)
{
	__u64 delta = cycles - seg->base_cycles;

	if (seg->base_cycles - cycles <= PARKCLOCK_SKEW_CYCLES)
		delta = 0;
	else if (delta > seg->valid_cycles)
		delta = seg->valid_cycles;
	return seg->base_ns * PARKCLOCK_ONE_NS + seg->base_frac +
	       (unsigned __int128)delta * seg->rate;
}

/**
 * parkclock_segment_covers() - is a counter value within the window?
 * @seg:    the segment
 * @cycles: the counter
 */
int parkclock_segment_covers(const struct parkclock_segment *seg, __u64 cycles)
{
	return cycles - seg->base_cycles < seg->valid_cycles;
}

/**
 * parkclock_segment_rate() - the host's mean rate between two samples
 * @from: the earlier sample
 * @to:   the later one, of the same regime
 *
 * The mean is limited to the range in which the host's rate is known to be. So the result
 * is no worse than the middle of that range, whatever happened between the two samples.
 *
 * Return: ns per cycle in 2^-56 ns, within @to->rate -+ @to->rate_slop.
 */
__u64 parkclock_segment_rate(const struct parkclock_sample *from,
			     const struct parkclock_sample *to)
{
	__u64 cycles = to->cycles - from->cycles;
	__int128 more = to->now - from->now - (unsigned __int128)cycles * to->rate;

	if (more < 0)
		return to->rate - parkclock_segment_slope(-more, cycles, to->rate_slop);
	return to->rate + parkclock_segment_slope(more, cycles, to->rate_slop);
}

/**
 * parkclock_segment_base() - MONOTONIC at the base of a new segment
 * @old:    the segment before it; nobody reads it if its window is 0
 * @sample: where the new segment begins
 * @how:    how to continue; after a window that has ended, by a step in any case
 * @floor:  the least result, in 2^-56 ns
 *
 * Return: MONOTONIC in 2^-56 ns; not less than @floor, nor than any value of @old up to
 * @sample.
 */
unsigned __int128 parkclock_segment_base(const struct parkclock_segment *old,
					 const struct parkclock_sample *sample,
					 enum parkclock_refresh how,
					 unsigned __int128 floor)
{
	unsigned __int128 base = sample->now;
	unsigned __int128 was;

	if (old->valid_cycles) {
		was = parkclock_segment_at(old, sample->cycles);
		if (base < was || (how == PARKCLOCK_SLEW &&
				   parkclock_segment_covers(old, sample->cycles)))
			base = was;
	}
	return base < floor ? floor : base;
}

/* Convert @fixed to whole ns, rounded up. */
static __u64 ns_up(unsigned __int128 fixed)
{
	return (fixed + PARKCLOCK_ONE_NS - 1) >> PARKCLOCK_SHIFT;
}

/**
 * parkclock_segment_slew() - the time in which to take out an error
 * @before:   the last result
 * @length:   how long the segment that is to be replaced was in use, in cycles; less than 0,
 *	      from a counter that is behind, counts as 0
 * @interval: how long it should have been in use
 * @window:   at least twice the interval
 *
 * Return: number of cycles.
 */
__u64 parkclock_segment_slew(__u64 before, __u64 length, __u64 interval, __u64 window)
{
	__u64 slew;

	if ((__s64)length < 0)
		length = 0;
	slew = before > length / 16 ? before - length / 16 : 0;
	if (slew < length)
		slew = length;
	if (slew < interval)
		slew = interval;
	return slew < window / 2 ? slew : window / 2;
}

/**
 * parkclock_segment_make() - make a segment from a sample
 * @seg:          filled in
 * @sample:       where the segment begins
 * @rate:         the host's rate, as predicted
 * @base:         MONOTONIC at the base, in 2^-56 ns
 * @valid_cycles: length of the window
 * @slew_cycles:  number of cycles in which to take out the error; at most half the window
 *
 * If @base differs from the sample's MONOTONIC, the segment runs faster or slower than
 * @rate, in order to meet the host's clock after @slew_cycles.
 */
void parkclock_segment_make(struct parkclock_segment *seg, const struct parkclock_sample *sample,
			    __u64 rate, unsigned __int128 base, __u64 valid_cycles,
			    __u64 slew_cycles)
{
	const __u64 limit = rate >> PARKCLOCK_SLEW_SHIFT;
	const int ahead = base > sample->now;
	const unsigned __int128 off = ahead ? base - sample->now : sample->now - base;
	const __u64 slew = parkclock_segment_slope(off, slew_cycles, limit);
	/* The slew after which the error is as large at the window's end as at the base. */
	const __u64 least = parkclock_segment_slope(2 * off, valid_cycles, limit);
	int i;

	*seg = (struct parkclock_segment) {
		.base_cycles = sample->cycles,
		.base_ns = base >> PARKCLOCK_SHIFT,
		.base_frac = base & (PARKCLOCK_ONE_NS - 1),
		.rate = ahead ? rate - slew : rate + slew,
		.valid_cycles = valid_cycles,
		.epoch = sample->epoch,
		.error_ns = ns_up(off + sample->now_slop),
		.error_rate = sample->rate_slop + (slew > least ? slew - least : 0) +
			      (rate > sample->rate ? rate - sample->rate : sample->rate - rate),
		.generation = sample->generation,
	};
	for (i = 0; i < PARKCLOCK_CLOCKS; i++)
		seg->offset_ns[i] = sample->offset_ns[i];
}

/**
 * parkclock_segment_lift() - raise a segment, if needed, to a least value at an instant
 * @seg:    the segment; lifted as a whole if its value there is less
 * @cycles: the instant
 * @least:  the least value there, in 2^-56 ns
 */
void parkclock_segment_lift(struct parkclock_segment *seg, __u64 cycles,
			    unsigned __int128 least)
{
	unsigned __int128 says = parkclock_segment_at(seg, cycles);
	unsigned __int128 base;

	if (says >= least)
		return;
	base = seg->base_ns * PARKCLOCK_ONE_NS + seg->base_frac + (least - says);
	seg->base_ns = base >> PARKCLOCK_SHIFT;
	seg->base_frac = base & (PARKCLOCK_ONE_NS - 1);
	seg->error_ns += ns_up(least - says);
}
