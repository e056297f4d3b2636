/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The module's parameters
 */
#ifndef PARKCLOCK_SELFTESTS_PARAMS_H
#define PARKCLOCK_SELFTESTS_PARAMS_H

#include <stddef.h>

#define PARAMS	"/sys/module/parkclock/parameters/"

/* Returns 0, or the errno that the kernel refuses the value with, negated. */
int set_param(const char *name, const char *value);

void must_set(const char *name, const char *value);

/* Puts the parameter into @value, and returns that. */
const char *get_param(const char *name, char *value, size_t size);

/* Sets how often the updater refreshes, and enables it. */
void set_params(const char *interval, const char *window, const char *slack);

/* Sets all of set_params() to what it is when the module is loaded. */
void default_params(void);

#endif
