// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock watch: state and counters as they change
 *
 * Made of QUERY alone, so that watching the clock does not keep it awake. On a
 * terminal one picture is drawn over and over; elsewhere each look is a line.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "query.h"
#include "tool.h"

#define CURSOR_HIDE	"\033[?25l"
#define CURSOR_SHOW	"\033[?25h"
#define LINE_END	"\033[K\n"	/* and clear what was there before */

struct look {
	__s64 when_ns;
	struct parkclock_query q;
};

static bool take_look(struct parkclock *pc, struct look *l)
{
	if (!query_device(pc, &l->q))
		return false;
	l->when_ns = now_ns();
	return true;
}

/* Growth per second since the look before. */
static double growth(const struct look *now, const struct look *before,
		     const struct query_field *counter)
{
	const __s64 ns = now->when_ns - before->when_ns;
	const __u64 more = query_value(&now->q, counter) - query_value(&before->q, counter);

	return ns > 0 ? more * 1e9 / ns : 0;
}

/* Draw a line over the one that was there, and count it. */
static void __attribute__((format(printf, 2, 3))) draw_line(int *lines, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	fputs(LINE_END, stdout);
	++*lines;
}

/* A number of QUERY as text; "-" if it is hidden. */
#define NUMBER_SIZE 24
static const char *number(char *text, const struct parkclock_query *q, __u64 n)
{
	if (q->flags & PARKCLOCK_HOST_HIDDEN)
		return "-";
	snprintf(text, NUMBER_SIZE, "%llu", n);
	return text;
}

/* A bar of the window: what is left of it, out of 40 characters. */
static void draw_window(int *lines, const struct parkclock_query *q)
{
	const int full = q->window_ns ? 40 * q->window_left_ns / q->window_ns : 0;

	draw_line(lines, "window left      [%.*s%*s] %.3f of %.3f s", full,
		  "########################################", 40 - full, "",
		  q->window_left_ns / 1e9, q->window_ns / 1e9);
}

/* Draws over the picture before, which has *@lines lines, 0 if there is none. */
static void draw(const struct look *now, const struct look *before, int *lines)
{
	const struct query_field *f = NULL;
	char one[NUMBER_SIZE], two[NUMBER_SIZE];

	if (*lines)
		printf("\033[%dA", *lines);
	*lines = 0;
	draw_line(lines, "state            %s", state_name(now->q.state));
	draw_line(lines, "references       %s", number(one, &now->q, now->q.references));
	draw_line(lines, "registered       %s, running %s", number(one, &now->q, now->q.all_tasks),
		  number(two, &now->q, now->q.all_running));
	draw_window(lines, &now->q);
	if (now->q.window_left_ns)
		draw_line(lines, "error bound      %llu ns", now->q.error_ns);
	else
		draw_line(lines, "error bound      none: the page has no time");
	draw_line(lines, "generation       %llu", now->q.generation);
	draw_line(lines, "%-15s  %12s  %12s", "COUNTER", "TOTAL", "PER SECOND");
	while ((f = query_next_counter(f)))
		draw_line(lines, "%-15s  %12s  %12.1f", f->label,
			  number(one, &now->q, query_value(&now->q, f)), growth(now, before, f));
	if (now->q.flags & PARKCLOCK_HOST_HIDDEN)
		draw_line(lines, "%s", QUERY_HIDDEN_HINT);
}

static void print_header(void)
{
	const struct query_field *f = NULL;

	printf("%-7s %10s %10s %7s %8s", "STATE", "REFERENCES", "REGISTERED", "RUNNING",
	       "LEFT (s)");
	while ((f = query_next_counter(f)))
		printf(" %15s %7s", f->label, "/s");
	printf("\n");
}

static void print_line(const struct look *now, const struct look *before)
{
	const struct query_field *f = NULL;
	char one[NUMBER_SIZE], two[NUMBER_SIZE], three[NUMBER_SIZE];

	printf("%-7s %10s %10s %7s %8.3f", state_name(now->q.state),
	       number(one, &now->q, now->q.references), number(two, &now->q, now->q.all_tasks),
	       number(three, &now->q, now->q.all_running), now->q.window_left_ns / 1e9);
	while ((f = query_next_counter(f)))
		printf(" %15s %7.1f", number(one, &now->q, query_value(&now->q, f)),
		       growth(now, before, f));
	printf("\n");
}

/* @count is 0 for ever. */
static int watch(struct parkclock *pc, __s64 interval_ns, __u64 count)
{
	const bool tty = isatty(STDOUT_FILENO);
	struct look now, before;
	int status = EXIT_SUCCESS;
	int lines = 0;

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
			draw(&now, &before, &lines);
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
	pc = open_device_best(device);
	if (!pc)
		return EXIT_FAILURE;
	status = watch(pc, interval_ns, count);
	parkclock_close(pc);
	return status;
}

const struct command cmd_watch = {
	.name = "watch",
	.summary = "show state and counters as they change",
	.help = "usage: parkclock watch [--interval SECONDS] [--count N]\n"
		"\n"
		"Shows the state and the counters as they change, until SIGINT (Ctrl-C), SIGTERM\n"
		"or SIGHUP. Redraws one picture on a terminal, and prints a line for each look\n"
		"elsewhere. Neither wakes the clock nor keeps it awake. \"parkclock status --help\"\n"
		"says what each counter counts. What tells of others is \"-\" unless the user may\n"
		"write to the device.\n"
		"\n"
		"  --interval SECONDS  wait so long between two looks (default 0.5, at least 0.01)\n"
		"  --count N           end after N looks\n"
		"  --help              show this text\n",
	.run = run,
};
