// SPDX-License-Identifier: GPL-2.0
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "die.h"
#include "messages.h"
#include "tasks.h"

struct child start_child(void (*run)(int sock))
{
	struct child c;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	c.pid = fork();
	if (c.pid < 0)
		die("fork");
	if (!c.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		run(pair[1]);
		_exit(0);
	}
	close(pair[1]);
	c.sock = pair[0];
	return c;
}

/* How many threads the sleeping child that is being started is to have */
static int children_threads;

static void sleeping_process(int sock)
{
	for (int i = 1; i < children_threads; i++)
		start_sleeping_thread();
	say(sock, 0);
	hear(sock);
}

struct child start_sleeping_child(int threads)
{
	struct child c;

	children_threads = threads;
	c = start_child(sleeping_process);
	hear(c.sock);
	if (!wait_asleep(c.pid))
		die("a child does not sleep");
	return c;
}

int64_t ask(const struct child *c, int64_t value)
{
	say(c->sock, value);
	return hear(c->sock);
}

void reap_child(struct child *c)
{
	int status;

	/* It may be stopped first. */
	do {
		if (waitpid(c->pid, &status, WUNTRACED) != c->pid)
			die("waitpid");
	} while (WIFSTOPPED(status));
	close(c->sock);
}

void end_child(struct child *c)
{
	kill(c->pid, SIGKILL);
	reap_child(c);
}
