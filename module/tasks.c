// SPDX-License-Identifier: GPL-2.0
/*
 * REGISTER and UNREGISTER: which tasks, and who may register them.
 */
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/limits.h>
#include <linux/pid.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>

#include "compat.h"
#include "cpu_timer.h"
#include "probes.h"
#include "registration.h"
#include "shares.h"
#include "switch.h"
#include "tasks.h"
#include "timebase.h"

/**
 * struct request - a REGISTER or UNREGISTER
 * @registry: the registrations of the clock
 * @task:     the task that is named, with a reference to it
 * @flags:    PARKCLOCK_TASK_*
 */
struct request {
	struct parkclock_registry *registry;
	struct task_struct *task;
	u32 flags;
};

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

/* Are all ids of the task the caller's? */
static bool same_ids(const struct cred *its)
{
	kuid_t uid = current_fsuid();
	kgid_t gid = current_fsgid();

	return uid_eq(uid, its->uid) && uid_eq(uid, its->euid) && uid_eq(uid, its->suid) &&
	       gid_eq(gid, its->gid) && gid_eq(gid, its->egid) && gid_eq(gid, its->sgid);
}

/*
 * Has the task no capability that the caller lacks? Ids are not all: a task of the same user
 * can have more, and in another user namespace a capability means something else.
 */
static bool no_more_capable(const struct cred *its)
{
	const struct cred *mine = current_cred();

	return mine->user_ns == its->user_ns &&
	       cap_issubset(its->cap_permitted, mine->cap_effective);
}

/*
 * May the caller register @task of another process? This is what ptrace_may_access() asks
 * with PTRACE_MODE_ATTACH_FSCREDS, which is not for modules; but not security modules, which
 * a module cannot ask either, except for the one that every kernel has: capabilities.
 */
static bool may_attach(struct task_struct *task)
{
	const struct cred *its = __task_cred(task);
	struct user_namespace *ns;
	bool may;

	if (!(same_ids(its) && no_more_capable(its)) &&
	    !ns_capable(its->user_ns, CAP_SYS_PTRACE))
		return false;
	/* As in ptrace_may_access(): a task that changes its ids is undumpable before that. */
	smp_rmb();
	task_lock(task);
	ns = parkclock_undumpable_in(task);
	may = !ns || ns_capable(ns, CAP_SYS_PTRACE);
	task_unlock(task);
	return may;
}

/* May the caller register the task? */
static bool permitted(struct task_struct *task)
{
	if (same_thread_group(task, current))
		return true;
	/* PF_KTHREAD does not change; the bits beside it do. */
	return !(data_race(task->flags) & PF_KTHREAD) && may_attach(task);
}

/* May the task be registered with the clock, and is it not registered yet? */
static int check(const struct request *rq, struct task_struct *task)
{
	if (!permitted(task))
		return -EPERM;
	return parkclock_registration_check(rq->registry, task,
					    parkclock_registration_place(rq->registry, task));
}

/* Threads that are looked at without a pause: a process can have any number. */
#define THREADS_AT_ONCE	64

/*
 * Let others run, in a walk along the threads of a process. Returns false if the walk cannot
 * go on from @thread, which has gone meanwhile.
 */
static bool pause_at(struct task_struct *thread)
{
	bool alive;

	get_task_struct(thread);
	rcu_read_unlock();
	cond_resched();
	rcu_read_lock();
	/* It leaves its process's list after it has lost its ids. */
	alive = pid_alive(thread);
	put_task_struct(thread);
	return alive;
}

/* Of choose(): the walk has to begin again. */
#define BEGIN_AGAIN	INT_MIN

/*
 * Registrations to be added; the first @used have a task, and a reference to it. @reserved are
 * counted in the registry and its account. That comes before the memory is allocated, and is
 * undone after it is freed: what calls that are under way have is limited, too.
 */
struct batch {
	struct parkclock_registration **r;
	struct task_struct **task;
	unsigned int size;
	unsigned int used;
	unsigned int reserved;
};

/* Let go of the tasks. */
static void batch_empty(struct batch *batch)
{
	while (batch->used) {
		put_task_struct(batch->task[--batch->used]);
		cond_resched();
	}
}

static void batch_free(struct parkclock_registry *registry, struct batch *batch)
{
	unsigned int i;

	batch_empty(batch);
	for (i = 0; i < batch->size; i++) {
		kfree(batch->r[i]);
		cond_resched();
	}
	kvfree(batch->r);
	kvfree(batch->task);
	parkclock_registry_unreserve(registry, batch->reserved);
	memset(batch, 0, sizeof(*batch));
}

/* For @wanted tasks, and for some more: the process may be creating threads. */
static int batch_reserve(struct parkclock_registry *registry, struct batch *batch,
			 unsigned int wanted)
{
	const unsigned int more = wanted + wanted / 8;
	int err;

	if (!parkclock_registry_reserve(registry, more, true)) {
		batch->reserved = more;
		return 0;
	}
	/* A limit may leave room for what is wanted, and for no more. */
	err = parkclock_registry_reserve(registry, wanted, true);
	if (!err)
		batch->reserved = wanted;
	return err;
}

/* Allocate what is reserved. */
static int batch_alloc(struct parkclock_registry *registry, struct batch *batch)
{
	const unsigned int size = batch->reserved;

	batch->r = kvcalloc(size, sizeof(*batch->r), GFP_KERNEL_ACCOUNT);
	batch->task = kvcalloc(size, sizeof(*batch->task), GFP_KERNEL_ACCOUNT);
	if (!batch->r || !batch->task)
		goto err;
	while (batch->size < size) {
		struct parkclock_registration *r = parkclock_registration_alloc(GFP_KERNEL_ACCOUNT);

		if (!r)
			goto err;
		batch->r[batch->size++] = r;
		cond_resched();
	}
	return 0;

err:
	batch_free(registry, batch);
	return -ENOMEM;
}

/* Put a thread into the batch if it fits, and count it. Returns 0 or an error. */
static int choose_one(const struct request *rq, struct batch *batch, struct task_struct *thread,
		      int *wanted)
{
	int err;

	/* settle() finds out about a thread that dies just now. */
	if (data_race(thread->exit_state))
		return -ESRCH;
	err = check(rq, thread);
	if (!err && (*wanted)++ < batch->size) {
		/* Nothing is inherited before settle_one() has looked at the task again. */
		parkclock_registration_prepare(batch->r[batch->used], rq->registry, thread, false,
					       parkclock_registration_place(rq->registry, thread));
		batch->task[batch->used++] = get_task_struct(thread);
	}
	return err;
}

/*
 * Fill the batch with the task, or with the threads of its process that are not registered.
 * Returns how many tasks there are, which may be more than fit, or an error, or
 * BEGIN_AGAIN.
 */
static int choose(const struct request *rq, struct batch *batch)
{
	unsigned int looked_at = 0;
	int err = -ESRCH, wanted = 0;
	struct task_struct *thread;

	rcu_read_lock();
	if (!(rq->flags & PARKCLOCK_TASK_PROCESS)) {
		err = choose_one(rq, batch, rq->task, &wanted);
		goto out;
	}
	for_each_thread(rq->task, thread) {
		int failed;

		if (++looked_at % THREADS_AT_ONCE == 0 && !pause_at(thread)) {
			err = BEGIN_AGAIN;
			break;
		}
		failed = choose_one(rq, batch, thread, &wanted);
		if (failed == -ESRCH)
			continue;
		err = failed;
		if (err && err != -EEXIST)
			break;
	}
out:
	rcu_read_unlock();
	if (wanted && (!err || err == -EEXIST))
		return wanted;
	return err;
}

/* Fill a batch of the right size. Returns 0 or an error. */
static int collect(const struct request *rq, struct batch *batch)
{
	int wanted, err;

	for (;;) {
		wanted = choose(rq, batch);
		if (wanted >= 0 && wanted == batch->used)
			return 0;
		if (fatal_signal_pending(current)) {
			batch_free(rq->registry, batch);
			return -EINTR;
		}
		if (wanted == BEGIN_AGAIN) {
			batch_empty(batch);
			continue;
		}
		batch_free(rq->registry, batch);
		if (wanted < 0)
			return wanted;
		err = batch_reserve(rq->registry, batch, wanted);
		if (!err)
			err = batch_alloc(rq->registry, batch);
		if (err)
			return err;
	}
}

/*
 * Add the batch; the probes are attached. Frees what cannot be added: another thread of the
 * caller was faster.
 */
static int add(struct parkclock_registry *registry, struct batch *batch)
{
	unsigned int i, added = 0;
	int err = 0;

	for (i = 0; i < batch->used; i++) {
		int failed = parkclock_registration_add(batch->r[i], NULL);

		if (failed) {
			err = failed;
			put_task_struct(batch->task[i]);
			kfree(batch->r[i]);
		} else {
			/* It is a registration that is counted now, until it is discarded. */
			batch->reserved--;
			parkclock_probes_pin();
			batch->task[added] = batch->task[i];
			batch->r[added++] = batch->r[i];
		}
		cond_resched();
	}
	for (; i < batch->size; i++) {
		kfree(batch->r[i]);
		cond_resched();
	}
	/* Nobody else has to do without what was not needed, while settle() waits. */
	parkclock_registry_unreserve(registry, batch->reserved);
	batch->reserved = 0;
	batch->used = added;
	batch->size = 0;
	return added ? 0 : err;
}

/* Is the caller still permitted to register the task, and is that alive? Then settle it. */
static int settle_one(struct parkclock_registration *r, struct task_struct *task, bool inherit)
{
	bool may;

	/*
	 * It may have gained privileges by execve() just before it was added, when on_exec()
	 * did not find it. Then a grace period later its new ids are seen here.
	 */
	rcu_read_lock();
	may = permitted(task);
	rcu_read_unlock();
	if (may && parkclock_switch_settle(r)) {
		WRITE_ONCE(r->inherit, inherit);
		return 0;
	}
	if (parkclock_switch_remove(r))
		parkclock_registration_discard(r);
	return may ? -ESRCH : -EPERM;
}

/* Take the references of the tasks that run already. */
static int settle(struct batch *batch, bool inherit)
{
	int err = -ESRCH, settled = 0;
	bool others = false;
	unsigned int i;

	for (i = 0; i < batch->used; i++)
		others |= batch->task[i] != current;
	/* After this, the switches that did not see the registrations are over. */
	if (others)
		synchronize_rcu();
	for (i = 0; i < batch->used; i++) {
		int failed = settle_one(batch->r[i], batch->task[i], inherit);

		if (failed)
			err = failed;
		else
			settled++;
		cond_resched();
	}
	return settled ? 0 : err;
}

static int register_once(const struct request *rq)
{
	struct batch batch = {};
	int err;

	err = collect(rq, &batch);
	if (err)
		return err;
	/*
	 * To attach them takes the lock of CPU hotplug. Who has that may wait for an mmap_lock, and
	 * who has that for the clock's lock (mmap of a fresh clock), and so for the registry's.
	 */
	err = parkclock_probes_pin();
	if (err)
		goto out;
	/*
	 * Keeps what is in the batch from being freed. Not before: to get memory can take the
	 * caller's cgroup as long as it likes, and others may wait for the lock.
	 */
	err = mutex_lock_killable(&rq->registry->lock);
	if (!err) {
		parkclock_shares_set(rq->registry, PARKCLOCK_TASK_SHARES);
		err = add(rq->registry, &batch);
		if (!err)
			err = settle(&batch, rq->flags & PARKCLOCK_TASK_INHERIT);
		parkclock_registry_unlock(rq->registry);
	}
	parkclock_probes_unpin(1);
out:
	batch_free(rq->registry, &batch);
	return err;
}

/*
 * Register threads that were created while their process was being registered. Their creator
 * was to pass on its registration, but on_fork() did not see one yet. As with all that is
 * inherited, a failure is only counted.
 */
static void catch_up(const struct request *rq)
{
	int tries = 8, err;

	/* Once is enough, unless a thread that is found has created another one just before. */
	do {
		/* Let inherit, then look for threads; pairs with the barrier in on_fork(). */
		smp_mb();
		err = register_once(rq);
	} while (!err && --tries);
	if (err != -EEXIST && err != -ESRCH)
		atomic64_inc(&rq->registry->missed);
}

/**
 * parkclock_tasks_register() - register a task, or all threads of a process
 * @registry: the clock's registrations
 * @in:       the request; its fields are valid
 *
 * Context: may sleep, also for some grace periods.
 * Return: 0 or an error number; see PARKCLOCK_IOC_REGISTER.
 */
int parkclock_tasks_register(struct parkclock_registry *registry,
			     const struct parkclock_register *in)
{
	const struct request rq = { registry, get_task(in->tid), in->flags };
	int err;

	if (IS_ERR(rq.task))
		return PTR_ERR(rq.task);
	if (rq.flags & PARKCLOCK_TASK_INHERIT)
		parkclock_registry_keep_spares(registry);
	err = register_once(&rq);
	if (!err && rq.flags == (PARKCLOCK_TASK_PROCESS | PARKCLOCK_TASK_INHERIT))
		catch_up(&rq);
	put_task_struct(rq.task);
	return err;
}

/* Returns false if there was none. */
static bool end_one(const struct request *rq, const struct task_struct *thread)
{
	struct parkclock_registration *r = parkclock_registration_find(rq->registry, thread);

	if (!r || !parkclock_switch_remove(r))
		return false;
	parkclock_registration_discard(r);
	return true;
}

/*
 * End the registrations of the task, or of the threads of its process; *@found says whether
 * there was one. Returns false if the walk has to begin again.
 */
static bool end_all(const struct request *rq, bool *found)
{
	unsigned int looked_at = 0;
	struct task_struct *thread;
	bool done = true;

	rcu_read_lock();
	if (!(rq->flags & PARKCLOCK_TASK_PROCESS)) {
		*found = end_one(rq, rq->task);
		goto out;
	}
	for_each_thread(rq->task, thread) {
		if (++looked_at % THREADS_AT_ONCE == 0 && !pause_at(thread)) {
			done = false;
			break;
		}
		*found |= end_one(rq, thread);
	}
out:
	rcu_read_unlock();
	return done;
}

static int unregister(const struct request *rq)
{
	bool found = false;

	while (!end_all(rq, &found))
		if (fatal_signal_pending(current))
			return -EINTR;
	return found ? 0 : -ENOENT;
}

/**
 * parkclock_tasks_unregister() - end registrations
 * @registry: the clock's registrations
 * @in:       the request; its fields are valid
 *
 * Context: may sleep.
 * Return: 0 or an error number; see PARKCLOCK_IOC_UNREGISTER.
 */
int parkclock_tasks_unregister(struct parkclock_registry *registry,
			       const struct parkclock_register *in)
{
	const struct request rq = { registry, get_task(in->tid), in->flags };
	int err;

	if (IS_ERR(rq.task))
		return PTR_ERR(rq.task);
	err = unregister(&rq);
	put_task_struct(rq.task);
	return err;
}

/**
 * parkclock_tasks_query() - the part of QUERY about a clock's registrations
 * @registry: the registrations
 * @q:        its members about them are filled in
 *
 * Context: may sleep.
 */
void parkclock_tasks_query(struct parkclock_registry *registry, struct parkclock_query *q)
{
	struct parkclock_registration *r;
	bool pinned;
	u64 cycles;

	/* Through a view, also when the owner has gone. */
	pinned = parkclock_registry_lock(registry);
	cycles = registry->past;
	list_for_each_entry_rcu(r, &registry->list, list_link, lockdep_is_held(&registry->lock)) {
		bool holding;

		cycles += parkclock_switch_ran(r, &holding);
		q->running += holding;
		cond_resched();
	}
	cycles += parkclock_shares_ran(registry, &q->running);
	/* The counter of another CPU may be some cycles behind. */
	if (registry->cpu)
		cycles = parkclock_cpu_tell(registry->cpu, cycles);
	registry->told = max(registry->told, cycles);
	q->cpu_ns = parkclock_timebase_ns(registry->told);
	parkclock_registry_unlock_of(registry, pinned);
	q->tasks = atomic_read(&registry->count);
	q->run_missed = atomic64_read(&registry->missed);
}

/**
 * parkclock_tasks_publish() - let tasks that run hold the clock's VMClock page, too
 * @registry: the clock's registrations
 * @vm:       the page
 *
 * Context: may sleep. Called at most once for a clock.
 */
void parkclock_tasks_publish(struct parkclock_registry *registry, struct parkclock_vmclock *vm)
{
	struct parkclock_registration *r;

	mutex_lock(&registry->lock);
	parkclock_registry_set_vmclock(registry, vm);
	/* A registration that is added from now on knows of the page. */
	list_for_each_entry_rcu(r, &registry->list, list_link, lockdep_is_held(&registry->lock)) {
		parkclock_switch_publish(r);
		cond_resched();
	}
	parkclock_shares_set(registry, PARKCLOCK_TASK_PUBLISHES);
	parkclock_registry_unlock(registry);
}

/**
 * parkclock_tasks_add_up() - let what a clock's tasks run be added up
 * @registry: the registrations
 * @cpu:      what adds it up
 *
 * Context: may sleep. Called at most once for a clock.
 */
void parkclock_tasks_add_up(struct parkclock_registry *registry, struct parkclock_cpu *cpu)
{
	struct parkclock_registration *r;
	bool pinned;

	/* Through a view, also when the owner has gone. */
	pinned = parkclock_registry_lock(registry);
	parkclock_cpu_ran(cpu, registry->past);
	/* Whoever reads the sum must not find less than somebody was told before. */
	parkclock_cpu_tell(cpu, registry->told);
	parkclock_registry_set_cpu(registry, cpu);
	/* A registration that is added from now on knows of it. */
	list_for_each_entry_rcu(r, &registry->list, list_link, lockdep_is_held(&registry->lock)) {
		parkclock_switch_add_up(r);
		cond_resched();
	}
	parkclock_shares_set(registry, PARKCLOCK_TASK_TIMED);
	parkclock_registry_unlock_of(registry, pinned);
}

/**
 * parkclock_tasks_share() - let what a clock's tasks run be counted by CPU
 * @registry: the registrations; the caller's clock has an owner
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: 0, -ENOMEM, or -EINTR if the caller is killed.
 */
int parkclock_tasks_share(struct parkclock_registry *registry)
{
	struct parkclock_share __percpu *shares;
	struct parkclock_registration *r;

	/* Once set, they stay; pairs with the release of the lock below. */
	if (READ_ONCE(registry->shares))
		return 0;
	/* Not under the lock: to get memory can take the caller's cgroup as long as it likes. */
	shares = parkclock_shares_alloc();
	if (!shares)
		return -ENOMEM;
	if (mutex_lock_killable(&registry->lock)) {
		parkclock_shares_free(shares);
		return -EINTR;
	}
	if (registry->shares) {
		parkclock_shares_free(shares);
	} else {
		parkclock_shares_prepare(registry, shares);
		parkclock_registry_set_shares(registry, shares);
		/* A registration that is added from now on knows of them. */
		list_for_each_entry_rcu(r, &registry->list, list_link,
					lockdep_is_held(&registry->lock)) {
			parkclock_switch_share(r);
			cond_resched();
		}
	}
	parkclock_registry_unlock(registry);
	return 0;
}

/**
 * parkclock_tasks_destroy() - end all registrations of a clock
 * @registry: the registrations
 *
 * Context: may sleep, waits for nobody. No ioctl can come any more, but tasks still fork and
 * die.
 */
void parkclock_tasks_destroy(struct parkclock_registry *registry)
{
	struct parkclock_registration *r;

	mutex_lock(&registry->lock);
	/* An inherited registration is added at the end, until its parent's is removed. */
	list_for_each_entry_rcu(r, &registry->list, list_link, lockdep_is_held(&registry->lock)) {
		if (parkclock_switch_remove(r))
			parkclock_registration_discard(r);
		cond_resched();
	}
	parkclock_registry_unlock(registry);
	parkclock_registry_destroy(registry);
}
