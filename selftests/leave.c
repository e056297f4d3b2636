// SPDX-License-Identifier: GPL-2.0
/*
 * Unload with registered threads alive. This program is run without the module loaded,
 * and loads it.
 *
 * Checked: an open descriptor with registrations keeps the module, and as soon as the
 * last one is closed it unloads, at the first attempt, while the threads that were
 * registered sleep, run, create others and exit; they live on, without it.
 *
 * Fails if a registration, or what frees one, holds the module; and the kernel dies, or
 * the log shows it, if a probe outlives the code.
 */
#include "common.h"
#include "children.h"
#include "test_harness.h"

#define PROCESSES	4
#define ROUNDS		10

FIXTURE(leave) {
};

FIXTURE_SETUP(leave)
{
	settle();
	if (exists("/sys/module/parkclock"))
		ASSERT_EQ(0, unload());
}

FIXTURE_TEARDOWN(leave)
{
	if (exists("/sys/module/parkclock"))
		EXPECT_EQ(0, unload());
}

static void *short_lived(void *unused __attribute__((__unused__)))
{
	return NULL;
}

/* As do-while, until it is told that this is enough */
static void sleeps_runs_and_creates(int sock)
{
	int64_t value;
	pid_t pid;

	start_sleeping_thread();
	say(sock, 0);
	do {
		pthread_join(start_thread(short_lived, NULL), NULL);
		pid = fork();
		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
		sleep_us(100);
	} while (recv(sock, &value, sizeof(value), MSG_DONTWAIT) < 0);
	say(sock, 0);
	hear(sock);
}

TEST_F(leave, at_once)
{
	struct child c[PROCESSES];
	struct pclock clock;

	ASSERT_EQ(0, load(""));
	NEEDS_SWITCHES(return);
	ASSERT_EQ(0, unload());
	for (int i = 0; i < PROCESSES; i++) {
		c[i] = start_child(sleeps_runs_and_creates);
		hear(c[i].sock);
	}
	for (int round = 0; round < ROUNDS; round++) {
		ASSERT_EQ(0, load("interval_ms=1"));
		clock = open_owner();
		for (int i = 0; i < PROCESSES; i++)
			must_register(clock.fd, c[i].pid, PROCESS | INHERIT);
		must_register(clock.fd, 0, 0);
		sleep_ms(round % 5);
		/* delete_module(2) says EWOULDBLOCK for a module that is in use. */
		ASSERT_EQ(-EWOULDBLOCK, unload());
		close(clock.fd);
		ASSERT_EQ(-EWOULDBLOCK, unload());
		munmap(clock.map, PARKCLOCK_MAP_SIZE);
		ASSERT_EQ(0, unload()) {
			TH_LOG("round %d", round);
		}
		ASSERT_STREQ("", what_is_left());
	}
	for (int i = 0; i < PROCESSES; i++) {
		EXPECT_EQ(0, ask(&c[i], 0));
		end_child(&c[i]);
	}
}

TEST_HARNESS_MAIN
