/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A clock: what one open of the device has for itself.
 */
#ifndef PARKCLOCK_CLOCK_H
#define PARKCLOCK_CLOCK_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/parkclock.h>
#include <linux/wait.h>

#include "guest.h"
#include "tasks.h"
#include "timebase.h"

struct page;
struct parkclock_vmclock;
struct seq_file;

/**
 * struct parkclock - a clock
 * @users:   its owner's open file, and those of its views
 * @id:      its number
 * @page:    page 0 of its mapping
 * @map:     the same, for the kernel; changed under @lock and the timebase's lock
 * @lock:    protects what follows, up to @jumped; taken with mmap_lock held
 * @holds:   number of references to the updater held through this clock
 * @fresh:   nobody has had a chance to read it
 * @lived:   @boot_ns is its own, and not the host's
 * @boot_ns: REALTIME when its life began
 * @stopped: the host's clocks when this one was stopped, if it is
 * @guest:   for whose counter the page is; changed as @map
 * @vmclock: its VMClock page, if it has one; then for good
 * @jumped:  who waits for a discontinuity of it
 * @tasks:   those that are registered with it
 */
struct parkclock {
	struct kref users;
	u64 id;
	struct page *page;
	struct parkclock_clock *map;
	struct mutex lock;	/* see above */
	unsigned int holds;
	bool fresh;
	bool lived;
	s64 boot_ns;
	struct parkclock_now stopped;
	struct parkclock_guest guest;
	struct parkclock_vmclock *vmclock;
	wait_queue_head_t jumped;
	struct parkclock_tasks tasks;
};

struct parkclock *parkclock_clock_create(void);
void parkclock_clock_leave(struct parkclock *clock);
void parkclock_clock_put(struct parkclock *clock);
int parkclock_clock_hold(struct parkclock *clock);
int parkclock_clock_release(struct parkclock *clock);
void parkclock_clock_use(struct parkclock *clock);
u64 parkclock_clock_generation(const struct parkclock *clock);
void parkclock_clock_show(struct parkclock *clock, struct seq_file *m);
void parkclock_clock_query(struct parkclock *clock, struct parkclock_query *q);

int parkclock_clock_epoch(struct parkclock *clock);
int parkclock_clock_offsets(struct parkclock *clock, const struct parkclock_offsets *offsets);
int parkclock_clock_stop(struct parkclock *clock);
int parkclock_clock_start(struct parkclock *clock, unsigned long gap);
void parkclock_clock_save(struct parkclock *clock, struct parkclock_saved *saved);
int parkclock_clock_restore(struct parkclock *clock, const struct parkclock_saved *saved,
			    u32 gap);
int parkclock_clock_set_guest(struct parkclock *clock, const struct parkclock_guest_tsc *tsc);
int parkclock_clock_publish(struct parkclock *clock, unsigned long clock_id);

#endif
