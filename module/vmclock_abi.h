/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The VMClock page, version 1, as we write it: older kernels have no vmclock-abi.h. Where
 * the kernel has one, the build compares this file with it.
 */
#ifndef PARKCLOCK_VMCLOCK_ABI_H
#define PARKCLOCK_VMCLOCK_ABI_H

#include <linux/bits.h>
#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <linux/types.h>

#define VMC_MAGIC			0x4b4c4356	/* "VCLK" */
#define VMC_VERSION			1
#define VMC_COUNTER_X86_TSC		1
#define VMC_TIME_UTC			0
#define VMC_TIME_MONOTONIC		2
#define VMC_STATUS_SYNCHRONIZED		2
#define VMC_STATUS_FREERUNNING		3
#define VMC_STATUS_UNRELIABLE		4

/* Which fields have a meaning; the last bit is a promise. */
#define VMC_FLAG_TAI_OFFSET_VALID	BIT(0)
#define VMC_FLAG_PERIOD_ESTERROR_VALID	BIT(3)
#define VMC_FLAG_PERIOD_MAXERROR_VALID	BIT(4)
#define VMC_FLAG_TIME_ESTERROR_VALID	BIT(5)
#define VMC_FLAG_TIME_MAXERROR_VALID	BIT(6)
#define VMC_FLAG_TIME_MONOTONIC		BIT(7)

/**
 * struct vmc_abi - the page that readers of VMClock read
 * @magic:	VMC_MAGIC
 * @size:	size of the page, in bytes
 * @version:	VMC_VERSION
 * @counter_id:	VMC_COUNTER_X86_TSC
 * @time_type:	VMC_TIME_*: the time in @time_sec. All fields up to here are constant.
 * @seq_count:	odd while the following fields are being changed
 * @disruption_marker: differs after the counter was disrupted
 * @flags:	VMC_FLAG_*
 * @pad:	zero
 * @clock_status: VMC_STATUS_*
 * @leap_second_smearing_hint: 0: no smearing
 * @tai_offset_sec: TAI minus UTC, in s
 * @leap_indicator: 0: no leap second is known
 * @counter_period_shift: see @counter_period_frac_sec
 * @counter_value: the counter at @time_sec
 * @counter_period_frac_sec: seconds per cycle, in 2^-(64 + @counter_period_shift)
 * @counter_period_esterror_rate_frac_sec: estimate of its error, in the same unit
 * @counter_period_maxerror_rate_frac_sec: bound of its error, in the same unit
 * @time_sec:	the time at @counter_value, whole seconds
 * @time_frac_sec: the fraction of that time, in 2^-64 s
 * @time_esterror_nanosec: estimate of the error at @counter_value
 * @time_maxerror_nanosec: bound of the error at @counter_value
 * @vm_generation_counter: not used
 */
struct vmc_abi {
	__le32 magic;
	__le32 size;
	__le16 version;
	__u8 counter_id;
	__u8 time_type;
	__le32 seq_count;
	__le64 disruption_marker;
	__le64 flags;
	__u8 pad[2];
	__u8 clock_status;
	__u8 leap_second_smearing_hint;
	__le16 tai_offset_sec;
	__u8 leap_indicator;
	__u8 counter_period_shift;
	__le64 counter_value;
	__le64 counter_period_frac_sec;
	__le64 counter_period_esterror_rate_frac_sec;
	__le64 counter_period_maxerror_rate_frac_sec;
	__le64 time_sec;
	__le64 time_frac_sec;
	__le64 time_esterror_nanosec;
	__le64 time_maxerror_nanosec;
	__le64 vm_generation_counter;
};

#define VMC_AT(abi, field, where) \
	static_assert(offsetof(struct abi, field) == (where), #abi "." #field " is elsewhere")

VMC_AT(vmc_abi, magic, 0);
VMC_AT(vmc_abi, size, 4);
VMC_AT(vmc_abi, version, 8);
VMC_AT(vmc_abi, counter_id, 10);
VMC_AT(vmc_abi, time_type, 11);
VMC_AT(vmc_abi, seq_count, 12);
VMC_AT(vmc_abi, disruption_marker, 16);
VMC_AT(vmc_abi, flags, 24);
VMC_AT(vmc_abi, pad, 32);
VMC_AT(vmc_abi, clock_status, 34);
VMC_AT(vmc_abi, leap_second_smearing_hint, 35);
VMC_AT(vmc_abi, tai_offset_sec, 36);
VMC_AT(vmc_abi, leap_indicator, 38);
VMC_AT(vmc_abi, counter_period_shift, 39);
VMC_AT(vmc_abi, counter_value, 40);
VMC_AT(vmc_abi, counter_period_frac_sec, 48);
VMC_AT(vmc_abi, counter_period_esterror_rate_frac_sec, 56);
VMC_AT(vmc_abi, counter_period_maxerror_rate_frac_sec, 64);
VMC_AT(vmc_abi, time_sec, 72);
VMC_AT(vmc_abi, time_frac_sec, 80);
VMC_AT(vmc_abi, time_esterror_nanosec, 88);
VMC_AT(vmc_abi, time_maxerror_nanosec, 96);
VMC_AT(vmc_abi, vm_generation_counter, 104);

#ifdef PARKCLOCK_HAS_vmclock_abi
#include <uapi/linux/vmclock-abi.h>

VMC_AT(vmclock_abi, magic, 0);
VMC_AT(vmclock_abi, size, 4);
VMC_AT(vmclock_abi, version, 8);
VMC_AT(vmclock_abi, counter_id, 10);
VMC_AT(vmclock_abi, time_type, 11);
VMC_AT(vmclock_abi, seq_count, 12);
VMC_AT(vmclock_abi, disruption_marker, 16);
VMC_AT(vmclock_abi, flags, 24);
VMC_AT(vmclock_abi, pad, 32);
VMC_AT(vmclock_abi, clock_status, 34);
VMC_AT(vmclock_abi, leap_second_smearing_hint, 35);
VMC_AT(vmclock_abi, tai_offset_sec, 36);
VMC_AT(vmclock_abi, leap_indicator, 38);
VMC_AT(vmclock_abi, counter_period_shift, 39);
VMC_AT(vmclock_abi, counter_value, 40);
VMC_AT(vmclock_abi, counter_period_frac_sec, 48);
VMC_AT(vmclock_abi, counter_period_esterror_rate_frac_sec, 56);
VMC_AT(vmclock_abi, counter_period_maxerror_rate_frac_sec, 64);
VMC_AT(vmclock_abi, time_sec, 72);
VMC_AT(vmclock_abi, time_frac_sec, 80);
VMC_AT(vmclock_abi, time_esterror_nanosec, 88);
VMC_AT(vmclock_abi, time_maxerror_nanosec, 96);
static_assert(VMC_MAGIC == VMCLOCK_MAGIC);
static_assert(VMC_COUNTER_X86_TSC == VMCLOCK_COUNTER_X86_TSC);
static_assert(VMC_TIME_UTC == VMCLOCK_TIME_UTC);
static_assert(VMC_TIME_MONOTONIC == VMCLOCK_TIME_MONOTONIC);
static_assert(VMC_STATUS_SYNCHRONIZED == VMCLOCK_STATUS_SYNCHRONIZED);
static_assert(VMC_STATUS_FREERUNNING == VMCLOCK_STATUS_FREERUNNING);
static_assert(VMC_STATUS_UNRELIABLE == VMCLOCK_STATUS_UNRELIABLE);
static_assert(VMC_FLAG_TAI_OFFSET_VALID == VMCLOCK_FLAG_TAI_OFFSET_VALID);
static_assert(VMC_FLAG_PERIOD_ESTERROR_VALID == VMCLOCK_FLAG_PERIOD_ESTERROR_VALID);
static_assert(VMC_FLAG_PERIOD_MAXERROR_VALID == VMCLOCK_FLAG_PERIOD_MAXERROR_VALID);
static_assert(VMC_FLAG_TIME_ESTERROR_VALID == VMCLOCK_FLAG_TIME_ESTERROR_VALID);
static_assert(VMC_FLAG_TIME_MAXERROR_VALID == VMCLOCK_FLAG_TIME_MAXERROR_VALID);
static_assert(VMC_FLAG_TIME_MONOTONIC == VMCLOCK_FLAG_TIME_MONOTONIC);
#endif

#endif
