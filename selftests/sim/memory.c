// SPDX-License-Identifier: GPL-2.0
/*
 * Shared memory: what the compiler's instrumentation and the stand-in headers call.
 *
 * A store goes into its CPU's buffer and reaches memory later. The order in which it
 * does is x86's (first in, first out); or with --weak any order that keeps two stores to
 * one place, and those on both sides of a barrier or release, apart. A CPU's own loads
 * see its buffer.
 *
 * The compiler announces a plain access, and does it itself when its hook returns. So the
 * hook of a plain store remembers what was there; the next hook of whatever kind finds
 * what was stored, takes it back and puts it into the buffer. Nobody else has run
 * meanwhile. (Where it copies a structure the compiler announces the store, then the
 * load, and then does both; so a load's hook leaves a store alone that has not changed
 * anything yet.) A plain load of something that is in its own buffer lets it reach
 * memory first.
 */
#include <string.h>

#include "sim.h"

#define BARRIER		255

/* Where in the module it was called from, for the timeline. */
#define HERE() \
	do { \
		if (__builtin_expect(recording, 0) && me) \
			me->pc = __builtin_return_address(0); \
	} while (0)

static struct store *entry(struct cpu *c, unsigned int i)
{
	return &c->buf[i & (BUFFER - 1)];
}

static void write_memory(u64 addr, unsigned int size, u64 value)
{
	switch (size) {
	case 1:
		*(u8 *)addr = value;
		break;
	case 2:
		*(u16 *)addr = value;
		break;
	case 4:
		*(u32 *)addr = value;
		break;
	case 8:
		*(u64 *)addr = value;
		break;
	default:
		memcpy((void *)addr, &value, size);
	}
}

u64 peek(const volatile void *addr, unsigned int size)
{
	u64 value = 0;

	switch (size) {
	case 1:
		return *(const volatile u8 *)addr;
	case 2:
		return *(const volatile u16 *)addr;
	case 4:
		return *(const volatile u32 *)addr;
	case 8:
		return *(const volatile u64 *)addr;
	default:
		memcpy(&value, (const void *)addr, size);
	}
	return value;
}

static bool overlap(const struct store *s, u64 addr, unsigned int size)
{
	return s->size && s->size != BARRIER && s->addr < addr + size && addr < s->addr + s->size;
}

static void perform(struct cpu *c, struct store *s)
{
	if (s->size == BARRIER) {
		c->barriers--;
	} else if (s->size) {
		if (recording)
			record_access('d', NULL, s->addr, s->size, s->value);
		write_memory(s->addr, s->size, s->value);
	} else {
		marked(c, s->addr, s->value, s->value2);
	}
}

static void drain_first(struct cpu *c)
{
	perform(c, entry(c, c->tail++));
}

/* Some store that nothing keeps behind another one. */
static void drain_any(struct cpu *c)
{
	unsigned int i, j, count = 0;
	unsigned int can[BUFFER];

	for (i = c->tail; i != c->head; i++) {
		struct store *s = entry(c, i);

		/* A barrier or mark goes when it is the first. */
		if (!s->size || s->size == BARRIER) {
			if (i == c->tail)
				can[count++] = i;
			break;
		}
		for (j = c->tail; j != i; j++)
			if (overlap(entry(c, j), s->addr, s->size))
				break;
		if (j == i)
			can[count++] = i;
	}
	i = can[count > 1 ? rnd(count) : 0];
	perform(c, entry(c, i));
	for (; i != c->tail; i--)
		*entry(c, i) = *entry(c, i - 1);
	c->tail++;
}

void drain(struct cpu *c, unsigned int n)
{
	for (; n && c->head != c->tail; n--) {
		if (sim.weak)
			drain_any(c);
		else
			drain_first(c);
	}
}

static void drain_all(struct cpu *c)
{
	while (c->head != c->tail)
		drain_first(c);
}

void drain_older(u64 than)
{
	int i;

	for (i = 0; i < sim_cpus; i++) {
		struct cpu *c = &cpus[i];

		while (c->head != c->tail && entry(c, c->tail)->at <= than)
			drain_first(c);
	}
}

/* When the oldest of all stores was made that are not in memory. */
u64 oldest_store(void)
{
	u64 oldest = NEVER / 2;
	int i;

	for (i = 0; i < sim_cpus; i++)
		if (cpus[i].head != cpus[i].tail)
			oldest = min(oldest, entry(&cpus[i], cpus[i].tail)->at);
	return oldest;
}

static void push(struct cpu *c, u64 addr, unsigned int size, u64 value, u64 value2)
{
	if (c->head - c->tail == BUFFER)
		drain_first(c);
	*entry(c, c->head++) = (struct store){ addr, value, value2, sim.now, size };
}

static void store(struct cpu *c, u64 addr, unsigned int size, u64 value)
{
	if (!sim.buffers || sim.quiet)
		write_memory(addr, size, value);
	else
		push(c, addr, size, value, 0);
}

/* Does something when what was stored so far has reached memory. */
void mark(enum mark kind, u64 value, u64 value2)
{
	settled(me);
	if (!sim.buffers || sim.quiet || me->head == me->tail)
		marked(me, kind, value, value2);
	else
		push(me, kind, 0, value, value2);
}

static u64 load(struct cpu *c, u64 addr, unsigned int size)
{
	unsigned int i;

	for (i = c->head; i != c->tail; i--) {
		struct store *s = entry(c, i - 1);

		if (!overlap(s, addr, size))
			continue;
		if (s->addr == addr && s->size == size)
			return s->value;
		/* Rare: parts from here and there. */
		while (c->tail != i)
			drain_first(c);
		break;
	}
	return peek((void *)addr, size);
}

/* What this CPU would load, without being switched. */
u64 own_view(const volatile void *addr, unsigned int size)
{
	unsigned int i;

	settled(me);
	for (i = me->head; i != me->tail; i--)
		if (overlap(entry(me, i - 1), (u64)addr, size))
			return entry(me, i - 1)->value;
	return peek(addr, size);
}

void settle(struct cpu *c)
{
	u64 addr = c->pend_addr;
	unsigned int size = c->pend_size, at, n;
	char *old = (char *)c->pend_old;

	c->pend_size = 0;
	for (at = 0; at < size; at += n) {
		u64 value;

		n = min(size - at, 8U);
		value = peek((void *)(addr + at), n);
		memcpy((void *)(addr + at), old + at, n);
		if (recording)
			record_access('w', c->pend_pc, addr + at, n, value);
		store(c, addr + at, n, value);
	}
}

/* Let what the compiler is about to load itself reach memory. */
static void drain_place(struct cpu *c, u64 addr, unsigned int size)
{
	unsigned int i;

	for (i = c->head; i != c->tail; i--)
		if (overlap(entry(c, i - 1), addr, size)) {
			while (c->tail != i)
				drain_first(c);
			break;
		}
}

static __always_inline void plain_load(u64 addr, unsigned int size)
{
	struct cpu *c = me;

	if (on_stack(addr) || sim.quiet)
		return;
	if (c->pend_size && !memcmp((void *)c->pend_addr, c->pend_old, c->pend_size)) {
		drain_place(c, addr, size);
		memcpy(c->pend_old, (void *)c->pend_addr, c->pend_size);
		return;
	}
	point(P_PLAIN);
	check_heap(addr);
	drain_place(c, addr, size);
	if (recording)
		record_access('r', me->pc, addr, size, peek((void *)addr, min(size, 8U)));
}

static __always_inline void plain_store(u64 addr, unsigned int size)
{
	struct cpu *c = me;

	if (on_stack(addr) || sim.quiet)
		return;
	point(P_PLAIN);
	check_heap(addr);
	if (!sim.buffers) {
		if (recording)
			record_access('p', me->pc, addr, size, 0);
		return;
	}
	if (size > RANGE) {
		drain_all(c);
		return;
	}
	c->pend_addr = addr;
	c->pend_pc = c->pc;
	c->pend_size = size;
	memcpy(c->pend_old, (void *)addr, size);
}

u64 sim_load(const volatile void *addr, unsigned int size)
{
	HERE();
	u64 value;

	if (on_stack((u64)addr))
		return peek(addr, size);
	point(P_ONCE);
	check_heap((u64)addr);
	value = load(me, (u64)addr, size);
	if (recording)
		record_access('r', me->pc, (u64)addr, size, value);
	return value;
}

void sim_store(volatile void *addr, unsigned int size, u64 value)
{
	HERE();
	if (on_stack((u64)addr)) {
		write_memory((u64)addr, size, value);
		return;
	}
	point(P_ONCE);
	check_heap((u64)addr);
	if (recording)
		record_access('w', me->pc, (u64)addr, size, value);
	store(me, (u64)addr, size, value);
}

static void fence(void)
{
	if (sim.weak && sim.buffers && me->head != me->tail && !sim.quiet)
		push(me, 0, BARRIER, 0, 0);
}

void sim_release(volatile void *addr, unsigned int size, u64 value)
{
	HERE();
	point(P_SYNC);
	check_heap((u64)addr);
	fence();
	if (recording)
		record_access('w', me->pc, (u64)addr, size, value);
	store(me, (u64)addr, size, value);
}

void sim_mb(void)
{
	HERE();
	point(P_SYNC);
	if (recording && me->head != me->tail)
		record("full barrier: %u stores reach memory", me->head - me->tail);
	drain_all(me);
}

void sim_wmb(void)
{
	HERE();
	point(P_ONCE);
	fence();
}

void sim_rmb(void)
{
	HERE();
	point(P_PLAIN);
}

static u64 modify(enum sim_op op, u64 was, u64 operand, u64 expected)
{
	switch (op) {
	case SIM_ADD:
		return was + operand;
	case SIM_AND:
		return was & operand;
	case SIM_OR:
		return was | operand;
	case SIM_XCHG:
		return operand;
	case SIM_CMPXCHG:
		return was == expected ? operand : was;
	}
	return was;
}

u64 sim_rmw(volatile void *addr, unsigned int size, enum sim_op op, u64 operand, u64 expected)
{
	HERE();
	u64 mask = size == 8 ? ~0ULL : (1ULL << size * 8) - 1;
	u64 was, now;

	point(P_SYNC);
	check_heap((u64)addr);
	drain_all(me);
	was = peek(addr, size);
	now = modify(op, was, operand & mask, expected & mask);
	if (recording) {
		record_access('r', me->pc, (u64)addr, size, was);
		if (now != was)
			record_access('x', me->pc, (u64)addr, size, now);
	}
	write_memory((u64)addr, size, now);
	return was;
}

u64 sim_this_cpu_rmw(volatile void *addr, unsigned int size, enum sim_op op, u64 operand,
		     u64 expected)
{
	HERE();
	u64 mask = size == 8 ? ~0ULL : (1ULL << size * 8) - 1;
	u64 was, now;

	point(P_ONCE);
	was = load(me, (u64)addr, size);
	now = modify(op, was, operand & mask, expected & mask) & mask;
	if (recording)
		record_access('w', me->pc, (u64)addr, size, now);
	store(me, (u64)addr, size, now);
	return was;
}

void *sim_memset(void *to, int c, size_t n)
{
	settled(me);
	return __builtin_memset(to, c, n);
}

void *sim_memcpy(void *to, const void *from, size_t n)
{
	settled(me);
	return __builtin_memcpy(to, from, n);
}

int sim_memcmp(const void *a, const void *b, size_t n)
{
	settled(me);
	return __builtin_memcmp(a, b, n);
}

/* What the compiler calls. */

void __tsan_init(void) { }
void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void) { }

#define HOOKS(n) \
	void __tsan_read##n(void *p) { HERE(); plain_load((u64)p, n); } \
	void __tsan_write##n(void *p) { HERE(); plain_store((u64)p, n); } \
	void __tsan_unaligned_read##n(void *p) { HERE(); plain_load((u64)p, n); } \
	void __tsan_unaligned_write##n(void *p) { HERE(); plain_store((u64)p, n); } \
	void __tsan_volatile_read##n(void *p) { HERE(); plain_load((u64)p, n); } \
	void __tsan_volatile_write##n(void *p) { HERE(); plain_store((u64)p, n); }

HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)

void __tsan_read_range(void *p, size_t n) { HERE(); plain_load((u64)p, n); }
void __tsan_write_range(void *p, size_t n) { HERE(); plain_store((u64)p, n); }

#define ATOMIC_HOOKS(bits) \
	u##bits __tsan_atomic##bits##_load(const volatile u##bits *p, int order) \
	{ (void)order; return sim_load(p, bits / 8); } \
	void __tsan_atomic##bits##_store(volatile u##bits *p, u##bits v, int order) \
	{ \
		if (order == __ATOMIC_RELAXED) \
			sim_store(p, bits / 8, v); \
		else \
			sim_release(p, bits / 8, v); \
		if (order == __ATOMIC_SEQ_CST) \
			sim_mb(); \
	} \
	u##bits __tsan_atomic##bits##_exchange(volatile u##bits *p, u##bits v, int order) \
	{ (void)order; return sim_rmw(p, bits / 8, SIM_XCHG, v, 0); } \
	u##bits __tsan_atomic##bits##_fetch_add(volatile u##bits *p, u##bits v, int order) \
	{ (void)order; return sim_rmw(p, bits / 8, SIM_ADD, v, 0); } \
	u##bits __tsan_atomic##bits##_fetch_sub(volatile u##bits *p, u##bits v, int order) \
	{ (void)order; return sim_rmw(p, bits / 8, SIM_ADD, -v, 0); } \
	u##bits __tsan_atomic##bits##_fetch_and(volatile u##bits *p, u##bits v, int order) \
	{ (void)order; return sim_rmw(p, bits / 8, SIM_AND, v, 0); } \
	u##bits __tsan_atomic##bits##_fetch_or(volatile u##bits *p, u##bits v, int order) \
	{ (void)order; return sim_rmw(p, bits / 8, SIM_OR, v, 0); } \
	bool __tsan_atomic##bits##_compare_exchange_strong(volatile u##bits *p, u##bits *old, \
							   u##bits v, int order, int other) \
	{ \
		u##bits was = sim_rmw(p, bits / 8, SIM_CMPXCHG, v, *old); \
		bool done = was == *old; \
		(void)order; (void)other; \
		*old = was; \
		return done; \
	}

ATOMIC_HOOKS(8)
ATOMIC_HOOKS(16)
ATOMIC_HOOKS(32)
ATOMIC_HOOKS(64)

void __tsan_atomic_thread_fence(int order)
{
	if (order == __ATOMIC_SEQ_CST)
		sim_mb();
	else
		fence();
}
