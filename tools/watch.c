// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock watch: state and counters as they change
 *
 * Made of QUERY alone, so that watching the clock does not keep it awake. On a
 * terminal one picture is drawn over and over; elsewhere each look is a line.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define CURSOR_HIDE	"\033[?25l"
#define CURSOR_SHOW	"\033[?25h"
#define LINE_END	"\033[K\n"	/* and clear what was there before */

enum { COUNTERS = 8 };

struct look {
	__s64 when_ns;
	struct parkclock_query q;
	__u64 counters[COUNTERS];
};

static const char *const names[COUNTERS] = {
	"parks", "wakes", "refreshes", "expirations", "invalidations", "slow reads",
	"run transitions", "run wakes",
};

static bool take_look(struct parkclock *pc, struct look *l)
{
	if (!query_device(pc, &l->q))
		return false;
	l->when_ns = now_ns();
	l->counters[0] = l->q.parks;
	l->counters[1] = l->q.wakes;
	l->counters[2] = l->q.refreshes;
	l->counters[3] = l->q.expirations;
	l->counters[4] = l->q.invalidations;
	l->counters[5] = l->q.slow_reads;
	l->counters[6] = l->q.run_transitions;
	l->counters[7] = l->q.run_wakes;
	return true;
}

/* Growth per second since the look before. */
static double growth(const struct look *now, const struct look *before, int i)
{
	const __s64 ns = now->when_ns - before->when_ns;

	return ns > 0 ? (now->counters[i] - before->counters[i]) * 1e9 / ns : 0;
}

/* A bar of the window: what is left of it, out of 40 characters. */
static void draw_window(const struct parkclock_query *q)
{
	const int full = q->window_ns ? 40 * q->window_left_ns / q->window_ns : 0;

	printf("window left      [%.*s%*s] %.3f of %.3f s" LINE_END, full,
	       "########################################", 40 - full, "",
	       q->window_left_ns / 1e9, q->window_ns / 1e9);
}

/* Draws over the picture before, if there is one. */
static void draw(const struct look *now, const struct look *before, bool first)
{
	const int lines = 7 + COUNTERS;

	if (!first)
		printf("\033[%dA", lines);
	printf("state            %s" LINE_END, state_name(now->q.state));
	printf("references       %llu" LINE_END, now->q.references);
	printf("registered       %llu, running %llu" LINE_END, now->q.all_tasks,
	       now->q.all_running);
	draw_window(&now->q);
	if (now->q.window_left_ns)
		printf("error bound      %llu ns" LINE_END, now->q.error_ns);
	else
		printf("error bound      none: the page has no time" LINE_END);
	printf("generation       %llu" LINE_END, now->q.generation);
	printf("%-15s  %12s  %12s" LINE_END, "COUNTER", "TOTAL", "PER SECOND");
	for (int i = 0; i < COUNTERS; i++)
		printf("%-15s  %12llu  %12.1f" LINE_END, names[i], now->counters[i],
		       growth(now, before, i));
}

static void print_header(void)
{
	printf("%-7s %10s %10s %7s %8s", "STATE", "REFERENCES", "REGISTERED", "RUNNING",
	       "LEFT (s)");
	for (int i = 0; i < COUNTERS; i++)
		printf(" %15s %7s", names[i], "/s");
	printf("\n");
}

static void print_line(const struct look *now, const struct look *before)
{
	printf("%-7s %10llu %10llu %7llu %8.3f", state_name(now->q.state), now->q.references,
	       now->q.all_tasks, now->q.all_running, now->q.window_left_ns / 1e9);
	for (int i = 0; i < COUNTERS; i++)
		printf(" %15llu %7.1f", now->counters[i], growth(now, before, i));
	printf("\n");
}

/* @count is 0 for ever. */
static int watch(struct parkclock *pc, __s64 interval_ns, __u64 count)
{
	const bool tty = isatty(STDOUT_FILENO);
	struct look now, before;
	int status = EXIT_SUCCESS;

	ask_signals();
	if (tty) {
		/* Ctrl-Z would leave the terminal without a cursor. */
		signal(SIGTSTP, SIG_IGN);
		fputs(CURSOR_HIDE, stdout);
	} else {
		print_header();
	}
	for (__u64 n = 0; !count || n < count; n++) {
		if (n && wait_signal(now_ns() + interval_ns))
			break;
		if (!take_look(pc, &now)) {
			status = EXIT_FAILURE;
			break;
		}
		if (!n)
			before = now;
		if (tty)
			draw(&now, &before, !n);
		else
			print_line(&now, &before);
		if (fflush(stdout))
			break;		/* main() says why */
		before = now;
	}
	if (tty)
		fputs(CURSOR_SHOW, stdout);
	return status;
}

/* A floor, so that a watch does not become a load. */
static bool parse_interval(const char *arg, __s64 *ns)
{
	if (!parse_seconds("--interval", arg, ns))
		return false;
	if (*ns >= NSEC_PER_SEC / 100)
		return true;
	complain("--interval of watch is 0.01 at least; not '%s'.", arg);
	return false;
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		OPTION_COUNT, OPTION_INTERVAL, OPTION_HELP, { 0 }
	};
	__s64 interval_ns = NSEC_PER_SEC / 2;
	struct parkclock *pc;
	__u64 count = 0;
	bool ok = true;
	int c, status;

	while (ok && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			ok = parse_count(optarg, &count);
			break;
		case 'i':
			ok = parse_interval(optarg, &interval_ns);
			break;
		case 'h':
			fputs(self->help, stdout);
			return EXIT_SUCCESS;
		default:
			ok = false;
		}
	}
	if (!ok || !no_more(argc, argv))
		return usage(self);
	pc = open_device(device);
	if (!pc)
		return EXIT_FAILURE;
	status = watch(pc, interval_ns, count);
	parkclock_close(pc);
	return status;
}

const struct command cmd_watch = {
	.name = "watch",
	.help = "usage: parkclock watch [--interval SECONDS] [--count N]\n"
		"\n"
		"Shows state and counters as they change, until SIGINT (Ctrl-C), SIGTERM or\n"
		"SIGHUP. On a terminal the picture is redrawn in place, elsewhere there is a line\n"
		"for each look. Watching does not wake the clock, nor keep it awake.\n"
		"\n"
		"  --interval SECONDS  from one look to the next (default 0.5, at least 0.01)\n"
		"  --count N           end after N looks\n"
		"  --help              this text\n",
	.run = run,
};
