// SPDX-License-Identifier: GPL-2.0
/*
 * The side of the commands: how they reach a keeper. And parkclock keepers, which lists them.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper.h"

#define PATIENCE_S 10

/* What ids of containers are made of, for OCI runtimes and their managers */
static const char letters[] =
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-";

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

const char *keeper_dir(void)
{
	const char *dir = secure_getenv(KEEPERS_VARIABLE);

	return dir && *dir ? dir : KEEPERS;
}

bool keeper_address(const char *name, struct sockaddr_un *address)
{
	int n;

	if (!*name || *name == '.' || name[strspn(name, letters)]) {
		complain("'%s' is no name of a container: that has letters, digits, '_', '.', %s",
			 name, "'+' and '-', and no '.' at its beginning.");
		return false;
	}
	if (*keeper_dir() != '/') {
		complain("%s is '%s', which is no absolute path.", KEEPERS_VARIABLE, keeper_dir());
		return false;
	}
	address->sun_family = AF_UNIX;
	n = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s", keeper_dir(), name);
	if (n >= 0 && (size_t)n < sizeof(address->sun_path))
		return true;
	complain("%s/%s is too long for the path of a socket: it can have %zu bytes. Name a %s",
		 keeper_dir(), name, sizeof(address->sun_path) - 1,
		 "shorter directory in " KEEPERS_VARIABLE ".");
	return false;
}

static int connect_to(const struct sockaddr_un *address)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) &&
	    !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) &&
	    !connect(fd, (const struct sockaddr *)address, sizeof(*address)))
		return fd;
	close(fd);
	return -1;
}

/* Returns the descriptor that came with the reply, or -1 with errno. */
static int receive(int fd, struct keeper_reply *reply)
{
	struct iovec iov = { .iov_base = reply, .iov_len = sizeof(*reply) };
	union control control;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	const ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	int clock = -1;

	if (n < 0)
		return -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(&clock, CMSG_DATA(c), sizeof(clock));
	if (n == sizeof(*reply) && reply->version == KEEPER_VERSION) {
		reply->cgroup[PATH_MAX - 1] = '\0';
		if (reply->err)
			errno = reply->err;
		else if (clock < 0)
			errno = EMFILE;
		else
			return clock;
	} else {
		errno = n ? EPROTO : ECONNRESET;
	}
	if (clock >= 0)
		close(clock);
	return -1;
}

static int ask(const struct sockaddr_un *address, const char *cgroup, struct keeper_reply *reply)
{
	struct keeper_request request = { .version = KEEPER_VERSION };
	int fd, clock = -1, err;

	if (strlen(cgroup) >= sizeof(request.cgroup)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(request.cgroup, cgroup);
	fd = connect_to(address);
	if (fd < 0)
		return -1;
	if (send(fd, &request, sizeof(request), MSG_NOSIGNAL) >= 0)
		clock = receive(fd, reply);
	err = errno;
	close(fd);
	errno = err;
	return clock;
}

int keeper_try(const char *name, const char *cgroup, struct keeper_reply *reply)
{
	struct sockaddr_un address;
	int clock = -1;

	if (!keeper_address(name, &address)) {
		errno = EINVAL;
		return -1;
	}
	/* A keeper that is killed with this connection in its hands has been replaced by now. */
	for (int tries = 0; tries < 3 && clock < 0; tries++) {
		clock = ask(&address, cgroup, reply);
		if (clock < 0 && errno != ECONNRESET)
			break;
	}
	return clock;
}

static const char *explain(int err, bool watches)
{
	switch (err) {
	case ENOENT:
		if (watches)
			return "There is no such cgroup.";
		return "No clock of that name is kept. \"parkclock keepers\" lists all.";
	case ECONNREFUSED:
	case ECONNRESET:
		return "Both processes of the keeper were killed. The clock stays as it is.";
	case EACCES:
		return "This user may not enter the directory of the sockets. Be root, or ask.";
	case EAGAIN:
		return "The keeper does not answer. Is it stopped (SIGSTOP)?";
	case EPROTO:
		return "The keeper is of another version of this tool. Use that version.";
	case EMFILE:
		return "This process has no descriptor left. Raise its limit (\"ulimit -n\").";
	case EBUSY:
		return "It ends with another cgroup already. Give each container a clock.";
	default:
		return watches ? "Give the directory of a cgroup, in a hierarchy of version 2." :
			"This is unexpected; please report it.";
	}
}

int keeper_ask(const char *name, const char *cgroup, struct keeper_reply *reply)
{
	struct sockaddr_un address;
	int clock;

	if (!keeper_address(name, &address))
		return -1;
	reply->err = 0;
	clock = keeper_try(name, cgroup, reply);
	if (clock < 0 && reply->err)
		complain("the keeper of %s cannot watch %s: %s. %s", name, cgroup, strerror(errno),
			 explain(errno, true));
	else if (clock < 0)
		complain("cannot ask %s for the clock: %s. %s", address.sun_path, strerror(errno),
			 explain(errno, false));
	return clock;
}

/* The clock's own MONOTONIC; where it is stopped, where that was */
static void print_keeper(const char *name, const struct keeper_reply *reply,
			 const struct parkclock_query *q, bool json)
{
	const bool stopped = q->flags & PARKCLOCK_CLOCK_STOPPED;

	if (!json) {
		printf("%-20s clock %llu %s, processes %d %d, %s\n", name, q->clock,
		       stopped ? "stopped" : "runs", reply->pid, reply->guard,
		       *reply->cgroup ? reply->cgroup : "no cgroup");
		return;
	}
	printf("{\"name\":\"%s\",\"clock\":%llu,\"stopped\":%s,\"pid\":%d", name, q->clock,
	       stopped ? "true" : "false", reply->pid);
	printf(",\"guard\":%d,\"cgroup\":\"", reply->guard);
	for (const char *c = reply->cgroup; *c; c++) {
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	printf("\"}\n");
}

static bool show(const char *name, bool json)
{
	struct keeper_reply reply;
	struct parkclock_query q;
	struct parkclock *pc;
	bool ok;
	int fd = keeper_try(name, "", &reply);

	/* One that ends meanwhile, or has ended without a word, is none. */
	if (fd < 0 && (errno == ENOENT || errno == ECONNREFUSED || errno == ECONNRESET))
		return true;
	if (fd < 0) {
		complain("cannot ask %s/%s: %s. %s", keeper_dir(), name, strerror(errno),
			 explain(errno, false));
		return false;
	}
	pc = parkclock_open_fd(fd);
	close(fd);
	ok = pc && !parkclock_query(pc, &q);
	if (ok)
		print_keeper(name, &reply, &q, json);
	else
		complain("cannot query the clock of %s: %s. %s", name, strerror(errno),
			 parkclock_explain(errno));
	parkclock_close(pc);
	return ok;
}

static bool list(bool json)
{
	struct dirent **names;
	int n = scandir(keeper_dir(), &names, NULL, alphasort);
	bool ok = true;

	/* It is made with the first keeper. */
	if (n < 0 && errno == ENOENT)
		return true;
	if (n < 0) {
		complain("cannot look into %s: %s. %s", keeper_dir(), strerror(errno),
			 explain(errno, false));
		return false;
	}
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.')
			ok &= show(names[i]->d_name, json);
		free(names[i]);
	}
	free(names);
	return ok;
}

static int run(const struct command *self, int argc, char **argv, const char *device)
{
	static const struct option options[] = { OPTION_JSON, OPTION_HELP, { 0 } };
	bool json = false;
	int c;

	(void)device;
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
	if (!no_more(argc, argv))
		return usage(self);
	return list(json) ? EXIT_SUCCESS : EXIT_FAILURE;
}

const struct command cmd_keepers = {
	.name = "keepers",
	.summary = "list the clocks that are kept, and by whom",
	.help = "usage: parkclock keepers [--json]\n"
		"\n"
		"Prints, for each clock that \"parkclock keep\" keeps: its name and number, whether it is\n"
		"stopped, the ids of the keeper's two processes, and the cgroup with which it ends.\n"
		"\n"
		"  --json         print one JSON object for each of them\n"
		"  --help         show this text\n",
	.run = run,
};
