// SPDX-License-Identifier: GPL-2.0
/*
 * sandbox: a small sandbox runtime, whose sandbox has a clock of its own
 *
 * Outside is the runtime. It opens the clock for writing, and keeps that to itself. It
 * begins the clock's life, or continues that of one that was saved; it registers what runs
 * inside, so that this never finds an expired page; in the end it may stop and save the
 * clock. It has a timer on the sandbox's clock, a deadline an hour after its beginning, which it
 * saves and restores with the clock.
 *
 * Inside is one process, in namespaces of its own, with nothing but a view of the clock.
 * It tells the time from the page, and by no system call but PARKCLOCK_IOC_READ, which it
 * needs on a host whose page cannot be valid. What it does is in workload.c.
 *
 * Needs nothing but the header. A runtime of many sandboxes does this in a process for
 * each, since it goes into the sandbox's user namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/parkclock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "workload.h"

#define NSEC	1000000000LL
#define VIEW_FD	0	/* the only descriptor inside */

struct sandbox {
	int clock, view, timer;
	const void *map;	/* of the view */
	struct report *report;
	bool probes;
	pid_t child;		/* as it is seen outside */
};

/* What failed, why (errno), what to do. */
static void __attribute__((__noreturn__)) die(const char *what, const char *advice)
{
	fprintf(stderr, "sandbox: cannot %s: %s. %s\n", what, strerror(errno), advice);
	exit(EXIT_FAILURE);
}

/* THE CLOCK */

static void continue_clock(int clock, const char *file, unsigned int gap)
{
	struct parkclock_restore arg = { .gap = gap };
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	/* If it is too short, it is as any other that is damaged: the kernel sees it. */
	if (fd < 0 || read(fd, &arg.saved, sizeof(arg.saved)) < 0)
		die("read the saved clock", "Name a file that --save has made.");
	close(fd);
	if (ioctl(clock, PARKCLOCK_IOC_RESTORE, &arg))
		die("restore the clock",
		    errno == EBADMSG ? "The file is damaged, or no saved clock: name another." :
		    errno == EOPNOTSUPP ? "The file is of another version: use a module of that." :
		    errno == ERANGE ? "Its times are out of range: is this host's date right?" :
		    "Is the module as new as this program?");
}

/*
 * It may get any time only as long as nobody can have read it: first of all. What is
 * mapped here is mapped inside, too, after fork(): a view, which can do no harm there.
 */
static void make_clock(struct sandbox *s, const char *from, unsigned int gap)
{
	s->clock = open(PARKCLOCK_DEVICE, O_RDWR | O_CLOEXEC);
	if (s->clock < 0)
		die("open " PARKCLOCK_DEVICE " for writing",
		    "Load the module (modprobe parkclock), and be a user whom it lets write.");
	if (from)
		continue_clock(s->clock, from, gap);
	else if (ioctl(s->clock, PARKCLOCK_IOC_EPOCH, 0))
		die("begin an epoch", "Is the module as new as this program?");
	s->view = ioctl(s->clock, PARKCLOCK_IOC_VIEW, 0);
	if (s->view < 0)
		die("take a view of the clock", "Close files, or free memory.");
	s->map = mmap(NULL, PARKCLOCK_MAP_SIZE, PROT_READ, MAP_SHARED, s->view, 0);
	if (s->map == MAP_FAILED)
		die("map the clock", "Free memory.");
	errno = EPROTO;
	if (!parkclock_usable(s->map))
		die("use the clock", "Build this program with the module's own header.");
}

/* Beside that of the clock */
static int open_state(const char *file, int flags)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s.timer", file);
	return open(path, flags | O_CLOEXEC, 0600);
}

static struct parkclock_timer_state timer_state(const struct sandbox *s)
{
	struct parkclock_timer_state state;

	if (ioctl(s->timer, PARKCLOCK_IOC_TIMER_GET, &state))
		die("ask the timer", "Is the module as new as this program?");
	printf("timer: at %lld ns, %lld ns left\n", state.expiry_ns, state.left_ns);
	return state;
}

/* After the clock: what fell into the gap expires at once. */
static void make_timer(struct sandbox *s, const char *from)
{
	const struct parkclock_timer arg = {
		.clock_id = CLOCK_MONOTONIC, .flags = PARKCLOCK_TIMER_NONBLOCK
	};
	struct parkclock_timer_set hour = { .value_ns = 3600 * NSEC };
	struct parkclock_timer_state state;
	int fd;

	s->timer = ioctl(s->clock, PARKCLOCK_IOC_TIMER, &arg);
	if (s->timer < 0)
		die("make a timer", "Close files, or free memory.");
	if (!from) {
		if (ioctl(s->timer, PARKCLOCK_IOC_TIMER_SET, &hour))
			die("set the timer", "Is the module as new as this program?");
	} else {
		fd = open_state(from, O_RDONLY);
		errno = 0;
		if (fd < 0 || read(fd, &state, sizeof(state)) != sizeof(state) ||
		    ioctl(s->timer, PARKCLOCK_IOC_TIMER_RESTORE, &state))
			die("restore the timer", "Is its file there, beside that of the clock?");
		close(fd);
	}
	timer_state(s);
}

/* When the clock is stopped, it does not change any more. */
static void save_timer(const struct sandbox *s, const char *file)
{
	const struct parkclock_timer_state state = timer_state(s);
	int fd = open_state(file, O_WRONLY | O_CREAT | O_TRUNC);

	if (fd < 0 || write(fd, &state, sizeof(state)) != sizeof(state) || close(fd))
		die("write the saved timer", "Name another file.");
}

/* Nobody may find it stopped: the sandbox does not run, and will not. */
static void save_clock(struct sandbox *s, const char *file)
{
	struct parkclock_saved saved;
	int fd, status;

	if (kill(s->child, SIGSTOP) || waitpid(s->child, &status, WUNTRACED) < 0)
		die("freeze the sandbox", "See the kernel's log.");
	errno = ECHILD;
	if (!WIFSTOPPED(status))
		die("freeze the sandbox", "See the kernel's log.");
	if (ioctl(s->clock, PARKCLOCK_IOC_SAVE, &saved))
		die("save the clock", "Is the module as new as this program?");
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, &saved, sizeof(saved)) != sizeof(saved) || close(fd))
		die("write the saved clock", "Name another file.");
	printf("saved: MONOTONIC %lld ns, boot %lld ns, generation %llu\n", saved.monotonic_ns,
	       saved.boot_ns, saved.generation);
	save_timer(s, file);
}

/* THE SANDBOX */

static void __attribute__((__format__(__printf__, 2, 3)))
put(const char *file, const char *fmt, ...)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	char what[64];
	va_list args;

	snprintf(what, sizeof(what), "write %s", file);
	va_start(args, fmt);
	if (fd < 0 || vdprintf(fd, fmt, args) < 0)
		die(what, "Does a security module restrict user namespaces? See the kernel's log.");
	va_end(args);
	close(fd);
}

/*
 * For what is created from now on. The user inside is the user outside, and nobody
 * else is there. The kernel's own clocks, by which one sleeps, and which the vDSO tells,
 * are in the time namespace as far from the host's as this clock is.
 */
static void make_namespaces(const struct parkclock_clock *clock)
{
	const unsigned int uid = geteuid(), gid = getegid();
	const int64_t m = clock->offset_ns[PARKCLOCK_MONOTONIC];
	const int64_t b = clock->offset_ns[PARKCLOCK_BOOTTIME];
	const int64_t m_ns = (m % NSEC + NSEC) % NSEC, b_ns = (b % NSEC + NSEC) % NSEC;

	if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWTIME))
		die("make namespaces",
		    errno == EINVAL ? "This needs a kernel with user, pid and time namespaces." :
		    "Let users have them (sysctl user.max_user_namespaces), or be root.");
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", "%u %u 1", uid, uid);
	put("/proc/self/gid_map", "%u %u 1", gid, gid);
	/* Seconds and ns, of which the latter are never negative. */
	put("/proc/self/timens_offsets", "monotonic %lld %lld\nboottime %lld %lld\n",
	    (long long)(m - m_ns) / NSEC, (long long)m_ns,
	    (long long)(b - b_ns) / NSEC, (long long)b_ns);
}

/*
 * Nothing, and that cannot be written to. It is moved over the old root, which nobody
 * reaches there without a descriptor or a capability. (pivot_root(2) would even let go of
 * it, but not on an initramfs.)
 */
static void change_root(void)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("sandbox", "/tmp", "tmpfs", flags, NULL) || chdir("/tmp") ||
	    mount(".", "/", NULL, MS_MOVE, NULL) || chroot("."))
		die("make a root for the sandbox",
		    "It needs a directory /tmp, and user namespaces that may mount.");
}

static void drop_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	if (syscall(SYS_capset, &header, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("drop all capabilities",
		    "Does a security module forbid it? See the kernel's log.");
}

static void add(struct sock_fprog *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
	p->filter[p->len++] = (struct sock_filter)BPF_JUMP(code, k, yes, no);
}

/* What is not named fails: every call for the time among the rest, and every other ioctl. */
static void filter_calls(void)
{
	static const int allowed[] = {
		SYS_nanosleep, SYS_restart_syscall,	/* a nap, also one that was disturbed */
		SYS_read, SYS_poll,			/* of a view: its generation */
		SYS_close_range, SYS_exit_group,
	};
	const uint16_t load = BPF_LD | BPF_W | BPF_ABS, equal = BPF_JMP | BPF_JEQ | BPF_K;
	const uint16_t verdict = BPF_RET | BPF_K;
	struct sock_filter code[32];
	struct sock_fprog program = { .filter = code };

	/* In another architecture the numbers mean something else. */
	add(&program, load, offsetof(struct seccomp_data, arch), 0, 0);
	add(&program, equal, AUDIT_ARCH_X86_64, 1, 0);
	add(&program, verdict, SECCOMP_RET_KILL_PROCESS, 0, 0);
	add(&program, load, offsetof(struct seccomp_data, nr), 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
		add(&program, equal, allowed[i], 0, 1);
		add(&program, verdict, SECCOMP_RET_ALLOW, 0, 0);
	}
	/* The kernel looks at this half of the request, too. */
	add(&program, equal, SYS_ioctl, 0, 3);
	add(&program, load, offsetof(struct seccomp_data, args[1]), 0, 0);
	add(&program, equal, PARKCLOCK_IOC_READ, 0, 1);
	add(&program, verdict, SECCOMP_RET_ALLOW, 0, 0);
	add(&program, verdict, SECCOMP_RET_ERRNO | EPERM, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("filter system calls", "It needs a kernel with CONFIG_SECCOMP_FILTER.");
}

/* Begins when the runtime says so, and dies with it. */
static void __attribute__((__noreturn__)) inside(struct sandbox *s, int go)
{
	struct timespec ts;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(go, &byte, 1) != 1)
		_exit(EXIT_FAILURE);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	s->report->kernel_ns = ts.tv_sec * NSEC + ts.tv_nsec;
	change_root();
	drop_privileges();
	if (dup2(s->view, VIEW_FD) < 0)
		die("give the view to the sandbox", "See the kernel's log.");
	if (s->probes)
		probe(s->report, VIEW_FD, false);
	filter_calls();
	/* The runtime's clock above all: here it could be changed, and would live on. */
	if (close_range(VIEW_FD + 1, ~0U, 0))
		_exit(EXIT_FAILURE);
	if (s->probes)
		probe(s->report, VIEW_FD, true);
	work(s->report, VIEW_FD, s->map);
}

/* It is registered before it does anything. */
static void start_inside(struct sandbox *s)
{
	struct parkclock_register r = {
		.flags = PARKCLOCK_TASK_PROCESS | PARKCLOCK_TASK_INHERIT
	};
	int go[2];

	if (pipe2(go, O_CLOEXEC))
		die("make a pipe", "Close files.");
	s->child = fork();
	if (s->child < 0)
		die("create a process", "End others, or raise the limit (ulimit -u).");
	if (!s->child) {
		close(go[1]);
		inside(s, go[0]);
	}
	r.tid = s->child;
	if (ioctl(s->clock, PARKCLOCK_IOC_REGISTER, &r))
		die("register the sandbox",
		    errno == EOPNOTSUPP ? "It needs a kernel with tracepoints." :
		    "See the module's parameter max_tasks.");
	if (write(go[1], "", 1) != 1)
		die("start the sandbox", "See the kernel's log.");
	close(go[0]);
	close(go[1]);
	printf("sandbox: process %d is registered\n", s->child);
}

/* Until it has worked so much; it has no reason to end before. */
static void wait_bursts(struct sandbox *s, unsigned long bursts)
{
	const struct timespec moment = { 0, NAP_NS / 10 };

	while (s->report->bursts < bursts) {
		if (waitpid(s->child, NULL, WNOHANG)) {
			fprintf(stderr, "sandbox: the inside has ended. See the kernel's log.\n");
			exit(EXIT_FAILURE);
		}
		nanosleep(&moment, NULL);
	}
}

/* Its namespaces go with its only process; the clock goes with the runtime and the view. */
static void end(struct sandbox *s)
{
	kill(s->child, SIGKILL);
	waitpid(s->child, NULL, 0);
}

/*
 * What was found inside: whatever is there, no more than fits is taken. False if time was
 * not as it must be.
 */
static bool show(const struct sandbox *s)
{
	const struct report *r = s->report;
	struct parkclock_query q;
	bool usable;

	if (ioctl(s->clock, PARKCLOCK_IOC_QUERY, &q))
		die("ask the clock", "Is the module as new as this program?");
	usable = !(q.flags & PARKCLOCK_COUNTER_UNUSABLE);
	for (int i = 0; i < r->attempts && i < ATTEMPTS; i++)
		printf("probe: %.*s %s %s\n", (int)sizeof(r->attempt[i].what), r->attempt[i].what,
		       strerrorname_np(r->attempt[i].error[0]),
		       strerrorname_np(r->attempt[i].error[1]));
	printf("inside: MONOTONIC from %lld to %lld ns, by the kernel %lld ns before\n",
	       (long long)r->first_ns, (long long)r->last_ns, (long long)r->kernel_ns);
	printf("inside: %lu bursts, %lu times by page, %lu by READ, went back %lu times\n",
	       r->bursts, r->by_page, r->by_read, r->back);
	if (!usable)
		printf("this host does not keep time by its TSC: the page never has a time\n");
	else if (r->by_read > r->unprotected)
		printf("by READ while it ran: the machine stood still, or its clock was set\n");
	if (!r->back && (!usable || !r->unprotected))
		return true;
	fprintf(stderr,
		"sandbox: time went back %lu times; the page was late %lu times. Report a bug.\n",
		r->back, r->unprotected);
	return false;
}

static const char * const help =
	"usage: sandbox [OPTION ...] [work|probe]\n"
	"\n"
	"Runs a sandbox with a clock of its own. What runs in it is built in: work reads\n"
	"MONOTONIC from the page, in bursts between naps; probe first tries what it may not.\n"
	"\n"
	"  --bursts N         how long (20)\n"
	"  --save FILE        in the end, save the clock, and its timer in FILE.timer\n"
	"  --restore FILE     continue the clock that was saved; else it begins near zero\n"
	"  --gap GAP          what becomes of the time since then: include, or freeze\n"
	"  --help             this text\n"
	"\n"
	"Exit status: 0; 1 if something failed, or time was not as it must be; 2 (wrong usage).\n";

static int usage(const char *what)
{
	fprintf(stderr, "sandbox: %s. Try sandbox --help.\n", what);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "bursts", required_argument, NULL, 'b' },
		{ "save", required_argument, NULL, 's' },
		{ "restore", required_argument, NULL, 'r' },
		{ "gap", required_argument, NULL, 'g' },
		{ "help", no_argument, NULL, 'h' }, { 0 }
	};
	const char *from = NULL, *to = NULL;
	unsigned long bursts = 20;
	unsigned int gap = 0;
	struct sandbox s = { .probes = false };
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'b')
			bursts = strtoul(optarg, NULL, 10);
		else if (c == 's')
			to = optarg;
		else if (c == 'r')
			from = optarg;
		else if (c == 'g' && !strcmp(optarg, "include"))
			gap = PARKCLOCK_GAP_INCLUDE;
		else if (c == 'g' && !strcmp(optarg, "freeze"))
			gap = PARKCLOCK_GAP_FREEZE;
		else if (c == 'h')
			return fputs(help, stdout) < 0;
		else
			return usage("that is no option, or not what it takes");
	}
	if (!bursts)
		return usage("--bursts takes a number, from 1 on");
	if (!from != !gap)
		return usage("--restore and --gap go together");
	s.probes = optind < argc && !strcmp(argv[optind], "probe");
	if (argc - optind > 1 || (optind < argc && !s.probes && strcmp(argv[optind], "work")))
		return usage("what runs inside is work or probe");

	setlinebuf(stdout);
	s.report = mmap(NULL, sizeof(*s.report), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s.report == MAP_FAILED)
		die("share memory with the sandbox", "Free memory.");
	make_clock(&s, from, gap);
	make_timer(&s, from);
	make_namespaces(s.map);
	start_inside(&s);
	wait_bursts(&s, bursts);
	if (to)
		save_clock(&s, to);
	end(&s);
	return show(&s) ? EXIT_SUCCESS : EXIT_FAILURE;
}
