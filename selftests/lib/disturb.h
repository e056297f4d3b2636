/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module that does to the kernel what user space cannot: modules/parkclock_disturb.c
 */
#ifndef PARKCLOCK_SELFTESTS_DISTURB_H
#define PARKCLOCK_SELFTESTS_DISTURB_H

#define DISTURB		"/sys/module/parkclock_disturb/parameters/"

void load_disturb(void);
void unload_disturb(void);

/* Has the module do something: writes to one of its parameters. */
void disturb(const char *command, const char *value);

/*
 * Calls @run(@arg) once for each instruction of the parkclock module's @function, or for
 * every so many of its bytes. Whoever comes to that instruction meanwhile is stopped there
 * for @us. Returns the number of instructions: 0 if the kernel has no kprobes, or the
 * function was inlined.
 */
int at_each_instruction(const char *function, unsigned int us, unsigned int every,
			void (*run)(void *arg), void *arg);

/* The @every for at_each_instruction(), by EVERY and BRIEF: all bytes take many minutes. */
unsigned int every(void);

#endif
