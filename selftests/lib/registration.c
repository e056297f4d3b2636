// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include <sys/ioctl.h>

#include "die.h"
#include "registration.h"
#include "wait.h"

int try_register(int fd, pid_t tid, uint32_t flags)
{
	struct parkclock_register r = { .tid = tid, .flags = flags };

	return ioctl(fd, PARKCLOCK_IOC_REGISTER, &r) ? -errno : 0;
}

int try_unregister(int fd, pid_t tid, uint32_t flags)
{
	struct parkclock_register r = { .tid = tid, .flags = flags };

	return ioctl(fd, PARKCLOCK_IOC_UNREGISTER, &r) ? -errno : 0;
}

void must_register(int fd, pid_t tid, uint32_t flags)
{
	int err = try_register(fd, tid, flags);

	if (err)
		die_of(err, "PARKCLOCK_IOC_REGISTER");
}

bool is_registered(int fd, pid_t tid)
{
	int err = try_register(fd, tid, 0);

	if (!err && try_unregister(fd, tid, 0))
		die("a registration is gone again");
	return err == -EEXIST;
}

bool wait_tasks(int fd, uint64_t tasks)
{
	return wait_until(query(fd).tasks == tasks);
}

bool wait_all_tasks(int fd, uint64_t tasks)
{
	return wait_until(query(fd).all_tasks == tasks);
}

bool wait_running(int fd, uint64_t running)
{
	return wait_until(query(fd).running == running);
}

struct counts counts(int fd)
{
	struct parkclock_query q = query(fd);

	return (struct counts) {
		.tasks = q.tasks, .all_tasks = q.all_tasks, .running = q.running,
		.references = q.references, .run_missed = q.run_missed,
	};
}

bool same_counts(const struct counts *a, const struct counts *b)
{
	return !memcmp(a, b, sizeof(*a));
}
