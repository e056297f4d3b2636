// SPDX-License-Identifier: GPL-2.0
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "clock.h"
#include "cpus.h"
#include "die.h"
#include "host_clock.h"
#include "random.h"
#include "readers.h"
#include "wait.h"

#define MAX_READERS	16

struct reader {
	pthread_t thread;
	int cpu;
	uint64_t seed;
	uint64_t seen[SEEN_KINDS];
	const char *bug;
};

static struct {
	struct reader reader[MAX_READERS];
	int number;
	bool page_only;
	atomic_bool stop;
	/* The largest MONOTONIC and BOOTTIME that any thread has got. */
	atomic_llong latest[PARKCLOCK_CLOCKS];
} readers;

static bool never_steps(int index)
{
	return index == PARKCLOCK_MONOTONIC || index == PARKCLOCK_BOOTTIME;
}

static void *reader_thread(void *arg)
{
	struct parkclock_reading last[PARKCLOCK_CLOCKS] = { 0 };
	struct pclock c = open_clock();
	struct reader *me = arg;

	try_to_pin(me->cpu);
	while (!readers.stop && !me->bug) {
		const int i = rnd(&me->seed) % PARKCLOCK_CLOCKS;
		const bool by_page = readers.page_only || rnd(&me->seed) % 8;
		long long least = atomic_load(&readers.latest[i]);
		struct parkclock_reading r = { 0 };
		enum seen seen = look(&c, clock_ids[i], by_page, &r);

		__atomic_fetch_add(&me->seen[seen], 1, __ATOMIC_RELAXED);
		if (seen == REFUSED) {
			/* Others may have something to do. */
			sched_yield();
			continue;
		}
		if (seen == WRONG)
			me->bug = "a reading outside its bound";
		if (r.generation < last[i].generation)
			me->bug = "the generation went back";
		if (r.generation == last[i].generation && r.ns < last[i].ns)
			me->bug = "time went back within a generation";
		last[i] = r;
		if (!never_steps(i))
			continue;
		if (r.ns < least)
			me->bug = "time went back between threads";
		while (r.ns > least &&
		       !atomic_compare_exchange_weak(&readers.latest[i], &least, r.ns))
			;
	}
	close_clock(&c);
	return NULL;
}

void start_readers(bool page_only)
{
	const int online = cpus_online();

	readers.number = online < MAX_READERS ? online : MAX_READERS;
	readers.page_only = page_only;
	readers.stop = false;
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		readers.latest[i] = 0;
	for (int i = 0; i < readers.number; i++) {
		readers.reader[i] = (struct reader){ .cpu = i, .seed = i + 1 };
		if (pthread_create(&readers.reader[i].thread, NULL, reader_thread,
				   &readers.reader[i]))
			die("pthread_create");
	}
}

uint64_t readers_saw(enum seen what)
{
	uint64_t n = 0;

	for (int i = 0; i < readers.number; i++)
		n += __atomic_load_n(&readers.reader[i].seen[what], __ATOMIC_RELAXED);
	return n;
}

static bool has_looked(const struct reader *r, uint64_t times)
{
	uint64_t n = 0;

	for (int what = 0; what < SEEN_KINDS; what++)
		n += __atomic_load_n(&r->seen[what], __ATOMIC_RELAXED);
	return n >= times || __atomic_load_n(&r->bug, __ATOMIC_RELAXED);
}

static bool all_have_looked(uint64_t times)
{
	for (int i = 0; i < readers.number; i++)
		if (!has_looked(&readers.reader[i], times))
			return false;
	return true;
}

bool readers_have_looked(uint64_t times)
{
	return wait_until(all_have_looked(times));
}

const char *stop_readers(void)
{
	const char *bug = readers_have_looked(10) ? "" : "a thread that hardly ever runs";

	readers.stop = true;
	for (int i = 0; i < readers.number; i++) {
		pthread_join(readers.reader[i].thread, NULL);
		if (readers.reader[i].bug)
			bug = readers.reader[i].bug;
	}
	return bug;
}
