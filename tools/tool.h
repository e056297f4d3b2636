/* SPDX-License-Identifier: GPL-2.0 */
/*
 * parkclock: what the commands of the command line tool share
 */
#ifndef TOOL_H
#define TOOL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "libparkclock.h"

#define NSEC_PER_SEC 1000000000LL
#define FOR_EVER INT64_MAX	/* as a deadline in ns */

/* Besides EXIT_SUCCESS and EXIT_FAILURE; the last two are as of env(1) and nohup(1). */
enum { EXIT_USAGE = 2, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

/**
 * struct command - a word of the command line
 * @name: the word
 * @help: text of --help
 * @run:  does it, with its own arguments (argv[0] is for messages) and the
 *	  path of the device; returns the exit status
 */
struct command {
	const char *name;
	const char *help;
	int (*run)(const struct command *self, int argc, char **argv, const char *device);
};

extern const struct command cmd_status, cmd_read, cmd_hold, cmd_watch, cmd_run, cmd_register,
	cmd_save, cmd_restore, cmd_doctor;

/* Options that every command has a use for; the value is what getopt returns. */
#define OPTION_HELP	{ "help", no_argument, NULL, 'h' }
#define OPTION_JSON	{ "json", no_argument, NULL, 'j' }
#define OPTION_COUNT	{ "count", required_argument, NULL, 'n' }
#define OPTION_INHERIT	{ "inherit", no_argument, NULL, 'I' }
#define OPTION_INTERVAL	{ "interval", required_argument, NULL, 'i' }

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* A message, as printf. */
#define complain(fmt, ...) fprintf(stderr, "parkclock: " fmt "\n", ##__VA_ARGS__)

/**
 * usage() - after a mistake in a command's arguments: where to look
 * @self: the command
 *
 * Return: EXIT_USAGE.
 */
int usage(const struct command *self);

/**
 * no_more() - check that no arguments are left after the options
 * @argc: all arguments
 * @argv: likewise, after getopt_long()
 *
 * Return: true if so; else it has complained.
 */
bool no_more(int argc, char **argv);

/**
 * parse_seconds() - "1", "0.25": seconds that are not negative
 * @name: what they are for, in the message
 * @arg:  the text
 * @ns:   result, in ns, up to 10^18
 *
 * Return: true, or false after it has complained.
 */
bool parse_seconds(const char *name, const char *arg, __s64 *ns);

/**
 * parse_count() - a number from 1 to 10^9
 * @arg:   the text
 * @count: result
 *
 * Return: true, or false after it has complained.
 */
bool parse_count(const char *arg, __u64 *count);

/* The device that commands get if --device was not given: then there is PARKCLOCK_FD. */
extern const char default_device[];

/*
 * Open the device, or the clock that PARKCLOCK_FD names; for writing, too; a clock of
 * its own in any case; and query it. NULL or false after a complaint.
 */
struct parkclock *open_device(const char *path);
struct parkclock *open_device_owner(const char *path);
struct parkclock *open_new_owner(const char *path);
bool query_device(struct parkclock *pc, struct parkclock_query *q);

/**
 * register_command() - register this thread, for the command that it becomes
 * @pc:    the clock
 * @flags: PARKCLOCK_TASK_INHERIT or 0
 *
 * Return: a descriptor of the clock that stays open, or -1 after it has complained.
 */
int register_command(struct parkclock *pc, unsigned int flags);

/**
 * become() - execute a command
 * @argv: its arguments
 *
 * Return: only if that fails: the exit status, after it has complained.
 */
int become(char **argv);

/* Decimal seconds of a time or a difference, such as -0.000000001 */
#define SECONDS_SIZE 24
const char *seconds(char *text, __s64 ns);

/* "parked" and so on */
const char *state_name(__u32 state);

/* What a PARKCLOCK_REASON_* stands for, in words */
const char *reason_text(__u64 reason);

/* CLOCK_MONOTONIC of the system, in ns: to measure the tool's own waiting. */
__s64 now_ns(void);

/*
 * Signals are not caught but waited for: ask_signals() blocks SIGINT, SIGTERM
 * and SIGHUP, and wait_signal() waits for one, until now_ns() is @deadline at
 * most (FOR_EVER: for ever). It returns the signal, or 0 when the time is up.
 * wait_signal_or() waits for one for ever, but returns 0 when @fd is readable.
 */
void ask_signals(void);
int wait_signal(__s64 deadline);
int wait_signal_or(int fd);

#endif /* TOOL_H */
