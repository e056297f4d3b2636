// SPDX-License-Identifier: GPL-2.0
/*
 * Silence: what page 1 tells while the administrator holds a reference (THREATS.md).
 *
 * Everybody maps page 1, and sees when it changes. While nobody holds a reference, that is when
 * somebody wakes the clock. Under the setting that is tested here (a reference that is held for
 * ever, and slack_percent 0) it is the updater's tick alone.
 *
 * Checked: processes read, hold, register, sleep and wake, open, map, stop, start, save and
 * publish, as fast as they can. Meanwhile the page is replaced as often as the timer fires, and
 * never besides; the updater neither parks nor wakes, and invalidates nothing. Without the
 * setting the same processes are seen.
 *
 * Fails if anything that a tenant can do publishes a segment while the page is held.
 */
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/harness.h"
#include "lib/machine.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define SECONDS	20
#define ROUNDS	10

static void reads_and_holds(int sock)
{
	const int fd = open_device_reader();

	(void)sock;
	for (;;) {
		slow_read(fd, CLOCK_MONOTONIC);
		hold(fd);
		sleep_us(100);
		release(fd);
		sleep_us(100);
	}
}

static void registers(int sock)
{
	const int fd = open_device();

	(void)sock;
	for (;;) {
		if (!try_register(fd, 0, 0)) {
			for (int i = 0; i < 20; i++)
				sleep_us(200);
			try_unregister(fd, 0, 0);
		}
		sleep_us(200);
	}
}

static void changes_clocks(int sock)
{
	(void)sock;
	for (;;) {
		const int fd = open_fresh();

		must(fd, PARKCLOCK_IOC_EPOCH, 0);
		must(fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC);
		hold(fd);
		munmap(map_clock(fd), PARKCLOCK_MAP_SIZE);
		must(fd, PARKCLOCK_IOC_STOP, 0);
		must(fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
		save(fd);
		close(try(fd, PARKCLOCK_IOC_VIEW, 0));
		close(fd);
		sleep_us(200);
	}
}

static void (*const tenants[])(int sock) = { reads_and_holds, registers, changes_clocks };

FIXTURE(silence) {
	struct pclock c;
};

FIXTURE_SETUP(silence)
{
	start_parked("100", "16", "0");
	self->c = open_clock();
}

FIXTURE_TEARDOWN(silence)
{
	close_clock(&self->c);
	default_params();
}

/* What page 1 and the counters say after a round, less what they said before it */
struct round {
	uint64_t published, refreshes, ticks, late, others;
};

/* All tenants at once, for so long */
static struct round play(const struct pclock *c, unsigned int ms)
{
	struct child children[ARRAY_SIZE(tenants)];
	struct parkclock_query before, after;
	uint64_t seq;

	for (size_t i = 0; i < ARRAY_SIZE(tenants); i++)
		children[i] = start_child(tenants[i]);
	before = query(c->fd);
	seq = segment_extent(c->map).seq;
	sleep_ms(ms);
	seq = segment_extent(c->map).seq - seq;
	after = query(c->fd);
	for (size_t i = 0; i < ARRAY_SIZE(tenants); i++)
		end_child(&children[i]);
	return (struct round){
		.published = seq / 2,
		.refreshes = after.refreshes - before.refreshes,
		.ticks = after.expirations - before.expirations,
		.late = after.late_ticks - before.late_ticks,
		.others = after.wakes - before.wakes + after.parks - before.parks +
			  after.invalidations - before.invalidations,
	};
}

/*
 * The host changes its own rate now and then, which nobody's tenant does, and a machine that
 * stands still makes the timer late. So a round may be disturbed, and is repeated.
 */
TEST_F_TIMEOUT(silence, only_ticks_change_the_page, 900)
{
	const unsigned int ms = scaled(SECONDS) * 1000 / 4;
	struct round r = { 0 };
	int n = 0;

	NEEDS_SWITCHES(return);
	NEEDS_COUNTER(return);
	hold(self->c.fd);
	do {
		r = play(&self->c, ms);
		TH_LOG("%llu refreshes, %llu ticks, %llu late, %llu other events",
		       (unsigned long long)r.refreshes, (unsigned long long)r.ticks,
		       (unsigned long long)r.late, (unsigned long long)r.others);
	} while ((r.late || r.refreshes != r.ticks) && ++n < ROUNDS);
	EXPECT_EQ(r.ticks, r.refreshes);
	EXPECT_EQ(0, r.others);
	EXPECT_LT(0, r.ticks);
	/* One that must slow the clock is published in two steps. */
	EXPECT_LE(r.refreshes, r.published + 1);
	EXPECT_GE(2 * r.refreshes + 2, r.published);
	release(self->c.fd);
}

/* Who holds nothing, and looks at page 1, sees others wake the clock. */
TEST_F(silence, without_it_others_are_seen)
{
	struct child reader;
	uint64_t seq;

	NEEDS_COUNTER(return);
	must_set("interval_ms", "1");
	ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	must_set("interval_ms", "60000");
	seq = segment_extent(self->c.map).seq;
	reader = start_child(reads_and_holds);
	EXPECT_TRUE(wait_until(segment_extent(self->c.map).seq != seq));
	end_child(&reader);
}

TEST_HARNESS_MAIN
