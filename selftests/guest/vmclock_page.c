// SPDX-License-Identifier: GPL-2.0
/*
 * The VMClock page, read as its specification says, for guests whose counters this process
 * plays.
 *
 * Checked:
 *
 * - Every reading is within its published error of what clock_gettime() returns before and
 *   after, also long after the window. MONOTONIC never goes back, between threads on all CPUs.
 *   This holds while the host's frequency is thrown from end to end, REALTIME is set, and the
 *   writer is stopped at each of its instructions.
 * - A page is reliable as soon as a reference has been taken, by HOLD or because a task is
 *   switched in. It says that it is unreliable without a reference, when the timebase is not
 *   valid, when the clock is stopped, and when its guest's terms are not known any more; and it
 *   says so before anybody could rely on it.
 * - The disruption marker changes when the counter can have changed, and only then.
 *
 * Fails if an error term is forgotten, if a page that nobody writes says that it is reliable, or
 * if a reference is overlooked or counted twice.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/disturb.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/machine.h"
#include "lib/messages.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/updater.h"
#include "lib/vmclock.h"
#include "lib/wait.h"

#define MAX_READERS	16

static const struct guest_counter no_guest = { .ratio = 1 };

static int map_vm_error(int fd, size_t size, int prot, off_t at)
{
	void *map = mmap(NULL, size, prot, MAP_SHARED, fd, at);

	if (map == MAP_FAILED)
		return errno;
	munmap(map, size);
	return 0;
}

static const struct vmclock *publish(int fd, int clock_id)
{
	must(fd, PARKCLOCK_IOC_VMCLOCK, clock_id);
	return map_vmclock(fd);
}

FIXTURE(vmclock_page) {
	struct pclock c;
	int64_t offset;
};

FIXTURE_SETUP(vmclock_page)
{
	start_parked("20000", "4", "5");
	self->c = open_owner();
	self->offset = realtime_offset();
}

FIXTURE_TEARDOWN(vmclock_page)
{
	restore_frequency();
	if (llabs(realtime_offset() - self->offset) > NSEC / 10)
		set_realtime(kernel_ns(CLOCK_MONOTONIC) + self->offset);
	close_clock(&self->c);
	must_set("host_vmclocks", "128");
	default_params();
}

TEST_F(vmclock_page, asked_for)
{
	const unsigned long wrong[] = {
		CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_MONOTONIC_RAW, 2, ~0UL, 1UL << 32 | 1
	};
	int fd = open_device_reader();

	EXPECT_EQ(-EPERM, try(fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC));
	EXPECT_EQ(ENXIO, map_vm_error(self->c.fd, PARKCLOCK_PAGE_SIZE, PROT_READ,
				      PARKCLOCK_VMCLOCK_OFFSET));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		EXPECT_EQ(-EINVAL, try(self->c.fd, PARKCLOCK_IOC_VMCLOCK, wrong[i]));
	EXPECT_EQ(ENXIO, map_vm_error(self->c.fd, PARKCLOCK_PAGE_SIZE, PROT_READ,
				      PARKCLOCK_VMCLOCK_OFFSET));
	EXPECT_EQ(0, try(self->c.fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC));
	EXPECT_EQ(-EALREADY, try(self->c.fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC));
	EXPECT_EQ(-EALREADY, try(self->c.fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_REALTIME));
	EXPECT_EQ(0, map_vm_error(self->c.fd, PARKCLOCK_PAGE_SIZE, PROT_READ,
				  PARKCLOCK_VMCLOCK_OFFSET));
	EXPECT_EQ(EINVAL, map_vm_error(self->c.fd, PARKCLOCK_MAP_SIZE, PROT_READ,
				       PARKCLOCK_VMCLOCK_OFFSET));
	EXPECT_EQ(EINVAL, map_vm_error(self->c.fd, 3 * PARKCLOCK_PAGE_SIZE, PROT_READ, 0));
	EXPECT_EQ(EINVAL, map_vm_error(self->c.fd, PARKCLOCK_PAGE_SIZE, PROT_READ, 0));
	EXPECT_EQ(EACCES, map_vm_error(self->c.fd, PARKCLOCK_PAGE_SIZE, PROT_READ | PROT_WRITE,
				       PARKCLOCK_VMCLOCK_OFFSET));
	EXPECT_NE(0, map_vm_error(self->c.fd, PARKCLOCK_PAGE_SIZE, PROT_READ | PROT_EXEC,
				  PARKCLOCK_VMCLOCK_OFFSET));
	/* Of this clock alone */
	EXPECT_EQ(ENXIO, map_vm_error(fd, PARKCLOCK_PAGE_SIZE, PROT_READ,
				      PARKCLOCK_VMCLOCK_OFFSET));
	close(fd);
}

TEST_F(vmclock_page, never_made_writable)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);

	EXPECT_EQ(-1, mprotect((void *)v, PARKCLOCK_PAGE_SIZE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(MAP_FAILED, mremap((void *)v, PARKCLOCK_PAGE_SIZE, PARKCLOCK_MAP_SIZE,
				     MREMAP_MAYMOVE));
}

TEST_F(vmclock_page, layout)
{
	static const uint8_t rest[PARKCLOCK_PAGE_SIZE];
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);
	int fd = open_fresh();
	const struct vmclock *utc = publish(fd, CLOCK_REALTIME);

	for (int i = 0; i < 2; i++) {
		EXPECT_EQ(VMCLOCK_MAGIC, v->magic);
		EXPECT_EQ(PARKCLOCK_PAGE_SIZE, v->size);
		EXPECT_EQ(1, v->version);
		EXPECT_EQ(1, v->counter_id);
		EXPECT_EQ(i ? TYPE_UTC : TYPE_MONOTONIC, v->time_type);
		EXPECT_EQ(0, v->seq_count & 1);
		EXPECT_EQ(0, v->pad[0] | v->pad[1] | v->leap_second_smearing_hint);
		EXPECT_EQ(0, v->leap_indicator);
		EXPECT_EQ(0, v->counter_period_esterror_rate_frac_sec);
		EXPECT_EQ(0, v->time_esterror_nanosec);
		EXPECT_EQ(0, v->vm_generation_counter);
		/* Nobody has a reference. */
		EXPECT_EQ(STATUS_UNRELIABLE, v->clock_status);
		EXPECT_EQ(0, v->flags);
		EXPECT_EQ(0, memcmp(v + 1, rest, PARKCLOCK_PAGE_SIZE - sizeof(*v)));
		v = utc;
	}
	close(fd);
}

TEST_F(vmclock_page, fields)
{
	const uint64_t flags = PERIOD_ESTERROR_VALID | TIME_ESTERROR_VALID;
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);
	struct timex tx = { .modes = ADJ_TAI, .constant = 37 };
	int fd = open_fresh();
	const struct vmclock *utc = publish(fd, CLOCK_REALTIME);

	NEEDS_COUNTER(return);
	hold(self->c.fd);
	hold(fd);
	EXPECT_EQ(STATUS_SYNCHRONIZED, v->clock_status);
	EXPECT_EQ(PERIOD_MAXERROR_VALID | TIME_MAXERROR_VALID | NEVER_BACK, v->flags);
	EXPECT_EQ(0, v->counter_period_esterror_rate_frac_sec);
	EXPECT_EQ(0, v->time_esterror_nanosec);
	/* How far the host is from UTC nobody knows. */
	EXPECT_EQ(STATUS_FREERUNNING, utc->clock_status);
	EXPECT_EQ(flags, utc->flags);
	EXPECT_EQ(0, utc->counter_period_maxerror_rate_frac_sec);
	EXPECT_EQ(0, utc->time_maxerror_nanosec);
	/* The period is that of the counter, within 1 %. */
	EXPECT_GT((double)v->counter_period_frac_sec / (1ULL << v->counter_period_shift) /
		  18446744073709551616.0 * query(fd).counter_hz, 0.99);
	EXPECT_LT((double)v->counter_period_frac_sec / (1ULL << v->counter_period_shift) /
		  18446744073709551616.0 * query(fd).counter_hz, 1.01);
	EXPECT_GT(v->counter_period_maxerror_rate_frac_sec, 0);
	EXPECT_LT(v->counter_period_maxerror_rate_frac_sec, v->counter_period_frac_sec / 1000);
	EXPECT_LT(v->time_maxerror_nanosec, 1000);
	/* What the host was told of TAI */
	EXPECT_GE(adjtimex(&tx), 0);
	EXPECT_EQ(flags | TAI_OFFSET_VALID, utc->flags);
	EXPECT_EQ(37, utc->tai_offset_sec);
	tx.constant = 0;
	EXPECT_GE(adjtimex(&tx), 0);
	EXPECT_EQ(flags, utc->flags);
	close(fd);
}

/* Whoever reads, whatever the guest's counter is */

FIXTURE(guests) {
	struct pclock c;
	int64_t offset;
	struct guest_counter guest;
	const struct vmclock *v;
};

FIXTURE_VARIANT(guests) {
	int id;
	struct guest_counter guest;
};

FIXTURE_VARIANT_ADD(guests, monotonic_of_the_host) {
	.id = CLOCK_MONOTONIC,
};

FIXTURE_VARIANT_ADD(guests, monotonic_from_zero) {
	.id = CLOCK_MONOTONIC, .guest = { .offset = 1, .ratio = 1ULL << 48, .shift = 48 },
};

FIXTURE_VARIANT_ADD(guests, monotonic_far_away) {
	.id = CLOCK_MONOTONIC,
	.guest = { .offset = 0xfedcba9876543210, .ratio = 1ULL << 32, .shift = 32 },
};

FIXTURE_VARIANT_ADD(guests, monotonic_faster) {
	.id = CLOCK_MONOTONIC,
	.guest = { .offset = 1ULL << 63, .ratio = (13ULL << 32) / 10, .shift = 32 },
};

FIXTURE_VARIANT_ADD(guests, monotonic_much_slower) {
	.id = CLOCK_MONOTONIC,
	.guest = { .offset = -1ULL, .ratio = (1ULL << 48) / 63, .shift = 48 },
};

FIXTURE_VARIANT_ADD(guests, utc_of_the_host) {
	.id = CLOCK_REALTIME,
};

FIXTURE_VARIANT_ADD(guests, utc_slower) {
	.id = CLOCK_REALTIME,
	.guest = { .offset = 1ULL << 40, .ratio = (7ULL << 32) / 10, .shift = 32 },
};

FIXTURE_VARIANT_ADD(guests, utc_much_faster) {
	.id = CLOCK_REALTIME, .guest = { .offset = 12345, .ratio = 63, .shift = 0 },
};

FIXTURE_SETUP(guests)
{
	start_parked("2", "4", "5");
	self->c = open_owner();
	self->offset = realtime_offset();
	/* From now, so that it is not at what the host's counter happens to be. */
	self->guest = variant->guest;
	if (!self->guest.ratio) {
		self->guest = no_guest;
	} else {
		if (self->guest.offset == 1)
			self->guest.offset = -guest_cycles(&variant->guest, tsc());
		if (set_guest(self->c.fd, &self->guest))
			die("PARKCLOCK_IOC_SET_GUEST_TSC");
	}
	self->v = publish(self->c.fd, variant->id);
}

FIXTURE_TEARDOWN(guests)
{
	restore_frequency();
	if (llabs(realtime_offset() - self->offset) > NSEC / 10)
		set_realtime(kernel_ns(CLOCK_MONOTONIC) + self->offset);
	close_clock(&self->c);
	default_params();
}

struct vm_reader {
	pthread_t thread;
	int cpu;
	const FIXTURE_DATA(guests) *f;
	uint64_t seen[WRONG + 1];
	uint64_t beyond;	/* of what was right: after the window of the mapping */
	const char *bug;
};

static atomic_bool vm_stop;
static atomic_llong vm_latest;

static void *vm_reader_thread(void *arg)
{
	struct vm_reader *me = arg;
	const FIXTURE_DATA(guests) *f = me->f;
	struct vmreading r = { 0 }, last = { 0 };

	try_to_pin(me->cpu);
	while (!vm_stop && !me->bug) {
		long long least = atomic_load(&vm_latest);
		enum seen seen = vm_look(&f->c, f->v, &f->guest, 0, &r);

		__atomic_fetch_add(&me->seen[seen], 1, __ATOMIC_RELAXED);
		if (seen == REFUSED) {
			sched_yield();
			continue;
		}
		if (seen == WRONG)
			me->bug = "a reading outside its bound";
		if (seen == RIGHT && expired_since(f->c.map, tsc()))
			__atomic_fetch_add(&me->beyond, 1, __ATOMIC_RELAXED);
		if (!(r.page.flags & NEVER_BACK))
			continue;
		if (r.time < last.time)
			me->bug = "time went back";
		last = r;
		if (r.ns < least)
			me->bug = "time went back between threads";
		while (r.ns > least && !atomic_compare_exchange_weak(&vm_latest, &least, r.ns))
			;
	}
	return NULL;
}

static int start_vm_readers(const FIXTURE_DATA(guests) *f, struct vm_reader *reader)
{
	const int n = cpus_online() < MAX_READERS ? cpus_online() : MAX_READERS;

	vm_stop = false;
	vm_latest = 0;
	for (int i = 0; i < n; i++) {
		reader[i] = (struct vm_reader){ .cpu = i, .f = f };
		if (pthread_create(&reader[i].thread, NULL, vm_reader_thread, &reader[i]))
			die("pthread_create");
	}
	return n;
}

static uint64_t vm_readers_saw(const struct vm_reader *reader, int n, enum seen what)
{
	uint64_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += __atomic_load_n(&reader[i].seen[what], __ATOMIC_RELAXED);
	return sum;
}

/* What one of them has found, or "" */
static const char *stop_vm_readers(struct vm_reader *reader, int n)
{
	const char *bug = "";

	vm_stop = true;
	for (int i = 0; i < n; i++) {
		pthread_join(reader[i].thread, NULL);
		if (reader[i].bug)
			bug = reader[i].bug;
	}
	return bug;
}

TEST_F(guests, agree)
{
	const uint64_t wanted = scaled(200000);
	struct vm_reader reader[MAX_READERS];
	uint64_t seed = 1, refreshes;
	int n;

	NEEDS_COUNTER(return);
	hold(self->c.fd);
	n = start_vm_readers(self, reader);
	refreshes = query(self->c.fd).refreshes;
	/* With 12 steps at least, each of which brings a refresh. */
	for (unsigned int i = 0; i < 48 || vm_readers_saw(reader, n, RIGHT) < wanted; i++) {
		if (vm_readers_saw(reader, n, WRONG))
			break;
		throw_frequency(i, &seed);
		if (i % 4 == 3)
			set_realtime(kernel_ns(CLOCK_REALTIME) + (i & 4 ? NSEC : -NSEC));
		sleep_ms(7);
		EXPECT_TRUE(vm_right_when_held(&self->c, self->v, &self->guest, 0));
	}
	EXPECT_STREQ("", stop_vm_readers(reader, n));
	EXPECT_LT(refreshes + 10, query(self->c.fd).refreshes);
}

/*
 * It is not unreliable, nor wrong, when it was not refreshed for longer than a window: the
 * CPU with the timer has its interrupts off, and others read.
 */
TEST_F(guests, go_on_when_a_refresh_is_late)
{
	struct vm_reader reader[MAX_READERS];
	uint64_t beyond = 0;
	int n;

	NEEDS_COUNTER(return);
	if (cpus_online() < 2)
		SKIP(return, "needs a CPU that reads, and one that does not refresh");
	load_disturb();
	must_set("slack_percent", "0");
	must_set("window_intervals", "2");
	hold(self->c.fd);
	n = start_vm_readers(self, reader);
	pin(n - 1);
	for (int i = 0; i < 500 && beyond < 10; i++) {
		/* Armed here. */
		must_set("interval_ms", "10");
		disturb("irqs_off_ms", "100");
		beyond = 0;
		for (int j = 0; j < n; j++)
			beyond += __atomic_load_n(&reader[j].beyond, __ATOMIC_RELAXED);
	}
	EXPECT_GE(beyond, 10);
	EXPECT_STREQ("", stop_vm_readers(reader, n));
	release(self->c.fd);
	unload_disturb();
}

/* Parked and woken, again and again, MONOTONIC goes on from where it was or above. */
TEST_F(guests, parked_and_woken)
{
	struct vm_reader reader[MAX_READERS];
	int n;

	NEEDS_COUNTER(return);
	must_set("interval_ms", "1");
	n = start_vm_readers(self, reader);
	for (unsigned int i = 0; i < scaled(300); i++) {
		hold(self->c.fd);
		EXPECT_TRUE(vm_right_when_held(&self->c, self->v, &self->guest, 0));
		release(self->c.fd);
		ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
		EXPECT_EQ(STATUS_UNRELIABLE, self->v->clock_status);
	}
	EXPECT_STREQ("", stop_vm_readers(reader, n));
}

/* When it says that it is not to be relied on */

TEST_F(vmclock_page, reliable_while_held)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);
	const bool usable = counter_usable();
	struct pclock other = open_clock();

	/* Of another clock's references it has nothing. */
	hold(other.fd);
	EXPECT_EQ(STATUS_UNRELIABLE, v->clock_status);
	for (int i = 0; i < 100; i++) {
		hold(self->c.fd);
		EXPECT_EQ(usable, is_reliable(v));
		hold(self->c.fd);
		EXPECT_EQ(usable, is_reliable(v));
		release(self->c.fd);
		EXPECT_EQ(usable, is_reliable(v));
		release(self->c.fd);
		must_set("interval_ms", "20000");	/* refreshes */
		EXPECT_FALSE(is_reliable(v));
	}
	hold(self->c.fd);
	for (int i = 0; i < 10; i++) {
		must_set("interval_ms", "20000");
		EXPECT_EQ(usable, is_reliable(v));
	}
	close_clock(&other);
}

/* Held before it was asked for, it is reliable at once. */
TEST_F(vmclock_page, held_before)
{
	const struct vmclock *v;

	for (int i = 0; i < 3; i++)
		hold(self->c.fd);
	v = publish(self->c.fd, CLOCK_REALTIME);
	for (int i = 0; i < 3; i++) {
		must_set("interval_ms", "20000");
		EXPECT_EQ(counter_usable(), is_reliable(v));
		release(self->c.fd);
	}
	must_set("interval_ms", "20000");
	EXPECT_FALSE(is_reliable(v));
}

/* Not held when it is asked for, it is not, even if the timebase is good just now. */
TEST_F(vmclock_page, not_held_before)
{
	struct pclock other = open_clock();

	hold(other.fd);
	release(other.fd);
	EXPECT_FALSE(is_reliable(publish(self->c.fd, CLOCK_REALTIME)));
	close_clock(&other);
}

TEST_F(vmclock_page, updater_stopped)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);

	hold(self->c.fd);
	EXPECT_EQ(counter_usable(), is_reliable(v));
	must_set("enabled", "N");
	EXPECT_FALSE(is_reliable(v));
	must_set("enabled", "Y");
	EXPECT_EQ(counter_usable(), is_reliable(v));
}

TEST_F(vmclock_page, clock_stopped)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);
	struct vmreading before, after;
	int64_t offset = 0;

	NEEDS_COUNTER(return);
	hold(self->c.fd);
	for (int i = 0; i < 200; i++) {
		const bool freeze = i & 1;
		struct parkclock_saved saved;

		ASSERT_TRUE(vm_read(v, &no_guest, &before));
		must(self->c.fd, PARKCLOCK_IOC_STOP, 0);
		EXPECT_FALSE(is_reliable(v));
		must_set("interval_ms", "20000");
		EXPECT_FALSE(is_reliable(v));
		saved = save(self->c.fd);
		EXPECT_LE(before.ns, saved.monotonic_ns + before.error_ns);
		if (i % 8 < 2)
			sleep_ms(3);
		must(self->c.fd, PARKCLOCK_IOC_START,
		     freeze ? PARKCLOCK_GAP_FREEZE : PARKCLOCK_GAP_INCLUDE);
		ASSERT_TRUE(vm_read(v, &no_guest, &after));
		EXPECT_LT(before.time, after.time);
		offset = offset_of(self->c.map, PARKCLOCK_MONOTONIC);
		EXPECT_EQ(RIGHT, vm_look_again(&self->c, v, &no_guest, offset));
	}
	EXPECT_GT(-100 * 1000, offset);
}

TEST_F(vmclock_page, epoch_of_its_own)
{
	NEEDS_COUNTER(return);
	for (int i = 0; i < 200; i++) {
		int fd = open_fresh();
		struct pclock host = { .fd = fd };
		const struct vmclock *v;

		/* Of a timebase that is some while old by then, or not */
		if (i & 1)
			hold(fd);
		if (i % 4 == 3)
			sleep_ms(1);
		must(fd, PARKCLOCK_IOC_EPOCH, 0);
		v = publish(fd, CLOCK_MONOTONIC);
		hold(fd);
		host.map = map_clock(fd);
		EXPECT_EQ(RIGHT, vm_look_again(&host, v, &no_guest,
					       offset_of(host.map, PARKCLOCK_MONOTONIC)));
		EXPECT_LT(v->time_sec, 3600ULL);
		/* Somebody may have read it. */
		EXPECT_EQ(-EBUSY, try(fd, PARKCLOCK_IOC_EPOCH, 0));
		munmap((void *)v, PARKCLOCK_PAGE_SIZE);
		close_clock(&host);
	}
}

/* By the VMClock page alone, too. */
TEST_F(vmclock_page, not_fresh_any_more)
{
	int fd = open_fresh();

	publish(fd, CLOCK_MONOTONIC);
	EXPECT_EQ(-EBUSY, try(fd, PARKCLOCK_IOC_EPOCH, 0));
	close(fd);
}

TEST_F(vmclock_page, set_forward)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);

	NEEDS_COUNTER(return);
	hold(self->c.fd);
	for (int64_t by = 1; by < NSEC * 100000; by *= 10) {
		EXPECT_EQ(0, try_offsets(self->c.fd, by, by));
		EXPECT_EQ(RIGHT, vm_look_again(&self->c, v, &no_guest, by));
	}
}

/* The first look after the call that sets the clock, on whatever CPU: no excuse. */
TEST_F(vmclock_page, set_by_a_call)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_REALTIME);

	NEEDS_COUNTER(return);
	hold(self->c.fd);
	for (unsigned int i = 0; i < scaled(2000); i++) {
		struct vmreading r;
		int64_t t0, t1;

		if (i % 10 == 0)
			pin(i / 10 % cpus_online());
		set_realtime(kernel_ns(CLOCK_REALTIME) + (i & 1 ? NSEC : -NSEC));
		t0 = kernel_ns(CLOCK_REALTIME);
		ASSERT_TRUE(vm_read(v, &no_guest, &r));
		t1 = kernel_ns(CLOCK_REALTIME);
		EXPECT_LE(t0 - r.error_ns, r.ns);
		EXPECT_GE(t1 + r.error_ns, r.ns);
	}
}

/* Disruptions: the marker, and what a guest has lost */

static uint64_t marker(const struct vmclock *v)
{
	struct vmreading r;

	vm_read(v, &no_guest, &r);
	return r.page.disruption_marker;
}

TEST_F(vmclock_page, marker_of_its_own)
{
	uint64_t seen[8];

	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		int fd = open_fresh();

		seen[i] = marker(publish(fd, CLOCK_MONOTONIC));
		close(fd);
		for (size_t j = 0; j < i; j++)
			EXPECT_GT(llabs((long long)(seen[i] - seen[j])), 1000);
	}
}

TEST_F(vmclock_page, no_disruption)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_REALTIME);
	const uint64_t before = marker(v);

	hold(self->c.fd);
	EXPECT_EQ(before, marker(v));
	set_realtime(kernel_ns(CLOCK_REALTIME) + NSEC);
	set_realtime(kernel_ns(CLOCK_REALTIME) - NSEC);
	EXPECT_EQ(before, marker(v));
	must(self->c.fd, PARKCLOCK_IOC_STOP, 0);
	must(self->c.fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_INCLUDE);
	must_set("enabled", "N");
	must_set("enabled", "Y");
	release(self->c.fd);
	must_set("interval_ms", "1");
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	hold(self->c.fd);
	EXPECT_EQ(before, marker(v));
}

TEST_F(vmclock_page, another_guest)
{
	const struct guest_counter a = { .offset = 5, .ratio = 1, .shift = 0 };
	const struct guest_counter b = { .offset = 6, .ratio = 1, .shift = 0 };
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);
	const bool usable = counter_usable();
	uint64_t seen[5];
	int n = 0;

	for (int held = 0; held < 2; held++) {
		n = 0;
		if (held)
			hold(self->c.fd);
		seen[n++] = marker(v);
		EXPECT_EQ(0, set_guest(self->c.fd, &a));
		EXPECT_EQ(usable && held, vm_look_again(&self->c, v, &a, 0) == RIGHT);
		seen[n++] = marker(v);
		EXPECT_EQ(0, set_guest(self->c.fd, &a));
		EXPECT_EQ(seen[n - 1], marker(v));
		EXPECT_EQ(0, set_guest(self->c.fd, &b));
		EXPECT_EQ(usable && held, vm_look_again(&self->c, v, &b, 0) == RIGHT);
		seen[n++] = marker(v);
		EXPECT_EQ(0, set_guest(self->c.fd, &a));
		seen[n++] = marker(v);
		EXPECT_EQ(0, set_guest(self->c.fd, &(struct guest_counter){ 0 }));
		EXPECT_EQ(usable && held, vm_look_again(&self->c, v, &no_guest, 0) == RIGHT);
		seen[n++] = marker(v);
		for (int i = 0; i < n; i++)
			for (int j = 0; j < i; j++)
				EXPECT_NE(seen[i], seen[j]);
	}
}

/* A host that keeps time by something else for a while, with a guest and without */
TEST_F(vmclock_page, counter_disrupted)
{
	const struct guest_counter guest = { .offset = 1ULL << 50, .ratio = 1, .shift = 0 };
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);
	struct vmreading r;
	uint64_t before;

	if (!counter_usable() || !mentions(CLOCKSOURCE "available_clocksource", "hpet"))
		SKIP(return, "needs a host that keeps time by the TSC, and has an HPET too");
	hold(self->c.fd);
	for (int i = 0; i < 6; i++) {
		const struct guest_counter *g = i < 3 ? &no_guest : &guest;

		if (i == 3)
			EXPECT_EQ(0, set_guest(self->c.fd, g));
		before = marker(v);
		ASSERT_TRUE(choose("hpet"));
		EXPECT_FALSE(is_reliable(v));
		EXPECT_NE(before, marker(v));
		before = marker(v);
		ASSERT_TRUE(choose("tsc"));
		EXPECT_NE(before, marker(v));
		/* Held all the while, it comes back by itself; of its guest nobody knows. */
		EXPECT_EQ(i < 3, is_reliable(v));
		if (i < 3) {
			EXPECT_EQ(RIGHT, vm_look_again(&self->c, v, g, 0));
			/* And not because it claims little: the counter has gone on. */
			EXPECT_TRUE(vm_read(v, g, &r));
			EXPECT_GT(1000000, r.error_ns);
			continue;
		}
		EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
		must_set("interval_ms", "20000");
		EXPECT_FALSE(is_reliable(v));
		EXPECT_EQ(0, set_guest(self->c.fd, g));
		EXPECT_EQ(RIGHT, vm_look_again(&self->c, v, g, 0));
	}
}

/* An offset from before the disruption is refused, and if it came in time, of no use. */
TEST_F(vmclock_page, offset_of_before)
{
	struct parkclock_guest_tsc tsc = { .ratio = 1 };

	if (!counter_usable() || !mentions(CLOCKSOURCE "available_clocksource", "hpet"))
		SKIP(return, "needs a host that keeps time by the TSC, and has an HPET too");
	hold(self->c.fd);
	tsc.disruptions = disruptions(self->c.fd);
	EXPECT_EQ(0, try(self->c.fd, PARKCLOCK_IOC_SET_GUEST_TSC, (unsigned long)&tsc));
	EXPECT_LE(0, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
	ASSERT_TRUE(choose("hpet"));
	ASSERT_TRUE(choose("tsc"));
	EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
	EXPECT_EQ(-ESTALE, try(self->c.fd, PARKCLOCK_IOC_SET_GUEST_TSC, (unsigned long)&tsc));
	EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
	tsc.disruptions += 3;
	EXPECT_EQ(-ESTALE, try(self->c.fd, PARKCLOCK_IOC_SET_GUEST_TSC, (unsigned long)&tsc));
	tsc.disruptions -= 1;
	EXPECT_EQ(0, try(self->c.fd, PARKCLOCK_IOC_SET_GUEST_TSC, (unsigned long)&tsc));
	EXPECT_LE(0, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
}

/* The updater is stopped, the page is invalid: the marker tells nevertheless. */
TEST_F(vmclock_page, disrupted_while_invalid)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);
	uint64_t before;

	if (!counter_usable() || !mentions(CLOCKSOURCE "available_clocksource", "hpet"))
		SKIP(return, "needs a host that keeps time by the TSC, and has an HPET too");
	hold(self->c.fd);
	must_set("enabled", "N");
	before = marker(v);
	ASSERT_TRUE(choose("hpet"));
	EXPECT_NE(before, marker(v));
	before = marker(v);
	ASSERT_TRUE(choose("tsc"));
	EXPECT_NE(before, marker(v));
	EXPECT_FALSE(is_reliable(v));
}

/* The reader of the header, where a guest's counter is the host's: see kvm_guest.c, too. */
TEST_F(vmclock_page, readers_of_guests_and_hosts)
{
	const struct guest_counter same = { .ratio = 1 };

	NEEDS_COUNTER(return);
	hold(self->c.fd);
	EXPECT_EQ(ALL_READERS, readers_with_time(self->c.map));
	EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
	EXPECT_EQ(0, set_guest(self->c.fd, &same));
	EXPECT_EQ(0, readers_with_time(self->c.map));
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		int64_t t0 = kernel_ns(clock_ids[i]), t1;
		struct parkclock_reading r;

		EXPECT_LE(0, parkclock_guest_read_bound(self->c.map, clock_ids[i], &r));
		t1 = kernel_ns(clock_ids[i]);
		EXPECT_TRUE(within_bound(&r, t0, t1));
		EXPECT_TRUE(slow_read_is_right(self->c.fd, clock_ids[i]));
	}
	must(self->c.fd, PARKCLOCK_IOC_STOP, 0);
	EXPECT_EQ(PARKCLOCK_IS_STOPPED, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
	must(self->c.fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_INCLUDE);
	EXPECT_LE(0, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
	EXPECT_EQ(0, set_guest(self->c.fd, &(struct guest_counter){ 0 }));
	EXPECT_EQ(ALL_READERS, readers_with_time(self->c.map));
	EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_guest_read(self->c.map, CLOCK_MONOTONIC));
}

/* Those who run */

struct sleeper {
	const struct vmclock *v;
	int fd;
	unsigned int naps;
	unsigned int late;
	unsigned int lost;
};

/*
 * After each nap, whose end nobody refreshes for, the page is reliable in the first
 * instructions. The nap is longer than two intervals: it had been made unreliable.
 */
static void *nap(void *arg)
{
	const int64_t deadline = now_ns(CLOCK_MONOTONIC) + 10 * PATIENCE_MS * 1000000LL;
	struct sleeper *s = arg;

	if (try_register(s->fd, 0, 0))
		die("REGISTER");
	for (unsigned int i = 0; i < s->naps; i++) {
		sleep_us(2500 + i % 7 * 300);
		if (is_reliable(s->v))
			continue;
		/* The machine stood still for a window; or nobody knows of us. Do not sleep. */
		s->late++;
		while (!is_reliable(s->v) && !s->lost)
			s->lost = now_ns(CLOCK_MONOTONIC) > deadline;
	}
	return NULL;
}

TEST_F(vmclock_page, reliable_for_who_runs)
{
	const struct vmclock *v = publish(self->c.fd, CLOCK_MONOTONIC);
	struct sleeper s = {
		.v = v, .fd = self->c.fd, .naps = scaled(1000),
	};
	struct pclock other = open_clock();
	pthread_t thread;

	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	must_set("interval_ms", "1");
	for (int active = 0; active < 2; active++) {
		/* Of others, the timebase is active or is parked meanwhile. */
		if (active)
			hold(other.fd);
		s.late = 0;
		ASSERT_EQ(0, pthread_create(&thread, NULL, nap, &s));
		pthread_join(thread, NULL);
		EXPECT_EQ(0, s.lost);
		EXPECT_LT(s.late, s.naps / 2);
		EXPECT_TRUE(becomes_unreliable(v));
	}
	close_clock(&other);
}

/* Tasks that were there before it was asked for: one that runs, and one that sleeps */
TEST_F(vmclock_page, registered_before)
{
	const struct vmclock *v;
	struct child sleeps;

	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	sleeps = start_sleeping_child(1);
	must_register(self->c.fd, sleeps.pid, 0);
	must_register(self->c.fd, 0, 0);
	ASSERT_TRUE(wait_running(self->c.fd, 1));
	v = publish(self->c.fd, CLOCK_MONOTONIC);
	/* We run. */
	EXPECT_TRUE(is_reliable(v));
	must_set("interval_ms", "20000");
	EXPECT_TRUE(is_reliable(v));
	EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
	must_set("interval_ms", "20000");
	EXPECT_FALSE(is_reliable(v));
	/* It runs, for the last time. */
	end_child(&sleeps);
	ASSERT_TRUE(wait_tasks(self->c.fd, 0));
	must_set("interval_ms", "20000");
	EXPECT_FALSE(is_reliable(v));
}

static const struct vmclock *inherited_page;

/* A process that has inherited its registration says what it finds, and does not block. */
static void look_at_page(int sock)
{
	say(sock, is_reliable(inherited_page));
	hear(sock);
}

TEST_F(vmclock_page, inherited)
{
	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	must_set("interval_ms", "1");
	inherited_page = publish(self->c.fd, CLOCK_MONOTONIC);
	must_register(self->c.fd, 0, INHERIT);
	for (unsigned int i = 0; i < scaled(100); i++) {
		struct child c = start_child(look_at_page);
		bool reliable = hear(c.sock);
		struct parkclock_query q = query(self->c.fd);

		EXPECT_EQ(0, q.run_missed);
		/* If not, it has waited for a CPU for as long as a window. */
		if (!reliable)
			EXPECT_TRUE(becomes_reliable(inherited_page));
		end_child(&c);
	}
	EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
	ASSERT_TRUE(wait_tasks(self->c.fd, 0));
	EXPECT_TRUE(becomes_unreliable(inherited_page));
}

/* Who has a view of a clock, or a mapping of it, when its owner goes, is told. */
TEST_F(vmclock_page, owner_gone)
{
	const struct vmclock *v, *mine;
	struct pclock other = open_clock();
	int fd = open_fresh(), view;

	hold(other.fd);
	mine = publish(fd, CLOCK_MONOTONIC);
	view = try(fd, PARKCLOCK_IOC_VIEW, 0);
	ASSERT_LE(0, view);
	v = map_vmclock(view);
	hold(fd);
	EXPECT_EQ(counter_usable(), is_reliable(v));
	/* A mapping is as good as a descriptor. */
	close(fd);
	EXPECT_EQ(counter_usable(), is_reliable(v));
	munmap((void *)mine, PARKCLOCK_PAGE_SIZE);
	EXPECT_FALSE(is_reliable(v));
	/* Others go on, and so does the kernel: it is on no list any more. */
	for (int i = 0; i < 10; i++)
		must_set("interval_ms", "20000");
	EXPECT_FALSE(is_reliable(v));
	close(view);
	munmap((void *)v, PARKCLOCK_PAGE_SIZE);
	must_set("interval_ms", "20000");
	close_clock(&other);
}

/* A clock that had registrations is freed a grace period after it was closed. */
static bool no_vmclocks(int fd)
{
	struct parkclock_limits l;

	must(fd, PARKCLOCK_IOC_LIMITS, (unsigned long)&l);
	return !l.limit[PARKCLOCK_LIMIT_VMCLOCKS].user_used;
}

static void spins_when_told(int sock)
{
	hear(sock);
	for (;;)
		;
}

/* The tasks that a view keeps hold the page; what the owner held has gone with it. */
TEST_F(vmclock_page, owner_gone_and_tasks_kept)
{
	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	must_set("interval_ms", "1");
	for (int runs = 0; runs < 2; runs++) {
		struct child c = start_child(spins_when_told);
		const struct vmclock *v;
		int fd = open_fresh(), view;

		must(fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC);
		view = try(fd, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_KEEP);
		ASSERT_LE(0, view);
		v = map_vmclock(view);
		hold(fd);
		must_register(fd, c.pid, 0);
		EXPECT_TRUE(becomes_reliable(v));
		if (runs)
			say(c.sock, 0);
		EXPECT_TRUE(wait_running(fd, runs));
		close(fd);
		if (runs) {
			EXPECT_TRUE(is_reliable(v));
		} else {
			EXPECT_TRUE(becomes_unreliable(v));
			say(c.sock, 0);
		}
		EXPECT_TRUE(becomes_reliable(v));
		close(view);
		EXPECT_EQ(1, query(self->c.fd).all_tasks);
		munmap((void *)v, PARKCLOCK_PAGE_SIZE);
		EXPECT_EQ(0, query(self->c.fd).all_tasks);
		end_child(&c);
		EXPECT_TRUE(wait_references(self->c.fd, 0));
		EXPECT_TRUE(wait_until(no_vmclocks(self->c.fd)));
	}
}

TEST_F(vmclock_page, limit)
{
	int fds[4];

	must_set("host_vmclocks", "3");
	for (int i = 0; i < 4; i++) {
		fds[i] = open_fresh();
		EXPECT_EQ(i < 3 ? 0 : -ENFILE,
			  try(fds[i], PARKCLOCK_IOC_VMCLOCK, CLOCK_REALTIME));
	}
	/* Another time it may. */
	close(fds[0]);
	EXPECT_EQ(0, try(fds[3], PARKCLOCK_IOC_VMCLOCK, CLOCK_REALTIME));
	EXPECT_EQ(-ENFILE, try(self->c.fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_REALTIME));
	/* What is there stays. */
	must_set("host_vmclocks", "0");
	hold(fds[3]);
	EXPECT_EQ(counter_usable(), is_reliable(map_vmclock(fds[3])));
	for (int i = 1; i < 4; i++)
		close(fds[i]);
	EXPECT_EQ(-ENFILE, try(self->c.fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_REALTIME));
}

TEST_F(vmclock_page, told_by_fdinfo)
{
	const struct guest_counter guest = { .offset = 77, .ratio = 3, .shift = 1 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->c.fd);
	EXPECT_FALSE(mentions(path, "guest:"));
	EXPECT_FALSE(mentions(path, "vmclock:"));
	EXPECT_EQ(0, set_guest(self->c.fd, &guest));
	publish(self->c.fd, CLOCK_REALTIME);
	EXPECT_TRUE(mentions(path, "guest:\toffset 77 ratio 3/2^1\n"));
	EXPECT_TRUE(mentions(path, "vmclock:\tutc\n"));
}

/* References that come and go on all CPUs, at every tick */

struct holder {
	const struct pclock *c;
	const struct vmclock *v;
	unsigned int times;
	unsigned int late;
	unsigned int lost;
};

static void *hold_and_look(void *arg)
{
	struct holder *h = arg;
	uint64_t seed = (uintptr_t)h;

	for (unsigned int i = 0; i < h->times; i++) {
		hold(h->c->fd);
		if (!is_reliable(h->v)) {
			/* As in nap(). */
			h->late++;
			h->lost += !becomes_reliable(h->v);
		}
		release(h->c->fd);
		sleep_us(rnd(&seed) % 3000);
	}
	return NULL;
}

TEST_F(vmclock_page, held_by_turns)
{
	enum { CLOCKS = 3, THREADS = 8 };
	struct pclock other[CLOCKS];
	const struct vmclock *v[CLOCKS];
	struct holder holder[THREADS];
	pthread_t thread[THREADS];

	NEEDS_COUNTER(return);
	must_set("interval_ms", "1");
	for (int i = 0; i < CLOCKS; i++) {
		other[i] = open_owner();
		v[i] = publish(other[i].fd, i & 1 ? CLOCK_REALTIME : CLOCK_MONOTONIC);
	}
	for (int i = 0; i < THREADS; i++) {
		holder[i] = (struct holder){
			.c = &other[i % CLOCKS], .v = v[i % CLOCKS], .times = scaled(2000)
		};
		thread[i] = start_thread(hold_and_look, &holder[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], NULL);
		EXPECT_EQ(0, holder[i].lost);
		EXPECT_LT(holder[i].late, holder[i].times / 2);
	}
	for (int i = 0; i < CLOCKS; i++) {
		EXPECT_TRUE(becomes_unreliable(v[i]));
		close_clock(&other[i]);
	}
}

/* The writer, stopped at each of its instructions: see timebase/writer_halfway.c. */

FIXTURE(written) {
	struct pclock c;
	const struct vmclock *v, *utc;
	int utc_fd;
};

FIXTURE_VARIANT(written) {
	const char *function;
};

FIXTURE_VARIANT_ADD(written, write) { .function = "parkclock_vmclock_write" };
FIXTURE_VARIANT_ADD(written, update) { .function = "parkclock_vmclock_update_slow" };
FIXTURE_VARIANT_ADD(written, get) { .function = "parkclock_vmclock_get" };
FIXTURE_VARIANT_ADD(written, refresh) { .function = "parkclock_timebase_refresh" };

FIXTURE_SETUP(written)
{
	start_parked("1", "4", "5");
	self->c = open_owner();
	self->v = publish(self->c.fd, CLOCK_MONOTONIC);
	self->utc_fd = open_fresh();
	self->utc = publish(self->utc_fd, CLOCK_REALTIME);
	load_disturb();
}

FIXTURE_TEARDOWN(written)
{
	unload_disturb();
	restore_frequency();
	close(self->utc_fd);
	close_clock(&self->c);
	default_params();
}

static void exercise(void *arg)
{
	const FIXTURE_DATA(written) *f = arg;
	static unsigned int n;
	static uint64_t seed = 1;

	for (int i = 0; i < 3; i++) {
		struct timex tx = { .modes = ADJ_SETOFFSET, .time.tv_usec = n & 1 };

		throw_frequency(n++, &seed);
		hold(f->c.fd);
		hold(f->utc_fd);
		sleep_ms(2);
		if (i == 2 && adjtimex(&tx) < 0)
			die("adjtimex");
		release(f->utc_fd);
		release(f->c.fd);
	}
	if (!wait_state(f->c.fd, PARKCLOCK_PARKED))
		die("it does not park");
	if (f->v->clock_status != STATUS_UNRELIABLE || f->utc->clock_status != STATUS_UNRELIABLE) {
		fprintf(stderr, "# parked, and a page that says that it is reliable\n");
		abort();
	}
}

TEST_F_TIMEOUT(written, stopped_anywhere, 1800)
{
	FIXTURE_DATA(guests) mono = { .c = self->c, .v = self->v, .guest = no_guest };
	FIXTURE_DATA(guests) utc = { .c = self->c, .v = self->utc, .guest = no_guest };
	struct vm_reader reader[2][MAX_READERS];
	int places, n;

	start_vm_readers(&utc, reader[0]);
	n = start_vm_readers(&mono, reader[1]);
	places = at_each_instruction(variant->function, 1000, every(), exercise, self);
	EXPECT_STREQ("", stop_vm_readers(reader[0], n));
	EXPECT_STREQ("", stop_vm_readers(reader[1], n));
	if (!places)
		SKIP(return, "needs a kernel with kprobes, and this function");
	TH_LOG("stopped at %d places", places);
	/* The whole of it, and not a stub. */
	EXPECT_LE(40 / every(), places);
}

TEST_HARNESS_MAIN
