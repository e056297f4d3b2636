// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile tenants beside a victim. This program starts without the module, and loads it.
 *
 * The victim is a user of its own with a clock of its own, which its runtime has opened for it.
 * It registers itself, sleeps for a moment, and when it wakes it reads the time at once, by the
 * page and by READ. The strangers are two other users: one who may only read the device, and
 * one who is in the group clock, and may write to it. Their processes do all that they can
 * think of, at random: every ioctl with good and wrong arguments, also about the victim's task
 * and everybody else's; mappings, and changes of mappings; children that are registered,
 * traced, stopped and killed at any moment; threads; executing programs, also set-user-id ones;
 * passing descriptors around; writing to parameters and to other processes' memory.
 *
 * Checked: each reading of the victim is right, and the page has the time from its first
 * instruction on. Its registration stays, and so does its clock. The strangers get no errno that
 * the header does not have, nothing that they have no right to, and no word of the victim's
 * task. When they are dead, nothing is held or registered, the module unloads at once, and
 * memory is back.
 *
 * Fails if a stranger can register or unregister the victim's task, make its page or its
 * readings wrong, or leave anything behind. The kernel's log is examined after every program.
 *
 * How late the victim wakes is printed for three cases, and not judged: alone; beside as many
 * processes that only keep the machine busy; and beside the strangers.
 *
 *	make check TESTS=hostile VM_CMDLINE="HOSTILE_SECONDS=600 HOSTILE_SEED=7"
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/host_clock.h"
#include "lib/look.h"
#include "lib/machine.h"
#include "lib/module.h"
#include "lib/owner.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/random.h"
#include "lib/registration.h"
#include "lib/requests.h"
#include "lib/updater.h"
#include "lib/wait.h"

#define SECONDS		30	/* two minutes and more by hand: see above */
#define VICTIM		2000
#define READER_ID	3001	/* may only read */
#define WRITER_ID	3002	/* is in the group clock */
#define CLOCK_GROUP	990
#define STRANGERS	3	/* processes of each of the two that never end by themselves */
#define FDS		12
#define MAPS		6
#define MOST_PROCESSES	24	/* of each user */
#define SETUID		"/tmp/hostile-setuid"

/* Buckets of latencies: 2^n us and more */
#define BUCKETS		24

struct phase {
	uint64_t wakes;
	uint64_t late[BUCKETS];
	int64_t worst_ns;
};

/* What all processes share */
static struct {
	atomic_bool ready, stop;
	atomic_int phase;
	atomic_ullong calls, worked, registered, forks, execs, traces, passed, killed;
	pid_t victim;
	struct phase phases[3];
	uint64_t readings;
	atomic_bool found;
	char bug[256];
} *shared;

static const char * const phase_names[] = { "alone", "beside load", "beside strangers" };

static void __attribute__((__format__(__printf__, 1, 2))) bug(const char *fmt, ...)
{
	va_list args;

	if (atomic_exchange(&shared->found, true))
		return;
	va_start(args, fmt);
	vsnprintf(shared->bug, sizeof(shared->bug), fmt, args);
	va_end(args);
}

/* The victim */

static void note_wake(struct phase *p, int64_t late_ns)
{
	unsigned int bucket = 0;

	while (bucket < BUCKETS - 1 && late_ns >> (bucket + 1) >= 1000)
		bucket++;
	p->late[bucket]++;
	p->wakes++;
	if (late_ns > p->worst_ns)
		p->worst_ns = late_ns;
}

/*
 * A registered task that has just been switched in finds the page valid. Since its last
 * reading the window can have ended only if the machine has stood still.
 */
static void read_at_once(const struct pclock *c, int64_t last)
{
	const bool usable = counter_usable();
	struct parkclock_reading r;
	enum seen seen;

	if (usable && parkclock_page_read_bound(c->map, CLOCK_MONOTONIC, &r) < 0 &&
	    kernel_ns(CLOCK_MONOTONIC) - last < NSEC)
		bug("the page had no time when the victim woke");
	for (int i = 0; i < PARKCLOCK_CLOCKS; i++) {
		for (int by_page = 0; by_page < 2; by_page++) {
			seen = look(c, clock_ids[i], by_page, &r);
			if (seen == WRONG)
				bug("a reading of clock %d, by_page %d, was wrong", clock_ids[i],
				    by_page);
		}
	}
	shared->readings += 2 * PARKCLOCK_CLOCKS;
}

static void check_own(const struct pclock *c, uint64_t number)
{
	struct parkclock_query q = query(c->fd);

	if (q.tasks != 1 || q.running != 1)
		bug("the victim's registrations are %llu, %llu run", q.tasks, q.running);
	if (q.holds || q.clock != number || q.flags & PARKCLOCK_CLOCK_STOPPED)
		bug("the victim's clock: %llu holds, number %llu, flags %#x", q.holds, q.clock,
		    q.flags);
	if (try_register(c->fd, 0, 0) != -EEXIST)
		bug("the victim was not registered any more");
}

/* With a descriptor that its runtime has opened for writing. It may not open one itself. */
static void victim(struct pclock *c)
{
	struct timespec wake = { 0 };
	int64_t now, next, last;
	uint64_t seed = 1, number;

	if (setgroups(0, NULL) || setresgid(VICTIM, VICTIM, VICTIM) ||
	    setresuid(VICTIM, VICTIM, VICTIM))
		die("setresuid");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 1);
	must_register(c->fd, 0, 0);
	number = query(c->fd).clock;
	shared->ready = true;
	last = kernel_ns(CLOCK_MONOTONIC);
	for (unsigned int n = 0; !shared->stop; n++) {
		next = kernel_ns(CLOCK_MONOTONIC) + rnd(&seed) % (5 * NSEC / 1000);
		wake.tv_sec = next / NSEC;
		wake.tv_nsec = next % NSEC;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, NULL);
		now = kernel_ns(CLOCK_MONOTONIC);
		note_wake(&shared->phases[shared->phase], now - next);
		read_at_once(c, last);
		last = kernel_ns(CLOCK_MONOTONIC);
		if (n % 64 == 0)
			check_own(c, number);
	}
	_exit(0);
}

/* The strangers */

struct stranger {
	uint64_t seed;
	bool writer;
	int socket;		/* all strangers of both users pass descriptors through it */
	int fds[FDS];
	enum access access[FDS];
	int used;
	void *maps[MAPS];
	pid_t children[4];
	struct surroundings around;
};

static unsigned int upto(struct stranger *s, unsigned int limit)
{
	return (rnd(&s->seed) >> 16) % limit;
}

static void keep(struct stranger *s, int fd, enum access access)
{
	if (fd < 0)
		return;
	if (s->used == FDS) {
		const int i = upto(s, FDS);

		close(s->fds[i]);
		s->fds[i] = fd;
		s->access[i] = access;
		return;
	}
	s->fds[s->used] = fd;
	s->access[s->used++] = access;
}

static void open_one(struct stranger *s)
{
	static const int flags[] = { O_RDONLY, O_RDWR, O_WRONLY };
	static const enum access accesses[] = { READER, WRITER, WRITE_ONLY };
	const int i = upto(s, 3);
	const int fd = open(PARKCLOCK_DEVICE, flags[i] | (upto(s, 2) ? O_CLOEXEC : 0));

	if (fd >= 0 && i && !s->writer)
		bug("who may only read has opened the device for writing");
	keep(s, fd, accesses[i]);
}

/* Most timers are gone at once. Others stay, set, until there are no descriptors any more. */
static void use_timer(struct stranger *s, int fd)
{
	struct call c = {};
	const char *wrong;

	/* Nothing here waits. */
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (!upto(s, 4))
		keep(s, dup(fd), TIMER);
	wrong = try_out_timer(fd, &s->seed, &s->around, &c);
	if (wrong)
		bug("%s: %s %#lx: %d, of a timer", wrong, c.what ? c.what->name : "no request",
		    c.number, c.ret);
}

/* Nobody's task but its own users', and the victim's least of all */
static void judge(struct stranger *s, const struct call *c, enum access access)
{
	const char *wrong = wrong_result(c, access);

	/* Limits of memory and files are low here, and a signal may come. */
	if (wrong && c->ret != -ENOMEM && c->ret != -EINTR && c->ret != -ENFILE)
		bug("%s: %s %#lx: %d", wrong, c->what ? c->what->name : "no request", c->number,
		    c->ret);
	if (c->ret < 0)
		return;
	shared->worked++;
	if (c->number == PARKCLOCK_IOC_REGISTER) {
		shared->registered++;
		if (c->in.reg.tid == shared->victim)
			bug("a stranger has registered the victim");
		if (c->in.reg.tid == 1)
			bug("a stranger has registered init");
	}
	if (c->number == PARKCLOCK_IOC_QUERY && access == READER &&
	    (c->out.query.references | c->out.query.all_tasks | c->out.query.run_transitions))
		bug("a reader was told of others");
	if (c->number == PARKCLOCK_IOC_TIMER)
		use_timer(s, c->ret);
	if (c->number == PARKCLOCK_IOC_VIEW)
		keep(s, c->ret, VIEW);
	if (c->number == PARKCLOCK_IOC_SAVE)
		s->around.saved = c->out.saved;
}

static void call(struct stranger *s)
{
	const int i = upto(s, s->used);
	struct call c;

	s->around.tids[2] = upto(s, 2) ? shared->victim : 1;
	s->around.tids[3] = s->children[upto(s, 4)];
	make_call(&c, &s->seed, &s->around);
	do_call(s->fds[i], &c, &s->around);
	shared->calls++;
	judge(s, &c, s->access[i]);
}

static void change_maps(struct stranger *s)
{
	static const int prots[] = { PROT_READ, PROT_READ, PROT_WRITE, PROT_EXEC | PROT_READ };
	const int i = upto(s, MAPS);
	void *map;

	if (!s->maps[i]) {
		map = mmap(NULL, PARKCLOCK_MAP_SIZE, prots[upto(s, 4)],
			   upto(s, 2) ? MAP_SHARED : MAP_PRIVATE, s->fds[upto(s, s->used)],
			   upto(s, 8) ? 0 : PARKCLOCK_VMCLOCK_OFFSET);
		s->maps[i] = map == MAP_FAILED ? NULL : map;
		return;
	}
	switch (upto(s, 6)) {
	case 0:
		if (!mprotect(s->maps[i], PARKCLOCK_MAP_SIZE, PROT_READ | PROT_WRITE))
			bug("a mapping became writable");
		break;
	case 1:
		madvise(s->maps[i], PARKCLOCK_MAP_SIZE, upto(s, 26));
		break;
	case 2:
		map = mremap(s->maps[i], PARKCLOCK_MAP_SIZE, PARKCLOCK_MAP_SIZE << upto(s, 2),
			     MREMAP_MAYMOVE);
		s->maps[i] = map == MAP_FAILED ? s->maps[i] : map;
		break;
	case 3:
		/* Only to look: the TSC may be read here. */
		parkclock_page_read(s->maps[i], CLOCK_MONOTONIC);
		break;
	default:
		munmap(s->maps[i], PARKCLOCK_MAP_SIZE);
		s->maps[i] = NULL;
	}
}

/* Into the pages, past their protection; and into the victim. */
static void write_memory(struct stranger *s)
{
	char byte = 0;
	struct iovec here = { &byte, 1 }, there = { s->maps[upto(s, MAPS)], 1 };
	int fd;

	if (there.iov_base) {
		fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
		if (fd >= 0 && pwrite(fd, &byte, 1, (off_t)(uintptr_t)there.iov_base) > 0)
			bug("a page was written through /proc");
		if (fd >= 0)
			close(fd);
	}
	there.iov_base = &there;
	if (process_vm_writev(shared->victim, &here, 1, &there, 1, 0) > 0)
		bug("the victim's memory was written");
	if (!kill(shared->victim, 0) || !ptrace(PTRACE_SEIZE, shared->victim, 0, 0))
		bug("the victim could be killed or traced");
}

static void change_host(struct stranger *s)
{
	static const char * const files[] = {
		PARAMS "interval_ms", PARAMS "enabled", PARAMS "max_tasks",
		"/sys/module/parkclock/uevent", "/proc/1/fdinfo/0"
	};
	const int fd = open(files[upto(s, 5)], O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		bug("a stranger could open %s for writing", files[upto(s, 5)]);
}

static void pass(struct stranger *s)
{
	struct pollfd p = { .fd = s->socket, .events = POLLIN | POLLOUT };
	char byte, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	const int i = upto(s, s->used);
	int fd;

	if (poll(&p, 1, 0) <= 0)
		return;
	if (p.revents & POLLOUT && upto(s, 2)) {
		/* What kind of descriptor it is goes with it. */
		byte = s->access[i];
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &s->fds[i], sizeof(int));
		sendmsg(s->socket, &msg, MSG_DONTWAIT);
	} else if (p.revents & POLLIN &&
		   recvmsg(s->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) == 1 &&
		   CMSG_FIRSTHDR(&msg)) {
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
		keep(s, fd, byte);
		shared->passed++;
	}
}

static void *short_thread(void *arg)
{
	struct parkclock_register r = { .flags = PARKCLOCK_TASK_INHERIT };
	const int fd = (intptr_t)arg;

	ioctl(fd, PARKCLOCK_IOC_REGISTER, &r);
	ioctl(fd, PARKCLOCK_IOC_HOLD, 0);
	sched_yield();
	ioctl(fd, PARKCLOCK_IOC_UNREGISTER, &r);
	ioctl(fd, PARKCLOCK_IOC_RELEASE, 0);
	return NULL;
}

/* It is not waited for, and may outlive the descriptor, but not the process. */
static void start_one(struct stranger *s)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_create(&thread, &attr, short_thread, (void *)(intptr_t)s->fds[upto(s, s->used)]);
	pthread_attr_destroy(&attr);
}

static void act(struct stranger *s);

/* What a child does: so many things, and then it ends in one of these ways. */
static void __attribute__((__noreturn__)) child(struct stranger *s)
{
	struct parkclock_register r = { .flags = upto(s, 4) };
	static char * const setuid_argv[] = { SETUID, "true", NULL };
	static char * const plain_argv[] = { "/bin/busybox", "true", NULL };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(s->children, 0, sizeof(s->children));
	ioctl(s->fds[upto(s, s->used)], PARKCLOCK_IOC_REGISTER, &r);
	switch (upto(s, 6)) {
	case 0:
		shared->execs++;
		execv(SETUID, setuid_argv);
		break;
	case 1:
		shared->execs++;
		execv(plain_argv[0], plain_argv);
		break;
	case 2:
		for (;;)
			pause();
	case 3:
		for (;;)
			;
	default:
		for (int n = upto(s, 50); n; n--)
			act(s);
	}
	_exit(0);
}

static void change_children(struct stranger *s)
{
	static const int signals[] = { SIGKILL, SIGKILL, SIGSTOP, SIGCONT, SIGSTOP };
	pid_t *c = &s->children[upto(s, 4)];
	int status;

	if (!*c) {
		*c = fork();
		if (!*c) {
			s->seed = s->seed * 3 + 1;
			child(s);
		}
		if (*c < 0)
			*c = 0;
		shared->forks++;
		return;
	}
	switch (upto(s, 3)) {
	case 0:
		if (!ptrace(PTRACE_SEIZE, *c, 0, 0)) {
			shared->traces++;
			ptrace(PTRACE_INTERRUPT, *c, 0, 0);
			if (upto(s, 2))
				ptrace(PTRACE_DETACH, *c, 0, 0);
		}
		break;
	case 1:
		kill(*c, signals[upto(s, 5)]);
		shared->killed++;
		break;
	default:
		kill(*c, SIGKILL);
		/* Traced, it stops on its way more than once. */
		do {
			if (waitpid(*c, &status, __WALL) < 0)
				break;
		} while (!WIFEXITED(status) && !WIFSIGNALED(status));
		*c = 0;
	}
}

static void act(struct stranger *s)
{
	const unsigned int what = upto(s, 100);

	if (!s->used || what < 4) {
		open_one(s);
	} else if (what < 7) {
		const int i = upto(s, s->used--);

		close(s->fds[i]);
		s->fds[i] = s->fds[s->used];
		s->access[i] = s->access[s->used];
	} else if (what < 14) {
		change_maps(s);
	} else if (what < 16) {
		write_memory(s);
	} else if (what < 17) {
		change_host(s);
	} else if (what < 21) {
		pass(s);
	} else if (what < 23) {
		start_one(s);
	} else if (what < 28) {
		change_children(s);
	} else {
		call(s);
	}
}

static void become(uid_t id, bool in_group)
{
	const gid_t groups[] = { CLOCK_GROUP };
	const struct rlimit processes = { MOST_PROCESSES, MOST_PROCESSES };

	if (setgroups(in_group, groups) || setresgid(id, id, id) || setresuid(id, id, id))
		die("setresuid");
	setrlimit(RLIMIT_NPROC, &processes);
	prctl(PR_SET_DUMPABLE, 1);
}

static pid_t start_stranger(int number, bool writer, int socket, uint64_t seed)
{
	struct stranger s = { .writer = writer, .socket = socket };
	const pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	become(writer ? WRITER_ID : READER_ID, writer);
	s.seed = (seed * 1000 + number) * 0x9e3779b97f4a7c15ULL | 1;
	s.around.edge = make_edge();
	s.around.tids[1] = getpid();
	for (;;)
		act(&s);
}

static void spin_for(int64_t ns)
{
	const int64_t end = now_ns(CLOCK_MONOTONIC) + ns;

	while (now_ns(CLOCK_MONOTONIC) < end)
		;
}

/* As many processes as there are strangers, and as many children, without the device */
static pid_t start_load(int number)
{
	const pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid)
		return pid;
	become(number % 2 ? WRITER_ID : READER_ID, false);
	for (;;) {
		const pid_t spins = fork();

		if (!spins) {
			spin_for(NSEC / 100);
			_exit(0);
		}
		spin_for(NSEC / 100);
		kill(spins, SIGKILL);
		waitpid(spins, NULL, 0);
	}
}

/* The dead are this process's children, or become them: it is a subreaper. */
static void reap(void)
{
	pid_t dead;

	do {
		dead = waitpid(-1, NULL, WNOHANG | __WALL);
		if (dead > 0 && dead == shared->victim)
			bug("the victim is dead");
	} while (dead > 0);
}

/* Has the user a process that lives? The real id counts: what is set-user-id is his, too. */
static bool is_there(uid_t id)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	bool found = false;

	if (!proc)
		die("/proc");
	while (!found && (e = readdir(proc))) {
		char path[64], text[2048], *line;

		snprintf(path, sizeof(path), "/proc/%.20s/status", e->d_name);
		if (!atoi(e->d_name) || read_file(path, text, sizeof(text)))
			continue;
		line = strstr(text, "\nUid:");
		found = line && strtoul(line + 5, NULL, 10) == id;
	}
	closedir(proc);
	return found;
}

/* Everybody of this user. Again, because a child that is being created is not killed. */
static void kill_user(uid_t id)
{
	const pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		if (setresuid(id, id, id))
			die("setresuid");
		/* From here on this process is one of them, so others are not asked about. */
		for (;;) {
			kill(-1, SIGKILL);
			sleep_us(1000);
		}
	}
	for (int tries = 0; tries < 100; tries++) {
		sleep_ms(1);
		reap();
	}
	kill(pid, SIGKILL);
	if (!wait_until((reap(), !is_there(id))))
		die("somebody cannot be killed");
}

static long free_kb(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kb = -1;

	write_file("/proc/sys/vm/drop_caches", "3\n");
	if (!f)
		die("/proc/meminfo");
	while (kb < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "MemFree: %ld kB", &kb);
	fclose(f);
	return kb;
}

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

/* Has everything been done that the phase is about, however slow the machine is? */
static bool enough(int phase)
{
	if (shared->phases[phase].wakes < 20)
		return false;
	return phase < 2 || (shared->calls > 1000 && shared->worked > 50 &&
			     shared->registered > 5 && shared->execs > 5 && shared->traces &&
			     shared->passed);
}

/* Waits so long, and until it was enough; or until there is something to say. */
static void wait_phase(int phase, unsigned int seconds)
{
	const int64_t end = kernel_ns(CLOCK_MONOTONIC) + seconds * NSEC;

	shared->phase = phase;
	while ((kernel_ns(CLOCK_MONOTONIC) < end || !enough(phase)) && !shared->found) {
		sleep_ms(20);
		reap();
	}
}

/* At least so many us late was the latest of @percent of all */
static unsigned int late_us(const struct phase *p, unsigned int percent)
{
	uint64_t seen = 0;
	int n = 0;

	while (n < BUCKETS - 1 && (seen += p->late[n]) * 100 < p->wakes * percent)
		n++;
	return n ? 1U << n : 0;
}

FIXTURE(hostile) {
	struct pclock c;	/* the victim's */
	int host;
};

FIXTURE_SETUP(hostile)
{
	settle();
	ASSERT_EQ(0, load(""));
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, shared);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	ASSERT_EQ(0, chown(PARKCLOCK_DEVICE, 0, CLOCK_GROUP));
	ASSERT_EQ(0, chmod(PARKCLOCK_DEVICE, 0664));
	self->c = open_clock();
	self->host = open_device();
}

FIXTURE_TEARDOWN(hostile)
{
	unlink(SETUID);
	munmap(shared, sizeof(*shared));
}

/* A program that runs as root, for whoever executes it */
static void make_setuid(void)
{
	if (system("cp /bin/busybox " SETUID) || chmod(SETUID, 04755))
		die(SETUID);
}

static pid_t start_victim(struct pclock *c)
{
	const pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid)
		victim(c);
	shared->victim = pid;
	return pid;
}

TEST_F_TIMEOUT(hostile, strangers_beside_a_victim, 3600)
{
	const unsigned int seconds = from_environment("HOSTILE_SECONDS", scaled(SECONDS));
	const unsigned long seed = from_environment("HOSTILE_SEED", 1);
	long before, after;
	int sockets[2], status;
	int64_t begin;

	if (try_register(self->host, 0, 0) == -EOPNOTSUPP) {
		close_clock(&self->c);
		close(self->host);
		EXPECT_EQ(0, unload());
		SKIP(return, "needs a kernel with tracepoints");
	}
	ASSERT_EQ(0, try_unregister(self->host, 0, 0));
	make_setuid();
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets));
	start_victim(&self->c);
	ASSERT_TRUE(wait_until(shared->ready));
	wait_phase(0, seconds / 8 + 1);

	for (int i = 0; i < 2 * STRANGERS; i++)
		start_load(i);
	wait_phase(1, seconds / 8 + 1);
	kill_user(READER_ID);
	kill_user(WRITER_ID);
	before = free_kb();

	for (int i = 0; i < STRANGERS; i++) {
		start_stranger(2 * i, false, sockets[i % 2], seed);
		start_stranger(2 * i + 1, true, sockets[(i + 1) % 2], seed);
	}
	close(sockets[0]);
	close(sockets[1]);
	wait_phase(2, seconds);
	kill_user(READER_ID);
	kill_user(WRITER_ID);

	shared->stop = true;
	ASSERT_EQ(shared->victim, waitpid(shared->victim, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_FALSE(shared->found) {
		TH_LOG("HOSTILE_SEED=%lu: %s", seed, shared->bug);
	}

	/* Nothing is left of anybody, and that takes no time. */
	EXPECT_TRUE(wait_all_tasks(self->host, 0));
	EXPECT_TRUE(wait_references(self->host, 0));
	EXPECT_EQ(0, query(self->host).all_running);
	after = free_kb();
	close_clock(&self->c);
	close(self->host);
	begin = kernel_ns(CLOCK_MONOTONIC);
	EXPECT_TRUE(wait_until(!unload()));
	EXPECT_STREQ("", what_is_left());
	TH_LOG("unloaded in %lld ms; %ld kB free before the strangers, %ld after",
	       (long long)(kernel_ns(CLOCK_MONOTONIC) - begin) / 1000000, before, after);
	/* What the kernel keeps for itself, and its checkers */
	if (!has_checkers())
		EXPECT_LT(before - after, 16384);
	for (int i = 0; i < 3; i++) {
		const struct phase *p = &shared->phases[i];

		TH_LOG("victim %s: %llu wakes, late by us: 50%% %u, 90%% %u, 99%% %u, worst %lld",
		       phase_names[i], (unsigned long long)p->wakes, late_us(p, 50),
		       late_us(p, 90), late_us(p, 99), (long long)p->worst_ns / 1000);
	}
	TH_LOG("%llu readings; strangers: %llu calls, %llu worked, %llu registered, %llu forks,",
	       (unsigned long long)shared->readings, (unsigned long long)shared->calls,
	       (unsigned long long)shared->worked, (unsigned long long)shared->registered,
	       (unsigned long long)shared->forks);
	TH_LOG("%llu execs, %llu traced, %llu passed, %llu signals",
	       (unsigned long long)shared->execs, (unsigned long long)shared->traces,
	       (unsigned long long)shared->passed, (unsigned long long)shared->killed);
}

TEST_HARNESS_MAIN
