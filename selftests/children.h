/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Child processes that do what their test tells them, through a socket; and what
 * QUERY says of registrations, in a form that can be compared.
 */
#ifndef PARKCLOCK_SELFTESTS_CHILDREN_H
#define PARKCLOCK_SELFTESTS_CHILDREN_H

#include "common.h"
#include <signal.h>
#include <sys/prctl.h>

struct child {
	pid_t pid;
	int sock;
};

static inline void say(int sock, int64_t value)
{
	if (send(sock, &value, sizeof(value), MSG_NOSIGNAL) != sizeof(value))
		die("send: the other process is gone");
}

static inline int64_t hear(int sock)
{
	int64_t value;

	if (recv(sock, &value, sizeof(value), 0) != sizeof(value))
		die("recv: the other process is gone");
	return value;
}

/* Runs @run in a new process, which does not outlive this one. */
static inline struct child start_child(void (*run)(int sock))
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

static inline void reap_child(struct child *c)
{
	int status;

	/* Others than the last one are stops. */
	do {
		if (waitpid(c->pid, &status, WUNTRACED) != c->pid)
			die("waitpid");
	} while (WIFSTOPPED(status));
	close(c->sock);
}

static inline void end_child(struct child *c)
{
	kill(c->pid, SIGKILL);
	reap_child(c);
}

static inline int64_t ask(const struct child *c, int64_t value)
{
	say(c->sock, value);
	return hear(c->sock);
}

/* 'S' sleeps, 'T' is stopped, 'Z' is dead, ...: see proc(5) */
static inline char state_of(pid_t tid)
{
	char path[64], text[256], *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	if (read_file(path, text, sizeof(text)))
		return 0;
	end = strrchr(text, ')');
	return end ? end[2] : 0;
}

static inline bool wait_state_of(pid_t tid, char state)
{
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (state_of(tid) == state)
			return true;
		sleep_ms(1);
	}
	return false;
}

/*
 * Sleeps, and is not only about to: its state says so before it is switched out. What
 * it waits in the kernel tells later, when it is on no CPU and not waiting for one.
 */
static inline bool wait_asleep(pid_t tid)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	for (int i = 0; i < PATIENCE_MS; i++) {
		if (!read_file(path, text, sizeof(text)) && strncmp(text, "running", 7) &&
		    state_of(tid) == 'S')
			return true;
		sleep_ms(1);
	}
	return false;
}

static inline void sleep_for_ever(void)
{
	for (;;)
		pause();
}

static inline void *sleeping_thread(void *tid)
{
	if (tid)
		*(atomic_int *)tid = gettid();
	sleep_for_ever();
	return NULL;
}

static inline pthread_t start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg))
		die("pthread_create");
	return thread;
}

/* A thread that sleeps till the end of its process. Returns its id. */
static inline pid_t start_sleeping_thread(void)
{
	static atomic_int tid;

	tid = 0;
	start_thread(sleeping_thread, &tid);
	while (!tid)
		sleep_us(100);
	if (!wait_asleep(tid))
		die("a thread does not sleep");
	return tid;
}

/* A child of this many threads; each sleeps, the first until it is told something. */
static int children_threads;

static inline void sleeping_process(int sock)
{
	for (int i = 1; i < children_threads; i++)
		start_sleeping_thread();
	say(sock, 0);
	hear(sock);
}

static inline struct child start_sleeping_child(int threads)
{
	struct child c;

	children_threads = threads;
	c = start_child(sleeping_process);
	hear(c.sock);
	if (!wait_asleep(c.pid))
		die("a child does not sleep");
	return c;
}

/* What a call that fails must leave as it is. Nobody registered may be awake. */
struct counts {
	uint64_t tasks;
	uint64_t all_tasks;
	uint64_t running;
	uint64_t references;
	uint64_t run_missed;
};

static inline struct counts counts(int fd)
{
	struct parkclock_query q = query(fd);

	return (struct counts) {
		.tasks = q.tasks, .all_tasks = q.all_tasks, .running = q.running,
		.references = q.references, .run_missed = q.run_missed,
	};
}

static inline bool same_counts(const struct counts *a, const struct counts *b)
{
	return !memcmp(a, b, sizeof(*a));
}

#define REGISTER	PARKCLOCK_IOC_REGISTER
#define UNREGISTER	PARKCLOCK_IOC_UNREGISTER
#define PROCESS		PARKCLOCK_TASK_PROCESS
#define INHERIT		PARKCLOCK_TASK_INHERIT

static inline bool is_registered(int fd, pid_t tid)
{
	int err = try_register(fd, tid, 0);

	if (!err && try_unregister(fd, tid, 0))
		die("a registration is gone again");
	return err == -EEXIST;
}

#endif
