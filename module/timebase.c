// SPDX-License-Identifier: GPL-2.0
/*
 * The timebase: the page with the host's time, and its only writer.
 *
 * Why MONOTONIC never goes backwards. A reader reads the counter between two looks at the
 * page. So the value that it returns is that of a segment which was in the page at the
 * instant of its counter value. Readings that are ordered have counter values in the same
 * order, because the host keeps time by this counter on all CPUs. It remains to show:
 * when a segment is replaced, no later reading of the new segment is below an earlier
 * reading of the old one.
 *
 * The counters of two CPUs may differ by less than Linux can see. Its check lets CPUs pass a
 * lock to each other, and none may find a counter that is less than the last one's. So they
 * differ by less than a cache line travels, some tens of ns, and whatever is ordered between
 * CPUs here has such a travel in between. Were they to differ by more, MONOTONIC could go
 * back by the excess where a floor is taken on a CPU that is behind.
 *
 * Let T be the new segment's base, and X the last instant at which the old segment can be
 * read. X is the instant of publication. It is not known in advance, because the writer
 * may be stopped at any time. Then it is enough that
 *
 *	new(t) >= old(t)	for T <= t <= X.
 *
 * For take a reading of the old segment at t1 <= X, and a later one of the new segment at
 * t2 >= t1. If t1 >= T, then new(t2) >= new(t1) >= old(t1). If t1 < T, then t2 >= T, as
 * nobody reads the new segment before T, and new(t2) >= new(T) >= old(T) >= old(t1).
 * Segments are straight lines, so the inequality need hold only at T and at X.
 *
 * - The new base is never below old(T).
 * - If the new segment is not slower than the old one, and does not end before it, the new
 *   one is then above the old one for as long as the old one can be read.
 * - Otherwise X must be known. cut_off() shortens the old segment's window to end shortly
 *   after T, publishes that, and only then reads the counter. Up to that publication the
 *   uncut segment could be read, and after it the cut one up to its end: X is the later of
 *   the two. If necessary, the new segment is lifted to meet the old one at X. Ordinarily
 *   the new segment is published well before the cut, and nobody notices. If the writer is
 *   stopped in between, readers find a segment that has expired. If the writer is stopped
 *   for so long that X is after the end of the new segment, the lift makes that segment end
 *   at old(X), and the next segment begins where this one ended or above.
 *
 * A segment that is invalidated, and not replaced, leaves the floor: the largest time that
 * anybody can have been given. The clock continues from the floor or above, and so does the
 * slow path where there is no valid page.
 *
 * How the bound holds. A segment allows for what the host's clock may do unseen: see
 * struct parkclock_sample. When the host's clock does more, the update of the timekeeper
 * that makes it so waits for parkclock_timebase_lock and replaces the segment (host.c),
 * before any system call can read the time by the new terms. So whoever holds this lock must
 * not wait for such an update. Nobody reads the time under it: no ktime_get(), and nothing
 * that calls it, such as an hrtimer's start. Nobody emits a trace event under it, because
 * the event's handler may read the time. What happens under the lock is recorded, and
 * traced after the lock is released.
 */
#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/lockdep.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#include "config.h"
#include "host.h"
#include "timebase.h"
#include "trace.h"

DEFINE_RAW_SPINLOCK(parkclock_timebase_lock);

struct parkclock_window parkclock_window;

/* How many of tb.events there are. Looked at without the lock. */
unsigned int parkclock_timebase_recorded;

/* Protected by parkclock_timebase_lock. */
static LIST_HEAD(followers);

/* What happened under parkclock_timebase_lock, until it is traced. */
struct event {
	enum { INVALIDATED, REPLACED, REFRESHED } what;
	union {
		struct {
			u64 segment_epoch;
			u64 epoch;
		};
		struct {
			s64 error_ns;
			u64 age;
			u64 rate_changes;
		};
		struct {
			struct parkclock_segment seg;
			s64 ahead_ns;
		};
	};
};

/* Protected by parkclock_timebase_lock, unless a member says otherwise. */
static struct {
	struct page *page;		/* constant */
	struct parkclock_timebase *map;	/* constant */
	const struct parkclock_segment *seg;	/* the published one, in the page; constant */
	struct parkclock_sample last;	/* where a mean rate is measured from; regime 0: none */
	u64 rate_changes;		/* of the host, when @seg was made */
	u64 rate;			/* middle of the host's range of rates in this regime */
	u64 rate_slop;			/* half the width of that range */
	u64 slew_cycles;		/* the last result of parkclock_segment_slew() */
	unsigned __int128 floor;	/* MONOTONIC in 2^-56 ns */
	u64 refreshes;
	u64 invalidations;
	struct parkclock_accuracy accuracy;
	struct event events[16];	/* to be traced */
} tb;

/* How long the writer gives itself from one publication to the next. */
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
	return (u64)parkclock_param(interval_ms) * tsc_khz;
}

/**
 * parkclock_timebase_ns() - convert cycles to ns, by the counter's nominal frequency
 * @cycles: of the counter
 *
 * Context: any.
 * Return: ns, at most U64_MAX; 0 if the frequency is unknown.
 */
u64 parkclock_timebase_ns(u64 cycles)
{
	u64 ms;

	if (!tsc_khz)
		return 0;
	/* In two parts, because below 1 GHz the quotient may have more than 64 bits. */
	ms = div_u64(cycles, tsc_khz);
	if (ms > U64_MAX / NSEC_PER_MSEC - 1)
		return U64_MAX;
	return ms * NSEC_PER_MSEC +
	       div_u64((cycles - ms * tsc_khz) * NSEC_PER_MSEC, tsc_khz);
}

/**
 * parkclock_timebase_cycles() - convert ns to cycles, by the counter's nominal frequency
 * @ns: at most S64_MAX
 *
 * Context: any.
 * Return: the least number of cycles that are @ns by parkclock_timebase_ns(); at most S64_MAX;
 * S64_MAX if the frequency is unknown.
 */
u64 parkclock_timebase_cycles(u64 ns)
{
	u64 ms = div_u64(ns, NSEC_PER_MSEC);

	if (!tsc_khz || ms >= (u64)S64_MAX / tsc_khz - 1)
		return S64_MAX;
	return ms * tsc_khz +
	       DIV_ROUND_UP_ULL((ns - ms * NSEC_PER_MSEC) * tsc_khz, NSEC_PER_MSEC);
}

/**
 * parkclock_timebase_host_ns() - how long the host's clock takes for some cycles
 * @cycles: more than 2^56 count as 2^56, which is some months
 *
 * By the host's rate at the last refresh, so it is off by what the rate has changed since. Not by
 * that of the segment, which may be taking out an error.
 *
 * Context: any.
 * Return: ns, rounded up.
 */
u64 parkclock_timebase_host_ns(u64 cycles)
{
	const u64 rate = READ_ONCE(tb.rate);

	cycles = min(cycles, 1ULL << 56);
	return rate ? parkclock_scale(cycles, rate, PARKCLOCK_ONE_NS - 1) :
		      parkclock_timebase_ns(cycles) + 1;
}

/* Room for one more event. If there is none the oldest are of more use than the newest. */
static struct event *record(void)
{
	static struct event unused;

	lockdep_assert_held(&parkclock_timebase_lock);

	if (parkclock_timebase_recorded == ARRAY_SIZE(tb.events))
		return &unused;
	WRITE_ONCE(parkclock_timebase_recorded, parkclock_timebase_recorded + 1);
	return &tb.events[parkclock_timebase_recorded - 1];
}

static void emit(const struct event *e)
{
	switch (e->what) {
	case INVALIDATED:
		trace_parkclock_invalidate(e->segment_epoch, e->epoch);
		break;
	case REPLACED:
		trace_parkclock_accuracy(e->error_ns, e->age, e->rate_changes);
		break;
	case REFRESHED:
		trace_parkclock_refresh(&e->seg, e->ahead_ns);
		break;
	}
}

/**
 * parkclock_timebase_trace() - trace what was recorded under parkclock_timebase_lock
 *
 * Context: any but NMI, and not from within an update of the timekeeper; the lock is not
 * held.
 */
void parkclock_timebase_trace(void)
{
	unsigned int i = 0;

	while (READ_ONCE(parkclock_timebase_recorded)) {
		unsigned long flags;
		struct event e;
		bool last;

		raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
		last = i >= parkclock_timebase_recorded;
		if (last)
			WRITE_ONCE(parkclock_timebase_recorded, 0);
		else
			e = tb.events[i++];
		raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
		if (last)
			break;
		emit(&e);
	}
}

static void write_copy(struct parkclock_segment *copy, const struct parkclock_segment *seg)
{
	const u64 *from = (const u64 *)seg;
	u64 *to = (u64 *)copy;
	int i;

	/* In a context switch every instruction counts. The reserved space stays zero. */
#pragma GCC unroll 16
	for (i = 0; i < offsetof(struct parkclock_segment, reserved) / sizeof(*to); i++)
		WRITE_ONCE(to[i], from[i]);
}

/*
 * Publish @seg. Readers read copy 1 while copy 0 is written, and copy 0 while copy 1 is
 * written. A seqcount_latch_t would do the same, but has no place in a layout that others
 * read.
 */
static void publish(const struct parkclock_segment *seg)
{
	struct parkclock_timebase *map = tb.map;
	u64 seq = map->seq;

	lockdep_assert_held(&parkclock_timebase_lock);

	/*
	 * Each release comes after the copy that seq then points at was written; pairs
	 * with the reader's acquire of seq. Without it, a reader could read a half-written
	 * copy. Of the first one, that matters only if this is the second publication under
	 * one hold of the lock (READ of a page that expires again): between others there is
	 * the lock, or the barrier in cycles_after_publish().
	 */
	smp_store_release(&map->seq, seq + 1);
	/*
	 * Write a copy only after seq points away from it; pairs with the reader's
	 * second look at seq. Without it, a reader could mix the old and the new
	 * segment and not notice.
	 */
	smp_wmb();
	write_copy(&map->segment[0], seg);
	/* The same again, with the copies exchanged; pairs as the first release. */
	smp_store_release(&map->seq, seq + 2);
	/* Pairs as the first smp_wmb(). */
	smp_wmb();
	write_copy(&map->segment[1], seg);
	WRITE_ONCE(parkclock_window.epoch, seg->epoch);
	WRITE_ONCE(parkclock_window.end,
		   seg->valid_cycles ? seg->base_cycles + seg->valid_cycles : 0);
}

/*
 * Read the counter. The result is later than any counter value that belongs to a reading
 * of what was in the page before the last publish().
 */
static u64 cycles_after_publish(void)
{
	/*
	 * The stores are out before the counter is read. A reader whose second look
	 * missed them read the counter before that look.
	 */
	smp_mb();
	return rdtsc_ordered();
}

/*
 * Can the segment be read now or later? This CPU's counter may be a little behind the
 * segment's base.
 */
static bool in_use(const struct parkclock_segment *seg, u64 cycles)
{
	return seg->valid_cycles && (s64)(cycles - seg->base_cycles) < (s64)seg->valid_cycles;
}

/* Does a segment end before the one that it replaces? */
static bool ends_before(const struct parkclock_segment *new, const struct parkclock_segment *old)
{
	return (s64)(new->base_cycles + new->valid_cycles -
		     old->base_cycles - old->valid_cycles) < 0;
}

/*
 * Let the published segment end soon. Returns the last instant at which it can be read;
 * *@most is its value there. If the writer was stopped before the publication, that
 * instant is beyond the new end: until the publication readers had the uncut segment.
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
	/* It may end by itself before. Beyond, the new segment need not meet it. */
	if (last - old.base_cycles > old.valid_cycles)
		last = old.base_cycles + old.valid_cycles;
	*most = parkclock_segment_at(&old, last);
	return last;
}

/*
 * The rate for the next interval. The host's timekeeper has a rate of some 23 bits. It
 * approaches the rate that it wants by switching between two neighbouring values. If it
 * switches a few times in an interval, or less, the present rate will last for a good
 * part of the next interval, and if it lasts for all of it, predicts to a nanosecond. The
 * mean rate would only describe the past. If the timekeeper switches more often (on busy
 * hosts at every tick), the present rate is an accident, and the mean is the better
 * prediction.
 */
#define FEW_CHANGES	4

static u64 predict_rate(const struct parkclock_sample *sample, u64 interval)
{
	u64 changes = sample->rate_changes - tb.last.rate_changes;
	u64 age = sample->cycles - tb.last.cycles;
	u64 rate = sample->rate_now;

	if (tb.last.regime == sample->regime) {
		if (changes > FEW_CHANGES && changes > FEW_CHANGES * (age / interval))
			rate = parkclock_segment_rate(&tb.last, sample);
		if (age < interval / 2)
			return rate;
	}
	/* Not the whole sample: this runs in a context switch, too. */
	tb.last.cycles = sample->cycles;
	tb.last.now = sample->now;
	tb.last.regime = sample->regime;
	tb.last.rate_changes = sample->rate_changes;
	return rate;
}

/*
 * Count how far off the page was just before it is replaced. The page was "steady" if it
 * began without an error, and the host's rate has not changed since.
 */
#define STEADY_NS	2

static void account(const struct parkclock_sample *sample)
{
	__int128 off = parkclock_segment_at(tb.seg, sample->cycles) - sample->now;
	u64 ns = (off < 0 ? -off : off) >> PARKCLOCK_SHIFT;
	u64 rate_changes = sample->rate_changes - tb.rate_changes;
	bool steady = !rate_changes && tb.seg->error_ns <= STEADY_NS;
	u64 *bins = steady ? tb.accuracy.steady : tb.accuracy.changed;
	u64 *worst = steady ? &tb.accuracy.steady_worst_ns : &tb.accuracy.changed_worst_ns;

	bins[ns < 16 ? ns : min(ilog2(ns) + 12, PARKCLOCK_BINS - 1)]++;
	if (*worst < ns)
		*worst = ns;
	if (trace_parkclock_accuracy_enabled())
		*record() = (struct event) {
			.what = REPLACED,
			.error_ns = off < 0 ? -(s64)ns : (s64)ns,
			.age = sample->cycles - tb.seg->base_cycles,
			.rate_changes = rate_changes,
		};
}

static noinline void tell(void)
{
	struct parkclock_follower *f, *next;

	list_for_each_entry_safe(f, next, &followers, link)
		f->changed();
}

/* The segment, or the epoch, has changed. Nearly always there are no followers. */
static void tell_followers(void)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	if (unlikely(!list_empty(&followers)))
		tell();
}

/**
 * parkclock_timebase_follow() - begin to be told of each change of the segment
 * @follower: the follower; it does not follow yet
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_timebase_follow(struct parkclock_follower *follower)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	list_add(&follower->link, &followers);
}

/**
 * parkclock_timebase_unfollow() - stop being told of changes of the segment
 * @follower: the follower; its changed() may be running
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_timebase_unfollow(struct parkclock_follower *follower)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	list_del(&follower->link);
}

/**
 * parkclock_timebase_invalidate() - make the page invalid
 *
 * Does nothing if the page is invalid already.
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
	if (trace_parkclock_invalidate_enabled())
		*record() = (struct event) {
			.what = INVALIDATED,
			.segment_epoch = old.epoch,
			.epoch = READ_ONCE(tb.map->epoch),
		};
	tell_followers();
}

/**
 * parkclock_timebase_check_epoch() - invalidate the page if the host's clock has changed
 *
 * host_update() in host.c has raised the epoch, so that no reader uses the segment any
 * more; this also ends the segment's window.
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
		tell_followers();	/* there may be another disruption */
}

/* Loaded early, the module comes before the kernel has measured the counter at leisure. */
static void note_counter_hz(void)
{
	u64 hz = tsc_khz * 1000ULL;

	if (unlikely(tb.map->counter_hz != hz))
		WRITE_ONCE(tb.map->counter_hz, hz);
}

/**
 * parkclock_timebase_refresh() - calibrate the page again
 * @how: how to continue from the old segment; a segment that has expired is followed by a
 *       step in any case
 *
 * Afterwards the page is valid for a window.
 *
 * Context: parkclock_timebase_lock held.
 * Return: true; or false if the page cannot be valid because the host does not
 * keep time by the counter.
 */
bool parkclock_timebase_refresh(enum parkclock_refresh how)
{
	const u64 interval = parkclock_timebase_interval();
	const u64 window = interval * parkclock_param(window_intervals);
	const struct parkclock_segment *old = tb.seg;
	struct parkclock_segment new;
	struct parkclock_sample sample;
	unsigned __int128 base;

	parkclock_timebase_check_epoch();
	if (!parkclock_host_sample(&sample)) {
		/* For a caller that is ahead of the update's own call of host_changing(). */
		parkclock_timebase_invalidate();
		return false;
	}

	if (sample.epoch == old->epoch && parkclock_segment_covers(old, sample.cycles))
		account(&sample);
	tb.rate_changes = sample.rate_changes;
	WRITE_ONCE(tb.rate, sample.rate);
	tb.rate_slop = sample.rate_slop;
	note_counter_hz();
	/* After a step nothing is known about when the next refresh will come. */
	if (how == PARKCLOCK_STEP)
		tb.slew_cycles = interval;
	else
		tb.slew_cycles = parkclock_segment_slew(tb.slew_cycles,
							sample.cycles - old->base_cycles,
							interval, window);
	base = parkclock_segment_base(old, &sample, how, tb.floor);
	parkclock_segment_make(&new, &sample, predict_rate(&sample, interval), base, window,
			       tb.slew_cycles);
	if (in_use(old, sample.cycles) &&
	    (new.rate < old->rate || ends_before(&new, old))) {
		unsigned __int128 most;
		u64 last = cut_off(sample.cycles, &most);

		parkclock_segment_lift(&new, last, most);
	}
	publish(&new);
	tb.refreshes++;
	if (trace_parkclock_refresh_enabled())
		*record() = (struct event) {
			.what = REFRESHED,
			.seg = new,
			.ahead_ns = (s64)((__int128)(base - sample.now) >> PARKCLOCK_SHIFT),
		};
	tell_followers();
	return true;
}

/**
 * parkclock_timebase_disruptions() - how often a guest's counter may have changed its terms
 *
 * Context: any.
 */
u64 parkclock_timebase_disruptions(void)
{
	return READ_ONCE(tb.map->disruptions);
}

/**
 * parkclock_timebase_valid() - the published segment, if it can be read
 * @cycles:     the counter now
 * @rate_error: filled in: the largest difference between the host's rate and the
 *		segment's, in 2^-56 ns per cycle; it holds until the segment is replaced, also
 *		after the window
 *
 * Context: parkclock_timebase_lock held.
 * Return: the segment, or NULL.
 */
const struct parkclock_segment *parkclock_timebase_valid(u64 cycles, u64 *rate_error)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	/* This CPU's counter may be a little behind the segment's base. */
	if (tb.seg->epoch != READ_ONCE(tb.map->epoch) || !tb.seg->valid_cycles ||
	    cycles - tb.seg->base_cycles + PARKCLOCK_SKEW_CYCLES >=
	    tb.seg->valid_cycles + PARKCLOCK_SKEW_CYCLES)
		return NULL;
	*rate_error = tb.rate_slop + (tb.seg->rate > tb.rate ? tb.seg->rate - tb.rate :
							       tb.rate - tb.seg->rate);
	return tb.seg;
}

static void take_now(struct parkclock_now *now, unsigned __int128 mono, const s64 *offset_ns)
{
	int i;

	for (i = 0; i < PARKCLOCK_CLOCKS; i++)
		now->ns[i] = (s64)(mono >> PARKCLOCK_SHIFT) + offset_ns[i];
}

/* The host's clocks without a page: not below the floor, which no later reading will be below. */
static void take_host(struct parkclock_now *now, const struct parkclock_sample *sample)
{
	unsigned __int128 mono = sample->now;

	now->error_ns = 0;
	if (mono < tb.floor) {
		now->error_ns = (tb.floor - mono + PARKCLOCK_ONE_NS - 1) >> PARKCLOCK_SHIFT;
		mono = tb.floor;
	}
	tb.floor = mono;
	take_now(now, mono, sample->offset_ns);
}

/**
 * parkclock_timebase_now_page() - read the host's clocks from the page
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
	/* The epoch after the counter, as in the reader's algorithm. */
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
 * parkclock_timebase_now_host() - read the host's clocks where the page cannot have the time
 * @sample: the host's clock, sampled since the caller was called
 * @now:    filled in
 *
 * Leaves the page invalid. No later reading, by page or slow path, will be less.
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_timebase_now_host(const struct parkclock_sample *sample,
				 struct parkclock_now *now)
{
	parkclock_timebase_invalidate();
	now->cycles = sample->cycles;
	take_host(now, sample);
	now->generation = sample->generation;
}

/**
 * parkclock_timebase_look() - read the host's clocks where the page has no time now
 * @sample: the host's clock, sampled since the caller was called
 * @now:    filled in; @now->cycles is from a parkclock_timebase_now_page() that has failed, and
 *	    @now->error_ns is by how much the host's clock is behind
 *
 * Leaves the page as it is. No later reading, by page or slow path, will be less.
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_timebase_look(const struct parkclock_sample *sample, struct parkclock_now *now)
{
	const struct parkclock_segment *seg = tb.seg;

	lockdep_assert_held(&parkclock_timebase_lock);

	if (seg->epoch != READ_ONCE(tb.map->epoch) || !in_use(seg, now->cycles)) {
		/*
		 * The page can have been ahead of the host's clock, and somebody has read that:
		 * a relative timer that is set then does not begin before. The next segment
		 * begins at the floor or above.
		 */
		if (seg->valid_cycles)
			tb.floor = max(tb.floor, parkclock_segment_at(seg, now->cycles));
		take_host(now, sample);
	} else {
		/* This CPU's counter is behind the base, where other CPUs read by now. */
		take_now(now, parkclock_segment_at(seg, seg->base_cycles), seg->offset_ns);
		now->error_ns = 0;
	}
}

/**
 * parkclock_timebase_query() - the timebase's part of QUERY
 * @q: its members about the page are filled in
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
 * parkclock_timebase_accuracy() - histograms of the errors that pages had so far
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
 * parkclock_timebase_map() - contents of page 1, for readers in the kernel and for host.c
 */
struct parkclock_timebase *parkclock_timebase_map(void)
{
	return tb.map;
}

/**
 * parkclock_timebase_init() - create page 1, without a time
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
	/* Copy 0: readers use it unless publish() is running. */
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
 * parkclock_timebase_exit() - let go of page 1
 *
 * Context: nobody else uses the timebase.
 */
void parkclock_timebase_exit(void)
{
	put_page(tb.page);
}
