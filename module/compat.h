/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where kernels differ. Kbuild finds the differences in the headers, and not by version
 * numbers, because stable and distribution kernels backport changes.
 */
#ifndef PARKCLOCK_COMPAT_H
#define PARKCLOCK_COMPAT_H

#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/mm.h>
#include <linux/processor.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/coredump.h>
#include <linux/user_namespace.h>
#ifdef PARKCLOCK_HAS_exec_state
#include <linux/sched/exec_state.h>
#endif

#ifndef PARKCLOCK_HAS_hrtimer_setup
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock_id, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock_id, mode);
	timer->function = function;
}
#endif

/*
 * Wait a little for an hrtimer's callback that runs. For a caller that has to see, under a lock
 * which the callback takes too, that it has ended. On PREEMPT_RT the caller may have preempted it.
 *
 * Context: may sleep.
 */
static inline void parkclock_let_callback_run(void)
{
	if (IS_ENABLED(CONFIG_PREEMPT_RT))
		usleep_range(10, 100);
	else
		cpu_relax();
}

/* Where call_rcu() is lazy, this one is not. */
#ifndef PARKCLOCK_HAS_call_rcu_hurry
#define call_rcu_hurry	call_rcu
#endif

#ifndef PARKCLOCK_HAS_vm_flags_clear
static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}

static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}
#endif

/**
 * parkclock_undumpable_in() - is a task's memory hidden from others with the same ids?
 * @task: the task
 *
 * Context: the task's task_lock() and rcu_read_lock() held.
 * Return: the user namespace in which CAP_SYS_PTRACE opens it; NULL if it is open, or gone.
 */
static inline struct user_namespace *parkclock_undumpable_in(struct task_struct *task)
{
#ifdef PARKCLOCK_HAS_exec_state
	const struct task_exec_state *state = rcu_dereference(task->exec_state);

	if (!state || READ_ONCE(state->dumpable) == TASK_DUMPABLE_OWNER)
		return NULL;
	return state->user_ns;
#else
	struct mm_struct *mm = task->mm;

	return mm && get_dumpable(mm) != SUID_DUMP_USER ? mm->user_ns : NULL;
#endif
}

#endif
