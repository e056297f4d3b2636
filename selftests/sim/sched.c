// SPDX-License-Identifier: GPL-2.0
/*
 * Tasks, as the scheduler has them; grace periods; tracepoints; memory.
 *
 * A task has no stack of its own: what it does is done by the CPU that it runs on. A task
 * that waits in the kernel for a grace period is switched out, and comes back on that CPU
 * when the grace period is over. Every other task may come back on any CPU.
 *
 * A switch does what __schedule() does, in its order: interrupts off; a quiescent state is
 * reported; the lock; the probe; on_cpu of the next task; on_cpu of the previous one. A grace
 * period is as short as RCU allows: it ends when each CPU was out of all readers once, or has
 * reported a quiescent state. Its end orders all that these CPUs did before that.
 */
#include <stdio.h>
#include <string.h>
#include <linux/parkclock.h>

#include "sim.h"
#include "sched.h"

/* Memory */

char heap[HEAP_SIZE] __attribute__((__aligned__(PAGE_SIZE)));
u64 heap_used;

enum { MEMORY_NONE, MEMORY_USED, MEMORY_FREED };

static unsigned char heap_state[HEAP_SIZE / 64];	/* of each 64 bytes */
static unsigned short heap_size[HEAP_SIZE / 64];	/* where an allocation begins */
unsigned int alloc_failures;

void heap_check(u64 addr)
{
	if (heap_state[(addr - (u64)heap) / 64] == MEMORY_FREED)
		fail("freed", "%s uses memory that is freed, %llu bytes into the heap", me->doing,
		     addr - (u64)heap);
}

static void set_heap(const void *p, unsigned char state)
{
	u64 at = ((const char *)p - heap) / 64;

	memset(heap_state + at, state, heap_size[at] / 64);
	if (state == MEMORY_FREED)
		memset(heap + at * 64, 0x6b, heap_size[at]);
}

void *sim_alloc(size_t size)
{
	void *p = heap + heap_used;

	settled(me);
	size = (size + 63) & ~63UL;
	if ((!sim.quiet && one_in(50)) || heap_used + size > HEAP_SIZE || size > 32768) {
		alloc_failures++;
		return NULL;
	}
	heap_size[heap_used / 64] = size;
	heap_used += size;
	set_heap(p, MEMORY_USED);
	return p;
}

void sim_free(const void *p)
{
	u64 at = ((const char *)p - heap) / 64;

	if (!p)
		return;
	settled(me);
	if (at >= ARRAY_SIZE(heap_state) || !heap_size[at] || heap_state[at] != MEMORY_USED)
		fail("freed", "%s frees what is not allocated", me->doing);
	forget_works(p, heap_size[at]);
	set_heap(p, MEMORY_FREED);
	if (recording)
		record("frees %u bytes, %llu bytes into the heap", heap_size[at], at * 64);
}

/* How many there are; the tasks themselves are others. */
unsigned int allocations(void)
{
	unsigned int at = sim.features[F_TASK] ? (TASKS + SIM_CPUS) * TASK_SIZE / 64 : 0, n = 0;

	for (; at < heap_used / 64; at++)
		n += heap_size[at] && heap_state[at] == MEMORY_USED;
	return n;
}

/* RCU */

void sim_rcu_read_lock(void)
{
	settled(me);
	me->readers++;
}

void sim_rcu_read_unlock(void)
{
	settled(me);
	if (!me->readers--)
		fail("rcu", "a reader ends that has not begun");
	point(P_ONCE);
}

struct grace_period {
	unsigned int switches[SIM_CPUS];
	bool passed[SIM_CPUS];
};

static void begin_grace_period(struct grace_period *gp)
{
	int i;

	for (i = 0; i < sim_cpus; i++) {
		gp->switches[i] = cpus[i].switches;
		gp->passed[i] = false;
	}
}

/* Has it not ended yet? Any CPU may ask. */
static bool goes_on(const void *arg)
{
	struct grace_period *gp = (void *)arg;
	bool ended = true;
	int i;

	for (i = 0; i < sim_cpus; i++) {
		struct cpu *c = &cpus[i];

		if (gp->passed[i])
			continue;
		if (c->switches != gp->switches[i] ||
		    !(c->readers || c->irqs_off || c->in_irq))
			gp->passed[i] = true;
		else
			ended = false;
	}
	return !ended;
}

/* What the CPUs did before it has reached memory. */
static void end_grace_period(void)
{
	int i;

	settled(me);
	for (i = 0; i < sim_cpus; i++)
		drain(&cpus[i], BUFFER);
}

void sim_synchronize_rcu(void)
{
	struct task_struct *task = sim_current();
	struct grace_period gp;

	settled(me);
	if (sim.quiet)
		return;
	if (me->readers || me->irqs_off || me->in_irq)
		fail("context", "a grace period is waited for in a reader");
	sim_mb();
	begin_grace_period(&gp);
	if (recording)
		record("waits for a grace period");
	point(P_SYNC);
	if (task && !is_idle(task) && !me->in_work)
		tasks_leave_for(task, goes_on, &gp);
	else
		wait_while(goes_on, &gp);
	end_grace_period();
	if (recording)
		record("the grace period is over");
}

/* What call_rcu() was called for, in that order */
static struct callback {
	struct rcu_head *head;
	struct grace_period gp;
	u64 number;
	int cpu;
	bool runs;
} callbacks[128];
unsigned int callback_count;
static u64 callbacks_called;

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
	struct callback *c;

	if (callback_count == ARRAY_SIZE(callbacks))
		fail("rcu", "too many callbacks");
	WRITE_ONCE(head->next, NULL);
	WRITE_ONCE(head->func, func);
	sim_mb();
	c = &callbacks[callback_count++];
	*c = (struct callback){ .head = head, .number = ++callbacks_called, .cpu = me->id };
	begin_grace_period(&c->gp);
	if (recording)
		record("is to be called back after a grace period");
	point(P_SYNC);
}

static void free_whole(struct rcu_head *head)
{
	kfree(head->whole);
}

void sim_kfree_rcu(struct rcu_head *head, void *p)
{
	head->whole = p;
	call_rcu(head, free_whole);
}

/* After the module has gone: what is still to be called back is only what kfree_rcu() frees. */
void callbacks_gone(void)
{
	unsigned int i;

	for (i = 0; i < callback_count; i++)
		if (callbacks[i].head->func != free_whole)
			fail("callback", "the module has gone, and is to be called back");
}

/* The first one that can be called; NULL if there is none. */
static struct callback *due_callback(bool own)
{
	unsigned int i;

	for (i = 0; i < callback_count; i++) {
		struct callback *c = &callbacks[i];

		if (!c->runs && (!own || c->cpu == me->id) && !goes_on(&c->gp))
			return c;
	}
	return NULL;
}

/*
 * Those whose grace period is over: in a soft interrupt those of this CPU, else in a thread
 * that does so for any CPU, with soft interrupts disabled. Each stays in the list until it
 * has returned.
 */
void run_callbacks(bool own)
{
	const char *doing = me->doing;
	struct callback *c;

	if (!callback_count || me->bh_off || me->irqs_off || me->in_irq || sim.quiet)
		return;
	settled(me);
	me->bh_off++;
	me->doing = "callback";
	while ((c = due_callback(own))) {
		struct rcu_head *head = c->head;
		const u64 number = c->number;
		void (*func)(struct rcu_head *head);

		c->runs = true;
		end_grace_period();
		if (recording)
			record("a grace period is over: calls back");
		func = READ_ONCE(head->func);
		func(head);
		settled(me);
		/* Meanwhile others before it may have gone. */
		for (c = callbacks; c->number != number; c++)
			;
		memmove(c, c + 1, (char *)&callbacks[callback_count--] - (char *)(c + 1));
	}
	me->doing = doing;
	me->bh_off--;
}

static bool callbacks_left(u64 last)
{
	return callback_count && callbacks[0].number <= last;
}

static bool callbacks_wait(const void *arg)
{
	return callbacks_left(*(const u64 *)arg) && !due_callback(false);
}

/* What it waits for is done by whoever comes first, also by who waits. */
void rcu_barrier(void)
{
	u64 last;

	if (me->readers || me->irqs_off || me->in_irq || me->bh_off)
		fail("context", "callbacks are waited for in a reader");
	point(P_SYNC);
	last = callbacks_called;
	while (callbacks_left(last)) {
		wait_while(callbacks_wait, &last);
		run_callbacks(false);
	}
}

static struct workqueue_struct *rcu_work_wq;

static void queue_after_grace_period(struct rcu_head *head)
{
	struct rcu_work *work = container_of(head, struct rcu_work, rcu);

	work->work.pending = false;
	queue_work(rcu_work_wq, &work->work);
}

bool queue_rcu_work(struct workqueue_struct *wq, struct rcu_work *work)
{
	point(P_SYNC);
	if (work->work.pending)
		return false;
	work->work.pending = true;
	rcu_work_wq = wq;
	call_rcu(&work->rcu, queue_after_grace_period);
	return true;
}

bool flush_rcu_work(struct rcu_work *work)
{
	settled(me);
	if (work->work.pending)
		rcu_barrier();
	return flush_work(&work->work);
}

/* Tracepoints */

enum { SCHED_EXEC, SCHED_FORK, SCHED_SWITCH, SCHED_WAKEUP };

static struct tracepoint tracepoints[] = {
	[SCHED_EXEC] = { .name = "sched_process_exec" },
	[SCHED_FORK] = { .name = "sched_process_fork" },
	[SCHED_SWITCH] = { .name = "sched_switch" },
	[SCHED_WAKEUP] = { .name = "sched_wakeup" },
};

int tracepoint_probe_register(struct tracepoint *tp, void *probe, void *data)
{
	(void)data;
	if (me->irqs_off || me->in_irq)
		fail("context", "a probe is attached with interrupts disabled");
	point(P_SYNC);
	sim_mb();
	if (tp->probe)
		fail("probe", "is attached twice");
	tp->probe = probe;
	point(P_SYNC);
	return 0;
}

int tracepoint_probe_unregister(struct tracepoint *tp, void *probe, void *data)
{
	(void)data;
	point(P_SYNC);
	sim_mb();
	if (tp->probe != probe)
		fail("probe", "is detached, and was not attached");
	tp->probe = NULL;
	point(P_SYNC);
	return 0;
}

void sim_each_tracepoint(void (*fn)(struct tracepoint *tp, void *data), void *data)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tracepoints); i++)
		fn(&tracepoints[i], data);
}

/* After the module has detached its probes for good and waited for them. */
void probes_gone(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tracepoints); i++) {
		if (tracepoints[i].probe)
			fail("probe", "%s is attached after exit", tracepoints[i].name);
		if (tracepoints[i].running)
			fail("probe", "%s runs after exit", tracepoints[i].name);
	}
}

static void call_switch(bool preempt, struct task_struct *prev, struct task_struct *next,
			unsigned int prev_state)
{
	struct tracepoint *tp = &tracepoints[SCHED_SWITCH];
	sim_switch_probe *probe = tp->probe;

	tp->running += !!probe;
	point(P_SYNC);
	if (!probe)
		return;
	probe(NULL, preempt, prev, next, prev_state);
	settled(me);
	tp->running--;
}

void call_fork(struct task_struct *parent, struct task_struct *child)
{
	struct tracepoint *tp = &tracepoints[SCHED_FORK];
	sim_fork_probe *probe = tp->probe;

	sim_rcu_read_lock();
	tp->running += !!probe;
	point(P_SYNC);
	if (probe) {
		probe(NULL, parent, child);
		settled(me);
		tp->running--;
	}
	sim_rcu_read_unlock();
}

/* The task has a new program, and maybe other ids. */
void call_exec(struct task_struct *task, bool gains)
{
	struct tracepoint *tp = &tracepoints[SCHED_EXEC];
	struct linux_binprm bprm = { .secureexec = gains };
	sim_exec_probe *probe;

	if (gains)
		sim_release(&task->cred, sizeof(task->cred), (u64)&sim_gained);
	point(P_SYNC);
	sim_rcu_read_lock();
	probe = tp->probe;
	tp->running += !!probe;
	point(P_SYNC);
	if (probe) {
		probe(NULL, task, task->pid, &bprm);
		settled(me);
		tp->running--;
	}
	sim_rcu_read_unlock();
}

/* Tasks */

struct user_namespace init_user_ns;
const struct cred sim_user = { .user_ns = &init_user_ns };
const struct cred sim_gained = { .euid = { 1 }, .user_ns = &init_user_ns };

struct task tasks[TASKS + SIM_CPUS];
static struct task_struct *running[SIM_CPUS];
static u32 listed;
static int last_pid;

static struct task_struct *slot(unsigned int i)
{
	return (struct task_struct *)(heap + i * TASK_SIZE);
}

struct task *task_of(const struct task_struct *t)
{
	return &tasks[((const char *)t - heap) / TASK_SIZE];
}

bool is_idle(const struct task_struct *t)
{
	return task_of(t) >= tasks + TASKS;
}

struct task_struct *sim_current(void)
{
	return running[me->id];
}

static void free_task(struct task *t)
{
	if (recording)
		record("task %d is freed", t->t->pid);
	t->state = TASK_NONE;
	set_heap(t->t, MEMORY_FREED);
}

struct task_struct *sim_get_task(struct task_struct *task)
{
	settled(me);
	heap_check((u64)task);
	task->usage++;
	return task;
}

void sim_put_task(struct task_struct *task)
{
	settled(me);
	heap_check((u64)task);
	if (!--task->usage)
		free_task(task_of(task));
}

/*
 * The task is no more among the threads of its process. Its own reference is dropped a grace
 * period after that, and after its last switch.
 */
void unlist_task(struct task *t)
{
	sim_store(&t->t->listed, 4, 0);
	sim_mb();
	t->unlisted = true;
	begin_grace_period((struct grace_period *)t->gp);
}

static void reclaim(void)
{
	int i;

	for (i = 0; i < TASKS; i++) {
		struct task *t = &tasks[i];

		if (t->state != TASK_GONE || !t->unlisted || t->dropped || goes_on(t->gp))
			continue;
		end_grace_period();
		t->dropped = true;
		sim_put_task(t->t);
	}
}

struct pid *find_get_pid(int tid)
{
	int i;

	point(P_SYNC);
	for (i = 0; i < TASKS; i++)
		if (tasks[i].state != TASK_NONE && tasks[i].t->pid == tid &&
		    peek(&tasks[i].t->listed, 4))
			return (struct pid *)tasks[i].t;
	return NULL;
}

struct task_struct *get_pid_task(struct pid *pid, int type)
{
	(void)type;
	return pid ? sim_get_task((struct task_struct *)pid) : NULL;
}

/* The next thread of the process after this one, in the order of their creation */
struct task_struct *sim_next_thread(const struct task_struct *of, const struct task_struct *after)
{
	struct task_struct *next = NULL;
	u32 from, first = ~0U;
	int i;

	point(P_ONCE);
	if (!me->readers)
		fail("rcu", "threads are walked along without a reader");
	from = after ? task_of(after)->order : 0;
	for (i = 0; i < TASKS; i++) {
		const struct task *t = &tasks[i];

		if (t->state != TASK_NONE && t->t->tgid == of->tgid && t->order > from &&
		    t->order < first && own_view(&t->t->listed, 4)) {
			next = t->t;
			first = t->order;
		}
	}
	return next;
}

/* A task that nobody else knows of yet; NULL if there is no room. */
struct task *make_task(int tgid)
{
	struct task *t;
	int i;

	for (i = 0; i < TASKS && tasks[i].state != TASK_NONE; i++)
		;
	if (i == TASKS)
		return NULL;
	t = &tasks[i];
	memset(t, 0, sizeof(*t));
	t->t = slot(i);
	t->state = TASK_NEW;
	t->order = ++listed;
	heap_size[i * TASK_SIZE / 64] = TASK_SIZE;
	set_heap(t->t, MEMORY_USED);
	*t->t = (struct task_struct){
		.pid = ++last_pid,
		.slot = i,
		.usage = 1,
		.cpu = me->id,
		.cred = sim_current()->cred,
	};
	t->t->tgid = tgid ? tgid : t->t->pid;
	t->t->group_leader = t->t;
	return t;
}

/* To another task, or to the idle one: see enum how. */
void switch_to_task(struct task_struct *next, enum how how, unsigned int state)
{
	struct task_struct *prev = sim_current();
	struct task *was = task_of(prev), *is = task_of(next);
	const char *doing = me->doing;
	unsigned long flags;
	bool leaves;

	me->doing = "switch";
	is->claimed = true;
	if (state)
		sim_store(&prev->__state, 4, state);
	flags = sim_irq_save();
	me->switches++;
	point(P_SYNC);
	sim_mb();
	leaves = how == SWITCH_BLOCK || how == SWITCH_DIE;
	/* A signal keeps it from blocking. */
	if (how == SWITCH_SIGNAL)
		sim_store(&prev->__state, 4, 0);
	sim_store(&next->cpu, 4, me->id);
	if (recording)
		record("switches from task %d to task %d%s", prev->pid, next->pid,
		       how == SWITCH_DIE ? ", and for the last time" :
		       leaves ? ", to block" : "");
	tasks_switch_begins(was, is, leaves || how == SWITCH_SIGNAL);
	call_switch(how == SWITCH_PREEMPT, prev, next, state);
	tasks_switch_called(was, is, leaves || how == SWITCH_SIGNAL, how == SWITCH_DIE);
	point(P_SYNC);
	sim_store(&next->on_cpu, 4, 1);
	running[me->id] = next;
	is->state = TASK_RUNS;
	point(P_ONCE);
	sim_release(&prev->on_cpu, 4, 0);
	was->claimed = false;
	if (how == SWITCH_DIE) {
		begin_grace_period((struct grace_period *)was->gp);
		was->state = TASK_GONE;
	} else {
		was->state = leaves ? TASK_BLOCKED : TASK_READY;
	}
	sim_irq_restore(flags);
	reclaim();
	run_callbacks(true);
	me->doing = doing;
}

struct task_struct *idle_task(void)
{
	return tasks[TASKS + me->id].t;
}

_Static_assert(sizeof(struct grace_period) <= sizeof(tasks[0].gp), "a grace period has no room");
_Static_assert(sizeof(struct task_struct) <= TASK_SIZE, "a task has no room");

/* Odds and ends */

static struct delayed_work *delayed;

bool mod_delayed_work(struct workqueue_struct *wq, struct delayed_work *work,
		      unsigned long delay)
{
	(void)delay;
	point(P_SYNC);
	check_workers(wq);
	delayed = work;
	work->work.wq = wq;
	work->work.number = ++sim.queued;
	work->due = sim.now + rnd_log(MS(run_interval_ms()) * 4);
	return true;
}

bool cancel_delayed_work_sync(struct delayed_work *work)
{
	bool was = delayed;

	settled(me);
	delayed = NULL;
	sim_wait_for_work(&work->work);
	return was;
}

/* What a worker thread does when its time has come */
void run_delayed(void)
{
	struct delayed_work *work = delayed;

	if (!work || work->due > sim.now || work_runs(&work->work))
		return;
	delayed = NULL;
	run_work(&work->work);
}

u64 get_random_u64(void)
{
	return rnd64();
}

u32 crc32_le(u32 crc, const u8 *p, size_t n)
{
	while (n--) {
		int i;

		crc ^= *p++;
		for (i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return crc;
}

void *memchr_inv(const void *p, int c, size_t n)
{
	const u8 *at = p;

	for (; n; n--, at++)
		if (*at != (u8)c)
			return (void *)at;
	return NULL;
}

/* Before the schedule; @in_use: with tasks, and what belongs to them */
void sched_reset(bool in_use)
{
	unsigned int i;

	memset(heap, 0, heap_used);
	memset(heap_state, 0, heap_used / 64);
	memset(heap_size, 0, heap_used / 64 * sizeof(*heap_size));
	heap_used = 0;
	alloc_failures = 0;
	delayed = NULL;
	callback_count = 0;
	memset(running, 0, sizeof(running));
	for (i = 0; i < ARRAY_SIZE(tracepoints); i++) {
		tracepoints[i].probe = NULL;
		tracepoints[i].running = 0;
	}
	if (!in_use)
		return;
	memset(tasks, 0, sizeof(tasks));
	listed = 0;
	last_pid = 0;
	heap_used = (TASKS + SIM_CPUS) * TASK_SIZE;
	for (i = 0; i < (unsigned int)sim_cpus; i++) {
		struct task *t = &tasks[TASKS + i];

		t->t = slot(TASKS + i);
		t->state = TASK_RUNS;
		t->claimed = true;
		t->t->on_cpu = 1;
		t->t->cpu = i;
		t->t->usage = 1;
		t->t->flags = PF_KTHREAD;
		t->t->cred = &sim_user;
		running[i] = t->t;
	}
}
