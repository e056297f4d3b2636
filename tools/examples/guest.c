// SPDX-License-Identifier: GPL-2.0
/*
 * A guest without an operating system, that tells the time
 *
 * It is entered in long mode, with all of its memory mapped and interrupts off, and has
 * no library: <linux/parkclock.h> is all that a guest's kernel needs to read the clock.
 * What it does is said by its VMM, see guest.h.
 */
#include "guest.h"

#define MSR_APIC_BASE		0x1b
#define APIC_BASE_X2APIC	0xc00	/* on, and by MSRs */
#define MSR_X2APIC_EOI		0x80b
#define MSR_X2APIC_SVR		0x80f
#define APIC_SVR_ENABLED	0x1ff

static const void * const map = (const void *)GUEST_CLOCK;
static struct guest_shared * const shared = (struct guest_shared *)GUEST_SHARED;

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	asm volatile("rdmsr" : "=a" (lo), "=d" (hi) : "c" (msr));
	return lo | (uint64_t)hi << 32;
}

static void wrmsr(uint32_t msr, uint64_t value)
{
	asm volatile("wrmsr" : : "c" (msr), "a" ((uint32_t)value), "d" ((uint32_t)(value >> 32))
		     : "memory");
}

/* Each CPU has its stack in the area that begins with what it is told. */
static struct guest_cpu *this_cpu(void)
{
	const uint64_t stack = (uint64_t)__builtin_frame_address(0);

	return (struct guest_cpu *)(stack & ~(GUEST_CPU_SIZE - 1ULL));
}

/*
 * Up to where of the host's counter the page has been good. A segment that may not be used
 * at all has never been.
 */
static uint64_t page_end(void)
{
	const struct parkclock_timebase *tb = __parkclock_timebase(map);
	const struct parkclock_segment *segment;
	uint64_t seq, end, epoch;

	do {
		seq = __parkclock_acquire(&tb->seq);
		segment = &tb->segment[seq & 1];
		end = __parkclock_acquire(&segment->base_cycles) +
		      __parkclock_acquire(&segment->valid_cycles);
		epoch = __parkclock_acquire(&segment->epoch);
	} while (__parkclock_acquire(&tb->seq) != seq);
	return epoch == __parkclock_load(&tb->epoch) ? end : 0;
}

static void count_read(struct guest_cpu *cpu, int64_t ns, int64_t before)
{
	if (ns >= 0) {
		cpu->back += ns < before;
		cpu->last_ns = ns;
		cpu->readings++;
	} else if (ns == PARKCLOCK_IS_STOPPED) {
		cpu->stopped++;
	} else {
		cpu->expired++;
	}
}

static void read_times(struct guest_cpu *cpu)
{
	for (uint64_t i = 0; i < cpu->count; i++) {
		struct parkclock_reading *r = &cpu->reading[cpu->readings];

		count_read(cpu, parkclock_guest_read_bound(map, cpu->clock_id, r), cpu->last_ns);
	}
}

/* What another CPU says it has read, it has read before. */
static void take_turns(struct guest_cpu *cpu)
{
	for (uint64_t i = 0; i < cpu->count; i++) {
		int64_t latest = __atomic_load_n(&shared->latest_ns, __ATOMIC_ACQUIRE);
		const int64_t ns = parkclock_guest_read(map, cpu->clock_id);

		count_read(cpu, ns, latest);
		while (ns > latest &&
		       !__atomic_compare_exchange_n(&shared->latest_ns, &latest, ns, 0,
						    __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			;
	}
}

struct interrupt_frame;

/* First of all it tells the time. */
static void __attribute__((__interrupt__)) interrupt(struct interrupt_frame *frame)
{
	struct guest_cpu *cpu = this_cpu();

	(void)frame;
	cpu->woken_ns = parkclock_guest_read_bound(map, cpu->clock_id, &cpu->woken);
	if (cpu->woken_ns == PARKCLOCK_EXPIRED)
		cpu->woken_end = page_end();
	count_read(cpu, cpu->woken_ns, cpu->last_ns);
	cpu->interrupts++;
	wrmsr(MSR_X2APIC_EOI, 0);
}

/* An interrupt that is there already is taken in HLT, not before it. */
static void halt(struct guest_cpu *cpu)
{
	const uint32_t interrupts = cpu->interrupts;

	do
		asm volatile("sti\n\thlt\n\tcli" : : : "memory");
	while (cpu->interrupts == interrupts);
}

static void obey(struct guest_cpu *cpu)
{
	uint64_t *address = (uint64_t *)cpu->address;

	cpu->readings = 0;
	cpu->expired = 0;
	cpu->stopped = 0;
	switch ((enum guest_order)cpu->order) {
	case GUEST_READ:
		return read_times(cpu);
	case GUEST_TURNS:
		return take_turns(cpu);
	case GUEST_HALT:
		return halt(cpu);
	case GUEST_STORE:
		__atomic_store_n(address, ~0ULL, __ATOMIC_RELAXED);
		return;
	case GUEST_EXCHANGE:
		__atomic_exchange_n(address, ~0ULL, __ATOMIC_RELAXED);
	}
}

/* One gate; whatever else happens to a guest that is so small ends it. */
static void set_up_interrupts(void)
{
	static struct {
		uint16_t offset, selector, flags, offset_middle;
		uint32_t offset_high, zero;
	} idt[GUEST_VECTOR + 1];
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((__packed__)) idtr = { sizeof(idt) - 1, (uint64_t)idt };
	const uint64_t offset = (uint64_t)interrupt;

	idt[GUEST_VECTOR].offset = offset;
	idt[GUEST_VECTOR].offset_middle = offset >> 16;
	idt[GUEST_VECTOR].offset_high = offset >> 32;
	idt[GUEST_VECTOR].selector = 8;
	idt[GUEST_VECTOR].flags = 0x8e00;	/* present, for an interrupt */
	asm volatile("lidt %0" : : "m" (idtr), "m" (idt));
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
	wrmsr(MSR_X2APIC_SVR, APIC_SVR_ENABLED);
}

void entry(struct guest_cpu *cpu);

void __attribute__((__section__(".entry"), __noreturn__)) entry(struct guest_cpu *cpu)
{
	set_up_interrupts();
	cpu->usable = parkclock_usable(map);
	for (;;) {
		obey(cpu);
		asm volatile("outb %b0, %1" : : "a" (0), "N" (GUEST_PORT) : "memory");
	}
}
