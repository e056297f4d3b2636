// SPDX-License-Identifier: GPL-2.0
/*
 * Random operations on random descriptors, beside a model that knows what must come of them.
 *
 * A sequence of operations begins with nothing open, and all that it does follows from its
 * seed: opening, closing, duplicating, views, every ioctl with good and wrong arguments (see
 * lib/requests.c), mapping, unmapping and protecting, reading, polling, children that are
 * registered and killed, and parameters.
 *
 * Checked, after each operation: the errno is one that the header has, a right that is missing
 * is refused, and a call that fails leaves its argument alone. HOLD, RELEASE, STOP, START, READ
 * and QUERY return what the model expects. A reader gets no time from a clock that is stopped,
 * or while the updater is; no reading is less than an earlier one of its clock. At the end of a
 * sequence all is closed, and nobody holds or is registered.
 *
 * Fails if any of that is not so, and says by which seed the sequence is repeated:
 *
 *	make check TESTS=fuzz VM_CMDLINE="FUZZ_SEED=123 OPERATIONS=1"	this one again
 *	make check TESTS=fuzz VM_CMDLINE=OPERATIONS=1000000		many
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/requests.h"
#include "lib/updater.h"

#define OPERATIONS	50000	/* all in all; BRIEF=1 does a tenth */
#define LENGTH		500	/* of a sequence */
#define CLOCKS		32	/* that a sequence can open, one after another */
#define FDS		16
#define MAPS		8
#define CHILDREN	2

/* What the model knows of a clock, */
struct clock {
	bool stopped;
	bool guest;
	unsigned int holds;
	int64_t latest;		/* the largest MONOTONIC that was read */
};

/* of an open file, its owner's or a view, */
struct file {
	struct clock *clock;	/* NULL if there is no such file */
	enum access access;
	int users;		/* descriptors and mappings */
};

/* of a descriptor and of a mapping */
struct fd {
	int fd;
	struct file *file;
};

struct map {
	char *map;		/* NULL if there is none */
	struct file *file;
};

static struct {
	uint64_t seed;
	struct clock clocks[CLOCKS];
	struct file files[CLOCKS * 2];
	int clocks_used, files_used;
	struct fd fds[FDS];
	int fds_used;
	struct map maps[MAPS];
	pid_t children[CHILDREN];
	bool disabled;
	struct surroundings around;
	const char *bug;
	char details[256];
} f;

/* Of all sequences: that something was done is what a run is worth. */
static struct {
	unsigned long long calls, worked, readings, refused;
} tally;

static int host;	/* outside of all sequences */

static unsigned int upto(unsigned int limit)
{
	return (rnd(&f.seed) >> 16) % limit;
}

/* The first one counts: what comes after it may be its consequence. */
static void __attribute__((__format__(__printf__, 2, 3)))
bug(const char *what, const char *fmt, ...)
{
	va_list args;

	if (f.bug)
		return;
	f.bug = what;
	va_start(args, fmt);
	vsnprintf(f.details, sizeof(f.details), fmt, args);
	va_end(args);
}

static struct file *new_file(struct clock *clock, enum access access)
{
	struct file *file = &f.files[f.files_used++];

	*file = (struct file){ .clock = clock, .access = access, .users = 1 };
	return file;
}

/* The last user of an owner's file takes what it held along. */
static void leave(struct file *file)
{
	if (!--file->users && file->access != VIEW)
		file->clock->holds = 0;
}

static bool room(void)
{
	return f.fds_used < FDS && f.files_used < CLOCKS * 2 && f.clocks_used < CLOCKS;
}

static void open_one(void)
{
	static const int flags[] = {
		O_RDONLY, O_RDONLY, O_RDWR, O_RDWR, O_RDWR, O_RDWR, O_RDWR, O_WRONLY
	};
	static const enum access accesses[] = {
		READER, READER, WRITER, WRITER, WRITER, WRITER, WRITER, WRITE_ONLY
	};
	const int i = upto(8);
	int fd;

	if (!room())
		return;
	fd = open(PARKCLOCK_DEVICE, flags[i] | O_CLOEXEC);
	if (fd < 0) {
		bug("open", "errno %d", errno);
		return;
	}
	f.clocks[f.clocks_used] = (struct clock){ 0 };
	f.fds[f.fds_used++] = (struct fd){
		fd, new_file(&f.clocks[f.clocks_used++], accesses[i])
	};
}

static void close_at(int i)
{
	if (close(f.fds[i].fd))
		bug("close", "errno %d", errno);
	leave(f.fds[i].file);
	f.fds[i] = f.fds[--f.fds_used];
}

static void duplicate(struct fd *of)
{
	int fd;

	if (!room())
		return;
	fd = fcntl(of->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0) {
		bug("dup", "errno %d", errno);
		return;
	}
	of->file->users++;
	f.fds[f.fds_used++] = (struct fd){ fd, of->file };
}

/* What the model says that a call with a good argument returns; 1 if it does not know */
static int expected(const struct call *c, const struct clock *clock)
{
	switch (c->number) {
	case PARKCLOCK_IOC_HOLD:
		return c->value ? -EINVAL : clock->holds == PARKCLOCK_HOLD_MAX ? -EOVERFLOW : 0;
	case PARKCLOCK_IOC_RELEASE:
		return c->value ? -EINVAL : clock->holds ? 0 : -ENOENT;
	case PARKCLOCK_IOC_STOP:
		return c->value ? -EINVAL : clock->stopped ? -EALREADY : 0;
	case PARKCLOCK_IOC_START:
		if (c->value != PARKCLOCK_GAP_INCLUDE && c->value != PARKCLOCK_GAP_FREEZE)
			return -EINVAL;
		return clock->stopped ? 0 : -EALREADY;
	case PARKCLOCK_IOC_READ:
		if (c->in.read.flags || c->in.read.reserved[0] || c->in.read.reserved[1] ||
		    c->in.read.reserved[2] || parkclock_index(c->in.read.clock_id) < 0)
			return -EINVAL;
		return clock->stopped ? -ENODATA : 0;
	case PARKCLOCK_IOC_QUERY:
	case PARKCLOCK_IOC_ACCURACY:
	case PARKCLOCK_IOC_SAVE:
		return 0;
	default:
		return 1;
	}
}

static void has_read(struct clock *clock, int64_t ns, const char *how)
{
	if (ns < clock->latest)
		bug("MONOTONIC has gone back", "by %s: %lld after %lld", how, (long long)ns,
		    (long long)clock->latest);
	clock->latest = ns;
	tally.readings++;
}

static void check_query(const struct file *file, const struct parkclock_query *q)
{
	const bool reader = file->access == READER;

	if (q->holds != file->clock->holds)
		bug("QUERY", "holds %llu, not %u", q->holds, file->clock->holds);
	if (!!(q->flags & PARKCLOCK_CLOCK_STOPPED) != file->clock->stopped)
		bug("QUERY", "flags %#x, stopped %d", q->flags, file->clock->stopped);
	if (!!(q->flags & PARKCLOCK_HOST_HIDDEN) != reader)
		bug("QUERY", "flags %#x of access %d", q->flags, file->access);
	if (reader && (q->references | q->all_tasks | q->slow_reads | q->wakes))
		bug("QUERY", "a reader is told of others");
}

/* There is a new timer. */
static void use_timer(int fd)
{
	struct call c = {};
	const char *wrong = try_out_timer(fd, &f.seed, &f.around, &c);

	if (wrong)
		bug(wrong, "%s %#lx: %d, of a timer", c.what ? c.what->name : "?", c.number, c.ret);
}

/* The call has worked. */
static void worked(const struct call *c, struct file *file)
{
	struct clock *clock = file->clock;

	tally.worked++;
	switch (c->number) {
	case PARKCLOCK_IOC_HOLD:
		clock->holds++;
		break;
	case PARKCLOCK_IOC_RELEASE:
		clock->holds--;
		break;
	case PARKCLOCK_IOC_SAVE:
		f.around.saved = c->out.saved;
		clock->stopped = true;
		break;
	case PARKCLOCK_IOC_STOP:
		clock->stopped = true;
		break;
	case PARKCLOCK_IOC_START:
		clock->stopped = false;
		break;
	case PARKCLOCK_IOC_SET_GUEST_TSC:
		clock->guest = c->in.guest.ratio;
		break;
	case PARKCLOCK_IOC_QUERY:
		check_query(file, &c->out.query);
		break;
	case PARKCLOCK_IOC_READ:
		if (c->out.read.reading.ns < 0)
			bug("READ", "%lld", c->out.read.reading.ns);
		if (c->in.read.clock_id == CLOCK_MONOTONIC)
			has_read(clock, c->out.read.reading.ns, "READ");
		break;
	case PARKCLOCK_IOC_TIMER:
		use_timer(c->ret);
		break;
	case PARKCLOCK_IOC_VIEW:
		if (room())
			f.fds[f.fds_used++] = (struct fd){ c->ret, new_file(clock, VIEW) };
		else
			close(c->ret);
		break;
	}
}

static void call(struct fd *fd)
{
	const char *wrong;
	struct call c;
	int must;

	make_call(&c, &f.seed, &f.around);
	must = expected(&c, fd->file->clock);
	do_call(fd->fd, &c, &f.around);
	tally.calls++;
	wrong = wrong_result(&c, fd->file->access);
	if (wrong)
		bug(wrong, "%s %#lx: %d", c.what ? c.what->name : "no request", c.number, c.ret);
	/* What is refused for lack of a right, or of an argument, was compared above. */
	if (c.ret == -EPERM || c.ret == -EBADF || c.ret == -ENOTTY || c.ret == -EFAULT)
		tally.refused++;
	else if (must <= 0 && c.ret != must)
		bug("not what the model expects", "%s: %d, not %d", c.what ? c.what->name : "?",
		    c.ret, must);
	else if (c.ret >= 0 && c.what)
		worked(&c, fd->file);
}

static void map_at(struct map *m, struct fd *fd)
{
	static const int prots[] = { PROT_READ, PROT_READ, PROT_READ | PROT_WRITE, PROT_EXEC };
	const size_t size = PARKCLOCK_PAGE_SIZE * (upto(4) ? 2 : 1 + upto(4));
	const off_t offset = upto(4) ? 0 : PARKCLOCK_PAGE_SIZE * upto(4);
	const int prot = prots[upto(4)];
	char *map;

	if (m->map)
		return;
	map = mmap(NULL, size, prot, upto(4) ? MAP_SHARED : MAP_PRIVATE, fd->fd, offset);
	if (map == MAP_FAILED) {
		if (errno != EINVAL && errno != EACCES && errno != EPERM && errno != ENXIO)
			bug("mmap", "errno %d", errno);
		return;
	}
	if (prot != PROT_READ || fd->file->access == WRITE_ONLY)
		bug("mmap", "prot %d, access %d", prot, fd->file->access);
	if (offset || size != PARKCLOCK_MAP_SIZE) {
		/* A VMClock page */
		munmap(map, size);
		return;
	}
	fd->file->users++;
	*m = (struct map){ map, fd->file };
}

static void unmap_at(struct map *m)
{
	munmap(m->map, PARKCLOCK_MAP_SIZE);
	leave(m->file);
	m->map = NULL;
}

static void read_at(struct map *m)
{
	struct clock *clock = m->file->clock;
	const int64_t ns = parkclock_page_read(m->map, CLOCK_MONOTONIC);
	const bool is_stopped = ns == PARKCLOCK_IS_STOPPED;

	if (ns >= 0 && (clock->stopped || clock->guest || f.disabled))
		bug("a time from the page", "stopped %d, guest %d, disabled %d", clock->stopped,
		    clock->guest, f.disabled);
	if (clock->stopped != is_stopped)
		bug("the page", "%lld, stopped %d", (long long)ns, clock->stopped);
	if (ns >= 0)
		has_read(clock, ns, "page");
	if (!mprotect(m->map, PARKCLOCK_MAP_SIZE, upto(2) ? PROT_READ | PROT_WRITE :
							     PROT_READ | PROT_EXEC))
		bug("mprotect", "has worked");
}

static void read_and_poll(const struct fd *fd)
{
	struct pollfd p = { .fd = fd->fd, .events = POLLIN | POLLOUT | POLLHUP };
	uint64_t generation;
	ssize_t n;

	if (poll(&p, 1, 0) < 0 || p.revents & ~(POLLIN | POLLRDNORM))
		bug("poll", "%#x", p.revents);
	n = read(fd->fd, &generation, upto(16));
	if (n >= 0 && n != sizeof(generation))
		bug("read", "%zd bytes", n);
	if (n < 0 && errno != EINVAL && errno != EBADF)
		bug("read", "errno %d", errno);
	if (write(fd->fd, &generation, sizeof(generation)) >= 0)
		bug("write", "has worked");
}

static void kill_child(int i)
{
	kill(f.children[i], SIGKILL);
	waitpid(f.children[i], NULL, 0);
	f.children[i] = 0;
	f.around.tids[2 + i] = 0;
}

/* It holds the descriptors, too, until it is killed. */
static void change_child(int i)
{
	if (f.children[i]) {
		kill_child(i);
		return;
	}
	f.children[i] = fork();
	if (f.children[i] < 0) {
		f.children[i] = 0;
		bug("fork", "errno %d", errno);
	} else if (!f.children[i]) {
		for (int k = 0; k < f.fds_used; k++)
			close(f.fds[k].fd);
		for (int k = 0; k < MAPS; k++)
			if (f.maps[k].map)
				munmap(f.maps[k].map, PARKCLOCK_MAP_SIZE);
		for (;;)
			pause();
	}
	f.around.tids[2 + i] = f.children[i];
}

static void change_parameter(void)
{
	static const char * const intervals[] = { "1", "10", "1000", "60000" };

	if (upto(2)) {
		must_set("interval_ms", intervals[upto(4)]);
		return;
	}
	f.disabled = !f.disabled;
	must_set("enabled", f.disabled ? "N" : "Y");
}

static void operate(void)
{
	const int what = upto(64);
	struct fd *fd = f.fds_used ? &f.fds[upto(f.fds_used)] : NULL;
	struct map *m = &f.maps[upto(MAPS)];

	if (!fd || what < 3)
		open_one();
	else if (what < 6)
		close_at(upto(f.fds_used));
	else if (what < 8)
		duplicate(fd);
	else if (what < 11)
		map_at(m, fd);
	else if (what < 13 && m->map)
		unmap_at(m);
	else if (what < 28 && m->map)
		read_at(m);
	else if (what < 30)
		read_and_poll(fd);
	else if (what < 31)
		change_child(upto(CHILDREN));
	else if (what < 32 && !upto(4))
		change_parameter();
	else
		call(fd);
}

static void close_all(void)
{
	for (int i = 0; i < CHILDREN; i++)
		if (f.children[i])
			kill_child(i);
	for (int i = 0; i < MAPS; i++)
		if (f.maps[i].map)
			unmap_at(&f.maps[i]);
	while (f.fds_used)
		close_at(f.fds_used - 1);
	if (f.disabled)
		must_set("enabled", "Y");
	f.disabled = false;
	if (!wait_references(host, 0))
		bug("references are left", "%llu", query(host).references);
	if (!wait_all_tasks(host, 0))
		bug("registrations are left", "%llu", query(host).all_tasks);
}

/* Returns at which operation there was a bug, or -1. */
static int sequence(uint64_t seed, int length)
{
	static char *edge;
	int n = 0;

	if (!edge)
		edge = make_edge();
	memset(&f, 0, sizeof(f));
	f.seed = seed * 0x9e3779b97f4a7c15ULL | 1;
	f.around.edge = edge;
	f.around.tids[1] = getpid();
	f.around.disruptions = disruptions(host);
	while (n < length && !f.bug) {
		operate();
		n++;
	}
	close_all();
	return f.bug ? n : -1;
}

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

FIXTURE(fuzz) {
};

FIXTURE_SETUP(fuzz)
{
	start_parked("10", "4", "5");
	host = open_device();
}

FIXTURE_TEARDOWN(fuzz)
{
	close(host);
	default_params();
}

TEST_F_TIMEOUT(fuzz, sequences, 3600)
{
	const unsigned long operations = from_environment("OPERATIONS", scaled(OPERATIONS));
	const unsigned long first = from_environment("FUZZ_SEED", 1);
	unsigned long seed = first, done = 0;

	for (; done < operations; done += LENGTH, seed++) {
		const int at = sequence(seed, LENGTH);

		ASSERT_EQ(-1, at) {
			TH_LOG("FUZZ_SEED=%lu OPERATIONS=1: operation %d: %s: %s", seed, at, f.bug,
			       f.details);
		}
	}
	TH_LOG("seeds %lu to %lu: %llu calls, %llu worked, %llu were refused; %llu readings",
	       first, seed - 1, tally.calls, tally.worked, tally.refused, tally.readings);
	/* A run that does nothing shows nothing. */
	EXPECT_LT(done / 10, tally.calls);
	EXPECT_LT(tally.calls / 10, tally.worked);
	EXPECT_LT(tally.calls / 20, tally.refused);
	EXPECT_LT(tally.calls / 1000, tally.readings);
}

TEST_HARNESS_MAIN
