// SPDX-License-Identifier: GPL-2.0
/*
 * init of the test VM
 *
 * What it does is said by its arguments, behind "--" on the kernel's command line:
 *
 *	check				run the programs that it is told to
 *	console TERM ROWS COLUMNS CMD..	run a command on the console, module loaded
 *	probe				nothing: that it runs is the answer
 *
 * It reports on the second serial port. Each line says one thing, its first word which:
 *
 *	booted			the first line
 *	next			asks for a program. The answer is read from the same port: a
 *				line of selftests/programs, or "none", which ends it
 *	alive			every second while a program runs
 *	run NAME		a program begins
 *	out TEXT		a line of its output
 *	took MS			how many milliseconds the test of the line before took
 *	ask TEXT		one that fleet.sh is asked by, to do something to the machine
 *	end NAME HOW N MS	it is over: "exit N", "signal N", "timeout N" (seconds),
 *				"unrun 0"; it took MS milliseconds
 *	clean			the module unloaded, the kernel's log has nothing about it
 *	kernel TEXT		otherwise: why not
 *	complete		the last line. Without it, the machine died.
 *
 * Programs cannot write there: they only have a pipe, which is read here. What a machine
 * reports at the same time as others goes through one pipe: no line is longer than what
 * a pipe takes as a whole.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define MODULE_FILE	"/lib/parkclock.ko"
#define DEVICE		"/dev/parkclock"
#define ASKED		"/tmp/asked"
#define PATIENCE_MS	60000	/* for what takes a moment, if the machine does not stand still */
#define LIMIT_S		3600	/* for a program: only what hangs comes to this */
#define MAX_LINE	4000	/* of a program's output */
#define MAX_LOG		200000	/* lines of the kernel's log, more than fit into 4 MB */
#define MAX_SPLAT	80	/* lines of the kernel's log that are reported */
#define MAX_ARGS	16

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Lines of the kernel's log that nobody's module may cause. */
static const char * const splats[] = {
	"BUG:", "WARNING:", "Oops", "KASAN", "UBSAN", "KCSAN", "ODEBUG", "Call Trace:",
	"[Uu]nable to handle", "general protection", "stack-protector", "refcount_t:",
	"sleeping function", "scheduling while atomic",
	"possible (circular|recursive|irq lock)", "inconsistent lock state", "held lock freed",
	"lock held when", "suspicious RCU", "rcu:.*stall", "INFO: task", "(soft|hard) lockup",
	"list_(add|del) corruption", "slab.*error", "Bad (page|rss)",
};

/* What the kernel says about any module from elsewhere, or to a bad parameter. */
static const char expected[] =
	"parkclock: (loading out-of-tree|module verification failed|.* invalid for parameter)";

/* Between those who queue work and those who do it: the kernel's own, whose work it is. */
#define WORKQUEUE	"(queue_work_on|__queue_work|process_one_work|worker_thread)"
static const char workqueue[] = "data-race in " WORKQUEUE " / " WORKQUEUE "$";

static int report_fd, kmsg_fd;
static long test_begin;	/* in ms */
static regex_t splat_re[ARRAY_SIZE(splats)], expected_re, workqueue_re;

static void report(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vdprintf(report_fd, fmt, args);
	va_end(args);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	poll(NULL, 0, ms);
}

static void finish(void)
{
	tcdrain(report_fd);
	tcdrain(STDOUT_FILENO);
	/*
	 * QEMU runs with -no-reboot: a reset ends it, without any need for ACPI. The
	 * keyboard controller does it without the kernel's message on the console.
	 */
	if (!ioperm(0x64, 1, 1))
		outb(0xfe, 0x64);
	sleep_ms(1000);
	reboot(RB_AUTOBOOT);
	exit(1);
}

static void mount_at(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	/* Not every kernel has all of them, and nothing works without the others. */
	mount(type, dir, type, 0, NULL);
}

static void set_up(void)
{
	struct termios t;

	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("cgroup2", "/sys/fs/cgroup");
	mount_at("devtmpfs", "/dev");
	mount_at("devpts", "/dev/pts");
	mount_at("tmpfs", "/dev/shm");
	mount_at("tmpfs", "/tmp");
	mount_at("debugfs", "/sys/kernel/debug");
	mount_at("tracefs", "/sys/kernel/tracing");

	close(STDIN_FILENO);
	open("/dev/console", O_RDWR);
	dup2(STDIN_FILENO, STDOUT_FILENO);
	dup2(STDIN_FILENO, STDERR_FILENO);

	report_fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (report_fd < 0 || kmsg_fd < 0 || tcgetattr(report_fd, &t)) {
		perror("init: no serial port to report to, or no kernel log");
		finish();
	}
	cfmakeraw(&t);
	tcsetattr(report_fd, TCSANOW, &t);
	for (size_t i = 0; i < ARRAY_SIZE(splats); i++)
		regcomp(&splat_re[i], splats[i], REG_EXTENDED | REG_NOSUB);
	regcomp(&expected_re, expected, REG_EXTENDED | REG_NOSUB);
	regcomp(&workqueue_re, workqueue, REG_EXTENDED | REG_NOSUB);
	setenv("PATH", "/bin", 1);
	setenv("HOME", "/tmp", 1);
}

/* The kernel gives up on a CPU that does not start in 10 s, as an emulated one may. */
static void start_cpus(void)
{
	for (int cpu = 1; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
		char path[64];
		bool started = false;

		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
		for (int tries = 0; tries < 10 && !started; tries++) {
			int fd = open(path, O_WRONLY | O_CLOEXEC);

			/* One that has started already is no error. */
			started = write(fd, "1", 1) == 1;
			close(fd);
		}
	}
}

static int load(const char *file, const char *params)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	int ret = -1;

	if (fd >= 0) {
		ret = syscall(SYS_finit_module, fd, params, 0);
		close(fd);
	}
	return ret;
}

/* Before any test, to whose account nothing goes that KVM says. Not every kernel has it. */
static void load_kvm(void)
{
	struct dirent **files;
	int n = scandir("/lib/kvm", &files, NULL, alphasort);

	if (load("/lib/parkclock_disturb.ko", "tsc_constant=1") ||
	    syscall(SYS_delete_module, "parkclock_disturb", O_NONBLOCK))
		perror("/lib/parkclock_disturb.ko");
	/* The first two are "." and "..". */
	for (int i = 2; i < n; i++) {
		char file[300];

		snprintf(file, sizeof(file), "/lib/kvm/%s", files[i]->d_name);
		if (load(file, ""))
			perror(file);
	}
}

static bool load_module(void)
{
	long deadline = now_ms() + PATIENCE_MS;

	if (load(MODULE_FILE, "")) {
		report("kernel " MODULE_FILE " does not load: %s\n", strerror(errno));
		return false;
	}
	while (access(DEVICE, F_OK)) {
		if (now_ms() > deadline) {
			report("kernel no " DEVICE " after the module was loaded\n");
			return false;
		}
		sleep_ms(10);
	}
	return true;
}

static bool unload_module(void)
{
	long deadline = now_ms() + PATIENCE_MS;

	/* What a killed program held is let go of a little later. */
	while (syscall(SYS_delete_module, "parkclock", O_NONBLOCK)) {
		if ((errno != EBUSY && errno != EAGAIN) || now_ms() > deadline) {
			report("kernel the module does not unload: %s\n", strerror(errno));
			return false;
		}
		sleep_ms(20);
	}
	return true;
}

/* Says that it is alive, at most once a second. */
static void beat(void)
{
	static long next;

	if (now_ms() > next) {
		report("alive\n");
		next = now_ms() + 1000;
	}
}

static void kernel_log_mark(void)
{
	lseek(kmsg_fd, 0, SEEK_END);
}

/* Is the line a splat, or our module's at the level of a warning or worse? */
static bool is_bad(int level, const char *text)
{
	if (!regexec(&expected_re, text, 0, NULL, 0))
		return false;
	if (level <= 4 && !strncmp(text, "parkclock: ", 11))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(splats); i++)
		if (!regexec(&splat_re[i], text, 0, NULL, 0))
			return true;
	return false;
}

/*
 * Whose race is it? KCSAN finds some in the kernel itself, too. A report is ours if
 * one of its lines, up to the line of "=" that ends it, names our module; but not
 * because an interrupt, whose race it is, came while the module was running.
 */
static bool is_foreign_race(char **lines, int n, int *end)
{
	bool ours = false, interrupted = false;

	if (!strstr(lines[0], "BUG: KCSAN:"))
		return false;
	for (*end = 0; *end < n && strncmp(lines[*end] + 1, "====", 4); ++*end) {
		/* A line without anything is between two stacks. */
		if (!lines[*end][1])
			interrupted = false;
		/* The module, or one for tests; the tool has its name, but is in no stack. */
		ours |= !interrupted && strstr(lines[*end], "[parkclock");
		interrupted |= !!strstr(lines[*end], " asm_sysvec_");
	}
	return !ours || !regexec(&workqueue_re, lines[0], 0, NULL, 0);
}

/*
 * The leak detector of 6.1 allocates memory for a stack while it holds a raw lock, once in
 * a while; where locks are checked for PREEMPT_RT, too, that is reported, at whatever the
 * kernel was doing.
 */
static bool is_leak_detectors(char **lines, int n, int *end)
{
	bool its = false;

	if (!strstr(lines[0], "BUG: Invalid wait context"))
		return false;
	for (*end = 0; *end < n && !strstr(lines[*end], "</TASK>"); ++*end)
		its |= !!strstr(lines[*end], "at: kmemleak_update_trace");
	return its;
}

/* The log since the mark: its lines, each with its level as the first character. */
static int kernel_log_read(char **lines, int size)
{
	char record[8192];
	int used = 0;
	ssize_t n;

	/* A record is "priority,sequence,time,flags;text\n", then lines with details. */
	while (used < size) {
		char *text;

		n = read(kmsg_fd, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE) {
			lines[used++] = strdup("4parkclock: log overflowed");
			continue;
		}
		if (n <= 0)
			break;
		record[n] = '\0';
		text = strchr(record, ';');
		if (!text)
			continue;
		text[strcspn(text, "\n")] = '\0';
		text[0] = '0' + (atoi(record) & 7);
		lines[used++] = strdup(text);
	}
	return used;
}

static bool kernel_log_clean(void)
{
	static char *lines[MAX_LOG];
	int used = kernel_log_read(lines, MAX_LOG), bad = used, end;

	/* From the first bad line on, the rest is its context. */
	for (int i = 0; i < used && bad == used; i++) {
		if (is_foreign_race(lines + i, used - i, &end) ||
		    is_leak_detectors(lines + i, used - i, &end))
			i += end;
		else if (is_bad(lines[i][0] - '0', lines[i] + 1))
			bad = i;
	}
	for (int i = 0; i < used; i++) {
		if (i >= bad && i < bad + MAX_SPLAT)
			report("kernel %s\n", lines[i] + 1);
		free(lines[i]);
	}
	return bad == used;
}

/* After a line that says how a test went: the time since the one before. */
static void report_time(const char *line)
{
	if (strncmp(line, "ok ", 3) && strncmp(line, "not ok ", 7))
		return;
	report("took %ld\n", now_ms() - test_begin);
	test_begin = now_ms();
}

/*
 * What a program asks for is passed on as it is. It may wait for ASKED: by then the
 * line has left the machine, which it may put to sleep now.
 */
static void report_line(const char *line, int length)
{
	bool ask = !strncmp(line, "ask ", 4);

	report("%s%.*s\n", ask ? "" : "out ", length, line);
	report_time(line);
	if (!ask)
		return;
	tcdrain(report_fd);
	close(open(ASKED, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

/* Report the whole lines of the buffer, keep the rest; at the end report that too. */
static void report_lines(char *buf, size_t *used, size_t size, bool end)
{
	size_t begin = 0;

	for (size_t i = 0; i < *used; i++) {
		if (buf[i] == '\0')
			buf[i] = '?';
		if (buf[i] != '\n')
			continue;
		report_line(buf + begin, i - begin);
		begin = i + 1;
	}
	if (begin < *used && (end || (!begin && *used == size))) {
		report("out %.*s\n", (int)(*used - begin), buf + begin);
		begin = *used;
	}
	memmove(buf, buf + begin, *used - begin);
	*used -= begin;
}

/* Returns whether there are processes left. */
static bool reap(pid_t child, bool *over, int *status)
{
	pid_t pid;
	int s;

	while ((pid = waitpid(-1, &s, WNOHANG)) > 0) {
		if (pid == child) {
			*over = true;
			*status = s;
		}
	}
	return !pid;
}

/*
 * Until the program is over or its time is; then everything that it has started
 * is killed. *over says which. Returns false if something cannot be killed.
 */
static bool watch(pid_t child, int out, bool *over, int *status)
{
	long deadline = now_ms() + LIMIT_S * 1000;
	struct pollfd p = { .fd = out, .events = POLLIN };
	static char buf[MAX_LINE];
	bool killed = false, left = true, late = false;
	size_t used = 0;

	while (left || p.fd >= 0) {
		poll(&p, 1, 20);
		beat();
		if (p.fd >= 0 && p.revents) {
			ssize_t n = read(out, buf + used, sizeof(buf) - used);

			if (n > 0)
				used += n;
			else
				p.fd = -1;
			report_lines(buf, &used, sizeof(buf), n <= 0);
		}
		/* What ends after it was killed has not ended in time. */
		left = reap(late ? 0 : child, over, status);
		if (killed && left && now_ms() > deadline)
			return false;
		if (!killed && (*over || now_ms() > deadline)) {
			late = !*over;
			killed = true;
			deadline = now_ms() + PATIENCE_MS;
			kill(-1, SIGKILL);
		}
	}
	return true;
}

static void run_program(const char *name, char **argv)
{
	long begin = now_ms();
	int out[2], status = 0;
	bool over = false, gone;
	pid_t child;

	if (pipe2(out, O_CLOEXEC)) {
		report("kernel no pipe: %s\n", strerror(errno));
		return;
	}
	test_begin = begin;
	child = fork();
	if (!child) {
		setsid();
		dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		if (chdir("/tests"))
			perror("/tests");
		execv(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	close(out[1]);
	gone = watch(child, out[0], &over, &status);
	close(out[0]);
	if (!over)
		report("end %s timeout %d %ld\n", name, LIMIT_S, now_ms() - begin);
	else if (WIFSIGNALED(status))
		report("end %s signal %d %ld\n", name, WTERMSIG(status), now_ms() - begin);
	else
		report("end %s exit %d %ld\n", name, WEXITSTATUS(status), now_ms() - begin);
	if (!gone) {
		report("kernel something that %s started cannot be killed\n", name);
		kernel_log_clean();
		finish();
	}
}

/* Leaks of the module: frames in code that is loaded no more have no symbol. */
static int count_leaks(FILE *f)
{
	char line[512], first[512] = "";
	int leaks = 0;

	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "unreferenced", 12))
			snprintf(first, sizeof(first), "%s", line);
		if (first[0] && (strstr(line, "parkclock") || strstr(line, " 0xffffffff"))) {
			leaks++;
			report("out # %s", first);
			first[0] = '\0';
		}
		if (leaks && !first[0])
			report("out # %s", line);
	}
	return leaks;
}

/* A checker that is short of memory, or has found a bug, says so once and no more. */
static bool has_given_up(const char *text)
{
	return strstr(text, "ODEBUG disabled") || strstr(text, "leak detector disabled") ||
	       strstr(text, "turning off the locking correctness validator");
}

/* KCSAN can be there and off. */
static bool kcsan_is_off(void)
{
	FILE *f = fopen("/sys/kernel/debug/kcsan", "r");
	int enabled = 1;

	if (!f)
		return false;
	if (fscanf(f, "enabled: %d", &enabled) != 1)
		enabled = 0;
	fclose(f);
	return !enabled;
}

/* Has no checker given up before the end? Reads the log from the start. */
static bool checkers_work(void)
{
	static char *lines[MAX_LOG];
	bool work = !kcsan_is_off();
	int used;

	if (!work)
		report("out # KCSAN is off\n");
	lseek(kmsg_fd, 0, SEEK_SET);
	used = kernel_log_read(lines, MAX_LOG);
	for (int i = 0; i < used; i++) {
		if (has_given_up(lines[i])) {
			report("out # %s\n", lines[i] + 1);
			work = false;
		}
		free(lines[i]);
	}
	return work;
}

/* False if it has found something that the module left, or does not scan. */
static bool find_no_leaks(FILE *f)
{
	/* It leaves alone what is younger than 5 s; a second look drops false alarms. */
	for (int i = 0; i < 2; i++) {
		sleep_ms(6000);
		fputs("scan\n", f);
		if (fflush(f)) {
			report("out # kmemleak does not scan: %s\n", strerror(errno));
			return false;
		}
	}
	rewind(f);
	return !count_leaks(f);
}

/* The same in a child, as it takes long. */
static bool find_no_leaks_and_beat(FILE *f)
{
	int status = 0;
	pid_t child;

	child = fork();
	if (!child)
		_exit(!find_no_leaks(f));
	while (child > 0 && !waitpid(child, &status, WNOHANG)) {
		beat();
		sleep_ms(100);
	}
	return child > 0 && !status;
}

/* The kernel's own checkers, where it has them. */
static void check_checkers(void)
{
	FILE *leaks = fopen("/sys/kernel/debug/kmemleak", "r+");
	bool clean = true, work;

	if (!leaks && access("/sys/kernel/debug/kcsan", F_OK))
		return;
	report("run checkers\nout TAP version 13\nout 1..%d\n", leaks ? 2 : 1);
	/* It may give up while it scans: the log is read after that. */
	if (leaks)
		clean = find_no_leaks_and_beat(leaks);
	work = checkers_work();
	report("out %s 1 no checker of the kernel is off or has given up\n",
	       work ? "ok" : "not ok");
	if (leaks) {
		report("out %s 2 nothing that the module allocated is left\n",
		       clean ? "ok" : "not ok");
		fclose(leaks);
	}
	report("end checkers exit %d 0\n", !clean || !work);
}

/* The line is "NAME WHERE SECONDS ARGUMENTS...", see selftests/programs. */
static void check_one(char *line)
{
	char path[128], *argv[MAX_ARGS + 1], *name, *where, *seconds;
	bool loads_itself, clean = true;
	int n = 1;

	name = strtok(line, " \t\n");
	where = strtok(NULL, " \t\n");
	seconds = strtok(NULL, " \t\n");
	if (!seconds) {
		report("kernel this is no line of selftests/programs: %s\n", name ? name : "");
		return;
	}
	while (n < MAX_ARGS && (argv[n] = strtok(NULL, " \t\n")))
		n++;
	argv[n] = NULL;
	snprintf(path, sizeof(path), "/tests/%s", name);
	argv[0] = path;

	loads_itself = !strcmp(where, "bare");
	report("run %s\n", name);
	kernel_log_mark();
	if (!loads_itself && !load_module()) {
		kernel_log_clean();
		report("end %s unrun 0 0\n", name);
		return;
	}
	run_program(name, argv);
	if (!loads_itself) {
		clean = unload_module();
	} else if (!syscall(SYS_delete_module, "parkclock", O_NONBLOCK)) {
		report("kernel the program has left the module loaded\n");
		clean = false;
	}
	if (kernel_log_clean() && clean)
		report("clean\n");
}

/* The answer to "next": false if there is none, or what comes is no line. */
static bool read_answer(char *line, size_t size)
{
	size_t used = 0;

	while (used + 1 < size && read(report_fd, line + used, 1) == 1) {
		if (line[used] == '\n') {
			line[used] = '\0';
			return strcmp(line, "none");
		}
		used++;
	}
	return false;
}

static void check(void)
{
	char line[512];

	/* From here on, of the kernel's log only errors go to the console, as if quiet. */
	klogctl(8, NULL, 4);
	/* Here somebody listens to "ask". */
	setenv("PARKCLOCK_ASKED", ASKED, 1);
	for (;;) {
		report("next\n");
		if (!read_answer(line, sizeof(line)))
			break;
		check_one(line);
	}
	check_checkers();
	report("complete\n");
}

static int wait_for(pid_t child)
{
	int status = 0;
	pid_t pid;

	do
		pid = waitpid(-1, &status, 0);
	while (pid > 0 && pid != child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/*
 * The session of a command on the console. It outlives the command: the end of a
 * session throws away what the terminal has not sent yet.
 */
static void session(struct winsize *size, char **argv)
{
	int fd, status;
	pid_t child;

	setsid();
	/* /dev/console cannot be a controlling terminal, and Ctrl-C needs one. */
	fd = open("/dev/ttyS0", O_RDWR);
	ioctl(fd, TIOCSWINSZ, size);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	child = fork();
	if (!child) {
		execv(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	status = wait_for(child);
	tcdrain(fd);
	_exit(status);
}

static void on_console(char **argv)
{
	struct winsize size = { .ws_row = atoi(argv[1]), .ws_col = atoi(argv[2]) };
	pid_t child;

	setenv("TERM", argv[0], 1);
	if (!load_module())
		return;
	child = fork();
	if (!child)
		session(&size, argv + 3);
	report("end console exit %d 0\ncomplete\n", wait_for(child));
}

int main(int argc, char **argv)
{
	set_up();
	report("booted\n");
	start_cpus();
	load_kvm();
	if (argc == 2 && !strcmp(argv[1], "check"))
		check();
	else if (argc > 5 && !strcmp(argv[1], "console"))
		on_console(argv + 2);
	else if (argc == 2 && !strcmp(argv[1], "probe"))
		report("complete\n");
	finish();
}
