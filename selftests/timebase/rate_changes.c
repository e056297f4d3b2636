// SPDX-License-Identifier: GPL-2.0
/*
 * A change of the host's rate takes the page from nobody who holds a reference.
 *
 * Checked: a registered thread that only reads, and one that holds a reference, on the host
 * and as a guest, find a time in the page at each reading, while another CPU changes the
 * host's frequency a hundred times a second from one end of its range to the other, and
 * while the kernel's PLL takes out an offset. The epoch stays what it was.
 *
 * Fails if a change of the rate makes the page invalid before it is published anew.
 *
 * What a virtual machine shows besides is counted, and is no failure: its CPUs are stopped at
 * any time, so that the end of a cut segment passes before the next one comes; and an emulated
 * counter may be read a moment early. The simulation is exact about both.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/timex.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/updater.h"
#include "lib/wait.h"

static atomic_bool over;

struct reader {
	pthread_t thread;
	bool registers;		/* else it holds */
	bool guest;
	atomic_ullong reads;
	unsigned long long passing, ended, invalid;
	struct extent first;	/* the first that was invalid */
	uint64_t epoch;		/* of the page then */
};

static int64_t read_page(const struct reader *k, const struct pclock *c)
{
	return k->guest ? parkclock_guest_read(c->map, CLOCK_MONOTONIC) :
			  parkclock_page_read(c->map, CLOCK_MONOTONIC);
}

/* Why had the page no time? */
static void why(struct reader *k, const struct pclock *c)
{
	const struct extent e = segment_extent(c->map);
	const uint64_t now = tsc();

	/* It was replaced meanwhile; or this CPU's counter was a moment behind its base. */
	if (read_page(k, c) >= 0 || segment_extent(c->map).seq != e.seq) {
		k->passing++;
	} else if (e.length && e.epoch == page_epoch(c->map) && now - e.base >= e.length) {
		k->ended++;
	} else if (!k->invalid++) {
		k->first = e;
		k->epoch = page_epoch(c->map);
	}
}

static void *reader(void *arg)
{
	struct reader *k = arg;
	struct pclock c = open_owner();

	pin(cpus_online() - 1);
	if (k->guest && try_guest_tsc(c.fd, 0, 1, 0))
		die("SET_GUEST_TSC");
	if (k->registers)
		must_register(c.fd, 0, 0);
	else
		hold(c.fd);
	while (!over) {
		if (read_page(k, &c) < 0)
			why(k, &c);
		else
			k->reads++;
	}
	close_clock(&c);
	return NULL;
}

FIXTURE(rate_changes) {
	struct pclock c;
	struct reader readers[4];
	struct parkclock_query before;
	uint64_t epoch;
};

FIXTURE_SETUP(rate_changes)
{
	start_parked("1000", "4", "5");
	self->c = open_clock();
	settle();
}

FIXTURE_TEARDOWN(rate_changes)
{
	restore_frequency();
	close_clock(&self->c);
	default_params();
}

static void start(FIXTURE_DATA(rate_changes) *self)
{
	over = false;
	self->before = query(self->c.fd);
	self->epoch = page_epoch(self->c.map);
	for (int i = 0; i < 4; i++) {
		self->readers[i] = (struct reader) { .registers = i & 1, .guest = i & 2 };
		self->readers[i].thread = start_thread(reader, &self->readers[i]);
	}
	for (int i = 0; i < 4; i++)
		while (!self->readers[i].reads)
			sleep_ms(1);
}

static void stop(struct __test_metadata *_metadata, FIXTURE_DATA(rate_changes) *self)
{
	struct parkclock_query now;

	over = true;
	for (int i = 0; i < 4; i++) {
		struct reader *k = &self->readers[i];

		pthread_join(k->thread, NULL);
		TH_LOG("%s, %s: %llu readings, %llu at a change, %llu after the end of a segment",
		       k->registers ? "registered" : "held", k->guest ? "guest" : "host",
		       (unsigned long long)k->reads, k->passing, k->ended);
		EXPECT_EQ(0, k->invalid) {
			TH_LOG("%llu invalid; first: %llu + %llu of epoch %llu, at epoch %llu",
			       k->invalid, (unsigned long long)k->first.base,
			       (unsigned long long)k->first.length,
			       (unsigned long long)k->first.epoch,
			       (unsigned long long)k->epoch);
		}
		EXPECT_LT(k->passing + k->ended, k->reads / 100);
	}
	now = query(self->c.fd);
	EXPECT_EQ(self->epoch, page_epoch(self->c.map));
	EXPECT_EQ(self->before.invalidations, now.invalidations);
	EXPECT_EQ(self->before.generation, now.generation);
}

/* 100 a second, or as many as the machine makes */
TEST_F(rate_changes, hundred_a_second)
{
	const unsigned int changes = scaled(3000);
	uint64_t seed = 3;

	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	start(self);
	for (unsigned int n = 0; n < changes; n++) {
		throw_frequency(n, &seed);
		sleep_ms(10);
	}
	EXPECT_GE(query(self->c.fd).refreshes, self->before.refreshes + changes * 3 / 4);
	stop(_metadata, self);
}

TEST_F(rate_changes, phase_locked_loop)
{
	struct timex tx = {
		.modes = ADJ_STATUS | ADJ_NANO | ADJ_OFFSET | ADJ_TIMECONST,
		.status = STA_PLL,
		.offset = 5000000,
		.constant = 2,
	};

	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	start(self);
	if (adjtimex(&tx) < 0)
		die("adjtimex");
	for (unsigned int s = 0; s < scaled(20) + 3; s++)
		sleep_ms(1000);
	/* Each second it changes the rate. */
	EXPECT_GE(query(self->c.fd).refreshes, self->before.refreshes + 3);
	stop(_metadata, self);
	tx = (struct timex) { .modes = ADJ_STATUS | ADJ_OFFSET, .status = 0 };
	if (adjtimex(&tx) < 0)
		die("adjtimex");
}

TEST_HARNESS_MAIN
