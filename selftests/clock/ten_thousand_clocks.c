// SPDX-License-Identifier: GPL-2.0
/*
 * Ten thousand clocks, each with a time of its own, are saved and restored in random order
 * while they are read; and ten thousand are gone soon after their owner is killed.
 *
 * Checked: each reading, by page or by READ, is the time of the clock that was read, and never
 * less than an earlier reading of that clock, through all of its lives. A clock without a time
 * is reported as stopped. The memory of all clocks is freed. A process whose clocks are each
 * mapped, read and tied to a task is killed: nobody has to wait long for its death, nor until
 * nothing of it is counted any more. How long that took is shown.
 *
 * Fails if clocks share anything that they should not, if a life begins before the end of the
 * one before it, or if a page is leaked. (kmemleak finds smaller leaks, where the kernel has
 * it.) Fails if closing a clock waits for others: a grace period each makes minutes of what takes
 * a second.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/children.h"
#include "lib/clock.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/messages.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define CLOCKS		10000
#define READERS		2
#define WRITERS		2
#define APART_NS	(1000 * NSEC)	/* from one clock to the next */

/* A clock, in its life of now */
struct slot {
	pthread_rwlock_t lock;	/* for writing: its life changes */
	pthread_mutex_t busy;	/* somebody saves and restores it */
	int fd;
	void *map;
	int64_t least, most;	/* its MONOTONIC minus the host's is in between */
	atomic_llong latest;	/* that anybody has read */
};

static struct {
	struct slot *slot;
	int clocks;
	int host;
	atomic_int left;	/* lives that are still to come */
	atomic_bool stop;
} all;

struct worker {
	pthread_t thread;
	uint64_t seed;
	uint64_t times, stopped;
	const char *bug;
};

static int64_t kernel_mono(void)
{
	return kernel_ns(CLOCK_MONOTONIC);
}

static void read_slot(struct worker *me, struct slot *s)
{
	struct parkclock_reading r;
	long long latest = atomic_load(&s->latest), ns;
	int64_t t0 = kernel_mono(), t1;
	int err;

	ns = rnd(&me->seed) % 4 ? parkclock_page_read_bound(s->map, CLOCK_MONOTONIC, &r) :
				  PARKCLOCK_EXPIRED;
	if (ns == PARKCLOCK_EXPIRED) {
		err = try_read(s->fd, CLOCK_MONOTONIC, &r);
		if (err && err != -ENODATA)
			me->bug = "READ fails";
		ns = err ? PARKCLOCK_IS_STOPPED : r.ns;
	}
	if (ns < 0) {
		me->stopped++;
		return;
	}
	t1 = kernel_mono();
	me->times++;
	if (ns < t0 + s->least - (int64_t)r.error_ns || ns > t1 + s->most + (int64_t)r.error_ns)
		me->bug = "the time of another clock";
	if (ns < latest)
		me->bug = "time went back";
	while (ns > latest && !atomic_compare_exchange_weak(&s->latest, &latest, ns))
		;
}

static void *reader(void *arg)
{
	struct worker *me = arg;

	while (!all.stop && !me->bug) {
		struct slot *s = &all.slot[rnd(&me->seed) % all.clocks];

		pthread_rwlock_rdlock(&s->lock);
		read_slot(me, s);
		pthread_rwlock_unlock(&s->lock);
	}
	return NULL;
}

/* Its next life: saved with everybody reading, restored by a new open. */
static void next_life(struct worker *me, struct slot *s)
{
	const bool include = rnd(&me->seed) & 1;
	int64_t begin = kernel_mono(), t0, t1;
	struct parkclock_saved saved = save(s->fd);
	int fd = open_fresh(), err;
	void *map;

	if (saved.monotonic_ns < atomic_load(&s->latest))
		me->bug = "it was stopped before it was read";
	t0 = kernel_mono();
	err = try_restore(fd, &saved, include ? PARKCLOCK_GAP_INCLUDE : PARKCLOCK_GAP_FREEZE);
	t1 = kernel_mono();
	if (err)
		me->bug = "it cannot be restored";
	map = map_clock(fd);
	pthread_rwlock_wrlock(&s->lock);
	munmap(s->map, PARKCLOCK_MAP_SIZE);
	close(s->fd);
	s->fd = fd;
	s->map = map;
	/* By at most a microsecond the page and clock_gettime() differ. */
	s->least = saved.monotonic_ns - t1 - 1000;
	s->most = saved.monotonic_ns - t0 + (include ? t1 - begin : 0) + 1000;
	pthread_rwlock_unlock(&s->lock);
}

static void *writer(void *arg)
{
	struct worker *me = arg;

	while (atomic_fetch_sub(&all.left, 1) > 0 && !me->bug) {
		struct slot *s = &all.slot[rnd(&me->seed) % all.clocks];

		pthread_mutex_lock(&s->busy);
		next_life(me, s);
		pthread_mutex_unlock(&s->busy);
		me->times++;
	}
	return NULL;
}

static void open_all(void)
{
	for (int i = 0; i < all.clocks; i++) {
		struct slot *s = &all.slot[i];

		pthread_rwlock_init(&s->lock, NULL);
		pthread_mutex_init(&s->busy, NULL);
		s->latest = 0;
		s->fd = open_fresh();
		if (try_offsets(s->fd, i * APART_NS, 2 * i * APART_NS))
			die("PARKCLOCK_IOC_OFFSETS");
		s->map = map_clock(s->fd);
		s->least = i * APART_NS;
		s->most = i * APART_NS;
	}
}

static void close_all(void)
{
	for (int i = 0; i < all.clocks; i++) {
		munmap(all.slot[i].map, PARKCLOCK_MAP_SIZE);
		close(all.slot[i].fd);
	}
}

static void start(struct worker *w, int n, void *(*work)(void *), int seed)
{
	for (int i = 0; i < n; i++) {
		w[i] = (struct worker){ .seed = seed + i };
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			die("pthread_create");
	}
}

/* Free memory, in kB, when what is only kept in case is given back. */
static long free_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *f;

	write_file("/proc/sys/vm/drop_caches", "3");
	/* Memory of inodes and tasks that are gone is freed after grace periods. */
	sleep_ms(500);
	f = fopen("/proc/meminfo", "r");
	if (!f)
		die("/proc/meminfo");
	while (kb < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "MemFree: %ld", &kb);
	fclose(f);
	return kb;
}

FIXTURE(ten_thousand_clocks) {
	struct rlimit files;
};

FIXTURE_SETUP(ten_thousand_clocks)
{
	struct rlimit more = { CLOCKS + 100, CLOCKS + 100 };

	start_parked("100", "16", "5");
	/* The kernel's checkers make each of them slow. */
	all.clocks = has_checkers() ? CLOCKS / 10 : scaled(CLOCKS);
	all.slot = calloc(CLOCKS, sizeof(*all.slot));
	all.host = open_device();
	ASSERT_NE(NULL, all.slot);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &self->files));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &more));
}

FIXTURE_TEARDOWN(ten_thousand_clocks)
{
	setrlimit(RLIMIT_NOFILE, &self->files);
	close(all.host);
	free(all.slot);
	default_params();
}

/* All of them, with so many next lives */
static void live(struct __test_metadata *_metadata, int lives)
{
	struct worker readers[READERS], writers[WRITERS];

	open_all();
	all.stop = false;
	all.left = lives;
	start(readers, READERS, reader, 1);
	start(writers, WRITERS, writer, 100);
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		EXPECT_EQ(NULL, writers[i].bug) {
			TH_LOG("%s", writers[i].bug);
		}
	}
	all.stop = true;
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		EXPECT_EQ(NULL, readers[i].bug) {
			TH_LOG("%s", readers[i].bug);
		}
		TH_LOG("%llu times, %llu times stopped", (unsigned long long)readers[i].times,
		       (unsigned long long)readers[i].stopped);
	}
	EXPECT_EQ(0, query(all.host).references);
	close_all();
}

/*
 * The first round makes what the kernel, and the C library, keep; a second one that finds
 * more to keep is repeated. The kernel's checkers keep what was freed, for long.
 */
TEST_F_TIMEOUT(ten_thousand_clocks, saved_and_restored_in_random_order, 2400)
{
	/* A page for every second of them */
	const long few = all.clocks * 4 / 2;
	long before, after;
	int rounds = 0;

	live(_metadata, all.clocks / 10);
	after = free_kb();
	do {
		before = after;
		live(_metadata, all.clocks);
		after = free_kb();
		TH_LOG("%d clocks; %ld kB free, then %ld kB", all.clocks, before, after);
	} while (before - after > few && !has_checkers() && ++rounds < 3);
	EXPECT_GT(3, rounds);
}

/* A clock has one registration; a task has so many clocks. */
#define TASKS(clocks)	((clocks) / PARKCLOCK_TASK_CLOCKS_MAX)

/* Far longer than it takes where all instructions are emulated, or checked as well */
#define GONE_MS		(has_checkers() ? 300000 : 60000)

static atomic_int registered;

/* A task that registers itself waits for nobody. */
static void *registers_itself(void *arg)
{
	const struct slot *s = arg;

	for (int i = 0; i < PARKCLOCK_TASK_CLOCKS_MAX; i++)
		must_register(s[i].fd, 0, 0);
	registered++;
	sleep_for_ever();
}

static void owns_all(int sock)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	open_all();
	for (int i = 0; i < all.clocks; i++)
		slow_read(all.slot[i].fd, CLOCK_MONOTONIC);
	for (int i = 0; i < TASKS(all.clocks); i++)
		if (pthread_create(&thread, &attr, registers_itself,
				   &all.slot[i * PARKCLOCK_TASK_CLOCKS_MAX]))
			die("pthread_create");
	while (registered < TASKS(all.clocks))
		sleep_ms(1);
	say(sock, 0);
	sleep_for_ever();
}

static unsigned int host_used(int kind)
{
	struct parkclock_limits l;

	must(all.host, PARKCLOCK_IOC_LIMITS, (unsigned long)&l);
	return l.limit[kind].host_used;
}

TEST_F_TIMEOUT(ten_thousand_clocks, gone_with_their_owner, 600)
{
	const unsigned int clocks = host_used(PARKCLOCK_LIMIT_CLOCKS);
	const unsigned int tasks = host_used(PARKCLOCK_LIMIT_TASKS);
	int64_t killed, dead, gone;
	struct child owner;

	NEEDS_SWITCHES(return);
	/* Also in brief: of fewer it could not be told whether each one waited. */
	if (!has_checkers())
		all.clocks = CLOCKS;
	owner = start_child(owns_all);
	hear(owner.sock);
	EXPECT_EQ(clocks + all.clocks, host_used(PARKCLOCK_LIMIT_CLOCKS));
	EXPECT_EQ(tasks + all.clocks, host_used(PARKCLOCK_LIMIT_TASKS));
	killed = kernel_mono();
	end_child(&owner);
	dead = kernel_mono();
	do {
		gone = kernel_mono();
		if (host_used(PARKCLOCK_LIMIT_CLOCKS) == clocks &&
		    host_used(PARKCLOCK_LIMIT_TASKS) == tasks)
			break;
		sleep_ms(1);
	} while (gone - killed < GONE_MS * (NSEC / 1000));
	TH_LOG("%d clocks, %d tasks: dead after %lld ms, gone after %lld ms", all.clocks,
	       TASKS(all.clocks), (long long)(dead - killed) / 1000000,
	       (long long)(gone - killed) / 1000000);
	EXPECT_GT(GONE_MS * (NSEC / 1000), gone - killed);
	EXPECT_EQ(0, query(all.host).all_tasks);
}

TEST_HARNESS_MAIN
