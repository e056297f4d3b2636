// SPDX-License-Identifier: GPL-2.0
/*
 * No reading is wrong whatever happens to the host: its timer is late, a CPU goes off-line, the
 * machine is stopped, sleeps, keeps time by another clocksource, is set, or is copied.
 *
 * Checked, for each of these by name, while threads on all CPUs read: every reading, by the
 * page and by READ, is within its bound of what clock_gettime() returns before and after.
 * MONOTONIC and BOOTTIME never go back between threads, nor does any clock within a generation.
 * The generation is raised if and only if the clock has jumped, with the right reason. A held
 * page is valid and right when the disturbance is over, and a parked one at the next wake. A
 * guest, and the readers of a guest's VMClock page, have no time after an event that may have
 * changed the guest's counter, until SET_GUEST_TSC is called. Where it can make a difference,
 * this is done with the updater active, idle and parked; the next tick is then too far away to
 * help.
 *
 * Fails if a page can be read past its window, if a change takes effect only at the next tick,
 * if a wake continues from the state before, or if a timer is lost.
 */
#include <errno.h>
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

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/cpus.h"
#include "lib/die.h"
#include "lib/disturb.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/machine.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/readers.h"
#include "lib/registration.h"
#include "lib/trace.h"
#include "lib/updater.h"
#include "lib/vmclock.h"
#include "lib/wait.h"

FIXTURE(disturb) {
	struct pclock c;
	bool usable;
	bool wakes_by_key;
	int64_t offset;
	struct parkclock_query before;
	struct pclock guest;
	const struct vmclock *v;
};

/* Its counter is the host's, as far as it is known. */
static const struct guest_counter same_counter = { .ratio = 1 };

FIXTURE_VARIANT(disturb) {
	uint32_t state;
};

FIXTURE_VARIANT_ADD(disturb, active) {
	.state = PARKCLOCK_ACTIVE,
};

FIXTURE_VARIANT_ADD(disturb, idle) {
	.state = PARKCLOCK_IDLE,
};

FIXTURE_VARIANT_ADD(disturb, parked) {
	.state = PARKCLOCK_PARKED,
};

FIXTURE_SETUP(disturb)
{
	start_parked("20000", "4", "5");
	self->c = open_clock();
	self->usable = counter_usable();
	self->offset = realtime_offset();
	self->guest = open_owner();
	must(self->guest.fd, PARKCLOCK_IOC_VMCLOCK, CLOCK_MONOTONIC);
	self->v = map_vmclock(self->guest.fd);
	if (set_guest(self->guest.fd, &same_counter))
		die("PARKCLOCK_IOC_SET_GUEST_TSC");
	if (self->usable)
		enter(&self->c, variant->state);
	else if (variant->state == PARKCLOCK_ACTIVE)
		hold(self->c.fd);
	self->before = query(self->c.fd);
	if (variant->state == PARKCLOCK_ACTIVE)
		hold(self->guest.fd);
	start_readers(variant->state != PARKCLOCK_ACTIVE);
}

FIXTURE_TEARDOWN(disturb)
{
	EXPECT_STREQ("", stop_readers());
	if (llabs(realtime_offset() - self->offset) > NSEC / 10)
		set_realtime(kernel_ns(CLOCK_MONOTONIC) + self->offset);
	munmap((void *)self->v, PARKCLOCK_PAGE_SIZE);
	close_clock(&self->guest);
	close_clock(&self->c);
	default_params();
}

/* A reference that is there already, or just for this. */
static void guest_has_time(struct __test_metadata *_metadata, FIXTURE_DATA(disturb) *self,
			   bool has)
{
	hold(self->guest.fd);
	EXPECT_EQ(has && counter_usable(),
		  parkclock_guest_read(self->guest.map, CLOCK_MONOTONIC) >= 0);
	EXPECT_EQ(has && counter_usable(),
		  vm_look_again(&self->guest, self->v, &same_counter, 0) == RIGHT);
	release(self->guest.fd);
}

static uint64_t marker(FIXTURE_DATA(disturb) *self)
{
	struct vmreading r;

	hold(self->guest.fd);
	vm_read(self->v, &same_counter, &r);
	release(self->guest.fd);
	return r.page.disruption_marker;
}

/* Its counter may be another one, and then it is said what that is. */
static void guest_is_lost(struct __test_metadata *_metadata, FIXTURE_DATA(disturb) *self,
			  uint64_t before)
{
	EXPECT_NE(before, marker(self));
	guest_has_time(_metadata, self, false);
	EXPECT_EQ(0, set_guest(self->guest.fd, &same_counter));
	guest_has_time(_metadata, self, true);
}

/* The harness lets only a test skip, not its setup. */
#define NEEDS_STATE(statement) do { \
	if (!self->usable && variant->state == PARKCLOCK_IDLE) \
		SKIP(statement, "needs a host that keeps time by the TSC"); \
} while (0)

/*
 * A disturbance is over. That changed nothing of the updater, and the clock is right
 * by the time that anybody holds a reference.
 */
static void over(struct __test_metadata *_metadata, FIXTURE_DATA(disturb) *self,
		 const FIXTURE_VARIANT(disturb) *variant)
{
	struct parkclock_query q = query(self->c.fd);

	if (self->usable)
		EXPECT_EQ(variant->state, q.state);
	if (variant->state == PARKCLOCK_ACTIVE) {
		EXPECT_TRUE(right_now(&self->c));
	} else {
		EXPECT_EQ(self->before.wakes, q.wakes);
		EXPECT_TRUE(right_when_held(&self->c));
	}
	EXPECT_TRUE(readers_have_looked(100));
}

TEST_F(disturb, host_step)
{
	static const int64_t sizes[] = { 3600 * NSEC, NSEC / 10, 1000 };

	NEEDS_STATE(return);
	for (int i = 0; i < 60; i++) {
		struct parkclock_query q = query(self->c.fd);
		int64_t by = sizes[i / 2 % 3];

		set_realtime(kernel_ns(CLOCK_REALTIME) + (i & 1 ? -by : by));
		EXPECT_EQ(q.generation + 1, query(self->c.fd).generation);
		EXPECT_EQ(PARKCLOCK_REASON_STEP, page_reason(self->c.map));
		EXPECT_EQ(PARKCLOCK_REASON_STEP, query(self->c.fd).reason);
		EXPECT_NE(WRONG, look_again(&self->c, CLOCK_REALTIME, true));
		EXPECT_NE(WRONG, look_again(&self->c, CLOCK_TAI, true));
	}
	over(_metadata, self, variant);
	guest_has_time(_metadata, self, true);
}

static bool has_clocksource(const char *name)
{
	return mentions(CLOCKSOURCE "available_clocksource", name);
}

static void change_clocksource(struct __test_metadata *_metadata, FIXTURE_DATA(disturb) *self,
			       const char *to)
{
	uint64_t generation = query(self->c.fd).generation;
	const uint64_t marker = self->v->disruption_marker;
	struct parkclock_query q;

	ASSERT_TRUE(choose(to));
	EXPECT_EQ(0, readers_with_time(self->c.map));
	q = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_COUNTER_UNUSABLE, q.flags);
	EXPECT_EQ(PARKCLOCK_REASON_COUNTER, q.reason);
	EXPECT_EQ(generation + 1, q.generation);
	EXPECT_TRUE(readers_have_looked(100));
	EXPECT_TRUE(right_when_held(&self->c));
	ASSERT_TRUE(choose("tsc"));
	q = query(self->c.fd);
	EXPECT_EQ(PARKCLOCK_REASON_COUNTER, q.reason);
	EXPECT_EQ(generation + 2, q.generation);
	EXPECT_TRUE(right_when_held(&self->c));
	guest_is_lost(_metadata, self, marker);
}

static void back_and_forth(struct __test_metadata *_metadata, FIXTURE_DATA(disturb) *self,
			   const FIXTURE_VARIANT(disturb) *variant, const char *to)
{
	struct parkclock_accuracy accuracy;

	for (int i = 0; i < 5; i++) {
		change_clocksource(_metadata, self, to);
		if (variant->state == PARKCLOCK_ACTIVE) {
			/* Held all the while, it came back by itself. */
			EXPECT_EQ(PARKCLOCK_ACTIVE, query(self->c.fd).state);
			EXPECT_TRUE(right_now(&self->c));
		} else {
			enter(&self->c, variant->state);
		}
	}
	/* After a jump a segment begins off the host's clock, and is not steady. */
	ASSERT_EQ(0, ioctl(self->c.fd, PARKCLOCK_IOC_ACCURACY, &accuracy));
	EXPECT_LT(accuracy.steady_worst_ns, 1000);
}

TEST_F(disturb, clocksource_hpet)
{
	if (!self->usable || !has_clocksource("hpet"))
		SKIP(return, "needs a host that keeps time by the TSC, and has an HPET too");
	back_and_forth(_metadata, self, variant, "hpet");
}

TEST_F(disturb, clocksource_acpi_pm)
{
	if (!self->usable || !has_clocksource("acpi_pm"))
		SKIP(return, "needs a host that keeps time by the TSC, and has acpi_pm too");
	back_and_forth(_metadata, self, variant, "acpi_pm");
}

/* Where that function of the kernel is, or "" */
static const char *kernel_address(const char *function)
{
	static char address[32];
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[256], name[128];
	unsigned long long at;

	if (!f)
		die("/proc/kallsyms");
	address[0] = '\0';
	while (!address[0] && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %*c %127s", &at, name) == 2 && !strcmp(name, function))
			snprintf(address, sizeof(address), "0x%llx", at);
	fclose(f);
	return address;
}

TEST_F(disturb, virtual_machine_fork)
{
	const char *address = kernel_address("add_vmfork_randomness");
	const uint64_t marker = self->v->disruption_marker;

	NEEDS_STATE(return);
	if (!*address)
		SKIP(return, "needs a kernel that is told of forks of its virtual machine");
	load_disturb();
	for (int i = 0; i < 5; i++) {
		uint64_t generation = query(self->c.fd).generation;

		disturb("vm_fork", address);
		EXPECT_EQ(generation + 1, query(self->c.fd).generation);
		EXPECT_EQ(PARKCLOCK_REASON_FORK, query(self->c.fd).reason);
		EXPECT_EQ(PARKCLOCK_REASON_FORK, page_reason(self->c.map));
	}
	unload_disturb();
	over(_metadata, self, variant);
	guest_is_lost(_metadata, self, marker);
}

/* Sleep */

#define I8042	"/sys/devices/platform/i8042/"

/* A key always wakes from suspend to RAM, and from suspend to idle if that is wanted. */
static bool key_wakes(void)
{
	return !write_file(I8042 "serio0/power/wakeup", "enabled");
}

/* Falls asleep in the given way until a key is pressed; tells how long it slept. */
static int64_t sleep_until_key(const char *how)
{
	int64_t slept = kernel_ns(CLOCK_BOOTTIME) - kernel_ns(CLOCK_MONOTONIC);
	const int cpus = sysconf(_SC_NPROCESSORS_CONF);
	int err;

	request("key 3");
	err = write_file("/sys/power/state", how);
	request("nothing");
	for (int cpu = 1; cpu < cpus; cpu++)
		if (!bring_online(cpu))
			die("a CPU did not come back from sleep");
	if (err) {
		errno = -err;
		die("/sys/power/state");
	}
	return kernel_ns(CLOCK_BOOTTIME) - kernel_ns(CLOCK_MONOTONIC) - slept;
}

/* Returns how long it was, in ms. */
static int fall_asleep(struct __test_metadata *_metadata, FIXTURE_DATA(disturb) *self,
		       const FIXTURE_VARIANT(disturb) *variant, const char *how)
{
	const uint64_t marker = self->v->disruption_marker;
	const int64_t slept = sleep_until_key(how);
	/* To RAM, it was a sleep however long; in a light one, MONOTONIC may have gone on. */
	const bool jumped = slept > NSEC / 2 || !strcmp(how, "mem");
	struct parkclock_query q = query(self->c.fd);

	if (jumped) {
		EXPECT_LT(self->before.generation, q.generation);
		EXPECT_EQ(PARKCLOCK_REASON_SUSPEND, q.reason);
		EXPECT_EQ(PARKCLOCK_REASON_SUSPEND, page_reason(self->c.map));
	}
	if (variant->state == PARKCLOCK_ACTIVE && self->usable) {
		/* Held: awake and valid are one. */
		EXPECT_EQ(ALL_READERS, readers_with_time(self->c.map));
	}
	/* An updater that nobody holds has started anew. */
	if (variant->state == PARKCLOCK_ACTIVE) {
		EXPECT_EQ(state_held(), q.state);
		EXPECT_TRUE(right_now(&self->c));
	} else {
		EXPECT_EQ(PARKCLOCK_PARKED, q.state);
		EXPECT_EQ(self->before.wakes, q.wakes);
		EXPECT_EQ(0, readers_with_time(self->c.map));
		EXPECT_TRUE(right_when_held(&self->c));
	}
	EXPECT_TRUE(readers_have_looked(100));
	if (jumped)
		guest_is_lost(_metadata, self, marker);
	return slept / 1000000;
}

static bool sleeps(const char *file, const char *how)
{
	return exists(file) && mentions(file, how);
}

/*
 * The firmware starts the other CPUs when the machine resumes, and does not wait for
 * them. An emulated one that comes to it only after the kernel has told it to start, too,
 * takes the one interrupt for the other, and is lost. So the kernel waits a while.
 */
static void resume_other_cpus_later(void)
{
	if (exists(DISTURB "stop_at"))
		disturb("stop_at", "thaw_secondary_cpus+0 200000");
}

TEST_F(disturb, suspend_to_ram)
{
	int slept = 0;

	NEEDS_ANSWERS(return);
	NEEDS_STATE(return);
	if (!sleeps("/sys/power/state", "mem") || !sleeps("/sys/power/mem_sleep", "deep"))
		SKIP(return, "needs a kernel that suspends to RAM");
	/* With no module loaded, too: what KCSAN calls needs data that is not back yet. */
	if (exists("/sys/kernel/debug/kcsan"))
		SKIP(return, "needs a kernel without KCSAN, with which it dies when it resumes");
	ASSERT_EQ(0, write_file("/sys/power/mem_sleep", "deep"));
	load_disturb();
	resume_other_cpus_later();
	/* The key may come as soon as it has fallen asleep. */
	for (int tries = 0; tries < 10 && slept < 500; tries++) {
		if (tries && self->usable)
			enter(&self->c, variant->state);
		self->before = query(self->c.fd);
		slept = fall_asleep(_metadata, self, variant, "mem");
	}
	unload_disturb();
	EXPECT_GE(slept, 500);
}

TEST_F(disturb, suspend_to_idle)
{
	NEEDS_ANSWERS(return);
	NEEDS_STATE(return);
	if (!sleeps("/sys/power/state", "freeze") || !key_wakes())
		SKIP(return, "needs a kernel that suspends to idle, and a keyboard that ends it");
	fall_asleep(_metadata, self, variant, "freeze");
}

/* The timer: what happens to it, and to the window, while it ticks */

FIXTURE(timer) {
	struct pclock c;
	int cpu;
};

FIXTURE_SETUP(timer)
{
	start_parked("20000", "4", "5");
	self->c = open_owner();
	self->cpu = cpus_online() - 1;
	load_disturb();
}

FIXTURE_TEARDOWN(timer)
{
	unload_disturb();
	close_clock(&self->c);
	default_params();
}

/*
 * The task runs all the while, and its counter may begin anew. It finds the time when it is
 * back, and its CPU time neither goes back nor leaps.
 */
TEST_F(timer, suspended_by_a_registered_task)
{
	uint64_t generation = query(self->c.fd).generation;
	uint64_t cpu_ns = query(self->c.fd).cpu_ns;
	struct parkclock_query q;

	NEEDS_ANSWERS(return);
	NEEDS_SWITCHES(return);
	NEEDS_COUNTER(return);
	if (!sleeps("/sys/power/state", "mem") || !sleeps("/sys/power/mem_sleep", "deep"))
		SKIP(return, "needs a kernel that suspends to RAM");
	if (exists("/sys/kernel/debug/kcsan"))
		SKIP(return, "needs a kernel without KCSAN, with which it dies when it resumes");
	ASSERT_EQ(0, write_file("/sys/power/mem_sleep", "deep"));
	resume_other_cpus_later();
	must_register(self->c.fd, 0, 0);
	for (int i = 0; i < 3; i++) {
		const int64_t before = kernel_ns(CLOCK_BOOTTIME);

		sleep_until_key("mem");
		EXPECT_EQ(ALL_READERS, readers_with_time(self->c.map));
		EXPECT_TRUE(right_now(&self->c));
		q = query(self->c.fd);
		EXPECT_LE(cpu_ns, q.cpu_ns);
		/* BOOTTIME after a sleep is what a clock says that has whole seconds. */
		EXPECT_LE(q.cpu_ns - cpu_ns,
			  (uint64_t)(kernel_ns(CLOCK_BOOTTIME) - before) + NSEC);
		cpu_ns = q.cpu_ns;
		EXPECT_EQ(1, q.tasks);
		EXPECT_EQ(1, q.running);
	}
	EXPECT_LT(generation, q.generation);
	EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
	must_set("interval_ms", "10");
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
}

/* Armed by the parameter: the timer is on the CPU of who sets it. */
TEST_F(timer, tick_ten_intervals_late)
{
	const uint64_t late_ticks = query(self->c.fd).late_ticks;
	bool late = false;

	NEEDS_COUNTER(return);
	must_set("slack_percent", "0");
	start_readers(false);
	pin(self->cpu);
	hold(self->c.fd);
	for (int i = 0; i < 500 && !late; i++) {
		uint64_t ticks;
		int64_t ns;

		must_set("interval_ms", "10");
		ns = kernel_ns(CLOCK_MONOTONIC);
		ticks = query(self->c.fd).expirations;
		disturb("irqs_off_ms", "150");
		ticks = query(self->c.fd).expirations - ticks;
		ns = kernel_ns(CLOCK_MONOTONIC) - ns;
		/* If it was on another CPU, it has ticked all the while. */
		late = ns - (int64_t)ticks * 10000000 >= 110000000;
		EXPECT_TRUE(right_now(&self->c));
	}
	EXPECT_TRUE(late);
	EXPECT_GT(query(self->c.fd).late_ticks, late_ticks);
	release(self->c.fd);
	EXPECT_STREQ("", stop_readers());
	EXPECT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
	EXPECT_TRUE(right_when_held(&self->c));
}

/* Seconds of the hour, by a clock that goes on while the machine is stopped */
static int cmos_seconds(void)
{
	char text[32];

	if (read_file(DISTURB "cmos_seconds", text, sizeof(text)))
		die(DISTURB "cmos_seconds");
	return atoi(text);
}

/*
 * Has the machine stopped for so long, and goes on now? CLOCK_MONOTONIC has stood still
 * meanwhile, or, with hardware acceleration, has gone on without us.
 */
static bool stop_for(int seconds)
{
	const int64_t begin = kernel_ns(CLOCK_MONOTONIC);
	const int cmos = cmos_seconds();
	int64_t last = begin, now;
	char what[16];

	snprintf(what, sizeof(what), "stop %d", seconds);
	request(what);
	do {
		sleep_ms(5);
		now = kernel_ns(CLOCK_MONOTONIC);
		if (now - last >= seconds * NSEC)
			return true;
		last = now;
		/* Both ends of the second clock are within a second. */
		if ((cmos_seconds() - cmos + 3600) % 3600 * NSEC - (now - begin) >=
		    (seconds - 1) * NSEC)
			return true;
	} while (now - begin < PATIENCE_MS * 1000000LL);
	return false;
}

static void stop_machine(struct __test_metadata *_metadata)
{
	/* A window is 200 ms. */
	must_set("interval_ms", "50");
	EXPECT_TRUE(stop_for(4)) {
		TH_LOG("nobody has stopped the machine, though it was asked for: see vm/run");
	}
	EXPECT_STREQ("", stop_readers());
}

TEST_F(timer, machine_stopped_ten_windows_while_active)
{
	struct parkclock_query before;

	NEEDS_ANSWERS(return);
	hold(self->c.fd);
	start_readers(false);
	before = query(self->c.fd);
	stop_machine(_metadata);
	EXPECT_EQ(before.wakes, query(self->c.fd).wakes);
	EXPECT_EQ(state_held(), query(self->c.fd).state);
	EXPECT_TRUE(right_now(&self->c));
}

TEST_F(timer, machine_stopped_ten_windows_while_parked)
{
	struct parkclock_query before = query(self->c.fd);

	NEEDS_ANSWERS(return);
	start_readers(true);
	stop_machine(_metadata);
	EXPECT_EQ(before.wakes, query(self->c.fd).wakes);
	EXPECT_EQ(before.expirations, query(self->c.fd).expirations);
	EXPECT_TRUE(right_when_held(&self->c));
}

#define START_EVENT	"timer/hrtimer_start"

/* The CPU on which the timer was armed last, or -1 */
static int armed_on(void)
{
	FILE *f = fopen(TRACING "trace", "r");
	int cpu = -1;
	char line[512];

	if (!f)
		die(TRACING "trace");
	while (fgets(line, sizeof(line), f)) {
		char *at = strchr(line, '[');

		if (line[0] != '#' && at && strstr(line, "hrtimer_start:"))
			cpu = atoi(at + 1);
	}
	fclose(f);
	return cpu;
}

/* Held, and armed there: it must tick elsewhere. Returns whether that is what happened. */
static bool take_offline(struct __test_metadata *_metadata, FIXTURE_DATA(timer) *self)
{
	struct parkclock_query before;
	bool had_it;
	int tries;

	pin(self->cpu);
	/* Long enough to be quicker than the next tick, and not to wait for it too long. */
	must_set("interval_ms", "2000");
	had_it = armed_on() == self->cpu;
	before = query(self->c.fd);
	pin(0);
	ASSERT_EQ(0, set_online(self->cpu, false));
	had_it &= query(self->c.fd).expirations == before.expirations;
	EXPECT_TRUE(right_now(&self->c));
	for (tries = 0; tries < PATIENCE_MS; tries++) {
		if (query(self->c.fd).expirations >= before.expirations + 2)
			break;
		sleep_ms(1);
	}
	EXPECT_LT(tries, PATIENCE_MS);
	EXPECT_NE(self->cpu, armed_on());
	EXPECT_TRUE(right_now(&self->c));
	ASSERT_TRUE(bring_online(self->cpu));
	EXPECT_TRUE(right_now(&self->c));
	return had_it;
}

/* A CPU that the kernel was told to isolate, or -1 */
static int isolated_cpu(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/isolated", "r");
	int cpu;

	if (!f)
		return -1;
	if (fscanf(f, "%d", &cpu) != 1)
		cpu = -1;
	fclose(f);
	return cpu;
}

/* How many ticks were on the CPU, or on any if that is -1 */
static int ticks_on(int cpu)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[512];
	int ticks = 0;

	if (!f)
		die(TRACING "trace");
	while (fgets(line, sizeof(line), f)) {
		char *at = strchr(line, '[');

		if (line[0] != '#' && at && strstr(line, "hrtimer_expire_entry:"))
			ticks += cpu < 0 || atoi(at + 1) == cpu;
	}
	fclose(f);
	return ticks;
}

/* Whatever wakes the updater there: HOLD, READ, a parameter, a registered task */
TEST_F(timer, never_on_an_isolated_cpu)
{
	const int cpu = isolated_cpu();
	char filter[64];

	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	NEEDS_SWITCHES(return);
	if (cpu < 0)
		SKIP(return, "needs an isolated CPU: VM_CMDLINE=isolcpus=nohz,domain,1");
	our_timer(filter, sizeof(filter));
	pin(cpu);
	trace_start(TIMER_EVENT, filter);
	for (int i = 0; i < 20; i++) {
		must_set("interval_ms", "10");
		ASSERT_TRUE(wait_state(self->c.fd, PARKCLOCK_PARKED));
		if (i % 3 == 0) {
			hold(self->c.fd);
			sleep_ms(50);
			release(self->c.fd);
		} else if (i % 3 == 1) {
			slow_read(self->c.fd, CLOCK_MONOTONIC);
			sleep_ms(50);
		} else {
			must_register(self->c.fd, 0, 0);
			for (int naps = 0; naps < 5; naps++)
				sleep_ms(50);
			EXPECT_EQ(0, try_unregister(self->c.fd, 0, 0));
		}
	}
	EXPECT_GT(ticks_on(-1), 40);
	EXPECT_EQ(0, ticks_on(cpu));
	trace_stop(TIMER_EVENT);
}

TEST_F(timer, cpu_of_the_timer_taken_offline)
{
	int times = 0;
	char filter[64];

	NEEDS_TRACE(return);
	NEEDS_COUNTER(return);
	if (cpus_online() < 2 || !bring_online(self->cpu))
		SKIP(return, "needs a second CPU that can be taken off-line");
	our_timer(filter, sizeof(filter));
	hold(self->c.fd);
	trace_start(START_EVENT, filter);
	for (int i = 0; i < 20 && times < 2; i++) {
		start_readers(false);
		times += take_offline(_metadata, self);
		EXPECT_STREQ("", stop_readers());
	}
	trace_stop(START_EVENT);
	EXPECT_EQ(2, times);
}

TEST_HARNESS_MAIN
