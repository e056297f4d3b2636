// SPDX-License-Identifier: GPL-2.0
/*
 * What tasks ask the module for: compiled as the module is, to see its structures. See
 * also reader.c.
 */
#include <linux/parkclock.h>
#include "account.h"
#include "clock.h"
#include "cpu_timer.h"
#include "host.h"
#include "refs.h"
#include "registration.h"
#include "switch.h"
#include "sched.h"
#include "tasks.h"
#include "timeline.h"
#include "saved.h"
#include "updater.h"
#include "vmclock.h"
#include "vmclock_abi.h"
#include "wall_timer.h"

/* What looks without being part of the schedule is not instrumented. */
#define LOOKS	__attribute__((__no_sanitize__("thread")))

static struct parkclock *clocks[CLOCKS + 1];

void ioctl_init(void)
{
	parkclock_switch_init();
}

void ioctl_exit(void)
{
	parkclock_switch_exit();
}

bool ioctl_open(int clock)
{
	struct parkclock *c = parkclock_clock_create();

	if (IS_ERR(c))
		return false;
	clocks[clock] = c;
	return true;
}

void ioctl_close(int clock)
{
	parkclock_clock_leave(clocks[clock]);
}

int ioctl_register(int clock, int tid, u32 flags, bool process)
{
	const struct parkclock_register in = {
		.tid = tid,
		.flags = flags | (process ? PARKCLOCK_TASK_PROCESS : 0),
	};

	return parkclock_tasks_register(&clocks[clock]->registry, &in);
}

int ioctl_unregister(int clock, int tid, bool process)
{
	const struct parkclock_register in = {
		.tid = tid,
		.flags = process ? PARKCLOCK_TASK_PROCESS : 0,
	};

	return parkclock_tasks_unregister(&clocks[clock]->registry, &in);
}

/* The CPU time of all tasks, in cycles */
u64 ioctl_query(int clock, u64 *missed)
{
	struct parkclock_query q = {};

	parkclock_tasks_query(&clocks[clock]->registry, &q);
	*missed = q.run_missed;
	return clocks[clock]->registry.told;
}

/* Would a switch that begins now find it, as the memory says? Somebody may be adding it. */
LOOKS bool would_find(int clock, const struct task_struct *task)
{
	const struct parkclock_table *table = parkclock_table;
	const u64 bit = (u64)task * parkclock_table_key >> table->to_bit;
	bool inherit, own;

	return table->filter[bit / 64] >> bit % 64 & 1 &&
	       is_registered(clock, task, &inherit, &own);
}

/* Is it in the table, as the memory says? */
LOOKS bool is_registered(int clock, const struct task_struct *task, bool *inherit, bool *own)
{
	const struct parkclock_table *table = parkclock_table;
	const u64 hash = (u64)task * parkclock_table_key, bit = hash >> table->to_bit;
	const struct hlist_node *n;

	for (n = table->buckets[hash >> table->to_bucket].first; n; n = n->next) {
		const struct parkclock_registration *r = container_of(n - table->which,
			struct parkclock_registration, entry.link[0]);

		if (r->entry.task != task || r->registry != &clocks[clock]->registry)
			continue;
		/* Who adds it has the lock. */
		if (!(table->filter[bit / 64] >> bit % 64 & 1) && !parkclock_table_lock.locked)
			fail("filter", "does not lead to the registration of task %d", task->pid);
		*inherit = r->inherit;
		*own = r->place == PARKCLOCK_PLACE_OWN;
		return true;
	}
	return false;
}

/* Gets minus puts, as the memory says: never less than 0 */
LOOKS long refs_in_memory(void)
{
	unsigned long refs = 0;
	int cpu;

	for (cpu = 0; cpu < sim_cpus; cpu++) {
		const struct parkclock_refs *r = per_cpu_ptr(&parkclock_refs, cpu);

		refs += r->gets - r->puts;
	}
	return refs;
}

/* Something of the clock is gone, and no work will free it. No CPU is in an interrupt. */
LOOKS bool nobody_frees(int clock)
{
	const struct parkclock_registry *registry = &clocks[clock]->registry;

	return registry->gone.first && !registry->lock.lock.locked &&
	       !registry->reap_work.pending && !work_runs(&registry->reap_work);
}

/* Timers, without their descriptors */

static struct {
	struct parkclock *clock;
	struct parkclock_wall_timer *wall;
	struct parkclock_cpu_timer *cpu;
} timers[4];

bool timer_create(unsigned int timer, int clock, int id)
{
	struct parkclock_cpu *cpu;

	timers[timer].wall = NULL;
	timers[timer].cpu = NULL;
	timers[timer].clock = clocks[clock];
	if (id == PARKCLOCK_CPUTIME_ID) {
		cpu = parkclock_clock_cpu(clocks[clock]);
		if (!cpu)
			return false;
		timers[timer].cpu = kzalloc(sizeof(*timers[timer].cpu), GFP_KERNEL);
		if (!timers[timer].cpu)
			return false;
		parkclock_cpu_timer_create(timers[timer].cpu, cpu);
	} else {
		timers[timer].wall = kzalloc(sizeof(*timers[timer].wall), GFP_KERNEL);
		if (!timers[timer].wall)
			return false;
		parkclock_wall_timer_create(timers[timer].wall, &clocks[clock]->timers, id);
	}
	kref_get(&clocks[clock]->users);
	parkclock_clock_use(clocks[clock]);
	return true;
}

void timer_destroy(unsigned int timer)
{
	if (timers[timer].cpu)
		parkclock_cpu_timer_destroy(timers[timer].cpu);
	else
		parkclock_wall_timer_destroy(timers[timer].wall);
	parkclock_clock_put(timers[timer].clock);
	kfree(timers[timer].cpu);
	kfree(timers[timer].wall);
}

void timer_set(unsigned int timer, struct parkclock_timer_set *to)
{
	if (timers[timer].cpu)
		parkclock_cpu_timer_set(timers[timer].cpu, to);
	else
		parkclock_wall_timer_set(timers[timer].wall, to);
}

void timer_get(unsigned int timer, struct parkclock_timer_state *state)
{
	if (timers[timer].cpu)
		parkclock_cpu_timer_get(timers[timer].cpu, state);
	else
		parkclock_wall_timer_get(timers[timer].wall, state);
}

static LOOKS wait_queue_head_t *timer_queue(unsigned int timer)
{
	return timers[timer].cpu ? &timers[timer].cpu->wait : &timers[timer].wall->wait;
}

static LOOKS void forget_wake(unsigned int timer)
{
	timer_queue(timer)->woken = false;
}

/* Who reads does not sleep: it must be woken for what comes after that. */
int timer_take(unsigned int timer, struct parkclock_expired *out)
{
	forget_wake(timer);
	return timers[timer].cpu ? parkclock_cpu_timer_take(timers[timer].cpu, out) :
				   parkclock_wall_timer_take(timers[timer].wall, out);
}

/* Was anybody woken since the last read? */
LOOKS bool timer_woken(unsigned int timer)
{
	return timer_queue(timer)->woken;
}

LOOKS bool timer_waits(unsigned int timer)
{
	const struct parkclock_setting *s = timers[timer].cpu ? &timers[timer].cpu->setting :
								&timers[timer].wall->setting;

	return s->state == PARKCLOCK_TIMER_WAITING;
}

/* What is wrong with how a clock's CPU timers are armed, or NULL; as the memory says */
LOOKS const char *cpu_timer_wrong(int clock)
{
	const struct parkclock_cpu *cpu = clocks[clock]->cpu;
	const struct list_head *list = cpu ? &cpu->queue.list : NULL;
	bool armed, due, waits;

	/* Whoever has the lock is about to change it. */
	if (!cpu || cpu->lock.locked || cpu->hrtimer.running)
		return NULL;
	armed = cpu->hrtimer.queued;
	waits = list->next != list;
	due = waits && parkclock_timebase_ns(cpu->told) >=
	      (u64)container_of(list->next, struct timerqueue_node, link)->expires;
	if (cpu->astray)
		return NULL;
	if (armed && !waits)
		return "nobody waits, and the timer is armed";
	if (armed && !cpu->runners && !due)
		return "no task runs, and the timer is armed";
	/* Where the counter was unusable it is armed at the next switch. */
	if (!armed && waits && cpu->runners && !sim.features[F_SOURCE])
		return "a timer waits, tasks run, and none is armed";
	return NULL;
}

/* The CPU time of a clock, as READ has it */
u64 cpu_ns(int clock)
{
	struct parkclock_reading r;

	return parkclock_clock_cpu_read(clocks[clock], &r) ? 0 : r.ns;
}

/* Registrations, or references of tasks, that are left */
bool anything_registered(void)
{
	struct parkclock_query q = {};

	parkclock_switch_query(&q);
	return q.all_tasks || q.all_running;
}

/* What owners ask for */

void ioctl_use(int clock)
{
	parkclock_clock_use(clocks[clock]);
}

int ioctl_stop(int clock)
{
	return parkclock_timeline_stop(clocks[clock]);
}

int ioctl_start(int clock, bool freeze)
{
	return parkclock_timeline_start(clocks[clock], freeze ? PARKCLOCK_GAP_FREEZE :
								PARKCLOCK_GAP_INCLUDE);
}

/* @r: the counter and the bound at the instant of the stop */
void ioctl_save(int clock, struct parkclock_saved *saved, struct parkclock_reading *r)
{
	parkclock_timeline_save(clocks[clock], saved);
	r->cycles = clocks[clock]->stopped.cycles;
	r->error_ns = clocks[clock]->stopped.error_ns;
	r->generation = saved->generation;
}

int ioctl_epoch(int clock)
{
	return parkclock_timeline_epoch(clocks[clock]);
}

int ioctl_restore(int clock, u64 ns)
{
	struct parkclock_saved saved = {
		.monotonic_ns = ns,
		.boottime_ns = ns,
		.realtime_ns = 1,
		.generation = 1,
	};

	parkclock_saved_seal(&saved);
	return parkclock_timeline_restore(clocks[clock], &saved, PARKCLOCK_GAP_FREEZE);
}

int ioctl_set_offsets(int clock, const s64 *to)
{
	const struct parkclock_offsets offsets = { .monotonic_ns = to[0], .boottime_ns = to[1] };

	return parkclock_timeline_offsets(clocks[clock], &offsets);
}

u64 ioctl_disruptions(void)
{
	return parkclock_timebase_disruptions();
}

int ioctl_set_guest(int clock, u64 offset, u64 ratio, u32 shift, u64 disruptions)
{
	const struct parkclock_guest_tsc tsc = {
		.offset = offset,
		.ratio = ratio,
		.shift = shift,
		.disruptions = disruptions,
	};

	return parkclock_clock_set_guest(clocks[clock], &tsc);
}

void ioctl_hold(int clock)
{
	parkclock_clock_hold(clocks[clock]);
}

/* One more reference to the VMClock page, as a switch takes and drops it */
void ioctl_hold_vmclock(int clock)
{
	parkclock_vmclock_get(clocks[clock]->vmclock);
	parkclock_vmclock_put(clocks[clock]->vmclock);
}

void ioctl_release(int clock)
{
	parkclock_clock_release(clocks[clock]);
}

int ioctl_publish(int clock)
{
	return parkclock_clock_publish(clocks[clock], CLOCK_MONOTONIC);
}

/* What the page says, as this CPU sees it */
LOOKS struct terms ioctl_terms(int clock)
{
	const struct parkclock_clock *map = clocks[clock]->page.map;

	return (struct terms) {
		.offset_ns = {
			own_view(&map->offset_ns[PARKCLOCK_MONOTONIC], 8),
			own_view(&map->offset_ns[PARKCLOCK_BOOTTIME], 8),
		},
		.generation = own_view(&map->generation, 8),
		.state = own_view(&map->state, 8),
	};
}

/* Readers: 0, or why there is no time */

int ioctl_read(int clock, int id, struct parkclock_reading *r)
{
	return parkclock_updater_read(clocks[clock]->page.map, id, r) ? (int)PARKCLOCK_IS_STOPPED : 0;
}

int read_owned(int clock, int id, bool guest, struct parkclock_reading *r)
{
	const struct parkclock_clock *map = clocks[clock]->page.map;
	long long ns;

	if (guest)
		ns = __parkclock_read(map, timebase_map(), id, 1, 1, r);
	else
		ns = __parkclock_read(map, timebase_map(), id, 1, 0, r);
	return ns < 0 ? (int)ns : 0;
}

/* floor(a * b / 2^shift), for shifts above 64 */
static u128 scaled(u64 a, u64 b, unsigned int shift)
{
	return (u128)a * b >> shift;
}

/* A reader of a VMClock page, as its specification has it; it gives up while it is written. */
int read_vmclock(int clock, struct parkclock_reading *r)
{
	const struct vmc_abi *p = page_address(parkclock_vmclock_page(clocks[clock]->vmclock));
	u64 flags, value, period, period_error, sec, frac, error_ns, now;
	u8 status, period_shift;
	u128 time;
	u32 seq;

	do {
		/* seq_count, then the rest; pairs with the writer's barrier. */
		seq = smp_load_acquire(&p->seq_count);
		if (seq & 1)
			return -1;
		status = READ_ONCE(p->clock_status);
		flags = READ_ONCE(p->flags);
		value = READ_ONCE(p->counter_value);
		period = READ_ONCE(p->counter_period_frac_sec);
		period_shift = READ_ONCE(p->counter_period_shift);
		period_error = READ_ONCE(p->counter_period_maxerror_rate_frac_sec);
		sec = READ_ONCE(p->time_sec);
		frac = READ_ONCE(p->time_frac_sec);
		error_ns = READ_ONCE(p->time_maxerror_nanosec);
		now = rdtsc_ordered();
		/* The rest, then seq_count; pairs with the writer's release. */
		smp_rmb();
	} while (READ_ONCE(p->seq_count) != seq);
	if (status == VMC_STATUS_UNRELIABLE)
		return -1;
	if (!(flags & VMC_FLAG_TIME_MONOTONIC) || !(flags & VMC_FLAG_TIME_MAXERROR_VALID) ||
	    !(flags & VMC_FLAG_PERIOD_MAXERROR_VALID))
		fail("vmclock", "flags %llx", flags);
	time = ((u128)sec << 64 | frac) + scaled(now - value, period, period_shift);
	r->ns = (u64)(time >> 64) * NSEC_PER_SEC + (u64)((u128)(u64)time * NSEC_PER_SEC >> 64);
	/* Whole ns here and in what it is held against */
	r->error_ns = error_ns + 2 +
		      (u64)(scaled(now - value, period_error, period_shift) * NSEC_PER_SEC >> 64);
	r->cycles = now;
	return 0;
}
