/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A reader of VMClock, written from its specification, and from nothing of the module's.
 */
#ifndef PARKCLOCK_SELFTESTS_VMCLOCK_H
#define PARKCLOCK_SELFTESTS_VMCLOCK_H

#include <assert.h>

#include "disturb.h"
#include "owner.h"

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

/* How the counter of a guest that this process plays follows from the TSC */
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

static inline uint64_t guest_cycles(const struct guest_counter *g, uint64_t cycles)
{
	return (uint64_t)((unsigned __int128)cycles * g->ratio >> g->shift) + g->offset;
}

static inline int set_guest(int fd, const struct guest_counter *g)
{
	return try_guest_tsc(fd, g->offset, g->ratio, g->shift);
}

static inline const struct vmclock *map_vmclock(int fd)
{
	void *map = mmap(NULL, PARKCLOCK_PAGE_SIZE, PROT_READ, MAP_SHARED, fd,
			 PARKCLOCK_VMCLOCK_OFFSET);

	if (map == MAP_FAILED)
		die("mmap of the VMClock page");
	return map;
}

/* Rounded up, of what is in 2^-64 s. */
static inline int64_t vm_ns_up(unsigned __int128 time)
{
	return (int64_t)(time >> 64) * NSEC +
	       (int64_t)(((unsigned __int128)(uint64_t)time * NSEC + ~0ULL) >> 64);
}

/* All that is in the page, and the counter, at one instant. False if it is unreliable. */
static inline bool vm_read(const struct vmclock *v, const struct guest_counter *g,
			   struct vmreading *r)
{
	struct vmclock *to = &r->page;
	unsigned __int128 delta;
	uint32_t seq;

	do {
		seq = __atomic_load_n(&v->seq_count, __ATOMIC_ACQUIRE) & ~1U;
		to->disruption_marker = __parkclock_load(&v->disruption_marker);
		to->flags = __parkclock_load(&v->flags);
		to->clock_status = __parkclock_load(&v->clock_status);
		to->tai_offset_sec = __parkclock_load(&v->tai_offset_sec);
		to->counter_period_shift = __parkclock_load(&v->counter_period_shift);
		to->counter_value = __parkclock_load(&v->counter_value);
		to->counter_period_frac_sec = __parkclock_load(&v->counter_period_frac_sec);
		to->counter_period_maxerror_rate_frac_sec =
			__parkclock_load(&v->counter_period_maxerror_rate_frac_sec);
		to->counter_period_esterror_rate_frac_sec =
			__parkclock_load(&v->counter_period_esterror_rate_frac_sec);
		to->time_sec = __parkclock_load(&v->time_sec);
		to->time_frac_sec = __parkclock_load(&v->time_frac_sec);
		to->time_maxerror_nanosec = __parkclock_load(&v->time_maxerror_nanosec);
		to->time_esterror_nanosec = __parkclock_load(&v->time_esterror_nanosec);
		r->cycles = guest_cycles(g, tsc());
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (__atomic_load_n(&v->seq_count, __ATOMIC_RELAXED) != seq);
	to->seq_count = seq;

	if (to->clock_status == STATUS_UNRELIABLE)
		return false;
	delta = r->cycles - to->counter_value;
	r->time = ((__int128)to->time_sec << 64) + to->time_frac_sec +
		  (__int128)(delta * to->counter_period_frac_sec >> to->counter_period_shift);
	r->ns = (int64_t)(r->time >> 64) * NSEC +
		(int64_t)((unsigned __int128)(uint64_t)r->time * NSEC >> 64);
	r->error_ns = -1;
	if (to->flags & TIME_MAXERROR_VALID && to->flags & PERIOD_MAXERROR_VALID)
		r->error_ns = to->time_maxerror_nanosec +
			      vm_ns_up(delta * to->counter_period_maxerror_rate_frac_sec >>
				       to->counter_period_shift);
	else if (to->flags & TIME_ESTERROR_VALID && to->flags & PERIOD_ESTERROR_VALID)
		r->error_ns = to->time_esterror_nanosec +
			      vm_ns_up(delta * to->counter_period_esterror_rate_frac_sec >>
				       to->counter_period_shift);
	return r->error_ns >= 0;
}

static inline bool is_reliable(const struct vmclock *v)
{
	const struct guest_counter none = { .ratio = 1 };
	struct vmreading r;

	return vm_read(v, &none, &r);
}

/* How much earlier than it was written a page begins, in the host's cycles */
#define BEGINS_EARLIER	16384

/*
 * Is the host's clock being changed, or has been, and this page is still from before? It
 * is told of it after the mapping is, and before the call that makes the change ends.
 */
static inline bool vm_outdated(const struct pclock *c, const struct guest_counter *g,
			       const struct vmreading *r)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(c->map);
	uint64_t seq, base, epoch;

	do {
		const struct parkclock_segment *seg;

		seq = __parkclock_acquire(&tb->seq);
		seg = &tb->segment[seq & 1];
		base = __parkclock_acquire(&seg->base_cycles);
		epoch = __parkclock_acquire(&seg->epoch);
	} while (__parkclock_acquire(&tb->seq) != seq);
	return epoch != page_epoch(c) ||
	       (int64_t)(r->page.counter_value - guest_cycles(g, base - BEGINS_EARLIER)) < 0;
}

/*
 * As look(): held against the host's clock, to which a clock of its own may have an
 * offset.
 */
static inline enum seen vm_look(const struct pclock *c, const struct vmclock *v,
				const struct guest_counter *g, int64_t offset_ns,
				struct vmreading *r)
{
	const int id = v->time_type == TYPE_UTC ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	const uint64_t epoch = page_epoch(c);
	int64_t t0, t1;

	t0 = kernel_ns(id) + offset_ns;
	if (!vm_read(v, g, r))
		return REFUSED;
	t1 = kernel_ns(id) + offset_ns;
	if (page_epoch(c) != epoch)
		return CHANGED;
	if (r->ns >= t0 - r->error_ns && r->ns <= t1 + r->error_ns)
		return RIGHT;
	if (vm_outdated(c, g, r))
		return CHANGED;
	fprintf(stderr, "# VMClock: %lld +- %lld, clock_gettime %lld to %lld\n",
		(long long)r->ns, (long long)r->error_ns, (long long)t0, (long long)t1);
	return WRONG;
}

/* The same, until it says something about the reading. */
static inline enum seen vm_look_again(const struct pclock *c, const struct vmclock *v,
				      const struct guest_counter *g, int64_t offset_ns)
{
	struct vmreading r;
	enum seen seen;

	do
		seen = vm_look(c, v, g, offset_ns, &r);
	while (seen == CHANGED);
	return seen;
}

static inline bool becomes(const struct vmclock *v, bool reliable)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (is_reliable(v) == reliable)
			return true;
		sleep_ms(1);
	}
	return false;
}

/* By the next refresh, if it is late. */
static inline bool becomes_reliable(const struct vmclock *v)
{
	return becomes(v, true);
}

/* It is right, when its clock is held; or when the next refresh has come, if it is late. */
static inline bool vm_right_when_held(const struct pclock *c, const struct vmclock *v,
				      const struct guest_counter *g, int64_t offset_ns)
{
	enum seen seen = vm_look_again(c, v, g, offset_ns);

	if (seen == REFUSED && becomes_reliable(v))
		seen = vm_look_again(c, v, g, offset_ns);
	return seen == RIGHT;
}

/* When the next refresh finds that nobody holds it. */
static inline bool becomes_unreliable(const struct vmclock *v)
{
	return becomes(v, false);
}

#endif
