// SPDX-License-Identifier: GPL-2.0
/*
 * Saved clocks: is one whole, and is it in range?
 *
 * A saved clock comes from a file, and so is not to be trusted. The checksum finds damage. A
 * forged clock passes it, but its times are in range.
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
 * parkclock_saved_seal() - complete a saved clock
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
 * parkclock_saved_check() - is a saved clock whole, of this version, and in range?
 * @saved: claimed to be a result of PARKCLOCK_IOC_SAVE
 *
 * Context: any.
 * Return: 0, or -EBADMSG, -EOPNOTSUPP or -ERANGE: see PARKCLOCK_IOC_RESTORE.
 */
int parkclock_saved_check(const struct parkclock_saved *saved)
{
	if (saved->magic != PARKCLOCK_SAVED_MAGIC)
		return -EBADMSG;
	/* Another version may have its checksum in another place. */
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
