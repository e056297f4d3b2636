/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Sleeping, and waiting for something that becomes so a little later.
 */
#ifndef PARKCLOCK_SELFTESTS_WAIT_H
#define PARKCLOCK_SELFTESTS_WAIT_H

/* Far longer than anything waited for takes, so that only a hang reaches it. */
#define PATIENCE_MS	20000

void sleep_us(unsigned int us);
void sleep_ms(unsigned int ms);

/* Evaluates @condition every ms. Is true as soon as @condition is, false if it never is. */
#define wait_until(condition) ({ \
	int tries_; \
	\
	for (tries_ = 0; tries_ < PATIENCE_MS && !(condition); tries_++) \
		sleep_ms(1); \
	tries_ < PATIENCE_MS; \
})

#endif
