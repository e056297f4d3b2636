/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Those who poll, however many they are.
 */
#ifndef PARKCLOCK_POLLERS_H
#define PARKCLOCK_POLLERS_H

#include <linux/wait.h>

void parkclock_pollers_wake(wait_queue_head_t *queue);

#endif
