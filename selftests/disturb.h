/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For tests that disturb the host's clock: what is right meanwhile, who watches it,
 * and how to do what takes a module or the machine that this one runs in.
 */
#ifndef PARKCLOCK_SELFTESTS_DISTURB_H
#define PARKCLOCK_SELFTESTS_DISTURB_H

#include "common.h"
#include "module.h"

static inline uint64_t page_epoch(const struct pclock *c)
{
	return __parkclock_acquire(&__parkclock_timebase(c->map)->epoch);
}

static inline uint64_t page_reason(const struct pclock *c)
{
	return __parkclock_acquire(&__parkclock_timebase(c->map)->reason);
}

/* What comes of a reading that is held against the host's clock */
enum seen {
	REFUSED,	/* the page had no time */
	CHANGED,	/* so did the host's clock meanwhile: who knows */
	RIGHT,
	WRONG,		/* and it is printed how */
};

/*
 * By the kernel's own clock, so that a reading which belongs to the epoch that is before
 * and after must be right. @r is filled in, unless refused.
 */
static inline enum seen look(const struct pclock *c, int id, bool by_page,
			     struct parkclock_reading *r)
{
	const uint64_t epoch = page_epoch(c);
	int64_t t0, t1;

	t0 = kernel_ns(id);
	if (!by_page)
		*r = slow_read(c->fd, id);
	else if (parkclock_page_read_bound(c->map, id, r) == PARKCLOCK_EXPIRED)
		return REFUSED;
	t1 = kernel_ns(id);
	if (page_epoch(c) != epoch)
		return CHANGED;
	if (within_bound(r, t0, t1))
		return RIGHT;
	fprintf(stderr, "# clock %d by %s: %lld +- %llu, clock_gettime %lld to %lld\n", id,
		by_page ? "page" : "READ", (long long)r->ns, (unsigned long long)r->error_ns,
		(long long)t0, (long long)t1);
	return WRONG;
}

/* The same, until it says something about the reading. */
static inline enum seen look_again(const struct pclock *c, int id, bool by_page)
{
	struct parkclock_reading r;
	enum seen seen;

	do
		seen = look(c, id, by_page, &r);
	while (seen == CHANGED);
	return seen;
}

/*
 * With a reference: every clock is right, by READ, and by the page too if the host
 * keeps time by the counter. (Where the window is short the machine may stand still
 * for longer, and the timer that ends it comes a moment later.)
 */
static inline bool right_now(const struct pclock *c)
{
	const bool usable = counter_usable();

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		enum seen seen = look_again(c, clock_ids[i], true);

		if (seen == REFUSED && usable && comes_back(c->map))
			seen = look_again(c, clock_ids[i], true);
		if (seen != (usable ? RIGHT : REFUSED)) {
			fprintf(stderr, "# clock %d by page: %s\n", clock_ids[i],
				seen == REFUSED ? "refused" :
				seen == RIGHT ? "not refused" : "wrong");
			return false;
		}
		if (look_again(c, clock_ids[i], false) != RIGHT)
			return false;
	}
	return true;
}

/* A wake, if it is parked, and its first readings. */
static inline bool right_when_held(const struct pclock *c)
{
	bool right;

	hold(c->fd);
	right = right_now(c);
	release(c->fd);
	return right;
}

/* CPUs */

static inline int set_online(int cpu, bool online)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	return write_file(path, online ? "1" : "0");
}

/* By what the scheduler has; "online" of a CPU is what was asked for. */
static inline bool is_online(int cpu)
{
	char text[256], *p = text;

	if (read_file("/sys/devices/system/cpu/online", text, sizeof(text)))
		die("/sys/devices/system/cpu/online");
	while (*p) {
		long first = strtol(p, &p, 10), last = first;

		if (*p == '-')
			last = strtol(p + 1, &p, 10);
		if (cpu >= first && cpu <= last)
			return true;
		p += *p == ',';
	}
	return false;
}

/* What the kernel calls the state of a CPU that runs: the last one of its list. */
static inline const char *online_state(void)
{
	static char state[16];
	FILE *f = fopen("/sys/devices/system/cpu/hotplug/states", "r");
	char line[128];

	if (!f)
		die("/sys/devices/system/cpu/hotplug/states");
	while (fgets(line, sizeof(line), f))
		snprintf(state, sizeof(state), "%d", atoi(line));
	fclose(f);
	return state;
}

/*
 * The kernel gives up on a CPU that does not start in 10 s, as an emulated one may. If
 * that is when it resumes, "online" goes on to say 1, and writing that does nothing.
 */
static inline bool bring_online(int cpu)
{
	char asked[128], target[128];

	snprintf(asked, sizeof(asked), "/sys/devices/system/cpu/cpu%d/online", cpu);
	snprintf(target, sizeof(target), "/sys/devices/system/cpu/cpu%d/hotplug/target", cpu);
	for (int tries = 0; tries < 10 && !is_online(cpu); tries++) {
		if (mentions(asked, "1"))
			write_file(target, online_state());
		else
			set_online(cpu, true);
	}
	return is_online(cpu);
}

/* As pin(); a CPU that is not there at the moment is not worth waiting for. */
static inline void try_to_pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) && errno != EINVAL)
		die("sched_setaffinity");
}

/* Threads on all CPUs that read all the while */

#define MAX_READERS	16

struct reader {
	pthread_t thread;
	int cpu;
	uint64_t seed;
	uint64_t seen[WRONG + 1];
	const char *bug;
};

static struct {
	struct reader reader[MAX_READERS];
	int number;
	bool page_only;
	atomic_bool stop;
	/* The largest MONOTONIC and BOOTTIME that anybody has got. */
	atomic_llong latest[PARKCLOCK_CLOCKS];
} readers;

static inline bool never_steps(int index)
{
	return index == PARKCLOCK_MONOTONIC || index == PARKCLOCK_BOOTTIME;
}

static inline void *reader_thread(void *arg)
{
	struct parkclock_reading last[PARKCLOCK_CLOCKS] = { 0 };
	struct pclock c = open_clock();
	struct reader *me = arg;

	try_to_pin(me->cpu);
	while (!readers.stop && !me->bug) {
		const int i = rnd(&me->seed) % PARKCLOCK_CLOCKS;
		const bool by_page = readers.page_only || rnd(&me->seed) % 8;
		long long least = atomic_load(&readers.latest[i]);
		struct parkclock_reading r = { 0 };
		enum seen seen = look(&c, clock_ids[i], by_page, &r);

		__atomic_fetch_add(&me->seen[seen], 1, __ATOMIC_RELAXED);
		if (seen == REFUSED) {
			/* Others may have something to do. */
			sched_yield();
			continue;
		}
		if (seen == WRONG)
			me->bug = "a reading outside its bound";
		if (r.generation < last[i].generation)
			me->bug = "the generation went back";
		if (r.generation == last[i].generation && r.ns < last[i].ns)
			me->bug = "time went back within a generation";
		last[i] = r;
		if (!never_steps(i))
			continue;
		if (r.ns < least)
			me->bug = "time went back between threads";
		while (r.ns > least &&
		       !atomic_compare_exchange_weak(&readers.latest[i], &least, r.ns))
			;
	}
	close_clock(&c);
	return NULL;
}

/* By the page only, where READ would wake what is to be left parked or idle. */
static inline void start_readers(bool page_only)
{
	const int online = cpus_online();

	readers.number = online < MAX_READERS ? online : MAX_READERS;
	readers.page_only = page_only;
	readers.stop = false;
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		readers.latest[i] = 0;
	for (int i = 0; i < readers.number; i++) {
		readers.reader[i] = (struct reader){ .cpu = i, .seed = i + 1 };
		if (pthread_create(&readers.reader[i].thread, NULL, reader_thread,
				   &readers.reader[i]))
			die("pthread_create");
	}
}

static inline uint64_t readers_saw(enum seen what)
{
	uint64_t n = 0;

	for (int i = 0; i < readers.number; i++)
		n += __atomic_load_n(&readers.reader[i].seen[what], __ATOMIC_RELAXED);
	return n;
}

/* Every one of them has looked so often since it was started, or has found a bug. */
static inline bool readers_have_looked(uint64_t times)
{
	for (int tries = 0; tries < PATIENCE_MS; tries++) {
		bool all = true;

		for (int i = 0; i < readers.number; i++) {
			struct reader *r = &readers.reader[i];
			uint64_t n = 0;

			for (int what = 0; what <= WRONG; what++)
				n += __atomic_load_n(&r->seen[what], __ATOMIC_RELAXED);
			all &= n >= times || __atomic_load_n(&r->bug, __ATOMIC_RELAXED);
		}
		if (all)
			return true;
		sleep_ms(1);
	}
	return false;
}

/* What one of them has found, or "" */
static inline const char *stop_readers(void)
{
	const char *bug = readers_have_looked(10) ? "" : "a thread that hardly ever runs";

	readers.stop = true;
	for (int i = 0; i < readers.number; i++) {
		pthread_join(readers.reader[i].thread, NULL);
		if (readers.reader[i].bug)
			bug = readers.reader[i].bug;
	}
	return bug;
}

/* The updater, from PARKED to where a test wants it; then its next tick is far away. */
static inline void enter(const struct pclock *c, uint32_t state)
{
	for (int tries = 0; tries < 20; tries++) {
		must_set("interval_ms", "20000");
		hold(c->fd);
		if (state == PARKCLOCK_ACTIVE)
			return;
		release(c->fd);
		must_set("interval_ms", state == PARKCLOCK_IDLE ? "500" : "1");
		if (state == PARKCLOCK_IDLE)
			for (int i = 0; i < 1000 && query(c->fd).state == PARKCLOCK_ACTIVE; i++)
				sleep_ms(1);
		else
			wait_state(c->fd, state);
		must_set("interval_ms", "20000");
		if (query(c->fd).state == state)
			return;
		/* The machine stood still for long enough to park. */
	}
	fprintf(stderr, "# updater does not come to state %u: it is %u\n", state,
		query(c->fd).state);
	abort();
}

/* REALTIME minus MONOTONIC, and back to it */
static inline int64_t realtime_offset(void)
{
	return kernel_ns(CLOCK_REALTIME) - kernel_ns(CLOCK_MONOTONIC);
}

static inline void set_realtime(int64_t to)
{
	struct timespec ts = { to / NSEC, to % NSEC };

	if (clock_settime(CLOCK_REALTIME, &ts))
		die("clock_settime");
}

/* The machine that this one runs in */

/* As SKIP(): @statement leaves the test. */
#define NEEDS_ANSWERS(statement) do { \
	if (!getenv("PARKCLOCK_ASKED")) \
		SKIP(statement, "needs \"make check\", which does things to the machine"); \
} while (0)

/*
 * See vm/run for what can be asked. When this returns, init has passed it on: it is
 * not frozen with the question in its hands if the machine falls asleep now.
 */
static inline void request(const char *what)
{
	const char *asked = getenv("PARKCLOCK_ASKED");

	unlink(asked);
	/* As one line, whatever else is in the buffer of stdout. */
	dprintf(STDOUT_FILENO, "ask %s\n", what);
	for (int i = 0; access(asked, F_OK); i++) {
		if (i >= PATIENCE_MS)
			die(asked);
		sleep_ms(1);
	}
}

#endif
