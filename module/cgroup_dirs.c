// SPDX-License-Identifier: GPL-2.0
/*
 * REGISTER_CGROUP and UNREGISTER_CGROUP: which cgroup, and who may register it.
 *
 * Whoever may move tasks into a cgroup may register it. The kernel asks three things of him: that
 * he can open the cgroup's cgroup.procs for writing; where the hierarchy is mounted with
 * nsdelegate, that the cgroup is in his cgroup namespace; and the same right to the cgroup that
 * the task comes from. The third is about the task, and there is none here. The first is asked by
 * opening that file: whatever decides there (owner, mode and ids as seen through the mount and the
 * user namespace, a read-only mount, security modules) decides here. What could be mounted over
 * the file in the caller's mount namespace is not taken for it.
 */
#include <linux/errno.h>

#include "cgroup_dirs.h"

#ifdef CONFIG_CGROUPS
#include <linux/cgroup.h>
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>

#include "cgroups.h"
#include "tasks.h"

static int may_move_into(const struct file *dir, struct cgroup *cgrp)
{
	const struct cgroup_namespace *ns = current->nsproxy->cgroup_ns;
	struct file *procs;
	int err = 0;

	if (cgrp->root->flags & CGRP_ROOT_NS_DELEGATE &&
	    !cgroup_is_descendant(cgrp, ns->root_cset->dfl_cgrp))
		return -ENOENT;
	procs = file_open_root(&dir->f_path, "cgroup.procs", O_WRONLY, 0);
	if (IS_ERR(procs))
		return PTR_ERR(procs);
	if (procs->f_path.mnt != dir->f_path.mnt ||
	    procs->f_path.dentry->d_parent != dir->f_path.dentry)
		err = -EACCES;
	fput(procs);
	return err;
}

/* The cgroup of a directory, with a reference to it */
static struct cgroup *get_cgroup(const struct file *dir, int fd)
{
	struct cgroup *cgrp = cgroup_get_from_fd(fd);

	if (IS_ERR(cgrp))
		return cgrp;
	/* @fd may be another file by now. An inode's number is the cgroup's, in any mount. */
	if (file_inode(dir)->i_sb->s_magic == CGROUP2_SUPER_MAGIC &&
	    S_ISDIR(file_inode(dir)->i_mode) && file_inode(dir)->i_ino == cgroup_ino(cgrp))
		return cgrp;
	cgroup_put(cgrp);
	return ERR_PTR(-EBADF);
}

static int register_dir(struct parkclock_registry *registry, const struct file *dir, int fd)
{
	struct cgroup *cgrp = get_cgroup(dir, fd);
	int err;

	if (IS_ERR(cgrp))
		return PTR_ERR(cgrp);
	err = may_move_into(dir, cgrp);
	if (!err)
		err = parkclock_cgroups_reserve(registry, cgrp);
	if (err)
		goto out;
	err = parkclock_tasks_share(registry);
	if (err)
		parkclock_cgroups_unreserve(registry);
	else
		err = parkclock_cgroups_register(registry, cgrp);
out:
	cgroup_put(cgrp);
	return err;
}

/**
 * parkclock_cgroup_dirs_register() - register a cgroup
 * @registry: the clock's registrations
 * @fd:       the caller's descriptor of its directory
 *
 * Context: may sleep.
 * Return: 0 or an error number; see PARKCLOCK_IOC_REGISTER_CGROUP.
 */
int parkclock_cgroup_dirs_register(struct parkclock_registry *registry, int fd)
{
	struct file *dir = fget(fd);
	int err;

	if (!dir)
		return -EBADF;
	err = register_dir(registry, dir, fd);
	fput(dir);
	return err;
}

/**
 * parkclock_cgroup_dirs_unregister() - end the registration of a cgroup
 * @registry: the clock's registrations
 * @fd:       the caller's descriptor of its directory
 *
 * Context: may sleep.
 * Return: 0 or an error number; see PARKCLOCK_IOC_REGISTER_CGROUP.
 */
int parkclock_cgroup_dirs_unregister(struct parkclock_registry *registry, int fd)
{
	struct cgroup *cgrp = cgroup_get_from_fd(fd);
	int err;

	if (IS_ERR(cgrp))
		return PTR_ERR(cgrp);
	err = parkclock_cgroups_unregister(registry, cgrp);
	cgroup_put(cgrp);
	return err;
}

#else

int parkclock_cgroup_dirs_register(struct parkclock_registry *registry, int fd)
{
	return -EOPNOTSUPP;
}

int parkclock_cgroup_dirs_unregister(struct parkclock_registry *registry, int fd)
{
	return -EOPNOTSUPP;
}

#endif
