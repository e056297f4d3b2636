// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock status: state, rate and counters, without waking the clock
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

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

static void print_accuracy(const struct parkclock_accuracy *a)
{
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

static void print_text(const struct parkclock_query *q, const struct parkclock_accuracy *a)
{
	printf("state            %s (%s)\n", state_name(q->state), state_meaning(q->state));
	printf("references       %llu\n", q->references);
	printf("registered       %llu\n", q->all_tasks);
	printf("running          %llu\n", q->all_running);
	printf("interval         %.6g s, window %.6g s, slack %.6g s\n", q->interval_ns / 1e9,
	       q->window_ns / 1e9, q->slack_ns / 1e9);
	print_page(q);
	printf("counter          TSC, %.6f MHz, %s\n", q->counter_hz / 1e6,
	       q->flags & PARKCLOCK_COUNTER_UNUSABLE ?
	       "unusable: the host does not keep time by it, every read is slow" : "usable");
	print_rate(q);
	printf("generation       %llu (%s%s)\n", q->generation,
	       q->reason ? "the last time: " : "", reason_text(q->reason));
	printf("parks            %llu\n", q->parks);
	printf("wakes            %llu\n", q->wakes);
	printf("refreshes        %llu\n", q->refreshes);
	printf("expirations      %llu\n", q->expirations);
	printf("invalidations    %llu\n", q->invalidations);
	printf("slow reads       %llu\n", q->slow_reads);
	printf("run transitions  %llu\n", q->run_transitions);
	printf("run wakes        %llu\n", q->run_wakes);
	print_accuracy(a);
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

static void print_json(const struct parkclock_query *q, const struct parkclock_accuracy *a)
{
	printf("{\"state\":\"%s\",\"references\":%llu", state_name(q->state),
	       q->references);
	printf(",\"all_tasks\":%llu,\"all_running\":%llu", q->all_tasks, q->all_running);
	printf(",\"interval_ns\":%llu,\"window_ns\":%llu,\"slack_ns\":%llu",
	       q->interval_ns, q->window_ns, q->slack_ns);
	printf(",\"window_left_ns\":%llu,\"error_ns\":", q->window_left_ns);
	if (q->window_left_ns)
		printf("%llu", q->error_ns);
	else
		printf("null");
	printf(",\"counter\":\"tsc\",\"counter_hz\":%llu,\"counter_usable\":%s",
	       q->counter_hz,
	       q->flags & PARKCLOCK_COUNTER_UNUSABLE ? "false" : "true");
	printf(",\"cycles\":%llu,\"rate\":%llu,\"rate_shift\":%d",
	       q->cycles, q->rate, PARKCLOCK_SHIFT);
	printf(",\"generation\":%llu,\"reason\":\"%s\"", q->generation,
	       parkclock_reason(q->reason));
	printf(",\"parks\":%llu,\"wakes\":%llu",
	       q->parks, q->wakes);
	printf(",\"refreshes\":%llu,\"expirations\":%llu", q->refreshes,
	       q->expirations);
	printf(",\"invalidations\":%llu,\"slow_reads\":%llu",
	       q->invalidations, q->slow_reads);
	printf(",\"run_transitions\":%llu,\"run_wakes\":%llu",
	       q->run_transitions, q->run_wakes);
	printf(",\"accuracy\":{");
	print_json_accuracy("steady", a->steady, a->steady_worst_ns);
	printf(",");
	print_json_accuracy("changed", a->changed, a->changed_worst_ns);
	printf("}}\n");
}

static int show(const char *device, bool json)
{
	struct parkclock *pc = open_device(device);
	struct parkclock_accuracy a;
	struct parkclock_query q;
	bool ok;

	if (!pc)
		return EXIT_FAILURE;
	ok = query_device(pc, &q);
	if (ok && parkclock_accuracy(pc, &a)) {
		complain("cannot ask how accurate the clock is: %s. %s", strerror(errno),
			 parkclock_explain(errno));
		ok = false;
	}
	parkclock_close(pc);
	if (!ok)
		return EXIT_FAILURE;
	if (json)
		print_json(&q, &a);
	else
		print_text(&q, &a);
	return EXIT_SUCCESS;
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
			fputs(self->help, stdout);
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
	.help = "usage: parkclock status [--json]\n"
		"\n"
		"Shows the state, the references, the registered tasks of the host and how many\n"
		"of them run, the rate, the counters, and how far off the page was just before it\n"
		"was replaced, by whether the host's own rate had changed meanwhile. Does not wake\n"
		"the clock.\n"
		"\n"
		"  --json         one JSON object\n"
		"  --help         this text\n",
	.run = run,
};
