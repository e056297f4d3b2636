/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Arithmetic of segments: straight lines of time, and how one follows another.
 *
 * This needs nothing of the kernel but its types: the unit tests compile the same source
 * in user space. Instants are MONOTONIC in units of 2^-56 ns, as 128-bit numbers. They
 * hold 2^72 ns, which is 150,000 years. Rates are ns per cycle in the same unit. So
 * nothing is rounded between the host's clock and the page; only a reader drops the
 * fraction.
 */
#ifndef PARKCLOCK_SEGMENT_H
#define PARKCLOCK_SEGMENT_H

#include <linux/types.h>
#include <linux/parkclock.h>

#define PARKCLOCK_ONE_NS	((unsigned __int128)1 << PARKCLOCK_SHIFT)

/* The fastest slew is 1/2048 (488 ppm), about what adjtime() allows itself. */
#define PARKCLOCK_SLEW_SHIFT	11

/*
 * How far a sample may be off because the host's clock was being updated, without a new
 * regime, in 2^-56 ns.
 */
#define PARKCLOCK_DRIFT		PARKCLOCK_ONE_NS

/* How far the counter of another CPU may be behind, in cycles: some microseconds. */
#define PARKCLOCK_SKEW_CYCLES	16384

/**
 * struct parkclock_sample - the host's clock at one counter value
 * @cycles:	the counter
 * @now:	the host's MONOTONIC there, in 2^-56 ns; exact
 * @now_slop:	the host's clock continues from within @now -+ @now_slop while the regime is
 *		@regime
 * @rate_now:	the host's own rate: ns per cycle, in 2^-56 ns
 * @rate:	the middle of the range in which that rate can be, in the same unit
 * @rate_slop:	the rate stays within @rate -+ @rate_slop while the regime is @regime
 * @rate_changes: how often the rate has changed so far
 * @regime:	how often it has changed by more than a sample allows for, or the clock jumped
 * @epoch:	see struct parkclock_timebase
 * @generation:	see struct parkclock_segment
 * @offset_ns:	see struct parkclock_segment
 */
struct parkclock_sample {
	__u64 cycles;
	unsigned __int128 now;
	__u64 now_slop;
	__u64 rate_now;
	__u64 rate;
	__u64 rate_slop;
	__u64 rate_changes;
	__u64 regime;
	__u64 epoch;
	__u64 generation;
	__s64 offset_ns[PARKCLOCK_CLOCKS];
};

/* How a new segment continues from the old one. */
enum parkclock_refresh {
	PARKCLOCK_SLEW,		/* without a jump; the error is taken out by the rate */
	PARKCLOCK_STEP,		/* at the host's clock, if that is not backwards */
};

unsigned __int128 parkclock_segment_at(const struct parkclock_segment *seg, __u64 cycles);
int parkclock_segment_covers(const struct parkclock_segment *seg, __u64 cycles);
__u64 parkclock_segment_rate(const struct parkclock_sample *from,
			     const struct parkclock_sample *to);
unsigned __int128 parkclock_segment_base(const struct parkclock_segment *old,
					 const struct parkclock_sample *sample,
					 enum parkclock_refresh how,
					 unsigned __int128 floor);
__u64 parkclock_segment_slew(__u64 before, __u64 length, __u64 interval, __u64 window);
void parkclock_segment_make(struct parkclock_segment *seg, const struct parkclock_sample *sample,
			    __u64 rate, unsigned __int128 base, __u64 valid_cycles,
			    __u64 slew_cycles);
void parkclock_segment_lift(struct parkclock_segment *seg, __u64 cycles,
			    unsigned __int128 least);

/**
 * parkclock_segment_slope() - the change of rate that covers an offset
 * @offset: the offset
 * @cycles: number of cycles in which to cover it
 * @limit:  the largest result
 *
 * The kernel cannot divide a 128-bit number. So an offset of more than 63 bits is shifted
 * until it fits, which leaves the quotient good to 2^-14 while @cycles is less than 2^48
 * (a day).
 *
 * Return: @offset / @cycles, or a little less; @limit at most.
 */
static inline __u64 parkclock_segment_slope(unsigned __int128 offset, __u64 cycles,
					    __u64 limit)
{
	__u64 high = offset >> 63;
	unsigned int shift;

	if (!offset || !cycles)
		return 0;
	if (offset >= (unsigned __int128)cycles * limit)
		return limit;
	shift = high ? 64 - __builtin_clzll(high) : 0;
	return (__u64)(offset >> shift) / cycles << shift;
}

#endif
