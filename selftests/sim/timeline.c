// SPDX-License-Identifier: GPL-2.0
/*
 * A run as a person can follow it: who does what where, and what is in memory.
 *
 * The places in the source come from addr2line, in one go when all is printed.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/parkclock.h>

#include "sim.h"

struct event {
	char what;		/* r, w, x, p, d: see record_access(); t: text */
	unsigned char cpu, size;
	bool in_irq;
	const char *doing;
	void *pc;
	u64 now, addr, value;
	char *text;
};

static struct event *events;
static unsigned long count, room;

static struct event *more(void)
{
	if (count == room) {
		room = room ? 2 * room : 4096;
		events = realloc(events, room * sizeof(*events));
		if (!events)
			abort();
	}
	events[count] = (struct event){
		.now = sim.now,
		.cpu = me ? me->id : 255,
		.doing = me ? me->doing : "",
		.in_irq = me && me->in_irq,
	};
	return &events[count++];
}

void record(const char *format, ...)
{
	struct event *e;
	va_list args;

	if (!recording)
		return;
	e = more();
	e->what = 't';
	va_start(args, format);
	if (vasprintf(&e->text, format, args) < 0)
		abort();
	va_end(args);
}

void record_access(char what, void *pc, u64 addr, unsigned int size, u64 value)
{
	struct event *e = more();

	e->what = what;
	e->pc = pc;
	e->addr = addr;
	e->size = size;
	e->value = value;
}

void timeline_clear(void)
{
	while (count)
		free(events[--count].text);
}

/* Symbols of this program, from nm; sorted by address. */
static struct symbol {
	u64 addr, size;
	char name[56];
} *symbols;
static unsigned long symbol_count;

static void load_symbols(void)
{
	char command[64];
	char line[256], type;
	FILE *nm;

	if (symbols)
		return;
	snprintf(command, sizeof(command), "nm -nS /proc/%d/exe", getpid());
	nm = popen(command, "r");
	symbols = calloc(20000, sizeof(*symbols));
	while (nm && symbols && symbol_count < 20000 && fgets(line, sizeof(line), nm)) {
		struct symbol *s = &symbols[symbol_count];

		if (sscanf(line, "%llx %llx %c %55s", &s->addr, &s->size, &type, s->name) == 4 &&
		    strchr("bBdDrR", type))
			symbol_count++;
	}
	if (nm)
		pclose(nm);
}

static const char *const segment_fields[] = {
	"base_cycles", "base_ns", "base_frac", "rate", "valid_cycles", "epoch", "error_ns",
	"error_rate", "offset_ns[0]", "offset_ns[1]", "offset_ns[2]", "offset_ns[3]", "generation",
};

static const char *place(u64 addr)
{
	static char name[96];
	u64 off = addr - (u64)timebase_map();
	unsigned long i;

	if (off < sizeof(struct parkclock_timebase)) {
		u64 seg = off - offsetof(struct parkclock_timebase, segment);
		u64 field = seg % sizeof(struct parkclock_segment) / 8;

		if (off == offsetof(struct parkclock_timebase, seq))
			return "page.seq";
		if (off == offsetof(struct parkclock_timebase, epoch))
			return "page.epoch";
		if (off == offsetof(struct parkclock_timebase, reason))
			return "page.reason";
		if (off == offsetof(struct parkclock_timebase, disruptions))
			return "page.disruptions";
		if (off >= offsetof(struct parkclock_timebase, segment) &&
		    field < ARRAY_SIZE(segment_fields))
			snprintf(name, sizeof(name), "page.segment[%llu].%s",
				 seg / sizeof(struct parkclock_segment), segment_fields[field]);
		else
			snprintf(name, sizeof(name), "page+%llu", off);
		return name;
	}
	if (percpu_name(addr, name, sizeof(name)))
		return name;
	for (i = 0; i < symbol_count; i++)
		if (addr - symbols[i].addr < symbols[i].size) {
			snprintf(name, sizeof(name), addr == symbols[i].addr ? "%s" : "%s+%llu",
				 symbols[i].name, addr - symbols[i].addr);
			return name;
		}
	snprintf(name, sizeof(name), "%llx", addr);
	return name;
}

/* "function at file:line" of all events that have a place, in their order. */
static char **source_places(unsigned long from)
{
	char list[] = "/tmp/parkclock-sim.XXXXXX";
	char command[128], line[400];
	char **places;
	unsigned long i;
	int fd = mkstemp(list);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	places = calloc(count + 1, sizeof(*places));
	if (!f || !places)
		return places;
	for (i = from; i < count; i++)
		if (events[i].pc)
			fprintf(f, "%llx\n", (u64)events[i].pc - 1);
	fclose(f);
	snprintf(command, sizeof(command), "addr2line -s -f -p -e /proc/%d/exe <%s", getpid(), list);
	f = popen(command, "r");
	for (i = from; f && i < count; i++)
		if (events[i].pc && fgets(line, sizeof(line), f)) {
			line[strcspn(line, "\n")] = 0;
			places[i] = strdup(line);
		}
	if (f)
		pclose(f);
	unlink(list);
	return places;
}

void timeline_print(unsigned long most)
{
	unsigned long i, from = count > most ? count - most : 0;
	char **places = source_places(from);
	u64 began = count ? events[0].now : 0;

	load_symbols();
	if (from)
		printf("  (%lu events before this are left out: --verbose)\n", from);
	for (i = from; i < count; i++) {
		struct event *e = &events[i];

		printf("%14llu ", e->now - began);
		if (e->cpu == 255)
			printf("     ");
		else
			printf("%*sCPU%u%s", e->cpu * 2, "", e->cpu, e->in_irq ? "!" : " ");
		printf("%*s", e->cpu == 255 ? 8 : 8 - e->cpu * 2, "");
		switch (e->what) {
		case 't':
			printf("[%s] %s", e->doing, e->text);
			break;
		case 'r':
			printf("%s is %lld", place(e->addr), e->value);
			break;
		case 'w':
			printf("%s = %lld", place(e->addr), e->value);
			break;
		case 'x':
			printf("%s = %lld, at once", place(e->addr), e->value);
			break;
		case 'p':
			printf("%s = ...", place(e->addr));
			break;
		case 'd':
			printf("  (in memory: %s = %lld)", place(e->addr), e->value);
			break;
		}
		if (places && places[i])
			printf("    <%s>", places[i]);
		printf("\n");
		if (places)
			free(places[i]);
	}
	free(places);
}
