// SPDX-License-Identifier: GPL-2.0
/*
 * parkclock doctor: the host
 *
 * The facts come from files of /proc and /sys. Where these are missing, as in some
 * containers, nothing is known, and the result is a note.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "doctor.h"
#include "query.h"

#define MODULE		"/sys/module/parkclock"
#define CLOCKSOURCE	"/sys/devices/system/clocksource/clocksource0/"

#define MOUNT_SYS	"To find out, mount /sys, or run this on the host itself."
#define MOUNT_PROC	"To find out, mount /proc, or run this on the host itself."
#define NO_FLAGS	"Not known: /proc/cpuinfo does not show the flags of the CPU."

/* Reads the first line of a file, without its end; false with errno. */
static bool read_line(const char *path, char *line, int size)
{
	FILE *f = fopen(path, "re");
	bool ok;

	if (!f)
		return false;
	errno = ENODATA;
	ok = fgets(line, size, f);
	fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

static bool has_word(const char *line, const char *word)
{
	const size_t length = strlen(word);

	for (const char *s = line; (s = strstr(s, word)); s += length) {
		if ((s == line || strchr(" \t:", s[-1])) && strchr(" \t", s[length]))
			return true;
	}
	return false;
}

/* The flags of the first CPU: a line that the caller frees, or NULL. */
static char *cpu_flags(void)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char *line = NULL;
	size_t size = 0;
	ssize_t n = -1;

	if (!f)
		return NULL;
	while ((n = getline(&line, &size, f)) > 0 && strncmp(line, "flags", 5))
		;
	fclose(f);
	if (n > 0) {
		line[strcspn(line, "\n")] = '\0';
		return line;
	}
	free(line);
	return NULL;
}

void check_module(struct patient *p, struct finding *f)
{
	char enabled[8];

	if (access(MODULE, F_OK)) {
		if (p->pc)
			find(f, NOTE, MOUNT_SYS,
			     "The device works, but /sys does not show its module.");
		else if (access("/sys/module", F_OK))
			find(f, NOTE, MOUNT_SYS, "Not known: there is no /sys/module here.");
		else
			find(f, FAILURE,
			     "Load it, as root: \"modprobe parkclock\", or \"insmod parkclock.ko\".",
			     "The module is not loaded.");
		return;
	}
	if (!read_line(MODULE "/parameters/enabled", enabled, sizeof(enabled)))
		find(f, NOTE, "To find out, run this as root.",
		     "The module is loaded; its parameter enabled cannot be read: %s.",
		     strerror(errno));
	else if (*enabled != 'Y')
		find(f, WARNING, "As root: echo Y >" MODULE "/parameters/enabled",
		     SAY("The module is loaded, but its parameter enabled is %s:",
			 "the page is not kept fresh, and every read is slow."),
		     enabled);
	else
		find(f, OK, NULL, "The module is loaded, and enabled.");
}

/* Opening succeeded even if the pages are not understood: see check_abi(). */
void check_device(struct patient *p, struct finding *f)
{
	if (p->pc || p->open_errno == EPROTO)
		find(f, OK, NULL, "%s can be opened for reading.", p->device);
	else
		find(f, FAILURE, parkclock_explain_open(p->open_errno),
		     "%s cannot be opened as a clock, for reading: %s.", p->device,
		     strerror(p->open_errno));
}

void check_abi(struct patient *p, struct finding *f)
{
	if (p->pc)
		find(f, OK, NULL, "The device's pages follow version %d, or extend it.",
		     PARKCLOCK_VERSION);
	else if (p->open_errno == EPROTO)
		find(f, FAILURE, parkclock_explain_open(EPROTO),
		     "The device's pages do not follow version %d of the specification.",
		     PARKCLOCK_VERSION);
	else
		find(f, SKIPPED, NULL, "Not checked: the device could not be opened.");
}

void check_write(struct patient *p, struct finding *f)
{
	const int fd = open(p->device, O_RDWR | O_CLOEXEC);
	const int err = errno;
	struct stat st;

	if (fd >= 0) {
		close(fd);
		find(f, OK, NULL, "%s can be opened for writing, too: tasks can be registered.",
		     p->device);
		return;
	}
	find(f, NOTE, !stat(p->device, &st) && !(st.st_mode & 0020) ?
	     SAY("Only root may write. To let the group clock, as root: install the udev rule",
		 "(\"make install\"), and \"udevadm trigger --name-match=parkclock\".") :
	     SAY("To change that, as root: \"usermod -a -G clock USER\", and log in anew;",
		 "or be root."),
	     SAY("%s cannot be opened for writing: %s. It can be read and held,",
		 "but tasks cannot be registered, and the host's counters are hidden."),
	     p->device, strerror(err));
}

enum { WORDS = 80 };	/* room for all the words that check_cpu() knows */

static void add_word(char *words, const char *word)
{
	const size_t length = strlen(words);

	snprintf(words + length, WORDS - length, " %s", word);
}

void check_cpu(struct patient *p, struct finding *f)
{
	static const char *const wanted[] = { "constant_tsc", "nonstop_tsc" };
	static const char *const welcome[] = { "tsc_known_freq", "tsc_reliable" };
	char *flags = cpu_flags(), has[WORDS] = "", lacks[WORDS] = "";

	(void)p;
	if (!flags) {
		find(f, NOTE, MOUNT_PROC, NO_FLAGS);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		add_word(has_word(flags, wanted[i]) ? has : lacks, wanted[i]);
	for (size_t i = 0; i < ARRAY_SIZE(welcome); i++) {
		if (has_word(flags, welcome[i]))
			add_word(has, welcome[i]);
	}
	free(flags);
	if (*lacks)
		find(f, NOTE,
		     SAY("See by \"clocksource\" whether the kernel trusts the TSC all the same.",
			 "In a virtual machine, enable an invariant TSC."),
		     "The CPU does not promise that its TSC keeps its rate: it lacks%s.", lacks);
	else
		find(f, OK, NULL, "The CPU's TSC keeps its rate:%s.", has);
}

#define CHOOSE_TSC "As root: echo tsc >" CLOCKSOURCE "current_clocksource."

/* What to do about a clocksource that is not the TSC. */
static const char *clocksource_advice(const char *now)
{
	char available[256];

	if (!read_line(CLOCKSOURCE "available_clocksource", available, sizeof(available)) ||
	    !has_word(available, "tsc"))
		return SAY("The kernel does not trust the TSC: \"dmesg\" may say why.",
			   "If you know that the kernel is wrong, boot with tsc=reliable.");
	if (!strcmp(now, "kvm-clock"))
		return SAY(CHOOSE_TSC, "To make it last, boot with no-kvmclock.");
	return SAY(CHOOSE_TSC, "To make it last, boot with clocksource=tsc.");
}

/* The module knows, too: for when /sys does not say. */
static bool counter_unusable(struct patient *p)
{
	struct parkclock_query q;

	return p->pc && !parkclock_query(p->pc, &q) && q.flags & PARKCLOCK_COUNTER_UNUSABLE;
}

void check_clocksource(struct patient *p, struct finding *f)
{
	const bool unusable = counter_unusable(p);
	char now[64];

	if (!read_line(CLOCKSOURCE "current_clocksource", now, sizeof(now))) {
		if (unusable)
			find(f, WARNING, "Choose the TSC as clocksource, on the host, as root.",
			     "The host does not keep time by the TSC: every read is slow.");
		else
			find(f, NOTE, MOUNT_SYS, "Not known: the clocksource cannot be read: %s.",
			     strerror(errno));
	} else if (!strcmp(now, "tsc-early")) {
		find(f, NOTE, "Wait some seconds, and try again.",
		     "The kernel is still measuring the TSC (tsc-early).");
	} else if (strcmp(now, "tsc") || unusable) {
		find(f, WARNING, clocksource_advice(now),
		     "The host keeps time by %s, not by the TSC: every read is slow.", now);
	} else {
		find(f, OK, NULL, "The host keeps time by the TSC.");
	}
}

void check_virtual(struct patient *p, struct finding *f)
{
	char *flags = cpu_flags(), now[64] = "";
	const bool known = flags;
	const bool is_virtual = known && has_word(flags, "hypervisor");

	(void)p;
	free(flags);
	read_line(CLOCKSOURCE "current_clocksource", now, sizeof(now));
	if (!known)
		find(f, NOTE, MOUNT_PROC, NO_FLAGS);
	else if (!is_virtual)
		find(f, OK, NULL, "The machine has no hypervisor, or the hypervisor hides.");
	else if (!strncmp(now, "tsc", 3))
		find(f, OK, NULL, "This virtual machine keeps time by the TSC nevertheless.");
	else
		find(f, NOTE,
		     SAY("Let the hypervisor offer an invariant TSC, and the kernel choose it",
			 "(under KVM: boot with no-kvmclock)."),
		     SAY("This is a virtual machine. Many keep time by their hypervisor's clock,",
			 "such as kvm-clock."));
}

void check_tsc(struct patient *p, struct finding *f)
{
	int mode;

	(void)p;
	if (prctl(PR_GET_TSC, &mode))
		find(f, WARNING, "Allow prctl(PR_GET_TSC) in the configuration of the sandbox.",
		     SAY("Whether this process may read the TSC cannot be known: %s.",
			 "So it does not read it, and every read is slow."),
		     strerror(errno));
	else if (mode != PR_TSC_ENABLE)
		find(f, WARNING, "Start this from a process that may: the right is inherited.",
		     "This process may not read the TSC (PR_SET_TSC): every read is slow.");
	else
		find(f, OK, NULL, "This process may read the TSC.");
}

/* Can both links be read, and do they differ? */
static bool links_differ(const char *one, const char *other)
{
	char a[64], b[64];
	const ssize_t m = readlink(one, a, sizeof(a));
	const ssize_t n = readlink(other, b, sizeof(b));

	return m >= 0 && n >= 0 && (m != n || memcmp(a, b, m));
}

/* Offsets of MONOTONIC and BOOTTIME in seconds; 0 if unknown. */
static void read_offsets(double *monotonic, double *boottime)
{
	FILE *f = fopen("/proc/self/timens_offsets", "re");
	long long mono_s, mono_ns, boot_s, boot_ns;

	*monotonic = 0;
	*boottime = 0;
	if (!f)
		return;
	if (fscanf(f, "monotonic %lld %lld boottime %lld %lld", &mono_s, &mono_ns, &boot_s,
		   &boot_ns) == 4) {
		*monotonic = mono_s + mono_ns / 1e9;
		*boottime = boot_s + boot_ns / 1e9;
	}
	fclose(f);
}

void check_time_namespace(struct patient *p, struct finding *f)
{
	double monotonic, boottime;

	(void)p;
	if (access("/proc/self", F_OK)) {
		find(f, NOTE, MOUNT_PROC, "Not known: there is no /proc here.");
		return;
	}
	if (access("/proc/self/ns/time", F_OK)) {
		find(f, OK, NULL, "This kernel has no time namespaces.");
		return;
	}
	read_offsets(&monotonic, &boottime);
	if (links_differ("/proc/self/ns/time", "/proc/1/ns/time") || monotonic || boottime)
		find(f, NOTE,
		     SAY("Nothing needs to be done if the clock is opened in this namespace:",
			 "a clock reads as clock_gettime does where the clock was opened."),
		     SAY("This process is in a time namespace: to MONOTONIC it adds %.9g s,",
			 "to BOOTTIME %.9g s."), monotonic, boottime);
	else
		find(f, OK, NULL,
		     "This process seems to be in the initial time namespace.");
}

/* Tries it on this thread, for a moment. */
void check_registration(struct patient *p, struct finding *f)
{
	struct parkclock *pc = parkclock_open_owner(p->device);

	if (!pc)
		find(f, NOTE, "See \"write_access\".",
		     "Tasks cannot be registered by this user: %s.", strerror(errno));
	else if (parkclock_register(pc, 0, 0) || parkclock_unregister(pc, 0, 0))
		find(f, WARNING, parkclock_explain_register(errno),
		     "Tasks cannot be registered: %s.", strerror(errno));
	else
		find(f, OK, NULL, "Tasks can be registered.");
	parkclock_close(pc);
}

#define RAISE	"Raise the module's parameter of that name, or close some."

/* A limit is near if less than a tenth of it is left. */
static bool near(__u32 used, __u32 most)
{
	return most && used > most - most / 10;
}

void check_limits(struct patient *p, struct finding *f)
{
	struct parkclock_limits l;

	if (parkclock_limits(p->pc, &l)) {
		find(f, FAILURE, "Install the module and this program from the same release.",
		     "the module does not tell its limits: %s", strerror(errno));
		return;
	}
	for (int i = 0; i < PARKCLOCK_LIMITS; i++) {
		const struct parkclock_limit *limit = &l.limit[i];

		if (near(limit->user_used, limit->user_most)) {
			find(f, WARNING, RAISE,
			     "user_%s: %u of %u are used", limit_names[i], limit->user_used,
			     limit->user_most);
			return;
		}
		if (near(limit->host_used, limit->host_most)) {
			find(f, WARNING, RAISE,
			     "host_%s: %u of %u are used", limit_names[i], limit->host_used,
			     limit->host_most);
			return;
		}
	}
	find(f, OK, NULL, "this user has %u of %u clocks; no limit is near",
	     l.limit[PARKCLOCK_LIMIT_CLOCKS].user_used, l.limit[PARKCLOCK_LIMIT_CLOCKS].user_most);
}

void check_discontinuity(struct patient *p, struct finding *f)
{
	struct parkclock_query q;

	if (parkclock_query(p->pc, &q))
		find(f, FAILURE, parkclock_explain(errno), "The clock cannot be queried: %s.",
		     strerror(errno));
	else if (q.reason == PARKCLOCK_REASON_NONE)
		find(f, OK, NULL,
		     "The host's clocks have not jumped since the module was loaded.");
	else
		find(f, NOTE,
		     SAY("Nothing needs to be done. But readings of different generations, one",
			 "from before and one from after a jump, cannot be subtracted."),
		     "The host's clocks have jumped. The last reason: %s (generation %llu).",
		     reason_text(q.reason), q.generation);
}
