// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual machine for guest.c, by KVM
 *
 * What matters to the clock is little: its two pages are a read-only slot of the guest's
 * memory (vmm_map_clock()), and the guest's counter has an offset that somebody tells the
 * clock (vcpu_set_tsc_offset()). The rest is what any VMM does.
 *
 * Functions return 0, or an errno, negated; then vmm->what says what it was that failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

#define PML4	GUEST_TABLES
#define PDPT	(PML4 + 0x1000)
#define PD	(PDPT + 0x1000)
#define GDT	(PD + 0x1000)

#define PAGE_PRESENT	0x3	/* and writable */
#define PAGE_LARGE	0x83

#define CR0_PE		0x1
#define CR0_NE		0x20
#define CR0_PG		0x80000000
#define CR4_PAE		0x20
#define EFER_LONG	0x500	/* enabled, and active */

#define MSI_ADDRESS	0xfee00000

enum { SLOT_RAM, SLOT_CLOCK };

static int failed(struct vmm *m, const char *what)
{
	const int error = errno;

	m->what = what;
	return -error;
}

/* THE MACHINE */

static int set_memory(struct vmm *m, uint32_t slot, uint64_t guest, const void *host,
		      size_t size, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .flags = flags, .guest_phys_addr = guest,
		.memory_size = size, .userspace_addr = (uintptr_t)host,
	};

	return ioctl(m->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

/* What a boot loader would leave there: the first GB mapped to itself, and descriptors. */
static void fill_memory(char *ram)
{
	uint64_t *pml4 = (void *)(ram + PML4), *pdpt = (void *)(ram + PDPT);
	uint64_t *pd = (void *)(ram + PD), *gdt = (void *)(ram + GDT);

	pml4[0] = PDPT | PAGE_PRESENT;
	pdpt[0] = PD | PAGE_PRESENT;
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | PAGE_LARGE;
	gdt[1] = 0x00af9b000000ffff;	/* code, 64 bits */
	gdt[2] = 0x00cf93000000ffff;	/* data */
	memcpy(ram + GUEST_IMAGE, _binary_guest_bin_start,
	       _binary_guest_bin_end - _binary_guest_bin_start);
}

/**
 * vmm_create() - a machine with the guest in its memory, without a clock and CPUs
 * @m: filled in
 *
 * All of the memory is there from the beginning: the guest does not exit for that.
 *
 * Return: 0, or an errno, negated. It is to be destroyed in both cases.
 */
int vmm_create(struct vmm *m)
{
	struct kvm_enable_cap apics = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	*m = (struct vmm){ .kvm = -1, .fd = -1, .ram = MAP_FAILED };
	m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm < 0)
		return failed(m, "open /dev/kvm");
	m->fd = ioctl(m->kvm, KVM_CREATE_VM, 0);
	if (m->fd < 0)
		return failed(m, "create a virtual machine");
	/* Local APICs in the kernel, so that a CPU that halts sleeps there, too. */
	if (ioctl(m->fd, KVM_ENABLE_CAP, &apics))
		return failed(m, "have KVM's local APICs");
	m->ram = mmap(NULL, GUEST_RAM_SIZE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (m->ram == MAP_FAILED)
		return failed(m, "get memory for the guest");
	fill_memory(m->ram);
	if (set_memory(m, SLOT_RAM, 0, m->ram, GUEST_RAM_SIZE, 0))
		return failed(m, "give the guest its memory");
	return 0;
}

/**
 * vmm_map_clock() - let the guest see a clock
 * @m:        the machine
 * @map:      the mapping of the clock, which must stay; or NULL: take it away again
 * @readonly: so that KVM tells the VMM of writes. They are never carried out.
 *
 * Return: 0, or an errno, negated.
 */
int vmm_map_clock(struct vmm *m, const void *map, bool readonly)
{
	if (set_memory(m, SLOT_CLOCK, GUEST_CLOCK, map, map ? PARKCLOCK_MAP_SIZE : 0,
		       readonly ? KVM_MEM_READONLY : 0))
		return failed(m, "map the clock into the guest");
	return 0;
}

/**
 * vmm_interrupt() - interrupt a virtual CPU, as a device does
 * @m:  the machine
 * @id: of the CPU
 *
 * Return: 0, or an errno, negated.
 */
int vmm_interrupt(struct vmm *m, int id)
{
	struct kvm_msi msi = { .address_lo = MSI_ADDRESS | id << 12, .data = GUEST_VECTOR };

	return ioctl(m->fd, KVM_SIGNAL_MSI, &msi) < 0 ? failed(m, "interrupt the guest") : 0;
}

/**
 * vmm_destroy() - all of it, after its CPUs
 * @m: the machine
 */
void vmm_destroy(struct vmm *m)
{
	if (m->ram != MAP_FAILED)
		munmap(m->ram, GUEST_RAM_SIZE);
	if (m->fd >= 0)
		close(m->fd);
	if (m->kvm >= 0)
		close(m->kvm);
}

/* ITS VIRTUAL CPUS */

/* All that KVM can do; of this the guest needs long mode and the x2APIC. */
static int set_features(struct vcpu *v)
{
	const uint32_t most = 256;
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + most * sizeof(cpuid->entries[0]));
	int err;

	if (!cpuid)
		return -1;
	cpuid->nent = most;
	err = ioctl(v->vmm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid);
	if (!err)
		err = ioctl(v->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
	return err;
}

/* As if there had been a boot loader. */
static int set_registers(struct vcpu *v)
{
	const uint64_t area = GUEST_CPUS + (uint64_t)v->id * GUEST_CPU_SIZE;
	const struct kvm_segment code = {
		.limit = ~0U, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	const struct kvm_segment data = {
		.limit = ~0U, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1
	};
	struct kvm_mp_state runs = { KVM_MP_STATE_RUNNABLE };
	struct kvm_regs regs = {
		/* Where a call would have left the stack. */
		.rip = GUEST_IMAGE, .rsp = area + GUEST_CPU_SIZE - 8, .rdi = area, .rflags = 2
	};
	struct kvm_sregs sregs;

	if (ioctl(v->fd, KVM_GET_SREGS, &sregs))
		return -1;
	sregs.cr0 = CR0_PE | CR0_NE | CR0_PG;
	sregs.cr3 = PML4;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LONG;
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.gdt.base = GDT;
	sregs.gdt.limit = 3 * sizeof(uint64_t) - 1;
	return ioctl(v->fd, KVM_SET_SREGS, &sregs) || ioctl(v->fd, KVM_SET_REGS, &regs) ||
	       ioctl(v->fd, KVM_SET_MP_STATE, &runs);
}

static bool counts_exits(const struct kvm_stats_desc *d)
{
	const size_t n = strlen(d->name);

	return n >= 5 && !strcmp(d->name + n - 5, "exits") && d->size == 1 &&
	       (d->flags & KVM_STATS_TYPE_MASK) == KVM_STATS_TYPE_CUMULATIVE;
}

/* See "The binary statistics" in the kernel's documentation of KVM. */
static int find_exits(struct vcpu *v)
{
	struct kvm_stats_header header;
	size_t one, size;

	if (pread(v->stats, &header, sizeof(header), 0) != sizeof(header))
		return -1;
	one = sizeof(struct kvm_stats_desc) + header.name_size;
	size = header.num_desc * one;
	v->names = malloc(size);
	if (!v->names || pread(v->stats, v->names, size, header.desc_offset) != (ssize_t)size)
		return -1;
	for (uint32_t i = 0; i < header.num_desc && v->n_exits < VMM_EXITS_MAX; i++) {
		const struct kvm_stats_desc *d = (const void *)(v->names + i * one);

		if (!counts_exits(d))
			continue;
		v->exit_name[v->n_exits] = d->name;
		v->exit_place[v->n_exits++] = header.data_offset + d->offset;
	}
	return 0;
}

/**
 * vcpu_create() - a virtual CPU, whose counter is the host's
 * @m:  the machine
 * @v:  filled in
 * @id: 0, or one more than that of the last
 *
 * Return: 0, or an errno, negated. It is to be destroyed in both cases.
 */
int vcpu_create(struct vmm *m, struct vcpu *v, int id)
{
	*v = (struct vcpu){ .vmm = m, .id = id, .fd = -1, .stats = -1, .run = MAP_FAILED };
	v->guest = (void *)(m->ram + GUEST_CPUS + id * GUEST_CPU_SIZE);
	v->fd = ioctl(m->fd, KVM_CREATE_VCPU, id);
	if (v->fd < 0)
		return failed(m, "create a virtual CPU");
	v->run_size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	v->run = mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		return failed(m, "map a virtual CPU");
	if (set_features(v) || set_registers(v))
		return failed(m, "prepare a virtual CPU");
	v->stats = ioctl(v->fd, KVM_GET_STATS_FD, 0);
	if (v->stats < 0 || find_exits(v))
		return failed(m, "read KVM's statistics");
	return vcpu_set_tsc_offset(v, 0);
}

/**
 * vcpu_set_tsc_offset() - set the guest's counter
 * @v:      the virtual CPU, which does not run
 * @offset: how far it is from the host's, modulo 2^64; to be the same for all CPUs, and
 *	    to be told to the clock (PARKCLOCK_IOC_SET_GUEST_TSC)
 *
 * Return: 0, or an errno, negated.
 */
int vcpu_set_tsc_offset(struct vcpu *v, uint64_t offset)
{
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	return ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr) ?
	       failed(v->vmm, "set the guest's counter") : 0;
}

/* Until the guest has done what it was told to. */
static int run_until_done(struct vcpu *v)
{
	const struct kvm_run *r = v->run;

	for (;;) {
		if (ioctl(v->fd, KVM_RUN, 0)) {
			if (errno != EINTR)
				return failed(v->vmm, "run the guest");
		} else if (r->exit_reason == KVM_EXIT_IO && r->io.port == GUEST_PORT) {
			return 0;
		} else if (r->exit_reason == KVM_EXIT_MMIO && r->mmio.is_write) {
			v->writes++;
			v->write_address = r->mmio.phys_addr;
		} else {
			errno = EPROTO;
			return failed(v->vmm, "run the guest, which has crashed");
		}
	}
}

/**
 * vcpu_order() - have the guest do something, and wait for that
 * @v:        the virtual CPU
 * @order:    what it is
 * @argument: how often, or where; cut down to what there is place for
 *
 * By the calling thread, which is the one that the clock should know.
 *
 * Return: 0, or an errno, negated.
 */
int vcpu_order(struct vcpu *v, enum guest_order order, uint64_t argument)
{
	struct guest_cpu *g = v->guest;

	if (order == GUEST_READ && argument > GUEST_READINGS)
		argument = GUEST_READINGS;
	g->order = order;
	g->count = argument;
	g->address = argument;
	return run_until_done(v);
}

/**
 * vcpu_get_exits() - how often it has exited so far, by KVM's statistics
 * @v:     the virtual CPU, which does not run
 * @exits: filled in
 *
 * Return: 0, or an errno, negated.
 */
int vcpu_get_exits(struct vcpu *v, struct vcpu_exits *exits)
{
	exits->n = v->n_exits;
	for (int i = 0; i < v->n_exits; i++) {
		exits->name[i] = v->exit_name[i];
		if (pread(v->stats, &exits->count[i], sizeof(uint64_t), v->exit_place[i]) !=
		    sizeof(uint64_t))
			return failed(v->vmm, "read KVM's statistics");
	}
	return 0;
}

/**
 * vcpu_exits_of() - how often it has exited between two moments, by a counter of KVM's
 * @before: the first
 * @after:  the second
 * @name:   of the counter; "exits" is all of them, "irq_exits" those that an interrupt of
 *	    the host has caused
 *
 * Return: how often; 0 if there is no such counter.
 */
uint64_t vcpu_exits_of(const struct vcpu_exits *before, const struct vcpu_exits *after,
		       const char *name)
{
	for (int i = 0; i < after->n; i++)
		if (!strcmp(after->name[i], name))
			return after->count[i] - before->count[i];
	return 0;
}

/**
 * vcpu_destroy() - before its machine
 * @v: the virtual CPU, which does not run
 */
void vcpu_destroy(struct vcpu *v)
{
	if (v->stats >= 0)
		close(v->stats);
	if (v->run != MAP_FAILED)
		munmap(v->run, v->run_size);
	if (v->fd >= 0)
		close(v->fd);
	free(v->names);
}
