/* SPDX-License-Identifier: GPL-2.0 */
/*
 * KUnit in user space: as much of it as the module's unit tests need. Each suite
 * becomes a program that prints TAP, with the names of selftests/timebase/kunit.sh.
 */
#ifndef SELFTESTS_KUNIT_TEST_H
#define SELFTESTS_KUNIT_TEST_H

#include "kselftest.h"

#include <assert.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <linux/types.h>

typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;

struct kunit {
	void *priv;
	bool failed;
	jmp_buf abort;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
};

struct kunit_suite {
	const char *name;
	int (*init)(struct kunit *test);
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(function)		{ .run_case = function, .name = #function }

/* What only the kernel has a use for. */
#define cond_resched()			((void)0)
#define MODULE_DESCRIPTION(text)
#define MODULE_LICENSE(text)

#define KUNIT_COMPARE(test, fatal, a, op, b) do {			\
	const __auto_type _a = (a);					\
	const __auto_type _b = (b);					\
									\
	if (!(_a op _b))						\
		kunit_fail(test, fatal, __FILE__, __LINE__,		\
			   #a " " #op " " #b, _a, _b);			\
} while (0)

#define KUNIT_EXPECT_EQ(test, a, b)	KUNIT_COMPARE(test, false, a, ==, b)
#define KUNIT_EXPECT_GT(test, a, b)	KUNIT_COMPARE(test, false, a, >, b)
#define KUNIT_EXPECT_GE(test, a, b)	KUNIT_COMPARE(test, false, a, >=, b)
#define KUNIT_ASSERT_EQ(test, a, b)	KUNIT_COMPARE(test, true, a, ==, b)
#define KUNIT_ASSERT_NE(test, a, b)	KUNIT_COMPARE(test, true, a, !=, b)
#define KUNIT_ASSERT_LT(test, a, b)	KUNIT_COMPARE(test, true, a, <, b)
#define KUNIT_ASSERT_LE(test, a, b)	KUNIT_COMPARE(test, true, a, <=, b)
#define KUNIT_ASSERT_GT(test, a, b)	KUNIT_COMPARE(test, true, a, >, b)
#define KUNIT_ASSERT_GE(test, a, b)	KUNIT_COMPARE(test, true, a, >=, b)

static inline void kunit_fail(struct kunit *test, bool fatal, const char *file, int line,
			      const char *expected, long long a, long long b)
{
	ksft_print_msg("%s:%d: expected %s, but these are %lld and %lld\n",
		       file, line, expected, a, b);
	test->failed = true;
	if (fatal)
		longjmp(test->abort, 1);
}

static inline void kunit_run_case(const struct kunit_suite *suite, const struct kunit_case *c)
{
	static struct kunit test;

	test.failed = false;
	if (!setjmp(test.abort)) {
		if (suite->init)
			KUNIT_ASSERT_EQ(&test, suite->init(&test), 0);
		c->run_case(&test);
	}
	ksft_test_result(!test.failed, "%s.%s\n", suite->name, c->name);
}

static inline void kunit_run_suite(const struct kunit_suite *suite)
{
	const struct kunit_case *c;
	int cases = 0;

	for (c = suite->test_cases; c->run_case; c++)
		cases++;
	ksft_print_header();
	ksft_set_plan(cases);
	for (c = suite->test_cases; c->run_case; c++)
		kunit_run_case(suite, c);
	ksft_finished();
}

#define kunit_test_suite(suite) \
int main(void)			\
{				\
	kunit_run_suite(&(suite)); \
}

#endif
