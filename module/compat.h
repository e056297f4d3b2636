/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where kernels differ. What differs is found out in Kbuild, from the headers
 * and not from version numbers, because stable and distribution kernels take
 * changes over.
 */
#ifndef PARKCLOCK_COMPAT_H
#define PARKCLOCK_COMPAT_H

#include <linux/hrtimer.h>
#include <linux/mm.h>

#ifndef PARKCLOCK_HAS_hrtimer_setup
static inline void hrtimer_setup(struct hrtimer *timer,
				 enum hrtimer_restart (*function)(struct hrtimer *),
				 clockid_t clock_id, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock_id, mode);
	timer->function = function;
}
#endif

#ifndef PARKCLOCK_HAS_vm_flags_clear
static inline void vm_flags_clear(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags &= ~flags;
}

static inline void vm_flags_set(struct vm_area_struct *vma, unsigned long flags)
{
	vma->vm_flags |= flags;
}
#endif

#endif
