// SPDX-License-Identifier: GPL-2.0
/*
 * CPUs: contexts that are switched at scheduling points, and time.
 *
 * What finds faults is not to be spread evenly. A CPU that stops wakes with preference
 * when something else happens: another CPU wakes, a timer is due, the window ends; or
 * some hundred cycles beside that. It stops more often where it holds a lock. The
 * counter stands still between most points.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

struct sim sim;
struct cpu cpus[SIM_CPUS];
struct cpu *me;
int sim_cpus;
bool recording;
struct failure failure;
unsigned long total_points;

char stacks[SIM_CPUS][STACK_SIZE] __attribute__((__aligned__(64)));
static void *main_sp;

#define STEPS_MOST	60000
#define IN_A_ROW_MOST	8

/*
 * Save what a function must preserve, go on with the other stack. The floating-point
 * state is the same everywhere.
 */
void switch_stack(void **from, void *to);
__asm__(".text\n"
	".globl switch_stack\n"
	".type switch_stack, @function\n"
	"switch_stack:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size switch_stack, . - switch_stack\n");

static void leave(struct cpu *next)
{
	struct cpu *was = me;

	if (next == was)
		return;
	me = next;
	switch_stack(&was->sp, next->sp);
}

void finish(void)
{
	void *nowhere;

	me = NULL;
	switch_stack(&nowhere, main_sp);
	__builtin_unreachable();
}

void fail(const char *kind, const char *format, ...)
{
	va_list args;

	sim.failed = true;
	failure.kind = kind;
	va_start(args, format);
	vsnprintf(failure.what, sizeof(failure.what), format, args);
	va_end(args);
	record("*** %s: %s", kind, failure.what);
	finish();
}

/* When there is something to do for it; NEVER if it waits for another CPU. */
static u64 ready_at(const struct cpu *c)
{
	u64 due = NEVER;

	if (!c->done && !c->asleep && !c->blocked)
		return c->ready_at;
	if (c->blocked && !c->blocked(c->blocked_arg))
		return 0;
	if (!c->irqs_off && !c->in_irq)
		due = c->irq_at;
	return c->asleep ? min(due, c->ready_at) : due;
}

static void advance(u64 when)
{
	if (when <= sim.now)
		return;
	sim.now = when;
	if (sim.buffers)
		drain_older(sim.now - min(sim.hold_most, sim.now));
}

static bool all_done(void)
{
	int i;

	for (i = 0; i < sim_cpus; i++)
		if (!cpus[i].done)
			return false;
	return true;
}

/* Another CPU than this one, if there is one that can go on; time passes if none can. */
static struct cpu *choose(bool others)
{
	struct cpu *ready[SIM_CPUS];
	u64 first, at;
	int i, n;

	for (;;) {
		n = 0;
		first = NEVER;
		for (i = 0; i < sim_cpus; i++) {
			struct cpu *c = &cpus[i];

			at = ready_at(c);
			if (at <= sim.now)
				ready[n++] = c;
			else if (at < first)
				first = at;
		}
		if (others && n > 1) {
			for (i = 0; i < n; i++)
				if (ready[i] == me)
					ready[i] = ready[--n];
		}
		if (n)
			return ready[n > 1 ? rnd(n) : 0];
		if (all_done() && !irq_work_outstanding())
			return NULL;
		/* A store that gets there may let another CPU go on. */
		if (sim.buffers)
			first = min(first, oldest_store() + sim.hold_most);
		if (first == NEVER)
			fail("deadlock", "no CPU can go on");
		advance(first);
	}
}

/* Let others go on until this one is chosen. */
static void yield_cpu(bool others)
{
	struct cpu *next = choose(others);

	if (!next)
		finish();
	leave(next);
}

void deliver(void)
{
	struct cpu *c = me;

	if (c->asleep || c->done || c->blocked)
		c->in_a_row = 0;
	while (!c->irqs_off && !c->in_irq && c->irq_at <= sim.now) {
		bool user = c->user, asleep = c->asleep, done = c->done;
		bool (*blocked)(const void *arg) = c->blocked;
		const void *arg = c->blocked_arg;

		c->user = false;
		c->asleep = false;
		c->done = false;
		c->blocked = NULL;
		c->in_a_row++;
		irq_run(c);
		if (callback_count)
			run_callbacks(true);
		c->user = user;
		c->asleep = asleep;
		c->done = done;
		c->blocked = blocked;
		c->blocked_arg = arg;
	}
}

/* A program that runs while a task waits in the kernel for something is in its way. */
static bool frozen(const void *arg)
{
	const struct cpu *c = arg;

	return sim.freeze && !c->task_waits;
}

void sleep_until(u64 when)
{
	struct cpu *c = me;

	settled(c);
	for (;;) {
		deliver();
		if (c->napping)
			when = min(when, c->wake_at);
		if (sim.now >= when)
			break;
		c->asleep = true;
		c->ready_at = when;
		yield_cpu(false);
		c->asleep = false;
	}
	c->ready_at = 0;
	if (c->user)
		wait_while(frozen, c);
}

void wait_while(bool (*blocked)(const void *arg), const void *arg)
{
	struct cpu *c = me;

	settled(c);
	while (blocked(arg)) {
		if (sim.quiet)
			fail("deadlock", "blocked before there is anybody else");
		c->blocked = blocked;
		c->blocked_arg = arg;
		yield_cpu(false);
		c->blocked = NULL;
		deliver();
	}
}

u64 beside(u64 when)
{
	s64 off = (s64)rnd_log(1000);

	return one_in(2) ? when + off : when - off;
}

/*
 * How long to stop or to sleep: until when, in true time. The end of the window is one of
 * the counter.
 */
u64 choose_stop(void)
{
	u64 when = 0, interval = MS(run_interval_ms());
	int i;

	switch (rnd(9)) {
	case 0:
		when = sim.now + rnd_log(1000);
		break;
	case 1:
		when = sim.now + rnd_log(100000);
		break;
	case 2:
		when = sim.now + rnd_log(8 * interval);
		break;
	case 3:
		for (i = rnd(sim_cpus); i < sim_cpus; i++)
			if (&cpus[i] != me && cpus[i].ready_at > sim.now && !cpus[i].done) {
				when = beside(cpus[i].ready_at);
				break;
			}
		break;
	case 4:
		if (timer_due() != NEVER)
			when = beside(timer_due());
		break;
	case 5:
		/* 20 us before it, a segment is cut off no more. */
		when = window_end() - sim.offset;
		when = one_in(3) ? when - rnd_log(tsc_khz / 50) : beside(when);
		break;
	case 6:
		when = sim.now + rnd(interval * run_window());
		break;
	case 8:
		/* What is about to be published will have ended. */
		if (me->locks && !me->in_irq && one_in(2))
			when = sim.now + interval * run_window() + rnd_log(interval);
		else
			when = sim.now + rnd_log(1000);
		break;
	case 7:
		when = beside(window_end() - sim.offset - (one_in(2) ? interval : 0)) +
		       (one_in(4) ? interval : 0);
		break;
	}
	/* Too far, or in the past? */
	if (when - sim.now > 20 * interval * run_window())
		when = sim.now + rnd_log(interval);
	return when;
}

/* Programs that sleep are there when a CPU that holds a lock goes on. */
static void wake_readers(u64 when)
{
	int i;

	for (i = 0; i < sim_cpus; i++) {
		struct cpu *c = &cpus[i];
		u64 then = c->early ? sim.now : when;

		if (c->napping && c->asleep && c->ready_at > then && one_in(2)) {
			c->wake_at = then;
			c->ready_at = then;
		}
	}
}

void stop_until(u64 when)
{
	struct cpu *c = me;

	/*
	 * Nobody is stopped before the others begin, and at the end; nor is a CPU whose
	 * interrupts last so long that the next one is always due: it would do nothing else.
	 */
	if (when <= sim.now || sim.quiet || !sim.stop_odds || c->in_a_row > IN_A_ROW_MOST)
		return;
	if (c->locks)
		wake_readers(when);
	c->ready_at = when;
	if (recording)
		record("stops for %llu cycles", when - sim.now);
	yield_cpu(false);
	c->ready_at = 0;
	if (recording)
		record("goes on");
}

void schedule_slow(enum point kind)
{
	struct cpu *c = me;
	unsigned int odds = sim.stop_odds;
	u64 dice;
	int i;

	(void)kind;
	if (c->in_a_row && !c->in_irq)
		c->in_a_row--;
	sim.steps++;
	if (sim.steps > STEPS_MOST) {
		failure.endless = true;
		finish();
	}
	dice = rnd64();
	if ((dice & 0xff) < sim.move_odds)
		advance(sim.now + 1 + (dice >> 32) % sim.move_most);
	if (sim.buffers) {
		for (i = 0; i < sim_cpus; i++)
			if (cpus[i].head != cpus[i].tail && one_in(sim.drain_one_in))
				drain(&cpus[i], 1 + rnd(4));
	}
	/* With a lock held, and stores that nobody else sees yet, is where it matters most. */
	if (c->locks)
		odds *= c->head != c->tail ? 3 : 2;
	if ((dice >> 8 & 0xff) < odds)
		stop_until(choose_stop());
	else if ((dice >> 16 & 0xff) < sim.switch_odds)
		yield_cpu(true);
	deliver();
	if (c->user && sim.freeze)
		wait_while(frozen, c);
	sim.budget = 1 + (dice >> 40) % (2 * sim.mean);
}

static void run_cpu(void)
{
	struct cpu *c = me;

	if (c->id == 0) {
		int err;

		sim.quiet = true;
		err = module_init_sim();
		if (err)
			fail("init", "error %d", err);
		actors_boot();
		sim.quiet = false;
	}
	actor(c->id);
	settled(c);
	c->done = true;
	c->doing = "idle";
	for (;;) {
		deliver();
		yield_cpu(false);
	}
}

void cpus_reset(void)
{
	int i;

	for (i = 0; i < sim_cpus; i++) {
		struct cpu *c = &cpus[i];
		void **sp = (void **)(stacks[i] + STACK_SIZE - 64);

		memset(c, 0, offsetof(struct cpu, buf));
		memset(&c->head, 0, sizeof(*c) - offsetof(struct cpu, head));
		c->id = i;
		c->irq_at = NEVER;
		c->doing = "";
		/* As if it had been switched away from at its first instruction. */
		*--sp = NULL;
		*--sp = (void *)run_cpu;
		sp -= 6;
		memset(sp, 0, 6 * sizeof(*sp));
		c->sp = sp;
	}
}

bool cpus_run(void)
{
	me = &cpus[0];
	switch_stack(&main_sp, cpus[0].sp);
	total_points += sim.points;
	return !sim.failed;
}
