// SPDX-License-Identifier: GPL-2.0
/*
 * Does to a kernel what user space cannot, for tests in a VM.
 *
 * Its parameters are the commands: each happens in the call that writes it.
 */
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/mc146818rtc.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/processor.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <asm/cpufeature.h>
#include <asm/tsc.h>

/* Longer, and the kernel's own watchdogs wake up. */
#define MOST_MS	200

static int irqs_off(const char *val, const struct kernel_param *kp)
{
	unsigned long flags;
	unsigned int ms;
	u64 begin;
	int err;

	err = kstrtouint(val, 0, &ms);
	if (err)
		return err;
	if (ms > MOST_MS)
		return -ERANGE;
	local_irq_save(flags);
	/* Not mdelay(): the kernel may have measured an emulated CPU while it stood still. */
	begin = ktime_get_mono_fast_ns();
	while (ktime_get_mono_fast_ns() - begin < ms * (u64)NSEC_PER_MSEC)
		cpu_relax();
	local_irq_restore(flags);
	return 0;
}

static const struct kernel_param_ops irqs_off_ops = { .set = irqs_off };
module_param_cb(irqs_off_ms, &irqs_off_ops, NULL, 0200);
MODULE_PARM_DESC(irqs_off_ms, "Disable interrupts on the CPU of the writer for so long");

static int tsc_unstable(const char *val, const struct kernel_param *kp)
{
	mark_tsc_unstable("a test");
	return 0;
}

static const struct kernel_param_ops tsc_unstable_ops = { .set = tsc_unstable };
module_param_cb(tsc_unstable, &tsc_unstable_ops, NULL, 0200);
MODULE_PARM_DESC(tsc_unstable, "Tell the kernel that its TSC is not to be trusted");

/* Only the driver of the device that tells of forks may call it by name. */
static int vm_fork(const char *val, const struct kernel_param *kp)
{
	void (*add_vmfork_randomness)(const void *unique_vm_id, size_t len);
	static const char id[16] = "another machine";
	unsigned long address;
	int err;

	err = kstrtoul(val, 0, &address);
	if (err)
		return err;
	add_vmfork_randomness = (void *)address;
	add_vmfork_randomness(id, sizeof(id));
	return 0;
}

static const struct kernel_param_ops vm_fork_ops = { .set = vm_fork };
module_param_cb(vm_fork, &vm_fork_ops, NULL, 0200);
MODULE_PARM_DESC(vm_fork, "Tell the kernel that its machine was forked: address of add_vmfork_randomness");

/* QEMU's is; but it has no way to say so, and on PREEMPT_RT KVM wants to be told. */
static int tsc_constant(const char *val, const struct kernel_param *kp)
{
	set_cpu_cap(&boot_cpu_data, X86_FEATURE_CONSTANT_TSC);
	return 0;
}

static const struct kernel_param_ops tsc_constant_ops = { .set = tsc_constant };
module_param_cb(tsc_constant, &tsc_constant_ops, NULL, 0200);
MODULE_PARM_DESC(tsc_constant, "Tell the kernel that its TSC runs at a constant rate");

static unsigned int cmos_read_decimal(unsigned char reg)
{
	unsigned char value = CMOS_READ(reg);

	return (value >> 4) * 10 + (value & 15);
}

/* The battery's clock goes on while a virtual machine is stopped. */
static int cmos_seconds(char *buffer, const struct kernel_param *kp)
{
	unsigned int seconds, again;
	unsigned long flags;

	spin_lock_irqsave(&rtc_lock, flags);
	do {
		seconds = cmos_read_decimal(RTC_SECONDS) + 60 * cmos_read_decimal(RTC_MINUTES);
		again = cmos_read_decimal(RTC_SECONDS) + 60 * cmos_read_decimal(RTC_MINUTES);
	} while (seconds != again);
	spin_unlock_irqrestore(&rtc_lock, flags);
	return sprintf(buffer, "%u\n", seconds);
}

static const struct kernel_param_ops cmos_seconds_ops = { .get = cmos_seconds };
module_param_cb(cmos_seconds, &cmos_seconds_ops, NULL, 0444);
MODULE_PARM_DESC(cmos_seconds, "Seconds of the hour, by the clock of the battery");

#ifdef CONFIG_KPROBES
/* Whoever comes to an instruction is stopped there for a while, with interrupts off. */
static struct kprobe place;
static char place_symbol[128];
static unsigned int place_us;

static int stop_here(struct kprobe *p, struct pt_regs *regs)
{
	u64 begin = ktime_get_mono_fast_ns();

	while (ktime_get_mono_fast_ns() - begin < place_us * (u64)NSEC_PER_USEC)
		cpu_relax();
	return 0;
}

static void forget_place(void)
{
	if (!place.addr)
		return;
	unregister_kprobe(&place);
	memset(&place, 0, sizeof(place));
}

static int stop_at(const char *val, const struct kernel_param *kp)
{
	unsigned int offset, us;
	int err;

	forget_place();
	if (sysfs_streq(val, "nothing"))
		return 0;
	if (sscanf(val, "%127[^+]+%u %u", place_symbol, &offset, &us) != 3)
		return -EINVAL;
	if (us > MOST_MS * USEC_PER_MSEC)
		return -ERANGE;
	place_us = us;
	place.symbol_name = place_symbol;
	place.offset = offset;
	place.pre_handler = stop_here;
	err = register_kprobe(&place);
	if (err)
		memset(&place, 0, sizeof(place));
	return err;
}

static const struct kernel_param_ops stop_at_ops = { .set = stop_at };
module_param_cb(stop_at, &stop_at_ops, NULL, 0200);
MODULE_PARM_DESC(stop_at, "SYMBOL+OFFSET US: stop whoever comes there for so long; or nothing");
#else
static void forget_place(void)
{
}
#endif

static int __init parkclock_disturb_init(void)
{
	return 0;
}

static void __exit parkclock_disturb_exit(void)
{
	forget_place();
}

module_init(parkclock_disturb_init);
module_exit(parkclock_disturb_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Disturbs the clock of a virtual machine, for tests");
