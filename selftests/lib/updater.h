/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The updater's state: waiting for it, and bringing it about
 */
#ifndef PARKCLOCK_SELFTESTS_UPDATER_H
#define PARKCLOCK_SELFTESTS_UPDATER_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"

bool wait_state(int fd, uint32_t state);

/* The state that the updater must have while it is held and enabled */
uint32_t state_held(void);

/* Where every test begins: sets the parameters, and waits until the updater has parked. */
void start_parked(const char *interval, const char *window, const char *slack);

/* Waits until the updater has parked and what it has left in the page has expired. */
bool wait_parked_and_expired(const struct pclock *c);

/* Brings the updater from PARKED to @state. Its next tick is far away then. */
void enter(const struct pclock *c, uint32_t state);

#endif
