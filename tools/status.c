// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock status: state, rate and counters, and who has which clock open, without
 * waking the updater
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "clocks.h"
#include "query.h"
#include "tool.h"

static const char *state_meaning(__u32 state)
{
	switch (state) {
	case PARKCLOCK_STOPPED:
		return "refreshes nothing: disabled, or the system suspends";
	case PARKCLOCK_PARKED:
		return "no timer is armed";
	case PARKCLOCK_IDLE:
		return "parks at the next tick if nobody comes";
	case PARKCLOCK_ACTIVE:
		return "refreshes the page every interval";
	default:
		return "of a newer module";
	}
}

static void print_rate(const struct parkclock_query *q)
{
	const long double rate = (long double)q->rate / (1ULL << PARKCLOCK_SHIFT);

	if (q->rate)
		printf("rate             %.15Lf ns per cycle (%.6Lf MHz)\n", rate, 1000 / rate);
	else
		printf("rate             none yet\n");
}

static void print_page(const struct parkclock_query *q)
{
	if (q->window_left_ns) {
		printf("window left      %.6f s\n", q->window_left_ns / 1e9);
		printf("error bound      %llu ns\n", q->error_ns);
	} else {
		printf("window left      0, the page has no time\n");
		printf("error bound      none\n");
	}
}

static __u64 total(const __u64 *bins)
{
	__u64 n = 0;

	for (int i = 0; i < PARKCLOCK_BINS; i++)
		n += bins[i];
	return n;
}

/* What @percent of them did not exceed, in ns; a bin can be wider than what is in it. */
static __u64 percentile(const __u64 *bins, __u64 worst, unsigned int percent)
{
	const __u64 n = total(bins);
	__u64 seen = bins[0], most;
	int i = 0;

	while (i < PARKCLOCK_BINS - 1 && seen * 100 < n * percent)
		seen += bins[++i];
	most = parkclock_bin_ns(i + 1) - 1;
	return i < PARKCLOCK_BINS - 1 && most < worst ? most : worst;
}

static void print_summary(const char *when, const __u64 *bins, __u64 worst)
{
	const __u64 n = total(bins);

	if (!n)
		return;
	printf("  rate %-10s %llu refreshes: 50%% within %llu ns, 99%% %llu, all %llu\n", when, n,
	       percentile(bins, worst, 50), percentile(bins, worst, 99), worst);
}

/* @a is NULL if it is hidden. */
static void print_accuracy(const struct parkclock_accuracy *a)
{
	if (!a) {
		printf("accuracy         -\n");
		return;
	}
	if (!total(a->steady) && !total(a->changed)) {
		printf("accuracy         no page was replaced yet\n");
		return;
	}
	printf("accuracy         how far off the page was just before it was replaced\n");
	print_summary("steady", a->steady, a->steady_worst_ns);
	print_summary("changed", a->changed, a->changed_worst_ns);
	printf("  from ns            steady      changed\n");
	for (int i = 0; i < PARKCLOCK_BINS; i++)
		if (a->steady[i] || a->changed[i])
			printf("  %7llu      %12llu %12llu\n", parkclock_bin_ns(i), a->steady[i],
			       a->changed[i]);
}

/* Begins one row: its clock's other openers are in the sightings that follow. */
static size_t print_clock(const struct sightings *all, size_t i)
{
	const struct sighting *s = &all->list[i];
	const char *before = "  ";
	char monotonic[SECONDS_SIZE], boottime[SECONDS_SIZE];

	printf("  %6llu  %-7s %6llu %6llu  %20s  %20s", s->clock,
	       s->stopped ? "stopped" : "running", s->holds, s->tasks,
	       seconds(monotonic, s->monotonic_ns), seconds(boottime, s->boottime_ns));
	for (; i < all->count && all->list[i].clock == s->clock; i++) {
		printf("%s%d %s%s", before, all->list[i].pid, all->list[i].command,
		       all->list[i].view ? " (view)" : "");
		before = ", ";
	}
	printf("\n");
	return i;
}

static void print_clocks(const struct sightings *all)
{
	size_t clocks = 0;

	if (!all->known) {
		printf("clocks           unknown: there is no /proc\n");
		return;
	}
	for (size_t i = 0; i < all->count; i++)
		clocks += !i || all->list[i].clock != all->list[i - 1].clock;
	printf("clocks           %zu that this user may see\n", clocks);
	if (clocks)
		printf("  %6s  %-7s %6s %6s  %20s  %20s  %s\n", "number", "state", "holds", "tasks",
		       "monotonic - host (s)", "boottime - host (s)", "open in");
	for (size_t i = 0; i < all->count;)
		i = print_clock(all, i);
}

static void print_limits(const struct parkclock_limits *l, bool hidden)
{
	printf("limits           %-22s  %s\n", "this user", "the host");
	for (int i = 0; i < PARKCLOCK_LIMITS; i++) {
		printf("  %-14s %8u of %8u  ", limit_names[i], l->limit[i].user_used,
		       l->limit[i].user_most);
		if (hidden)
			printf("%8s of %8u\n", "-", l->limit[i].host_most);
		else
			printf("%8u of %8u\n", l->limit[i].host_used, l->limit[i].host_most);
	}
}

static void print_text(const struct parkclock_query *q, const struct parkclock_accuracy *a,
		       const struct parkclock_limits *limits, const struct sightings *clocks)
{
	const bool hidden = q->flags & PARKCLOCK_HOST_HIDDEN;
	const struct query_field *f = NULL;

	printf("state            %s (%s)\n", state_name(q->state), state_meaning(q->state));
	if (hidden) {
		printf("references       -\nregistered       -\nrunning          -\n");
	} else {
		printf("references       %llu\n", q->references);
		printf("registered       %llu\n", q->all_tasks);
		printf("running          %llu\n", q->all_running);
	}
	printf("interval         %.6g s, window %.6g s, slack %.6g s\n", q->interval_ns / 1e9,
	       q->window_ns / 1e9, q->slack_ns / 1e9);
	print_page(q);
	printf("counter          TSC, %.6f MHz, %s\n", q->counter_hz / 1e6,
	       q->flags & PARKCLOCK_COUNTER_UNUSABLE ?
	       "unusable: the host does not keep time by it, every read is slow" : "usable");
	print_rate(q);
	printf("generation       %llu (%s%s)\n", q->generation,
	       q->reason ? "the last time: " : "", reason_text(q->reason));
	while ((f = query_next_counter(f)))
		if (hidden)
			printf("%-15s  -\n", f->label);
		else
			printf("%-15s  %llu\n", f->label, query_value(q, f));
	print_accuracy(a);
	print_limits(limits, hidden);
	print_clocks(clocks);
	if (hidden)
		printf("hidden (-)       %s\n", QUERY_HIDDEN_HINT);
}

/* Bins as pairs of where they begin and what they count; empty ones are left out. */
static void print_json_accuracy(const char *when, const __u64 *bins, __u64 worst)
{
	const char *comma = "";

	printf("\"%s\":{\"count\":%llu,\"worst_ns\":%llu,\"bins\":[", when, total(bins), worst);
	for (int i = 0; i < PARKCLOCK_BINS; i++) {
		if (!bins[i])
			continue;
		printf("%s[%llu,%llu]", comma, parkclock_bin_ns(i), bins[i]);
		comma = ",";
	}
	printf("]}");
}

static size_t print_json_clock(const struct sightings *all, size_t i)
{
	const struct sighting *s = &all->list[i];
	const char *before = "";

	printf("{\"clock\":%llu,\"stopped\":%s", s->clock, s->stopped ? "true" : "false");
	printf(",\"monotonic_offset_ns\":%lld,\"boottime_offset_ns\":%lld", s->monotonic_ns,
	       s->boottime_ns);
	printf(",\"holds\":%llu,\"tasks\":%llu,\"open_in\":[", s->holds, s->tasks);
	for (; i < all->count && all->list[i].clock == s->clock; i++) {
		printf("%s{\"pid\":%d,\"command\":\"", before, all->list[i].pid);
		for (const char *c = all->list[i].command; *c; c++)
			printf(*c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
		printf("\",\"view\":%s}", all->list[i].view ? "true" : "false");
		before = ",";
	}
	printf("]}");
	return i;
}

static void print_json_clocks(const struct sightings *all)
{
	if (!all->known) {
		printf("null");
		return;
	}
	printf("[");
	for (size_t i = 0; i < all->count;) {
		if (i)
			printf(",");
		i = print_json_clock(all, i);
	}
	printf("]");
}

static void print_json_special(const struct parkclock_query *q, const struct query_field *f)
{
	switch (f->offset) {
	case offsetof(struct parkclock_query, state):
		printf("\"state\":\"%s\"", state_name(q->state));
		break;
	case offsetof(struct parkclock_query, error_ns):
		if (q->window_left_ns)
			printf("\"error_ns\":%llu", q->error_ns);
		else
			printf("\"error_ns\":null");
		break;
	case offsetof(struct parkclock_query, counter_hz):
		printf("\"counter\":\"tsc\",\"counter_hz\":%llu", q->counter_hz);
		break;
	case offsetof(struct parkclock_query, flags):
		printf("\"counter_usable\":%s",
		       q->flags & PARKCLOCK_COUNTER_UNUSABLE ? "false" : "true");
		break;
	case offsetof(struct parkclock_query, rate):
		printf("\"rate\":%llu,\"rate_shift\":%d", q->rate, PARKCLOCK_SHIFT);
		break;
	case offsetof(struct parkclock_query, reason):
		printf("\"reason\":\"%s\"", parkclock_reason(q->reason));
		break;
	}
}

static void print_json_limits(const struct parkclock_limits *l, bool hidden)
{
	for (int i = 0; i < PARKCLOCK_LIMITS; i++) {
		printf("%s\"%s\":{\"user_used\":%u,\"user_most\":%u,\"host_used\":",
		       i ? "," : "", limit_names[i], l->limit[i].user_used,
		       l->limit[i].user_most);
		if (hidden)
			printf("null");
		else
			printf("%u", l->limit[i].host_used);
		printf(",\"host_most\":%u}", l->limit[i].host_most);
	}
}

static void print_json(const struct parkclock_query *q, const struct parkclock_accuracy *a,
		       const struct parkclock_limits *limits, const struct sightings *clocks)
{
	const struct query_field *f;

	printf("{");
	for (f = query_fields; f->name; f++) {
		if (f->kind == QUERY_OPENER)
			continue;
		if (f->kind == QUERY_SPECIAL)
			print_json_special(q, f);
		else if (query_hidden(q, f))
			printf("\"%s\":null", f->name);
		else
			printf("\"%s\":%llu", f->name, query_value(q, f));
		printf(",");
	}
	printf("\"accuracy\":");
	if (a) {
		printf("{");
		print_json_accuracy("steady", a->steady, a->steady_worst_ns);
		printf(",");
		print_json_accuracy("changed", a->changed, a->changed_worst_ns);
		printf("}");
	} else {
		printf("null");
	}
	printf(",\"limits\":{");
	print_json_limits(limits, q->flags & PARKCLOCK_HOST_HIDDEN);
	printf("},\"clocks\":");
	print_json_clocks(clocks);
	printf("}\n");
}

static int show(const char *device, bool json)
{
	struct parkclock *pc = open_device_best(device);
	struct sightings clocks = { 0 };
	struct parkclock_limits limits;
	struct parkclock_accuracy a;
	struct parkclock_query q;
	bool ok, hidden;
	struct stat st;

	if (!pc)
		return EXIT_FAILURE;
	ok = query_device(pc, &q);
	hidden = ok && q.flags & PARKCLOCK_HOST_HIDDEN;
	if (ok && !hidden && parkclock_accuracy(pc, &a)) {
		complain("cannot ask how accurate the clock is: %s. %s", strerror(errno),
			 parkclock_explain(errno));
		ok = false;
	}
	if (ok && parkclock_limits(pc, &limits)) {
		complain("cannot ask for the limits: %s. %s", strerror(errno),
			 parkclock_explain(errno));
		ok = false;
	}
	if (ok && fstat(parkclock_fd(pc), &st)) {
		complain("cannot look at the device: %s.", strerror(errno));
		ok = false;
	}
	/* Before the clocks are looked for, which this is none of. */
	parkclock_close(pc);
	if (!ok || !find_clocks(st.st_rdev, &clocks))
		return EXIT_FAILURE;
	if (json)
		print_json(&q, hidden ? NULL : &a, &limits, &clocks);
	else
		print_text(&q, hidden ? NULL : &a, &limits, &clocks);
	free(clocks.list);
	return EXIT_SUCCESS;
}

static void print_help(const struct command *self)
{
	const struct query_field *f = NULL;

	fputs(self->help, stdout);
	printf("\nThe counters count on the host since the module was loaded:\n\n");
	while ((f = query_next_counter(f)))
		printf("  %-15s %s\n", f->label, f->meaning);
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = { OPTION_JSON, OPTION_HELP, { 0 } };
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'h':
			print_help(self);
			return EXIT_SUCCESS;
		default:
			return usage(self);
		}
	}
	if (!no_more(argc, argv))
		return usage(self);
	return show(device, json);
}

const struct command cmd_status = {
	.name = "status",
	.summary = "show the state, the rate and the counters",
	.help = "usage: parkclock status [--json]\n"
		"\n"
		"Shows the state, the references, the registered tasks of the host and how many\n"
		"of them run, the rate, and the counters. Then: the error of each page just before\n"
		"it was replaced, apart by whether the host changed its own rate meanwhile. Then:\n"
		"what this user and the host have of each thing that is limited. Then:\n"
		"each clock that is open in a process that the user may look at, with its state,\n"
		"its distance to the host's clocks, and the processes that have it, or a view of\n"
		"it, open. Does not wake the clock. What tells of others (references, tasks,\n"
		"counters, errors) is \"-\" or null unless the user may write to the device.\n"
		"\n"
		"  --json         print one JSON object\n"
		"  --help         show this text\n",
	.run = run,
};
