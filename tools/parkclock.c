// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock: command line tool for /dev/parkclock
 *
 * The global options, the choice of the command, and what the commands share.
 * Each command has a file of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../module/version.h"
#include "keeper.h"
#include "tool.h"

#define LOWEST_CLOCK	100	/* as of "parkclock run" */

static const char help_begin[] =
	"usage: parkclock [--device PATH | --name NAME] COMMAND [OPTION ...]\n"
	"\n"
	"Shows, reads, holds and checks the clock of the parkclock module.\n"
	"\n";

static const char help_end[] =
	"\n"
	"  --device PATH  use this device instead of " PARKCLOCK_DEVICE " or of the clock\n"
	"                 whose descriptor PARKCLOCK_FD names\n"
	"  --name NAME    use the clock that the keeper NAME holds: see \"parkclock keep\"\n"
	"  --help         show this text; \"parkclock COMMAND --help\": that of a command\n"
	"  --version      show the version\n"
	"\n"
	"Exit status: 0 (success), 1 (something failed), 2 (wrong usage); \"run\",\n"
	"\"restore\", \"keep\" and \"view\" exit with the status of their command.\n";

static const struct command cmd_help;

static const struct command *const commands[] = {
	&cmd_status, &cmd_read, &cmd_hold, &cmd_watch, &cmd_run, &cmd_register,
	&cmd_save, &cmd_restore, &cmd_keep, &cmd_keepers, &cmd_cgroup, &cmd_view,
	&cmd_stop, &cmd_start, &cmd_doctor, &cmd_help,
};

const char default_device[] = PARKCLOCK_DEVICE;
const char *named_keeper;

int usage(const struct command *self)
{
	complain("\"parkclock %s --help\" shows the options.", self->name);
	return EXIT_USAGE;
}

bool no_more(int argc, char **argv)
{
	if (optind == argc)
		return true;
	complain("unexpected argument '%s'.", argv[optind]);
	return false;
}

bool parse_seconds(const char *name, const char *arg, __s64 *ns)
{
	char *end;
	double seconds = strtod(arg, &end);

	/* The character set refuses what strtod() also accepts: inf, 0x1p3, -1 */
	if (!*arg || *end || arg[strspn(arg, "0123456789.")] || seconds > 1e9) {
		complain("%s takes seconds, such as 2 or 0.5, at most 1000000000; not '%s'.",
			 name, arg);
		return false;
	}
	*ns = seconds * NSEC_PER_SEC;
	return true;
}

bool parse_count(const char *arg, __u64 *count)
{
	char *end;
	unsigned long long n = strtoull(arg, &end, 10);

	if (*end || arg[strspn(arg, "0123456789")] || n < 1 || n > 1000000000) {
		complain("--count takes a number from 1 to 1000000000; not '%s'.", arg);
		return false;
	}
	*count = n;
	return true;
}

static struct parkclock *check_open(struct parkclock *pc, const char *path)
{
	const char *fd = path ? NULL : getenv(PARKCLOCK_FD_VARIABLE);
	const int err = errno;

	if (!pc && fd)
		complain("cannot use the clock of PARKCLOCK_FD, '%s': %s. %s", fd, strerror(err),
			 parkclock_explain_open(err));
	else if (!pc)
		complain("cannot open %s: %s. %s", path ? path : default_device, strerror(err),
			 parkclock_explain_open(err));
	return pc;
}

/* The path as the library expects it */
static const char *given(const char *path)
{
	return path == default_device ? NULL : path;
}

struct parkclock *open_device(const char *path)
{
	path = given(path);
	return check_open(parkclock_open(path), path);
}

struct parkclock *open_device_best(const char *path)
{
	struct parkclock *pc = parkclock_open_owner(given(path));

	return pc || (errno != EACCES && errno != EPERM) ? check_open(pc, given(path)) :
							    open_device(path);
}

struct parkclock *open_new_owner(const char *path)
{
	return check_open(parkclock_open_owner(path), path);
}

/* The number in PARKCLOCK_FD, or -1 */
static int fd_variable(void)
{
	const char *text = getenv(PARKCLOCK_FD_VARIABLE);
	char *end;
	long fd;

	errno = 0;
	fd = text && *text ? strtol(text, &end, 10) : -1;
	return fd < 0 || errno || *end || fd > INT_MAX ? -1 : fd;
}

struct parkclock *open_fd_variable(const char *verb)
{
	struct parkclock *pc = parkclock_open_fd(fd_variable());

	if (!pc)
		complain("cannot %s the clock of PARKCLOCK_FD, '%s': %s. %s", verb,
			 getenv(PARKCLOCK_FD_VARIABLE), strerror(errno),
			 parkclock_explain_open(errno));
	return pc;
}

void close_fd_variable(void)
{
	const int fd = fd_variable();

	if (fd >= 0)
		close(fd);
}

bool query_device(struct parkclock *pc, struct parkclock_query *q)
{
	if (!parkclock_query(pc, q))
		return true;
	complain("cannot query the clock: %s. %s", strerror(errno), parkclock_explain(errno));
	return false;
}

const char *state_name(__u32 state)
{
	static const char *const names[] = {
		[PARKCLOCK_STOPPED] = "stopped",
		[PARKCLOCK_PARKED] = "parked",
		[PARKCLOCK_IDLE] = "idle",
		[PARKCLOCK_ACTIVE] = "active",
	};

	return state <= PARKCLOCK_ACTIVE ? names[state] : "unknown";
}

const char *reason_text(__u64 reason)
{
	static const char *const texts[] = {
		[PARKCLOCK_REASON_NONE] = "no discontinuity yet",
		[PARKCLOCK_REASON_STEP] = "REALTIME was set",
		[PARKCLOCK_REASON_LEAP] = "a leap second",
		[PARKCLOCK_REASON_TAI] = "the offset between TAI and UTC was set",
		[PARKCLOCK_REASON_SUSPEND] = "the host slept",
		[PARKCLOCK_REASON_COUNTER] = "the clocksource was changed",
		[PARKCLOCK_REASON_FORK] = "the host is a copy of a virtual machine",
	};

	return reason < ARRAY_SIZE(texts) ? texts[reason] : "a reason of a newer module";
}

const char *seconds(char *text, __s64 ns)
{
	const __u64 size = ns < 0 ? -(__u64)ns : (__u64)ns;

	snprintf(text, SECONDS_SIZE, "%s%llu.%09llu", ns < 0 ? "-" : "", size / NSEC_PER_SEC,
		 size % NSEC_PER_SEC);
	return text;
}

__s64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static const int asked[] = { SIGINT, SIGTERM, SIGHUP };

static void asked_signals(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		sigaddset(set, asked[i]);
}

void ask_signals(void)
{
	sigset_t set;

	asked_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

int wait_signal(__s64 deadline)
{
	sigset_t set;
	int sig;

	asked_signals(&set);
	do {
		__s64 left = deadline - now_ns();
		struct timespec ts = { 0 };

		if (left > 0) {
			ts.tv_sec = left / NSEC_PER_SEC;
			ts.tv_nsec = left % NSEC_PER_SEC;
		}
		sig = sigtimedwait(&set, NULL, &ts);
	} while (sig < 0 && errno == EINTR);
	return sig < 0 ? 0 : sig;
}

static atomic_int caught;

static void catch_signal(int sig)
{
	caught = sig;
}

/* Signals are caught only inside this ppoll(); elsewhere the mask blocks them. */
int wait_signal_or(int fd)
{
	const struct sigaction action = { .sa_handler = catch_signal };
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	sigset_t mask;

	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		sigaction(asked[i], &action, NULL);
		sigdelset(&mask, asked[i]);
	}
	while (ppoll(&pollfd, 1, NULL, &mask) < 0 && errno == EINTR && !caught)
		;
	return caught;
}

static int run(int argc, char **argv, const char *device)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[0], commands[i]->name))
			continue;
		argv[0] = "parkclock";	/* for the messages of getopt_long() */
		optind = 0;		/* start it again */
		return commands[i]->run(commands[i], argc, argv, device);
	}
	complain("there is no command '%s'; \"parkclock --help\" lists them.", argv[0]);
	return EXIT_USAGE;
}

static void print_help(void)
{
	fputs(help_begin, stdout);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-14s %s\n", commands[i]->name, commands[i]->summary);
	fputs(help_end, stdout);
}

static int run_help(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = { OPTION_HELP, { 0 } };
	char option[] = "--help";
	char *of_command[3] = { NULL, option };
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c != 'h')
			return usage(self);
		fputs(self->help, stdout);
		return EXIT_SUCCESS;
	}
	if (optind == argc) {
		print_help();
		return EXIT_SUCCESS;
	}
	of_command[0] = argv[optind++];
	return no_more(argc, argv) ? run(2, of_command, device) : usage(self);
}

static const struct command cmd_help = {
	.name = "help",
	.summary = "show this text, or the options of a command",
	.help = "usage: parkclock help [COMMAND]\n"
		"\n"
		"Shows what \"parkclock --help\" or \"parkclock COMMAND --help\" shows.\n"
		"\n"
		"  --help         show this text\n",
	.run = run_help,
};

/* As if the caller had set PARKCLOCK_FD. A command that is run inherits it, too. */
static bool take_clock(const char *name)
{
	struct keeper_reply reply;
	const int clock = keeper_ask(name, "", &reply);
	char number[16];
	int fd;

	if (clock < 0)
		return false;
	/* Out of the way of what a command is given */
	fd = fcntl(clock, F_DUPFD, LOWEST_CLOCK);
	close(clock);
	snprintf(number, sizeof(number), "%d", fd);
	if (fd >= 0 && !setenv(PARKCLOCK_FD_VARIABLE, number, 1))
		return true;
	complain("cannot use the clock of %s: %s. Raise \"ulimit -n\" above %d.", name,
		 strerror(errno), LOWEST_CLOCK);
	return false;
}

/* Output counts only if it was written. */
static int flush_status(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	complain("cannot write the output: %s. Is the disk full, or has the reader gone?",
		 strerror(errno));
	return status ? status : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "device", required_argument, NULL, 'd' },
		{ "name", required_argument, NULL, 'n' },
		{ "version", no_argument, NULL, 'V' },
		OPTION_HELP,
		{ 0 }
	};
	const char *device = default_device;
	int c;

	argv[0] = "parkclock";
	while ((c = getopt_long(argc, argv, "+hV", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'n':
			named_keeper = optarg;
			break;
		case 'h':
			print_help();
			return flush_status(EXIT_SUCCESS);
		case 'V':
			printf("parkclock %s, ABI version %d\n", PARKCLOCK_RELEASE,
			       PARKCLOCK_VERSION);
			return flush_status(EXIT_SUCCESS);
		default:
			complain("\"parkclock --help\" shows the options.");
			return EXIT_USAGE;
		}
	}
	if (optind == argc) {
		complain("a command is missing; \"parkclock --help\" lists them.");
		return EXIT_USAGE;
	}
	if (named_keeper && device != default_device) {
		complain("--device and --name each name a clock; give one of them.");
		return EXIT_USAGE;
	}
	if (named_keeper && !take_clock(named_keeper))
		return EXIT_FAILURE;
	return flush_status(run(argc - optind, argv + optind, device));
}
