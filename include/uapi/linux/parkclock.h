/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * parkclock: the host's clock as two read-only pages
 *
 * This header is the specification of /dev/parkclock. It defines the layout of the
 * mapping, the algorithm that reads it, what a reader may rely on, and the ioctls. The
 * inline functions below implement the algorithm; a reader in another language follows
 * them line by line.
 *
 *
 * THE PROBLEM
 *
 * A sandbox (a process, a container, a guest) needs the time without leaving the
 * sandbox. The usual answer is a page with "time = base + (counter - base_counter) *
 * rate" that some process keeps fresh. That process wakes up for ever, even when nobody
 * reads the clock. If it stops, readers go on computing a time from the page. That time
 * is wrong, and the readers cannot tell.
 *
 * Here the page says how long it can be trusted: it has a window. Outside the window a
 * reader gets no time from the page and must ask the kernel. So the timer that keeps the
 * page fresh may stop ("park") as soon as nobody needs the page. It is armed again, and
 * the page is calibrated again, before anybody is given a reference to the clock.
 *
 *
 * THE MAPPING
 *
 *	fd  = open("/dev/parkclock", O_RDONLY | O_CLOEXEC);
 *	map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
 *
 * Page 0 is a struct parkclock_clock. Each open of the device creates a "clock", and
 * page 0 belongs to that clock alone: to this open and to its views. It says how the
 * clock differs from the host's.
 *
 * Page 1 is a struct parkclock_timebase. It is the same page for everybody on the host,
 * and the only one of the two that follows the time.
 *
 * mmap() with another size or offset returns EINVAL. The one exception is the page of
 * PARKCLOCK_IOC_VMCLOCK, which has an offset of its own. A writable or executable mapping
 * returns EACCES, and so does a later mprotect() to one. (For an executable mapping the
 * error is EPERM where /dev is mounted noexec, and on a view.)
 *
 * Only the kernel writes these pages. It may do so at any moment, on any CPU. All fields
 * are in the host's byte order and naturally aligned. Read each field with a single load
 * of the field's own size. Reserved fields are zero.
 *
 *
 * THE READER'S ALGORITHM
 *
 * Once, after mmap(): check magic, version and counter (parkclock_usable()).
 * Then, for each reading:
 *
 *  1. Load clock->state (acquire). If a condition bit is set: no time. (If the bit is
 *     PARKCLOCK_STATE_STOPPED, PARKCLOCK_IOC_READ has no time either.)
 *  2. Load timebase->seq (acquire). The segment is timebase->segment[seq & 1].
 *  3. Load the fields of the segment that are needed, and the clock's offset.
 *  4. Read the counter, after the loads above.
 *  5. After reading the counter, load timebase->epoch, timebase->seq and clock->state.
 *     If seq or state differs from the value of step 1 or 2: start again.
 *  6. If the epoch is not the segment's epoch: no time.
 *  7. delta = counter - base_cycles, modulo 2^64. If delta >= valid_cycles: no time.
 *     This one unsigned comparison covers all of these: the clock is parked, the writer
 *     is late or dead, the machine was stopped, the counter went back, the clock was
 *     never started (valid_cycles is 0), the counter may not be used (valid_cycles is 0).
 *  8. ns = base_ns + floor((delta * rate + base_frac) / 2^56), with the product and the
 *     sum in 128 bits. Add the segment's offset and the clock's offset for the clock id.
 *
 * "No time" is not an error. It means: use PARKCLOCK_IOC_READ, which has the time unless
 * the clock is stopped. A reader without a descriptor has no time to give.
 *
 * Order. Time goes forward between CPUs only if step 4 comes after step 3, and step 5
 * after step 4. On x86-64, LFENCE before RDTSC enforces the first. For the second, the
 * inline reader computes the addresses of the loads of step 5 from the counter's value,
 * so that no CPU can do these loads earlier. The relaxed reader leaves out LFENCE. Its
 * reading may be early by as much as the CPU can have in flight, some tens of
 * nanoseconds.
 *
 * Steps 1 to 5 are repeated only if the page changed meanwhile. That takes a refresh,
 * which raises seq by 2 or by 4. There are two copies of the segment, and seq (a latch)
 * always points at the copy that nobody writes. A writer that is interrupted half-way,
 * or whose virtual CPU is stopped, delays no reader.
 *
 *
 * GUARANTEES
 *
 * - Fails closed. A reader never computes a time outside the segment's window.
 *
 * - Never backwards. Take two readings of MONOTONIC, or two of BOOTTIME, of one clock. If
 *   one happens before the other (in the sense of the C memory model), the later reading
 *   is not smaller. This holds on any CPUs, for the ordered reader and PARKCLOCK_IOC_READ
 *   in any mixture. It holds for REALTIME and TAI, too, unless the host's clock was
 *   stepped in between; the generation counts each step. Relaxed readings are ordered
 *   only within one thread, and only with each other.
 *
 * - Bounded. |reading - host's clock of the same id at the same counter value|
 *   <= error_ns + ceil(delta * error_rate / 2^56), in ns. The host's clock is what
 *   clock_gettime() reads on the host, plus the offset of this clock. For REALTIME this
 *   is the host's REALTIME and not true UTC. After a change of the host's clock the bound
 *   holds from the end of the call that made the change. The vDSO of another CPU may show
 *   the change a moment earlier.
 *
 * - References. While a reference is held (PARKCLOCK_IOC_HOLD), the page is inside its
 *   window, from before the call returns.
 *
 * - Tasks. While a registered task runs (PARKCLOCK_IOC_REGISTER), it finds the page inside
 *   its window, from its first instruction after it was switched in.
 *
 * A change of the host's rate, however large and however often, takes the page from
 * nobody who holds a reference: it is published anew within the update of the host's
 * clock that makes the change.
 *
 * The exceptions, all of them:
 *
 * - The page has no time, and PARKCLOCK_IOC_READ asks the host's clock, while the updater
 *   is stopped and while the host does not keep time by the counter.
 *
 * - When the host's clock jumps (PARKCLOCK_REASON_*), the page has no time from the
 *   beginning of the update that makes the jump until its end. The page is published anew
 *   before the call that changed the clock returns. This takes microseconds.
 *
 * - The writer of the page may be stopped while it replaces a segment by a slower one: its
 *   virtual CPU may be preempted, or firmware may run. After 20 us the page has no time
 *   until the writer goes on.
 *
 * - The timer may be late by more than the window less an interval, because its CPU has
 *   interrupts disabled or stands still. Then the page has no time until the timer has
 *   fired, or somebody takes a reference, READs, or is switched in as a registered task.
 *   QUERY counts late_ticks.
 *
 * - The host's clock itself is not continuous where an update of it is stopped half-way,
 *   between its look at the counter and its end: system calls then read on by the old
 *   rate, and what they read after the end can be less than before. So can it be less than
 *   a reading of the page from before the end, by the change of the rate times the time
 *   that passed. The segment that the update publishes has this in its error_ns.
 *
 *
 * GUESTS
 *
 * The two pages can be a read-only memory slot of a virtual machine (KVM_MEM_READONLY).
 * Its guest then reads the time without an exit. If the threads of its virtual CPUs are
 * registered, the page is valid whenever the guest runs. A guest that halts lets the
 * clock park.
 *
 * The guest's counter differs from the host's: it has an offset, and may run at another
 * rate. The program that runs the guest announces both (PARKCLOCK_IOC_SET_GUEST_TSC).
 * Page 0 then carries the terms that convert the guest's counter to the host's:
 *
 *	host = floor((guest - guest_offset) * guest_inverse / 2^guest_shift)
 *
 * The difference is modulo 2^64, the product has 128 bits. The result is never more than
 * the host's counter was, and less by at most guest_lag cycles (0 if the rates are equal).
 * A guest's reader (parkclock_guest_read()) follows the algorithm above with these
 * differences:
 *
 *  1. The condition bit PARKCLOCK_STATE_GUEST must be set, and no other. A reader on the
 *     host that finds this bit uses PARKCLOCK_IOC_READ instead of the page. So a guest
 *     never takes its own counter for the host's, and a host's reader never uses terms
 *     that are meant for a guest.
 *  3. It also loads the five guest_ fields of the clock.
 *  5. It also loads timebase->disruptions, after the epoch.
 *  6. If disruptions is not clock->guest_disruptions: no time. The host has slept, for
 *     example, and the guest's counter has another offset since.
 *  7. delta uses the host's counter as converted. If base_cycles is ahead of that by at
 *     most guest_lag cycles, delta is 0.
 *  8. The bound is error_ns + ceil((delta + guest_lag) * error_rate / 2^56)
 *     + ceil(guest_lag * rate / 2^56).
 *
 * All guarantees hold in the guest as long as the guest's counter is what
 * PARKCLOCK_IOC_SET_GUEST_TSC announced. A guest's reading can be less than a READ of the
 * host that came before it, by what guest_lag cycles take. Across a STOP and START that take
 * no longer than that, it can be less than the guest's own reading before them.
 *
 * A guest that finds no time tries again, for up to 10 ms by its own counter: nearly every
 * exception above is over by then. It need not try if timebase->disruptions is not
 * clock->guest_disruptions, or if the state has another condition bit. After 10 ms the page
 * is really expired: nobody keeps it fresh for this guest, and the guest takes the time
 * from elsewhere.
 *
 *
 * VERSIONS
 *
 * An existing field keeps its place and meaning for ever. A later version gives meaning
 * to reserved space, and raises version and size. A reader may use a field that lies
 * within the size that the page gives. Whatever a reader of an earlier version must not
 * ignore becomes a condition bit in clock->state. Such a reader then finds no time instead
 * of a wrong one.
 */
#ifndef _UAPI_LINUX_PARKCLOCK_H
#define _UAPI_LINUX_PARKCLOCK_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define PARKCLOCK_DEVICE	"/dev/parkclock"

#define PARKCLOCK_PAGE_SIZE	4096
#define PARKCLOCK_MAP_SIZE	(2 * PARKCLOCK_PAGE_SIZE)

#define PARKCLOCK_CLOCK_MAGIC		0x4b4c4350	/* "PCLK" */
#define PARKCLOCK_TIMEBASE_MAGIC	0x42544350	/* "PCTB" */
#define PARKCLOCK_VERSION		2	/* version 2 added guests */

/* Values of timebase->counter: the counter that base_cycles is a value of. */
#define PARKCLOCK_COUNTER_X86_TSC	1

/* Rates are ns per cycle, as multiples of 2^-PARKCLOCK_SHIFT. */
#define PARKCLOCK_SHIFT		56

/* Indices of the offset_ns arrays; parkclock_index() converts a clockid_t to one. */
#define PARKCLOCK_MONOTONIC	0	/* CLOCK_MONOTONIC, 1 */
#define PARKCLOCK_REALTIME	1	/* CLOCK_REALTIME, 0 */
#define PARKCLOCK_BOOTTIME	2	/* CLOCK_BOOTTIME, 7 */
#define PARKCLOCK_TAI		3	/* CLOCK_TAI, 11 */
#define PARKCLOCK_CLOCKS	4

/*
 * Bits of clock->state. A reader that finds any condition bit set must not compute a
 * time, even if it does not know the bit.
 */
#define PARKCLOCK_STATE_CONDITIONS	0xffULL
#define PARKCLOCK_STATE_STOPPED		0x01ULL	/* by PARKCLOCK_IOC_STOP or _SAVE */
#define PARKCLOCK_STATE_CHANGING	0x02ULL	/* other fields change now; lasts a moment */
#define PARKCLOCK_STATE_GUEST		0x04ULL	/* only a guest may read it: see "GUESTS" */

/*
 * Values of timebase->reason: the last event that raised the host's part of the
 * generation. Readings from before and after such an event cannot be subtracted.
 */
#define PARKCLOCK_REASON_NONE		0	/* no event since the module was loaded */
#define PARKCLOCK_REASON_STEP		1	/* REALTIME was set */
#define PARKCLOCK_REASON_LEAP		2	/* a leap second */
#define PARKCLOCK_REASON_TAI		3	/* the offset between TAI and UTC was set */
#define PARKCLOCK_REASON_SUSPEND	4	/* the host slept */
#define PARKCLOCK_REASON_COUNTER	5	/* the host began or ceased to use the TSC */
#define PARKCLOCK_REASON_FORK		6	/* the host is a copy of a virtual machine */

/**
 * struct parkclock_clock - page 0: this clock
 * @magic:	PARKCLOCK_CLOCK_MAGIC
 * @version:	version of the specification that this page follows
 * @size:	bytes of this structure that the version defines
 * @timebase:	distance from here to struct parkclock_timebase, in bytes
 * @state:	bits 0 to 7: conditions; if all are 0, the clock can be read by the
 *		algorithm above. Bits 8 to 63: number of changes of this page.
 *		PARKCLOCK_STATE_CHANGING is set while any other field changes.
 * @generation:	number of discontinuities of this clock alone, modulo 2^64. The generation
 *		of a reading is this plus @generation of struct parkclock_segment. RESTORE
 *		sets it so that this sum continues from the saved generation.
 * @offset_ns:	what this clock adds to the host's clocks, in ns. It starts as
 *		the offsets of the opener's time namespace.
 * @guest_offset: value of the guest's counter where the host's is 0. This field and the
 *		next four have a meaning only if PARKCLOCK_STATE_GUEST is set; see "GUESTS".
 * @guest_inverse: cycles of the host per cycle of the guest, in 2^-@guest_shift; more
 *		than 2^62, and 2^63 at most
 * @guest_shift: 57 to 69
 * @guest_lag:	the greatest difference between the host's counter and the converted
 *		value, in cycles of the host; less than 70
 * @guest_disruptions: value of timebase->disruptions for which these terms are right
 * @reserved:	zero
 */
struct parkclock_clock {
	__u32 magic;
	__u32 version;
	__u32 size;
	__u32 timebase;
	__u64 state;
	__u64 generation;
	__s64 offset_ns[PARKCLOCK_CLOCKS];
	__u64 guest_offset;
	__u64 guest_inverse;
	__u64 guest_shift;
	__u64 guest_lag;
	__u64 guest_disruptions;
	__u64 reserved[3];
};

/**
 * struct parkclock_segment - the host's time as a straight line over the counter
 * @base_cycles:	counter value at which the line begins
 * @base_ns:		MONOTONIC at @base_cycles, whole ns
 * @base_frac:		the fraction of MONOTONIC at @base_cycles, in 2^-56 ns; less
 *			than 2^56
 * @rate:		ns per cycle, in 2^-56 ns
 * @valid_cycles:	length of the window: the segment may be used for this many
 *			cycles from @base_cycles; 0: it may not be used at all
 * @epoch:		the segment may be used only while timebase->epoch has this value
 * @error_ns:		bound of the error at @base_cycles, in ns
 * @error_rate:		growth of that bound, in 2^-56 ns per cycle
 * @offset_ns:		the host's clocks minus MONOTONIC, in ns
 * @generation:		number of discontinuities of the host's clocks
 *			(PARKCLOCK_REASON_*) before this segment was made. The
 *			generation of a reading is this plus the clock's own.
 * @reserved:		zero
 *
 * A reader of MONOTONIC that needs no bound loads only the first 48 bytes.
 */
struct parkclock_segment {
	__u64 base_cycles;
	__u64 base_ns;
	__u64 base_frac;
	__u64 rate;
	__u64 valid_cycles;
	__u64 epoch;
	__u64 error_ns;
	__u64 error_rate;
	__s64 offset_ns[PARKCLOCK_CLOCKS];
	__u64 generation;
	__u64 reserved[3];
};

/**
 * struct parkclock_timebase - page 1: the host's time
 * @magic:	PARKCLOCK_TIMEBASE_MAGIC
 * @version:	as in struct parkclock_clock
 * @size:	bytes of this structure that the version defines
 * @counter:	PARKCLOCK_COUNTER_*: the counter that @segment refers to. A reader
 *		that has another counter must refuse the page.
 * @counter_hz:	nominal frequency of the counter, for display; 0 if unknown
 * @reserved0:	zero
 * @seq:	the latch: @segment[@seq & 1] is the copy to read
 * @epoch:	a segment may be used only while this equals the segment's own epoch. A
 *		change makes the segment invalid at once.
 * @reason:	PARKCLOCK_REASON_*: the last discontinuity of the host's clocks. No segment
 *		may have counted it yet. A clock's own discontinuities never appear here.
 * @disruptions: how often the counter, or the relation of a guest's counter to it, may
 *		have changed: number of events PARKCLOCK_REASON_SUSPEND, _COUNTER and
 *		_FORK. Raised before @epoch.
 * @reserved1:	zero
 * @segment:	two copies; only the one that @seq points at may be used
 */
struct parkclock_timebase {
	__u32 magic;
	__u32 version;
	__u32 size;
	__u32 counter;
	__u64 counter_hz;
	__u64 reserved0[5];
	__u64 seq;
	__u64 epoch;
	__u64 reason;
	__u64 disruptions;
	__u64 reserved1[4];
	struct parkclock_segment segment[2];
};

/**
 * struct parkclock_reading - a time and its bound
 * @ns:		the time, in ns; never negative
 * @cycles:	value of the counter at that time, in a guest of the guest's counter; 0 if
 *		the host does not keep time by the counter
 * @error_ns:	the host's clock was between @ns - @error_ns and @ns + @error_ns then
 * @generation:	number of discontinuities so far; two readings with the same
 *		generation can be subtracted
 */
struct parkclock_reading {
	__s64 ns;
	__u64 cycles;
	__u64 error_ns;
	__u64 generation;
};

/*
 * THE IOCTLS
 *
 * Every ioctl needs a descriptor that is open for reading, else EBADF. A bad pointer
 * returns EFAULT, an unknown request ENOTTY, a nonzero value in a field that must be zero
 * EINVAL. A call that fails has changed nothing.
 *
 * Reading is free for everybody: mmap(), READ, HOLD, RELEASE, VIEW, TIMER, poll() and read()
 * need no more. The ioctls that change the clock (EPOCH, OFFSETS, STOP, START, SAVE, RESTORE,
 * SET_GUEST_TSC, VMCLOCK), that cost others something (REGISTER, UNREGISTER, REGISTER_CGROUP,
 * UNREGISTER_CGROUP) or tell of others (ACCURACY) need a descriptor that is open for writing,
 * too, else EPERM. QUERY tells any descriptor of its own clock, and of others only one that is
 * open for writing. Who may open the device for writing is up to the administrator: usually root
 * and the group "clock".
 *
 * An ioctl for which no argument is described takes the argument 0. TIMER_SET, TIMER_GET and
 * TIMER_RESTORE are for the descriptor of a timer, and all others for that of a clock.
 */
#define PARKCLOCK_IOC_TYPE	0xBC

/**
 * struct parkclock_read - argument of PARKCLOCK_IOC_READ
 * @clock_id:	in: CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI or
 *		PARKCLOCK_CPUTIME_ID
 * @flags:	in: zero
 * @reading:	out: the time
 * @reserved:	in: zero
 *
 * READ is the slow path. It wakes the updater if that is parked, calibrates the page
 * again, and reads the page. Where the page cannot be valid (the counter may not be used,
 * or the updater is stopped) it reads the host's clock instead. A page reading that
 * happens after a READ is never smaller than it, and one that happens before a READ is
 * never larger.
 *
 * PARKCLOCK_CPUTIME_ID is the clock's CPU time: what QUERY returns as cpu_ns. It wakes
 * nothing, and its error_ns is 0. Linux has no clock with this id.
 *
 * EINVAL:	@clock_id is none of the five clocks.
 * ENODATA:	the clock is stopped.
 */
#define PARKCLOCK_CPUTIME_ID	0x43505500	/* "CPU" */

struct parkclock_read {
	__s32 clock_id;
	__u32 flags;
	struct parkclock_reading reading;
	__u64 reserved[3];
};

/* States of the updater, in struct parkclock_query. */
#define PARKCLOCK_STOPPED	0	/* refreshes nothing: disabled, or suspended */
#define PARKCLOCK_PARKED	1	/* no timer is armed */
#define PARKCLOCK_IDLE		2	/* the last tick found no reference */
#define PARKCLOCK_ACTIVE	3

/* Bits of parkclock_query.flags */
#define PARKCLOCK_COUNTER_UNUSABLE	0x1	/* the host does not keep time by the counter */
#define PARKCLOCK_CLOCK_STOPPED		0x2	/* this clock is stopped, by STOP or SAVE */
#define PARKCLOCK_HOST_HIDDEN		0x4	/* the members that tell of others are 0 */

/**
 * struct parkclock_query - result of PARKCLOCK_IOC_QUERY
 * @state:		state of the updater, PARKCLOCK_STOPPED to PARKCLOCK_ACTIVE
 * @flags:		PARKCLOCK_COUNTER_UNUSABLE, PARKCLOCK_CLOCK_STOPPED,
 *			PARKCLOCK_HOST_HIDDEN
 * @holds:		references held through this open file
 * @references:		references held on the host, of every kind
 * @interval_ns:	time between two refreshes
 * @window_ns:		how long a segment may be used, from its base
 * @slack_ns:		how late a refresh may be in order to share a wake-up
 * @counter_hz:		nominal frequency of the counter; 0 if unknown
 * @cycles:		value of the counter when the query was made
 * @window_left_ns:	how long the page stays valid from @cycles on; 0 if it has expired
 * @rate:		rate of the segment, in 2^-56 ns per cycle; 0 if there is none
 * @error_ns:		bound of the error at @cycles; 0 if the page has expired
 * @generation:		as in struct parkclock_reading
 * @parks:		times the updater parked
 * @wakes:		times the updater left PARKED, or was started with references held
 * @refreshes:		times the page was calibrated again
 * @expirations:	times the timer fired
 * @invalidations:	times the page was made invalid before its window ended
 * @slow_reads:		calls of PARKCLOCK_IOC_READ that succeeded
 * @tasks:		registered tasks of this clock
 * @running:		registered tasks of this clock that run or were preempted; each of
 *			them holds a reference
 * @cpu_ns:		how long registered tasks of this clock have run, each since it was
 *			registered, in ns of the counter at its nominal frequency. Includes
 *			the tasks that run now and those that are no longer registered.
 *			Never smaller than in an earlier query. A task that has the host
 *			sleep runs meanwhile, if the counter goes on: its own sleep counts.
 * @all_tasks:		registrations on the host: a task counts once for each of
 *			its clocks
 * @all_running:	registrations on the host whose task runs or was preempted
 * @run_transitions:	times that the task of a registration began to run
 * @run_wakes:		run transitions that woke the updater
 * @run_missed:		tasks that should have inherited a registration of this clock, but
 *			did not for lack of memory or because of a limit
 * @reason:		PARKCLOCK_REASON_*: the last discontinuity of the host's clocks
 * @boot_ns:		REALTIME at the beginning of this clock's life, in ns: at EPOCH, also
 *			if that was before the clock was saved; without an EPOCH, at the
 *			host's boot
 * @clock:		number of this clock: no two that were opened since the module
 *			was loaded have the same
 * @late_ticks:		ticks that came more than an interval late
 * @reserved:		zero
 *
 * QUERY does not wake the updater, and acknowledges no generation, see "POLL". The counters
 * of the host start at zero when the module is loaded, those of a clock when the clock is
 * opened.
 *
 * A CPU that runs something in a registered cgroup (PARKCLOCK_IOC_REGISTER_CGROUP) counts in
 * @running, @all_running and @run_transitions as a registered task does, once for all its tasks;
 * what runs there counts in @cpu_ns.
 *
 * Everybody is told of his own clock (@holds, @tasks, @running, @cpu_ns, @run_missed,
 * @boot_ns, @clock), of the parameters (@interval_ns, @window_ns, @slack_ns), of the counter
 * (@counter_hz, @cycles) and of what page 1 shows to every reader (@state, @flags,
 * @window_left_ns, @rate, @error_ns, @generation, @reason).
 *
 * The other members tell what others do, for example when another user's task is switched in:
 * @references, @parks, @wakes, @refreshes, @expirations, @invalidations, @slow_reads,
 * @all_tasks, @all_running, @run_transitions, @run_wakes, @late_ticks. If the descriptor is
 * not open for writing they are 0, @state is PARKCLOCK_ACTIVE where it is PARKCLOCK_IDLE, and
 * @flags has PARKCLOCK_HOST_HIDDEN.
 */
struct parkclock_query {
	__u32 state;
	__u32 flags;
	__u64 holds;
	__u64 references;
	__u64 interval_ns;
	__u64 window_ns;
	__u64 slack_ns;
	__u64 counter_hz;
	__u64 cycles;
	__u64 window_left_ns;
	__u64 rate;
	__u64 error_ns;
	__u64 generation;
	__u64 parks;
	__u64 wakes;
	__u64 refreshes;
	__u64 expirations;
	__u64 invalidations;
	__u64 slow_reads;
	__u64 tasks;
	__u64 running;
	__u64 cpu_ns;
	__u64 all_tasks;
	__u64 all_running;
	__u64 run_transitions;
	__u64 run_wakes;
	__u64 run_missed;
	__u64 reason;
	__s64 boot_ns;
	__u64 clock;
	__u64 late_ticks;
	__u64 reserved[2];
};

#define PARKCLOCK_IOC_QUERY	_IOR(PARKCLOCK_IOC_TYPE, 0x00, struct parkclock_query)
#define PARKCLOCK_IOC_READ	_IOWR(PARKCLOCK_IOC_TYPE, 0x01, struct parkclock_read)

/*
 * HOLD takes a reference: the page is valid when the call returns, and stays valid.
 * RELEASE gives one reference back. References count per open file. Both take the
 * argument 0. References that are still held end with the open file, that is, with its
 * last descriptor and its last mapping, in whatever process these are.
 *
 * HOLD:	EOVERFLOW if PARKCLOCK_HOLD_MAX references are held already; EDQUOT, ENFILE
 *		(see PARKCLOCK_IOC_LIMITS).
 * RELEASE:	ENOENT if none is held.
 */
#define PARKCLOCK_IOC_HOLD	_IO(PARKCLOCK_IOC_TYPE, 0x02)
#define PARKCLOCK_IOC_RELEASE	_IO(PARKCLOCK_IOC_TYPE, 0x03)
#define PARKCLOCK_HOLD_MAX	65536

/* Bits of parkclock_register.flags */
#define PARKCLOCK_TASK_PROCESS	0x1	/* every thread of the task's process */
#define PARKCLOCK_TASK_INHERIT	0x2	/* also what the task creates from now on */

/**
 * struct parkclock_register - argument of REGISTER and UNREGISTER
 * @tid:	id of a thread, as the caller sees it (gettid()); 0 means the caller
 * @flags:	PARKCLOCK_TASK_*
 * @reserved:	zero
 */
struct parkclock_register {
	__s32 tid;
	__u32 flags;
	__u64 reserved[3];
};

/*
 * REGISTER ties a task (a thread) to the clock. From being switched in until it blocks or
 * exits, the task holds a reference. The reference is taken before the task's first
 * instruction. Being preempted does not drop it. A task that runs when it is registered
 * holds a reference when the call returns. A task that sleeps holds none, so a sandbox
 * all of whose tasks sleep lets the clock park.
 *
 * With PARKCLOCK_TASK_PROCESS, REGISTER registers each thread of the process that is not
 * registered yet. The threads that are registered already keep their flags. With
 * PARKCLOCK_TASK_INHERIT, the threads and child processes that the task creates are
 * registered when they are created, with PARKCLOCK_TASK_INHERIT as well. An inheritance
 * that fails returns an error to nobody; parkclock_query.run_missed counts it.
 *
 * UNREGISTER ends the registration of the task. With PARKCLOCK_TASK_PROCESS it ends those
 * of every thread of the process. Otherwise a registration ends when its task exits, or
 * with the open file, that is, with its last descriptor and its last mapping. A
 * registration survives execve(), unless the new program gains privileges: then it ends
 * before that runs. It keeps neither the task nor the open file alive.
 *
 * The descriptor must be open for writing, also for the caller's own tasks: while anything is
 * registered, each context switch of the host costs some instructions more.
 *
 * To REGISTER a task of another process, the caller must be allowed what ptrace(2) asks for
 * (but security modules are not asked). The caller's filesystem user and group id equal the
 * task's real, effective and saved ones, both are in one user namespace, and the caller has
 * each capability that the task may have; or else the caller has CAP_SYS_PTRACE in the task's
 * user namespace. And the process is dumpable (PR_SET_DUMPABLE), which a set-user-id program is
 * not, or the caller has CAP_SYS_PTRACE in the user namespace in which the program was
 * executed. UNREGISTER asks for nothing more: it ends what was registered with this clock.
 *
 * For a task that is not the caller, REGISTER waits until all CPUs have passed a context
 * switch. That takes some ms, and a QUERY or VMCLOCK of the same clock may wait for it.
 * Many threads of a process take no longer than one. Inheriting never waits. The kernel's
 * own workers for a process (io_uring) do not inherit.
 *
 * EINVAL:	unknown flags, a negative id; UNREGISTER: PARKCLOCK_TASK_INHERIT.
 * ESRCH:	there is no such task; REGISTER: or it has exited.
 * EPERM:	not permitted as said above; REGISTER: or a task of the kernel's own.
 * EEXIST:	REGISTER: the task, or each thread of the process, is registered.
 * ENOENT:	UNREGISTER: the task is not registered, or no thread of the process.
 * ENOSPC:	REGISTER: more tasks than the module's parameter max_tasks allows
 *		to one clock.
 * EMLINK:	REGISTER: the task has PARKCLOCK_TASK_CLOCKS_MAX clocks already. Clocks of
 *		three kinds are counted for themselves: those that its own process registered
 *		it with; those of others; and those of others who had CAP_SYS_RESOURCE at
 *		open(2). What is inherited counts as the registration that it came from.
 * EDQUOT:	REGISTER: the user has too many registrations (PARKCLOCK_IOC_LIMITS); those
 *		count that another call is about to make.
 * ENFILE:	REGISTER: the host has.
 * ENOMEM:	REGISTER: no memory.
 * EINTR:	killed meanwhile.
 * EOPNOTSUPP:	REGISTER: this kernel was built without tracepoints.
 */
#define PARKCLOCK_IOC_REGISTER	\
	_IOW(PARKCLOCK_IOC_TYPE, 0x04, struct parkclock_register)
#define PARKCLOCK_IOC_UNREGISTER \
	_IOW(PARKCLOCK_IOC_TYPE, 0x05, struct parkclock_register)
#define PARKCLOCK_TASK_CLOCKS_MAX	4

/**
 * struct parkclock_accuracy - result of PARKCLOCK_IOC_ACCURACY
 * @steady:		refreshes that replaced a valid page during whose life the host's
 *			rate did not change, by the error that the page had just before:
 *			|time by the page - the host's MONOTONIC|. parkclock_bin_ns() says
 *			where each bin begins.
 * @changed:		the same, of pages during whose life the host's rate did change
 * @steady_worst_ns:	largest error counted in @steady, in whole ns
 * @changed_worst_ns:	largest error counted in @changed, in whole ns
 * @reserved:		zero
 *
 * Counted on the host since the module was loaded. ACCURACY does not wake the updater. It
 * tells when others have held references, and needs a descriptor that is open for writing.
 *
 * EPERM:	the descriptor is not open for writing.
 */
#define PARKCLOCK_BINS	32

struct parkclock_accuracy {
	__u64 steady[PARKCLOCK_BINS];
	__u64 changed[PARKCLOCK_BINS];
	__u64 steady_worst_ns;
	__u64 changed_worst_ns;
	__u64 reserved[6];
};

#define PARKCLOCK_IOC_ACCURACY	_IOR(PARKCLOCK_IOC_TYPE, 0x06, struct parkclock_accuracy)

/**
 * parkclock_bin_ns() - where a bin of struct parkclock_accuracy begins
 * @bin: number of the bin, less than PARKCLOCK_BINS; PARKCLOCK_BINS itself gives the
 *	 nominal end of the last bin
 *
 * The first 16 bins are 1 ns wide. Each later bin is as wide as all bins before it
 * together. The last bin also counts every larger error.
 *
 * Return: the least error that the bin counts, in ns.
 */
static __inline__ __u64 parkclock_bin_ns(unsigned int bin)
{
	return bin < 16 ? bin : 16ULL << (bin - 16);
}

/*
 * A CLOCK OF ONE'S OWN
 *
 * Each open of the device starts as the host's clock, in the opener's time namespace. The
 * owner may change the offsets of MONOTONIC and BOOTTIME to the host's clocks. REALTIME
 * and TAI are always the host's. Each change is a discontinuity: it raises the generation.
 *
 * Nobody ever sees MONOTONIC or BOOTTIME go back. A clock is "fresh" while nobody has had
 * a chance to read it: there was no mmap(), no READ (even one whose result could not be
 * written), no SAVE, no VMCLOCK, no VIEW and no TIMER. A clock that is not fresh can only be set
 * forward.
 *
 * EPOCH begins a life: MONOTONIC and BOOTTIME continue from 1 ns, and boot_ns becomes the
 * REALTIME of now.
 *
 * EBUSY:	the clock is not fresh.
 */
#define PARKCLOCK_IOC_EPOCH	_IO(PARKCLOCK_IOC_TYPE, 0x07)

/**
 * struct parkclock_offsets - argument of PARKCLOCK_IOC_OFFSETS
 * @monotonic_ns:	this clock's MONOTONIC minus the host's, in ns
 * @boottime_ns:	this clock's BOOTTIME minus the host's, in ns
 * @reserved:		zero
 *
 * The host's clocks here are those outside of any time namespace.
 *
 * EBUSY:	one of them would be set back, and the clock is not fresh.
 * ERANGE:	MONOTONIC or BOOTTIME would not be between 1 ns and PARKCLOCK_MOST_NS.
 */
struct parkclock_offsets {
	__s64 monotonic_ns;
	__s64 boottime_ns;
	__u64 reserved[2];
};

#define PARKCLOCK_IOC_OFFSETS	_IOW(PARKCLOCK_IOC_TYPE, 0x08, struct parkclock_offsets)
#define PARKCLOCK_MOST_NS	0x4000000000000000LL	/* 2^62: 146 years */

/*
 * STOP makes the clock "stopped": no reading that begins after STOP returns has a time,
 * neither by page nor by READ. No reading is later than the time that SAVE returns.
 * Nothing else stops: references and registrations still count, and keep the host's time
 * fresh.
 *
 * START ends that. When START returns the page is valid, unless the updater is stopped or
 * the counter may not be used. The argument, by value, is the gap policy: it says what
 * MONOTONIC and BOOTTIME do about the time for which the clock was stopped. With
 * PARKCLOCK_GAP_INCLUDE the clock reads as if it had never been stopped. With
 * PARKCLOCK_GAP_FREEZE they continue from where they stopped.
 *
 * EALREADY:	STOP: the clock is stopped already; START: it is not stopped.
 * EINVAL:	START: any other argument.
 */
#define PARKCLOCK_IOC_STOP	_IO(PARKCLOCK_IOC_TYPE, 0x09)
#define PARKCLOCK_IOC_START	_IO(PARKCLOCK_IOC_TYPE, 0x0a)
#define PARKCLOCK_GAP_INCLUDE	1
#define PARKCLOCK_GAP_FREEZE	2

/**
 * struct parkclock_saved - a saved clock, to be continued later, here or elsewhere
 * @magic:	PARKCLOCK_SAVED_MAGIC
 * @version:	PARKCLOCK_SAVED_VERSION
 * @size:	bytes of this structure
 * @checksum:	CRC-32 (as of Ethernet) of all these bytes, with @checksum as zero
 * @monotonic_ns: MONOTONIC when the clock was stopped, in ns
 * @boottime_ns: BOOTTIME at that instant
 * @realtime_ns: REALTIME at that instant
 * @boot_ns:	see struct parkclock_query; it may be negative
 * @generation:	generation of a reading at that instant
 * @reserved:	zero
 *
 * All fields are in little-endian byte order. Keep the structure unchanged.
 */
struct parkclock_saved {
	__u32 magic;
	__u32 version;
	__u32 size;
	__u32 checksum;
	__s64 monotonic_ns;
	__s64 boottime_ns;
	__s64 realtime_ns;
	__s64 boot_ns;
	__u64 generation;
	__u64 reserved[3];
};

#define PARKCLOCK_SAVED_MAGIC	0x56534350	/* "PCSV" */
#define PARKCLOCK_SAVED_VERSION	1

/*
 * SAVE stops the clock, unless it is stopped already, and returns the time at which it
 * stopped. START may continue the clock after a SAVE, too.
 *
 * EFAULT:	bad pointer. If another thread unmaps the memory during the call, the clock
 *		may be stopped nevertheless.
 */
#define PARKCLOCK_IOC_SAVE	_IOR(PARKCLOCK_IOC_TYPE, 0x0b, struct parkclock_saved)

/**
 * struct parkclock_restore - argument of PARKCLOCK_IOC_RESTORE
 * @saved:	from PARKCLOCK_IOC_SAVE
 * @gap:	the gap policy. PARKCLOCK_GAP_INCLUDE: MONOTONIC and BOOTTIME continue from
 *		the saved times plus the REALTIME that has passed since; if REALTIME went
 *		back, from the saved times. PARKCLOCK_GAP_FREEZE: they continue from the
 *		saved times in any case.
 * @reserved0:	zero
 * @reserved1:	zero
 *
 * RESTORE continues a saved clock. The clock takes over boot_ns, and gets a generation
 * that is larger than that of @saved. If this clock is stopped it stays stopped.
 *
 * EBADMSG:	@saved is damaged or is no saved clock: magic, size, checksum, reserved
 *		fields.
 * EBUSY:	the clock is not fresh.
 * EINVAL:	@gap is neither of the two.
 * EOPNOTSUPP:	@saved has another version.
 * ERANGE:	MONOTONIC or BOOTTIME in @saved, or after the gap, is not between 1 ns and
 *		PARKCLOCK_MOST_NS; or REALTIME is not between 0 and PARKCLOCK_MOST_NS; or
 *		boot_ns is above PARKCLOCK_MOST_NS; or the generation is above 2^63.
 */
struct parkclock_restore {
	struct parkclock_saved saved;
	__u32 gap;
	__u32 reserved0;
	__u64 reserved1[3];
};

#define PARKCLOCK_IOC_RESTORE	_IOW(PARKCLOCK_IOC_TYPE, 0x0c, struct parkclock_restore)

/*
 * VIEW returns another descriptor for the same clock (close-on-exec). It is meant for the
 * inside of a sandbox. Its holder can map the clock, READ it, read its generation and poll
 * for that. The argument, by value, is what else the view may, a combination of
 *
 *	PARKCLOCK_VIEW_TIMERS	PARKCLOCK_IOC_TIMER
 *	PARKCLOCK_VIEW_KEEP	keep the clock's registrations when its owner is gone, until the
 *				last such view is closed and unmapped. They can be neither added
 *				to, other than by PARKCLOCK_TASK_INHERIT, nor ended one by one.
 *				They count for the owner's limits all the while.
 *
 * Every other request returns ENOTTY, and the descriptor is open for reading only. A view keeps
 * no references, those of HOLD. It keeps the clock: once the owner is gone, the clock goes on as
 * the owner left it, as long as there is a view of it.
 * A view hides nothing: its pages show the host's time and this clock's offsets, as every
 * mapping does.
 *
 * EINVAL:	any other argument.
 * EMFILE, ENFILE, ENOMEM:	as of open(2).
 * EDQUOT, ENFILE:	see PARKCLOCK_IOC_LIMITS.
 */
#define PARKCLOCK_IOC_VIEW	_IO(PARKCLOCK_IOC_TYPE, 0x0d)
#define PARKCLOCK_VIEW_TIMERS	1
#define PARKCLOCK_VIEW_KEEP	2

/**
 * struct parkclock_guest_tsc - argument of PARKCLOCK_IOC_SET_GUEST_TSC
 * @offset:	what is added to get the guest's counter, modulo 2^64. Under KVM it is the
 *		attribute KVM_VCPU_TSC_OFFSET, which must be the same for each virtual CPU.
 * @ratio:	cycles of the guest per cycle of the host, in 2^-@shift. 0 means that there
 *		is no guest: then all fields must be 0.
 * @shift:	48 at most; under KVM 32 on AMD and 48 on Intel
 * @reserved0:	zero
 * @disruptions: value of timebase->disruptions from before @offset was set or read
 * @reserved1:	zero
 *
 * The guest's counter is floor(host * @ratio / 2^@shift) + @offset. KVM, and the processor
 * on its behalf, compute it in the same way. @ratio is 1 and @shift is 0
 *
 * - if KVM was asked for no frequency other than the host's (KVM_SET_TSC_KHZ), or
 * - if the guest's frequency is within tsc_tolerance_ppm (a parameter of KVM) of the
 *   host's, because then KVM does not scale.
 *
 * Else @ratio is floor(2^@shift * guest's kHz / host's kHz). A guest whose counter KVM lets
 * "catch up", because the processor cannot scale, cannot be served.
 *
 * The terms hold until the host sleeps, stops keeping time by its counter, or is copied.
 * Each of these raises timebase->disruptions; the guest then finds no time until
 * SET_GUEST_TSC is called again. poll() reports all of them. If the guest itself writes its
 * counter, nothing here notices, and its time is wrong. SET_GUEST_TSC is no discontinuity,
 * and SAVE does not save its terms.
 *
 * EINVAL:	@shift is more than 48; or @ratio is 0, and another field is not.
 * ERANGE:	the guest's counter is not between 1/64 and 64 times as fast as the
 *		host's; or host * @ratio / 2^@shift does not stay below 2^64 for the
 *		next 2^56 cycles.
 * ESTALE:	@disruptions is no longer the current value: read @offset again.
 */
struct parkclock_guest_tsc {
	__u64 offset;
	__u64 ratio;
	__u32 shift;
	__u32 reserved0;
	__u64 disruptions;
	__u64 reserved1[2];
};

#define PARKCLOCK_IOC_SET_GUEST_TSC \
	_IOW(PARKCLOCK_IOC_TYPE, 0x0e, struct parkclock_guest_tsc)

/*
 * VMCLOCK makes the clock publish a VMClock page as well (struct vmclock_abi of
 * <linux/vmclock-abi.h>, version 1). That page is for readers that know VMClock and do not
 * know parkclock:
 *
 *	ioctl(fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC);
 *	mmap(NULL, PARKCLOCK_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, PARKCLOCK_VMCLOCK_OFFSET);
 *
 * The argument, by value, is the time to publish: CLOCK_MONOTONIC for this clock's, or
 * CLOCK_REALTIME for the host's. Linux (ptp_vmclock) expects CLOCK_REALTIME. The page refers
 * to the guest's counter of PARKCLOCK_IOC_SET_GUEST_TSC, or without a guest to the host's.
 *
 * MONOTONIC (VMCLOCK_TIME_MONOTONIC) has the status VMCLOCK_STATUS_SYNCHRONIZED and bounds
 * of its errors (time_maxerror_nanosec, and that of the period). It does not go back while
 * disruption_marker is the same. It may be ahead of the mapping by some nanoseconds, which
 * the bound includes. So it may also be ahead of the time that SAVE returns.
 *
 * REALTIME (VMCLOCK_TIME_UTC) is UTC as far as the host knows it, and may be set. Its
 * distance from true UTC is not known here. Therefore the status is
 * VMCLOCK_STATUS_FREERUNNING, and the bounds against the host's clock appear as estimates
 * (time_esterror_nanosec, and that of the period). tai_offset_sec is present if the host
 * knows it.
 *
 * disruption_marker changes with timebase->disruptions, and when SET_GUEST_TSC announces
 * different terms. The page has no generation counter of virtual machines.
 *
 * While the clock has references (holds, or registered tasks that run), each refresh writes
 * the page. A VMClock page has no window. Instead its clock_status becomes
 * VMCLOCK_STATUS_UNRELIABLE when the mapping is not valid, when the clock is stopped or
 * needs another SET_GUEST_TSC, and at the latest two intervals after the clock's last
 * reference was dropped. A change of the host's clock is in the page when the call that
 * made the change returns. If a refresh is late the page stays readable, and its bound
 * holds, for as long as the host does not change its rate.
 *
 * EALREADY:	the clock has a VMClock page.
 * EINVAL:	any other argument.
 * EDQUOT:	the user has too many (PARKCLOCK_IOC_LIMITS).
 * ENFILE:	the host has.
 * ENOMEM:	no memory.
 * mmap():	ENXIO before VMCLOCK; EINVAL for another length.
 */
#define PARKCLOCK_IOC_VMCLOCK	_IO(PARKCLOCK_IOC_TYPE, 0x0f)
#define PARKCLOCK_VMCLOCK_OFFSET	(2 * PARKCLOCK_PAGE_SIZE)

/*
 * What a user may take. Each thing is on the account of who opened the clock that it hangs
 * on, and a timer on that of who made it, also if with a view; in a user namespace, of the user
 * of the initial one who made it, except that each one that root made and in which root is not
 * (a container) has an account of its own. There is a limit for each user and one for the host,
 * as parameters of the module. Only who had CAP_SYS_RESOURCE at open(2), or at TIMER, gets the
 * last sixteenth (rounded up) of what the host has, and has no other limit; what is inherited
 * never comes out of that. Where a limit is reached the request fails, and changes nothing:
 *
 *	EDQUOT	the user has too many
 *	ENFILE	the host has too many
 */
#define PARKCLOCK_LIMIT_CLOCKS		0	/* open files of the device */
#define PARKCLOCK_LIMIT_VIEWS		1	/* of PARKCLOCK_IOC_VIEW */
#define PARKCLOCK_LIMIT_TASKS		2	/* registrations */
#define PARKCLOCK_LIMIT_HOLDS		3	/* references of PARKCLOCK_IOC_HOLD */
#define PARKCLOCK_LIMIT_VMCLOCKS	4	/* pages of PARKCLOCK_IOC_VMCLOCK */
#define PARKCLOCK_LIMIT_TIMERS		5	/* of PARKCLOCK_IOC_TIMER */
#define PARKCLOCK_LIMIT_CGROUPS		6	/* of PARKCLOCK_IOC_REGISTER_CGROUP */
#define PARKCLOCK_LIMITS		7

/**
 * struct parkclock_limit - one of the limits, and what is used of it
 * @user_used:	what the opener of this clock has taken
 * @user_most:	what he may take
 * @host_used:	what all have taken; 0 if the descriptor is not open for writing
 * @host_most:	what all may take
 */
struct parkclock_limit {
	__u32 user_used;
	__u32 user_most;
	__u32 host_used;
	__u32 host_most;
};

/**
 * struct parkclock_limits - result of PARKCLOCK_IOC_LIMITS
 * @limit:	by PARKCLOCK_LIMIT_*; the rest is zero
 * @reserved:	zero
 */
struct parkclock_limits {
	struct parkclock_limit limit[8];
	__u64 reserved[4];
};

#define PARKCLOCK_IOC_LIMITS	_IOR(PARKCLOCK_IOC_TYPE, 0x10, struct parkclock_limits)

/*
 * TIMERS
 *
 * A program that sleeps by clock_nanosleep() or timerfd sleeps by the kernel's clocks. From
 * OFFSETS, STOP or RESTORE on, these differ from a clock of one's own. A timer of
 * PARKCLOCK_IOC_TIMER expires by the clock itself. It is a descriptor, which is read, polled
 * and closed like that of timerfd_create(2). These clocks have timers:
 *
 *	CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME, CLOCK_TAI
 *		of this clock. Such a timer is called a timer by the wall.
 *	PARKCLOCK_CPUTIME_ID
 *		the CPU time of this clock: it advances while registered tasks run, on however
 *		many CPUs. Such a timer is called a CPU timer.
 *
 * A timer is disarmed, or it is armed with a setting: an expiry, an interval and a slack. Each
 * setting has a number, which is larger than those before. When the clock reaches the expiry,
 * the timer expires. Then a timer without an interval is disarmed. One with an interval has a
 * new expiry, an interval after the last one.
 *
 * Late, never early.	Each reading of the clock that happens after an expiration, on any CPU,
 *	by page or by READ, is at least what the timer was set to, in whole ns. For REALTIME and
 *	TAI that holds until the host's clock is set back. How late it is depends on the host, as
 *	with timerfd, and on the slack: the timer may be late by so much to share an interrupt
 *	with others.
 *
 * Once, with a count.	Expirations that nobody has read add up. However many intervals have
 *	passed, the host has had one interrupt since the last read.
 *
 * STOP, SAVE.	While the clock is stopped no timer of it expires. What was due before the
 *	instant at which the clock stopped has expired when STOP returns. A timer can be set and
 *	asked meanwhile, and what has expired before can be read.
 *
 * START.	With PARKCLOCK_GAP_INCLUDE, what fell into the gap has expired when START
 *	returns, once and with its count. With PARKCLOCK_GAP_FREEZE as much is left of a timer of
 *	MONOTONIC or BOOTTIME as was left before. The host's REALTIME and TAI do not stop, and
 *	with them no absolute timer of these. The CPU time does not stop either.
 *
 * OFFSETS.	An absolute timer follows the clock: if that is set forward beyond the expiry,
 *	the timer has expired when OFFSETS returns. A relative timer waits for as long as before.
 *
 * Steps of the host's clock.	An absolute timer of REALTIME or TAI follows. A relative timer
 *	of REALTIME or TAI does not: from its setting on it is one of MONOTONIC.
 *
 * Suspend.	When the host wakes, what is due by BOOTTIME, REALTIME or TAI expires. A timer
 *	does not wake the host: there is nothing like CLOCK_BOOTTIME_ALARM.
 *
 * Races.	A setting replaces the one before and its unread expirations as a whole. Whatever
 *	races with it (an expiration, a read, STOP, START), a read returns expirations of one
 *	setting and says which: none is lost, and none is counted twice. TIMER_SET returns what
 *	was not read of the setting before.
 *
 * References.	A timer holds none: the updater may park while a timer waits, and no timer keeps
 *	a clock's registrations. When read() has returned an expiration, the page is valid for
 *	some time; for a registered task it is so before that runs.
 *
 * CPU timers.	The CPU time is counted in cycles of the counter, of each task from being
 *	switched in until it is switched out. While n tasks run it advances n times as fast as
 *	MONOTONIC, and the kernel's timer is aimed accordingly, at each switch anew. While none
 *	runs no timer is armed. There is no tick and no polling. Where the host does not keep time
 *	by the counter (PARKCLOCK_COUNTER_UNUSABLE), the counters of two CPUs may differ: of
 *	several tasks that run, each run counts when it ends. So a timer may be late until the
 *	next switch of one of them, and is no limit there.
 *
 * The owner goes.	A timer keeps the clock, as a view does. By the wall it goes on as it was
 *	set. The registrations end with the owner: then a CPU timer can never expire. Nor can any
 *	timer, if the clock was stopped. So these hang up: read() returns what has expired, and
 *	then 0, and poll() reports POLLHUP.
 *
 * read() waits until the timer has expired, or returns EAGAIN if the descriptor is nonblocking.
 * With a buffer of 16 bytes or more it returns a struct parkclock_expired, and with one of 8 to
 * 15 bytes only the member expirations, as timerfd does; a smaller buffer returns EINVAL. The
 * expirations that it returns count as read. poll() reports POLLIN if read() would not wait.
 */

/**
 * struct parkclock_timer - argument of PARKCLOCK_IOC_TIMER
 * @clock_id:	CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI or
 *		PARKCLOCK_CPUTIME_ID
 * @flags:	PARKCLOCK_TIMER_NONBLOCK: read() does not wait
 * @reserved:	zero
 *
 * TIMER returns a new descriptor (close-on-exec) with a timer of this clock, disarmed. The
 * clock is not fresh any more.
 *
 * EINVAL:	@clock_id is none of the five clocks; unknown flags.
 * EPERM:	the descriptor is a view without PARKCLOCK_VIEW_TIMERS.
 * EMFILE, ENFILE, ENOMEM:	as of timerfd_create(2).
 * EDQUOT, ENFILE:	see PARKCLOCK_IOC_LIMITS.
 */
struct parkclock_timer {
	__s32 clock_id;
	__u32 flags;
	__u64 reserved[3];
};

#define PARKCLOCK_TIMER_NONBLOCK	0x1

#define PARKCLOCK_IOC_TIMER	_IOW(PARKCLOCK_IOC_TYPE, 0x11, struct parkclock_timer)

/**
 * struct parkclock_expired - what read() returns of a timer
 * @expirations: how often it has expired since the last read; not 0
 * @number:	 number of the setting that has expired
 *
 * ECANCELED:	the setting has PARKCLOCK_TIMER_CANCEL, and there was a discontinuity of the
 *		clock since it was set, or since read() last returned this. The timer goes on, and
 *		the next read() returns what has expired. (That of timerfd has lost it.)
 */
struct parkclock_expired {
	__u64 expirations;
	__u64 number;
};

/* Flags of a setting */
#define PARKCLOCK_TIMER_ABSOLUTE	0x1	/* the value is a time of the clock */
#define PARKCLOCK_TIMER_CANCEL		0x2	/* a discontinuity ends read(): ECANCELED */

/**
 * struct parkclock_timer_set - argument of PARKCLOCK_IOC_TIMER_SET
 * @flags:	in: PARKCLOCK_TIMER_ABSOLUTE, PARKCLOCK_TIMER_CANCEL
 * @reserved0:	in: zero
 * @value_ns:	in: when the timer expires first: in so many ns, or with
 *		PARKCLOCK_TIMER_ABSOLUTE at this time of the clock. 0 disarms the timer.
 * @interval_ns: in: time from one expiration to the next, in ns; 0: there is no next one
 * @slack_ns:	in: how late an expiration may be in order to share an interrupt, in ns. A CPU
 *		timer makes no use of it.
 * @number:	out: number of this setting
 * @old_left_ns: out: what was left until the old setting would have expired, in ns; 0 if the
 *		timer was disarmed. It is at least 1 where that was due, but had not expired.
 * @old_interval_ns: out: interval of the old setting
 * @old_expirations: out: expirations of the old setting that were not read
 * @reserved:	in: zero
 *
 * An absolute value that the clock has reached expires at once, unless the clock is stopped.
 * Setting a timer acknowledges all discontinuities for PARKCLOCK_TIMER_CANCEL.
 *
 * EINVAL:	unknown flags; PARKCLOCK_TIMER_CANCEL for a CPU timer; a value, interval or
 *		slack below 0.
 */
struct parkclock_timer_set {
	__u32 flags;
	__u32 reserved0;
	__s64 value_ns;
	__s64 interval_ns;
	__s64 slack_ns;
	__u64 number;
	__s64 old_left_ns;
	__s64 old_interval_ns;
	__u64 old_expirations;
	__u64 reserved[3];
};

#define PARKCLOCK_IOC_TIMER_SET	_IOWR(PARKCLOCK_IOC_TYPE, 0x12, struct parkclock_timer_set)

/**
 * struct parkclock_timer_state - result of TIMER_GET, argument of TIMER_RESTORE
 * @clock_id:	of PARKCLOCK_IOC_TIMER
 * @flags:	of the setting
 * @expiry_ns:	when the timer expires next, by its clock; a relative timer of REALTIME or TAI
 *		by MONOTONIC. 0 if it is disarmed.
 * @left_ns:	what is left until then, in ns; 0 if it is disarmed, else at least 1
 * @interval_ns: of the setting
 * @slack_ns:	of the setting
 * @number:	number of the setting; 0 if there was none
 * @expirations: what has expired and was not read
 * @generation:	generation of the clock that the timer has acknowledged: with
 *		PARKCLOCK_TIMER_CANCEL, read() returns ECANCELED if the clock has another
 * @reserved:	zero
 *
 * TIMER_GET also works while the clock is stopped. TIMER_RESTORE sets a timer of the same clock
 * id to go on from there, here or in a clock that was restored elsewhere:
 *
 *	SAVE the clock, and TIMER_GET each timer; later, perhaps elsewhere
 *	RESTORE the clock; make each timer with TIMER, and TIMER_RESTORE it.
 *
 * A timer by the wall gets @expiry_ns by the clock as it is now. So the gap counts as RESTORE was
 * told. SAVE does not save the CPU time: a CPU timer gets @left_ns from now on. The restored timer
 * has @expirations, and with PARKCLOCK_TIMER_CANCEL a discontinuity, because RESTORE is one. Its
 * setting gets a new number, which is returned in @number.
 *
 * EINVAL:	TIMER_RESTORE: @clock_id is not the timer's; unknown flags;
 *		PARKCLOCK_TIMER_CANCEL for a CPU timer; a time below 0.
 */
struct parkclock_timer_state {
	__s32 clock_id;
	__u32 flags;
	__s64 expiry_ns;
	__s64 left_ns;
	__s64 interval_ns;
	__s64 slack_ns;
	__u64 number;
	__u64 expirations;
	__u64 generation;
	__u64 reserved[3];
};

#define PARKCLOCK_IOC_TIMER_GET	\
	_IOR(PARKCLOCK_IOC_TYPE, 0x13, struct parkclock_timer_state)
#define PARKCLOCK_IOC_TIMER_RESTORE \
	_IOWR(PARKCLOCK_IOC_TYPE, 0x14, struct parkclock_timer_state)

/**
 * struct parkclock_cgroup - argument of REGISTER_CGROUP and UNREGISTER_CGROUP
 * @fd:		descriptor of the directory of a cgroup, in a hierarchy of version 2; not one
 *		of O_PATH
 * @flags:	zero
 * @reserved:	zero
 */
struct parkclock_cgroup {
	__s32 fd;
	__u32 flags;
	__u64 reserved[3];
};

/*
 * CGROUPS
 *
 * REGISTER_CGROUP ties a cgroup to the clock: whatever runs in it, or in a cgroup below it,
 * whenever it came there. Nothing has to be inherited, so nothing can be missed. While a CPU
 * runs such a task it holds a reference; it is taken before the task's first instruction.
 * A task that is preempted holds none. When the call returns this holds on all CPUs. A task
 * that is moved into the cgroup while it runs on another CPU is covered some microseconds
 * after the move. What runs there counts as CPU time of the clock (parkclock_query.cpu_ns, CPU
 * timers) and, in parkclock_query.running, once for each CPU; but in parkclock_query.tasks only
 * registered tasks count.
 *
 * A cgroup and one below it can be registered, with the same clock or with others, and tasks in
 * them can be registered besides: a task has each clock once, and its CPU time counts once.
 *
 * UNREGISTER_CGROUP ends the registration. Otherwise it ends soon after the cgroup was removed,
 * or with the open file, that is, with its last descriptor and its last mapping; or with the
 * last view that keeps registrations (PARKCLOCK_VIEW_KEEP). A cgroup that is made again under the
 * same name is another one. An execve() that gains privileges ends nothing: who controls a
 * cgroup sees the CPU time of what runs in it anyway.
 *
 * To REGISTER_CGROUP, the caller must be allowed to move tasks into the cgroup: he can open
 * cgroup.procs in that directory for writing, and if the hierarchy is mounted with nsdelegate,
 * the cgroup is in his cgroup namespace. UNREGISTER_CGROUP asks for nothing more than the
 * descriptor: it ends what was registered with this clock. Both interrupt each CPU once.
 *
 * EBADF:	@fd is not as said above.
 * EINVAL:	nonzero flags; REGISTER_CGROUP: the host's root cgroup, in which the CPUs idle.
 * EPERM:	the descriptor is not open for writing; REGISTER_CGROUP: or cgroup.procs cannot
 *		be opened for writing.
 * EACCES, EROFS: REGISTER_CGROUP: cgroup.procs cannot be opened for writing, or something
 *		else is mounted there.
 * ENOENT:	the cgroup was removed; REGISTER_CGROUP: it is not in the caller's cgroup
 *		namespace; UNREGISTER_CGROUP: it is not registered with this clock.
 * EEXIST:	REGISTER_CGROUP: it is registered with this clock.
 * E2BIG:	REGISTER_CGROUP: it is PARKCLOCK_CGROUP_LEVELS or more below the host's root.
 * EMLINK:	REGISTER_CGROUP: the cgroup, or a registered one below it, has
 *		PARKCLOCK_CGROUP_CLOCKS_MAX clocks already. Clocks of those who had
 *		CAP_SYS_RESOURCE at open(2) are counted for themselves.
 * EDQUOT, ENFILE: REGISTER_CGROUP: see PARKCLOCK_IOC_LIMITS. By default only callers who had
 *		CAP_SYS_RESOURCE at open(2) may register any.
 * ENOMEM:	REGISTER_CGROUP: no memory.
 * EINTR:	REGISTER_CGROUP: killed meanwhile.
 * EOPNOTSUPP:	this kernel was built without cgroups; REGISTER_CGROUP: or without tracepoints.
 */
#define PARKCLOCK_IOC_REGISTER_CGROUP	\
	_IOW(PARKCLOCK_IOC_TYPE, 0x15, struct parkclock_cgroup)
#define PARKCLOCK_IOC_UNREGISTER_CGROUP	\
	_IOW(PARKCLOCK_IOC_TYPE, 0x16, struct parkclock_cgroup)
#define PARKCLOCK_CGROUP_CLOCKS_MAX	4
#define PARKCLOCK_CGROUP_LEVELS		32

/*
 * POLL
 *
 * The generation of a clock counts its own discontinuities and the host's. Each open file
 * remembers the generation that was last acknowledged through it, at first that of the
 * moment when it was opened. poll() reports POLLIN while the clock's generation differs
 * from the acknowledged one. read() returns the generation as a __u64, acknowledges it and
 * never waits; a smaller buffer returns EINVAL. Nothing else acknowledges: who only looks
 * (QUERY) takes no discontinuity from who waits for it. poll() never reports POLLHUP.
 */

/*
 * THE READER
 *
 * It needs a GNU C or C++ compiler with 128-bit integers, and nothing else.
 */
#if defined(__x86_64__) && defined(__SIZEOF_INT128__)

/* What the readers return if there is no time; both are negative. */
#define PARKCLOCK_EXPIRED	(-1LL)	/* no time in the page: use PARKCLOCK_IOC_READ */
#define PARKCLOCK_IS_STOPPED	(-2LL)	/* the clock is stopped: READ has no time either */

/**
 * parkclock_index() - index of a clock in the offset_ns arrays
 * @clock_id: a clockid_t
 *
 * Return: PARKCLOCK_MONOTONIC to PARKCLOCK_TAI, or -1 for any other clock.
 */
static __inline__ int parkclock_index(int clock_id)
{
	switch (clock_id) {
	case 0: return PARKCLOCK_REALTIME;
	case 1: return PARKCLOCK_MONOTONIC;
	case 7: return PARKCLOCK_BOOTTIME;
	case 11: return PARKCLOCK_TAI;
	default: return -1;
	}
}

/**
 * parkclock_scale() - convert cycles to ns
 * @delta: cycles
 * @rate:  ns per cycle, in 2^-56 ns
 * @frac:  2^-56 ns to add before the fraction is dropped
 *
 * Return: floor((@delta * @rate + @frac) / 2^56), modulo 2^64.
 */
static __inline__ __u64 parkclock_scale(__u64 delta, __u64 rate, __u64 frac)
{
	__extension__ typedef unsigned __int128 parkclock_u128;

	return (__u64)(((parkclock_u128)delta * rate + frac) >> PARKCLOCK_SHIFT);
}

/**
 * parkclock_error() - bound of the error inside a segment
 * @error_ns:   as in struct parkclock_segment
 * @error_rate: as in struct parkclock_segment
 * @delta:      cycles since the segment's base
 *
 * Return: @error_ns + ceil(@delta * @error_rate / 2^56), in ns.
 */
static __inline__ __u64 parkclock_error(__u64 error_ns, __u64 error_rate, __u64 delta)
{
	return error_ns + parkclock_scale(delta, error_rate, (1ULL << PARKCLOCK_SHIFT) - 1);
}

/* Load a field that the kernel may change; see "Order" above. */
#define __parkclock_acquire(p)	__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define __parkclock_load(p)	__atomic_load_n((p), __ATOMIC_RELAXED)

/* Load a field after the value from which @zero was computed is known. */
#define __parkclock_load_after(p, zero) \
	__parkclock_load((const __u64 *)((const char *)(p) + (zero)))

/*
 * Read the TSC; if @ordered, after all loads that precede. *@zero becomes 0, by an AND with
 * the counter that no CPU takes for a constant. A load from an address to which *@zero was
 * added therefore waits for the counter.
 */
static __inline__ __u64 __parkclock_tsc(int ordered, __u64 *zero)
{
	__u64 lo, hi;

	if (ordered)
		__asm__ __volatile__("lfence\n\trdtsc" : "=a" (lo), "=d" (hi) : : "memory");
	else
		__asm__ __volatile__("rdtsc" : "=a" (lo), "=d" (hi) : : "memory");
	lo |= hi << 32;
	hi = lo;
	__asm__ __volatile__("andl $0, %k0" : "+r" (hi) : : "cc", "memory");
	*zero = hi;
	return lo;
}

/**
 * parkclock_guest_to_host() - the host's counter from a guest's
 * @cycles:  the guest's counter
 * @offset:  guest_offset of struct parkclock_clock
 * @inverse: guest_inverse of struct parkclock_clock
 * @shift:   guest_shift of struct parkclock_clock
 *
 * Return: the host's counter, or up to guest_lag cycles less: see "GUESTS".
 */
static __inline__ __u64 parkclock_guest_to_host(__u64 cycles, __u64 offset, __u64 inverse,
						__u64 shift)
{
	__extension__ typedef unsigned __int128 parkclock_u128;

	return (__u64)((parkclock_u128)(cycles - offset) * inverse >> (shift & 127));
}

/*
 * The algorithm at the top, on the host or in a guest. @r may be NULL; it is filled in if
 * there is a time. Always inlined, so that a caller pays only for what it asks for.
 */
static __inline__ __attribute__((__always_inline__)) __s64
__parkclock_read(const struct parkclock_clock *clock,
		 const struct parkclock_timebase *timebase, int clock_id,
		 int ordered, int guest, struct parkclock_reading *r)
{
	const __u64 conditions = guest ? PARKCLOCK_STATE_GUEST : 0;
	const int i = parkclock_index(clock_id);
	const struct parkclock_segment *seg;
	__u64 state, seq, epoch, base, base_ns, frac, rate, valid, good;
	__u64 error_ns = 0, error_rate = 0, generation = 0;
	__u64 guest_offset = 0, inverse = 0, shift = 0, lag = 0, undisrupted = 0, disruptions = 0;
	__u64 cycles, host_cycles, delta, offset, zero, seq2, state2;

	if (i < 0)
		return PARKCLOCK_EXPIRED;
	do {
		state = __parkclock_acquire(&clock->state);
		if ((state & PARKCLOCK_STATE_CONDITIONS) != conditions)
			return state & PARKCLOCK_STATE_STOPPED ? PARKCLOCK_IS_STOPPED :
								 PARKCLOCK_EXPIRED;
		seq = __parkclock_acquire(&timebase->seq);
		seg = &timebase->segment[seq & 1];
		base = __parkclock_load(&seg->base_cycles);
		base_ns = __parkclock_load(&seg->base_ns);
		frac = __parkclock_load(&seg->base_frac);
		rate = __parkclock_load(&seg->rate);
		valid = __parkclock_load(&seg->valid_cycles);
		good = __parkclock_load(&seg->epoch);
		offset = (__u64)__parkclock_load(&clock->offset_ns[i]);
		if (i != PARKCLOCK_MONOTONIC)
			offset += (__u64)__parkclock_load(&seg->offset_ns[i]);
		if (guest) {
			guest_offset = __parkclock_load(&clock->guest_offset);
			inverse = __parkclock_load(&clock->guest_inverse);
			shift = __parkclock_load(&clock->guest_shift);
			lag = __parkclock_load(&clock->guest_lag);
			undisrupted = __parkclock_load(&clock->guest_disruptions);
		}
		if (r) {
			error_ns = __parkclock_load(&seg->error_ns);
			error_rate = __parkclock_load(&seg->error_rate);
			generation = __parkclock_load(&seg->generation) +
				     __parkclock_load(&clock->generation);
		}
		cycles = __parkclock_tsc(ordered, &zero);
		epoch = __parkclock_load_after(&timebase->epoch, zero);
		if (guest) {
			/* A reader that sees an epoch also sees the disruptions from before it. */
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			disruptions = __parkclock_load_after(&timebase->disruptions, zero);
		}
		seq2 = __parkclock_load_after(&timebase->seq, zero);
		state2 = __parkclock_load_after(&clock->state, zero);
	} while (seq2 != seq || state2 != state);

	host_cycles = guest ? parkclock_guest_to_host(cycles, guest_offset, inverse, shift) :
			      cycles;
	delta = host_cycles - base;
	if (guest && base - host_cycles <= lag)
		delta = 0;
	if (epoch != good || disruptions != undisrupted || delta >= valid)
		return PARKCLOCK_EXPIRED;
	base_ns += parkclock_scale(delta, rate, frac) + offset;
	if (r) {
		r->ns = (__s64)base_ns;
		r->cycles = cycles;
		r->error_ns = parkclock_error(error_ns, error_rate, delta + lag);
		if (guest)
			r->error_ns = parkclock_error(r->error_ns, rate, lag);
		r->generation = generation;
	}
	return (__s64)base_ns;
}

#define __parkclock_clock(map)	((const struct parkclock_clock *)(map))
#define __parkclock_timebase(map) \
	((const struct parkclock_timebase *)((const char *)(map) + PARKCLOCK_PAGE_SIZE))

/**
 * parkclock_usable() - do the readers below understand this mapping?
 * @map: the mapping
 *
 * Ask once, after mmap(). The answer does not say whether the page is valid now.
 *
 * Return: 1 if they do, else 0.
 */
static __inline__ int parkclock_usable(const void *map)
{
	const struct parkclock_clock *clock = __parkclock_clock(map);
	const struct parkclock_timebase *timebase = __parkclock_timebase(map);

	return clock->magic == PARKCLOCK_CLOCK_MAGIC &&
	       clock->version >= 1 &&
	       clock->timebase == PARKCLOCK_PAGE_SIZE &&
	       timebase->magic == PARKCLOCK_TIMEBASE_MAGIC &&
	       timebase->version >= 1 &&
	       timebase->counter == PARKCLOCK_COUNTER_X86_TSC;
}

/**
 * parkclock_page_read() - the time from the page, ordered
 * @map:      the mapping, checked by parkclock_usable()
 * @clock_id: CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME or CLOCK_TAI
 *
 * The counter is read after everything that precedes the call in program order has been
 * loaded. The call faults in a process that may not read the TSC (PR_SET_TSC).
 *
 * Return: the time in ns; PARKCLOCK_EXPIRED, also for any other @clock_id; or
 * PARKCLOCK_IS_STOPPED.
 */
static __inline__ __s64 parkclock_page_read(const void *map, int clock_id)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 1, 0,
				(struct parkclock_reading *)0);
}

/**
 * parkclock_page_read_relaxed() - the time from the page, unordered
 * @map:      the mapping, checked by parkclock_usable()
 * @clock_id: as of parkclock_page_read()
 *
 * For time stamps where some tens of nanoseconds do not matter: see "Order".
 *
 * Return: as parkclock_page_read().
 */
static __inline__ __s64 parkclock_page_read_relaxed(const void *map, int clock_id)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 0, 0,
				(struct parkclock_reading *)0);
}

/**
 * parkclock_page_read_bound() - the time from the page, ordered, with its bound
 * @map:      the mapping, checked by parkclock_usable()
 * @clock_id: as of parkclock_page_read()
 * @r:        filled in if there is a time, else unchanged
 *
 * Return: as parkclock_page_read().
 */
static __inline__ __s64 parkclock_page_read_bound(const void *map, int clock_id,
						  struct parkclock_reading *r)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 1, 0,
				r);
}

/**
 * parkclock_disruptions() - how often a guest's counter may have changed its terms
 * @map: the mapping
 *
 * For PARKCLOCK_IOC_SET_GUEST_TSC: call this before the guest's counter is set, or before
 * its offset is read.
 *
 * Return: timebase->disruptions.
 */
static __inline__ __u64 parkclock_disruptions(const void *map)
{
	return __parkclock_acquire(&__parkclock_timebase(map)->disruptions);
}

/**
 * parkclock_guest_read() - the time from the page, in a guest, ordered
 * @map:      the mapping, as the guest sees it, checked by parkclock_usable()
 * @clock_id: as of parkclock_page_read()
 *
 * Only for the guest whose counter PARKCLOCK_IOC_SET_GUEST_TSC announced: see "GUESTS".
 * Needs no libc.
 *
 * Return: the time in ns; PARKCLOCK_EXPIRED, also if SET_GUEST_TSC was not called or must be
 * called again; or PARKCLOCK_IS_STOPPED.
 */
static __inline__ __s64 parkclock_guest_read(const void *map, int clock_id)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 1, 1,
				(struct parkclock_reading *)0);
}

/**
 * parkclock_guest_read_bound() - the time from the page, in a guest, ordered, with its bound
 * @map:      as of parkclock_guest_read()
 * @clock_id: as of parkclock_page_read()
 * @r:        filled in if there is a time, else unchanged
 *
 * Return: as parkclock_guest_read().
 */
static __inline__ __s64 parkclock_guest_read_bound(const void *map, int clock_id,
						   struct parkclock_reading *r)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 1, 1,
				r);
}

/**
 * parkclock_earliest() - the least that the host's clock can have read
 * @r: a reading, from the page or by PARKCLOCK_IOC_READ
 *
 * Of two events with readings of the same generation, one certainly came first if its
 * latest is less than the other's earliest.
 *
 * Return: ns; not less than 0.
 */
static __inline__ __s64 parkclock_earliest(const struct parkclock_reading *r)
{
	return (__u64)r->ns < r->error_ns ? 0 : r->ns - (__s64)r->error_ns;
}

/**
 * parkclock_latest() - the most that the host's clock can have read
 * @r: a reading, from the page or by PARKCLOCK_IOC_READ
 *
 * Return: ns; at most the largest __s64.
 */
static __inline__ __s64 parkclock_latest(const struct parkclock_reading *r)
{
	const __s64 most = (__s64)(~0ULL >> 1);

	return r->error_ns > (__u64)(most - r->ns) ? most : r->ns + (__s64)r->error_ns;
}

/**
 * parkclock_page_read_range() - earliest and latest time from the page, ordered
 * @map:      the mapping, checked by parkclock_usable()
 * @clock_id: as of parkclock_page_read()
 * @earliest: parkclock_earliest() of the reading; unchanged if there is no time
 * @latest:   parkclock_latest() of the reading; unchanged if there is no time
 *
 * Return: as parkclock_page_read().
 */
static __inline__ __s64 parkclock_page_read_range(const void *map, int clock_id,
						  __s64 *earliest, __s64 *latest)
{
	struct parkclock_reading r;
	const __s64 ns = parkclock_page_read_bound(map, clock_id, &r);

	if (ns >= 0) {
		*earliest = parkclock_earliest(&r);
		*latest = parkclock_latest(&r);
	}
	return ns;
}

#endif /* __x86_64__ && __SIZEOF_INT128__ */

#endif /* _UAPI_LINUX_PARKCLOCK_H */
