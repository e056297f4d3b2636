// SPDX-License-Identifier: GPL-2.0
/*
 * A get that races with the tick that parks never leaves the updater parked with a reference
 * held.
 *
 * Checked at the shortest interval (see shortest_interval_ms()), in two ways: threads with
 * descriptors of their own hold and release at random; and one thread takes the only reference
 * within microseconds of the parking tick. After every HOLD the page must be valid at once and
 * stay valid, and the updater must not park before the RELEASE.
 *
 * Fails if the tick reads the references before it has stored its state, if the get reads the
 * state before it has counted, or if a tick overwrites a wake.
 *
 * A page that expires because the machine stood still is no failure: see expired_since() and
 * comes_back().
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define THREADS		4
#define SECONDS		20
#define MIN_PARKS	100
#define MAX_HELD_US	100000	/* more is no slow machine, but one that stood still */

struct holder {
	pthread_t thread;
	uint64_t seed;
	uint64_t holds;
	uint64_t late;
	const char *bug;
	struct parkclock_query q;
};

static atomic_bool stop;
static unsigned int interval_us;

/*
 * 1 ms, or where timers come with the scheduler's tick, as long as that: one tick
 * of the updater would swallow the next else.
 */
static unsigned int shortest_interval_ms(void)
{
	struct timespec resolution;

	clock_getres(CLOCK_MONOTONIC, &resolution);
	return (resolution.tv_nsec + 999999) / 1000000;
}

/* Hold, check for about @hold_us, release; NULL or what was wrong. */
static const char *hold_once(struct pclock *c, struct holder *h, unsigned int hold_us)
{
	struct parkclock_query start;
	uint64_t since = tsc();

	hold(c->fd);
	if (!valid(c->map) && expired_since(c->map, since))
		return "page not valid when HOLD returned";
	start = query(c->fd);
	for (int i = 0; i < 4; i++) {
		if (!valid(c->map)) {
			h->late++;
			if (!comes_back(c->map))
				return "page expired for good while held";
		}
		sleep_us(hold_us / 4);
	}
	h->q = query(c->fd);
	if (h->q.holds != 1 || !h->q.references)
		return "reference lost";
	if (h->q.parks != start.parks)
		return "parked while held";
	release(c->fd);
	h->holds++;
	return NULL;
}

static void *holder(void *arg)
{
	struct holder *h = arg;
	struct pclock c = open_clock();

	while (!stop && !h->bug) {
		int64_t t0 = now_ns(CLOCK_MONOTONIC), held_us;

		h->bug = hold_once(&c, h, rnd(&h->seed) % (4 * interval_us));
		held_us = (now_ns(CLOCK_MONOTONIC) - t0) / 1000;
		if (held_us > MAX_HELD_US)
			held_us = MAX_HELD_US;
		/*
		 * Longer where the naps of a hold are long: else one of the threads
		 * would nearly always hold, and nothing would ever park.
		 */
		sleep_us(rnd(&h->seed) % (8 * interval_us + 2 * held_us));
	}
	close_clock(&c);
	return NULL;
}

/*
 * Returns when the page has been refreshed, or the updater has parked: then the
 * refresh was before we came. False if neither happens.
 */
static bool wait_refresh(struct pclock *c, uint64_t *base)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(c->map);
	uint64_t seq = __parkclock_acquire(&tb->seq);
	int64_t t0 = now_ns(CLOCK_MONOTONIC);

	for (unsigned int i = 1;; i++) {
		uint64_t now = __parkclock_acquire(&tb->seq);

		if (now != seq) {
			*base = __parkclock_acquire(&tb->segment[now & 1].base_cycles);
			return true;
		}
		if (i % 4096)
			continue;
		if (query(c->fd).state == PARKCLOCK_PARKED)
			return true;
		if (now_ns(CLOCK_MONOTONIC) - t0 > PATIENCE_MS * 1000000LL)
			return false;
	}
}

FIXTURE(get_races_park) {
	struct pclock c;
};

FIXTURE_SETUP(get_races_park)
{
	char interval[12];

	snprintf(interval, sizeof(interval), "%u", shortest_interval_ms());
	start_parked(interval, "16", "0");
	interval_us = shortest_interval_ms() * 1000;
	self->c = open_clock();
	stop = false;
}

FIXTURE_TEARDOWN(get_races_park)
{
	close_clock(&self->c);
	default_params();
}

TEST_F(get_races_park, hold_and_release_at_random)
{
	struct parkclock_query start = query(self->c.fd), end;
	struct holder h[THREADS] = { 0 };
	uint64_t holds = 0, late = 0;
	int64_t t0 = now_ns(CLOCK_MONOTONIC);

	NEEDS_COUNTER(return);
	for (int i = 0; i < THREADS; i++) {
		h[i].seed = 0x9e3779b97f4a7c15ULL * (i + 1);
		ASSERT_EQ(0, pthread_create(&h[i].thread, NULL, holder, &h[i]));
	}
	/* Until it has raced often enough, however slow the machine. */
	do {
		bool bug = false;

		sleep_ms(100);
		end = query(self->c.fd);
		for (int i = 0; i < THREADS; i++)
			bug |= !!h[i].bug;
		if (bug)
			break;
	} while (now_ns(CLOCK_MONOTONIC) - t0 < (int64_t)scaled(SECONDS) * 1000000000 ||
		 end.parks - start.parks < MIN_PARKS);
	stop = true;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(h[i].thread, NULL);
		holds += h[i].holds;
		late += h[i].late;
		EXPECT_EQ(NULL, h[i].bug) {
			TH_LOG("thread %d after %llu holds: %s; state %u, references %llu", i,
			       (unsigned long long)h[i].holds, h[i].bug, h[i].q.state,
			       (unsigned long long)h[i].q.references);
		}
	}
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	end = query(self->c.fd);
	EXPECT_EQ(0, end.references);
	EXPECT_EQ(end.parks - start.parks, end.wakes - start.wakes);
	TH_LOG("%llu holds, %llu parks, page late %llu times", (unsigned long long)holds,
	       (unsigned long long)(end.parks - start.parks), (unsigned long long)late);
}

TEST_F(get_races_park, hold_at_the_parking_tick)
{
	uint64_t base = 0, interval, seed = 88172645463325252ULL;
	struct holder h = { 0 };
	int won = 0, lost = 0, cpus = cpus_online();
	int64_t t0 = now_ns(CLOCK_MONOTONIC);

	NEEDS_COUNTER(return);
	interval = query(self->c.fd).counter_hz / 1000000 * interval_us;
	ASSERT_NE(0, interval);
	/* Until both outcomes were seen often: got there first, and came too late. */
	do {
		struct parkclock_query before, after;
		uint64_t until;

		pin((won + lost) % cpus);
		hold(self->c.fd);
		release(self->c.fd);
		before = query(self->c.fd);
		/* The tick that goes IDLE refreshes; the next one parks. */
		ASSERT_TRUE(wait_refresh(&self->c, &base));
		/* From 5 % before that tick to 15 % after it. */
		until = base + interval * 95 / 100 + rnd(&seed) % (interval / 5);
		while ((int64_t)(tsc() - until) < 0)
			;
		h.bug = hold_once(&self->c, &h, rnd(&seed) % 3 ? 0 : 40 * interval_us);
		ASSERT_EQ(NULL, h.bug) {
			TH_LOG("after %d + %d races: %s; state %u, references %llu", won, lost,
			       h.bug, h.q.state, (unsigned long long)h.q.references);
		}
		after = h.q;
		if (after.parks == before.parks)
			won++;
		else
			lost++;
	} while (now_ns(CLOCK_MONOTONIC) - t0 < (int64_t)scaled(SECONDS / 2) * 1000000000 ||
		 won < 50 || lost < 50);
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	TH_LOG("%d before the park, %d after it, page late %llu times", won, lost,
	       (unsigned long long)h.late);
}

TEST_HARNESS_MAIN
