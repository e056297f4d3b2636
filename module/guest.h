/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Arithmetic for guests: from the host's counter to a guest's and back, and from a segment
 * to a line of VMClock.
 *
 * This needs nothing of the kernel but its types and error numbers: the unit tests compile
 * the same source in user space.
 */
#ifndef PARKCLOCK_GUEST_H
#define PARKCLOCK_GUEST_H

#include <linux/types.h>
#include <linux/parkclock.h>

/**
 * struct parkclock_guest - a guest's terms: how its counter follows from the host's
 * @offset:        see struct parkclock_guest_tsc
 * @ratio:         see struct parkclock_guest_tsc
 * @ratio_shift:   shift of struct parkclock_guest_tsc
 * @inverse_shift: guest_shift of struct parkclock_clock
 * @inverse:       guest_inverse of struct parkclock_clock
 * @lag:           guest_lag of struct parkclock_clock
 */
struct parkclock_guest {
	__u64 offset;
	__u64 ratio;
	__u32 ratio_shift;
	__u32 inverse_shift;
	__u64 inverse;
	__u64 lag;
};

/* No guest: the reader's counter is the host's. */
#define PARKCLOCK_NO_GUEST ((struct parkclock_guest) {	\
	.ratio = 1, .inverse = 1ULL << 63, .inverse_shift = 63	\
})

/**
 * struct parkclock_line - a straight line of time, as VMClock has it
 * @counter:      the guest's counter at which the line begins
 * @period:       seconds per cycle, in 2^-(64 + @shift); 2^62 or more
 * @shift:        see @period
 * @period_error: bound of the error of @period, in the same unit
 * @time:         the time at @counter, in 2^-64 s
 * @error_ns:     bound of the error at @counter, in ns
 */
struct parkclock_line {
	__u64 counter;
	__u64 period;
	unsigned int shift;
	__u64 period_error;
	unsigned __int128 time;
	__u64 error_ns;
};

int parkclock_guest_make(struct parkclock_guest *guest, __u64 offset, __u64 ratio, __u32 shift,
			 __u64 now);
__u64 parkclock_guest_cycles(const struct parkclock_guest *guest, __u64 cycles);
__u64 parkclock_guest_scale(const struct parkclock_guest *guest, __u64 cycles);

void parkclock_line_make(struct parkclock_line *line, const struct parkclock_segment *seg,
			 __u64 rate_error, __s64 offset_ns,
			 const struct parkclock_guest *guest, __u64 cycles);
unsigned __int128 parkclock_line_at(const struct parkclock_line *line, __u64 counter);
void parkclock_line_lift(struct parkclock_line *line, __u64 counter, unsigned __int128 least,
			 __u64 cycles);

#endif
