// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock doctor: what is wrong, and what to do
 *
 * This file has the list of checks, in an order in which each makes the next one possible,
 * and prints what each finds. A slow clock is a warning. Only a clock that is wrong or
 * missing is a failure.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"

#define SECONDS_MIN	0.1
#define SECONDS_MAX	3600

enum need { NOTHING, DEVICE, MEASUREMENT };

static const struct check {
	const char *name;
	check_fn *look;
	enum need need;
} checks[] = {
	{ "module", check_module, NOTHING },
	{ "device", check_device, NOTHING },
	{ "abi", check_abi, NOTHING },
	{ "write_access", check_write, DEVICE },
	{ "cpu", check_cpu, NOTHING },
	{ "clocksource", check_clocksource, NOTHING },
	{ "virtualised", check_virtual, NOTHING },
	{ "tsc_allowed", check_tsc, NOTHING },
	{ "time_namespace", check_time_namespace, NOTHING },
	{ "registration", check_registration, DEVICE },
	{ "limits", check_limits, DEVICE },
	{ "discontinuity", check_discontinuity, DEVICE },
	{ "reference", check_reference, MEASUREMENT },
	{ "bounds", check_bounds, MEASUREMENT },
	{ "monotonicity", check_monotonic, MEASUREMENT },
	{ "rate", check_rate, MEASUREMENT },
};

static const char *const names[] = {
	[OK] = "ok",
	[NOTE] = "note",
	[WARNING] = "warning",
	[FAILURE] = "failure",
	[SKIPPED] = "skipped",
};

enum { RESULTS = ARRAY_SIZE(names) };

void find(struct finding *f, enum verdict result, const char *advice, const char *fmt, ...)
{
	va_list args;

	f->result = result;
	f->advice = advice;
	va_start(args, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, args);
	va_end(args);
}

/* Length of the UTF-8 character at @s; 0 if there is none. */
static int utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		unsigned int least;	/* smaller characters have a shorter form */
	} forms[] = { { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 } };

	if (*s < 0x80)
		return 1;
	for (int n = 1; n <= 3; n++) {
		unsigned int c = *s & ~forms[n - 1].mask;
		int i = 1;

		if ((*s & forms[n - 1].mask) != forms[n - 1].lead)
			continue;
		for (; i <= n && (s[i] & 0xc0) == 0x80; i++)
			c = c << 6 | (s[i] & 0x3f);
		if (i <= n || c < forms[n - 1].least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return 0;
		return n + 1;
	}
	return 0;
}

/* Print as JSON. Bytes that are not text, as in a path, become U+FFFD. */
static void print_string(const char *string)
{
	const unsigned char *s = (const unsigned char *)string;

	putchar('"');
	while (*s) {
		const int length = utf8_length(s);

		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			printf("\\u%04x", *s);
		else if (length)
			printf("%.*s", length, (const char *)s);
		else
			printf("\\ufffd");
		s += length ? length : 1;
	}
	putchar('"');
}

static void print_json(const char *name, const struct finding *f, bool first)
{
	printf("%s{\"name\":\"%s\",\"result\":\"%s\",\"found\":", first ? "{\"checks\":[" : ",",
	       name, names[f->result]);
	print_string(f->text);
	printf(",\"advice\":");
	if (f->advice)
		print_string(f->advice);
	else
		printf("null");
	printf("}");
}

static void print_text(const char *name, const struct finding *f)
{
	printf("%-8s %-15s %s\n", names[f->result], name, f->text);
	if (f->advice)
		printf("%24s -> %s\n", "", f->advice);
	fflush(stdout);
}

static void print_json_end(const struct patient *p, bool ok)
{
	const struct measurement *m = &p->m;

	printf("],\"clock\":");
	if (p->measured && !m->hold_errno) {
		printf("{\"measured_ns\":%lld,\"page_used\":%s", m->ns,
		       m->page_used ? "true" : "false");
		printf(",\"page_readings\":%llu,\"read_readings\":%llu,\"expired\":%llu",
		       m->by_page, m->by_read, m->expired);
		printf(",\"unjudged\":%llu,\"wrong\":%llu,\"wrong_ns\":%llu,\"outside_ns\":%llu",
		       m->unjudged, m->wrong, m->wrong_ns, m->outside_ns);
		printf(",\"best_error_ns\":%llu,\"median_error_ns\":%llu", m->best_ns,
		       m->median_ns);
		printf(",\"threads\":%u,\"passed\":%llu,\"back\":%llu,\"back_ns\":%llu",
		       m->threads, m->passed, m->back, m->back_ns);
		printf(",\"rate_ppb\":%.0f,\"slack_ppb\":%.0f,\"counter_ppb\":", m->rate_ppb,
		       m->slack_ppb);
		if (m->counter)
			printf("%.0f}", m->counter_ppb);
		else
			printf("null}");
	} else {
		printf("null");
	}
	printf(",\"ok\":%s}\n", ok ? "true" : "false");
}

static void print_text_end(const unsigned int *counts)
{
	printf("\n%u failure%s, %u warning%s: %s\n", counts[FAILURE],
	       counts[FAILURE] == 1 ? "" : "s", counts[WARNING],
	       counts[WARNING] == 1 ? "" : "s",
	       counts[FAILURE] ? "the clock cannot be used, or cannot be trusted." :
	       counts[WARNING] ? "the clock is right, but something could be better." :
				 "the clock is well.");
}

/* The reason why a check cannot be made. */
static void look(const struct check *c, struct patient *p, struct finding *f)
{
	if (c->need >= DEVICE && !p->pc) {
		find(f, SKIPPED, NULL, "Not checked: the device could not be opened.");
		return;
	}
	if (c->need == MEASUREMENT && !p->measured)
		measure(p);
	if (c->need == MEASUREMENT && p->m.hold_errno && c->look != check_reference)
		find(f, SKIPPED, NULL, "Not checked: no reference to the clock could be held.");
	else
		c->look(p, f);
}

static int examine(const char *device, __s64 for_ns, bool json)
{
	struct patient p = { .device = device, .for_ns = for_ns };
	unsigned int counts[RESULTS] = { 0 };

	p.quiet = !isatty(STDERR_FILENO);
	p.pc = parkclock_open(device);
	p.open_errno = p.pc ? 0 : errno;
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct finding f;

		look(&checks[i], &p, &f);
		counts[f.result]++;
		if (json)
			print_json(checks[i].name, &f, !i);
		else
			print_text(checks[i].name, &f);
	}
	if (json)
		print_json_end(&p, !counts[FAILURE]);
	else
		print_text_end(counts);
	parkclock_close(p.pc);
	return counts[FAILURE] ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool parse_for(const char *arg, __s64 *ns)
{
	if (!parse_seconds("--seconds", arg, ns))
		return false;
	if (*ns >= SECONDS_MIN * NSEC_PER_SEC && *ns <= SECONDS_MAX * NSEC_PER_SEC)
		return true;
	complain("--seconds of doctor takes 0.1 to 3600, not '%s'.", arg);
	return false;
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' },
		OPTION_JSON, OPTION_HELP, { 0 }
	};
	__s64 for_ns = 2 * NSEC_PER_SEC;
	bool json = false, ok = true;
	int c;

	while (ok && (c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			ok = parse_for(optarg, &for_ns);
			break;
		case 'j':
			json = true;
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
	return examine(device, for_ns, json);
}

const struct command cmd_doctor = {
	.name = "doctor",
	.summary = "examine the host, check the clock, say what to do",
	.help = "usage: parkclock doctor [--seconds N] [--json]\n"
		"\n"
		"Examines the host (module, device, rights, TSC, clocksource, time namespace). Then\n"
		"holds a reference and checks the clock against clock_gettime: its error bounds, its\n"
		"rate, and that it never goes back between CPUs. Each check is ok, a note, a warning,\n"
		"a failure or skipped, with what was found and what to do about it. Keeps the CPUs\n"
		"busy while it measures.\n"
		"\n"
		"  --seconds N    measure for this long (default 2, 0.1 to 3600)\n"
		"  --json         print one JSON object\n"
		"  --help         show this text\n"
		"\n"
		"Exit status: 0 (no check is a failure), 1 (a check is a failure), 2 (wrong usage).\n",
	.run = run,
};
