// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel finds out that its TSC is unreliable while the module runs. That cannot be undone,
 * so this program is the last one in its machine.
 *
 * Checked: while the kernel leaves the TSC, and afterwards, every reading is within its bound of
 * the host's clock and none goes back, between threads on all CPUs. Then the page has no time
 * whatever is held, with one more discontinuity and its reason. READ and references go on
 * working, and no timer is armed.
 *
 * Fails if the page can be read when the clocksource is another one, or if the updater goes on
 * filling it.
 */
#include <stdint.h>
#include <time.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/disturb.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/readers.h"
#include "lib/updater.h"
#include "lib/wait.h"

TEST(tsc_marked_unstable_while_held)
{
	struct parkclock_query before, after;
	struct pclock c;
	int64_t end;

	NEEDS_COUNTER(return);
	/* No choice of an earlier program: the kernel may stay with that. */
	ASSERT_EQ(0, write_file(CLOCKSOURCE "current_clocksource", "\n"));
	ASSERT_TRUE(counter_usable());
	start_parked("50", "4", "5");
	c = open_clock();
	hold(c.fd);
	load_disturb();
	start_readers(false);
	ASSERT_TRUE(readers_have_looked(1000));
	before = query(c.fd);
	disturb("tsc_unstable", "1");
	end = kernel_ns(CLOCK_MONOTONIC) + PATIENCE_MS * 1000000LL;
	/* A thread of the kernel does it, when it comes to that. */
	while (counter_usable() && kernel_ns(CLOCK_MONOTONIC) < end)
		ASSERT_NE(WRONG, look_again(&c, CLOCK_MONOTONIC, true));
	ASSERT_FALSE(counter_usable());
	EXPECT_EQ(0, readers_with_time(c.map));
	EXPECT_TRUE(right_now(&c));
	after = query(c.fd);
	EXPECT_EQ(PARKCLOCK_COUNTER_UNUSABLE, after.flags);
	EXPECT_EQ(PARKCLOCK_REASON_COUNTER, after.reason);
	EXPECT_EQ(PARKCLOCK_REASON_COUNTER, page_reason(c.map));
	EXPECT_EQ(before.generation + 1, after.generation);
	EXPECT_TRUE(readers_have_looked(10000));
	EXPECT_STREQ("", stop_readers());
	/* The tick that was armed is the last one. */
	ASSERT_TRUE(wait_state(c.fd, PARKCLOCK_PARKED));
	after = query(c.fd);
	EXPECT_EQ(1, after.references);
	hold(c.fd);
	sleep_ms(200);
	EXPECT_EQ(after.expirations, query(c.fd).expirations);
	EXPECT_EQ(after.wakes, query(c.fd).wakes);
	EXPECT_TRUE(right_now(&c));
	unload_disturb();
	close_clock(&c);
	default_params();
}

TEST_HARNESS_MAIN
