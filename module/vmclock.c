// SPDX-License-Identifier: GPL-2.0
/*
 * The VMClock page of a clock: the same time, for readers that know nothing of us.
 *
 * They know no window, and so take what is in the page for good until it says something
 * else. It is written at each refresh, and whenever the timebase or the clock changes
 * otherwise, while the clock has references: then it is "live", on a list of those, and
 * costs each refresh some hundred instructions. When a refresh finds that it has none it is
 * made unreliable, and costs nothing until the next reference, whose taker makes it live
 * again before going on. So it never says that it is reliable when nobody is going to
 * write it: before the timebase parks, two refreshes have found no reference to anything.
 *
 * As with the updater, a reference is never overlooked: a get counts, then looks whether
 * the page is live; a refresh makes it not live, then looks at the count; with a full
 * barrier in between.
 *
 * Its time does not go back either, where it is MONOTONIC. Whoever read the page before
 * it was being changed read the counter before, too: so the new line begins where the old
 * one is at a counter value that is read while it is being changed, or above. Where the
 * page has been unreliable in between, that is where it was last (the floor).
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

#include "clock.h"
#include "guest.h"
#include "params.h"
#include "timebase.h"
#include "vmclock.h"
#include "vmclock_abi.h"

/**
 * struct parkclock_vmclock - a VMClock page
 * @page:     the page
 * @map:      the same, for the kernel
 * @clock:    whose
 * @index:    PARKCLOCK_MONOTONIC or PARKCLOCK_REALTIME
 * @random:   what the disruption marker begins with
 * @refs:     references to the updater that the clock has
 * @live:     on the list, and written since; changed under parkclock_timebase_lock, which
 *	      protects what follows
 * @link:     in the list of those that are live
 * @reliable: the page has a time
 * @line:     it, or the last one
 * @begins:   where @line was made, of the host's counter
 * @ends:     and the end of its segment
 * @disruptions: of the timebase when the page was written
 * @guest:    for whose counter the page is
 * @guests:   how often that has changed
 * @floor:    the most that it can have said to anybody before it became unreliable,
 *	      in 2^-64 s
 */
struct parkclock_vmclock {
	struct page *page;
	struct vmc_abi *map;
	const struct parkclock *clock;
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

LIST_HEAD(parkclock_vmclock_live);

static atomic_t vmclocks = ATOMIC_INIT(0);

/*
 * The most that the page can have said to anybody, when the host's counter is @cycles. If
 * that has jumped out of the window, it is as in the timebase what was said at its end.
 */
static unsigned __int128 said(const struct parkclock_vmclock *vm, u64 cycles, u64 disruptions)
{
	if (!vm->reliable)
		return vm->floor;
	if (disruptions != vm->disruptions && cycles - vm->begins > vm->ends - vm->begins)
		cycles = vm->ends;
	return parkclock_line_at(&vm->line, parkclock_guest_cycles(&vm->guest, cycles));
}

/* May it be read: is the timebase good, and all that leads from it to this clock's readers? */
static bool may_be_read(const struct parkclock_vmclock *vm, u64 disruptions)
{
	const struct parkclock_clock *map = vm->clock->map;

	if (list_empty(&vm->link) || map->state & PARKCLOCK_STATE_STOPPED)
		return false;
	return !(map->state & PARKCLOCK_STATE_GUEST) || map->guest_disruptions == disruptions;
}

/* @seg: good at @cycles; @least: what it must say then, at least */
static void make_line(struct parkclock_vmclock *vm, const struct parkclock_segment *seg,
		      u64 rate_error, u64 cycles, unsigned __int128 least)
{
	const struct parkclock_guest *guest = &vm->clock->guest;

	vm->begins = cycles;
	vm->ends = seg->base_cycles + seg->valid_cycles;
	parkclock_line_make(&vm->line, seg, rate_error,
			    seg->offset_ns[vm->index] + vm->clock->map->offset_ns[vm->index],
			    guest, cycles);
	/* UTC may be set, and then it is wanted as it is. */
	if (vm->index == PARKCLOCK_MONOTONIC)
		parkclock_line_lift(&vm->line, parkclock_guest_cycles(guest, cycles), least,
				    parkclock_guest_scale(guest, parkclock_timebase_interval()));
}

/* What is in the page, between the two changes of seq_count. */
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
		/* How far the host's own clock is from UTC is not known here. */
		flags = VMC_FLAG_PERIOD_ESTERROR_VALID | VMC_FLAG_TIME_ESTERROR_VALID;
		WRITE_ONCE(map->clock_status, VMC_STATUS_FREERUNNING);
		WRITE_ONCE(map->counter_period_esterror_rate_frac_sec,
			   cpu_to_le64(line->period_error));
		WRITE_ONCE(map->time_esterror_nanosec, cpu_to_le64(line->error_ns));
	}
	/* 0 is what it is on a host that nobody has told. */
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

/**
 * parkclock_vmclock_write() - let the page say what is so now
 * @vm: the page
 *
 * Context: parkclock_timebase_lock held.
 */
void parkclock_vmclock_write(struct parkclock_vmclock *vm)
{
	const struct parkclock_segment *seg;
	struct vmc_abi *map = vm->map;
	u32 seq = le32_to_cpu(map->seq_count);
	unsigned __int128 most;
	u64 disruptions, cycles, rate_error;

	lockdep_assert_held(&parkclock_timebase_lock);

	WRITE_ONCE(map->seq_count, cpu_to_le32(seq + 1));
	/*
	 * The announcement before the change, and before the counter is read: who
	 * has not seen it has read the counter before. Pairs with the order in which
	 * VMClock's readers load: seq_count, the rest and the counter, seq_count.
	 */
	smp_mb();
	cycles = rdtsc_ordered();
	disruptions = parkclock_timebase_disruptions();
	most = said(vm, cycles, disruptions);
	seg = may_be_read(vm, disruptions) ? parkclock_timebase_valid(cycles, &rate_error) : NULL;
	if (seg)
		make_line(vm, seg, rate_error, cycles, most);
	/* Looked at by gets without the lock. */
	WRITE_ONCE(vm->reliable, !!seg);
	vm->floor = most;
	vm->disruptions = disruptions;
	if (!same_guest(&vm->guest, &vm->clock->guest)) {
		vm->guest = vm->clock->guest;
		vm->guests++;
	}
	write_fields(vm, seg);
	/* The change before its end; pairs as above. */
	smp_store_release(&map->seq_count, cpu_to_le32(seq + 2));
}

static void set_live(struct parkclock_vmclock *vm, bool live)
{
	lockdep_assert_held(&parkclock_timebase_lock);

	/* The page before the word that it is good; pairs with the acquire in get. */
	smp_store_release(&vm->live, live);
}

/* Has the clock no reference? Then it is not live any more. */
static bool unused(struct parkclock_vmclock *vm)
{
	if (atomic_read(&vm->refs))
		return false;
	set_live(vm, false);
	/* Not live, then the count; pairs with the one in parkclock_vmclock_get(). */
	smp_mb();
	if (!atomic_read(&vm->refs))
		return true;
	/* Who saw that it was not waits for our lock; who did not relies on it. */
	set_live(vm, true);
	return false;
}

/**
 * parkclock_vmclock_update_slow() - the rest of parkclock_vmclock_update()
 *
 * Context: as there.
 */
void parkclock_vmclock_update_slow(void)
{
	struct parkclock_vmclock *vm, *next;

	lockdep_assert_held(&parkclock_timebase_lock);

	list_for_each_entry_safe(vm, next, &parkclock_vmclock_live, link) {
		if (unused(vm))
			list_del_init(&vm->link);
		parkclock_vmclock_write(vm);
	}
}

/* Nothing is to be done if somebody else has, or a refresh that was under way. */
static void revive(struct parkclock_vmclock *vm)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	if (!vm->live) {
		list_add(&vm->link, &parkclock_vmclock_live);
		parkclock_vmclock_write(vm);
		set_live(vm, true);
	}
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
}

/**
 * parkclock_vmclock_get() - the clock has a reference more
 * @vm: its page, which is as good as the mapping when this returns
 *
 * Context: any but NMI, also under a run-queue lock; after parkclock_updater_get().
 */
void parkclock_vmclock_get(struct parkclock_vmclock *vm)
{
	atomic_inc(&vm->refs);
	/* Count, then look whether it is live; pairs with the one in unused(). */
	smp_mb__after_atomic();
	/*
	 * Live, then the page; pairs with the release in set_live(). If it is unreliable
	 * a refresh may be about to write it: then its lock is to be waited for.
	 */
	if (!smp_load_acquire(&vm->live) || !READ_ONCE(vm->reliable))
		revive(vm);
}

/**
 * parkclock_vmclock_put() - it has one less
 * @vm: its page
 *
 * Context: any; before parkclock_updater_put().
 */
void parkclock_vmclock_put(struct parkclock_vmclock *vm)
{
	atomic_dec(&vm->refs);
}

/**
 * parkclock_vmclock_retire() - there will be no references any more
 * @vm: the page
 *
 * Context: any but NMI.
 */
void parkclock_vmclock_retire(struct parkclock_vmclock *vm)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&parkclock_timebase_lock, flags);
	list_del_init(&vm->link);
	set_live(vm, false);
	parkclock_vmclock_write(vm);
	raw_spin_unlock_irqrestore(&parkclock_timebase_lock, flags);
}

/**
 * parkclock_vmclock_page() - the page
 * @vm: it
 */
struct page *parkclock_vmclock_page(const struct parkclock_vmclock *vm)
{
	return vm->page;
}

/**
 * parkclock_vmclock_name() - what it is the time of, for people
 * @vm: the page
 */
const char *parkclock_vmclock_name(const struct parkclock_vmclock *vm)
{
	return vm->index == PARKCLOCK_MONOTONIC ? "monotonic" : "utc";
}

/* Room for one more? Then it is taken. */
static bool reserve(void)
{
	int count = atomic_read(&vmclocks);

	do {
		if (count >= parkclock_max_vmclocks())
			return false;
	} while (!atomic_try_cmpxchg(&vmclocks, &count, count + 1));
	return true;
}

/**
 * parkclock_vmclock_create() - a page that says that it is unreliable
 * @clock: whose
 * @index: PARKCLOCK_MONOTONIC or PARKCLOCK_REALTIME
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: the page, or an ERR_PTR: -ENOSPC or -ENOMEM.
 */
struct parkclock_vmclock *parkclock_vmclock_create(const struct parkclock *clock, int index)
{
	struct parkclock_vmclock *vm;

	if (!reserve())
		return ERR_PTR(-ENOSPC);
	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		goto err_reserve;
	vm->page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!vm->page)
		goto err_vm;
	vm->map = page_address(vm->page);
	vm->clock = clock;
	vm->index = index;
	vm->random = get_random_u64();
	vm->guest = PARKCLOCK_NO_GUEST;
	INIT_LIST_HEAD(&vm->link);
	vm->map->magic = cpu_to_le32(VMC_MAGIC);
	vm->map->size = cpu_to_le32(PARKCLOCK_PAGE_SIZE);
	vm->map->version = cpu_to_le16(VMC_VERSION);
	vm->map->counter_id = VMC_COUNTER_X86_TSC;
	vm->map->time_type = index == PARKCLOCK_MONOTONIC ? VMC_TIME_MONOTONIC : VMC_TIME_UTC;
	/* Before anybody has it: no reference, so unreliable. */
	parkclock_vmclock_retire(vm);
	return vm;

err_vm:
	kfree(vm);
err_reserve:
	atomic_dec(&vmclocks);
	return ERR_PTR(-ENOMEM);
}

/**
 * parkclock_vmclock_free() - let go of the page
 * @vm: it, retired; or NULL
 *
 * Context: any.
 */
void parkclock_vmclock_free(struct parkclock_vmclock *vm)
{
	if (!vm)
		return;
	/* It lives on for whoever has pinned it. */
	put_page(vm->page);
	kfree(vm);
	atomic_dec(&vmclocks);
}
