// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock restore: run a command whose clock continues a saved one
 *
 * The command gets a descriptor of the new clock, and its number in PARKCLOCK_FD. It is
 * registered as by "parkclock run". The kernel checks the saved clock; this file only
 * recognises what never was one.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

struct job {
	const char *path;
	unsigned int gap;
	unsigned int flags;
	bool preload;
};

/* Reads up to @size bytes; returns -1 after a message. */
static ssize_t read_all(const char *path, void *data, size_t size)
{
	const int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	size_t done = 0;
	ssize_t n = 0;

	while (fd >= 0 && done < size) {
		n = read(fd, (char *)data + done, size - done);
		if (n <= 0)
			break;
		done += n;
	}
	if (fd < 0 || n < 0) {
		complain("cannot read %s: %s. Give a file that \"parkclock save\" has written.",
			 path, strerror(errno));
		return -1;
	}
	if (fd != STDIN_FILENO)
		close(fd);
	return done;
}

/* The kernel refuses everything else. */
bool read_saved(const char *path, struct parkclock_saved *saved)
{
	struct {
		struct parkclock_saved saved;
		char more;
	} file = { 0 };
	const ssize_t n = read_all(path, &file, sizeof(*saved) + 1);
	const struct parkclock_saved *s = &file.saved;

	if (n < 0)
		return false;
	*saved = *s;
	if (n < (ssize_t)(sizeof(s->magic) + sizeof(s->version)) ||
	    s->magic != PARKCLOCK_SAVED_MAGIC)
		complain("cannot restore %s: this is not a saved clock. %s", path,
			 "Give a file that \"parkclock save\" has written.");
	else if (s->version != PARKCLOCK_SAVED_VERSION)
		complain("cannot restore %s: it has version %u, not %u. %s", path, s->version,
			 PARKCLOCK_SAVED_VERSION, parkclock_explain_change(EOPNOTSUPP));
	else if (n != sizeof(*s))
		complain("cannot restore %s: it has %s than %zu bytes, so it is damaged. %s", path,
			 n < (ssize_t)sizeof(*s) ? "less" : "more", sizeof(*s),
			 "Take another copy, or save the clock again.");
	else
		return true;
	return false;
}

static bool hand_over(int fd)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	if (!setenv(PARKCLOCK_FD_VARIABLE, number, 1))
		return true;
	complain("cannot set PARKCLOCK_FD: %s. Free some memory.", strerror(errno));
	return false;
}

static int go_on(const char *device, const struct job *job, char **command)
{
	struct parkclock_saved saved;
	struct parkclock *pc;
	int fd;

	if (!read_saved(job->path, &saved) || (job->preload && !preload_command()))
		return EXIT_FAILURE;
	pc = open_new_owner(device);
	if (!pc)
		return EXIT_FAILURE;
	if (parkclock_restore(pc, &saved, job->gap)) {
		complain("cannot restore %s: %s. %s", job->path, strerror(errno),
			 parkclock_explain_change(errno));
		return EXIT_FAILURE;
	}
	fd = register_command(pc, job->flags);
	if (fd < 0 || !hand_over(fd))
		return EXIT_FAILURE;
	return become(command);	/* execve() closes the other descriptors */
}

bool parse_gap(const char *arg, unsigned int *gap)
{
	if (!strcmp(arg, "include")) {
		*gap = PARKCLOCK_GAP_INCLUDE;
	} else if (!strcmp(arg, "freeze")) {
		*gap = PARKCLOCK_GAP_FREEZE;
	} else {
		complain("--gap takes include or freeze, not '%s'.", arg);
		return false;
	}
	return true;
}

/* Returns an exit status, or -1 to go on; then optind is where the options end. */
static int parse_options(const struct command *self, int argc, char **argv, struct job *job)
{
	static const struct option options[] = {
		{ "gap", required_argument, NULL, 'g' }, OPTION_PRELOAD, OPTION_INHERIT,
		OPTION_HELP, { 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (c) {
		case 'g':
			if (!parse_gap(optarg, &job->gap))
				return usage(self);
			break;
		case 'I':
			job->flags = PARKCLOCK_TASK_INHERIT;
			break;
		case 'p':
			job->preload = true;
			break;
		case 'h':
			fputs(self->help, stdout);
			return EXIT_SUCCESS;
		default:
			return usage(self);
		}
	}
	return -1;
}

/* Options may be before and after FILE; what follows the next word is the command's. */
static int run(const struct command *self, int argc, char **argv, const char *device)
{
	struct job job = { .gap = PARKCLOCK_GAP_INCLUDE };
	int status = parse_options(self, argc, argv, &job);

	if (status < 0 && optind < argc) {
		argc -= optind;
		argv += optind;
		job.path = argv[0];
		argv[0] = "parkclock";
		optind = 0;
		status = parse_options(self, argc, argv, &job);
	}
	if (status >= 0)
		return status;
	if (optind == argc) {
		complain("%s is missing.", job.path ? "the command to run" : "the saved clock");
		return usage(self);
	}
	return go_on(device, &job, argv + optind);
}

const struct command cmd_restore = {
	.name = "restore",
	.summary = "run a command with a saved clock",
	.help = "usage: parkclock restore FILE [--gap include|freeze] [--preload] [--inherit]\n"
		"                         [--] COMMAND [ARGUMENT ...]\n"
		"\n"
		"Opens a new clock that continues the saved clock in FILE, registers its own thread\n"
		"with that clock as \"parkclock run\" does, then executes COMMAND in it. PARKCLOCK_FD\n"
		"holds the number of the clock's descriptor. So in COMMAND the library, \"parkclock\n"
		"read\" and \"parkclock save\" use this clock. If FILE is damaged or holds no saved\n"
		"clock, COMMAND is not run. The user must be allowed to write to the device.\n"
		"\n"
		"  FILE           a file that \"parkclock save\" has written; \"-\" is standard input,\n"
		"                 which is then read to its end before COMMAND begins\n"
		"  --gap include  monotonic and boottime continue from the saved times plus the\n"
		"                 realtime that has passed since, unless that went back (default)\n"
		"  --gap freeze   monotonic and boottime continue from the saved times\n"
		"  --preload      let COMMAND, unmodified, read this clock and wait by it, unless it is\n"
		"                 static or set-user-id: see libparkclock-preload(7)\n"
		"  --inherit      also register the threads and child processes that COMMAND creates\n"
		"  --help         show this text\n"
		"\n"
		"Exit status: that of COMMAND; 126 if COMMAND cannot be run, 127 if it is not found;\n"
		"1 if the clock cannot be restored, COMMAND cannot be registered or the library of\n"
		"--preload is missing; 2 (wrong usage).\n",
	.run = run,
};
