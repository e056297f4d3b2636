// SPDX-License-Identifier: GPL-2.0
/*
 * A thread looks at the counter, at the host's clock, and at the counter again, as often
 * as it can, while somebody else reads the time. What was read at a value of the counter
 * must then lie between what the host's clock said in the last look that was over before
 * it, and in the first that began after it.
 *
 * The host's clock by the system call and not the vDSO, which may know of a change of the
 * host's rate a moment before the module.
 */
#include <errno.h>
#include <linux/parkclock.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bracket.h"

static void look(struct bracket *b)
{
	const int i = b->n;
	struct timespec ts;
	__u64 zero;

	b->sample[i].before = __parkclock_tsc(1, &zero);
	syscall(SYS_clock_gettime, b->clock_id, &ts);
	b->sample[i].after = __parkclock_tsc(1, &zero);
	b->sample[i].ns = ts.tv_sec * 1000000000LL + ts.tv_nsec;
	b->n = i + 1;
}

static void *looks(void *arg)
{
	struct bracket *b = arg;

	/* There is always place for the last one, see below. */
	while (!b->stop && b->n < BRACKET_SAMPLES - 1)
		look(b);
	return NULL;
}

/**
 * bracket_begin() - begin to look at the host's clock
 * @b:        filled in
 * @clock_id: which of its clocks
 *
 * When it returns the thread runs.
 *
 * Return: 0, or an errno, negated.
 */
int bracket_begin(struct bracket *b, int clock_id)
{
	int err;

	b->clock_id = clock_id;
	b->n = 0;
	b->at = 0;
	b->stop = false;
	look(b);
	err = -pthread_create(&b->thread, NULL, looks, b);
	while (!err && b->n < 2)
		sched_yield();
	return err;
}

/**
 * bracket_end() - look at it for the last time
 * @b: the bracket
 */
void bracket_end(struct bracket *b)
{
	b->stop = true;
	pthread_join(b->thread, NULL);
	look(b);
}

/**
 * bracket_distance() - how far is a reading from what the host's clock can have said?
 * @b:      the bracket, in which it was read; it has ended
 * @cycles: the host's counter at which it was read, not smaller than in the last call
 * @ns:     the reading
 * @width:  filled in: how exactly that is known, in ns
 *
 * Return: 0 if it is inside, else how many ns it is too large, or too small (negative).
 */
int64_t bracket_distance(struct bracket *b, uint64_t cycles, int64_t ns, int64_t *width)
{
	int end;

	/* The last one that was over, and the first one that began after it. */
	while (b->at + 1 < b->n && (int64_t)(cycles - b->sample[b->at + 1].after) >= 0)
		b->at++;
	for (end = b->at + 1; end < b->n - 1; end++)
		if ((int64_t)(b->sample[end].before - cycles) >= 0)
			break;
	*width = b->sample[end].ns - b->sample[b->at].ns;
	if (ns < b->sample[b->at].ns)
		return ns - b->sample[b->at].ns;
	return ns > b->sample[end].ns ? ns - b->sample[end].ns : 0;
}
