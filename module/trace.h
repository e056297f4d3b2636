/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events. Those about the page are emitted when parkclock_timebase_lock was released,
 * a moment after what they report, and in the order in which it happened.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM parkclock

#if !defined(PARKCLOCK_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define PARKCLOCK_TRACE_H

#include <linux/sched.h>
#include <linux/tracepoint.h>
#include <linux/parkclock.h>

/* The updater has parked; its timer is off. */
TRACE_EVENT(parkclock_park,
	TP_PROTO(u64 parks),
	TP_ARGS(parks),
	TP_STRUCT__entry(
		__field(u64, parks)
	),
	TP_fast_assign(
		__entry->parks = parks;
	),
	TP_printk("parks=%llu", __entry->parks)
);

/* The updater has become active; the page is valid and the timer armed. */
TRACE_EVENT(parkclock_wake,
	TP_PROTO(u64 wakes),
	TP_ARGS(wakes),
	TP_STRUCT__entry(
		__field(u64, wakes)
	),
	TP_fast_assign(
		__entry->wakes = wakes;
	),
	TP_printk("wakes=%llu", __entry->wakes)
);

/*
 * A new segment is in the page. @ahead_ns: how far its base is ahead of the host's clock;
 * after a slew, this is the error that the old segment had by then.
 */
TRACE_EVENT(parkclock_refresh,
	TP_PROTO(const struct parkclock_segment *seg, s64 ahead_ns),
	TP_ARGS(seg, ahead_ns),
	TP_STRUCT__entry(
		__field(u64, base_cycles)
		__field(u64, base_ns)
		__field(u64, rate)
		__field(u64, valid_cycles)
		__field(u64, error_ns)
		__field(s64, ahead_ns)
	),
	TP_fast_assign(
		__entry->base_cycles = seg->base_cycles;
		__entry->base_ns = seg->base_ns;
		__entry->rate = seg->rate;
		__entry->valid_cycles = seg->valid_cycles;
		__entry->error_ns = seg->error_ns;
		__entry->ahead_ns = ahead_ns;
	),
	TP_printk("base_cycles=%llu base_ns=%llu rate=%llu valid_cycles=%llu error_ns=%llu ahead_ns=%lld",
		  __entry->base_cycles, __entry->base_ns, __entry->rate,
		  __entry->valid_cycles, __entry->error_ns, __entry->ahead_ns)
);

/*
 * A valid page is replaced. @error_ns: how far it was ahead of the host's clock then, in
 * whole ns. @age_cycles: age of its segment. @rate_changes: how often the host's own rate
 * has changed meanwhile.
 */
TRACE_EVENT(parkclock_accuracy,
	TP_PROTO(s64 error_ns, u64 age_cycles, u64 rate_changes),
	TP_ARGS(error_ns, age_cycles, rate_changes),
	TP_STRUCT__entry(
		__field(s64, error_ns)
		__field(u64, age_cycles)
		__field(u64, rate_changes)
	),
	TP_fast_assign(
		__entry->error_ns = error_ns;
		__entry->age_cycles = age_cycles;
		__entry->rate_changes = rate_changes;
	),
	TP_printk("error_ns=%lld age_cycles=%llu rate_changes=%llu", __entry->error_ns,
		  __entry->age_cycles, __entry->rate_changes)
);

/*
 * The page has become invalid before its window ended. If the epochs differ, the host's
 * clock has changed; else the updater was stopped.
 */
TRACE_EVENT(parkclock_invalidate,
	TP_PROTO(u64 segment_epoch, u64 epoch),
	TP_ARGS(segment_epoch, epoch),
	TP_STRUCT__entry(
		__field(u64, segment_epoch)
		__field(u64, epoch)
	),
	TP_fast_assign(
		__entry->segment_epoch = segment_epoch;
		__entry->epoch = epoch;
	),
	TP_printk("segment_epoch=%llu epoch=%llu", __entry->segment_epoch, __entry->epoch)
);

DECLARE_EVENT_CLASS(parkclock_task,
	TP_PROTO(const struct task_struct *task),
	TP_ARGS(task),
	TP_STRUCT__entry(
		__array(char, comm, TASK_COMM_LEN)
		__field(pid_t, pid)
	),
	TP_fast_assign(
		memcpy(__entry->comm, task->comm, TASK_COMM_LEN);
		__entry->pid = task->pid;
	),
	TP_printk("comm=%s pid=%d", __entry->comm, __entry->pid)
);

/* Switching in a registered task has woken the updater. */
DEFINE_EVENT(parkclock_task, parkclock_run_wake,
	TP_PROTO(const struct task_struct *task),
	TP_ARGS(task)
);

/* A registered task has gained privileges by execve(): its registration has ended. */
DEFINE_EVENT(parkclock_task, parkclock_exec,
	TP_PROTO(const struct task_struct *task),
	TP_ARGS(task)
);

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
