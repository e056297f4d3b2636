/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMClock page of a clock.
 */
#ifndef PARKCLOCK_VMCLOCK_H
#define PARKCLOCK_VMCLOCK_H

struct page;
struct parkclock_page;
struct parkclock_vmclock;

struct parkclock_vmclock *parkclock_vmclock_create(struct parkclock_page *of, int index);
void parkclock_vmclock_free(struct parkclock_vmclock *vm);
struct page *parkclock_vmclock_page(const struct parkclock_vmclock *vm);
const char *parkclock_vmclock_name(const struct parkclock_vmclock *vm);

void parkclock_vmclock_get(struct parkclock_vmclock *vm);
void parkclock_vmclock_put(struct parkclock_vmclock *vm);
void parkclock_vmclock_retire(struct parkclock_vmclock *vm);

#endif
