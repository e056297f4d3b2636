// SPDX-License-Identifier: GPL-2.0
/*
 * Clocks that are saved and restored.
 *
 * Checked: what a sandbox's clock must do over its lives, as gVisor's tests of its own clock
 * say it: monotonic starts near zero; a restore moves it forward by the realtime that has
 * passed; if realtime went back, monotonic stays; the boot time is kept. With the other policy
 * the clock continues from where it stopped. Generations go up from life to life. A saved clock
 * that is damaged, of another version or made up is refused, and leaves the clock as it was.
 *
 * Fails if a gap is counted twice or not at all, if one bit of damage goes unnoticed, or if a
 * refused state has changed anything.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define HOUR	(3600 * NSEC)

FIXTURE(save_restore) {
	int fd;		/* of a life that has begun some ms ago */
	int next;	/* fresh */
	int host;	/* another clock, which is never changed */
	int64_t moved;	/* by how much this test has set REALTIME */
};

FIXTURE_SETUP(save_restore)
{
	start_parked("60000", "4", "5");
	self->fd = open_fresh();
	self->next = open_fresh();
	self->host = open_device();
	self->moved = 0;
	must(self->fd, PARKCLOCK_IOC_EPOCH, 0);
	slow_read(self->fd, CLOCK_MONOTONIC);
	sleep_ms(20);
}

static void move_realtime(FIXTURE_DATA(save_restore) *self, int64_t by)
{
	int64_t to = kernel_ns(CLOCK_REALTIME) + by;
	struct timespec ts = { to / NSEC, to % NSEC };

	if (clock_settime(CLOCK_REALTIME, &ts))
		die("clock_settime");
	self->moved += by;
}

FIXTURE_TEARDOWN(save_restore)
{
	if (self->moved)
		move_realtime(self, -self->moved);
	close(self->fd);
	close(self->next);
	close(self->host);
	default_params();
}

TEST_F(save_restore, monotonic_starts_near_zero)
{
	int64_t before = host_ns(self->host, CLOCK_MONOTONIC), ns;

	must(self->next, PARKCLOCK_IOC_EPOCH, 0);
	ns = slow_read(self->next, CLOCK_MONOTONIC).ns;
	EXPECT_GT(ns, 0);
	EXPECT_LE(ns, 1 + host_ns(self->host, CLOCK_MONOTONIC) - before);
}

/*
 * Restores on @next what was saved, at a time when REALTIME has moved by @by since; the
 * clock is then expected to have moved by @expected, and by how long all of this takes.
 */
static void moves(struct __test_metadata *_metadata, FIXTURE_DATA(save_restore) *self, uint32_t gap,
		  int64_t by, int64_t expected)
{
	int64_t before = host_ns(self->host, CLOCK_MONOTONIC), most;
	struct parkclock_saved s = save(self->fd);
	struct parkclock_reading mono, boot;

	move_realtime(self, by);
	sleep_ms(10);
	ASSERT_EQ(0, try_restore(self->next, &s, gap));
	mono = slow_read(self->next, CLOCK_MONOTONIC);
	boot = slow_read(self->next, CLOCK_BOOTTIME);
	/* REALTIME is set to a value, and so by a little less than @by. */
	most = host_ns(self->host, CLOCK_MONOTONIC) - before;
	if (by > 0)
		expected -= most;
	EXPECT_GE(mono.ns, s.monotonic_ns + expected);
	EXPECT_GE(boot.ns, s.boottime_ns + expected);
	EXPECT_LE(mono.ns, s.monotonic_ns + expected + 2 * most + 1000);
	EXPECT_LE(boot.ns, s.boottime_ns + expected + 2 * most + 1000);
	EXPECT_GT(mono.generation, s.generation);
	EXPECT_EQ(s.boot_ns, query(self->next).boot_ns);
	/* And so it goes on: as fast as the host's. */
	EXPECT_TRUE(slow_read_is_right(self->next, CLOCK_REALTIME));
}

TEST_F(save_restore, restore_moves_forward_by_elapsed_realtime)
{
	moves(_metadata, self, PARKCLOCK_GAP_INCLUDE, HOUR, HOUR);
}

TEST_F(save_restore, realtime_back_holds_monotonic)
{
	moves(_metadata, self, PARKCLOCK_GAP_INCLUDE, -HOUR, 0);
}

TEST_F(save_restore, freeze_goes_on_from_where_it_stopped)
{
	moves(_metadata, self, PARKCLOCK_GAP_FREEZE, HOUR, 0);
}

TEST_F(save_restore, freeze_with_realtime_back)
{
	moves(_metadata, self, PARKCLOCK_GAP_FREEZE, -HOUR, 0);
}

TEST_F(save_restore, boot_time_kept_over_two_generations_of_restore)
{
	const int64_t boot = query(self->fd).boot_ns;
	struct parkclock_saved s = save(self->fd);
	int64_t last = s.monotonic_ns;
	int third = open_fresh();

	EXPECT_EQ(boot, s.boot_ns);
	move_realtime(self, HOUR);
	ASSERT_EQ(0, try_restore(self->next, &s, PARKCLOCK_GAP_INCLUDE));
	EXPECT_EQ(boot, query(self->next).boot_ns);
	EXPECT_GE(slow_read(self->next, CLOCK_MONOTONIC).ns, last);
	s = save(self->next);
	EXPECT_EQ(boot, s.boot_ns);
	EXPECT_GE(s.monotonic_ns, last);
	last = s.monotonic_ns;
	move_realtime(self, -2 * HOUR);
	ASSERT_EQ(0, try_restore(third, &s, PARKCLOCK_GAP_INCLUDE));
	EXPECT_EQ(boot, query(third).boot_ns);
	EXPECT_GE(slow_read(third, CLOCK_MONOTONIC).ns, last);
	close(third);
}

/* The host's, for a clock that has none of its own; it moves as the host's does. */
TEST_F(save_restore, boot_time_of_the_host)
{
	struct parkclock_saved s = save(self->next);
	int64_t slop = 1000;

	EXPECT_LE(llabs(s.realtime_ns - s.boottime_ns - s.boot_ns), slop);
	EXPECT_EQ(s.boot_ns, query(self->host).boot_ns);
}

TEST_F(save_restore, says_where_it_was_stopped)
{
	struct parkclock_reading last = slow_read(self->fd, CLOCK_MONOTONIC);
	int64_t before = host_ns(self->host, CLOCK_REALTIME);
	struct parkclock_saved a = save(self->fd), b, none;

	EXPECT_EQ(PARKCLOCK_SAVED_MAGIC, a.magic);
	EXPECT_EQ(PARKCLOCK_SAVED_VERSION, a.version);
	EXPECT_EQ(sizeof(a), a.size);
	EXPECT_GE(a.monotonic_ns, last.ns);
	EXPECT_GE(a.realtime_ns, before);
	EXPECT_LE(a.realtime_ns, host_ns(self->host, CLOCK_REALTIME));
	EXPECT_EQ(last.generation, a.generation);
	EXPECT_EQ(0, a.reserved[0] | a.reserved[1] | a.reserved[2]);
	EXPECT_TRUE(is_stopped(self->fd));

	/* Again, and later: it is stopped. */
	sleep_ms(5);
	b = save(self->fd);
	EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));

	/* It may go on nevertheless. */
	must(self->fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_INCLUDE);
	EXPECT_GE(slow_read(self->fd, CLOCK_MONOTONIC).ns, a.monotonic_ns);
	memset(&none, 0, sizeof(none));
	EXPECT_EQ(-EBADMSG, try_restore(self->next, &none, PARKCLOCK_GAP_FREEZE));
}

/* Nobody could be told where. */
TEST_F(save_restore, not_stopped_by_a_save_that_fails)
{
	char *p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(-EFAULT, try(self->fd, PARKCLOCK_IOC_SAVE, 0));
	EXPECT_EQ(-EFAULT, try(self->fd, PARKCLOCK_IOC_SAVE, (unsigned long)p));
	EXPECT_EQ(-EFAULT, try(self->fd, PARKCLOCK_IOC_SAVE, ~0UL - 7));
	EXPECT_FALSE(is_stopped(self->fd));
	EXPECT_EQ(-EFAULT, try(self->next, PARKCLOCK_IOC_RESTORE, 0));
	EXPECT_EQ(-EFAULT, try(self->next, PARKCLOCK_IOC_RESTORE, ~0UL - 7));
	munmap(p, 8192);
}

TEST_F(save_restore, restored_while_stopped)
{
	struct parkclock_saved s = save(self->fd), again;
	int64_t before;

	must(self->next, PARKCLOCK_IOC_STOP, 0);
	ASSERT_EQ(0, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
	EXPECT_TRUE(is_stopped(self->next));
	again = save(self->next);
	EXPECT_EQ(s.monotonic_ns, again.monotonic_ns);
	EXPECT_EQ(s.boottime_ns, again.boottime_ns);
	EXPECT_EQ(s.boot_ns, again.boot_ns);
	EXPECT_LT(s.generation, again.generation);
	sleep_ms(10);
	before = host_ns(self->host, CLOCK_MONOTONIC);
	must(self->next, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
	EXPECT_GE(slow_read(self->next, CLOCK_MONOTONIC).ns, s.monotonic_ns);
	EXPECT_LE(slow_read(self->next, CLOCK_MONOTONIC).ns,
		  s.monotonic_ns + host_ns(self->host, CLOCK_MONOTONIC) - before);
}

/* CRC-32, from its definition */
static uint32_t crc32(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint32_t crc = ~0U;

	for (size_t i = 0; i < size * 8; i++) {
		crc ^= p[i / 8] >> i % 8 & 1;
		crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static struct parkclock_saved sealed(struct parkclock_saved s)
{
	s.checksum = 0;
	s.checksum = crc32(&s, sizeof(s));
	return s;
}

static void expect_untouched(struct __test_metadata *_metadata, FIXTURE_DATA(save_restore) *self,
			     const struct parkclock_query *before)
{
	struct parkclock_query q = query(self->next);

	EXPECT_EQ(before->generation, q.generation);
	EXPECT_EQ(before->flags, q.flags);
	EXPECT_EQ(before->wakes, q.wakes);
	EXPECT_EQ(before->refreshes, q.refreshes);
	EXPECT_LE(llabs(before->boot_ns - q.boot_ns), 1000);
}

TEST_F(save_restore, damaged_in_any_bit)
{
	struct parkclock_saved good = save(self->fd), s;
	struct parkclock_query before = query(self->next);

	s = sealed(good);
	EXPECT_EQ(good.checksum, s.checksum);
	for (size_t bit = 0; bit < sizeof(s) * 8; bit++) {
		bool version = bit / 32 == offsetof(struct parkclock_saved, version) / 4;

		s = good;
		((uint8_t *)&s)[bit / 8] ^= 1 << bit % 8;
		EXPECT_EQ(version ? -EOPNOTSUPP : -EBADMSG,
			  try_restore(self->next, &s, PARKCLOCK_GAP_INCLUDE)) {
			TH_LOG("bit %zu", bit);
		}
	}
	expect_untouched(_metadata, self, &before);
	EXPECT_EQ(0, try_restore(self->next, &good, PARKCLOCK_GAP_INCLUDE));
}

/* Whole, but what it says cannot be. */
TEST_F(save_restore, made_up)
{
	struct parkclock_saved good = save(self->fd), s;
	struct parkclock_query before = query(self->next);
	static const int64_t wild[] = {
		0, -1, INT64_MIN, INT64_MAX, PARKCLOCK_MOST_NS + 1
	};

	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		s = good;
		s.monotonic_ns = wild[i];
		s = sealed(s);
		EXPECT_EQ(-ERANGE, try_restore(self->next, &s, PARKCLOCK_GAP_INCLUDE));
		EXPECT_EQ(-ERANGE, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
		s = good;
		s.boottime_ns = wild[i];
		s = sealed(s);
		EXPECT_EQ(-ERANGE, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
		if (!wild[i])
			continue;
		s = good;
		s.realtime_ns = wild[i];
		s = sealed(s);
		EXPECT_EQ(-ERANGE, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
	}
	s = good;
	s.boot_ns = PARKCLOCK_MOST_NS + 1;
	s = sealed(s);
	EXPECT_EQ(-ERANGE, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
	s = good;
	s.generation = (1ULL << 63) + 1;
	s = sealed(s);
	EXPECT_EQ(-ERANGE, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
	/* In range, but not with what has passed since 1970. */
	s = good;
	s.monotonic_ns = PARKCLOCK_MOST_NS;
	s.realtime_ns = 0;
	s = sealed(s);
	EXPECT_EQ(-ERANGE, try_restore(self->next, &s, PARKCLOCK_GAP_INCLUDE));

	/* Another size, something in what is reserved, another version. */
	s = good;
	s.size++;
	s = sealed(s);
	EXPECT_EQ(-EBADMSG, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
	s = good;
	s.reserved[2] = 1;
	s = sealed(s);
	EXPECT_EQ(-EBADMSG, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
	s = good;
	s.version++;
	s = sealed(s);
	EXPECT_EQ(-EOPNOTSUPP, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));

	EXPECT_EQ(-EINVAL, try_restore(self->next, &good, 0));
	EXPECT_EQ(-EINVAL, try_restore(self->next, &good, 3));
	for (size_t i = offsetof(struct parkclock_restore, reserved0);
	     i < sizeof(struct parkclock_restore); i++) {
		struct parkclock_restore r = { .saved = good, .gap = PARKCLOCK_GAP_FREEZE };

		((char *)&r)[i] = 1;
		EXPECT_EQ(-EINVAL, try(self->next, PARKCLOCK_IOC_RESTORE, (unsigned long)&r));
	}
	expect_untouched(_metadata, self, &before);
}

/* The ends of the range are in it. */
TEST_F(save_restore, extremes)
{
	struct parkclock_saved s = save(self->fd);
	void *map;

	s.monotonic_ns = PARKCLOCK_MOST_NS;
	s.boottime_ns = 1;
	s.generation = 1ULL << 63;
	s = sealed(s);
	ASSERT_EQ(0, try_restore(self->next, &s, PARKCLOCK_GAP_FREEZE));
	map = map_clock(self->next);
	EXPECT_GE(slow_read(self->next, CLOCK_MONOTONIC).ns, PARKCLOCK_MOST_NS);
	EXPECT_GE(slow_read(self->next, CLOCK_BOOTTIME).ns, 1);
	EXPECT_EQ(s.generation + 1, slow_read(self->next, CLOCK_BOOTTIME).generation);
	EXPECT_EQ(s.generation + 1, query(self->next).generation);
	EXPECT_GE(parkclock_page_read(map, CLOCK_MONOTONIC),
		  counter_usable() ? PARKCLOCK_MOST_NS : PARKCLOCK_EXPIRED);
	munmap(map, PARKCLOCK_MAP_SIZE);
}

TEST_HARNESS_MAIN
