// SPDX-License-Identifier: GPL-2.0
/*
 * Owners, views and tasks share clocks, in processes that are killed at any moment. Each does
 * to a clock, at random, all that can be done to one.
 *
 * Checked: no call returns what it must not return. Each saved clock is whole: its BOOTTIME and
 * MONOTONIC belong together, as they do in the page while that has not changed. When all
 * processes are dead and all descriptors closed, nobody holds anything.
 *
 * Fails if a change can be seen, or saved, half-way, or if a process that was killed in the
 * middle of a call leaves something. The kernel's log is examined after every program.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/machine.h"
#include "lib/messages.h"
#include "lib/owner.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define CLOCKS		4
#define PROCESSES	4
#define THREADS		2
#define SECONDS		30

/* How far BOOTTIME of each clock is from its MONOTONIC, beyond what it is on the host */
#define APART_NS(k)	(((k) + 1) * 1000 * NSEC)

struct tally {
	atomic_ullong calls, saves, restores, pairs;
};

static struct {
	int fd[CLOCKS];
	int64_t host_apart;
	/* Shared with the processes: */
	struct tally *tally;
	atomic_llong *forward;	/* what clocks were set to last; they only go forward */
} all;

static void __attribute__((__noreturn__)) wrong(const char *what, int clock, long long value)
{
	fprintf(stderr, "# clock %d: %s: %lld\n", clock, what, value);
	abort();
}

/* The call may succeed, or fail like that. */
static int may(int clock, int err, int other, int another)
{
	if (err < 0 && err != other && err != another)
		wrong("errno of a call", clock, -err);
	atomic_fetch_add(&all.tally->calls, 1);
	return err;
}

static void check_saved(int k, const struct parkclock_saved *s)
{
	int64_t apart = s->boottime_ns - s->monotonic_ns - all.host_apart - APART_NS(k);

	if (apart)
		wrong("saved MONOTONIC and BOOTTIME are not of one time, by ns", k, apart);
	if (s->magic != PARKCLOCK_SAVED_MAGIC || s->size != sizeof(*s))
		wrong("saved", k, s->magic);
	atomic_fetch_add(&all.tally->saves, 1);
}

/* Both from the page, if that has not changed meanwhile. */
static void check_pair(int k, const void *map)
{
	const struct parkclock_clock *clock = __parkclock_clock(map);
	struct parkclock_reading mono, boot;
	uint64_t state = __parkclock_acquire(&clock->state);
	int64_t apart, most;

	if (parkclock_page_read_bound(map, CLOCK_MONOTONIC, &mono) < 0 ||
	    parkclock_page_read_bound(map, CLOCK_BOOTTIME, &boot) < 0 ||
	    __parkclock_acquire(&clock->state) != state)
		return;
	apart = boot.ns - mono.ns - all.host_apart - APART_NS(k);
	/* Twice what the cycles in between are, and something for rounding. */
	most = 2 * (boot.cycles - mono.cycles) + 10;
	if (apart < 0 || apart > most)
		wrong("MONOTONIC and BOOTTIME in the page are not of one time, by ns", k, apart);
	atomic_fetch_add(&all.tally->pairs, 1);
}

static void set_forward(int k)
{
	int64_t to = atomic_fetch_add(all.forward, 1000) + 1000;

	/* Somebody else may have set it farther; but what was taken out by START is back. */
	may(k, try_offsets(all.fd[k], to, to + APART_NS(k)), -EBUSY, 0);
}

static void save_and_restore(int k, uint32_t gap)
{
	struct parkclock_saved s = save(all.fd[k]);
	int fd = open_fresh();
	int64_t behind;

	check_saved(k, &s);
	may(k, try_restore(fd, &s, gap), 0, 0);
	behind = s.monotonic_ns - slow_read(fd, CLOCK_MONOTONIC).ns;
	if (behind > 0)
		wrong("a restored clock is behind, by ns", k, behind);
	s = save(fd);
	check_saved(k, &s);
	close(fd);
	atomic_fetch_add(&all.tally->restores, 1);
}

static void look_through_view(int k)
{
	int fd = may(k, try(all.fd[k], PARKCLOCK_IOC_VIEW, 0), -EMFILE, -ENOMEM);
	struct parkclock_reading r;
	void *map;

	if (fd < 0)
		return;
	may(k, try_read(fd, CLOCK_BOOTTIME, &r), -ENODATA, 0);
	map = map_clock(fd);
	close(fd);
	check_pair(k, map);
	munmap(map, PARKCLOCK_MAP_SIZE);
}

static void anything(uint64_t *seed, void **map)
{
	const int k = rnd(seed) % CLOCKS, fd = all.fd[k];
	struct parkclock_saved saved;
	struct parkclock_reading r;

	switch (rnd(seed) % 12) {
	case 0:
		may(k, try_read(fd, clock_ids[rnd(seed) % PARKCLOCK_CLOCKS], &r), -ENODATA, 0);
		break;
	case 1:
		may(k, try(fd, PARKCLOCK_IOC_HOLD, 0), -EOVERFLOW, 0);
		break;
	case 2:
		may(k, try(fd, PARKCLOCK_IOC_RELEASE, 0), -ENOENT, 0);
		break;
	case 3:
		may(k, try(fd, PARKCLOCK_IOC_STOP, 0), -EALREADY, 0);
		break;
	case 4:
	case 5:
		may(k, try(fd, PARKCLOCK_IOC_START, 1 + rnd(seed) % 2), -EALREADY, 0);
		break;
	case 6:
		saved = save(fd);
		check_saved(k, &saved);
		break;
	case 7:
		set_forward(k);
		break;
	case 8:
		save_and_restore(k, 1 + rnd(seed) % 2);
		break;
	case 9:
		look_through_view(k);
		break;
	case 10:
		if (rnd(seed) % 4)
			may(k, try_register(fd, 0, 0), -EEXIST, -EOPNOTSUPP);
		else
			may(k, try_unregister(fd, 0, 0), -ENOENT, 0);
		break;
	default:
		for (int i = 0; i < 50; i++)
			check_pair(k, map[k]);
		events(fd);
		acknowledge(fd);
	}
}

static void *actor(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	void *map[CLOCKS];

	for (int k = 0; k < CLOCKS; k++)
		map[k] = map_clock(all.fd[k]);
	for (;;)
		anything(&seed, map);
	return NULL;
}

static void actors(int sock)
{
	uint64_t seed = hear(sock);

	for (int i = 1; i < THREADS; i++)
		start_thread(actor, (void *)(uintptr_t)(seed + i));
	actor((void *)(uintptr_t)seed);
}

static struct child start_actors(uint64_t seed)
{
	struct child c = start_child(actors);

	say(c.sock, seed);
	return c;
}

FIXTURE(owners_killed) {
	int host;
};

FIXTURE_SETUP(owners_killed)
{
	struct parkclock_saved s;
	char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, shared);
	start_parked("1", "4", "5");
	self->host = open_fresh();
	s = save(self->host);
	must(self->host, PARKCLOCK_IOC_START, PARKCLOCK_GAP_INCLUDE);
	all.host_apart = s.boottime_ns - s.monotonic_ns;
	all.tally = (struct tally *)shared;
	all.forward = (atomic_llong *)(shared + 2048);
	for (int k = 0; k < CLOCKS; k++) {
		all.fd[k] = open_fresh();
		if (try_offsets(all.fd[k], 0, APART_NS(k)))
			die("PARKCLOCK_IOC_OFFSETS");
	}
}

FIXTURE_TEARDOWN(owners_killed)
{
	for (int k = 0; k < CLOCKS; k++)
		close(all.fd[k]);
	EXPECT_TRUE(wait_references(self->host, 0));
	EXPECT_EQ(0, query(self->host).all_tasks);
	EXPECT_EQ(0, query(self->host).all_running);
	EXPECT_TRUE(wait_state(self->host, PARKCLOCK_PARKED));
	close(self->host);
	munmap(all.tally, 4096);
	default_params();
}

TEST_F_TIMEOUT(owners_killed, killed_at_any_moment, 900)
{
	const int64_t begin = now_ns(CLOCK_MONOTONIC);
	struct child c[PROCESSES];
	uint64_t seed = 1;
	int killed = 0;

	for (int i = 0; i < PROCESSES; i++)
		c[i] = start_actors(++seed * 1000);
	/* Until there was enough of each, however slow that is. */
	while (now_ns(CLOCK_MONOTONIC) - begin < scaled(SECONDS) * NSEC || killed < 100 ||
	       atomic_load(&all.tally->restores) < 100 ||
	       atomic_load(&all.tally->pairs) < counter_usable() * 1000) {
		int i = rnd(&seed) % PROCESSES, status;

		sleep_us(rnd(&seed) % 200000);
		kill(c[i].pid, SIGKILL);
		ASSERT_EQ(c[i].pid, waitpid(c[i].pid, &status, 0));
		/* It is dead because of that, and not because it has found something. */
		ASSERT_TRUE(WIFSIGNALED(status));
		ASSERT_EQ(SIGKILL, WTERMSIG(status));
		close(c[i].sock);
		c[i] = start_actors(++seed * 1000);
		killed++;
	}
	for (int i = 0; i < PROCESSES; i++)
		end_child(&c[i]);
	TH_LOG("%d processes killed; %llu calls, %llu saves, %llu restores, %llu pairs", killed,
	       (unsigned long long)all.tally->calls, (unsigned long long)all.tally->saves,
	       (unsigned long long)all.tally->restores, (unsigned long long)all.tally->pairs);
}

TEST_HARNESS_MAIN
