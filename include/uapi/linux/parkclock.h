/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-2-Clause) */
/*
 * parkclock: the host's clock as two read-only pages
 *
 * This header is the specification of /dev/parkclock: the layout of the
 * mapping, the algorithm of its reader, what a reader may rely on, and the
 * ioctls. The inline functions below are that algorithm; a reader in another
 * language follows them line by line.
 *
 *
 * THE PROBLEM
 *
 * A sandbox (a process, a container, a guest) wants the time without leaving
 * its sandbox. The usual answer is a page with "time = base + (counter -
 * base_counter) * rate" that somebody keeps fresh, and the usual price is that
 * somebody wakes up for ever, also when nobody looks at the clock. A page that
 * is not kept fresh is worse: its readers compute a time that is wrong, and
 * cannot know it.
 *
 * Here the page says how far it can be trusted. Beyond its window a reader
 * has no time at all and must ask; so the timer that keeps it fresh may stop
 * ("park") as soon as nobody needs it, and is re-armed, and the page
 * re-calibrated, before anybody is given a reference to the clock.
 *
 *
 * THE MAPPING
 *
 *	fd  = open("/dev/parkclock", O_RDONLY | O_CLOEXEC);
 *	map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
 *
 * Page 0 is a struct parkclock_clock. It belongs to this open of the device and its
 * views alone (a "clock") and says how this clock differs from the host's. Page 1 is
 * a struct parkclock_timebase. It is the same for everybody on the host, and
 * is the only one that changes with time. Another size or offset is EINVAL (but
 * for the page of PARKCLOCK_IOC_VMCLOCK, which is apart from these two). A
 * writable or executable mapping is EACCES, also by mprotect() later (EPERM for
 * an executable one where /dev is mounted noexec, and of a view).
 *
 * Only the kernel writes these pages, at any moment, on any CPU. All fields
 * are in the host's byte order, naturally aligned, and are to be read with
 * single loads of their own size. Reserved fields are zero.
 *
 *
 * THE READER'S ALGORITHM
 *
 * Once, after mmap(): check magic, version and counter (parkclock_usable()).
 * Then, for a time:
 *
 *  1. Load clock->state (acquire). If a condition bit is set: no time. (If it is
 *     PARKCLOCK_STATE_STOPPED there is none by the slow way either.)
 *  2. Load timebase->seq (acquire). The segment is timebase->segment[seq & 1].
 *  3. Load what is needed of the segment, and the clock's offset.
 *  4. Read the counter, not before the loads above.
 *  5. Not before the counter was read, load timebase->epoch, timebase->seq and
 *     clock->state. If seq or state has changed: start again.
 *  6. If the epoch is not the segment's: no time.
 *  7. delta = counter - base_cycles, modulo 2^64. If delta >= valid_cycles: no
 *     time. This one unsigned comparison covers a parked clock, a late or dead
 *     writer, a stopped machine, a counter that went back, a clock that was
 *     never started (valid_cycles is 0) and a counter that may not be used
 *     (likewise).
 *  8. ns = base_ns + floor((delta * rate + base_frac) / 2^56), the product and
 *     sum in 128 bits, plus the segment's and the clock's offset for the clock
 *     wanted.
 *
 * "No time" is not an error. It means: use PARKCLOCK_IOC_READ, which has the time
 * unless the clock is stopped. A reader without a descriptor has none to give.
 *
 * Order. Step 4 after step 3, and step 5 after step 4, are what makes time go
 * forward between CPUs. On x86-64 LFENCE before RDTSC is the first; for the
 * second the inline reader derives the addresses of the loads of step 5 from
 * the counter's value, so that no CPU can do them earlier. The relaxed reader
 * leaves out LFENCE: its reading may be early by what the CPU can have in
 * flight, some tens of nanoseconds.
 *
 * Steps 1 to 5 are repeated only if the page has changed under the reader, which
 * takes a refresh (it changes seq by 2 or by 4). There are two copies of the
 * segment, and seq (a latch) always points at one that nobody writes: a writer
 * that is interrupted half-way, or whose virtual CPU is stopped, delays no reader.
 *
 *
 * GUARANTEES
 *
 * - Fails closed. A time is never computed outside the window it is good for.
 * - Never backwards. Of two readings of MONOTONIC or BOOTTIME of one clock, one
 *   of which happens before the other (in the sense of the C memory model), by
 *   the ordered reader or PARKCLOCK_IOC_READ in any mixture, on any CPUs, the
 *   later one is not smaller. REALTIME and TAI too, but for a step of the
 *   host's, which is counted in the generation. Relaxed readings: only within
 *   one thread, and only among themselves.
 * - Bounded. |reading - host's clock of the same id at the same counter value|
 *   <= error_ns + ceil(delta * error_rate / 2^56), in ns. The host's clock is
 *   what clock_gettime() reads there, plus the offset of this clock; for REALTIME
 *   that is not true UTC. After
 *   a change of the host's clock this holds from the end of the call that made
 *   it; the vDSO of another CPU may know of it a moment earlier.
 * - A reference (PARKCLOCK_IOC_HOLD) keeps the page inside its window from
 *   before the call returns.
 * - A task that is registered (PARKCLOCK_IOC_REGISTER) finds the page inside its
 *   window from the first instruction after it was switched in, for as long as
 *   it runs.
 *
 *
 * GUESTS
 *
 * The two pages can be a read-only memory slot of a virtual machine (KVM_MEM_READONLY),
 * whose guest then reads the time without an exit. If the threads of its virtual CPUs
 * are registered the page is valid whenever the guest runs, and a guest that halts lets
 * the clock park.
 *
 * The guest's counter is not the host's: it has an offset, and may run at another rate.
 * Whoever runs the guest says so (PARKCLOCK_IOC_SET_GUEST_TSC), and page 0 then has what
 * leads from the guest's counter to the host's,
 *
 *	host = floor((guest - guest_offset) * guest_inverse / 2^guest_shift)
 *
 * the difference modulo 2^64, the product in 128 bits. That is never more than what the
 * host's counter was, and less by guest_lag cycles at most (0 where the rates are the
 * same). A guest's reader (parkclock_guest_read()) does as above, with these
 * differences:
 *
 *  1. Of the condition bits PARKCLOCK_STATE_GUEST must be set, and no other. Readers of
 *     the host do not look at a page that has it, but ask: what is in it is for a guest,
 *     and a guest must not take its counter for the host's.
 *  3. It loads what leads to the host's counter, too.
 *  5. It loads timebase->disruptions, too, after the epoch.
 *  6. If that is not clock->guest_disruptions: no time. The host has slept, say, and the
 *     guest's counter has another offset since.
 *  7. base_cycles may be up to guest_lag cycles ahead: then delta is 0.
 *  8. The bound is that at delta + guest_lag, and what passes in guest_lag cycles more.
 *
 * All guarantees hold in the guest as well, as long as its counter is what
 * PARKCLOCK_IOC_SET_GUEST_TSC said.
 *
 *
 * VERSIONS
 *
 * A field that exists keeps its place and meaning for ever. A later version
 * gives meaning to reserved space and raises version and size; a reader may
 * use a field that lies within the size that the page gives. Whatever a reader
 * of an earlier version must not ignore is a condition bit in clock->state, so
 * that such a reader finds no time instead of a wrong one.
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
#define PARKCLOCK_VERSION		2	/* 2: guests */

/* Values of timebase->counter: what base_cycles counts. */
#define PARKCLOCK_COUNTER_X86_TSC	1

/* Rates are ns per cycle, as multiples of 2^-PARKCLOCK_SHIFT. */
#define PARKCLOCK_SHIFT		56

/* Places in the offset_ns arrays; parkclock_index() maps a clockid_t to one. */
#define PARKCLOCK_MONOTONIC	0	/* CLOCK_MONOTONIC, 1 */
#define PARKCLOCK_REALTIME	1	/* CLOCK_REALTIME, 0 */
#define PARKCLOCK_BOOTTIME	2	/* CLOCK_BOOTTIME, 7 */
#define PARKCLOCK_TAI		3	/* CLOCK_TAI, 11 */
#define PARKCLOCK_CLOCKS	4

/*
 * Bits of clock->state. A reader that finds any condition bit set must not compute a
 * time, whether it knows the bit or not.
 */
#define PARKCLOCK_STATE_CONDITIONS	0xffULL
#define PARKCLOCK_STATE_STOPPED		0x01ULL	/* by PARKCLOCK_IOC_STOP or _SAVE */
#define PARKCLOCK_STATE_CHANGING	0x02ULL	/* other fields change: for a moment */
#define PARKCLOCK_STATE_GUEST		0x04ULL	/* to be read by a guest: see "Guests" */

/*
 * Why readings from before and after cannot be subtracted: what the host's part of
 * the generation was raised for last.
 */
#define PARKCLOCK_REASON_NONE		0	/* not since the module was loaded */
#define PARKCLOCK_REASON_STEP		1	/* REALTIME was set */
#define PARKCLOCK_REASON_LEAP		2	/* a leap second */
#define PARKCLOCK_REASON_TAI		3	/* TAI's distance to UTC was set */
#define PARKCLOCK_REASON_SUSPEND	4	/* the host slept */
#define PARKCLOCK_REASON_COUNTER	5	/* it began, or ceased, to keep time by the TSC */
#define PARKCLOCK_REASON_FORK		6	/* it is a copy of a virtual machine */

/**
 * struct parkclock_clock - page 0: this clock
 * @magic:	PARKCLOCK_CLOCK_MAGIC
 * @version:	version of the specification that the page follows
 * @size:	bytes of this structure that the version defines
 * @timebase:	distance of struct parkclock_timebase from here, in bytes
 * @state:	bits 0 to 7: conditions, 0 if the clock can be read by the
 *		algorithm above. Bits 8 to 63: counts the changes of this page.
 *		PARKCLOCK_STATE_CHANGING is set while any other field changes.
 * @generation:	number of discontinuities of this clock alone, modulo 2^64; see
 *		@generation of struct parkclock_segment. Of a restored clock it is
 *		such that their sum goes on from what it was.
 * @offset_ns:	what this clock adds to the host's clocks, in ns. It starts as
 *		the offsets of the opener's time namespace.
 * @guest_offset: value of the guest's counter where the host's is 0; this and the next
 *		four mean something only with PARKCLOCK_STATE_GUEST, see "Guests"
 * @guest_inverse: cycles of the host per cycle of the guest, in 2^-@guest_shift; more
 *		than 2^62, and 2^63 at most
 * @guest_shift: 57 to 69
 * @guest_lag:	by how many of its cycles the host's counter may be ahead of what
 *		comes out; less than 70
 * @guest_disruptions: timebase->disruptions that all this holds for
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
 * struct parkclock_segment - one straight piece of the host's time
 * @base_cycles:	counter value at which the piece begins
 * @base_ns:		MONOTONIC there, whole ns
 * @base_frac:		and the rest, in 2^-56 ns; less than 2^56
 * @rate:		ns per cycle, in 2^-56 ns
 * @valid_cycles:	number of cycles from @base_cycles for which the piece is
 *			good; 0 if it is not good at all
 * @epoch:		the piece is good while timebase->epoch has this value
 * @error_ns:		bound of the error at @base_cycles, in ns
 * @error_rate:		growth of that bound, in 2^-56 ns per cycle
 * @offset_ns:		the host's clocks minus MONOTONIC, in ns
 * @generation:		number of discontinuities of the host's clocks
 *			(PARKCLOCK_REASON_*) that the piece has seen. The
 *			generation of a reading is this plus the clock's own.
 * @reserved:		zero
 *
 * A reader of MONOTONIC without its bound needs the first 48 bytes only.
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
 * @counter:	PARKCLOCK_COUNTER_*: the counter that @segment is about. A reader
 *		that has another one must refuse.
 * @counter_hz:	nominal frequency of the counter, for people; 0 if unknown
 * @reserved0:	zero
 * @seq:	the latch: @segment[@seq & 1] is the copy to read
 * @epoch:	a segment is good only while this equals its own epoch; a change
 *		makes the segment invalid at once
 * @reason:	PARKCLOCK_REASON_*: the host's last discontinuity, which may be
 *		one that no segment has seen yet. Of several it tells the last, and
 *		never of one of a clock's own.
 * @disruptions: how often the counter, or its meaning for guests, can have changed:
 *		PARKCLOCK_REASON_SUSPEND, _COUNTER and _FORK. Raised before @epoch.
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
 * struct parkclock_reading - a time and how far to trust it
 * @ns:		the time, in ns; never negative
 * @cycles:	value of the counter that it belongs to, in a guest the guest's; 0 if the
 *		host does not keep time by it
 * @error_ns:	the host's clock was within @ns -+ @error_ns then
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
 * All need a descriptor that is open for reading, else EBADF. A wrong pointer
 * gives EFAULT, an unknown request ENOTTY, anything but zero in a field that
 * must be zero EINVAL. A call that fails has changed nothing.
 *
 * What changes the clock itself (EPOCH, OFFSETS, STOP, START, SAVE, RESTORE,
 * SET_GUEST_TSC, VMCLOCK) needs one that is open for writing, too, else EPERM. Where no
 * argument is named it must be zero.
 */
#define PARKCLOCK_IOC_TYPE	0xBC

/**
 * struct parkclock_read - argument of PARKCLOCK_IOC_READ
 * @clock_id:	in: CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME or CLOCK_TAI;
 *		anything else is EINVAL
 * @flags:	in: zero
 * @reading:	out: the time
 * @reserved:	in: zero
 *
 * The slow way to read: wakes the updater if it is parked, re-calibrates, and reads
 * the page; where the page cannot be valid (a counter that may not be used, an updater
 * that is stopped) it asks the host's clock. A page read that happens after it is never
 * smaller, nor one before it larger.
 *
 * ENODATA:	the clock is stopped.
 */
struct parkclock_read {
	__s32 clock_id;
	__u32 flags;
	struct parkclock_reading reading;
	__u64 reserved[3];
};

/* States of the updater, in struct parkclock_query. */
#define PARKCLOCK_STOPPED	0	/* refreshes nothing: disabled, suspend */
#define PARKCLOCK_PARKED	1	/* no timer is armed */
#define PARKCLOCK_IDLE		2	/* no reference seen at the last tick */
#define PARKCLOCK_ACTIVE	3

/* Bits of parkclock_query.flags */
#define PARKCLOCK_COUNTER_UNUSABLE	0x1	/* host does not keep time by it */
#define PARKCLOCK_CLOCK_STOPPED		0x2	/* this clock is, by STOP or SAVE */

/**
 * struct parkclock_query - result of PARKCLOCK_IOC_QUERY
 * @state:		PARKCLOCK_STOPPED to PARKCLOCK_ACTIVE
 * @flags:		PARKCLOCK_COUNTER_UNUSABLE, PARKCLOCK_CLOCK_STOPPED
 * @holds:		references held through this open file
 * @references:		references held on the host, of every kind
 * @interval_ns:	time between two refreshes
 * @window_ns:		how long a segment is good for, from its base
 * @slack_ns:		how late a refresh may be in order to share a wake-up
 * @counter_hz:		nominal frequency of the counter; 0 if unknown
 * @cycles:		counter when the query was made
 * @window_left_ns:	how long the page is good from then on; 0 if it has expired
 * @rate:		of the segment, in 2^-56 ns per cycle; 0 if none
 * @error_ns:		bound of the error at @cycles; 0 if the page has expired
 * @generation:		as in struct parkclock_reading
 * @parks:		times the updater parked
 * @wakes:		times it was woken from there, or started with references
 * @refreshes:		times the page was re-calibrated
 * @expirations:	times the timer fired
 * @invalidations:	times the page was made invalid before its window ended
 * @slow_reads:		calls of PARKCLOCK_IOC_READ that succeeded
 * @tasks:		registered tasks of this clock
 * @running:		those of them that run, or were preempted: each of them holds
 *			a reference
 * @cpu_ns:		how long registered tasks of this clock have run, in ns (of the
 *			counter, at its nominal frequency), since each was registered;
 *			those that run now and those that are registered no more
 *			included. Never smaller than before.
 * @all_tasks:		registrations on the host: a task counts once for each of
 *			its clocks
 * @all_running:	those of them that run, or were preempted
 * @run_transitions:	times that the task of a registration began to run
 * @run_wakes:		times that this woke the updater
 * @run_missed:		tasks that should have inherited a registration of this
 *			clock, but for want of memory or because of a limit did not
 * @reason:		PARKCLOCK_REASON_*: the host's last discontinuity
 * @boot_ns:		REALTIME when this clock's life began, in ns: of EPOCH, here or
 *			before it was saved; else of the host's boot
 * @clock:		number of this clock: no two that were opened since the module
 *			was loaded have the same
 * @reserved:		zero
 *
 * Taking it does not wake the updater, and acknowledges @generation, see "POLL".
 * Counters start at zero when the module is loaded, those of a clock when it is
 * opened.
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
	__u64 reserved[3];
};

#define PARKCLOCK_IOC_QUERY	_IOR(PARKCLOCK_IOC_TYPE, 0x00, struct parkclock_query)
#define PARKCLOCK_IOC_READ	_IOWR(PARKCLOCK_IOC_TYPE, 0x01, struct parkclock_read)

/*
 * HOLD takes a reference: the page is valid when the call returns, and stays
 * so. RELEASE gives one back. They count per open file and take no argument (it
 * must be zero). What is still held goes with the open file, that is, with its
 * last descriptor and its last mapping, in whatever process they are.
 *
 * HOLD:	EOVERFLOW if PARKCLOCK_HOLD_MAX references are held already.
 * RELEASE:	ENOENT if none is held.
 */
#define PARKCLOCK_IOC_HOLD	_IO(PARKCLOCK_IOC_TYPE, 0x02)
#define PARKCLOCK_IOC_RELEASE	_IO(PARKCLOCK_IOC_TYPE, 0x03)
#define PARKCLOCK_HOLD_MAX	65536

/* Bits of parkclock_register.flags */
#define PARKCLOCK_TASK_PROCESS	0x1	/* every thread of the task's process */
#define PARKCLOCK_TASK_INHERIT	0x2	/* and what it creates from now on */

/**
 * struct parkclock_register - argument of REGISTER and UNREGISTER
 * @tid:	id of a thread, as the caller sees it (gettid()); 0 is the caller
 * @flags:	PARKCLOCK_TASK_*
 * @reserved:	zero
 */
struct parkclock_register {
	__s32 tid;
	__u32 flags;
	__u64 reserved[3];
};

/*
 * REGISTER ties a task (a thread) to the clock: from being switched in until it
 * blocks or exits it holds a reference, which it takes before its first
 * instruction. Being preempted does not drop it. A task that runs when it is
 * registered holds one when the call returns; one that sleeps holds none, so a
 * sandbox all of whose tasks sleep lets the clock park.
 *
 * With PARKCLOCK_TASK_PROCESS it is done for each thread of the process that is
 * not registered yet, the flags of the others stay. With PARKCLOCK_TASK_INHERIT
 * the threads and child processes that a task creates are registered when they
 * are created, and theirs likewise. There is nobody to be told when that fails:
 * parkclock_query.run_missed counts it.
 *
 * UNREGISTER takes it back, with PARKCLOCK_TASK_PROCESS for every registered
 * thread of the process. Otherwise a registration ends when its task exits, or
 * with the open file, that is, with its last descriptor and its last mapping.
 * It stays over execve(). No task or open file is kept from going.
 *
 * The caller's own process may be registered through any descriptor. For other
 * tasks the descriptor must be open for writing as well; and to REGISTER them
 * the caller must have the user id of the task (its filesystem user id must be
 * the task's real, effective and saved ones) or CAP_SYS_PTRACE in its user
 * namespace.
 *
 * For a task that is not the caller, REGISTER waits until all CPUs have passed a
 * context switch, some ms, and a QUERY or VMCLOCK of the same clock may wait with it. Many
 * threads of a process take no longer than one, and those that inherit do not wait.
 * The kernel's own workers for a process (io_uring) do not inherit.
 *
 * EINVAL:	unknown flags, a negative id; UNREGISTER: PARKCLOCK_TASK_INHERIT.
 * ESRCH:	there is no such task; REGISTER: or it has exited.
 * EPERM:	not permitted as said above, or a task of the kernel's own.
 * EEXIST:	REGISTER: the task, or each thread of the process, is registered.
 * ENOENT:	UNREGISTER: the task is not registered, or no thread of the process.
 * ENOSPC:	REGISTER: more tasks than the module's parameter max_tasks allows
 *		to one clock, or more than PARKCLOCK_TASK_CLOCKS_MAX clocks for one
 *		task.
 * ENOMEM:	REGISTER: no memory.
 * EINTR:	REGISTER: killed while it waited.
 * EOPNOTSUPP:	REGISTER: this kernel was built without tracepoints.
 */
#define PARKCLOCK_IOC_REGISTER	\
	_IOW(PARKCLOCK_IOC_TYPE, 0x04, struct parkclock_register)
#define PARKCLOCK_IOC_UNREGISTER \
	_IOW(PARKCLOCK_IOC_TYPE, 0x05, struct parkclock_register)
#define PARKCLOCK_TASK_CLOCKS_MAX	4

/**
 * struct parkclock_accuracy - result of PARKCLOCK_IOC_ACCURACY
 * @steady:		how often a page that was valid was replaced, by the error that
 *			it had just before: its bin is that of |what it said - the
 *			host's MONOTONIC|, see parkclock_bin_ns(). Here those during
 *			whose life the host's own rate did not change.
 * @changed:		and those during whose life it did
 * @steady_worst_ns:	the largest of the first, in whole ns
 * @changed_worst_ns:	and of the others
 * @reserved:		zero
 *
 * Counted on the host since the module was loaded. Taking it does not wake the
 * updater.
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
 * @bin: its number, less than PARKCLOCK_BINS; or that, for where the last one would end
 *
 * 0 to 16 ns one by one, then each bin is as wide as all before it. The last one takes
 * all that is larger, too.
 *
 * Return: the least error that it counts, in ns.
 */
static __inline__ __u64 parkclock_bin_ns(unsigned int bin)
{
	return bin < 16 ? bin : 16ULL << (bin - 16);
}

/*
 * A CLOCK OF ONE'S OWN
 *
 * Each open of the device starts as the host's clock, in the opener's time namespace.
 * Its owner may change that: MONOTONIC and BOOTTIME get another distance to the host's;
 * REALTIME and TAI are always the host's. Each change is a discontinuity: it raises the
 * generation. Nobody ever sees MONOTONIC or BOOTTIME go back: on a clock that is
 * "fresh" nobody has had a chance to read it (it was not mapped, there was no READ, not
 * even one whose result could not be written, no SAVE and no VIEW), and any other can
 * only be set forward.
 *
 * EPOCH begins a life: MONOTONIC and BOOTTIME go on from 1 ns, and boot_ns is now.
 *
 * EBUSY:	the clock is not fresh.
 */
#define PARKCLOCK_IOC_EPOCH	_IO(PARKCLOCK_IOC_TYPE, 0x07)

/**
 * struct parkclock_offsets - argument of PARKCLOCK_IOC_OFFSETS
 * @monotonic_ns:	this clock's MONOTONIC minus the host's, in ns
 * @boottime_ns:	the same of BOOTTIME
 * @reserved:		zero
 *
 * The host's are those outside of any time namespace.
 *
 * EBUSY:	one of them would be set back, and the clock is not fresh.
 * ERANGE:	one of them would not be between 1 ns and PARKCLOCK_MOST_NS.
 */
struct parkclock_offsets {
	__s64 monotonic_ns;
	__s64 boottime_ns;
	__u64 reserved[2];
};

#define PARKCLOCK_IOC_OFFSETS	_IOW(PARKCLOCK_IOC_TYPE, 0x08, struct parkclock_offsets)
#define PARKCLOCK_MOST_NS	0x4000000000000000LL	/* 2^62: 146 years */

/*
 * STOP: no reading that begins after its return has a time, by page or by READ: the
 * clock is "stopped". None has a later one than that which SAVE tells. Nothing else of
 * it stops: references and registrations count, and keep the host's time fresh.
 *
 * START ends that; the page is valid when it returns, if it can be: not while the
 * updater is stopped, or the counter may not be used. Its argument, by value, says what
 * becomes of the gap: with PARKCLOCK_GAP_INCLUDE the clock reads as if it had never been
 * stopped, with PARKCLOCK_GAP_FREEZE MONOTONIC and BOOTTIME go on from where they were.
 *
 * EALREADY:	STOP: it is stopped; START: it is not.
 * EINVAL:	START: another argument.
 */
#define PARKCLOCK_IOC_STOP	_IO(PARKCLOCK_IOC_TYPE, 0x09)
#define PARKCLOCK_IOC_START	_IO(PARKCLOCK_IOC_TYPE, 0x0a)
#define PARKCLOCK_GAP_INCLUDE	1
#define PARKCLOCK_GAP_FREEZE	2

/**
 * struct parkclock_saved - a clock to be continued, here or elsewhere, later
 * @magic:	PARKCLOCK_SAVED_MAGIC
 * @version:	PARKCLOCK_SAVED_VERSION
 * @size:	bytes of this structure
 * @checksum:	CRC-32 (that of Ethernet) of them all, with zero here
 * @monotonic_ns: MONOTONIC when the clock was stopped, in ns
 * @boottime_ns: BOOTTIME at that instant
 * @realtime_ns: REALTIME at that instant
 * @boot_ns:	see struct parkclock_query; it may be negative
 * @generation:	of a reading at that instant
 * @reserved:	zero
 *
 * In little-endian byte order, to be kept as it is.
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
 * SAVE stops the clock, unless it is stopped, and says where. START may continue it
 * nevertheless.
 *
 * EFAULT:	as for all; but if another thread takes the memory away during the call,
 *		the clock may be stopped.
 */
#define PARKCLOCK_IOC_SAVE	_IOR(PARKCLOCK_IOC_TYPE, 0x0b, struct parkclock_saved)

/**
 * struct parkclock_restore - argument of PARKCLOCK_IOC_RESTORE
 * @saved:	from PARKCLOCK_IOC_SAVE
 * @gap:	PARKCLOCK_GAP_INCLUDE: MONOTONIC and BOOTTIME go on from where they were
 *		plus the REALTIME that has passed since; if that went back, from where
 *		they were. PARKCLOCK_GAP_FREEZE: from where they were in any case.
 * @reserved0:	zero
 * @reserved1:	zero
 *
 * Continues a clock, with its boot_ns, and a generation that is larger than @saved's.
 * If this one is stopped it stays so.
 *
 * EBADMSG:	@saved is damaged, or is none: magic, size, checksum, reserved fields.
 * EBUSY:	the clock is not fresh.
 * EINVAL:	another @gap.
 * EOPNOTSUPP:	@saved is of another version.
 * ERANGE:	MONOTONIC or BOOTTIME in @saved, or after the gap, is not between 1 ns and
 *		PARKCLOCK_MOST_NS, or REALTIME not between 0 and that, or boot_ns is above
 *		it, or the generation is above 2^63.
 */
struct parkclock_restore {
	struct parkclock_saved saved;
	__u32 gap;
	__u32 reserved0;
	__u64 reserved1[3];
};

#define PARKCLOCK_IOC_RESTORE	_IOW(PARKCLOCK_IOC_TYPE, 0x0c, struct parkclock_restore)

/*
 * VIEW returns another descriptor for the same clock (close-on-exec), for the inside of
 * a sandbox. With it one can map the clock, READ it, read its generation and poll for
 * that; any other request is ENOTTY, and it is as good as open for reading only. It keeps
 * neither references nor registrations; the clock goes on, as it was left, as long as
 * there is a view of it. It hides nothing: its pages have the host's time and this
 * clock's offsets, as every mapping has.
 *
 * EMFILE, ENFILE, ENOMEM:	as of open(2).
 */
#define PARKCLOCK_IOC_VIEW	_IO(PARKCLOCK_IOC_TYPE, 0x0d)

/**
 * struct parkclock_guest_tsc - argument of PARKCLOCK_IOC_SET_GUEST_TSC
 * @offset:	what is added to get the guest's counter, modulo 2^64; of KVM, the
 *		attribute KVM_VCPU_TSC_OFFSET of each of its virtual CPUs
 * @ratio:	cycles of the guest per cycle of the host, in 2^-@shift; or 0 if there is
 *		no guest: then all must be 0
 * @shift:	48 at most; of KVM, 32 on AMD and 48 on Intel
 * @reserved0:	zero
 * @disruptions: timebase->disruptions, from before @offset was set or asked for
 * @reserved1:	zero
 *
 * The guest's counter is floor(host * @ratio / 2^@shift) + @offset, as KVM, and the
 * processor for it, compute it. A guest for which KVM was asked for no other frequency
 * than the host's (KVM_SET_TSC_KHZ) has a @ratio of 1 and a @shift of 0; so has one whose
 * frequency is within tsc_tolerance_ppm (a parameter of KVM) of the host's, because then
 * KVM does not scale. Else the ratio is floor(2^@shift * guest's kHz / host's kHz). A
 * guest whose counter KVM lets "catch up", for want of a processor that scales, cannot be
 * served.
 *
 * It holds for as long as the host does not sleep, goes on to keep time by its counter,
 * and is not copied: after any of these (timebase->disruptions) the guest finds no time
 * until it is said again. poll() tells of all of them. If the guest itself writes its
 * counter nobody here knows, and its time is wrong. This is no discontinuity, and not part
 * of what SAVE saves.
 *
 * EINVAL:	@shift is more than 48; or @ratio is 0, and something else is not.
 * ERANGE:	the guest's counter is not between 1/64 and 64 times as fast as the
 *		host's; or host * @ratio / 2^@shift does not stay below 2^64 for the
 *		next 2^56 cycles.
 * ESTALE:	@disruptions is not what it is now: ask for @offset again.
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
 * VMCLOCK: lets the clock publish a VMClock page, too (struct vmclock_abi of
 * <linux/vmclock-abi.h>, version 1), for readers that know that and nothing of us:
 *
 *	ioctl(fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC);
 *	mmap(NULL, PARKCLOCK_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, PARKCLOCK_VMCLOCK_OFFSET);
 *
 * Its argument, by value, is CLOCK_MONOTONIC, for this clock's, or CLOCK_REALTIME, for the
 * host's, which is what Linux wants (ptp_vmclock). The page is for the guest's counter of
 * PARKCLOCK_IOC_SET_GUEST_TSC, or where there is none for the host's.
 *
 * MONOTONIC (VMCLOCK_TIME_MONOTONIC) has status VMCLOCK_STATUS_SYNCHRONIZED, bounds of its
 * errors (time_maxerror_nanosec, and that of the period), and does not go back while
 * disruption_marker is the same. It may be ahead of the mapping by some nanoseconds, which
 * are in the bound; so it may be ahead of what SAVE tells.
 *
 * REALTIME (VMCLOCK_TIME_UTC) is UTC as far as the host knows it, and may be set. How far
 * that is from UTC is not known here, so it is VMCLOCK_STATUS_FREERUNNING, and what would
 * be bounds against the host's clock are said to be estimates (time_esterror_nanosec, and
 * that of the period). tai_offset_sec is there if the host knows it.
 *
 * disruption_marker changes with timebase->disruptions, and when SET_GUEST_TSC has said
 * something else. There is no generation counter of virtual machines in the page.
 *
 * While the clock has references (holds, or tasks that run) the page is written at each
 * refresh. Its readers know no window; instead its clock_status says
 * VMCLOCK_STATUS_UNRELIABLE when the mapping is not valid, when the clock has had no
 * reference for two intervals, is stopped, or needs SET_GUEST_TSC again. A change of the
 * host's clock is in it when the call that made it has ended. Should a refresh be late
 * the page goes on, and its bound with it, for as long as the host does not change its
 * rate.
 *
 * EALREADY:	there is one.
 * EINVAL:	another argument.
 * ENOSPC:	there are as many on the host as the module's parameter max_vmclocks allows.
 * ENOMEM:	no memory.
 * mmap(): ENXIO before there is one; another length is EINVAL.
 */
#define PARKCLOCK_IOC_VMCLOCK	_IO(PARKCLOCK_IOC_TYPE, 0x0f)
#define PARKCLOCK_VMCLOCK_OFFSET	(2 * PARKCLOCK_PAGE_SIZE)

/*
 * POLL
 *
 * poll() says POLLIN when the generation of the clock (its own and the host's
 * discontinuities) is not the one that was last acknowledged through this open file, at
 * first that of when it was opened. QUERY and read() acknowledge what they return. read()
 * gives the generation as a __u64, always at once; EINVAL for a smaller buffer. There is
 * never POLLHUP.
 */

/*
 * THE READER
 *
 * Needs a GNU C or C++ compiler with 128-bit integers, and nothing else.
 */
#if defined(__x86_64__) && defined(__SIZEOF_INT128__)

/* What the readers return instead of a time: a reason. It is negative. */
#define PARKCLOCK_EXPIRED	(-1LL)	/* not now: READ has it */
#define PARKCLOCK_IS_STOPPED	(-2LL)	/* nor has READ */

/**
 * parkclock_index() - place of a clock in the offset_ns arrays
 * @clock_id: a clockid_t
 *
 * Return: PARKCLOCK_MONOTONIC to PARKCLOCK_TAI, or -1 for a clock that is not
 * here.
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
 * parkclock_scale() - cycles to ns
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
 * @error_rate: likewise
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

/* The same, but not before the value was known that @zero was made from. */
#define __parkclock_load_after(p, zero) \
	__parkclock_load((const __u64 *)((const char *)(p) + (zero)))

/*
 * Read the TSC, if @ordered not before any load that precedes. *@zero is 0, by
 * an AND that no CPU takes for a constant: what is loaded from an address to
 * which it was added is loaded after the counter was read.
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
 * parkclock_guest_to_host() - the host's counter, from a guest's
 * @cycles:  the guest's
 * @offset:  as in struct parkclock_clock
 * @inverse: likewise
 * @shift:   likewise
 *
 * Return: the host's, or a little less: see "Guests".
 */
static __inline__ __u64 parkclock_guest_to_host(__u64 cycles, __u64 offset, __u64 inverse,
						__u64 shift)
{
	__extension__ typedef unsigned __int128 parkclock_u128;

	return (__u64)((parkclock_u128)(cycles - offset) * inverse >> (shift & 127));
}

/*
 * The algorithm at the top, on the host or in a guest. @r is filled in if it is not NULL
 * and there is a time. Inlined always, so that what the caller does not ask for costs
 * nothing.
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
			/* An epoch that is seen has its disruptions seen. */
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
 * parkclock_usable() - is this a mapping that the readers below understand?
 * @map: the mapping
 *
 * To be asked once. It says nothing about whether the page is valid now.
 *
 * Return: 1 if it is, else 0.
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
 * The counter is read after everything that precedes the call in program order
 * has been loaded. Faults where the TSC may not be read (PR_SET_TSC).
 *
 * Return: the time in ns, or PARKCLOCK_EXPIRED (also for another @clock_id), or
 * PARKCLOCK_IS_STOPPED.
 */
static __inline__ __s64 parkclock_page_read(const void *map, int clock_id)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 1, 0,
				(struct parkclock_reading *)0);
}

/**
 * parkclock_page_read_relaxed() - the time from the page, unordered
 * @map:      as above
 * @clock_id: as above
 *
 * For time stamps where some tens of nanoseconds do not matter: see "Order".
 *
 * Return: as above.
 */
static __inline__ __s64 parkclock_page_read_relaxed(const void *map, int clock_id)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 0, 0,
				(struct parkclock_reading *)0);
}

/**
 * parkclock_page_read_bound() - the time from the page, ordered, with its bound
 * @map:      as above
 * @clock_id: as above
 * @r:        filled in if there is a time, else left alone
 *
 * Return: as above.
 */
static __inline__ __s64 parkclock_page_read_bound(const void *map, int clock_id,
						  struct parkclock_reading *r)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 1, 0,
				r);
}

/**
 * parkclock_disruptions() - how often a guest's counter can have become another one
 * @map: the mapping
 *
 * For PARKCLOCK_IOC_SET_GUEST_TSC: to be asked before the guest's counter is set, or its
 * offset asked for.
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
 * @clock_id: CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME or CLOCK_TAI
 *
 * For the guest that PARKCLOCK_IOC_SET_GUEST_TSC was about, and nobody else: see
 * "Guests". Needs no libc.
 *
 * Return: the time in ns, or PARKCLOCK_EXPIRED (also if there was no such call, or it is
 * needed again), or PARKCLOCK_IS_STOPPED.
 */
static __inline__ __s64 parkclock_guest_read(const void *map, int clock_id)
{
	return __parkclock_read(__parkclock_clock(map), __parkclock_timebase(map), clock_id, 1, 1,
				(struct parkclock_reading *)0);
}

/**
 * parkclock_guest_read_bound() - the same, with its bound
 * @map:      as above
 * @clock_id: as above
 * @r:        filled in if there is a time, else left alone
 *
 * Return: as above.
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
 * Of two events, one came first for certain if its latest is less than the other's
 * earliest, and both have the same generation.
 *
 * Return: ns; not less than 0.
 */
static __inline__ __s64 parkclock_earliest(const struct parkclock_reading *r)
{
	return (__u64)r->ns < r->error_ns ? 0 : r->ns - (__s64)r->error_ns;
}

/**
 * parkclock_latest() - the most that the host's clock can have read
 * @r: as above
 *
 * Return: ns; not more than the largest that there is.
 */
static __inline__ __s64 parkclock_latest(const struct parkclock_reading *r)
{
	const __s64 most = (__s64)(~0ULL >> 1);

	return r->error_ns > (__u64)(most - r->ns) ? most : r->ns + (__s64)r->error_ns;
}

/**
 * parkclock_page_read_range() - [earliest, latest] from the page, ordered
 * @map:      as above
 * @clock_id: as above
 * @earliest: parkclock_earliest() of the reading, if there is a time; else left alone
 * @latest:   parkclock_latest() of it, likewise
 *
 * Return: as above.
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
