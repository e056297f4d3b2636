// SPDX-License-Identifier: GPL-2.0
/*
 * What an owner does with a clock: EPOCH, OFFSETS, STOP and START, and who is told of it.
 *
 * Checked: EPOCH begins above zero and near it, and leaves all other clocks alone. Offsets are
 * what they were set to, and once somebody can have read the clock they only go forward. From
 * the return of STOP on nobody gets a time, in whatever way, and references still count. START
 * continues from where the clock stopped, or as if it had not been stopped. Meanwhile every
 * reading of every thread is right by the offsets of its generation, and none goes back. poll()
 * reports each raise of the generation, the host's as well, and nothing else; also to many.
 *
 * Fails if a change of the page can be seen half-way, if a reader that was under way can return
 * what it has read after STOP, or if a wake-up is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/die.h"
#include "lib/disturb.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/machine.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/tasks.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/wait.h"

FIXTURE(owner_changes) {
	int fd;		/* fresh */
	int host;	/* another clock, which is never changed */
};

FIXTURE_SETUP(owner_changes)
{
	start_parked("60000", "4", "5");
	self->fd = open_fresh();
	self->host = open_device();
}

FIXTURE_TEARDOWN(owner_changes)
{
	close(self->fd);
	close(self->host);
	default_params();
}

TEST_F(owner_changes, epoch_begins_near_zero_and_never_at_it)
{
	static const int ids[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };

	for (int i = 0; i < 200; i++) {
		int id = ids[i & 1], fd = open_fresh();
		int64_t before = host_ns(self->host, id), after, ns;
		int64_t boot = host_ns(self->host, CLOCK_REALTIME);
		struct parkclock_query q;

		must(fd, PARKCLOCK_IOC_EPOCH, 0);
		after = host_ns(self->host, id);
		q = query(fd);
		EXPECT_LE(boot, q.boot_ns);
		EXPECT_GE(host_ns(self->host, CLOCK_REALTIME), q.boot_ns);
		boot = host_ns(self->host, id);
		ns = slow_read(fd, id).ns;
		EXPECT_GE(ns, 1 + boot - after);
		EXPECT_LE(ns, 1 + host_ns(self->host, id) - before);
		EXPECT_GT(ns, 0);
		close(fd);
	}
}

TEST_F(owner_changes, epoch_leaves_the_other_clocks_alone)
{
	void *map;

	must(self->fd, PARKCLOCK_IOC_EPOCH, 0);
	EXPECT_TRUE(slow_read_is_right(self->fd, CLOCK_REALTIME));
	EXPECT_TRUE(slow_read_is_right(self->fd, CLOCK_TAI));
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		EXPECT_TRUE(slow_read_is_right(self->host, clock_ids[i]));
	map = map_clock(self->fd);
	EXPECT_EQ(0, offset_of(map, PARKCLOCK_REALTIME));
	EXPECT_EQ(0, offset_of(map, PARKCLOCK_TAI));
	munmap(map, PARKCLOCK_MAP_SIZE);
}

/* What nobody can have read may be set to anything. */
TEST_F(owner_changes, fresh_until_it_can_be_read)
{
	struct parkclock_saved saved;
	struct parkclock_reading r;
	struct rlimit files, none = { 0 };
	int fd[4];

	fd[3] = open_fresh();
	saved = save(fd[3]);
	must(fd[3], PARKCLOCK_IOC_START, PARKCLOCK_GAP_INCLUDE);

	query(self->fd);
	hold(self->fd);
	release(self->fd);
	events(self->fd);
	acknowledge(self->fd);
	EXPECT_EQ(-EINVAL, try_read(self->fd, -1, &r));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
				   self->fd, 0));
	EXPECT_EQ(0, try(self->fd, PARKCLOCK_IOC_STOP, 0));
	EXPECT_EQ(-ENODATA, try_read(self->fd, CLOCK_MONOTONIC, &r));
	EXPECT_EQ(0, try(self->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE));
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &files));
	none.rlim_max = files.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, try(self->fd, PARKCLOCK_IOC_VIEW, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &files));
	EXPECT_EQ(0, try(self->fd, PARKCLOCK_IOC_EPOCH, 0));
	EXPECT_EQ(0, try_offsets(self->fd, 5, 7));
	EXPECT_EQ(0, try_restore(self->fd, &saved, PARKCLOCK_GAP_FREEZE));
	EXPECT_EQ(0, try_offsets(self->fd, 3, 2));
	EXPECT_EQ(0, try(self->fd, PARKCLOCK_IOC_EPOCH, 0));

	for (int i = 0; i < 3; i++)
		fd[i] = open_fresh();
	munmap(map_clock(fd[0]), PARKCLOCK_MAP_SIZE);
	slow_read(fd[1], CLOCK_TAI);
	close(try(fd[2], PARKCLOCK_IOC_VIEW, 0));
	for (int i = 0; i < 4; i++) {
		uint64_t generation = query(fd[i]).generation;

		EXPECT_EQ(-EBUSY, try(fd[i], PARKCLOCK_IOC_EPOCH, 0));
		EXPECT_EQ(-EBUSY, try_restore(fd[i], &saved, PARKCLOCK_GAP_INCLUDE));
		EXPECT_EQ(-EBUSY, try_offsets(fd[i], -1, 0));
		EXPECT_EQ(-EBUSY, try_offsets(fd[i], 0, -1));
		EXPECT_EQ(-EBUSY, try_offsets(fd[i], 1, -1));
		EXPECT_EQ(generation, query(fd[i]).generation);
		EXPECT_TRUE(slow_read_is_right(fd[i], CLOCK_MONOTONIC));
		close(fd[i]);
	}
}

TEST_F(owner_changes, offsets_are_what_was_set)
{
	const int64_t year = 365LL * 24 * 3600 * NSEC;
	uint64_t generation = query(self->fd).generation;
	int64_t before, after;
	void *map;

	EXPECT_EQ(0, try_offsets(self->fd, 100 * year, -1000));
	EXPECT_EQ(generation + 1, query(self->fd).generation);
	map = map_clock(self->fd);
	EXPECT_EQ(100 * year, offset_of(map, PARKCLOCK_MONOTONIC));
	EXPECT_EQ(-1000, offset_of(map, PARKCLOCK_BOOTTIME));
	for (int i = 0; i < 2; i++) {
		int id = i ? CLOCK_BOOTTIME : CLOCK_MONOTONIC;
		int64_t by = i ? -1000 : 100 * year, ns;

		before = host_ns(self->host, id);
		ns = slow_read(self->fd, id).ns - by;
		after = host_ns(self->host, id);
		EXPECT_LE(before, ns);
		EXPECT_GE(after, ns);
	}
	/* Forward, or not at all, which is no discontinuity. */
	EXPECT_EQ(0, try_offsets(self->fd, 100 * year, -1000));
	EXPECT_EQ(generation + 1, query(self->fd).generation);
	EXPECT_EQ(0, try_offsets(self->fd, 100 * year, -999));
	EXPECT_EQ(0, try_offsets(self->fd, 100 * year + 1, -999));
	EXPECT_EQ(generation + 3, query(self->fd).generation);
	EXPECT_EQ(-EBUSY, try_offsets(self->fd, 100 * year, -999));
	EXPECT_EQ(-EBUSY, try_offsets(self->fd, 101 * year, -1000));
	EXPECT_EQ(100 * year + 1, offset_of(map, PARKCLOCK_MONOTONIC));
	EXPECT_EQ(-999, offset_of(map, PARKCLOCK_BOOTTIME));
	munmap(map, PARKCLOCK_MAP_SIZE);
}

TEST_F(owner_changes, offsets_out_of_range)
{
	static const int64_t wild[] = {
		INT64_MIN, INT64_MIN + 1, -PARKCLOCK_MOST_NS, INT64_MAX, INT64_MAX - 1,
		PARKCLOCK_MOST_NS
	};
	uint64_t generation = query(self->fd).generation;
	struct parkclock_offsets arg;
	void *map;

	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		EXPECT_EQ(-ERANGE, try_offsets(self->fd, wild[i], 0));
		EXPECT_EQ(-ERANGE, try_offsets(self->fd, 0, wild[i]));
	}
	/* Not at zero, or before. */
	EXPECT_EQ(-ERANGE, try_offsets(self->fd, -host_ns(self->host, CLOCK_MONOTONIC) - NSEC, 0));
	for (size_t i = 0; i < sizeof(arg.reserved); i++) {
		arg = (struct parkclock_offsets) { .monotonic_ns = 1 };
		((char *)arg.reserved)[i] = 1;
		EXPECT_EQ(-EINVAL, try(self->fd, PARKCLOCK_IOC_OFFSETS, (unsigned long)&arg));
	}
	EXPECT_EQ(generation, query(self->fd).generation);
	map = map_clock(self->fd);
	EXPECT_EQ(0, offset_of(map, PARKCLOCK_MONOTONIC));
	EXPECT_EQ(0, offset_of(map, PARKCLOCK_BOOTTIME));
	munmap(map, PARKCLOCK_MAP_SIZE);
}

TEST_F(owner_changes, owner_only)
{
	const unsigned long requests[] = {
		PARKCLOCK_IOC_EPOCH, PARKCLOCK_IOC_OFFSETS, PARKCLOCK_IOC_STOP,
		PARKCLOCK_IOC_START, PARKCLOCK_IOC_SAVE, PARKCLOCK_IOC_RESTORE,
		PARKCLOCK_IOC_SET_GUEST_TSC, PARKCLOCK_IOC_VMCLOCK, PARKCLOCK_IOC_ACCURACY,
		PARKCLOCK_IOC_REGISTER, PARKCLOCK_IOC_UNREGISTER,
		PARKCLOCK_IOC_REGISTER_CGROUP, PARKCLOCK_IOC_UNREGISTER_CGROUP
	};
	int wronly = open(PARKCLOCK_DEVICE, O_WRONLY | O_CLOEXEC), rdonly = open_device_reader();
	struct parkclock_query before = query(self->host);
	static char arg[512];

	ASSERT_GE(wronly, 0);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		unsigned long to = _IOC_SIZE(requests[i]) ? (unsigned long)arg : 0;

		if (requests[i] == PARKCLOCK_IOC_START)
			to = PARKCLOCK_GAP_INCLUDE;
		if (requests[i] == PARKCLOCK_IOC_VMCLOCK)
			to = CLOCK_MONOTONIC;
		EXPECT_EQ(-EPERM, try(rdonly, requests[i], to));
		EXPECT_EQ(-EBADF, try(wronly, requests[i], to));
		/* The right comes before the argument. */
		EXPECT_EQ(-EPERM, try(rdonly, requests[i], ~0UL));
	}
	EXPECT_EQ(0, query(self->host).all_tasks);
	close(rdonly);
	EXPECT_EQ(before.generation, query(self->host).generation);
	EXPECT_EQ(before.flags, query(self->host).flags);
	EXPECT_EQ(before.wakes, query(self->host).wakes);
	close(wronly);
}

/* No time from this clock, by any way; and what is said instead. */
static bool has_no_time(int fd, const void *map)
{
	struct parkclock_reading r;

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		if (parkclock_page_read(map, clock_ids[i]) != PARKCLOCK_IS_STOPPED ||
		    parkclock_page_read_relaxed(map, clock_ids[i]) != PARKCLOCK_IS_STOPPED ||
		    parkclock_page_read_bound(map, clock_ids[i], &r) != PARKCLOCK_IS_STOPPED ||
		    try_read(fd, clock_ids[i], &r) != -ENODATA)
			return false;
	}
	return is_stopped(fd);
}

TEST_F(owner_changes, stop_and_start)
{
	void *map = map_clock(self->fd), *other = map_clock(self->host);

	for (int i = 0; i < 100; i++) {
		const bool freeze = i & 1;
		int64_t offset = offset_of(map, PARKCLOCK_MONOTONIC);
		int64_t boottime = offset_of(map, PARKCLOCK_BOOTTIME);
		int64_t before = host_ns(self->host, CLOCK_MONOTONIC);
		int64_t last = slow_read(self->fd, CLOCK_MONOTONIC).ns, first;
		uint64_t generation = query(self->fd).generation;

		EXPECT_EQ(-EALREADY, try(self->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE));
		EXPECT_EQ(0, try(self->fd, PARKCLOCK_IOC_STOP, 0));
		EXPECT_EQ(-EALREADY, try(self->fd, PARKCLOCK_IOC_STOP, 0));
		EXPECT_TRUE(has_no_time(self->fd, map));
		EXPECT_EQ(-EINVAL, try(self->fd, PARKCLOCK_IOC_START, 0));
		EXPECT_EQ(-EINVAL, try(self->fd, PARKCLOCK_IOC_START, 3));
		EXPECT_EQ(-EINVAL, try(self->fd, PARKCLOCK_IOC_START,
				       1UL << 32 | PARKCLOCK_GAP_FREEZE));
		EXPECT_TRUE(has_no_time(self->fd, map));
		EXPECT_EQ(generation, query(self->fd).generation);
		/* Another one does not notice. */
		EXPECT_TRUE(slow_read_is_right(self->host, CLOCK_MONOTONIC));
		EXPECT_EQ(0, __parkclock_clock(other)->state & PARKCLOCK_STATE_CONDITIONS);
		sleep_ms(i % 10);
		EXPECT_EQ(0, try(self->fd, PARKCLOCK_IOC_START,
				 freeze ? PARKCLOCK_GAP_FREEZE : PARKCLOCK_GAP_INCLUDE));
		EXPECT_FALSE(is_stopped(self->fd));
		first = slow_read(self->fd, CLOCK_MONOTONIC).ns;
		EXPECT_GE(first, last);
		EXPECT_EQ(generation + freeze, query(self->fd).generation);
		/* How long it certainly was stopped is not in the clock, and no more. */
		offset -= offset_of(map, PARKCLOCK_MONOTONIC);
		boottime -= offset_of(map, PARKCLOCK_BOOTTIME);
		EXPECT_EQ(offset, boottime);
		if (!freeze)
			EXPECT_EQ(0, offset);
		EXPECT_GE(offset, freeze * (i % 10) * (NSEC / 1000));
		EXPECT_LE(offset + first - last, host_ns(self->host, CLOCK_MONOTONIC) - before);
	}
	munmap(map, PARKCLOCK_MAP_SIZE);
	munmap(other, PARKCLOCK_MAP_SIZE);
}

/* References count while it is stopped, and START finds the page valid. */
TEST_F(owner_changes, references_while_stopped)
{
	void *map = map_clock(self->fd);

	must(self->fd, PARKCLOCK_IOC_STOP, 0);
	hold(self->fd);
	EXPECT_EQ(1, query(self->host).references);
	EXPECT_EQ(state_held(), query(self->host).state);
	EXPECT_EQ(1, query(self->fd).holds);
	EXPECT_TRUE(has_no_time(self->fd, map));
	must(self->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
	EXPECT_EQ(readers_held(), readers_with_time(map));
	must(self->fd, PARKCLOCK_IOC_STOP, 0);
	release(self->fd);
	EXPECT_EQ(0, query(self->host).references);
	must_set("interval_ms", "1");
	EXPECT_TRUE(wait_state(self->host, PARKCLOCK_PARKED));
	must_set("interval_ms", "60000");
	/* Nobody holds anything, and the page is valid nevertheless. */
	must(self->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_INCLUDE);
	EXPECT_EQ(readers_held(), readers_with_time(map));
	munmap(map, PARKCLOCK_MAP_SIZE);
}

/* A READ that fails leaves its argument as it was. */
TEST_F(owner_changes, read_of_a_stopped_clock_writes_nothing)
{
	struct parkclock_read r, before;

	memset(&before, 0xa5, sizeof(before));
	before.clock_id = CLOCK_MONOTONIC;
	before.flags = 0;
	memset(before.reserved, 0, sizeof(before.reserved));
	must(self->fd, PARKCLOCK_IOC_STOP, 0);
	r = before;
	EXPECT_EQ(-ENODATA, try(self->fd, PARKCLOCK_IOC_READ, (unsigned long)&r));
	EXPECT_EQ(0, memcmp(&r, &before, sizeof(r)));
	must(self->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
	EXPECT_EQ(0, try(self->fd, PARKCLOCK_IOC_READ, (unsigned long)&r));
	EXPECT_NE(before.reading.ns, r.reading.ns);
}

TEST_F(owner_changes, a_stopped_clock_is_not_woken_by_reads)
{
	struct parkclock_query before;
	struct parkclock_reading r;

	must(self->fd, PARKCLOCK_IOC_STOP, 0);
	must_set("interval_ms", "1");
	ASSERT_TRUE(wait_state(self->host, PARKCLOCK_PARKED));
	before = query(self->host);
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		EXPECT_EQ(-ENODATA, try_read(self->fd, clock_ids[i], &r));
	EXPECT_EQ(before.wakes, query(self->host).wakes);
	EXPECT_EQ(before.slow_reads, query(self->host).slow_reads);
	EXPECT_EQ(PARKCLOCK_PARKED, query(self->host).state);
}

TEST_F(owner_changes, while_the_updater_is_disabled)
{
	int64_t before, after;
	void *map;

	must_set("enabled", "N");
	before = host_ns(self->host, CLOCK_MONOTONIC);
	must(self->fd, PARKCLOCK_IOC_EPOCH, 0);
	after = host_ns(self->host, CLOCK_MONOTONIC);
	map = map_clock(self->fd);
	EXPECT_GE(slow_read(self->fd, CLOCK_MONOTONIC).ns, 1);
	EXPECT_LE(-after, offset_of(map, PARKCLOCK_MONOTONIC));
	EXPECT_GE(1 - before, offset_of(map, PARKCLOCK_MONOTONIC));
	must(self->fd, PARKCLOCK_IOC_STOP, 0);
	EXPECT_TRUE(has_no_time(self->fd, map));
	must(self->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
	EXPECT_EQ(0, readers_with_time(map));
	EXPECT_GT(slow_read(self->fd, CLOCK_BOOTTIME).ns, 0);
	must_set("enabled", "Y");
	EXPECT_GT(slow_read(self->fd, CLOCK_BOOTTIME).ns, 0);
	munmap(map, PARKCLOCK_MAP_SIZE);
}

/* Readers, while an owner does what it likes */

#define READERS		4
#define CHANGES		20000
#define NEXT_NS		1000000007LL	/* no multiple of what a reader is off by */

static struct shared {
	int fd;
	const void *map;
	atomic_bool stop;
	atomic_llong latest;		/* the largest MONOTONIC that anybody has got */
	atomic_ullong stopped;		/* odd: STOP has returned, START was not called */
	bool set;			/* offsets change; generation was this at zero */
	uint64_t generation;
} shared;

struct reader {
	pthread_t thread;
	uint64_t seed;
	uint64_t times, refused;
	const char *bug;
};

/* By page or READ; false if it is stopped, or has no time in the page. */
static bool read_shared(struct reader *me, int id, struct parkclock_reading *r)
{
	if (rnd(&me->seed) % 4)
		return parkclock_page_read_bound(shared.map, id, r) >= 0;
	return !try_read(shared.fd, id, r);
}

/* BOOTTIME is set as MONOTONIC is, and twice as far. */
static bool fits_its_generation(const struct parkclock_reading *r, int id, int64_t t0, int64_t t1)
{
	int64_t steps = r->generation - shared.generation;
	struct parkclock_reading host = *r;

	host.ns -= steps * NEXT_NS * (id == CLOCK_BOOTTIME ? 2 : 1);
	return within_bound(&host, t0, t1);
}

static void *reader(void *arg)
{
	struct reader *me = arg;

	while (!shared.stop && !me->bug) {
		const int id = rnd(&me->seed) % 2 ? CLOCK_MONOTONIC : CLOCK_BOOTTIME;
		unsigned long long stopped = atomic_load(&shared.stopped);
		long long least = atomic_load(&shared.latest);
		/* Nothing that takes long where all that counts is to be there often. */
		int64_t t0 = shared.set ? kernel_ns(id) : 0;
		struct parkclock_reading r;

		if (!read_shared(me, id, &r)) {
			me->refused++;
			continue;
		}
		me->times++;
		if (stopped & 1 && atomic_load(&shared.stopped) == stopped)
			me->bug = "a time from a clock that is stopped";
		if (shared.set && !fits_its_generation(&r, id, t0, kernel_ns(id)))
			me->bug = "a time that is not of its generation";
		if (id != CLOCK_MONOTONIC)
			continue;
		if (r.ns < least)
			me->bug = "time went back";
		while (r.ns > least &&
		       !atomic_compare_exchange_weak(&shared.latest, &least, r.ns))
			;
	}
	return NULL;
}

static void start_readers(struct reader *readers, int fd, void *map, bool set)
{
	shared = (struct shared){
		.fd = fd, .map = map, .set = set, .generation = query(fd).generation
	};
	for (int i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .seed = i + 1 };
		if (pthread_create(&readers[i].thread, NULL, reader, &readers[i]))
			die("pthread_create");
	}
}

/* What one of them has found, or ""; each has had a time, unless it has found a bug. */
static const char *stop_readers(struct reader *readers)
{
	const char *bug = "";

	for (int i = 0; i < READERS; i++) {
		for (int tries = 0; tries < PATIENCE_MS; tries++) {
			if (__atomic_load_n(&readers[i].times, __ATOMIC_RELAXED) ||
			    __atomic_load_n(&readers[i].bug, __ATOMIC_RELAXED))
				break;
			sleep_ms(1);
		}
	}
	shared.stop = true;
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		if (readers[i].bug)
			bug = readers[i].bug;
		else if (!readers[i].times)
			bug = "a thread that never had a time";
	}
	return bug;
}

TEST_F_TIMEOUT(owner_changes, set_forward_under_readers, 900)
{
	struct reader readers[READERS];
	uint64_t generation = query(self->fd).generation;
	void *map = map_clock(self->fd);

	hold(self->fd);
	start_readers(readers, self->fd, map, true);
	for (int i = 1; i <= (int)scaled(CHANGES); i++) {
		ASSERT_EQ(0, try_offsets(self->fd, i * NEXT_NS, 2 * i * NEXT_NS));
		if (i % 16 == 0)
			sched_yield();
	}
	EXPECT_STREQ("", stop_readers(readers));
	EXPECT_EQ(generation + scaled(CHANGES), query(self->fd).generation);
	munmap(map, PARKCLOCK_MAP_SIZE);
}

struct changes {
	int fd;
	int number;
};

static void some_changes(void *arg)
{
	struct changes *c = arg;

	for (int i = 0; i < 5; i++) {
		c->number++;
		if (try_offsets(c->fd, c->number * NEXT_NS, 2 * c->number * NEXT_NS))
			die("PARKCLOCK_IOC_OFFSETS");
	}
}

/* By chance, nobody would look at the page between two stores of the kernel's. */
TEST_F_TIMEOUT(owner_changes, half_of_a_change_is_not_to_be_seen, 900)
{
	struct reader readers[READERS];
	void *map = map_clock(self->fd);
	struct changes c = { .fd = self->fd };
	unsigned int every = getenv("BRIEF") ? 4 : 1;
	int places;

	load_disturb();
	hold(self->fd);
	start_readers(readers, self->fd, map, true);
	places = at_each_instruction("change_page", 100, every, some_changes, &c);
	EXPECT_STREQ("", stop_readers(readers));
	unload_disturb();
	munmap(map, PARKCLOCK_MAP_SIZE);
	if (!places)
		SKIP(return, "needs a kernel with kprobes");
	/* All of what there is to do in it is more than that. */
	EXPECT_LT(20 / every, places);
}

TEST_F_TIMEOUT(owner_changes, stopped_under_readers, 900)
{
	struct reader readers[READERS];
	void *map = map_clock(self->fd);
	struct parkclock_saved saved;

	hold(self->fd);
	start_readers(readers, self->fd, map, false);
	for (unsigned int i = 0; i < scaled(CHANGES); i++) {
		must(self->fd, PARKCLOCK_IOC_STOP, 0);
		atomic_fetch_add(&shared.stopped, 1);
		saved = save(self->fd);
		/* Nobody has got more than where it says that it was stopped. */
		ASSERT_GE(saved.monotonic_ns, atomic_load(&shared.latest));
		if (i % 4 == 0)
			sched_yield();
		ASSERT_GE(saved.monotonic_ns, atomic_load(&shared.latest));
		atomic_fetch_add(&shared.stopped, 1);
		must(self->fd, PARKCLOCK_IOC_START,
		     i & 1 ? PARKCLOCK_GAP_INCLUDE : PARKCLOCK_GAP_FREEZE);
		if (i % 8 == 0)
			sleep_us(200);
	}
	EXPECT_STREQ("", stop_readers(readers));
	munmap(map, PARKCLOCK_MAP_SIZE);
}

/* poll() */

TEST_F(owner_changes, poll_tells_of_discontinuities)
{
	uint64_t generation = query(self->fd).generation, small = 0;
	struct parkclock_reading r;

	EXPECT_EQ(0, events(self->fd));
	EXPECT_EQ(0, try_offsets(self->fd, 1, 1));
	EXPECT_EQ(POLLIN, events(self->fd));
	EXPECT_EQ(POLLIN, events(self->fd));
	EXPECT_EQ(0, events(self->host));
	EXPECT_EQ(generation + 1, acknowledge(self->fd));
	EXPECT_EQ(0, events(self->fd));
	EXPECT_EQ(generation + 1, acknowledge(self->fd));

	EXPECT_EQ(0, try_offsets(self->fd, 2, 2));
	/* Who only looks takes nothing from who waits. */
	EXPECT_EQ(generation + 2, query(self->fd).generation);
	EXPECT_EQ(POLLIN, events(self->fd));
	EXPECT_EQ(generation + 2, acknowledge(self->fd));
	EXPECT_EQ(0, events(self->fd));

	/* Neither a stop, nor a start that leaves no gap, nor what fails. */
	must(self->fd, PARKCLOCK_IOC_STOP, 0);
	EXPECT_EQ(0, events(self->fd));
	EXPECT_EQ(-ENODATA, try_read(self->fd, CLOCK_MONOTONIC, &r));
	must(self->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_INCLUDE);
	slow_read(self->fd, CLOCK_MONOTONIC);
	EXPECT_EQ(-EBUSY, try_offsets(self->fd, 1, 1));
	EXPECT_EQ(0, events(self->fd));

	/* A buffer that is too small, or none, acknowledges nothing. */
	EXPECT_EQ(0, try_offsets(self->fd, 3, 3));
	EXPECT_EQ(-1, read(self->fd, &small, sizeof(small) - 1));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, syscall(SYS_read, self->fd, NULL, sizeof(small)));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-EFAULT, try(self->fd, PARKCLOCK_IOC_QUERY, 0));
	EXPECT_EQ(0, small);
	EXPECT_EQ(POLLIN, events(self->fd));
	EXPECT_EQ(generation + 3, acknowledge(self->fd));
}

/* Each descriptor acknowledges for itself; one that was duplicated is the same file. */
TEST_F(owner_changes, poll_by_file)
{
	int view = try(self->fd, PARKCLOCK_IOC_VIEW, 0), same = dup(self->fd);

	ASSERT_GE(view, 0);
	ASSERT_GE(same, 0);
	EXPECT_EQ(0, try_offsets(self->fd, 1, 1));
	acknowledge(self->fd);
	EXPECT_EQ(0, events(self->fd) | events(same));
	EXPECT_EQ(POLLIN, events(view));
	acknowledge(view);
	EXPECT_EQ(0, events(view));
	EXPECT_EQ(0, try_offsets(self->fd, 2, 2));
	EXPECT_EQ(POLLIN, events(view) & events(same) & events(self->fd));
	close(view);
	close(same);
}

struct waiter {
	pthread_t thread;
	int fd;
	atomic_int pid;
	int revents;
};

static void *waiter(void *arg)
{
	struct waiter *w = arg;
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	w->pid = syscall(SYS_gettid);
	if (poll(&p, 1, PATIENCE_MS) != 1)
		die("poll");
	w->revents = p.revents;
	return NULL;
}

/* Until the thread sleeps, in poll() most likely. */
static void wait_waiter(struct __test_metadata *_metadata, struct waiter *w)
{
	ASSERT_TRUE(wait_until(w->pid));
	ASSERT_TRUE(wait_state_of(w->pid, 'S'));
}

TEST_F(owner_changes, poll_wakes)
{
	struct waiter w[3];
	struct timespec ts;

	w[0].fd = self->fd;
	w[1].fd = try(self->fd, PARKCLOCK_IOC_VIEW, 0);
	w[2].fd = self->host;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3; i++) {
			w[i].pid = 0;
			w[i].revents = 0;
			ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, waiter, &w[i]));
		}
		for (int i = 0; i < 3; i++)
			wait_waiter(_metadata, &w[i]);
		/* Its own: two of them. The host's: all. */
		ASSERT_EQ(0, try_offsets(self->fd, round + 1, round + 1));
		for (int i = 0; i < 2; i++) {
			pthread_join(w[i].thread, NULL);
			EXPECT_EQ(POLLIN, w[i].revents);
			acknowledge(w[i].fd);
		}
		EXPECT_EQ(0, events(w[2].fd));
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += round & 1 ? -3600 : 3600;
		ASSERT_EQ(0, clock_settime(CLOCK_REALTIME, &ts));
		pthread_join(w[2].thread, NULL);
		for (int i = 0; i < 3; i++) {
			EXPECT_EQ(POLLIN, events(w[i].fd));
			acknowledge(w[i].fd);
		}
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec -= 3600;
	ASSERT_EQ(0, clock_settime(CLOCK_REALTIME, &ts));
	close(w[1].fd);
}

/*
 * Many who poll: all are woken, by the module's own workers, while others come and go. An
 * epoll instance reports only those that were woken.
 */

#define MANY	100	/* several times as many as are woken at once */
#define QUEUED	"workqueue/workqueue_queue_work"

struct comes_and_goes {
	int fd;
	atomic_bool stop;
};

static void *comes_and_goes(void *arg)
{
	struct comes_and_goes *c = arg;
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event first = { .events = EPOLLIN };
	struct epoll_event last = { .events = EPOLLIN | EPOLLEXCLUSIVE };

	/* An exclusive waiter comes to the end of the queue, any other to its beginning. */
	for (unsigned int i = 0; !c->stop; i++)
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, i & 1 ? &first : &last) ||
		    epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL))
			die("epoll_ctl");
	close(epoll);
	return NULL;
}

/* Waits until that many are reported. Returns how many there are, and acknowledges them. */
static int woken(int epoll, const int *fds)
{
	struct epoll_event events[MANY + 1];
	int n = 0;

	for (int tries = 0; tries < 3000 && n < MANY; tries++) {
		n = epoll_wait(epoll, events, MANY + 1, 0);
		if (n < MANY)
			sleep_us(10000);
	}
	for (int i = 0; i < MANY; i++)
		acknowledge(fds[i]);
	/* Looks at those that it has reported once more, and then not before they are woken. */
	if (epoll_wait(epoll, events, MANY + 1, 0))
		die("epoll_wait");
	return n;
}

TEST_F(owner_changes, poll_wakes_many)
{
	struct comes_and_goes c = { .fd = try(self->fd, PARKCLOCK_IOC_VIEW, 0) };
	const int epoll = epoll_create1(EPOLL_CLOEXEC);
	pthread_t thread = start_thread(comes_and_goes, &c);
	int fds[MANY], steps = 0;
	struct timespec ts;

	ASSERT_GE(epoll, 0);
	for (int i = 0; i < MANY; i++) {
		struct epoll_event e = { .events = i & 1 ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN };

		fds[i] = try(self->fd, PARKCLOCK_IOC_VIEW, 0);
		ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &e));
	}
	trace_start(QUEUED, NULL);
	for (int round = 0; round < 10; round++) {
		ASSERT_EQ(0, try_offsets(self->fd, round + 1, round + 1));
		ASSERT_EQ(MANY, woken(epoll, fds));
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += round & 1 ? -3600 : 3600;
		ASSERT_EQ(0, clock_settime(CLOCK_REALTIME, &ts));
		ASSERT_EQ(MANY, woken(epoll, fds));
		steps++;
	}
	if (has_trace()) {
		EXPECT_LE(steps, trace_count("wake_all [parkclock] workqueue=parkclock", NULL));
		EXPECT_EQ(trace_count("wake_all [parkclock]", NULL),
			  trace_count("wake_all [parkclock] workqueue=parkclock", NULL));
	}
	trace_stop(QUEUED);
	c.stop = true;
	pthread_join(thread, NULL);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
	close(epoll);
	close(c.fd);
}

TEST_HARNESS_MAIN
