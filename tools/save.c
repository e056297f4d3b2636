// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock save: stop a clock, and keep it in a file
 *
 * The file is there whole, or as it was before: it is written under another name, and
 * gets its own when it is on the disk. If that fails, a clock that ran goes on as if
 * nothing had been.
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

/* A device or the like would be replaced by the file. */
static bool may_replace(const char *path)
{
	struct stat st;

	if (lstat(path, &st) || S_ISREG(st.st_mode))
		return true;
	complain("cannot save as %s: it is there, and not a regular file. Give another name.",
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
	complain("cannot write %s: %s. Is the disk full, or the reader gone?",
		 o->path ? o->path : "the saved clock", strerror(errno));
	return false;
}

/* What was not given its name by then */
static void drop_output(const struct output *o)
{
	if (o->path)
		unlink(o->temporary);
}

/* To be saved is what PARKCLOCK_FD names, and nothing else in its stead. */
static struct parkclock *open_clock(const char *device)
{
	const char *text = device == default_device ? getenv(PARKCLOCK_FD_VARIABLE) : NULL;
	struct parkclock *pc = NULL;
	char *end;
	long fd;

	if (!text)
		return open_new_owner(device);
	errno = 0;
	fd = strtol(text, &end, 10);
	if (!*text || *end || errno || fd < 0 || fd > INT_MAX)
		errno = EBADF;
	else
		pc = parkclock_open_fd(fd);
	if (!pc)
		complain("cannot save the clock of PARKCLOCK_FD, '%s': %s. %s", text,
			 strerror(errno), parkclock_explain_open(errno));
	return pc;
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

/* Stops it; if the file cannot be written, it goes on. */
static bool save_clock(struct parkclock *pc, const struct output *o,
		       struct parkclock_saved *saved, struct parkclock_query *q)
{
	/* A view cannot be asked: that it cannot be saved either is the better message. */
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

	/* Neither is the clock to be left stopped, nor a file half done. */
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
	.help = "usage: parkclock save [--json] FILE\n"
		"\n"
		"Stops the clock that PARKCLOCK_FD names, which is that of \"parkclock restore\", and\n"
		"saves it; without that, a new one, which is the time of here and now. FILE is\n"
		"written whole, or left as it was, and then the clock goes on. Says what was saved.\n"
		"Needs a clock that is open for writing, or a device that the user may write to.\n"
		"\n"
		"  FILE           for the user alone (mode 0600); \"-\" is standard output, if that is\n"
		"                 no terminal: then nothing is said\n"
		"  --json         say it as one JSON object\n"
		"  --help         this text\n",
	.run = run,
};
