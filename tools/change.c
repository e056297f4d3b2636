// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock stop, start, cgroup and view: what is done with a clock that somebody keeps
 *
 * None of them makes a clock: --name or PARKCLOCK_FD names it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"

static struct parkclock *open_named(const char *device)
{
	if (device == default_device && getenv(PARKCLOCK_FD_VARIABLE))
		return open_fd_variable("use");
	complain("no clock is named. Give the name of a kept one: \"parkclock --name NAME ...\".");
	return NULL;
}

/* Returns false after a message. */
static bool change(struct parkclock *pc, const char *what, int failed)
{
	const int err = errno;

	parkclock_close(pc);
	if (failed)
		complain("cannot %s: %s. %s", what, strerror(err), parkclock_explain_change(err));
	return !failed;
}

static int run_stop(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = { OPTION_HELP, { 0 } };
	struct parkclock *pc;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c != 'h')
			return usage(self);
		fputs(self->help, stdout);
		return EXIT_SUCCESS;
	}
	if (!no_more(argc, argv))
		return usage(self);
	pc = open_named(device);
	return pc && change(pc, "stop the clock", parkclock_stop(pc)) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_start(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		{ "gap", required_argument, NULL, 'g' }, OPTION_HELP, { 0 }
	};
	unsigned int gap = PARKCLOCK_GAP_INCLUDE;
	struct parkclock *pc;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'g':
			if (!parse_gap(optarg, &gap))
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
	pc = open_named(device);
	return pc && change(pc, "start the clock", parkclock_start(pc, gap)) ? EXIT_SUCCESS :
									     EXIT_FAILURE;
}

/* A hook may be called again for what it has registered. */
static bool tie(struct parkclock *pc, const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok;

	if (dir < 0) {
		complain("cannot open the cgroup %s: %s. Give the path of its directory.", path,
			 strerror(errno));
		return false;
	}
	ok = !parkclock_register_cgroup(pc, dir) || errno == EEXIST;
	if (!ok)
		complain("cannot register the cgroup %s: %s. %s", path, strerror(errno),
			 parkclock_explain_cgroup(errno));
	close(dir);
	return ok;
}

/* First registered, by this user's rights, and then watched: a keeper asks nobody's rights. */
static int run_cgroup(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = { OPTION_HELP, { 0 } };
	struct keeper_reply reply;
	struct parkclock *pc;
	const char *dir;
	char path[PATH_MAX];
	bool ok;
	int c, fd;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c != 'h')
			return usage(self);
		fputs(self->help, stdout);
		return EXIT_SUCCESS;
	}
	if (optind == argc) {
		complain("the directory of the cgroup is missing.");
		return usage(self);
	}
	dir = argv[optind++];
	if (!no_more(argc, argv))
		return usage(self);
	if (!named_keeper) {
		complain("a keeper must be named: \"parkclock --name NAME cgroup DIR\".");
		return usage(self);
	}
	pc = open_named(device);
	if (!pc)
		return EXIT_FAILURE;
	ok = tie(pc, dir);
	parkclock_close(pc);
	if (ok && !realpath(dir, path)) {
		complain("cannot find the cgroup %s again: %s. Was it removed?", dir,
			 strerror(errno));
		ok = false;
	}
	fd = ok ? keeper_ask(named_keeper, path, &reply) : -1;
	if (fd < 0)
		return EXIT_FAILURE;
	close(fd);
	return EXIT_SUCCESS;
}

/* The command gets the view, and nothing of the owner's. */
static int run_view(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		{ "fd", required_argument, NULL, 'f' }, OPTION_HELP, { 0 }
	};
	struct parkclock *pc;
	int c, fd = 3, view;

	while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			if (!parse_fd(optarg, &fd))
				return usage(self);
			break;
		case 'h':
			fputs(self->help, stdout);
			return EXIT_SUCCESS;
		default:
			return usage(self);
		}
	}
	if (optind == argc) {
		complain("the command to run is missing.");
		return usage(self);
	}
	pc = open_named(device);
	if (!pc)
		return EXIT_FAILURE;
	view = parkclock_view_with(pc, PARKCLOCK_VIEW_TIMERS);
	if (view < 0) {
		complain("cannot make a view of the clock: %s. %s", strerror(errno),
			 parkclock_explain_change(errno));
		return EXIT_FAILURE;
	}
	parkclock_close(pc);
	close_fd_variable();
	if (view != fd && !fd_is_free(fd))
		return EXIT_FAILURE;
	return become_inside(view, fd, argv + optind);
}

const struct command cmd_stop = {
	.name = "stop",
	.summary = "stop a clock: nobody gets a time from it",
	.help = "usage: parkclock --name NAME stop\n"
		"\n"
		"Stops the clock that the keeper NAME holds (see \"parkclock keep\"), or that PARKCLOCK_FD\n"
		"names. Whoever reads it is told that it is stopped. So first pause what reads it.\n"
		"\n"
		"  --help         show this text\n",
	.run = run_stop,
};

const struct command cmd_start = {
	.name = "start",
	.summary = "start a stopped clock again",
	.help = "usage: parkclock --name NAME start [--gap include|freeze]\n"
		"\n"
		"Starts a clock that was stopped, by \"parkclock stop\" or \"parkclock save\".\n"
		"\n"
		"  --gap include  it reads as if it had never been stopped (default)\n"
		"  --gap freeze   monotonic and boottime continue from where they stopped\n"
		"  --help         show this text\n",
	.run = run_start,
};

const struct command cmd_cgroup = {
	.name = "cgroup",
	.summary = "register a container's cgroup with its clock",
	.help = "usage: parkclock --name NAME cgroup DIR\n"
		"\n"
		"Registers the cgroup (v2) with the directory DIR with the clock that the keeper NAME\n"
		"holds: while anything runs in it, or below it, whenever it came there, the page is\n"
		"valid. The keeper ends when nothing runs there any more. This needs the right to move\n"
		"tasks into the cgroup. An OCI hook calls it when a container has been made.\n"
		"\n"
		"  --help         show this text\n",
	.run = run_cgroup,
};

const struct command cmd_view = {
	.name = "view",
	.summary = "run a command that can read a clock, and no more",
	.help = "usage: parkclock --name NAME view [--fd N] [--] COMMAND [ARGUMENT ...]\n"
		"\n"
		"Executes COMMAND with a view of the clock as descriptor N, and N in PARKCLOCK_FD.\n"
		"COMMAND is, for example, crun exec with --preserve-fds=1.\n"
		"\n"
		"  --fd N         the descriptor of the view; the default is 3\n"
		"  --help         show this text\n"
		"\n"
		"Exit status: that of COMMAND; 126 if COMMAND cannot be run, 127 if it is not found; 1 if\n"
		"there is no view; 2 (wrong usage).\n",
	.run = run_view,
};
