// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clocksource.h"
#include "host_clock.h"
#include "page.h"
#include "params.h"
#include "updater.h"
#include "wait.h"

bool wait_state(int fd, uint32_t state)
{
	return wait_until(query(fd).state == state);
}

uint32_t state_held(void)
{
	return counter_usable() ? PARKCLOCK_ACTIVE : PARKCLOCK_PARKED;
}

void start_parked(const char *interval, const char *window, const char *slack)
{
	int fd = open_device();

	settle();
	set_params("1", window, slack);
	if (!wait_state(fd, PARKCLOCK_PARKED)) {
		fprintf(stderr, "# updater does not park: state %u, references %llu\n",
			query(fd).state, (unsigned long long)query(fd).references);
		abort();
	}
	close(fd);
	must_set("interval_ms", interval);
}

bool wait_parked_and_expired(const struct pclock *c)
{
	const int64_t t0 = now_ns(CLOCK_MONOTONIC);

	while (query(c->fd).state != PARKCLOCK_PARKED || valid(c->map)) {
		if (now_ns(CLOCK_MONOTONIC) - t0 > PATIENCE_MS * 1000000LL)
			return false;
		sleep_us(200);
	}
	return true;
}

void enter(const struct pclock *c, uint32_t state)
{
	for (int tries = 0; tries < 20; tries++) {
		must_set("interval_ms", "20000");
		hold(c->fd);
		if (state == PARKCLOCK_ACTIVE)
			return;
		release(c->fd);
		must_set("interval_ms", state == PARKCLOCK_IDLE ? "500" : "1");
		if (state == PARKCLOCK_IDLE)
			for (int i = 0; i < 1000 && query(c->fd).state == PARKCLOCK_ACTIVE; i++)
				sleep_ms(1);
		else
			wait_state(c->fd, state);
		must_set("interval_ms", "20000");
		if (query(c->fd).state == state)
			return;
		/* The machine stood still for long enough to park. */
	}
	fprintf(stderr, "# updater does not come to state %u: it is %u\n", state,
		query(c->fd).state);
	abort();
}
