// SPDX-License-Identifier: GPL-2.0
/*
 * What the CPUs do: a list of actions each, made from the seed.
 */
#include <stdio.h>
#include <string.h>
#include <linux/parkclock.h>

#include "sim.h"

const char *const feature_names[F_FEATURES] = {
	[F_RATE] = "rate", [F_DITHER] = "dither", [F_STEP] = "step", [F_SUSPEND] = "suspend",
	[F_PARAM] = "param", [F_STOP] = "stop", [F_SOURCE] = "source", [F_FORK] = "fork",
	[F_SKEW] = "skew", [F_LATE] = "late", [F_HOLD] = "hold", [F_READ] = "read",
	[F_ISOLATED] = "isolated", [F_TASK] = "task", [F_OWNER] = "owner",
	[F_GUEST] = "guest", [F_VMCLOCK] = "vmclock", [F_TIMER] = "timer",
};

enum kind {
	A_PAGE,			/* read the page some times */
	A_WATCH,		/* the same, with sleep in between */
	A_FOLLOW,		/* read it around a tick, and while who does it is stopped */
	A_SLOW, A_GET, A_PUT, A_SLEEP, A_INTERVAL, A_WINDOW, A_SLACK, A_STOP, A_START,
	A_RESTART,		/* stop and start */
	A_SHORTEN,		/* a parameter, and be stopped until what it gives has ended */
	A_UPDATE, A_TASK, A_OWNER,
};

static struct parkclock_clock clock_page;
static struct mutex param_mutex;
static unsigned int base_interval_ms, interval_ms, window, slack;
static bool disabled, starts_held;

static const int clock_ids[] = {
	CLOCK_MONOTONIC, CLOCK_MONOTONIC, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME,
	CLOCK_TAI,
};

unsigned int run_interval_ms(void)
{
	return interval_ms;
}

unsigned int run_window(void)
{
	return window;
}

/* Not far from what it was, or there are thousands of ticks in a nap. */
static unsigned int some_interval(void)
{
	static const unsigned int some[] = { 1, 1, 2, 3, 8 };

	return base_interval_ms * some[rnd(ARRAY_SIZE(some))];
}

static struct action some_action(void)
{
	static const struct {
		enum feature feature;
		enum kind kind;
		enum update update;
		unsigned char weight;
	} all[] = {
		{ F_READ, A_PAGE, 0, 4 }, { F_READ, A_WATCH, 0, 2 },
		{ F_READ, A_FOLLOW, 0, 5 }, { F_READ, A_SLOW, 0, 2 },
		{ F_READ, A_SLEEP, 0, 2 },
		{ F_HOLD, A_GET, 0, 3 }, { F_HOLD, A_PUT, 0, 3 },
		{ F_PARAM, A_INTERVAL, 0, 3 }, { F_PARAM, A_WINDOW, 0, 3 },
		{ F_PARAM, A_SLACK, 0, 1 }, { F_PARAM, A_SHORTEN, 0, 3 },
		{ F_STOP, A_STOP, 0, 4 }, { F_STOP, A_START, 0, 6 }, { F_STOP, A_RESTART, 0, 4 },
		{ F_STOP, A_GET, 0, 6 }, { F_SOURCE, A_GET, 0, 4 },
		{ F_READ, A_UPDATE, U_TICK, 1 }, { F_DITHER, A_UPDATE, U_DITHER, 4 },
		{ F_RATE, A_UPDATE, U_RATE, 3 }, { F_STEP, A_UPDATE, U_STEP, 1 },
		{ F_STEP, A_UPDATE, U_LEAP, 1 }, { F_STEP, A_UPDATE, U_TAI, 1 },
		{ F_SOURCE, A_UPDATE, U_SOURCE, 5 }, { F_SUSPEND, A_UPDATE, U_SUSPEND, 2 },
		{ F_FORK, A_UPDATE, U_FORK, 2 }, { F_TASK, A_TASK, 0, 30 },
		{ F_OWNER, A_OWNER, 0, 30 },
	};
	unsigned int i, sum = 0, at;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		sum += sim.features[all[i].feature] ? all[i].weight : 0;
	at = rnd(sum);
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		if (!sim.features[all[i].feature])
			continue;
		if (at < all[i].weight)
			break;
		at -= all[i].weight;
	}
	return (struct action){ all[i].kind, all[i].update, rnd64() };
}

/*
 * All that a schedule is, from its seed. @features: which may be in it, bit by bit; or, if
 * @directed, which are.
 */
void actors_plan(u64 features, bool directed)
{
#define FOCUS(f)	(1ULL << (f))
	static const u64 focuses[] = {
		FOCUS(F_DITHER), FOCUS(F_DITHER), FOCUS(F_DITHER) | FOCUS(F_PARAM) | FOCUS(F_LATE),
		FOCUS(F_DITHER) | FOCUS(F_PARAM), FOCUS(F_DITHER) | FOCUS(F_STOP),
		FOCUS(F_STOP), FOCUS(F_SOURCE), FOCUS(F_RATE), FOCUS(F_LATE),
		FOCUS(F_RATE) | FOCUS(F_PARAM), FOCUS(F_RATE) | FOCUS(F_STOP),
		FOCUS(F_RATE) | FOCUS(F_LATE), FOCUS(F_SUSPEND) | FOCUS(F_STOP),
		FOCUS(F_TASK), FOCUS(F_TASK) | FOCUS(F_LATE),
		FOCUS(F_OWNER) | FOCUS(F_DITHER) | FOCUS(F_VMCLOCK),
		FOCUS(F_OWNER) | FOCUS(F_RATE) | FOCUS(F_GUEST) | FOCUS(F_VMCLOCK),
		FOCUS(F_OWNER) | FOCUS(F_TIMER) | FOCUS(F_DITHER),
		FOCUS(F_OWNER) | FOCUS(F_TIMER) | FOCUS(F_RATE) | FOCUS(F_STOP),
		FOCUS(F_TASK) | FOCUS(F_TIMER),
	};
	static const unsigned int khz[] = { 1000000, 2000000, 2300000, 2999998, 3500001 };
	bool focus;
	int i, j;

	/* In each schedule a part of it, so that little things are not drowned. */
	focus = !directed && !one_in(3);
	if (focus)
		features &= FOCUS(F_READ) | FOCUS(F_HOLD) | focuses[rnd(ARRAY_SIZE(focuses))];
	for (i = 0; i < F_FEATURES; i++)
		sim.features[i] = features >> i & 1 &&
				  (i == F_READ || i == F_HOLD || focus || directed || one_in(3));
	sim_cpus = one_in(2) ? 2 : one_in(4) ? 4 : 3;
	tsc_khz = khz[rnd(ARRAY_SIZE(khz))];
	sim.shift = one_in(4) ? 11 + rnd(10) : 11 + rnd(4);
	base_interval_ms = one_in(4) ? 100 : one_in(2) ? 10 : 1;
	interval_ms = some_interval();
	window = 2 + rnd(4);
	slack = rnd(4) * 10;
	starts_held = one_in(2);
	for (i = 0; i < sim_cpus; i++) {
		sim.lengths[i] = 1 + (one_in(3) ? rnd(ACTIONS) : rnd(4));
		for (j = 0; j < sim.lengths[i]; j++)
			sim.program[i][j] = some_action();
	}
	sim.now = 1000000 + rnd_log(1ULL << 40);
	/* Near where the counter wraps, but not 0: see sleep_host(). */
	sim.offset = one_in(8) ? -sim.now - 1000 - rnd_log(MS(interval_ms) * 4) :
				 rnd_log(1ULL << 40);
	sim.mean = 3 + rnd_log(120);
	sim.stop_odds = 2 + rnd_log(40);
	sim.switch_odds = 40 + rnd(216);
	sim.buffers = !one_in(4);
	sim.drain_one_in = 1 + rnd_log(30);
	sim.hold_most = 1 + rnd_log(200000);
	/* Or a store stays where it is until something forces it out. */
	if (sim.buffers && one_in(directed ? 2 : 4)) {
		sim.drain_one_in = 1000000;
		sim.hold_most = MS(interval_ms) * window * 2;
	}
	sim.move_odds = one_in(2) ? rnd(4) : 8 + rnd(120);
	sim.move_most = 1 + rnd_log(400);
}

/* With the CPUs there. */
void actors_start(void)
{
	int i;

	clock_page = (struct parkclock_clock){
		.magic = PARKCLOCK_CLOCK_MAGIC,
		.version = PARKCLOCK_VERSION,
		.timebase = PARKCLOCK_PAGE_SIZE,
	};
	param_mutex = (struct mutex){};
	disabled = false;
	if (sim.features[F_SKEW])
		for (i = 0; i < sim_cpus; i++)
			cpus[i].skew = (s64)rnd(200) - 100;
}

/* On the first CPU, after the module's init; nobody else runs yet. */
void actors_boot(void)
{
	set_param("interval_ms", interval_ms);
	set_param("window_intervals", window);
	set_param("slack_percent", slack);
	if (sim.features[F_TASK])
		tasks_boot();
	if (sim.features[F_OWNER])
		owners_boot();
	if (starts_held) {
		hold_taking();
		take_reference();
		hold_taken();
	}
}

/* True if the page has the time. */
bool try_page(int id)
{
	struct parkclock_reading r;
	struct attempt a;
	bool found;

	me->doing = "read";
	reading_begin(&a);
	me->user = true;
	found = read_page(&clock_page, timebase_map(), id, &r) >= 0;
	me->user = false;
	if (found)
		reading_end(&a, parkclock_index(id), &r, false);
	else
		reading_none(&a);
	return found;
}

static void try_slow(int id)
{
	struct parkclock_reading r;
	struct attempt a;

	me->doing = "READ";
	hold_taking();
	reading_begin(&a);
	if (read_slow(&clock_page, id, &r))
		fail("read", "READ has no time");
	checks.puts++;
	checks.holds++;
	a.holds++;
	reading_end(&a, parkclock_index(id), &r, true);
	hold_dropped();
}

static void set(const char *name, unsigned int *mine, unsigned int value)
{
	me->doing = name;
	sim_mutex_lock(&param_mutex);
	if (recording)
		record("sets %s to %u", name, value);
	*mine = value;
	set_param(name, value);
	sim_mutex_unlock(&param_mutex);
}

static void enable(bool on)
{
	me->doing = on ? "start" : "stop";
	sim_mutex_lock(&param_mutex);
	if (on == disabled) {
		if (!on)
			checks.stopped++;
		disabled = !on;
		set_param("enabled", on);
		if (on)
			checks.stopped--;
		else
			check_stopped();
	}
	sim_mutex_unlock(&param_mutex);
}

void end_stop(void)
{
	enable(true);
}

void end_hold(void)
{
	me->doing = "put";
	hold_dropping();
	drop_reference();
	hold_dropped();
}

/* Sleep, and be woken by a stop of a CPU that holds a lock: then the answer is true. */
bool doze_until(u64 when)
{
	me->doing = "sleep";
	me->user = true;
	me->napping = true;
	me->wake_at = NEVER;
	sleep_until(when);
	me->napping = false;
	me->user = false;
	return me->wake_at != NEVER;
}

static void nap_until(u64 when)
{
	int n;

	if (!doze_until(when))
		return;
	for (n = 2 + rnd(3); n; n--)
		if (!try_page(CLOCK_MONOTONIC) && one_in(2))
			try_slow(CLOCK_MONOTONIC);
}

static void nap(void)
{
	nap_until(choose_stop());
}

/* Until the page of a parked updater ends within the 20 us that a cut leaves to a segment. */
static void await_end(void)
{
	u64 when = window_end() - sim.offset - rnd(tsc_khz / 50);

	if (updater_state() == PARKCLOCK_PARKED &&
	    when - sim.now < MS(run_interval_ms()) * run_window())
		nap_until(when);
}

/* A CPU that is stopped where it holds a lock, if there is one. */
static const struct cpu *stopped_writer(void)
{
	int i;

	for (i = 0; i < sim_cpus; i++)
		if (&cpus[i] != me && cpus[i].locks && cpus[i].ready_at > sim.now)
			return &cpus[i];
	return NULL;
}

/* Do what is next when another CPU goes on with what it does. */
static void meet(void)
{
	int i = rnd(sim_cpus);

	if (cpus[i].ready_at > sim.now && &cpus[i] != me)
		nap_until(one_in(3) ? cpus[i].ready_at : beside(cpus[i].ready_at));
}

/* When others see what has been published, or near that; or soon, or now */
u64 choose_news(void)
{
	const struct cpu *writer = stopped_writer();
	const u64 forced = oldest_store() + sim.hold_most;

	if (forced > sim.now && forced < NEVER / 2 && one_in(3))
		return forced - rnd_log(30);
	if (writer && !one_in(3))
		return one_in(2) ? writer->ready_at : beside(writer->ready_at);
	if (writer && one_in(2))
		return sim.now + rnd(writer->ready_at - sim.now);
	return one_in(2) ? sim.now + rnd_log(2000) : sim.now;
}

static void follow(int id, unsigned int n)
{
	u64 when;

	if (!stopped_writer() && timer_due() != NEVER && one_in(2))
		nap_until(beside(timer_due()));
	for (; n; n--) {
		/* As a program does. The slow path may publish another segment. */
		if (!try_page(id) && one_in(2))
			try_slow(id);
		when = choose_news();
		if (when != sim.now)
			nap_until(when);
	}
}

static bool frozen(const void *arg)
{
	(void)arg;
	return sim.freeze;
}

static void act(const struct action *a)
{
	int id = clock_ids[a->value % ARRAY_SIZE(clock_ids)];
	unsigned int i, n = 1 + (a->value >> 8) % 4;

	switch (a->kind) {
	case A_PAGE:
		for (i = 0; i < n; i++)
			try_page(id);
		break;
	case A_WATCH:
		for (i = 0; i < n; i++) {
			nap();
			try_page(id);
		}
		break;
	case A_FOLLOW:
		follow(id, 2 + 2 * n);
		break;
	case A_SLOW:
		if (one_in(3))
			await_end();
		try_slow(id);
		break;
	case A_GET:
		if (one_in(3))
			await_end();
		me->doing = "get";
		hold_taking();
		get_begin();
		take_reference();
		get_end();
		hold_taken();
		try_page(id);
		break;
	case A_PUT:
		if ((int)(checks.holds - checks.puts) > checks.of_tasks)
			end_hold();
		break;
	case A_SLEEP:
		nap();
		break;
	case A_INTERVAL:
		set("interval_ms", &interval_ms, some_interval());
		break;
	case A_WINDOW:
		set("window_intervals", &window, 2 + a->value % 4);
		break;
	case A_SLACK:
		set("slack_percent", &slack, a->value % 51);
		break;
	case A_SHORTEN:
		/* It matters where the page is ahead of the host's clock. */
		if (sim.features[F_RATE] && one_in(2))
			timekeeper_update(U_RATE, 0);
		me->hold_up = true;
		if (one_in(2))
			set("window_intervals", &window, 2);
		else
			set("interval_ms", &interval_ms, base_interval_ms);
		me->hold_up = false;
		break;
	case A_STOP:
		enable(false);
		break;
	case A_RESTART:
		enable(false);
		enable(true);
		break;
	case A_START:
		enable(true);
		break;
	case A_UPDATE:
		me->doing = "timekeeper";
		timekeeper_update(a->arg, a->value);
		break;
	case A_TASK:
		tasks_act();
		break;
	case A_OWNER:
		owners_act();
		break;
	}
}

static bool others_act(const void *arg)
{
	int i;

	(void)arg;
	for (i = 1; i < sim_cpus; i++)
		if (!cpus[i].done)
			return true;
	return false;
}

void actor(int cpu)
{
	int i;

	for (i = 0; i < sim.lengths[cpu]; i++) {
		if (sim.skipped >> (cpu * ACTIONS + i) & 1)
			continue;
		settled(me);
		me->doing = "";
		me->user = true;
		wait_while(frozen, NULL);
		me->user = false;
		run_works();
		if (sim.features[F_DITHER] && one_in(3)) {
			me->doing = "timekeeper";
			timekeeper_update(U_DITHER, rnd(2));
		}
		if (one_in(2))
			meet();
		act(&sim.program[cpu][i]);
	}
	if (sim.features[F_TASK])
		tasks_finish();
	if (cpu == 0) {
		me->doing = "done";
		me->user = true;
		wait_while(others_act, NULL);
		me->user = false;
		if (sim.features[F_OWNER])
			owners_finish(false);
		check_end();
		if (sim.features[F_OWNER])
			owners_finish(true);
		module_exit_sim();
		/* What kfree_rcu() frees, which nobody waits for. */
		rcu_barrier();
		if (allocations())
			fail("leak", "%u allocations are left", allocations());
		finish();
	}
}
