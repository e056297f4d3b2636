#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The example runtime, tools/examples/sandbox.c, does what it says.
#
# Checked: a new clock begins near zero, and so does the kernel's own in the sandbox's time
# namespace. The sandbox, which is registered, never finds an expired page, and has nothing
# but its view. The filter and the view refuse all but what they are for. A saved clock
# continues by the chosen policy, also when REALTIME went back, and keeps its boot time over
# two restores. After each sandbox, however it ended, nothing is left, and the module is not
# in use.
#
# Fails if registering comes too late, if a restored clock forgets the gap or counts one that
# it must not, or if a process, a descriptor or a reference outlives the runtime.
#
# shellcheck disable=SC2317 # the tests are called by their names

# shellcheck source=selftests/lib/script.sh
. "${0%/*}/script.sh"

file=$dir/saved

# What this kernel has not, if anything that the example needs
lacking=
[ -e /proc/self/ns/user ] && [ -e /proc/self/ns/pid ] && [ -e /proc/self/ns/time ] ||
	lacking="user, pid and time namespaces"
grep -q '^Seccomp:' /proc/self/status || lacking=${lacking:-seccomp}
[ -d /sys/kernel/tracing/events/sched/sched_switch ] || lacking=${lacking:-tracepoints}

lacks()
{
	[ -n "$lacking" ] || return
	skip "needs a kernel with $lacking"
}

# BOOTTIME in ns, not later than it is, to 10 ms
uptime_ns()
{
	read -r seconds _ </proc/uptime
	echo "$(echo "$seconds" | tr -d .)0000000"
}

# field PATTERN: the number that it finds in what the sandbox has printed
field()
{
	sed -n "s/$1.*/\1/p" "$out"
}

# run ARGUMENT...: a sandbox that ends well. What it found is in $first and so on; $began
# and $ended are times not later, and not earlier, than its begin and end.
run()
{
	began=$(uptime_ns)
	expect 0 sandbox "$@"
	result=$?
	ended=$(($(uptime_ns) + 10000000))
	first=$(field '^inside: MONOTONIC from \([0-9]*\)')
	last=$(field '^inside: .* to \([0-9]*\) ns')
	kernel=$(field '^inside: .* by the kernel \([0-9]*\) ns before')
	by_page=$(field '^inside: .* \([0-9]*\) times by page')
	by_read=$(field '^inside: .* \([0-9]*\) by READ')
	saved=$(field '^saved: MONOTONIC \([0-9]*\) ns')
	boot=$(field '^saved: .* boot \([0-9]*\) ns')
	generation=$(field '^saved: .* generation \([0-9]*\)')
	return "$result"
}

# ordered NUMBER...: each is one, and none is smaller than that before it
ordered()
{
	least=0
	for value; do
		if ! [ "$value" -ge "$least" ]; then
			echo "not in order: $*"
			cat "$out"
			return 1
		fi
		least=$value
	done
}

# What cannot work is said in words, and leaves nothing.
kernel_lacks()
{
	if [ -z "$lacking" ]; then
		skip "needs a kernel that lacks something"
		return
	fi
	expect 1 sandbox && has '^sandbox: cannot .*[Nn]eeds a kernel with' "$err"
}

usage()
{
	expect 0 sandbox --help && has '^usage: sandbox' "$out" || return
	for wrong in nonsense 'work work' --nonsense '--bursts 0' '--bursts x' --save \
		"--restore $file" '--gap freeze' "--restore $file --gap nonsense"; do
		# shellcheck disable=SC2086 # words
		expect 2 sandbox $wrong && has '^sandbox: .*--help' "$err" || return
	done
}

near_zero()
{
	lacks && return
	run --bursts 2 && ordered 1 "$kernel" "$first" "$last" $((ended - began))
}

# In naps the clock parks, and the page expires: each burst begins with a wake-up.
protected()
{
	lacks && return
	wakes=$(status run_wakes)
	run --bursts 20 && ordered 20000 $((by_page + by_read)) || return
	if [ "$usable" -eq 1 ]; then
		[ "$by_page" -gt 0 ] && [ "$(status run_wakes)" -gt "$wakes" ]
	else
		[ "$by_page" -eq 0 ] && has 'does not keep time by its TSC' "$out"
	fi && return
	cat "$out"
	return 1
}

# Two errors each: of the view alone, and with the filter.
forbidden()
{
	lacks && return
	run --bursts 1 probe && sed -n 's/^probe: //p' "$out" >"$dir/tried" || return
	{
		for call in clock_gettime gettimeofday time clock_nanosleep; do
			echo "$call 0 EPERM"
		done
		echo open ENOENT EPERM
		echo READ 0 0
		for request in QUERY HOLD RELEASE REGISTER UNREGISTER ACCURACY EPOCH OFFSETS \
			STOP START SAVE RESTORE VIEW; do
			echo "$request ENOTTY EPERM"
		done
		echo read 0 0
		echo poll 0 0
	} | diff - "$dir/tried"
}

# begin: a sandbox in the background; what is inside is $inside
begin()
{
	background sandbox --bursts 1000000000 >"$out"
	wait_until grep -q registered "$out" || return
	inside=$(field '^sandbox: process \([0-9]*\)')
}

bare()
{
	[ "$(readlink "/proc/$inside/fd/"*)" = 'anon_inode:[parkclock-view]' ] &&
		[ -z "$(ls "/proc/$inside/root/")" ]
}

# The only descriptor is the view, the root is empty, there are no capabilities.
has_nothing()
{
	lacks && return
	begin && wait_until bare || return
	cp "/proc/$inside/status" "$dir/status" && has '^CapEff:	0*$' "$dir/status" &&
	has '^CapPrm:	0*$' "$dir/status" && has '^Seccomp:	2$' "$dir/status" &&
	has '^NoNewPrivs:	1$' "$dir/status" && wait_until is all_tasks 1
}

# The runtime is killed when the sandbox runs, and when it has hardly begun.
killed()
{
	lacks && return
	begin && wait_until bare && kill -KILL "$pid" && wait_until exited "$inside" &&
	wait_until unused || return
	begin && kill -KILL "$pid" && wait_until exited "$inside" && wait_until unused
}

# Its time at most where it was saved; from there on it has at most what it is given.
freeze()
{
	lacks && return
	run --bursts 3 --save "$file" && ordered "$first" "$last" "$saved" || return
	stopped=$saved
	sleep 3
	run --bursts 3 --restore "$file" --gap freeze &&
		ordered "$stopped" "$kernel" "$first" "$last" $((stopped + ended - began))
}

# timer N: the N-th number of the runtime's last line about its timer
timer()
{
	sed -n "s/^timer: at \\([0-9]*\\) ns, \\([0-9]*\\) ns left/\\$1/p" "$out" | tail -n 1
}

# The deadline stays where it was; as much is left of it as the clock says.
timer_goes_on()
{
	lacks && return
	run --bursts 3 --save "$file" || return
	at=$(timer 1) left=$(timer 2)
	[ "$((saved + left))" -eq "$at" ] || {
		echo "saved at $saved, $left left until $at"
		return 1
	}
	sleep 1
	run --bursts 1 --restore "$file" --gap freeze && [ "$(timer 1)" -eq "$at" ] &&
		ordered 1 "$(timer 2)" "$left" || return
	run --bursts 1 --restore "$file" --gap include && [ "$(timer 1)" -eq "$at" ] &&
		ordered 1 "$(timer 2)" "$((left - 1000000000))"
}

# As long as it was away it has gone on.
include()
{
	lacks && return
	run --bursts 3 --save "$file" || return
	stopped=$saved stopped_began=$began stopped_ended=$ended
	sleep 3
	run --bursts 3 --restore "$file" --gap include &&
		ordered $((stopped + began - stopped_ended)) "$kernel" "$first" "$last" \
			$((stopped + ended - stopped_began))
}

# Time that went back is no gap.
realtime_back()
{
	lacks && return
	run --bursts 3 --save "$file" || return
	stopped=$saved
	date -s "@$(($(date +%s) - 3600))" >/dev/null
	run --bursts 3 --restore "$file" --gap include &&
		ordered "$stopped" "$first" "$last" $((stopped + ended - began))
	result=$?
	date -s "@$(($(date +%s) + 3600))" >/dev/null
	return "$result"
}

two_generations()
{
	lacks && return
	run --bursts 1 --save "$file" || return
	for gap in include freeze; do
		born=$boot before=$saved earlier=$generation
		sleep 1
		run --bursts 1 --restore "$file" --gap "$gap" --save "$file" &&
			ordered "$born" "$boot" "$born" && ordered "$before" "$first" "$saved" &&
			ordered $((earlier + 1)) "$generation" || return
	done
}

damaged()
{
	lacks && return
	run --bursts 1 --save "$file" || return
	{ head -c 40 "$file"; printf '\377'; tail -c +42 "$file"; } >"$file.changed"
	head -c 40 "$file" >"$file.short"
	for bad in "$file.changed" "$file.short" /dev/null; do
		refused 'cannot restore the clock: .*damaged' sandbox --restore "$bad" --gap freeze ||
			return
	done
	refused 'cannot read the saved clock' sandbox --restore "$file.nonsense" --gap freeze
}

# By words
as_nobody()
{
	su -s /bin/sh nobody -c "exec $*"
}

unprivileged()
{
	lacks && return
	add_nobody
	refused 'for writing: Permission denied' as_nobody sandbox || return
	chmod 666 /dev/parkclock
	expect 0 as_nobody sandbox --bursts 2 && expect 0 as_nobody sandbox --bursts 2 probe
	result=$?
	chmod 444 /dev/parkclock
	return "$result"
}

run_tests kernel_lacks usage near_zero protected forbidden has_nothing killed freeze timer_goes_on include \
	realtime_back two_generations damaged unprivileged
