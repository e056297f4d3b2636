#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The command line tool, with the module loaded.
#
# Checked: every command, option and exit status, what is printed where, and that looking
# does not wake the clock. Each test is a function, which fails if it returns nonzero; then
# its output is shown. The tool is $PARKCLOCK, or /bin/parkclock.
#
# Fails if an option or a column is missing or wrong, if an error has no line that says what
# to do, or if a command that only looks wakes the clock.
#
# shellcheck disable=SC2317 # the tests are called by their names

tool=${PARKCLOCK:-/bin/parkclock}
# shellcheck source=selftests/lib/script.sh
. "${0%/*}/script.sh"

tests="version help usage no_device status_text status_json status_accuracy status_does_not_wake
read_wakes read_one_clock read_page read_page_expired read_count read_json
read_disabled hold_time hold_signals watch_lines watch_signal watch_terminal
run_status run_limit run_no_switches run_sleeping run_spinning run_wakes run_low_descriptors
run_child run_inherit register_exits register_runs register_signals register_thread
register_inherit register_given register_cgroup run_cgroup register_nobody register_not_permitted run_not_permitted
status_hidden doctor_well doctor_json
doctor_terminal doctor_no_device doctor_not_permitted doctor_bare doctor_disabled
doctor_clocksource doctor_steps save_new save_refused save_restore save_restore_back
restore_stdin restore_refused restore_not_permitted restore_stopped restore_inherit
restore_preload given_clock given_no_clock status_clocks status_restored status_churn full_disk"

# expect STATUS ARGUMENT...: of the tool, not of any command; output in $out and $err
expect()
{
	want=$1
	shift
	"$tool" "$@" >"$out" 2>"$err"
	got=$?
	[ "$got" -eq "$want" ] && return
	echo "parkclock $*: exit status $got, not $want"
	cat "$out" "$err"
	return 1
}

# wait_for FIELD VALUE: up to 20 s
wait_for()
{
	n=0
	until [ "$(status "$1")" = "$2" ]; do
		n=$((n + 1))
		if [ "$n" -gt 200 ]; then
			echo "$1 is $(status "$1"), not $2"
			return 1
		fi
		sleep 0.1
	done
}

# If the host does not keep time by the TSC, the clock stays parked, whatever is held.
state_held=parked
[ "$usable" -eq 0 ] || state_held=active

# Parked, and its page expired: where every test begins.
park()
{
	echo Y >"$params/enabled"
	echo 10 >"$params/interval_ms"
	echo 5 >"$params/slack_percent"
	wait_until are references 0 all_tasks 0 state parked window_left_ns 0 && return
	"$tool" status
	return 1
}

# Does this kernel tell of context switches? If not, nothing can be registered.
switches=0
[ -d /sys/kernel/tracing/events/sched/sched_switch ] && switches=1

no_switches()
{
	[ "$switches" -eq 1 ] && return 1
	skip "needs a kernel with tracepoints"
}

# is FIELD VALUE, or says what it is
is()
{
	value=$(status "$1")
	[ "$value" = "$2" ] && return
	echo "$1 is $value, not $2"
	return 1
}

# lines NUMBER FILE
lines()
{
	[ "$(wc -l <"$2")" -eq "$1" ] && return
	echo "not $1 lines:"
	cat "$2"
	return 1
}

# has_lines NUMBER FILE: so many, or more
has_lines()
{
	[ "$(wc -l <"$2")" -ge "$1" ]
}

# json_like FILE NAME...: every line is an object of just these names, in order,
# whose values are integers, plain strings, true, false or null
json_like()
{
	file=$1
	shift
	value='\(-\{0,1\}[0-9][0-9]*\|"[a-z]*"\|true\|false\|null\)'
	line=
	for key; do
		line="$line,\"$key\":$value"
	done
	grep -v "^{${line#,}}\$" "$file" || return 0
	echo "(not an object of: $*)"
	return 1
}

version()
{
	expect 0 --version && has '^parkclock [0-9.]*, ABI version [0-9]*$' "$out" && lines 1 "$out"
}

# "make lint" compares the texts with the manual.
help()
{
	expect 0 --help && has '^usage: parkclock ' "$out" && lines 0 "$err" &&
	has '^  status ' "$out" && cp "$out" "$dir/all" || return
	expect 0 help && lines 0 "$err" && cmp "$out" "$dir/all" || return
	commands=$(sed -n 's/^  \([a-z]*\) .*/\1/p' "$dir/all")
	for command in $commands; do
		expect 0 "$command" --help &&
			has "^usage: parkclock \(--name NAME \)\?$command" "$out" &&
			lines 0 "$err" && cp "$out" "$dir/one" || return
		expect 0 help "$command" && lines 0 "$err" && cmp "$out" "$dir/one" || return
	done
}

# Two lines that tell, on stderr, or one that says it all; nothing on stdout.
usage_error()
{
	expect 2 "$@" && lines 0 "$out" && has '^parkclock: ' "$err" && has '--help' "$err"
}

usage()
{
	usage_error &&
	usage_error --nonsense &&
	usage_error nonsense &&
	usage_error --device &&
	usage_error status extra &&
	usage_error status --page &&
	usage_error status --json=yes &&
	usage_error read nonsense &&
	usage_error read --nonsense &&
	usage_error read --count &&
	usage_error read --count 0 &&
	usage_error read --count -1 &&
	usage_error read --count 1x &&
	usage_error read --count 1000000001 &&
	usage_error read --count 99999999999999999999999 &&
	usage_error read --count '' &&
	usage_error read --interval -1 &&
	usage_error read --interval 1s &&
	usage_error read --interval . &&
	usage_error read --interval 1e3 &&
	usage_error read --interval 1000000001 &&
	usage_error read --interval '' &&
	usage_error hold extra &&
	usage_error hold --time &&
	usage_error hold --time inf &&
	usage_error hold --time nan &&
	usage_error watch extra &&
	usage_error watch --interval 0 &&
	usage_error watch --interval 0.009 &&
	usage_error watch --count 0 &&
	usage_error run &&
	usage_error run --inherit &&
	usage_error run -- &&
	usage_error run --thread true &&
	usage_error run --cpu-limit true &&
	usage_error run --cpu-limit 0 true &&
	usage_error run --cpu-limit 5 &&
	usage_error run --cpu-limit 10x true &&
	usage_error run --cpu-limit -1s true &&
	usage_error run --cpu-limit 100ns true &&
	usage_error register &&
	usage_error register --thread &&
	usage_error register 0 &&
	usage_error register -1 &&
	usage_error register '' &&
	usage_error register 1x &&
	usage_error register 4294967297 &&
	usage_error register $$ $$ &&
	usage_error register --nonsense $$ &&
	usage_error save &&
	usage_error save --json &&
	usage_error save '' &&
	usage_error save "$dir/a" extra &&
	usage_error save --gap freeze "$dir/a" &&
	usage_error save --json - &&
	usage_error restore &&
	usage_error restore --inherit &&
	usage_error restore "$dir/a" &&
	usage_error restore "$dir/a" --inherit -- &&
	usage_error restore "$dir/a" --gap &&
	usage_error restore "$dir/a" --gap nonsense true &&
	usage_error restore --gap '' "$dir/a" true &&
	usage_error restore "$dir/a" --nonsense true &&
	usage_error doctor extra &&
	usage_error doctor --seconds &&
	usage_error doctor --seconds 0.09 &&
	usage_error doctor --seconds 3600.1 &&
	usage_error doctor --seconds 1s &&
	usage_error doctor --count 1 &&
	usage_error help nonsense &&
	usage_error help --nonsense &&
	usage_error help status extra
}

# Fails with one line: what, why, what to do.
failure()
{
	text=$1
	shift
	expect 1 "$@" && lines 0 "$out" && lines 1 "$err" && has "^parkclock: cannot .*$text" "$err"
}

no_device()
{
	# The device's module looks at it more closely.
	{ printf 'PCSV\001\000\000\000'; head -c 72 /dev/zero; } >"$dir/a"
	for command in status read hold watch 'run true' "register $$" "save $dir/b" \
		"restore $dir/a true"; do
		# shellcheck disable=SC2086 # words of the command
		failure 'modprobe parkclock' --device /nonsense $command &&
		failure 'not a parkclock device' --device /dev/zero $command || return
	done
	expect 0 --device /dev/parkclock status
}

# The counters, by the names of JSON: those between the reason and the accuracy
counter_names()
{
	"$tool" status --json | sed 's/.*"reason":"[a-z]*",//; s/,"accuracy".*//; s/:[0-9]*//g
		s/"//g; s/,/ /g'
}

# all_counters FILE: each has a line there, by its name for people
all_counters()
{
	counters=$(counter_names)
	[ -n "$counters" ] || return
	for name in $counters; do
		has "^$(echo "$name" | tr _ ' ')  *[0-9]" "$1" || return
	done
}

# no_line_twice FILE: of its lines that are not empty no two begin with the same name
no_line_twice()
{
	twice=$(grep '[^ ]' "$1" | cut -c 1-16 | sort | uniq -d)
	[ -z "$twice" ] && return
	echo "twice: $twice"
	return 1
}

status_text()
{
	expect 0 status && lines 0 "$err" && no_line_twice "$out" && all_counters "$out" &&
	has '^state            parked (' "$out" &&
	has '^references       0$' "$out" &&
	has '^registered       0$' "$out" &&
	has '^running          0$' "$out" &&
	has '^interval         0.01 s, window 0.04 s, slack 0.0005 s$' "$out" &&
	has '^window left      0, the page has no time$' "$out" &&
	has '^error bound      none$' "$out" &&
	has '^generation       [0-9]* (' "$out" &&
	has '^accuracy         no page was replaced yet$' "$out" &&
	has '^  clocks  *1 of  *65536  *1 of  *65536$' "$out" &&
	has '^clocks           0 that this user may see$' "$out" || return
	"$tool" read >/dev/null
	expect 0 status || return
	if [ "$usable" -eq 1 ]; then
		has '^counter          TSC, .* MHz, usable$' "$out" &&
		has '^rate             [0-9.]* ns per cycle ([0-9.]* MHz)$' "$out"
	else
		has '^counter          TSC, .* MHz, unusable: .* every read is slow$' "$out" &&
		has '^rate             none yet$' "$out"
	fi
}

status_json()
{
	names='state references all_tasks all_running interval_ns window_ns slack_ns window_left_ns error_ns
		counter counter_hz counter_usable cycles rate rate_shift generation reason'
	counters=$(counter_names)
	bins='{"count":[0-9]*,"worst_ns":[0-9]*,"bins":\[[],[0-9]*\]}'
	expect 0 status --json && lines 1 "$out" &&
	limit='{"user_used":[0-9]*,"user_most":[0-9]*,"host_used":[0-9]*,"host_most":[0-9]*}'
	limits="{\"clocks\":$limit,\"views\":$limit,\"tasks\":$limit,\"holds\":$limit"
	limits="$limits,\"vmclocks\":$limit,\"timers\":$limit,\"cgroups\":$limit}"
	has ",\"accuracy\":{\"steady\":$bins,\"changed\":$bins},\"limits\":$limits,\"clocks\":\[\]}\$" \
		"$out" || return
	sed 's/,"accuracy":.*/}/' "$out" >"$out.flat"
	# shellcheck disable=SC2086 # one argument for each name
	json_like "$out.flat" $names $counters && has '"reason":.*"parks":' "$out.flat" &&
	is interval_ns 10000000 && is window_ns 40000000 && is slack_ns 500000 &&
	is error_ns null && is rate_shift 56
}

# What the text of status says of the accuracy: $measured and $binned refreshes
read_accuracy()
{
	expect 0 status || return
	measured=$(sed -n 's/^  rate [a-z]* *\([0-9]*\) refreshes: 50% within .*/\1/p' "$out" |
		awk '{ n += $1 } END { print n + 0 }')
	binned=$(awk '/^limits/ { exit } on { n += $2 + $3 } /from ns/ { on = 1 }
		END { print n + 0 }' "$out")
}

measured_since()
{
	read_accuracy && [ "$measured" -gt "$(($1 + 10))" ]
}

# What was refreshed while it was held was measured, and once only.
status_accuracy()
{
	if [ "$usable" -eq 0 ]; then
		skip "needs a host that keeps time by the TSC"
		return
	fi
	before=$(status refreshes)
	read_accuracy || return
	earlier=$measured
	held && wait_until measured_since "$earlier" && has '^accuracy         how far' "$out" &&
	has '^  from ns            steady      changed$' "$out" || return
	refreshed=$(($(status refreshes) - before))
	[ "$measured" -eq "$binned" ] && [ "$((measured - earlier))" -le "$refreshed" ] && return
	echo "measured $measured, in bins $binned, refreshed $refreshed"
	return 1
}

status_does_not_wake()
{
	wakes=$(status wakes)
	reads=$(status slow_reads)
	expect 0 status && expect 0 status --json && expect 0 watch --count 3 --interval 0.05 &&
	is wakes "$wakes" && is slow_reads "$reads" && is state parked && is window_left_ns 0
}

# right FILE NUMBER: each reading is as near as its columns say
right()
{
	awk -v want="$2" '
		NR > 1 && $2 != "expired" {
			diff = $5 < 0 ? -$5 : $5
			if (diff > $6 + $7 || NF != 7 || $3 !~ /^[0-9]+\.[0-9]+$/)
				bad = 1
			n++
		}
		END { exit bad || n != want }' "$1" && return
	echo "not $2 readings that are right:"
	cat "$1"
	return 1
}

read_wakes()
{
	wakes=$(status wakes)
	reads=$(status slow_reads)
	expect 0 read && lines 5 "$out" && lines 0 "$err" && right "$out" 4 &&
	has '^CLOCK ' "$out" && has '^monotonic  read ' "$out" && has '^realtime ' "$out" &&
	has '^boottime ' "$out" && has '^tai ' "$out" || return
	[ "$(($(status wakes) > wakes))" -eq "$usable" ] &&
		[ "$(status slow_reads)" -gt "$reads" ] && return
	echo "no wake (or a wake for nothing), or no slow read"
	return 1
}

read_one_clock()
{
	for clock in monotonic realtime boottime tai; do
		expect 0 read "$clock" && lines 2 "$out" && right "$out" 1 &&
			has "^$clock " "$out" || return
	done
	expect 0 read tai monotonic && lines 3 "$out" && right "$out" 2
}

# held: "hold" in the background has said so, to $dir/hold. It has counted the reference
# before the page is valid.
held()
{
	background "$tool" hold >"$dir/hold"
	wait_has 'reference is held' "$dir/hold"
}

# The window is long for this: else a machine that is slow lets the page expire.
held_page()
{
	reads=$(status slow_reads)
	if [ "$usable" -eq 1 ]; then
		expect 0 read --page && right "$out" 4 &&
		has '^monotonic  page ' "$out" && has '^tai        page ' "$out"
	else
		expect 1 read --page && right "$out" 0 &&
		has '^monotonic  expired ' "$out" && has '^tai        expired ' "$out"
	fi && lines 5 "$out" && is slow_reads "$reads"
}

read_page()
{
	echo 60000 >"$params/interval_ms"
	held && held_page
}

read_page_expired()
{
	wakes=$(status wakes)
	expect 1 read --page && lines 5 "$out" && lines 0 "$err" &&
	has '^monotonic  expired ' "$out" && has '^tai        expired ' "$out" &&
	right "$out" 0 && expect 1 read --page --json realtime && lines 1 "$out" &&
	json_like "$out" clock from clock_gettime_ns bracket_ns && has '"from":"expired"' "$out" &&
	is wakes "$wakes" && is state parked
}

# Five readings are four intervals.
read_count()
{
	read -r start _ </proc/uptime
	expect 0 read monotonic --count 5 --interval 0.25 && lines 6 "$out" &&
	right "$out" 5 || return
	read -r end _ </proc/uptime
	echo "$start $end" | awk '{ exit !($2 - $1 >= 0.98) }' && return
	echo "from $start to $end s is too short"
	return 1
}

read_json()
{
	expect 0 read --json --count 3 --interval 0 && lines 12 "$out" &&
	json_like "$out" clock from ns cycles error_ns generation difference_ns \
		clock_gettime_ns bracket_ns &&
	has '^{"clock":"boottime","from":"' "$out"
}

read_disabled()
{
	echo N >"$params/enabled"
	is state stopped && expect 0 read && right "$out" 4 && has '^tai        read ' "$out" &&
	expect 1 read --page && has '^tai        expired ' "$out"
}

# Sets $ticks, 10 ms apart. /proc/uptime is coarse, and two ticks may follow.
hold_once()
{
	wakes=$(status wakes)
	ticks=$(status expirations)
	read -r start _ </proc/uptime
	expect 0 hold --time 0.5 && lines 2 "$out" && lines 0 "$err" &&
	has 'reference is held' "$out" && has 'released (the time is up)' "$out" &&
	is references 0 && is wakes $((wakes + usable)) || return
	ticks=$(($(status expirations) - ticks))
	read -r end _ </proc/uptime
	echo "$start $end $ticks $usable" |
		awk '{ exit !($3 <= (($2 - $1 + 0.02) * 100 + 2) * $4) }' && return
	echo "$ticks ticks from $start to $end s"
	return 1
}

# The timer fires once an interval, 10 ms, and not more often, also where it may be
# late to share a wake-up. Nothing fires while the machine stands still: then once more.
hold_time()
{
	echo 50 >"$params/slack_percent"
	for _ in $(seq 20); do
		wait_for state parked && hold_once || return
		[ "$((ticks > 2))" -eq "$usable" ] && return
	done
	echo "never more than 2 ticks in 0.5 s"
	return 1
}

# The reference is seen by others, and gone as soon as the line says so.
hold_signals()
{
	for signal in INT TERM HUP; do
		held && is references 1 && is state "$state_held" || return
		kill -"$signal" "$pid"
		ended 0 && has 'reference is released (' "$dir/hold" && is references 0 &&
			wait_for state parked || return
	done

	held && is references 1 || return
	kill -KILL "$pid"
	ended 137 && wait_for references 0
}

watch_lines()
{
	expect 0 watch --count 3 --interval 0.05 && lines 4 "$out" && lines 0 "$err" &&
	has '^STATE ' "$out" && has '^parked  *0 ' "$out" &&
	! has "$(printf '\033')" "$out" >/dev/null
}

# A line that it prints says that it waits for signals now.
watch_signal()
{
	background "$tool" watch --interval 0.05 >"$out"
	wait_until has_lines 4 "$out" || return
	kill -INT "$pid"
	ended 0
}

# Three pictures on a virtual terminal, whose screen can be read: one is seen.
watch_terminal()
{
	if ! [ -e /dev/tty0 ]; then
		skip "needs a kernel with virtual terminals"
		return
	fi
	printf '\033c' >/dev/tty9
	"$tool" watch --count 3 --interval 0.05 >/dev/tty9 || return
	{ fold -w 80 /dev/vcs9; echo; } >"$out"
	sed -n 1p "$out" >"$dir/first" && has '^state  *parked ' "$dir/first" &&
	has '^window left  *\[ *\] 0.000 of 0.040 s' "$out" &&
	has '^registered  *0, running 0 ' "$out" &&
	no_line_twice "$out" && all_counters "$out" && return
	cat "$out"
	return 1
}

run_status()
{
	no_switches && return
	expect 0 run true && lines 0 "$out" && lines 0 "$err" && expect 7 run -- sh -c 'exit 7' &&
	expect 0 run echo --inherit && has '^--inherit$' "$out" &&
	expect 0 run --inherit -- echo -- --help && has '^-- --help$' "$out" &&
	expect 143 run sh -c 'kill -TERM $$' || return
	touch "$dir/text"
	expect 127 run "$dir/nonsense" && lines 1 "$err" && has '^parkclock: cannot run ' "$err" &&
	expect 127 run nonsense-of-a-name && lines 1 "$err" &&
	expect 126 run "$dir/text" && lines 1 "$err" && has '^parkclock: cannot run ' "$err" &&
	expect 126 run "$dir" && lines 1 "$err"
}

# A command that has run for so long is ended, with all that it has created; one that sleeps is not.
run_limit()
{
	no_switches && return
	if [ "$usable" -eq 0 ]; then
		failure 'does not keep time by the TSC' run --cpu-limit 1s true
		return
	fi
	expect 124 run --cpu-limit 50ms -- sh -c 'while :; do :; done' &&
		has '^parkclock: the command was ended' "$err" &&
	expect 124 run --cpu-limit 0.1 -- sh -c '(while :; do :; done) & (while :; do :; done) & wait' &&
	expect 0 run --cpu-limit 20s true && lines 0 "$err" &&
	expect 7 run --cpu-limit 20s -- sh -c 'exit 7' &&
	expect 143 run --cpu-limit 20s -- sh -c 'kill -TERM $$' &&
	expect 0 run --cpu-limit 3s sleep 4 &&
	expect 127 run --cpu-limit 20s nonsense-of-a-name && lines 1 "$err" &&
	# In a session of its own, and with its parent gone; and what is left at the end
	expect 124 run --cpu-limit 0.1 -- sh -c 'setsid sh -c "while :; do :; done" & wait' &&
	nothing_runs_on &&
	expect 124 run --cpu-limit 0.1 -- sh -c '(setsid sh -c "while :; do :; done" &) ; sleep 60' &&
	nothing_runs_on &&
	expect 0 run --cpu-limit 20s -- sh -c 'setsid sh -c "while :; do :; done" &' &&
	nothing_runs_on &&
	expect 0 run --cpu-limit 20s -- grep -q '^NoNewPrivs:.*1' /proc/self/status || return
	# shellcheck disable=SC2016
	sh -c 'sleep 30 & exec "$0" run --cpu-limit 1s true' "$tool" 2>"$err"
	[ $? -eq 1 ] && has 'children before' "$err"
}

# What run_limit() has started has gone.
nothing_runs_on()
{
	! grep -q '[w]hile :' /proc/[0-9]*/cmdline 2>/dev/null
}

# Said in words, and the command does not run.
run_no_switches()
{
	if [ "$switches" -eq 1 ]; then
		skip "needs a kernel without tracepoints"
		return
	fi
	failure 'built without tracepoints' run touch "$dir/ran" &&
	failure 'built without tracepoints' register $$ && is all_tasks 0 && ! [ -e "$dir/ran" ]
}

# Those of background, and what they have started.
end_background()
{
	for pid in $started $(cat "$dir/child" 2>/dev/null); do
		kill -KILL "$pid"
	done 2>/dev/null
	for pid in $started; do
		wait "$pid"
	done
	started=
	rm -f "$dir/child"
}

# ended STATUS: the command in the background ends so, by itself
ended()
{
	wait_until exited "$pid" || return
	wait "$pid"
	got=$?
	[ "$got" -eq "$1" ] && return
	echo "exit status $got, not $1"
	return 1
}

# wait_has PATTERN FILE: soon some line matches
wait_has()
{
	wait_until has "$@" >/dev/null || has "$@"
}

# counted TASKS RUNNING: soon so many are
counted()
{
	wait_for all_tasks "$1" && wait_for all_running "$2"
}

# sleeps ID: as long as nobody wakes it. On its way there, in execve() for example, a
# task blocks for a moment, too; that is state D.
sleeps()
{
	grep -q ') S ' "/proc/$1/stat" 2>/dev/null
}

# What sleeps does not keep the clock awake, and what is killed is gone.
run_sleeping()
{
	no_switches && return
	background "$tool" run sleep 1000
	wait_until sleeps "$pid" && counted 1 0 && wait_for state parked && is references 0 || return
	kill "$pid"
	ended 143 && wait_for all_tasks 0
}

# One task, which runs: the page is valid, or soon again if the machine stands still.
protected()
{
	counted 1 1 && wait_for references 1 && wait_for state "$state_held" || return
	[ "$usable" -eq 0 ] || wait_until "$tool" read --page >/dev/null
}

run_spinning()
{
	no_switches && return
	echo 1000 >"$params/interval_ms"
	background "$tool" run sh -c 'while :; do :; done'
	protected
}

# more FIELD NUMBER: than that
more()
{
	[ "$(status "$1")" -gt "$2" ]
}

# The clock is parked, then the command reads a line. Descriptor 3 is there so that it
# can open the fifo, too.
run_wakes()
{
	no_switches && return
	mkfifo "$dir/fifo"
	exec 3<>"$dir/fifo"
	# shellcheck disable=SC2016 # the command's own variables
	background "$tool" run sh -c 'read -r line <"$0"; exec sleep 1000' "$dir/fifo"
	wait_until sleeps "$pid" && counted 1 0 && wait_for state parked && is references 0 || return
	begun=$(status run_transitions)
	wakes=$(status run_wakes)
	echo >&3
	wait_until more run_transitions "$begun" || return
	# It has begun to run before it has woken anybody.
	if [ "$usable" -eq 1 ]; then
		wait_until more run_wakes "$wakes"
	else
		is run_wakes "$wakes"
	fi
}

# A script that uses the low descriptors does not close the clock by that.
run_low_descriptors()
{
	no_switches && return
	# shellcheck disable=SC2016 # the command's own variables
	background "$tool" run sh -c \
		'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; echo $$ >"$0"; exec sleep 1000' "$dir/child"
	wait_until [ -s "$dir/child" ] && counted 1 0
}

# run_parent OPTION...: a command that creates a child
run_parent()
{
	# shellcheck disable=SC2016 # the command's own variables
	background "$tool" run "$@" -- sh -c 'sleep 1000 & echo $! >"$0"; wait' "$dir/child"
	wait_until [ -s "$dir/child" ]
}

# The child has the descriptor, too, but is not registered.
run_child()
{
	no_switches && return
	run_parent && counted 1 0 || return
	kill "$pid"
	ended 143 && wait_for all_tasks 0
}

run_inherit()
{
	no_switches && return
	run_parent --inherit && counted 2 0 || return
	kill "$pid"
	ended 143 && wait_for all_tasks 1 || return
	kill "$(cat "$dir/child")"
	wait_for all_tasks 0
}

# register ARGUMENT...: in the background; $dir/register has its output, by the end
# of this the line that says how many tasks there are
register()
{
	background "$tool" register "$@" >"$dir/register"
	wait_has 'is registered' "$dir/register"
}

# over TEXT: it has ended well, because of that
over()
{
	ended 0 && is all_tasks 0 && lines 2 "$dir/register" &&
	has "^[a-z]* [0-9]* is registered, tasks: 1\$" "$dir/register" &&
	has "is over ($1), the tasks ran for [0-9]*\.[0-9]* s\$" "$dir/register"
}

register_exits()
{
	no_switches && return
	background sleep 1000
	target=$pid
	register "$target" && counted 1 0 && wait_for state parked || return
	kill "$target"
	over 'no task is left'
}

# It runs already when it is registered.
register_runs()
{
	no_switches && return
	echo 1000 >"$params/interval_ms"
	background sh -c 'while :; do :; done'
	target=$pid
	register "$target" && protected || return
	kill "$target"
	over 'no task is left' && has 'ran for [0-9.]*[1-9]' "$dir/register"
}

# The registration ends, the process does not.
register_signals()
{
	no_switches && return
	background sleep 1000
	target=$pid
	for signal in INT TERM HUP; do
		register "$target" && counted 1 0 || return
		kill -"$signal" "$pid"
		over '[A-Z][a-z]*' && kill -0 "$target" || return
	done
	register "$target" && is all_tasks 1 || return
	kill -KILL "$pid"
	wait_for all_tasks 0 && kill -0 "$target"
}

register_thread()
{
	no_switches && return
	background sleep 1000
	target=$pid
	register --thread "$target" && counted 1 0 || return
	kill "$target"
	over 'no task is left' && has '^thread ' "$dir/register"
}

# What the process creates is registered, too, and may outlive it.
register_inherit()
{
	no_switches && return
	mkfifo "$dir/fifo"
	exec 3<>"$dir/fifo"
	# shellcheck disable=SC2016 # the command's own variables
	background sh -c 'read -r line <"$1"; sleep 1000 & echo $! >"$0"; wait' \
		"$dir/child" "$dir/fifo"
	target=$pid
	register --inherit "$target" && counted 1 0 && echo >&3 &&
		wait_until [ -s "$dir/child" ] && counted 2 0 || return
	kill "$target"
	wait_for all_tasks 1 && kill -0 "$pid" || return
	kill "$(cat "$dir/child")"
	over 'no task is left'
}

# The shell is registered with the clock that it was given, which is none of the tool's.
register_given()
{
	no_switches && return
	background sleep 1000
	target=$pid
	# shellcheck disable=SC2016 # the command's own variables
	"$tool" save "$dir/a" >/dev/null && background "$tool" restore "$dir/a" -- sh -c \
		'"$0" register "$1" >"$2"; exit $?' "$tool" "$target" "$dir/register"
	wait_has 'is registered, tasks: 1$' "$dir/register" && counted 2 0 || return
	kill "$target"
	over 'no task is left'
}

# no_cgroups: the kernel has none
no_cgroups()
{
	! [ -e /sys/fs/cgroup/cgroup.procs ]
}

# It ends with the cgroup, or by a signal, and leaves the cgroup's processes alone.
register_cgroup()
{
	no_switches || no_cgroups && return
	cgroup=/sys/fs/cgroup/cli
	mkdir "$cgroup"
	background sleep 1000
	target=$pid
	echo "$target" >"$cgroup/cgroup.procs"
	register --cgroup "$cgroup" && is all_tasks 0 || return
	kill -TERM "$pid"
	ended 0 && has 'is over (Terminated), its tasks ran for [0-9]*\.[0-9]* s$' "$dir/register" &&
		kill -0 "$target" || return
	register --cgroup "$cgroup" || return
	kill "$target"
	wait_until rmdir "$cgroup" 2>/dev/null || return
	ended 0 && has 'is over (the cgroup was removed)' "$dir/register" &&
	failure 'No such file' register --cgroup "$cgroup" &&
	failure 'Bad file descriptor' register --cgroup /tmp &&
	usage_error register --cgroup /tmp --inherit && usage_error register --cgroup /tmp 1
}

# The command is in the cgroup, which is registered as long as it runs.
run_cgroup()
{
	no_switches || no_cgroups && return
	cgroup=/sys/fs/cgroup/cli
	mkdir "$cgroup"
	echo 1000 >"$params/interval_ms"
	background "$tool" run --cgroup "$cgroup" -- sh -c 'while :; do :; done'
	wait_until grep -qx "$pid" "$cgroup/cgroup.procs" && is all_tasks 0 &&
		wait_for all_running 1 && wait_for state "$state_held" || return
	[ "$usable" -eq 0 ] || wait_until "$tool" read --page >/dev/null || return
	kill "$pid"
	ended 143 && wait_until rmdir "$cgroup" 2>/dev/null &&
	failure 'No such file' run --cgroup "$cgroup" -- true &&
	usage_error run --cgroup /tmp --inherit -- true &&
	usage_error run --cgroup /tmp --cpu-limit 1s -- true
}

# No id is as large.
register_nobody()
{
	failure 'No such process' register 4194305 &&
	failure 'No such process' register --thread 4194305 && is all_tasks 0
}

# make_node PATH MODE: another path of the device, for other users, too
make_node()
{
	chmod 711 "$dir"
	mknod "$1" c 10 "$(sed -n 's/ *\([0-9]*\) parkclock/\1/p' /proc/misc)" && chmod "$2" "$1"
}

# as COMMAND TEST...: a test by which COMMAND runs the tool
as()
{
	root_tool=$tool
	tool=$1
	shift
	"$@"
	result=$?
	tool=$root_tool
	return "$result"
}

# as_nobody TEST...: a test whose tool has no rights
as_nobody()
{
	grep -q '^nobody:' /etc/passwd || echo 'nobody:x:65534:65534::/:/bin/sh' >>/etc/passwd
	printf '%s\n' '#!/bin/sh' "exec su -s /bin/sh nobody -c \"exec $tool \$*\"" >"$dir/nobody"
	chmod 700 "$dir/nobody"
	as "$dir/nobody" "$@"
}

# Another user's process, the kernel's, and a device that cannot be written to.
register_not_permitted()
{
	no_switches && return
	failure 'not permitted' register 2 && make_node "$dir/writable" 666 || return
	as_nobody failure 'Permission denied' register $$ &&
	as_nobody failure 'not permitted' --device "$dir/writable" register $$ &&
	as_nobody failure 'not permitted' --device "$dir/writable" register --thread $$ &&
	as_nobody expect 0 --device "$dir/writable" run true && lines 0 "$err"
}

# Who may not write runs with a reference instead, which ends with the command.
run_not_permitted()
{
	as_nobody expect 7 run --inherit sh -c "'exit 7'" && lines 1 "$err" &&
	has 'cannot register the command: .* reference is held meanwhile' "$err" &&
	has 'group clock' "$err" && is references 0 || return
	as_nobody background_tool run sleep 1000 2>"$err"
	wait_for references 1 && is all_tasks 0 && wait_for state "$state_held" || return
	kill "$pid"
	ended 143 && wait_for references 0
}

# The tool in the background, whatever "as" has made of it
background_tool()
{
	background "$tool" "$@"
}

# hidden FILE: of others nothing is told there, and that is said
hidden()
{
	for name in references registered running accuracy $(counter_names); do
		has "^$(echo "$name" | tr _ ' ')  *-\$" "$1" || return
	done
	has '^hidden (-)  .*group clock' "$1"
}

# Whatever others do, a reader sees the same, but for what page 1 shows to everybody.
status_hidden()
{
	as_nobody expect 0 status && lines 0 "$err" && hidden "$out" &&
	has '^state            parked (' "$out" && has '^interval         0.01 s' "$out" &&
	as_nobody expect 0 status --json && lines 1 "$out" || return
	for name in references all_tasks all_running accuracy $(counter_names); do
		has "[{,]\"$name\":null[,}]" "$out" || return
	done
	as_nobody expect 0 watch --count 2 --interval 0.05 && lines 3 "$out" &&
	has '^parked  *-  *-  *-  ' "$out" || return
	held && as_nobody expect 0 status && hidden "$out"
}

# says NAME RESULT [PATTERN]: this is what a check of the doctor has come to
says()
{
	has "^$2  *$1  *.*${3:-}" "$out"
}

# doctor STATUS ARGUMENT...: with nothing but the findings
doctor()
{
	expect "$@" && lines 0 "$err"
}

# measured: the clock was compared with clock_gettime, and found right
measured()
{
	says bounds ok ' [1-9][0-9]* readings were as near' &&
	says monotonicity ok ' [1-9][0-9]* readings by [1-9]' && says rate ok
}

# A check that can be otherwise for a machine that stands still is left out.
doctor_well()
{
	echo 1000 >"$params/interval_ms"
	wakes=$(status wakes)
	doctor 0 doctor && measured && has '^0 failures, ' "$out" &&
	is references 0 && is all_tasks 0 &&
	says module ok enabled && says device ok /dev/parkclock && says abi ok &&
	says write_access ok && says tsc_allowed ok && says time_namespace ok || return
	if [ "$switches" -eq 1 ]; then
		says registration ok
	else
		says registration warning && has 'built without tracepoints' "$out"
	fi || return
	if [ "$usable" -eq 1 ]; then
		says clocksource ok && says virtualised ok && ! says reference failure >/dev/null &&
		says rate ok 'The counter: [-+]'
	else
		says clocksource warning 'every read is slow' && has '-> .*tsc=reliable' "$out" &&
		says reference note 'all reads are slow'
	fi && [ "$(($(status wakes) > wakes))" -eq "$usable" ]
}

# check_json: that is what it is, whatever is in the strings, with the checks of the text
check_json()
{
	checks=$("$tool" --device "$dir/nonsense" doctor 2>/dev/null |
		grep -cE '^(ok|note|warning|failure|skipped) ')
	string='"\([^"\\[:cntrl:]]\|\\["\\]\|\\u[0-9a-f]\{4\}\)*"'
	check="{\"name\":\"[a-z_]*\",\"result\":\"[a-z]*\",\"found\":$string,\"advice\":\(null\|$string\)}"
	lines 1 "$out" && [ "$checks" -gt 1 ] &&
	has "^{\"checks\":\[$check\(,$check\)\{$((checks - 1))\}\],\"clock\":$1,\"ok\":$2}\$" "$out"
}

doctor_json()
{
	echo 1000 >"$params/interval_ms"
	doctor 0 doctor --json --seconds 1.5 && check_json '{[^{}]*}' true &&
	has '"name":"bounds","result":"ok"' "$out" &&
	sed 's/.*"clock":\({[^}]*}\).*/\1/' "$out" >"$dir/clock" &&
	json_like "$dir/clock" measured_ns page_used page_readings read_readings expired \
		unjudged wrong wrong_ns outside_ns best_error_ns median_error_ns threads passed \
		back back_ns rate_ppb slack_ppb counter_ppb &&
	has '"wrong":0,' "$dir/clock" && has '"back":0,' "$dir/clock" &&
	has '"read_readings":[1-9]' "$dir/clock" && has '"threads":[1-9]' "$dir/clock" || return
	if [ "$usable" -eq 1 ]; then
		has '"page_used":true,"page_readings":[1-9]' "$dir/clock"
	else
		has '"page_used":false,"page_readings":0,' "$dir/clock" &&
		has '"counter_ppb":null' "$dir/clock"
	fi || return
	ns=$(sed 's/.*"measured_ns":\([0-9]*\).*/\1/' "$dir/clock")
	[ "$ns" -ge 1500000000 ] && return
	echo "measured for $ns ns only"
	return 1
}

# A line on the terminal while it measures, which is gone at the end.
doctor_terminal()
{
	if ! [ -e /dev/tty0 ]; then
		skip "needs a kernel with virtual terminals"
		return
	fi
	printf '\033c' >/dev/tty9
	background "$tool" doctor --seconds 3600 >"$out" 2>/dev/tty9
	wait_until grep -q 'measuring: [0-9.]* of 3600.0 s' /dev/vcs9 && kill "$pid" &&
	ended 143 && printf '\033c' >/dev/tty9 &&
	"$tool" doctor --seconds 0.1 >"$out" 2>/dev/tty9 && measured && ! grep '[^ ]' /dev/vcs9
}

# What cannot be looked at is skipped; what was said on the command line is no JSON.
doctor_no_device()
{
	doctor 1 --device "$dir/nonsense" doctor && says device failure 'No such file' &&
	has '-> .*modprobe parkclock' "$out" && says module ok && says bounds skipped &&
	says abi skipped && says write_access skipped && has '^1 failure, ' "$out" &&
	doctor 1 --device /dev/null doctor && says device failure /dev/null &&
	has '-> This is not a parkclock device' "$out" && says rate skipped || return
	odd=$(printf 'a"b\\c\001d\377e\303\244f')
	doctor 1 --device "$odd" doctor --json && check_json null false &&
	grep -qF 'a\"b\\c\u0001d\ufffde'"$(printf '\303\244')f" "$out" && return
	cat "$out"
	return 1
}

doctor_not_permitted()
{
	make_node "$dir/unreadable" 600 || return
	as_nobody doctor 0 doctor --seconds 0.1 && says write_access note 'Permission denied' &&
	has '-> Only root may write.*udev rule' "$out" && says registration note 'by this user' &&
	measured || return
	make_node "$dir/groups" 664 && as_nobody doctor 0 --device "$dir/groups" doctor --seconds 0.1 &&
	says write_access note 'Permission denied' && has '-> .*usermod -a -G clock' "$out" || return
	as_nobody doctor 1 --device "$dir/unreadable" doctor &&
	says device failure 'Permission denied' && says monotonicity skipped
}

# in_root ARGUMENT...: nothing is there but the tool
in_root()
{
	chroot "$dir/root" /parkclock "$@"
}

# Without /proc and /sys; then with a /sys that does not have the module.
doctor_bare()
{
	mkdir -p "$dir/root/dev" && cp "$tool" "$dir/root/parkclock" &&
	make_node "$dir/root/dev/parkclock" 444 || return
	as in_root doctor 0 doctor --seconds 0.1 && says module note && says cpu note &&
	says virtualised note && says time_namespace note && measured || return
	if [ "$usable" -eq 1 ]; then
		says clocksource note
	else
		says clocksource warning
	fi && mkdir -p "$dir/root/sys/module" && as in_root doctor 0 doctor --seconds 0.1 &&
	says module note && rm "$dir/root/dev/parkclock" && as in_root doctor 1 doctor &&
	says module failure 'not loaded' && says device failure
}

doctor_disabled()
{
	echo N >"$params/enabled"
	doctor 0 doctor --seconds 0.1 && says module warning 'enabled is N' &&
	has '-> .*echo Y >' "$out" && says reference note 'all reads are slow' && measured
}

# Another clocksource, and that of before again.
doctor_clocksource()
{
	other=$(tr -s ' ' '\n' <"${clocksource%/*}/available_clocksource" | grep -v -e '^tsc' -e '^$' |
		head -n 1)
	if [ "$usable" -eq 0 ] || [ -z "$other" ]; then
		skip "needs a kernel that has the TSC and another clocksource"
		return
	fi
	echo "$other" >"$clocksource"
	doctor 0 doctor --seconds 0.1 && says clocksource warning "by $other, not by the TSC" &&
	has '-> As root: echo tsc >' "$out" && says reference note && measured &&
	says discontinuity note 'the clocksource was changed'
	result=$?
	echo tsc >"$clocksource"
	return "$result"
}

# REALTIME is set all the while: that is no fault of the clock's.
doctor_steps()
{
	date -s "@$(date +%s)" >/dev/null
	# shellcheck disable=SC2016 # the command's own variables
	background sh -c 'while :; do
			date -s "@$(($(date +%s) + 10))"
			date -s "@$(($(date +%s) - 10))"
		done >/dev/null'
	doctor 0 doctor --seconds 1 && ! says bounds failure >/dev/null && says monotonicity ok &&
	says rate ok && says discontinuity note 'REALTIME was set'
}

# field NAME FILE: a number of a JSON object
field()
{
	sed -n "s/.*\"$1\":\(-\{0,1\}[0-9]*\).*/\1/p" "$2"
}

# compare TEXT NUMBER OPERATOR NUMBER...: all of them hold; TEXT says what they are
compare()
{
	what=$1
	shift
	while [ $# -gt 0 ]; do
		if ! test "$1" "$2" "$3"; then
			echo "$what: not $1 $2 $3"
			return 1
		fi
		shift 3
	done
}

# The mode and the size of a file are those of a saved clock, and nothing is beside it.
saved()
{
	[ "$(stat -c '%a %s' "$1")" = '600 80' ] && [ "$(echo "$1"*)" = "$1" ] && return
	ls -l "$1"*
	return 1
}

saved_json()
{
	json_like "$1" clock monotonic_ns boottime_ns realtime_ns boot_ns generation
}

# Without a clock that was given it is the time of here and now; another file is replaced.
save_new()
{
	before=$(date +%s)
	expect 0 save "$dir/new" && lines 0 "$err" && lines 6 "$out" && saved "$dir/new" &&
	has "^clock [0-9]* is stopped, and saved as $dir/new\$" "$out" &&
	has '^monotonic        [0-9]*\.[0-9]\{9\} s$' "$out" &&
	has '^realtime         [0-9.]* s ([-0-9]* [0-9:]* UTC)$' "$out" || return
	cp "$dir/new" "$dir/first" && chmod 666 "$dir/new" &&
	expect 0 save --json "$dir/new" && lines 0 "$err" && lines 1 "$out" && saved "$dir/new" &&
	saved_json "$out" && ! cmp -s "$dir/new" "$dir/first" || return
	ns=$(field realtime_ns "$out")
	compare 'realtime, boot' "$ns" -ge $(((before - 1) * 1000000000)) \
		"$ns" -le $((($(date +%s) + 1) * 1000000000)) \
		"$(field boot_ns "$out")" -le "$((ns - $(field boottime_ns "$out") + 1000000))" \
		"$(field boot_ns "$out")" -ge "$((ns - $(field boottime_ns "$out") - 1000000))" &&
	(cd "$dir" && "$tool" save relative >"$out" && "$tool" save - >"$dir/stdout") &&
	saved "$dir/relative" && [ "$(wc -c <"$dir/stdout")" -eq 80 ]
}

# What a directory has in it
listing()
{
	find "$1" -exec stat -c '%n %i %s %a' {} + | sort
}

# What is there stays as it is; nothing else is left.
save_refused()
{
	mkdir "$dir/some" && mkfifo "$dir/some/fifo" && ln -s nowhere "$dir/some/link" &&
	echo before >"$dir/some/kept" && listing "$dir/some" >"$dir/some.list" || return
	failure 'not a regular file' save "$dir/some" &&
	failure 'not a regular file' save "$dir/some/fifo" &&
	failure 'not a regular file' save "$dir/some/link" &&
	failure 'not a regular file' save /dev/null &&
	failure 'No such file' save "$dir/nowhere/file" &&
	failure 'File name too long' save "$dir/some/$(printf '%0300d' 0)" || return
	# Not a byte can be written, as on a full disk.
	{
		(ulimit -f 0 && exec "$tool" save "$dir/some/kept" 2>&1)
		echo "exit $?"
	} | cat >"$dir/limited"
	lines 2 "$dir/limited" && has 'cannot write .*File too large' "$dir/limited" &&
	has '^exit 1$' "$dir/limited" && has '^before$' "$dir/some/kept" || return
	"$tool" save - >/dev/full 2>"$err"
	compare 'exit status' $? -eq 1 && has 'cannot write the saved clock: No space' "$err" &&
	listing "$dir/some" | diff "$dir/some.list" - || return
	if [ -e /dev/tty0 ]; then
		"$tool" save - >/dev/tty9 2>"$err"
		compare 'exit status' $? -eq 1 && has 'cannot save to a terminal' "$err" || return
	fi
	as_nobody failure 'Permission denied' save "$dir/some/file" && make_node "$dir/writable" 666 &&
	as_nobody failure 'May this user' --device "$dir/writable" save "$dir/some/file"
}

# Of the host, in ns, to 10 ms
uptime_ns()
{
	sed 's/\([0-9]*\)\.\([0-9]*\) .*/\1\20000000/' /proc/uptime
}

# again FROM TO GAP: FROM is restored, and saved as TO with what was said as TO.json. The
# boot time is kept, the generation is a later one, and boottime is as far as monotonic.
again()
{
	start=$(uptime_ns)
	# shellcheck disable=SC2016 # the command's own variables
	expect 0 restore "$dir/$1" --gap "$3" -- sh -c \
		'"$0" read monotonic --json >"$1.read" && "$0" save --json "$1"' "$tool" "$dir/$2" || return
	lasted=$(($(uptime_ns) - start + 50000000))
	cp "$out" "$dir/$2.json" && saved_json "$out" && saved_as "$1" "$2"
}

saved_as()
{
	passed=$(($(field monotonic_ns "$dir/$2.json") - $(field monotonic_ns "$dir/$1.json")))
	real=$(($(field realtime_ns "$dir/$2.json") - $(field realtime_ns "$dir/$1.json")))
	boot=$(($(field boottime_ns "$dir/$2.json") - $(field boottime_ns "$dir/$1.json")))
	compare 'boot time, generation, boottime, what was read' \
		"$(field boot_ns "$dir/$1.json")" -eq "$(field boot_ns "$dir/$2.json")" \
		"$(field generation "$dir/$1.json")" -lt "$(field generation "$dir/$2.json")" \
		"$passed" -eq "$boot" \
		"$(field ns "$dir/$2.read")" -ge "$(field monotonic_ns "$dir/$1.json")" \
		"$(field ns "$dir/$2.read")" -le "$(field monotonic_ns "$dir/$2.json")"
}

# a is saved, b is a restored and saved, and so is c: with the gap, and without it.
save_restore()
{
	no_switches && return
	expect 0 save --json "$dir/a" && cp "$out" "$dir/a.json" && sleep 1 &&
	again a b include && compare 'the gap included' "$passed" -eq "$real" &&
	again b c include && compare 'the gap included, twice' "$passed" -eq "$real" &&
	again a b freeze && compare 'frozen' "$passed" -ge 0 "$passed" -le "$lasted" \
		"$((real - passed))" -ge 900000000 &&
	again b c freeze && compare 'frozen, twice' "$passed" -ge 0 "$passed" -le "$lasted"
}

# Without --gap it is "include"; if REALTIME went back, monotonic does not.
save_restore_back()
{
	no_switches && return
	expect 0 save --json "$dir/a" && cp "$out" "$dir/a.json" &&
	date -s "@$(($(date +%s) - 1000))" >/dev/null && again a b include &&
	compare 'REALTIME went back' "$passed" -ge 0 "$passed" -le "$lasted" "$real" -lt 0
	result=$?
	date -s "@$(($(date +%s) + 2000))" >/dev/null
	[ "$result" -eq 0 ] && expect 0 restore "$dir/a" "$tool" save --json "$dir/b" &&
	compare 'REALTIME went on' "$(($(field monotonic_ns "$out") -
		$(field monotonic_ns "$dir/a.json")))" -ge 900000000000
	result=$?
	date -s "@$(($(date +%s) - 1000))" >/dev/null
	return "$result"
}

# Over a pipe, with an exit status, and with what is started.
restore_stdin()
{
	no_switches && return
	"$tool" save - | "$tool" restore - sh -c 'cat; exit 7' >"$out" 2>"$err"
	compare 'exit status' $? -eq 7 && lines 0 "$out" && lines 0 "$err" &&
	"$tool" save "$dir/a" >/dev/null &&
	expect 0 restore "$dir/a" --inherit echo --gap x && has '^--gap x$' "$out" &&
	expect 0 restore --gap freeze "$dir/a" -- echo -- && has '^--$' "$out" &&
	expect 127 restore "$dir/a" nonsense-of-a-name && lines 1 "$err" &&
	expect 126 restore "$dir/a" "$dir" && lines 1 "$err"
}

# damaged BYTE OCTAL: b is a with another byte there
damaged()
{
	cp "$dir/a" "$dir/b" && put "$dir/b" "$1" "$2"
}

# refused TEXT NAME: in one line, and nothing is run
refused()
{
	failure "$1" restore "$dir/$2" touch "$dir/ran" && ! [ -e "$dir/ran" ]
}

restore_refused()
{
	"$tool" save "$dir/a" >/dev/null || return
	refused 'read .*No such file' nowhere && refused 'read .*Is a directory' . &&
	: >"$dir/b" && refused 'not a saved clock' b &&
	echo a >"$dir/b" && refused 'not a saved clock' b &&
	head -c 4096 /dev/zero >"$dir/b" && refused 'not a saved clock' b &&
	head -c 4 "$dir/a" >"$dir/b" && refused 'not a saved clock' b &&
	head -c 79 "$dir/a" >"$dir/b" && refused 'less than 80 bytes, .*damaged' b &&
	{ cat "$dir/a"; echo; } >"$dir/b" && refused 'more than 80 bytes, .*damaged' b &&
	damaged 0 0 && refused 'not a saved clock' b &&
	damaged 4 2 && refused 'version 2, not 1' b &&
	head -c 64 "$dir/b" >"$dir/c" && refused 'version 2, not 1' c || return
	# Of each field a byte; then one that is as it should be but for what it says.
	for place in 8 12 16 24 32 40 48 56 79; do
		damaged "$place" 0
		! cmp -s "$dir/a" "$dir/b" || damaged "$place" 1
		refused 'Bad message.* damaged' b || return
	done
	damaged 23 177 && seal "$dir/b" && refused 'out of range.*146 years' b &&
	head -c 10 "$dir/a" | failure 'less than 80 bytes' restore - touch "$dir/ran" &&
	! [ -e "$dir/ran" ]
}

restore_not_permitted()
{
	"$tool" save "$dir/a" >/dev/null && make_node "$dir/writable" 666 &&
	as_nobody failure 'read .*Permission denied' restore "$dir/a" true && chmod 644 "$dir/a" &&
	as_nobody failure 'open .*Permission denied' restore "$dir/a" true || return
	no_switches && return
	as_nobody expect 0 --device "$dir/writable" restore "$dir/a" true
}

# A clock that is stopped has no time, but all else. If it could not be saved it goes on.
restore_stopped()
{
	no_switches && return
	"$tool" save "$dir/a" >/dev/null || return
	# shellcheck disable=SC2016 # the command's own variables
	expect 1 restore "$dir/a" -- sh -c '"$0" save - >"$1" && "$0" save - | cmp "$1" - &&
		"$0" hold --time 0 && "$0" read monotonic --json' "$tool" "$dir/b" &&
	has 'cannot read monotonic: .*clock is stopped' "$err" && lines 1 "$err" &&
	lines 2 "$out" || return
	# shellcheck disable=SC2016 # the command's own variables
	expect 0 restore "$dir/a" -- sh -c '! "$0" save - >/dev/full && "$0" read --json' "$tool" &&
	has 'cannot write the saved clock' "$err" && lines 4 "$out"
}

# restore_parent ARGUMENT...: a command that creates a child
restore_parent()
{
	# shellcheck disable=SC2016 # the command's own variables
	background "$tool" restore "$dir/a" "$@" sh -c 'sleep 1000 & echo $! >"$0"; wait' "$dir/child"
	wait_until [ -s "$dir/child" ]
}

# Registered as by "run"; and by that, once more, with other flags.
restore_inherit()
{
	no_switches && return
	"$tool" save "$dir/a" >/dev/null && restore_parent &&
	wait_until sleeps "$pid" && counted 1 0 && wait_for state parked && is references 0 || return
	end_background 2>/dev/null
	wait_for all_tasks 0 && restore_parent --inherit && counted 2 0 || return
	end_background 2>/dev/null
	wait_for all_tasks 0 && restore_parent "$tool" run --inherit && counted 2 0
}

# far: b is a clock that is 2^48 ns before its host's, about three days
far()
{
	"$tool" save "$dir/a" >/dev/null && damaged 22 1 && seal "$dir/b"
}

# A program that does not know parkclock has the restored clock, and so has one that it runs.
restore_preload()
{
	no_switches && return
	far && expect 0 restore "$dir/b" --preload -- /tests/preload_waiter readings &&
	expect 0 restore --preload "$dir/b" --inherit -- /tests/preload_waiter closes &&
	expect 0 restore "$dir/b" "$tool" run --preload /tests/preload_waiter readings &&
	expect 1 restore "$dir/b" /tests/preload_waiter readings &&
	expect 7 restore "$dir/b" --preload sh -c 'exit 7'
}

# By PARKCLOCK_FD the tool means the clock that was restored; by --device, another.
given_clock()
{
	no_switches && return
	# shellcheck disable=SC2016 # the command's own variables
	far && expect 0 restore "$dir/b" -- sh -c '"$0" read monotonic --json
		"$0" --device /dev/parkclock read monotonic --json >"$1"
		"$0" --device /dev/parkclock save --json "$1.other" >"$1.json"
		"$0" read monotonic --json >>"$1"' "$tool" "$dir/c" &&
	sed -n 1p "$dir/c" >"$dir/device" && sed -n 2p "$dir/c" >"$dir/after" &&
	compare 'the difference given, of the device, given again; what the device was saved with' \
		"$(field difference_ns "$out")" -gt $((1 << 47)) \
		"$(field difference_ns "$dir/device")" -lt $((1 << 47)) \
		"$(field difference_ns "$dir/after")" -gt $((1 << 47)) \
		"$(field monotonic_ns "$dir/c.json")" -lt $((1 << 47))
}

# with FD TEST...: a test in which PARKCLOCK_FD is that
with()
{
	(export PARKCLOCK_FD="$1" && shift && "$@")
}

# A descriptor that is none of a clock is an error, and no other clock is taken instead.
given_no_clock()
{
	for command in status read 'hold --time 0' 'watch --count 1' 'run true'; do
		for fd in 77 '' x 99999999999; do
			# shellcheck disable=SC2086 # words of the command
			with "$fd" failure 'Bad file descriptor.*unset PARKCLOCK_FD' $command || return
		done
		# shellcheck disable=SC2086 # words of the command
		with 8 failure 'PARKCLOCK_FD.*not a parkclock device' $command 8</dev/null || return
	done
	with 77 expect 0 --device /dev/parkclock read && right "$out" 4 || return
	with 77 failure 'Bad file descriptor' save "$dir/a" &&
	with x failure 'Bad file descriptor' save "$dir/a" &&
	with '' failure 'Bad file descriptor' save "$dir/a" &&
	with 8 failure 'not a parkclock device' save "$dir/a" 8</dev/null &&
	with 8 failure 'opened for reading only' save "$dir/a" 8</dev/parkclock &&
	! [ -e "$dir/a" ] && with 77 expect 0 --device /dev/parkclock save "$dir/a"
}

# row STATE HOLDS TASKS OFFSET WHO: of status, after it
row()
{
	has "^ *[0-9]*  $1 *$2 *$3  *$4  *0.000000000  $5\$" "$out"
}

# One row for each, with who has it; not for another user, who may not look there.
status_clocks()
{
	held && expect 0 status && has '^clocks           1 that ' "$out" &&
	row running 1 0 0.000000000 "$pid parkclock" &&
	as_nobody expect 0 status && has '^clocks           0 that ' "$out"
}

# named ID NAME: it has become that
named()
{
	grep -qx "$2" "/proc/$1/comm"
}

status_restored()
{
	no_switches && return
	far && background "$tool" restore "$dir/b" sleep 1000 && wait_until named "$pid" sleep &&
	expect 0 status && row running 0 1 281474.976710656 "$pid sleep" || return
	# shellcheck disable=SC2016 # the command's own variables
	background "$tool" restore "$dir/b" -- sh -c \
		'"$0" save "$1" >/dev/null && exec sleep 1000' "$tool" "$dir/c"
	wait_until named "$pid" sleep && expect 0 status &&
	has '^clocks           2 that ' "$out" &&
	row stopped 0 1 281474.976710656 "$pid sleep"
}

# Processes, and descriptors of clocks, that come and go are no error.
status_churn()
{
	# shellcheck disable=SC2016 # the command's own variables
	background sh -c 'while :; do "$0" hold --time 0 & "$0" hold --time 0; wait; done >/dev/null' \
		"$tool"
	for n in 1 2 3 4 5 6 7 8 9 10; do
		expect 0 status --json && lines 1 "$out" && lines 0 "$err" || return
	done
}

# What cannot be printed is a failure, not a success without output.
full_disk()
{
	for command in --help status read 'watch --count 2' 'hold --time 0' \
		'doctor --seconds 0.1' "save $dir/a" "save --json $dir/a"; do
		# shellcheck disable=SC2086 # words of the command
		"$tool" $command >/dev/full 2>"$err"
		got=$?
		[ "$got" -eq 1 ] && has 'cannot write the output' "$err" && continue
		echo "$command: exit status $got"
		return 1
	done
}

# shellcheck disable=SC2086 # to count the words
set -- $tests
echo "TAP version 13"
echo "1..$#"
number=0
failed=0
for test; do
	number=$((number + 1))
	rm -rf "${dir:?}"/*
	if { park && $test; } >"$dir/log" 2>&1; then
		echo "ok $number $test$(cat "$dir/skip" 2>/dev/null)"
	else
		sed 's/^/# /' "$dir/log"
		echo "not ok $number $test"
		failed=1
	fi
	end_background 2>/dev/null
done
echo 1000 >"$params/interval_ms"
echo 5 >"$params/slack_percent"
echo Y >"$params/enabled"
rm -rf "$dir"
exit $failed
