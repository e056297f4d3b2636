// SPDX-License-Identifier: GPL-2.0
/*
 * What the simulated programs call: compiled as the module is, so that the inline
 * functions of its headers are instrumented, too.
 */
#include <linux/parkclock.h>
#include "host.h"
#include "pollers.h"
#include "timebase.h"
#include "updater.h"
#include "workers.h"
#include "sim.h"

/* What looks without being part of the schedule is not instrumented. */
#define LOOKS	__attribute__((__no_sanitize__("thread")))

static const struct parkclock_timebase *map;

long long read_page(const void *clock, const void *timebase, int id,
		    struct parkclock_reading *r)
{
	return __parkclock_read(clock, timebase, id, 1, 0, r);
}

int read_slow(const void *clock, int id, struct parkclock_reading *r)
{
	return parkclock_updater_read(clock, id, r);
}

void take_reference(void)
{
	parkclock_updater_get(rdtsc());
}

void drop_reference(void)
{
	parkclock_updater_put();
}

/* Who polls is no part of a schedule. */
void parkclock_pollers_wake(wait_queue_head_t *queue)
{
	(void)queue;
}

int module_init_sim(void)
{
	int err = parkclock_workers_init();

	if (!err)
		err = parkclock_timebase_init();
	map = parkclock_timebase_map();
	return err ? err : parkclock_updater_init();
}

void module_exit_sim(void)
{
	parkclock_updater_exit();
}

LOOKS const void *timebase_map(void)
{
	return map;
}

LOOKS int updater_state(void)
{
	return own_view(&parkclock_updater_state.counter, sizeof(int));
}

LOOKS bool updater_running(void)
{
	return updater_state() >= PARKCLOCK_IDLE;
}

LOOKS u64 page_window(void)
{
	return map->segment[map->seq & 1].valid_cycles;
}

LOOKS u64 window_end(void)
{
	const struct parkclock_segment *seg = &map->segment[map->seq & 1];

	return seg->base_cycles + seg->valid_cycles;
}
