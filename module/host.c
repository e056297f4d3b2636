// SPDX-License-Identifier: GPL-2.0
/*
 * The host's clock: its value at a counter value, and its changes.
 *
 * The timekeeper computes
 *
 *	MONOTONIC = base + ((cycles - cycle_last) * mult + xtime_nsec) / 2^shift
 *
 * and tells its listeners (the pvclock_gtod chain, made for KVM) about every update of
 * these terms. We keep a copy of the terms, as KVM does. So where the clocksource is the
 * TSC, a sample is one TSC read and one multiplication. It is exact to the last bit of
 * the timekeeper's own, has all clocks at one instant, and cannot be torn by a step
 * between two calls. ktime_get_snapshot() offers less: 6.1's has no MONOTONIC and does
 * not name the counter, and newer kernels have another interface.
 *
 * The timekeeper calls our listener, host_update(), under its lock and with its sequence
 * count odd (except when a listener registers). Reading the time there would never
 * return. host_update() copies and compares the terms. If they have changed by more than a
 * segment's error allows for, it has the page published anew, on the spot: before the
 * update is over, and so before any system call can read the host's clock by the new
 * terms. A change of the rate alone takes the page from nobody.
 *
 * If readings from before and after the update cannot be subtracted, host_update() first
 * raises the epoch in the page by a plain store, and stores the reason. The page is invalid
 * from then on until it is published anew. An irq_work does what may wake somebody or arm
 * a timer.
 *
 * (The vDSO has a sequence count of its own and is told first: until host_update() is
 * called, a moment later, the vDSO of another CPU can be ahead of us.)
 */
#include <linux/clocksource.h>
#include <linux/irq_work.h>
#include <linux/notifier.h>
#include <linux/percpu.h>
#include <linux/pvclock_gtod.h>
#include <linux/random.h>
#include <linux/seqlock.h>
#include <linux/timekeeper_internal.h>
#include <linux/timekeeping.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <asm/msr.h>

#include "host.h"
#include "pollers.h"
#include "workers.h"

/* The timekeeper's terms, and what we derive from their changes. */
struct host_terms {
	bool usable;		/* the clocksource counts TSC cycles */
	u32 mult;
	u32 shift;
	u32 regime_mult;	/* @mult when @regime began */
	u64 cycle_last;
	u64 base_ns;
	u64 xtime_nsec;		/* shifted left by @shift */
	s64 offset_ns[PARKCLOCK_CLOCKS];
	u64 rate_changes;
	u64 regime;		/* counts the changes that segments do not allow for */
	u64 epoch;
	u64 generation;
};

static struct {
	/*
	 * Protects @terms. host_update() is the only writer, and the timekeeper's lock
	 * serialises its calls. It runs with interrupts disabled, so a reader in an
	 * interrupt cannot have interrupted it.
	 */
	seqcount_t seq;
	struct host_terms terms;
	struct parkclock_timebase *page;	/* only host_update() writes it */
	atomic64_t forks;
	u64 forks_seen;			/* used by host_update() only */
	bool suspending;
	bool jumped;			/* a discontinuity for which nobody was woken yet */
	void (*changing)(void);
	void (*changed)(void);
} host;

/*
 * One irq_work per CPU, because the work for a change must be done on the CPU that made the
 * change, before the call that made it is over. Another CPU may be kept from doing the same
 * for an earlier change.
 */
static DEFINE_PER_CPU(struct irq_work, changed_work);

static bool counts_tsc(const struct timekeeper *tk)
{
	return tk->tkr_mono.clock->vdso_clock_mode == VDSO_CLOCKMODE_TSC &&
	       tk->tkr_mono.shift <= PARKCLOCK_SHIFT;
}

static bool moved(const struct host_terms *old, const struct host_terms *new, int index)
{
	return new->offset_ns[index] != old->offset_ns[index];
}

/*
 * Why did the clock jump, as far as a reader can tell? The offsets show it: only a sleep
 * moves BOOTTIME, and a leap second moves UTC but not TAI. @slept covers a sleep that the
 * timekeeper did not notice: the counter may have begun anew in it.
 */
static u64 reason(const struct host_terms *old, const struct host_terms *new, bool forked,
		  bool slept)
{
	if (forked)
		return PARKCLOCK_REASON_FORK;
	if (new->usable != old->usable)
		return PARKCLOCK_REASON_COUNTER;
	if (slept || moved(old, new, PARKCLOCK_BOOTTIME))
		return PARKCLOCK_REASON_SUSPEND;
	if (!moved(old, new, PARKCLOCK_REALTIME))
		return moved(old, new, PARKCLOCK_TAI) ? PARKCLOCK_REASON_TAI :
							PARKCLOCK_REASON_NONE;
	return moved(old, new, PARKCLOCK_TAI) ? PARKCLOCK_REASON_STEP : PARKCLOCK_REASON_LEAP;
}

/* Can the counter, or the relation of a guest's counter to it, have changed? */
static bool disrupts(u64 why)
{
	return why == PARKCLOCK_REASON_SUSPEND || why == PARKCLOCK_REASON_COUNTER ||
	       why == PARKCLOCK_REASON_FORK;
}

/*
 * Does the clock run on at a rate that a segment of this regime allows for? The
 * timekeeper switches between neighbouring values of mult all the time; the bound includes
 * that (rate_slop).
 */
static bool runs_on(const struct host_terms *old, const struct host_terms *new)
{
	return new->shift == old->shift && new->mult - old->regime_mult + 1 <= 2;
}

/* By how many bits the timekeeper's fractions of a ns are to be shifted to be ours. */
static unsigned int shift_up(const struct host_terms *t)
{
	return PARKCLOCK_SHIFT - t->shift;
}

/*
 * MONOTONIC at a counter value, in 2^-56 ns. The counter of this CPU may be a little behind
 * the one by which the terms were made. The timekeeper then says what it says at
 * cycle_last. A segment that began like that would be off for other CPUs, so it begins on
 * the line that the clock has from cycle_last on. A counter that began anew is not on it.
 */
static unsigned __int128 terms_at(const struct host_terms *t, u64 cycles)
{
	s64 delta = cycles - t->cycle_last;

	if (delta < -PARKCLOCK_SKEW_CYCLES)
		delta = 0;
	return t->base_ns * PARKCLOCK_ONE_NS +
	       (((__int128)delta * t->mult + t->xtime_nsec) << shift_up(t));
}

/*
 * Can a segment of the same regime be off because it was computed from the old terms? An
 * update turns the clock's line about the counter value that it began with, and a sample by
 * the old terms may be later than that. The most that the sample can be off by is the
 * distance of both lines now that the new terms are there: PARKCLOCK_DRIFT is in the bound
 * of every segment. The distances of several updates do not add up. A sample is later than
 * the beginning of one update at most whose terms it has not; whatever a later update makes
 * of the rate, the bound includes as a rate.
 *
 * Half of PARKCLOCK_DRIFT is left for a processor that executes the end of the loop in
 * parkclock_host_sample() before it reads the counter.
 */
static bool drifts(const struct host_terms *old, const struct host_terms *new)
{
	__int128 off;
	u64 cycles;

	if (!new->usable || new->mult == old->mult)
		return false;
	/* The terms before the counter; pairs with the loop in parkclock_host_sample(). */
	smp_mb();
	cycles = rdtsc_ordered();
	off = terms_at(new, cycles) - terms_at(old, cycles);
	return off >= (__int128)(PARKCLOCK_DRIFT / 2) || off <= -(__int128)(PARKCLOCK_DRIFT / 2);
}

static int host_update(struct notifier_block *nb, unsigned long was_set, void *data)
{
	const struct timekeeper *tk = data;
	struct host_terms terms = {
		.usable = counts_tsc(tk),
		.mult = tk->tkr_mono.mult,
		.shift = tk->tkr_mono.shift,
		.regime_mult = host.terms.regime_mult,
		.cycle_last = tk->tkr_mono.cycle_last,
		.base_ns = ktime_to_ns(tk->tkr_mono.base),
		.xtime_nsec = tk->tkr_mono.xtime_nsec,
		.offset_ns = {
			[PARKCLOCK_REALTIME] = ktime_to_ns(tk->offs_real),
			[PARKCLOCK_BOOTTIME] = ktime_to_ns(tk->offs_boot),
			[PARKCLOCK_TAI] = ktime_to_ns(tk->offs_tai),
		},
		.rate_changes = host.terms.rate_changes,
		.regime = host.terms.regime,
		.epoch = host.terms.epoch,
		.generation = host.terms.generation,
	};
	u64 forks = atomic64_read(&host.forks);
	bool forked = forks != host.forks_seen;
	/* True when the timekeeper resumes. True more often than that does no harm. */
	bool slept = was_set && READ_ONCE(host.suspending);
	/* The first call reports the present terms, and no change. */
	u64 why = host.terms.epoch ? reason(&host.terms, &terms, forked, slept) :
				     PARKCLOCK_REASON_NONE;
	/* When any listener registers, KVM's for example, all are called with @was_set. */
	bool jumped = why || was_set || !host.terms.epoch;
	bool changed = jumped || !runs_on(&host.terms, &terms);
	const struct host_terms old = host.terms;

	host.forks_seen = forks;
	if (terms.mult != host.terms.mult || terms.shift != host.terms.shift)
		terms.rate_changes++;
	if (why) {
		terms.generation++;
		/* Before the terms: a segment takes its generation from them. */
		WRITE_ONCE(host.page->reason, why);
	}
	if (disrupts(why)) {
		WRITE_ONCE(host.page->disruptions, host.page->disruptions + 1);
		/* Disruptions before the epoch; pairs with the acquire in a guest's reader. */
		smp_wmb();
	}
	if (changed) {
		terms.regime++;
		terms.regime_mult = terms.mult;
	}
	if (jumped)
		terms.epoch++;

	/*
	 * The epoch is one of the terms, so a segment carries the epoch of the terms
	 * that it was computed from. The store into the page below makes segments of
	 * earlier terms invalid. A segment of the new terms is valid from that store on.
	 */
	write_seqcount_begin(&host.seq);
	host.terms = terms;
	write_seqcount_end(&host.seq);

	if (jumped)
		WRITE_ONCE(host.page->epoch, terms.epoch);
	if (!changed && !drifts(&old, &terms))
		return NOTIFY_OK;
	if (why)
		WRITE_ONCE(host.jumped, true);
	/* What is computed from the old terms is published by now, or never will be. */
	host.changing();
	irq_work_queue(this_cpu_ptr(&changed_work));
	return NOTIFY_OK;
}

static struct notifier_block host_listener = {
	.notifier_call = host_update,
};

static int nothing(struct notifier_block *nb, unsigned long was_set, void *data)
{
	return NOTIFY_DONE;
}

/*
 * This machine is a copy of another one, or an earlier state of its own: its counter
 * and its clock may have any value. Only host_update() may change the terms. Registering
 * any listener calls it, and it then sees the raised count.
 */
static int host_forked(struct notifier_block *nb, unsigned long action, void *data)
{
	struct notifier_block somebody = { .notifier_call = nothing };

	atomic64_inc(&host.forks);
	pvclock_gtod_register_notifier(&somebody);
	pvclock_gtod_unregister_notifier(&somebody);
	return NOTIFY_OK;
}

static struct notifier_block fork_listener = {
	.notifier_call = host_forked,
};

DECLARE_WAIT_QUEUE_HEAD(parkclock_host_jumped);

/* In a work item: it takes as long as there are waiters, and on PREEMPT_RT waking may sleep. */
static void wake_all(struct work_struct *work)
{
	parkclock_pollers_wake(&parkclock_host_jumped);
}

static DECLARE_WORK(wake_work, wake_all);

static void host_changed(struct irq_work *work)
{
	host.changed();
	if (xchg(&host.jumped, false))
		queue_work(parkclock_workers, &wake_work);
}

/**
 * parkclock_host_suspending() - the host is about to sleep, or has slept
 * @suspending: true from before the host can sleep until after it can have slept
 *
 * Context: any.
 */
void parkclock_host_suspending(bool suspending)
{
	WRITE_ONCE(host.suspending, suspending);
}

/**
 * parkclock_host_usable() - does the host keep time by the TSC?
 *
 * Context: any but NMI, and not from within an update of the timekeeper.
 * Return: true if so. After a change of the answer, the function that
 * parkclock_host_init() was given is called.
 */
bool parkclock_host_usable(void)
{
	unsigned int seq;
	bool usable;

	do {
		seq = read_seqcount_begin(&host.seq);
		usable = host.terms.usable;
	} while (read_seqcount_retry(&host.seq, seq));
	return usable;
}

/**
 * parkclock_host_sample() - sample the host's clock now
 * @sample: filled in
 *
 * Waits for the listener on another CPU while that copies the terms, and never for the
 * rest of an update of the timekeeper. The listener may wait for the caller's locks.
 *
 * Context: any but NMI.
 * Return: true; or false if the host does not keep time by the TSC, and @sample
 * means nothing.
 */
bool parkclock_host_sample(struct parkclock_sample *sample)
{
	struct host_terms t;
	unsigned int seq;
	u64 cycles;

	do {
		seq = read_seqcount_begin(&host.seq);
		t = host.terms;
		cycles = rdtsc_ordered();
	} while (read_seqcount_retry(&host.seq, seq));

	if (!t.usable)
		return false;

	sample->cycles = cycles;
	sample->now = terms_at(&t, cycles);
	sample->now_slop = PARKCLOCK_DRIFT;
	sample->rate_now = (u64)t.mult << shift_up(&t);
	sample->rate = (u64)t.regime_mult << shift_up(&t);
	sample->rate_slop = 1ULL << shift_up(&t);
	sample->rate_changes = t.rate_changes;
	sample->regime = t.regime;
	sample->epoch = t.epoch;
	sample->generation = t.generation;
	memcpy(sample->offset_ns, t.offset_ns, sizeof(t.offset_ns));
	return true;
}

/**
 * parkclock_host_generation() - number of discontinuities of the host's clocks so far
 *
 * Context: as parkclock_host_sample().
 */
u64 parkclock_host_generation(void)
{
	unsigned int seq;
	u64 generation;

	do {
		seq = read_seqcount_begin(&host.seq);
		generation = host.terms.generation;
	} while (read_seqcount_retry(&host.seq, seq));
	return generation;
}

/**
 * parkclock_host_boot_ns() - REALTIME when BOOTTIME was zero, by the host's present clock
 *
 * Both offsets are from one update of the timekeeper; getboottime64() does not see to that.
 *
 * Context: as parkclock_host_sample().
 */
s64 parkclock_host_boot_ns(void)
{
	unsigned int seq;
	s64 ns;

	do {
		seq = read_seqcount_begin(&host.seq);
		ns = host.terms.offset_ns[PARKCLOCK_REALTIME] -
		     host.terms.offset_ns[PARKCLOCK_BOOTTIME];
	} while (read_seqcount_retry(&host.seq, seq));
	return ns;
}

/* The distance from MONOTONIC to another of the host's clocks. */
static s64 offset(ktime_t mono, enum tk_offsets to)
{
	return ktime_to_ns(ktime_sub(ktime_mono_to_any(mono, to), mono));
}

/**
 * parkclock_host_sample_slow() - sample a host that does not keep time by the TSC
 * @sample: now, offset_ns and generation are filled in, and belong together; cycles
 *          is 0, and the other members mean nothing
 *
 * Context: as parkclock_host_sample().
 */
void parkclock_host_sample_slow(struct parkclock_sample *sample)
{
	ktime_t now;

	sample->cycles = 0;
	/*
	 * The generation is raised before anybody can read the host's clock by new
	 * offsets. If it is the same before and after, so were the offsets.
	 */
	do {
		sample->generation = parkclock_host_generation();
		now = ktime_get();
		sample->now = ktime_to_ns(now) * PARKCLOCK_ONE_NS;
		sample->offset_ns[PARKCLOCK_MONOTONIC] = 0;
		sample->offset_ns[PARKCLOCK_REALTIME] = offset(now, TK_OFFS_REAL);
		sample->offset_ns[PARKCLOCK_BOOTTIME] = offset(now, TK_OFFS_BOOT);
		sample->offset_ns[PARKCLOCK_TAI] = offset(now, TK_OFFS_TAI);
	} while (sample->generation != parkclock_host_generation());
}

static void stop_listening(void)
{
	int cpu;

	pvclock_gtod_unregister_notifier(&host_listener);
	for_each_possible_cpu(cpu)
		irq_work_sync(per_cpu_ptr(&changed_work, cpu));
	cancel_work_sync(&wake_work);
}

/**
 * parkclock_host_init() - begin to listen to the timekeeper
 * @page:     page 1, whose epoch, reason and disruptions host_update() writes
 * @changing: called within an update of the timekeeper after which segments made from
 *	      earlier samples are wrong. Interrupts are disabled. It must not read the time,
 *	      nor wait for anybody who may
 * @changed:  called after such an update, in hard interrupt context, on PREEMPT_RT too
 *
 * The host can be sampled when this returns: registering calls host_update().
 *
 * Context: may sleep. There are workers.
 * Return: 0 or an error number.
 */
int parkclock_host_init(struct parkclock_timebase *page, void (*changing)(void),
			void (*changed)(void))
{
	int cpu, err;

	seqcount_init(&host.seq);
	host.page = page;
	host.changing = changing;
	host.changed = changed;
	for_each_possible_cpu(cpu)
		per_cpu(changed_work, cpu) = IRQ_WORK_INIT_HARD(host_changed);
	err = pvclock_gtod_register_notifier(&host_listener);
	if (err)
		return err;
	err = register_random_vmfork_notifier(&fork_listener);
	if (err)
		stop_listening();
	return err;
}

/**
 * parkclock_host_exit() - stop listening
 *
 * When this returns, no call of a function given to parkclock_host_init() is under way,
 * and none will be made.
 *
 * Context: may sleep.
 */
void parkclock_host_exit(void)
{
	unregister_random_vmfork_notifier(&fork_listener);
	stop_listening();
}
