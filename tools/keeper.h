/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Keepers: processes that hold the clocks of containers, and how commands reach them.
 *
 * A keeper listens on a socket that has the name of its clock, in a directory. It gives its
 * owner's descriptor of the clock to whoever connects; the command that got it then does the
 * work itself. So the modes of that directory alone say who may, a keeper has nothing that can
 * be half done when it is killed, and no command waits for another.
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include "tool.h"

/* The directory, and the environment variable that names another */
#define KEEPERS			"/run/parkclock"
#define KEEPERS_VARIABLE	"PARKCLOCK_KEEPERS"

#define KEEPER_VERSION		1

/**
 * struct keeper_request - what is sent to a keeper
 * @version: KEEPER_VERSION
 * @cgroup:  path of the directory of a cgroup: the keeper is to end when nothing runs in it any
 *	     more; or ""
 */
struct keeper_request {
	__u32 version;
	char cgroup[PATH_MAX];
};

/**
 * struct keeper_reply - what a keeper answers; with it comes the clock's descriptor
 * @version: KEEPER_VERSION
 * @err:     0, or an errno: it cannot watch that cgroup, and sends no descriptor
 * @pid:     the process that answers
 * @guard:   the process that replaces that one if it is killed; 0 for none
 * @cgroup:  the cgroup that it watches, or ""
 */
struct keeper_reply {
	__u32 version;
	__s32 err;
	pid_t pid;
	pid_t guard;
	char cgroup[PATH_MAX];
};

/* The directory of the sockets */
const char *keeper_dir(void);

/**
 * keeper_address() - where the keeper of a name listens
 * @name:    the name
 * @address: filled in
 *
 * Return: true; or false after a message, if this can be no name.
 */
bool keeper_address(const char *name, struct sockaddr_un *address);

/**
 * keeper_try() - ask a keeper
 * @name:   its name
 * @cgroup: a cgroup to watch, or ""
 * @reply:  filled in
 *
 * Return: the clock's descriptor, close-on-exec; or -1 with errno, after no message.
 */
int keeper_try(const char *name, const char *cgroup, struct keeper_reply *reply);

/* keeper_ask() does the same, but says why if it fails. */
int keeper_ask(const char *name, const char *cgroup, struct keeper_reply *reply);

#endif /* KEEPER_H */
