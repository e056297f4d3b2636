// SPDX-License-Identifier: GPL-2.0
/*
 * libparkclock-preload.so under a program that does not know it, preload/child.c: the program
 * reads the right time, in the right way.
 *
 * Checked: a second library below the first, preload/spy.c, counts the calls that go to libc.
 * The module's counter counts READ. So with a valid page neither count goes up, with an expired
 * page each call raises the second, and a call that is not for the library raises the first.
 * Each test is a mode of the child, whose comment there says what it checks. All compare the
 * time with the kernel's, and check errno.
 *
 * Fails if a call takes another way than it should; returns another time, result or errno; if
 * time goes back when the way changes; if an ioctl goes to a descriptor that is not the
 * library's; or if a program does not start, or dies of the library.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/die.h"
#include "lib/harness.h"
#include "lib/page.h"
#include "lib/params.h"
#include "lib/registration.h"
#include "lib/updater.h"
#include "lib/wait.h"
#include "preload/spy.h"

#define SKIPPED	77
#define LIBRARY	"/usr/local/lib/libparkclock-preload.so"
#define SPY	"/tests/preload_spy.so"
#define CHILD	"/tests/preload_child"

static const char *tool(void)
{
	const char *path = getenv("PARKCLOCK");

	return path ? path : "/bin/parkclock";
}

/* Exit status of a child that does something before it becomes the program. */
static int run_after(bool (*before)(void), const char *mode)
{
	int status;
	pid_t pid;

	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		setenv("LD_PRELOAD", LIBRARY ":" SPY, 1);
		if (before && !before())
			die("before " CHILD);
		execl(CHILD, CHILD, mode, NULL);
		die(CHILD);
	}
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	fprintf(stderr, "# %s %s: signal %d\n", CHILD, mode, WTERMSIG(status));
	return -1;
}

static int run(const char *mode)
{
	return run_after(NULL, mode);
}

FIXTURE(preload) {
	struct pclock c;
};

FIXTURE_SETUP(preload)
{
	/* A window that does not end, though the machine stands still. */
	start_parked("20000", "4", "5");
	self->c = open_clock();
}

FIXTURE_TEARDOWN(preload)
{
	close_clock(&self->c);
	default_params();
}

TEST_F(preload, valid_page)
{
	hold(self->c.fd);
	EXPECT_EQ(0, run("page"));
}

TEST_F(preload, expired_page)
{
	/* It may have been valid for some ms longer than it took to park. */
	while (valid(self->c.map))
		sleep_ms(1);
	EXPECT_EQ(0, run("expired"));
}

TEST_F(preload, never_valid_page)
{
	must_set("enabled", "N");
	EXPECT_EQ(0, run("slow"));
}

TEST_F(preload, other_calls_are_libc_s)
{
	hold(self->c.fd);
	EXPECT_EQ(0, run("others"));
}

TEST_F(preload, earlier_than_the_library)
{
	EXPECT_EQ(0, run("early"));
}

TEST_F(preload, fork)
{
	hold(self->c.fd);
	EXPECT_EQ(0, run("forks"));
}

TEST_F(preload, exec)
{
	hold(self->c.fd);
	EXPECT_EQ(0, run("execs"));
}

TEST_F(preload, vfork_and_spawn)
{
	hold(self->c.fd);
	EXPECT_EQ(0, run("spawns"));
}

TEST_F(preload, threads_and_forks)
{
	set_params("1", "2", "0");
	EXPECT_EQ(0, run("threads"));
}

TEST_F(preload, signal_handlers)
{
	set_params("1", "2", "0");
	EXPECT_EQ(0, run("signals"));
}

TEST_F(preload, descriptors_are_closed)
{
	must_set("enabled", "N");
	EXPECT_EQ(0, run("closes"));
}

TEST_F(preload, descriptor_is_replaced)
{
	must_set("enabled", "N");
	EXPECT_EQ(0, run("replaced"));
}

TEST_F(preload, device_is_lost)
{
	EXPECT_EQ(0, run("lost"));
}

TEST_F(preload, time_namespace)
{
	int status;

	hold(self->c.fd);
	status = run("other_namespace");
	if (status == SKIPPED)
		SKIP(return, "needs a kernel with time namespaces");
	EXPECT_EQ(0, status);
}

/* Mounts of this process and its children alone. */
static bool bind_mount(const char *from, const char *to)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount(from, to, NULL, MS_BIND, NULL);
}

static bool empty_dev(void)
{
	char path[] = "/tmp/preload.XXXXXX";

	return mkdtemp(path) && bind_mount(path, "/dev");
}

static bool null_for_device(void)
{
	return bind_mount("/dev/null", PARKCLOCK_DEVICE);
}

/* Who opens it for reading waits for a writer. */
static bool fifo_for_device(void)
{
	char path[] = "/tmp/preload.XXXXXX/fifo";

	*strrchr(path, '/') = '\0';
	if (!mkdtemp(path))
		return false;
	path[strlen(path)] = '/';
	return !mkfifo(path, 0600) && bind_mount(path, PARKCLOCK_DEVICE);
}

static bool nobody(void)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fcntl(open_device(), F_DUPFD, 300));
	setenv(COUNTERS, number, 1);
	return !setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534);
}

TEST_F(preload, no_device)
{
	EXPECT_EQ(0, run_after(empty_dev, "libc"));
}

TEST_F(preload, device_of_others)
{
	EXPECT_EQ(0, run_after(null_for_device, "libc"));
	EXPECT_EQ(0, run_after(fifo_for_device, "libc"));
}

TEST_F(preload, device_not_permitted)
{
	ASSERT_EQ(0, chmod(PARKCLOCK_DEVICE, 0));
	EXPECT_EQ(0, run_after(nobody, "libc"));
	ASSERT_EQ(0, chmod(PARKCLOCK_DEVICE, 0444));
}

TEST_F(preload, another_user)
{
	hold(self->c.fd);
	EXPECT_EQ(0, run_after(nobody, "page"));
}

static bool no_tsc(void)
{
	return !setenv("PARKCLOCK_NO_TSC", "1", 1);
}

TEST_F(preload, tsc_not_permitted)
{
	hold(self->c.fd);
	EXPECT_EQ(0, run_after(no_tsc, "slow"));
	EXPECT_EQ(0, run("no_tsc"));
}

TEST_F(preload, no_system_call)
{
	int status;

	NEEDS_COUNTER(return);
	hold(self->c.fd);
	status = run("filtered");
	if (status == SKIPPED)
		SKIP(return, "needs a kernel with seccomp filters");
	EXPECT_EQ(0, status);
}

/* "parkclock run --preload ARGUMENT": its exit status, and whether it has said @text. */
static int run_tool(const char *tool, const char *program, const char *argument,
		    const char *text, bool *said)
{
	char output[4096] = "";
	int out[2], status;
	ssize_t n, used = 0;
	pid_t pid;

	if (pipe(out))
		die("pipe");
	pid = fork();
	if (!pid) {
		setenv("LD_PRELOAD", SPY, 1);
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		execl(tool, tool, "run", "--preload", "--", program, argument, NULL);
		die(tool);
	}
	close(out[1]);
	while ((n = read(out[0], output + used, sizeof(output) - 1 - used)) > 0)
		used += n;
	close(out[0]);
	fputs(output, stderr);
	*said = strstr(output, text);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void copy(const char *from, const char *to)
{
	static char data[1 << 16];
	const int in = open(from, O_RDONLY | O_CLOEXEC);
	const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	ssize_t n;

	if (in < 0 || out < 0)
		die(from);
	while ((n = read(in, data, sizeof(data))) > 0)
		if (write(out, data, n) != n)
			die(to);
	close(in);
	close(out);
}

TEST_F(preload, parkclock_run)
{
	bool said;

	NEEDS_SWITCHES(return);
	EXPECT_EQ(0, run_tool(tool(), CHILD, "run", "#", &said));
	/* What is static does not load it, and runs. */
	EXPECT_EQ(0, run_tool(tool(), "/bin/busybox", "true", "#", &said));
}

/* The tool finds the library beside itself, or says that it is missing. */
TEST_F(preload, parkclock_run_from_elsewhere)
{
	char dir[] = "/tmp/preload.XXXXXX", empty[] = "/tmp/preload.XXXXXX", path[64], beside[64];
	bool said;

	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_NE(NULL, mkdtemp(empty));
	snprintf(path, sizeof(path), "%s/parkclock", dir);
	snprintf(beside, sizeof(beside), "%s/libparkclock-preload.so", dir);
	copy(tool(), path);
	copy(LIBRARY, beside);
	ASSERT_TRUE(bind_mount(empty, "/usr/local/lib"));
	EXPECT_EQ(1, run_tool(tool(), CHILD, "run", "cannot read " LIBRARY, &said));
	EXPECT_TRUE(said);
	if (try_register(self->c.fd, 0, 0) == -EOPNOTSUPP)
		SKIP(goto out, "needs a kernel with tracepoints");
	EXPECT_EQ(0, run_tool(path, CHILD, "run", "#", &said));
out:
	unlink(path);
	unlink(beside);
	rmdir(dir);
	rmdir(empty);
}

TEST_HARNESS_MAIN
