// SPDX-License-Identifier: GPL-2.0
/*
 * What a timer accepts, returns and refuses. Many cases are those of the kernel's and LTP's
 * tests of timerfd, on our descriptors.
 *
 * Checked: TIMER for each clock, from a reader, an owner and a view with and without the right;
 * SET and GET, what they return of the old setting, its number, what is left of it; disarming;
 * absolute and relative, one-shot and with an interval; read() with buffers of each size, with
 * and without waiting, interrupted by a signal; poll(); arguments that must be refused, and
 * change nothing; descriptors are closed at execve(); the limit.
 *
 * Fails if any of these returns, refuses or changes something else than the header says.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
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
#include "lib/wait.h"

static const int ids[] = {
	CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI, CPUTIME
};

FIXTURE(timer) {
	int clock;
	int id;
	int fd;
};

FIXTURE_VARIANT(timer) {
	int id;
};

FIXTURE_VARIANT_ADD(timer, monotonic) { .id = CLOCK_MONOTONIC };
FIXTURE_VARIANT_ADD(timer, realtime) { .id = CLOCK_REALTIME };
FIXTURE_VARIANT_ADD(timer, boottime) { .id = CLOCK_BOOTTIME };
FIXTURE_VARIANT_ADD(timer, tai) { .id = CLOCK_TAI };

FIXTURE_SETUP(timer)
{
	self->clock = open_device();
	self->id = variant->id;
	self->fd = make_timer(self->clock, self->id, NONBLOCK);
}

FIXTURE_TEARDOWN(timer)
{
	close(self->fd);
	close(self->clock);
}

static int64_t now(FIXTURE_DATA(timer) *self)
{
	return slow_read(self->clock, self->id).ns;
}

TEST_F(timer, is_disarmed_at_first)
{
	struct parkclock_timer_state s = get_timer(self->fd);

	EXPECT_EQ(self->id, s.clock_id);
	EXPECT_EQ(0, s.flags);
	EXPECT_EQ(0, s.expiry_ns);
	EXPECT_EQ(0, s.left_ns);
	EXPECT_EQ(0, s.interval_ns);
	EXPECT_EQ(0, s.slack_ns);
	EXPECT_EQ(0, s.number);
	EXPECT_EQ(0, s.expirations);
	EXPECT_EQ(0, s.reserved[0] | s.reserved[1] | s.reserved[2]);
	EXPECT_EQ(0, expirations(self->fd));
	EXPECT_EQ(0, poll_timer(self->fd, 0));
}

TEST_F(timer, relative_once)
{
	int64_t before = now(self);
	struct parkclock_timer_set set = set_timer(self->fd, 0, 20 * MSEC, 0);
	struct parkclock_expired e;

	EXPECT_EQ(1, set.number);
	EXPECT_EQ(0, set.old_left_ns);
	EXPECT_EQ(0, set.old_interval_ns);
	EXPECT_EQ(0, set.old_expirations);
	EXPECT_TRUE(expires(self->fd));
	EXPECT_GE(now(self), before + 20 * MSEC);
	EXPECT_EQ(sizeof(e), try_expired(self->fd, &e));
	EXPECT_EQ(1, e.expirations);
	EXPECT_EQ(1, e.number);
	EXPECT_EQ(-EAGAIN, try_expired(self->fd, &e));
	EXPECT_EQ(0, get_timer(self->fd).expiry_ns);
}

TEST_F(timer, absolute_once)
{
	int64_t at = now(self) + 20 * MSEC;

	set_timer(self->fd, ABSOLUTE, at, 0);
	EXPECT_EQ(at, get_timer(self->fd).expiry_ns);
	EXPECT_EQ(ABSOLUTE, get_timer(self->fd).flags);
	EXPECT_TRUE(expires(self->fd));
	EXPECT_GE(now(self), at);
	EXPECT_EQ(1, expirations(self->fd));
	EXPECT_EQ(0, poll_timer(self->fd, 0));
}

TEST_F(timer, absolute_in_the_past_expires_at_once)
{
	set_timer(self->fd, ABSOLUTE, 1, 0);
	EXPECT_EQ(POLLIN, poll_timer(self->fd, 0));
	EXPECT_EQ(1, expirations(self->fd));

	/* With an interval: as many as would have been since */
	set_timer(self->fd, ABSOLUTE, now(self) - 1000 * MSEC - 1, 100 * MSEC);
	EXPECT_EQ(POLLIN, poll_timer(self->fd, 0));
	EXPECT_GE(expirations(self->fd), 11);
}

TEST_F(timer, interval)
{
	int64_t begin = now(self), n = 0, end;
	struct parkclock_timer_state s;

	set_timer(self->fd, 0, 10 * MSEC, 5 * MSEC);
	while (n < 20) {
		ASSERT_TRUE(expires(self->fd));
		n += expirations(self->fd);
		/* As many as there can have been, and no more */
		EXPECT_LE(10 * MSEC + (n - 1) * 5 * MSEC, now(self) - begin);
	}
	s = get_timer(self->fd);
	end = now(self);
	EXPECT_EQ(5 * MSEC, s.interval_ns);
	EXPECT_LE(s.left_ns, 5 * MSEC);
	EXPECT_GE(s.left_ns, 1);
	/* The next expiry keeps to the raster of the first. */
	EXPECT_EQ(0, (s.expiry_ns - get_timer(self->fd).expiry_ns) % (5 * MSEC));
	sleep_ms(20);
	n += expirations(self->fd);
	EXPECT_GE(n, (end - begin - 10 * MSEC) / (5 * MSEC) + 1);
	set_timer(self->fd, 0, 0, 0);
	EXPECT_EQ(0, poll_timer(self->fd, 15));
}

TEST_F(timer, zero_disarms)
{
	struct parkclock_timer_set set;

	set_timer(self->fd, 0, 30 * MSEC, 10 * MSEC);
	set = set_timer(self->fd, ABSOLUTE, 0, 10 * MSEC);
	EXPECT_GT(set.old_left_ns, 0);
	EXPECT_LE(set.old_left_ns, 30 * MSEC);
	EXPECT_EQ(10 * MSEC, set.old_interval_ns);
	EXPECT_EQ(2, set.number);
	EXPECT_EQ(0, get_timer(self->fd).left_ns);
	EXPECT_EQ(0, poll_timer(self->fd, 60));
	set = set_timer(self->fd, 0, 1, 0);
	EXPECT_EQ(0, set.old_left_ns);
}

TEST_F(timer, tells_of_the_old_setting)
{
	struct parkclock_timer_set set;
	struct parkclock_expired e;

	set_timer(self->fd, 0, HOUR, 7);
	set = set_timer(self->fd, 0, 2 * MSEC, 0);
	EXPECT_EQ(2, set.number);
	EXPECT_EQ(7, set.old_interval_ns);
	EXPECT_GT(set.old_left_ns, HOUR - 60 * NSEC);
	EXPECT_LE(set.old_left_ns, HOUR);
	EXPECT_EQ(0, set.old_expirations);
	EXPECT_TRUE(expires(self->fd));
	/* What was not read is not lost, and not read as the new setting's. */
	set = set_timer(self->fd, 0, 3 * MSEC, 0);
	EXPECT_EQ(3, set.number);
	EXPECT_EQ(1, set.old_expirations);
	EXPECT_EQ(0, set.old_left_ns);
	EXPECT_TRUE(expires(self->fd));
	EXPECT_EQ(sizeof(e), try_expired(self->fd, &e));
	EXPECT_EQ(1, e.expirations);
	EXPECT_EQ(3, e.number);
}

TEST_F(timer, what_is_left)
{
	struct parkclock_timer_state a, b;
	int64_t t[2];

	set_timer(self->fd, 0, HOUR, 0);
	t[0] = now(self);
	a = get_timer(self->fd);
	t[1] = now(self);
	/* A relative timer of REALTIME counts by MONOTONIC, whose readings differ in bound only. */
	if (self->id == CLOCK_MONOTONIC || self->id == CLOCK_BOOTTIME) {
		EXPECT_LE(t[0], a.expiry_ns - a.left_ns);
		EXPECT_GE(t[1], a.expiry_ns - a.left_ns);
	}
	sleep_ms(5);
	b = get_timer(self->fd);
	EXPECT_EQ(a.expiry_ns, b.expiry_ns);
	EXPECT_LE(b.left_ns, a.left_ns - 5 * MSEC);
}

TEST_F(timer, far_away)
{
	static const int64_t values[] = { INT64_MAX, INT64_MAX - 1, PARKCLOCK_MOST_NS };
	struct parkclock_timer_set set;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		for (uint32_t flags = 0; flags < 2; flags++) {
			set = set_timer(self->fd, flags, values[i], values[i]);
			EXPECT_GE(get_timer(self->fd).expiry_ns, values[i]);
			EXPECT_EQ(0, poll_timer(self->fd, 1));
			set = set_timer(self->fd, 0, 0, 0);
			EXPECT_GT(set.old_left_ns, PARKCLOCK_MOST_NS / 4);
		}
	/* Its second expiry is never. */
	set_timer(self->fd, 0, MSEC, INT64_MAX);
	EXPECT_TRUE(expires(self->fd));
	EXPECT_EQ(1, expirations(self->fd));
	EXPECT_EQ(INT64_MAX, get_timer(self->fd).expiry_ns);
	/* So late that it may be never */
	set.flags = 0;
	set.value_ns = HOUR;
	set.slack_ns = INT64_MAX;
	EXPECT_EQ(0, try_set(self->fd, &set));
	EXPECT_EQ(INT64_MAX, get_timer(self->fd).slack_ns);
	EXPECT_EQ(0, poll_timer(self->fd, 1));
}

TEST_F(timer, refuses)
{
	const struct parkclock_timer_state before = get_timer(self->fd);
	struct parkclock_timer_state s;
	struct parkclock_timer_set bad[] = {
		{ .flags = 4, .value_ns = 1 },
		{ .flags = 1U << 31, .value_ns = 1 },
		{ .reserved0 = 1, .value_ns = 1 },
		{ .value_ns = -1 },
		{ .value_ns = INT64_MIN, .flags = ABSOLUTE },
		{ .value_ns = 1, .interval_ns = -1 },
		{ .value_ns = 1, .slack_ns = -1 },
		{ .value_ns = 1, .reserved = { 1 } },
		{ .value_ns = 1, .reserved = { 0, 0, 1 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, try_set(self->fd, &bad[i]))
			TH_LOG("setting %zu", i);
	}
	EXPECT_EQ(-EFAULT, try_set(self->fd, NULL));
	EXPECT_EQ(-EFAULT, try(self->fd, PARKCLOCK_IOC_TIMER_GET, 0));
	for (int i = 0; i < 6; i++) {
		s = before;
		s.clock_id += i == 0;
		s.flags |= i == 1 ? 4 : 0;
		s.expiry_ns = i == 2 ? -1 : 0;
		s.left_ns = i == 3 ? -1 : 0;
		s.interval_ns = i == 4 ? -1 : 0;
		s.reserved[2] = i == 5;
		EXPECT_EQ(-EINVAL, try_state(self->fd, &s))
			TH_LOG("state %d", i);
	}
	/* The requests of a clock */
	EXPECT_EQ(-ENOTTY, try(self->fd, PARKCLOCK_IOC_STOP, 0));
	EXPECT_EQ(-ENOTTY, try(self->fd, PARKCLOCK_IOC_VIEW, 0));
	EXPECT_EQ(-ENOTTY, try(self->clock, PARKCLOCK_IOC_TIMER_GET, (unsigned long)&s));
	s = get_timer(self->fd);
	EXPECT_EQ(0, memcmp(&before, &s, sizeof(s)));
	EXPECT_EQ(0, poll_timer(self->fd, 2));
}

TEST_F(timer, buffers)
{
	char buf[64];
	uint64_t eight;

	set_timer(self->fd, ABSOLUTE, 1, 0);
	for (int size = 0; size < 8; size++) {
		EXPECT_EQ(-1, read(self->fd, buf, size));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(-1, syscall(SYS_read, self->fd, NULL, 16));
	EXPECT_EQ(EFAULT, errno);
	/* Nothing of this has taken it. */
	EXPECT_EQ(8, read(self->fd, &eight, 8));
	EXPECT_EQ(1, eight);
	for (size_t size = 8; size <= sizeof(buf); size++) {
		set_timer(self->fd, ABSOLUTE, 1, 0);
		memset(buf, 0x55, sizeof(buf));
		EXPECT_EQ(size < 16 ? 8 : 16, read(self->fd, buf, size));
		EXPECT_EQ(1, buf[0]);
		EXPECT_EQ(0x55, buf[size < 16 ? 8 : 16]);
	}
	EXPECT_EQ(-1, read(self->fd, buf, sizeof(buf)));
	EXPECT_EQ(EAGAIN, errno);
	EXPECT_EQ(-1, write(self->fd, buf, 8));
	EXPECT_EQ(-1, lseek(self->fd, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
}

static void *set_soon(void *fd)
{
	sleep_ms(20);
	set_timer(*(int *)fd, 0, 5 * MSEC, 0);
	return NULL;
}

TEST_F(timer, read_waits)
{
	int fd = make_timer(self->clock, self->id, 0);
	int64_t before = now(self);
	struct parkclock_expired e;
	pthread_t other;

	/* For a timer that is set meanwhile, too */
	ASSERT_EQ(0, pthread_create(&other, NULL, set_soon, &fd));
	EXPECT_EQ(16, try_expired(fd, &e));
	EXPECT_EQ(1, e.expirations);
	EXPECT_EQ(1, e.number);
	EXPECT_GE(now(self), before + 25 * MSEC);
	pthread_join(other, NULL);

	set_timer(fd, 0, 10 * MSEC, 0);
	EXPECT_EQ(16, try_expired(fd, &e));
	EXPECT_EQ(2, e.number);

	/* What a signal ends has taken nothing. */
	fcntl(fd, F_SETFL, O_NONBLOCK);
	EXPECT_EQ(-EAGAIN, try_expired(fd, &e));
	close(fd);
}

static void on_signal(int signal)
{
	(void)signal;
}

TEST_F(timer, a_signal_ends_read)
{
	const struct itimerval soon = { .it_interval = { 0, 5000 }, .it_value = { 0, 5000 } };
	const struct itimerval never = {};
	struct sigaction action = { .sa_handler = on_signal };
	int fd = make_timer(self->clock, self->id, 0);
	struct parkclock_expired e;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	EXPECT_EQ(-EINTR, try_expired(fd, &e));
	setitimer(ITIMER_REAL, &never, NULL);
	close(fd);
}

TEST_F(timer, restores_itself)
{
	struct parkclock_timer_state a, b;
	int other = make_timer(self->clock, self->id, NONBLOCK);

	set_timer(self->fd, 0, HOUR, 3 * HOUR);
	a = get_timer(self->fd);
	b = a;
	EXPECT_EQ(0, try_state(other, &b));
	EXPECT_EQ(1, b.number);
	b = get_timer(other);
	EXPECT_EQ(a.expiry_ns, b.expiry_ns);
	EXPECT_GE(a.left_ns, b.left_ns);
	EXPECT_EQ(3 * HOUR, b.interval_ns);
	EXPECT_EQ(0, b.flags);
	/* With what nobody has read */
	b.expirations = 5;
	EXPECT_EQ(0, try_state(other, &b));
	EXPECT_EQ(POLLIN, poll_timer(other, 0));
	EXPECT_EQ(5, expirations(other));
	EXPECT_EQ(a.expiry_ns, get_timer(other).expiry_ns);
	/* What was due meanwhile expires at once. */
	a.expiry_ns = now(self) - 1;
	a.flags = ABSOLUTE;
	EXPECT_EQ(0, try_state(other, &a));
	EXPECT_EQ(1, expirations(other));
	a.expiry_ns = 0;
	EXPECT_EQ(0, try_state(other, &a));
	EXPECT_EQ(0, get_timer(other).left_ns);
	close(other);
}

TEST(which_clocks_and_who)
{
	int owner = open_device(), reader = open_device_reader();
	int view = try(owner, PARKCLOCK_IOC_VIEW, 0);
	int with = try(owner, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_TIMERS);
	struct parkclock_timer arg = { .clock_id = CLOCK_MONOTONIC, .reserved = { 0, 1 } };

	ASSERT_GE(view, 0);
	ASSERT_GE(with, 0);
	EXPECT_EQ(-EINVAL, try(owner, PARKCLOCK_IOC_VIEW, 4));
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		int fds[] = { try_timer(owner, ids[i], 0), try_timer(reader, ids[i], 0),
			      try_timer(with, ids[i], NONBLOCK) };

		for (size_t j = 0; j < ARRAY_SIZE(fds); j++) {
			ASSERT_GE(fds[j], 0);
			EXPECT_EQ(FD_CLOEXEC, fcntl(fds[j], F_GETFD));
			EXPECT_EQ(j == 2 ? O_NONBLOCK : 0, fcntl(fds[j], F_GETFL) & O_NONBLOCK);
			EXPECT_EQ(ids[i], get_timer(fds[j]).clock_id);
			close(fds[j]);
		}
		EXPECT_EQ(-EPERM, try_timer(view, ids[i], 0));
	}
	for (int id = -8; id < 64; id++)
		if (id != 0 && id != 1 && id != 7 && id != 11)
			EXPECT_EQ(-EINVAL, try_timer(owner, id, 0));
	EXPECT_EQ(-EINVAL, try_timer(owner, CPUTIME + 1, 0));
	EXPECT_EQ(-EINVAL, try_timer(owner, 1, 2));
	EXPECT_EQ(-EINVAL, try(owner, PARKCLOCK_IOC_TIMER, (unsigned long)&arg));
	EXPECT_EQ(-EFAULT, try(owner, PARKCLOCK_IOC_TIMER, 0));
	close(with);
	close(view);
	close(reader);
	close(owner);
}

TEST(a_clock_with_a_timer_is_not_fresh)
{
	int clock = open_fresh();

	close(make_timer(clock, CLOCK_TAI, 0));
	EXPECT_EQ(-EBUSY, try(clock, PARKCLOCK_IOC_EPOCH, 0));
	close(clock);
}

TEST(cpu_timers_have_no_discontinuities)
{
	int clock = open_device(), fd = make_timer(clock, CPUTIME, NONBLOCK);
	struct parkclock_timer_set set = { .flags = CANCEL, .value_ns = 1 };
	struct parkclock_timer_state state = { .clock_id = CPUTIME, .flags = CANCEL };

	EXPECT_EQ(-EINVAL, try_set(fd, &set));
	EXPECT_EQ(-EINVAL, try_state(fd, &state));
	EXPECT_EQ(0, get_timer(fd).number);
	close(fd);
	close(clock);
}

static struct parkclock_limit timers_used(int clock)
{
	struct parkclock_limits l;

	must(clock, PARKCLOCK_IOC_LIMITS, (unsigned long)&l);
	return l.limit[PARKCLOCK_LIMIT_TIMERS];
}

TEST(limit)
{
	int clock = open_device(), fds[8];
	const uint32_t used = timers_used(clock).host_used;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = make_timer(clock, ids[i % ARRAY_SIZE(ids)], 0);
	EXPECT_EQ(used + ARRAY_SIZE(fds), timers_used(clock).host_used);
	/* Root has the host's limit only. */
	must_set("host_timers", "8");
	EXPECT_EQ(-ENFILE, try_timer(clock, CLOCK_MONOTONIC, 0));
	close(fds[3]);
	fds[3] = try_timer(clock, CPUTIME, 0);
	EXPECT_GE(fds[3], 0);
	must_set("host_timers", "262144");
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	EXPECT_EQ(used, timers_used(clock).host_used);
	/* A failure later on gives it back. */
	EXPECT_EQ(-EINVAL, try_timer(clock, 99, 0));
	EXPECT_EQ(used, timers_used(clock).host_used);
	close(clock);
}

TEST_HARNESS_MAIN
