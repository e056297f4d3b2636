// SPDX-License-Identifier: GPL-2.0
/*
 * The VMClock page of a clock: the same time, for readers that do not know parkclock.
 *
 * A VMClock page has no window: its readers use its contents until these change. The page
 * is written at each refresh, and at each other change of the timebase or of the clock,
 * while the clock has references. It is "live" then: it is on a list, and costs each refresh
 * some hundred instructions. A refresh that finds a live page without a reference makes it
 * unreliable and takes it off the list. It costs nothing until the next reference, whose
 * get makes it live again before it returns. So a page never says that it is reliable when
 * nobody is going to write it: before the updater parks, two refreshes have found no
 * reference at all.
 *
 * As with the updater, a reference is never overlooked. A get counts, then reads whether the
 * page is live. A refresh makes the page not live, then reads the count. Both have a full
 * barrier in between.
 *
 * A page of MONOTONIC does not go back. A reader that read the page before it was being
 * changed also read the counter before. So the new line begins, at a counter value that is
 * read while the page is being changed, where the old line is, or above. If the page was
 * unreliable in between, the new line begins at the last value before that, the floor.
 */
#include <linux/atomic.h>
#include <linux/bug.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/lockdep.h>
#include <linux/mm.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <asm/byteorder.h>
#include <asm/msr.h>

#include "guest.h"
#include "page.h"
#include "timebase.h"
#include "vmclock.h"
#include "vmclock_abi.h"

/**
 * struct parkclock_vmclock - a VMClock page
 * @page:     the page
 * @map:      its contents
 * @of:       page 0 of the clock whose time this is
 * @follower: follows @of
 * @index:    PARKCLOCK_MONOTONIC or PARKCLOCK_REALTIME
 * @random:   first value of the disruption marker
 * @refs:     references to the updater that the clock has
 * @live:     the page is on the list, and was written since; changed under
 *	      parkclock_timebase_lock, which protects all that follows
 * @link:     in the list of live pages
 * @reliable: the page has a time
 * @line:     the line in the page, or the last one
 * @begins:   value of the host's counter at which @line was made
 * @ends:     value of the host's counter at which its segment ends
 * @disruptions: disruptions of the timebase when the page was written
 * @guest:    the guest whose counter the page is for
 * @guests:   how often @guest has changed
 * @floor:    the largest time that the page can have given before it became unreliable,
 *	      in 2^-64 s
 */
struct parkclock_vmclock {
	struct page *page;
	struct vmc_abi *map;
	struct parkclock_page *of;
	struct parkclock_page_follower follower;
	int index;
	u64 random;
	atomic_t refs;
	bool live;
	struct list_head link;
	bool reliable;
	struct parkclock_line line;
	u64 begins;
	u64 ends;
	u64 disruptions;
	struct parkclock_guest guest;
	u64 guests;
	unsigned __int128 floor;
};

/* The pages that are live. Protected by parkclock_timebase_lock. */
static LIST_HEAD(live);

static void segment_changed(void);

/* Follows the timebase while a page is live. */
static struct parkclock_follower follower = { .changed = segment_changed };

/*
 * The largest time that the page can have given up to the host's counter @cycles. If the
 * counter has jumped out of the window, it is the time at the window's end, as in the
 * timebase.
 */
static unsigned __int128 said(const struct parkclock_vmclock *vm, u64 cycles, u64 disruptions)
{
	if (!vm->reliable)
		return vm->floor;
	if (disruptions != vm->disruptions && cycles - vm->begins > vm->ends - vm->begins)
		cycles = vm->ends;
	return parkclock_line_at(&vm->line, parkclock_guest_cycles(&vm->guest, cycles));
}

/* May the page have a time? Its clock must run, and the terms of its guest must be right. */
static bool may_be_read(const struct parkclock_vmclock *vm, u64 disruptions)
{
	const struct parkclock_clock *map = vm->of->map;

	if (list_empty(&vm->link) || map->state & PARKCLOCK_STATE_STOPPED)
		return false;
	return !(map->state & PARKCLOCK_STATE_GUEST) || map->guest_disruptions == disruptions;
}

/* @seg is valid at @cycles; the line must give at least @least there. */
static void make_line(struct parkclock_vmclock *vm, const struct parkclock_segment *seg,
		      u64 rate_error, u64 cycles, unsigned __int128 least)
{
	const struct parkclock_guest *guest = &vm->of->guest;

	vm->begins = cycles;
	vm->ends = seg->base_cycles + seg->valid_cycles;
	parkclock_line_make(&vm->line, seg, rate_error,
			    seg->offset_ns[vm->index] + vm->of->map->offset_ns[vm->index],
			    guest, cycles);
	/* UTC may be set back, and readers want it as it is. */
	if (vm->index == PARKCLOCK_MONOTONIC)
		parkclock_line_lift(&vm->line, parkclock_guest_cycles(guest, cycles), least,
				    parkclock_guest_scale(guest, parkclock_timebase_interval()));
}

/* Write the fields, between the two changes of seq_count. */
static void write_fields(struct parkclock_vmclock *vm, const struct parkclock_segment *seg)
{
	const struct parkclock_line *line = &vm->line;
	struct vmc_abi *map = vm->map;
	u64 flags;
	s64 tai;

	WRITE_ONCE(map->disruption_marker, cpu_to_le64(vm->random + vm->disruptions + vm->guests));
	if (!vm->reliable) {
		WRITE_ONCE(map->clock_status, VMC_STATUS_UNRELIABLE);
		WRITE_ONCE(map->flags, 0);
		return;
	}
	if (vm->index == PARKCLOCK_MONOTONIC) {
		flags = VMC_FLAG_PERIOD_MAXERROR_VALID | VMC_FLAG_TIME_MAXERROR_VALID |
			VMC_FLAG_TIME_MONOTONIC;
		WRITE_ONCE(map->clock_status, VMC_STATUS_SYNCHRONIZED);
		WRITE_ONCE(map->counter_period_maxerror_rate_frac_sec,
			   cpu_to_le64(line->period_error));
		WRITE_ONCE(map->time_maxerror_nanosec, cpu_to_le64(line->error_ns));
	} else {
		/* The distance of the host's own clock from UTC is not known here. */
		flags = VMC_FLAG_PERIOD_ESTERROR_VALID | VMC_FLAG_TIME_ESTERROR_VALID;
		WRITE_ONCE(map->clock_status, VMC_STATUS_FREERUNNING);
		WRITE_ONCE(map->counter_period_esterror_rate_frac_sec,
			   cpu_to_le64(line->period_error));
		WRITE_ONCE(map->time_esterror_nanosec, cpu_to_le64(line->error_ns));
	}
	/* 0 is the value on a host that nobody has told the offset. */
	tai = div_s64(seg->offset_ns[PARKCLOCK_TAI] - seg->offset_ns[PARKCLOCK_REALTIME],
		      NSEC_PER_SEC);
	if (tai)
		flags |= VMC_FLAG_TAI_OFFSET_VALID;
	WRITE_ONCE(map->flags, cpu_to_le64(flags));
	WRITE_ONCE(map->tai_offset_sec, cpu_to_le16(tai));
	WRITE_ONCE(map->counter_period_shift, line->shift);
	WRITE_ONCE(map->counter_value, cpu_to_le64(line->counter));
	WRITE_ONCE(map->counter_period_frac_sec, cpu_to_le64(line->period));
	WRITE_ONCE(map->time_sec, cpu_to_le64(line->time >> 64));
	WRITE_ONCE(map->time_frac_sec, cpu_to_le64((u64)line->time));
}

static bool same_guest(const struct parkclock_guest *a, const struct parkclock_guest *b)
{
	return a->offset == b->offset && a->ratio == b->ratio && a->ratio_shift == b->ratio_shift;
}

/* Write the present state into the page. */
static void write_page(struct parkclock_vmclock *vm)
{
	const struct parkclock_segment *seg;
	struct vmc_abi *map = vm->map;
	u32 seq = le32_to_cpu(map->seq_count);
	unsigned __int128 most;
	u64 disruptions, cycles, rate_error;

	lockdep_assert_held(&parkclock_timebase_lock);

	WRITE_ONCE(map->seq_count, cpu_to_le32(seq + 1));
	/*
	 * The announcement before the change, and before the counter is read: a reader
	 * that missed the announcement read the counter before. Pairs with the order in
	 * which VMClock's readers load: seq_count, the rest and the counter, seq_count.
	 */
	smp_mb();
	cycles = rdtsc_ordered();
	disruptions = parkclock_timebase_disruptions();
	most = said(vm, cycles, disruptions);
	seg = may_be_read(vm, disruptions) ? parkclock_timebase_valid(cycles, &rate_error) : NULL;
	if (seg)
		make_line(vm, seg, rate_error, cycles, most);
	/* Gets read it without the lock. */
	WRITE_ONCE(vm->reliable, !!seg);
	vm->floor = most;
	vm->disruptions = disruptions;
	if (!same_guest(&vm->guest, &vm->of->guest)) {
		vm->guest = vm->of->guest;
		vm->guests++;
	}
	write_fields(vm, seg);
	/* The change before its end; pairs as the barrier above. */
	smp_store_release(&map->seq_count, cpu_to_le32(seq + 2));
}

static void set_live(struct parkclock_vmclock *vm, bool live)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	/* The page before @live; pairs with the acquire in parkclock_vmclock_get(). */
	smp_store_release(&vm->live, live);
}

/* If the clock has no reference, make its page not live, and return true. */
static bool unused(struct parkclock_vmclock *vm)
{
	if (atomic_read(&vm->refs))
		return false;
	set_live(vm, false);
	/* Not live, then the count; pairs with the barrier in parkclock_vmclock_get(). */
	smp_mb();
	if (!atomic_read(&vm->refs))
		return true;
	/*
	 * A get that saw `live` false waits for this lock; any other get needs `live`
	 * restored here.
	 */
	set_live(vm, true);
	return false;
}

static void list_live(struct parkclock_vmclock *vm)
{
	if (list_empty(&live))
		parkclock_timebase_follow(&follower);
	list_add(&vm->link, &live);
}

static void unlist_live(struct parkclock_vmclock *vm)
{
	if (list_empty(&vm->link))
		return;
	list_del_init(&vm->link);
	if (list_empty(&live))
		parkclock_timebase_unfollow(&follower);
}

static void segment_changed(void)
{
	struct parkclock_vmclock *vm, *next;

	lockdep_assert_held(&parkclock_timebase_lock);

	list_for_each_entry_safe(vm, next, &live, link) {
		if (unused(vm))
			unlist_live(vm);
		write_page(vm);
	}
}

static void page_changed(struct parkclock_page_follower *f)
{
	write_page(container_of(f, struct parkclock_vmclock, follower));
}

/* Another get, or a refresh that was under way, may have been faster. */
static void revive(struct parkclock_vmclock *vm)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	if (!vm->live) {
		list_live(vm);
		write_page(vm);
		set_live(vm, true);
	}
	parkclock_timebase_unlock(flags);
}

/*
 * Can a refresh be about to give the page a time? If not, no switch has to wait for the lock,
 * though its tenant can have left the page unreliable for good.
 *
 * - The clock is stopped, or the terms of its guest are out of date. START and SET_GUEST_TSC
 *   write the page before they return: who comes after that reads the new state here.
 * - The mapping has no time: the host has no counter, or the updater is stopped, or else the
 *   host's clock has changed since parkclock_updater_get() returned. The refresh that follows
 *   such a change publishes the segment, stores its window, writes the pages, and all that
 *   before the call that made the change returns. Who reads the old window here finds the page
 *   as a task does that runs already.
 *
 * Where the window is good but the page is unreliable, another CPU may be between the two.
 */
static bool awaits_time(const struct parkclock_vmclock *vm)
{
	const struct parkclock_clock *map = vm->of->map;
	const u64 state = READ_ONCE(map->state);

	if (state & PARKCLOCK_STATE_STOPPED ||
	    (state & PARKCLOCK_STATE_GUEST &&
	     READ_ONCE(map->guest_disruptions) != parkclock_timebase_disruptions()))
		return false;
	return !parkclock_timebase_stale(rdtsc());
}

/**
 * parkclock_vmclock_get() - the clock has one more reference
 * @vm: its page; when this returns it has a time if the mapping has one
 *
 * Context: any but NMI, also under a run-queue lock; after parkclock_updater_get().
 */
void parkclock_vmclock_get(struct parkclock_vmclock *vm)
{
	atomic_inc(&vm->refs);
	/* Count, then read `live`; pairs with the barrier in unused(). */
	smp_mb__after_atomic();
	/*
	 * `live`, then the page; pairs with the release in set_live(). If the page is
	 * unreliable and a refresh may be about to write it: wait for its lock.
	 */
	if (!smp_load_acquire(&vm->live) || (!READ_ONCE(vm->reliable) && awaits_time(vm)))
		revive(vm);
}

/**
 * parkclock_vmclock_put() - the clock has one reference less
 * @vm: its page
 *
 * Context: any; before parkclock_updater_put().
 */
void parkclock_vmclock_put(struct parkclock_vmclock *vm)
{
	atomic_dec(&vm->refs);
}

/**
 * parkclock_vmclock_retire() - the clock will have no references any more
 * @vm: its page; it becomes unreliable
 *
 * Context: any but NMI.
 */
void parkclock_vmclock_retire(struct parkclock_vmclock *vm)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	unlist_live(vm);
	set_live(vm, false);
	write_page(vm);
	parkclock_timebase_unlock(flags);
}

/**
 * parkclock_vmclock_page() - the memory of a VMClock page
 * @vm: the page
 */
struct page *parkclock_vmclock_page(const struct parkclock_vmclock *vm)
{
	return vm->page;
}

/**
 * parkclock_vmclock_name() - name of the time that a VMClock page has
 * @vm: the page
 */
const char *parkclock_vmclock_name(const struct parkclock_vmclock *vm)
{
	return vm->index == PARKCLOCK_MONOTONIC ? "monotonic" : "utc";
}

/**
 * parkclock_vmclock_create() - create a VMClock page, which is unreliable at first
 * @of:    page 0 of the clock that it is for; it is followed from now on
 * @index: PARKCLOCK_MONOTONIC or PARKCLOCK_REALTIME
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: the page, or an ERR_PTR: -ENOMEM.
 */
struct parkclock_vmclock *parkclock_vmclock_create(struct parkclock_page *of, int index)
{
	struct parkclock_vmclock *vm;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);
	vm->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!vm->page) {
		kfree(vm);
		return ERR_PTR(-ENOMEM);
	}
	vm->map = page_address(vm->page);
	vm->of = of;
	vm->follower.changed = page_changed;
	vm->index = index;
	vm->random = get_random_u64();
	vm->guest = PARKCLOCK_NO_GUEST;
	INIT_LIST_HEAD(&vm->link);
	vm->map->magic = cpu_to_le32(VMC_MAGIC);
	vm->map->size = cpu_to_le32(PARKCLOCK_PAGE_SIZE);
	vm->map->version = cpu_to_le16(VMC_VERSION);
	vm->map->counter_id = VMC_COUNTER_X86_TSC;
	vm->map->time_type = index == PARKCLOCK_MONOTONIC ? VMC_TIME_MONOTONIC : VMC_TIME_UTC;
	/* Nobody can see the page yet. It has no reference, so it is unreliable. */
	parkclock_vmclock_retire(vm);
	parkclock_page_follow(of, &vm->follower);
	return vm;
}

/**
 * parkclock_vmclock_free() - let go of a VMClock page
 * @vm: the page, retired; or NULL
 *
 * Context: any.
 */
void parkclock_vmclock_free(struct parkclock_vmclock *vm)
{
	if (!vm)
		return;
	/* Whoever has pinned the memory keeps it. */
	put_page(vm->page);
	kfree(vm);
}
