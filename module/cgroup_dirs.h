/* SPDX-License-Identifier: GPL-2.0 */
/*
 * REGISTER_CGROUP and UNREGISTER_CGROUP: which cgroup, and who may register it.
 */
#ifndef PARKCLOCK_CGROUP_DIRS_H
#define PARKCLOCK_CGROUP_DIRS_H

struct parkclock_registry;

int parkclock_cgroup_dirs_register(struct parkclock_registry *registry, int fd);
int parkclock_cgroup_dirs_unregister(struct parkclock_registry *registry, int fd);

#endif
