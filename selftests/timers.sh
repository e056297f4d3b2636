#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The kernel's own programs of tools/testing/selftests/timers that read the time, through
# "parkclock run --preload --inherit": they must be satisfied, and no call for a clock
# of the page may have come to libc, which a library between the two counts
# (preload/spy.c). Where tasks cannot be registered they run with the library alone.
#
# Fails if time goes back, in a thread or between threads, for any clock that there is; if
# a sleep is over too early by the clock that is read; or if the library is not used.
#
# With BRIEF=1, or on a kernel with checkers, each takes less time, and the one that
# cannot, nsleep-lat, is left out.

dir=$(mktemp -d) || exit 1
spy=/tests/preload_spy.so
library=/usr/local/lib/libparkclock-preload.so

long=5
brief=${BRIEF:-}
[ ! -e /sys/kernel/debug/kmemleak ] || brief=1
[ -z "$brief" ] || long=1

clocks="realtime:0 monotonic:1 process_cputime:2 thread_cputime:3 monotonic_raw:4
realtime_coarse:5 monotonic_coarse:6 boottime:7 realtime_alarm:8 boottime_alarm:9 tai:11"

# through NAME PROGRAM ARGUMENT...: its output to $dir/NAME, the spy's to $dir/NAME.spy
through()
{
	name=$1
	program=/tests/timers_$2
	shift 2
	if [ -d /sys/kernel/tracing/events/sched/sched_switch ]; then
		PARKCLOCK_SPY=$dir/$name.spy LD_PRELOAD=$spy \
			parkclock run --preload --inherit -- "$program" "$@"
	else
		PARKCLOCK_SPY=$dir/$name.spy LD_PRELOAD=$library:$spy "$program" "$@"
	fi >"$dir/$name" 2>&1
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
nsleep_lat()
{
	late='Large .* latency'
	skipped=
	for _ in 1 2 3 4 5; do
		/tests/timers_nsleep-lat >"$dir/without" &
		without=$!
		lat_status=0
		through nsleep-lat nsleep-lat || lat_status=$?
		without_status=0
		wait $without || without_status=$?
		[ $lat_status -ne 0 ] || return 0
		grep -q "$late" "$dir/nsleep-lat" || break
		if [ $without_status -ne 0 ]; then
			grep "$late" "$dir/without" | sed 's/^/# without the library: /'
			skipped="sleeps are late here without the library, too"
			break
		fi
	done
	return "$lat_status"
}

echo "TAP version 13"
echo "1..15"
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
# These sleep most of the time, the second one for more than two minutes.
through nanosleep nanosleep &
nanosleep=$!
status=0
skipped="not in brief: it takes more than two minutes"
[ -n "$brief" ] || nsleep_lat || status=$?
wait $nanosleep
result nanosleep $?
result nsleep-lat $status "$skipped"
rm -rf "$dir"
exit $failed
