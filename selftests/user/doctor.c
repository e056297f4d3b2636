// SPDX-License-Identifier: GPL-2.0
/*
 * "parkclock doctor" finds what is wrong.
 *
 * Checked: the measurement of the doctor is compiled in here. It gets a clock with one fault at
 * a time, made from the real clock, and must name the fault by the check that it belongs to;
 * without a fault it finds none. The program itself, run with the TSC forbidden or in a time
 * namespace, survives, says so, and finds the clock right.
 *
 * Fails if a reading outside its bound, a step back between CPUs, a wrong rate or a page that
 * never has a time passes for right, or if the doctor itself reads the TSC, by way of the vDSO,
 * where that kills.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "libparkclock.h"

/* What the measurement calls instead of the library. */
static int faulty_hold(struct parkclock *pc);
static int faulty_page(struct parkclock *pc, clockid_t id, struct parkclock_reading *r);
static int faulty_read(struct parkclock *pc, clockid_t id, struct parkclock_reading *r);

#define parkclock_hold			faulty_hold
#define parkclock_page_now_bound	faulty_page
#define parkclock_slow_now_bound	faulty_read
#include "doctor_clock.c"
#undef parkclock_hold
#undef parkclock_page_now_bound
#undef parkclock_slow_now_bound

/* The kernel's harness has its own. */
#undef ARRAY_SIZE
#include "lib/harness.h"

#define PROGRAM		"/bin/parkclock"
#define OFF_NS		10000000	/* more than any bound here, or bracket that is narrow */

void find(struct finding *f, enum verdict result, const char *advice, const char *fmt, ...)
{
	va_list args;

	f->result = result;
	f->advice = advice;
	va_start(args, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, args);
	va_end(args);
}

/* The fault: what is done to the readings. */
static struct {
	bool no_hold, no_read, no_page;
	bool back;		/* every other thread is behind */
	__s64 page_ns, read_ns;	/* added */
	__s64 too_fast;		/* by one in so many */
	__u64 expire_every;	/* so many readings, the page has none */
} fault;

static atomic_ullong page_readings;
static atomic_int threads;
static __thread int thread;

static int faulty_hold(struct parkclock *pc)
{
	errno = EOVERFLOW;
	return fault.no_hold ? -1 : parkclock_hold(pc);
}

static int distort(struct parkclock_reading *r, __s64 add)
{
	if (!thread)
		thread = ++threads;
	r->ns += add;
	if (fault.back && thread % 2)
		r->ns -= OFF_NS;
	if (fault.too_fast)
		r->ns += r->ns / fault.too_fast;
	return 0;
}

static int faulty_page(struct parkclock *pc, clockid_t id, struct parkclock_reading *r)
{
	const __u64 n = ++page_readings;

	errno = EAGAIN;
	if (fault.no_page || (fault.expire_every && n % fault.expire_every == 0))
		return -1;
	return parkclock_page_now_bound(pc, id, r) ? -1 : distort(r, fault.page_ns);
}

static int faulty_read(struct parkclock *pc, clockid_t id, struct parkclock_reading *r)
{
	errno = EIO;
	if (fault.no_read)
		return -1;
	return parkclock_slow_now_bound(pc, id, r) ? -1 : distort(r, fault.read_ns);
}

/* The first seconds after boot it is not decided what the host will keep time by. */
static void settle(void)
{
	char name[32] = "";
	FILE *f;

	do {
		usleep(10000);
		f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "r");
		if (!f || !fgets(name, sizeof(name), f))
			exit(KSFT_FAIL);
		fclose(f);
	} while (!strcmp(name, "tsc-early\n"));
}

FIXTURE(doctor) {
	struct patient p;
	bool usable;
};

FIXTURE_SETUP(doctor)
{
	memset(&fault, 0, sizeof(fault));
	threads = 0;
	self->p.for_ns = NSEC_PER_SEC / 2;
	self->p.quiet = true;
	self->p.pc = parkclock_open(NULL);
	ASSERT_NE(NULL, self->p.pc);
	settle();
	self->usable = page_used(self->p.pc);
}

FIXTURE_TEARDOWN(doctor)
{
	parkclock_close(self->p.pc);
}

#define NEEDS_PAGE(statement) do { \
	if (!self->usable) \
		SKIP(statement, "needs a host that keeps time by the TSC"); \
} while (0)

static enum verdict verdict(struct __test_metadata *_metadata, FIXTURE_DATA(doctor) *self,
			    check_fn *check)
{
	struct finding f;

	if (!self->p.measured)
		measure(&self->p);
	check(&self->p, &f);
	TH_LOG("%d: %s", f.result, f.text);
	EXPECT_EQ(!f.advice, f.result == OK || f.result == SKIPPED);
	return f.result;
}

#define EXPECT_VERDICT(result, check) EXPECT_EQ(result, verdict(_metadata, self, check))

/*
 * Measures until the check comes to @result: threads may not meet, and readings be few,
 * where the machine stands still meanwhile.
 */
static void measure_until(FIXTURE_DATA(doctor) *self, enum verdict result, check_fn *check)
{
	struct finding f = { .result = SKIPPED };

	for (int tries = 0; tries < 20 && f.result != result; tries++) {
		memset(&self->p.m, 0, sizeof(self->p.m));
		measure(&self->p);
		check(&self->p, &f);
	}
}

TEST_F(doctor, without_fault)
{
	EXPECT_VERDICT(OK, check_bounds);
	EXPECT_VERDICT(OK, check_monotonic);
	EXPECT_VERDICT(OK, check_rate);
	EXPECT_NE(FAILURE, verdict(_metadata, self, check_reference));
	EXPECT_GE(self->p.m.ns, self->p.for_ns);
	EXPECT_LE(self->p.m.best_ns, self->p.m.median_ns);
	EXPECT_EQ(self->usable, self->p.m.by_page > 0);
	EXPECT_LT(0, self->p.m.by_read);
}

TEST_F(doctor, page_is_ahead)
{
	NEEDS_PAGE(return);
	fault.page_ns = OFF_NS;
	EXPECT_VERDICT(FAILURE, check_bounds);
	EXPECT_LT(OFF_NS / 2, self->p.m.wrong_ns);
}

TEST_F(doctor, page_is_behind)
{
	NEEDS_PAGE(return);
	fault.page_ns = -OFF_NS;
	EXPECT_VERDICT(FAILURE, check_bounds);
	EXPECT_LT(OFF_NS / 2, self->p.m.wrong_ns);
}

/* A few readings among many, and then the page is less than they were. */
TEST_F(doctor, read_is_ahead)
{
	fault.read_ns = OFF_NS;
	if (self->usable)
		measure_until(self, FAILURE, check_monotonic);
	EXPECT_VERDICT(FAILURE, check_bounds);
	EXPECT_VERDICT(self->usable ? FAILURE : OK, check_monotonic);
}

TEST_F(doctor, other_cpus_are_behind)
{
	fault.back = true;
	measure_until(self, FAILURE, check_monotonic);
	EXPECT_VERDICT(FAILURE, check_monotonic);
	EXPECT_LT(OFF_NS / 2, self->p.m.back_ns);
}

TEST_F(doctor, too_fast)
{
	fault.too_fast = 100;
	EXPECT_VERDICT(FAILURE, check_rate);
	EXPECT_LT(1e6, self->p.m.rate_ppb);
}

TEST_F(doctor, page_never_has_a_time)
{
	NEEDS_PAGE(return);
	fault.no_page = true;
	EXPECT_VERDICT(FAILURE, check_reference);
	EXPECT_VERDICT(OK, check_bounds);
	EXPECT_VERDICT(OK, check_monotonic);
}

TEST_F(doctor, page_expires_now_and_then)
{
	NEEDS_PAGE(return);
	fault.expire_every = 100;
	measure_until(self, WARNING, check_reference);
	EXPECT_VERDICT(WARNING, check_reference);
	EXPECT_VERDICT(OK, check_bounds);
}

TEST_F(doctor, cannot_hold)
{
	fault.no_hold = true;
	EXPECT_VERDICT(FAILURE, check_reference);
}

TEST_F(doctor, cannot_read)
{
	fault.no_read = true;
	EXPECT_VERDICT(FAILURE, check_bounds);
	EXPECT_VERDICT(SKIPPED, check_rate);
}

/* The program's findings, by @prepare and then exec in a child; -1 if that failed. */
static int examine(void (*prepare)(void), char *text, size_t size)
{
	int out[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t pid;

	if (pipe(out))
		return -1;
	pid = fork();
	if (!pid) {
		dup2(out[1], STDOUT_FILENO);
		prepare();
		execl(PROGRAM, PROGRAM, "doctor", "--seconds", "0.2", NULL);
		_exit(126);
	}
	close(out[1]);
	while ((n = read(out[0], text + used, size - 1 - used)) > 0)
		used += n;
	text[used] = '\0';
	close(out[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static void forbid_tsc(void)
{
	if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV))
		_exit(125);
}

static void enter_nothing(void)
{
}

TEST_F(doctor, tsc_forbidden)
{
	char text[8192];

	ASSERT_EQ(0, examine(forbid_tsc, text, sizeof(text))) {
		TH_LOG("%s", text);
	}
	EXPECT_NE(NULL, strstr(text, "\nwarning  tsc_allowed "));
	EXPECT_NE(NULL, strstr(text, "\nnote     reference "));
	EXPECT_NE(NULL, strstr(text, "\nok       bounds "));
	EXPECT_NE(NULL, strstr(text, "\nok       monotonicity "));
	EXPECT_NE(NULL, strstr(text, "\nok       rate "));
}

TEST_F(doctor, time_namespace)
{
	char text[8192];
	FILE *f;

	if (access("/proc/self/ns/time", F_OK))
		SKIP(return, "needs a kernel with time namespaces");
	ASSERT_EQ(0, unshare(CLONE_NEWTIME));
	f = fopen("/proc/self/timens_offsets", "w");
	ASSERT_NE(NULL, f);
	fputs("monotonic 1000 500000000\nboottime -1 0\n", f);
	ASSERT_EQ(0, fclose(f));
	ASSERT_EQ(0, examine(enter_nothing, text, sizeof(text))) {
		TH_LOG("%s", text);
	}
	EXPECT_NE(NULL, strstr(text, "\nnote     time_namespace "));
	EXPECT_NE(NULL, strstr(text, "adds 1000.5 s, to BOOTTIME -1 s"));
	EXPECT_NE(NULL, strstr(text, "\nok       bounds "));
	EXPECT_NE(NULL, strstr(text, "\nok       rate "));
}

TEST_HARNESS_MAIN
