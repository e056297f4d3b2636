// SPDX-License-Identifier: GPL-2.0
/*
 * kvm-guest: a virtual machine whose guest tells the time, and halts
 *
 * The two pages of a clock are in the guest's memory, where it can read them and not write,
 * and the thread of its virtual CPU is registered with the clock. So the page is valid
 * whenever the guest runs; it reads the time without an exit. When it halts, the thread
 * sleeps in the kernel, and the clock parks; the first instruction after the interrupt that
 * ends this finds it valid again. Nobody does anything for that, neither in the guest nor
 * here.
 *
 * What a VMM has to do for a clock is in make_clock(), set_counter() and make_guest(). The
 * rest of this file finds out whether all that is so. The guest is guest.c, the machine vmm.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/parkclock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bracket.h"
#include "vmm.h"

#define NSEC		1000000000LL
#define WAIT_NS		(20 * NSEC)	/* for the clock to park, or to have a time */

struct options {
	unsigned long reads, halts;
	uint64_t tsc_offset;
};

struct host {
	struct options options;
	int clock;
	const void *map;
	struct vmm vmm;
	struct vcpu vcpu;
	struct bracket bracket;

	/* What was seen */
	unsigned long reads, expired;
	uint64_t exits, interrupts, own;	/* in GUEST_READ; own: that tell the VMM */
	struct vcpu_exits first, last;
	int64_t least_bound, most_bound;	/* of a reading */
	int64_t most_distance;			/* of it to the host's bracket */
	unsigned long widths[64];		/* brackets that are 2^i to 2^(i+1) ns wide */
	unsigned long outside;			/* readings that were too far */
	unsigned long parked, unprotected;	/* halts */
};

/* What failed, why (errno), what to do. */
static void __attribute__((__noreturn__)) die(const char *what, const char *advice)
{
	fprintf(stderr, "kvm-guest: cannot %s: %s. %s\n", what, strerror(errno), advice);
	exit(EXIT_FAILURE);
}

/* The same of what vmm.c has returned, if that is an error. */
static void must(struct host *h, int error)
{
	if (!error)
		return;
	errno = -error;
	die(h->vmm.what, h->vmm.kvm < 0 ?
	    "Load KVM (modprobe kvm-intel, or kvm-amd), and be a user whom it lets write." :
	    "This needs KVM of Linux 5.16 or newer. See the kernel's log.");
}

static int64_t host_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

static uint64_t host_tsc(void)
{
	__u64 zero;

	return __parkclock_tsc(1, &zero);
}

static struct parkclock_query query(const struct host *h)
{
	struct parkclock_query q;

	if (ioctl(h->clock, PARKCLOCK_IOC_QUERY, &q))
		die("ask the clock", "Is the module as new as this program?");
	return q;
}

/*
 * A VMM whose guest may be nasty, or is to have a time of its own, does as sandbox.c does: it
 * begins an epoch, and maps a view.
 */
static void make_clock(struct host *h)
{
	h->clock = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	if (h->clock < 0)
		die("open " PARKCLOCK_DEVICE " for writing",
		    "Load the module (modprobe parkclock), and be a user whom it lets write.");
	h->map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, h->clock, 0);
	if (h->map == MAP_FAILED)
		die("map the clock", "Free memory.");
}

/*
 * The guest's counter is the host's plus an offset, and the clock is told so: it is for this
 * guest alone from then on. Should the host sleep, the counter may be another one: a VMM that
 * lives for long does this again when poll() says that the generation has changed, with the
 * offset that KVM has then (KVM_GET_DEVICE_ATTR).
 */
static void set_counter(struct host *h)
{
	struct parkclock_guest_tsc tsc = {
		.offset = h->options.tsc_offset, .ratio = 1, .shift = 0,
		.disruptions = parkclock_disruptions(h->map)
	};

	must(h, vcpu_set_tsc_offset(&h->vcpu, tsc.offset));
	if (ioctl(h->clock, PARKCLOCK_IOC_SET_GUEST_TSC, &tsc))
		die("tell the clock of the guest's counter",
		    errno == ESTALE ? "The host has just slept: try again." :
		    "Is the module as new as this program?");
}

/* This thread becomes the virtual CPU's: from here on, what it does keeps the page valid. */
static void make_guest(struct host *h)
{
	struct parkclock_register r = { .tid = 0 };

	must(h, vmm_create(&h->vmm));
	must(h, vmm_map_clock(&h->vmm, h->map, true));
	must(h, vcpu_create(&h->vmm, &h->vcpu, 0));
	set_counter(h);
	h->vcpu.guest->clock_id = CLOCK_MONOTONIC;
	if (ioctl(h->clock, PARKCLOCK_IOC_REGISTER, &r))
		die("register the virtual CPU",
		    errno == EOPNOTSUPP ? "It needs a kernel with tracepoints." :
		    "See the module's parameter max_tasks.");
}

/* READS */

static void check(struct host *h, const struct parkclock_reading *r)
{
	const int64_t error = r->error_ns;
	int64_t width, distance;

	distance = bracket_distance(&h->bracket, r->cycles - h->options.tsc_offset, r->ns, &width);
	distance = distance < 0 ? -distance : distance;
	h->outside += distance > error;
	if (distance > h->most_distance)
		h->most_distance = distance;
	h->widths[63 - __builtin_clzll(width | 1)]++;
	if (error > h->most_bound)
		h->most_bound = error;
	if (error < h->least_bound || !h->least_bound)
		h->least_bound = error;
}

/* As often as there is place for. What is not an interrupt of the host's is an exit of ours. */
static void read_some(struct host *h, unsigned long count)
{
	const struct guest_cpu *g = h->vcpu.guest;
	uint64_t n;

	must(h, vcpu_get_exits(&h->vcpu, &h->first));
	if (bracket_begin(&h->bracket, CLOCK_MONOTONIC))
		die("create a thread", "End others, or raise the limit (ulimit -u).");
	must(h, vcpu_order(&h->vcpu, GUEST_READ, count));
	bracket_end(&h->bracket);
	must(h, vcpu_get_exits(&h->vcpu, &h->last));
	n = g->readings < GUEST_READINGS ? g->readings : GUEST_READINGS;
	for (uint64_t i = 0; i < n; i++)
		check(h, &g->reading[i]);
	h->reads += n;
	h->expired += g->expired;
	h->own++;
	h->exits += vcpu_exits_of(&h->first, &h->last, "exits");
	h->interrupts += vcpu_exits_of(&h->first, &h->last, "irq_exits");
}

/* Up to what power of 2 half of them are, in ns */
static long long median_width(const struct host *h)
{
	unsigned long n = 0;
	int i = 0;

	while (i < 62 && (n += h->widths[i]) < h->reads / 2)
		i++;
	return 2LL << i;
}

static bool show_reads(struct host *h)
{
	const struct guest_cpu *g = h->vcpu.guest;
	const uint64_t caused = h->exits - h->interrupts - h->own;

	printf("reads: %lu, of which went back %llu; the last one is %lld ns; %lu without a time\n",
	       h->reads, (unsigned long long)g->back, (long long)g->last_ns, h->expired);
	printf("exits: %llu by reads; %llu to say that some are done, %llu by interrupts\n",
	       (unsigned long long)caused, (unsigned long long)h->own,
	       (unsigned long long)h->interrupts);
	printf("bound: %lld to %lld ns; farther than that from the host's bracket: %lu reads\n",
	       (long long)h->least_bound, (long long)h->most_bound, h->outside);
	printf("       (by %lld ns at most; half of the brackets are narrower than %lld ns)\n",
	       (long long)h->most_distance, median_width(h));
	/* If reads exited, each would; KVM does not count what an NMI of the host's causes. */
	return caused < h->reads / 1000 && !h->outside && !g->back;
}

/* A page that is late comes back: the machine stood still. */
static bool read_all(struct host *h)
{
	int64_t since = host_ns();

	/* The first reads fault the pages in. */
	must(h, vcpu_order(&h->vcpu, GUEST_READ, GUEST_READINGS));
	while (h->reads < h->options.reads && host_ns() - since < WAIT_NS) {
		const unsigned long before = h->reads, left = h->options.reads - before;

		read_some(h, left < GUEST_READINGS ? left : GUEST_READINGS);
		if (h->reads > before)
			since = host_ns();
	}
	return show_reads(h) && h->reads == h->options.reads;
}

/* HALTS */

struct alarm {
	struct host *h;
	bool parked;
	int64_t after_ns;
	uint64_t at;		/* the host's counter when it went off */
};

/* Another thread, which is not registered: waits until the clock has parked, and interrupts. */
static void *interrupt_when_parked(void *arg)
{
	const struct timespec moment = { 0, 5000000 };
	const int64_t begin = host_ns();
	struct alarm *a = arg;

	do {
		nanosleep(&moment, NULL);
		a->parked = query(a->h).state == PARKCLOCK_PARKED;
		a->after_ns = host_ns() - begin;
	} while (!a->parked && a->after_ns < WAIT_NS);
	a->at = host_tsc();
	must(a->h, vmm_interrupt(&a->h->vmm, 0));
	return NULL;
}

static void halt_once(struct host *h)
{
	const struct guest_cpu *g = h->vcpu.guest;
	struct alarm a = { .h = h };
	pthread_t thread;

	errno = pthread_create(&thread, NULL, interrupt_when_parked, &a);
	if (errno)
		die("create a thread", "End others, or raise the limit (ulimit -u).");
	must(h, vcpu_order(&h->vcpu, GUEST_HALT, 0));
	pthread_join(thread, NULL);
	h->parked += a.parked;
	printf("halt: %s after %lld.%02lld s, interrupt; ",
	       a.parked ? "the clock parked" : "somebody else keeps the clock from parking",
	       (long long)a.after_ns / NSEC, (long long)a.after_ns % NSEC / (NSEC / 100));
	if (g->woken_ns >= 0) {
		printf("first read %lld ns -+ %llu, %lld us later\n", (long long)g->woken_ns,
		       (unsigned long long)g->woken.error_ns,
		       (long long)((g->woken.cycles - h->options.tsc_offset - a.at) * 1000000 /
				   query(h).counter_hz));
		return;
	}
	/* It was refreshed for it, and the machine stood still for a whole window? */
	if ((int64_t)(g->woken_end - a.at) <= 0)
		h->unprotected++;
	printf("first read without a time\n");
}

static bool halt_all(struct host *h)
{
	const unsigned long parks = query(h).parks;

	for (unsigned long i = 0; i < h->options.halts; i++)
		halt_once(h);
	printf("clock: parked %lu times in %lu halts; first reads without a time: %lu\n",
	       (unsigned long)query(h).parks - parks, h->options.halts, h->unprotected);
	return !h->unprotected && !h->vcpu.guest->back;
}

/* Where the page never has a time, the guest must not find one. */
static bool read_nothing(struct host *h)
{
	must(h, vcpu_order(&h->vcpu, GUEST_READ, GUEST_READINGS));
	printf("reads: %llu with a time, %llu without\n"
	       "this host does not keep time by its TSC: the page never has a time\n",
	       (unsigned long long)h->vcpu.guest->readings,
	       (unsigned long long)h->vcpu.guest->expired);
	return !h->vcpu.guest->readings;
}

static const char * const help =
	"usage: kvm-guest [OPTION ...]\n"
	"\n"
	"Runs a virtual machine with a clock in its memory, whose guest reads MONOTONIC, then\n"
	"halts until the clock has parked. Says what it read, how often it exited for that (by\n"
	"KVM's statistics), and how far each reading was from what the host's clock can have said.\n"
	"\n"
	"  --reads N          how many (1000000)\n"
	"  --halts N          how many (3)\n"
	"  --tsc-offset N     of the guest's counter (0x123456789abcdef0)\n"
	"  --help             this text\n"
	"\n"
	"Exit status: 0; 1 if something failed, or was not as it must be; 2 (wrong usage).\n";

static int usage(const char *what)
{
	fprintf(stderr, "kvm-guest: %s. Try kvm-guest --help.\n", what);
	return 2;
}

static bool number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	return end != text && !*end && !errno;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "reads", required_argument, NULL, 'r' },
		{ "halts", required_argument, NULL, 'H' },
		{ "tsc-offset", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' }, { 0 }
	};
	static struct host h;
	uint64_t value;
	bool well;
	int c;

	h.options = (struct options){
		.reads = 1000000, .halts = 3, .tsc_offset = 0x123456789abcdef0
	};
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h')
			return fputs(help, stdout) < 0;
		if (c == '?' || !number(optarg, &value))
			return usage("that is no option, or not what it takes");
		if (c == 'r')
			h.options.reads = value;
		else if (c == 'H')
			h.options.halts = value;
		else
			h.options.tsc_offset = value;
	}
	if (optind < argc)
		return usage("it takes options only");

	setlinebuf(stdout);
	make_clock(&h);
	make_guest(&h);
	if (query(&h).flags & PARKCLOCK_COUNTER_UNUSABLE) {
		well = read_nothing(&h);
	} else {
		well = read_all(&h);
		well = halt_all(&h) && well;
	}
	errno = EPROTO;
	if (!h.vcpu.guest->usable)
		die("use the clock", "Build this program with the module's own header.");
	if (!well)
		fprintf(stderr, "kvm-guest: that is not as it must be. Report a bug.\n");
	return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
