// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's services: locks, sequence counts, timers, deferred work, notifiers, pages,
 * parameters.
 *
 * What the kernel does under locks of its own (a timer's base, a work's flags) is done in
 * one step here, after all stores of the CPU have reached memory, as a locked instruction
 * sees to.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched.h"

#define TIMERS		16
#define WORKS		24
#define PAGES		8

static struct hrtimer *timers[TIMERS];
static struct irq_work *works[WORKS];
static int timer_count, work_count;

static char pages[PAGES][PAGE_SIZE] __attribute__((__aligned__(PAGE_SIZE)));
static int page_count;

struct notifier_block *fork_chain;

extern char __start_simpercpu[], __stop_simpercpu[];
static char percpu[SIM_CPUS][4096] __attribute__((__aligned__(64)));

bool percpu_name(u64 addr, char *name, unsigned int size)
{
	u64 off = addr - (u64)percpu;

	if (off >= sizeof(percpu))
		return false;
	snprintf(name, size, "per-CPU %llu of CPU%llu", off % sizeof(percpu[0]),
		 off / sizeof(percpu[0]));
	return true;
}

/* Interrupts */

unsigned long sim_irq_save(void)
{
	unsigned long was = me->irqs_off;

	point(P_ONCE);
	was = me->irqs_off;
	me->irqs_off = true;
	return was;
}

void sim_irq_restore(unsigned long flags)
{
	settled(me);
	me->irqs_off = flags;
	if (!flags && !sim.quiet) {
		deliver();
		point(P_SYNC);
	}
}

bool sim_irqs_disabled(void)
{
	return me->irqs_off || me->in_irq;
}

int sim_cpu(void)
{
	return me->id;
}

void *sim_percpu(const volatile void *var, int cpu)
{
	return percpu[cpu] + ((const volatile char *)var - __start_simpercpu);
}

/* Locks */

/* The module's, as they are met */
static raw_spinlock_t *locks[8];
static unsigned int lock_count;

static void know_lock(raw_spinlock_t *lock)
{
	unsigned int i;

	if (lock->minor || timekeeper_lock_is(lock))
		return;
	for (i = 0; i < lock_count; i++)
		if (locks[i] == lock)
			return;
	if (lock_count < ARRAY_SIZE(locks))
		locks[lock_count++] = lock;
}

/*
 * Is any of them held, other than @but, as far as memory says? A release may still be in a
 * store buffer.
 */
bool module_lock_held(const raw_spinlock_t *but)
{
	unsigned int i;

	for (i = 0; i < lock_count; i++)
		if (locks[i] != but && locks[i]->locked)
			return true;
	return false;
}

static bool locked(const void *arg)
{
	return ((const raw_spinlock_t *)arg)->locked;
}

bool sim_trylock(raw_spinlock_t *lock)
{
	if (sim_rmw(&lock->locked, 4, SIM_XCHG, 1, 0))
		return false;
	lock->owner = me->id;
	me->locks++;
	me->locked += !me->in_irq;
	know_lock(lock);
	sim.events += !lock->minor;
	if (recording)
		record("has the lock");
	return true;
}

void sim_lock(raw_spinlock_t *lock)
{
	point(P_SYNC);
	if (own_view(&lock->locked, 4) && lock->owner == (u32)me->id)
		fail("deadlock", "CPU %d takes a lock that it has", me->id);
	while (!sim_trylock(lock)) {
		if (recording)
			record("waits for the lock, which CPU%u has", lock->owner);
		wait_while(locked, lock);
	}
	/* With the lock just taken is where to be stopped. */
	point(P_SYNC);
}

void sim_unlock(raw_spinlock_t *lock)
{
	if (!lock->locked || lock->owner != (u32)me->id)
		fail("lock", "CPU %d releases a lock that it has not", me->id);
	settled(me);
	sim.events += !lock->minor;
	if (!timekeeper_lock_is(lock))
		check_unlocked(lock);
	sim_release(&lock->locked, 4, 0);
	me->locks--;
	if (recording)
		record("releases the lock");
}

void sim_assert_held(raw_spinlock_t *lock)
{
	if (!lock->locked || lock->owner != (u32)me->id)
		fail("lockdep", "a lock is not held that must be");
}

void sim_lock_bh(raw_spinlock_t *lock)
{
	settled(me);
	me->bh_off++;
	sim_lock(lock);
}

void sim_unlock_bh(raw_spinlock_t *lock)
{
	sim_unlock(lock);
	if (!--me->bh_off && callback_count && !sim.quiet)
		run_callbacks(true);
}

static bool mutex_locked(const void *arg)
{
	return ((const struct mutex *)arg)->lock.locked;
}

void sim_mutex_lock(struct mutex *mutex)
{
	if (me->irqs_off || me->in_irq || me->bh_off || me->readers)
		fail("context", "a mutex is taken where nobody may sleep");
	while (sim_rmw(&mutex->lock.locked, 4, SIM_XCHG, 1, 0))
		wait_while(mutex_locked, mutex);
	mutex->lock.owner = me->id;
}

bool sim_mutex_trylock(struct mutex *mutex)
{
	if (me->irqs_off || me->in_irq || me->bh_off || me->readers)
		fail("context", "a mutex is tried where nobody may release it");
	if (sim_rmw(&mutex->lock.locked, 4, SIM_XCHG, 1, 0))
		return false;
	mutex->lock.owner = me->id;
	return true;
}

void sim_mutex_unlock(struct mutex *mutex)
{
	sim_release(&mutex->lock.locked, 4, 0);
}

static bool odd(const void *arg)
{
	return ((const seqcount_t *)arg)->sequence & 1;
}

unsigned int sim_read_seqcount_begin(const seqcount_t *s)
{
	unsigned int seq;

	while ((seq = sim_load(&s->sequence, 4)) & 1) {
		if (recording)
			record("waits for a writer");
		wait_while(odd, s);
	}
	sim_rmb();
	return seq;
}

bool sim_read_seqcount_retry(const seqcount_t *s, unsigned int start)
{
	sim_rmb();
	return sim_load(&s->sequence, 4) != start;
}

void sim_write_seqcount_begin(seqcount_t *s)
{
	sim_store(&s->sequence, 4, sim_load(&s->sequence, 4) + 1);
	sim_wmb();
}

void sim_write_seqcount_end(seqcount_t *s)
{
	sim_wmb();
	sim_store(&s->sequence, 4, sim_load(&s->sequence, 4) + 1);
}

/* After each change: when is the next interrupt of each CPU? */
static void plan_irqs(void)
{
	int i;

	for (i = 0; i < sim_cpus; i++)
		cpus[i].irq_at = NEVER;
	for (i = 0; i < timer_count; i++)
		if (timers[i]->queued && !timers[i]->running)
			cpus[timers[i]->cpu].irq_at = min(cpus[timers[i]->cpu].irq_at,
							  timers[i]->due);
	for (i = 0; i < work_count; i++)
		if (works[i]->pending && !works[i]->running)
			cpus[works[i]->cpu].irq_at = min(cpus[works[i]->cpu].irq_at,
							 works[i]->due);
}

/* Timers */

void hrtimer_setup(struct hrtimer *timer, enum hrtimer_restart (*function)(struct hrtimer *),
		   clockid_t clock_id, enum hrtimer_mode mode)
{
	(void)mode;
	timer->function = function;
	timer->clock_id = clock_id;
	/* Those of clocks are in memory that was allocated. */
	timer->other = (u64)timer - (u64)heap < HEAP_SIZE;
	if (!timer->known) {
		if (timer_count == TIMERS)
			fail("timer", "there are too many");
		timer->known = true;
		timers[timer_count++] = timer;
	}
}

/* How long after @when a segment will end that is not cut off any more. */
static u64 end_of_window(u64 when)
{
	u64 before = one_in(2) ? rnd(tsc_khz / 50) : rnd_log(tsc_khz / 50);
	s64 until = window_end() - sim.offset - before - when;

	return until > 0 ? until : 0;
}

/* How long until @tim. A clock that is set, or sleeps, has its timers fire late here, or early. */
static s64 from_now(const struct hrtimer *timer, s64 tim, enum hrtimer_mode mode)
{
	const s64 most = 1LL << 40;
	ktime_t now = sim_ktime_get();

	if (mode == HRTIMER_MODE_ABS) {
		if (timer->clock_id == CLOCK_BOOTTIME)
			now = ktime_mono_to_any(now, TK_OFFS_BOOT);
		tim = tim < now ? 0 : tim - now;
	}
	return min(tim, most);
}

void hrtimer_start_range_ns(struct hrtimer *timer, ktime_t tim, u64 delta_ns,
			    enum hrtimer_mode mode)
{
	u64 from, soft, range, late = 0;

	/* The timer's base reads the time: waits for the timekeeper, if it must. */
	tim = from_now(timer, tim, mode);
	from = sim.now;
	sim_mb();
	soft = timekeeper_cycles(tim);
	range = timekeeper_cycles(delta_ns);
	if (sim.features[F_LATE] && one_in(4))
		late = rnd_log(3 * (soft + range));
	else if (sim.features[F_LATE] && one_in(4))
		late = end_of_window(from + soft + range);
	else if (one_in(2))
		late = rnd_log(3000);
	timer->queued = true;
	/* Its callback keeps it where it is; and if it waits for a lock, it is no tick. */
	if (!timer->running)
		timer->cpu = me->id;
	else if (!timer->other && (timer->cpu != me->id || !me->in_irq))
		checks.ticks--;
	timer->due = from + soft + rnd(range + 1) + late;
	timer->latest = from + soft + range;
	plan_irqs();
	if (recording)
		record("arms the timer: to fire in %llu cycles, by %llu at the latest",
		       timer->due - sim.now, timer->latest - sim.now);
	point(P_SYNC);
}

bool hrtimer_is_queued(struct hrtimer *timer)
{
	point(P_ONCE);
	return timer->queued;
}

bool hrtimer_callback_running(struct hrtimer *timer)
{
	point(P_ONCE);
	return timer->running;
}

int hrtimer_try_to_cancel(struct hrtimer *timer)
{
	bool was = timer->queued;

	sim_mb();
	if (timer->running)
		return -1;
	was = timer->queued;
	timer->queued = false;
	plan_irqs();
	return was;
}

static bool timer_running(const void *arg)
{
	return ((const struct hrtimer *)arg)->running;
}

int hrtimer_cancel(struct hrtimer *timer)
{
	int ret;

	while ((ret = hrtimer_try_to_cancel(timer)) < 0)
		wait_while(timer_running, timer);
	return ret;
}

/* The first of the timers of clocks that is armed, or whose callback runs; or NULL */
const struct hrtimer *other_timer(void)
{
	int i;

	for (i = 0; i < timer_count; i++)
		if (timers[i]->other && (timers[i]->queued || timers[i]->running))
			return timers[i];
	return NULL;
}

/* These are about the updater's timer alone. */

bool timer_queued(void)
{
	int i;

	for (i = 0; i < timer_count; i++)
		if (timers[i]->queued && !timers[i]->other)
			return true;
	return false;
}

bool timer_in_callback(const void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < timer_count; i++)
		if (timers[i]->running && !timers[i]->other)
			return true;
	return false;
}

u64 timer_due(void)
{
	int i;

	for (i = 0; i < timer_count; i++)
		if (timers[i]->queued && !timers[i]->other)
			return timers[i]->due;
	return NEVER;
}

bool timer_overdue(void)
{
	int i;

	for (i = 0; i < timer_count; i++)
		if (!timers[i]->other && (timers[i]->running || (timers[i]->queued &&
								 timers[i]->latest < sim.now)))
			return true;
	return false;
}

/* Whoever waits would be woken. */
void sim_wake(wait_queue_head_t *w)
{
	settled(me);
	check_heap((u64)w);
	w->woken = true;
}

/* Deferred work */

bool irq_work_queue_on(struct irq_work *work, int cpu)
{
	point(P_SYNC);
	if (!work->known) {
		work->known = true;
		works[work_count++] = work;
	}
	if (work->pending)
		return false;
	work->pending = true;
	work->cpu = cpu;
	work->due = sim.now;
	if (sim.features[F_LATE] && one_in(4))
		work->due += rnd_log(MS(run_interval_ms()) * run_window());
	else if (one_in(2))
		work->due += rnd_log(3000);
	plan_irqs();
	sim.events++;
	return true;
}

bool irq_work_queue(struct irq_work *work)
{
	return irq_work_queue_on(work, me->id);
}

/* Calls to other CPUs, as what they are: an irq_work there */

static void do_call(struct irq_work *work)
{
	container_of(work, call_single_data_t, work)->func(NULL);
}

int smp_call_function_single_async(int cpu, call_single_data_t *csd)
{
	csd->work.func = do_call;
	return irq_work_queue_on(&csd->work, cpu) ? 0 : -EBUSY;
}

/* The first CPU is the isolated one. */
bool housekeeping_cpu(int cpu, enum hk_type type)
{
	(void)type;
	return cpu || !sim.features[F_ISOLATED];
}

void sim_nap(void)
{
	sleep_until(sim.now + 1000);
}

static bool work_busy(const void *arg)
{
	const struct irq_work *work = arg;

	return work->pending || work->running;
}

void irq_work_sync(struct irq_work *work)
{
	settled(me);
	wait_while(work_busy, work);
}

bool irq_work_is_pending(struct irq_work *work)
{
	return work->pending;
}

bool irq_work_outstanding(void)
{
	int i;

	for (i = 0; i < work_count; i++)
		if (work_busy(works[i]))
			return true;
	return false;
}

/* The first interrupt that is due on @c, which is this CPU. */
void irq_run(struct cpu *c)
{
	/* Of what is interrupted: what it read of the counter, and when that began. */
	const u64 incarnation = c->incarnation, cycles = c->cycles;
	const char *doing = c->doing;
	const bool guest = c->guest;
	int i;

	c->in_irq = true;
	c->guest = false;
	for (i = 0; i < timer_count; i++) {
		struct hrtimer *timer = timers[i];

		if (!timer->queued || timer->running || timer->cpu != c->id ||
		    timer->due > sim.now)
			continue;
		c->doing = "timer";
		if (recording)
			record("the timer fires");
		if (!timer->other && !housekeeping_cpu(c->id, HK_TYPE_TIMER))
			fail("isolated", "the timer fires on CPU %d, which is isolated", c->id);
		timer->queued = false;
		timer->running = true;
		plan_irqs();
		if (!timer->other)
			check_tick();
		timer->function(timer);
		settled(c);
		timer->running = false;
		goto out;
	}
	for (i = 0; i < work_count; i++) {
		struct irq_work *work = works[i];

		if (!work->pending || work->running || work->cpu != c->id || work->due > sim.now)
			continue;
		c->doing = "irq_work";
		if (recording)
			record("the irq_work runs");
		sim_mb();
		work->running = true;
		work->pending = false;
		plan_irqs();
		work->func(work);
		settled(c);
		work->running = false;
		sim.events++;
		goto out;
	}
out:
	plan_irqs();
	sim_mb();
	c->in_irq = false;
	c->incarnation = incarnation;
	c->cycles = cycles;
	c->guest = guest;
	c->doing = doing;
	if (recording)
		record("returns from the interrupt");
}

/* Works that run. The memory of a work may be freed by what it does. */
static struct {
	const struct work_struct *work;
	const struct workqueue_struct *wq;
	u64 number;
} runs[WORKS];

struct workqueue_struct {
	bool exists;
};

static struct workqueue_struct workqueues[4];

struct workqueue_struct *alloc_workqueue(const char *name, unsigned int flags, int most)
{
	unsigned int i;

	(void)name;
	(void)flags;
	(void)most;
	for (i = 0; workqueues[i].exists; i++)
		;
	workqueues[i].exists = true;
	return &workqueues[i];
}

void check_workers(const struct workqueue_struct *wq)
{
	if (wq != system_wq && !wq->exists)
		fail("work", "is queued for nobody");
}

bool queue_work(struct workqueue_struct *wq, struct work_struct *work)
{
	point(P_SYNC);
	check_heap((u64)work);
	check_workers(wq);
	if (work->pending)
		return false;
	if (sim.scheduled_works == ARRAY_SIZE(sim.works))
		fail("work", "there is too much");
	work->pending = true;
	work->wq = wq;
	work->number = ++sim.queued;
	sim.works[sim.scheduled_works++] = work;
	return true;
}

bool work_runs(const void *arg)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(runs); i++)
		if (runs[i].work == arg)
			return true;
	return false;
}

/* What a worker thread would do; called where this CPU could have gone on with one. */
void run_works(void)
{
	int i;

	for (i = sim.scheduled_works - 1; i >= 0; i = min(i, sim.scheduled_works) - 1)
		if (!work_runs(sim.works[i]))
			run_work(sim.works[i]);
	run_delayed();
	run_callbacks(false);
}

/* Takes it from the list; false if it is not there. */
static bool take_work(struct work_struct *work)
{
	int i;

	for (i = 0; i < sim.scheduled_works; i++)
		if (sim.works[i] == work) {
			sim.works[i] = sim.works[--sim.scheduled_works];
			work->pending = false;
			return true;
		}
	return false;
}

void run_work(struct work_struct *work)
{
	const char *doing = me->doing;
	bool in_work = me->in_work;
	unsigned int i;

	take_work(work);
	for (i = 0; runs[i].work; i++)
		;
	runs[i].work = work;
	runs[i].wq = work->wq;
	runs[i].number = work->number;
	me->doing = "work";
	me->in_work = true;
	if (recording)
		record("a work runs");
	sim_mb();
	work->func(work);
	settled(me);
	runs[i].work = NULL;
	me->in_work = in_work;
	me->doing = doing;
}

void sim_wait_for_work(struct work_struct *work)
{
	wait_while(work_runs, work);
}

bool flush_work(struct work_struct *work)
{
	settled(me);
	wait_while(work_runs, work);
	if (work->pending)
		run_work(work);
	wait_while(work_runs, work);
	return true;
}

bool cancel_work_sync(struct work_struct *work)
{
	bool was;

	settled(me);
	was = take_work(work);
	wait_while(work_runs, work);
	return was;
}

/* What flush_workqueue() waits for: works up to this number */
struct flushed {
	const struct workqueue_struct *wq;
	u64 last;
};

static bool flushed_run(const void *arg)
{
	const struct flushed *flushed = arg;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(runs); i++)
		if (runs[i].work && runs[i].wq == flushed->wq && runs[i].number <= flushed->last)
			return true;
	return false;
}

/* What was queued before, and no more: the one who waits does it, or waits for who does. */
void flush_workqueue(struct workqueue_struct *wq)
{
	struct flushed flushed = { .wq = wq };
	int i;

	point(P_SYNC);
	flushed.last = sim.queued;
	for (i = 0; i < sim.scheduled_works;) {
		struct work_struct *work = sim.works[i];

		if (work->wq != wq || work->number > flushed.last) {
			i++;
			continue;
		}
		wait_while(work_runs, work);
		if (i < sim.scheduled_works && sim.works[i] == work)
			run_work(work);
		i = 0;
	}
	wait_while(flushed_run, &flushed);
}

/* Waits for what is queued meanwhile, too. */
void destroy_workqueue(struct workqueue_struct *wq)
{
	u64 before;

	do {
		before = sim.queued;
		flush_workqueue(wq);
	} while (sim.queued != before);
	wq->exists = false;
}

/* Memory is freed: nothing in it may be outstanding. */
void forget_works(const void *p, u64 size)
{
	int i;

	for (i = 0; i < timer_count; i++) {
		if ((u64)timers[i] - (u64)p >= size)
			continue;
		if (timers[i]->queued || timers[i]->running)
			fail("freed", "a timer that is armed, or whose callback runs");
		timers[i--] = timers[--timer_count];
	}
	for (i = 0; i < work_count; i++) {
		if ((u64)works[i] - (u64)p >= size)
			continue;
		if (work_busy(works[i]))
			fail("freed", "an irq_work that is outstanding");
		works[i--] = works[--work_count];
	}
	for (i = 0; i < sim.scheduled_works; i++)
		if ((u64)sim.works[i] - (u64)p < size)
			fail("freed", "a work that is outstanding");
}

/* Notifiers */

static int chain_add(struct notifier_block **chain, struct notifier_block *nb)
{
	nb->next = *chain;
	*chain = nb;
	return 0;
}

static int chain_remove(struct notifier_block **chain, struct notifier_block *nb)
{
	for (; *chain; chain = &(*chain)->next)
		if (*chain == nb) {
			*chain = nb->next;
			return 0;
		}
	return -ENOENT;
}

void call_chain(struct notifier_block *chain, unsigned long action, void *data)
{
	struct notifier_block *nb;

	for (nb = chain; nb; nb = nb->next)
		nb->notifier_call(nb, action, data);
	settled(me);
}

/* The module's only one, and what Linux noted of its callbacks when it was added */
static struct device *device;
static const struct dev_pm_ops *device_pm;

int device_add(struct device *dev)
{
	device = dev;
	device_pm = dev->type ? dev->type->pm : NULL;
	return 0;
}

void device_unregister(struct device *dev)
{
	device_pm = NULL;
	put_device(dev);
}

/* What the kernel does to devices when all tasks are frozen, and before they are thawed */
void devices_suspend(bool suspend)
{
	if (device_pm && suspend)
		device_pm->suspend(device);
	else if (device_pm)
		device_pm->resume(device);
	settled(me);
}

int register_random_vmfork_notifier(struct notifier_block *nb)
{
	return chain_add(&fork_chain, nb);
}

int unregister_random_vmfork_notifier(struct notifier_block *nb)
{
	return chain_remove(&fork_chain, nb);
}

/* Pages */

struct page *alloc_page(gfp_t gfp)
{
	(void)gfp;
	if (page_count == PAGES)
		return NULL;
	return (struct page *)pages[page_count++];
}

void *page_address(const struct page *page)
{
	return (void *)page;
}

void put_page(struct page *page)
{
	(void)page;
}

/* Parameters */

extern const struct kernel_param __start_simparams[], __stop_simparams[];

int set_param(const char *name, unsigned int value)
{
	const struct kernel_param *kp;
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	for (kp = __start_simparams; kp != __stop_simparams; kp++)
		if (!strcmp(kp->name, name))
			return kp->ops->set(text, kp);
	return -ENOENT;
}

int kstrtouint(const char *s, unsigned int base, unsigned int *result)
{
	*result = strtoul(s, NULL, base);
	return 0;
}

int param_set_bool(const char *val, const struct kernel_param *kp)
{
	*(bool *)kp->arg = *val == '1';
	return 0;
}

int param_get_bool(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%c\n", *(bool *)kp->arg ? 'Y' : 'N');
}

int sysfs_emit(char *buffer, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(buffer, PAGE_SIZE, format, args);
	va_end(args);
	return n;
}

void sim_trace(const char *event)
{
	if (recording)
		record("trace: %s", event);
}

void sim_warn(const char *what)
{
	fail("warning", "%s", what);
}

void kernel_reset(void)
{
	timer_count = 0;
	work_count = 0;
	memset(pages, 0, page_count * PAGE_SIZE);
	page_count = 0;
	device_pm = NULL;
	lock_count = 0;
	fork_chain = NULL;
	memset(runs, 0, sizeof(runs));
	memset(workqueues, 0, sizeof(workqueues));
	for (int i = 0; i < sim_cpus; i++)
		memcpy(percpu[i], __start_simpercpu, __stop_simpercpu - __start_simpercpu);
}
