// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock save: stop a clock, and save it in a file
 *
 * The file is either complete or as it was before: it is written under a temporary name,
 * and renamed when it is on the disk. If that fails, a clock that ran is started again.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

struct output {
	const char *path;	/* NULL is standard output */
	char temporary[PATH_MAX];
	int fd;
};

/* The new file would replace a device or the like. */
static bool may_replace(const char *path)
{
	struct stat st;

	if (lstat(path, &st) || S_ISREG(st.st_mode))
		return true;
	complain("cannot save as %s: that exists and is not a regular file. Give another name.",
		 path);
	return false;
}

static bool begin_output(struct output *o, const char *path)
{
	if (!strcmp(path, "-")) {
		*o = (struct output){ .fd = STDOUT_FILENO };
		if (!isatty(STDOUT_FILENO))
			return true;
		complain("cannot save to a terminal: it is not text. Give a file, or a pipe.");
		return false;
	}
	*o = (struct output){ .path = path, .fd = -1 };
	if (!may_replace(path))
		return false;
	if (snprintf(o->temporary, PATH_MAX, "%s.XXXXXX", path) >= PATH_MAX)
		errno = ENAMETOOLONG;
	else
		o->fd = mkstemp(o->temporary);	/* its mode is 0600 */
	if (o->fd >= 0)
		return true;
	complain("cannot save as %s: %s. May this user create files there?", path,
		 strerror(errno));
	return false;
}

static bool write_all(int fd, const void *data, size_t size)
{
	while (size) {
		const ssize_t n = write(fd, data, size);

		if (n < 0)
			return false;
		data = (const char *)data + n;
		size -= n;
	}
	return true;
}

static bool end_output(const struct output *o, const struct parkclock_saved *saved)
{
	if (write_all(o->fd, saved, sizeof(*saved)) &&
	    (!o->path || (!fsync(o->fd) && !rename(o->temporary, o->path))))
		return true;
	complain("cannot write %s: %s. Is the disk full, or has the reader gone?",
		 o->path ? o->path : "the saved clock", strerror(errno));
	return false;
}

/* Removes the temporary file, if it was not renamed. */
static void drop_output(const struct output *o)
{
	if (o->path)
		unlink(o->temporary);
}

/* PARKCLOCK_FD names the clock to save; if it names none, no other is saved instead. */
static struct parkclock *open_clock(const char *device)
{
	if (device == default_device && getenv(PARKCLOCK_FD_VARIABLE))
		return open_fd_variable("save");
	return open_new_owner(device);
}

static void print_text(const struct parkclock_saved *saved, const struct parkclock_query *q,
		       const char *path)
{
	const time_t seconds_of_it = saved->realtime_ns / NSEC_PER_SEC;
	char text[SECONDS_SIZE], date[32];
	struct tm tm;

	strftime(date, sizeof(date), "%F %T", gmtime_r(&seconds_of_it, &tm));
	printf("clock %llu is stopped, and saved as %s\n", q->clock, path);
	printf("monotonic        %s s\n", seconds(text, saved->monotonic_ns));
	printf("boottime         %s s\n", seconds(text, saved->boottime_ns));
	printf("realtime         %s s (%s UTC)\n", seconds(text, saved->realtime_ns), date);
	printf("boot             %s s\n", seconds(text, saved->boot_ns));
	printf("generation       %llu\n", saved->generation);
}

static void print_json(const struct parkclock_saved *saved, const struct parkclock_query *q)
{
	printf("{\"clock\":%llu,\"monotonic_ns\":%lld,\"boottime_ns\":%lld", q->clock,
	       saved->monotonic_ns, saved->boottime_ns);
	printf(",\"realtime_ns\":%lld,\"boot_ns\":%lld,\"generation\":%llu}\n",
	       saved->realtime_ns, saved->boot_ns, saved->generation);
}

/* Stops the clock, and starts it again if the file cannot be written. */
static bool save_clock(struct parkclock *pc, const struct output *o,
		       struct parkclock_saved *saved, struct parkclock_query *q)
{
	/* A view refuses QUERY; the message that it cannot be saved is the better one. */
	if (parkclock_query(pc, q) || parkclock_save(pc, saved)) {
		complain("cannot save the clock: %s. %s", strerror(errno),
			 parkclock_explain_change(errno));
		return false;
	}
	if (end_output(o, saved))
		return true;
	if (!(q->flags & PARKCLOCK_CLOCK_STOPPED) && parkclock_start(pc, PARKCLOCK_GAP_INCLUDE))
		complain("cannot start the clock again: %s. %s", strerror(errno),
			 parkclock_explain_change(errno));
	return false;
}

static int save(const char *device, const char *path, bool json)
{
	struct parkclock_saved saved;
	struct parkclock_query q;
	struct parkclock *pc;
	struct output o;
	bool ok;

	/* A signal must leave neither the clock stopped nor a file half written. */
	ask_signals();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	pc = open_clock(device);
	if (!pc)
		return EXIT_FAILURE;
	ok = begin_output(&o, path);
	if (ok) {
		ok = save_clock(pc, &o, &saved, &q);
		if (!ok)
			drop_output(&o);
	}
	parkclock_close(pc);
	if (!ok)
		return EXIT_FAILURE;
	if (json)
		print_json(&saved, &q);
	else if (o.path)
		print_text(&saved, &q, path);
	return EXIT_SUCCESS;
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = { OPTION_JSON, OPTION_HELP, { 0 } };
	const char *path;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(self->help, stdout);
			return EXIT_SUCCESS;
		default:
			return usage(self);
		}
	}
	if (optind == argc || !*argv[optind]) {
		complain("the file to save to is missing.");
		return usage(self);
	}
	path = argv[optind++];
	if (!no_more(argc, argv))
		return usage(self);
	if (json && !strcmp(path, "-")) {
		complain("--json and the saved clock cannot both go to standard output.");
		return usage(self);
	}
	return save(device, path, json);
}

const struct command cmd_save = {
	.name = "save",
	.summary = "stop a clock, and save it in a file",
	.help = "usage: parkclock save [--json] FILE\n"
		"\n"
		"Stops the clock that PARKCLOCK_FD names (\"parkclock restore\" sets it) and saves it in\n"
		"FILE. If PARKCLOCK_FD is not set, saves a new clock: the present time of this host.\n"
		"FILE is either written completely or left as it was; in the second case the clock\n"
		"goes on. Prints what was saved. PARKCLOCK_FD must name a clock that is open for\n"
		"writing; without it, the user must be allowed to write to the device.\n"
		"\n"
		"  FILE           gets the mode 0600; \"-\" is standard output, which must not be a\n"
		"                 terminal, and nothing else is printed\n"
		"  --json         print one JSON object\n"
		"  --help         show this text\n",
	.run = run,
};
