// SPDX-License-Identifier: GPL-2.0
/*
 * Settings that race with expirations, reads, STOP, START and close.
 *
 * Checked: of each setting, an expiration is read once, or returned once as unread by the setting
 * after it, or something was left of it then: exactly one of these. With an interval, as many
 * expirations are read and returned as were due. That holds for timers by the wall and for CPU
 * timers, with two readers, and while the clock is stopped and started. A timer that is closed just
 * when it expires leaves nothing behind.
 *
 * Fails if an expiration is lost, counted twice, or read as that of another setting; on a debug
 * kernel, if a closed timer is used.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/timers.h"
#include "lib/wait.h"

#define SETTINGS	(getenv("BRIEF") ? 3000 : 30000)
#define MOST		30002
#define READERS		2

FIXTURE(races) {
	int clock;
	int fd;
	atomic_bool over;
	atomic_ullong *read;		/* expirations that were read, by setting */
	atomic_ullong wrong;		/* results of read() that must not be */
};

FIXTURE_VARIANT(races) {
	int id;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(races, monotonic) { .id = CLOCK_MONOTONIC };
FIXTURE_VARIANT_ADD(races, absolute) { .id = CLOCK_MONOTONIC, .flags = ABSOLUTE };
FIXTURE_VARIANT_ADD(races, realtime) { .id = CLOCK_REALTIME, .flags = ABSOLUTE };
FIXTURE_VARIANT_ADD(races, cpu) { .id = CPUTIME };

FIXTURE_SETUP(races)
{
	default_params();
	self->clock = open_device();
	self->read = calloc(MOST, sizeof(*self->read));
	if (!self->read)
		die("calloc");
	if (variant->id == CPUTIME)
		NEEDS_SWITCHES(return);
	self->fd = make_timer(self->clock, variant->id, NONBLOCK);
	if (variant->id == CPUTIME)
		must_register(self->clock, 0, 0);
}

FIXTURE_TEARDOWN(races)
{
	close(self->fd);
	close(self->clock);
	free(self->read);
}

static void *read_all(void *arg)
{
	FIXTURE_DATA(races) *self = arg;
	struct parkclock_expired e;
	int ret;

	while (!self->over) {
		if (!poll_timer(self->fd, 1))
			continue;
		ret = try_expired(self->fd, &e);
		if (ret == sizeof(e) && e.expirations && e.number < MOST)
			self->read[e.number] += e.expirations;
		else if (ret != -EAGAIN)
			self->wrong++;
	}
	return NULL;
}

static void *stop_and_start(void *arg)
{
	FIXTURE_DATA(races) *self = arg;
	uint64_t seed = 77;

	while (!self->over) {
		must(self->clock, PARKCLOCK_IOC_STOP, 0);
		if (rnd(&seed) % 2)
			sleep_us(rnd(&seed) % 200);
		must(self->clock, PARKCLOCK_IOC_START, 1 + rnd(&seed) % 2);
		sleep_us(rnd(&seed) % 500);
	}
	return NULL;
}

static int64_t value(FIXTURE_DATA(races) *self, const FIXTURE_VARIANT(races) *variant,
		     uint64_t *seed)
{
	struct parkclock_reading r;
	/* Some are replaced before they expire, however slow the machine is. */
	int64_t in = 1 + rnd(seed) % (rnd(seed) % 16 ? 60000 : HOUR);

	if (!(variant->flags & ABSOLUTE))
		return in;
	/* A stopped clock has no time. */
	while (try_read(self->clock, variant->id, &r))
		;
	return r.ns + in - 5000;
}

/* Something to do, for as long as an expiration may be away */
static void dawdle(uint64_t *seed)
{
	for (int i = rnd(seed) % 30000; i > 0; i--)
		__asm__ __volatile__("");
}

static void race(struct __test_metadata *_metadata, FIXTURE_DATA(races) *self,
		 const FIXTURE_VARIANT(races) *variant, bool stops)
{
	struct parkclock_timer_set *sets = calloc(MOST, sizeof(*sets));
	pthread_t readers[READERS], stopper;
	uint64_t seed = 12, n, seen, expired = 0, left = 0;

	ASSERT_NE(NULL, sets);
	for (int i = 0; i < READERS; i++)
		ASSERT_EQ(0, pthread_create(&readers[i], NULL, read_all, self));
	if (stops && pthread_create(&stopper, NULL, stop_and_start, self))
		die("pthread_create");
	for (n = 1; n <= (uint64_t)SETTINGS; n++) {
		sets[n] = set_timer(self->fd, variant->flags, value(self, variant, &seed), 0);
		dawdle(&seed);
	}
	/* The last one of all disarms. */
	sets[n] = set_timer(self->fd, 0, 0, 0);
	self->over = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	if (stops)
		pthread_join(stopper, NULL);
	EXPECT_EQ(0, self->wrong);
	for (n = 1; n <= (uint64_t)SETTINGS; n++) {
		ASSERT_EQ(n, sets[n].number);
		seen = self->read[n] + sets[n + 1].old_expirations;
		expired += seen;
		left += sets[n + 1].old_left_ns > 0;
		ASSERT_EQ(1, seen + (sets[n + 1].old_left_ns > 0))
			TH_LOG("setting %llu: read %llu, unread %llu, left %lld",
			       (unsigned long long)n, (unsigned long long)self->read[n],
			       (unsigned long long)sets[n + 1].old_expirations,
			       (long long)sets[n + 1].old_left_ns);
	}
	/* A test in which nothing raced has shown nothing. */
	EXPECT_GT(expired, 0);
	EXPECT_GT(left, 0);
	free(sets);
}

TEST_F(races, a_setting_with_its_expiration)
{
	race(_metadata, self, variant, false);
}

TEST_F(races, and_with_stop_and_start)
{
	race(_metadata, self, variant, true);
}

/* With an interval: the number of expirations is known, as far as the time of a setting is. */
TEST_F(races, intervals)
{
	const int times = SETTINGS / 10;
	int64_t *most = calloc(MOST, sizeof(*most));
	pthread_t readers[READERS];
	uint64_t seed = 13;

	ASSERT_NE(NULL, most);
	for (int i = 0; i < READERS; i++)
		ASSERT_EQ(0, pthread_create(&readers[i], NULL, read_all, self));
	for (int i = 0; i < times; i++) {
		int64_t interval = 1 + rnd(&seed) % 20000, v = value(self, variant, &seed);
		int64_t t[4], least, first[2];
		struct parkclock_timer_set to, next;

		t[0] = slow_read(self->clock, variant->id).ns;
		to = set_timer(self->fd, variant->flags, v, interval);
		t[1] = slow_read(self->clock, variant->id).ns;
		dawdle(&seed);
		dawdle(&seed);
		t[2] = slow_read(self->clock, variant->id).ns;
		next = set_timer(self->fd, 0, 0, 0);
		t[3] = slow_read(self->clock, variant->id).ns;
		for (int k = 0; k < 2; k++)
			first[k] = variant->flags & ABSOLUTE ? v : t[k] + v;
		/* What is left is the distance to the first that was not counted. */
		ASSERT_GT(next.old_left_ns, 0);
		ASSERT_EQ(interval, next.old_interval_ns);
		least = t[2] + next.old_left_ns - first[1];
		least = least > 0 ? (least + interval - 1) / interval : 0;
		most[to.number] = (t[3] + next.old_left_ns - first[0]) / interval;
		/* A reader may be between its read() and its count. */
		ASSERT_TRUE(wait_until((int64_t)(self->read[to.number] +
						 next.old_expirations) >= least))
			TH_LOG("setting %llu: %llu of %lld", (unsigned long long)to.number,
			       (unsigned long long)self->read[to.number], (long long)least);
		most[to.number] -= next.old_expirations;
	}
	self->over = true;
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	EXPECT_EQ(0, self->wrong);
	for (int n = 1; n < 2 * times; n += 2) {
		ASSERT_LE((int64_t)self->read[n], most[n])
			TH_LOG("setting %d", n);
	}
	free(most);
}

/* By turns absolute and relative: what REALTIME and TAI count by is not the same. */
static void *set_by_turns(void *arg)
{
	FIXTURE_DATA(races) *self = arg;
	uint64_t seed = 15;

	for (int i = 0; i < SETTINGS / READERS; i++) {
		struct parkclock_timer_set to = {
			.flags = i % 2 ? ABSOLUTE : 0, .value_ns = 1 + rnd(&seed) % 20000,
			.interval_ns = 1000,
		};

		if (try_set(self->fd, &to))
			self->wrong++;
	}
	return NULL;
}

/* The kernel's timer is set up anew while another thread waits for its callback. */
TEST_F(races, settings_with_settings)
{
	pthread_t others[READERS], reader;

	ASSERT_EQ(0, pthread_create(&reader, NULL, read_all, self));
	for (int i = 0; i < READERS; i++)
		ASSERT_EQ(0, pthread_create(&others[i], NULL, set_by_turns, self));
	for (int i = 0; i < READERS; i++)
		pthread_join(others[i], NULL);
	self->over = true;
	pthread_join(reader, NULL);
	EXPECT_EQ(0, self->wrong);
	EXPECT_EQ(SETTINGS / READERS * READERS, get_timer(self->fd).number);
}

static void *close_it(void *fd)
{
	close(*(int *)fd);
	return NULL;
}

TEST_F(races, closed_when_it_expires)
{
	uint64_t seed = 14;
	pthread_t other;

	for (int i = 0; i < SETTINGS / 10; i++) {
		int fd = make_timer(self->clock, variant->id, 0), same = dup(fd);

		set_timer(fd, 0, 1 + rnd(&seed) % 100000, rnd(&seed) % 2 * 1000);
		if (i % 8 == 0) {
			/* With a reader inside */
			struct parkclock_expired e;

			ASSERT_EQ(0, pthread_create(&other, NULL, close_it, &same));
			EXPECT_EQ(sizeof(e), try_expired(fd, &e));
			pthread_join(other, NULL);
		} else {
			close(same);
			dawdle(&seed);
		}
		close(fd);
	}
}

TEST_HARNESS_MAIN
