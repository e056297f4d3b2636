// SPDX-License-Identifier: GPL-2.0
/*
 * The table in which a context switch finds the registrations of its tasks.
 *
 * Nearly always neither task of a switch is registered. One bit of the filter tells that,
 * and the switch has nothing else to look at. The table grows and shrinks with the number of
 * entries, so that the bit is right as often beside a million entries as beside a few, and
 * a bucket is as short.
 *
 * Why not the kernel's rhashtable: entries are added and taken out where nothing may be
 * allocated, and under run-queue locks; rhashtable may allocate when it adds, and its
 * buckets' locks leave interrupts on.
 *
 * Resizing. An entry has two links, so that it can be in two tables. resize() makes the
 * next table known; from then on entries are added to both tables, and taken out of both.
 * It adds those that were there before, bucket by bucket. Then the next table becomes the
 * table. A switch that still looks at the old one finds in it all that had been added up to
 * then; whoever adds more waits for such switches (parkclock_switch_settle()). After a grace
 * period nobody looks at the old table, and its links can be used again.
 *
 * Whether an entry is in a table is not told by its links, which are never cleared, but by
 * the number of the table, which is beside the link.
 */
#include <linux/bitops.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "table.h"
#include "workers.h"

/*
 * A table has 2^bits buckets, and room for a quarter as many entries: the addresses of tasks
 * have regular distances, with which the hash is not always as even as chance.
 */
#define LEAST_BITS	10
#define MOST_BITS	24
#define ROOM_BITS	2

/* Bits of the filter for each bucket: 2^3, so that a bit is set for one hash in 32 at most. */
#define FILTER_BITS	3

/* Buckets that resize() goes through with the lock held; fewer if they are long. */
#define BATCH		16

DEFINE_RAW_SPINLOCK(parkclock_table_lock);

struct parkclock_table __rcu *parkclock_table __read_mostly;
u64 parkclock_table_key __read_mostly;

/* These are protected by parkclock_table_lock. */
static struct parkclock_table *next;	/* what the table becomes, or NULL */
static unsigned int entries;		/* in the table */
static unsigned int bits = LEAST_BITS;	/* of the table, or the next one */
static unsigned long not_before;	/* no other size, in jiffies: there was no memory */

/* The table before this one, until a grace period has passed; of resize() and retire() */
static struct parkclock_table *old;

/* No other size from now on */
static bool closing;

static void resize(struct work_struct *work);
static void retire(struct work_struct *work);
static DECLARE_WORK(resize_work, resize);
static struct rcu_work retire_work;

/* Work cannot be queued under a run-queue lock. */
static void queue_resize(struct irq_work *work)
{
	queue_work(parkclock_workers, &resize_work);
}

static struct irq_work resize_irq = IRQ_WORK_INIT_HARD(queue_resize);

static struct parkclock_table *alloc_table(unsigned int table_bits, unsigned int which)
{
	static u32 last_number;
	const size_t filter_longs = BITS_TO_LONGS(BIT(table_bits + FILTER_BITS));
	/* Nobody is to be killed for a larger table. */
	const gfp_t gfp = GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	struct parkclock_table *table;

	table = kvzalloc(struct_size(table, filter, filter_longs), gfp);
	if (!table)
		return NULL;
	table->buckets = kvcalloc(BIT(table_bits), sizeof(*table->buckets), gfp);
	if (!table->buckets) {
		kvfree(table);
		return NULL;
	}
	table->to_bucket = 64 - table_bits;
	table->to_bit = table->to_bucket - FILTER_BITS;
	table->which = which;
	table->link_at = which * sizeof(struct hlist_node);
	table->number = ++last_number;
	return table;
}

static void free_table(struct parkclock_table *table)
{
	kvfree(table->buckets);
	kvfree(table);
}

static bool is_in(const struct parkclock_entry *e, const struct parkclock_table *table)
{
	return e->in[table->which] == table->number;
}

static void link_in(struct parkclock_entry *e, struct parkclock_table *table)
{
	const u64 hash = parkclock_table_hash(e->task);

	e->in[table->which] = table->number;
	/* Whoever finds it by its bucket can rely on the bit. */
	set_bit(hash >> table->to_bit, table->filter);
	hlist_add_head_rcu(&e->link[table->which], parkclock_table_bucket(table, hash));
}

static void unlink_from(struct parkclock_entry *e, struct parkclock_table *table)
{
	const u64 hash = parkclock_table_hash(e->task), bit = hash >> table->to_bit;
	const struct parkclock_entry *other;
	struct hlist_node *link;

	if (!is_in(e, table))
		return;
	hlist_del_rcu(&e->link[table->which]);
	for (link = parkclock_table_first(table, hash); link; link = parkclock_table_next(link)) {
		other = parkclock_table_entry(table, link);
		if (parkclock_table_hash(other->task) >> table->to_bit == bit)
			return;
	}
	clear_bit(bit, table->filter);
}

static struct parkclock_table *table_locked(void)
{
	return rcu_dereference_protected(parkclock_table,
					 lockdep_is_held(&parkclock_table_lock));
}

/* Bits for the present number of entries. It shrinks late, so as not to do it again and again. */
static unsigned int wanted_bits(void)
{
	lockdep_assert_held(&parkclock_table_lock);

	if (entries > BIT(bits) >> ROOM_BITS && bits < MOST_BITS)
		return min_t(unsigned int, bits_per(entries) + ROOM_BITS, MOST_BITS);
	if (entries < BIT(bits) >> (ROOM_BITS + 3) && bits > LEAST_BITS)
		return max_t(unsigned int, bits_per(2 * entries) + ROOM_BITS, LEAST_BITS);
	return bits;
}

static void resize_if_wanted(void)
{
	if (wanted_bits() != bits && time_after_eq(jiffies, not_before))
		irq_work_queue(&resize_irq);
}

/**
 * parkclock_table_add() - let switches find an entry
 * @e: the entry; its task is set
 *
 * Context: any but NMI; parkclock_table_lock held.
 */
void parkclock_table_add(struct parkclock_entry *e)
{
	lockdep_assert_held(&parkclock_table_lock);

	link_in(e, table_locked());
	if (next)
		link_in(e, next);
	WRITE_ONCE(entries, entries + 1);
	resize_if_wanted();
}

/**
 * parkclock_table_take_out() - let no switch find an entry any more
 * @e: the entry
 *
 * Context: any but NMI, also under a run-queue lock.
 * Return: true; or false if it was taken out before.
 */
bool parkclock_table_take_out(struct parkclock_entry *e)
{
	unsigned long flags;
	bool mine;

	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	mine = !e->ended;
	if (mine) {
		WRITE_ONCE(e->ended, true);
		unlink_from(e, table_locked());
		if (next)
			unlink_from(e, next);
		WRITE_ONCE(entries, entries - 1);
		resize_if_wanted();
	}
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
	return mine;
}

/**
 * parkclock_table_count() - number of entries
 *
 * Context: any.
 */
unsigned int parkclock_table_count(void)
{
	return READ_ONCE(entries);
}

/* Add to the next table what is in the table and was there before. */
static void fill(const struct parkclock_table *table, unsigned int size)
{
	struct parkclock_entry *e;
	unsigned long flags;
	struct hlist_node *node;
	unsigned int i = 0, n;

	while (i < size) {
		n = 0;
		raw_spin_lock_irqsave(&parkclock_table_lock, flags);
		do {
			hlist_for_each(node, &table->buckets[i]) {
				e = parkclock_table_entry(table, node);
				if (!is_in(e, next))
					link_in(e, next);
				n++;
			}
		} while (++i % BATCH && n < 2 * BATCH);
		raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
		cond_resched();
	}
}

/* Does not wait: what is left is done by retire(). Nobody else changes the table. */
static void resize(struct work_struct *work)
{
	struct parkclock_table *table, *new;
	unsigned int size, wanted;
	unsigned long flags;

	/* retire() comes, and looks at the size. Pairs with its release. */
	if (smp_load_acquire(&old) || READ_ONCE(closing))
		return;
	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	wanted = wanted_bits();
	size = BIT(bits);
	table = table_locked();
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
	if (BIT(wanted) == size)
		return;
	new = alloc_table(wanted, !table->which);
	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	if (!new) {
		/* All goes on with longer buckets, and an entry tries again a second later. */
		not_before = jiffies + HZ;
		raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
		return;
	}
	next = new;
	bits = wanted;
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
	fill(table, size);
	raw_spin_lock_irqsave(&parkclock_table_lock, flags);
	rcu_assign_pointer(parkclock_table, new);
	next = NULL;
	raw_spin_unlock_irqrestore(&parkclock_table_lock, flags);
	old = table;
	queue_rcu_work(parkclock_workers, &retire_work);
}

/* A grace period after the table was replaced */
static void retire(struct work_struct *work)
{
	free_table(old);
	/* The table before its end; pairs with the acquire in resize(). */
	smp_store_release(&old, NULL);
	/* What came meanwhile may need another size. */
	queue_work(parkclock_workers, &resize_work);
}

/**
 * parkclock_table_init() - create the table
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int parkclock_table_init(void)
{
	struct parkclock_table *table = alloc_table(LEAST_BITS, 0);

	if (!table)
		return -ENOMEM;
	INIT_RCU_WORK(&retire_work, retire);
	parkclock_table_key = get_random_u64() | 1;
	RCU_INIT_POINTER(parkclock_table, table);
	return 0;
}

/**
 * parkclock_table_exit() - free the table
 *
 * Context: may sleep. The table is empty, and nobody looks at it any more.
 */
void parkclock_table_exit(void)
{
	WRITE_ONCE(closing, true);
	irq_work_sync(&resize_irq);
	cancel_work_sync(&resize_work);
	flush_rcu_work(&retire_work);
	cancel_work_sync(&resize_work);
	free_table(rcu_dereference_protected(parkclock_table, true));
}
