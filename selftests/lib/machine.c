// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <unistd.h>

#include "die.h"
#include "files.h"
#include "machine.h"
#include "wait.h"

unsigned int scaled(unsigned int n)
{
	return getenv("BRIEF") ? n / 10 : n;
}

bool has_checkers(void)
{
	return exists("/sys/kernel/debug/kcsan") || exists("/sys/kernel/debug/kmemleak");
}

void request(const char *what)
{
	const char *asked = getenv("PARKCLOCK_ASKED");

	unlink(asked);
	/* As one line, whatever else is in the buffer of stdout. */
	dprintf(STDOUT_FILENO, "ask %s\n", what);
	if (!wait_until(!access(asked, F_OK)))
		die(asked);
}
