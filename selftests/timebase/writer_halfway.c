// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual CPU can be stopped anywhere. Here the writer of the page is stopped at each of its
 * instructions in turn, for longer than it gives itself, while all CPUs read the page.
 *
 * Checked, as in host/disturb.c: every reading is within its bound of what clock_gettime()
 * returns before and after, and MONOTONIC and BOOTTIME never go back between threads; while the
 * frequency is thrown from end to end, REALTIME is set, and the updater parks and is woken.
 *
 * Fails if the order of two stores is wrong; no other test would look in between, but by chance.
 * (The KUnit tests of segments look for steps back of some nanoseconds, which are shorter than a
 * reading.)
 *
 * VM_CMDLINE=EVERY=1 leaves out no instruction; that takes some minutes.
 */
#include <stdint.h>
#include <sys/timex.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/die.h"
#include "lib/disturb.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/params.h"
#include "lib/readers.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define STOP_US	1000	/* the window ends 4 intervals, of 1 ms, after a refresh */

FIXTURE(writer_halfway) {
	struct pclock c;
};

FIXTURE_VARIANT(writer_halfway) {
	const char *function;
};

/* Where it is told of changes; the rest of them has been inlined, most likely. */
FIXTURE_VARIANT_ADD(writer_halfway, host_update) { .function = "host_update" };
FIXTURE_VARIANT_ADD(writer_halfway, refresh) { .function = "parkclock_timebase_refresh" };
FIXTURE_VARIANT_ADD(writer_halfway, cut_off) { .function = "cut_off" };
FIXTURE_VARIANT_ADD(writer_halfway, invalidate) { .function = "parkclock_timebase_invalidate" };

FIXTURE_SETUP(writer_halfway)
{
	start_parked("1", "4", "5");
	self->c = open_clock();
	load_disturb();
}

FIXTURE_TEARDOWN(writer_halfway)
{
	unload_disturb();
	restore_frequency();
	close_clock(&self->c);
	default_params();
}

/*
 * All of what makes it write, a few times. It ends parked, and nobody READs: so next to
 * nobody comes to where the kernel is patched while that is done, which emulated CPUs do
 * not all bear (see breakpoint_is_gone in vm/run).
 */
static void exercise(void *arg)
{
	const struct pclock *c = arg;
	static unsigned int n;
	static uint64_t seed = 1;

	for (int i = 0; i < 4; i++) {
		struct timex tx = { .modes = ADJ_SETOFFSET, .time.tv_usec = n & 1 };

		throw_frequency(n++, &seed);
		hold(c->fd);
		sleep_ms(2);
		if (i == 2 && adjtimex(&tx) < 0)
			die("adjtimex");
		release(c->fd);
	}
	if (!wait_state(c->fd, PARKCLOCK_PARKED))
		die("it does not park");
}

TEST_F_TIMEOUT(writer_halfway, readers, 1800)
{
	struct parkclock_query before = query(self->c.fd), after;
	int places;

	start_readers(true);
	places = at_each_instruction(variant->function, STOP_US, every(), exercise, &self->c);
	EXPECT_STREQ("", stop_readers());
	after = query(self->c.fd);
	hold(self->c.fd);
	EXPECT_TRUE(right_now(&self->c));
	release(self->c.fd);
	if (!places)
		SKIP(return, "needs a kernel with kprobes, and this function");
	TH_LOG("stopped at %d places, %llu refreshes", places,
	       (unsigned long long)(after.refreshes - before.refreshes));
	EXPECT_LT(0, places);
}

TEST_HARNESS_MAIN
