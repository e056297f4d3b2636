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
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

#define LOWEST_FD	100
#define PRELOAD		"libparkclock-preload.so"

/* It may be registered already, with other flags, with a clock that it was given. */
static int register_anew(struct parkclock *pc, unsigned int flags)
{
	if (!parkclock_register(pc, 0, flags))
		return 0;
	if (errno != EEXIST || parkclock_unregister(pc, 0, 0))
		return -1;
	return parkclock_register(pc, 0, flags);
}

int register_command(struct parkclock *pc, unsigned int flags)
{
	int fd;

	if (register_anew(pc, flags)) {
		complain("cannot register the command: %s. %s", strerror(errno),
			 parkclock_explain_register(errno));
		return -1;
	}
	fd = fcntl(parkclock_fd(pc), F_DUPFD, LOWEST_FD);
	if (fd < 0)
		complain("cannot leave the clock open: %s. Let \"ulimit -n\" exceed %d.",
			 strerror(errno), LOWEST_FD);
	return fd;
}

int become(char **argv)
{
	int err;

	execvp(*argv, argv);
	err = errno;
	complain("cannot run '%s': %s. Is it the name of a program in PATH, or the path of one?",
		 *argv, strerror(err));
	return err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

/* In the directory of the tool, if it was not installed; or where it gets installed. */
static bool find_preload(char *path, size_t size)
{
	const ssize_t n = readlink("/proc/self/exe", path, size);
	char *slash;

	if (n > 0 && (size_t)n < size) {
		path[n] = '\0';
		slash = strrchr(path, '/');
		if (slash && (size_t)(slash + 1 - path) + sizeof(PRELOAD) <= size) {
			strcpy(slash + 1, PRELOAD);
			if (!access(path, R_OK))
				return true;
		}
	}
	snprintf(path, size, "%s/%s", LIBDIR, PRELOAD);
	return !access(path, R_OK);
}

/* Before what is there: the command's calls are to come to it first. */
static bool preload(void)
{
	const char *others = getenv("LD_PRELOAD");
	char path[PATH_MAX], *value;

	if (!find_preload(path, sizeof(path))) {
		complain("cannot read %s: %s. Install it there, or beside this program.", path,
			 strerror(errno));
		return false;
	}
	if (strpbrk(path, ": ")) {
		complain("LD_PRELOAD cannot name '%s': it has a colon or a space. Move it.", path);
		return false;
	}
	if (!others)
		others = "";
	if (asprintf(&value, "%s%s%s", path, *others ? ":" : "", others) < 0 ||
	    setenv("LD_PRELOAD", value, 1)) {
		complain("cannot set LD_PRELOAD: %s. Free some memory.", strerror(errno));
		return false;
	}
	return true;
}

static int run_command(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		{ "preload", no_argument, NULL, 'p' }, OPTION_INHERIT, OPTION_HELP, { 0 }
	};
	struct parkclock *pc;
	unsigned int flags = 0;
	bool by_page = false;
	int c;

	while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (c) {
		case 'I':
			flags = PARKCLOCK_TASK_INHERIT;
			break;
		case 'p':
			by_page = true;
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
	if (by_page && !preload())
		return EXIT_FAILURE;
	pc = open_device(device);
	if (!pc || register_command(pc, flags) < 0)
		return EXIT_FAILURE;
	return become(argv + optind);	/* execve() closes the rest */
}

const struct command cmd_run = {
	.name = "run",
	.help = "usage: parkclock run [--preload] [--inherit] [--] COMMAND [ARGUMENT ...]\n"
		"\n"
		"Registers itself and becomes COMMAND: whenever that runs, the page is valid from\n"
		"its first instruction; while it sleeps, the clock may park. The registration lasts\n"
		"while a descriptor of the device, which COMMAND is given, is open: a command that\n"
		"closes all descriptors (closefrom) ends it.\n"
		"\n"
		"  --preload      it reads the time from the page, unless it is static or set-user-id:\n"
		"                 see libparkclock-preload(7)\n"
		"  --inherit      the threads and child processes that it creates are registered,\n"
		"                 too; else only the thread that COMMAND begins with\n"
		"  --help         this text\n"
		"\n"
		"Exit status: that of COMMAND; 126 if it cannot be run, 127 if it is not found;\n"
		"1 if it cannot be registered, or the library of --preload is missing, 2 (wrong\n"
		"usage).\n",
	.run = run_command,
};
