// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "die.h"
#include "host_clock.h"
#include "owner.h"
#include "page.h"
#include "vmclock.h"
#include "wait.h"

uint64_t guest_cycles(const struct guest_counter *g, uint64_t cycles)
{
	return (uint64_t)((unsigned __int128)cycles * g->ratio >> g->shift) + g->offset;
}

int set_guest(int fd, const struct guest_counter *g)
{
	return try_guest_tsc(fd, g->offset, g->ratio, g->shift);
}

const struct vmclock *map_vmclock(int fd)
{
	void *map = mmap(NULL, PARKCLOCK_PAGE_SIZE, PROT_READ, MAP_SHARED, fd,
			 PARKCLOCK_VMCLOCK_OFFSET);

	if (map == MAP_FAILED)
		die("mmap of the VMClock page");
	return map;
}

/* From 2^-64 s to ns, rounded up */
static int64_t vm_ns_up(unsigned __int128 time)
{
	return (int64_t)(time >> 64) * NSEC +
	       (int64_t)(((unsigned __int128)(uint64_t)time * NSEC + ~0ULL) >> 64);
}

bool vm_read(const struct vmclock *v, const struct guest_counter *g, struct vmreading *r)
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

bool is_reliable(const struct vmclock *v)
{
	const struct guest_counter none = { .ratio = 1 };
	struct vmreading r;

	return vm_read(v, &none, &r);
}

/* How much earlier than it was written a page begins, in the host's cycles */
#define BEGINS_EARLIER	16384

/*
 * Is this page still from before a change of the host's clock? The page learns of a change
 * after the mapping does, and before the call that makes the change ends.
 */
static bool vm_outdated(const struct pclock *c, const struct guest_counter *g,
			const struct vmreading *r)
{
	const struct extent e = segment_extent(c->map);

	return e.epoch != page_epoch(c->map) ||
	       (int64_t)(r->page.counter_value - guest_cycles(g, e.base - BEGINS_EARLIER)) < 0;
}

enum seen vm_look(const struct pclock *c, const struct vmclock *v,
		  const struct guest_counter *g, int64_t offset_ns, struct vmreading *r)
{
	const int id = v->time_type == TYPE_UTC ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	const uint64_t epoch = page_epoch(c->map);
	int64_t t0, t1;

	t0 = kernel_ns(id) + offset_ns;
	if (!vm_read(v, g, r))
		return REFUSED;
	t1 = kernel_ns(id) + offset_ns;
	if (page_epoch(c->map) != epoch)
		return CHANGED;
	if (r->ns >= t0 - r->error_ns && r->ns <= t1 + r->error_ns)
		return RIGHT;
	if (vm_outdated(c, g, r))
		return CHANGED;
	fprintf(stderr, "# VMClock: %lld +- %lld, clock_gettime %lld to %lld\n",
		(long long)r->ns, (long long)r->error_ns, (long long)t0, (long long)t1);
	return WRONG;
}

enum seen vm_look_again(const struct pclock *c, const struct vmclock *v,
			const struct guest_counter *g, int64_t offset_ns)
{
	struct vmreading r;
	enum seen seen;

	do
		seen = vm_look(c, v, g, offset_ns, &r);
	while (seen == CHANGED);
	return seen;
}

bool becomes_reliable(const struct vmclock *v)
{
	return wait_until(is_reliable(v));
}

bool vm_right_when_held(const struct pclock *c, const struct vmclock *v,
			const struct guest_counter *g, int64_t offset_ns)
{
	enum seen seen = vm_look_again(c, v, g, offset_ns);

	if (seen == REFUSED && becomes_reliable(v))
		seen = vm_look_again(c, v, g, offset_ns);
	return seen == RIGHT;
}

bool becomes_unreliable(const struct vmclock *v)
{
	return wait_until(!is_reliable(v));
}
