/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The simulator: CPUs that a seed switches, with store buffers, and a counter.
 *
 * One schedule is a run of the module from its load on: some CPUs that each do a list
 * of actions, switched at accesses of shared memory. All randomness comes from the seed,
 * so that a seed is a schedule. Each CPU has a stack of its own; what would happen in an
 * interrupt is called on top of what the CPU is doing. Nothing here runs in parallel.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "kernel.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

#define STACK_SIZE	(64 * 1024)
#define BUFFER		64		/* stores; a power of two */
#define RANGE		512		/* bytes of a plain store that are followed */
#define MS(x)		((u64)(x) * tsc_khz)	/* in cycles */
#define NEVER		(~0ULL)

/* What a schedule may do. A scenario is a set of these. */
enum feature {
	F_RATE, F_DITHER, F_STEP, F_SUSPEND, F_PARAM, F_STOP, F_SOURCE, F_FORK, F_SKEW, F_LATE,
	F_HOLD, F_READ, F_ISOLATED, F_TASK,
	F_OWNER, F_GUEST, F_VMCLOCK, F_TIMER, F_FEATURES
};

extern const char *const feature_names[F_FEATURES];

/* Kinds of scheduling points; the more interesting ones come sooner. */
enum point { P_PLAIN, P_ONCE, P_SYNC, P_KINDS };

/* What a store buffer holds besides stores, done when it gets there. */
enum mark { MARK_VERSION = 1, MARK_READING, MARK_HOLD, MARK_PUT, MARK_OWNED, MARK_STOPPED };

struct store {
	u64 addr;		/* or enum mark */
	u64 value;
	u64 value2;
	u64 at;			/* when it was made */
	unsigned char size;	/* 0: a mark; 255: a barrier */
};

struct cpu {
	void *sp;
	int id;
	u64 ready_at;		/* stopped or asleep until then */
	u64 irq_at;		/* of the next interrupt */
	bool done;
	bool asleep;		/* interrupts end it */
	bool irqs_off;
	bool in_irq;
	bool in_softirq;
	int bh_off;		/* soft interrupts are disabled, nested */
	bool user;		/* in a reader: may be frozen anywhere */
	bool napping;		/* a program that sleeps; it may be woken at @wake_at */
	bool early;		/* woken when a writer stops, not when that goes on */
	u64 wake_at;
	int in_a_row;		/* interrupts, with little done in between */
	bool hold_up;		/* is to be stopped when it has read the counter for a segment */
	int locks;		/* spinlocks held */
	u64 locked;		/* spinlocks taken so far, but in interrupts */
	bool guest;		/* what it reads is a guest's counter */
	bool in_work;		/* in what a thread of the kernel does */
	bool task_waits;	/* a task is in the kernel for something, while another one runs */
	int readers;		/* of RCU, nested */
	unsigned int switches;	/* of tasks, each a quiescent state */
	bool (*blocked)(const void *arg);
	const void *blocked_arg;
	s64 skew;
	struct store buf[BUFFER];
	unsigned int head, tail;	/* from tail to head; they count on */
	unsigned int barriers;
	/* A plain store that the compiler is about to do, or has just done. */
	void *pc, *pend_pc;
	u64 pend_addr;
	unsigned int pend_size;
	u64 pend_old[RANGE / 8];
	/* What it knows for certain */
	unsigned int version;
	u64 seen[2];		/* the most that it has read: MONOTONIC, BOOTTIME */
	u64 incarnation;	/* of the counter, when it was read last */
	u64 cycles;
	/* When its get began: the page, its latch, and sim.events */
	bool get_stale;
	u64 get_seq;
	u64 get_events;
	const char *doing;
};

struct action {
	unsigned char kind;
	unsigned char arg;
	u64 value;
};

#define ACTIONS		8

struct sim {
	u64 now;		/* true time, in cycles */
	u64 offset;		/* counter - now */
	u64 incarnation;	/* of the counter: raised when it begins anew */
	u64 copies;		/* of the machine */
	int budget;
	unsigned int steps, points;
	bool quiet;		/* no switches, no buffers */
	bool buffers;		/* stores are buffered */
	bool weak;
	bool failed;
	bool freeze;
	u64 rng;
	unsigned int mean;	/* points between two decisions */
	unsigned int stop_odds, switch_odds, move_odds;	/* of 256 */
	unsigned int drain_one_in;
	unsigned int move_most;	/* of the counter between two decisions */
	u64 hold_most;		/* cycles for which a store can stay in its buffer */
	u32 shift;		/* of the timekeeper's mult */
	u64 events;		/* counts what excuses an expired page */
	bool features[F_FEATURES];
	struct action program[SIM_CPUS][ACTIONS];
	int lengths[SIM_CPUS];
	u64 skipped;		/* bits: actions that a shrunk schedule leaves out */
	int scheduled_works;
	struct work_struct *works[16];
	u64 queued;		/* works so far */
};

extern struct sim sim;
extern struct cpu cpus[SIM_CPUS];
extern struct cpu *me;
extern bool recording;
extern unsigned long total_points;

extern struct failure {
	const char *kind;	/* one word; NULL: none */
	char what[400];
	bool endless;		/* nothing failed, but it came to no end */
} failure;

static inline u64 rnd64(void)
{
	u64 x = sim.rng;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	sim.rng = x;
	return x * 0x2545f4914f6cdd1dULL;
}

static inline u64 rnd(u64 below)
{
	return (u128)rnd64() * below >> 64;
}

static inline bool one_in(u64 n)
{
	return rnd(n) == 0;
}

/* Log-uniform: every order of magnitude up to @most is as likely. */
static inline u64 rnd_log(u64 most)
{
	unsigned int bits = most ? 64 - __builtin_clzll(most) : 0;
	u64 x = rnd64() >> (63 - rnd(bits + 1)) >> 1;

	return x < most ? x : most;
}

/* cpu.c */
void cpus_reset(void);
bool cpus_run(void);			/* true: came to its end */
void schedule_slow(enum point kind);
void stop_until(u64 when);
void sleep_until(u64 when);
void wait_while(bool (*blocked)(const void *arg), const void *arg);
void deliver(void);
u64 choose_stop(void);
u64 beside(u64 when);
void actor(int cpu);			/* what a CPU does: actors.c */
void finish(void) __attribute__((__noreturn__));
void fail(const char *kind, const char *format, ...)
	__attribute__((__noreturn__, __format__(__printf__, 2, 3)));

/* actors.c */
unsigned int run_interval_ms(void);
unsigned int run_window(void);
void actors_plan(u64 features, bool directed);
void actors_start(void);
void actors_boot(void);
bool try_page(int id);
bool doze_until(u64 when);
u64 choose_news(void);
void end_stop(void);
void end_hold(void);

/* memory.c */
void settle(struct cpu *c);
void drain(struct cpu *c, unsigned int n);
void drain_older(u64 than);
u64 oldest_store(void);
void mark(enum mark kind, u64 value, u64 value2);
void marked(struct cpu *c, enum mark kind, u64 value, u64 value2);	/* check.c */
u64 peek(const volatile void *addr, unsigned int size);
u64 own_view(const volatile void *addr, unsigned int size);

/* sched.c: memory that the module has allocated, and tasks */
extern char heap[];
extern u64 heap_used;
void heap_check(u64 addr);
unsigned int allocations(void);
void run_delayed(void);
void run_callbacks(bool own);
extern unsigned int callback_count;

/* tasks.c */
void tasks_reset(void);
void tasks_boot(void);
void tasks_act(void);
void tasks_finish(void);

/* owners.c */
void owners_reset(void);
void owners_boot(void);
void owners_act(void);
void owners_finish(bool parked);
void owners_marked(enum mark kind, u64 value, u64 value2);
u64 guest_counter(u64 cycles);

/* Before each access: is that memory freed? */
static inline void check_heap(u64 addr)
{
	if (addr - (u64)heap < heap_used)
		heap_check(addr);
}

extern char stacks[SIM_CPUS][STACK_SIZE];

static inline bool on_stack(u64 addr)
{
	return addr - (u64)stacks < sizeof(stacks);
}

static inline bool settled(struct cpu *c)
{
	if (c->pend_size)
		settle(c);
	return !sim.quiet;
}

static inline void point(enum point kind)
{
	static const unsigned char weight[P_KINDS] = { 1, 3, 8 };

	if (!settled(me))
		return;
	sim.points++;
	sim.budget -= weight[kind];
	if (sim.budget <= 0)
		schedule_slow(kind);
}

/* kernel.c */
void kernel_reset(void);
void irq_run(struct cpu *c);
bool irq_work_outstanding(void);
bool timer_overdue(void);
bool timer_queued(void);
u64 timer_due(void);
const struct hrtimer *other_timer(void);
bool timer_in_callback(const void *arg);
void run_works(void);
int set_param(const char *name, unsigned int value);
void call_chain(struct notifier_block *chain, unsigned long action, void *data);
bool percpu_name(u64 addr, char *name, unsigned int size);
extern struct notifier_block *fork_chain;
bool module_lock_held(const raw_spinlock_t *but);
void devices_suspend(bool suspend);
bool timekeeper_lock_is(const raw_spinlock_t *lock);
bool timekeeper_jumps(void);
extern raw_spinlock_t parkclock_timebase_lock;

/* timekeeper.c */
struct version {
	bool usable;
	u32 mult, shift;
	u64 cycle_last;
	u64 base_ns;
	u64 xtime_nsec;
	s64 offs[4];		/* by PARKCLOCK_* */
	u64 incarnation;
	u64 since;		/* true time from which on it counts */
	u64 until;		/* it counts no more (asleep) */
};

enum update {
	U_TICK, U_DITHER, U_RATE, U_STEP, U_LEAP, U_TAI, U_SOURCE, U_SUSPEND, U_FORK,
};

void timekeeper_reset(void);
void timekeeper_update(enum update what, u64 value);
unsigned int version_now(void);		/* the host's clock, as far as this CPU knows */
unsigned int version_last(void);	/* that which may be known to somebody */
u64 version_cycles(const struct version *v, u64 when);
const struct version *version_get(unsigned int index);
u128 version_at(const struct version *v, u64 cycles);	/* MONOTONIC in 2^-56 ns */
u64 timekeeper_cycles(u64 ns);
void timekeeper_made_visible(unsigned int version);

/* check.c */
struct attempt {
	u64 floor[2];
	unsigned int version;
	u64 began;
	u64 events;
	bool excused;
	unsigned int holds;
};

void check_reset(void);
void reading_begin(struct attempt *a);
struct parkclock_reading;
void reading_end(struct attempt *a, int index, const struct parkclock_reading *r, bool slow);
void reading_none(struct attempt *a);
bool within_bound(const struct attempt *a, int index, const struct parkclock_reading *r);
void check_stopped(void);
void hold_taking(void);
void hold_taken(void);
void get_begin(void);
void get_end(void);
void hold_dropping(void);
void hold_dropped(void);
void check_unlocked(const raw_spinlock_t *lock);
void check_tick(void);
void check_end(void);

extern struct checks {
	unsigned int taking;	/* gets that have begun */
	unsigned int holds;	/* gets that have returned, as far as others can know */
	unsigned int puts;	/* puts that have begun */
	int of_tasks;		/* of those holds that are not put: by registered tasks */
	unsigned int put;	/* puts that have returned, as far as others can know */
	int stopped;		/* reasons for which the updater is, or is about to be */
	int ticks;		/* since the last put */
	u64 seen[2];		/* the most that anybody can know of: MONOTONIC, BOOTTIME */
} checks;

/* reader.c, compiled as the module is */
long long read_page(const void *clock, const void *timebase, int id,
		    struct parkclock_reading *r);
int read_slow(const void *clock, int id, struct parkclock_reading *r);
void take_reference(void);
void drop_reference(void);
void updater_stop(void);
void updater_start(void);
int module_init_sim(void);
void module_exit_sim(void);
int updater_state(void);
bool updater_running(void);
u64 page_window(void);
u64 window_end(void);
const void *timebase_map(void);

/* timeline.c */
void record(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
void record_access(char what, void *pc, u64 addr, unsigned int size, u64 value);
void timeline_print(unsigned long most);
void timeline_clear(void);

#endif
