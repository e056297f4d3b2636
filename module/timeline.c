// SPDX-License-Identifier: GPL-2.0
/*
 * The timeline of a clock: what its owner does to MONOTONIC and BOOTTIME, by EPOCH,
 * OFFSETS, STOP, START, SAVE and RESTORE.
 *
 * No reading of a stopped clock is later than the instant at which it was stopped. STOP
 * first stores the state, then reads the counter: that is the instant. A reader reads the
 * counter, then looks at the state again. So a reader that missed the new state read the
 * counter before that instant.
 */
#include <linux/errno.h>
#include <linux/lockdep.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/string.h>

#include "clock.h"
#include "cpu_timer.h"
#include "saved.h"
#include "timeline.h"
#include "updater.h"

/* What the clock's MONOTONIC and BOOTTIME read with the offsets of @c, at @at */
static s64 monotonic(const struct parkclock_change *c, const struct parkclock_now *at)
{
	return at->ns[PARKCLOCK_MONOTONIC] + c->monotonic_ns;
}

static s64 boottime(const struct parkclock_change *c, const struct parkclock_now *at)
{
	return at->ns[PARKCLOCK_BOOTTIME] + c->boottime_ns;
}

static bool sum_in_range(s64 host_ns, s64 offset_ns)
{
	s64 ns;

	return !check_add_overflow(host_ns, offset_ns, &ns) && ns >= 1 && ns <= PARKCLOCK_MOST_NS;
}

/* Choose the offsets so that the clock reads @monotonic_ns and @boottime_ns at @now. */
static void say(struct parkclock_change *c, const struct parkclock_now *now, s64 monotonic_ns,
		s64 boottime_ns)
{
	c->monotonic_ns = monotonic_ns - now->ns[PARKCLOCK_MONOTONIC];
	c->boottime_ns = boottime_ns - now->ns[PARKCLOCK_BOOTTIME];
}

/* Begin the life of a fresh clock at @now. A stopped clock was stopped at @now. */
static void begin(struct parkclock *clock, const struct parkclock_now *now, s64 monotonic_ns,
		  s64 boottime_ns, s64 boot_ns, u64 generation)
{
	struct parkclock_change c = parkclock_page_as_it_is(&clock->page);

	lockdep_assert_held(&clock->lock);

	say(&c, now, monotonic_ns, boottime_ns);
	/* No timer of a fresh clock was ever set. The time begins anew: its own is 1, or saved. */
	memset(c.moved_ns, 0, sizeof(c.moved_ns));
	c.generation = generation - now->generation;
	clock->lived = true;
	clock->boot_ns = boot_ns;
	if (parkclock_page_stopped(&clock->page))
		clock->stopped = *now;
	parkclock_clock_change(clock, &c);
}

/**
 * parkclock_timeline_epoch() - begin a life
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -EBUSY if the clock is not fresh.
 */
int parkclock_timeline_epoch(struct parkclock *clock)
{
	struct parkclock_now now;
	int err = -EBUSY;

	mutex_lock(&clock->lock);
	mutex_lock(&clock->use_lock);
	if (clock->fresh) {
		parkclock_updater_now(&now);
		begin(clock, &now, 1, 1, now.ns[PARKCLOCK_REALTIME],
		      now.generation + clock->page.map->generation + 1);
		err = 0;
	}
	mutex_unlock(&clock->use_lock);
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_timeline_offsets() - set the clock's distance to the host's clocks
 * @clock:   the clock
 * @offsets: the clock's MONOTONIC and BOOTTIME minus the host's
 *
 * Context: may sleep.
 * Return: 0, or -EBUSY or -ERANGE: see PARKCLOCK_IOC_OFFSETS.
 */
int parkclock_timeline_offsets(struct parkclock *clock, const struct parkclock_offsets *offsets)
{
	struct parkclock_now now;
	struct parkclock_change c;
	bool changed = false;
	int err = 0;

	mutex_lock(&clock->lock);
	mutex_lock(&clock->use_lock);
	c = parkclock_page_as_it_is(&clock->page);
	if (parkclock_page_stopped(&clock->page))
		now = clock->stopped;
	else
		parkclock_updater_now(&now);
	if (!sum_in_range(now.ns[PARKCLOCK_MONOTONIC], offsets->monotonic_ns) ||
	    !sum_in_range(now.ns[PARKCLOCK_BOOTTIME], offsets->boottime_ns)) {
		err = -ERANGE;
	} else if (!clock->fresh && (offsets->monotonic_ns < c.monotonic_ns ||
				     offsets->boottime_ns < c.boottime_ns)) {
		err = -EBUSY;
	} else if (offsets->monotonic_ns != c.monotonic_ns ||
		   offsets->boottime_ns != c.boottime_ns) {
		c.moved_ns[PARKCLOCK_MONOTONIC] += offsets->monotonic_ns - c.monotonic_ns;
		c.moved_ns[PARKCLOCK_BOOTTIME] += offsets->boottime_ns - c.boottime_ns;
		c.monotonic_ns = offsets->monotonic_ns;
		c.boottime_ns = offsets->boottime_ns;
		c.generation++;
		parkclock_clock_change(clock, &c);
		changed = true;
	}
	mutex_unlock(&clock->use_lock);
	if (changed)
		parkclock_wall_timers_follow(&clock->timers);
	mutex_unlock(&clock->lock);
	return err;
}

static void stop(struct parkclock *clock)
{
	struct parkclock_change c = parkclock_page_as_it_is(&clock->page);

	c.conditions |= PARKCLOCK_STATE_STOPPED;
	parkclock_clock_change(clock, &c);
	/*
	 * The state before the counter; pairs with the readers' second look at the
	 * state. A reader that missed the new state read the counter before it changed.
	 */
	smp_mb();
	parkclock_updater_now(&clock->stopped);
	parkclock_wall_timers_stop(&clock->timers);
	if (clock->cpu)
		parkclock_cpu_stop(clock->cpu, true);
}

/**
 * parkclock_timeline_stop() - stop the clock: nobody gets a time from it
 * @clock: the clock
 *
 * Context: may sleep.
 * Return: 0, or -EALREADY if the clock is stopped already.
 */
int parkclock_timeline_stop(struct parkclock *clock)
{
	int err = -EALREADY;

	mutex_lock(&clock->lock);
	if (!parkclock_page_stopped(&clock->page)) {
		stop(clock);
		err = 0;
	}
	mutex_unlock(&clock->lock);
	return err;
}

static void start(struct parkclock *clock, unsigned long gap)
{
	struct parkclock_change c = parkclock_page_as_it_is(&clock->page);
	struct parkclock_now now;

	parkclock_updater_now(&now);
	c.conditions &= ~PARKCLOCK_STATE_STOPPED;
	if (gap == PARKCLOCK_GAP_FREEZE) {
		say(&c, &now, monotonic(&c, &clock->stopped), boottime(&c, &clock->stopped));
		c.generation++;
	}
	parkclock_clock_change(clock, &c);
	parkclock_wall_timers_follow(&clock->timers);
	if (clock->cpu)
		parkclock_cpu_stop(clock->cpu, false);
}

/**
 * parkclock_timeline_start() - start a stopped clock again
 * @clock: the clock
 * @gap:   PARKCLOCK_GAP_*: what MONOTONIC and BOOTTIME do about the time for which the
 *	   clock was stopped
 *
 * Context: may sleep.
 * Return: 0, or -EALREADY if the clock is not stopped, or -EINVAL for any other @gap.
 */
int parkclock_timeline_start(struct parkclock *clock, unsigned long gap)
{
	int err = -EALREADY;

	if (gap != PARKCLOCK_GAP_INCLUDE && gap != PARKCLOCK_GAP_FREEZE)
		return -EINVAL;
	mutex_lock(&clock->lock);
	if (parkclock_page_stopped(&clock->page)) {
		start(clock, gap);
		err = 0;
	}
	mutex_unlock(&clock->lock);
	return err;
}

/**
 * parkclock_timeline_save() - stop the clock, and return the times at which it stopped
 * @clock: the clock
 * @saved: filled in
 *
 * Context: may sleep.
 */
void parkclock_timeline_save(struct parkclock *clock, struct parkclock_saved *saved)
{
	const struct parkclock_now *at = &clock->stopped;
	struct parkclock_change c;

	mutex_lock(&clock->lock);
	WRITE_ONCE(clock->fresh, false);
	if (!parkclock_page_stopped(&clock->page))
		stop(clock);
	c = parkclock_page_as_it_is(&clock->page);
	*saved = (struct parkclock_saved) {
		.monotonic_ns = monotonic(&c, at),
		.boottime_ns = boottime(&c, at),
		.realtime_ns = at->ns[PARKCLOCK_REALTIME],
		.boot_ns = clock->lived ? clock->boot_ns : at->ns[PARKCLOCK_REALTIME] -
							   at->ns[PARKCLOCK_BOOTTIME],
		.generation = at->generation + c.generation,
	};
	mutex_unlock(&clock->lock);
	parkclock_saved_seal(saved);
}

/**
 * parkclock_timeline_restore() - continue a saved clock
 * @clock: the clock
 * @saved: the saved clock; not to be trusted
 * @gap:   PARKCLOCK_GAP_*: what MONOTONIC and BOOTTIME do about the time since the save
 *
 * Context: may sleep.
 * Return: 0, or an error number: see PARKCLOCK_IOC_RESTORE.
 */
int parkclock_timeline_restore(struct parkclock *clock, const struct parkclock_saved *saved,
			       u32 gap)
{
	struct parkclock_now now;
	s64 passed = 0;
	int err;

	if (gap != PARKCLOCK_GAP_INCLUDE && gap != PARKCLOCK_GAP_FREEZE)
		return -EINVAL;
	err = parkclock_saved_check(saved);
	if (err)
		return err;
	mutex_lock(&clock->lock);
	mutex_lock(&clock->use_lock);
	err = -EBUSY;
	if (!clock->fresh)
		goto out;
	parkclock_updater_now(&now);
	if (gap == PARKCLOCK_GAP_INCLUDE)
		passed = max(now.ns[PARKCLOCK_REALTIME] - saved->realtime_ns, 0LL);
	err = -ERANGE;
	if (!sum_in_range(saved->monotonic_ns, passed) || !sum_in_range(saved->boottime_ns, passed))
		goto out;
	begin(clock, &now, saved->monotonic_ns + passed, saved->boottime_ns + passed,
	      saved->boot_ns,
	      max(saved->generation, now.generation + clock->page.map->generation) + 1);
	err = 0;
out:
	mutex_unlock(&clock->use_lock);
	mutex_unlock(&clock->lock);
	return err;
}
