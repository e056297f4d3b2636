// SPDX-License-Identifier: GPL-2.0
/*
 * Those who poll, however many they are.
 *
 * Anybody can have many descriptors of the device, and wait for each in many ways (epoll). The
 * kernel's wake_up_all() goes through all who wait with interrupts off: since Linux 6.7 without
 * a pause. So a queue of strangers is gone through here, a few at a time.
 */
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "pollers.h"

/* How many are woken with interrupts off. */
#define AT_ONCE		16

/* Of what only marks a place in a queue */
static int wakes_nobody(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	return 0;
}

/**
 * parkclock_pollers_wake() - wake all who wait
 * @queue: what they wait on; it stays until this returns
 *
 * The caller has changed what they wait for. Somebody who begins to wait meanwhile need not be
 * woken: he takes the queue's lock after this function has, then looks, and sees the change.
 * Nor would an end be certain otherwise: a waiter may come again and again.
 *
 * Context: may sleep.
 */
void parkclock_pollers_wake(wait_queue_head_t *queue)
{
	struct wait_queue_entry here, end, *next;
	unsigned int woken = 0;
	unsigned long flags;

	init_waitqueue_func_entry(&here, wakes_nobody);
	init_waitqueue_func_entry(&end, wakes_nobody);
	spin_lock_irqsave(&queue->lock, flags);
	list_add(&here.entry, &queue->head);
	list_add_tail(&end.entry, &queue->head);
	while ((next = list_next_entry(&here, entry)) != &end) {
		/* Past it, and then wake it: it may leave the queue by that. */
		list_move(&here.entry, &next->entry);
		next->func(next, TASK_INTERRUPTIBLE, 0, NULL);
		if (++woken % AT_ONCE)
			continue;
		/* Who leaves the queue now leaves the two marks where they are. */
		spin_unlock_irqrestore(&queue->lock, flags);
		cond_resched();
		spin_lock_irqsave(&queue->lock, flags);
	}
	list_del(&here.entry);
	list_del(&end.entry);
	spin_unlock_irqrestore(&queue->lock, flags);
}
