/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A reader of VMClock, written from its specification, and from nothing of the module's
 */
#ifndef PARKCLOCK_SELFTESTS_VMCLOCK_H
#define PARKCLOCK_SELFTESTS_VMCLOCK_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "clock.h"
#include "look.h"

/* The page, version 1; little-endian, as this machine is */
struct vmclock {
	uint32_t magic;
	uint32_t size;
	uint16_t version;
	uint8_t counter_id;
	uint8_t time_type;
	uint32_t seq_count;
	uint64_t disruption_marker;
	uint64_t flags;
	uint8_t pad[2];
	uint8_t clock_status;
	uint8_t leap_second_smearing_hint;
	int16_t tai_offset_sec;
	uint8_t leap_indicator;
	uint8_t counter_period_shift;
	uint64_t counter_value;
	uint64_t counter_period_frac_sec;
	uint64_t counter_period_esterror_rate_frac_sec;
	uint64_t counter_period_maxerror_rate_frac_sec;
	uint64_t time_sec;
	uint64_t time_frac_sec;
	uint64_t time_esterror_nanosec;
	uint64_t time_maxerror_nanosec;
	uint64_t vm_generation_counter;
};

static_assert(sizeof(struct vmclock) == 112, "struct vmclock");

#define VMCLOCK_MAGIC		0x4b4c4356
#define TYPE_UTC		0
#define TYPE_MONOTONIC		2
#define STATUS_SYNCHRONIZED	2
#define STATUS_FREERUNNING	3
#define STATUS_UNRELIABLE	4
#define TAI_OFFSET_VALID	0x01
#define PERIOD_ESTERROR_VALID	0x08
#define PERIOD_MAXERROR_VALID	0x10
#define TIME_ESTERROR_VALID	0x20
#define TIME_MAXERROR_VALID	0x40
#define NEVER_BACK		0x80

/* How the counter of a guest follows from the TSC. This process plays the guest. */
struct guest_counter {
	uint64_t offset;
	uint64_t ratio;
	uint32_t shift;
};

struct vmreading {
	struct vmclock page;
	uint64_t cycles;
	__int128 time;		/* in 2^-64 s */
	int64_t ns;
	int64_t error_ns;
};

uint64_t guest_cycles(const struct guest_counter *g, uint64_t cycles);

/* As try_guest_tsc() */
int set_guest(int fd, const struct guest_counter *g);

const struct vmclock *map_vmclock(int fd);

/*
 * Reads all that is in the page, and the counter, at one instant. False if the page says
 * that it is unreliable.
 */
bool vm_read(const struct vmclock *v, const struct guest_counter *g, struct vmreading *r);

bool is_reliable(const struct vmclock *v);

/*
 * As look(): reads, and holds that against the host's clock, to which a clock of its own may
 * have an offset.
 */
enum seen vm_look(const struct pclock *c, const struct vmclock *v,
		  const struct guest_counter *g, int64_t offset_ns, struct vmreading *r);

/* Looks until the host's clock does not change meanwhile. */
enum seen vm_look_again(const struct pclock *c, const struct vmclock *v,
			const struct guest_counter *g, int64_t offset_ns);

/*
 * With a reference: is the page right? One that is unreliable may become reliable first: the
 * next refresh may be late.
 */
bool vm_right_when_held(const struct pclock *c, const struct vmclock *v,
			const struct guest_counter *g, int64_t offset_ns);

/* Waits for the next refresh, if it is late. */
bool becomes_reliable(const struct vmclock *v);

/* Waits for the refresh that finds that nobody holds the clock. */
bool becomes_unreliable(const struct vmclock *v);

#endif
