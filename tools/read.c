// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock read: read clocks, and compare them with clock_gettime
 *
 * Each reading is taken between two calls of clock_gettime(), and compared with the middle
 * of the two. Half of their distance limits how well right can be told from wrong; it is
 * shown, too.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

static const struct clock {
	const char *name;
	clockid_t id;
} clocks[] = {
	{ "monotonic", CLOCK_MONOTONIC },
	{ "realtime", CLOCK_REALTIME },
	{ "boottime", CLOCK_BOOTTIME },
	{ "tai", CLOCK_TAI },
};

enum { CLOCKS = ARRAY_SIZE(clocks) };

struct job {
	bool wanted[CLOCKS];
	bool page;		/* only from the page */
	bool json;
	__u64 count;
	__s64 interval_ns;
};

/* One reading. @from is "page", "read" or "expired"; "expired" means that there is none. */
struct sample {
	const char *from;
	struct parkclock_reading reading;
	__s64 gettime_ns;	/* middle of the bracket */
	__s64 half_ns;	/* half the width of the bracket, rounded up */
};

static __s64 gettime(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* The bracket is around the call that gave the time, not around a page that had none. */
static bool take(struct parkclock *pc, clockid_t id, bool page, struct sample *s)
{
	__s64 before = gettime(id), after;
	int ret = parkclock_page_now_bound(pc, id, &s->reading);

	s->from = "page";
	if (ret && !page) {
		s->from = "read";
		before = gettime(id);
		ret = parkclock_slow_now_bound(pc, id, &s->reading);
	}
	after = gettime(id);
	s->gettime_ns = before + (after - before) / 2;
	s->half_ns = (after - before + 1) / 2;
	if (!ret)
		return true;
	s->from = "expired";
	return page && errno == EAGAIN;
}

static void print_seconds(__s64 ns)
{
	printf("  %10lld.%09lld", ns / NSEC_PER_SEC, ns % NSEC_PER_SEC);
}

static void print_text(const char *name, const struct sample *s)
{
	printf("%-9s  %-7s", name, s->from);
	if (!strcmp(s->from, "expired")) {
		printf("  %20s", "-");
		print_seconds(s->gettime_ns);
		printf("  %10s  %7lld  %7s\n", "-", s->half_ns, "-");
		return;
	}
	print_seconds(s->reading.ns);
	print_seconds(s->gettime_ns);
	printf("  %+10lld  %7lld  %7llu\n", s->reading.ns - s->gettime_ns,
	       s->half_ns, s->reading.error_ns);
}

static void print_json(const char *name, const struct sample *s)
{
	printf("{\"clock\":\"%s\",\"from\":\"%s\"", name, s->from);
	if (strcmp(s->from, "expired")) {
		printf(",\"ns\":%lld,\"cycles\":%llu", s->reading.ns,
		       s->reading.cycles);
		printf(",\"error_ns\":%llu,\"generation\":%llu",
		       s->reading.error_ns, s->reading.generation);
		printf(",\"difference_ns\":%lld", s->reading.ns - s->gettime_ns);
	}
	printf(",\"clock_gettime_ns\":%lld,\"bracket_ns\":%lld}\n",
	       s->gettime_ns, s->half_ns);
}

/* Read the wanted clocks once. */
static int read_clocks(struct parkclock *pc, const struct job *job)
{
	int status = EXIT_SUCCESS;

	for (int i = 0; i < CLOCKS; i++) {
		struct sample s;

		if (!job->wanted[i])
			continue;
		if (!take(pc, clocks[i].id, job->page, &s)) {
			complain("cannot read %s: %s. %s", clocks[i].name, strerror(errno),
				 parkclock_explain(errno));
			return EXIT_FAILURE;
		}
		if (!strcmp(s.from, "expired"))
			status = EXIT_FAILURE;
		if (job->json)
			print_json(clocks[i].name, &s);
		else
			print_text(clocks[i].name, &s);
	}
	fflush(stdout);
	return status;
}

static int read_all(const char *device, const struct job *job)
{
	struct parkclock *pc = open_device(device);
	int status = EXIT_SUCCESS;

	if (!pc)
		return EXIT_FAILURE;
	ask_signals();
	if (!job->json)
		printf("%-9s  %-7s  %20s  %20s  %10s  %7s  %7s\n", "CLOCK", "FROM",
		       "READING (s)", "CLOCK_GETTIME (s)", "DIFF (ns)", "+- (ns)", "BOUND");
	for (__u64 n = 0; n < job->count; n++) {
		if (n && wait_signal(now_ns() + job->interval_ns))
			break;
		if (read_clocks(pc, job))
			status = EXIT_FAILURE;
	}
	parkclock_close(pc);
	return status;
}

/* The clocks named by the arguments, or all. */
static bool choose(struct job *job, int argc, char **argv)
{
	for (int a = optind; a < argc; a++) {
		int i = 0;

		while (i < CLOCKS && strcmp(argv[a], clocks[i].name))
			i++;
		if (i == CLOCKS) {
			complain("no clock '%s'; there are monotonic, realtime, boottime, tai.",
				 argv[a]);
			return false;
		}
		job->wanted[i] = true;
	}
	for (int i = 0; optind == argc && i < CLOCKS; i++)
		job->wanted[i] = true;
	return true;
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		{ "page", no_argument, NULL, 'p' },
		OPTION_COUNT, OPTION_INTERVAL, OPTION_JSON, OPTION_HELP, { 0 }
	};
	struct job job = { .count = 1, .interval_ns = NSEC_PER_SEC };
	bool ok = true;
	int c;

	while (ok && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			job.page = true;
			break;
		case 'n':
			ok = parse_count(optarg, &job.count);
			break;
		case 'i':
			ok = parse_seconds("--interval", optarg, &job.interval_ns);
			break;
		case 'j':
			job.json = true;
			break;
		case 'h':
			fputs(self->help, stdout);
			return EXIT_SUCCESS;
		default:
			ok = false;
		}
	}
	if (!ok || !choose(&job, argc, argv))
		return usage(self);
	return read_all(device, &job);
}

const struct command cmd_read = {
	.name = "read",
	.summary = "read clocks, and compare them with clock_gettime",
	.help = "usage: parkclock read [CLOCK ...] [--page] [--json] [--count N]\n"
		"                      [--interval SECONDS]\n"
		"\n"
		"Reads clocks (monotonic, realtime, boottime, tai; all if none is named) from the\n"
		"page. Where the page has no time it uses the READ ioctl, which wakes the clock.\n"
		"Each reading is compared with clock_gettime, called before and after it. The\n"
		"columns are the reading, the middle of the two calls, the difference between\n"
		"these, half the distance of the two calls (+-), and the bound of the error.\n"
		"A reading is right if |difference| <= (+-) + bound.\n"
		"\n"
		"  --page              read only from the page; a clock with no time is \"expired\",\n"
		"                      and the exit status is 1\n"
		"  --json              print one JSON object for each reading, each on its own line\n"
		"  --count N           read N times (default 1)\n"
		"  --interval SECONDS  wait this long between two reads (default 1)\n"
		"  --help              show this text\n",
	.run = run,
};
