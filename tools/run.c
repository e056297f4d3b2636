// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock run: run a command that is registered from its first instruction
 *
 * A registration survives execve(), and lives as long as the open file. So the command
 * inherits a descriptor, and need not know about it. The descriptor's number is high,
 * because scripts use low ones for themselves, which would close it.
 *
 * A user who may not write to the device cannot register anything. The page is valid then,
 * too, because a reference is held as long as that descriptor is open; but the clock does not
 * park while the command sleeps.
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

/* The command's own clock may have registered it already, with other flags. */
static int register_anew(struct parkclock *pc, unsigned int flags)
{
	if (!parkclock_register(pc, 0, flags))
		return 0;
	if (errno != EEXIST || parkclock_unregister(pc, 0, 0))
		return -1;
	return parkclock_register(pc, 0, flags);
}

/* Instead of a registration; leaves errno as it was if that cannot help either. */
static bool hold_instead(struct parkclock *pc)
{
	const int err = errno;

	if (err == EPERM && !parkclock_hold(pc)) {
		complain("cannot register the command: %s. So a reference is held meanwhile. %s",
			 strerror(err), "To change that, be root, or in the group clock.");
		return true;
	}
	errno = err;
	return false;
}

/* A descriptor that the command inherits */
static int leave_open(struct parkclock *pc)
{
	int fd = fcntl(parkclock_fd(pc), F_DUPFD, LOWEST_FD);

	if (fd < 0)
		complain("cannot leave the clock open: %s. Raise \"ulimit -n\" above %d.",
			 strerror(errno), LOWEST_FD);
	return fd;
}

int register_command(struct parkclock *pc, unsigned int flags)
{
	if (register_anew(pc, flags) && !hold_instead(pc)) {
		complain("cannot register the command: %s. %s", strerror(errno),
			 parkclock_explain_register(errno));
		return -1;
	}
	return leave_open(pc);
}

int register_cgroup(struct parkclock *pc, const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0) {
		complain("cannot open '%s': %s. Give the path of a cgroup's directory.", path,
			 strerror(errno));
		return -1;
	}
	if (!parkclock_register_cgroup(pc, dir))
		return dir;
	complain("cannot register the cgroup '%s': %s. %s", path, strerror(errno),
		 parkclock_explain_cgroup(errno));
	close(dir);
	return -1;
}

/* Registers the cgroup, and moves this process there. */
static bool join_cgroup(struct parkclock *pc, const char *path)
{
	int dir = register_cgroup(pc, path), procs;
	bool joined;

	if (dir < 0)
		return false;
	procs = openat(dir, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	joined = procs >= 0 && write(procs, "0", 1) == 1;
	if (!joined)
		complain("cannot move into the cgroup '%s': %s. %s", path, strerror(errno),
			 "See what cgroups(7) says of moving processes.");
	if (procs >= 0)
		close(procs);
	close(dir);
	return joined && leave_open(pc) >= 0;
}

int become(char **argv)
{
	int err;

	execvp(*argv, argv);
	err = errno;
	complain("cannot run '%s': %s. Give the name of a program in PATH, or its path.",
		 *argv, strerror(err));
	return err == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

/* In the directory of the tool, if that was not installed; else where libraries are. */
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

/* In front, so that the command's calls reach this library first. */
bool preload_command(void)
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
		OPTION_PRELOAD, OPTION_INHERIT, OPTION_CGROUP,
		{ "cpu-limit", required_argument, NULL, 'l' }, OPTION_HELP, { 0 }
	};
	const char *cgroup = NULL;
	struct parkclock *pc;
	unsigned int flags = 0;
	bool by_page = false;
	__s64 limit_ns = 0;
	int c;

	while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (c) {
		case 'I':
			flags = PARKCLOCK_TASK_INHERIT;
			break;
		case 'g':
			cgroup = optarg;
			break;
		case 'p':
			by_page = true;
			break;
		case 'l':
			if (!parse_limit(optarg, &limit_ns))
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
	if (cgroup && (flags || limit_ns)) {
		complain("--cgroup does not go together with --inherit or --cpu-limit.");
		return usage(self);
	}
	if (by_page && !preload_command())
		return EXIT_FAILURE;
	if (limit_ns)
		return run_limited(device, limit_ns, argv + optind);
	pc = open_device_best(device);
	if (!pc || (cgroup ? !join_cgroup(pc, cgroup) : register_command(pc, flags) < 0))
		return EXIT_FAILURE;
	return become(argv + optind);	/* execve() closes the other descriptors */
}

const struct command cmd_run = {
	.name = "run",
	.summary = "run a command, and keep the page valid while it runs",
	.help = "usage: parkclock run [--preload] [--inherit] [--cpu-limit TIME] [--cgroup DIR]\n"
		"                     [--] COMMAND [ARGUMENT ...]\n"
		"\n"
		"Registers its own thread, then executes COMMAND in it. Whenever that thread runs,\n"
		"the page is valid from its first instruction; while it sleeps, the clock may park.\n"
		"COMMAND inherits a descriptor of the device. The registration ends when the last\n"
		"copy of that is closed, for example when COMMAND closes all descriptors (closefrom).\n"
		"If the user may not write to the device, holds a reference instead, as long.\n"
		"\n"
		"  --preload      let COMMAND read the time from the page, unless it is static or\n"
		"                 set-user-id; if PARKCLOCK_FD names a clock, COMMAND reads that clock,\n"
		"                 and waits by it: see libparkclock-preload(7)\n"
		"  --inherit      also register the threads and child processes that COMMAND creates;\n"
		"                 without this option, only its first thread is registered\n"
		"  --cgroup DIR   register the cgroup (v2) whose directory is DIR, and move into it, instead\n"
		"                 of registering a thread: whatever runs there finds the page valid; needs\n"
		"                 to write to the device, and the right to move processes there\n"
		"  --cpu-limit TIME\n"
		"                 kill COMMAND when it, and all that it creates, have run for TIME, such\n"
		"                 as 50ms or 2s, on however many CPUs; when COMMAND ends, kill what it\n"
		"                 has left; needs to write to the device, and a host that keeps time by\n"
		"                 the TSC\n"
		"  --help         show this text\n"
		"\n"
		"Exit status: that of COMMAND; 124 if it has reached --cpu-limit; 126 if COMMAND cannot be run, 127 if it is not found;\n"
		"1 if it cannot be registered or the library of --preload is missing; 2 (wrong usage).\n",
	.run = run_command,
};
