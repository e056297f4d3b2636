/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The table in which a context switch finds the registrations of its tasks.
 */
#ifndef PARKCLOCK_TABLE_H
#define PARKCLOCK_TABLE_H

#include <linux/bitops.h>
#include <linux/build_bug.h>
#include <linux/list.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/stddef.h>
#include <linux/types.h>

struct task_struct;

/**
 * struct parkclock_entry - what is in the table, about one task
 * @link: links of the two tables that there can be
 * @task: the task; not a reference, see registration.c
 * @ended: taken out of the table; set once, under parkclock_table_lock
 * @in:   numbers of the tables whose links are in use
 */
struct parkclock_entry {
	struct hlist_node link[2];
	const struct task_struct *task;
	bool ended;
	u32 in[2];
};

/**
 * struct parkclock_table - the table, or the next one
 * @to_bit:    shifts a hash to the number of its bit in @filter
 * @to_bucket: shifts a hash to the number of its bucket
 * @which:     which link of an entry this table uses
 * @link_at:   where that link is in an entry, in bytes
 * @number:    number of the table
 * @buckets:   the entries, by hash
 * @filter:    a bit is set if an entry has a hash that leads to it
 */
struct parkclock_table {
	u8 to_bit;
	u8 to_bucket;
	u8 which;
	u8 link_at;
	u32 number;
	struct hlist_head *buckets;
	unsigned long filter[];
};

/* Used by what is in this file only. */
extern struct parkclock_table __rcu *parkclock_table;
extern u64 parkclock_table_key;

/* Protects the table, and what registration.h says. */
extern raw_spinlock_t parkclock_table_lock;

/*
 * The key is odd and secret, and the addresses of tasks are secret. Whoever wants many entries
 * in one bucket has to find out by trial which of his tasks share it: of as many tasks as there
 * are buckets, one does. That makes slower the switches of these tasks, and of strangers whose
 * bit of the filter is theirs by chance. Nobody can choose who these are, nor see it.
 *
 * There is one key for all tables. Another one for each would void what was found out, but only
 * when the table gets another size, which whoever has so many tasks can keep it from.
 *
 * The upper bits of a hash are the good ones.
 */
static inline u64 parkclock_table_hash(const struct task_struct *task)
{
	return (unsigned long)task * parkclock_table_key;
}

/* The present table, for an RCU reader, which a switch is, too, or under the lock. */
static inline const struct parkclock_table *parkclock_table_get(void)
{
	return rcu_dereference_check(parkclock_table, rcu_read_lock_sched_held() ||
				     lockdep_is_held(&parkclock_table_lock));
}

/**
 * parkclock_table_maybe() - can there be an entry with this hash?
 * @table: the table
 * @hash:  hash of a task
 *
 * Context: an RCU reader.
 * Return: false if there is none; true nearly always means that there is one.
 */
static inline bool parkclock_table_maybe(const struct parkclock_table *table, u64 hash)
{
	return test_bit(hash >> table->to_bit, table->filter);
}

static inline struct hlist_head *parkclock_table_bucket(const struct parkclock_table *table,
							u64 hash)
{
	return table->buckets + (hash >> table->to_bucket);
}

/**
 * parkclock_table_first() - the link of the first entry that can be a task's
 * @table: the table
 * @hash:  hash of the task
 *
 * Context: an RCU reader, or under the table's lock.
 * Return: the link, or NULL; other tasks' are among those that follow it.
 */
static inline struct hlist_node *parkclock_table_first(const struct parkclock_table *table,
						       u64 hash)
{
	return rcu_dereference_raw(hlist_first_rcu(parkclock_table_bucket(table, hash)));
}

/**
 * parkclock_table_next() - the link after another one, of the same table
 * @link: the other one
 *
 * Context: as parkclock_table_first().
 * Return: the link, or NULL.
 */
static inline struct hlist_node *parkclock_table_next(struct hlist_node *link)
{
	return rcu_dereference_raw(hlist_next_rcu(link));
}

/**
 * parkclock_table_entry() - the entry that a link belongs to
 * @table: the table of the link; parkclock_table_get() may return another one meanwhile
 * @link:  the link
 *
 * Context: as parkclock_table_first().
 */
static inline struct parkclock_entry *parkclock_table_entry(const struct parkclock_table *table,
							    struct hlist_node *link)
{
	/* It is the first member, twice. */
	BUILD_BUG_ON(offsetof(struct parkclock_entry, link));
	return (void *)link - table->link_at;
}

int parkclock_table_init(void);
void parkclock_table_exit(void);
void parkclock_table_add(struct parkclock_entry *e);
bool parkclock_table_take_out(struct parkclock_entry *e);
unsigned int parkclock_table_count(void);

#endif
