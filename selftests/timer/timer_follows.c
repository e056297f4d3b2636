// SPDX-License-Identifier: GPL-2.0
/*
 * What happens to a timer by the wall when its clock is changed.
 *
 * Checked: nothing expires while the clock is stopped, and what was due before has; START with each
 * gap policy; SAVE and RESTORE into another clock; OFFSETS; steps of the host's REALTIME; what is
 * canceled and what is not; relative and absolute timers of each clock; the owner's end.
 *
 * Fails if a timer expires in a stopped clock, is forgotten by a change, expires twice, or follows
 * what it must not follow.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/timers.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define STOP	PARKCLOCK_IOC_STOP
#define START	PARKCLOCK_IOC_START
#define INCLUDE	PARKCLOCK_GAP_INCLUDE
#define FREEZE	PARKCLOCK_GAP_FREEZE

FIXTURE(follows) {
	int clock;
	int fd;
	int64_t offset;		/* of the host's REALTIME, to be restored */
};

FIXTURE_VARIANT(follows) {
	int id;
	bool stops;		/* with the clock */
};

FIXTURE_VARIANT_ADD(follows, monotonic) { .id = CLOCK_MONOTONIC, .stops = true };
FIXTURE_VARIANT_ADD(follows, boottime) { .id = CLOCK_BOOTTIME, .stops = true };
FIXTURE_VARIANT_ADD(follows, realtime) { .id = CLOCK_REALTIME };
FIXTURE_VARIANT_ADD(follows, tai) { .id = CLOCK_TAI };

FIXTURE_SETUP(follows)
{
	default_params();
	self->clock = open_device();
	self->fd = make_timer(self->clock, variant->id, NONBLOCK);
	self->offset = realtime_offset();
}

FIXTURE_TEARDOWN(follows)
{
	close(self->fd);
	close(self->clock);
}

static int64_t now(FIXTURE_DATA(follows) *self, const FIXTURE_VARIANT(follows) *variant)
{
	return slow_read(self->clock, variant->id).ns;
}

/* Sets a timer, and stops the clock before that expires. */
static void set_and_stop(FIXTURE_DATA(follows) *self, uint32_t flags, int64_t value,
			 int64_t interval)
{
	for (;;) {
		set_timer(self->fd, flags, value, interval);
		must(self->clock, STOP, 0);
		if (!get_timer(self->fd).expirations)
			return;
		/* The machine has stood still for so long. */
		must(self->clock, START, FREEZE);
	}
}

/* Is what GET says to be left what the clock says, by which the timer counts? */
static bool left_is_right(FIXTURE_DATA(follows) *self, int fd, int by)
{
	int64_t before = slow_read(self->clock, by).ns, after;
	struct parkclock_timer_state s = get_timer(fd);

	after = slow_read(self->clock, by).ns;
	return s.expiry_ns - s.left_ns >= before && s.expiry_ns - s.left_ns <= after;
}

TEST_F(follows, nothing_expires_while_stopped)
{
	set_and_stop(self, 0, 20 * MSEC, 5 * MSEC);
	EXPECT_EQ(0, poll_timer(self->fd, 60));
	/* Nor what is set meanwhile, whatever it is set to */
	set_timer(self->fd, 0, 1, 1);
	EXPECT_EQ(1, get_timer(self->fd).left_ns);
	EXPECT_EQ(0, poll_timer(self->fd, 20));
	set_timer(self->fd, ABSOLUTE, 1, 0);
	EXPECT_EQ(1, get_timer(self->fd).left_ns);
	EXPECT_EQ(0, poll_timer(self->fd, 20));
	must(self->clock, START, INCLUDE);
	EXPECT_EQ(POLLIN, poll_timer(self->fd, 0));
	EXPECT_EQ(1, expirations(self->fd));
}

TEST_F(follows, what_was_due_has_expired)
{
	for (int i = 0; i < 50; i++) {
		int64_t in = (i + 1) * 20000, at = now(self, variant) + in;
		struct parkclock_timer_state s;
		struct parkclock_saved saved;
		bool expired;
		int64_t when;

		set_timer(self->fd, ABSOLUTE, at, 7000);
		while (now(self, variant) < at + i % 3 * 1000 - 1000)
			;
		saved = save(self->clock);
		when = variant->id == CLOCK_MONOTONIC ? saved.monotonic_ns :
		       variant->id == CLOCK_BOOTTIME ? saved.boottime_ns :
		       variant->id == CLOCK_REALTIME ? saved.realtime_ns : 0;
		s = get_timer(self->fd);
		expired = poll_timer(self->fd, 0);
		if (when) {
			EXPECT_EQ(when >= at, expired);
			EXPECT_EQ(when >= at ? (when - at) / 7000 + 1 : 0, s.expirations);
			EXPECT_EQ(when >= at ? at + (int64_t)s.expirations * 7000 : at,
				  s.expiry_ns);
			EXPECT_EQ(s.expiry_ns - when, s.left_ns);
		}
		/* It can be read, and tells no more as time goes on. */
		sleep_us(200);
		EXPECT_EQ(s.expirations, expirations(self->fd));
		EXPECT_EQ(0, expirations(self->fd));
		must(self->clock, START, FREEZE);
	}
}

TEST_F(follows, the_gap_expires_once)
{
	int64_t begin = now(self, variant), n;

	set_timer(self->fd, ABSOLUTE, begin + 10 * MSEC, MSEC);
	must(self->clock, STOP, 0);
	sleep_ms(100);
	/* That some were due before makes no difference. */
	must(self->clock, START, INCLUDE);
	n = expirations(self->fd);
	EXPECT_GE(n, 91);
	EXPECT_LE(n, (now(self, variant) - begin - 10 * MSEC) / MSEC + 1);
}

TEST_F(follows, what_is_left_is_left)
{
	const int by = variant->stops ? variant->id : CLOCK_MONOTONIC;
	struct parkclock_timer_state a, b;

	set_timer(self->fd, 0, HOUR, 0);
	must(self->clock, STOP, 0);
	a = get_timer(self->fd);
	sleep_ms(50);
	b = get_timer(self->fd);
	EXPECT_EQ(a.left_ns, b.left_ns);
	must(self->clock, START, FREEZE);
	EXPECT_TRUE(left_is_right(self, self->fd, by));
	b = get_timer(self->fd);
	EXPECT_LE(b.left_ns, a.left_ns);
	EXPECT_EQ(a.expiry_ns, b.expiry_ns);

	/* An absolute one of a clock that does not stop is nearer. */
	set_timer(self->fd, ABSOLUTE, now(self, variant) + HOUR, 0);
	must(self->clock, STOP, 0);
	a = get_timer(self->fd);
	sleep_ms(50);
	must(self->clock, START, FREEZE);
	EXPECT_TRUE(left_is_right(self, self->fd, variant->id));
	b = get_timer(self->fd);
	EXPECT_EQ(a.expiry_ns, b.expiry_ns);
	if (!variant->stops)
		a.left_ns -= 50 * MSEC;
	EXPECT_LE(b.left_ns, a.left_ns);
}

TEST_F(follows, what_is_set_while_stopped)
{
	const int by = variant->stops ? variant->id : CLOCK_MONOTONIC;
	struct parkclock_saved saved = save(self->clock);

	set_timer(self->fd, 0, 20 * MSEC, 0);
	EXPECT_EQ((variant->id == CLOCK_BOOTTIME ? saved.boottime_ns : saved.monotonic_ns) +
		  20 * MSEC, get_timer(self->fd).expiry_ns);
	EXPECT_EQ(20 * MSEC, get_timer(self->fd).left_ns);
	EXPECT_EQ(0, poll_timer(self->fd, 40));
	must(self->clock, START, FREEZE);
	EXPECT_TRUE(expires(self->fd));
	EXPECT_GE(slow_read(self->clock, by).ns, (by == CLOCK_BOOTTIME ? saved.boottime_ns :
						  saved.monotonic_ns) + 20 * MSEC);
	EXPECT_EQ(1, expirations(self->fd));
}

TEST_F(follows, offsets)
{
	int relative = make_timer(self->clock, variant->id, NONBLOCK);
	struct parkclock_timer_state before, after;
	int64_t at = now(self, variant) + 2 * HOUR;

	set_timer(self->fd, ABSOLUTE, at, HOUR);
	set_timer(relative, 0, 2 * HOUR, 0);
	before = get_timer(relative);
	ASSERT_EQ(0, try_offsets(self->clock, 4 * HOUR, 5 * HOUR));
	if (variant->stops) {
		/* MONOTONIC is two hours beyond it, BOOTTIME three. */
		EXPECT_EQ(POLLIN, poll_timer(self->fd, 0));
		EXPECT_EQ(variant->id == CLOCK_MONOTONIC ? 3 : 4, expirations(self->fd));
	} else {
		EXPECT_EQ(0, poll_timer(self->fd, 0));
		EXPECT_EQ(at, get_timer(self->fd).expiry_ns);
	}
	after = get_timer(relative);
	EXPECT_LE(after.left_ns, before.left_ns);
	EXPECT_GT(after.left_ns, before.left_ns - 60 * NSEC);
	EXPECT_EQ(0, poll_timer(relative, 0));
	/* It was made by MONOTONIC, also if it is one of REALTIME. */
	EXPECT_EQ(before.expiry_ns + (variant->id == CLOCK_BOOTTIME ? 5 : 4) * HOUR,
		  after.expiry_ns);

	/* The same while the clock is stopped: it expires at the start. */
	set_timer(self->fd, ABSOLUTE, now(self, variant) + HOUR, 0);
	must(self->clock, STOP, 0);
	before = get_timer(relative);
	ASSERT_EQ(0, try_offsets(self->clock, 6 * HOUR, 7 * HOUR));
	EXPECT_EQ(0, poll_timer(self->fd, 5));
	EXPECT_EQ(before.left_ns, get_timer(relative).left_ns);
	must(self->clock, START, FREEZE);
	EXPECT_EQ(variant->stops ? POLLIN : 0, poll_timer(self->fd, 0));
	EXPECT_GT(get_timer(relative).left_ns, before.left_ns - 60 * NSEC);
	close(relative);
}

/* A life that begins does so without what OFFSETS had set before. */
TEST_F(follows, offsets_then_a_life)
{
	struct parkclock_saved saved = save(self->clock);
	int clock, fd;

	for (int restored = 0; restored < 2; restored++) {
		clock = open_fresh();
		for (int day = 1; day <= 2; day++)
			ASSERT_EQ(0, try_offsets(clock, day * 24 * HOUR, day * 24 * HOUR));
		ASSERT_EQ(0, restored ? try_restore(clock, &saved, FREEZE) :
					try(clock, PARKCLOCK_IOC_EPOCH, 0));
		fd = make_timer(clock, variant->id, NONBLOCK);
		set_timer(fd, 0, HOUR, 0);
		EXPECT_GT(get_timer(fd).left_ns, HOUR - 60 * NSEC);
		EXPECT_LE(get_timer(fd).left_ns, HOUR);
		set_timer(fd, 0, MSEC, 0);
		EXPECT_TRUE(expires(fd));
		close(fd);
		close(clock);
	}
}

TEST_F(follows, save_and_restore)
{
	int relative = make_timer(self->clock, variant->id, NONBLOCK);
	struct parkclock_timer_state s[2], r[2];
	struct parkclock_saved saved;
	int clock, fds[2];
	int64_t passed;

	set_timer(self->fd, ABSOLUTE, now(self, variant) + HOUR, 5 * HOUR);
	set_timer(relative, 0, HOUR, 0);
	saved = save(self->clock);
	s[0] = get_timer(self->fd);
	s[1] = get_timer(relative);
	s[1].expirations = 3;
	sleep_ms(20);
	for (uint32_t gap = INCLUDE; gap <= FREEZE; gap++) {
		clock = open_fresh();
		ASSERT_EQ(0, try_restore(clock, &saved, gap));
		for (int i = 0; i < 2; i++) {
			struct parkclock_timer_state arg = s[i];

			fds[i] = make_timer(clock, variant->id, NONBLOCK);
			EXPECT_EQ(0, try_state(fds[i], &arg));
			r[i] = get_timer(fds[i]);
			EXPECT_EQ(s[i].expiry_ns, r[i].expiry_ns);
			EXPECT_EQ(s[i].flags, r[i].flags);
			EXPECT_EQ(s[i].interval_ns, r[i].interval_ns);
			EXPECT_GT(r[i].left_ns, s[i].left_ns - 60 * NSEC);
			/* The host's clocks have gone on anyway. */
			passed = gap == INCLUDE || (!variant->stops && i == 0) ? 20 * MSEC : 0;
			EXPECT_LE(r[i].left_ns, s[i].left_ns - passed);
			EXPECT_EQ(i ? 3 : 0, expirations(fds[i]));
			close(fds[i]);
		}
		close(clock);
	}
	close(relative);
}

TEST_F(follows, steps_of_the_host)
{
	const bool steps = variant->id == CLOCK_REALTIME;
	int relative = make_timer(self->clock, variant->id, NONBLOCK);
	int64_t at = now(self, variant) + HOUR;

	set_timer(self->fd, ABSOLUTE, at, 0);
	set_timer(relative, 0, HOUR, 0);
	set_realtime(now_ns(CLOCK_REALTIME) + 2 * HOUR);
	EXPECT_EQ(steps || variant->id == CLOCK_TAI ? POLLIN : 0,
		  poll_timer(self->fd, steps || variant->id == CLOCK_TAI ? PATIENCE_MS : 10));
	EXPECT_EQ(0, poll_timer(relative, 0));
	EXPECT_GT(get_timer(relative).left_ns, HOUR - 60 * NSEC);

	/* Back again: what is set meanwhile does not come before the clock is there. */
	at = now(self, variant) + (steps || variant->id == CLOCK_TAI ? HOUR : 30 * MSEC);
	set_timer(self->fd, ABSOLUTE, at, 0);
	set_realtime(now_ns(CLOCK_REALTIME) - 2 * HOUR);
	if (steps || variant->id == CLOCK_TAI) {
		EXPECT_EQ(0, poll_timer(self->fd, 10));
		EXPECT_GT(get_timer(self->fd).left_ns, 2 * HOUR);
	} else {
		EXPECT_TRUE(expires(self->fd));
		EXPECT_GE(now(self, variant), at);
	}
	set_realtime(now_ns(CLOCK_MONOTONIC) + self->offset);
	close(relative);
}

static void *step_soon(void *unused)
{
	(void)unused;
	sleep_ms(30);
	set_realtime(now_ns(CLOCK_REALTIME) + NSEC);
	return NULL;
}

static void *move_soon(void *arg)
{
	struct parkclock_offsets to = { .monotonic_ns = HOUR, .boottime_ns = HOUR };

	sleep_ms(30);
	must(*(int *)arg, PARKCLOCK_IOC_OFFSETS, (unsigned long)&to);
	return NULL;
}

TEST_F(follows, canceled)
{
	int waits = make_timer(self->clock, variant->id, 0);
	struct parkclock_expired e;
	pthread_t other;

	set_timer(self->fd, CANCEL, 12 * HOUR, 0);
	EXPECT_EQ(-EAGAIN, try_expired(self->fd, &e));
	/* A host's discontinuity, and a clock's own, wake who waits. */
	set_timer(waits, CANCEL | ABSOLUTE, now(self, variant) + 12 * HOUR, 0);
	pthread_create(&other, NULL, step_soon, NULL);
	EXPECT_EQ(-ECANCELED, try_expired(waits, &e));
	pthread_join(other, NULL);
	pthread_create(&other, NULL, move_soon, &self->clock);
	EXPECT_EQ(-ECANCELED, try_expired(waits, &e));
	pthread_join(other, NULL);
	EXPECT_EQ(POLLIN, poll_timer(self->fd, 0));
	EXPECT_EQ(-ECANCELED, try_expired(self->fd, &e));
	/* Once, and the timer goes on. */
	EXPECT_EQ(-EAGAIN, try_expired(self->fd, &e));
	EXPECT_GT(get_timer(self->fd).left_ns, 10 * HOUR);
	/* A setting acknowledges them. */
	must(self->clock, STOP, 0);
	must(self->clock, START, FREEZE);
	EXPECT_EQ(POLLIN, poll_timer(self->fd, 0));
	set_timer(self->fd, CANCEL, 12 * HOUR, 0);
	EXPECT_EQ(0, poll_timer(self->fd, 0));
	/* Without a gap of its own there is none; what has expired comes after the other. */
	set_timer(self->fd, CANCEL, 1, 0);
	EXPECT_TRUE(expires(self->fd));
	must(self->clock, STOP, 0);
	must(self->clock, START, INCLUDE);
	EXPECT_EQ(1, expirations(self->fd));
	set_timer(self->fd, CANCEL, 1, 0);
	EXPECT_TRUE(expires(self->fd));
	must(self->clock, STOP, 0);
	must(self->clock, START, FREEZE);
	EXPECT_EQ(-ECANCELED, try_expired(self->fd, &e));
	EXPECT_EQ(1, expirations(self->fd));
	set_realtime(now_ns(CLOCK_MONOTONIC) + self->offset);
	close(waits);
}

struct restored {
	int fd;
	struct parkclock_timer_state state;
};

static void *restore_soon(void *arg)
{
	struct restored *r = arg;

	sleep_ms(30);
	must(r->fd, PARKCLOCK_IOC_TIMER_RESTORE, (unsigned long)&r->state);
	return NULL;
}

TEST_F(follows, restored_it_is_canceled)
{
	struct restored restored;
	struct parkclock_timer_state s;
	struct parkclock_saved saved;
	struct parkclock_expired e;
	pthread_t other;
	int clock, fd;

	set_timer(self->fd, CANCEL, HOUR, 0);
	saved = save(self->clock);
	s = get_timer(self->fd);
	clock = open_fresh();
	ASSERT_EQ(0, try_restore(clock, &saved, INCLUDE));
	fd = make_timer(clock, variant->id, NONBLOCK);
	EXPECT_EQ(0, try_state(fd, &s));
	EXPECT_EQ(-ECANCELED, try_expired(fd, &e));
	EXPECT_EQ(-EAGAIN, try_expired(fd, &e));
	EXPECT_GT(get_timer(fd).left_ns, 0);
	close(fd);
	/* Whoever waits already is woken; not by poll(), which looks again when its time is up. */
	fd = make_timer(clock, variant->id, 0);
	restored.fd = fd;
	restored.state = s;
	ASSERT_EQ(0, pthread_create(&other, NULL, restore_soon, &restored));
	EXPECT_EQ(-ECANCELED, try_expired(fd, &e));
	pthread_join(other, NULL);
	close(fd);
	close(clock);
}

TEST_F(follows, the_owner_goes)
{
	int fd = make_timer(self->clock, variant->id, 0);
	struct parkclock_expired e;

	set_timer(fd, 0, 30 * MSEC, 0);
	close(self->clock);
	/* It goes on, and can be set. */
	EXPECT_EQ(sizeof(e), try_expired(fd, &e));
	EXPECT_EQ(1, e.expirations);
	set_timer(fd, 0, MSEC, MSEC);
	EXPECT_EQ(sizeof(e), try_expired(fd, &e));
	EXPECT_EQ(0, poll_timer(fd, 0) & POLLHUP);
	close(fd);
	self->clock = open_device();
}

static void *close_soon(void *fd)
{
	sleep_ms(30);
	close(*(int *)fd);
	return NULL;
}

TEST_F(follows, the_owner_goes_with_the_clock_stopped)
{
	int fd = make_timer(self->clock, variant->id, 0), clock = self->clock;
	struct parkclock_expired e;
	pthread_t other;

	set_timer(fd, ABSOLUTE, 1, 0);
	set_timer(self->fd, 0, HOUR, 0);
	must(self->clock, STOP, 0);
	ASSERT_EQ(0, pthread_create(&other, NULL, close_soon, &clock));
	EXPECT_EQ(sizeof(e), try_expired(fd, &e));
	/* This waits until the other closes. */
	EXPECT_EQ(0, try_expired(fd, &e));
	pthread_join(other, NULL);
	EXPECT_EQ(POLLHUP, poll_timer(fd, 0) & (POLLHUP | POLLIN));
	EXPECT_EQ(POLLHUP, poll_timer(self->fd, PATIENCE_MS) & (POLLHUP | POLLIN));
	EXPECT_EQ(0, try_expired(self->fd, &e));
	set_timer(fd, 0, 1, 0);
	EXPECT_EQ(0, try_expired(fd, &e));
	close(fd);
	self->clock = open_device();
}

TEST_HARNESS_MAIN
