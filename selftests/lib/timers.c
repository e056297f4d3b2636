// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "die.h"
#include "owner.h"
#include "timers.h"
#include "wait.h"

int try_timer(int clock, int id, uint32_t flags)
{
	struct parkclock_timer arg = { .clock_id = id, .flags = flags };

	return try(clock, PARKCLOCK_IOC_TIMER, (unsigned long)&arg);
}

int try_set(int timer, struct parkclock_timer_set *to)
{
	return try(timer, PARKCLOCK_IOC_TIMER_SET, (unsigned long)to);
}

int try_state(int timer, struct parkclock_timer_state *from)
{
	return try(timer, PARKCLOCK_IOC_TIMER_RESTORE, (unsigned long)from);
}

int try_expired(int timer, struct parkclock_expired *out)
{
	int ret = read(timer, out, sizeof(*out));

	return ret < 0 ? -errno : ret;
}

int make_timer(int clock, int id, uint32_t flags)
{
	int timer = try_timer(clock, id, flags);

	if (timer < 0)
		die_of(timer, "PARKCLOCK_IOC_TIMER");
	return timer;
}

struct parkclock_timer_set set_timer(int timer, uint32_t flags, int64_t value, int64_t interval)
{
	struct parkclock_timer_set to = {
		.flags = flags, .value_ns = value, .interval_ns = interval
	};
	int err = try_set(timer, &to);

	if (err)
		die_of(err, "PARKCLOCK_IOC_TIMER_SET");
	return to;
}

struct parkclock_timer_state get_timer(int timer)
{
	struct parkclock_timer_state state;

	/* Whatever the kernel does not fill in is seen. */
	memset(&state, 0xff, sizeof(state));
	must(timer, PARKCLOCK_IOC_TIMER_GET, (unsigned long)&state);
	return state;
}

uint64_t expirations(int timer)
{
	struct parkclock_expired out;
	int ret = try_expired(timer, &out);

	if (ret == -EAGAIN)
		return 0;
	if (ret != sizeof(out))
		die_of(ret, "read of a timer");
	return out.expirations;
}

int poll_timer(int timer, int ms)
{
	struct pollfd p = { .fd = timer, .events = POLLIN };

	if (poll(&p, 1, ms) < 0)
		die("poll");
	return p.revents;
}

bool expires(int timer)
{
	return poll_timer(timer, PATIENCE_MS) & POLLIN;
}
