// SPDX-License-Identifier: GPL-2.0
/*
 * A clock whose owner stops, starts, shifts, saves and restores it, while its page is read:
 * by programs of the host, by READ, or in a guest whose counter has another rate and offset,
 * and by readers of its VMClock page.
 *
 * - Whatever the owner does, no reading of MONOTONIC or BOOTTIME is less than one that
 *   happens before it; SAVE counts as a reading. VMClock pages are in an order of their own.
 *   A reading in a guest can be less than one of the host that happens before it, by what
 *   guest_lag cycles take; and less than one in the guest only if the clock was started in
 *   between, which takes longer than that where time passes.
 * - A reading differs from the host's clock by no more than its bound, by the offset that
 *   the clock had at some instant of the reading; and it has the generation of that offset.
 *   Owners shift a clock by far more than a bound, so that a reading that mixes two of its
 *   states is noticed.
 * - No reading is later than the instant at which the clock was stopped, to the nanosecond.
 * - A clock that is stopped has no time, in either page.
 * - A clock that goes on after its gap goes on from where it was stopped; a life begins at
 *   1 ns, or where the saved one was. (Where the host's rate changes, the bound of the
 *   instant at which it goes on is not known.)
 * - A page has a time while a reference is held, with the excuses of any page (check.c). A
 *   VMClock page has one from when HOLD returns until RELEASE begins, and is unreliable if
 *   nobody keeps it fresh. One that is unreliable because its clock is stopped costs a
 *   reference no lock.
 *
 * The owner does one thing after the other, readers are anywhere in between.
 */
#include <stdio.h>
#include <string.h>
#include <linux/parkclock.h>

#include "sched.h"

#define OWNED		CLOCKS		/* its number among the clocks */
#define NEAR_NS		2000		/* two bounds, of states that are not known exactly */

enum how_read { BY_PAGE, BY_READ, BY_GUEST, BY_VMCLOCK };

static struct mutex owner;
enum { SEEN_VMCLOCK = 2, SEEN_IN_GUEST, SEEN_KINDS = 5 };

/* MONOTONIC, BOOTTIME, the VMClock page; and the first two, as guests have read them */
static u64 seen_by[SIM_CPUS][SEEN_KINDS], seen[SEEN_KINDS];
static u64 most[2];			/* of all readings */
static bool stopped, stopping, surely_stopped, surely_runs;
static u64 stopped_at[2];
static unsigned int starts;		/* that have begun */
static struct terms terms[8];		/* that the clock has had, the last ones */
static unsigned int changes;
static bool changing;			/* The owner does something. */
static u64 change_from;			/* the state of the page before that */
static int held;
static bool surely_held;		/* HOLD has returned, and no RELEASE begun. */
static unsigned int releases;		/* RELEASEs of a last reference that have begun */
static bool used, published;

/* The guest's counter follows from the host's by these terms. */
static bool is_guest;
static u64 guest_lag_ns;
static u64 guest_offset, guest_ratio;
static u32 guest_shift;

u64 guest_counter(u64 cycles)
{
	/*
	 * It goes on where the host's begins anew: its offset is another one then; and in the
	 * copy of a machine.
	 */
	return ((u128)cycles * guest_ratio >> guest_shift) + guest_offset +
	       sim.incarnation * 1000000007 + sim.copies * 100003;
}

void owners_marked(enum mark kind, u64 value, u64 value2)
{
	if (kind == MARK_OWNED)
		seen[value2] = max(seen[value2], value);
	else if (value == starts && value2)
		surely_stopped = stopped;
	else if (value == starts)
		surely_runs = !stopped && !stopping;
}

static void is_seen(int which, u64 ns)
{
	u64 *mine = &seen_by[me->id][which];

	*mine = max(*mine, ns);
	mark(MARK_OWNED, ns, which);
}

static u64 floor_of(int which)
{
	return max(seen[which], seen_by[me->id][which]);
}

/* What a reading that begins now must not be below */
static u64 least_of(enum how_read how, int which)
{
	u64 host = floor_of(which);

	if (how == BY_VMCLOCK)
		return host;
	if (how == BY_GUEST)
		host -= min(host, guest_lag_ns);
	return max(host, floor_of(SEEN_IN_GUEST + which));
}

/* For timers.c: an expiration counts as a reading of the time that the timer was set to. */

void owner_seen(int which, u64 ns)
{
	is_seen(which, ns);
}

u64 owner_floor(int which)
{
	return floor_of(which);
}

u64 owner_most(int which)
{
	return most[which];
}

bool owner_stopped_before(int which, u64 ns)
{
	return stopped && ns > stopped_at[which];
}

static void remember_offsets(void)
{
	terms[++changes % ARRAY_SIZE(terms)] = ioctl_terms(OWNED);
}

/* The host's clock does not jump: of what a reading says, the rest is the clock's own. */
static bool generation_is_known(void)
{
	return !(sim.features[F_STEP] || sim.features[F_SUSPEND] || sim.features[F_SOURCE] ||
		 sim.features[F_FORK]);
}

static bool right_by(const struct attempt *a, int which, const struct parkclock_reading *r,
		     const struct terms *t)
{
	struct parkclock_reading host = *r;

	host.ns = r->ns - t->offset_ns[which & 1];
	if (which != SEEN_VMCLOCK && generation_is_known() && r->generation != t->generation)
		return false;
	return within_bound(a, which == 1 ? PARKCLOCK_BOOTTIME : PARKCLOCK_MONOTONIC, &host);
}

/* Is it within its bound, by an offset that the clock has had since? */
static bool right(const struct attempt *a, int which, const struct parkclock_reading *r,
		  unsigned int since)
{
	struct terms now = ioctl_terms(OWNED);
	unsigned int i;

	for (i = since; i <= changes; i++)
		if (right_by(a, which, r, &terms[i % ARRAY_SIZE(terms)]))
			return true;
	/* A change whose end can be seen, though the owner has not come that far */
	return changing && (now.state ^ change_from) & ~PARKCLOCK_STATE_CONDITIONS &&
	       right_by(a, which, r, &now);
}

/* Does a guest that finds no time know that its terms have become wrong? */
static bool may_be_disrupted(void)
{
	return sim.features[F_SUSPEND] || sim.features[F_FORK] || sim.features[F_SOURCE] ||
	       sim.features[F_STOP];
}

/* Returns true, and the time if there was one. */
static bool read_clock(enum how_read how, int which, struct parkclock_reading *r)
{
	const int id = which == 1 ? CLOCK_BOOTTIME : CLOCK_MONOTONIC;
	const unsigned int since = changes, starts_then = starts, releases_then = releases;
	const char *const names[] = { "page", "READ", "guest", "VMClock" };
	const bool sure = surely_stopped, runs = surely_runs, kept = surely_held;
	struct attempt a;
	u64 least;
	int none;

	me->doing = names[how];
	reading_begin(&a);
	least = least_of(how, which);
	if (how == BY_READ) {
		hold_taking();
		none = ioctl_read(OWNED, id, r);
		settled(me);
		checks.puts++;
		checks.holds++;
		hold_dropped();
	} else {
		me->user = true;
		me->guest = is_guest && how != BY_PAGE;
		none = how == BY_VMCLOCK ? read_vmclock(OWNED, r) :
		       read_owned(OWNED, id, how == BY_GUEST, r);
		me->guest = false;
		me->user = false;
		settled(me);
		/* The bound is one at the host's counter, which was this when it was read. */
		if (!none)
			r->cycles = me->cycles;
	}
	if (recording)
		record("%s: %s %lld +- %llu", names[how], none ? "no time" : "time", none ? 0 : r->ns,
		       none ? 0 : r->error_ns);
	if (none) {
		if (how != BY_VMCLOCK && sure && starts == starts_then && none != PARKCLOCK_IS_STOPPED)
			fail("stopped", "a reader of a clock that is stopped is not told so");
		if (runs && !stopped && !stopping && starts == starts_then && how != BY_READ &&
		    (how == BY_VMCLOCK ? kept && releases == releases_then :
					 how == (is_guest ? BY_GUEST : BY_PAGE)) &&
		    !(is_guest && may_be_disrupted()))
			reading_none(&a);
		return false;
	}
	if (sure && starts == starts_then)
		fail("stopped", "CPU %d has a time of a clock that is stopped", me->id);
	if (stopped && how != BY_VMCLOCK && (u64)r->ns > stopped_at[which])
		fail("stop", "CPU %d has a time that is %lld ns after the stop", me->id,
		     r->ns - (s64)stopped_at[which]);
	if (!right(&a, which, r, since))
		fail("bound", "CPU %d reads %lld of clock %d of an owner by %s, bound %llu", me->id,
		     r->ns, which, names[how], r->error_ns);
	if ((u64)r->ns < least)
		fail("backwards", "CPU %d reads %lld of clock %d of an owner by %s, %lld ns back",
		     me->id, r->ns, which, names[how], (s64)least - r->ns);
	if (how != BY_VMCLOCK)
		most[which] = max(most[which], (u64)r->ns);
	is_seen(how == BY_GUEST ? SEEN_IN_GUEST + which : which, r->ns);
	return true;
}

static void some_reading(void)
{
	struct parkclock_reading r;
	enum how_read how = one_in(4) ? BY_READ : is_guest ? BY_GUEST : BY_PAGE;

	if (!used) {
		/* As mmap() does */
		ioctl_use(OWNED);
		used = true;
	}
	if (published && one_in(2))
		read_clock(BY_VMCLOCK, SEEN_VMCLOCK, &r);
	else
		read_clock(how, one_in(3), &r);
}

/* Around what somebody publishes now, or while it is under way to others */
static void follow_readings(void)
{
	unsigned int n;
	u64 when;

	for (n = 2 + rnd(5); n; n--) {
		some_reading();
		when = choose_news();
		if (when != sim.now)
			doze_until(when);
	}
}

void owner_reads(int which)
{
	struct parkclock_reading r;

	read_clock(one_in(4) ? BY_READ : is_guest ? BY_GUEST : BY_PAGE, which, &r);
}

/* Where the host's clock is, and whether that can be compared with another instant */
struct instant {
	unsigned int version;
	u64 incarnation;
	u64 ns;
};

static struct instant instant(void)
{
	struct instant at = { .version = version_now(), .incarnation = sim.incarnation };
	const struct version *v = version_get(at.version);

	at.ns = version_at(v, version_cycles(v, sim.now)) >> PARKCLOCK_SHIFT;
	if (!v->usable || at.version != version_last())
		at.version = ~0U;
	return at;
}

/* The clock has gone on at @value at an instant since @from. */
static void goes_on_at(u64 value, const struct instant *from)
{
	struct parkclock_reading r;
	struct instant to;

	used = true;
	ioctl_use(OWNED);
	if (value < floor_of(0))
		return;
	if (!read_clock(is_guest ? BY_GUEST : BY_PAGE, 0, &r))
		return;
	to = instant();
	if (from->version != to.version || from->incarnation != to.incarnation ||
	    to.version == ~0U || sim.features[F_SUSPEND] || sim.features[F_RATE] ||
	    sim.features[F_DITHER])
		return;
	if ((u64)r.ns > value + (to.ns - from->ns) + 2 * r.error_ns + NEAR_NS)
		fail("gap", "the clock goes on at %lld, and not %llu ns after %llu at most", r.ns,
		     to.ns - from->ns, value);
	if ((u64)r.ns + (is_guest ? guest_lag_ns : 0) < value)
		fail("gap", "the clock goes on at %lld, before %llu", r.ns, value);
}

static void stop(void)
{
	struct parkclock_reading r;
	struct parkclock_saved saved;
	struct attempt a;
	int which;

	if (stopped)
		return;
	me->doing = "STOP";
	stopping = true;
	surely_runs = false;
	reading_begin(&a);
	hold_taking();
	if (one_in(2) && ioctl_stop(OWNED))
		fail("stop", "is refused");
	ioctl_save(OWNED, &saved, &r);
	settled(me);
	sim_mb();
	checks.puts++;
	checks.holds++;
	hold_dropped();
	used = true;
	stopped_at[0] = saved.monotonic_ns;
	stopped_at[1] = saved.boottime_ns;
	if (recording)
		record("stopped at %llu, %llu", stopped_at[0], stopped_at[1]);
	for (which = 0; which < 2; which++) {
		if (most[which] > stopped_at[which])
			fail("stop", "somebody had a time %llu ns after the stop",
			     most[which] - stopped_at[which]);
		r.ns = stopped_at[which];
		if (r.cycles && !sim.features[F_SUSPEND] && !right(&a, which, &r, changes))
			fail("stop", "at %llu, which is %llu ns or more from where it was",
			     stopped_at[which], r.error_ns);
		is_seen(which, stopped_at[which]);
	}
	stopped = true;
	stopping = false;
	if (sim.features[F_TIMER])
		timers_stopped();
	mark(MARK_STOPPED, starts, true);
}

/* What is known of a guest's readings holds but for the lag. */
static void forget_lag(void)
{
	int i, which;

	for (which = SEEN_IN_GUEST; which < SEEN_KINDS; which++) {
		seen[which] -= min(seen[which], guest_lag_ns);
		for (i = 0; i < SIM_CPUS; i++)
			seen_by[i][which] -= min(seen_by[i][which], guest_lag_ns);
	}
}

static void start(void)
{
	const bool freeze = one_in(2);
	struct parkclock_saved saved;
	struct parkclock_reading r;
	struct instant from;

	if (!stopped)
		return;
	me->doing = "START";
	if (sim.features[F_TIMER])
		timers_stopped();
	ioctl_save(OWNED, &saved, &r);
	settled(me);
	if ((u64)saved.monotonic_ns != stopped_at[0] || (u64)saved.boottime_ns != stopped_at[1])
		fail("save", "of a clock that is stopped is another one");
	from = instant();
	starts++;
	forget_lag();
	surely_stopped = false;
	stopped = false;
	hold_taking();
	if (ioctl_start(OWNED, freeze))
		fail("start", "is refused");
	settled(me);
	sim_mb();
	checks.puts++;
	checks.holds++;
	hold_dropped();
	remember_offsets();
	mark(MARK_STOPPED, starts, false);
	if (freeze)
		goes_on_at(stopped_at[0], &from);
}

static void shift(void)
{
	s64 *to;
	struct terms t = ioctl_terms(OWNED);
	int err;

	me->doing = "OFFSETS";
	to = t.offset_ns;
	to[0] += (s64)rnd_log(1000000000) - (one_in(4) ? 500000 : 0);
	to[1] += (s64)rnd_log(1000000000);
	/* A stopped clock's offsets change where it stopped, too. */
	if (stopped)
		return;
	hold_taking();
	err = ioctl_set_offsets(OWNED, to);
	settled(me);
	sim_mb();
	checks.puts++;
	checks.holds++;
	hold_dropped();
	if (err && err != -EBUSY && err != -ERANGE)
		fail("offsets", "error %d", err);
	remember_offsets();
}

/* A guest's counter lags, so that its first reading of a new life would be below 1 ns. */
static void live(void)
{
	const bool restore = is_guest || one_in(2);
	const u64 value = restore ? 1000 + rnd_log(1ULL << 50) : 1;
	struct instant from;
	const bool was_used = used;
	int err;

	me->doing = restore ? "RESTORE" : "EPOCH";
	from = instant();
	hold_taking();
	err = restore ? ioctl_restore(OWNED, value) : ioctl_epoch(OWNED);
	settled(me);
	sim_mb();
	checks.puts++;
	checks.holds++;
	hold_dropped();
	if (!err && was_used)
		fail("fresh", "a clock that was used begins a life");
	if (err && err != -EBUSY)
		fail("fresh", "error %d", err);
	remember_offsets();
	if (!err)
		goes_on_at(value, &from);
}

/* A page that nobody is about to write, and that is held already, costs a switch no lock. */
static void hold_stopped(void)
{
	const u64 locked = me->locked;

	/* A refresh that read the count before HOLD may just be about to read it again. */
	if (module_lock_held(NULL))
		return;
	ioctl_hold_vmclock(OWNED);
	settled(me);
	if (me->locked != locked)
		fail("lock", "a reference to the VMClock page of a stopped clock has waited");
}

static void hold(void)
{
	struct parkclock_reading r;

	me->doing = "HOLD";
	hold_taking();
	checks.of_tasks++;
	get_begin();
	ioctl_hold(OWNED);
	get_end();
	hold_taken();
	held++;
	sim_mb();
	surely_held = true;
	if (!published)
		return;
	if (stopped)
		hold_stopped();
	sim_mb();
	read_clock(BY_VMCLOCK, SEEN_VMCLOCK, &r);
}

static void release(void)
{
	if (!held)
		return;
	me->doing = "RELEASE";
	held--;
	if (!held) {
		surely_held = false;
		releases++;
	}
	checks.of_tasks--;
	hold_dropping();
	ioctl_release(OWNED);
	hold_dropped();
}

/* While a refresh is about to find that nobody keeps the VMClock page fresh */
static void hold_again(void)
{
	while (held)
		release();
	me->early = true;
	doze_until(beside(timer_due() == NEVER ? sim.now : timer_due()));
	me->early = false;
	hold();
}

/*
 * Stop and start at once. What the VMClock page said before it became unreliable counts also
 * where its line was ahead of the host's clock, for example because a timer is late.
 */
static void blink(void)
{
	struct parkclock_reading r;

	if (stopped)
		return;
	if (!held)
		hold();
	if (one_in(2))
		doze_until(sim.now + rnd_log(MS(run_interval_ms()) * run_window()));
	read_clock(BY_VMCLOCK, SEEN_VMCLOCK, &r);
	stop();
	start();
	read_clock(BY_VMCLOCK, SEEN_VMCLOCK, &r);
}

static void publish(void)
{
	if (published || (is_guest && one_in(2)))
		return;
	me->doing = "VMCLOCK";
	if (!ioctl_publish(OWNED)) {
		sim_mb();
		used = true;
		published = true;
	}
}

static bool clock_jumps(const void *arg)
{
	(void)arg;
	return timekeeper_jumps();
}

static void announce(void)
{
	u64 disruptions;
	int err;

	if (!is_guest)
		return;
	me->doing = "SET_GUEST_TSC";
	/* Before the terms that they are for; here a copy's terms begin when it has been told. */
	do {
		wait_while(clock_jumps, NULL);
		disruptions = ioctl_disruptions();
		settled(me);
	} while (clock_jumps(NULL));
	err = ioctl_set_guest(OWNED, guest_counter(0), guest_ratio, guest_shift, disruptions);
	/* Not with a counter that is about to overflow */
	if (err && sim.quiet)
		is_guest = false;
	if (err && err != -ESTALE && err != -ERANGE)
		fail("guest", "error %d", err);
}

static void some_deed(void)
{
	/* Who has it may be frozen, as a program; who waits for it is one, too. */
	me->user = true;
	sim_mutex_lock(&owner);
	sleep_until(sim.now);
	me->user = false;
	change_from = ioctl_terms(OWNED).state;
	changing = true;
	switch (rnd(16)) {
	case 0 ... 2:
		stop();
		break;
	case 3 ... 5:
		start();
		break;
	case 6:
		shift();
		break;
	case 7:
		live();
		break;
	case 8 ... 9:
		if (one_in(2))
			hold();
		else
			release();
		break;
	case 10:
		if (sim.features[F_VMCLOCK])
			publish();
		break;
	case 11:
		announce();
		break;
	case 12:
		shift();
		break;
	case 13 ... 14:
		if (published)
			hold_again();
		break;
	case 15:
		if (published)
			blink();
		break;
	}
	changing = false;
	sim_mutex_unlock(&owner);
}

/* Who is woken has a reason to read: somebody publishes something. */
static void nap(void)
{
	if (doze_until(choose_stop()))
		follow_readings();
}

void owners_act(void)
{
	unsigned int n;

	for (n = 1 + rnd(4); n; n--) {
		if (one_in(4))
			nap();
		if (sim.features[F_TIMER] && one_in(2))
			timers_act();
		else if (one_in(3))
			some_deed();
		else if (one_in(4))
			follow_readings();
		else
			some_reading();
	}
}

/* Some rate and offset of a guest's counter */
static void choose_guest(void)
{
	guest_shift = rnd(49);
	guest_ratio = 1ULL << guest_shift;
	if (!one_in(4)) {
		guest_shift = 40 + rnd(9);
		guest_ratio = (1ULL << guest_shift) >> 3;
		guest_ratio += rnd(guest_ratio * 30);
	}
	guest_offset = one_in(4) ? 0 : rnd64();
	guest_lag_ns = 0;
	if (guest_ratio != 1ULL << guest_shift)
		guest_lag_ns = (((1ULL << guest_shift) / guest_ratio + 3) * 1000000) / tsc_khz + 1;
}

/* On the first CPU; nobody else runs yet. */
void owners_boot(void)
{
	if (!ioctl_open(OWNED))
		fail("init", "no memory for a clock");
	remember_offsets();
	if (sim.features[F_GUEST]) {
		is_guest = true;
		choose_guest();
		announce();
	}
	if (sim.features[F_TIMER] && one_in(2))
		timers_of_owner();
	if (!sim.features[F_VMCLOCK] || one_in(3))
		return;
	publish();
	if (one_in(2))
		hold();
}

/* When all is done; before what is held must stay, and after what is not must be parked. */
void owners_finish(bool parked)
{
	struct parkclock_reading r;

	while (held)
		release();
	if (!parked) {
		if (sim.features[F_TIMER])
			timers_finish(stopped);
		return;
	}
	if (published) {
		me->guest = is_guest;
		if (!read_vmclock(OWNED, &r))
			fail("vmclock", "the updater is parked, and the page is reliable");
		me->guest = false;
	}
	me->doing = "close";
	ioctl_close(OWNED);
	settled(me);
}

void owners_reset(void)
{
	owner = (struct mutex){};
	timers_reset();
	memset(seen_by, 0, sizeof(seen_by));
	memset(seen, 0, sizeof(seen));
	memset(most, 0, sizeof(most));
	stopped = false;
	stopping = false;
	surely_runs = true;
	surely_stopped = false;
	starts = 0;
	changes = 0;
	changing = false;
	held = 0;
	surely_held = false;
	releases = 0;
	used = false;
	published = false;
	is_guest = false;
}
