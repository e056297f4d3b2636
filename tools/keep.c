// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock keep: hold the clock of a container whose runtime is gone
 *
 * A runtime such as crun ends when its container runs, and with it would end the clock's
 * registrations, and anybody's way to stop the clock. So a keeper holds the owner's descriptor.
 * The container's init holds a view that keeps the registrations: so not even the end of the
 * keeper takes the clock from the container.
 *
 * The keeper is two processes: one serves, the other is its guard. Whichever is killed is
 * replaced by the other, so a clock that is stopped can be started again whatever happens to one
 * process. What a new one needs to know is in memory that both share. Only who kills both at once
 * leaves the clock without an owner.
 *
 * The keeper sleeps until somebody connects, its cgroup becomes empty or is removed, the command
 * that it was started for ends, or a signal comes. It ends when nothing runs in its cgroup any
 * more and that command is over: so nothing is left of a container, nor of one that was never
 * made.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "keeper.h"

#define BACKLOG		128
#define PATIENCE_MS	1000	/* for a request of one that has connected */
#define TRIES		20	/* for a name that an ended container has had */
#define RETRY_NS	50000000
#define REPLACE_NS	100000000	/* a guard does not replace its process faster than that */
#define INSIDE_FD	3	/* where runtimes begin to pass descriptors on */

/**
 * struct watched - what both processes of a keeper know of the cgroup that it ends with
 * @inode:  number of its directory, written last; 0 for no cgroup
 * @lived:  something has run in it
 * @cgroup: path of its directory
 */
struct watched {
	ino_t inode;
	bool lived;
	char cgroup[PATH_MAX];
};

/**
 * struct keeper - a keeper
 * @clock:   the owner's descriptor of the clock
 * @socket:  it listens here
 * @address: the path of that
 * @inode:   the number of that
 * @watched: in memory that both processes share
 * @started: it was started for a command
 * @command: pidfd of that; -1 for none, or if that is over
 * @events:  cgroup.events of the cgroup; -1 for none, or if that was removed
 * @guard:   pidfd of the guard, or -1
 */
struct keeper {
	int clock;
	int socket;
	struct sockaddr_un address;
	ino_t inode;
	struct watched *watched;
	bool started;
	int command;
	int events;
	int guard;
};

struct job {
	const char *name, *restore, *cgroup;
	unsigned int gap;
	int fd;
	char **command;
};

/* Returns cgroup.events of a directory, or -1 with errno; fills in the directory's number. */
static int open_events(const char *path, ino_t *inode)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	struct stat st;
	int fd = -1, err;

	if (dir < 0)
		return -1;
	if (!fstatfs(dir, &fs) && !fstat(dir, &st)) {
		*inode = st.st_ino;
		if (fs.f_type == CGROUP2_SUPER_MAGIC)
			fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
		else
			errno = EINVAL;
	}
	err = errno;
	close(dir);
	errno = err;
	return fd;
}

/*
 * Does anything run in the cgroup? Reading that is also what makes poll() wait for the next
 * change.
 */
static bool is_populated(struct keeper *k)
{
	char text[256];
	const ssize_t n = k->events < 0 ? -1 : pread(k->events, text, sizeof(text) - 1, 0);

	if (n > 0) {
		text[n] = '\0';
		return strstr(text, "populated 1");
	}
	if (k->events >= 0)
		close(k->events);
	k->events = -1;	/* removed */
	return false;
}

/* In a process that replaces one that knew it. One that was made anew is another cgroup. */
static void watch_again(struct keeper *k)
{
	ino_t inode;

	if (k->events >= 0)
		close(k->events);
	k->events = k->watched->inode ? open_events(k->watched->cgroup, &inode) : -1;
	if (k->events < 0 || inode == k->watched->inode)
		return;
	close(k->events);
	k->events = -1;
}

/* Returns 0, or an errno as a negative number. */
static int watch(struct keeper *k, const char *cgroup)
{
	ino_t inode;
	int events = open_events(cgroup, &inode);

	if (events < 0)
		return -errno;
	if (k->watched->inode && k->watched->inode != inode) {
		close(events);
		return -EBUSY;
	}
	if (k->events >= 0)
		close(k->events);
	k->events = events;
	strcpy(k->watched->cgroup, cgroup);
	/* Whoever replaces this process must not find a number without its path. */
	__atomic_store_n(&k->watched->inode, inode, __ATOMIC_RELEASE);
	return 0;
}

static void reply_to(const struct keeper *k, int fd, int err, pid_t guard)
{
	struct keeper_reply reply = {
		.version = KEEPER_VERSION, .err = err, .pid = getpid(), .guard = guard,
	};
	struct iovec iov = { .iov_base = &reply, .iov_len = sizeof(reply) };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = {
		.cmsg_len = CMSG_LEN(sizeof(int)),
		.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
	} };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	strcpy(reply.cgroup, k->watched->cgroup);
	if (!err) {
		memcpy(CMSG_DATA(&control.header), &k->clock, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Whoever can connect may have the clock: the directory has let him in. */
static void answer(struct keeper *k, pid_t guard)
{
	int fd = accept4(k->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct keeper_request request;
	ssize_t n = -1;
	int err = 0;

	if (fd < 0)
		return;
	if (poll(&p, 1, PATIENCE_MS) == 1)
		n = recv(fd, &request, sizeof(request), 0);
	if (n == sizeof(request) && request.version == KEEPER_VERSION) {
		request.cgroup[PATH_MAX - 1] = '\0';
		if (*request.cgroup)
			err = -watch(k, request.cgroup);
	} else if (n >= 0) {
		err = EPROTO;
	}
	if (n >= 0)
		reply_to(k, fd, err, guard);
	close(fd);
}

/*
 * Is there nothing left to keep the clock for? Without a command, what is to run in the cgroup
 * may come later. A keeper that has neither ends with a signal only.
 */
static bool over(struct keeper *k)
{
	if (is_populated(k))
		k->watched->lived = true;
	else if (k->command < 0 && (k->started || k->watched->lived))
		return true;
	return k->command < 0 && k->events < 0 && k->watched->inode;
}

/* Until the keeper is to end (true), or the guard has gone (false) */
static bool serve(struct keeper *k, int signals, pid_t guard)
{
	enum { GUARD, SIGNALS, SOCKET, COMMAND, EVENTS, N };

	watch_again(k);
	for (;;) {
		const bool ends = over(k);	/* may close what it looks at */
		struct pollfd p[N] = {
			[GUARD] = { .fd = k->guard, .events = POLLIN },
			[SIGNALS] = { .fd = signals, .events = POLLIN },
			[SOCKET] = { .fd = k->socket, .events = POLLIN },
			[COMMAND] = { .fd = k->command, .events = POLLIN },
			[EVENTS] = { .fd = k->events, .events = POLLPRI },
		};

		if (ends)
			return true;
		if (poll(p, N, -1) < 0)
			continue;
		if (p[SIGNALS].revents)
			return true;
		if (p[GUARD].revents)
			return false;
		/* First what has been asked: the last thing that a command does may be that. */
		if (p[SOCKET].revents) {
			answer(k, guard);
		} else if (p[COMMAND].revents) {
			close(k->command);
			k->command = -1;
		}
	}
}

/* Returns when the process has ended by itself (true) or was killed (false). */
static bool guard(pid_t child, const sigset_t *set)
{
	const struct timespec delay = { .tv_nsec = REPLACE_NS };
	int status;

	for (;;) {
		const int sig = sigwaitinfo(set, NULL);

		if (sig > 0 && sig != SIGCHLD)
			kill(child, SIGTERM);
		if (waitpid(child, &status, WNOHANG) != child)
			continue;
		if (WIFEXITED(status))
			return true;
		nanosleep(&delay, NULL);
		return false;
	}
}

/* Only if the socket is still this keeper's own */
static void remove_socket(const struct keeper *k)
{
	int dir = open(keeper_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (dir >= 0)
		flock(dir, LOCK_EX);
	if (!lstat(k->address.sun_path, &st) && st.st_ino == k->inode)
		unlink(k->address.sun_path);
	if (dir >= 0)
		close(dir);
}

/* Whichever of the two processes dies, the other one makes a new one. */
static void serve_and_guard(struct keeper *k)
{
	sigset_t set;
	int signals;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	prctl(PR_SET_NAME, "parkclock-keep");
	for (;;) {
		const pid_t self = getpid();
		pid_t child;

		if (k->guard >= 0)
			close(k->guard);
		k->guard = syscall(SYS_pidfd_open, self, 0);
		child = k->guard < 0 ? -1 : fork();
		if (child > 0) {
			if (guard(child, &set))
				return;
			continue;
		}
		if (child < 0 && k->guard >= 0) {
			close(k->guard);
			k->guard = -1;
		}
		/* Without memory for a guard: better than no keeper */
		if (serve(k, signals, child < 0 ? 0 : self)) {
			remove_socket(k);
			if (!child)
				_exit(EXIT_SUCCESS);
			return;
		}
	}
}

/* A socket to which nobody listens is what a killed keeper has left. */
static bool is_left(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const bool left = connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
		errno == ECONNREFUSED;

	close(fd);
	return left;
}

/* The directory's modes say who may connect: those of the socket do not. */
static bool bind_socket(struct keeper *k)
{
	const struct sockaddr *address = (const struct sockaddr *)&k->address;
	const mode_t mask = umask(0);
	bool ok = !bind(k->socket, address, sizeof(k->address));

	if (!ok && errno == EADDRINUSE && is_left(&k->address) && !unlink(k->address.sun_path))
		ok = !bind(k->socket, address, sizeof(k->address));
	umask(mask);
	return ok;
}

/*
 * The lock is what makes looking at a socket and replacing it one step. The keeper of a container
 * that has just been deleted, and made again, may not have ended yet.
 */
static bool lock_and_bind(struct keeper *k, int dir)
{
	const struct timespec delay = { .tv_nsec = RETRY_NS };

	for (int tries = 0; tries < TRIES; tries++) {
		if (flock(dir, LOCK_EX))
			return false;
		if (bind_socket(k))
			return true;
		flock(dir, LOCK_UN);
		if (errno != EADDRINUSE)
			return false;
		nanosleep(&delay, NULL);
	}
	errno = EADDRINUSE;
	return false;
}

static bool listen_at(struct keeper *k, const char *name)
{
	const char *path = keeper_dir();
	struct stat st;
	bool ok;
	int dir;

	if (!keeper_address(name, &k->address))
		return false;
	if (mkdir(path, 0700) && errno != EEXIST) {
		complain("cannot make the directory %s: %s. Name one in %s that you may make.",
			 path, strerror(errno), KEEPERS_VARIABLE);
		return false;
	}
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	k->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ok = dir >= 0 && k->socket >= 0 && lock_and_bind(k, dir) &&
		!listen(k->socket, BACKLOG) && !lstat(k->address.sun_path, &st);
	if (ok)
		k->inode = st.st_ino;
	else if (errno == EADDRINUSE)
		complain("a clock is kept as %s already. Give another name, or end that container.",
			 name);
	else
		complain("cannot listen at %s: %s. May this user make sockets there?",
			 k->address.sun_path, strerror(errno));
	if (dir >= 0)
		close(dir);
	return ok;
}

/* Near zero, or where the saved clock was */
static bool begin_clock(struct parkclock *pc, const struct job *job)
{
	struct parkclock_saved saved;

	if (job->restore && !read_saved(job->restore, &saved))
		return false;
	if (job->restore ? !parkclock_restore(pc, &saved, job->gap) : !parkclock_epoch(pc))
		return true;
	complain("cannot %s: %s. %s", job->restore ? "restore the clock" : "begin at zero",
		 strerror(errno), parkclock_explain_change(errno));
	return false;
}

static void close_others(const struct keeper *k)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const int fd = atoi(entry->d_name);

		if (fd > STDERR_FILENO && fd != k->clock && fd != k->socket && fd != k->command &&
		    fd != k->events && fd != dirfd(dir))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* In the background: no terminal, no descriptor or directory of the caller's */
static void detach(const struct keeper *k)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int fd = 0; fd <= STDERR_FILENO && null >= 0; fd++)
		dup2(null, fd);
	if (chdir("/"))
		_exit(EXIT_FAILURE);
	close_others(k);
}

/* The keeper is no child of the command, which would find one that it has not made. */
static bool start_keeper(struct keeper *k)
{
	pid_t child;
	int status;

	k->started = true;
	k->command = syscall(SYS_pidfd_open, getpid(), 0);
	child = k->command < 0 ? -1 : fork();
	if (!child) {
		child = fork();
		if (child)
			_exit(child < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
		detach(k);
		serve_and_guard(k);
		_exit(EXIT_SUCCESS);
	}
	if (child > 0 && waitpid(child, &status, 0) == child && !status)
		return true;
	complain("cannot start the keeper: %s. Free some memory, or raise \"ulimit -u\".",
		 strerror(errno));
	remove_socket(k);
	return false;
}

bool fd_is_free(int fd)
{
	if (fcntl(fd, F_GETFD) < 0)
		return true;
	complain("descriptor %d is open already, so the view cannot be there. Close it, or give %s",
		 fd, "another with --fd.");
	return false;
}

int become_inside(int view, int fd, char **command)
{
	char number[16];

	if (view == fd ? fcntl(fd, F_SETFD, 0) : dup2(view, fd) < 0) {
		complain("cannot make the view descriptor %d: %s. Raise \"ulimit -n\" above that.",
			 fd, strerror(errno));
		return EXIT_FAILURE;
	}
	snprintf(number, sizeof(number), "%d", fd);
	if (setenv(PARKCLOCK_FD_VARIABLE, number, 1)) {
		complain("cannot set PARKCLOCK_FD: %s. Free some memory.", strerror(errno));
		return EXIT_FAILURE;
	}
	return become(command);
}

/* Above what a command may be given */
static int move_up(int fd)
{
	int moved = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 10);

	if (fd >= 0)
		close(fd);
	return moved;
}

static bool prepare(struct keeper *k, const char *device, const struct job *job)
{
	struct parkclock *pc = open_new_owner(device);
	char path[PATH_MAX];
	bool ok;

	if (!pc)
		return false;
	k->watched = mmap(NULL, sizeof(*k->watched), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	k->clock = fcntl(parkclock_fd(pc), F_DUPFD_CLOEXEC, 10);
	ok = k->watched != MAP_FAILED && k->clock >= 0;
	if (!ok)
		complain("cannot keep the clock: %s. Free some memory, or raise \"ulimit -n\".",
			 strerror(errno));
	ok = ok && begin_clock(pc, job);
	if (ok && job->cgroup) {
		const int dir = register_cgroup(pc, job->cgroup);

		ok = dir >= 0;
		if (ok)
			close(dir);
	}
	/* Nothing of it is mapped: a keeper has the descriptor, and no more. */
	parkclock_close(pc);
	if (!ok || !listen_at(k, job->name))
		return false;
	k->socket = move_up(k->socket);
	if (!job->cgroup)
		return true;
	if (!realpath(job->cgroup, path) || watch(k, path)) {
		complain("cannot watch the cgroup %s. Was it removed?", job->cgroup);
		remove_socket(k);
		return false;
	}
	return true;
}

static int keep_clock(const char *device, const struct job *job)
{
	struct keeper k = { .clock = -1, .socket = -1, .command = -1, .events = -1, .guard = -1 };
	int view;

	/* Now: what is open later is this program's own. */
	if ((job->command && !fd_is_free(job->fd)) || !prepare(&k, device, job))
		return EXIT_FAILURE;
	if (!job->command) {
		serve_and_guard(&k);
		return EXIT_SUCCESS;
	}
	view = ioctl(k.clock, PARKCLOCK_IOC_VIEW, PARKCLOCK_VIEW_KEEP | PARKCLOCK_VIEW_TIMERS);
	if (view < 0) {
		complain("cannot make a view of the clock: %s. %s", strerror(errno),
			 parkclock_explain_change(errno));
		remove_socket(&k);
		return EXIT_FAILURE;
	}
	if (!start_keeper(&k))
		return EXIT_FAILURE;
	/* If that fails the keeper ends, too: it sees that this process does. */
	return become_inside(view, job->fd, job->command);
}

bool parse_fd(const char *arg, int *fd)
{
	char *end;
	const long n = strtol(arg, &end, 10);

	if (!*arg || *end || arg[strspn(arg, "0123456789")] || n < 3 || n > 1000000) {
		complain("--fd takes the number of a descriptor, from 3; not '%s'.", arg);
		return false;
	}
	*fd = n;
	return true;
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = {
		{ "cgroup", required_argument, NULL, 'c' },
		{ "restore", required_argument, NULL, 'r' },
		{ "gap", required_argument, NULL, 'g' },
		{ "fd", required_argument, NULL, 'f' },
		OPTION_HELP, { 0 }
	};
	struct sockaddr_un address;
	struct job job = { .gap = PARKCLOCK_GAP_INCLUDE, .fd = INSIDE_FD };
	int c;

	while ((c = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			job.cgroup = optarg;
			break;
		case 'r':
			job.restore = optarg;
			break;
		case 'g':
			if (!parse_gap(optarg, &job.gap))
				return usage(self);
			break;
		case 'f':
			if (!parse_fd(optarg, &job.fd))
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
		complain("the name of the container is missing.");
		return usage(self);
	}
	job.name = argv[optind++];
	if (!keeper_address(job.name, &address))
		return EXIT_FAILURE;
	if (optind < argc && !strcmp(argv[optind], "--"))
		optind++;
	if (optind < argc)
		job.command = argv + optind;
	return keep_clock(device, &job);
}

const struct command cmd_keep = {
	.name = "keep",
	.summary = "hold the clock of a container, for those who stop, start and save it",
	.help = "usage: parkclock keep [--cgroup DIR] [--restore FILE [--gap include|freeze]]\n"
		"                      [--fd N] NAME [[--] COMMAND [ARGUMENT ...]]\n"
		"\n"
		"Opens a new clock that begins at zero and gives it to a keeper: two processes in the\n"
		"background, which sleep, and replace one another if one is killed. Then executes\n"
		"COMMAND with a view of the clock, which keeps the clock's registrations, too, as\n"
		"descriptor N, and with N in PARKCLOCK_FD. COMMAND is, for example, crun with\n"
		"--preserve-fds=1. The keeper ends when COMMAND has ended and nothing runs any more in\n"
		"the cgroup that was given with --cgroup, or to \"parkclock --name NAME cgroup\". Without\n"
		"COMMAND the keeper stays in the foreground, until nothing runs in DIR, or until SIGINT,\n"
		"SIGTERM or SIGHUP. The user must be allowed to write to the device.\n"
		"\n"
		"\"parkclock --name NAME ...\" asks the keeper for the clock, at the socket\n"
		"/run/parkclock/NAME; PARKCLOCK_KEEPERS names another directory. Whoever may enter that\n"
		"directory may do all that the clock's owner may. It is made with the mode 0700.\n"
		"\n"
		"  --cgroup DIR   register the cgroup with this directory, and end with it\n"
		"  --restore FILE\n"
		"                 continue a clock that \"parkclock save\" has written to FILE\n"
		"  --gap include  monotonic and boottime of FILE go on by the realtime that has passed\n"
		"                 since (default)\n"
		"  --gap freeze   they continue from the saved times\n"
		"  --fd N         the descriptor of the view; the default is 3\n"
		"  --help         show this text\n"
		"\n"
		"Exit status: that of COMMAND; 126 if COMMAND cannot be run, 127 if it is not found; 1 if\n"
		"the clock cannot be kept; 2 (wrong usage).\n",
	.run = run,
};
