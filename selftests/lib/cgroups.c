// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "cgroups.h"
#include "die.h"
#include "files.h"
#include "wait.h"

static const char *path_of(const char *name, const char *file)
{
	static __thread char path[512];

	snprintf(path, sizeof(path), CGROUPS "/%s%s%s", name, *file ? "/" : "", file);
	return path;
}

int open_cgroup(const char *name)
{
	int dir = open(path_of(name, ""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		die(name);
	return dir;
}

int make_cgroup(const char *name)
{
	if (mkdir(path_of(name, ""), 0755))
		die(name);
	return open_cgroup(name);
}

void remove_cgroup(const char *name)
{
	if (!wait_until(!rmdir(path_of(name, "")) || errno == ENOENT))
		die(name);
}

int write_cgroup(const char *name, const char *file, const char *text)
{
	return write_file(path_of(name, file), text);
}

static void move_by(const char *file, const char *name, pid_t id)
{
	char text[16];
	int err;

	snprintf(text, sizeof(text), "%d", id);
	err = write_cgroup(name, file, text);
	if (err)
		die_of(err, name);
}

void move(const char *name, pid_t pid)
{
	move_by("cgroup.procs", name, pid);
}

void move_thread(const char *name, pid_t tid)
{
	move_by("cgroup.threads", name, tid);
}

int try_register_cgroup(int fd, int dir)
{
	struct parkclock_cgroup arg = { .fd = dir };

	return ioctl(fd, PARKCLOCK_IOC_REGISTER_CGROUP, &arg) ? -errno : 0;
}

int try_unregister_cgroup(int fd, int dir)
{
	struct parkclock_cgroup arg = { .fd = dir };

	return ioctl(fd, PARKCLOCK_IOC_UNREGISTER_CGROUP, &arg) ? -errno : 0;
}

void must_register_cgroup(int fd, int dir)
{
	int err = try_register_cgroup(fd, dir);

	if (err)
		die_of(err, "PARKCLOCK_IOC_REGISTER_CGROUP");
}

void must_unregister_cgroup(int fd, int dir)
{
	int err = try_unregister_cgroup(fd, dir);

	if (err)
		die_of(err, "PARKCLOCK_IOC_UNREGISTER_CGROUP");
}
