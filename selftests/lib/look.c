// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include "clocksource.h"
#include "host_clock.h"
#include "look.h"
#include "page.h"

bool within_bound(const struct parkclock_reading *r, int64_t t0, int64_t t1)
{
	return r->ns >= t0 - (int64_t)r->error_ns && r->ns <= t1 + (int64_t)r->error_ns;
}

static void print_reading(const struct parkclock_reading *r, int id, const char *way,
			  int64_t t0, int64_t t1)
{
	fprintf(stderr, "# clock %d by %s: %lld +- %llu, clock_gettime %lld to %lld\n", id, way,
		(long long)r->ns, (unsigned long long)r->error_ns, (long long)t0, (long long)t1);
}

bool slow_read_is_right(int fd, int clock_id)
{
	int64_t t0 = now_ns(clock_id);
	struct parkclock_reading r = slow_read(fd, clock_id);
	int64_t t1 = now_ns(clock_id);

	if (within_bound(&r, t0, t1))
		return true;
	print_reading(&r, clock_id, "READ", t0, t1);
	return false;
}

enum seen look(const struct pclock *c, int id, bool by_page, struct parkclock_reading *r)
{
	const uint64_t epoch = page_epoch(c->map);
	int64_t t0, t1;

	t0 = kernel_ns(id);
	if (!by_page)
		*r = slow_read(c->fd, id);
	else if (parkclock_page_read_bound(c->map, id, r) == PARKCLOCK_EXPIRED)
		return REFUSED;
	t1 = kernel_ns(id);
	if (page_epoch(c->map) != epoch)
		return CHANGED;
	if (within_bound(r, t0, t1))
		return RIGHT;
	print_reading(r, id, by_page ? "page" : "READ", t0, t1);
	return WRONG;
}

enum seen look_again(const struct pclock *c, int id, bool by_page)
{
	struct parkclock_reading r;
	enum seen seen;

	do
		seen = look(c, id, by_page, &r);
	while (seen == CHANGED);
	return seen;
}

bool right_now(const struct pclock *c)
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

bool right_when_held(const struct pclock *c)
{
	bool right;

	hold(c->fd);
	right = right_now(c);
	release(c->fd);
	return right;
}
