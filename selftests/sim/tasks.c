// SPDX-License-Identifier: GPL-2.0
/*
 * What tasks do, and what must hold of those that are registered.
 *
 * - A task that is registered holds a reference from the end of the switch to it until it
 *   blocks or dies, or its registration is being ended: check.c holds the page and the
 *   updater against that, as for any holder.
 * - A switch to a registered task leaves no stale page.
 * - When nothing is being registered, a registration is there until it is ended or its task
 *   has died. REGISTER of a process leaves out no thread, a child inherits, UNREGISTER
 *   leaves nothing.
 * - The CPU time of a clock is between the time for which its tasks have run and been
 *   registered for certain, and that for which they may have; all in cycles. It never
 *   becomes less.
 * - There are never more puts than gets, and in the end as many.
 * - What is gone is freed though nobody asks the clock for anything.
 * - When the module is gone no probe runs.
 *
 * An ioctl that is under way makes its tasks' registrations uncertain; what is there when
 * none is under way any more counts from then on.
 */
#include <stdio.h>
#include <string.h>
#include <linux/parkclock.h>

#include "sched.h"

/* An ioctl, or a fork, that a CPU is in */
static struct {
	bool active;
	bool ends;		/* registrations, and does not begin them */
	int clock;		/* -1: any */
	int tgid;		/* all tasks of a process; -1: of all processes; 0: see @task */
	const struct task *task;
} doing[SIM_CPUS];

/* Their number: has one come meanwhile? */
static unsigned int begun[2], exits;
static unsigned int registers;		/* REGISTERs: their begins and ends */
static int registering;
static u64 sure[CLOCKS], possible[CLOCKS];
static u64 told[CLOCKS];
static bool open[CLOCKS];
static bool closing;
static bool gained;		/* Some task has more privileges than others. */
static int waiting;

static bool concerns(int cpu, const struct task *t, int clock)
{
	if (!doing[cpu].active || (doing[cpu].clock >= 0 && doing[cpu].clock != clock))
		return false;
	if (doing[cpu].tgid)
		return doing[cpu].tgid < 0 || doing[cpu].tgid == t->t->tgid;
	return doing[cpu].task == t;
}

static bool uncertain(const struct task *t, int clock)
{
	int i;

	for (i = 0; i < sim_cpus; i++)
		if (concerns(i, t, clock))
			return true;
	return false;
}

static bool ending(const struct task *t, int clock)
{
	int i;

	for (i = 0; i < sim_cpus; i++)
		if (concerns(i, t, clock) && doing[i].ends)
			return true;
	return false;
}

/* Does its CPU time grow from now on? */
static void count(struct task *t, int clock)
{
	struct registration *r = &t->with[clock];
	bool is = t->runs_surely && r->on && !ending(t, clock);

	if (r->sure_since)
		sure[clock] += sim.now - r->sure_since;
	r->sure_since = is ? sim.now : 0;
	is = t->runs && (r->on || uncertain(t, clock));
	if (r->possible_since)
		possible[clock] += sim.now - r->possible_since;
	r->possible_since = is ? sim.now : 0;
}

static void forget_found(struct registration *r)
{
	r->found = false;
	r->found_since = 0;
	r->found_for = 0;
}

static void may_hold(struct registration *r)
{
	if (r->may_hold)
		return;
	r->may_hold = true;
	hold_taking();
}

static void may_not_hold(struct registration *r)
{
	if (!r->may_hold)
		return;
	r->may_hold = false;
	hold_dropped();
}

static void holds(struct registration *r)
{
	if (r->held)
		return;
	may_hold(r);
	r->held = true;
	checks.of_tasks++;
	hold_taken();
}

static void holds_no_more(struct registration *r)
{
	if (!r->held)
		return;
	r->held = false;
	checks.of_tasks--;
	hold_dropping();
}

/* Nothing is under way about it: what is in the table counts. */
static void look(struct task *t, int clock)
{
	struct registration *r = &t->with[clock];
	bool inherit, own, was = r->on;

	if (t->state == TASK_NONE || uncertain(t, clock))
		return;
	r->on = open[clock] && is_registered(clock, t->t, &inherit, &own);
	if (r->on && !was)
		sure[clock] += r->found_for + (r->found_since ? sim.now - r->found_since : 0);
	forget_found(r);
	if (r->on && !own && t->t->cred == &sim_gained)
		fail("exec", "task %d has gained privileges, and others have it registered",
		     t->t->pid);
	if (was && !r->on && !t->exits)
		fail("registration", "of task %d with clock %d is gone", t->t->pid, clock);
	if (t->state == TASK_GONE && r->on)
		fail("registration", "of task %d, which is dead, is there", t->t->pid);
	if (r->on && t->runs_surely)
		holds(r);
	else if (!r->on && t->runs == t->runs_surely)
		may_not_hold(r);
	else if (t->state == TASK_BLOCKED)
		may_not_hold(r);
	count(t, clock);
}

static void for_concerned(void (*f)(struct task *t, int clock))
{
	int i, k;

	for (i = 0; i < TASKS; i++)
		for (k = 0; k < CLOCKS; k++)
			if (tasks[i].state != TASK_NONE && concerns(me->id, &tasks[i], k))
				f(&tasks[i], k);
}

static void may_begin(struct task *t, int clock)
{
	may_hold(&t->with[clock]);
	count(t, clock);
}

static void may_end(struct task *t, int clock)
{
	holds_no_more(&t->with[clock]);
	forget_found(&t->with[clock]);
	t->with[clock].on = false;
	count(t, clock);
}

static void begins(bool ends, int clock, int tgid, const struct task *t)
{
	settled(me);
	begun[ends]++;
	doing[me->id].ends = ends;
	doing[me->id].clock = clock;
	doing[me->id].tgid = tgid;
	doing[me->id].task = t;
	doing[me->id].active = true;
	for_concerned(ends ? may_end : may_begin);
}

static void is_over(void)
{
	int i, k;

	sim_mb();
	begun[doing[me->id].ends]++;
	doing[me->id].active = false;
	for (i = 0; i < TASKS; i++)
		for (k = 0; k < CLOCKS; k++)
			look(&tasks[i], k);
}

/* Is none under way, and has none come since there were so many? */
static bool none_since(bool ends, unsigned int count)
{
	int i;

	for (i = 0; i < sim_cpus; i++)
		if (doing[i].active && doing[i].ends == ends)
			return false;
	return begun[ends] == count;
}

static void check_refs(void)
{
	if (refs_in_memory() < 0)
		fail("references", "there are %ld", refs_in_memory());
}

void tasks_switch_begins(struct task *was, struct task *is, bool leaves)
{
	int k;

	settled(me);
	was->runs_surely = false;
	is->runs = true;
	is->fresh = 0;
	for (k = 0; k < CLOCKS; k++) {
		if (leaves)
			holds_no_more(&was->with[k]);
		if (was->with[k].found_since)
			was->with[k].found_for += sim.now - was->with[k].found_since;
		was->with[k].found_since = 0;
		is->with[k].found = open[k] && !closing && !is->with[k].on && uncertain(is, k) &&
				    !ending(is, k) && would_find(k, is->t);
		if (is->with[k].on || uncertain(is, k))
			may_hold(&is->with[k]);
		if (is->with[k].on && !ending(is, k))
			is->fresh |= 1 << k;
		count(was, k);
		count(is, k);
	}
	me->get_stale = false;
	if (is->fresh)
		get_begin();
}

void tasks_switch_called(struct task *was, struct task *is, bool leaves, bool dies)
{
	int k;

	settled(me);
	was->runs = false;
	is->runs_surely = true;
	for (k = 0; k < CLOCKS; k++) {
		struct registration *r = &was->with[k];
		bool inherit, own;

		if (dies && !uncertain(was, k)) {
			r->on = false;
			if (open[k] && is_registered(k, was->t, &inherit, &own))
				fail("registration", "task %d has died, and it is there",
				     was->t->pid);
		}
		if (leaves && !uncertain(was, k))
			may_not_hold(r);
		r = &is->with[k];
		if (r->found && !ending(is, k))
			r->found_since = sim.now;
		if (r->on && !ending(is, k))
			holds(r);
		else
			is->fresh &= ~(1 << k);
		if (!r->on && !uncertain(is, k))
			may_not_hold(r);
		count(was, k);
		count(is, k);
	}
	if (is->fresh)
		get_end();
	me->get_stale = false;
	check_refs();
}

/* Of those that can run, or can be woken. The idle task if there is none */
static struct task *next_task(void)
{
	int i, n = 0;
	struct task *can[TASKS];

	for (i = 0; i < TASKS; i++) {
		struct task *t = &tasks[i];

		if ((t->state == TASK_READY || t->state == TASK_BLOCKED) && !t->claimed &&
		    !t->pinned && !peek(&t->t->on_cpu, 4))
			can[n++] = t;
	}
	if (!n)
		return task_of(idle_task());
	return can[rnd(n)];
}

static void switch_to(struct task *next, enum how how)
{
	struct task_struct *now = sim_current();
	unsigned int state = how == SWITCH_DIE ? TASK_DEAD :
			     how == SWITCH_BLOCK || how == SWITCH_SIGNAL ? TASK_INTERRUPTIBLE : 0;

	if (next->t == now)
		return;
	next->claimed = true;
	/* Who wakes it has seen that it is off its CPU. */
	sim_mb();
	if (next->state == TASK_BLOCKED) {
		sim_store(&next->t->__state, 4, 0);
		next->state = TASK_READY;
		point(P_SYNC);
	}
	/* Preempted on its way to block */
	if (how == SWITCH_PREEMPT && !is_idle(now) && one_in(4))
		state = TASK_INTERRUPTIBLE;
	switch_to_task(next->t, how, state);
	if (sim_current()->__state)
		sim_store(&sim_current()->__state, 4, 0);
}

static enum how some_way(void)
{
	static const enum how ways[] = {
		SWITCH_PREEMPT, SWITCH_PREEMPT, SWITCH_BLOCK, SWITCH_BLOCK, SWITCH_BLOCK,
		SWITCH_YIELD, SWITCH_SIGNAL,
	};

	return is_idle(sim_current()) ? SWITCH_PREEMPT : ways[rnd(ARRAY_SIZE(ways))];
}

/* A task waits in the kernel. Meanwhile another one may run here. */
void tasks_leave_for(struct task_struct *task, bool (*blocked)(const void *arg), const void *arg)
{
	struct task *t = task_of(task);
	const char *was = me->doing;

	t->pinned = true;
	me->task_waits = true;
	switch_to_task(one_in(2) ? next_task()->t : idle_task(), SWITCH_BLOCK, TASK_UNINTERRUPTIBLE);
	if (!is_idle(sim_current()) && one_in(2))
		try_page(CLOCK_MONOTONIC);
	me->task_waits = false;
	wait_while(blocked, arg);
	sim_store(&task->__state, 4, 0);
	t->state = TASK_READY;
	t->claimed = true;
	switch_to(t, some_way());
	t->pinned = false;
	me->doing = was;
}

static struct task *some_task(void)
{
	struct task *t = &tasks[rnd(TASKS)];

	return t->state == TASK_NONE || !t->t->listed ? task_of(sim_current()) : t;
}

static void query(int clock)
{
	u64 least = sure[clock], most, now, missed;
	int i;

	me->doing = "QUERY";
	settled(me);
	for (i = 0; i < TASKS; i++)
		if (tasks[i].with[clock].sure_since)
			least += sim.now - tasks[i].with[clock].sure_since;
	now = ioctl_query(clock, &missed);
	settled(me);
	most = possible[clock];
	for (i = 0; i < TASKS; i++)
		if (tasks[i].with[clock].possible_since)
			most += sim.now - tasks[i].with[clock].possible_since;
	if (recording)
		record("clock %d: CPU time is %llu, of %llu to %llu cycles", clock, now, least, most);
	if (now < told[clock])
		fail("cputime", "of clock %d is %llu, and was %llu", clock, now, told[clock]);
	told[clock] = now;
	/* Where the counter began anew, or differs between CPUs, less is promised. */
	if (sim.incarnation || sim.features[F_SKEW])
		return;
	if (now > most || (now < least && !sim.features[F_SOURCE]))
		fail("cputime", "of clock %d is %llu, and not between %llu and %llu", clock, now,
		     least, most);
}

/*
 * Has it passed on its registration to what it created while the call was under way? Not if
 * it was registered before, to inherit nothing.
 */
static bool creator_inherits(const struct task *t, int clock)
{
	bool inherit, own;

	return t->creator && t->creator->order == t->creator_order &&
	       t->creator->state != TASK_NONE &&
	       is_registered(clock, t->creator->t, &inherit, &own) && inherit;
}

/* Is each thread registered that was created by then, and does not exit? */
static void check_threads(int clock, int tgid, u32 since, u32 last)
{
	bool inherit, own;
	int i;

	for (i = 0; i < TASKS; i++) {
		const struct task *t = &tasks[i];

		if (t->state == TASK_NONE || t->state == TASK_GONE || t->exits ||
		    t->t->tgid != tgid || t->order > last ||
		    (t->order > since && !creator_inherits(t, clock)))
			continue;
		if (!is_registered(clock, t->t, &inherit, &own))
			fail("left out", "task %d, of a process that was registered", t->t->pid);
	}
}

/* The last task such that none up to it is still being created */
static u32 last_order(void)
{
	u32 last = 0;
	int i;

	for (i = 0; i < TASKS; i++)
		if (tasks[i].state != TASK_NONE)
			last = max(last, tasks[i].order);
	for (i = 0; i < TASKS; i++)
		if (tasks[i].state == TASK_NEW)
			last = min(last, tasks[i].order - 1);
	return last;
}

static void do_register(int clock)
{
	struct task *t = one_in(2) ? task_of(sim_current()) : some_task();
	const unsigned int ended = begun[1], failures = alloc_failures, exited = exits;
	const bool process = one_in(2);
	const u32 flags = one_in(2) ? PARKCLOCK_TASK_INHERIT : 0;
	const u32 since = last_order();
	const unsigned int other = registers++;
	const bool alone = !registering++;
	const int tid = t == task_of(sim_current()) && one_in(2) ? 0 : t->t->pid;
	const int tgid = t->t->tgid;
	bool all;
	int err;

	me->doing = "REGISTER";
	if (recording)
		record("clock %d: registers task %d%s%s", clock, t->t->pid,
		       process ? ", its process" : "", flags ? ", inherits" : "");
	begins(false, clock, process ? tgid : 0, t);
	err = ioctl_register(clock, tid, flags, process);
	sim_mb();
	if (recording)
		record("REGISTER: %d", err);
	if (err && err != -ENOMEM && err != -ESRCH && err != -EEXIST &&
	    !(err == -EPERM && gained))
		fail("register", "error %d", err);
	if (err == -ENOMEM && failures == alloc_failures)
		fail("register", "error %d", err);
	all = (!err || err == -EEXIST) && none_since(true, ended) && exits == exited;
	/* Another REGISTER takes back what was there, if the task has gained privileges. */
	if (gained && !(alone && registers == other + 1))
		all = false;
	if (all && process)
		check_threads(clock, tgid, since,
			      flags && !err && failures == alloc_failures && alone &&
			      registers == other + 1 ? last_order() : since);
	registers++;
	registering--;
	is_over();
}

static void do_unregister(int clock)
{
	struct task *t = one_in(2) ? task_of(sim_current()) : some_task();
	const unsigned int added = begun[0];
	const bool process = one_in(2);
	bool inherit, own;
	int i, err;

	me->doing = "UNREGISTER";
	if (recording)
		record("clock %d: unregisters task %d%s", clock, t->t->pid,
		       process ? " and its process" : "");
	begins(true, clock, process ? t->t->tgid : 0, t);
	err = ioctl_unregister(clock, t->t->pid, process);
	sim_mb();
	if (err && err != -ESRCH && err != -ENOENT)
		fail("unregister", "error %d", err);
	if (!err && none_since(false, added))
		for (i = 0; i < TASKS; i++)
			if (tasks[i].state != TASK_NONE && concerns(me->id, &tasks[i], clock) &&
			    tasks[i].t->listed && is_registered(clock, tasks[i].t, &inherit, &own))
				fail("registration", "of task %d is there, and was ended",
				     tasks[i].t->pid);
	is_over();
}

static void do_fork(void)
{
	struct task *parent = task_of(sim_current());
	const unsigned int ended = begun[1], failures = alloc_failures;
	struct task *child = make_task(one_in(2) ? parent->t->tgid : 0);
	bool inherits[CLOCKS] = {}, own;
	u32 order;
	int k;

	if (!child)
		return;
	order = child->order;
	me->doing = "fork";
	if (recording)
		record("task %d creates task %d", parent->t->pid, child->t->pid);
	child->creator = parent;
	child->creator_order = parent->order;
	begins(false, -1, 0, child);
	for (k = 0; k < CLOCKS; k++)
		inherits[k] = parent->with[k].on &&
			      is_registered(k, parent->t, &inherits[k], &own) && inherits[k];
	/* Among the threads of its process, and found by its number */
	sim_store(&child->t->listed, 4, child->order);
	point(P_SYNC);
	call_fork(parent->t, child->t);
	/* wake_up_new_task() takes locks. */
	sim_mb();
	child->state = TASK_READY;
	is_over();
	for (k = 0; k < CLOCKS; k++)
		if (inherits[k] && child->order == order && child->state != TASK_NONE &&
		    child->state != TASK_GONE && !child->exits && !child->with[k].on &&
		    !uncertain(child, k) && none_since(true, ended) && failures == alloc_failures)
			fail("inherit", "task %d has not", child->t->pid);
	point(P_SYNC);
}

static void rest(void)
{
	me->doing = "runs";
	me->user = true;
	sleep_until(choose_stop());
	me->user = false;
}

/* A new program, which may have privileges */
static void do_exec(void)
{
	struct task *t = task_of(sim_current());
	const unsigned int added = begun[0];
	const bool gains = one_in(2);
	bool inherit, own;
	int i, k;

	/* The other threads of its process are gone by then. */
	for (i = 0; i < TASKS; i++)
		if (&tasks[i] != t && tasks[i].state != TASK_NONE && tasks[i].state != TASK_GONE &&
		    tasks[i].t->tgid == t->t->tgid)
			return;
	me->doing = "exec";
	if (recording)
		record("task %d has a new program%s", t->t->pid, gains ? ", with privileges" : "");
	if (gains) {
		begins(true, -1, 0, t);
		gained = true;
	}
	call_exec(t->t, gains);
	settled(me);
	if (!gains)
		return;
	for (k = 0; k < CLOCKS; k++)
		if (open[k] && none_since(false, added) && is_registered(k, t->t, &inherit, &own))
			fail("exec", "task %d is registered still", t->t->pid);
	is_over();
	/* What a REGISTER adds now must not be passed on. */
	if (registering && one_in(2)) {
		rest();
		do_fork();
	}
}

static void do_exit_task(void)
{
	struct task *t = task_of(sim_current());
	bool early = one_in(2);

	me->doing = "exit";
	t->exits = true;
	exits++;
	sim_store(&t->t->exit_state, 4, 32);
	if (early) {
		point(P_SYNC);
		unlist_task(t);
	}
	point(P_SYNC);
	switch_to(next_task(), SWITCH_DIE);
	/* Its parent waits for it, and then lets it go. */
	if (!early)
		unlist_task(t);
}

static void some_switch(void)
{
	struct task *next = next_task();

	if (one_in(6))
		next = task_of(idle_task());
	switch_to(next, some_way());
}

/* By another CPU, just now */
static bool is_being_registered(const struct task *t)
{
	int i;

	for (i = 0; i < sim_cpus; i++)
		if (!doing[i].ends && doing[i].clock >= 0 && concerns(i, t, doing[i].clock))
			return true;
	return false;
}

/* One of the things that a task does; fewer when clocks are being closed. */
static void step(void)
{
	unsigned int dice = rnd(closing ? 10 : 20);
	int clock = rnd(CLOCKS);

	if (is_idle(sim_current()) || dice < 5) {
		some_switch();
		return;
	}
	if (dice >= 10 && !open[clock])
		return;
	if (is_being_registered(task_of(sim_current())) && one_in(8))
		dice = 16;
	switch (dice) {
	case 5:
		do_fork();
		break;
	case 6:
		do_exit_task();
		break;
	case 7:
		rest();
		break;
	default:
	case 8 ... 9:
		try_page(one_in(4) ? CLOCK_BOOTTIME : CLOCK_MONOTONIC);
		break;
	case 10 ... 12:
		do_register(clock);
		break;
	case 13 ... 14:
		do_unregister(clock);
		break;
	case 15:
		query(clock);
		break;
	case 16:
		do_exec();
		break;
	}
}

void tasks_act(void)
{
	unsigned int n = 1 + rnd(4);

	while (n--) {
		if (sim.features[F_TIMER] && one_in(2))
			timers_of_tasks_act();
		else
			step();
		if (one_in(4))
			run_works();
	}
}

static bool others_come(const void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < sim_cpus; i++)
		if (cpus[i].in_irq)
			return true;
	return waiting < sim_cpus - 1;
}

static bool not_closing(const void *arg)
{
	(void)arg;
	return !closing;
}

/* The last descriptors are closed, and the module goes, while tasks run, fork and die. */
static void close_all(void)
{
	int k;

	me->user = true;
	wait_while(others_come, NULL);
	me->user = false;
	for (k = 0; k < CLOCKS; k++)
		if (open[k] && nobody_frees(k))
			fail("freeing", "what is gone of clock %d waits for somebody to ask for it", k);
	for (k = 0; k < CLOCKS; k++)
		if (open[k])
			query(k);
	me->in_work = true;
	if (sim.features[F_TIMER])
		timers_of_tasks_finish();
	closing = true;
	for (k = 0; k < CLOCKS; k++) {
		if (!open[k])
			continue;
		me->doing = "close";
		begins(true, k, -1, NULL);
		ioctl_close(k);
		sim_mb();
		open[k] = false;
		is_over();
	}
	run_works();
	me->doing = "exit";
	ioctl_exit();
	settled(me);
	probes_gone();
	callbacks_gone();
	if (anything_registered())
		fail("references", "of tasks are left, or registrations");
	me->in_work = false;
}

/* Each CPU, when it has done all its actions */
void tasks_finish(void)
{
	unsigned int n;

	if (me->id == 0) {
		close_all();
		return;
	}
	waiting++;
	me->doing = "waits";
	me->user = true;
	wait_while(not_closing, NULL);
	me->user = false;
	for (n = 2 + rnd(8); n; n--)
		step();
}

/* On the first CPU; nobody else runs yet. */
void tasks_boot(void)
{
	unsigned int i, n = 2 + rnd(4);
	int tgid = 0;

	ioctl_init();
	for (i = 0; i < CLOCKS; i++)
		open[i] = ioctl_open(i);
	for (i = 0; i < n; i++) {
		struct task *t = make_task(one_in(3) ? 0 : tgid);

		t->t->listed = t->order;
		t->state = one_in(2) ? TASK_READY : TASK_BLOCKED;
		tgid = t->t->tgid;
	}
	if (sim.features[F_TIMER] && open[0] && one_in(2))
		timers_of_tasks();
	/* Then the table is about to grow, or grows as soon as the others begin. */
	for (i = one_in(2) ? 0 : rnd(n * 2); i; i--) {
		int clock = rnd(CLOCKS);

		if (open[clock])
			ioctl_register(clock, tasks[rnd(n)].t->pid,
				       one_in(2) ? PARKCLOCK_TASK_INHERIT : 0, one_in(2));
	}
	for (i = 0; i < n; i++) {
		look(&tasks[i], 0);
		look(&tasks[i], 1);
	}
}

void tasks_reset(void)
{
	memset(doing, 0, sizeof(doing));
	memset(begun, 0, sizeof(begun));
	memset(sure, 0, sizeof(sure));
	memset(possible, 0, sizeof(possible));
	memset(told, 0, sizeof(told));
	memset(open, 0, sizeof(open));
	exits = 0;
	registers = 0;
	registering = 0;
	closing = false;
	gained = false;
	waiting = 0;
	sched_reset(sim.features[F_TASK]);
}
