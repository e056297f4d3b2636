// SPDX-License-Identifier: GPL-2.0
/*
 * sim - run the module's sources under schedules that seeds make
 *
 * A schedule is named SEED, or SEED:SKIPPED:SWITCHES after shrinking: the seed makes what
 * the CPUs do, SKIPPED (hexadecimal bits) are actions that are left out, and SWITCHES is
 * the seed for how the CPUs are switched.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define JOBS		64
#define KINDS		16
#define SHRINK_TRIES	300

struct schedule {
	u64 seed;
	u64 skipped;
	u64 switches;		/* 0: from @seed */
};

/* What the processes tell the first one. */
static struct shared {
	struct {
		u64 passed, failed, endless, points;
		struct {
			char kind[16];
			u64 count, first;
		} kinds[KINDS];
	} job[JOBS];
	volatile int stop;
} *shared;

static struct {
	double seconds;
	u64 first, count;
	int jobs;
	bool weak, verbose, keep_going, directed;
	u64 features;
} options = { .seconds = 10, .jobs = 1 };

extern char __start_simdata[], __stop_simdata[], __start_simbss[], __stop_simbss[];
static char *snapshot;

static void snapshot_take(void)
{
	size_t data = __stop_simdata - __start_simdata;

	snapshot = malloc(data + 1);
	if (!snapshot)
		exit(2);
	memcpy(snapshot, __start_simdata, data);
}

static void snapshot_restore(void)
{
	memcpy(__start_simdata, snapshot, __stop_simdata - __start_simdata);
	memset(__start_simbss, 0, __stop_simbss - __start_simbss);
}

static u64 mix(u64 x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	x ^= x >> 31;
	return x ? x : 1;
}

/* True if all held. */
static bool run(const struct schedule *s)
{
	memset(&sim, 0, sizeof(sim));
	failure = (struct failure){};
	sim.rng = mix(s->seed);
	sim.weak = options.weak;
	sim.skipped = s->skipped;
	actors_plan(options.features, options.directed);
	if (s->switches)
		sim.rng = mix(s->switches);
	snapshot_restore();
	kernel_reset();
	tasks_reset();
	owners_reset();
	check_reset();
	cpus_reset();
	timekeeper_reset();
	actors_start();
	return cpus_run();
}

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void name(const struct schedule *s, char *text, size_t size)
{
	if (s->switches)
		snprintf(text, size, "%llu:%llx:%llu", s->seed, s->skipped, s->switches);
	else
		snprintf(text, size, "%llu", s->seed);
}

/* One action less after the other, as long as the same kind of failure is found. */
static struct schedule shrink(struct schedule s)
{
	char kind[32];
	int i, tries;

	run(&s);
	snprintf(kind, sizeof(kind), "%s", failure.kind);
	for (i = 0; i < SIM_CPUS * ACTIONS; i++) {
		struct schedule less = s;

		if (i % ACTIONS >= sim.lengths[i / ACTIONS] || i / ACTIONS >= sim_cpus)
			continue;
		less.skipped |= 1ULL << i;
		for (tries = 0; tries < SHRINK_TRIES; tries++) {
			less.switches = tries ? mix(s.seed + tries) >> 32 : s.switches;
			if (!run(&less) && !strcmp(failure.kind, kind)) {
				s = less;
				break;
			}
		}
	}
	/* Of those with these actions, one with few steps. */
	u64 best = NEVER;
	struct schedule other = s;

	for (tries = 0; tries < 3 * SHRINK_TRIES; tries++) {
		if (tries)
			other.switches = mix(s.seed + tries * 7919) >> 32;
		if (!run(&other) && !strcmp(failure.kind, kind) && sim.points < best) {
			best = sim.points;
			s = other;
		}
	}
	return s;
}

static void show(const struct schedule *s)
{
	char text[80];

	name(s, text, sizeof(text));
	timeline_clear();
	recording = true;
	run(s);
	recording = false;
	printf("schedule %s: ", text);
	if (failure.kind)
		printf("%s: %s\n", failure.kind, failure.what);
	else
		printf("%s\n", failure.endless ? "came to no end" : "passed");
	timeline_print(options.verbose ? NEVER : 200);
}

/* The first of its kind is told at once. */
static void failed(int job, u64 seed)
{
	int i;

	shared->job[job].failed++;
	for (i = 0; i < KINDS - 1 && shared->job[job].kinds[i].count; i++)
		if (!strcmp(shared->job[job].kinds[i].kind, failure.kind))
			break;
	if (!shared->job[job].kinds[i].count++) {
		snprintf(shared->job[job].kinds[i].kind, 16, "%s", failure.kind);
		shared->job[job].kinds[i].first = seed;
		printf("FAIL seed %llu: %s: %s\n", seed, failure.kind, failure.what);
		fflush(stdout);
	}
	if (!options.keep_going)
		shared->stop = 1;
}

static void show_kinds(void)
{
	int job, i, k;

	for (job = 0; job < options.jobs; job++) {
		for (i = 0; i < KINDS && shared->job[job].kinds[i].count; i++) {
			u64 count = 0, first = NEVER;
			int other;

			/* Those of the same kind of all jobs, once. */
			for (other = 0; other < options.jobs; other++) {
				for (k = 0; k < KINDS && shared->job[other].kinds[k].count; k++) {
					if (strcmp(shared->job[other].kinds[k].kind,
						   shared->job[job].kinds[i].kind))
						continue;
					if (other < job)
						first = 0;
					count += shared->job[other].kinds[k].count;
					if (shared->job[other].kinds[k].first < first)
						first = shared->job[other].kinds[k].first;
				}
			}
			if (first)
				printf("%12llu %s, first with seed %llu\n", count,
				       shared->job[job].kinds[i].kind, first);
		}
	}
}

static void work(int job)
{
	const u64 end = now_ns() + (u64)(options.seconds * 1e9);
	struct schedule s = { .seed = options.first + job };
	u64 done = 0, each = options.count / options.jobs + (options.count % options.jobs > (u64)job);

	for (;;) {
		if (options.count ? done >= each : !(done & 63) && now_ns() >= end)
			break;
		if (shared->stop)
			break;
		if (run(&s)) {
			shared->job[job].passed++;
			shared->job[job].endless += failure.endless;
		} else {
			failed(job, s.seed);
		}
		done++;
		s.seed += options.jobs;
	}
	shared->job[job].points = total_points;
}

static int replay(const char *text)
{
	struct schedule s = {};
	bool shrunk = strchr(text, ':');

	if (sscanf(text, "%llu:%llx:%llu", &s.seed, &s.skipped, &s.switches) < 1)
		return 2;
	if (!shrunk && !options.verbose && !run(&s)) {
		printf("%llu: %s: %s\n", s.seed, failure.kind, failure.what);
		s = shrink(s);
	}
	show(&s);
	printf("%d passed, %d failed\n", !failure.kind, !!failure.kind);
	return failure.kind ? 1 : 0;
}

static int search(void)
{
	u64 passed = 0, failed = 0, endless = 0, points = 0, began = now_ns();
	pid_t pids[JOBS];
	double seconds;
	int i, bad = 0;

	for (i = 0; i < options.jobs; i++) {
		pids[i] = fork();
		if (!pids[i]) {
			work(i);
			exit(0);
		}
	}
	for (i = 0; i < options.jobs; i++) {
		int status;

		waitpid(pids[i], &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status)) {
			printf("FAIL job %d died, status %x\n", i, status);
			bad++;
		}
		passed += shared->job[i].passed;
		failed += shared->job[i].failed;
		endless += shared->job[i].endless;
		points += shared->job[i].points;
	}
	seconds = (now_ns() - began) / 1e9;
	show_kinds();
	printf("seeds %llu to %llu, %.0f schedules a second, %.0f points each", options.first,
	       options.first + passed + failed - 1, (passed + failed) / seconds,
	       passed + failed ? (double)points / (passed + failed) : 0);
	if (endless)
		printf(", %llu came to no end", endless);
	printf("\n%llu passed, %llu failed\n", passed, failed + bad);
	return failed || bad;
}

static u64 scenario(char *names)
{
	u64 features = 1 << F_READ;
	char *n;
	int i;

	for (n = strtok(names, ","); n; n = strtok(NULL, ",")) {
		for (i = 0; i < F_FEATURES; i++)
			if (!strcmp(n, feature_names[i]))
				break;
		if (i == F_FEATURES) {
			fprintf(stderr, "sim: \"%s\" is not known; there are", n);
			for (i = 0; i < F_FEATURES; i++)
				fprintf(stderr, " %s", feature_names[i]);
			fprintf(stderr, "\n");
			exit(2);
		}
		features |= 1 << i;
	}
	return features;
}

static void usage(void)
{
	printf("sim [OPTION...]: the module under schedules that seeds make\n"
	       "  --seconds N        how long (10)\n"
	       "  --count N          how many schedules, instead\n"
	       "  --first N          the first seed (from the clock)\n"
	       "  --jobs N           processes (1)\n"
	       "  --seed SCHEDULE    this one; if it fails, shrunk and as a timeline\n"
	       "  --verbose          all of its timeline, and not shrunk\n"
	       "  --scenario NAME,...  with all of these and no others in each schedule, instead of\n"
	       "                     some of all but skew: rate dither step suspend param stop source\n"
	       "                     fork skew late hold isolated task owner guest vmclock timer\n"
	       "                     (guest, vmclock: of an owner; timer: of an owner, and of tasks)\n"
	       "  --weak             stores of a CPU pass each other unless a barrier forbids it\n"
	       "  --keep-going       goes on after a failure\n");
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "seconds", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'c' },
		{ "first", required_argument, NULL, 'f' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "seed", required_argument, NULL, 'r' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "scenario", required_argument, NULL, 'n' },
		{ "weak", no_argument, NULL, 'w' },
		{ "keep-going", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	const char *seed = NULL;
	struct timespec ts;
	int option;

	clock_gettime(CLOCK_REALTIME, &ts);
	options.first = (ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000) % 1000000000000;
	/* Counters that differ by more than Linux would let pass are a scenario of their own. */
	options.features = ((1 << F_FEATURES) - 1) & ~(1 << F_SKEW);
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (option) {
		case 's':
			options.seconds = atof(optarg);
			break;
		case 'c':
			options.count = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			options.first = strtoull(optarg, NULL, 0);
			break;
		case 'j':
			options.jobs = min(atoi(optarg), JOBS);
			break;
		case 'r':
			seed = optarg;
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'n':
			options.features = scenario(optarg);
			options.directed = true;
			break;
		case 'w':
			options.weak = true;
			break;
		case 'k':
			options.keep_going = true;
			break;
		case 'h':
			usage();
			return 0;
		default:
			usage();
			return 2;
		}
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED || options.jobs < 1)
		return 2;
	snapshot_take();
	return seed ? replay(seed) : search();
}
