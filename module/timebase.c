// SPDX-License-Identifier: GPL-2.0
/*
 * The timebase: the page with the host's time, and its only writer.
 *
 * How MONOTONIC never goes backwards. A reader reads the counter between two
 * looks at the page, so the value that it returns is that of a segment which
 * was in the page at the instant of its counter value; and readings that are
 * ordered have counter values in that order, because the host keeps time by
 * this counter on all CPUs. It remains that when a segment is replaced, no
 * later reading of the new one is below an earlier reading of the old one. Let
 * T be the new base, and X the last instant at which the old segment can be
 * read. X is the instant of publication; it is not known in advance, since the
 * writer may be stopped at any time. Then new(t) >= old(t) for T <= t <= X is
 * enough: a later reading of the new one is at t2 >= X, or at least not before
 * the earlier one at t1 <= X, and new(t2) >= new(t1) >= old(t1). (For t1 < T:
 * new(t2) >= new(T) >= old(T) >= old(t1), as nobody reads the new segment before
 * T.) Segments are straight lines, so that it is enough at T and at X.
 *
 * - The new base is never below old(T).
 * - If the new segment is not slower than the old one, it is then above it for
 *   ever.
 * - Otherwise X must be known: cut_off() shortens the old segment's window to
 *   end shortly after T, publishes that, and only then looks at the counter.
 *   Until that publication the uncut segment could be read, afterwards the cut
 *   one up to its end: X is the later of the two. The new segment is lifted, if
 *   it must be, to meet the old one at X. In the ordinary case it is published
 *   well before the cut, and nobody notices. If the writer is stopped in
 *   between, readers find a segment that has expired.
 *
 * A segment that is replaced by nothing (invalidate) leaves the floor: the most
 * that anybody can have been given. The clock goes on from there or above, and
 * so does the slow path where there is no valid page.
 */
#include <linux/gfp.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#include "host.h"
#include "params.h"
#include "timebase.h"
#include "trace.h"
#include "vmclock.h"

DEFINE_RAW_SPINLOCK(parkclock_timebase_lock);

struct parkclock_window parkclock_window;

/* Protected by parkclock_timebase_lock, unless it says otherwise. */
static struct {
	struct page *page;		/* constant */
	struct parkclock_timebase *map;	/* constant */
	const struct parkclock_segment *seg;	/* what is published; constant, in the page */
	struct parkclock_sample last;	/* from which a mean rate is measured; epoch 0: none */
	u64 rate_changes;		/* of the host, when @seg was made */
	u64 slew_cycles;		/* what parkclock_segment_slew() said last */
	unsigned __int128 floor;	/* MONOTONIC in 2^-56 ns */
	u64 refreshes;
	u64 invalidations;
	struct parkclock_accuracy accuracy;
} tb;

/* Long enough for the writer to get from one publication to the next. */
static u64 cut_cycles(void)
{
	return div_u64((u64)tsc_khz * 20, 1000);	/* 20 us */
}

/**
 * parkclock_timebase_interval() - time between two refreshes, in cycles
 *
 * Context: any.
 */
u64 parkclock_timebase_interval(void)
{
	return (u64)parkclock_interval_ms() * tsc_khz;
}

/**
 * parkclock_timebase_ns() - how long so many cycles are, nominally
 * @cycles: of the counter
 *
 * Context: any.
 * Return: ns; 0 if nobody knows.
 */
u64 parkclock_timebase_ns(u64 cycles)
{
	return tsc_khz ? mul_u64_u64_div_u64(cycles, NSEC_PER_MSEC, tsc_khz) : 0;
}

static void write_copy(struct parkclock_segment *copy, const struct parkclock_segment *seg)
{
	const u64 *from = (const u64 *)seg;
	u64 *to = (u64 *)copy;
	int i;

	/* In a context switch every instruction counts. What is reserved stays zero. */
#pragma GCC unroll 16
	for (i = 0; i < offsetof(struct parkclock_segment, reserved) / sizeof(*to); i++)
		WRITE_ONCE(to[i], from[i]);
}

/*
 * Let readers see @seg. They read copy 1 while copy 0 is written, and copy 0
 * while copy 1 is. A seqcount_latch_t would do the same, but it has no place in
 * a layout that others read.
 */
static void publish(const struct parkclock_segment *seg)
{
	struct parkclock_timebase *map = tb.map;
	u64 seq = map->seq;

	lockdep_assert_held(&parkclock_timebase_lock);

	/*
	 * Each release comes after the copy was written that seq then points at;
	 * pairs with the reader's acquire of seq. Without it, a half-written
	 * copy could be read.
	 */
	smp_store_release(&map->seq, seq + 1);
	/*
	 * Write a copy only after seq points away from it; pairs with the
	 * reader's second look at seq. Without it, a reader could mix the old
	 * and the new segment and not notice.
	 */
	smp_wmb();
	write_copy(&map->segment[0], seg);
	/* The same again, with the copies exchanged. */
	smp_store_release(&map->seq, seq + 2);
	/* And again, as above. */
	smp_wmb();
	write_copy(&map->segment[1], seg);
	WRITE_ONCE(parkclock_window.epoch, seg->epoch);
	WRITE_ONCE(parkclock_window.end,
		   seg->valid_cycles ? seg->base_cycles + seg->valid_cycles : 0);
}

/*
 * The counter, later than any that belongs to a reading of what was in the page
 * before the last publish().
 */
static u64 cycles_after_publish(void)
{
	/*
	 * The stores are out before the counter is read. A reader whose second
	 * look did not see them has read the counter before that look.
	 */
	smp_mb();
	return rdtsc_ordered();
}

/* Can it be read now, or will it be? This CPU's counter may be a little behind its base. */
static bool in_use(const struct parkclock_segment *seg, u64 cycles)
{
	return seg->valid_cycles && (s64)(cycles - seg->base_cycles) < (s64)seg->valid_cycles;
}

/*
 * Let the segment that is published end soon. Returns the last instant at which
 * it can be read; *@most is what it says then. That is beyond the new end if the
 * writer was stopped before the publication: until then it had the old one.
 */
static u64 cut_off(u64 cycles, unsigned __int128 *most)
{
	const struct parkclock_segment old = *tb.seg;
	struct parkclock_segment cut = old;
	u64 end = cycles + cut_cycles();
	u64 last;

	if (end - cut.base_cycles < cut.valid_cycles)
		cut.valid_cycles = end - cut.base_cycles;
	publish(&cut);
	last = cycles_after_publish();
	if ((s64)(last - end) < 0)
		last = end;
	*most = parkclock_segment_at(&old, last);
	return last;
}

/*
 * The rate for the next interval. The host's timekeeper has a rate of some 23 bits and
 * comes closer to the one that it wants by changing between two neighbours. If it does
 * so a few times in an interval, or less, its rate of now will last for a good part of
 * the next one, and predicts to a nanosecond if that is all of it; a mean would be right
 * about what has been. If it does so more often (busy hosts, at every tick), the mean is
 * what comes, and the rate of now is an accident.
 */
#define FEW_CHANGES	4

static u64 predict_rate(const struct parkclock_sample *sample, u64 interval)
{
	u64 changes = sample->rate_changes - tb.last.rate_changes;
	u64 age = sample->cycles - tb.last.cycles;
	u64 rate = sample->rate_now;

	if (tb.last.epoch == sample->epoch) {
		if (changes > FEW_CHANGES && changes > FEW_CHANGES * (age / interval))
			rate = parkclock_segment_rate(&tb.last, sample);
		if (age < interval / 2)
			return rate;
	}
	/* Not the whole of it: this is done in a context switch, too. */
	tb.last.cycles = sample->cycles;
	tb.last.now = sample->now;
	tb.last.epoch = sample->epoch;
	tb.last.rate_changes = sample->rate_changes;
	return rate;
}

/* What the page said just before it is replaced is held against the truth. */
static void account(const struct parkclock_sample *sample)
{
	__int128 off = parkclock_segment_at(tb.seg, sample->cycles) - sample->now;
	u64 ns = (off < 0 ? -off : off) >> PARKCLOCK_SHIFT;
	u64 rate_changes = sample->rate_changes - tb.rate_changes;
	u64 *bins = rate_changes ? tb.accuracy.changed : tb.accuracy.steady;
	u64 *worst = rate_changes ? &tb.accuracy.changed_worst_ns : &tb.accuracy.steady_worst_ns;

	bins[ns < 16 ? ns : min(ilog2(ns) + 12, PARKCLOCK_BINS - 1)]++;
	if (*worst < ns)
		*worst = ns;
	trace_parkclock_accuracy(off < 0 ? -(s64)ns : (s64)ns,
				 sample->cycles - tb.seg->base_cycles, rate_changes);
}

/**
 * parkclock_timebase_invalidate() - let readers find no time in the page
 *
 * Nothing happens if it is invalid already.
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_timebase_invalidate(void)
{
	struct parkclock_segment old = *tb.seg;
	struct parkclock_segment none = old;
	unsigned __int128 most;

	lockdep_assert_held(&parkclock_timebase_lock);

	if (!old.valid_cycles)
		return;
	none.valid_cycles = 0;
	publish(&none);
	most = parkclock_segment_at(&old, cycles_after_publish());
	if (tb.floor < most)
		tb.floor = most;
	tb.invalidations++;
	trace_parkclock_invalidate(old.epoch, READ_ONCE(tb.map->epoch));
	parkclock_vmclock_update();
}

/**
 * parkclock_timebase_check_epoch() - take note that the host's clock has changed
 *
 * The listener in host.c has raised the epoch, so that no reader uses the page
 * any more; this makes it official.
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_timebase_check_epoch(void)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	if (tb.seg->epoch == READ_ONCE(tb.map->epoch))
		return;
	if (tb.seg->valid_cycles)
		parkclock_timebase_invalidate();
	else
		parkclock_vmclock_update();	/* another disruption, maybe */
}

/**
 * parkclock_timebase_refresh() - re-calibrate
 * @how: how to go on from the segment before; one that has expired is stepped
 *       away from in any case
 *
 * The page is valid for a window from here.
 *
 * Context: parkclock_timebase_lock held.
 * Return: true; or false if the page cannot be valid because the host does not
 * keep time by the counter.
 */
bool parkclock_timebase_refresh(enum parkclock_refresh how)
{
	const u64 interval = parkclock_timebase_interval();
	const u64 window = interval * parkclock_window_intervals();
	const struct parkclock_segment *old = tb.seg;
	struct parkclock_segment new;
	struct parkclock_sample sample;
	unsigned __int128 base;

	parkclock_timebase_check_epoch();
	if (!parkclock_host_sample(&sample)) {
		parkclock_timebase_invalidate();
		return false;
	}

	if (sample.epoch == old->epoch && parkclock_segment_covers(old, sample.cycles))
		account(&sample);
	tb.rate_changes = sample.rate_changes;
	/* After a step nothing is known about the next refresh. */
	if (how == PARKCLOCK_STEP)
		tb.slew_cycles = interval;
	else
		tb.slew_cycles = parkclock_segment_slew(tb.slew_cycles,
							sample.cycles - old->base_cycles,
							interval, window);
	base = parkclock_segment_base(old, &sample, how, tb.floor);
	parkclock_segment_make(&new, &sample, predict_rate(&sample, interval), base, window,
			       tb.slew_cycles);
	if (in_use(old, sample.cycles) && new.rate < old->rate) {
		unsigned __int128 most;
		u64 last = cut_off(sample.cycles, &most);

		parkclock_segment_lift(&new, last, most);
	}
	publish(&new);
	tb.refreshes++;
	trace_parkclock_refresh(&new, (s64)((__int128)(base - sample.now) >> PARKCLOCK_SHIFT));
	parkclock_vmclock_update();
	return true;
}

/**
 * parkclock_timebase_disruptions() - how often the counter can have been disrupted
 *
 * Context: any.
 */
u64 parkclock_timebase_disruptions(void)
{
	return READ_ONCE(tb.map->disruptions);
}

/**
 * parkclock_timebase_valid() - the segment in the page, if it can be read
 * @cycles:     the counter now
 * @rate_error: filled in: how far the host's rate can be from that of the segment, in
 *		2^-56 ns per cycle; also after its window, until the epoch changes
 *
 * Context: parkclock_timebase_lock held.
 * Return: it, or NULL.
 */
const struct parkclock_segment *parkclock_timebase_valid(u64 cycles, u64 *rate_error)
{
	u64 rate, slop;

	lockdep_assert_held(&parkclock_timebase_lock);

	/* This CPU's counter may be a little behind its base. */
	if (!parkclock_host_rate(tb.seg->epoch, &rate, &slop) || !tb.seg->valid_cycles ||
	    cycles - tb.seg->base_cycles + PARKCLOCK_SKEW_CYCLES >=
	    tb.seg->valid_cycles + PARKCLOCK_SKEW_CYCLES)
		return NULL;
	*rate_error = slop + (tb.seg->rate > rate ? tb.seg->rate - rate : rate - tb.seg->rate);
	return tb.seg;
}

static void take_now(struct parkclock_now *now, unsigned __int128 mono, const s64 *offset_ns)
{
	int i;

	for (i = 0; i < PARKCLOCK_CLOCKS; i++)
		now->ns[i] = (s64)(mono >> PARKCLOCK_SHIFT) + offset_ns[i];
}

/**
 * parkclock_timebase_now_page() - the host's clocks, as a reader of the page has them
 * @now: filled in if there is a time
 *
 * Context: parkclock_timebase_lock held.
 * Return: true; or false if the page has no time.
 */
bool parkclock_timebase_now_page(struct parkclock_now *now)
{
	const struct parkclock_segment *seg = tb.seg;

	lockdep_assert_held(&parkclock_timebase_lock);

	now->cycles = rdtsc_ordered();
	/* Not before the counter was read, as in the reader's algorithm. */
	if (seg->epoch != READ_ONCE(tb.map->epoch) ||
	    !parkclock_segment_covers(seg, now->cycles))
		return false;
	take_now(now, parkclock_segment_at(seg, now->cycles), seg->offset_ns);
	now->error_ns = parkclock_error(seg->error_ns, seg->error_rate,
					now->cycles - seg->base_cycles);
	now->generation = seg->generation;
	return true;
}

/**
 * parkclock_timebase_now_host() - the same where the page cannot have the time
 * @now: filled in
 *
 * Leaves the page invalid. No later reading, of whatever kind, will be less.
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_timebase_now_host(struct parkclock_now *now)
{
	struct parkclock_sample sample;

	parkclock_timebase_invalidate();
	if (!parkclock_host_sample(&sample))
		parkclock_host_sample_slow(&sample);
	now->cycles = sample.cycles;
	now->error_ns = 0;
	if (sample.now < tb.floor) {
		now->error_ns = (tb.floor - sample.now + PARKCLOCK_ONE_NS - 1) >> PARKCLOCK_SHIFT;
		sample.now = tb.floor;
	}
	tb.floor = sample.now;
	take_now(now, sample.now, sample.offset_ns);
	now->generation = sample.generation;
}

/**
 * parkclock_timebase_query() - what the timebase has to say
 * @q: its fields about the page are filled in
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_timebase_query(struct parkclock_query *q)
{
	const struct parkclock_segment *seg = tb.seg;
	u64 delta;

	lockdep_assert_held(&parkclock_timebase_lock);

	q->counter_hz = tb.map->counter_hz;
	q->cycles = rdtsc_ordered();
	q->rate = seg->rate;
	q->generation = parkclock_host_generation();
	q->reason = READ_ONCE(tb.map->reason);
	q->refreshes = tb.refreshes;
	q->invalidations = tb.invalidations;
	delta = q->cycles - seg->base_cycles;
	if (seg->epoch == READ_ONCE(tb.map->epoch) && delta < seg->valid_cycles) {
		q->window_left_ns = parkclock_timebase_ns(seg->valid_cycles - delta);
		q->error_ns = parkclock_error(seg->error_ns, seg->error_rate, delta);
	}
}

/**
 * parkclock_timebase_accuracy() - how good the page has been so far
 * @a: filled in
 *
 * Context: any but NMI.
 */
void parkclock_timebase_accuracy(struct parkclock_accuracy *a)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	*a = tb.accuracy;
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
}

/**
 * parkclock_timebase_page() - page 1 of every mapping
 */
struct page *parkclock_timebase_page(void)
{
	return tb.page;
}

/**
 * parkclock_timebase_get() - the timebase in it, for readers in the kernel, and for the
 *			      host's listener
 */
struct parkclock_timebase *parkclock_timebase_get(void)
{
	return tb.map;
}

/**
 * parkclock_timebase_init() - a page with no time in it yet
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int parkclock_timebase_init(void)
{
	tb.page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!tb.page)
		return -ENOMEM;
	tb.map = page_address(tb.page);
	/* The copy that readers use unless publish() is at work. */
	tb.seg = &tb.map->segment[0];
	parkclock_window.page_epoch = &tb.map->epoch;
	tb.map->magic = PARKCLOCK_TIMEBASE_MAGIC;
	tb.map->version = PARKCLOCK_VERSION;
	tb.map->size = sizeof(*tb.map);
	tb.map->counter = PARKCLOCK_COUNTER_X86_TSC;
	tb.map->counter_hz = tsc_khz * 1000ULL;
	return 0;
}

/**
 * parkclock_timebase_exit() - let go of the page
 *
 * Context: nobody else uses the timebase.
 */
void parkclock_timebase_exit(void)
{
	put_page(tb.page);
}
