# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
#
# What tests that are shell scripts share. Sourced. A test is a function; it fails if it
# returns nonzero, and what it has printed is shown then. See run_tests.

# The tool
: "${tool:=parkclock}"
params=/sys/module/parkclock/parameters
dir=$(mktemp -d) || exit 1
chmod 711 "$dir"
out=$dir/out
err=$dir/err
started=

# Does the host keep time by the TSC? If not, the page never has a time.
clocksource=/sys/devices/system/clocksource/clocksource0/current_clocksource
while grep -qx tsc-early "$clocksource"; do
	sleep 0.1
done
usable=0
! grep -qx tsc "$clocksource" || usable=1

# status FIELD: one of the numbers of status --json, or its state. The shell takes it out
# of the line: in an emulated machine each program more takes long.
status()
{
	all=$("$tool" status --json)
	value=${all##*"\"$1\":"}
	[ "$value" != "$all" ] || return
	value=${value#\"}
	echo "${value%%[,\"\}]*}"
}

# are FIELD VALUE...: all of them, at one time?
are()
{
	all=$("$tool" status --json)
	while [ $# -ne 0 ]; do
		case $all in
		*"\"$1\":$2"[,\}]* | *"\"$1\":\"$2\""[,\}]*) ;;
		*) return 1 ;;
		esac
		shift 2
	done
}

# wait_until COMMAND...: up to 20 s; nothing waited for takes nearly as long
wait_until()
{
	n=0
	until "$@"; do
		n=$((n + 1))
		if [ "$n" -gt 200 ]; then
			echo "not in 20 s: $*"
			return 1
		fi
		sleep 0.1
	done
}

# is FIELD VALUE
is()
{
	[ "$(status "$1")" = "$2" ]
}

unused()
{
	are references 0 all_tasks 0 state parked && grep -qx 0 /sys/module/parkclock/refcnt
}

# Where every test begins and ends: nobody has or holds a clock, or is registered.
park()
{
	echo 10 >"$params/interval_ms"
	wait_until unused && return
	"$tool" status
	return 1
}

# has PATTERN FILE: some line matches
has()
{
	grep -q -e "$1" "$2" && return
	echo "no line like '$1' in:"
	cat "$2"
	return 1
}

# expect STATUS COMMAND...: run it; output in $out and $err
expect()
{
	want=$1
	shift
	"$@" >"$out" 2>"$err"
	got=$?
	[ "$got" -eq "$want" ] && return
	echo "$*: exit status $got, not $want"
	cat "$out" "$err"
	return 1
}

# refused PATTERN COMMAND...: fails with one line that says so, and prints nothing else
refused()
{
	text=$1
	shift
	expect 1 "$@" && has "$text" "$err" || return
	[ ! -s "$out" ] && [ "$(wc -l <"$err")" -eq 1 ] && return
	echo "$*: more than one line of error"
	cat "$out" "$err"
	return 1
}

# A user who has no rights
add_nobody()
{
	grep -q '^nobody:' /etc/passwd || echo 'nobody:x:65534:65534::/:/bin/sh' >>/etc/passwd
}

# background COMMAND...: its id is $pid; it is killed after the test at the latest
background()
{
	"$@" &
	pid=$!
	started="$started $pid"
}

end_background()
{
	for pid in $started; do
		kill -KILL "$pid"
		wait "$pid"
	done
	started=
}

# exited ID: not to be waited for if it never does
exited()
{
	! grep -qv ') Z ' "/proc/$1/stat" 2>/dev/null
}

# skip TEXT: for the reason that TEXT says
skip()
{
	echo " # SKIP $1" >"$dir/skip"
}

# put FILE BYTE OCTAL: another byte at that place
put()
{
	printf '%b' "\\0$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# seal FILE: this saved clock gets the checksum that it should have, which gzip makes, too
seal()
{
	for byte in 12 13 14 15; do
		put "$1" "$byte" 0
	done
	gzip -c "$1" | tail -c 8 | head -c 4 |
		dd of="$1" bs=1 seek=12 conv=notrunc 2>/dev/null
}

# run_tests NAME...: TAP for each, then exit
run_tests()
{
	echo "TAP version 13"
	echo "1..$#"
	number=0
	failed=0
	for test; do
		number=$((number + 1))
		rm -f "$dir/skip"
		if { park && $test; } >"$dir/log" 2>&1; then
			result=ok
		else
			result="not ok"
		fi
		end_background 2>/dev/null
		# It has left nothing, whatever it was.
		park >>"$dir/log" 2>&1 || result="not ok"
		if [ "$result" != ok ]; then
			sed 's/^/# /' "$dir/log"
			failed=1
		fi
		echo "$result $number $test$(cat "$dir/skip" 2>/dev/null)"
	done
	echo 1000 >"$params/interval_ms"
	rm -rf "$dir"
	exit $failed
}
