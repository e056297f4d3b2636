// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock run --cpu-limit: end a command when it has run for so long
 *
 * The command and all that it creates are registered with a clock of their own, on whose CPU time
 * there is a timer. When that expires, or when the command has ended, all of them are killed:
 * those in the control group that was made for them, if one could be made; then those that are
 * found to be children of this process. Whoever loses its parent becomes one, because this
 * process is their subreaper. So none is left when nothing is found, whatever group or session
 * it is in.
 *
 * A program that gains privileges would not be counted any more: so none does.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool.h"

bool parse_limit(const char *arg, __s64 *ns)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = { { "", 1e9 }, { "s", 1e9 }, { "ms", 1e6 }, { "us", 1e3 } };
	char *end;
	double n = strtod(arg, &end);

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		/* The character set refuses what strtod() also accepts: inf, 0x1p3, -1 */
		if (end == arg || strcmp(end, units[i].name) ||
		    strspn(arg, "0123456789.") != (size_t)(end - arg) || n * units[i].ns < 1000 ||
		    n * units[i].ns > 1e18)
			continue;
		*ns = n * units[i].ns;
		return true;
	}
	complain("--cpu-limit takes a time from 1us on, such as 50ms or 2s; not '%s'.", arg);
	return false;
}

/* The terminal is the group's that is in the foreground, if this one was. */
static void hand_terminal(pid_t from, pid_t to)
{
	void (*const before)(int) = signal(SIGTTOU, SIG_IGN);

	if (tcgetpgrp(STDIN_FILENO) == from)
		tcsetpgrp(STDIN_FILENO, to);
	signal(SIGTTOU, before);
}

static int make_timer(struct parkclock *pc, __s64 ns)
{
	struct parkclock_timer_set setting = { .value_ns = ns };
	int timer = parkclock_timer(pc, PARKCLOCK_CPUTIME_ID, PARKCLOCK_TIMER_NONBLOCK);

	if (timer < 0 || parkclock_timer_set(timer, &setting)) {
		complain("cannot limit the command: %s. %s", strerror(errno),
			 parkclock_explain_timer(errno));
		return -1;
	}
	return timer;
}

/* Where counters of CPUs differ, what runs on several of them is not known while it runs. */
static bool counts(struct parkclock *pc)
{
	struct parkclock_query q;

	if (!query_device(pc, &q))
		return false;
	if (!(q.flags & PARKCLOCK_COUNTER_UNUSABLE))
		return true;
	complain("cannot limit the command: the host does not keep time by the TSC. %s",
		 "\"parkclock doctor\" says why.");
	return false;
}

/* Whoever became this program by exec may have children that are none of the command's. */
static bool childless(void)
{
	siginfo_t info;

	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) && errno == ECHILD)
		return true;
	complain("cannot limit the command: this process has had children before. %s",
		 "Do not exec it from a shell with jobs.");
	return false;
}

/* Write to a file of a control group. */
static bool tell_cgroup(const char *cgroup, const char *name, const char *text)
{
	char path[PATH_MAX + 32];
	bool written;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", cgroup, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	written = write(fd, text, strlen(text)) > 0;
	close(fd);
	return written;
}

/* Make a control group below that of this process; an empty name if that is not possible. */
static void make_cgroup(char *path, size_t size)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX];
	int n = -1;

	while (f && n < 0 && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "0::/", 4))
			continue;
		line[strcspn(line, "\n")] = '\0';
		n = snprintf(path, size, "/sys/fs/cgroup%s/parkclock-%d", line + 3, getpid());
	}
	if (f)
		fclose(f);
	if (n < 0 || (size_t)n >= size || mkdir(path, 0755))
		*path = '\0';
}

static __attribute__((__noreturn__)) void be_limited(struct parkclock *pc, const sigset_t *mask,
						     const char *cgroup, char **argv)
{
	/* If that fails the others are found by who their parents are. */
	if (*cgroup)
		tell_cgroup(cgroup, "cgroup.procs", "0");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		complain("cannot keep the command from gaining privileges: %s.", strerror(errno));
		_exit(EXIT_FAILURE);
	}
	setpgid(0, 0);
	hand_terminal(getpgid(getppid()), getpid());
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (parkclock_register(pc, 0, PARKCLOCK_TASK_INHERIT)) {
		complain("cannot register the command: %s. %s", strerror(errno),
			 parkclock_explain_register(errno));
		_exit(EXIT_FAILURE);
	}
	_exit(become(argv));
}

/* Passes on what this process is asked to do. */
static void pass_on(int signals, pid_t group)
{
	struct signalfd_siginfo info;

	if (read(signals, &info, sizeof(info)) == sizeof(info))
		kill(-group, info.ssi_signo);
}

/* Returns true if the limit was reached, false if the command has ended. */
static bool watch_over(int timer, int signals, int child, pid_t group)
{
	struct pollfd fds[] = {
		{ .fd = child, .events = POLLIN },
		{ .fd = timer, .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
	};

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return true;
		if (fds[0].revents)
			return false;
		if (fds[1].revents)
			return true;
		if (fds[2].revents)
			pass_on(signals, group);
	}
}

/* Of a process, or 0 if it has gone */
static pid_t parent_of(const char *pid)
{
	char path[NAME_MAX + 16], stat[256];
	const char *after;
	pid_t parent = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	stat[n] = '\0';
	/* The name of the program may have anything in it. */
	after = strrchr(stat, ')');
	if (!after || sscanf(after + 1, " %*c %d", &parent) != 1)
		return 0;
	return parent;
}

static void kill_children(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;

	while (proc && (d = readdir(proc)))
		if (isdigit(*d->d_name) && parent_of(d->d_name) == getpid())
			kill(atoi(d->d_name), SIGKILL);
	if (proc)
		closedir(proc);
}

/* Kills all that the command has created, until nothing is left. */
static void kill_all(const char *cgroup)
{
	static const struct timespec pause = { .tv_nsec = 1000000 };
	pid_t pid;

	if (*cgroup)
		tell_cgroup(cgroup, "cgroup.kill", "1");
	for (;;) {
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			;
		if (pid < 0)
			break;
		kill_children();
		nanosleep(&pause, NULL);
	}
	if (*cgroup)
		rmdir(cgroup);
}

/* A task that could not be registered was not counted. */
static void tell_missed(struct parkclock *pc)
{
	struct parkclock_query q;

	if (query_device(pc, &q) && q.run_missed)
		complain("%llu of the command's threads could not be registered, and were not %s",
			 (unsigned long long)q.run_missed,
			 "counted: there was no memory, or a limit was reached.");
}

int run_limited(const char *device, __s64 limit_ns, char **argv)
{
	struct parkclock *pc = open_new_owner(device);
	int timer, child, signals, status;
	sigset_t mask, asked;
	char cgroup[PATH_MAX];
	bool reached;
	pid_t pid;

	if (!pc || !counts(pc) || !childless())
		return EXIT_FAILURE;
	timer = make_timer(pc, limit_ns);
	if (timer < 0)
		return EXIT_FAILURE;
	sigprocmask(SIG_BLOCK, NULL, &mask);
	ask_signals();
	sigprocmask(SIG_BLOCK, NULL, &asked);
	signals = signalfd(-1, &asked, SFD_CLOEXEC | SFD_NONBLOCK);
	make_cgroup(cgroup, sizeof(cgroup));
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid = fork();
	if (!pid)
		be_limited(pc, &mask, cgroup, argv);
	/* In both processes: whoever comes first. */
	if (pid > 0)
		setpgid(pid, pid);
	child = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (child < 0 || signals < 0) {
		complain("cannot watch over the command: %s.", strerror(errno));
		kill_all(cgroup);
		return EXIT_FAILURE;
	}
	reached = watch_over(timer, signals, child, pid);
	if (!reached)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	kill_all(cgroup);
	tell_missed(pc);
	hand_terminal(pid, getpgrp());
	if (reached) {
		complain("the command was ended: it has used its CPU time.");
		return EXIT_LIMIT;
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
