// SPDX-License-Identifier: GPL-2.0
/*
 * A clock that was saved: whether it may be believed.
 *
 * It comes from a file, and so from anybody. The checksum finds what was damaged; what
 * was made up is in range, at least.
 */
#include <linux/crc32.h>
#include <linux/errno.h>
#include <linux/string.h>

#include "saved.h"

static u32 checksum(const struct parkclock_saved *saved)
{
	struct parkclock_saved copy = *saved;

	copy.checksum = 0;
	return ~crc32_le(~0, (const u8 *)&copy, sizeof(copy));
}

/**
 * parkclock_saved_seal() - make it whole
 * @saved: has its times and generation, and is zero otherwise
 *
 * Context: any.
 */
void parkclock_saved_seal(struct parkclock_saved *saved)
{
	saved->magic = PARKCLOCK_SAVED_MAGIC;
	saved->version = PARKCLOCK_SAVED_VERSION;
	saved->size = sizeof(*saved);
	saved->checksum = checksum(saved);
}

static bool is_time(s64 ns, s64 least)
{
	return ns >= least && ns <= PARKCLOCK_MOST_NS;
}

/**
 * parkclock_saved_check() - is it whole, of this version, and in range?
 * @saved: what somebody says that PARKCLOCK_IOC_SAVE has returned
 *
 * Context: any.
 * Return: 0, or -EBADMSG, -EOPNOTSUPP or -ERANGE: see PARKCLOCK_IOC_RESTORE.
 */
int parkclock_saved_check(const struct parkclock_saved *saved)
{
	if (saved->magic != PARKCLOCK_SAVED_MAGIC)
		return -EBADMSG;
	/* Another version may have its checksum elsewhere. */
	if (saved->version != PARKCLOCK_SAVED_VERSION)
		return -EOPNOTSUPP;
	if (saved->size != sizeof(*saved) || saved->checksum != checksum(saved) ||
	    memchr_inv(saved->reserved, 0, sizeof(saved->reserved)))
		return -EBADMSG;
	if (!is_time(saved->monotonic_ns, 1) || !is_time(saved->boottime_ns, 1) ||
	    !is_time(saved->realtime_ns, 0) || saved->boot_ns > PARKCLOCK_MOST_NS ||
	    saved->generation > 1ULL << 63)
		return -ERANGE;
	return 0;
}
