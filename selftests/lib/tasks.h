/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Threads that sleep, and what the kernel says of a task
 */
#ifndef PARKCLOCK_SELFTESTS_TASKS_H
#define PARKCLOCK_SELFTESTS_TASKS_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

/* 'S' sleeps, 'T' is stopped, 'Z' is dead, ...: see proc(5). 0 if there is no such task. */
char state_of(pid_t tid);

bool wait_state_of(pid_t tid, char state);

/* Waits until the task sleeps, and is not only about to. */
bool wait_asleep(pid_t tid);

__attribute__((__noreturn__)) void sleep_for_ever(void);

/* Runs in a thread. Puts its id into *@tid, an atomic_int, if that is not NULL. */
void *sleeping_thread(void *tid);

pthread_t start_thread(void *(*run)(void *arg), void *arg);

/* Starts a thread that sleeps till the end of its process. Returns its id. */
pid_t start_sleeping_thread(void);

#endif
