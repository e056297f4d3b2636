// SPDX-License-Identifier: GPL-2.0
/*
 * What must hold, exactly.
 *
 * - Of two readings of MONOTONIC or BOOTTIME, one of which happens before the other, the
 *   later one is not smaller. A reading happens before what begins after all stores that
 *   its CPU had made by then have reached memory; earlier nobody can know of it. Where
 *   counters differ between CPUs, it takes some cycles more.
 * - A reading differs from the host's clock at its counter value by no more than its
 *   bound says, by one of the versions of the host's clock that there were meanwhile.
 * - While a reference is held the page is valid, and the updater not parked. Excuses are an
 *   update of the timekeeper or what follows from it, a timer that is late, the lock, and
 *   where there can be no page. A get refreshes a page that is stale when it begins.
 * - After the last put there are two ticks at most; then the updater is parked.
 * - While it is parked no timer is armed.
 */
#include <stdio.h>
#include <string.h>
#include <linux/parkclock.h>

#include "sched.h"

#define SKEW_DELAY	512		/* cycles, more than twice the greatest skew */
#define LATER		64

struct checks checks;

/* Readings that others cannot know of yet, because counters differ. */
static struct {
	u64 when;
	u64 seen[2];
} later[LATER];
static unsigned int later_head, later_tail;

void check_reset(void)
{
	memset(&checks, 0, sizeof(checks));
	later_head = 0;
	later_tail = 0;
}

static void seen_by_all(u64 mono, u64 boot)
{
	checks.seen[0] = max(checks.seen[0], mono);
	checks.seen[1] = max(checks.seen[1], boot);
}

static void catch_up(void)
{
	while (later_head != later_tail && later[later_tail % LATER].when <= sim.now) {
		u64 *seen = later[later_tail++ % LATER].seen;

		seen_by_all(seen[0], seen[1]);
	}
}

void marked(struct cpu *c, enum mark kind, u64 value, u64 value2)
{
	(void)c;
	switch (kind) {
	case MARK_VERSION:
		timekeeper_made_visible(value);
		break;
	case MARK_READING:
		if (!sim.features[F_SKEW]) {
			seen_by_all(value, value2);
			break;
		}
		if (later_head - later_tail == LATER)
			later_tail++;
		later[later_head % LATER].when = sim.now + SKEW_DELAY;
		later[later_head % LATER].seen[0] = value;
		later[later_head++ % LATER].seen[1] = value2;
		break;
	case MARK_HOLD:
		checks.holds++;
		break;
	case MARK_PUT:
		checks.put++;
		checks.ticks = 0;
		break;
	default:
		owners_marked(kind, value, value2);
	}
}

/* What an irq_work does for the page: wake it when the counter is back, arm its timer. */
static bool irq_work_matters(void)
{
	return (sim.features[F_SOURCE] || sim.features[F_ISOLATED]) && irq_work_outstanding();
}

static bool behind(void)
{
	const struct parkclock_timebase *map = timebase_map();
	u64 base = map->segment[map->seq & 1].base_cycles;

	return sim.features[F_SKEW] && base - me->cycles < SKEW_DELAY;
}

/* Is there no time in the page now, whoever looks? */
static bool page_stale(void)
{
	const struct parkclock_timebase *map = timebase_map();
	const struct parkclock_segment *seg = &map->segment[map->seq & 1];

	u64 cycles = sim.now + sim.offset + me->skew;

	if (sim.features[F_SKEW] && seg->base_cycles - cycles < SKEW_DELAY)
		return false;
	return seg->epoch != map->epoch || cycles - seg->base_cycles >= seg->valid_cycles;
}

static bool no_page(void)
{
	unsigned int i;

	if (checks.stopped || sim.freeze)
		return true;
	for (i = version_now(); i <= version_last(); i++)
		if (!version_get(i)->usable)
			return true;
	return false;
}

static bool excused(void)
{
	return module_lock_held(NULL) || timekeeper_jumps() || irq_work_matters() || timer_overdue() ||
	       no_page() || behind();
}

void reading_begin(struct attempt *a)
{
	int i;

	settled(me);
	catch_up();
	for (i = 0; i < 2; i++)
		a->floor[i] = max(checks.seen[i], me->seen[i]);
	a->version = version_now();
	a->began = sim.now;
	a->events = sim.events;
	a->holds = checks.holds;
	a->excused = excused();
}

static bool covered(const struct attempt *a)
{
	return (int)(a->holds - checks.puts) > 0;
}

static void check_parked(const struct attempt *a)
{
	if (covered(a) && !a->excused && sim.events == a->events && !excused() &&
	    updater_state() <= PARKCLOCK_PARKED)
		fail("parked", "a reference is held, and the updater is in state %d",
		     updater_state());
}

static s64 at(const struct version *v, u64 cycles, int index)
{
	return (s64)(u64)(version_at(v, cycles) >> PARKCLOCK_SHIFT) + v->offs[index];
}

/* By how much is @r outside its bound, by this version? */
static u64 outside(const struct attempt *a, const struct version *v, int index,
		   const struct parkclock_reading *r)
{
	s64 least, most;

	if (r->cycles) {
		if (!v->usable || v->incarnation != me->incarnation)
			return NEVER;
		most = at(v, r->cycles, index);
		least = most;
		/* The host's clock waits for a counter that is behind; readers need not. */
		if ((s64)(v->cycle_last - r->cycles) > 0)
			least -= ((v->cycle_last - r->cycles) * v->mult >> v->shift) + 1;
	} else {
		u64 began = version_cycles(v, a->began);

		/* The counter by which the host's clock was read may be behind. */
		if (sim.features[F_SKEW] && v->usable)
			began -= SKEW_DELAY;
		least = at(v, began, index);
		most = at(v, version_cycles(v, sim.now), index);
	}
	if (r->ns < least && (u64)(least - r->ns) > r->error_ns)
		return least - r->ns - r->error_ns;
	if (r->ns > most && (u64)(r->ns - most) > r->error_ns)
		return r->ns - most - r->error_ns;
	return 0;
}

/* Of a clock that is not the host's: @r is what it would be of that. */
bool within_bound(const struct attempt *a, int index, const struct parkclock_reading *r)
{
	unsigned int i;

	for (i = a->version; i <= version_last(); i++)
		if (!outside(a, version_get(i), index, r))
			return true;
	return false;
}

static void check_bound(const struct attempt *a, int index, const struct parkclock_reading *r)
{
	unsigned int i, last = version_last();
	u64 least = NEVER;

	for (i = a->version; i <= last; i++) {
		u64 off = outside(a, version_get(i), index, r);

		if (!off)
			return;
		least = min(least, off);
	}
	if (recording) {
		for (i = a->version; i <= last; i++)
			record("truth by version %u: %lld", i,
			       at(version_get(i), r->cycles, index));
	}
	fail("bound", "CPU %d reads %lld of clock %d at counter %llu, bound %llu: %lld ns beyond",
	     me->id, r->ns, index, r->cycles, r->error_ns, (s64)least);
}

void reading_end(struct attempt *a, int index, const struct parkclock_reading *r, bool slow)
{
	u64 seen[2] = {};

	settled(me);
	if (recording)
		record("%s: clock %d is %lld +- %llu at %llu", slow ? "READ" : "page", index,
		       r->ns, r->error_ns, r->cycles);
	check_bound(a, index, r);
	if (index == PARKCLOCK_MONOTONIC || index == PARKCLOCK_BOOTTIME) {
		int i = index == PARKCLOCK_BOOTTIME;

		if ((u64)r->ns < a->floor[i])
			fail("backwards", "CPU %d reads %lld of clock %d, %lld ns back", me->id,
			     r->ns, index, a->floor[i] - r->ns);
		seen[i] = r->ns;
		me->seen[i] = max(me->seen[i], seen[i]);
		mark(MARK_READING, seen[0], seen[1]);
	}
	check_parked(a);
}

void reading_none(struct attempt *a)
{
	settled(me);
	if (recording)
		record("page: no time");
	if (covered(a) && !a->excused && sim.events == a->events && !excused())
		fail("expired", "CPU %d has no time from the page, and a reference is held",
		     me->id);
	check_parked(a);
}

/* A get mends a page that is stale, whatever else is late. */
void get_begin(void)
{
	const struct parkclock_timebase *page = timebase_map();

	me->get_events = sim.events;
	me->get_seq = own_view(&page->seq, sizeof(page->seq));
	me->get_stale = page_stale() && !module_lock_held(NULL) && !timekeeper_jumps() && !no_page();
}

void get_end(void)
{
	const struct parkclock_timebase *page = timebase_map();

	settled(me);
	if (!me->get_stale || own_view(&page->seq, sizeof(page->seq)) != me->get_seq)
		return;
	/* Meanwhile the counter may have been unusable. */
	if (sim.features[F_SOURCE] ? me->get_events == sim.events :
	    !module_lock_held(NULL) && !timekeeper_jumps() && !no_page())
		fail("stale", "a get has returned, and nobody has refreshed the page");
}

void hold_taking(void)
{
	settled(me);
	checks.taking++;
	checks.ticks = 0;
}

void hold_taken(void)
{
	mark(MARK_HOLD, 0, 0);
}

void hold_dropping(void)
{
	settled(me);
	checks.puts++;
}

void hold_dropped(void)
{
	mark(MARK_PUT, 0, 0);
}

/* A timer fires. */
/* A task's reference may be dropped, and that still be in its CPU's store buffer. */
static bool drop_is_coming(void)
{
	return refs_in_memory() > 0 && oldest_store() < NEVER / 2;
}

void check_tick(void)
{
	if (checks.taking == checks.put && !drop_is_coming() && ++checks.ticks > 2)
		fail("ticks", "a third tick, and no reference is held");
}

/* Before @lock is released. If no other one is held it was that of the updater's state. */
void check_unlocked(const raw_spinlock_t *lock)
{
	if (updater_state() != PARKCLOCK_PARKED)
		return;
	if (timer_queued())
		fail("timer", "is armed, and the updater is parked");
	if (lock == &parkclock_timebase_lock || module_lock_held(lock))
		return;
	if ((int)(checks.holds - checks.puts) > 0 && !timekeeper_jumps() && !irq_work_matters() &&
	    !no_page())
		fail("parked", "a reference is held, and the updater has been parked");
}

/* A stop has returned. */
void check_stopped(void)
{
	if (updater_state() != PARKCLOCK_STOPPED)
		fail("stopped", "after a stop the updater is in state %d", updater_state());
	if (timer_queued())
		fail("stopped", "after a stop the timer is armed");
	if (page_window())
		fail("stopped", "after a stop the page has a window");
}

static void read_all(void)
{
	try_page(CLOCK_MONOTONIC);
	try_page(CLOCK_REALTIME);
}

/* All CPUs are done. What is held stays valid; what is dropped is parked. */
void check_end(void)
{
	u64 interval;
	int i;

	me->doing = "end";
	sim.mean = 100000;
	sim.stop_odds = 0;
	sim.features[F_LATE] = false;
	for (i = 0; i < sim_cpus; i++) {
		drain(&cpus[i], BUFFER);
		/* It may be stopped in an interrupt. */
		if (&cpus[i] != me)
			sleep_until(cpus[i].ready_at + 1);
	}
	if (checks.stopped)
		end_stop();
	interval = MS(run_interval_ms());
	/* Whatever is late comes. */
	while (irq_work_outstanding() || timer_overdue())
		sleep_until(sim.now + interval * 2);
	if (checks.holds != checks.puts && version_get(version_now())->usable) {
		for (i = 0; i < 2; i++) {
			if (!updater_running())
				fail("parked", "references are held, and it rests in state %d",
				     updater_state());
			if (!timer_queued())
				fail("timer", "references are held, and at rest none is armed");
			read_all();
			sleep_until(sim.now + rnd(interval * 2));
		}
	}
	while (checks.holds != checks.puts)
		end_hold();
	drain(me, BUFFER);
	for (i = 0;; i++) {
		wait_while(timer_in_callback, NULL);
		if (!timer_queued())
			break;
		if (i == 4)
			fail("ticks", "no reference is held, and it ticks on");
		sleep_until(max(timer_due(), sim.now) + 1);
	}
	if (updater_state() != PARKCLOCK_PARKED)
		fail("unparked", "no reference is held, and at rest the updater is in state %d",
		     updater_state());
	if (timer_queued())
		fail("timer", "is armed, and no reference is held");
}
