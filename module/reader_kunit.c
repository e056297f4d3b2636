// SPDX-License-Identifier: GPL-2.0
/*
 * The inline readers and the layout, on a mapping made by hand.
 *
 * Each reason for which a reader must find no time is tried alone, on a mapping that is
 * valid otherwise. Fails if a reader forgets one of its checks.
 */
#include <kunit/test.h>
#include <linux/parkclock.h>

#define OFFSET(type, field, where) \
	static_assert(offsetof(struct type, field) == (where), #type "." #field " has moved")

OFFSET(parkclock_clock, magic, 0);
OFFSET(parkclock_clock, version, 4);
OFFSET(parkclock_clock, size, 8);
OFFSET(parkclock_clock, timebase, 12);
OFFSET(parkclock_clock, state, 16);
OFFSET(parkclock_clock, generation, 24);
OFFSET(parkclock_clock, offset_ns, 32);
OFFSET(parkclock_clock, guest_offset, 64);
OFFSET(parkclock_clock, guest_inverse, 72);
OFFSET(parkclock_clock, guest_shift, 80);
OFFSET(parkclock_clock, guest_lag, 88);
OFFSET(parkclock_clock, guest_disruptions, 96);
OFFSET(parkclock_clock, reserved, 104);
static_assert(sizeof(struct parkclock_clock) == 128, "struct parkclock_clock");

OFFSET(parkclock_segment, base_cycles, 0);
OFFSET(parkclock_segment, base_ns, 8);
OFFSET(parkclock_segment, base_frac, 16);
OFFSET(parkclock_segment, rate, 24);
OFFSET(parkclock_segment, valid_cycles, 32);
OFFSET(parkclock_segment, epoch, 40);
OFFSET(parkclock_segment, error_ns, 48);
OFFSET(parkclock_segment, error_rate, 56);
OFFSET(parkclock_segment, offset_ns, 64);
OFFSET(parkclock_segment, generation, 96);
OFFSET(parkclock_segment, reserved, 104);
static_assert(sizeof(struct parkclock_segment) == 128, "struct parkclock_segment");

OFFSET(parkclock_timebase, magic, 0);
OFFSET(parkclock_timebase, version, 4);
OFFSET(parkclock_timebase, size, 8);
OFFSET(parkclock_timebase, counter, 12);
OFFSET(parkclock_timebase, counter_hz, 16);
OFFSET(parkclock_timebase, reserved0, 24);
OFFSET(parkclock_timebase, seq, 64);
OFFSET(parkclock_timebase, epoch, 72);
OFFSET(parkclock_timebase, reason, 80);
OFFSET(parkclock_timebase, disruptions, 88);
OFFSET(parkclock_timebase, reserved1, 96);
OFFSET(parkclock_timebase, segment, 128);
static_assert(sizeof(struct parkclock_timebase) == 384, "struct parkclock_timebase");

static_assert(sizeof(struct parkclock_read) == 64, "read");
static_assert(sizeof(struct parkclock_query) == 256, "query");
static_assert(sizeof(struct parkclock_accuracy) == 576, "accuracy");
static_assert(PARKCLOCK_IOC_QUERY == 0x8100bc00, "query");
static_assert(PARKCLOCK_IOC_READ == 0xc040bc01, "read");
static_assert(PARKCLOCK_IOC_HOLD == 0xbc02, "hold");
static_assert(PARKCLOCK_IOC_RELEASE == 0xbc03, "release");
static_assert(sizeof(struct parkclock_offsets) == 32, "offsets");
static_assert(sizeof(struct parkclock_saved) == 80, "saved");
static_assert(sizeof(struct parkclock_restore) == 112, "restore");
static_assert(PARKCLOCK_IOC_EPOCH == 0xbc07, "epoch");
static_assert(PARKCLOCK_IOC_STOP == 0xbc09, "stop");
static_assert(PARKCLOCK_IOC_START == 0xbc0a, "start");
static_assert(PARKCLOCK_IOC_VIEW == 0xbc0d, "view");
static_assert(sizeof(struct parkclock_guest_tsc) == 48, "guest_tsc");
static_assert(PARKCLOCK_IOC_SET_GUEST_TSC == 0x4030bc0e, "set_guest_tsc");
static_assert(PARKCLOCK_IOC_VMCLOCK == 0xbc0f, "vmclock");

static const int ids[PARKCLOCK_CLOCKS] = { 1, 0, 7, 11 };

struct mapping {
	u64 map[PARKCLOCK_MAP_SIZE / 8];
	struct parkclock_clock *clock;
	struct parkclock_timebase *timebase;
	struct parkclock_segment *seg;
};

/* A valid mapping; the copy that may not be read would give a wrong time. */
static int good_mapping(struct kunit *test)
{
	static struct mapping mapping;
	struct mapping *m = &mapping;
	__u64 zero;

	test->priv = m;
	memset(m->map, 0, sizeof(m->map));
	m->clock = (struct parkclock_clock *)m->map;
	m->timebase = (struct parkclock_timebase *)((char *)m->map + PARKCLOCK_PAGE_SIZE);
	m->clock->magic = PARKCLOCK_CLOCK_MAGIC;
	m->clock->version = PARKCLOCK_VERSION;
	m->clock->size = sizeof(*m->clock);
	m->clock->timebase = PARKCLOCK_PAGE_SIZE;
	m->clock->state = 0x4200;
	m->clock->generation = 10;
	m->timebase->magic = PARKCLOCK_TIMEBASE_MAGIC;
	m->timebase->version = PARKCLOCK_VERSION;
	m->timebase->size = sizeof(*m->timebase);
	m->timebase->counter = PARKCLOCK_COUNTER_X86_TSC;
	m->timebase->seq = 7;
	m->timebase->epoch = 5;
	m->seg = &m->timebase->segment[1];
	*m->seg = (struct parkclock_segment) {
		.base_cycles = __parkclock_tsc(1, &zero),
		.base_ns = 1000000000000,
		.rate = 0,	/* the time stands still, so the test knows it */
		.valid_cycles = 1ULL << 50,
		.epoch = 5,
		.error_ns = 3,
		.generation = 4,
	};
	for (int i = 1; i < PARKCLOCK_CLOCKS; i++)
		m->seg->offset_ns[i] = i * 1000000000LL;
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		m->clock->offset_ns[i] = -i;
	m->timebase->segment[0] = *m->seg;
	m->timebase->segment[0].base_ns = 1;
	return 0;
}

static int times(const void *map)
{
	struct parkclock_reading r;
	int n = 0;

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		n += parkclock_page_read(map, ids[i]) >= 0;
		n += parkclock_page_read_relaxed(map, ids[i]) >= 0;
		n += parkclock_page_read_bound(map, ids[i], &r) >= 0;
	}
	return n;
}

static void reads(struct kunit *test)
{
	struct mapping *m = test->priv;
	struct parkclock_reading r;

	KUNIT_EXPECT_EQ(test, 1, parkclock_usable(m->map));
	KUNIT_EXPECT_EQ(test, 3 * PARKCLOCK_CLOCKS, times(m->map));
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		s64 ns = 1000000000000 + i * 1000000000LL - i;

		KUNIT_EXPECT_EQ(test, ns, parkclock_page_read(m->map, ids[i]));
		KUNIT_EXPECT_EQ(test, ns, parkclock_page_read_relaxed(m->map, ids[i]));
		KUNIT_EXPECT_EQ(test, ns, parkclock_page_read_bound(m->map, ids[i], &r));
		KUNIT_EXPECT_EQ(test, ns, r.ns);
		KUNIT_EXPECT_EQ(test, 3, r.error_ns);
		KUNIT_EXPECT_EQ(test, 14, r.generation);
		KUNIT_EXPECT_GE(test, r.cycles, m->seg->base_cycles);
	}
	m->timebase->seq = 8;
	KUNIT_EXPECT_EQ(test, 1, parkclock_page_read(m->map, 1));
}

static void computes(struct kunit *test)
{
	struct mapping *m = test->priv;
	struct parkclock_reading r;

	m->seg->rate = (1ULL << 56) - 1;
	m->seg->base_frac = (1ULL << 56) - 1;
	m->seg->error_rate = 1;
	KUNIT_ASSERT_NE(test, PARKCLOCK_EXPIRED, parkclock_page_read_bound(m->map, 1, &r));
	/* delta * (1 - 2^-56) + 1 - 2^-56 is just below delta + 1 */
	KUNIT_EXPECT_EQ(test, 1000000000000 + r.cycles - m->seg->base_cycles, r.ns);
	/* even the smallest growth of the bound is rounded up */
	KUNIT_EXPECT_EQ(test, 4, r.error_ns);
}

static void range(struct kunit *test)
{
	const s64 most = ~0ULL >> 1;
	struct mapping *m = test->priv;
	struct parkclock_reading r = { .ns = 5, .error_ns = 5 };
	__s64 earliest = 77, latest = 88;

	KUNIT_EXPECT_EQ(test, 1000000000000,
			parkclock_page_read_range(m->map, 1, &earliest, &latest));
	KUNIT_EXPECT_EQ(test, 999999999997, earliest);
	KUNIT_EXPECT_EQ(test, 1000000000003, latest);
	m->seg->valid_cycles = 0;
	KUNIT_EXPECT_EQ(test, PARKCLOCK_EXPIRED,
			parkclock_page_read_range(m->map, 1, &earliest, &latest));
	KUNIT_EXPECT_EQ(test, 999999999997, earliest);
	KUNIT_EXPECT_EQ(test, 1000000000003, latest);

	/* Neither end leaves the range of times. */
	KUNIT_EXPECT_EQ(test, 0, parkclock_earliest(&r));
	r.error_ns = ~0ULL;
	KUNIT_EXPECT_EQ(test, 0, parkclock_earliest(&r));
	KUNIT_EXPECT_EQ(test, most, parkclock_latest(&r));
	r = (struct parkclock_reading){ .ns = most - 7, .error_ns = 7 };
	KUNIT_EXPECT_EQ(test, most, parkclock_latest(&r));
	KUNIT_EXPECT_EQ(test, most - 14, parkclock_earliest(&r));
	r.error_ns = 8;
	KUNIT_EXPECT_EQ(test, most, parkclock_latest(&r));
}

static void refuses_other_clocks(struct kunit *test)
{
	struct mapping *m = test->priv;
	struct parkclock_reading r = { .ns = 77 };

	for (int id = -70; id < 70; id++) {
		if (id == 0 || id == 1 || id == 7 || id == 11)
			continue;
		KUNIT_EXPECT_EQ(test, PARKCLOCK_EXPIRED, parkclock_page_read(m->map, id));
		KUNIT_EXPECT_EQ(test, PARKCLOCK_EXPIRED, parkclock_page_read_relaxed(m->map, id));
		KUNIT_EXPECT_EQ(test, PARKCLOCK_EXPIRED, parkclock_page_read_bound(m->map, id, &r));
	}
	KUNIT_EXPECT_EQ(test, 77, r.ns);
}

static void refuses_no_window(struct kunit *test)
{
	struct mapping *m = test->priv;

	m->seg->valid_cycles = 0;
	KUNIT_EXPECT_EQ(test, 0, times(m->map));
}

static void refuses_after_the_window(struct kunit *test)
{
	struct mapping *m = test->priv;

	/* The window ends now. */
	__u64 zero, now = __parkclock_tsc(1, &zero);

	m->seg->valid_cycles = now - m->seg->base_cycles;
	KUNIT_EXPECT_EQ(test, 0, times(m->map));
}

static void refuses_a_counter_that_went_back(struct kunit *test)
{
	struct mapping *m = test->priv;

	m->seg->base_cycles += 1ULL << 49;
	KUNIT_EXPECT_EQ(test, 0, times(m->map));
}

static void refuses_another_epoch(struct kunit *test)
{
	struct mapping *m = test->priv;

	m->timebase->epoch++;
	KUNIT_EXPECT_EQ(test, 0, times(m->map));
	m->timebase->epoch -= 2;
	KUNIT_EXPECT_EQ(test, 0, times(m->map));
}

static void refuses_conditions(struct kunit *test)
{
	struct mapping *m = test->priv;

	for (int bit = 0; bit < 8; bit++) {
		s64 why = bit ? PARKCLOCK_EXPIRED : PARKCLOCK_IS_STOPPED;

		m->clock->state = 1ULL << bit | 0x4200;
		KUNIT_EXPECT_EQ(test, 0, times(m->map));
		KUNIT_EXPECT_EQ(test, why, parkclock_page_read(m->map, 1));
	}
	/* Both STOPPED and CHANGING: the reader reports STOPPED, which says more. */
	m->clock->state = PARKCLOCK_STATE_CONDITIONS;
	KUNIT_EXPECT_EQ(test, PARKCLOCK_IS_STOPPED, parkclock_page_read(m->map, 1));
	for (int bit = 8; bit < 64; bit++) {
		m->clock->state = 1ULL << bit;
		KUNIT_EXPECT_EQ(test, 3 * PARKCLOCK_CLOCKS, times(m->map));
	}
}

/* The same as times(), by a guest's readers. */
static int guest_times(const void *map)
{
	struct parkclock_reading r;
	int n = 0;

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		n += parkclock_guest_read(map, ids[i]) >= 0;
		n += parkclock_guest_read_bound(map, ids[i], &r) >= 0;
	}
	return n;
}

#define ALL_GUEST_TIMES	(2 * PARKCLOCK_CLOCKS)

/* The counter is a guest's, three times as fast as its host's. */
static void make_guest(struct mapping *m)
{
	m->clock->state |= PARKCLOCK_STATE_GUEST;
	m->clock->guest_offset = -(1ULL << 40);
	m->clock->guest_inverse = 6148914691236517205ULL;	/* 2^64 / 3 */
	m->clock->guest_shift = 64;
	m->clock->guest_lag = 3;
	m->clock->guest_disruptions = 8;
	m->timebase->disruptions = 8;
	m->seg->base_cycles = (m->seg->base_cycles + (1ULL << 40)) / 3;
}

static void guest_reads(struct kunit *test)
{
	struct mapping *m = test->priv;
	struct parkclock_reading r;
	u64 host;

	make_guest(m);
	KUNIT_EXPECT_EQ(test, 1, parkclock_usable(m->map));
	KUNIT_EXPECT_EQ(test, ALL_GUEST_TIMES, guest_times(m->map));
	/* No reader of the host uses the page. */
	KUNIT_EXPECT_EQ(test, 0, times(m->map));
	KUNIT_EXPECT_EQ(test, PARKCLOCK_EXPIRED, parkclock_page_read(m->map, 1));
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		s64 ns = 1000000000000 + i * 1000000000LL - i;

		KUNIT_EXPECT_EQ(test, ns, parkclock_guest_read(m->map, ids[i]));
		KUNIT_EXPECT_EQ(test, ns, parkclock_guest_read_bound(m->map, ids[i], &r));
	}
	m->seg->rate = 5ULL << 56;
	m->seg->error_rate = 1ULL << 55;
	KUNIT_ASSERT_GT(test, parkclock_guest_read_bound(m->map, 1, &r), 0LL);
	host = (r.cycles + (1ULL << 40)) / 3;
	/* The inverse is a little less than a third. */
	KUNIT_EXPECT_GE(test, 1000000000000 + 5 * (host - m->seg->base_cycles), r.ns);
	KUNIT_EXPECT_GE(test, r.ns, 1000000000000 + 5 * (host - m->seg->base_cycles - 1));
	/* 3 ns; half a ns per cycle, for delta and 3 cycles of lag; 15 ns for the lag itself. */
	KUNIT_EXPECT_EQ(test, 3 + ((r.ns - 1000000000000) / 5 + 3 + 1) / 2 + 15, r.error_ns);
	KUNIT_EXPECT_EQ(test, 14, r.generation);
}

/* The converted counter may be behind the host's, and so behind the base, by the lag. */
static void guest_before_the_base(struct kunit *test)
{
	struct mapping *m = test->priv;
	struct parkclock_reading r;

	make_guest(m);
	/* The converted counter is 0 at any instant. */
	m->clock->guest_inverse = 1ULL << 62;
	m->clock->guest_shift = 127;
	m->clock->guest_lag = 7;
	m->seg->rate = 1ULL << 56;
	for (u64 base = 0; base <= 7; base++) {
		m->seg->base_cycles = base;
		KUNIT_EXPECT_EQ(test, 1000000000000, parkclock_guest_read_bound(m->map, 1, &r));
		KUNIT_EXPECT_EQ(test, 3 + 7, r.error_ns);
	}
	m->seg->base_cycles = 8;
	KUNIT_EXPECT_EQ(test, 0, guest_times(m->map));
	/* The lag makes the window's end no later. */
	m->seg->base_cycles = -16ULL;
	m->seg->valid_cycles = 17;
	KUNIT_EXPECT_EQ(test, 1000000000016, parkclock_guest_read(m->map, 1));
	m->seg->valid_cycles = 16;
	KUNIT_EXPECT_EQ(test, 0, guest_times(m->map));
}

static void guest_refuses(struct kunit *test)
{
	struct mapping *m = test->priv;

	/* SET_GUEST_TSC was not called. */
	KUNIT_EXPECT_EQ(test, 0, guest_times(m->map));
	make_guest(m);
	m->timebase->disruptions++;
	KUNIT_EXPECT_EQ(test, 0, guest_times(m->map));
	m->timebase->disruptions -= 2;
	KUNIT_EXPECT_EQ(test, 0, guest_times(m->map));
	m->timebase->disruptions++;
	KUNIT_EXPECT_EQ(test, ALL_GUEST_TIMES, guest_times(m->map));
	m->timebase->epoch++;
	KUNIT_EXPECT_EQ(test, 0, guest_times(m->map));
	m->timebase->epoch--;
	for (int bit = 0; bit < 8; bit++) {
		u64 state = m->clock->state;
		s64 why = bit ? PARKCLOCK_EXPIRED : PARKCLOCK_IS_STOPPED;

		m->clock->state ^= 1ULL << bit;
		KUNIT_EXPECT_EQ(test, 0, guest_times(m->map));
		KUNIT_EXPECT_EQ(test, why, parkclock_guest_read(m->map, 1));
		m->clock->state = state;
	}
	KUNIT_EXPECT_EQ(test, PARKCLOCK_EXPIRED, parkclock_guest_read(m->map, 2));
	KUNIT_EXPECT_EQ(test, ALL_GUEST_TIMES, guest_times(m->map));
	/* The guest's counter has nothing to do with the announced terms. */
	m->clock->guest_offset += 1ULL << 60;
	KUNIT_EXPECT_EQ(test, 0, guest_times(m->map));
}

static void usable(struct kunit *test)
{
	struct mapping *m = test->priv;

	m->clock->magic++;
	KUNIT_EXPECT_EQ(test, 0, parkclock_usable(m->map));
	m->clock->magic--;
	m->clock->version = 0;
	KUNIT_EXPECT_EQ(test, 0, parkclock_usable(m->map));
	m->clock->version = PARKCLOCK_VERSION + 1;	/* later versions only add */
	KUNIT_EXPECT_EQ(test, 1, parkclock_usable(m->map));
	m->clock->timebase *= 2;
	KUNIT_EXPECT_EQ(test, 0, parkclock_usable(m->map));
	m->clock->timebase /= 2;
	m->timebase->magic++;
	KUNIT_EXPECT_EQ(test, 0, parkclock_usable(m->map));
	m->timebase->magic--;
	m->timebase->version = 0;
	KUNIT_EXPECT_EQ(test, 0, parkclock_usable(m->map));
	m->timebase->version = PARKCLOCK_VERSION;
	m->timebase->counter++;
	KUNIT_EXPECT_EQ(test, 0, parkclock_usable(m->map));
}

static struct kunit_case cases[] = {
	KUNIT_CASE(reads),
	KUNIT_CASE(computes),
	KUNIT_CASE(range),
	KUNIT_CASE(refuses_other_clocks),
	KUNIT_CASE(refuses_no_window),
	KUNIT_CASE(refuses_after_the_window),
	KUNIT_CASE(refuses_a_counter_that_went_back),
	KUNIT_CASE(refuses_another_epoch),
	KUNIT_CASE(refuses_conditions),
	KUNIT_CASE(guest_reads),
	KUNIT_CASE(guest_before_the_base),
	KUNIT_CASE(guest_refuses),
	KUNIT_CASE(usable),
	{}
};

static struct kunit_suite suite = {
	.name = "parkclock_reader",
	.init = good_mapping,
	.test_cases = cases,
};

kunit_test_suite(suite);
