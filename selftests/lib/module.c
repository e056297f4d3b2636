// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "die.h"
#include "files.h"
#include "module.h"
#include "trace.h"

int load(const char *params)
{
	int fd = open(MODULE, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		die("open " MODULE);
	if (syscall(SYS_finit_module, fd, params, 0))
		err = -errno;
	close(fd);
	return err;
}

int unload(void)
{
	return syscall(SYS_delete_module, "parkclock", O_NONBLOCK) ? -errno : 0;
}

const char *what_is_left(void)
{
	static const char * const paths[] = {
		PARKCLOCK_DEVICE, "/sys/module/parkclock", "/sys/class/misc/parkclock",
		TRACING "events/parkclock", NULL
	};

	for (int i = 0; paths[i]; i++)
		if (exists(paths[i]))
			return paths[i];
	if (mentions("/proc/misc", "parkclock"))
		return "/proc/misc";
	if (mentions("/proc/modules", "parkclock"))
		return "/proc/modules";
	if (mentions("/proc/kallsyms", "[parkclock]"))
		return "/proc/kallsyms";
	return "";
}
