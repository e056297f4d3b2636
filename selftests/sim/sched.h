/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The simulator: tasks, what they register, and what must hold of that.
 */
#ifndef SIM_SCHED_H
#define SIM_SCHED_H

#include "sim.h"

#define TASKS		10
#define TASK_SIZE	128
#define CLOCKS		2

enum task_state { TASK_NONE, TASK_NEW, TASK_READY, TASK_RUNS, TASK_BLOCKED, TASK_GONE };

/* How a task stops running: see switch_to_task(). */
enum how { SWITCH_PREEMPT, SWITCH_YIELD, SWITCH_BLOCK, SWITCH_SIGNAL, SWITCH_DIE };

/* What is known of the registration of a task with a clock */
struct registration {
	bool on;		/* for certain */
	bool held;		/* counts in checks.holds */
	bool may_hold;		/* counts in checks.taking */
	/* Since when it is sure, or possible, that its CPU time grows; 0: it does not */
	u64 sure_since, possible_since;
	/*
	 * While it is uncertain: a switch to the task has found it; since when the task runs,
	 * and how long it did before. If it turns out to be registered, this was sure.
	 */
	bool found;
	u64 found_since, found_for;
};

struct task {
	struct task_struct *t;
	enum task_state state;
	u32 order;		/* of creation */
	const struct task *creator;
	u32 creator_order;	/* its, as its memory may be another task's by now */
	bool claimed;		/* runs on a CPU, or is about to */
	bool pinned;		/* waits in the kernel */
	bool exits;
	bool unlisted;		/* for a grace period to drop its own reference */
	bool dropped;		/* dead, and its own reference is gone */
	bool runs;		/* from the beginning of the switch to it to the end of the next */
	unsigned int fresh;	/* bits: clocks whose registration the switch to it must see */
	bool runs_surely;	/* from the end of the switch to it to the beginning of the next */
	unsigned int gp[2 * SIM_CPUS];	/* a grace period; see @unlisted */
	struct registration with[CLOCKS];
};

extern struct task tasks[TASKS + SIM_CPUS];

/* Of a clock: what its page says */
struct terms {
	s64 offset_ns[2];	/* of MONOTONIC, BOOTTIME */
	u64 generation;
	u64 state;
};

/* sched.c */
#define HEAP_SIZE	(64 * 1024)
extern unsigned int alloc_failures;
void sched_reset(bool in_use);
struct task *task_of(const struct task_struct *t);
struct task *make_task(int tgid);
void unlist_task(struct task *t);
bool is_idle(const struct task_struct *t);
struct task_struct *idle_task(void);
void switch_to_task(struct task_struct *next, enum how how, unsigned int state);
void call_fork(struct task_struct *parent, struct task_struct *child);
void call_exec(struct task_struct *task, bool gains);
void probes_gone(void);
void callbacks_gone(void);

/* tasks.c */
void tasks_leave_for(struct task_struct *task, bool (*blocked)(const void *arg), const void *arg);
void tasks_switch_begins(struct task *was, struct task *is, bool leaves);
void tasks_switch_called(struct task *was, struct task *is, bool leaves, bool dies);

/* kernel.c */
void forget_works(const void *p, u64 size);
void run_work(struct work_struct *work);
void sim_wait_for_work(struct work_struct *work);
bool work_runs(const void *work);
void check_workers(const struct workqueue_struct *wq);

/* ioctls.c, compiled as the module is */
void ioctl_init(void);
bool ioctl_open(int clock);
void ioctl_close(int clock);
void ioctl_exit(void);
int ioctl_register(int clock, int tid, u32 flags, bool process);
int ioctl_unregister(int clock, int tid, bool process);
u64 ioctl_query(int clock, u64 *missed);
bool would_find(int clock, const struct task_struct *task);
bool is_registered(int clock, const struct task_struct *task, bool *inherit, bool *own);
long refs_in_memory(void);
void ioctl_use(int clock);
int ioctl_stop(int clock);
int ioctl_start(int clock, bool freeze);
struct parkclock_saved;
void ioctl_save(int clock, struct parkclock_saved *saved, struct parkclock_reading *r);
int ioctl_epoch(int clock);
int ioctl_restore(int clock, u64 ns);
int ioctl_set_offsets(int clock, const s64 *to);
u64 ioctl_disruptions(void);
int ioctl_set_guest(int clock, u64 offset, u64 ratio, u32 shift, u64 disruptions);
void ioctl_hold(int clock);
void ioctl_hold_vmclock(int clock);
void ioctl_release(int clock);
int ioctl_publish(int clock);
struct terms ioctl_terms(int clock);
int ioctl_read(int clock, int id, struct parkclock_reading *r);
int read_owned(int clock, int id, bool guest, struct parkclock_reading *r);
int read_vmclock(int clock, struct parkclock_reading *r);
bool anything_registered(void);
bool nobody_frees(int clock);
struct parkclock_timer_set;
struct parkclock_timer_state;
struct parkclock_expired;
bool timer_create(unsigned int timer, int clock, int id);
void timer_destroy(unsigned int timer);
void timer_set(unsigned int timer, struct parkclock_timer_set *to);
void timer_get(unsigned int timer, struct parkclock_timer_state *state);
int timer_take(unsigned int timer, struct parkclock_expired *out);
bool timer_woken(unsigned int timer);
bool timer_waits(unsigned int timer);
u64 cpu_ns(int clock);
const char *cpu_timer_wrong(int clock);

/* timers.c */
void timers_reset(void);
void timers_of_owner(void);
void timers_act(void);
void timers_stopped(void);
void timers_finish(bool stopped);
void timers_of_tasks(void);
void timers_of_tasks_act(void);
void timers_of_tasks_finish(void);

/* owners.c */
void owner_seen(int which, u64 ns);
void owner_reads(int which);
u64 owner_floor(int which);
u64 owner_most(int which);
bool owner_stopped_before(int which, u64 ns);

#endif
