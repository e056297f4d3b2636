// SPDX-License-Identifier: GPL-2.0
/*
 * A guest of KVM reads the time from the two pages in its memory.
 *
 * Checked, with the machine and the guest of tools/examples:
 *
 * - A million reads cause not one exit (by KVM's own statistics), none goes back, and each is
 *   within its bound of what the host's clock read at that value of the counter, whatever the
 *   offset of the guest's counter.
 * - While the guest halts the clock parks, and the first read after the interrupt has the time.
 * - The guest has no time without its terms, with another guest's terms, after an event that
 *   may have changed them, and on a host that does not keep time by the TSC.
 * - The guest cannot write the pages, with any instruction or kind of slot.
 * - The guest sees when its clock is stopped, saved, restored or gets another epoch. Unmapping
 *   the pages, closing the descriptor, killing the VMM or trying to unload the module does it no
 *   harm.
 *
 * Fails if a read exits, uses a wrong offset or rate, or goes back between CPUs; if a virtual
 * CPU's reference comes late or outlives its halt; or if KVM gets a writable mapping of the
 * pages, or keeps a mapping for longer than it may.
 *
 * A read without a time is no failure if the machine stood still for a window: see
 * expired_since(), and the guest's page_end().
 */
#include <errno.h>
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
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "examples/bracket.h"
#include "examples/vmm.h"
#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/machine.h"
#include "lib/messages.h"
#include "lib/module.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define READS		1000000
#define HALTS		1000
#define KILLS		20
#define TURNS		500000	/* of each of two CPUs */
#define CPUS		2

#define NARROW_NS	10000
#define USERS		"/sys/module/parkclock/refcnt"
#define LARGE_OFFSET	0x123456789abcdef0ULL

/* As SKIP(): @statement leaves the test. */
#define NEEDS_KVM(statement) do { \
	if (!exists("/dev/kvm")) \
		SKIP(statement, "needs a kernel and a processor with KVM"); \
} while (0)

struct machine {
	struct vmm vmm;
	struct vcpu cpu[CPUS];
	int cpus;
	uint64_t offset;
	struct bracket bracket;
};

/* Too large for a stack */
static struct machine machine;

/* As TH_LOG(), outside of a test */
#define note(fmt, ...)	fprintf(stderr, "# " fmt "\n", ##__VA_ARGS__)

static void must_be_done(struct machine *m, int err)
{
	if (!err)
		return;
	note("cannot %s", m->vmm.what);
	errno = -err;
	die("the guest");
}

static void start_machine(struct machine *m, const void *map, int cpus, uint64_t offset)
{
	m->cpus = cpus;
	m->offset = offset;
	must_be_done(m, vmm_create(&m->vmm));
	if (map)
		must_be_done(m, vmm_map_clock(&m->vmm, map, true));
	for (int i = 0; i < cpus; i++) {
		must_be_done(m, vcpu_create(&m->vmm, &m->cpu[i], i));
		must_be_done(m, vcpu_set_tsc_offset(&m->cpu[i], offset));
		m->cpu[i].guest->clock_id = CLOCK_MONOTONIC;
	}
}

static void end_machine(struct machine *m)
{
	for (int i = 0; i < m->cpus; i++)
		vcpu_destroy(&m->cpu[i]);
	vmm_destroy(&m->vmm);
}

static void order(struct machine *m, enum guest_order what, uint64_t argument)
{
	must_be_done(m, vcpu_order(&m->cpu[0], what, argument));
}

static void set_guest_tsc(int fd, uint64_t offset)
{
	int err = try_guest_tsc(fd, offset, 1ULL << 32, 32);

	if (err) {
		errno = -err;
		die("PARKCLOCK_IOC_SET_GUEST_TSC");
	}
}

/* How many of some reads have a time. Again if the page was late, for as long as one waits. */
static uint64_t reads_with_time(struct machine *m)
{
	const struct guest_cpu *g = m->cpu[0].guest;

	for (int i = 0; i < PATIENCE_MS; i++) {
		order(m, GUEST_READ, 100);
		if (g->readings)
			break;
		sleep_ms(1);
	}
	return g->readings;
}

/* All of some reads have none, for a while: not because the page was late. */
static bool has_no_time(struct machine *m)
{
	const struct guest_cpu *g = m->cpu[0].guest;

	for (int i = 0; i < 50; i++) {
		order(m, GUEST_READ, 100);
		if (g->readings || g->stopped)
			return false;
		sleep_ms(1);
	}
	return true;
}

FIXTURE(kvm_guest) {
	struct pclock host;	/* a clock that nothing is done to */
	struct pclock c;
};

FIXTURE_SETUP(kvm_guest)
{
	start_parked("10", "4", "0");
	self->host = open_clock();
	self->c = open_owner();
}

FIXTURE_TEARDOWN(kvm_guest)
{
	close_clock(&self->c);
	close_clock(&self->host);
	default_params();
}

/* READS */

struct findings {
	uint64_t reads, late;
	uint64_t exits, interrupts, own;	/* own: by which the guest says that it is done */
	uint64_t outside;			/* readings */
	uint64_t narrow;			/* those that were checked to 10 us */
	int64_t distance;			/* the largest of one to its bracket */
};

/* @shift_ns: how far the clock is from the host's */
static void check_reading(struct machine *m, struct findings *s, const struct parkclock_reading *r,
			  int64_t shift_ns)
{
	int64_t width, distance;

	distance = bracket_distance(&m->bracket, r->cycles - m->offset, r->ns - shift_ns, &width);
	if (llabs(distance) > (int64_t)r->error_ns && !s->outside++)
		note("%lld ns at %#llx is out of the host's bracket by %lld ns, its bound is %llu",
		     (long long)r->ns, (unsigned long long)r->cycles, (long long)distance,
		     (unsigned long long)r->error_ns);
	if (llabs(distance) > s->distance)
		s->distance = llabs(distance);
	s->narrow += width < NARROW_NS;
}

static void read_and_check(struct machine *m, struct findings *s, int64_t shift_ns)
{
	const struct guest_cpu *g = m->cpu[0].guest;
	struct vcpu_exits before, after;

	must_be_done(m, vcpu_get_exits(&m->cpu[0], &before));
	if (bracket_begin(&m->bracket, g->clock_id))
		die("pthread_create");
	order(m, GUEST_READ, GUEST_READINGS);
	bracket_end(&m->bracket);
	must_be_done(m, vcpu_get_exits(&m->cpu[0], &after));
	for (uint64_t i = 0; i < g->readings; i++)
		check_reading(m, s, &g->reading[i], shift_ns);
	s->reads += g->readings;
	s->late += g->expired;
	s->exits += vcpu_exits_of(&before, &after, "exits");
	s->interrupts += vcpu_exits_of(&before, &after, "irq_exits");
	s->own += vcpu_exits_of(&before, &after, "io_exits");
}

static void show(const struct findings *s)
{
	note("%llu reads, late %llu; exits %llu, by the host's interrupts %llu, own %llu",
	     (unsigned long long)s->reads, (unsigned long long)s->late,
	     (unsigned long long)s->exits, (unsigned long long)s->interrupts,
	     (unsigned long long)s->own);
	note("out of the host's bracket by %lld ns at most; narrower than 10 us: %llu",
	     (long long)s->distance, (unsigned long long)s->narrow);
}

FIXTURE(offset) {
	struct pclock c;
};

FIXTURE_VARIANT(offset) {
	uint64_t offset;
	bool wraps;
};

FIXTURE_VARIANT_ADD(offset, none) { .offset = 0 };
FIXTURE_VARIANT_ADD(offset, large) { .offset = LARGE_OFFSET };
/* The guest's counter begins below zero, and passes it in the middle of the test. */
FIXTURE_VARIANT_ADD(offset, negative) { .wraps = true };

FIXTURE_SETUP(offset)
{
	start_parked("100", "4", "0");
	self->c = open_owner();
}

FIXTURE_TEARDOWN(offset)
{
	close_clock(&self->c);
	default_params();
}

TEST_F_TIMEOUT(offset, a_million_reads, 900)
{
	struct machine *m = &machine;
	struct findings s = { 0 };
	uint64_t lead, batches = 0;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	start_machine(m, self->c.map, 1, variant->offset);
	set_guest_tsc(self->c.fd, variant->offset);
	must_register(self->c.fd, 0, 0);
	/* The first ones fault the pages in. */
	order(m, GUEST_READ, GUEST_READINGS);
	ASSERT_EQ(1, m->cpu[0].guest->usable);
	ASSERT_LT(0, reads_with_time(m));
	/* It is to pass zero while it is read, however slow the machine is. */
	lead = query(self->c.fd).counter_hz / 2;
	while (variant->wraps && (int64_t)m->cpu[0].guest->reading[0].cycles >= 0) {
		m->offset = -tsc() - lead;
		must_be_done(m, vcpu_set_tsc_offset(&m->cpu[0], m->offset));
		set_guest_tsc(self->c.fd, m->offset);
		ASSERT_LT(0, reads_with_time(m));
		lead *= 2;
	}
	while (s.reads < scaled(READS) ||
	       (variant->wraps && (int64_t)m->cpu[0].guest->reading[0].cycles < 0)) {
		const uint64_t reads = s.reads;

		read_and_check(m, &s, 0);
		batches++;
		if (s.reads == reads)
			ASSERT_LT(0, reads_with_time(m));
	}
	show(&s);
	EXPECT_EQ(0, m->cpu[0].guest->back);
	EXPECT_EQ(0, s.outside);
	EXPECT_EQ(batches, s.own);
	EXPECT_EQ(s.exits, s.interrupts + s.own);
	EXPECT_GT(s.reads / 2, s.interrupts);
	end_machine(m);
}

/* The segment that is published since seq was that, if there is no other yet. */
static bool one_segment(const void *map, uint64_t seq, struct parkclock_segment *segment)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(map);

	*segment = tb->segment[seq & 1];
	return __parkclock_acquire(&tb->seq) == seq;
}

/*
 * As long as there is no refresh the page says the same to the guest and to the host, to the
 * nanosecond: however loosely the host's clock brackets it. That the page is right is for
 * others to test.
 */
TEST_F(kvm_guest, reads_what_the_page_says)
{
	static const uint64_t offsets[5] = { 0, 1, -1ULL, LARGE_OFFSET, 1ULL << 63 };
	const struct parkclock_timebase *tb = __parkclock_timebase(self->host.map);
	struct machine *m = &machine;
	const struct guest_cpu *g;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	start_machine(m, self->c.map, 1, 0);
	g = m->cpu[0].guest;
	must_set("interval_ms", "20000");
	hold(self->c.fd);
	for (int i = 0; i < 5; i++) {
		struct parkclock_segment segment;
		uint64_t seq;

		must_be_done(m, vcpu_set_tsc_offset(&m->cpu[0], offsets[i]));
		set_guest_tsc(self->c.fd, offsets[i]);
		do {
			ASSERT_LT(0, reads_with_time(m));
			seq = __parkclock_acquire(&tb->seq);
			order(m, GUEST_READ, GUEST_READINGS);
		} while (!g->readings || !one_segment(self->host.map, seq, &segment));
		for (uint64_t n = 0; n < g->readings; n++) {
			const struct parkclock_reading *r = &g->reading[n];
			const uint64_t delta = r->cycles - offsets[i] - segment.base_cycles;

			ASSERT_EQ((__u64)r->ns, segment.base_ns +
				  parkclock_scale(delta, segment.rate, segment.base_frac));
			ASSERT_EQ(r->error_ns,
				  parkclock_error(segment.error_ns, segment.error_rate, delta));
		}
	}
	EXPECT_EQ(0, g->back);
	end_machine(m);
}

TEST_F(kvm_guest, every_clock)
{
	struct machine *m = &machine;
	struct findings s = { 0 };

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	start_machine(m, self->c.map, 1, LARGE_OFFSET);
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	must_set("interval_ms", "100");
	hold(self->c.fd);
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		m->cpu[0].guest->clock_id = clock_ids[i];
		m->cpu[0].guest->last_ns = 0;
		ASSERT_LT(0, reads_with_time(m));
		read_and_check(m, &s, 0);
		EXPECT_EQ(0, s.outside) {
			TH_LOG("clock %d", clock_ids[i]);
		}
	}
	EXPECT_EQ(0, m->cpu[0].guest->back);
	m->cpu[0].guest->clock_id = CLOCK_PROCESS_CPUTIME_ID;
	EXPECT_TRUE(has_no_time(m));
	end_machine(m);
}

/* The host changes its rate all the time: the guest is told, as everybody is. */
TEST_F(kvm_guest, bound_while_the_rate_changes)
{
	struct machine *m = &machine;
	struct findings s = { 0 };
	uint64_t seed = 42;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	start_machine(m, self->c.map, 1, LARGE_OFFSET);
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	hold(self->c.fd);
	for (unsigned int i = 0; i < scaled(100); i++) {
		throw_frequency(i, &seed);
		read_and_check(m, &s, 0);
	}
	restore_frequency();
	show(&s);
	EXPECT_LT(0, s.reads);
	EXPECT_EQ(0, s.outside);
	EXPECT_EQ(0, m->cpu[0].guest->back);
	end_machine(m);
}

struct turns {
	struct machine *m;
	int cpu, fd;
	uint64_t reads;
	pthread_t thread;
};

static void *takes_turns(void *arg)
{
	struct turns *t = arg;
	struct vcpu *v = &t->m->cpu[t->cpu];

	must_register(t->fd, 0, 0);
	while (t->reads < scaled(TURNS)) {
		must_be_done(t->m, vcpu_order(v, GUEST_TURNS, 10000));
		t->reads += v->guest->readings;
	}
	return NULL;
}

/* What one CPU has read it hands to the other, which must not read less. */
TEST_F_TIMEOUT(kvm_guest, two_cpus, 900)
{
	struct machine *m = &machine;
	struct turns t[CPUS];
	uint64_t seed = 42;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	start_machine(m, self->c.map, CPUS, LARGE_OFFSET);
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	for (int i = 0; i < CPUS; i++) {
		t[i] = (struct turns){ .m = m, .cpu = i, .fd = self->c.fd };
		t[i].thread = start_thread(takes_turns, &t[i]);
	}
	/* So that there are slews of all kinds, also those that must not take back anything. */
	for (unsigned int i = 0; t[0].reads < scaled(TURNS) || t[1].reads < scaled(TURNS); i++) {
		throw_frequency(i, &seed);
		sleep_ms(10);
	}
	restore_frequency();
	for (int i = 0; i < CPUS; i++) {
		pthread_join(t[i].thread, NULL);
		EXPECT_EQ(0, m->cpu[i].guest->back);
	}
	end_machine(m);
}

/* HALTS */

struct halts {
	struct machine *m;
	int fd;
	int rounds;
	int late;
	atomic_int round;		/* about to halt for the last time but so many */
	atomic_int done;
};

static void *halts(void *arg)
{
	struct halts *h = arg;

	must_register(h->fd, 0, 0);
	for (int round = 1; round <= h->rounds; round++) {
		h->round = round;
		must_be_done(h->m, vcpu_order(&h->m->cpu[0], GUEST_HALT, 0));
		h->done = round;
		while (h->round != -round)
			sched_yield();
	}
	return NULL;
}

static bool reaches(atomic_int *value, int wanted)
{
	const int64_t t0 = now_ns(CLOCK_MONOTONIC);

	while (*value != wanted) {
		if (now_ns(CLOCK_MONOTONIC) - t0 > PATIENCE_MS * 1000000LL)
			return false;
		sleep_us(50);
	}
	return true;
}

/* The guest halts, the clock has parked, and nothing is left in the page. */
/* Each with a clock that has parked; returns what is wrong with a round, or NULL. */
static const char *halt_once(struct halts *h, const struct pclock *host, int round)
{
	const struct guest_cpu *g = h->m->cpu[0].guest;
	const uint32_t interrupts = g->interrupts;
	uint64_t woken;
	int64_t t0;

	if (!reaches(&h->round, round))
		return "it does not halt";
	if (!wait_parked_and_expired(host))
		return "the clock does not park";
	if (h->done == round)
		return "it has not halted";
	t0 = kernel_ns(CLOCK_MONOTONIC);
	woken = tsc();
	must_be_done(h->m, vmm_interrupt(&h->m->vmm, 0));
	if (!reaches(&h->done, round))
		return "it is not woken";
	if (g->interrupts != interrupts + 1)
		return "it was woken by something else";
	if (g->woken_ns == PARKCLOCK_EXPIRED && (int64_t)(g->woken_end - woken) <= 0)
		return "the first read found a page that had expired";
	if (g->woken_ns == PARKCLOCK_EXPIRED)
		h->late++;
	else if (g->woken_ns < 0)
		return "the first read has no time";
	else if (!within_bound(&g->woken, t0, kernel_ns(CLOCK_MONOTONIC)))
		return "the first read is out of its bound";
	else if ((int64_t)(g->woken.cycles - h->m->offset - woken) < 0)
		return "the first read was before the interrupt";
	return NULL;
}

static const char *halt_all(struct halts *h, const struct pclock *host)
{
	const char *wrong = NULL;
	pthread_t thread;

	must_set("interval_ms", "1");
	thread = start_thread(halts, h);
	for (int round = 1; !wrong && round <= h->rounds; round++) {
		wrong = halt_once(h, host, round);
		if (wrong)
			note("in round %d", round);
		h->round = -round;
	}
	if (!wrong)
		pthread_join(thread, NULL);
	return wrong;
}

TEST_F_TIMEOUT(kvm_guest, first_read_after_a_halt, 900)
{
	struct machine *m = &machine;
	struct halts h = { .m = m, .fd = self->c.fd, .rounds = scaled(HALTS) };
	struct parkclock_query start, end;
	const char *wrong;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	start_machine(m, self->c.map, 1, LARGE_OFFSET);
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	start = query(self->c.fd);
	wrong = halt_all(&h, &self->host);
	ASSERT_EQ(NULL, wrong) {
		TH_LOG("%s", wrong);
	}
	end = query(self->c.fd);
	EXPECT_EQ(0, m->cpu[0].guest->back);
	EXPECT_GE(end.parks - start.parks, (uint64_t)h.rounds);
	EXPECT_GE(end.run_wakes - start.run_wakes, (uint64_t)h.rounds);
	EXPECT_EQ(end.wakes - start.wakes, end.run_wakes - start.run_wakes);
	TH_LOG("%llu parks, page late %d times", (unsigned long long)(end.parks - start.parks),
	       h.late);
	end_machine(m);
}

/* Nobody has the clock but the mapping, and the guest in it: that is enough. */
TEST_F(kvm_guest, halts_with_the_descriptor_closed)
{
	struct machine *m = &machine;
	struct halts h = { .m = m, .fd = dup(self->c.fd), .rounds = 20 };
	struct parkclock_query start, end;
	const char *wrong;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	start_machine(m, self->c.map, 1, LARGE_OFFSET);
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	start = query(self->host.fd);
	wrong = halt_all(&h, &self->host);
	ASSERT_EQ(NULL, wrong) {
		TH_LOG("%s", wrong);
	}
	/* The thread is gone: this one is the virtual CPU's from now on. */
	must_register(self->c.fd, 0, 0);
	close(h.fd);
	close(self->c.fd);
	EXPECT_LT(0, reads_with_time(m));
	end = query(self->host.fd);
	EXPECT_GE(end.run_wakes - start.run_wakes, (uint64_t)h.rounds);
	EXPECT_TRUE(wait_all_tasks(self->host.fd, 1));
	end_machine(m);
	munmap(self->c.map, PARKCLOCK_MAP_SIZE);
	EXPECT_TRUE(wait_all_tasks(self->host.fd, 0));
	self->c = open_owner();
}

/* WITHOUT A TIME */

TEST_F(kvm_guest, needs_the_translation)
{
	struct machine *m = &machine;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	start_machine(m, self->c.map, 1, 0);
	hold(self->c.fd);
	EXPECT_TRUE(has_no_time(m));
	set_guest_tsc(self->c.fd, 0);
	EXPECT_LT(0, reads_with_time(m));
	/* No more a guest's, and then one whose counter is an hour ahead, or behind. */
	EXPECT_EQ(0, try_guest_tsc(self->c.fd, 0, 0, 0));
	EXPECT_TRUE(has_no_time(m));
	set_guest_tsc(self->c.fd, 3600 * query(self->c.fd).counter_hz);
	EXPECT_TRUE(has_no_time(m));
	set_guest_tsc(self->c.fd, -3600 * query(self->c.fd).counter_hz);
	EXPECT_TRUE(has_no_time(m));
	set_guest_tsc(self->c.fd, 0);
	EXPECT_LT(0, reads_with_time(m));
	EXPECT_EQ(0, m->cpu[0].guest->back);
	end_machine(m);
}

/* On such a host nothing that the guest is told leads to the host's time. */
TEST_F(kvm_guest, no_time_without_the_counter)
{
	struct machine *m = &machine;

	NEEDS_KVM(return);
	if (counter_usable())
		SKIP(return, "needs a host that does not keep time by the TSC");
	start_machine(m, self->c.map, 1, 0);
	hold(self->c.fd);
	EXPECT_TRUE(has_no_time(m));
	set_guest_tsc(self->c.fd, 0);
	EXPECT_TRUE(has_no_time(m));
	order(m, GUEST_READ, 1000);
	EXPECT_EQ(1000, m->cpu[0].guest->expired);
	end_machine(m);
}

/* The counter may have stood still, or begun anew: what was said of the guest's is over. */
TEST_F(kvm_guest, no_time_after_a_disruption)
{
	struct machine *m = &machine;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	start_machine(m, self->c.map, 1, LARGE_OFFSET);
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	hold(self->c.fd);
	EXPECT_LT(0, reads_with_time(m));
	if (!choose("hpet") && !choose("acpi_pm"))
		SKIP(goto out, "needs a kernel that has another clocksource than the TSC");
	EXPECT_TRUE(has_no_time(m));
	EXPECT_TRUE(choose("tsc"));
	EXPECT_TRUE(comes_back(self->host.map));
	EXPECT_TRUE(has_no_time(m));
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	EXPECT_LT(0, reads_with_time(m));
	EXPECT_EQ(0, m->cpu[0].guest->back);
out:
	end_machine(m);
}

/* A GUEST THAT WOULD WRITE */

TEST_F_TIMEOUT(kvm_guest, cannot_write, 300)
{
	static char before[PARKCLOCK_MAP_SIZE];
	struct machine *m = &machine;
	struct vcpu *v = &m->cpu[0];
	uint64_t writes = 0;

	NEEDS_KVM(return);
	/* Nobody is registered, so the page does not change. */
	start_machine(m, self->c.map, 1, 0);
	set_guest_tsc(self->c.fd, 0);
	memcpy(before, self->c.map, sizeof(before));
	for (uint64_t at = 0; at < PARKCLOCK_MAP_SIZE; at += 8) {
		order(m, GUEST_STORE, GUEST_CLOCK + at);
		ASSERT_EQ(++writes, v->writes);
		ASSERT_EQ(GUEST_CLOCK + at, v->write_address);
		order(m, GUEST_EXCHANGE, GUEST_CLOCK + at);
		ASSERT_EQ(++writes, v->writes);
		ASSERT_EQ(GUEST_CLOCK + at, v->write_address);
	}
	EXPECT_EQ(0, memcmp(before, self->c.map, sizeof(before)));
	end_machine(m);
}

/* A VMM that says that the guest may write: it does not get farther. */
TEST_F(kvm_guest, cannot_write_where_the_slot_is_writable)
{
	static char before[PARKCLOCK_MAP_SIZE];
	static const enum guest_order ways[] = { GUEST_STORE, GUEST_EXCHANGE };
	struct machine *m = &machine;

	NEEDS_KVM(return);
	set_guest_tsc(self->c.fd, 0);
	memcpy(before, self->c.map, sizeof(before));
	for (int page = 0; page < 2; page++) {
		for (int i = 0; i < 2; i++) {
			start_machine(m, NULL, 1, 0);
			ASSERT_EQ(0, vmm_map_clock(&m->vmm, self->c.map, false));
			/* So that the page is there already, for reading. */
			order(m, GUEST_READ, 100);
			EXPECT_EQ(1, m->cpu[0].guest->usable);
			EXPECT_EQ(-EFAULT, vcpu_order(&m->cpu[0], ways[i],
						      GUEST_CLOCK + page * PARKCLOCK_PAGE_SIZE));
			EXPECT_EQ(0, memcmp(before, self->c.map, sizeof(before)));
			end_machine(m);
		}
	}
}

/* WHAT BECOMES OF THE CLOCK */

struct reads {
	struct vcpu *cpu;
	int fd;
	atomic_bool stop;
	atomic_ullong batches;
	int err;
	pthread_t thread;
};

static void *reads(void *arg)
{
	struct reads *r = arg;

	must_register(r->fd, 0, 0);
	while (!r->stop && !r->err) {
		r->err = vcpu_order(r->cpu, GUEST_READ, 1000);
		r->batches++;
	}
	return NULL;
}

static void start_reads(struct reads *r, struct vcpu *cpu, int fd)
{
	*r = (struct reads){ .cpu = cpu, .fd = fd };
	r->thread = start_thread(reads, r);
	while (r->batches < 2)
		sleep_us(100);
}

static void stop_reads(struct reads *r)
{
	r->stop = true;
	pthread_join(r->thread, NULL);
}

TEST_F(kvm_guest, sees_that_it_is_stopped)
{
	struct machine *m = &machine;
	const struct guest_cpu *g;
	struct parkclock_saved saved;
	struct reads r;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	start_machine(m, self->c.map, 1, LARGE_OFFSET);
	g = m->cpu[0].guest;
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	for (int i = 0; i < 20; i++) {
		start_reads(&r, &m->cpu[0], self->c.fd);
		saved = save(self->c.fd);
		stop_reads(&r);
		ASSERT_EQ(0, r.err);
		ASSERT_GE(saved.monotonic_ns, g->last_ns);
		order(m, GUEST_READ, 1000);
		ASSERT_EQ(1000, g->stopped);
		must(self->c.fd, PARKCLOCK_IOC_START, PARKCLOCK_GAP_FREEZE);
		hold(self->c.fd);
		ASSERT_LT(0, reads_with_time(m));
		ASSERT_LE(saved.monotonic_ns, g->reading[0].ns);
		release(self->c.fd);
	}
	EXPECT_EQ(0, g->back);
	end_machine(m);
}

/* The guest goes on in another clock, with what that one is from the host's. */
static bool reads_are_right(struct machine *m, const struct pclock *c)
{
	struct findings s = { 0 };

	hold(c->fd);
	must_be_done(m, vmm_map_clock(&m->vmm, NULL, true));
	must_be_done(m, vmm_map_clock(&m->vmm, c->map, true));
	if (!reads_with_time(m))
		return false;
	read_and_check(m, &s, offset_of(c->map, PARKCLOCK_MONOTONIC));
	release(c->fd);
	return !s.outside && !m->cpu[0].guest->back;
}

TEST_F(kvm_guest, a_clock_of_its_own)
{
	struct machine *m = &machine;
	struct parkclock_saved saved;
	struct pclock c;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	must_set("interval_ms", "100");
	start_machine(m, self->c.map, 1, LARGE_OFFSET);
	c.fd = open_fresh();
	must(c.fd, PARKCLOCK_IOC_EPOCH, 0);
	set_guest_tsc(c.fd, LARGE_OFFSET);
	c.map = map_clock(c.fd);
	EXPECT_TRUE(reads_are_right(m, &c));
	EXPECT_GT(PATIENCE_MS * 1000000LL, m->cpu[0].guest->reading[0].ns);
	saved = save(c.fd);
	close_clock(&c);

	/* The translation is no part of what was saved. */
	c.fd = open_fresh();
	ASSERT_EQ(0, try_restore(c.fd, &saved, PARKCLOCK_GAP_FREEZE));
	c.map = map_clock(c.fd);
	must_be_done(m, vmm_map_clock(&m->vmm, NULL, true));
	must_be_done(m, vmm_map_clock(&m->vmm, c.map, true));
	hold(c.fd);
	EXPECT_TRUE(has_no_time(m));
	release(c.fd);
	set_guest_tsc(c.fd, LARGE_OFFSET);
	EXPECT_TRUE(reads_are_right(m, &c));
	EXPECT_LE(saved.monotonic_ns, m->cpu[0].guest->reading[0].ns);
	close_clock(&c);
	end_machine(m);
}

TEST_F(kvm_guest, a_view)
{
	struct machine *m = &machine;
	struct pclock view;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	must_set("interval_ms", "100");
	start_machine(m, NULL, 1, LARGE_OFFSET);
	view.fd = ioctl(self->c.fd, PARKCLOCK_IOC_VIEW, 0);
	ASSERT_LE(0, view.fd);
	view.map = map_clock(view.fd);
	must_be_done(m, vmm_map_clock(&m->vmm, view.map, true));
	hold(self->c.fd);
	EXPECT_TRUE(has_no_time(m));
	set_guest_tsc(self->c.fd, LARGE_OFFSET);
	EXPECT_LT(0, reads_with_time(m));
	order(m, GUEST_STORE, GUEST_CLOCK);
	EXPECT_EQ(1, m->cpu[0].writes);
	close_clock(&view);
	end_machine(m);
}

/* AND OF ITS OWNER */

TEST_F(kvm_guest, unmapped_while_it_reads)
{
	struct machine *m = &machine;
	struct reads r;

	NEEDS_KVM(return);
	for (int i = 0; i < 20; i++) {
		void *map = map_clock(self->c.fd);

		start_machine(m, map, 1, 0);
		set_guest_tsc(self->c.fd, 0);
		start_reads(&r, &m->cpu[0], self->c.fd);
		sleep_us(i * 100);
		munmap(map, PARKCLOCK_MAP_SIZE);
		pthread_join(r.thread, NULL);
		/* KVM finds nothing where the pages were. */
		ASSERT_EQ(-EFAULT, r.err);
		end_machine(m);
	}
	EXPECT_TRUE(wait_references(self->host.fd, 0));
	EXPECT_TRUE(wait_all_tasks(self->host.fd, 0));
}

/* For ever: reads in one CPU, halts in the other. */
static void vmm_to_be_killed(int sock)
{
	struct pclock c = open_owner();
	struct machine *m = &machine;
	struct reads r;
	struct halts h = { .m = m, .fd = c.fd, .rounds = 1 };

	start_machine(m, c.map, 2, 0);
	set_guest_tsc(c.fd, 0);
	start_thread(halts, &h);
	while (!h.round)
		sleep_us(100);
	start_reads(&r, &m->cpu[1], c.fd);
	say(sock, 1);
	sleep_for_ever();
}

static int users(void)
{
	char text[32];

	if (read_file(USERS, text, sizeof(text)))
		die(USERS);
	return atoi(text);
}

static bool wait_users(int wanted)
{
	return wait_until(users() == wanted);
}

TEST_F_TIMEOUT(kvm_guest, killed_while_it_runs, 300)
{
	const int used = users();
	const unsigned int kills = scaled(KILLS);
	struct child c;

	NEEDS_KVM(return);
	NEEDS_SWITCHES(return);
	for (unsigned int i = 0; i < kills; i++) {
		c = start_child(vmm_to_be_killed);
		ASSERT_EQ(1, hear(c.sock));
		EXPECT_EQ(2, query(self->host.fd).all_tasks);
		EXPECT_LT(used, users());
		sleep_us(i * 300);
		end_child(&c);
		EXPECT_TRUE(wait_references(self->host.fd, 0));
		EXPECT_TRUE(wait_all_tasks(self->host.fd, 0));
		EXPECT_TRUE(wait_users(used));
	}
	EXPECT_TRUE(wait_state(self->host.fd, PARKCLOCK_PARKED));
}

/* With nothing else open the guest's mapping alone keeps the module, and nothing after it. */
TEST_F(kvm_guest, keeps_the_module)
{
	struct machine *m = &machine;
	struct reads r;

	NEEDS_KVM(return);
	NEEDS_SWITCHES(return);
	start_machine(m, self->c.map, 1, 0);
	set_guest_tsc(self->c.fd, 0);
	close_clock(&self->host);
	start_reads(&r, &m->cpu[0], dup(self->c.fd));
	close(r.fd);
	close(self->c.fd);
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(-EWOULDBLOCK, unload());
		sleep_ms(1);
	}
	stop_reads(&r);
	EXPECT_EQ(0, r.err);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	munmap(self->c.map, PARKCLOCK_MAP_SIZE);
	/* The machine is there, and the slot: it does not keep what is unmapped. */
	EXPECT_TRUE(wait_users(0));
	end_machine(m);
	EXPECT_EQ(0, users());
	self->host = open_clock();
	self->c = open_owner();
}

/* ANOTHER RATE */

/* The fraction that KVM scales by has so many bits. */
static uint32_t ratio_shift(void)
{
	return exists("/sys/module/kvm_intel") ? 48 : 32;
}

TEST_F(kvm_guest, another_rate)
{
	struct machine *m = &machine;
	const struct guest_cpu *g;

	NEEDS_KVM(return);
	NEEDS_COUNTER(return);
	start_machine(m, self->c.map, 1, 0);
	g = m->cpu[0].guest;
	if (ioctl(m->vmm.kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) <= 0)
		SKIP(goto out, "needs a processor that scales the guest's counter");
	must_set("interval_ms", "100");
	hold(self->c.fd);
	for (int percent = 50; percent <= 150; percent += 25) {
		const long khz = ioctl(m->cpu[0].fd, KVM_GET_TSC_KHZ, 0);
		const long guest_khz = khz * percent / 100;
		const unsigned __int128 one = (unsigned __int128)1 << ratio_shift();
		const uint64_t ratio = one * guest_khz / khz;

		ASSERT_EQ(0, ioctl(m->cpu[0].fd, KVM_SET_TSC_KHZ, guest_khz));
		must_be_done(m, vcpu_set_tsc_offset(&m->cpu[0], LARGE_OFFSET));
		ASSERT_EQ(0, try_guest_tsc(self->c.fd, LARGE_OFFSET, ratio, ratio_shift()));
		for (int i = 0; i < 1000; i++) {
			const int64_t t0 = kernel_ns(CLOCK_MONOTONIC);

			ASSERT_LT(0, reads_with_time(m));
			ASSERT_TRUE(within_bound(&g->reading[0], t0, kernel_ns(CLOCK_MONOTONIC)));
		}
		ASSERT_EQ(0, ioctl(m->cpu[0].fd, KVM_SET_TSC_KHZ, khz));
	}
	EXPECT_EQ(0, g->back);
out:
	end_machine(m);
}

TEST_HARNESS_MAIN
