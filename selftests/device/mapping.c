// SPDX-License-Identifier: GPL-2.0
/*
 * The mapping: two pages with the contents that the specification says, which only the kernel
 * can write, and nobody can execute.
 *
 * Checked: every other protection, size and offset is refused, at mmap() and later through
 * mprotect(), mremap() and /proc/self/mem. Constants and reserved space have their values. The
 * mapping outlives its descriptor, half of itself, and a fork. Page 1 is the same for
 * everybody, and page 0 is not.
 *
 * Fails if VM_MAYWRITE or VM_MAYEXEC stays set, if a private mapping can be written, or if the
 * size is not checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/messages.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/updater.h"

#define PAGE PARKCLOCK_PAGE_SIZE

FIXTURE(mapping) {
	struct pclock c;
	int rdwr;
};

FIXTURE_SETUP(mapping)
{
	start_parked("20000", "4", "5");
	self->c = open_reader();
	self->rdwr = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->rdwr, 0);
}

FIXTURE_TEARDOWN(mapping)
{
	close(self->rdwr);
	close_clock(&self->c);
	default_params();
}

/* errno of an mmap that must fail, or 0 if it did not */
static int map_error(int fd, size_t size, int prot, int flags, off_t offset)
{
	void *map;

	errno = 0;
	map = mmap(NULL, size, prot, flags, fd, offset);
	if (map == MAP_FAILED)
		return errno;
	munmap(map, size);
	return 0;
}

static bool all_zero(const void *from, size_t size)
{
	const char *p = from;

	while (size && !*p) {
		p++;
		size--;
	}
	return !size;
}

/* Has the first mapping of the device the permission @c in /proc/self/maps? */
static bool has_permission(const void *map, int c)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start;
	char line[256], perms[8];
	bool has = false;

	if (!f)
		die("/proc/self/maps");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%*x %7s", &start, perms) == 2 && start == (unsigned long)map)
			has = strchr(perms, c);
	}
	fclose(f);
	return has;
}

TEST_F(mapping, contents)
{
	const struct parkclock_clock *clock = self->c.map;
	const struct parkclock_timebase *tb = __parkclock_timebase(self->c.map);

	hold(self->c.fd);
	EXPECT_EQ(1, parkclock_usable(self->c.map));
	EXPECT_EQ(PARKCLOCK_CLOCK_MAGIC, clock->magic);
	EXPECT_EQ(PARKCLOCK_VERSION, clock->version);
	EXPECT_EQ(sizeof(*clock), clock->size);
	EXPECT_EQ(PAGE, clock->timebase);
	EXPECT_EQ(0, clock->state & PARKCLOCK_STATE_CONDITIONS);
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++)
		EXPECT_EQ(0, clock->offset_ns[i]);
	EXPECT_TRUE(all_zero(clock->reserved, sizeof(clock->reserved)));
	EXPECT_TRUE(all_zero(clock + 1, PAGE - sizeof(*clock)));

	EXPECT_EQ(PARKCLOCK_TIMEBASE_MAGIC, tb->magic);
	EXPECT_EQ(PARKCLOCK_VERSION, tb->version);
	EXPECT_EQ(sizeof(*tb), tb->size);
	EXPECT_EQ(PARKCLOCK_COUNTER_X86_TSC, tb->counter);
	EXPECT_EQ(query(self->c.fd).counter_hz, tb->counter_hz);
	EXPECT_TRUE(all_zero(tb->reserved0, sizeof(tb->reserved0)));
	EXPECT_TRUE(all_zero(tb->reserved1, sizeof(tb->reserved1)));
	EXPECT_TRUE(all_zero(tb + 1, PAGE - sizeof(*tb)));
	for (int i = 0; i < 2; i++) {
		EXPECT_TRUE(all_zero(tb->segment[i].reserved, sizeof(tb->segment[i].reserved)));
		EXPECT_LT(tb->segment[i].base_frac, 1ULL << PARKCLOCK_SHIFT);
	}
	EXPECT_EQ(0, tb->segment[tb->seq & 1].offset_ns[PARKCLOCK_MONOTONIC]);
}

TEST_F(mapping, never_writable_or_executable)
{
	const int fds[] = { self->c.fd, self->rdwr };
	const int prots[] = {
		PROT_WRITE, PROT_EXEC, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
		PROT_READ | PROT_WRITE | PROT_EXEC
	};
	const int flags[] = { MAP_SHARED, MAP_PRIVATE, MAP_SHARED | MAP_POPULATE };

	for (size_t f = 0; f < ARRAY_SIZE(fds); f++)
		for (size_t p = 0; p < ARRAY_SIZE(prots); p++)
			for (size_t m = 0; m < ARRAY_SIZE(flags); m++) {
				int err = map_error(fds[f], PARKCLOCK_MAP_SIZE, prots[p],
						    flags[m], 0);

				/* EPERM: of the kernel, where /dev is noexec */
				EXPECT_TRUE(err == EACCES ||
					    (err == EPERM && prots[p] & PROT_EXEC)) {
					TH_LOG("prot %d flags %#x: errno %d", prots[p], flags[m],
					       err);
				}
			}
}

TEST_F(mapping, other_sizes_and_offsets)
{
	const int flags[] = { MAP_SHARED, MAP_PRIVATE };

	for (size_t m = 0; m < ARRAY_SIZE(flags); m++) {
		EXPECT_EQ(EINVAL, map_error(self->c.fd, PAGE, PROT_READ, flags[m], 0));
		EXPECT_EQ(EINVAL, map_error(self->c.fd, 3 * PAGE, PROT_READ, flags[m], 0));
		EXPECT_EQ(EINVAL, map_error(self->c.fd, 1 << 20, PROT_READ, flags[m], 0));
		for (int pages = 1; pages <= 3; pages++) {
			/* At one of them there is a page where there is a VMClock page. */
			EXPECT_EQ(pages * PAGE == PARKCLOCK_VMCLOCK_OFFSET ? ENXIO : EINVAL,
				  map_error(self->c.fd, PAGE, PROT_READ, flags[m], pages * PAGE));
			EXPECT_EQ(EINVAL, map_error(self->c.fd, PARKCLOCK_MAP_SIZE, PROT_READ,
						    flags[m], pages * PAGE));
		}
		EXPECT_NE(0, map_error(self->c.fd, PARKCLOCK_MAP_SIZE, PROT_READ, flags[m],
				       LONG_MAX & ~(PAGE - 1L)));
	}
}

TEST_F(mapping, never_made_writable_or_executable_later)
{
	const int prots[] = {
		PROT_WRITE, PROT_EXEC, PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC,
		PROT_READ | PROT_WRITE | PROT_EXEC
	};
	void *maps[4] = { self->c.map };
	int n = 1;

	maps[n] = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, self->rdwr, 0);
	ASSERT_NE(MAP_FAILED, maps[n++]);
	/* These may be refused; if not, they may not be made writable. */
	maps[n] = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_PRIVATE, self->rdwr, 0);
	n += maps[n] != MAP_FAILED;
	maps[n] = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_NONE, MAP_SHARED, self->rdwr, 0);
	n += maps[n] != MAP_FAILED;

	for (int i = 0; i < n; i++) {
		for (size_t p = 0; p < ARRAY_SIZE(prots); p++) {
			errno = 0;
			EXPECT_EQ(-1, mprotect(maps[i], PARKCLOCK_MAP_SIZE, prots[p]));
			EXPECT_EQ(EACCES, errno);
			EXPECT_EQ(-1, mprotect((char *)maps[i] + PAGE, PAGE, prots[p]));
		}
		EXPECT_FALSE(has_permission(maps[i], 'w'));
		EXPECT_FALSE(has_permission(maps[i], 'x'));
	}
	EXPECT_EQ(0, mprotect(self->c.map, PARKCLOCK_MAP_SIZE, PROT_NONE));
	EXPECT_EQ(0, mprotect(self->c.map, PARKCLOCK_MAP_SIZE, PROT_READ));
	EXPECT_EQ(1, parkclock_usable(self->c.map));
	while (--n > 0)
		munmap(maps[n], PARKCLOCK_MAP_SIZE);
}

/* READ_IMPLIES_EXEC asks for PROT_EXEC behind the caller's back. */
TEST_F(mapping, not_executable_by_personality)
{
	void *map;

	ASSERT_NE(-1, personality(READ_IMPLIES_EXEC));
	map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, self->c.fd, 0);
	if (map != MAP_FAILED) {
		EXPECT_FALSE(has_permission(map, 'x'));
		munmap(map, PARKCLOCK_MAP_SIZE);
	}
	/* The kernel adds PROT_EXEC only where it may be had. */
	EXPECT_EQ(0, mprotect(self->c.map, PARKCLOCK_MAP_SIZE, PROT_READ));
	EXPECT_FALSE(has_permission(self->c.map, 'x'));
}

TEST_F(mapping, not_writable_through_proc)
{
	int mem = open("/proc/self/mem", O_RDWR);
	void *private = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_PRIVATE, self->rdwr, 0);
	uint64_t word = 0x4141414141414141ULL;

	ASSERT_GE(mem, 0);
	for (int page = 0; page < 2; page++) {
		unsigned long at = (unsigned long)self->c.map + page * PAGE;

		/* Space that nobody writes, so a change can only be ours. */
		EXPECT_EQ(-1, pwrite(mem, &word, sizeof(word), at + PAGE - 8));
		EXPECT_TRUE(all_zero((void *)(at + PAGE - 8), 8));
		EXPECT_EQ(-1, pwrite(mem, &word, sizeof(word), at));
	}
	if (private != MAP_FAILED) {
		EXPECT_EQ(-1, pwrite(mem, &word, sizeof(word), (unsigned long)private));
		munmap(private, PARKCLOCK_MAP_SIZE);
	}
	EXPECT_EQ(1, parkclock_usable(self->c.map));
	close(mem);
}

TEST_F_SIGNAL(mapping, store_faults, SIGSEGV)
{
	__atomic_store_n((uint32_t *)self->c.map, 0, __ATOMIC_RELAXED);
}

TEST_F(mapping, mremap_does_not_grow)
{
	void *map;

	map = mremap(self->c.map, PARKCLOCK_MAP_SIZE, 2 * PARKCLOCK_MAP_SIZE, MREMAP_MAYMOVE);
	EXPECT_EQ(MAP_FAILED, map);
	map = mremap(self->c.map, PAGE, PARKCLOCK_MAP_SIZE, MREMAP_MAYMOVE);
	EXPECT_EQ(MAP_FAILED, map);
	map = mremap((char *)self->c.map + PAGE, PAGE, PARKCLOCK_MAP_SIZE, MREMAP_MAYMOVE);
	EXPECT_EQ(MAP_FAILED, map);
	EXPECT_EQ(1, parkclock_usable(self->c.map));
}

/* Moved, the clock is still the clock; the old place is gone. */
TEST_F(mapping, mremap_moves)
{
	void *to = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *map;

	hold(self->c.fd);
	ASSERT_NE(MAP_FAILED, to);
	map = mremap(self->c.map, PARKCLOCK_MAP_SIZE, PARKCLOCK_MAP_SIZE,
		     MREMAP_MAYMOVE | MREMAP_FIXED, to);
	ASSERT_EQ(to, map);
	self->c.map = map;
	EXPECT_EQ(1, parkclock_usable(map));
	EXPECT_EQ(readers_held(), readers_with_time(map));
	EXPECT_EQ(-1, mprotect(map, PARKCLOCK_MAP_SIZE, PROT_READ | PROT_WRITE));
}

TEST_F(mapping, outlives_descriptor)
{
	struct pclock c = open_clock();

	hold(self->c.fd);
	close(c.fd);
	EXPECT_EQ(1, parkclock_usable(c.map));
	EXPECT_EQ(readers_held(), readers_with_time(c.map));
	munmap(c.map, PARKCLOCK_MAP_SIZE);
}

TEST_F(mapping, halves)
{
	struct pclock c = open_clock();
	const struct parkclock_clock *clock;
	const struct parkclock_timebase *tb;

	close(c.fd);
	tb = __parkclock_timebase(c.map);
	ASSERT_EQ(0, munmap(c.map, PAGE));
	EXPECT_EQ(PARKCLOCK_TIMEBASE_MAGIC, tb->magic);
	ASSERT_EQ(0, munmap((void *)tb, PAGE));

	c = open_clock();
	close(c.fd);
	clock = c.map;
	ASSERT_EQ(0, munmap((char *)c.map + PAGE, PAGE));
	EXPECT_EQ(PARKCLOCK_CLOCK_MAGIC, clock->magic);
	ASSERT_EQ(0, munmap(c.map, PAGE));
	EXPECT_EQ(1, parkclock_usable(self->c.map));
}

TEST_F(mapping, readable_in_children)
{
	int status;
	pid_t pid;

	hold(self->c.fd);
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		int n = readers_with_time(self->c.map);

		pid = fork();
		if (!pid)
			_exit(readers_with_time(self->c.map) != readers_held());
		if (waitpid(pid, &status, 0) != pid || status)
			_exit(2);
		_exit(n != readers_held());
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(mapping, mappable_by_receiver)
{
	int sock[2], status;
	pid_t pid;

	hold(self->c.fd);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid) {
		int fd;
		void *map;

		close(self->c.fd);
		close(self->rdwr);
		munmap(self->c.map, PARKCLOCK_MAP_SIZE);
		fd = receive_fd(sock[1]);
		map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			_exit(1);
		if (map_error(fd, PARKCLOCK_MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, 0) == 0)
			_exit(2);
		_exit(parkclock_usable(map) && readers_with_time(map) == readers_held() ? 0 : 3);
	}
	send_fd(sock[0], self->c.fd);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(sock[0]);
	close(sock[1]);
}

TEST_F(mapping, write_only_cannot_map)
{
	int fd = open(PARKCLOCK_DEVICE, O_WRONLY | O_CLOEXEC);

	ASSERT_GE(fd, 0);
	EXPECT_EQ(EACCES, map_error(fd, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, 0));
	close(fd);
}

/* Number of the page frame behind an address; 0 if there is none. */
static uint64_t frame(const void *at)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	if (fd < 0)
		die("/proc/self/pagemap");
	(void)__atomic_load_n((const char *)at, __ATOMIC_RELAXED);
	if (pread(fd, &entry, sizeof(entry), (unsigned long)at / PAGE * 8) != sizeof(entry))
		die("/proc/self/pagemap");
	close(fd);
	return entry & ((1ULL << 55) - 1);
}

TEST_F(mapping, one_timebase_many_clocks)
{
	struct pclock other = open_clock();
	void *again = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, other.fd, 0);

	ASSERT_NE(MAP_FAILED, again);
	ASSERT_NE(0, frame(other.map));
	EXPECT_NE(frame(self->c.map), frame(other.map));
	EXPECT_EQ(frame(again), frame(other.map));
	EXPECT_EQ(frame(__parkclock_timebase(self->c.map)),
		  frame(__parkclock_timebase(other.map)));
	munmap(again, PARKCLOCK_MAP_SIZE);
	close_clock(&other);
}

TEST_HARNESS_MAIN
