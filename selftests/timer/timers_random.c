// SPDX-License-Identifier: GPL-2.0
/*
 * Ten thousand timers on a thousand clocks, on which random things are done.
 *
 * Two threads set, ask, read and disarm timers of all clocks, and stop, start, shift, save and
 * restore these; a restored clock is another one, on which all timers of the old one are made
 * anew from their saved states. A third thread waits for all timers at once, by epoll, and reads
 * what has expired. Some clocks have the first two threads registered, and CPU timers.
 *
 * Checked, by a model of each timer: an expiration that was read is never later than a reading of
 * the clock after that (never early); with an interval, the next expiry is as many intervals after
 * the first as have expired, so that none is lost, and none counted twice, through all lives of the
 * clock; at the end every timer that is due has expired, and who waits for it knows. The memory is
 * given back.
 *
 * Fails if one of these is not so.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/timers.h"
#include "lib/wait.h"

#define CLOCKS		1000
#define TIMERS		10	/* of each clock */
#define REGISTERED	2	/* clocks that have the workers */
#define WORKERS		2

static const int ids[] = {
	CLOCK_MONOTONIC, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME, CLOCK_TAI
};

/* What is known of a timer. The lock is held while it is set or read. */
struct timer {
	pthread_mutex_t lock;
	int fd;
	int id;
	uint64_t number;
	uint32_t flags;
	int64_t first;		/* expiry; or of a relative one, the least that can be */
	int64_t interval;
	uint64_t read;
	bool armed;
};

struct slot {
	pthread_rwlock_t lock;	/* for writing: the clock is changed */
	int fd;
	bool stopped;
	bool registered;
	int64_t offset;
	struct timer timer[TIMERS];
};

static struct {
	struct slot *slot;
	int clocks;
	int epoll;
	bool switches;
	atomic_bool over;
	atomic_ullong expirations, sets, lives, stops;
	atomic_bool buggy;
	const char *bug;	/* the first one */
} all;

struct worker {
	pthread_t thread;
	uint64_t seed;
	atomic_int tid;
};

static void bug(const char *what, const struct timer *t)
{
	if (atomic_exchange(&all.buggy, true))
		return;
	all.bug = what;
	fprintf(stderr, "# %s: clock %d, setting %llu, %x, first %lld, interval %lld, read %llu\n",
		what, t->id, (unsigned long long)t->number, t->flags, (long long)t->first,
		(long long)t->interval, (unsigned long long)t->read);
}

/* The clock by which a timer counts */
static int by(const struct timer *t, uint32_t flags)
{
	if (flags & ABSOLUTE || t->id == CLOCK_BOOTTIME || t->id == CPUTIME)
		return t->id;
	return CLOCK_MONOTONIC;
}

/* Reads the timer, and holds that against the clock. Both locks are held. */
static void read_timer(struct slot *s, struct timer *t)
{
	struct parkclock_reading now;
	struct parkclock_expired e;
	int ret = try_expired(t->fd, &e);

	if (ret == -EAGAIN || ret == -ECANCELED)
		return;
	if (ret != sizeof(e) || e.number != t->number) {
		bug("a read has returned something else", t);
		return;
	}
	all.expirations += e.expirations;
	t->read += e.expirations;
	if (!t->interval && t->read > 1)
		bug("what expires once has expired twice", t);
	if (!s->stopped && !try_read(s->fd, by(t, t->flags), &now) &&
	    now.ns < t->first + (int64_t)(t->read - 1) * t->interval)
		bug("early", t);
}

/* Is the next expiry where it must be? */
static void check_state(struct timer *t, const struct parkclock_timer_state *s)
{
	const uint64_t n = t->read + s->expirations;

	if (s->number != t->number || s->interval_ns != t->interval || s->flags != t->flags)
		bug("GET has another setting", t);
	if (!t->armed && (s->expiry_ns || s->expirations))
		bug("disarmed, and not so", t);
	if (t->armed && !t->interval && !s->expiry_ns == !n)
		bug("neither waits nor has expired, or both", t);
	if (t->armed && t->interval && t->flags & ABSOLUTE &&
	    s->expiry_ns != t->first + (int64_t)n * t->interval)
		bug("lost or counted twice", t);
}

static void set_it(struct slot *s, struct timer *t, uint64_t *seed)
{
	struct parkclock_timer_set to = { .flags = rnd(seed) % 2 ? ABSOLUTE : 0 };
	struct parkclock_reading now;
	int err;

	/* A stopped clock has no time. Whatever is set there is relative. */
	if (try_read(s->fd, by(t, to.flags), &now)) {
		now.ns = 0;
		to.flags = 0;
	}
	if (rnd(seed) % 4 == 0 && t->id != CPUTIME)
		to.flags |= CANCEL;
	to.value_ns = 1 + rnd(seed) % (rnd(seed) % 2 ? 200000 : 100 * MSEC);
	if (to.flags & ABSOLUTE)
		to.value_ns += now.ns - 50000;
	if (rnd(seed) % 3 == 0)
		to.interval_ns = 1 + rnd(seed) % (rnd(seed) % 2 ? 50 : 20 * MSEC);
	if (rnd(seed) % 16 == 0)
		to.value_ns = 0;
	to.slack_ns = rnd(seed) % 4 ? 0 : rnd(seed) % MSEC;
	if (to.value_ns < 0)
		return;
	err = try_set(t->fd, &to);
	if (err)
		die_of(err, "PARKCLOCK_IOC_TIMER_SET");
	all.sets++;
	if (to.number != t->number + 1)
		bug("the number is not the next", t);
	if (t->armed && !t->interval && t->read + to.old_expirations + !!to.old_left_ns != 1)
		bug("replaced, and lost or doubled", t);
	t->number = to.number;
	t->flags = to.flags;
	t->first = to.flags & ABSOLUTE ? to.value_ns : now.ns + to.value_ns;
	t->interval = to.interval_ns;
	t->read = 0;
	t->armed = to.value_ns;
}

static void use_timer(struct slot *s, uint64_t *seed)
{
	struct timer *t = &s->timer[rnd(seed) % TIMERS];
	struct parkclock_timer_state state;

	pthread_rwlock_rdlock(&s->lock);
	pthread_mutex_lock(&t->lock);
	switch (rnd(seed) % 4) {
	case 0:
		state = get_timer(t->fd);
		check_state(t, &state);
		break;
	case 1:
		read_timer(s, t);
		break;
	default:
		set_it(s, t, seed);
	}
	pthread_mutex_unlock(&t->lock);
	pthread_rwlock_unlock(&s->lock);
}

static void listen_to(struct timer *t)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = t };

	if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, t->fd, &event))
		die("epoll_ctl");
}

/* Another clock goes on from here, with all timers. */
static void live_on(struct slot *s, uint64_t *seed)
{
	struct parkclock_saved saved = save(s->fd);
	int fd = open_fresh(), timer;

	if (try_restore(fd, &saved, 1 + rnd(seed) % 2))
		die("PARKCLOCK_IOC_RESTORE");
	for (int i = 0; i < TIMERS; i++) {
		struct timer *t = &s->timer[i];
		struct parkclock_timer_state state;

		pthread_mutex_lock(&t->lock);
		state = get_timer(t->fd);
		check_state(t, &state);
		timer = make_timer(fd, t->id, NONBLOCK);
		if (try_state(timer, &state))
			die("PARKCLOCK_IOC_TIMER_RESTORE");
		close(t->fd);
		t->fd = timer;
		t->number = state.number;
		listen_to(t);
		pthread_mutex_unlock(&t->lock);
	}
	close(s->fd);
	s->fd = fd;
	s->stopped = false;
	all.lives++;
}

static void change_clock(struct slot *s, uint64_t *seed)
{
	pthread_rwlock_wrlock(&s->lock);
	switch (rnd(seed) % 8) {
	case 0:
		/* CPU time is not saved. */
		if (!s->registered)
			live_on(s, seed);
		break;
	case 1:
		s->offset += rnd(seed) % (10 * MSEC);
		/* A restored clock has offsets of its own. */
		try_offsets(s->fd, s->offset, s->offset);
		break;
	default:
		if (s->stopped)
			must(s->fd, PARKCLOCK_IOC_START, 1 + rnd(seed) % 2);
		else
			must(s->fd, PARKCLOCK_IOC_STOP, 0);
		s->stopped = !s->stopped;
		all.stops++;
	}
	pthread_rwlock_unlock(&s->lock);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->tid = gettid();
	while (!all.over) {
		struct slot *s = &all.slot[rnd(&w->seed) % (rnd(&w->seed) % 2 ? 8 : all.clocks)];

		if (rnd(&w->seed) % 8 == 0)
			change_clock(s, &w->seed);
		else
			use_timer(s, &w->seed);
	}
	return NULL;
}

/* Reads whatever expires. The timer's slot follows from where it is. */
static void *wait_for_all(void *unused)
{
	struct epoll_event events[64];
	int n;

	(void)unused;
	while (!all.over) {
		n = epoll_wait(all.epoll, events, ARRAY_SIZE(events), 10);
		for (int i = 0; i < n; i++) {
			struct timer *t = events[i].data.ptr;
			struct slot *s = &all.slot[((char *)t - (char *)all.slot) / sizeof(*s)];

			pthread_rwlock_rdlock(&s->lock);
			pthread_mutex_lock(&t->lock);
			read_timer(s, t);
			pthread_mutex_unlock(&t->lock);
			pthread_rwlock_unlock(&s->lock);
		}
	}
	return NULL;
}

static void open_all(const struct worker *w)
{
	const struct rlimit many = { 20000, 20000 };

	if (setrlimit(RLIMIT_NOFILE, &many))
		die("setrlimit");
	all.clocks = getenv("BRIEF") ? CLOCKS / 10 : CLOCKS;
	all.slot = calloc(all.clocks, sizeof(*all.slot));
	all.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!all.slot || all.epoll < 0)
		die("no memory");
	for (int i = 0; i < all.clocks; i++) {
		struct slot *s = &all.slot[i];

		pthread_rwlock_init(&s->lock, NULL);
		s->fd = open_fresh();
		s->registered = all.switches && i < REGISTERED;
		for (int k = 0; s->registered && k < WORKERS; k++)
			must_register(s->fd, w[k].tid, 0);
		for (int k = 0; k < TIMERS; k++) {
			struct timer *t = &s->timer[k];

			pthread_mutex_init(&t->lock, NULL);
			t->id = s->registered && k % 2 ? CPUTIME : ids[k % ARRAY_SIZE(ids)];
			t->fd = make_timer(s->fd, t->id, NONBLOCK);
			listen_to(t);
		}
	}
}

/* Everything that is due has expired by now, or does soon: those who wait know of it. */
static void check_all(struct __test_metadata *_metadata)
{
	for (int i = 0; i < all.clocks; i++) {
		struct slot *s = &all.slot[i];

		if (s->stopped)
			must(s->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
		s->stopped = false;
	}
	for (int i = 0; i < all.clocks; i++) {
		struct slot *s = &all.slot[i];

		for (int k = 0; k < TIMERS; k++) {
			struct timer *t = &s->timer[k];
			struct parkclock_timer_state state;

			/* All values were short. Those who ran for CPU timers have gone. */
			if (t->armed && !t->read && t->id != CPUTIME) {
				ASSERT_TRUE(expires(t->fd));
				/* It may have been canceled first. */
				ASSERT_TRUE(wait_until((read_timer(s, t), t->read)));
			}
			state = get_timer(t->fd);
			check_state(t, &state);
			close(t->fd);
		}
		close(s->fd);
	}
	close(all.epoll);
	free(all.slot);
}

static bool nothing_left(int clock)
{
	struct parkclock_limits l;

	must(clock, PARKCLOCK_IOC_LIMITS, (unsigned long)&l);
	return !l.limit[PARKCLOCK_LIMIT_TIMERS].host_used &&
	       l.limit[PARKCLOCK_LIMIT_CLOCKS].host_used == 1;
}

static struct worker workers[WORKERS];

/* The workers have to be there to be registered, and wait until all is. */
static void *worker(void *arg)
{
	struct worker *w = arg;

	w->tid = gettid();
	while (!all.slot || all.clocks == 0)
		sleep_ms(1);
	while (!all.sets)
		sleep_ms(1);
	return work(arg);
}

TEST(random_things)
{
	const int seconds = getenv("BRIEF") ? 10 : 120;
	int clock;
	pthread_t waiter;

	default_params();
	clock = open_device();
	all.switches = try_register(clock, 0, 0) != -EOPNOTSUPP;
	for (int i = 0; i < WORKERS; i++) {
		workers[i].seed = 1000 + i;
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, worker, &workers[i]));
		while (!workers[i].tid)
			sleep_ms(1);
	}
	open_all(workers);
	ASSERT_EQ(0, pthread_create(&waiter, NULL, wait_for_all, NULL));
	all.sets = 1;
	for (int i = 0; i < seconds * 10 && !all.buggy; i++)
		sleep_ms(100);
	all.over = true;
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	pthread_join(waiter, NULL);
	EXPECT_EQ(NULL, all.bug);
	check_all(_metadata);
	EXPECT_EQ(NULL, all.bug);
	/* A test in which nothing has happened has shown nothing. */
	EXPECT_GT(all.expirations, 100);
	EXPECT_GT(all.lives, 10);
	TH_LOG("%llu settings, %llu expirations, %llu lives, %llu stops and starts",
	       (unsigned long long)all.sets, (unsigned long long)all.expirations,
	       (unsigned long long)all.lives, (unsigned long long)all.stops);
	EXPECT_TRUE(wait_until(nothing_left(clock)));
	close(clock);
}

TEST_HARNESS_MAIN
