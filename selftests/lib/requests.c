// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "die.h"
#include "random.h"
#include "requests.h"

#define REQUEST(name, writer, ...) { #name, PARKCLOCK_IOC_##name, writer, { __VA_ARGS__ } }

/* Besides what do_call() knows of all: EFAULT of pointers, and what rights are missing. */
const struct request requests[] = {
	REQUEST(QUERY, false, 0),
	REQUEST(READ, false, EINVAL, ENODATA),
	REQUEST(HOLD, false, EINVAL, EOVERFLOW, EDQUOT, ENFILE),
	REQUEST(RELEASE, false, EINVAL, ENOENT),
	REQUEST(REGISTER, true, EINVAL, ESRCH, EPERM, EEXIST, ENOSPC, EMLINK, EDQUOT, ENFILE,
		ENOMEM, EINTR, EOPNOTSUPP),
	REQUEST(UNREGISTER, true, EINVAL, ESRCH, ENOENT, EINTR),
	REQUEST(ACCURACY, true, 0),
	REQUEST(EPOCH, true, EINVAL, EBUSY),
	REQUEST(OFFSETS, true, EINVAL, EBUSY, ERANGE),
	REQUEST(STOP, true, EINVAL, EALREADY),
	REQUEST(START, true, EINVAL, EALREADY),
	REQUEST(SAVE, true, 0),
	REQUEST(RESTORE, true, EINVAL, EBADMSG, EBUSY, EOPNOTSUPP, ERANGE),
	REQUEST(VIEW, false, EINVAL, EMFILE, EDQUOT, ENFILE, ENOMEM),
	REQUEST(SET_GUEST_TSC, true, EINVAL, ERANGE, ESTALE),
	REQUEST(VMCLOCK, true, EINVAL, EALREADY, EDQUOT, ENFILE, ENOMEM),
	REQUEST(LIMITS, false, 0),
	REQUEST(TIMER, false, EINVAL, EPERM, EMFILE, EDQUOT, ENFILE, ENOMEM),
	REQUEST(TIMER_SET, false, EINVAL),
	REQUEST(TIMER_GET, false, 0),
	REQUEST(TIMER_RESTORE, false, EINVAL),
	REQUEST(REGISTER_CGROUP, true, EBADF, EINVAL, EACCES, EPERM, EROFS, ENOENT, EEXIST, E2BIG,
		EMLINK, EDQUOT, ENFILE, ENOMEM, EINTR, EOPNOTSUPP),
	REQUEST(UNREGISTER_CGROUP, true, EBADF, EINVAL, ENOENT, EINTR, EOPNOTSUPP),
	{ .name = NULL }
};

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

char *make_edge(void)
{
	char *p = mmap(NULL, 2 * PARKCLOCK_PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || mprotect(p + PARKCLOCK_PAGE_SIZE, PARKCLOCK_PAGE_SIZE, PROT_NONE))
		die("mmap");
	return p + PARKCLOCK_PAGE_SIZE;
}

/* True once in so many times */
static bool once_in(uint64_t *seed, unsigned int times)
{
	return (rnd(seed) >> 20) % times == 0;
}

static uint64_t upto(uint64_t *seed, uint64_t limit)
{
	return (rnd(seed) >> 12) % limit;
}

/* Numbers at which something may change, and any others */
static uint64_t number(uint64_t *seed)
{
	static const uint64_t corners[] = {
		0, 1, 2, 3, 4, 48, 49, 63, 64, 1ULL << 31, 1ULL << 32, 1ULL << 48, 1ULL << 62,
		1ULL << 63, ~0ULL
	};
	const uint64_t n = corners[upto(seed, ARRAY_SIZE(corners))];

	switch (upto(seed, 4)) {
	case 0:
		return n;
	case 1:
		return n + upto(seed, 5) - 2;
	case 2:
		return upto(seed, 1000000000000);
	default:
		return rnd(seed) >> upto(seed, 64);
	}
}

static int32_t tid(uint64_t *seed, const struct surroundings *s)
{
	switch (upto(seed, 8)) {
	case 0:
		return (int32_t)number(seed);
	case 1:
		return 0;
	default:
		return s->tids[upto(seed, ARRAY_SIZE(s->tids))];
	}
}

static void make_guest(struct parkclock_guest_tsc *g, uint64_t *seed, const struct surroundings *s)
{
	if (once_in(seed, 4))
		return;		/* there is no guest any more */
	g->offset = number(seed);
	g->shift = upto(seed, 50);
	g->ratio = once_in(seed, 4) ? number(seed) : 1ULL << g->shift;
	g->disruptions = once_in(seed, 8) ? number(seed) : s->disruptions;
}

static void make_restore(struct parkclock_restore *r, uint64_t *seed, const struct surroundings *s)
{
	r->saved = s->saved;
	r->gap = 1 + upto(seed, 2);
	/* The checksum finds most of what is changed here. */
	if (once_in(seed, 3))
		((char *)&r->saved)[upto(seed, sizeof(r->saved))] = rnd(seed) >> 8;
}

/* A good argument of the request; its structure, or false if it is a value. */
static bool make_argument(struct call *c, uint64_t *seed, const struct surroundings *s)
{
	static const int ids[] = { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI };

	switch (c->what->number) {
	case PARKCLOCK_IOC_READ:
		c->in.read.clock_id = once_in(seed, 8) ? (int)number(seed) : ids[upto(seed, 4)];
		return true;
	case PARKCLOCK_IOC_REGISTER:
	case PARKCLOCK_IOC_UNREGISTER:
		c->in.reg.tid = tid(seed, s);
		c->in.reg.flags = upto(seed, c->what->number == PARKCLOCK_IOC_REGISTER ? 4 : 2);
		return true;
	case PARKCLOCK_IOC_REGISTER_CGROUP:
	case PARKCLOCK_IOC_UNREGISTER_CGROUP:
		c->in.cgroup.fd = once_in(seed, 4) ? (int)number(seed) : (int)upto(seed, 64);
		return true;
	case PARKCLOCK_IOC_OFFSETS:
		c->in.offsets.monotonic_ns = number(seed);
		c->in.offsets.boottime_ns = number(seed);
		return true;
	case PARKCLOCK_IOC_RESTORE:
		make_restore(&c->in.restore, seed, s);
		return true;
	case PARKCLOCK_IOC_SET_GUEST_TSC:
		make_guest(&c->in.guest, seed, s);
		return true;
	case PARKCLOCK_IOC_VIEW:
		c->value = upto(seed, 2);
		return false;
	case PARKCLOCK_IOC_TIMER:
		c->in.timer.clock_id = once_in(seed, 4) ? PARKCLOCK_CPUTIME_ID : ids[upto(seed, 4)];
		c->in.timer.flags = upto(seed, 2);
		return true;
	case PARKCLOCK_IOC_TIMER_SET:
		c->in.set.flags = upto(seed, 4);
		c->in.set.value_ns = number(seed) >> 1;
		c->in.set.interval_ns = once_in(seed, 2) ? 0 : number(seed) >> 1;
		c->in.set.slack_ns = once_in(seed, 2) ? 0 : number(seed) >> 1;
		return true;
	case PARKCLOCK_IOC_TIMER_RESTORE:
		c->in.state.clock_id = once_in(seed, 4) ? PARKCLOCK_CPUTIME_ID : ids[upto(seed, 4)];
		c->in.state.flags = upto(seed, 4);
		c->in.state.expiry_ns = number(seed) >> 1;
		c->in.state.left_ns = number(seed) >> 1;
		c->in.state.interval_ns = once_in(seed, 2) ? 0 : number(seed) >> 1;
		c->in.state.expirations = number(seed);
		return true;
	case PARKCLOCK_IOC_START:
		c->value = 1 + upto(seed, 2);
		return false;
	case PARKCLOCK_IOC_VMCLOCK:
		c->value = ids[upto(seed, 2)];
		return false;
	default:
		return _IOC_SIZE(c->what->number);
	}
}

/* Memory that cannot be accessed, wholly or from some byte on */
static unsigned long bad_pointer(uint64_t *seed, size_t size, const struct surroundings *s)
{
	static const unsigned long wild[] = {
		0, 8, 1UL << 46, 0x800000000000UL, 1UL << 63, ~7UL, ~0UL
	};

	if (once_in(seed, 2))
		return wild[upto(seed, ARRAY_SIZE(wild))];
	return (unsigned long)s->edge - upto(seed, size);
}

void make_call_of(struct call *c, const struct request *what, uint64_t *seed,
		  const struct surroundings *s)
{
	const size_t size = _IOC_SIZE(what->number);

	memset(c, 0, sizeof(*c));
	c->what = what;
	c->number = what->number;
	c->pointer = make_argument(c, seed, s);
	if (once_in(seed, 8)) {
		if (!c->pointer)
			c->value = number(seed);
		else if (once_in(seed, 2))
			c->in.bytes[upto(seed, size)] = rnd(seed) >> 8;
		else
			c->fault = true;
	}
	if (c->fault)
		c->value = bad_pointer(seed, size, s);
}

void make_call(struct call *c, uint64_t *seed, const struct surroundings *s)
{
	const struct request *what = &requests[upto(seed, ARRAY_SIZE(requests) - 1)];

	make_call_of(c, what, seed, s);
	if (!once_in(seed, 16))
		return;
	/* Another direction, size, number or type: nobody's, as a rule */
	c->number ^= 1UL << upto(seed, 32);
	c->what = NULL;
	for (what = requests; what->name; what++)
		if (what->number == c->number)
			c->what = what;
}

int do_call(int fd, struct call *c, const struct surroundings *s)
{
	if (c->fault && c->value < (unsigned long)s->edge &&
	    c->value >= (unsigned long)s->edge - sizeof(c->in))
		memcpy((char *)c->value, &c->in, (unsigned long)s->edge - c->value);
	memcpy(&c->out, &c->in, sizeof(c->out));
	if (c->pointer && !c->fault)
		c->value = (unsigned long)&c->out;
	c->ret = ioctl(fd, c->number, c->value);
	if (c->ret < 0)
		c->ret = -errno;
	return c->ret;
}

const char *wrong_result(const struct call *c, enum access access)
{
	const bool of_timers = c->number == PARKCLOCK_IOC_TIMER_SET ||
			       c->number == PARKCLOCK_IOC_TIMER_GET ||
			       c->number == PARKCLOCK_IOC_TIMER_RESTORE;
	const bool known = c->what && of_timers == (access == TIMER) &&
			   (access != VIEW || c->number == PARKCLOCK_IOC_READ ||
			    c->number == PARKCLOCK_IOC_TIMER);

	if (access == WRITE_ONLY)
		return c->ret == -EBADF ? NULL : "not EBADF without read access";
	if (!known)
		return c->ret == -ENOTTY ? NULL : "not ENOTTY for what it does not know";
	if (c->what->writer && access != WRITER)
		return c->ret == -EPERM ? NULL : "not EPERM without write access";
	/* Some views have the right to that, and some do not. */
	if (access == VIEW && c->number == PARKCLOCK_IOC_TIMER && c->ret == -EPERM)
		return NULL;
	if (c->fault)
		return c->ret == -EFAULT ? NULL : "not EFAULT for a bad pointer";
	if (c->ret >= 0)
		return c->ret && c->number != PARKCLOCK_IOC_VIEW &&
		       c->number != PARKCLOCK_IOC_TIMER ? "more than 0" : NULL;
	for (int i = 0; c->what->errors[i]; i++)
		if (c->ret == -c->what->errors[i])
			/* A call that fails has changed nothing. */
			return c->pointer && memcmp(&c->in, &c->out, sizeof(c->in)) ?
			       "an argument was changed by a call that failed" : NULL;
	return "an errno that it must not have";
}

const char *try_out_timer(int fd, uint64_t *seed, const struct surroundings *s, struct call *of)
{
	struct pollfd poll_it = { .fd = fd, .events = POLLIN };
	const char *wrong = NULL;
	char expired[16];

	for (unsigned int n = upto(seed, 8); n && !wrong; n--) {
		make_call(of, seed, s);
		do_call(fd, of, s);
		wrong = wrong_result(of, TIMER);
	}
	/* Whether it waits or not: what has expired by now is there. */
	if (poll(&poll_it, 1, 0) == 1 && read(fd, expired, 8 + upto(seed, 9)) < 0 &&
	    errno != ECANCELED)
		wrong = "poll() has promised what read() has not";
	close(fd);
	return wrong;
}
