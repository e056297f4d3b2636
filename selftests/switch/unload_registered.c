// SPDX-License-Identifier: GPL-2.0
/*
 * Unload while registered threads live. This program starts without the module, and loads it.
 *
 * Checked: an open descriptor with registrations keeps the module. As soon as the last
 * descriptor is closed the module unloads at the first attempt, while the threads that were
 * registered sleep, run, create others and exit. They live on, without the module.
 *
 * Fails if a registration, or the code that frees one, keeps the module. If a probe outlives
 * the code, the kernel dies, or its log shows it.
 */
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "lib/children.h"
#include "lib/clock.h"
#include "lib/clocksource.h"
#include "lib/files.h"
#include "lib/harness.h"
#include "lib/messages.h"
#include "lib/module.h"
#include "lib/registration.h"
#include "lib/tasks.h"
#include "lib/wait.h"

#define PROCESSES	4
#define ROUNDS		6

FIXTURE(unload_registered) {
};

FIXTURE_SETUP(unload_registered)
{
	settle();
	if (exists("/sys/module/parkclock"))
		ASSERT_EQ(0, unload());
}

FIXTURE_TEARDOWN(unload_registered)
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

TEST_F(unload_registered, at_once)
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
