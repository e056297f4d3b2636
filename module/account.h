/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a user has taken, and may take.
 */
#ifndef PARKCLOCK_ACCOUNT_H
#define PARKCLOCK_ACCOUNT_H

#include <linux/parkclock.h>
#include <linux/types.h>

struct parkclock_account;

struct parkclock_account *parkclock_account_open(void);
void parkclock_account_put(struct parkclock_account *account);
bool parkclock_account_privileged(const struct parkclock_account *account);
int parkclock_account_charge(struct parkclock_account *account, unsigned int kind,
			     unsigned int n, bool last);
void parkclock_account_uncharge(struct parkclock_account *account, unsigned int kind,
				unsigned int n);
void parkclock_account_query(struct parkclock_account *account, bool others,
			     struct parkclock_limits *out);

#endif
