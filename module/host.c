// SPDX-License-Identifier: GPL-2.0
/*
 * The host's clock: what it says at a counter value, and when it changes.
 *
 * The timekeeper computes
 *
 *	MONOTONIC = base + ((cycles - cycle_last) * mult + xtime_nsec) / 2^shift
 *
 * and tells its listeners (the pvclock_gtod chain, made for KVM) about every
 * update of these terms. We keep a copy, as KVM does. Where the clocksource is
 * the TSC, a sample is therefore one TSC read and one multiplication, exact to
 * the last bit of the timekeeper's own, of all clocks at once, and cannot be
 * torn by a step between two calls. ktime_get_snapshot() offers less: no
 * MONOTONIC and no name of the counter in 6.1, and another interface in newer
 * kernels.
 *
 * The listener is called under the timekeeper's lock with its sequence count odd
 * (unless it is because somebody registers). Reading the time there would never
 * return; taking one of our locks could deadlock with somebody who holds it while
 * he reads the time. So it copies, compares, and leaves the rest to an irq_work. If
 * the terms have changed by more than a segment's error allows for, it raises the
 * epoch in the page itself, by a plain store: the page is invalid before the update
 * is over, so before any system call can read the host's clock by the new terms, and
 * whatever is being computed from the old ones meanwhile is invalid when it is
 * published. If readings from before and after cannot be subtracted, it says why
 * there, too.
 * (The vDSO has a sequence count of its own, and is told first: until the
 * listener's store, a moment later, it can be ahead of us on another CPU.)
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

/* The timekeeper's terms, and what we make of their changes. */
struct host_terms {
	bool usable;		/* the clocksource counts TSC cycles */
	u32 mult;
	u32 shift;
	u32 epoch_mult;		/* @mult when @epoch began */
	u64 cycle_last;
	u64 base_ns;
	u64 xtime_nsec;		/* shifted left by @shift */
	s64 offset_ns[PARKCLOCK_CLOCKS];
	u64 rate_changes;
	u64 epoch;
	u64 generation;
};

static struct {
	/*
	 * Protects @terms. There is one writer, the listener, which the
	 * timekeeper's lock serialises; it runs with interrupts disabled, so
	 * that a reader in an interrupt cannot have interrupted it.
	 */
	seqcount_t seq;
	struct host_terms terms;
	struct parkclock_timebase *page;	/* for the listener alone, see host_init() */
	atomic64_t forks;
	u64 forks_seen;			/* for the listener alone */
	bool suspending;
	bool jumped;			/* and nobody was woken for it yet */
	void (*changed)(void);
} host;

/*
 * What follows a change is done on the CPU that made it, before the call that did is over,
 * whatever keeps another CPU from doing the same for an earlier one.
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
 * Did the clock jump, as far as a reader can tell, and why? The offsets say so: only
 * a sleep moves BOOTTIME, and a leap second moves UTC but not TAI. A sleep that the
 * timekeeper took for none is one nevertheless: the counter may have begun anew.
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

/* Is the counter, or what a guest's follows from it by, not what it was? */
static bool disrupts(u64 why)
{
	return why == PARKCLOCK_REASON_SUSPEND || why == PARKCLOCK_REASON_COUNTER ||
	       why == PARKCLOCK_REASON_FORK;
}

/*
 * Does the clock run on as a segment of this epoch allows for? The timekeeper
 * switches between neighbouring values of mult all the time; that is in the
 * bound (rate_slop).
 */
static bool runs_on(const struct host_terms *old, const struct host_terms *new)
{
	return new->shift == old->shift && new->mult - old->epoch_mult + 1 <= 2;
}

static int host_update(struct notifier_block *nb, unsigned long was_set, void *data)
{
	const struct timekeeper *tk = data;
	struct host_terms terms = {
		.usable = counts_tsc(tk),
		.mult = tk->tkr_mono.mult,
		.shift = tk->tkr_mono.shift,
		.epoch_mult = host.terms.epoch_mult,
		.cycle_last = tk->tkr_mono.cycle_last,
		.base_ns = ktime_to_ns(tk->tkr_mono.base),
		.xtime_nsec = tk->tkr_mono.xtime_nsec,
		.offset_ns = {
			[PARKCLOCK_REALTIME] = ktime_to_ns(tk->offs_real),
			[PARKCLOCK_BOOTTIME] = ktime_to_ns(tk->offs_boot),
			[PARKCLOCK_TAI] = ktime_to_ns(tk->offs_tai),
		},
		.rate_changes = host.terms.rate_changes,
		.epoch = host.terms.epoch,
		.generation = host.terms.generation,
	};
	u64 forks = atomic64_read(&host.forks);
	bool forked = forks != host.forks_seen;
	/* The timekeeper resumes; or what looks like it, which does no harm. */
	bool slept = was_set && READ_ONCE(host.suspending);
	/* The first call is what there is, and no change. */
	u64 why = host.terms.epoch ? reason(&host.terms, &terms, forked, slept) :
				     PARKCLOCK_REASON_NONE;
	/* To register any listener, KVM's for example, calls all of them as if it was set. */
	bool changed = why || was_set || !runs_on(&host.terms, &terms);

	host.forks_seen = forks;
	if (terms.mult != host.terms.mult || terms.shift != host.terms.shift)
		terms.rate_changes++;
	if (why) {
		terms.generation++;
		/* Before the terms, from which a segment has its generation. */
		WRITE_ONCE(host.page->reason, why);
	}
	if (disrupts(why)) {
		WRITE_ONCE(host.page->disruptions, host.page->disruptions + 1);
		/* Before the epoch; pairs with the acquire in a guest's reader. */
		smp_wmb();
	}
	if (changed) {
		terms.epoch++;
		terms.epoch_mult = terms.mult;
	}

	/*
	 * The epoch is one of the terms, so a segment carries that of the terms
	 * it was computed from. From the store into the page on, those of
	 * earlier terms are invalid; those of the new ones may wait for it.
	 */
	write_seqcount_begin(&host.seq);
	host.terms = terms;
	write_seqcount_end(&host.seq);

	if (changed) {
		WRITE_ONCE(host.page->epoch, terms.epoch);
		if (why)
			WRITE_ONCE(host.jumped, true);
		irq_work_queue(this_cpu_ptr(&changed_work));
	}
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
 * This machine is a copy of another one, or a state of its own from before: its
 * counter, or its clock, may be anything. Only the listener may change the terms;
 * it is called, and sees the count, because somebody registers.
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

/* There may be many of them, and on PREEMPT_RT waking may sleep. */
static void wake_all(struct work_struct *work)
{
	wake_up_interruptible_all(&parkclock_host_jumped);
}

static DECLARE_WORK(wake_work, wake_all);

static void host_changed(struct irq_work *work)
{
	host.changed();
	if (xchg(&host.jumped, false))
		queue_work(system_highpri_wq, &wake_work);
}

/**
 * parkclock_host_suspending() - is the host about to sleep, or has it done so?
 * @suspending: from before it can, until after it can have
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
 * Context: as below.
 * Return: true if so. When that changes, what host_init() was given is called later.
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
 * parkclock_host_sample() - the host's clock now
 * @sample: filled in
 *
 * Waits for an update of the timekeeper that is under way on another CPU, as
 * every reader of the time does.
 *
 * Context: any but NMI, and not from within an update of the timekeeper.
 * Return: true; or false if the host does not keep time by the TSC, and @sample
 * means nothing.
 */
bool parkclock_host_sample(struct parkclock_sample *sample)
{
	struct host_terms t;
	unsigned int seq, up;
	u64 cycles, delta;

	do {
		seq = read_seqcount_begin(&host.seq);
		t = host.terms;
		cycles = rdtsc_ordered();
	} while (read_seqcount_retry(&host.seq, seq));

	if (!t.usable)
		return false;

	/* Like the timekeeper: another CPU's TSC may be behind by a few cycles. */
	delta = cycles - t.cycle_last;
	if ((s64)delta < 0)
		delta = 0;

	up = PARKCLOCK_SHIFT - t.shift;
	sample->cycles = cycles;
	sample->now = t.base_ns * PARKCLOCK_ONE_NS +
		      (((unsigned __int128)delta * t.mult + t.xtime_nsec) << up);
	sample->rate_now = (u64)t.mult << up;
	sample->rate = (u64)t.epoch_mult << up;
	sample->rate_slop = 1ULL << up;
	sample->rate_changes = t.rate_changes;
	sample->epoch = t.epoch;
	sample->generation = t.generation;
	memcpy(sample->offset_ns, t.offset_ns, sizeof(t.offset_ns));
	return true;
}

/**
 * parkclock_host_rate() - what the host's rate is known to be
 * @epoch: during this epoch
 * @rate:  filled in, as of struct parkclock_sample
 * @slop:  likewise
 *
 * Context: as parkclock_host_sample().
 * Return: true; or false if that is over.
 */
bool parkclock_host_rate(u64 epoch, u64 *rate, u64 *slop)
{
	unsigned int seq, up;
	bool same;

	do {
		seq = read_seqcount_begin(&host.seq);
		up = PARKCLOCK_SHIFT - host.terms.shift;
		*rate = (u64)host.terms.epoch_mult << up;
		*slop = 1ULL << up;
		same = host.terms.epoch == epoch;
	} while (read_seqcount_retry(&host.seq, seq));
	return same;
}

/**
 * parkclock_host_generation() - discontinuities of the host's clocks so far
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
 * parkclock_host_boot_ns() - REALTIME when BOOTTIME was zero, by the host's clock of now
 *
 * Of one update of the timekeeper, which getboottime64() does not see to.
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

/* From MONOTONIC to another of the host's clocks. */
static s64 offset(ktime_t mono, enum tk_offsets to)
{
	return ktime_to_ns(ktime_sub(ktime_mono_to_any(mono, to), mono));
}

/**
 * parkclock_host_sample_slow() - the same where the host does not keep time by the TSC
 * @sample: now, offset_ns and generation are filled in, and belong together; cycles
 *          is 0, and the rest means nothing
 *
 * Context: as parkclock_host_sample().
 */
void parkclock_host_sample_slow(struct parkclock_sample *sample)
{
	ktime_t now;

	sample->cycles = 0;
	/*
	 * The generation is raised before anybody can read the host's clock by new
	 * offsets: if it is the same before and after, so were they.
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
 * parkclock_host_init() - begin to listen
 * @page:    whose epoch, reason and disruptions the listener writes; the epoch when
 *	     segments become invalid
 * @changed: called after that, in hard interrupt context, on PREEMPT_RT too
 *
 * The host can be sampled when this returns: registering calls the listener.
 *
 * Context: may sleep.
 * Return: 0 or an error number.
 */
int parkclock_host_init(struct parkclock_timebase *page, void (*changed)(void))
{
	int cpu, err;

	seqcount_init(&host.seq);
	host.page = page;
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
 * parkclock_host_exit() - listen no more
 *
 * No call of the function given to parkclock_host_init() is under way or will
 * be made when this returns.
 *
 * Context: may sleep.
 */
void parkclock_host_exit(void)
{
	unregister_random_vmfork_notifier(&fork_listener);
	stop_listening();
}
