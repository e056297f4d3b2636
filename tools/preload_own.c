// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock-preload.so: a clock of the program's own, which PARKCLOCK_FD names
 *
 * No other clock takes its place, because the time of another clock would be a wrong time. If
 * the variable names no clock, the program is not run. If the clock cannot be read any more,
 * the program ends. A stopped clock has no time, so a wait goes on until it is started.
 *
 * As in preload_clock.c nothing here takes a lock, allocates, or calls another library, except
 * for getenv(), which does neither.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "preload.h"

#define FD_VARIABLE	"PARKCLOCK_FD"
#define NOBODY		(-1)	/* instead of a descriptor */
#define NOT_RUN		127	/* the exit status, as the dynamic linker's */

/* Programs that close descriptors, or choose their numbers, use low ones. */
#define LOWEST_FD	512

/* Nothing is known until somebody has looked at the environment. */
enum { NOT_KNOWN, BEING_FOUND, THE_HOSTS, OWN };
static atomic_int whose;

/* The page; NULL if it may not be read, because of the TSC. */
static const void *page;

/* For READ. The program can put any file at that number. */
static atomic_int descriptor = NOBODY;

/* Written once, while @whose is BEING_FOUND */
static const struct parkclock_clock *clock_page;
static struct stat file;
static int given = NOBODY;	/* what PARKCLOCK_FD names */

static void say(const char *what, const char *value, const char *why)
{
	const char *const text[] = { "libparkclock-preload: ", what, value, why, "\n" };
	struct iovec parts[5];

	for (int i = 0; i < 5; i++) {
		parts[i].iov_base = (void *)text[i];
		parts[i].iov_len = strlen(text[i]);
	}
	sys3(SYS_writev, STDERR_FILENO, (long)parts, 5);
}

static void __attribute__((__noreturn__)) refuse(const char *value, const char *why)
{
	say("the program is not run: " FD_VARIABLE "=", value, why);
	for (;;)
		sys3(SYS_exit_group, NOT_RUN, 0, 0);
}

static void __attribute__((__noreturn__)) lost(void)
{
	say("the clock of ", FD_VARIABLE,
	    " cannot be read any more: its descriptor is gone, or a policy forbids READ");
	abort();
}

/* If this cannot be found out, no: READ is slower, but kills nobody. */
bool preload_tsc_readable(void)
{
	int mode;

	return !sys3(SYS_prctl, PR_GET_TSC, (long)&mode, 0) && mode == PR_TSC_ENABLE;
}

int preload_high_copy(int fd)
{
	int high = -1;

	/* The number is less if the limit of descriptors is low. */
	for (int lowest = LOWEST_FD; lowest && high < 0; lowest /= 2)
		high = sys3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, lowest);
	return high;
}

/* The number that the text is, or NOBODY. */
static int parse_fd(const char *text)
{
	long fd = 0;

	if (!*text)
		return NOBODY;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || fd > INT_MAX / 10 - 1)
			return NOBODY;
		fd = 10 * fd + *text - '0';
	}
	return fd;
}

/*
 * Mapping and reading something else may do harm. READ does not change another file's state;
 * QUERY does not wake the clock, but views do not accept it.
 */
static bool is_clock(int fd)
{
	struct parkclock_read read = { .clock_id = CLOCK_MONOTONIC };
	struct parkclock_query query;
	long err;

	if (!sys3(SYS_ioctl, fd, PARKCLOCK_IOC_QUERY, (long)&query))
		return true;
	err = sys3(SYS_ioctl, fd, PARKCLOCK_IOC_READ, (long)&read);
	return !err || err == -ENODATA;
}

static void attach(const char *value)
{
	long mapped;

	given = parse_fd(value);
	if (given == NOBODY)
		refuse(value, " is no number of a descriptor. Name a clock, or unset it");
	if (sys3(SYS_fstat, given, (long)&file, 0))
		refuse(value, " is not open. Leave it open, or unset the variable");
	if (!is_clock(given))
		refuse(value, " is not a clock. Name a clock, or unset the variable");
	descriptor = preload_high_copy(given);
	if (descriptor < 0)
		refuse(value, " cannot be copied: too many files are open");
	mapped = sys(SYS_mmap, 0, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED | MAP_POPULATE, given,
		     0);
	if (mapped < 0)
		refuse(value, " cannot be mapped");
	if (!parkclock_usable((void *)mapped))
		refuse(value, " is a clock of another version of the module");
	clock_page = (void *)mapped;
	if (preload_tsc_readable())
		STORE(page, (void *)mapped);
}

/* Somebody who comes here meanwhile is told nothing: a thread or handler before main(). */
static int find_out(void)
{
	int seen = NOT_KNOWN;
	const char *value;

	if (!environ || !atomic_compare_exchange_strong(&whose, &seen, BEING_FOUND))
		return seen;
	value = secure_getenv(FD_VARIABLE);
	if (value)
		attach(value);
	whose = value ? OWN : THE_HOSTS;
	return whose;
}

bool preload_own(void)
{
	int who = LOAD(whose);

	if (who == NOT_KNOWN)
		who = find_out();
	return who == OWN;
}

void preload_own_without_page(void)
{
	STORE(page, NULL);
}

/* Is that still the file? All views have the same numbers, as all other files without a name. */
static bool is_ours(int fd)
{
	struct stat st;

	return !sys3(SYS_fstat, fd, (long)&st, 0) && st.st_dev == file.st_dev &&
	       st.st_ino == file.st_ino && st.st_rdev == file.st_rdev;
}

bool preload_keeps(int fd)
{
	return preload_own() && fd >= 0 && (fd == given || fd == descriptor) && is_ours(fd);
}

int preload_kept(int first)
{
	const int fds[] = { given, descriptor };
	int kept = NOBODY;

	for (int i = 0; i < 2; i++)
		if (fds[i] >= first && (kept == NOBODY || fds[i] < kept) && preload_keeps(fds[i]))
			kept = fds[i];
	return kept;
}

/* Ours, or a copy of the program's if the program has closed ours. */
int preload_descriptor(void)
{
	int fd = descriptor, new;

	if (is_ours(fd))
		return fd;
	new = is_ours(given) ? preload_high_copy(given) : NOBODY;
	if (new < 0)
		return NOBODY;
	if (atomic_compare_exchange_strong(&descriptor, &fd, new))
		return new;
	/* Another thread was faster: @fd is what it has found. */
	sys3(SYS_close, new, 0, 0);
	return is_ours(fd) ? fd : NOBODY;
}

static bool stopped(void)
{
	return __parkclock_load(&clock_page->state) & PARKCLOCK_STATE_STOPPED;
}

static __s64 read_slow(int id)
{
	struct parkclock_read arg = { .clock_id = id };

	/* Try again: another thread can close the descriptor at any moment. */
	for (int tries = 0; tries < 3; tries++) {
		const int fd = preload_descriptor();
		long err;

		if (fd == NOBODY)
			break;
		err = sys3(SYS_ioctl, fd, PARKCLOCK_IOC_READ, (long)&arg);
		if (!err)
			return arg.reading.ns;
		if (err == -ENODATA)
			return PARKCLOCK_IS_STOPPED;
	}
	/* A stopped clock has no time, whoever asks. */
	if (stopped())
		return PARKCLOCK_IS_STOPPED;
	lost();
}

int preload_clock(clockid_t id)
{
	switch (id) {
	case CLOCK_REALTIME_COARSE:
	case CLOCK_REALTIME_ALARM:
		return CLOCK_REALTIME;
	case CLOCK_MONOTONIC_COARSE:
		return CLOCK_MONOTONIC;
	case CLOCK_BOOTTIME_ALARM:
		return CLOCK_BOOTTIME;
	default:
		return parkclock_index(id) < 0 ? -1 : id;
	}
}

int preload_clock_of_wait(clockid_t id)
{
	if (id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE)
		return -1;
	return preload_clock(id);
}

__s64 preload_now(int id)
{
	const void *from = LOAD(page);
	__s64 ns;

	if (parkclock_index(id) < 0)
		return PARKCLOCK_EXPIRED;
	if (from) {
		ns = parkclock_page_read(from, id);
		if (ns != PARKCLOCK_EXPIRED)
			return ns;
	}
	return read_slow(id);
}

__s64 preload_reading(int id)
{
	const struct timespec look = { .tv_nsec = LOOK_NS };
	__s64 ns = preload_now(id);

	while (ns == PARKCLOCK_IS_STOPPED) {
		sys3(SYS_nanosleep, (long)&look, 0, 0);
		ns = preload_now(id);
	}
	return ns;
}

static bool is_valid(const struct timespec *ts)
{
	return ts && ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < NSEC_PER_SEC;
}

bool preload_is_until(clockid_t id, const struct timespec *ts, __s64 *until)
{
	if (!preload_own() || preload_clock_of_wait(id) < 0 || !is_valid(ts))
		return false;
	*until = preload_ns(ts);
	return true;
}

bool preload_is_span(const struct timespec *ts, struct preload_span *span)
{
	if (!preload_own() || !is_valid(ts) || !preload_ns(ts))
		return false;
	*span = (struct preload_span)PRELOAD_SPAN(preload_ns(ts));
	return true;
}

__s64 preload_left(int id, __s64 until)
{
	const __s64 now = preload_now(id);

	if (now == PARKCLOCK_IS_STOPPED)
		return LOOK_NS;
	return now < until ? until - now : 0;
}

__s64 preload_span_left(struct preload_span *span)
{
	const __s64 now = preload_now(span->id);

	if (now == PARKCLOCK_IS_STOPPED)
		return LOOK_NS;
	if (span->until < 0)
		span->until = preload_sum(now, span->left);
	span->left = now < span->until ? span->until - now : 0;
	return span->left;
}

/*
 * REALTIME and TAI are the host's, so their waits follow the host's steps: until the time
 * itself. If the host's clock has come to that and ours has not, which can be behind by the
 * page's bound or be stopped, wait for the rest.
 */
bool preload_deadline(int id, __s64 until, struct timespec *host)
{
	const __s64 left = preload_left(id, until);
	struct timespec now = { 0 };
	__s64 at;

	*host = (struct timespec){ 0 };
	if (!left)
		return false;
	sys3(SYS_clock_gettime, id, (long)&now, 0);
	at = preload_sum(preload_ns(&now), left);
	if ((id == CLOCK_REALTIME || id == CLOCK_TAI) && at < until)
		at = until;
	*host = preload_timespec(at);
	return true;
}
