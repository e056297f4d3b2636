// SPDX-License-Identifier: GPL-2.0
/*
 * The host's clock, and the truth about it.
 *
 * An update does what Linux's does, in its order: takes the timekeeper's lock, reads the
 * counter, accumulates, makes the sequence count odd, tells the vDSO, tells the listeners,
 * makes the count even. It can be stopped anywhere in between. From its cycle_last on the
 * new terms say what the old ones said at the counter value that it read; the MONOTONIC
 * time that they say is exact, and what readers are held against. A version of them counts
 * from the moment at which the even sequence count is visible.
 */
#include <string.h>
#include <linux/parkclock.h>

#include "sim.h"

#define VERSIONS	256		/* kept; a power of two */
#define HPET_SHIFT	7		/* cycles of the counter per cycle of the other one, log2 */

unsigned int tsc_khz;

static struct clocksource tsc_clock = { "tsc", VDSO_CLOCKMODE_TSC };
static struct clocksource other_clock = { "hpet", VDSO_CLOCKMODE_NONE };
static struct timekeeper tk;
static struct version versions[VERSIONS];
static unsigned int made, visible, announced;
static bool jumps;
static unsigned int forks;	/* of the machine, that are being told of */
static raw_spinlock_t tk_lock;
static bool odd;
static struct notifier_block *gtod_chain;
static u32 calm_mult;
static const struct cpu *suspender;

static u64 counter(void)
{
	return sim.now + sim.offset + me->skew;
}

u64 sim_rdtsc(bool ordered)
{
	u64 cycles, incarnation;

	(void)ordered;
	point(P_SYNC);
	me->incarnation = sim.incarnation;
	me->cycles = counter();
	if (recording)
		record("reads the counter: %llu", me->cycles);
	cycles = me->cycles;
	incarnation = me->incarnation;
	/* What it has read grows old; or a segment that has been cut off just then ends. */
	if (me->locks && me->head != me->tail) {
		if (one_in(4))
			stop_until(sim.now + (one_in(2) ? rnd_log(200000) : rnd(200000)));
		else
			sim.budget = 0;
	} else if (me->locks && one_in(6)) {
		stop_until(sim.now + rnd(tsc_khz / 50));
	}
	point(P_SYNC);
	/* What is made from it ends before it is published. */
	if (me->hold_up && me->locks) {
		me->hold_up = false;
		stop_until(sim.now + MS(run_interval_ms()) * run_window() +
			   rnd_log(MS(run_interval_ms()) * run_window()));
	}
	me->cycles = cycles;
	me->incarnation = incarnation;
	return me->guest ? guest_counter(cycles) : cycles;
}

unsigned int version_now(void)
{
	return max(visible, me->version);
}

unsigned int version_last(void)
{
	return announced;
}

u64 version_cycles(const struct version *v, u64 when)
{
	return v->usable ? when + sim.offset : when >> HPET_SHIFT;
}

const struct version *version_get(unsigned int index)
{
	return &versions[index % VERSIONS];
}

static u64 clock_cycles(const struct version *v, u64 cycles)
{
	return v->usable ? cycles : sim.now >> HPET_SHIFT;
}

static u128 at_clock(const struct version *v, u64 cycles)
{
	s64 delta = cycles - v->cycle_last;

	if (delta < 0)
		delta = 0;
	return ((u128)v->base_ns << PARKCLOCK_SHIFT) +
	       (((u128)(u64)delta * v->mult + v->xtime_nsec) << (PARKCLOCK_SHIFT - v->shift));
}

u128 version_at(const struct version *v, u64 cycles)
{
	return at_clock(v, cycles);
}

bool timekeeper_lock_is(const raw_spinlock_t *lock)
{
	return lock == &tk_lock;
}

/* Is the host's clock being changed otherwise than in its rate? */
bool timekeeper_jumps(void)
{
	return jumps || forks;
}

/* How long @ns of the host's clock are, as fast as it is now; rounded up. */
u64 timekeeper_cycles(u64 ns)
{
	const struct version *v = version_get(version_now());
	u128 fixed = (u128)ns << v->shift;

	return (fixed / v->mult + 1) << (v->usable ? 0 : HPET_SHIFT);
}

static bool is_odd(const void *arg)
{
	(void)arg;
	return odd;
}

ktime_t sim_ktime_get(void)
{
	const struct version *v;

	point(P_ONCE);
	while (odd)
		wait_while(is_odd, NULL);
	v = version_get(version_now());
	return at_clock(v, clock_cycles(v, counter())) >> PARKCLOCK_SHIFT;
}

ktime_t ktime_mono_to_any(ktime_t mono, enum tk_offsets to)
{
	static const unsigned char index[] = {
		[TK_OFFS_REAL] = PARKCLOCK_REALTIME, [TK_OFFS_BOOT] = PARKCLOCK_BOOTTIME,
		[TK_OFFS_TAI] = PARKCLOCK_TAI,
	};

	point(P_ONCE);
	while (odd)
		wait_while(is_odd, NULL);
	return mono + version_get(version_now())->offs[index[to]];
}

static void tell(bool was_set)
{
	jumps = was_set;
	call_chain(gtod_chain, was_set, &tk);
}

static void copy_out(const struct version *v)
{
	tk.tkr_mono.clock = v->usable ? &tsc_clock : &other_clock;
	tk.tkr_mono.cycle_last = v->cycle_last;
	tk.tkr_mono.mult = v->mult;
	tk.tkr_mono.shift = v->shift;
	tk.tkr_mono.xtime_nsec = v->xtime_nsec;
	tk.tkr_mono.base = v->base_ns;
	tk.offs_real = v->offs[PARKCLOCK_REALTIME];
	tk.offs_boot = v->offs[PARKCLOCK_BOOTTIME];
	tk.offs_tai = v->offs[PARKCLOCK_TAI];
}

/* Under the lock: the terms that @v has, told and visible. */
static void publish(const struct version *v, bool was_set)
{
	point(P_SYNC);
	odd = true;
	jumps = was_set;
	sim.events++;
	if (recording)
		record("timekeeper: update begins: mult %u, shift %u, cycle_last %llu", v->mult,
		       v->shift, v->cycle_last);
	point(P_SYNC);
	/* Who reads the host's clock from here on waits, and then reads this. */
	announced = made + 1;
	versions[announced % VERSIONS] = *v;
	copy_out(v);
	tell(was_set);
	point(P_SYNC);
	made = announced;
	me->version = made;
	mark(MARK_VERSION, made, 0);
	odd = false;
	jumps = false;
	if (recording)
		record("timekeeper: update %u ends", made);
	point(P_SYNC);
}

/* Whole seconds go into the base, as in tkr_mono. */
static void normalise(struct version *v)
{
	u64 second = (u64)NSEC_PER_SEC << v->shift;

	if (v->xtime_nsec >= second) {
		v->base_ns += v->xtime_nsec / second * NSEC_PER_SEC;
		v->xtime_nsec %= second;
	}
}

/*
 * Accumulate up to @cycles, or a little less: what is left over goes on by the new mult,
 * corrected so that the clock is continuous at @cycles.
 */
static void accumulate(struct version *v, u64 cycles, u32 mult)
{
	u64 delta = (s64)(cycles - v->cycle_last) > 0 ? cycles - v->cycle_last : 0;
	u64 left = 0;

	if (one_in(2))
		left = min(rnd_log(4000000), delta);
	v->xtime_nsec += delta * v->mult;
	normalise(v);
	if (left * mult > v->xtime_nsec)
		left = 0;
	v->xtime_nsec -= left * mult;
	v->cycle_last += delta - left;
	v->mult = mult;
}

/* Another clocksource: cycles and shift are others. */
static void change_source(struct version *v)
{
	u64 frac = v->xtime_nsec;
	u32 was = v->shift;

	v->usable = !v->usable;
	v->shift = v->usable ? sim.shift : 10;
	v->mult = v->usable ? calm_mult : (calm_mult << HPET_SHIFT) >> (sim.shift - 10);
	v->xtime_nsec = v->shift > was ? frac << (v->shift - was) : frac >> (was - v->shift);
	v->cycle_last = clock_cycles(v, counter());
}

static bool others_run(const void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < sim_cpus; i++) {
		struct cpu *c = &cpus[i];

		if (c != suspender && !c->done &&
		    !(c->user && (c->blocked || c->asleep) && !c->in_irq && !c->task_waits))
			return true;
	}
	return irq_work_outstanding();
}

/* With everybody else frozen, the lock held: sleep, and go on. */
static void sleep_host(struct version *v)
{
	u64 length = rnd_log(MS(run_interval_ms()) * run_window() * 4) + 1;
	s64 ns;

	/* timekeeping_suspend() */
	accumulate(v, clock_cycles(v, counter()), v->mult);
	publish(v, false);
	drain_older(NEVER);
	sim.now += length;
	ns = length / (tsc_khz / 1000) * 1000;
	if (one_in(2)) {
		/* Not 0: by that a reading says that it has no counter value. */
		u64 cycles = 1 + (one_in(2) ? rnd_log(1000000) : rnd64() >> rnd(20) >> 2);

		sim.offset = cycles - sim.now;
		sim.incarnation++;
		if (recording)
			record("the counter begins anew at %llu", cycles);
	}
	/* timekeeping_resume() */
	v->cycle_last = clock_cycles(v, counter());
	v->incarnation = sim.incarnation;
	if (!one_in(8)) {
		v->offs[PARKCLOCK_BOOTTIME] += ns;
		v->offs[PARKCLOCK_REALTIME] += ns;
		v->offs[PARKCLOCK_TAI] += ns;
	}
	publish(v, true);
}

static void suspend_host(void)
{
	struct version v;
	unsigned long flags;

	if (suspender)
		return;
	suspender = me;
	sim.freeze = true;
	wait_while(others_run, NULL);
	checks.stopped++;
	devices_suspend(true);
	check_stopped();
	flags = sim_irq_save();
	sim_mb();
	sim_lock(&tk_lock);
	v = versions[made % VERSIONS];
	sleep_host(&v);
	sim_unlock(&tk_lock);
	sim_irq_restore(flags);
	devices_suspend(false);
	/* To wake tasks takes locks. */
	sim_mb();
	checks.stopped--;
	sim.freeze = false;
	suspender = NULL;
}

void timekeeper_update(enum update what, u64 value)
{
	struct version v;
	unsigned long flags;
	bool was_set = false;
	u32 mult;
	s64 ns;

	if (what == U_SUSPEND) {
		suspend_host();
		return;
	}
	if (what == U_FORK) {
		forks++;
		call_chain(fork_chain, 0, NULL);
		/* The chain's lock */
		sim_mb();
		sim.copies++;
		forks--;
		return;
	}
	flags = sim_irq_save();
	sim_lock(&tk_lock);
	v = versions[made % VERSIONS];
	point(P_SYNC);
	mult = v.mult;
	if (v.usable) {
		if (what == U_DITHER)
			mult = value & 1 ? calm_mult + 1 : calm_mult;
		else if (what == U_RATE)
			mult = calm_mult - calm_mult / 2000 + value % (calm_mult / 1000 + 1);
	}
	if (recording)
		record("timekeeper: reads the counter: %llu", counter());
	accumulate(&v, clock_cycles(&v, counter()), mult);
	/* How long this takes is by how much the clock leaves the line that it was on. */
	if (what == U_DITHER && one_in(3))
		stop_until(sim.now + rnd_log(4ULL << v.shift));
	else if (what == U_RATE && one_in(3))
		stop_until(sim.now + rnd_log(2 * MS(run_interval_ms())));
	switch (what) {
	case U_RATE:
		if (v.usable)
			calm_mult = mult;
		break;
	case U_STEP:
		ns = (s64)value >> 1 >> rnd(50);
		ns %= 1000000000000LL;
		v.offs[PARKCLOCK_REALTIME] += ns;
		v.offs[PARKCLOCK_TAI] += ns;
		was_set = true;
		break;
	case U_LEAP:
		v.offs[PARKCLOCK_REALTIME] += value & 1 ? NSEC_PER_SEC : -NSEC_PER_SEC;
		was_set = true;
		break;
	case U_TAI:
		v.offs[PARKCLOCK_TAI] = v.offs[PARKCLOCK_REALTIME] +
					(s64)(value % 40) * NSEC_PER_SEC;
		was_set = true;
		break;
	case U_SOURCE:
		change_source(&v);
		was_set = true;
		break;
	default:
		break;
	}
	publish(&v, was_set);
	sim_unlock(&tk_lock);
	sim_irq_restore(flags);
}

int pvclock_gtod_register_notifier(struct notifier_block *nb)
{
	unsigned long flags;

	flags = sim_irq_save();
	sim_lock(&tk_lock);
	nb->next = gtod_chain;
	gtod_chain = nb;
	tell(true);
	jumps = false;
	sim_unlock(&tk_lock);
	sim_irq_restore(flags);
	return 0;
}

int pvclock_gtod_unregister_notifier(struct notifier_block *nb)
{
	struct notifier_block **at;
	unsigned long flags;

	flags = sim_irq_save();
	sim_lock(&tk_lock);
	for (at = &gtod_chain; *at; at = &(*at)->next)
		if (*at == nb) {
			*at = nb->next;
			break;
		}
	sim_unlock(&tk_lock);
	sim_irq_restore(flags);
	return 0;
}

void timekeeper_made_visible(unsigned int version)
{
	visible = max(visible, version);
}

void timekeeper_reset(void)
{
	struct version *v = &versions[0];

	memset(&tk, 0, sizeof(tk));
	made = 0;
	announced = 0;
	visible = 0;
	odd = false;
	jumps = false;
	forks = 0;
	gtod_chain = NULL;
	suspender = NULL;
	tk_lock.locked = 0;
	calm_mult = ((u64)NSEC_PER_MSEC << sim.shift) / tsc_khz;
	*v = (struct version){
		.usable = true,
		.mult = calm_mult,
		.shift = sim.shift,
		.cycle_last = sim.now + sim.offset,
		.base_ns = 1 + rnd_log(100000000000ULL),
		.xtime_nsec = rnd((u64)NSEC_PER_SEC << sim.shift),
		.offs = {
			[PARKCLOCK_REALTIME] = 1700000000000000000LL,
			[PARKCLOCK_BOOTTIME] = 0,
			[PARKCLOCK_TAI] = 1700000037000000000LL,
		},
		.incarnation = sim.incarnation,
	};
	copy_out(v);
}
