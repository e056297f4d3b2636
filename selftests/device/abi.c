// SPDX-License-Identifier: GPL-2.0
/*
 * The ABI of include/uapi/linux/parkclock.h, repeated in literal numbers: place, size and
 * type of each field of each structure, each request and each constant.
 *
 * Checked at compile time: an error names the field that is not where it was. Checked at run
 * time: the table covers every byte of each structure, and no two requests have the same
 * number.
 *
 * Fails if a field moves, grows or changes its sign, or if a number changes: that breaks
 * programs that were compiled before. A new field that comes out of reserved space gets a line
 * here, and the reserved field gets its new place.
 */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <linux/parkclock.h>

#include "lib/harness.h"

/* 0, or an error of the compiler with this text */
#define MUST(condition, text) \
	(0 * sizeof(struct { int unused; static_assert(condition, text); }))

struct line {
	const char *what;	/* a structure, or one of its fields */
	bool is_struct;
	size_t at;
	size_t size;
};

/* Begins the fields of a structure, in their order. */
#define STRUCT(name, bytes) { \
	.what = #name, \
	.is_struct = true, \
	.size = (bytes) + MUST(sizeof(struct name) == (bytes), "size of " #name), \
}

#define FIELD(name, field, offset, bytes, type) { \
	.what = #name "." #field, \
	.at = (offset) + MUST(offsetof(struct name, field) == (offset), \
			      "place of " #name "." #field), \
	.size = (bytes) + MUST(sizeof(((struct name *)0)->field) == (bytes), \
			       "size of " #name "." #field) + \
		MUST(__builtin_types_compatible_p(__typeof__(((struct name *)0)->field), type), \
		     "type of " #name "." #field), \
}

static const struct line layout[] = {
	STRUCT(parkclock_clock, 128),
	FIELD(parkclock_clock, magic, 0, 4, __u32),
	FIELD(parkclock_clock, version, 4, 4, __u32),
	FIELD(parkclock_clock, size, 8, 4, __u32),
	FIELD(parkclock_clock, timebase, 12, 4, __u32),
	FIELD(parkclock_clock, state, 16, 8, __u64),
	FIELD(parkclock_clock, generation, 24, 8, __u64),
	FIELD(parkclock_clock, offset_ns, 32, 32, __s64[4]),
	FIELD(parkclock_clock, guest_offset, 64, 8, __u64),
	FIELD(parkclock_clock, guest_inverse, 72, 8, __u64),
	FIELD(parkclock_clock, guest_shift, 80, 8, __u64),
	FIELD(parkclock_clock, guest_lag, 88, 8, __u64),
	FIELD(parkclock_clock, guest_disruptions, 96, 8, __u64),
	FIELD(parkclock_clock, reserved, 104, 24, __u64[3]),

	STRUCT(parkclock_segment, 128),
	FIELD(parkclock_segment, base_cycles, 0, 8, __u64),
	FIELD(parkclock_segment, base_ns, 8, 8, __u64),
	FIELD(parkclock_segment, base_frac, 16, 8, __u64),
	FIELD(parkclock_segment, rate, 24, 8, __u64),
	FIELD(parkclock_segment, valid_cycles, 32, 8, __u64),
	FIELD(parkclock_segment, epoch, 40, 8, __u64),
	FIELD(parkclock_segment, error_ns, 48, 8, __u64),
	FIELD(parkclock_segment, error_rate, 56, 8, __u64),
	FIELD(parkclock_segment, offset_ns, 64, 32, __s64[4]),
	FIELD(parkclock_segment, generation, 96, 8, __u64),
	FIELD(parkclock_segment, reserved, 104, 24, __u64[3]),

	STRUCT(parkclock_timebase, 384),
	FIELD(parkclock_timebase, magic, 0, 4, __u32),
	FIELD(parkclock_timebase, version, 4, 4, __u32),
	FIELD(parkclock_timebase, size, 8, 4, __u32),
	FIELD(parkclock_timebase, counter, 12, 4, __u32),
	FIELD(parkclock_timebase, counter_hz, 16, 8, __u64),
	FIELD(parkclock_timebase, reserved0, 24, 40, __u64[5]),
	FIELD(parkclock_timebase, seq, 64, 8, __u64),
	FIELD(parkclock_timebase, epoch, 72, 8, __u64),
	FIELD(parkclock_timebase, reason, 80, 8, __u64),
	FIELD(parkclock_timebase, disruptions, 88, 8, __u64),
	FIELD(parkclock_timebase, reserved1, 96, 32, __u64[4]),
	FIELD(parkclock_timebase, segment, 128, 256, struct parkclock_segment[2]),

	STRUCT(parkclock_reading, 32),
	FIELD(parkclock_reading, ns, 0, 8, __s64),
	FIELD(parkclock_reading, cycles, 8, 8, __u64),
	FIELD(parkclock_reading, error_ns, 16, 8, __u64),
	FIELD(parkclock_reading, generation, 24, 8, __u64),

	STRUCT(parkclock_read, 64),
	FIELD(parkclock_read, clock_id, 0, 4, __s32),
	FIELD(parkclock_read, flags, 4, 4, __u32),
	FIELD(parkclock_read, reading, 8, 32, struct parkclock_reading),
	FIELD(parkclock_read, reserved, 40, 24, __u64[3]),

	STRUCT(parkclock_cgroup, 32),
	FIELD(parkclock_cgroup, fd, 0, 4, __s32),
	FIELD(parkclock_cgroup, flags, 4, 4, __u32),
	FIELD(parkclock_cgroup, reserved, 8, 24, __u64[3]),

	STRUCT(parkclock_query, 256),
	FIELD(parkclock_query, state, 0, 4, __u32),
	FIELD(parkclock_query, flags, 4, 4, __u32),
	FIELD(parkclock_query, holds, 8, 8, __u64),
	FIELD(parkclock_query, references, 16, 8, __u64),
	FIELD(parkclock_query, interval_ns, 24, 8, __u64),
	FIELD(parkclock_query, window_ns, 32, 8, __u64),
	FIELD(parkclock_query, slack_ns, 40, 8, __u64),
	FIELD(parkclock_query, counter_hz, 48, 8, __u64),
	FIELD(parkclock_query, cycles, 56, 8, __u64),
	FIELD(parkclock_query, window_left_ns, 64, 8, __u64),
	FIELD(parkclock_query, rate, 72, 8, __u64),
	FIELD(parkclock_query, error_ns, 80, 8, __u64),
	FIELD(parkclock_query, generation, 88, 8, __u64),
	FIELD(parkclock_query, parks, 96, 8, __u64),
	FIELD(parkclock_query, wakes, 104, 8, __u64),
	FIELD(parkclock_query, refreshes, 112, 8, __u64),
	FIELD(parkclock_query, expirations, 120, 8, __u64),
	FIELD(parkclock_query, invalidations, 128, 8, __u64),
	FIELD(parkclock_query, slow_reads, 136, 8, __u64),
	FIELD(parkclock_query, tasks, 144, 8, __u64),
	FIELD(parkclock_query, running, 152, 8, __u64),
	FIELD(parkclock_query, cpu_ns, 160, 8, __u64),
	FIELD(parkclock_query, all_tasks, 168, 8, __u64),
	FIELD(parkclock_query, all_running, 176, 8, __u64),
	FIELD(parkclock_query, run_transitions, 184, 8, __u64),
	FIELD(parkclock_query, run_wakes, 192, 8, __u64),
	FIELD(parkclock_query, run_missed, 200, 8, __u64),
	FIELD(parkclock_query, reason, 208, 8, __u64),
	FIELD(parkclock_query, boot_ns, 216, 8, __s64),
	FIELD(parkclock_query, clock, 224, 8, __u64),
	FIELD(parkclock_query, late_ticks, 232, 8, __u64),
	FIELD(parkclock_query, reserved, 240, 16, __u64[2]),

	STRUCT(parkclock_register, 32),
	FIELD(parkclock_register, tid, 0, 4, __s32),
	FIELD(parkclock_register, flags, 4, 4, __u32),
	FIELD(parkclock_register, reserved, 8, 24, __u64[3]),

	STRUCT(parkclock_limit, 16),
	FIELD(parkclock_limit, user_used, 0, 4, __u32),
	FIELD(parkclock_limit, user_most, 4, 4, __u32),
	FIELD(parkclock_limit, host_used, 8, 4, __u32),
	FIELD(parkclock_limit, host_most, 12, 4, __u32),

	STRUCT(parkclock_limits, 160),
	FIELD(parkclock_limits, limit, 0, 128, struct parkclock_limit[8]),
	FIELD(parkclock_limits, reserved, 128, 32, __u64[4]),

	STRUCT(parkclock_accuracy, 576),
	FIELD(parkclock_accuracy, steady, 0, 256, __u64[32]),
	FIELD(parkclock_accuracy, changed, 256, 256, __u64[32]),
	FIELD(parkclock_accuracy, steady_worst_ns, 512, 8, __u64),
	FIELD(parkclock_accuracy, changed_worst_ns, 520, 8, __u64),
	FIELD(parkclock_accuracy, reserved, 528, 48, __u64[6]),

	STRUCT(parkclock_offsets, 32),
	FIELD(parkclock_offsets, monotonic_ns, 0, 8, __s64),
	FIELD(parkclock_offsets, boottime_ns, 8, 8, __s64),
	FIELD(parkclock_offsets, reserved, 16, 16, __u64[2]),

	STRUCT(parkclock_saved, 80),
	FIELD(parkclock_saved, magic, 0, 4, __u32),
	FIELD(parkclock_saved, version, 4, 4, __u32),
	FIELD(parkclock_saved, size, 8, 4, __u32),
	FIELD(parkclock_saved, checksum, 12, 4, __u32),
	FIELD(parkclock_saved, monotonic_ns, 16, 8, __s64),
	FIELD(parkclock_saved, boottime_ns, 24, 8, __s64),
	FIELD(parkclock_saved, realtime_ns, 32, 8, __s64),
	FIELD(parkclock_saved, boot_ns, 40, 8, __s64),
	FIELD(parkclock_saved, generation, 48, 8, __u64),
	FIELD(parkclock_saved, reserved, 56, 24, __u64[3]),

	STRUCT(parkclock_restore, 112),
	FIELD(parkclock_restore, saved, 0, 80, struct parkclock_saved),
	FIELD(parkclock_restore, gap, 80, 4, __u32),
	FIELD(parkclock_restore, reserved0, 84, 4, __u32),
	FIELD(parkclock_restore, reserved1, 88, 24, __u64[3]),

	STRUCT(parkclock_guest_tsc, 48),
	FIELD(parkclock_guest_tsc, offset, 0, 8, __u64),
	FIELD(parkclock_guest_tsc, ratio, 8, 8, __u64),
	FIELD(parkclock_guest_tsc, shift, 16, 4, __u32),
	FIELD(parkclock_guest_tsc, reserved0, 20, 4, __u32),
	FIELD(parkclock_guest_tsc, disruptions, 24, 8, __u64),
	FIELD(parkclock_guest_tsc, reserved1, 32, 16, __u64[2]),

	STRUCT(parkclock_timer, 32),
	FIELD(parkclock_timer, clock_id, 0, 4, __s32),
	FIELD(parkclock_timer, flags, 4, 4, __u32),
	FIELD(parkclock_timer, reserved, 8, 24, __u64[3]),

	STRUCT(parkclock_expired, 16),
	FIELD(parkclock_expired, expirations, 0, 8, __u64),
	FIELD(parkclock_expired, number, 8, 8, __u64),

	STRUCT(parkclock_timer_set, 88),
	FIELD(parkclock_timer_set, flags, 0, 4, __u32),
	FIELD(parkclock_timer_set, reserved0, 4, 4, __u32),
	FIELD(parkclock_timer_set, value_ns, 8, 8, __s64),
	FIELD(parkclock_timer_set, interval_ns, 16, 8, __s64),
	FIELD(parkclock_timer_set, slack_ns, 24, 8, __s64),
	FIELD(parkclock_timer_set, number, 32, 8, __u64),
	FIELD(parkclock_timer_set, old_left_ns, 40, 8, __s64),
	FIELD(parkclock_timer_set, old_interval_ns, 48, 8, __s64),
	FIELD(parkclock_timer_set, old_expirations, 56, 8, __u64),
	FIELD(parkclock_timer_set, reserved, 64, 24, __u64[3]),

	STRUCT(parkclock_timer_state, 88),
	FIELD(parkclock_timer_state, clock_id, 0, 4, __s32),
	FIELD(parkclock_timer_state, flags, 4, 4, __u32),
	FIELD(parkclock_timer_state, expiry_ns, 8, 8, __s64),
	FIELD(parkclock_timer_state, left_ns, 16, 8, __s64),
	FIELD(parkclock_timer_state, interval_ns, 24, 8, __s64),
	FIELD(parkclock_timer_state, slack_ns, 32, 8, __s64),
	FIELD(parkclock_timer_state, number, 40, 8, __u64),
	FIELD(parkclock_timer_state, expirations, 48, 8, __u64),
	FIELD(parkclock_timer_state, generation, 56, 8, __u64),
	FIELD(parkclock_timer_state, reserved, 64, 24, __u64[3]),
};

struct request {
	const char *what;
	unsigned int value;
};

#define REQUEST(name, number) { \
	.what = #name, \
	.value = (number) + MUST((name) == (number), #name), \
}

static const struct request requests[] = {
	REQUEST(PARKCLOCK_IOC_QUERY, 0x8100bc00),
	REQUEST(PARKCLOCK_IOC_READ, 0xc040bc01),
	REQUEST(PARKCLOCK_IOC_HOLD, 0x0000bc02),
	REQUEST(PARKCLOCK_IOC_RELEASE, 0x0000bc03),
	REQUEST(PARKCLOCK_IOC_REGISTER, 0x4020bc04),
	REQUEST(PARKCLOCK_IOC_UNREGISTER, 0x4020bc05),
	REQUEST(PARKCLOCK_IOC_ACCURACY, 0x8240bc06),
	REQUEST(PARKCLOCK_IOC_EPOCH, 0x0000bc07),
	REQUEST(PARKCLOCK_IOC_OFFSETS, 0x4020bc08),
	REQUEST(PARKCLOCK_IOC_STOP, 0x0000bc09),
	REQUEST(PARKCLOCK_IOC_START, 0x0000bc0a),
	REQUEST(PARKCLOCK_IOC_SAVE, 0x8050bc0b),
	REQUEST(PARKCLOCK_IOC_RESTORE, 0x4070bc0c),
	REQUEST(PARKCLOCK_IOC_VIEW, 0x0000bc0d),
	REQUEST(PARKCLOCK_IOC_SET_GUEST_TSC, 0x4030bc0e),
	REQUEST(PARKCLOCK_IOC_VMCLOCK, 0x0000bc0f),
	REQUEST(PARKCLOCK_IOC_LIMITS, 0x80a0bc10),
	REQUEST(PARKCLOCK_IOC_TIMER, 0x4020bc11),
	REQUEST(PARKCLOCK_IOC_TIMER_SET, 0xc058bc12),
	REQUEST(PARKCLOCK_IOC_TIMER_GET, 0x8058bc13),
	REQUEST(PARKCLOCK_IOC_TIMER_RESTORE, 0xc058bc14),
	REQUEST(PARKCLOCK_IOC_REGISTER_CGROUP, 0x4020bc15),
	REQUEST(PARKCLOCK_IOC_UNREGISTER_CGROUP, 0x4020bc16),
};

#define CONSTANT(name, number)	static_assert((name) == (number), #name)

CONSTANT(PARKCLOCK_PAGE_SIZE, 4096);
CONSTANT(PARKCLOCK_MAP_SIZE, 8192);
CONSTANT(PARKCLOCK_CLOCK_MAGIC, 0x4b4c4350);
CONSTANT(PARKCLOCK_TIMEBASE_MAGIC, 0x42544350);
CONSTANT(PARKCLOCK_VERSION, 2);
CONSTANT(PARKCLOCK_COUNTER_X86_TSC, 1);
CONSTANT(PARKCLOCK_SHIFT, 56);
CONSTANT(PARKCLOCK_MONOTONIC, 0);
CONSTANT(PARKCLOCK_REALTIME, 1);
CONSTANT(PARKCLOCK_BOOTTIME, 2);
CONSTANT(PARKCLOCK_TAI, 3);
CONSTANT(PARKCLOCK_CLOCKS, 4);
CONSTANT(PARKCLOCK_STATE_CONDITIONS, 0xff);
CONSTANT(PARKCLOCK_STATE_STOPPED, 0x1);
CONSTANT(PARKCLOCK_STATE_CHANGING, 0x2);
CONSTANT(PARKCLOCK_STATE_GUEST, 0x4);
CONSTANT(PARKCLOCK_REASON_NONE, 0);
CONSTANT(PARKCLOCK_REASON_STEP, 1);
CONSTANT(PARKCLOCK_REASON_LEAP, 2);
CONSTANT(PARKCLOCK_REASON_TAI, 3);
CONSTANT(PARKCLOCK_REASON_SUSPEND, 4);
CONSTANT(PARKCLOCK_REASON_COUNTER, 5);
CONSTANT(PARKCLOCK_REASON_FORK, 6);
CONSTANT(PARKCLOCK_IOC_TYPE, 0xbc);
CONSTANT(PARKCLOCK_STOPPED, 0);
CONSTANT(PARKCLOCK_PARKED, 1);
CONSTANT(PARKCLOCK_IDLE, 2);
CONSTANT(PARKCLOCK_ACTIVE, 3);
CONSTANT(PARKCLOCK_COUNTER_UNUSABLE, 0x1);
CONSTANT(PARKCLOCK_CLOCK_STOPPED, 0x2);
CONSTANT(PARKCLOCK_HOST_HIDDEN, 0x4);
CONSTANT(PARKCLOCK_HOLD_MAX, 65536);
CONSTANT(PARKCLOCK_TASK_PROCESS, 0x1);
CONSTANT(PARKCLOCK_TASK_INHERIT, 0x2);
CONSTANT(PARKCLOCK_TASK_CLOCKS_MAX, 4);
CONSTANT(PARKCLOCK_CGROUP_CLOCKS_MAX, 4);
CONSTANT(PARKCLOCK_CGROUP_LEVELS, 32);
CONSTANT(PARKCLOCK_LIMIT_CLOCKS, 0);
CONSTANT(PARKCLOCK_LIMIT_VIEWS, 1);
CONSTANT(PARKCLOCK_LIMIT_TASKS, 2);
CONSTANT(PARKCLOCK_LIMIT_HOLDS, 3);
CONSTANT(PARKCLOCK_LIMIT_VMCLOCKS, 4);
CONSTANT(PARKCLOCK_LIMIT_TIMERS, 5);
CONSTANT(PARKCLOCK_LIMIT_CGROUPS, 6);
CONSTANT(PARKCLOCK_LIMITS, 7);
CONSTANT(PARKCLOCK_CPUTIME_ID, 0x43505500);
CONSTANT(PARKCLOCK_VIEW_TIMERS, 0x1);
CONSTANT(PARKCLOCK_VIEW_KEEP, 0x2);
CONSTANT(PARKCLOCK_TIMER_NONBLOCK, 0x1);
CONSTANT(PARKCLOCK_TIMER_ABSOLUTE, 0x1);
CONSTANT(PARKCLOCK_TIMER_CANCEL, 0x2);
CONSTANT(PARKCLOCK_BINS, 32);
CONSTANT(PARKCLOCK_MOST_NS, 0x4000000000000000);
CONSTANT(PARKCLOCK_GAP_INCLUDE, 1);
CONSTANT(PARKCLOCK_GAP_FREEZE, 2);
CONSTANT(PARKCLOCK_SAVED_MAGIC, 0x56534350);
CONSTANT(PARKCLOCK_SAVED_VERSION, 1);
CONSTANT(PARKCLOCK_VMCLOCK_OFFSET, 8192);
CONSTANT(PARKCLOCK_EXPIRED, -1);
CONSTANT(PARKCLOCK_IS_STOPPED, -2);

TEST(layout_forgets_no_byte)
{
	size_t next = 0, end = 0;

	for (size_t i = 0; i < ARRAY_SIZE(layout); i++) {
		const struct line *l = &layout[i];

		if (l->is_struct) {
			EXPECT_EQ(end, next)
				TH_LOG("what is before %s ends elsewhere", l->what);
			next = 0;
			end = l->size;
			continue;
		}
		EXPECT_EQ(next, l->at) TH_LOG("something is missing before %s", l->what);
		next = l->at + l->size;
	}
	EXPECT_EQ(end, next) TH_LOG("the last structure ends elsewhere");
}

TEST(requests_differ)
{
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		EXPECT_EQ(PARKCLOCK_IOC_TYPE, _IOC_TYPE(requests[i].value))
			TH_LOG("%s", requests[i].what);
		for (size_t j = 0; j < i; j++) {
			EXPECT_NE(requests[i].value, requests[j].value)
				TH_LOG("%s is %s", requests[i].what, requests[j].what);
		}
	}
}

/* A clock's id for each place, and the other way round */
TEST(places_of_clocks)
{
	EXPECT_EQ(1, parkclock_index(0));
	EXPECT_EQ(0, parkclock_index(1));
	EXPECT_EQ(2, parkclock_index(7));
	EXPECT_EQ(3, parkclock_index(11));
}

TEST_HARNESS_MAIN
