/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the test programs share: opening a clock, asking it, setting module
 * parameters, and reading the kernel's trace.
 *
 * A helper that cannot do its work prints why and aborts, which the harness
 * reports as a failed test.
 */
#ifndef PARKCLOCK_SELFTESTS_COMMON_H
#define PARKCLOCK_SELFTESTS_COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#define PARAMS	"/sys/module/parkclock/parameters/"
#define TRACING	"/sys/kernel/tracing/"
#define CLOCKSOURCE "/sys/devices/system/clocksource/clocksource0/"

#define NSEC	1000000000LL

/* Far longer than anything waited for takes, so that only a hang reaches it. */
#define PATIENCE_MS	20000

struct pclock {
	int fd;
	void *map;
};

static const int clock_ids[PARKCLOCK_CLOCKS] = {
	CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI
};

static inline void __attribute__((__noreturn__)) die(const char *what)
{
	fprintf(stderr, "# %s: %s\n", what, strerror(errno));
	abort();
}

static inline int64_t now_ns(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts))
		die("clock_gettime");
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/*
 * By the system call, and never by the vDSO. An update of the host's clock keeps its
 * readers waiting until the module has been told of it; only the vDSO of another CPU may
 * know earlier.
 */
static inline int64_t kernel_ns(clockid_t id)
{
	struct timespec ts;

	if (syscall(SYS_clock_gettime, id, &ts))
		die("clock_gettime");
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static inline void sleep_us(unsigned int us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

static inline void sleep_ms(unsigned int ms)
{
	sleep_us(ms * 1000);
}

/* How much of what takes long: a tenth with BRIEF=1. */
static inline unsigned int scaled(unsigned int n)
{
	return getenv("BRIEF") ? n / 10 : n;
}

/* xorshift64: one state per thread, never 0 */
static inline uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline uint64_t tsc(void)
{
	__u64 zero;

	return __parkclock_tsc(1, &zero);
}

static inline void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

/*
 * How often the calling thread has blocked, by the scheduler. Each time it has begun to
 * run again: also if a nap is over before it has begun, and does not count.
 */
static inline int64_t times_blocked(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		die("getrusage");
	return usage.ru_nvcsw;
}

static inline int cpus_online(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

/* The host's frequency: in units of 2^-16 ppm; the kernel's limit is 500 ppm. */
static inline void set_frequency(long freq)
{
	struct timex tx = { .modes = ADJ_FREQUENCY, .freq = freq };

	if (adjtimex(&tx) < 0)
		die("adjtimex");
}

/* From one end to the other, now and then somewhere between. */
static inline void throw_frequency(unsigned int n, uint64_t *seed)
{
	const long most = 500L << 16;

	if (n % 5 == 4)
		set_frequency((long)(rnd(seed) % (2 * most)) - most);
	else
		set_frequency(n & 1 ? most : -most);
}

static inline void restore_frequency(void)
{
	set_frequency(0);
}

/* The device */

static inline int open_device(void)
{
	int fd = open(PARKCLOCK_DEVICE, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("open " PARKCLOCK_DEVICE);
	return fd;
}

static inline struct pclock open_clock(void)
{
	struct pclock c = { .fd = open_device() };

	c.map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, c.fd, 0);
	if (c.map == MAP_FAILED)
		die("mmap " PARKCLOCK_DEVICE);
	return c;
}

static inline void close_clock(struct pclock *c)
{
	munmap(c->map, PARKCLOCK_MAP_SIZE);
	close(c->fd);
}

static inline struct parkclock_query query(int fd)
{
	struct parkclock_query q;

	memset(&q, 0xff, sizeof(q));
	if (ioctl(fd, PARKCLOCK_IOC_QUERY, &q))
		die("PARKCLOCK_IOC_QUERY");
	return q;
}

static inline struct parkclock_reading slow_read(int fd, int clock_id)
{
	struct parkclock_read r = { .clock_id = clock_id };

	if (ioctl(fd, PARKCLOCK_IOC_READ, &r))
		die("PARKCLOCK_IOC_READ");
	return r.reading;
}

static inline void hold(int fd)
{
	if (ioctl(fd, PARKCLOCK_IOC_HOLD, 0))
		die("PARKCLOCK_IOC_HOLD");
}

static inline void release(int fd)
{
	if (ioctl(fd, PARKCLOCK_IOC_RELEASE, 0))
		die("PARKCLOCK_IOC_RELEASE");
}

/* For registering tasks of other processes. */
static inline struct pclock open_owner(void)
{
	struct pclock c = { .fd = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC) };

	if (c.fd < 0)
		die("open " PARKCLOCK_DEVICE " for writing");
	c.map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, c.fd, 0);
	if (c.map == MAP_FAILED)
		die("mmap " PARKCLOCK_DEVICE);
	return c;
}

/* 0 or the errno, negated */
static inline int try_register(int fd, pid_t tid, uint32_t flags)
{
	struct parkclock_register r = { .tid = tid, .flags = flags };

	return ioctl(fd, PARKCLOCK_IOC_REGISTER, &r) ? -errno : 0;
}

static inline int try_unregister(int fd, pid_t tid, uint32_t flags)
{
	struct parkclock_register r = { .tid = tid, .flags = flags };

	return ioctl(fd, PARKCLOCK_IOC_UNREGISTER, &r) ? -errno : 0;
}

static inline void must_register(int fd, pid_t tid, uint32_t flags)
{
	int err = try_register(fd, tid, flags);

	if (err) {
		errno = -err;
		die("PARKCLOCK_IOC_REGISTER");
	}
}

/* Needs a kernel that tells of context switches, by tracepoints. */
#define NEEDS_SWITCHES(statement) do { \
	int fd_ = open_device(), err_ = try_register(fd_, 0, 0); \
	close(fd_); \
	if (err_ == -EOPNOTSUPP) \
		SKIP(statement, "needs a kernel with tracepoints"); \
} while (0)

/* What a task that dies or sleeps had goes away a little later. */
static inline bool wait_tasks(int fd, uint64_t tasks)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (query(fd).tasks == tasks)
			return true;
		sleep_ms(1);
	}
	return false;
}

static inline bool wait_running(int fd, uint64_t running)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (query(fd).running == running)
			return true;
		sleep_ms(1);
	}
	return false;
}

static inline bool wait_state(int fd, uint32_t state)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (query(fd).state == state)
			return true;
		sleep_ms(1);
	}
	return false;
}

/* What goes away when another process dies goes away a little later. */
static inline bool wait_references(int fd, uint64_t references)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (query(fd).references == references)
			return true;
		sleep_ms(1);
	}
	return false;
}

static inline bool valid(const void *map)
{
	return parkclock_page_read(map, CLOCK_MONOTONIC) >= 0;
}

/* How many of the inline readers, for all the clocks, get a time. */
static inline int readers_with_time(const void *map)
{
	struct parkclock_reading r;
	int n = 0;

	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		n += parkclock_page_read(map, clock_ids[i]) >= 0;
		n += parkclock_page_read_relaxed(map, clock_ids[i]) >= 0;
		n += parkclock_page_read_bound(map, clock_ids[i], &r) >= 0;
	}
	return n;
}

#define ALL_READERS	(3 * PARKCLOCK_CLOCKS)

/*
 * Has the page been without a valid segment since the counter was @since? If it
 * was valid at any later moment, its segment ends later: ends do not go back.
 */
static inline bool expired_since(const void *map, uint64_t since)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(map);
	uint64_t seq, base, length, epoch;

	do {
		const struct parkclock_segment *seg;

		seq = __parkclock_acquire(&tb->seq);
		seg = &tb->segment[seq & 1];
		base = __parkclock_acquire(&seg->base_cycles);
		length = __parkclock_acquire(&seg->valid_cycles);
		epoch = __parkclock_acquire(&seg->epoch);
	} while (__parkclock_acquire(&tb->seq) != seq);
	return epoch != __parkclock_load(&tb->epoch) || (int64_t)(base + length - since) <= 0;
}

/*
 * A page that expires while a reference is held has a late timer (the whole
 * machine may have been stopped for longer than the window), or an updater that
 * has lost the reference. A late timer fires; a parked updater never refreshes.
 */
static inline bool comes_back(const void *map)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (valid(map))
			return true;
		sleep_ms(1);
	}
	return false;
}

/* Is the reading what the host's clock read between t0 and t1? */
static inline bool within_bound(const struct parkclock_reading *r, int64_t t0, int64_t t1)
{
	return r->ns >= t0 - (int64_t)r->error_ns && r->ns <= t1 + (int64_t)r->error_ns;
}

static inline bool slow_read_is_right(int fd, int clock_id)
{
	int64_t t0 = now_ns(clock_id);
	struct parkclock_reading r = slow_read(fd, clock_id);
	int64_t t1 = now_ns(clock_id);

	if (within_bound(&r, t0, t1))
		return true;
	fprintf(stderr, "# READ of clock %d: %lld +- %llu, clock_gettime %lld to %lld\n",
		clock_id, (long long)r.ns, (unsigned long long)r.error_ns,
		(long long)t0, (long long)t1);
	return false;
}

/* Files of the kernel */

static inline int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);
	ssize_t n;
	int err = 0;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Reads up to size - 1 bytes and drops the newline at the end. */
static inline int read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	if (n && text[n - 1] == '\n')
		n--;
	text[n] = '\0';
	return 0;
}

/* 0, or the errno that the kernel refused the value with, negated */
static inline int set_param(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMS "%s", name);
	return write_file(path, value);
}

static inline void must_set(const char *name, const char *value)
{
	int err = set_param(name, value);

	if (err) {
		errno = -err;
		fprintf(stderr, "# parameter %s=%s refused\n", name, value);
		die(name);
	}
}

static inline const char *get_param(const char *name, char *value, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), PARAMS "%s", name);
	if (read_file(path, value, size))
		die(path);
	return value;
}

static inline void set_params(const char *interval, const char *window, const char *slack)
{
	must_set("interval_ms", interval);
	must_set("window_intervals", window);
	must_set("slack_percent", slack);
	must_set("enabled", "Y");
}

static inline void default_params(void)
{
	set_params("1000", "4", "5");
}

static inline const char *clocksource(char *name, size_t size)
{
	if (read_file(CLOCKSOURCE "current_clocksource", name, size))
		die(CLOCKSOURCE "current_clocksource");
	return name;
}

/* Returns whether it is what the host keeps time by now. */
static inline bool choose(const char *name)
{
	char now[32];

	return !write_file(CLOCKSOURCE "current_clocksource", name) &&
	       !strcmp(clocksource(now, sizeof(now)), name);
}

/*
 * The first seconds after boot the kernel's clocksource is another one, and the
 * change to the TSC makes the page invalid, as it must.
 */
static inline void settle(void)
{
	char name[32];

	for (int i = 0; i < PATIENCE_MS / 10; i++) {
		if (strcmp(clocksource(name, sizeof(name)), "tsc-early"))
			return;
		sleep_ms(10);
	}
}

/*
 * Does the host keep time by the counter? Asked of the kernel, not of the module:
 * ioctl.c checks that QUERY says the same. If not, the page never has a time, the
 * updater stays parked whatever is held, and READ asks the host's clock.
 */
static inline bool counter_usable(void)
{
	char name[32];

	return !strcmp(clocksource(name, sizeof(name)), "tsc");
}

/* As SKIP(): @statement leaves the test. */
#define NEEDS_COUNTER(statement) do { \
	if (!counter_usable()) \
		SKIP(statement, "needs a host that keeps time by the TSC"); \
} while (0)

/* While the updater is held and runs: how many readers get a time, */
static inline int readers_held(void)
{
	return counter_usable() ? ALL_READERS : 0;
}

/* and the updater's state. */
static inline uint32_t state_held(void)
{
	return counter_usable() ? PARKCLOCK_ACTIVE : PARKCLOCK_PARKED;
}

/* Updater parked, nobody holding: where every test begins. */
static inline void start_parked(const char *interval, const char *window, const char *slack)
{
	int fd = open_device();

	settle();
	set_params("1", window, slack);
	if (!wait_state(fd, PARKCLOCK_PARKED)) {
		fprintf(stderr, "# updater does not park: state %u, references %llu\n",
			query(fd).state, (unsigned long long)query(fd).references);
		abort();
	}
	close(fd);
	must_set("interval_ms", interval);
}

/* The module, for programs that load it themselves */

#define MODULE "/lib/parkclock.ko"

/* 0 or the errno, negated */
static inline int load(const char *params)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		die("open " MODULE);
	if (syscall(SYS_finit_module, fd, params, 0))
		err = -errno;
	close(fd);
	return err;
}

static inline int unload(void)
{
	return syscall(SYS_delete_module, "parkclock", O_NONBLOCK) ? -errno : 0;
}

static inline bool exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

static inline bool mentions(const char *path, const char *word)
{
	FILE *f = fopen(path, "r");
	char line[512];
	bool found = false;

	if (!f)
		die(path);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, word);
	fclose(f);
	return found;
}

/* Where something of the module is still found after it was unloaded, or "" */
static inline const char *what_is_left(void)
{
	static const char * const paths[] = {
		PARKCLOCK_DEVICE, "/sys/module/parkclock", "/sys/class/misc/parkclock",
		TRACING "events/parkclock", NULL
	};

	for (int i = 0; paths[i]; i++)
		if (exists(paths[i]))
			return paths[i];
	if (mentions("/proc/misc", "parkclock"))
		return "/proc/misc";
	if (mentions("/proc/modules", "parkclock"))
		return "/proc/modules";
	if (mentions("/proc/kallsyms", "[parkclock]"))
		return "/proc/kallsyms";
	return "";
}

/* Does the kernel look at every access, or lock? Then it is slow. */
static inline bool has_checkers(void)
{
	return exists("/sys/kernel/debug/kcsan") || exists("/sys/kernel/debug/kmemleak");
}

/* The kernel's trace */

#define TIMER_EVENT	"timer/hrtimer_expire_entry"
#define TIMER_FUNCTION	"parkclock_updater_tick"

static inline bool has_trace(void)
{
	return exists(TRACING "events/" TIMER_EVENT);
}

/* As SKIP(): @statement leaves the test. */
#define NEEDS_TRACE(statement) do { \
	if (!has_trace()) \
		SKIP(statement, "needs a kernel with trace events"); \
} while (0)

static inline void trace_write(const char *file, const char *text)
{
	char path[256];
	int err;

	snprintf(path, sizeof(path), TRACING "%s", file);
	err = write_file(path, text);
	if (err) {
		errno = -err;
		die(path);
	}
}

/* Starts with an empty trace; filter may be NULL. Nothing happens where there is none. */
static inline void trace_start(const char *event, const char *filter)
{
	char file[128];

	if (!has_trace())
		return;
	trace_write("tracing_on", "1");
	trace_write("trace", "");
	if (filter) {
		snprintf(file, sizeof(file), "events/%s/filter", event);
		trace_write(file, filter);
	}
	snprintf(file, sizeof(file), "events/%s/enable", event);
	trace_write(file, "1");
}

static inline void trace_stop(const char *event)
{
	char file[128];

	if (!has_trace())
		return;
	snprintf(file, sizeof(file), "events/%s/enable", event);
	trace_write(file, "0");
	snprintf(file, sizeof(file), "events/%s/filter", event);
	trace_write(file, "0");
	trace_write("trace", "");
}

/* Lines with the word, after the last line with the mark if that is not NULL. */
static inline int trace_count(const char *word, const char *mark)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[512];
	int n = 0;

	if (!f)
		die(TRACING "trace");
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#')
			continue;
		if (mark && strstr(line, mark))
			n = 0;
		else if (strstr(line, word))
			n++;
	}
	fclose(f);
	return n;
}

/* Filter for the timer events that are about our timer and no other. */
static inline void our_timer(char *filter, size_t size)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[256], name[128];
	unsigned long long address;

	if (!f)
		die("/proc/kallsyms");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %*c %127s", &address, name) == 2 &&
		    !strcmp(name, TIMER_FUNCTION) && address) {
			fclose(f);
			snprintf(filter, size, "function == 0x%llx", address);
			return;
		}
	}
	fclose(f);
	errno = ENOENT;
	die(TIMER_FUNCTION " in /proc/kallsyms");
}

/* Descriptor passing */

static inline void send_fd(int sock, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	if (sendmsg(sock, &msg, 0) != 1)
		die("sendmsg");
}

static inline int receive_fd(int sock)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&msg))
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

#endif
