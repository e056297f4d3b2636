/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module's sources find of the kernel: tasks, RCU, tracepoints, memory, and the
 * lists that tasks are found in. Included by kernel.h.
 */
#ifndef SIM_KERNEL_TASKS_H
#define SIM_KERNEL_TASKS_H

/* What is configured */

#define CONFIG_SMP			1
#define SIM_CONFIG_TRACEPOINTS		1
#define SIM_CONFIG_PREEMPT_RT		0
#define IS_ENABLED(option)		SIM_##option

/* RCU: a grace period waits for readers, and for what runs with interrupts disabled. */

void sim_rcu_read_lock(void);
void sim_rcu_read_unlock(void);
void sim_synchronize_rcu(void);

#define rcu_read_lock()		sim_rcu_read_lock()
#define rcu_read_unlock()	sim_rcu_read_unlock()
#define rcu_assign_pointer(p, v)	smp_store_release(&(p), v)
#define rcu_dereference(p)	READ_ONCE(p)
#define rcu_dereference_raw(p)	READ_ONCE(p)
#define rcu_dereference_check(p, c)	READ_ONCE(p)
#define rcu_dereference_protected(p, c)	(p)
#define RCU_INIT_POINTER(p, v)	WRITE_ONCE(p, v)
#define synchronize_rcu()	sim_synchronize_rcu()

struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
	/* The simulator's: what kfree_rcu() frees */
	void *whole;
};

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));
void rcu_barrier(void);
#define kfree_rcu(p, member)	sim_kfree_rcu(&(p)->member, p)
void sim_kfree_rcu(struct rcu_head *head, void *p);

struct rcu_work {
	struct work_struct work;
	struct rcu_head rcu;
};

#define INIT_RCU_WORK(w, f)	INIT_WORK(&(w)->work, f)
bool queue_rcu_work(struct workqueue_struct *wq, struct rcu_work *work);
bool flush_rcu_work(struct rcu_work *work);

/* Memory: what is freed is never given out again in the same schedule. */

void *sim_alloc(size_t size);
void sim_free(const void *p);

#define GFP_NOWAIT		0
#define __GFP_NOWARN		0
#define __GFP_RETRY_MAYFAIL	0
#define __GFP_ACCOUNT		0
#define BITS_TO_LONGS(n)	(((n) + 63) / 64)
#define struct_size(p, member, n)	(sizeof(*(p)) + (n) * sizeof(*(p)->member))
#define kzalloc(size, gfp)	sim_alloc(size)
#define kfree(p)		sim_free(p)
#define kvcalloc(n, size, gfp)	((void)(gfp), sim_alloc((n) * (size)))
#define kvzalloc(size, gfp)	((void)(gfp), sim_alloc(size))
#define kvfree(p)		sim_free(p)
#define roundup_pow_of_two(n)	(1UL << (64 - __builtin_clzl((n) - 1)))
#define bits_per(n)		((n) > 1 ? ilog2(n) + 1 : 1)
#define BITS_PER_BYTE		8

/* Tasks */

#define TASK_COMM_LEN		16
#define TASK_INTERRUPTIBLE	0x0001
#define TASK_UNINTERRUPTIBLE	0x0002
#define TASK_DEAD		0x0080
#define PF_KTHREAD		0x00200000
#define CAP_SYS_PTRACE		19
#define CAP_SYS_RESOURCE	24
#define PIDTYPE_PID		0
#define SUID_DUMP_USER		1

typedef struct { unsigned int val; } kuid_t;
typedef struct { unsigned int val; } kgid_t;

/* There is one user, without capabilities, and one namespace; and who has gained privileges. */
struct user_namespace {
	struct user_namespace *parent;
	kuid_t owner;
	struct {
		unsigned int inum;
	} ns;
	struct {
		unsigned int nr_extents;
	} uid_map;
};

typedef unsigned int kernel_cap_t;

#define cap_issubset(a, b)	(!((a) & ~(b)))
#define GLOBAL_ROOT_UID		((kuid_t) { 0 })

struct cred {
	kuid_t uid, euid, suid;
	kgid_t gid, egid, sgid;
	kernel_cap_t cap_permitted, cap_effective;
	struct user_namespace *user_ns;
};

/* No task has any: it would be dumpable. */
struct mm_struct {
	struct user_namespace *user_ns;
};

#define get_dumpable(mm)	((void)(mm), SUID_DUMP_USER)

struct task_struct {
	unsigned int __state;
	int on_cpu;
	int cpu;
	unsigned int flags;
	int exit_state;
	int pid;
	int tgid;
	char comm[TASK_COMM_LEN];
	struct task_struct *group_leader;
	struct mm_struct *mm;
	const struct cred *cred;
	/* The simulator's */
	u32 slot;
	int usage;
	u32 listed;		/* in the order in which threads were created; 0: no more */
};

struct pid;

struct task_struct *sim_current(void);
struct task_struct *sim_get_task(struct task_struct *task);
void sim_put_task(struct task_struct *task);
struct pid *find_get_pid(int tid);
struct task_struct *get_pid_task(struct pid *pid, int type);
struct task_struct *sim_next_thread(const struct task_struct *of, const struct task_struct *after);

extern struct user_namespace init_user_ns;
extern const struct cred sim_user, sim_gained;

#define current			sim_current()
#define get_task_struct(t)	sim_get_task(t)
#define put_task_struct(t)	sim_put_task(t)
#define put_pid(pid)		((void)(pid))
#define task_cpu(t)		READ_ONCE((t)->cpu)
#define same_thread_group(a, b)	((a)->tgid == (b)->tgid)
#define for_each_thread(p, t) \
	for ((t) = sim_next_thread(p, NULL); (t); (t) = sim_next_thread(p, t))
#define pid_alive(t)		(READ_ONCE((t)->listed) != 0)
#define task_lock(t)		((void)(t))
#define task_unlock(t)		((void)(t))
#define __task_cred(t)		READ_ONCE((t)->cred)
#define current_cred()		(current ? current->cred : &sim_user)
#define current_fsuid()		(current_cred()->euid)
#define current_fsgid()		(current_cred()->egid)
#define current_euid()		(current_cred()->euid)
#define current_user_ns()	(&init_user_ns)
#define kuid_has_mapping(ns, uid)	((void)(ns), (void)(uid), true)
#define __kuid_val(uid)		((uid).val)
#define uid_eq(a, b)		((a).val == (b).val)
#define gid_eq(a, b)		((a).val == (b).val)
#define ns_capable(ns, cap)	((void)(ns), false)
#define has_capability_noaudit(t, cap)	((void)(t), false)
#define fatal_signal_pending(t)	((void)(t), false)
#define mutex_lock_killable(m)	(mutex_lock(m), 0)
#define data_race(x)		(x)

/* Tracepoints */

struct tracepoint {
	const char *name;
	/* The simulator's */
	void *probe;
	int running;
};

int tracepoint_probe_register(struct tracepoint *tp, void *probe, void *data);
int tracepoint_probe_unregister(struct tracepoint *tp, void *probe, void *data);
void sim_each_tracepoint(void (*fn)(struct tracepoint *tp, void *data), void *data);

#define for_each_kernel_tracepoint(fn, data)	sim_each_tracepoint(fn, data)

#define tracepoint_synchronize_unregister()	synchronize_rcu()

typedef void sim_switch_probe(void *data, bool preempt, struct task_struct *prev,
			      struct task_struct *next, unsigned int prev_state);
typedef void sim_fork_probe(void *data, struct task_struct *parent, struct task_struct *child);


struct linux_binprm {
	bool secureexec;
};

typedef void sim_exec_probe(void *data, struct task_struct *task, pid_t old_pid,
			    struct linux_binprm *bprm);

static inline void check_trace_callback_type_sched_process_exec(sim_exec_probe *probe)
{
	(void)probe;
}

static inline void check_trace_callback_type_sched_switch(sim_switch_probe *probe)
{
	(void)probe;
}

static inline void check_trace_callback_type_sched_process_fork(sim_fork_probe *probe)
{
	(void)probe;
}

/* Atomics and bits */

#define atomic_try_cmpxchg(v, oldp, new)	try_cmpxchg(&(v)->counter, oldp, new)
#define atomic_sub_and_test(i, v)		(atomic_add_return(-(int)(i), v) == 0)
#define atomic_add_unless(v, i, u) ({ \
	int now_ = atomic_read(v); \
	\
	while (now_ != (u) && !atomic_try_cmpxchg(v, &now_, now_ + (i))) \
		; \
	now_ != (u); })
#define atomic_inc_not_zero(v)			refcount_inc_not_zero(v)

#define test_bit(nr, p)		((bool)(READ_ONCE((p)[(nr) / 64]) >> ((nr) % 64) & 1))
#define set_bit(nr, p)	\
	((void)sim_rmw(&(p)[(nr) / 64], 8, SIM_OR, 1UL << ((nr) % 64), 0))
#define clear_bit(nr, p) \
	((void)sim_rmw(&(p)[(nr) / 64], 8, SIM_AND, ~(1UL << ((nr) % 64)), 0))

struct kref { refcount_t refcount; };

#define kref_init(k)		refcount_set(&(k)->refcount, 1)
#define kref_get(k)		refcount_inc(&(k)->refcount)
#define kref_put(k, release) \
	({ if (refcount_dec_and_test(&(k)->refcount)) release(k); })

/* Work that waits: the module asks for seconds, here it may wait for any time. */

struct delayed_work {
	struct work_struct work;
	u64 due;
};

#define HZ			100
#define jiffies			0UL
#define time_after_eq(a, b)	((long)((a) - (b)) >= 0)
#define DECLARE_DELAYED_WORK(name, f)	struct delayed_work name = { .work = { .func = (f) } }
bool mod_delayed_work(struct workqueue_struct *wq, struct delayed_work *work,
		      unsigned long delay);
bool cancel_delayed_work_sync(struct delayed_work *work);

/* Lists */

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct hlist_head {
	struct hlist_node *first;
};

static inline void hlist_add_head_rcu(struct hlist_node *n, struct hlist_head *h)
{
	struct hlist_node *first = h->first;

	n->next = first;
	WRITE_ONCE(n->pprev, &h->first);
	rcu_assign_pointer(h->first, n);
	if (first)
		WRITE_ONCE(first->pprev, &n->next);
}

static inline void hlist_del(struct hlist_node *n)
{
	struct hlist_node *next = n->next;
	struct hlist_node **pprev = n->pprev;

	WRITE_ONCE(*pprev, next);
	if (next)
		WRITE_ONCE(next->pprev, pprev);
}

/* Who is at this node finds the next one, but not who added it. */
static inline void hlist_del_rcu(struct hlist_node *n)
{
	hlist_del(n);
	WRITE_ONCE(n->pprev, (struct hlist_node **)0x122);
}

#define hlist_first_rcu(h)	((h)->first)
#define hlist_next_rcu(n)	((n)->next)
#define hlist_for_each(pos, head) \
	for (pos = READ_ONCE((head)->first); pos; pos = READ_ONCE(pos->next))

#define DEFINE_HASHTABLE(name, bits)	struct hlist_head name[1 << (bits)]
#define sim_bucket(table, key)	(&(table)[(u32)(key) % ARRAY_SIZE(table)])
#define hash_add(table, node, key)	hlist_add_head_rcu(node, sim_bucket(table, key))
#define hash_del(node)		hlist_del(node)
#define hash_for_each_possible(table, obj, member, key) \
	hlist_for_each_entry(obj, sim_bucket(table, key), member)

#define sim_entry_or_null(p, type, member) ({ \
	__auto_type __p = (p); \
	__p ? container_of(__p, type, member) : NULL; })
#define hlist_for_each_entry_rcu(pos, head, member, ...) \
	for (pos = sim_entry_or_null(READ_ONCE((head)->first), __typeof__(*pos), member); pos; \
	     pos = sim_entry_or_null(READ_ONCE(pos->member.next), __typeof__(*pos), member))
#define hlist_for_each_entry	hlist_for_each_entry_rcu

static inline void list_add_tail_rcu(struct list_head *new, struct list_head *head)
{
	struct list_head *prev = head->prev;

	new->next = head;
	new->prev = prev;
	rcu_assign_pointer(prev->next, new);
	head->prev = new;
}

#define list_for_each_entry_rcu(pos, head, member, ...) \
	for (pos = list_entry(READ_ONCE((head)->next), __typeof__(*pos), member); \
	     &pos->member != (head); \
	     pos = list_entry(READ_ONCE(pos->member.next), __typeof__(*pos), member))

struct llist_node {
	struct llist_node *next;
};

struct llist_head {
	struct llist_node *first;
};

#define LLIST_HEAD(name)	struct llist_head name = { NULL }
#define init_llist_head(h)	((h)->first = NULL)

static inline void llist_add(struct llist_node *n, struct llist_head *h)
{
	struct llist_node *first = READ_ONCE(h->first);

	do {
		WRITE_ONCE(n->next, first);
	} while (!try_cmpxchg(&h->first, &first, n));
}

static inline bool llist_empty(const struct llist_head *h)
{
	return !READ_ONCE(h->first);
}

static inline struct llist_node *llist_del_all(struct llist_head *h)
{
	return xchg(&h->first, NULL);
}

static inline struct llist_node *llist_del_first(struct llist_head *h)
{
	struct llist_node *first = READ_ONCE(h->first);

	while (first && !try_cmpxchg(&h->first, &first, READ_ONCE(first->next)))
		;
	return first;
}

#define llist_entry(p, type, member)	container_of(p, type, member)
#define llist_for_each_entry(pos, node, member) \
	for (pos = sim_entry_or_null(node, __typeof__(*pos), member); pos; \
	     pos = sim_entry_or_null(pos->member.next, __typeof__(*pos), member))
#define llist_for_each_entry_safe(pos, n, node, member) \
	for (pos = sim_entry_or_null(node, __typeof__(*pos), member); \
	     pos && (n = sim_entry_or_null(pos->member.next, __typeof__(*pos), member), true); \
	     pos = n)

/* The kernel that is simulated has no cgroups, so no clock gets shares. */

#define alloc_percpu_gfp(type, gfp)	((type *)NULL)
#define free_percpu(p)			((void)(p))
#define cpus_read_lock()		do { } while (0)
#define cpus_read_unlock()		do { } while (0)
#define on_each_cpu(f, info, wait)	((void)(f), (void)(info))

/* Odds and ends */

struct seq_file;

#define seq_printf(m, ...)	((void)(m))

struct timespec64 {
	s64 tv_sec;
	long tv_nsec;
};

#define timens_add_monotonic(ts)	((void)(ts))
#define timens_add_boottime(ts)		((void)(ts))
#define timespec64_to_ns(ts)		((ts)->tv_sec * NSEC_PER_SEC + (ts)->tv_nsec)
#define div_s64(a, b)			((s64)(a) / (b))
#define cpu_to_le16(x)			(x)
#define cpu_to_le32(x)			(x)
#define cpu_to_le64(x)			(x)
#define le16_to_cpu(x)			(x)
#define le32_to_cpu(x)			(x)
#define le64_to_cpu(x)			(x)

u64 get_random_u64(void);
u32 crc32_le(u32 crc, const u8 *p, size_t n);
void *memchr_inv(const void *p, int c, size_t n);
int strcmp(const char *a, const char *b);

#endif
