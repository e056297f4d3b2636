/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Files by which the kernel is asked and told
 */
#ifndef PARKCLOCK_SELFTESTS_FILES_H
#define PARKCLOCK_SELFTESTS_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* Returns 0 or the errno, negated. */
int write_file(const char *path, const char *text);

/*
 * Reads up to @size - 1 bytes and drops the newline at the end. Returns 0 or the errno,
 * negated.
 */
int read_file(const char *path, char *text, size_t size);

bool exists(const char *path);

/* Is @word in some line of the file? */
bool mentions(const char *path, const char *word);

#endif
