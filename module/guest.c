// SPDX-License-Identifier: GPL-2.0
/*
 * Arithmetic for guests: see guest.h.
 *
 * From a guest's counter to the host's. A guest's counter is g = floor(h * r) + offset,
 * where h is the host's. q = g - offset is exact modulo 2^64 as long as h * r is below
 * 2^64. The reader computes
 *
 *	h' = floor(q * inverse / 2^s),	inverse = floor(2^s / r).
 *
 * Nothing is rounded up, so h' <= q / r <= h: never more than the host's counter. The
 * argument in timebase.c needs that: a reading belongs to the h' that it was computed
 * from. The h' are in the order of the readings, and not after the instant at which the
 * page was looked at. And h' is less by
 *
 *	h - h' < (h - q / r) + q / 2^s + 1 < 1 / r + h / 2^62 + 1,
 *
 * because s is chosen so that inverse is above 2^62, hence q / 2^s <= h * r / 2^s <
 * h / 2^62. That is less than 1, unless something has written the host's counter. If h * r
 * ever outgrows 64 bits, q and h' begin again from 0, and then h' does not come near any
 * window.
 *
 * VMClock. Its readers compute time + (delta * period >> shift), in 2^-64 s. A line begins
 * a little before the instant that it is made for: a reader takes delta for unsigned, and
 * the counter of its CPU may be a little behind. The line has no end. Its bound is that of
 * the segment; but the growth of the bound has the whole slew, where the segment's has only
 * what remains of the slew within the window.
 */
#include <linux/errno.h>

#include "guest.h"
#include "segment.h"

/* The largest ratio between the counters of a guest and its host, either way. */
#define RATIO_MAX	64

/* h * r must fit for 2^56 more cycles of the host: nine months at 3 GHz. */
#define FORESEEN_CYCLES	0x100000000000000ULL

#define NSEC_PER_SEC_	1000000000ULL

/* floor(2^93 / 10^9): converts ns to s, with 64 bits. */
#define SEC_PER_NSEC	9903520314283042199ULL

static unsigned int bits_of(unsigned __int128 n)
{
	__u64 high = n >> 64;

	if (high)
		return 128 - __builtin_clzll(high);
	return (__u64)n ? 64 - __builtin_clzll((__u64)n) : 0;
}

/* floor(2^(62 + bits_of(ratio)) / ratio), digit by digit: more than 2^62, 2^63 at most */
static __u64 reciprocal(__u64 ratio)
{
	/* 2^126 / divisor. The rest is less than the divisor, so twice the rest fits. */
	const __u64 divisor = ratio << (64 - bits_of(ratio));
	unsigned __int128 rest = 1;
	__u64 quotient = 0;
	int i;

	for (i = 0; i < 127; i++) {
		quotient <<= 1;
		if (rest >= divisor) {
			rest -= divisor;
			quotient |= 1;
		}
		rest <<= 1;
	}
	return quotient;
}

/**
 * parkclock_guest_make() - check a guest's terms, and compute their inverse
 * @guest:  filled in
 * @offset: see struct parkclock_guest_tsc
 * @ratio:  see struct parkclock_guest_tsc
 * @shift:  see struct parkclock_guest_tsc
 * @now:    the host's counter
 *
 * Return: 0, or -EINVAL or -ERANGE: see PARKCLOCK_IOC_SET_GUEST_TSC.
 */
int parkclock_guest_make(struct parkclock_guest *guest, __u64 offset, __u64 ratio, __u32 shift,
			 __u64 now)
{
	unsigned __int128 one, last;

	if (!ratio || shift > 48)
		return -EINVAL;
	one = (unsigned __int128)1 << shift;
	if (ratio > one * RATIO_MAX || (unsigned __int128)ratio * RATIO_MAX < one)
		return -ERANGE;
	last = (unsigned __int128)now + FORESEEN_CYCLES;
	if (last >> 64 || (last * ratio >> shift) >> 64)
		return -ERANGE;
	*guest = (struct parkclock_guest) {
		.offset = offset,
		.ratio = ratio,
		.ratio_shift = shift,
		.inverse = reciprocal(ratio),
		.inverse_shift = 62 + bits_of(ratio) - shift,
	};
	/*
	 * ceil(1 / r) + ceil(last / 2^62) + 1. If both counters have the same rate, the
	 * inverse is exact.
	 */
	if (ratio != one)
		guest->lag = (__u64)((unsigned __int128)guest->inverse >> guest->inverse_shift) +
			     (__u64)(last >> 62) + 3;
	return 0;
}

/**
 * parkclock_guest_scale() - convert a number of the host's cycles to the guest's
 * @guest:  the guest
 * @cycles: number of cycles of the host
 */
__u64 parkclock_guest_scale(const struct parkclock_guest *guest, __u64 cycles)
{
	return (unsigned __int128)cycles * guest->ratio >> guest->ratio_shift;
}

/**
 * parkclock_guest_cycles() - convert the host's counter to the guest's
 * @guest:  the guest
 * @cycles: the host's counter
 */
__u64 parkclock_guest_cycles(const struct parkclock_guest *guest, __u64 cycles)
{
	return parkclock_guest_scale(guest, cycles) + guest->offset;
}

/* From 2^-56 ns to 2^-64 s, at most 2 units too little: 2^64 is 18446744073.709551616e9. */
static unsigned __int128 seconds(unsigned __int128 fixed)
{
	const __u64 ns = fixed >> PARKCLOCK_SHIFT;
	const __u64 frac = fixed & (PARKCLOCK_ONE_NS - 1);
	const __u64 rest = ns % NSEC_PER_SEC_;

	return ((unsigned __int128)(ns / NSEC_PER_SEC_) << 64) + rest * 18446744073ULL +
	       rest * 709551616ULL / NSEC_PER_SEC_ + (frac << 8) / NSEC_PER_SEC_;
}

/* From 2^-64 s to ns, rounded up. */
static __u64 ns_up(unsigned __int128 time)
{
	const unsigned __int128 frac = (__u64)time;

	return (__u64)(time >> 64) * NSEC_PER_SEC_ +
	       (__u64)((frac * NSEC_PER_SEC_ + ~0ULL) >> 64);
}

/**
 * parkclock_line_make() - convert a segment to a line of VMClock
 * @line:       filled in
 * @seg:        the segment, valid at @cycles
 * @rate_error: the largest difference between the host's rate and the segment's, in
 *		2^-56 ns per cycle
 * @offset_ns:  what to add to the segment's MONOTONIC
 * @guest:      the guest whose counter the line is for
 * @cycles:     the host's counter at the instant that the line is made for
 */
void parkclock_line_make(struct parkclock_line *line, const struct parkclock_segment *seg,
			 __u64 rate_error, __s64 offset_ns,
			 const struct parkclock_guest *guest, __u64 cycles)
{
	const unsigned __int128 rate = (unsigned __int128)seg->rate * guest->inverse;
	const unsigned int drop = bits_of(rate) - 64;
	unsigned __int128 back = (unsigned __int128)PARKCLOCK_SKEW_CYCLES * seg->rate;
	unsigned __int128 now = parkclock_segment_at(seg, cycles);
	__u64 begin = cycles - PARKCLOCK_SKEW_CYCLES;
	__u64 age = cycles - seg->base_cycles;

	now += (unsigned __int128)(__int128)offset_ns << PARKCLOCK_SHIFT;
	/* A line cannot begin before time 0; the host has just booted then. */
	if (now < back || cycles < PARKCLOCK_SKEW_CYCLES) {
		back = 0;
		begin = cycles;
	}
	/* The counter of this CPU may be a little behind the segment's base. */
	if ((__s64)age < 0)
		age = 0;
	line->counter = parkclock_guest_cycles(guest, begin);
	line->time = seconds(now - back);
	/* 64 bits of the rate, times 2^93 / 10^9; 64 bits of the product are the period. */
	line->period = (unsigned __int128)(__u64)(rate >> drop) * SEC_PER_NSEC >> 64;
	line->shift = 21 + guest->inverse_shift - drop;
	line->period_error = (unsigned __int128)(__u64)(((unsigned __int128)rate_error *
							 guest->inverse >> drop) + 1) *
			     SEC_PER_NSEC >> 64;
	/* Covers what was rounded down: in the rate, in the product, and here. */
	line->period_error += 4;
	line->error_ns = parkclock_error(seg->error_ns, rate_error, age) + 1;
	/* The guest's counter has whole cycles only, at the line's beginning and in a reading. */
	if (guest->lag)
		line->error_ns += (__u64)(rate >> guest->inverse_shift >> PARKCLOCK_SHIFT) + 1;
}

/**
 * parkclock_line_at() - the time that a reader computes from a line
 * @line:    the line
 * @counter: the reader's counter
 *
 * Return: the time, in 2^-64 s.
 */
unsigned __int128 parkclock_line_at(const struct parkclock_line *line, __u64 counter)
{
	return line->time +
	       ((unsigned __int128)(counter - line->counter) * line->period >> line->shift);
}

/**
 * parkclock_line_lift() - raise a line, if needed, to a least time at an instant
 * @line:    the line; lifted as a whole if its time there is less
 * @counter: the instant
 * @least:   the least time there, in 2^-64 s
 * @cycles:  number of cycles in which the line's period takes the lift out; not 0
 */
void parkclock_line_lift(struct parkclock_line *line, __u64 counter, unsigned __int128 least,
			 __u64 cycles)
{
	const __u64 limit = line->period >> PARKCLOCK_SLEW_SHIFT;
	unsigned __int128 up = least - parkclock_line_at(line, counter);
	__u64 less;

	if ((__int128)up <= 0)
		return;
	/* More than a second would not fit the shift, and reaches the limit in any case. */
	less = up >> 64 ? limit : parkclock_segment_slope(up << line->shift, cycles, limit);
	line->period -= less;
	line->period_error += less;
	/* Again, with the new period: the line begins before @counter. */
	up = least - parkclock_line_at(line, counter);
	line->time += up;
	line->error_ns += ns_up(up);
}
