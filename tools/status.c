// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock status: state, rate and counters, without waking the clock
 */
#include <getopt.h>
#include <stdlib.h>

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

static void print_text(const struct parkclock_query *q)
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
	printf("generation       %llu\n", q->generation);
	printf("parks            %llu\n", q->parks);
	printf("wakes            %llu\n", q->wakes);
	printf("refreshes        %llu\n", q->refreshes);
	printf("expirations      %llu\n", q->expirations);
	printf("invalidations    %llu\n", q->invalidations);
	printf("slow reads       %llu\n", q->slow_reads);
	printf("run transitions  %llu\n", q->run_transitions);
	printf("run wakes        %llu\n", q->run_wakes);
}

static void print_json(const struct parkclock_query *q)
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
	printf(",\"generation\":%llu,\"parks\":%llu,\"wakes\":%llu",
	       q->generation, q->parks, q->wakes);
	printf(",\"refreshes\":%llu,\"expirations\":%llu", q->refreshes,
	       q->expirations);
	printf(",\"invalidations\":%llu,\"slow_reads\":%llu",
	       q->invalidations, q->slow_reads);
	printf(",\"run_transitions\":%llu,\"run_wakes\":%llu}\n",
	       q->run_transitions, q->run_wakes);
}

static int show(const char *device, bool json)
{
	struct parkclock *pc = open_device(device);
	struct parkclock_query q;
	bool ok;

	if (!pc)
		return EXIT_FAILURE;
	ok = query_device(pc, &q);
	parkclock_close(pc);
	if (!ok)
		return EXIT_FAILURE;
	if (json)
		print_json(&q);
	else
		print_text(&q);
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
		"of them run, the rate and the counters. Does not wake the clock.\n"
		"\n"
		"  --json         one JSON object\n"
		"  --help         this text\n",
	.run = run,
};
