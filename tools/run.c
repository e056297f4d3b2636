// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock run: a command that is registered from its first instruction
 *
 * A registration stays over execve(), and lives as long as the open file. So the
 * command gets a descriptor of it, which it need not know of. Its number is out of
 * the way: scripts take the low ones for themselves, and that would close it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define LOWEST_FD	100

/* As of env(1) and nohup(1) */
enum { EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

static bool register_self(const char *device, unsigned int flags)
{
	struct parkclock *pc = open_device(device);

	if (!pc)
		return false;
	if (parkclock_register(pc, 0, flags)) {
		complain("cannot register the command: %s. %s", strerror(errno),
			 parkclock_explain_register(errno));
	} else if (fcntl(parkclock_fd(pc), F_DUPFD, LOWEST_FD) < 0) {
		complain("cannot leave the clock open: %s. Let \"ulimit -n\" exceed %d.",
			 strerror(errno), LOWEST_FD);
	} else {
		return true;	/* execve() closes the rest */
	}
	parkclock_close(pc);
	return false;
}

static int become(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = { OPTION_INHERIT, OPTION_HELP, { 0 } };
	unsigned int flags = 0;
	int c;

	while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (c) {
		case 'I':
			flags = PARKCLOCK_TASK_INHERIT;
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
	if (!register_self(device, flags))
		return EXIT_FAILURE;
	execvp(argv[optind], argv + optind);
	c = errno;
	complain("cannot run '%s': %s. Is it the name of a program in PATH, or the path of one?",
		 argv[optind], strerror(c));
	return c == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

const struct command cmd_run = {
	.name = "run",
	.help = "usage: parkclock run [--inherit] [--] COMMAND [ARGUMENT ...]\n"
		"\n"
		"Registers itself and becomes COMMAND: whenever that runs, the page is valid from\n"
		"its first instruction; while it sleeps, the clock may park. The registration lasts\n"
		"while a descriptor of the device, which COMMAND is given, is open: a command that\n"
		"closes all descriptors (closefrom) ends it.\n"
		"\n"
		"  --inherit      the threads and child processes that it creates are registered,\n"
		"                 too; else only the thread that COMMAND begins with\n"
		"  --help         this text\n"
		"\n"
		"Exit status: that of COMMAND; 126 if it cannot be run, 127 if it is not found;\n"
		"1 if it cannot be registered, 2 (wrong usage).\n",
	.run = become,
};
