/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module's sources find instead of the kernel.
 *
 * The Makefile makes each header that they include, <linux/spinlock.h> say, a line that
 * includes this one. What reads or writes shared memory, and what takes time, is a call
 * of the simulator: see sim.h.
 */
#ifndef SIM_KERNEL_H
#define SIM_KERNEL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <asm-generic/errno.h>
#include <asm-generic/int-ll64.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s8 s8;
typedef __s16 s16;
typedef __s32 s32;
typedef __s64 s64;
typedef __u16 __le16;
typedef __u32 __le32;
typedef __u64 __le64;
typedef s64 ktime_t;
typedef int pid_t;
typedef int clockid_t;
typedef unsigned int gfp_t;
typedef long loff_t_sim;

#define __KERNEL_SIM__		1

/* Compiler */

#undef __always_inline
#define __always_inline		inline __attribute__((__always_inline__))
#define noinline		__attribute__((__noinline__))
#define __maybe_unused		__attribute__((__unused__))
#define __must_check
#define __init
#define __exit
#define __user
#define __rcu
#define __percpu
#define __force
#define __read_mostly
#define ____cacheline_aligned_in_smp	__attribute__((__aligned__(64)))
#define __cacheline_aligned_in_smp	____cacheline_aligned_in_smp
#define ____cacheline_aligned	____cacheline_aligned_in_smp
#define fallthrough		__attribute__((__fallthrough__))
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)
#define barrier()		__asm__ __volatile__("" : : : "memory")
#define BUILD_BUG_ON(x)		_Static_assert(!(x), #x)
#define static_assert		_Static_assert
#define BIT(n)			(1UL << (n))
#define BIT_ULL(n)		(1ULL << (n))
#define __stringify_1(...)	#__VA_ARGS__
#define __stringify(...)	__stringify_1(__VA_ARGS__)
#define ARRAY_SIZE(a)		(sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))
#define sizeof_field(type, member)	sizeof(((type *)0)->member)
#define EXPORT_SYMBOL_GPL(x)
#define THIS_MODULE		NULL

#define min(a, b)	({ __auto_type __a = (a); __auto_type __b = (b); __a < __b ? __a : __b; })
#define max(a, b)	({ __auto_type __a = (a); __auto_type __b = (b); __a > __b ? __a : __b; })
#define min_t(t, a, b)	({ t __a = (a); t __b = (b); __a < __b ? __a : __b; })
#define max_t(t, a, b)	({ t __a = (a); t __b = (b); __a > __b ? __a : __b; })
#define clamp(x, lo, hi)	min(max(x, lo), hi)
#define swap(a, b)	do { __auto_type __t = (a); (a) = (b); (b) = __t; } while (0)

#define check_add_overflow(a, b, d)	__builtin_add_overflow(a, b, d)
#define check_sub_overflow(a, b, d)	__builtin_sub_overflow(a, b, d)
#define check_mul_overflow(a, b, d)	__builtin_mul_overflow(a, b, d)

#define ERR_PTR(err)	((void *)(long)(err))
#define PTR_ERR(p)	((long)(p))
#define IS_ERR(p)	((unsigned long)(p) >= (unsigned long)-4095)

/* Memory. @addr is shared unless it is on a stack; values travel as u64. */

u64 sim_load(const volatile void *addr, unsigned int size);
void sim_store(volatile void *addr, unsigned int size, u64 value);
void sim_release(volatile void *addr, unsigned int size, u64 value);
void sim_mb(void);
void sim_wmb(void);
void sim_rmb(void);
enum sim_op { SIM_ADD, SIM_AND, SIM_OR, SIM_XCHG, SIM_CMPXCHG };
/* Atomic, with a full barrier before and after. Returns what was there. */
u64 sim_rmw(volatile void *addr, unsigned int size, enum sim_op op, u64 operand, u64 expected);
/* Atomic only towards interrupts on this CPU, without a barrier. */
u64 sim_this_cpu_rmw(volatile void *addr, unsigned int size, enum sim_op op, u64 operand,
		     u64 expected);

#define sim_type(x)		__typeof__(((void)0, (x)))
#define READ_ONCE(x)		((sim_type(x))sim_load(&(x), sizeof(x)))
#define WRITE_ONCE(x, v) \
	sim_store(&(x), sizeof(x), (u64)({ __typeof__(x) __w = (v); __w; }))
#define smp_store_release(p, v) \
	sim_release((p), sizeof(*(p)), (u64)({ __typeof__(*(p)) __w = (v); __w; }))
#define smp_load_acquire(p)	((sim_type(*(p)))sim_load((p), sizeof(*(p))))
#define smp_store_mb(x, v)	do { WRITE_ONCE(x, v); smp_mb(); } while (0)
#define smp_mb()		sim_mb()
#define smp_wmb()		sim_wmb()
#define smp_rmb()		sim_rmb()
#define smp_mb__before_atomic()	do { } while (0)
#define smp_mb__after_atomic()	do { } while (0)
#define xchg(p, v) \
	((sim_type(*(p)))sim_rmw((p), sizeof(*(p)), SIM_XCHG, (u64)(v), 0))
#define cmpxchg(p, old, new) \
	((sim_type(*(p)))sim_rmw((p), sizeof(*(p)), SIM_CMPXCHG, (u64)(new), (u64)(old)))
#define try_cmpxchg(p, oldp, new) ({ \
	__typeof__(oldp) __o = (oldp); \
	sim_type(*__o) __was = cmpxchg(p, *__o, new); \
	bool __done = __was == *__o; \
	*__o = __was; \
	__done; })

typedef struct { int counter; } atomic_t;
typedef struct { s64 counter; } atomic64_t;
typedef atomic64_t atomic_long_t;
typedef atomic_t refcount_t;

#define ATOMIC_INIT(i)			{ (i) }
#define ATOMIC64_INIT(i)		{ (i) }
#define ATOMIC_LONG_INIT(i)		{ (i) }
#define REFCOUNT_INIT(i)		{ (i) }
#define atomic_read(v)			READ_ONCE((v)->counter)
#define atomic_read_acquire(v)		READ_ONCE((v)->counter)
#define atomic_set(v, i)		WRITE_ONCE((v)->counter, i)
#define atomic_set_release(v, i)	smp_store_release(&(v)->counter, i)
#define atomic_cmpxchg(v, old, new)	((int)cmpxchg(&(v)->counter, (u32)(old), (u32)(new)))
#define atomic_xchg(v, new)		((int)xchg(&(v)->counter, (u32)(new)))
#define atomic_fetch_add(i, v)	((int)sim_rmw(&(v)->counter, 4, SIM_ADD, (u32)(i), 0))
#define atomic_add_return(i, v)		(atomic_fetch_add(i, v) + (i))
#define atomic_add(i, v)		((void)atomic_fetch_add(i, v))
#define atomic_sub(i, v)		((void)atomic_fetch_add(-(i), v))
#define atomic_inc(v)			atomic_add(1, v)
#define atomic_dec(v)			atomic_sub(1, v)
#define atomic_dec_return_release(v)	atomic_add_return(-1, v)
#define atomic_inc_return(v)		atomic_add_return(1, v)
#define atomic_dec_return(v)		atomic_add_return(-1, v)
#define atomic_dec_and_test(v)		(atomic_dec_return(v) == 0)
#define atomic64_read(v)		READ_ONCE((v)->counter)
#define atomic64_set(v, i)		WRITE_ONCE((v)->counter, i)
#define atomic64_fetch_add(i, v)	((s64)sim_rmw(&(v)->counter, 8, SIM_ADD, (u64)(i), 0))
#define atomic64_add_return(i, v)	(atomic64_fetch_add(i, v) + (i))
#define atomic64_add(i, v)		((void)atomic64_fetch_add(i, v))
#define atomic64_inc(v)			atomic64_add(1, v)
#define atomic64_inc_return(v)		atomic64_add_return(1, v)
#define atomic64_dec(v)			atomic64_add(-1, v)
#define atomic64_cmpxchg(v, old, new)	((s64)cmpxchg(&(v)->counter, old, new))
#define atomic_long_read		atomic64_read
#define atomic_long_set			atomic64_set
#define atomic_long_add			atomic64_add
#define atomic_long_inc			atomic64_inc
#define atomic_long_dec			atomic64_dec
#define refcount_set			atomic_set
#define refcount_read			atomic_read
#define refcount_inc(r) \
	((void)(atomic_fetch_add(1, r) > 0 || (sim_warn("a reference to what has none"), 0)))
#define refcount_dec(r) \
	((void)(atomic_fetch_add(-1, r) > 1 || (sim_warn("the last reference is dropped"), 0)))
#define refcount_dec_and_test(r)	(sim_last_ref(atomic_dec_return(r)))

void sim_warn(const char *what);

static inline bool sim_last_ref(int left)
{
	if (left < 0)
		sim_warn("a reference is dropped twice");
	return !left;
}

static inline bool refcount_inc_not_zero(refcount_t *r)
{
	int was = atomic_read(r);

	while (was) {
		int now = atomic_cmpxchg(r, was, was + 1);

		if (now == was)
			return true;
		was = now;
	}
	return false;
}

void *sim_memset(void *to, int c, size_t n);
void *sim_memcpy(void *to, const void *from, size_t n);
int sim_memcmp(const void *a, const void *b, size_t n);
#ifndef SIM_ENGINE
#define memset(to, c, n)	sim_memset(to, c, n)
#define memcpy(to, from, n)	sim_memcpy(to, from, n)
#define memcmp(a, b, n)		sim_memcmp(a, b, n)
#endif

/* CPUs */

#define SIM_CPUS		4
#define NR_CPUS			SIM_CPUS

/* Constant while a schedule runs, and so nothing to be switched at. */
#ifdef SIM_ENGINE
#define SIM_CONSTANT
#else
#define SIM_CONSTANT		const
#endif

extern SIM_CONSTANT int sim_cpus;	/* of this schedule */

int sim_cpu(void);
void *sim_percpu(const volatile void *var, int cpu);

#define nr_cpu_ids		sim_cpus
#define num_possible_cpus()	sim_cpus
#define num_online_cpus()	sim_cpus
#define for_each_possible_cpu(cpu)	for ((cpu) = 0; (cpu) < sim_cpus; (cpu)++)
#define for_each_online_cpu(cpu)	for_each_possible_cpu(cpu)
#define smp_processor_id()	sim_cpu()
#define raw_smp_processor_id()	sim_cpu()
#define get_cpu()		sim_cpu()
#define put_cpu()		do { } while (0)
#define get_cpu_ptr(p)		this_cpu_ptr(p)
#define put_cpu_ptr(p)		((void)(p))
#define cpu_online(cpu)		((cpu) < sim_cpus)
#define preempt_disable()	do { } while (0)
#define preempt_enable()	do { } while (0)
#define cond_resched()		do { } while (0)
#define might_sleep()		do { } while (0)

#define SIM_PER_CPU		__attribute__((__section__("simpercpu")))
#define DEFINE_PER_CPU(type, name)	SIM_PER_CPU __typeof__(type) name
#define DEFINE_PER_CPU_ALIGNED(type, name) \
	SIM_PER_CPU __typeof__(type) name __attribute__((__aligned__(64)))
#define DEFINE_PER_CPU_SHARED_ALIGNED	DEFINE_PER_CPU_ALIGNED
#define DECLARE_PER_CPU(type, name)	extern SIM_PER_CPU __typeof__(type) name
#define DECLARE_PER_CPU_ALIGNED(type, name) \
	extern SIM_PER_CPU __typeof__(type) name __attribute__((__aligned__(64)))
#define DECLARE_PER_CPU_SHARED_ALIGNED	DECLARE_PER_CPU_ALIGNED
#define per_cpu_ptr(p, cpu)	((__typeof__(p))sim_percpu((p), (cpu)))
#define per_cpu(var, cpu)	(*per_cpu_ptr(&(var), cpu))
#define this_cpu_ptr(p)		per_cpu_ptr(p, sim_cpu())
#define raw_cpu_ptr(p)		this_cpu_ptr(p)
#define this_cpu_read(x)	((sim_type(x))sim_load(this_cpu_ptr(&(x)), sizeof(x)))
#define this_cpu_write(x, v)	sim_store(this_cpu_ptr(&(x)), sizeof(x), (u64)(v))
#define this_cpu_add(x, i) \
	((void)sim_this_cpu_rmw(this_cpu_ptr(&(x)), sizeof(x), SIM_ADD, (u64)(i), 0))
#define this_cpu_inc(x)		this_cpu_add(x, 1)
#define this_cpu_dec(x)		this_cpu_add(x, -1)
#define __this_cpu_read		this_cpu_read
#define __this_cpu_write	this_cpu_write
#define __this_cpu_add		this_cpu_add
#define __this_cpu_inc		this_cpu_inc
#define __this_cpu_dec		this_cpu_dec
#define this_cpu_xchg(x, v) \
	((sim_type(x))sim_this_cpu_rmw(this_cpu_ptr(&(x)), sizeof(x), SIM_XCHG, (u64)(v), 0))
#define this_cpu_cmpxchg(x, old, new) \
	((sim_type(x))sim_this_cpu_rmw(this_cpu_ptr(&(x)), sizeof(x), SIM_CMPXCHG, \
				       (u64)(new), (u64)(old)))

/* Interrupts and locks */

unsigned long sim_irq_save(void);
void sim_irq_restore(unsigned long flags);
bool sim_irqs_disabled(void);

#define local_irq_save(flags)		((flags) = sim_irq_save())
#define local_irq_restore(flags)	sim_irq_restore(flags)
#define irqs_disabled()			sim_irqs_disabled()

/* Minor: nothing that a reader or the updater does waits for it. */
typedef struct { u32 locked; u16 owner; bool minor; } raw_spinlock_t;
typedef raw_spinlock_t spinlock_t;
typedef raw_spinlock_t arch_spinlock_t;
struct mutex { raw_spinlock_t lock; };

void sim_lock(raw_spinlock_t *lock);
bool sim_trylock(raw_spinlock_t *lock);
void sim_unlock(raw_spinlock_t *lock);
void sim_assert_held(raw_spinlock_t *lock);
void sim_lock_bh(raw_spinlock_t *lock);
void sim_unlock_bh(raw_spinlock_t *lock);
void sim_mutex_lock(struct mutex *mutex);
bool sim_mutex_trylock(struct mutex *mutex);
void sim_mutex_unlock(struct mutex *mutex);

#define sim_minor(x) \
	(!__builtin_strcmp(#x, "parkclock_table_lock") || !__builtin_strcmp(#x, "accounts_lock"))
#define __RAW_SPIN_LOCK_UNLOCKED(x)	{ 0, 0, sim_minor(x) }
#define __SPIN_LOCK_UNLOCKED(x)		{ 0, 0, sim_minor(x) }
#define DEFINE_RAW_SPINLOCK(x)		raw_spinlock_t x = __RAW_SPIN_LOCK_UNLOCKED(x)
#define DEFINE_SPINLOCK(x)		DEFINE_RAW_SPINLOCK(x)
#define raw_spin_lock_init(l)		(*(l) = (raw_spinlock_t){ 0, 0, true })
#define spin_lock_init			raw_spin_lock_init
#define raw_spin_lock(l)		sim_lock(l)
#define raw_spin_trylock(l)		sim_trylock(l)
#define raw_spin_unlock(l)		sim_unlock(l)
#define raw_spin_lock_irqsave(l, flags)	do { local_irq_save(flags); sim_lock(l); } while (0)
#define raw_spin_trylock_irqsave(l, flags) ({ \
	local_irq_save(flags); \
	bool __got = sim_trylock(l); \
	if (!__got) \
		local_irq_restore(flags); \
	__got; })
#define raw_spin_unlock_irqrestore(l, flags) \
	do { sim_unlock(l); local_irq_restore(flags); } while (0)
#define raw_spin_lock_irq(l)	do { sim_irq_save(); sim_lock(l); } while (0)
#define raw_spin_unlock_irq(l)	do { sim_unlock(l); sim_irq_restore(0); } while (0)
#define raw_spin_is_locked(l)	(READ_ONCE((l)->locked) != 0)
#define spin_lock		raw_spin_lock
#define spin_unlock		raw_spin_unlock
#define spin_lock_bh(l)		sim_lock_bh(l)
#define spin_unlock_bh(l)	sim_unlock_bh(l)
#define spin_lock_irq		raw_spin_lock_irq
#define spin_unlock_irq		raw_spin_unlock_irq
#define spin_lock_irqsave	raw_spin_lock_irqsave
#define spin_unlock_irqrestore	raw_spin_unlock_irqrestore
#define DEFINE_MUTEX(x)		struct mutex x = { { 0, 0, true } }
#define mutex_init(m)		(*(m) = (struct mutex){ { 0, 0, true } })
#define mutex_destroy(m)	do { } while (0)
#define mutex_lock(m)		sim_mutex_lock(m)
#define mutex_trylock(m)	sim_mutex_trylock(m)
#define mutex_unlock(m)		sim_mutex_unlock(m)
#define lockdep_assert_held(l)	\
	sim_assert_held(_Generic((l), struct mutex *: (void *)(l), default: (void *)(l)))
#define lockdep_is_held(l)	true
#define lockdep_assert_irqs_disabled()	do { } while (0)

typedef struct { unsigned int sequence; } seqcount_t;
typedef seqcount_t seqcount_raw_spinlock_t;
typedef struct { seqcount_t seqcount; } seqcount_latch_t;

unsigned int sim_read_seqcount_begin(const seqcount_t *s);
bool sim_read_seqcount_retry(const seqcount_t *s, unsigned int start);
void sim_write_seqcount_begin(seqcount_t *s);
void sim_write_seqcount_end(seqcount_t *s);

#define SEQCNT_ZERO(x)		{ 0 }
#define seqcount_init(s)	((s)->sequence = 0)
#define seqcount_raw_spinlock_init(s, l)	seqcount_init(s)
#define read_seqcount_begin(s)	sim_read_seqcount_begin(s)
#define raw_read_seqcount_begin(s)	sim_read_seqcount_begin(s)
#define raw_read_seqcount(s)	((unsigned int)sim_load(&(s)->sequence, 4))
#define raw_seqcount_begin(s)	(raw_read_seqcount(s) & ~1U)
#define read_seqcount_retry(s, start)	sim_read_seqcount_retry(s, start)
#define write_seqcount_begin(s)	sim_write_seqcount_begin(s)
#define write_seqcount_end(s)	sim_write_seqcount_end(s)
#define raw_write_seqcount_begin	write_seqcount_begin
#define raw_write_seqcount_end		write_seqcount_end

/* Time */

#define NSEC_PER_SEC		1000000000L
#define NSEC_PER_MSEC		1000000L
#define NSEC_PER_USEC		1000L
#define USEC_PER_SEC		1000000L
#define CLOCK_REALTIME		0
#define CLOCK_MONOTONIC		1
#define CLOCK_BOOTTIME		7
#define CLOCK_TAI		11

extern SIM_CONSTANT unsigned int tsc_khz;

u64 sim_rdtsc(bool ordered);
ktime_t sim_ktime_get(void);

#define rdtsc()			sim_rdtsc(false)
#define rdtsc_ordered()		sim_rdtsc(true)
#define check_tsc_unstable()	0
#define ms_to_ktime(ms)		((ktime_t)(ms) * NSEC_PER_MSEC)
#define ns_to_ktime(ns)		((ktime_t)(ns))
#define ktime_to_ns(kt)		((s64)(kt))
#define ktime_set(s, ns)	((ktime_t)(s) * NSEC_PER_SEC + (ns))
#define ktime_sub(a, b)		((a) - (b))
#define ktime_add(a, b)		((a) + (b))
#define ktime_add_ns(a, ns)	((a) + (ns))
#define ktime_get()		sim_ktime_get()

enum tk_offsets { TK_OFFS_REAL, TK_OFFS_BOOT, TK_OFFS_TAI };

ktime_t ktime_mono_to_any(ktime_t mono, enum tk_offsets to);

enum vdso_clock_mode { VDSO_CLOCKMODE_NONE, VDSO_CLOCKMODE_TSC };

struct clocksource {
	const char *name;
	enum vdso_clock_mode vdso_clock_mode;
};

struct tk_read_base {
	struct clocksource *clock;
	u64 mask;
	u64 cycle_last;
	u32 mult;
	u32 shift;
	u64 xtime_nsec;
	ktime_t base;
	u64 base_real;
};

struct timekeeper {
	struct tk_read_base tkr_mono;
	struct tk_read_base tkr_raw;
	ktime_t offs_real;
	ktime_t offs_boot;
	ktime_t offs_tai;
};

static inline u64 div_u64(u64 a, u32 b)
{
	return a / b;
}

static inline u64 div64_u64(u64 a, u64 b)
{
	return a / b;
}

static inline u64 mul_u64_u64_div_u64(u64 a, u64 b, u64 c)
{
	return (unsigned __int128)a * b / c;
}

static inline int ilog2(u64 x)
{
	return 63 - __builtin_clzll(x);
}

#define fls64(x)	((x) ? ilog2(x) + 1 : 0)
#define DIV_ROUND_UP(a, b)	(((a) + (b) - 1) / (b))

#define DIV_ROUND_UP_ULL	DIV_ROUND_UP
#define U64_MAX		(~0ULL)
#define S64_MAX		((s64)(U64_MAX >> 1))
#define __acquires(lock)
#define __releases(lock)

/* Devices: only that they are suspended, when all tasks are frozen, and resumed */

struct device;

struct dev_pm_ops {
	int (*suspend)(struct device *dev);
	int (*resume)(struct device *dev);
};

#define DEFINE_SIMPLE_DEV_PM_OPS(name, suspend_fn, resume_fn) \
	const struct dev_pm_ops name = { .suspend = suspend_fn, .resume = resume_fn }
#define pm_sleep_ptr(ops)	(ops)
#define KBUILD_MODNAME		"parkclock"

struct device_type {
	const char *name;
	const struct dev_pm_ops *pm;
	void (*release)(struct device *dev);
};

struct device {
	const struct device_type *type;
};

#define device_initialize(dev)	((void)(dev))
#define dev_set_name(dev, name)	((void)(dev), (void)(name), 0)
#define put_device(dev)		((dev)->type->release(dev))
int device_add(struct device *dev);
void device_unregister(struct device *dev);

/* Notifiers */

struct notifier_block {
	int (*notifier_call)(struct notifier_block *nb, unsigned long action, void *data);
	struct notifier_block *next;
	int priority;
};

#define NOTIFY_DONE		0
#define NOTIFY_OK		1

int pvclock_gtod_register_notifier(struct notifier_block *nb);
int pvclock_gtod_unregister_notifier(struct notifier_block *nb);
int register_random_vmfork_notifier(struct notifier_block *nb);
int unregister_random_vmfork_notifier(struct notifier_block *nb);

/* High-resolution timers: in hard interrupt context */

enum hrtimer_restart { HRTIMER_NORESTART, HRTIMER_RESTART };
enum hrtimer_mode {
	HRTIMER_MODE_REL_HARD, HRTIMER_MODE_REL_PINNED_HARD, HRTIMER_MODE_ABS_HARD,
	HRTIMER_MODE_ABS_PINNED_HARD, HRTIMER_MODE_REL, HRTIMER_MODE_ABS,
	HRTIMER_MODE_REL_SOFT,
};

struct hrtimer {
	enum hrtimer_restart (*function)(struct hrtimer *timer);
	/* The simulator's */
	bool queued;
	bool running;
	bool known;
	bool other;		/* not the updater's */
	int clock_id;
	int cpu;
	u64 due;		/* when it is to fire */
	u64 latest;		/* when it must have fired, not to be late */
};

#define PARKCLOCK_HAS_hrtimer_setup
#define PARKCLOCK_HAS_vm_flags_clear
void hrtimer_setup(struct hrtimer *timer, enum hrtimer_restart (*function)(struct hrtimer *),
		   clockid_t clock_id, enum hrtimer_mode mode);
void hrtimer_start_range_ns(struct hrtimer *timer, ktime_t tim, u64 delta_ns,
			    enum hrtimer_mode mode);
int hrtimer_cancel(struct hrtimer *timer);
int hrtimer_try_to_cancel(struct hrtimer *timer);
bool hrtimer_is_queued(struct hrtimer *timer);
bool hrtimer_callback_running(struct hrtimer *timer);
#define hrtimer_active(t)	(hrtimer_is_queued(t) || hrtimer_callback_running(t))
#define hrtimer_start(t, tim, mode)	hrtimer_start_range_ns(t, tim, 0, mode)

/* Deferred work */

struct irq_work {
	void (*func)(struct irq_work *work);
	/* The simulator's */
	bool pending;
	bool running;
	bool known;
	int cpu;
	u64 due;
};

#define IRQ_WORK_INIT_HARD(f)	((struct irq_work){ .func = (f) })
#define IRQ_WORK_INIT(f)	IRQ_WORK_INIT_HARD(f)
#define init_irq_work(w, f)	(*(w) = IRQ_WORK_INIT(f))
bool irq_work_queue(struct irq_work *work);
bool irq_work_queue_on(struct irq_work *work, int cpu);
void irq_work_sync(struct irq_work *work);
bool irq_work_is_pending(struct irq_work *work);

/* Calls to other CPUs; and CPUs that are isolated */

typedef struct {
	struct irq_work work;
	void (*func)(void *info);
} call_single_data_t;

enum hk_type { HK_TYPE_TIMER, HK_TYPE_DOMAIN };

#define CSD_INIT(f, i)	{ .func = (f) }
int smp_call_function_single_async(int cpu, call_single_data_t *csd);
bool housekeeping_cpu(int cpu, enum hk_type type);
#define housekeeping_cpumask(type)	(type)
#define cpu_online_mask			0
#define for_each_cpu_and(cpu, a, b)	for ((cpu) = 0; (cpu) < nr_cpu_ids; (cpu)++)

#define usleep_range(least, most)	sim_nap()
#define cpu_relax()			sim_nap()
void sim_nap(void);

struct work_struct {
	void (*func)(struct work_struct *work);
	/* The simulator's */
	bool pending;
	struct workqueue_struct *wq;
	u64 number;		/* of times that any work was queued */
};

#define WQ_UNBOUND		0
#define system_wq		((struct workqueue_struct *)0)
#define system_highpri_wq	system_wq
#define system_long_wq		system_wq
#define system_unbound_wq	system_wq
#define DECLARE_WORK(name, f)	struct work_struct name = { .func = (f) }
#define INIT_WORK(w, f)		(*(w) = (struct work_struct){ .func = (f) })
#define schedule_work(w)	queue_work(system_wq, w)
bool queue_work(struct workqueue_struct *wq, struct work_struct *work);
bool cancel_work_sync(struct work_struct *work);
bool flush_work(struct work_struct *work);
struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int most);
void flush_workqueue(struct workqueue_struct *wq);
void destroy_workqueue(struct workqueue_struct *wq);

typedef struct { bool woken; } wait_queue_head_t;

struct wait_queue_entry {
	int (*func)(struct wait_queue_entry *entry, unsigned int mode, int sync, void *key);
};

void sim_wake(wait_queue_head_t *w);

#define DECLARE_WAIT_QUEUE_HEAD(name)	wait_queue_head_t name
#define init_waitqueue_head(w)		do { } while (0)
#define wake_up_interruptible(w)	sim_wake(w)
#define wake_up_interruptible_all(w)	sim_wake(w)
#define wake_up_all(w)			sim_wake(w)
#define wake_up(w)			sim_wake(w)
#define init_waitqueue_func_entry(e, f)	((e)->func = (f))
#define add_wait_queue(w, e)		((void)(w), (void)(e))
#define remove_wait_queue(w, e)		((void)(w), (void)(e))

/* Pages */

struct page;

#define PAGE_SIZE		4096
#define GFP_KERNEL		0
#define GFP_KERNEL_ACCOUNT	0
#define GFP_ATOMIC		0
#define __GFP_ZERO		0

struct page *alloc_page(gfp_t gfp);
struct page *alloc_pages(gfp_t gfp, unsigned int order);
void *page_address(const struct page *page);
void put_page(struct page *page);
void get_page(struct page *page);
void __free_page(struct page *page);

/* Lists */

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD_INIT(x)	{ &(x), &(x) }
#define LIST_HEAD(x)		struct list_head x = LIST_HEAD_INIT(x)

static inline void INIT_LIST_HEAD(struct list_head *list)
{
	list->next = list;
	list->prev = list;
}

static inline void list_add(struct list_head *new, struct list_head *head)
{
	new->next = head->next;
	new->prev = head;
	head->next->prev = new;
	WRITE_ONCE(head->next, new);
}

static inline void list_add_tail(struct list_head *new, struct list_head *head)
{
	list_add(new, head->prev);
}

static inline void list_del(struct list_head *entry)
{
	entry->next->prev = entry->prev;
	WRITE_ONCE(entry->prev->next, entry->next);
}

static inline void list_del_init(struct list_head *entry)
{
	list_del(entry);
	INIT_LIST_HEAD(entry);
}

static inline bool list_empty(const struct list_head *head)
{
	return READ_ONCE(head->next) == head;
}

#define list_entry(p, type, member)	container_of(p, type, member)
#define list_first_entry(head, type, member)	list_entry((head)->next, type, member)
#define list_first_entry_or_null(head, type, member) \
	(list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_for_each_entry(pos, head, member) \
	for (pos = list_entry((head)->next, __typeof__(*pos), member); \
	     &pos->member != (head); \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))
#define list_for_each_entry_safe(pos, n, head, member) \
	for (pos = list_entry((head)->next, __typeof__(*pos), member), \
	     n = list_entry(pos->member.next, __typeof__(*pos), member); \
	     &pos->member != (head); \
	     pos = n, n = list_entry(n->member.next, __typeof__(*pos), member))

static inline void list_move(struct list_head *entry, struct list_head *head)
{
	list_del(entry);
	list_add(entry, head);
}

static inline void list_move_tail(struct list_head *entry, struct list_head *head)
{
	list_del(entry);
	list_add_tail(entry, head);
}

static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
	while (!list_empty(list))
		list_move_tail(list->next, head);
}

/* Timers by their expiry: in a list, which is short here */

struct timerqueue_node {
	struct list_head link;
	ktime_t expires;
};

struct timerqueue_head {
	struct list_head list;
};

#define timerqueue_init(n)	INIT_LIST_HEAD(&(n)->link)
#define timerqueue_init_head(h)	INIT_LIST_HEAD(&(h)->list)
#define timerqueue_del(h, n)	((void)(h), list_del_init(&(n)->link))

static inline void timerqueue_add(struct timerqueue_head *head, struct timerqueue_node *node)
{
	struct timerqueue_node *n;

	list_for_each_entry(n, &head->list, link)
		if (n->expires > node->expires)
			break;
	list_add_tail(&node->link, &n->link);
}

static inline struct timerqueue_node *timerqueue_getnext(struct timerqueue_head *head)
{
	return list_first_entry_or_null(&head->list, struct timerqueue_node, link);
}

/* Parameters: the simulator finds them by name. */

struct kernel_param;

struct kernel_param_ops {
	unsigned int flags;
	int (*set)(const char *val, const struct kernel_param *kp);
	int (*get)(char *buffer, const struct kernel_param *kp);
};

struct kernel_param {
	const char *name;
	const struct kernel_param_ops *ops;
	void *arg;
};

#define KERNEL_PARAM_OPS_FL_NOARG	1
#define SIM_PARAM	__attribute__((__section__("simparams"), __used__, __aligned__(8)))
#define module_param_cb(n, o, a, perm) \
	static const struct kernel_param __param_##n SIM_PARAM = { #n, o, a }
#define __MODULE_PARM_TYPE(n, t)	_Static_assert(1, "")
#define MODULE_PARM_DESC(n, t)		_Static_assert(1, "")

int kstrtouint(const char *s, unsigned int base, unsigned int *result);
int param_set_bool(const char *val, const struct kernel_param *kp);
int param_get_bool(char *buffer, const struct kernel_param *kp);
int sysfs_emit(char *buffer, const char *format, ...);

/* Trace events */

void sim_trace(const char *event);

#define TP_PROTO(...)		__VA_ARGS__
#define TP_ARGS(...)
#define TP_STRUCT__entry(...)
#define TP_fast_assign(...)
#define TP_printk(...)
#define TRACE_EVENT(event, proto, args, fields, assign, print) \
	static inline bool trace_##event##_enabled(void) { return false; } \
	static inline void trace_##event(proto) { sim_trace(#event); }
#define DECLARE_EVENT_CLASS(...)
#define DEFINE_EVENT(class, event, proto, args)	TRACE_EVENT(event, proto, args, , , )

#define pr_info(...)		do { } while (0)
#define pr_warn(...)		do { } while (0)
#define pr_err(...)		do { } while (0)
#define WARN_ON(x)		({ bool __w = (x); if (__w) sim_warn(#x); __w; })
#define WARN_ON_ONCE(x)		WARN_ON(x)

#include <kernel_tasks.h>

#endif
