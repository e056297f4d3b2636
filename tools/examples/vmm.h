/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual machine with a clock in its memory, and with what guest.c needs of a machine:
 * memory, virtual CPUs with their local APICs, and nothing else.
 */
#ifndef PARKCLOCK_EXAMPLES_VMM_H
#define PARKCLOCK_EXAMPLES_VMM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest.h"

#define VMM_EXITS_MAX	32

struct vmm {
	int kvm, fd;
	char *ram;
	const char *what;	/* what could not be done, in words, if anything */
};

/* KVM's own counters whose names end in "exits"; those of a kernel in its order. */
struct vcpu_exits {
	int n;
	const char *name[VMM_EXITS_MAX];
	uint64_t count[VMM_EXITS_MAX];
};

struct vcpu {
	struct vmm *vmm;
	int id, fd, stats;
	size_t run_size;
	struct kvm_run *run;
	struct guest_cpu *guest;
	char *names;			/* of its statistics */
	int n_exits;
	const char *exit_name[VMM_EXITS_MAX];
	uint64_t exit_place[VMM_EXITS_MAX];
	uint64_t writes;		/* of the guest, to where it cannot write */
	uint64_t write_address;		/* and where that was */
};

int vmm_create(struct vmm *m);
int vmm_map_clock(struct vmm *m, const void *map, bool readonly);
int vmm_interrupt(struct vmm *m, int id);
void vmm_destroy(struct vmm *m);

int vcpu_create(struct vmm *m, struct vcpu *v, int id);
int vcpu_set_tsc_offset(struct vcpu *v, uint64_t offset);
int vcpu_order(struct vcpu *v, enum guest_order order, uint64_t argument);
int vcpu_get_exits(struct vcpu *v, struct vcpu_exits *exits);
uint64_t vcpu_exits_of(const struct vcpu_exits *before, const struct vcpu_exits *after,
		       const char *name);
void vcpu_destroy(struct vcpu *v);

/* guest.c, linked */
extern const char _binary_guest_bin_start[];
extern const char _binary_guest_bin_end[];

#endif
