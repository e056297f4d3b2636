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
#define FOR_EVER INT64_MAX	/* a deadline in ns that never comes */

/* Besides EXIT_SUCCESS and EXIT_FAILURE; the last three are as of timeout(1) and env(1). */
enum { EXIT_USAGE = 2, EXIT_LIMIT = 124, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

/**
 * struct command - a command of the tool
 * @name:    its word on the command line
 * @summary: what it does, for the list of commands
 * @help:    text of --help
 * @run:     runs it, with its own arguments (argv[0] is for messages) and the path of the
 *	     device; returns the exit status
 */
struct command {
	const char *name;
	const char *summary;
	const char *help;
	int (*run)(const struct command *self, int argc, char **argv, const char *device);
};

extern const struct command cmd_status, cmd_read, cmd_hold, cmd_watch, cmd_run, cmd_register,
	cmd_save, cmd_restore, cmd_keep, cmd_keepers, cmd_cgroup, cmd_view, cmd_stop, cmd_start,
	cmd_doctor;

/* Options that several commands share; the last member is what getopt_long() returns. */
#define OPTION_HELP	{ "help", no_argument, NULL, 'h' }
#define OPTION_JSON	{ "json", no_argument, NULL, 'j' }
#define OPTION_COUNT	{ "count", required_argument, NULL, 'n' }
#define OPTION_INHERIT	{ "inherit", no_argument, NULL, 'I' }
#define OPTION_CGROUP	{ "cgroup", required_argument, NULL, 'g' }
#define OPTION_PRELOAD	{ "preload", no_argument, NULL, 'p' }
#define OPTION_INTERVAL	{ "interval", required_argument, NULL, 'i' }

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Print a message, as printf does. */
#define complain(fmt, ...) fprintf(stderr, "parkclock: " fmt "\n", ##__VA_ARGS__)

/**
 * usage() - after a mistake in a command's arguments, say where to look
 * @self: the command
 *
 * Return: EXIT_USAGE.
 */
int usage(const struct command *self);

/**
 * no_more() - check that no arguments are left after the options
 * @argc: number of all arguments
 * @argv: all arguments, as getopt_long() left them
 *
 * Return: true if so; else false, after a message.
 */
bool no_more(int argc, char **argv);

/**
 * parse_seconds() - parse seconds that are not negative, such as "1" or "0.25"
 * @name: name of the option, for the message
 * @arg:  the text
 * @ns:   result, in ns, up to 10^18
 *
 * Return: true, or false after a message.
 */
bool parse_seconds(const char *name, const char *arg, __s64 *ns);

/**
 * parse_count() - parse a number from 1 to 10^9
 * @arg:   the text
 * @count: result
 *
 * Return: true, or false after a message.
 */
bool parse_count(const char *arg, __u64 *count);

/* The device that commands get without --device; PARKCLOCK_FD comes before it. */
extern const char default_device[];

/*
 * open_device() opens the device, or the clock that PARKCLOCK_FD names. open_device_best()
 * opens it for writing, too, if this user may. open_new_owner() opens the device for writing,
 * too, and ignores PARKCLOCK_FD. They return NULL after a message, and query_device() returns
 * false.
 */
struct parkclock *open_device(const char *path);
struct parkclock *open_device_best(const char *path);
struct parkclock *open_new_owner(const char *path);
bool query_device(struct parkclock *pc, struct parkclock_query *q);

/**
 * open_fd_variable() - the clock that PARKCLOCK_FD names, which is set
 * @verb: what is to be done with it, for the message
 *
 * Unlike open_device(), it does not look at that clock: a new one stays fresh.
 *
 * Return: the handle, or NULL after a message.
 */
struct parkclock *open_fd_variable(const char *verb);

/* Closes the descriptor that PARKCLOCK_FD names, if it names one. */
void close_fd_variable(void);

/* The name of the keeper whose descriptor is in PARKCLOCK_FD; NULL for none */
extern const char *named_keeper;

/**
 * read_saved() - read a saved clock
 * @path:  of a file; "-" is standard input
 * @saved: filled in; whether it is damaged only the kernel finds out
 *
 * Return: true, or false after a message.
 */
bool read_saved(const char *path, struct parkclock_saved *saved);

/**
 * parse_gap() - parse a gap policy
 * @arg: the text
 * @gap: result
 *
 * Return: true, or false after a message.
 */
bool parse_gap(const char *arg, unsigned int *gap);

/**
 * parse_fd() - parse the number of a descriptor for a command
 * @arg: the text
 * @fd:  result
 *
 * Return: true, or false after a message.
 */
bool parse_fd(const char *arg, int *fd);

/**
 * register_command() - register this thread, which is about to execute a command
 * @pc:    the clock
 * @flags: PARKCLOCK_TASK_INHERIT or 0
 *
 * Holds a reference instead, after a message, if the clock is not open for writing.
 *
 * Return: a descriptor of the clock that stays open, or -1 after a message.
 */
int register_command(struct parkclock *pc, unsigned int flags);

/**
 * register_cgroup() - register a cgroup
 * @pc:   the clock
 * @path: path of the cgroup's directory
 *
 * Return: a descriptor of the directory, or -1 after a message.
 */
int register_cgroup(struct parkclock *pc, const char *path);

/**
 * preload_command() - have the command that is about to be executed load the preload library
 *
 * Return: true, or false after a message.
 */
bool preload_command(void);

/**
 * become() - execute a command
 * @argv: its arguments
 *
 * Return: only if that fails: the exit status, after a message.
 */
int become(char **argv);

/* Is that number free for a descriptor of a command? Else says so. */
bool fd_is_free(int fd);

/**
 * become_inside() - execute a command that has a view of a clock
 * @view:    the view
 * @fd:      the number that it is to have
 * @command: the command's arguments
 *
 * Return: only if that fails: the exit status, after a message.
 */
int become_inside(int view, int fd, char **command);

/**
 * parse_limit() - parse a time such as "50ms", "2s" or "0.5"
 * @arg: the text
 * @ns:  result, in ns, from 1000 to 10^18
 *
 * Return: true, or false after a message.
 */
bool parse_limit(const char *arg, __s64 *ns);

/**
 * run_limited() - run a command, and end it when it has used so much CPU time
 * @device:   path of the device
 * @limit_ns: the CPU time
 * @argv:     its arguments
 *
 * Return: the exit status.
 */
int run_limited(const char *device, __s64 limit_ns, char **argv);

/* Decimal seconds of a time or a difference, such as -0.000000001 */
#define SECONDS_SIZE 24
const char *seconds(char *text, __s64 ns);

/* Name of a state of the updater, such as "parked" */
const char *state_name(__u32 state);

/* Text for a PARKCLOCK_REASON_* */
const char *reason_text(__u64 reason);

/* The system's CLOCK_MONOTONIC, in ns: measures the tool's own waiting. */
__s64 now_ns(void);

/*
 * Signals are not caught but waited for. ask_signals() blocks SIGINT, SIGTERM and SIGHUP.
 * wait_signal() waits for one of them, until now_ns() is @deadline (FOR_EVER: for ever),
 * and returns the signal, or 0 when the time is up. wait_signal_or() waits for ever, but
 * returns 0 when @fd is readable.
 */
void ask_signals(void);
int wait_signal(__s64 deadline);
int wait_signal_or(int fd);

#endif /* TOOL_H */
