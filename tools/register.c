// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock register: keep the page fresh for a process that runs already
 *
 * A pidfd tells when the process exits, and wakes nobody before. Threads, and the tasks
 * that inherit, have none: the tool asks QUERY now and then, until no registered task is
 * left.
 *
 * A cgroup that was removed has no files left: the tool looks now and then.
 *
 * QUERY tells of all tasks of a clock, whoever has registered them. So this is always a
 * clock of the tool's own, in which nobody else registers tasks, and never PARKCLOCK_FD's.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tool.h"

#define LOOK_NS	(NSEC_PER_SEC / 4)

struct target {
	const char *what;	/* "process" or "thread" */
	pid_t id;
	unsigned int flags;
	int pidfd;		/* of the process; -1 for a thread */
};

static bool parse_id(const char *arg, pid_t *id)
{
	char *end;
	long n = strtol(arg, &end, 10);

	if (!*arg || *end || arg[strspn(arg, "0123456789")] || n < 1 || n > INT32_MAX) {
		complain("an id is a number from 1 to %d, not '%s'.", INT32_MAX, arg);
		return false;
	}
	*id = n;
	return true;
}

static bool follow(struct target *t)
{
	t->pidfd = -1;
	if (!(t->flags & PARKCLOCK_TASK_PROCESS))
		return true;
	t->pidfd = syscall(SYS_pidfd_open, t->id, 0);
	if (t->pidfd >= 0)
		return true;
	/* For a thread that is not the first of its process, EINVAL or ENOENT. */
	if (errno == ESRCH)
		complain("cannot register process %d: %s. %s", t->id, strerror(errno),
			 parkclock_explain_register(errno));
	else
		complain("cannot register process %d: %s. If it is a thread, use --thread.",
			 t->id, strerror(errno));
	return false;
}

/* Registers by id. A new task may have got the id since the pidfd was made. */
static bool register_target(struct parkclock *pc, const struct target *t)
{
	struct pollfd exited = { .fd = t->pidfd, .events = POLLIN };

	if (!parkclock_register(pc, t->id, t->flags)) {
		if (poll(&exited, 1, 0) <= 0)
			return true;
		errno = ESRCH;
	}
	complain("cannot register %s %d: %s. %s", t->what, t->id, strerror(errno),
		 parkclock_explain_register(errno));
	return false;
}

/*
 * Waits until no registered task is left, or until a signal comes. Returns the signal, or 0,
 * or -1 after a message. @q is the last query.
 */
static int wait_end(struct parkclock *pc, const struct target *t, struct parkclock_query *q)
{
	int sig = t->pidfd < 0 ? 0 : wait_signal_or(t->pidfd);

	for (;;) {
		if (!query_device(pc, q))
			return -1;
		if (sig || !q->tasks)
			return sig;
		sig = wait_signal(now_ns() + LOOK_NS);
	}
}

static bool keep(struct parkclock *pc, const struct target *t, struct parkclock_query *q,
		 int *sig)
{
	if (!register_target(pc, t) || !query_device(pc, q))
		return false;
	printf("%s %d is registered, tasks: %llu\n", t->what, t->id, q->tasks);
	fflush(stdout);
	*sig = wait_end(pc, t, q);
	return *sig >= 0;
}

/* Print the end after the close, so that a reader of the line may rely on it. */
static int register_until(const char *device, struct target *t)
{
	struct parkclock *pc = open_new_owner(device);
	struct parkclock_query q;
	bool ok;
	int sig;

	if (!pc)
		return EXIT_FAILURE;
	ask_signals();
	ok = follow(t) && keep(pc, t, &q, &sig);
	parkclock_close(pc);
	if (!ok)
		return EXIT_FAILURE;
	printf("the registration is over (%s), the tasks ran for %.9f s\n",
	       sig ? strsignal(sig) : "no task is left", q.cpu_ns / 1e9);
	if (q.run_missed)
		complain("%llu tasks did not inherit it: out of memory, or max_tasks reached.",
			 q.run_missed);
	return EXIT_SUCCESS;
}

/* Until the cgroup is removed, or a signal comes. */
static int register_cgroup_until(const char *device, const char *path)
{
	struct parkclock *pc = open_new_owner(device);
	int sig = 0, dir = pc ? register_cgroup(pc, path) : -1;
	struct parkclock_query q;
	bool ok;

	if (dir < 0)
		return EXIT_FAILURE;
	ask_signals();
	printf("cgroup %s is registered\n", path);
	fflush(stdout);
	while (!sig && !faccessat(dir, "cgroup.procs", F_OK, 0))
		sig = wait_signal(now_ns() + LOOK_NS);
	ok = query_device(pc, &q);
	close(dir);
	parkclock_close(pc);
	if (!ok)
		return EXIT_FAILURE;
	printf("the registration is over (%s), its tasks ran for %.9f s\n",
	       sig ? strsignal(sig) : "the cgroup was removed", q.cpu_ns / 1e9);
	return EXIT_SUCCESS;
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		{ "thread", no_argument, NULL, 't' },
		OPTION_INHERIT, OPTION_CGROUP, OPTION_HELP, { 0 }
	};
	const char *cgroup = NULL;
	struct target t = { .what = "process", .flags = PARKCLOCK_TASK_PROCESS };
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 't':
			t.what = "thread";
			t.flags &= ~PARKCLOCK_TASK_PROCESS;
			break;
		case 'I':
			t.flags |= PARKCLOCK_TASK_INHERIT;
			break;
		case 'g':
			cgroup = optarg;
			break;
		case 'h':
			fputs(self->help, stdout);
			return EXIT_SUCCESS;
		default:
			return usage(self);
		}
	}
	if (cgroup) {
		if (t.flags != PARKCLOCK_TASK_PROCESS) {
			complain("--cgroup does not go together with --thread or --inherit.");
			return usage(self);
		}
		return no_more(argc, argv) ? register_cgroup_until(device, cgroup) : usage(self);
	}
	if (optind == argc) {
		complain("the id of a process is missing.");
		return usage(self);
	}
	if (!parse_id(argv[optind++], &t.id) || !no_more(argc, argv))
		return usage(self);
	return register_until(device, &t);
}

const struct command cmd_register = {
	.name = "register",
	.summary = "keep the page valid while a process that exists already runs",
	.help = "usage: parkclock register [--thread] [--inherit] [--cgroup DIR] [PID]\n"
		"\n"
		"Registers every thread of process PID: whenever one of them runs, the page is\n"
		"valid from its first instruction; while they sleep, the clock may park. The\n"
		"registration lasts until the process has exited, or until SIGINT (Ctrl-C), SIGTERM\n"
		"or SIGHUP. At the end it prints how long the registered tasks have run. The user\n"
		"must be allowed to write to the device, and must own the process or have\n"
		"CAP_SYS_PTRACE.\n"
		"\n"
		"  --thread       register only the thread whose id is PID\n"
		"  --inherit      also register the threads and child processes that the registered\n"
		"                 ones create from now on; lasts until all of them have exited\n"
		"  --cgroup DIR   register the cgroup (v2) whose directory is DIR instead: whatever runs in\n"
		"                 it or below it; lasts until it is removed, or until a signal\n"
		"  --help         show this text\n",
	.run = run,
};
