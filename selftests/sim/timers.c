// SPDX-License-Identifier: GPL-2.0
/*
 * Timers of the owner's clock (owners.c), and CPU timers of the clocks of tasks (tasks.c): set,
 * read and asked by all CPUs, while the clock is stopped, started and shifted.
 *
 * - Never early. An expiration counts as a reading of the time that the timer was set to, and all
 *   readings after that are held against it. In a clock that is stopped no timer has expired
 *   that was set to a later time than that of the stop.
 * - Never lost, never doubled. Of each setting without an interval, an expiration was read once,
 *   or was returned as unread by the next setting, or something was left then. Of the last one
 *   with an interval, the next expiry says how many there were.
 * - At rest, a timer that waits is armed, and comes; whoever sleeps until then was woken.
 * - While the clock is stopped, no timer of it is armed. While no task of a clock runs, none is
 *   armed for its CPU time, unless one is due.
 *
 * One CPU sets a timer at a time; any number read it.
 */
#include <stdio.h>
#include <string.h>
#include <linux/parkclock.h>

#include "sched.h"

#define OWNED		CLOCKS		/* the owner's clock */
#define OWNERS		2		/* timers: of MONOTONIC, BOOTTIME */
#define CPU_TIMER	OWNERS		/* of the first clock of tasks */
#define SETTINGS	48

static struct timer {
	bool made;		/* or about to be */
	bool there;
	int which;		/* 0: MONOTONIC, 1: BOOTTIME */
	struct mutex setter;
	unsigned int last;	/* the number of the last setting */
	struct {
		bool absolute;
		u64 least;	/* expires first at this time or later */
		u64 interval;
		u64 read;
		u64 unread;
		bool left;	/* when it was replaced */
	} set[SETTINGS + 2];
} timers[OWNERS + 1];

void timers_reset(void)
{
	memset(timers, 0, sizeof(timers));
}

static void make(unsigned int i, int clock, int id)
{
	struct timer *t = &timers[i];

	t->made = true;
	t->which = id == CLOCK_BOOTTIME;
	t->there = timer_create(i, clock, id);
}

/* On the first CPU; nobody else runs yet. */
void timers_of_owner(void)
{
	make(0, OWNED, CLOCK_MONOTONIC);
	make(1, OWNED, CLOCK_BOOTTIME);
}

void timers_of_tasks(void)
{
	make(CPU_TIMER, 0, PARKCLOCK_CPUTIME_ID);
}

/* Sets the timer; @now is a reading from before. */
static void set(unsigned int i, u64 now, u64 most)
{
	struct parkclock_timer_set to = {};
	struct timer *t = &timers[i];

	if (t->last == SETTINGS)
		return;
	to.value_ns = 1 + rnd_log(most);
	to.interval_ns = one_in(3) ? 1 + rnd_log(most) : 0;
	if (now > most && one_in(2)) {
		to.flags = PARKCLOCK_TIMER_ABSOLUTE;
		to.value_ns += now - rnd_log(most);
	}
	if (one_in(8))
		to.value_ns = 0;
	/* Others may read it before the call returns. */
	t->last++;
	t->set[t->last].absolute = to.flags;
	t->set[t->last].least = to.flags ? (u64)to.value_ns : now + to.value_ns;
	t->set[t->last].interval = to.interval_ns;
	/* One that disarms */
	if (!to.value_ns)
		t->set[t->last].least = NEVER;
	timer_set(i, &to);
	settled(me);
	if (recording)
		record("sets timer %u: %lld, interval %lld, number %llu; %lld left, %llu unread", i,
		       to.value_ns, to.interval_ns, to.number, to.old_left_ns, to.old_expirations);
	if (to.number != t->last)
		fail("timer", "setting %u has the number %llu", t->last, to.number);
	t->set[t->last - 1].unread = to.old_expirations;
	t->set[t->last - 1].left = to.old_left_ns > 0;
}

/* Returns the time of the last expiration that was read, or 0. */
static u64 take(unsigned int i)
{
	struct parkclock_expired e;
	struct timer *t = &timers[i];
	int ret = timer_take(i, &e);
	u64 n;

	settled(me);
	if (!ret)
		return 0;
	if (recording)
		record("reads of timer %u: %llu of setting %llu", i, e.expirations, e.number);
	if (ret < 0 || !e.number || e.number > t->last || !e.expirations)
		fail("timer", "a read returns %d, %llu of setting %llu", ret, e.expirations, e.number);
	if (t->set[e.number].least == NEVER)
		fail("timer", "setting %llu was none, and has expired", e.number);
	n = t->set[e.number].read += e.expirations;
	if (n > 1 && !t->set[e.number].interval)
		fail("doubled", "setting %llu of timer %u expires once, and %llu were read", e.number,
		     i, n);
	return t->set[e.number].least + (n - 1) * t->set[e.number].interval;
}

static void act(unsigned int i, u64 now, u64 most)
{
	struct parkclock_timer_state state = {};
	struct timer *t = &timers[i];

	switch (rnd(8)) {
	case 0 ... 3:
		if (!sim_mutex_trylock(&t->setter))
			break;
		me->doing = "TIMER_SET";
		set(i, now, most);
		sim_mutex_unlock(&t->setter);
		break;
	case 4:
		me->doing = "TIMER_GET";
		timer_get(i, &state);
		settled(me);
		if (state.number > t->last)
			fail("timer", "has a setting %llu, the last was %u", state.number, t->last);
		break;
	default:
		break;
	}
}

/* Wait until a timer expires, as who sleeps by it does; or not. */
static void await_one(void)
{
	const struct hrtimer *armed = other_timer();

	if (!armed || !armed->queued || armed->due - sim.now > MS(run_interval_ms()) * 8 || one_in(3))
		return;
	me->doing = "sleep";
	me->user = true;
	sleep_until(one_in(2) ? armed->due : beside(armed->due));
	me->user = false;
}

/*
 * The page is read in its last moment, and the timer set in the next: what the host says by then
 * can be less than what was read.
 */
static void see_the_end_of_the_page(int which)
{
	const u64 end = window_end() - sim.offset;

	if (end - sim.now > MS(run_interval_ms()) * run_window())
		return;
	me->doing = "sleep";
	me->user = true;
	sleep_until(end - 1 - rnd(8));
	me->user = false;
	owner_reads(which);
	me->doing = "sleep";
	me->user = true;
	sleep_until(end + rnd(8));
	me->user = false;
}

void timers_act(void)
{
	unsigned int i = rnd(OWNERS);
	const int which = timers[i].which;
	u64 at;

	if (!timers[i].there)
		return;
	if (one_in(8))
		see_the_end_of_the_page(which);
	act(i, owner_floor(which), 1 + rnd_log(one_in(2) ? 20000 : 50000000));
	await_one();
	me->doing = "timer";
	at = take(i);
	if (!at)
		return;
	if (owner_stopped_before(which, at))
		fail("stop", "a timer of %llu has expired in a clock that was stopped before", at);
	owner_seen(which, at);
	/* Before anything else has happened */
	if (!one_in(3))
		owner_reads(which);
}

static void check_cpu(void)
{
	const char *wrong = cpu_timer_wrong(0);

	if (wrong)
		fail("armed", "of the CPU time of a clock: %s", wrong);
}

/* A task asks for its clock's CPU time. */
void timers_of_tasks_act(void)
{
	u64 at, ns;

	/* Also when there are tasks that run, or have run */
	if (!timers[CPU_TIMER].there && !timers[CPU_TIMER].made && one_in(4))
		timers_of_tasks();
	if (!timers[CPU_TIMER].there)
		return;
	check_cpu();
	me->doing = "CPU timer";
	act(CPU_TIMER, cpu_ns(0), 1 + rnd_log(one_in(2) ? 2000 : 1000000));
	me->doing = "CPU timer";
	at = take(CPU_TIMER);
	ns = cpu_ns(0);
	settled(me);
	if (at > ns)
		fail("early", "a CPU timer of %llu has expired at %llu", at, ns);
}

/* The owner's clock was stopped, and nobody can start it meanwhile. */
void timers_stopped(void)
{
	const struct hrtimer *armed = other_timer();

	if (timers[0].there && armed && armed->queued && armed->clock_id >= 0 &&
	    !timers[CPU_TIMER].there)
		fail("armed", "a timer is armed, and its clock is stopped");
}

static void check_settings(unsigned int i)
{
	struct timer *t = &timers[i];
	struct parkclock_timer_state state = {};
	unsigned int n;
	u64 all;

	timer_get(i, &state);
	all = t->set[t->last].read + state.expirations;
	if (t->set[t->last].absolute && t->set[t->last].interval && t->last &&
	    t->set[t->last].least != NEVER &&
	    t->set[t->last].least + all * t->set[t->last].interval != (u64)state.expiry_ns)
		fail("lost", "setting %u of timer %u has expired %llu times, and next at %lld",
		     t->last, i, all, state.expiry_ns);
	if (state.expirations && !timer_woken(i))
		fail("asleep", "timer %u has expired, and nobody was woken", i);
	/* The last one */
	t->set[t->last].unread = state.expirations;
	t->set[t->last].left = state.left_ns > 0;
	for (n = 1; n <= t->last; n++) {
		if (t->set[n].least == NEVER || t->set[n].interval)
			continue;
		all = t->set[n].read + t->set[n].unread + t->set[n].left;
		if (all != 1)
			fail(all ? "doubled" : "lost",
			     "setting %u of timer %u: %llu read, %llu unread, %s left", n, i,
			     t->set[n].read, t->set[n].unread,
			     t->set[n].left ? "something" : "nothing");
	}
}

static bool runs(const void *arg)
{
	return ((const struct hrtimer *)arg)->running;
}

/* All CPUs are done: whatever is armed comes, unless that is in a day. Returns true if all have. */
static bool await_timers(void)
{
	const struct hrtimer *armed;
	int i;

	for (i = 0; (armed = other_timer()); i++) {
		if (i > 1000 || (armed->queued && armed->due > sim.now + (1ULL << 38)))
			return false;
		wait_while(runs, armed);
		/* Its CPU may be stopped. */
		if (armed->queued)
			sleep_until(max(max(armed->due, cpus[armed->cpu].ready_at), sim.now) + 1000);
	}
	return true;
}

void timers_finish(bool stopped)
{
	bool all = false;
	unsigned int i;

	sim.features[F_LATE] = false;
	me->doing = "end of timers";
	if (!stopped)
		all = await_timers();
	for (i = 0; i < OWNERS; i++) {
		if (!timers[i].there)
			continue;
		if (all && timer_waits(i))
			fail("lost", "timer %u waits, and nothing is armed", i);
		check_settings(i);
		timer_destroy(i);
		settled(me);
	}
}

/* No task is registered any more. */
void timers_of_tasks_finish(void)
{
	if (!timers[CPU_TIMER].there)
		return;
	me->doing = "end of timers";
	/* Or while it expires, or somebody is woken */
	if (one_in(2)) {
		await_timers();
		while (irq_work_outstanding())
			sleep_until(sim.now + 1000);
		check_cpu();
		check_settings(CPU_TIMER);
	}
	timer_destroy(CPU_TIMER);
	settled(me);
}
