#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the module does, in under a minute. Runs in the VM with the module loaded
# and nobody else using it. Every number is read from the running kernel; what
# was expected and not seen is said, and makes the exit status 1.

tracing=/sys/kernel/tracing
event=$tracing/events/timer/hrtimer_expire_entry
missed=''

bold='' dim='' red='' plain=''
if [ "${TERM:-dumb}" != dumb ]; then
	bold=$(printf '\033[1m') dim=$(printf '\033[2m')
	red=$(printf '\033[31m') plain=$(printf '\033[0m')
fi

scene()
{
	printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

# A line about what is read next to it.
say()
{
	printf '  %s\n' "$*"
}

# run COMMAND...: show the command, and what it prints; the exit status is its own
run()
{
	printf '  %s$ %s%s\n' "$dim" "$*" "$plain"
	{ "$@" 2>&1; echo $? >/tmp/status; } | sed 's/^/  /'
	return "$(cat /tmp/status)"
}

# expect TEXT TEST...: remember what is not so
expect()
{
	text=$1
	shift
	[ "$@" ] && return
	printf '  %snot seen: %s%s\n' "$red" "$text" "$plain"
	missed="$missed$text; "
}

# One value of status --json.
status()
{
	parkclock status --json | tr ',' '\n' | tr -d '{"}' | sed -n "s/^$1://p"
}

is()
{
	[ "$(status "$1")" = "$2" ]
}

# soon COMMAND...: up to 20 s, in case the machine stands still
soon()
{
	for _ in $(seq 200); do
		"$@" && return
		sleep 0.1
	done
	return 1
}

# Uptime in hundredths of a second.
now()
{
	tr -d . </proc/uptime | cut -d ' ' -f 1
}

# How often the kernel's trace has seen our timer expire.
traced()
{
	grep -c 'hrtimer_expire_entry' "$tracing/trace"
}

fired()
{
	[ "$(traced)" -ge 1 ]
}

# counters: sets parks, wakes, refreshes, expirations, slow_reads, and shows them
counters()
{
	parks=$(status parks)
	wakes=$(status wakes)
	refreshes=$(status refreshes)
	expirations=$(status expirations)
	slow_reads=$(status slow_reads)
	say "counters: parks $parks, wakes $wakes, refreshes $refreshes," \
		"timer expirations $expirations, slow reads $slow_reads"
}

# The first seconds after boot the kernel keeps time by another clocksource;
# changing to the TSC makes the page invalid, as it must.
for _ in $(seq 100); do
	source=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
	[ "$source" = tsc-early ] || break
	sleep 0.1
done

address=$(sed -n 's/^\([0-9a-f]*\) . parkclock_updater_tick.*/\1/p' /proc/kallsyms)
echo "function == 0x$address" >"$event/filter"
echo 1 >"$event/enable"

echo "parkclock on Linux $(uname -r), which keeps time by $source"

scene "1. Somebody holds a reference: the page is kept fresh, reading it is no system call."
hold()
{
	parkclock hold >/dev/null &
	holder=$!
	soon is references 1
}
hold
sleep 2.5
soon is state active
state=$(status state)
say "state: $state, references: $(status references)"
expect "the state active while a reference is held" "$state" = active
soon parkclock read --page >/dev/null || expect "a time on the page" ''
run parkclock read --page
soon fired
held=$(traced)
say "expirations of our timer that the kernel's trace (hrtimer_expire_entry) has seen: $held"
expect "the timer in the trace while a reference is held" "$held" -ge 1
counters

scene "2. The reference is dropped."
idle=
let_go()
{
	kill $holder
	wait $holder
	begin=$(now)
	last=
	state=
	at=0
	while [ "$state" != parked ] && [ $at -lt 1000 ]; do
		state=$(status state)
		at=$(($(now) - begin))
		if [ "$state" != "$last" ]; then
			say "$(printf 'after %d.%02d s: %s' $((at / 100)) $((at % 100)) "$state")"
			last=$state
			[ "$state" != idle ] || idle=yes
		fi
		sleep 0.05
	done
}
let_go
# It is idle for a second; the machine may have stood still for so long.
for _ in 1 2 3; do
	[ -z "$idle" ] && say "once more" && hold && let_go
done
expect "idle on the way down" "$idle" = yes
expect "parked within 10 s" "$state" = parked
counters
parked_expirations=$expirations
parked_refreshes=$refreshes

scene "3. Ten seconds of nobody: what does that cost?"
echo >"$tracing/trace"
sleep 10
quiet=$(traced)
counters
ours=$((expirations - parked_expirations))
say "timer expirations in these 10 s: by our counter $ours, by the kernel's trace $quiet"
expect "no expiration by our counter while parked" $ours -eq 0
expect "no expiration in the kernel's trace while parked" "$quiet" -eq 0
expect "no refresh while parked" "$refreshes" -eq "$parked_refreshes"

scene "4. The page that nobody refreshed has expired, and its reader knows."
run parkclock read --page monotonic
from=$(parkclock read --page --json monotonic | sed -n 's/.*"from":"\([a-z]*\)".*/\1/p')
expect "an expired page" "$from" = expired

scene "5. The slow read wakes it; from then on the page has the time again."
slow_read()
{
	before_parks=$parks
	before_wakes=$wakes
	before_slow=$slow_reads
	run parkclock read monotonic
	run parkclock read --page monotonic
	state=$(status state)
	from=$(parkclock read --page --json monotonic | sed -n 's/.*"from":"\([a-z]*\)".*/\1/p')
}
slow_read
# For 4 s; the machine may have stood still for so long.
for _ in 1 2 3; do
	[ "$from" != page ] && say "once more" && soon is state parked &&
		soon is window_left_ns 0 && counters && slow_read
done
expect "a fresh page after the slow read" "$from" = page
counters
say "since scene 4: parks +$((parks - before_parks)), wakes +$((wakes - before_wakes))," \
	"slow reads +$((slow_reads - before_slow)); state: $state"
expect "one wake" $((wakes - before_wakes)) -eq 1
expect "one slow read" $((slow_reads - before_slow)) -eq 1

echo 0 >"$event/enable"

scene "6. A guest of KVM reads the same pages without an exit; when it halts, the clock parks."
if [ -e /dev/kvm ]; then
	run kvm-guest --reads 100000 --halts 2
	guest=$?
	expect "a guest that always had the right time" $guest -eq 0
	guest="and a guest that read the time without an exit"
else
	say "this kernel has no KVM"
	guest="and no KVM"
fi

echo
if [ -n "$missed" ]; then
	echo "${red}NOT as it should be. Not seen: ${missed%; }.$plain"
	exit 1
fi
echo "${bold}Seen: active with $held timer expirations, idle, parked; then $quiet expirations in 10 s, an" \
	"expired page that said so, $((wakes - before_wakes)) wake by $((slow_reads - before_slow)) slow read," \
	"$guest.$plain"
