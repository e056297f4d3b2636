// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock: which clocks are open, and where
 *
 * /proc/PID/fd has a link for each descriptor. A view is known by its name, and the device
 * by its number, whatever path it was opened by. /proc/PID/fdinfo describes the clock. A
 * process or descriptor that goes meanwhile counts as not there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "clocks.h"
#include "tool.h"

#define VIEW "anon_inode:[parkclock-view]"

struct search {
	dev_t device;
	struct sightings *all;
	size_t room;
	struct sighting process;	/* the values for the descriptor that is being examined */
};

/* Reads up to @size - 1 bytes, as a string; empty if nothing can be read. */
static void read_text(int dir, const char *name, char *text, size_t size)
{
	const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n < 0 ? 0 : n] = '\0';
}

/* Use what is cached: a file system that hangs must not hang the tool. */
static bool is_device(int fds, const char *fd, dev_t device)
{
	struct statx st;

	return !statx(fds, fd, AT_STATX_DONT_SYNC, STATX_TYPE, &st) && S_ISCHR(st.stx_mode) &&
	       makedev(st.stx_rdev_major, st.stx_rdev_minor) == device;
}

/* The value of a line "NAME:\tVALUE", or "" if there is none. */
static const char *value(const char *info, const char *name)
{
	const size_t length = strlen(name);

	while (info && (strncmp(info, name, length) || strncmp(info + length, ":\t", 2))) {
		info = strchr(info, '\n');
		info += !!info;
	}
	return info ? info + length + 2 : "";
}

/* Returns 0, or -1 if there is no memory. */
static int add(struct search *s, const struct sighting *new)
{
	struct sightings *all = s->all;

	if (all->count == s->room) {
		const size_t room = s->room ? 2 * s->room : 64;
		struct sighting *list = realloc(all->list, room * sizeof(*list));

		if (!list)
			return -1;
		all->list = list;
		s->room = room;
	}
	all->list[all->count++] = *new;
	return 0;
}

/* Returns 0, or -1 if there is no memory. @process is the directory of the process. */
static int look_at(struct search *s, int process, int fds, const char *fd)
{
	struct sighting new = s->process;
	char path[32], link[sizeof(VIEW)], info[1024];
	const ssize_t n = readlinkat(fds, fd, link, sizeof(link));

	new.view = n == sizeof(VIEW) - 1 && !memcmp(link, VIEW, n);
	/* Files have a path, other things have none. */
	if (!new.view && (n < 1 || link[0] != '/' || !is_device(fds, fd, s->device)))
		return 0;
	snprintf(path, sizeof(path), "fdinfo/%.20s", fd);
	read_text(process, path, info, sizeof(info));
	new.clock = strtoull(value(info, "parkclock"), NULL, 10);
	if (!new.clock)
		return 0;
	new.stopped = !strncmp(value(info, "state"), "stopped", strlen("stopped"));
	new.monotonic_ns = strtoll(value(info, "monotonic_offset_ns"), NULL, 10);
	new.boottime_ns = strtoll(value(info, "boottime_offset_ns"), NULL, 10);
	new.holds = strtoull(value(info, "holds"), NULL, 10);
	new.tasks = strtoull(value(info, "tasks"), NULL, 10);
	return add(s, &new);
}

/* The process may have chosen its name to confuse the reader of the output. */
static void read_command(int process, char *command, size_t size)
{
	read_text(process, "comm", command, size);
	/* A newline ends the name, and may also be in it. */
	if (*command)
		command[strlen(command) - 1] = '\0';
	for (; *command; command++)
		if (*command < ' ' || *command > '~')
			*command = '?';
}

static DIR *open_fds(int process)
{
	const int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir && fd >= 0)
		close(fd);
	return dir;
}

static int look_into(struct search *s, int process)
{
	DIR *fds = open_fds(process);
	struct dirent *entry;
	int err = 0;

	if (!fds)
		return 0;
	read_command(process, s->process.command, sizeof(s->process.command));
	while (!err && (entry = readdir(fds)))
		if (entry->d_name[0] != '.')
			err = look_at(s, process, dirfd(fds), entry->d_name);
	closedir(fds);
	return err;
}

static int look_everywhere(struct search *s, DIR *proc)
{
	struct dirent *entry;
	int err = 0;

	while (!err && (entry = readdir(proc))) {
		int process;

		s->process.pid = strtol(entry->d_name, NULL, 10);
		if (s->process.pid <= 0)
			continue;
		process = openat(dirfd(proc), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (process < 0)
			continue;
		err = look_into(s, process);
		close(process);
	}
	return err;
}

static int order(__s64 a, __s64 b)
{
	return (a > b) - (a < b);
}

static int compare(const void *a, const void *b)
{
	const struct sighting *x = a, *y = b;

	return order(x->clock, y->clock) ?: order(x->pid, y->pid) ?: order(x->view, y->view);
}

/* A process may have several descriptors of one clock. */
static void sort(struct sightings *all)
{
	size_t kept = 0;

	if (all->count)
		qsort(all->list, all->count, sizeof(*all->list), compare);
	for (size_t i = 0; i < all->count; i++)
		if (!kept || compare(&all->list[i], &all->list[kept - 1]))
			all->list[kept++] = all->list[i];
	all->count = kept;
}

bool find_clocks(dev_t device, struct sightings *all)
{
	struct search s = { .device = device, .all = all };
	/* An empty directory is no /proc. */
	DIR *proc = access("/proc/self/fd", R_OK) ? NULL : opendir("/proc");
	int err;

	all->known = proc;
	if (!proc)
		return true;
	err = look_everywhere(&s, proc);
	closedir(proc);
	if (!err) {
		sort(all);
		return true;
	}
	free(all->list);
	complain("cannot list the clocks: %s. Free some memory.", strerror(ENOMEM));
	return false;
}
