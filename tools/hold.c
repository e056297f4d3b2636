// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock hold: keep the clock awake for a while
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* Print the end after the release, so that a reader of the line may rely on it. */
static int hold_until(struct parkclock *pc, __s64 time_ns)
{
	int sig;

	ask_signals();
	if (parkclock_hold(pc)) {
		complain("cannot hold a reference: %s. %s", strerror(errno),
			 parkclock_explain(errno));
		return EXIT_FAILURE;
	}
	printf("a reference is held\n");
	fflush(stdout);
	sig = wait_signal(time_ns < 0 ? FOR_EVER : now_ns() + time_ns);
	if (parkclock_release(pc)) {
		complain("cannot release the reference: %s. %s", strerror(errno),
			 parkclock_explain(errno));
		return EXIT_FAILURE;
	}
	printf("the reference is released (%s)\n", sig ? strsignal(sig) : "the time is up");
	return EXIT_SUCCESS;
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		{ "time", required_argument, NULL, 't' },
		OPTION_HELP, { 0 }
	};
	struct parkclock *pc;
	__s64 time_ns = -1;
	int c, status;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 't':
			if (!parse_seconds("--time", optarg, &time_ns))
				return usage(self);
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
	pc = open_device(device);
	if (!pc)
		return EXIT_FAILURE;
	status = hold_until(pc, time_ns);
	parkclock_close(pc);
	return status;
}

const struct command cmd_hold = {
	.name = "hold",
	.summary = "hold a reference, which keeps the clock awake",
	.help = "usage: parkclock hold [--time SECONDS]\n"
		"\n"
		"Holds a reference, so that the page stays valid, until SIGINT (Ctrl-C), SIGTERM\n"
		"or SIGHUP.\n"
		"\n"
		"  --time SECONDS  release the reference after this time at the latest\n"
		"  --help          show this text\n",
	.run = run,
};
