/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A clock: what one open of the device has for itself.
 */
#ifndef PARKCLOCK_CLOCK_H
#define PARKCLOCK_CLOCK_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/parkclock.h>
#include <linux/refcount.h>
#include <linux/wait.h>

#include "page.h"
#include "registration.h"
#include "timebase.h"
#include "wall_timer.h"

struct parkclock_account;
struct parkclock_cpu;
struct parkclock_vmclock;
struct seq_file;

/**
 * struct parkclock - a clock
 * @users:   the open files of its owner and of its views, and its registry
 * @keepers: its owner, and the views that keep its registrations
 * @account: who pays for it
 * @id:      its number
 * @page:    page 0 of its mapping; changed by parkclock_clock_change()
 * @lock:    protects the members from @holds to @vmclock but @fresh. Never taken with mmap_lock
 *	     held: CPU hotplug is waited for under it, and whoever has its lock may wait for that
 * @use_lock: protects @fresh, with what is done because the clock is; innermost, taken with
 *	     mmap_lock held
 * @holds:   number of references to the updater held through this clock
 * @fresh:   nobody has had a chance to read the clock
 * @lived:   the clock has a @boot_ns of its own; else its boot time is the host's
 * @boot_ns: REALTIME when the clock's life began
 * @stopped: the host's clocks when this clock was stopped, if it is stopped
 * @left:    its last keeper has gone
 * @cpu:     adds up what its tasks run, all of it; or NULL. Once set, it stays
 * @vmclock: its VMClock page, or NULL; once set, it stays
 * @jumped:  those who wait for a discontinuity of this clock
 * @timers:  its timers by the wall
 * @registry: the tasks that are registered with this clock
 */
struct parkclock {
	struct kref users;
	refcount_t keepers;
	struct parkclock_account *account;
	u64 id;
	struct parkclock_page page;
	struct mutex lock;	/* see above */
	struct mutex use_lock;	/* see above */
	unsigned int holds;
	bool fresh;
	bool lived;
	s64 boot_ns;
	struct parkclock_now stopped;
	bool left;
	struct parkclock_cpu *cpu;
	struct parkclock_vmclock *vmclock;
	wait_queue_head_t jumped;
	struct parkclock_wall_timers timers;
	struct parkclock_registry registry;
};

struct parkclock *parkclock_clock_create(void);
void parkclock_clock_keep(struct parkclock *clock);
void parkclock_clock_let_go(struct parkclock *clock);
void parkclock_clock_leave(struct parkclock *clock);
void parkclock_clock_put(struct parkclock *clock);
int parkclock_clock_hold(struct parkclock *clock);
int parkclock_clock_release(struct parkclock *clock);
void parkclock_clock_use(struct parkclock *clock);
void parkclock_clock_change(struct parkclock *clock, const struct parkclock_change *to);
u64 parkclock_clock_generation(const struct parkclock *clock);
void parkclock_clock_show(struct parkclock *clock, struct seq_file *m);
struct parkclock_cpu *parkclock_clock_cpu(struct parkclock *clock);
int parkclock_clock_cpu_read(struct parkclock *clock, struct parkclock_reading *r);
void parkclock_clock_query(struct parkclock *clock, struct parkclock_query *q);

int parkclock_clock_set_guest(struct parkclock *clock, const struct parkclock_guest_tsc *tsc);
int parkclock_clock_publish(struct parkclock *clock, unsigned long clock_id);

#endif
