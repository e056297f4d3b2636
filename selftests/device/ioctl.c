// SPDX-License-Identifier: GPL-2.0
/*
 * Ioctls: good input has the documented effect, bad input returns the documented errno and
 * changes nothing.
 *
 * Checked: unknown requests, requests of another size or direction, arguments and fields that
 * must be zero, pointers that cannot be read or written in whole or in part, every kind of
 * wrong clock id, descriptors without read access, RELEASE without HOLD, and HOLD at its
 * limit, also by several threads at once; and that QUERY and /proc tell a reader of its own
 * clock and of the host's page, and nothing of others.
 *
 * Fails if a check is missing or comes after something was counted or woken, if counting at
 * the limit is not atomic, or if a reader is told what only others can have done.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/updater.h"

FIXTURE(ioctl) {
	struct pclock c;
	struct parkclock_query before;
};

FIXTURE_SETUP(ioctl)
{
	start_parked("60000", "4", "5");
	self->c = open_clock();
	self->before = query(self->c.fd);
}

FIXTURE_TEARDOWN(ioctl)
{
	close_clock(&self->c);
	default_params();
}

/* errno of a call that must fail, 0 if it did not */
static int error(int fd, unsigned long request, unsigned long arg)
{
	errno = 0;
	return ioctl(fd, request, arg) ? errno : 0;
}

#define POINTER(p) ((unsigned long)(p))

/* Everything but what the passing of time changes. */
static void expect_unchanged(struct __test_metadata *_metadata, FIXTURE_DATA(ioctl) *self)
{
	struct parkclock_query now = query(self->c.fd);

	EXPECT_EQ(self->before.state, now.state);
	EXPECT_EQ(self->before.holds, now.holds);
	EXPECT_EQ(self->before.references, now.references);
	EXPECT_EQ(self->before.generation, now.generation);
	EXPECT_EQ(self->before.parks, now.parks);
	EXPECT_EQ(self->before.wakes, now.wakes);
	EXPECT_EQ(self->before.refreshes, now.refreshes);
	EXPECT_EQ(self->before.invalidations, now.invalidations);
	EXPECT_EQ(self->before.slow_reads, now.slow_reads);
}

TEST_F(ioctl, unknown_requests)
{
	char buf[512] = { 0 };
	const unsigned long requests[] = {
		0, 0x5401 /* TCGETS */, ~0UL & 0xffffffff,
		_IO(PARKCLOCK_IOC_TYPE, 0x00), _IO(PARKCLOCK_IOC_TYPE, 0x01),
		_IOW(PARKCLOCK_IOC_TYPE, 0x00, struct parkclock_query),
		_IOWR(PARKCLOCK_IOC_TYPE, 0x00, struct parkclock_query),
		_IOR(PARKCLOCK_IOC_TYPE, 0x00, uint64_t),
		_IOC(_IOC_READ, PARKCLOCK_IOC_TYPE, 0x00, sizeof(struct parkclock_query) - 8),
		_IOC(_IOC_READ, PARKCLOCK_IOC_TYPE, 0x00, sizeof(struct parkclock_query) + 8),
		_IOR(PARKCLOCK_IOC_TYPE, 0x01, struct parkclock_read),
		_IOW(PARKCLOCK_IOC_TYPE, 0x01, struct parkclock_read),
		_IOC(_IOC_READ | _IOC_WRITE, PARKCLOCK_IOC_TYPE, 0x01,
		     sizeof(struct parkclock_read) - 8),
		_IOC(_IOC_READ | _IOC_WRITE, PARKCLOCK_IOC_TYPE, 0x01,
		     sizeof(struct parkclock_read) + 8),
		_IOW(PARKCLOCK_IOC_TYPE, 0x02, int), _IOR(PARKCLOCK_IOC_TYPE, 0x03, int),
		_IOW(PARKCLOCK_IOC_TYPE, 0x06, struct parkclock_accuracy),
		_IOC(_IOC_READ, PARKCLOCK_IOC_TYPE, 0x06, sizeof(struct parkclock_accuracy) + 8),
		_IO(PARKCLOCK_IOC_TYPE + 1, 0x02), _IO(PARKCLOCK_IOC_TYPE - 1, 0x02),
	};

	/* EXPECT_EQ() with a message is two statements. */
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		EXPECT_EQ(ENOTTY, error(self->c.fd, requests[i], POINTER(buf))) {
			TH_LOG("request %#lx", requests[i]);
		}
	}
	for (int nr = 4; nr < 256; nr++) {
		unsigned long bare = _IO(PARKCLOCK_IOC_TYPE, nr);

		if (bare != PARKCLOCK_IOC_EPOCH && bare != PARKCLOCK_IOC_STOP &&
		    bare != PARKCLOCK_IOC_START && bare != PARKCLOCK_IOC_VIEW &&
		    bare != PARKCLOCK_IOC_VMCLOCK)
			EXPECT_EQ(ENOTTY, error(self->c.fd, bare, 0));
		EXPECT_EQ(ENOTTY, error(self->c.fd, _IOWR(PARKCLOCK_IOC_TYPE, nr,
							  struct parkclock_read), POINTER(buf)));
	}
	expect_unchanged(_metadata, self);
}

TEST_F(ioctl, nonzero_argument)
{
	const unsigned long args[] = { 1, 1UL << 31, 1UL << 32, 1UL << 63, ~0UL };

	hold(self->c.fd);
	self->before = query(self->c.fd);
	for (size_t i = 0; i < ARRAY_SIZE(args); i++) {
		EXPECT_EQ(EINVAL, error(self->c.fd, PARKCLOCK_IOC_HOLD, args[i]));
		EXPECT_EQ(EINVAL, error(self->c.fd, PARKCLOCK_IOC_RELEASE, args[i]));
		/* 1 and 2 are PARKCLOCK_VIEW_TIMERS and _KEEP. */
		EXPECT_EQ(EINVAL, error(self->c.fd, PARKCLOCK_IOC_VIEW, args[i] | 4));
	}
	expect_unchanged(_metadata, self);
}

TEST_F(ioctl, nonzero_fields)
{
	struct parkclock_read r;

	for (int bit = 0; bit < 32; bit++) {
		r = (struct parkclock_read){ .clock_id = CLOCK_MONOTONIC, .flags = 1U << bit };
		EXPECT_EQ(EINVAL, error(self->c.fd, PARKCLOCK_IOC_READ, POINTER(&r)));
		EXPECT_EQ(0, r.reading.ns);
	}
	for (size_t i = 0; i < sizeof(r.reserved); i++) {
		r = (struct parkclock_read){ .clock_id = CLOCK_MONOTONIC };
		((char *)r.reserved)[i] = 1;
		EXPECT_EQ(EINVAL, error(self->c.fd, PARKCLOCK_IOC_READ, POINTER(&r)));
		EXPECT_EQ(0, r.reading.ns);
	}
	expect_unchanged(_metadata, self);
}

TEST_F(ioctl, bad_clock_ids)
{
	const int good[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI };
	const int bad[] = {
		-1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16, 63, 64, 128, 256, 257, 1 << 16, INT_MAX,
		INT_MIN, INT_MIN + 1, -2, -5, -6
	};
	struct parkclock_reading reading;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct parkclock_read r = { .clock_id = bad[i] };

		EXPECT_EQ(EINVAL, error(self->c.fd, PARKCLOCK_IOC_READ, POINTER(&r))) {
			TH_LOG("clock id %d", bad[i]);
		}
		EXPECT_EQ(0, r.reading.ns);
	}
	expect_unchanged(_metadata, self);

	/* With the page valid, the readers refuse the same ones. */
	hold(self->c.fd);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read(self->c.map, bad[i]));
		EXPECT_EQ(PARKCLOCK_EXPIRED, parkclock_page_read_relaxed(self->c.map, bad[i]));
		EXPECT_EQ(PARKCLOCK_EXPIRED,
			  parkclock_page_read_bound(self->c.map, bad[i], &reading));
	}
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_TRUE(slow_read_is_right(self->c.fd, good[i]));
		EXPECT_EQ(counter_usable(), parkclock_page_read(self->c.map, good[i]) !=
			  PARKCLOCK_EXPIRED);
	}
}

TEST_F(ioctl, read_writes_the_reading_only)
{
	struct parkclock_read r = { .clock_id = CLOCK_TAI, .reading.ns = -1 };

	ASSERT_EQ(0, error(self->c.fd, PARKCLOCK_IOC_READ, POINTER(&r)));
	EXPECT_EQ(CLOCK_TAI, r.clock_id);
	EXPECT_EQ(0, r.flags);
	EXPECT_EQ(0, r.reserved[0] | r.reserved[1] | r.reserved[2]);
	EXPECT_GT(r.reading.ns, 0);
	EXPECT_EQ(query(self->c.fd).generation, r.reading.generation);
	EXPECT_EQ(self->before.slow_reads + 1, query(self->c.fd).slow_reads);
}

/* Two readable pages; the second is then taken away or made read-only. */
static char *two_pages(void)
{
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

TEST_F(ioctl, bad_pointers)
{
	const unsigned long wild[] = { 0, 8, 1UL << 46, 0x800000000000UL, 1UL << 63, ~7UL, ~0UL };
	char *p = two_pages();

	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_QUERY, wild[i]));
		EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_READ, wild[i]));
	}
	memset(p, 0, 8192);
	((struct parkclock_read *)p)->clock_id = CLOCK_MONOTONIC;
	ASSERT_EQ(0, mprotect(p, 4096, PROT_READ));
	EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_QUERY, POINTER(p)));
	ASSERT_EQ(0, mprotect(p, 4096, PROT_NONE));
	EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_QUERY, POINTER(p)));
	EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_READ, POINTER(p)));
	expect_unchanged(_metadata, self);
	munmap(p, 8192);
}

/* Only the kernel's last step, copying out, can find these. */
TEST_F(ioctl, unwritable_result)
{
	char *p = two_pages();
	struct parkclock_read *r = (struct parkclock_read *)p;

	r->clock_id = CLOCK_MONOTONIC;
	ASSERT_EQ(0, mprotect(p, 4096, PROT_READ));
	EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_READ, POINTER(p)));
	expect_unchanged(_metadata, self);
	EXPECT_EQ(0, r->reading.ns);

	/* The page of the clock itself is no place to write to either. */
	EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_QUERY, POINTER(self->c.map)));
	EXPECT_EQ(1, parkclock_usable(self->c.map));
	munmap(p, 8192);
}

TEST_F(ioctl, straddling_structures)
{
	char *p = two_pages();

	ASSERT_EQ(0, munmap(p + 4096, 4096));
	/* Input and output of every length that does not fit. */
	for (size_t fits = 8; fits < sizeof(struct parkclock_read); fits += 8) {
		struct parkclock_read r = { .clock_id = CLOCK_MONOTONIC };

		memcpy(p + 4096 - fits, &r, fits);
		EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_READ, POINTER(p + 4096 - fits)));
	}
	for (size_t fits = 8; fits < sizeof(struct parkclock_query); fits += 8)
		EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_QUERY,
					POINTER(p + 4096 - fits)));
	for (size_t fits = 8; fits < sizeof(struct parkclock_accuracy); fits += 8)
		EXPECT_EQ(EFAULT, error(self->c.fd, PARKCLOCK_IOC_ACCURACY,
					POINTER(p + 4096 - fits)));
	EXPECT_EQ(0, error(self->c.fd, PARKCLOCK_IOC_ACCURACY,
			   POINTER(p + 4096 - sizeof(struct parkclock_accuracy))));
	expect_unchanged(_metadata, self);

	/* What just fits, and is not even aligned, is fine. */
	EXPECT_EQ(0, error(self->c.fd, PARKCLOCK_IOC_QUERY,
			   POINTER(p + 4096 - sizeof(struct parkclock_query))));
	EXPECT_EQ(0, error(self->c.fd, PARKCLOCK_IOC_QUERY,
			   POINTER(p + 4095 - sizeof(struct parkclock_query))));
	munmap(p, 4096);
}

TEST_F(ioctl, needs_read_access)
{
	const unsigned long requests[] = {
		PARKCLOCK_IOC_QUERY, PARKCLOCK_IOC_READ, PARKCLOCK_IOC_HOLD, PARKCLOCK_IOC_RELEASE,
		PARKCLOCK_IOC_ACCURACY, PARKCLOCK_IOC_VIEW
	};
	union {
		struct parkclock_query query;
		struct parkclock_accuracy accuracy;
	} buf = { 0 };
	int wronly = open(PARKCLOCK_DEVICE, O_WRONLY | O_CLOEXEC);
	int path = open(PARKCLOCK_DEVICE, O_PATH | O_CLOEXEC);
	int rdwr = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);

	ASSERT_GE(wronly, 0);
	ASSERT_GE(path, 0);
	ASSERT_GE(rdwr, 0);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		unsigned long arg = _IOC_SIZE(requests[i]) ? POINTER(&buf) : 0;

		EXPECT_EQ(EBADF, error(wronly, requests[i], arg));
		EXPECT_EQ(EBADF, error(path, requests[i], arg));
	}
	expect_unchanged(_metadata, self);
	EXPECT_EQ(0, error(rdwr, PARKCLOCK_IOC_QUERY, POINTER(&buf)));
	close(wronly);
	close(path);
	close(rdwr);
}

TEST_F(ioctl, release_without_hold)
{
	int other = open_device();

	EXPECT_EQ(ENOENT, error(self->c.fd, PARKCLOCK_IOC_RELEASE, 0));
	expect_unchanged(_metadata, self);

	hold(other);
	/* What another open holds is not ours to release. */
	EXPECT_EQ(ENOENT, error(self->c.fd, PARKCLOCK_IOC_RELEASE, 0));
	EXPECT_EQ(1, query(self->c.fd).references);
	EXPECT_EQ(0, query(self->c.fd).holds);
	EXPECT_EQ(1, query(other).holds);

	hold(self->c.fd);
	release(self->c.fd);
	EXPECT_EQ(ENOENT, error(self->c.fd, PARKCLOCK_IOC_RELEASE, 0));
	EXPECT_EQ(1, query(other).references);
	close(other);
	EXPECT_EQ(0, query(self->c.fd).references);
}

TEST_F(ioctl, hold_limit)
{
	int other = open_device();

	for (int i = 0; i < PARKCLOCK_HOLD_MAX; i++)
		ASSERT_EQ(0, error(self->c.fd, PARKCLOCK_IOC_HOLD, 0));
	EXPECT_EQ(EOVERFLOW, error(self->c.fd, PARKCLOCK_IOC_HOLD, 0));
	EXPECT_EQ(EOVERFLOW, error(self->c.fd, PARKCLOCK_IOC_HOLD, 0));
	EXPECT_EQ(PARKCLOCK_HOLD_MAX, query(self->c.fd).holds);
	EXPECT_EQ(PARKCLOCK_HOLD_MAX, query(self->c.fd).references);

	/* The limit is one open file's. */
	EXPECT_EQ(0, error(other, PARKCLOCK_IOC_HOLD, 0));
	EXPECT_EQ(PARKCLOCK_HOLD_MAX + 1, query(other).references);
	EXPECT_EQ(1, query(other).holds);

	release(self->c.fd);
	EXPECT_EQ(0, error(self->c.fd, PARKCLOCK_IOC_HOLD, 0));
	EXPECT_EQ(EOVERFLOW, error(self->c.fd, PARKCLOCK_IOC_HOLD, 0));
	for (int i = 0; i < PARKCLOCK_HOLD_MAX; i++)
		ASSERT_EQ(0, error(self->c.fd, PARKCLOCK_IOC_RELEASE, 0));
	EXPECT_EQ(ENOENT, error(self->c.fd, PARKCLOCK_IOC_RELEASE, 0));
	EXPECT_EQ(1, query(self->c.fd).references);
	close(other);
	EXPECT_EQ(0, query(self->c.fd).references);
}

struct counter {
	pthread_t thread;
	int fd;
	unsigned long request;
	int done;
	int err;
};

static void *until_error(void *arg)
{
	struct counter *c = arg;

	while (!(c->err = error(c->fd, c->request, 0)))
		c->done++;
	return NULL;
}

TEST_F(ioctl, hold_limit_by_threads)
{
	const unsigned long requests[] = { PARKCLOCK_IOC_HOLD, PARKCLOCK_IOC_RELEASE };
	const int errors[] = { EOVERFLOW, ENOENT };

	for (int k = 0; k < 2; k++) {
		struct counter c[4];
		int done = 0;

		for (int i = 0; i < 4; i++) {
			c[i] = (struct counter){ .fd = self->c.fd, .request = requests[k] };
			ASSERT_EQ(0, pthread_create(&c[i].thread, NULL, until_error, &c[i]));
		}
		for (int i = 0; i < 4; i++) {
			pthread_join(c[i].thread, NULL);
			EXPECT_EQ(errors[k], c[i].err);
			done += c[i].done;
		}
		EXPECT_EQ(PARKCLOCK_HOLD_MAX, done);
		EXPECT_EQ(k ? 0 : PARKCLOCK_HOLD_MAX, query(self->c.fd).holds);
		EXPECT_EQ(k ? 0 : PARKCLOCK_HOLD_MAX, query(self->c.fd).references);
	}
}

TEST_F(ioctl, query_tells)
{
	struct parkclock_query q;

	must_set("interval_ms", "2000");
	must_set("window_intervals", "3");
	must_set("slack_percent", "10");
	q = query(self->c.fd);
	EXPECT_EQ(2000000000ULL, q.interval_ns);
	EXPECT_EQ(6000000000ULL, q.window_ns);
	EXPECT_EQ(200000000ULL, q.slack_ns);
	EXPECT_EQ(PARKCLOCK_PARKED, q.state);
	EXPECT_EQ(counter_usable() ? 0 : PARKCLOCK_COUNTER_UNUSABLE, q.flags);
	EXPECT_NE(0, q.counter_hz);
	EXPECT_EQ(0, q.holds | q.references);
	for (size_t i = 0; i < ARRAY_SIZE(q.reserved); i++)
		EXPECT_EQ(0, q.reserved[i]);
	must_set("interval_ms", "20000");
	hold(self->c.fd);
	q = query(self->c.fd);
	if (!counter_usable()) {
		EXPECT_EQ(0, q.window_left_ns | q.error_ns | q.rate);
		return;
	}
	for (int i = 0; i < 10; i++) {
		uint64_t before = tsc();

		q = query(self->c.fd);
		EXPECT_LE(before, q.cycles);
		EXPECT_LE(q.cycles, tsc());
	}
	EXPECT_GT(q.window_left_ns, 0);
	EXPECT_LE(q.window_left_ns, q.window_ns);
	/* The rate is that of the counter, within 1 %. */
	EXPECT_GT((double)q.rate / (1ULL << PARKCLOCK_SHIFT) * q.counter_hz, 0.99e9);
	EXPECT_LT((double)q.rate / (1ULL << PARKCLOCK_SHIFT) * q.counter_hz, 1.01e9);
}

/* The members of QUERY that tell of others */
#define HOST(member)	offsetof(struct parkclock_query, member)
static const size_t of_host[] = {
	HOST(references), HOST(parks), HOST(wakes), HOST(refreshes), HOST(expirations),
	HOST(invalidations), HOST(slow_reads), HOST(all_tasks), HOST(all_running),
	HOST(run_transitions), HOST(run_wakes), HOST(late_ticks)
};

/* 0 what tells of others, and what the passing of time changes */
static void without_host(struct parkclock_query *q)
{
	for (size_t i = 0; i < ARRAY_SIZE(of_host); i++)
		*(__u64 *)((char *)q + of_host[i]) = 0;
	q->cycles = 0;
	q->window_left_ns = 0;
	q->error_ns = 0;
	q->clock = 0;
	q->flags &= ~PARKCLOCK_HOST_HIDDEN;
}

/*
 * Whatever others do, a reader is told the same. Of its own clock, and of what page 1 shows
 * to everybody, it is told what a writer is told.
 */
TEST_F(ioctl, query_tells_readers_nothing_of_others)
{
	const int reader = open_device_reader(), writer = open_device();
	struct parkclock_query r, w;

	hold(self->c.fd);
	hold(reader);
	hold(writer);
	slow_read(self->c.fd, CLOCK_MONOTONIC);
	r = query(reader);
	w = query(writer);
	EXPECT_EQ(3, w.references);
	EXPECT_LT(0, w.slow_reads);
	EXPECT_TRUE(w.wakes || !counter_usable());
	EXPECT_EQ(0, w.flags & PARKCLOCK_HOST_HIDDEN);
	EXPECT_EQ(PARKCLOCK_HOST_HIDDEN, r.flags & PARKCLOCK_HOST_HIDDEN);
	EXPECT_EQ(1, r.holds);
	EXPECT_NE(0, r.clock);
	EXPECT_NE(r.clock, w.clock);
	EXPECT_EQ(counter_usable(), r.window_left_ns > 0);
	for (size_t i = 0; i < ARRAY_SIZE(of_host); i++) {
		EXPECT_EQ(0, *(__u64 *)((char *)&r + of_host[i])) {
			TH_LOG("the member at %zu", of_host[i]);
		}
	}
	without_host(&r);
	without_host(&w);
	EXPECT_EQ(0, memcmp(&r, &w, sizeof(r)));
	close(reader);
	close(writer);
}

/* IDLE ends when anybody takes a reference, which page 1 does not show. */
TEST_F(ioctl, query_tells_readers_nothing_of_idle)
{
	const int reader = open_device_reader(), writer = open_device();

	if (!counter_usable())
		SKIP(return, "needs a host that keeps time by the TSC");
	must_set("interval_ms", "50");
	for (int i = 0; i < 5; i++) {
		hold(writer);
		release(writer);
		ASSERT_TRUE(wait_state(writer, PARKCLOCK_IDLE));
		EXPECT_NE(PARKCLOCK_IDLE, query(reader).state);
	}
	close(reader);
	close(writer);
}

/* What a descriptor shows in /proc is of its clock alone. */
TEST_F(ioctl, fdinfo_tells_nothing_of_others)
{
	const int fd = open_device_reader(), other = open_device();
	char path[64], before[1024], after[1024];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	ASSERT_EQ(0, read_file(path, before, sizeof(before)));
	EXPECT_NE(NULL, strstr(before, "holds:\t0"));
	hold(other);
	slow_read(other, CLOCK_TAI);
	EXPECT_EQ(counter_usable() ? PARKCLOCK_ACTIVE : PARKCLOCK_PARKED, query(other).state);
	ASSERT_EQ(0, read_file(path, after, sizeof(after)));
	EXPECT_STREQ(before, after);
	hold(fd);
	ASSERT_EQ(0, read_file(path, after, sizeof(after)));
	EXPECT_NE(NULL, strstr(after, "holds:\t1"));
	close(fd);
	close(other);
}

/* Each change of a good argument, one by one; the clock reads as before. */
TEST_F(ioctl, guest_tsc)
{
	const struct {
		int err;
		struct parkclock_guest_tsc tsc;
	} wrong[] = {
		{ EINVAL, { .ratio = 1ULL << 49, .shift = 49 } },
		{ EINVAL, { .ratio = 1, .shift = 1U << 31 } },
		{ EINVAL, { .ratio = 1, .reserved0 = 1 } },
		{ EINVAL, { .ratio = 1, .reserved0 = 1U << 31 } },
		{ EINVAL, { .ratio = 1, .reserved1 = { 1 } } },
		{ EINVAL, { .ratio = 1, .reserved1 = { 0, 1ULL << 63 } } },
		{ EINVAL, { .offset = 1 } },
		{ EINVAL, { .shift = 1 } },
		{ EINVAL, { .shift = 49 } },
		{ EINVAL, { .disruptions = 1 } },
		{ EINVAL, { .reserved1 = { 0, 1 } } },
		{ ESTALE, { .ratio = 1, .disruptions = 1ULL << 63 } },
		{ ERANGE, { .ratio = 65 } },
		{ ERANGE, { .ratio = (64ULL << 32) + 1, .shift = 32 } },
		{ ERANGE, { .ratio = (1ULL << 26) - 1, .shift = 32 } },
		{ ERANGE, { .ratio = ~0ULL, .shift = 48 } },
		{ ERANGE, { .ratio = ~0ULL } },
		{ ERANGE, { .ratio = 1, .shift = 48 } },
	};
	struct parkclock_guest_tsc good = { .offset = ~0ULL, .ratio = 64ULL << 48, .shift = 48 };
	const struct parkclock_guest_tsc none = { 0 };
	int fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	struct pclock c = { .fd = fd };

	ASSERT_GE(fd, 0);
	c.map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, c.map);
	EXPECT_EQ(EFAULT, error(fd, PARKCLOCK_IOC_SET_GUEST_TSC, 0));
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		EXPECT_EQ(wrong[i].err, error(fd, PARKCLOCK_IOC_SET_GUEST_TSC,
					      POINTER(&wrong[i].tsc))) {
			TH_LOG("argument %zu", i);
		}
	}
	expect_unchanged(_metadata, self);
	EXPECT_EQ(0, __parkclock_clock(c.map)->state & PARKCLOCK_STATE_CONDITIONS);
	good.disruptions = __parkclock_timebase(c.map)->disruptions;
	EXPECT_EQ(0, error(fd, PARKCLOCK_IOC_SET_GUEST_TSC, POINTER(&good)));
	EXPECT_EQ(PARKCLOCK_STATE_GUEST,
		  __parkclock_clock(c.map)->state & PARKCLOCK_STATE_CONDITIONS);
	/* The slow way is for the host, and not about any counter. */
	EXPECT_TRUE(slow_read_is_right(fd, CLOCK_MONOTONIC));
	EXPECT_EQ(0, error(fd, PARKCLOCK_IOC_SET_GUEST_TSC, POINTER(&none)));
	EXPECT_EQ(0, __parkclock_clock(c.map)->state & PARKCLOCK_STATE_CONDITIONS);
	EXPECT_EQ(counter_usable() ? ALL_READERS : 0, readers_with_time(c.map));
	close_clock(&c);
}

TEST_F(ioctl, no_write)
{
	int fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	char buf[8] = { 0 };

	ASSERT_GE(fd, 0);
	EXPECT_EQ(-1, write(fd, buf, sizeof(buf)));
	expect_unchanged(_metadata, self);
	close(fd);
}

TEST_HARNESS_MAIN
