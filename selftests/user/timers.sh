#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own programs of tools/testing/selftests/timers that read the time or wait, with
# the preload library: through "parkclock run --preload --inherit" by the host's clock, and
# through "parkclock restore --preload --inherit" by a clock that is days before it.
#
# Checked: the programs are satisfied, and no call for a clock of the page has gone to libc;
# a library between the two counts these (preload/spy.c). Where tasks cannot be registered
# the programs run with the preload library alone, and none with a clock of its own.
#
# Fails if time goes back, in a thread or between threads, for any clock; if a sleep or a timer
# ends too early by the clock that is read, or never; or if the library is not used.
#
# With BRIEF=1, or on a kernel with checkers, each program takes less time; nsleep-lat and
# set-timer-lat, which cannot, are left out.

# shellcheck source=selftests/lib/script.sh
. "${0%/*}/script.sh"

spy=/tests/preload_spy.so
library=/usr/local/lib/libparkclock-preload.so

long=5
brief=${BRIEF:-}
[ ! -e /sys/kernel/debug/kmemleak ] || brief=1
[ -z "$brief" ] || long=1

clocks="realtime:0 monotonic:1 process_cputime:2 thread_cputime:3 monotonic_raw:4
realtime_coarse:5 monotonic_coarse:6 boottime:7 realtime_alarm:8 boottime_alarm:9 tai:11"

switches=
[ ! -d /sys/kernel/tracing/events/sched/sched_switch ] || switches=1

# The clock: MONOTONIC is 2^48 ns before the host's, about three days, and BOOTTIME twice that.
{ parkclock save "$dir/days" && put "$dir/days" 22 1 && put "$dir/days" 30 2 &&
	seal "$dir/days"; } >/dev/null || exit 1

# through NAME PROGRAM ARGUMENT...: its output to $dir/NAME, the spy's to $dir/NAME.spy
through()
{
	name=$1
	program=/tests/timers_$2
	shift 2
	if [ -n "$switches" ]; then
		PARKCLOCK_SPY=$dir/$name.spy LD_PRELOAD=$spy \
			parkclock run --preload --inherit -- "$program" "$@"
	else
		PARKCLOCK_SPY=$dir/$name.spy LD_PRELOAD=$library:$spy "$program" "$@"
	fi >"$dir/$name" 2>&1
}

# by_days NAME PROGRAM ARGUMENT...: the same by the other clock
by_days()
{
	name=$1
	program=/tests/timers_$2
	shift 2
	PARKCLOCK_SPY=$dir/$name.spy LD_PRELOAD=$spy \
		parkclock restore "$dir/days" --preload --inherit -- "$program" "$@" \
		>"$dir/$name" 2>&1
}

# unused NAME: has the library not been used? Says so.
unused()
{
	read -r calls others 2>/dev/null <"$dir/$1.spy" && [ "$calls" -eq 0 ] && return 1
	echo "calls that came to libc: ${calls:-not counted} (others: ${others:-not counted})"
}

number=0
failed=0

# result NAME STATUS [SKIPPED]
result()
{
	number=$((number + 1))
	{
		[ "$2" -eq 0 ] || echo "exit status $2"
		unused "$1"
	} >"$dir/why"
	if [ -n "${3:-}" ]; then
		echo "ok $number $1 # SKIP $3"
	elif [ -s "$dir/why" ]; then
		cat "$dir/$1" "$dir/why" | sed 's/^/# /'
		echo "not ok $number $1"
		failed=1
	else
		echo "ok $number $1"
	fi
}

# nsleep-lat minds sleeps that are late, but so they are where the machine stands still.
# It fails if that happens each time, and never to the same program without the library,
# which runs at the same time: what stands still does so for both.

# nsleep_lat HOW NAME: HOW is through or by_days. Sets $lat_status and $lat_skipped.
nsleep_lat()
{
	late='Large .* latency'
	lat_skipped=
	for _ in 1 2 3 4 5; do
		/tests/timers_nsleep-lat >"$dir/$2.without" &
		without=$!
		lat_status=0
		"$1" "$2" nsleep-lat || lat_status=$?
		without_status=0
		wait $without || without_status=$?
		[ $lat_status -ne 0 ] || return 0
		grep -q "$late" "$dir/$2" || break
		if [ $without_status -ne 0 ]; then
			grep "$late" "$dir/$2.without" | sed 's/^/# without the library: /'
			lat_skipped="sleeps are late here without the library, too"
			break
		fi
	done
}

# As nsleep_lat, from another shell: what it has found is in $dir/NAME.lat
nsleep_lat_aside()
{
	nsleep_lat "$@"
	echo "$lat_status $lat_skipped" >"$dir/$2.lat"
}

# Of set-timer-lat only whether all have expired, and none early: it takes any timer that was
# late for a failure.
set_timer_lat()
{
	by_days set-timer-lat set-timer-lat
	set -- $?
	grep -q 'timer fired early: *0 : \[OK\]' "$dir/set-timer-lat" || return 1
	! grep 'timer fired early' "$dir/set-timer-lat" | grep -v 'OK' || return 1
	! grep 'count: ' "$dir/set-timer-lat" | grep -v 'OK' || return 1
	[ "$1" -le 1 ]
}

echo "TAP version 13"
echo "1..23"
for clock in $clocks; do
	seconds=1
	case ${clock#*:} in 0 | 1 | 7 | 11) seconds=$long ;; esac
	through "inconsistency-check_${clock%:*}" inconsistency-check -c "${clock#*:}" -t $seconds
	result "inconsistency-check_${clock%:*}" $?
done
through threadtest threadtest -t $long
result threadtest $?
through threadtest_independent threadtest -t $long -i
result threadtest_independent $?

days=
[ -n "$switches" ] || days="needs a kernel with tracepoints"
skipped=
[ -z "$brief" ] || skipped="not in brief: it takes more than two minutes"

# by_days_now NAME PROGRAM ARGUMENT...
by_days_now()
{
	status=0
	[ -n "$days" ] || by_days "$@" || status=$?
	result "$1" $status "$days"
}

by_days_now days_monotonic inconsistency-check -c 1 -t 1
by_days_now days_boottime inconsistency-check -c 7 -t 1
by_days_now days_monotonic_coarse inconsistency-check -c 6 -t 1
by_days_now days_threadtest threadtest -t 1

# These sleep most of the time, some for more than two minutes. posix_timers, which does not,
# comes after nsleep-lat.
through nanosleep nanosleep &
nanosleep=$!
if [ -z "$days" ]; then
	by_days days_nanosleep nanosleep &
	days_nanosleep=$!
fi
if [ -z "$days$skipped" ]; then
	nsleep_lat_aside by_days days_nsleep-lat &
	days_nsleep_lat=$!
	set_timer_lat &
	days_set_timer_lat=$!
fi
lat_status=0
lat_skipped=$skipped
[ -n "$skipped" ] || nsleep_lat through nsleep-lat
wait $nanosleep
result nanosleep $?
result nsleep-lat $lat_status "$lat_skipped"

status=0
[ -n "$days" ] || wait "$days_nanosleep" || status=$?
result days_nanosleep $status "$days"
status=0
lat_skipped=$days$skipped
if [ -z "$lat_skipped" ]; then
	wait "$days_nsleep_lat"
	read -r status lat_skipped <"$dir/days_nsleep-lat.lat"
fi
result days_nsleep-lat "$status" "$lat_skipped"
status=0
[ -n "$days$skipped" ] || wait "$days_set_timer_lat" || status=$?
result set-timer-lat $status "$days$skipped"
by_days_now posix_timers posix_timers
rm -rf "$dir"
exit $failed
