// SPDX-License-Identifier: GPL-2.0
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "die.h"
#include "files.h"
#include "tasks.h"
#include "wait.h"

char state_of(pid_t tid)
{
	char path[64], text[256], *end;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	if (read_file(path, text, sizeof(text)))
		return 0;
	end = strrchr(text, ')');
	return end ? end[2] : 0;
}

bool wait_state_of(pid_t tid, char state)
{
	return wait_until(state_of(tid) == state);
}

/*
 * The state of a task says that it sleeps before it is switched out. Its "syscall" says
 * what it waits for later: when it is on no CPU and not waiting for one.
 */
static bool is_asleep(pid_t tid)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	return !read_file(path, text, sizeof(text)) && strncmp(text, "running", 7) &&
	       state_of(tid) == 'S';
}

bool wait_asleep(pid_t tid)
{
	return wait_until(is_asleep(tid));
}

void sleep_for_ever(void)
{
	for (;;)
		pause();
}

void *sleeping_thread(void *tid)
{
	if (tid)
		*(atomic_int *)tid = gettid();
	sleep_for_ever();
}

pthread_t start_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg))
		die("pthread_create");
	return thread;
}

pid_t start_sleeping_thread(void)
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
