// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock doctor: the clock, compared with clock_gettime()
 *
 * A reference is held throughout. In the first half of the time each reading is taken
 * between two calls of clock_gettime() and must lie between them, give or take its bound. In
 * the second half threads on all CPUs pass the largest reading to each other, and must not
 * get less. The rate is measured over the whole time.
 *
 * While the host's clock is being changed, clock_gettime() on one CPU may know the change a
 * moment before the page is invalid. So a reading that is off is judged only if nothing has
 * changed since the last look: see undisturbed().
 *
 * Where this process may not read the TSC, clock_gettime() in the vDSO would read it, and the
 * process would be killed. Then clock_gettime() is called as a system call, and nothing else
 * here reads the TSC.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "doctor.h"

#define SAMPLES		4096	/* number of bounds that are kept, for their median */
#define BURST		256	/* readings between two looks at the changes of the host's clock */
#define READ_EVERY	1000	/* page readings of a thread between two by READ */
#define MAX_CPUS	8192
#define PROGRESS_NS	(NSEC_PER_SEC / 4)

static const clockid_t ids[] = { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI };

/* Both change with the host's clock. */
struct changes {
	__u64 epoch;
	__u64 generation;
};

struct work {
	struct patient *p;
	struct measurement *m;
	struct changes changes;
	__s64 start_ns;
	__s64 progress_ns;	/* when to print it next */
	__u64 samples[SAMPLES];
	__u64 sampled;
	__u64 seed;
};

static __s64 host_ns(const struct parkclock *pc, clockid_t id)
{
	struct timespec ts;

	if (parkclock_map(pc))
		clock_gettime(id, &ts);
	else
		syscall(SYS_clock_gettime, id, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/*
 * When this returns, a change that was under way on another CPU is complete, for the page
 * too: the system call waits for it, which the vDSO does not.
 */
static struct changes look_at_changes(struct parkclock *pc)
{
	const void *map = parkclock_map(pc);
	struct changes c = { 0 };
	struct parkclock_query q;
	struct timespec ts;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts);
	if (map) {
		const struct parkclock_timebase *timebase =
			(const void *)((const char *)map + PARKCLOCK_PAGE_SIZE);

		c.epoch = __atomic_load_n(&timebase->epoch, __ATOMIC_ACQUIRE);
	}
	if (!parkclock_query(pc, &q))
		c.generation = q.generation;
	return c;
}

/* Has nothing changed since the last look? */
static bool undisturbed(struct work *w)
{
	const struct changes before = w->changes;

	w->changes = look_at_changes(w->p->pc);
	return w->changes.epoch == before.epoch && w->changes.generation == before.generation;
}

/* Writes one line over and over, and clears it at the end. */
static void progress(struct work *w, __s64 now)
{
	if (w->p->quiet || now < w->progress_ns)
		return;
	w->progress_ns = now + PROGRESS_NS;
	fprintf(stderr, "\rmeasuring: %.1f of %.1f s ", (now - w->start_ns) / 1e9,
		w->p->for_ns / 1e9);
}

static void progress_end(const struct work *w)
{
	if (!w->p->quiet)
		fputs("\r\033[K", stderr);
}

/* Keeps a fair sample of the bounds, however many there are. */
static void note_bound(struct work *w, __u64 error_ns)
{
	__u64 at = w->sampled++;

	if (at >= SAMPLES) {
		w->seed = w->seed * 6364136223846793005ULL + 1442695040888963407ULL;
		at = (w->seed >> 20) % w->sampled;
	}
	if (at < SAMPLES)
		w->samples[at] = error_ns;
	if (w->sampled == 1 || error_ns < w->m->best_ns)
		w->m->best_ns = error_ns;
}

static int compare(const void *a, const void *b)
{
	const __u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return (x > y) - (x < y);
}

static void find_median(struct work *w)
{
	const __u64 n = w->sampled < SAMPLES ? w->sampled : SAMPLES;

	qsort(w->samples, n, sizeof(*w->samples), compare);
	w->m->median_ns = n ? w->samples[n / 2] : 0;
}

struct bracketed {
	struct parkclock_reading r;
	__s64 before, after;	/* clock_gettime() */
};

/* Returns false if there was no time. */
static bool take(struct work *w, clockid_t id, bool by_page, struct bracketed *b)
{
	struct parkclock *pc = w->p->pc;
	int err;

	b->before = host_ns(pc, id);
	if (by_page)
		err = parkclock_page_now_bound(pc, id, &b->r);
	else
		err = parkclock_slow_now_bound(pc, id, &b->r);
	if (err && !by_page)
		w->m->read_errno = errno;
	b->after = host_ns(pc, id);
	return !err;
}

static void judge(struct work *w, const struct bracketed *b)
{
	struct measurement *m = w->m;
	__u64 outside = 0;

	if (b->r.ns < b->before)
		outside = b->before - b->r.ns;
	else if (b->r.ns > b->after)
		outside = b->r.ns - b->after;
	note_bound(w, b->r.error_ns);
	if (outside > b->r.error_ns) {
		if (!undisturbed(w)) {
			m->unjudged++;
			return;
		}
		m->wrong++;
		if (outside - b->r.error_ns > m->wrong_ns)
			m->wrong_ns = outside - b->r.error_ns;
	}
	if (outside > m->outside_ns)
		m->outside_ns = outside;
}

/* Reads the page, if it can have a time and has one; else by READ. */
static bool take_either(struct work *w, clockid_t id, bool by_page, struct bracketed *b)
{
	struct measurement *m = w->m;

	if (by_page) {
		if (take(w, id, true, b)) {
			m->by_page++;
			return true;
		}
		m->expired++;
	}
	if (!take(w, id, false, b))
		return false;
	m->by_read++;
	return true;
}

/* Reads all clocks in turn; each by READ once in a burst. */
static void compare_readings(struct work *w, __s64 until)
{
	const int clocks = ARRAY_SIZE(ids);
	__s64 now;

	do {
		struct bracketed b;

		undisturbed(w);
		for (int i = 0; i < BURST; i++) {
			if (take_either(w, ids[i % clocks], w->m->page_used && i >= clocks, &b))
				judge(w, &b);
		}
		now = host_ns(w->p->pc, CLOCK_MONOTONIC);
		progress(w, now);
	} while (now < until);
}

/* Shared by the threads: the largest reading of each clock that never goes back. */
struct relay {
	struct parkclock *pc;
	bool page_used;
	atomic_bool stop;
	atomic_llong latest[2];
};

struct runner {
	pthread_t thread;
	struct relay *relay;
	unsigned int cpu;
	__u64 passed, back, back_ns;
};

static const clockid_t relay_ids[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };

static void pass(struct runner *r, int clock, bool by_page)
{
	struct relay *relay = r->relay;
	long long seen = atomic_load_explicit(&relay->latest[clock], memory_order_acquire);
	struct parkclock_reading now;

	if ((!by_page || parkclock_page_now_bound(relay->pc, relay_ids[clock], &now)) &&
	    parkclock_slow_now_bound(relay->pc, relay_ids[clock], &now))
		return;
	r->passed++;
	if (now.ns < seen) {
		r->back++;
		if ((__u64)(seen - now.ns) > r->back_ns)
			r->back_ns = seen - now.ns;
	}
	while (now.ns > seen &&
	       !atomic_compare_exchange_weak_explicit(&relay->latest[clock], &seen, now.ns,
						      memory_order_release,
						      memory_order_relaxed))
		;
}

static void *run_relay(void *arg)
{
	const unsigned int clocks = ARRAY_SIZE(relay_ids);
	struct runner *r = arg;

	/* Takes a least number of readings, even if the thread gets a CPU too late. */
	for (unsigned int i = 0; i < clocks * READ_EVERY ||
	     !atomic_load_explicit(&r->relay->stop, memory_order_relaxed); i++)
		pass(r, i / READ_EVERY % clocks, r->relay->page_used && i % READ_EVERY);
	return NULL;
}

/* Runs on one CPU; or where the kernel puts it, if that CPU has gone off-line. */
static bool start_runner(struct runner *r)
{
	cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
	const size_t size = CPU_ALLOC_SIZE(MAX_CPUS);
	pthread_attr_t attr;
	int err;

	if (!set)
		return false;
	CPU_ZERO_S(size, set);
	CPU_SET_S(r->cpu, size, set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, size, set);
	err = pthread_create(&r->thread, &attr, run_relay, r);
	if (err)
		err = pthread_create(&r->thread, NULL, run_relay, r);
	pthread_attr_destroy(&attr);
	CPU_FREE(set);
	return !err;
}

/* Starts a thread for each CPU that this process may run on, two at least. */
static unsigned int find_runners(struct runner **runners, struct relay *relay)
{
	cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
	const size_t size = CPU_ALLOC_SIZE(MAX_CPUS);
	unsigned int n = 0;

	*runners = calloc(MAX_CPUS, sizeof(**runners));
	if (set && *runners && !sched_getaffinity(0, size, set)) {
		for (unsigned int cpu = 0; cpu < MAX_CPUS; cpu++) {
			if (CPU_ISSET_S(cpu, size, set))
				(*runners)[n++].cpu = cpu;
		}
		if (n == 1)
			(*runners)[n++].cpu = (*runners)[0].cpu;
		for (unsigned int i = 0; i < n; i++)
			(*runners)[i].relay = relay;
	}
	CPU_FREE(set);
	return n;
}

static void wait_until(struct work *w, __s64 until)
{
	__s64 now;

	while ((now = host_ns(w->p->pc, CLOCK_MONOTONIC)) < until) {
		const __s64 left = until - now;

		progress(w, now);
		usleep((left < PROGRESS_NS ? left : PROGRESS_NS) / 1000 + 1);
	}
}

static void pass_readings(struct work *w, __s64 until)
{
	struct relay relay = { .pc = w->p->pc, .page_used = w->m->page_used };
	struct measurement *m = w->m;
	struct runner *runners;
	unsigned int n = find_runners(&runners, &relay);

	while (m->threads < n && start_runner(&runners[m->threads]))
		m->threads++;
	wait_until(w, until);
	atomic_store(&relay.stop, true);
	for (unsigned int i = 0; i < m->threads; i++) {
		const struct runner *r = &runners[i];

		pthread_join(r->thread, NULL);
		m->passed += r->passed;
		m->back += r->back;
		if (r->back_ns > m->back_ns)
			m->back_ns = r->back_ns;
	}
	free(runners);
}

/* Takes a reading of MONOTONIC with a bracket that is as narrow as possible. */
static struct bracketed take_narrow(struct work *w)
{
	struct bracketed best = { .after = INT64_MAX }, b;

	for (int i = 0; i < 64; i++) {
		if ((w->m->page_used && take(w, CLOCK_MONOTONIC, true, &b)) ||
		    take(w, CLOCK_MONOTONIC, false, &b)) {
			if (b.after - b.before < best.after - best.before)
				best = b;
		}
	}
	return best;
}

static void find_rate(struct work *w, const struct bracketed *a, const struct bracketed *b)
{
	struct measurement *m = w->m;
	struct parkclock_query q;
	/* doubled, so that half a ns is not lost */
	const __s64 host2 = b->before + b->after - a->before - a->after;
	const __s64 off2 = 2 * (b->r.ns - a->r.ns) - host2;
	const __s64 slack2 = b->after - b->before + a->after - a->before +
			     2 * (__s64)(a->r.error_ns + b->r.error_ns);

	m->rate_ppb = off2 * 1e9 / host2;
	m->slack_ppb = slack2 * 1e9 / host2;
	m->counter = a->r.cycles && b->r.cycles && !parkclock_query(w->p->pc, &q) &&
		     q.counter_hz;
	if (m->counter)
		m->counter_ppb = ((b->r.cycles - a->r.cycles) * 2e9 / host2 / q.counter_hz - 1) *
				 1e9;
}

/* Can the page have a time? If not, other checks have said why. */
static bool page_used(struct parkclock *pc)
{
	struct parkclock_query q;

	return parkclock_map(pc) && !parkclock_query(pc, &q) && q.state != PARKCLOCK_STOPPED &&
	       !(q.flags & PARKCLOCK_COUNTER_UNUSABLE);
}

static void measure_held(struct work *w)
{
	struct bracketed first, last;

	w->start_ns = host_ns(w->p->pc, CLOCK_MONOTONIC);
	w->m->page_used = page_used(w->p->pc);
	first = take_narrow(w);
	compare_readings(w, w->start_ns + w->p->for_ns / 2);
	/* The machine may have stood still, so the second half begins now. */
	pass_readings(w, host_ns(w->p->pc, CLOCK_MONOTONIC) + w->p->for_ns / 2);
	last = take_narrow(w);
	progress_end(w);
	w->m->ns = last.after - w->start_ns;
	if (!w->m->read_errno)
		find_rate(w, &first, &last);
	find_median(w);
	w->m->page_used &= page_used(w->p->pc);
}

void measure(struct patient *p)
{
	struct work *w = calloc(1, sizeof(*w));

	p->measured = true;
	if (!w || parkclock_hold(p->pc)) {
		p->m.hold_errno = errno;
	} else {
		w->p = p;
		w->m = &p->m;
		measure_held(w);
		if (parkclock_release(p->pc))
			p->m.hold_errno = errno;
	}
	free(w);
}

#define REPORT SAY("This is a fault of the module: report it, with what \"parkclock status\"", \
		   "and \"dmesg\" say.")

/* Rarely no time is no fault: the machine stood still, or its clock was changed. */
static bool expires_often(const struct measurement *m)
{
	return m->expired > 2 + (__u64)(m->ns / NSEC_PER_SEC);
}

void check_reference(struct patient *p, struct finding *f)
{
	const struct measurement *m = &p->m;

	if (m->hold_errno)
		find(f, FAILURE, parkclock_explain(m->hold_errno),
		     "A reference to the clock could not be held, or could not be given back: %s.",
		     strerror(m->hold_errno));
	else if (!m->page_used)
		find(f, NOTE, "See the warnings above, and try again.",
		     "A reference was held, but the page has no time here: all reads are slow.");
	else if (!m->by_page)
		find(f, m->expired < 100 ? WARNING : FAILURE, REPORT,
		     "A reference was held, but in %llu tries the page never had a time.",
		     m->expired);
	else if (expires_often(m))
		find(f, WARNING,
		     SAY("If the machine stands still at times, raise the module's parameter",
			 "interval_ms or window_intervals; or find out what changes its clock."),
		     "A reference was held, but in %llu of %llu tries the page had no time.",
		     m->expired, m->expired + m->by_page);
	else if (m->expired)
		find(f, NOTE, "Nothing needs to be done if this is rare.",
		     SAY("A reference was held, but in %llu of %llu tries the page had no time:",
			 "the machine stood still, or its clock was changed."),
		     m->expired, m->expired + m->by_page);
	else
		find(f, OK, NULL,
		     "A reference was held, and in all of %llu tries the page had the time.",
		     m->by_page);
}

void check_bounds(struct patient *p, struct finding *f)
{
	const struct measurement *m = &p->m;
	const __u64 readings = m->by_page + m->by_read;

	if (m->read_errno)
		find(f, FAILURE, parkclock_explain(m->read_errno),
		     "The clock could not be read by READ: %s.", strerror(m->read_errno));
	else if (m->wrong)
		find(f, FAILURE, REPORT,
		     SAY("%llu of %llu readings were farther from clock_gettime than their bound,",
			 "by %llu ns at most."),
		     m->wrong, readings, m->wrong_ns);
	else if (m->unjudged > readings / 2)
		find(f, WARNING, "Find out what changes the clock, stop it, and try again.",
		     SAY("The host's clock is being changed all the time:",
			 "%llu of %llu readings could not be judged."),
		     m->unjudged, readings);
	else
		find(f, OK, NULL,
		     SAY("%llu readings were as near to clock_gettime as their bound says,",
			 "outside by %llu ns at most. The bound: best %llu ns, median %llu ns."),
		     readings - m->unjudged, m->outside_ns, m->best_ns, m->median_ns);
}

void check_monotonic(struct patient *p, struct finding *f)
{
	const struct measurement *m = &p->m;

	if (m->back)
		find(f, FAILURE, REPORT,
		     "%llu of %llu readings were less than an earlier one, by %llu ns at most.",
		     m->back, m->passed, m->back_ns);
	else if (!m->passed)
		find(f, WARNING, "Raise the limits of threads and memory, and try again.",
		     "Not known: no threads could be started, or they could not read.");
	else
		find(f, OK, NULL,
		     "%llu readings by %u threads on all CPUs: none was less than an earlier one.",
		     m->passed, m->threads);
}

void check_rate(struct patient *p, struct finding *f)
{
	const struct measurement *m = &p->m;
	char counter[64] = "";

	if (m->read_errno) {
		find(f, SKIPPED, NULL, "Not checked: the clock could not be read.");
		return;
	}
	if (m->counter)
		snprintf(counter, sizeof(counter), " The counter: %+.3f ppm from nominal.",
			 m->counter_ppb / 1e3);
	if (m->rate_ppb > m->slack_ppb || -m->rate_ppb > m->slack_ppb)
		find(f, FAILURE, REPORT,
		     SAY("In %.3f s the clock was %+.0f ppb faster than CLOCK_MONOTONIC,",
			 "but its bounds allow only %.0f ppb.%s"),
		     m->ns / 1e9, m->rate_ppb, m->slack_ppb, counter);
	else
		find(f, OK, NULL,
		     SAY("In %.3f s the clock was %+.0f ppb faster than CLOCK_MONOTONIC;",
			 "its bounds allow %.0f ppb.%s"),
		     m->ns / 1e9, m->rate_ppb, m->slack_ppb, counter);
}
