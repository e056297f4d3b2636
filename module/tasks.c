// SPDX-License-Identifier: GPL-2.0
/*
 * Registered tasks: whose they are, and who may register them.
 *
 * A registration is in the table of switch.c until it is taken back or its task
 * dies. Whoever takes it out of there discards it: out of the table nobody finds
 * it any more, and reap() frees it after a grace period.
 *
 * It has no reference to its task, and keeps nobody from going: see switch.c.
 */
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/log2.h>
#include <linux/pid.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "params.h"
#include "switch.h"
#include "tasks.h"
#include "timebase.h"

/* Of a size that is a power of two, which aligns it by whole cache lines. */
static struct parkclock_task *alloc(gfp_t gfp)
{
	return kzalloc(roundup_pow_of_two(sizeof(struct parkclock_task)), gfp);
}

/*
 * Memory for registrations that are inherited. On PREEMPT_RT nothing can be
 * allocated in the probe that needs it, so some is kept, charged to nobody, and made
 * good for soon after; elsewhere there is none of this.
 */
#define SPARES	(IS_ENABLED(CONFIG_PREEMPT_RT) ? 256 : 0)

static LLIST_HEAD(spares);
static atomic_t spares_count = ATOMIC_INIT(0);
static DEFINE_RAW_SPINLOCK(spares_lock);	/* taking one */

static void refill(struct work_struct *work)
{
	while (atomic_read(&spares_count) < SPARES) {
		struct parkclock_task *t = alloc(GFP_KERNEL);

		if (!t)
			return;
		atomic_inc(&spares_count);
		llist_add(&t->gone_link, &spares);
	}
}

static DECLARE_WORK(refill_work, refill);

static void queue_refill(struct irq_work *work)
{
	queue_work(system_highpri_wq, &refill_work);
}

static struct irq_work refill_irq = IRQ_WORK_INIT_HARD(queue_refill);

static struct parkclock_task *take_spare(void)
{
	struct llist_node *node;
	unsigned long flags;

	raw_spin_lock_irqsave(&spares_lock, flags);
	node = llist_del_first(&spares);
	raw_spin_unlock_irqrestore(&spares_lock, flags);
	irq_work_queue(&refill_irq);
	if (!node)
		return NULL;
	atomic_dec(&spares_count);
	return llist_entry(node, struct parkclock_task, gone_link);
}

/* For a child, in a probe. */
static struct parkclock_task *alloc_in_probe(void)
{
	if (SPARES)
		return take_spare();
	return alloc(GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT);
}

static void free_in_probe(struct parkclock_task *t)
{
	if (SPARES) {
		memset(t, 0, sizeof(*t));
		atomic_inc(&spares_count);
		llist_add(&t->gone_link, &spares);
	} else {
		kfree(t);
	}
}

/* Room for @n more? Then it is theirs. */
static bool reserve(struct parkclock_tasks *tasks, unsigned int n)
{
	int count = atomic_read(&tasks->count);

	do {
		if (count + n > parkclock_max_tasks())
			return false;
	} while (!atomic_try_cmpxchg(&tasks->count, &count, count + n));
	return true;
}

/**
 * parkclock_tasks_inherit() - register a task as its parent is
 * @parent: a registration of the parent
 * @child:  the task; it has not run yet
 *
 * Nobody can be told of a failure, it is only counted: the child finds an expired
 * page, as any task does that is not registered.
 *
 * Context: the parent's, preemption may be disabled; an RCU reader.
 */
void parkclock_tasks_inherit(struct parkclock_task *parent, struct task_struct *child)
{
	struct parkclock_tasks *tasks = parent->tasks;
	struct parkclock_task *t = NULL;
	int err = -ENOSPC;

	if (!reserve(tasks, 1))
		goto missed;
	t = alloc_in_probe();
	if (t) {
		parkclock_switch_prepare(t, tasks, child, true);
		err = parkclock_switch_add(t, parent);
		if (!err) {
			/* The parent's pin is there until we are no reader any more. */
			parkclock_switch_pin();
			return;
		}
		free_in_probe(t);
	}
	atomic_dec(&tasks->count);
	/* The others are no loss: it is registered already, or the parent no more. */
missed:
	if (err == -ENOSPC)
		atomic64_inc(&tasks->missed);
}

/**
 * parkclock_tasks_discard() - free a registration, later
 * @t: it; out of the table, by the caller
 *
 * Context: any but NMI, also under a run-queue lock.
 */
void parkclock_tasks_discard(struct parkclock_task *t)
{
	struct parkclock_tasks *tasks = t->tasks;

	atomic_dec(&tasks->count);
	llist_add(&t->gone_link, &tasks->gone);
	irq_work_queue(&tasks->reap_irq);
}

static void queue_reap(struct irq_work *work)
{
	schedule_work(&container_of(work, struct parkclock_tasks, reap_irq)->reap_work);
}

static void reap(struct work_struct *work)
{
	struct parkclock_tasks *tasks = container_of(work, struct parkclock_tasks, reap_work);
	struct parkclock_task *t, *next;
	struct llist_node *gone;
	unsigned int n = 0;
	bool holding;

	mutex_lock(&tasks->lock);
	gone = llist_del_all(&tasks->gone);
	llist_for_each_entry(t, gone, gone_link) {
		tasks->past += parkclock_switch_ran(t, &holding);
		parkclock_switch_unlist(t);
	}
	mutex_unlock(&tasks->lock);
	if (!gone)
		return;
	/* Probes may have found it before it was taken out of the table. */
	synchronize_rcu();
	llist_for_each_entry_safe(t, next, gone, gone_link) {
		kfree(t);
		n++;
	}
	parkclock_switch_unpin(n);
}

/* The task that a request names, with a reference to it. */
static struct task_struct *get_task(s32 tid)
{
	struct task_struct *task = NULL;
	struct pid *pid;

	if (!tid)
		return get_task_struct(current);
	pid = find_get_pid(tid);
	if (pid)
		task = get_pid_task(pid, PIDTYPE_PID);
	put_pid(pid);
	return task ? task : ERR_PTR(-ESRCH);
}

/* May the caller register @task, of another process? As for ptrace(), but for groups. */
static bool same_user(const struct task_struct *task)
{
	const struct cred *its = __task_cred(task);
	kuid_t uid = current_fsuid();

	if (uid_eq(uid, its->uid) && uid_eq(uid, its->euid) && uid_eq(uid, its->suid))
		return true;
	return ns_capable(its->user_ns, CAP_SYS_PTRACE);
}

/* May this be registered with the clock, and is it not yet? */
static int check(const struct parkclock_tasks *tasks, struct task_struct *task, bool others)
{
	if (!same_thread_group(task, current)) {
		/* PF_KTHREAD does not change; its neighbours do. */
		if (!others || data_race(task->flags) & PF_KTHREAD || !same_user(task))
			return -EPERM;
	}
	return parkclock_switch_check(tasks, task);
}

/* Registrations on their way; the first @used have a task, and a reference to it. */
struct batch {
	struct parkclock_task **task;
	unsigned int size;
	unsigned int used;
};

static void batch_free(struct batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->used; i++)
		put_task_struct(batch->task[i]->task);
	for (i = 0; i < batch->size; i++)
		kfree(batch->task[i]);
	kvfree(batch->task);
	memset(batch, 0, sizeof(*batch));
}

static int batch_alloc(struct batch *batch, unsigned int size)
{
	batch->task = kvcalloc(size, sizeof(*batch->task), GFP_KERNEL_ACCOUNT);
	if (!batch->task)
		return -ENOMEM;
	while (batch->size < size) {
		struct parkclock_task *t = alloc(GFP_KERNEL_ACCOUNT);

		if (!t) {
			batch_free(batch);
			return -ENOMEM;
		}
		batch->task[batch->size++] = t;
	}
	return 0;
}

/*
 * Fill the batch with @task, or with the threads of its process that are not
 * registered. Returns how many there are, maybe more than would fit, or an error.
 */
static int choose(struct parkclock_tasks *tasks, struct task_struct *task, u32 flags, bool others,
		  struct batch *batch)
{
	int err = -ESRCH, wanted = 0;
	struct task_struct *thread;

	rcu_read_lock();
	for_each_thread(task, thread) {
		if (thread != task && !(flags & PARKCLOCK_TASK_PROCESS))
			continue;
		/* One that dies just now is found out by settle(). */
		if (data_race(thread->exit_state))
			continue;
		err = check(tasks, thread, others);
		if (err == -EEXIST)
			continue;
		if (err)
			break;
		if (wanted++ < batch->size)
			parkclock_switch_prepare(batch->task[batch->used++], tasks,
						 get_task_struct(thread),
						 flags & PARKCLOCK_TASK_INHERIT);
	}
	rcu_read_unlock();
	if (wanted && (!err || err == -EEXIST))
		return wanted;
	return err;
}

/* The same, with a batch of the right size. Returns 0 or an error. */
static int collect(struct parkclock_tasks *tasks, struct task_struct *task, u32 flags,
		   bool others, struct batch *batch)
{
	int wanted, err;

	for (;;) {
		wanted = choose(tasks, task, flags, others, batch);
		if (wanted == batch->used)
			return 0;
		batch_free(batch);
		if (wanted < 0)
			return wanted;
		if (fatal_signal_pending(current))
			return -EINTR;
		/* Some more, as they may be creating threads. */
		err = batch_alloc(batch, wanted + wanted / 8);
		if (err)
			return err;
	}
}

/* Those that cannot be added are freed; another thread of the caller's was faster. */
static int add(struct parkclock_tasks *tasks, struct batch *batch)
{
	unsigned int i, added = 0;
	int err;

	err = parkclock_switch_pin();
	if (err)
		return err;
	if (!reserve(tasks, batch->used)) {
		parkclock_switch_unpin(1);
		return -ENOSPC;
	}
	tasks->used = true;
	for (i = 0; i < batch->used; i++) {
		struct parkclock_task *t = batch->task[i];

		err = parkclock_switch_add(t, NULL);
		if (err) {
			atomic_dec(&tasks->count);
			put_task_struct(t->task);
			kfree(t);
		} else {
			parkclock_switch_pin();
			batch->task[added++] = t;
		}
	}
	for (; i < batch->size; i++)
		kfree(batch->task[i]);
	batch->used = added;
	batch->size = 0;
	parkclock_switch_unpin(1);
	return added ? 0 : err;
}

/* The tasks that run already are protected from now on. */
static int settle(struct batch *batch)
{
	bool others = false;
	int err = -ESRCH;
	unsigned int i;

	for (i = 0; i < batch->used; i++)
		others |= batch->task[i]->task != current;
	/* The switches that did not see the registrations are over then. */
	if (others)
		synchronize_rcu();
	for (i = 0; i < batch->used; i++) {
		struct parkclock_task *t = batch->task[i];

		if (parkclock_switch_settle(t))
			err = 0;
		else if (parkclock_switch_remove(t))
			parkclock_tasks_discard(t);
	}
	return err;
}

static int register_once(struct parkclock_tasks *tasks, struct task_struct *task, u32 flags,
			 bool others)
{
	struct batch batch = {};
	int err;

	/* reap() does not free what is in the batch. */
	lockdep_assert_held(&tasks->lock);

	err = collect(tasks, task, flags, others, &batch);
	if (!err)
		err = add(tasks, &batch);
	if (!err)
		err = settle(&batch);
	batch_free(&batch);
	return err;
}

/*
 * Threads that were created while their process was being registered, by one that was
 * to pass its registration on but was not seen to. As with all that is inherited,
 * a failure is only counted.
 */
static void catch_up(struct parkclock_tasks *tasks, struct task_struct *task, u32 flags,
		     bool others)
{
	int tries = 8, err;

	/* Once is enough, unless a thread that it finds has created another just before. */
	do {
		/* Add, then look for threads; pairs with the one in on_fork(). */
		smp_mb();
		err = register_once(tasks, task, flags, others);
	} while (!err && --tries);
	if (err != -EEXIST && err != -ESRCH)
		atomic64_inc(&tasks->missed);
}

/**
 * parkclock_tasks_register() - register a task, or all threads of a process
 * @tasks:  the clock's registrations
 * @tid:    id of a thread for the caller, 0 for itself; not negative
 * @flags:  PARKCLOCK_TASK_*
 * @others: tasks of other processes may be registered, if they are the user's
 *
 * Context: may sleep, also for some grace periods.
 * Return: 0 or an error number; see PARKCLOCK_IOC_REGISTER.
 */
int parkclock_tasks_register(struct parkclock_tasks *tasks, s32 tid, u32 flags, bool others)
{
	struct task_struct *task = get_task(tid);
	int err;

	if (IS_ERR(task))
		return PTR_ERR(task);
	if (SPARES && flags & PARKCLOCK_TASK_INHERIT)
		refill(&refill_work);
	err = mutex_lock_killable(&tasks->lock);
	if (err)
		goto put_task;
	err = register_once(tasks, task, flags, others);
	if (!err && flags == (PARKCLOCK_TASK_PROCESS | PARKCLOCK_TASK_INHERIT))
		catch_up(tasks, task, flags, others);
	mutex_unlock(&tasks->lock);
put_task:
	put_task_struct(task);
	return err;
}

/**
 * parkclock_tasks_unregister() - take registrations back
 * @tasks:  the clock's registrations
 * @tid:    as above
 * @flags:  PARKCLOCK_TASK_PROCESS or 0
 * @others: it may be a task of another process
 *
 * Context: may sleep.
 * Return: 0 or an error number; see PARKCLOCK_IOC_UNREGISTER.
 */
int parkclock_tasks_unregister(struct parkclock_tasks *tasks, s32 tid, u32 flags, bool others)
{
	struct task_struct *task = get_task(tid), *thread;
	int err = -ENOENT;

	if (IS_ERR(task))
		return PTR_ERR(task);
	rcu_read_lock();
	if (!others && !same_thread_group(task, current)) {
		err = -EPERM;
		goto unlock;
	}
	for_each_thread(task, thread) {
		struct parkclock_task *t;

		if (thread != task && !(flags & PARKCLOCK_TASK_PROCESS))
			continue;
		t = parkclock_switch_find(tasks, thread);
		if (t && parkclock_switch_remove(t)) {
			parkclock_tasks_discard(t);
			err = 0;
		}
	}
unlock:
	rcu_read_unlock();
	put_task_struct(task);
	return err;
}

/**
 * parkclock_tasks_query() - the registrations of a clock
 * @tasks: they
 * @q:     its fields about them are filled in
 *
 * Context: may sleep.
 */
void parkclock_tasks_query(struct parkclock_tasks *tasks, struct parkclock_query *q)
{
	struct parkclock_task *t;
	u64 cycles;

	mutex_lock(&tasks->lock);
	cycles = tasks->past;
	list_for_each_entry_rcu(t, &tasks->list, list_link, lockdep_is_held(&tasks->lock)) {
		bool holding;

		cycles += parkclock_switch_ran(t, &holding);
		q->running += holding;
		cond_resched();
	}
	/* The counter of another CPU may be some cycles behind. */
	tasks->told = max(tasks->told, cycles);
	q->cpu_ns = parkclock_timebase_ns(tasks->told);
	mutex_unlock(&tasks->lock);
	q->tasks = atomic_read(&tasks->count);
	q->run_missed = atomic64_read(&tasks->missed);
}

/**
 * parkclock_tasks_publish() - let those who run hold the clock's VMClock page, too
 * @tasks: the clock's registrations
 * @vm:    the page
 *
 * Context: may sleep. Once.
 */
void parkclock_tasks_publish(struct parkclock_tasks *tasks, struct parkclock_vmclock *vm)
{
	struct parkclock_task *t;

	mutex_lock(&tasks->lock);
	parkclock_switch_set_vmclock(tasks, vm);
	/* What is added from now on knows of it. */
	list_for_each_entry_rcu(t, &tasks->list, list_link, lockdep_is_held(&tasks->lock)) {
		parkclock_switch_publish(t);
		cond_resched();
	}
	mutex_unlock(&tasks->lock);
}

/**
 * parkclock_tasks_create() - a clock without registrations
 * @tasks: they
 *
 * Context: any.
 */
void parkclock_tasks_create(struct parkclock_tasks *tasks)
{
	INIT_LIST_HEAD(&tasks->list);
	mutex_init(&tasks->lock);
	init_llist_head(&tasks->gone);
	tasks->reap_irq = IRQ_WORK_INIT_HARD(queue_reap);
	INIT_WORK(&tasks->reap_work, reap);
}

/**
 * parkclock_tasks_destroy() - take all registrations of a clock back
 * @tasks: they
 *
 * Context: may sleep, also for grace periods. No calls by users come any more, but
 * tasks fork and die.
 */
void parkclock_tasks_destroy(struct parkclock_tasks *tasks)
{
	struct parkclock_task *t;

	mutex_lock(&tasks->lock);
	/* What is inherited is added at the end, until its parent is removed. */
	list_for_each_entry_rcu(t, &tasks->list, list_link, lockdep_is_held(&tasks->lock)) {
		if (parkclock_switch_remove(t))
			parkclock_tasks_discard(t);
		cond_resched();
	}
	mutex_unlock(&tasks->lock);
	/*
	 * Probes that have removed others have discarded them then, and queued the irq_work;
	 * maybe after reap() has freed those, so that none is left here.
	 */
	if (tasks->used)
		synchronize_rcu();
	irq_work_sync(&tasks->reap_irq);
	flush_work(&tasks->reap_work);
	mutex_destroy(&tasks->lock);
}

/**
 * parkclock_tasks_exit() - leave nothing behind
 *
 * Context: may sleep. There is no clock any more, and no probe runs.
 */
void parkclock_tasks_exit(void)
{
	struct parkclock_task *t, *next;

	irq_work_sync(&refill_irq);
	cancel_work_sync(&refill_work);
	llist_for_each_entry_safe(t, next, llist_del_all(&spares), gone_link)
		kfree(t);
}
