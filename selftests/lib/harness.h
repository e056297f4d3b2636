/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's harness, with more patience than its 30 s for a test: machines are
 * slow, and shared, and some of their kernels check every access to memory. Only what
 * hangs comes to this.
 */
#ifndef PARKCLOCK_SELFTESTS_HARNESS_H
#define PARKCLOCK_SELFTESTS_HARNESS_H

#include <kselftest_harness.h>

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 900

#endif
