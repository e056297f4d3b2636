// SPDX-License-Identifier: GPL-2.0
/*
 * What a user has taken, and may take.
 *
 * A user has an account as long as he has a clock, or a timer. All that hangs on a clock is on
 * the account of who opened it, whoever uses it; but a timer is on that of who made it, because
 * whoever has a view with the right to timers can make any number. There are limits for a user
 * and for the host, as parameters of the module. Nobody without CAP_SYS_RESOURCE gets the last
 * sixteenth of what the host has, which is one at least. So what strangers take keeps nobody
 * from administering the host. A user with that capability has the host's limits only.
 *
 * Who makes a user namespace can have any number of user ids in it. What is opened there is on
 * the account of the user of the initial namespace who made it, or the namespaces around it.
 * What root makes is a container: each has an account of its own.
 */
#include <linux/atomic.h>
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/hashtable.h>
#include <linux/math.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "account.h"
#include "config.h"

/**
 * struct parkclock_account - what a user has taken
 * @link:       in the table
 * @uid:        the user
 * @ns:         number of the user namespace that root made, or 0
 * @privileged: with CAP_SYS_RESOURCE: the same user has another account for what was opened
 *		without
 * @users:      clocks and timers of the account, protected by the lock
 * @used:       what was taken, by PARKCLOCK_LIMIT_*
 */
struct parkclock_account {
	struct hlist_node link;
	kuid_t uid;
	unsigned int ns;
	bool privileged;
	unsigned int users;
	atomic_t used[PARKCLOCK_LIMITS];
};

static DEFINE_HASHTABLE(accounts, 10);

/* Protects the table, and the accounts' users. Taken where RCU frees a clock. */
static DEFINE_SPINLOCK(accounts_lock);

/* What all users have taken */
static atomic_t host_used[PARKCLOCK_LIMITS];

#define LIMITS(whose)								\
	[PARKCLOCK_LIMIT_CLOCKS] = &parkclock_config.whose##_clocks,		\
	[PARKCLOCK_LIMIT_VIEWS] = &parkclock_config.whose##_views,		\
	[PARKCLOCK_LIMIT_TASKS] = &parkclock_config.whose##_tasks,		\
	[PARKCLOCK_LIMIT_HOLDS] = &parkclock_config.whose##_holds,		\
	[PARKCLOCK_LIMIT_VMCLOCKS] = &parkclock_config.whose##_vmclocks,	\
	[PARKCLOCK_LIMIT_TIMERS] = &parkclock_config.whose##_timers,		\
	[PARKCLOCK_LIMIT_CGROUPS] = &parkclock_config.whose##_cgroups

/* The parameters */
static const unsigned int *const user_limit[PARKCLOCK_LIMITS] = { LIMITS(user) };
static const unsigned int *const host_limit[PARKCLOCK_LIMITS] = { LIMITS(host) };

/* The user of the initial namespace who answers for the caller; *@of is the namespace. */
static kuid_t payer(unsigned int *of)
{
	struct user_namespace *ns = current_user_ns();

	*of = 0;
	if (ns == &init_user_ns)
		return current_euid();
	while (ns->parent != &init_user_ns)
		ns = ns->parent;
	/*
	 * User id 0 without capabilities can make any number of namespaces, too, but can map
	 * nobody but itself there. Who maps others instead has CAP_SETUID.
	 */
	if (uid_eq(ns->owner, GLOBAL_ROOT_UID) && READ_ONCE(ns->uid_map.nr_extents) &&
	    !kuid_has_mapping(ns, GLOBAL_ROOT_UID))
		*of = ns->ns.inum;
	return ns->owner;
}

static struct parkclock_account *find(kuid_t uid, unsigned int ns, bool privileged)
{
	struct parkclock_account *account;

	hash_for_each_possible(accounts, account, link, __kuid_val(uid) + ns)
		if (uid_eq(account->uid, uid) && account->ns == ns &&
		    account->privileged == privileged)
			return account;
	return NULL;
}

/**
 * parkclock_account_open() - the account of the caller
 *
 * Context: may sleep. Memory is charged to the caller.
 * Return: the account, with a reference to it, or NULL if there is no memory.
 */
struct parkclock_account *parkclock_account_open(void)
{
	struct parkclock_account *account, *new;
	const bool privileged = has_capability_noaudit(current, CAP_SYS_RESOURCE);
	unsigned int ns;
	const kuid_t uid = payer(&ns);

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return NULL;
	new->uid = uid;
	new->ns = ns;
	new->privileged = privileged;
	spin_lock_bh(&accounts_lock);
	account = find(uid, ns, privileged);
	if (!account) {
		account = new;
		new = NULL;
		hash_add(accounts, &account->link, __kuid_val(uid) + ns);
	}
	account->users++;
	spin_unlock_bh(&accounts_lock);
	kfree(new);
	return account;
}

/**
 * parkclock_account_put() - drop a reference of parkclock_account_open()
 * @account: the account; what was charged was taken back
 *
 * Context: any but hard interrupts.
 */
void parkclock_account_put(struct parkclock_account *account)
{
	spin_lock_bh(&accounts_lock);
	if (--account->users)
		account = NULL;
	else
		hash_del(&account->link);
	spin_unlock_bh(&accounts_lock);
	kfree(account);
}

/**
 * parkclock_account_privileged() - was it opened with CAP_SYS_RESOURCE?
 * @account: the account
 *
 * Context: any.
 */
bool parkclock_account_privileged(const struct parkclock_account *account)
{
	return account->privileged;
}

/* Add @n unless that makes more than @most. */
static bool add(atomic_t *used, unsigned int n, unsigned int most)
{
	unsigned int now = atomic_read(used);

	do {
		if (n > most || now > most - n)
			return false;
	} while (!atomic_try_cmpxchg(used, (int *)&now, now + n));
	return true;
}

/**
 * parkclock_account_charge() - take something
 * @account: who takes it
 * @kind:    PARKCLOCK_LIMIT_*
 * @n:       how many
 * @last:    also of the last sixteenth, if the account may have that
 *
 * Context: any.
 * Return: 0; or, and then nothing is taken, -EDQUOT if the user has too many, -ENFILE if the
 * host has.
 */
int parkclock_account_charge(struct parkclock_account *account, unsigned int kind,
			     unsigned int n, bool last)
{
	unsigned int most = READ_ONCE(*host_limit[kind]);

	/* Rounded up: of a limit below 16 there is a share, too. */
	if (!account->privileged || !last)
		most -= DIV_ROUND_UP(most, 16);
	if (!account->privileged) {
		if (!add(&account->used[kind], n, READ_ONCE(*user_limit[kind])))
			return -EDQUOT;
	} else {
		atomic_add(n, &account->used[kind]);
	}
	if (add(&host_used[kind], n, most))
		return 0;
	atomic_sub(n, &account->used[kind]);
	return -ENFILE;
}

/**
 * parkclock_account_uncharge() - give something back
 * @account: who took it
 * @kind:    PARKCLOCK_LIMIT_*
 * @n:       how many
 *
 * Context: any.
 */
void parkclock_account_uncharge(struct parkclock_account *account, unsigned int kind,
				unsigned int n)
{
	atomic_sub(n, &host_used[kind]);
	atomic_sub(n, &account->used[kind]);
}

/**
 * parkclock_account_query() - what is used of each limit
 * @account: whose
 * @others:  also what all users have taken
 * @out:     zeroed; filled in
 *
 * Context: any.
 */
void parkclock_account_query(struct parkclock_account *account, bool others,
			     struct parkclock_limits *out)
{
	unsigned int kind;

	for (kind = 0; kind < PARKCLOCK_LIMITS; kind++) {
		struct parkclock_limit *limit = &out->limit[kind];

		limit->user_used = atomic_read(&account->used[kind]);
		/* How long the access takes tells whether others have changed it since. */
		if (others)
			limit->host_used = atomic_read(&host_used[kind]);
		limit->host_most = READ_ONCE(*host_limit[kind]);
		limit->user_most = account->privileged ? limit->host_most :
							 READ_ONCE(*user_limit[kind]);
	}
}
