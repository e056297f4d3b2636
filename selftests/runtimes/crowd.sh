#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Many idle containers by crun, each with a clock of its own: see "make check-runtimes".
#
# Ends with a table: what the machine does in a minute with no containers, with 100 that have no
# clocks, and with 100 that have. With BRIEF, ten containers and ten seconds.
#
# Checked: while all sleep, the updater's timer does not fire, and no keeper runs. In one of them
# 10^6 readings of an unmodified program are near zero and never go back, and the first reading
# after each of 1,000 wakes comes from the page. When all are deleted nothing is left.
#
# shellcheck disable=SC2317 # the tests are called by their names

# shellcheck source=selftests/lib/containers.sh
. "${0%/*}/containers.sh"

crowd=100 length=60 wakes=1000 reads=1000000
[ "${BRIEF:-}" != 1 ] || crowd=10 length=10 wakes=100 reads=100000
tracing=/sys/kernel/tracing
table=$(mktemp)

# counts INSTANCE: how many events it has seen
counts()
{
	cat "$tracing/instances/$1"/per_cpu/cpu*/stats |
		awk '/^entries:|^overrun:/ { n += $2 } END { print n + 0 }'
}

# What only counts must not be kept: a small buffer, which is overrun.
count_by()
{
	mkdir -p "$tracing/instances/$1" && echo 16 >"$tracing/instances/$1/buffer_size_kb"
	instance=$1
	shift
	for event; do
		echo 1 >"$tracing/instances/$instance/events/$event/enable"
	done
}

# busy_ms: CPU time that is not idle, of all CPUs, in ms
busy_ms()
{
	awk '/^cpu / { print ($2 + $3 + $4 + $7 + $8) * 10 }' /proc/stat
}

# switches NAME: how often processes of that name have run
switches()
{
	for id in $(pidof "$1"); do
		cat "/proc/$id/status"
	done | awk '/ctxt_switches/ { n += $2 } END { print n + 0 }'
}

# measure TEXT: a line of the table
measure()
{
	# What has just begun or ended is over by then; so is the delay after which probes go.
	sleep 5
	ours=$(status expirations) ran=$(switches parkclock-keep)
	# Looking costs, too: these last here, and first below.
	busy=$(busy_ms) woken=$(counts wakeups) timers=$(counts timers)
	sleep "$length"
	timers=$(($(counts timers) - timers)) woken=$(($(counts wakeups) - woken))
	busy=$(($(busy_ms) - busy))
	ours=$(($(status expirations) - ours)) ran=$(($(switches parkclock-keep) - ran))
	printf '%-26s %8d %8d %8d %8d %8d\n' "$1" "$timers" "$woken" "$busy" "$ours" "$ran" \
		>>"$table"
}

# all COMMAND: with the number of each container
all()
{
	number_of=0
	while [ "$number_of" -lt "$crowd" ]; do
		"$1" "$number_of" || return
		number_of=$((number_of + 1))
	done
}

begin_plain()
{
	hooks='' preload=''
	bundle "plain$1" "$inside" idle
	unset hooks preload
	crun run --no-pivot --detach --bundle "$dir/plain$1" "plain$1" >/dev/null 2>&1 </dev/null
}

delete_plain()
{
	crun delete --force "plain$1"
}

begin_clock()
{
	begin "clock$1" "$inside" idle
}

delete_clock()
{
	parkclock-crun delete --force "clock$1"
}

without()
{
	lacks && return
	measure "no containers"
	all begin_plain && measure "$crowd without clocks" && all delete_plain
}

with()
{
	lacks && return
	began=$(uptime_ns)
	all begin_clock || return
	measure "$crowd with clocks"
	if [ "$ours" -ne 0 ] || [ "$ran" -ne 0 ]; then
		echo "the timer fired $ours times, keepers ran $ran times"
		return 1
	fi
	mkdir -p "$dir/clock" && parkclock-crun exec clock0 "$inside" read "$reads" >"$dir/clock/out" &&
		[ "$(field clock back)" -eq 0 ] &&
		[ "$(field clock last)" -lt $(($(uptime_ns) - began + 10000000)) ] &&
		parkclock-crun exec clock1 "$inside" wakes "$wakes" >"$dir/clock/out" && by_page clock &&
		all delete_clock && nothing_left clock0
}

count_by timers timer/hrtimer_expire_entry timer/timer_expire_entry
count_by wakeups sched/sched_wakeup
printf '%-26s %8s %8s %8s %8s %8s\n' "in $length s" timers wake-ups 'CPU ms' ours keepers >"$table"
( run_tests without with )
result=$?
sed 's/^/# /' "$table"
exit $result
