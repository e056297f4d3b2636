// SPDX-License-Identifier: GPL-2.0
/*
 * Time never goes back: not between CPUs, not between the page and READ, not across refresh,
 * park, wake, stop, start or a change of the host's rate.
 *
 * Checked: threads on all CPUs share the largest reading so far. Each thread loads it, then
 * reads the clock, and must not get less. The interval is 1 ms and nobody holds for long, so
 * the updater parks, expires and wakes all the time. During 5 * 10^7 of the readings the host's
 * frequency is thrown from end to end of its range, too. A single CPU gets two threads. Where
 * the page never has a time, READ is compared with itself, with fewer readings because it is
 * slow.
 *
 * Fails if a segment begins below the one that others still read, if a reader mixes two
 * segments, if a wake steps below what the expired page has shown, or if READ and the page
 * disagree by a nanosecond.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define MIN_READS	10000000ULL
#define MIN_THROWN	50000000U
#define MIN_SLOW_READS	1000000ULL
#define MAX_THREADS	64

/* Nobody steps REALTIME here, so it may not go back either. */
static const int ids[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME };

static atomic_llong latest[ARRAY_SIZE(ids)];
static atomic_bool stop;

/* Readers use READ now and then, though the page is valid. That keeps it awake. */
static atomic_bool mix;

struct reader {
	pthread_t thread;
	int cpu;
	atomic_ullong reads;
	unsigned long long slow;
	long long seen, got;
	int id;
	bool by_page;
	atomic_bool bug;
};

static void *reader(void *arg)
{
	struct reader *r = arg;
	struct pclock c = open_clock();

	pin(r->cpu);
	for (unsigned long long i = 0; !stop; i++) {
		int k = (i >> 8) % ARRAY_SIZE(ids);
		long long seen = atomic_load_explicit(&latest[k], memory_order_acquire);
		long long got = PARKCLOCK_EXPIRED;
		bool by_page;

		if (i % 2000 || !mix)
			got = parkclock_page_read(c.map, ids[k]);
		by_page = got != PARKCLOCK_EXPIRED;
		if (!by_page) {
			got = slow_read(c.fd, ids[k]).ns;
			r->slow++;
		}
		if (got < seen) {
			r->seen = seen;
			r->got = got;
			r->id = ids[k];
			r->by_page = by_page;
			r->bug = true;
			stop = true;
			break;
		}
		while (got > seen &&
		       !atomic_compare_exchange_weak_explicit(&latest[k], &seen, got,
							      memory_order_release,
							      memory_order_relaxed))
			;
		atomic_store_explicit(&r->reads, i + 1, memory_order_relaxed);
	}
	close_clock(&c);
	return NULL;
}

FIXTURE(monotonic) {
	struct pclock c;
	struct reader *readers;
	int threads;
	bool usable;
	unsigned long long min_reads, min_thrown;
};

FIXTURE_SETUP(monotonic)
{
	start_parked("1", "4", "5");
	self->c = open_clock();
	self->threads = cpus_online();
	if (self->threads > MAX_THREADS)
		self->threads = MAX_THREADS;
	if (self->threads < 2)
		self->threads = 2;
	self->usable = counter_usable();
	self->min_reads = self->usable ? MIN_READS : MIN_SLOW_READS;
	self->min_thrown = self->usable ? scaled(MIN_THROWN) : MIN_SLOW_READS;
	self->readers = calloc(self->threads, sizeof(*self->readers));
	ASSERT_NE(NULL, self->readers);
	for (size_t k = 0; k < ARRAY_SIZE(ids); k++)
		latest[k] = 0;
	stop = false;
	mix = true;
}

FIXTURE_TEARDOWN(monotonic)
{
	restore_frequency();
	close_clock(&self->c);
	free(self->readers);
	default_params();
}

static void start_readers(FIXTURE_DATA(monotonic) *self)
{
	for (int i = 0; i < self->threads; i++) {
		self->readers[i].cpu = i % cpus_online();
		if (pthread_create(&self->readers[i].thread, NULL, reader, &self->readers[i]))
			die("pthread_create");
	}
}

static unsigned long long reads(FIXTURE_DATA(monotonic) *self)
{
	unsigned long long n = 0;

	for (int i = 0; i < self->threads; i++)
		n += self->readers[i].reads;
	return n;
}

static void join_readers(struct __test_metadata *_metadata, FIXTURE_DATA(monotonic) *self)
{
	unsigned long long slow = 0, n = reads(self);

	stop = true;
	for (int i = 0; i < self->threads; i++) {
		struct reader *r = &self->readers[i];

		pthread_join(r->thread, NULL);
		slow += r->slow;
		EXPECT_FALSE(r->bug) {
			TH_LOG("CPU %d, clock %d by %s: %lld after %lld, %lld ns back", r->cpu,
			       r->id, r->by_page ? "page" : "READ", r->got, r->seen,
			       r->seen - r->got);
		}
	}
	TH_LOG("%llu reads, %llu of them by READ", n, slow);
}

TEST_F_TIMEOUT(monotonic, across_cpus_parks_and_wakes, 600)
{
	struct parkclock_query start = query(self->c.fd), end;
	uint64_t seed = 1;

	start_readers(self);
	do {
		mix = true;
		hold(self->c.fd);
		sleep_us(rnd(&seed) % 20000);
		release(self->c.fd);
		/* From here on a reader wakes it when it finds an expired page. */
		mix = false;
		sleep_us(rnd(&seed) % 40000);
		end = query(self->c.fd);
	} while (!stop && (reads(self) < self->min_reads ||
			   (self->usable && end.parks - start.parks < 100)));
	join_readers(_metadata, self);
	if (self->usable) {
		EXPECT_GE(end.parks, start.parks + 100);
		EXPECT_GE(end.refreshes, start.refreshes + 100);
	}
	EXPECT_GE(end.slow_reads, start.slow_reads + 100);
	TH_LOG("%llu parks, %llu refreshes", (unsigned long long)(end.parks - start.parks),
	       (unsigned long long)(end.refreshes - start.refreshes));
}

/*
 * The hard case is a host that slows down: the new segment would lie below the
 * old one, which other CPUs read up to the last instant.
 */
TEST_F_TIMEOUT(monotonic, across_rate_changes, 1200)
{
	struct parkclock_query start = query(self->c.fd), end;
	unsigned int changes = 0;
	uint64_t seed = 2;

	start_readers(self);
	do {
		throw_frequency(changes++, &seed);
		mix = changes % 3;
		if (changes % 4 == 0)
			hold(self->c.fd);
		sleep_us(rnd(&seed) % 10000);
		if (changes % 4 == 0)
			release(self->c.fd);
		/* Long enough for two ticks, and for the page to expire. */
		if (changes % 8 == 0)
			sleep_us(rnd(&seed) % 20000);
		end = query(self->c.fd);
	} while (!stop && (reads(self) < self->min_thrown || changes < 1000 ||
			   (self->usable && (end.parks - start.parks < 100 ||
					     end.refreshes - start.refreshes <= 1000))));
	join_readers(_metadata, self);
	if (self->usable) {
		EXPECT_GE(end.parks, start.parks + 100);
		EXPECT_GT(end.refreshes, start.refreshes + 1000);
	}
	TH_LOG("%u changes, %llu parks, %llu refreshes", changes,
	       (unsigned long long)(end.parks - start.parks),
	       (unsigned long long)(end.refreshes - start.refreshes));
}

TEST_F(monotonic, page_and_read_by_turns)
{
	uint64_t seed = 3;
	unsigned int by_page = 0, by_read = 0, stopped = 0;
	long long last[ARRAY_SIZE(ids)] = { 0 };

	for (int i = 0; i < 100000 || (self->usable && by_page < 10000); i++) {
		int k = rnd(&seed) % ARRAY_SIZE(ids);
		long long got = PARKCLOCK_EXPIRED;
		const char *how = "page";

		if (i % 500 == 250)
			must_set("enabled", "N");
		if (i % 500 == 280)
			must_set("enabled", "Y");
		/* Let it park, and sometimes expire. */
		if (i % 1000 == 999)
			sleep_us(rnd(&seed) % 10000);
		if (rnd(&seed) & 1)
			got = parkclock_page_read(self->c.map, ids[k]);
		if (got == PARKCLOCK_EXPIRED) {
			got = slow_read(self->c.fd, ids[k]).ns;
			how = "READ";
			by_read++;
			stopped += i % 500 >= 250 && i % 500 < 280;
		} else {
			by_page++;
		}
		ASSERT_GE(got, last[k]) {
			TH_LOG("turn %d, clock %d, %s: %lld ns back", i, ids[k], how,
			       last[k] - got);
		}
		last[k] = got;
	}
	EXPECT_GE(by_read, 10000);
	EXPECT_GE(stopped, 1000);
}

TEST_HARNESS_MAIN
