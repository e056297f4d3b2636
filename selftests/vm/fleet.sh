# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
#
# Machines that run side by side. Each asks for a program, and for the next one when
# that is over, see init.c; the reports of all come to one place, here, and go on to
# vm/report, one program after another. Sourced after machine.sh.
#
# A machine that dies, or hangs, fails the program that it ran. Another machine takes
# its place while there are programs left.

# How many machines there are at a time, and after how many deaths no other is started.
machines=${VM_MACHINES:-3}
most_deaths=3

# Work (s) for which one more machine is worth its boot.
worth_a_boot=20

# Once it has booted, a machine says every second that it is alive; before that, its
# console goes on. One that is silent for so long (s) hangs.
silence=${VM_SILENCE:-45}

# The same while it boots. A kernel with checkers takes minutes to unpack the initramfs,
# without a word.
boot_silence() {
	case $kind in
	built | custom) echo 300 ;;
	*) echo "$silence" ;;
	esac
}

# After so long (s) without a result, a line says what runs.
progress_every=30

# The programs that no machine has been given yet: lines of the list
queue=()

# What is known of each machine, by its number:
#
#	process				QEMU's
#	directory			where its files are
#	to_monitor to_init		file descriptors that QEMU's monitor and init read
#	program				what it runs, nothing between two programs
#	line				that, as the list has it
#	since				when the program, or else the machine, began
#	block				its report since the last program was over
#	silent limit			seconds without a word, and how many are too many
#	said				what its console had said a second ago, while it boots
#	kill_at				when it is killed, if it hangs
#	key_every key_at		a key is pressed every so many seconds, next at that time
#	closed				it gets no other program
#	complete			it has said that its report is complete
declare -A process directory to_monitor to_init program line since block silent limit
declare -A said kill_at key_every key_at closed complete
living=() started=0 booted=0 deaths=0

# How many machines may hang at a breakpoint that is gone, see below, and their programs
# begin once more. Of sixty runs of register on busy CPUs one did so.
again=3

start_machine() {
	local pid fd m=$((started + 1)) dir

	started=$m
	dir=$results/machine-$m
	mkdir -p "$dir" && mkfifo "$dir/monitor" "$dir/answers" || exit 1
	exec {fd}<>"$dir/monitor"
	to_monitor[$m]=$fd
	exec {fd}<>"$dir/answers"
	to_init[$m]=$fd
	# shellcheck disable=SC2034 # qemu reads both
	report=$dir/report.txt answers=$dir/answers
	qemu "$accel" "file:$dir/console.log" check
	machine+=(-monitor stdio)
	: >"$report"
	: >"$dir/console.log"
	start <&"${to_monitor[$m]}" >"$dir/qemu.log" 2>&1
	# The shell is not to say that it was killed, least of all after the closing line.
	disown "$pid"
	process[$m]=$pid directory[$m]=$dir program[$m]='' line[$m]='' since[$m]=$SECONDS block[$m]=''
	silent[$m]=0 limit[$m]=$(boot_silence) said[$m]=0 kill_at[$m]='' key_every[$m]='' closed[$m]='' complete[$m]=''
	living+=("$m")
	{
		tail -n +1 -s 0.2 -f --pid="$pid" "$report" | sed -u "s/^/$m /"
		echo "$m gone"
	} >&"$events" &
	if [ "${VERBOSE:-}" = 1 ]; then
		tail -n +1 -s 0.2 -f --pid="$pid" "$dir/console.log" | sed -u "s/^/machine $m: /" >&2 &
	fi
}

# Not left behind when somebody interrupts.
stop_machines() {
	local m

	for m in "${living[@]}"; do
		kill -KILL "${process[$m]}" 2>/dev/null
	done
}

# give MACHINE: the next program, if it may have one and there is one
give() {
	local m=$1 name where

	if [ -n "${closed[$m]}" ] || [ ${#queue[@]} -eq 0 ]; then
		echo none >&"${to_init[$m]}"
		return
	fi
	line[$m]=${queue[0]}
	queue=("${queue[@]:1}")
	read -r name where _ <<<"${line[$m]}"
	[ "$where" != last ] || closed[$m]=1
	program[$m]=$name since[$m]=$SECONDS
	printf '%s\n' "${line[$m]}" >&"${to_init[$m]}"
}

# What the machine has said about the program goes to vm/report.
pass_on() {
	[ -z "${block[$1]}" ] || printf '%sover\n' "${block[$1]}"
	block[$1]='' program[$1]='' line[$1]='' key_every[$1]=''
}

# What programs in the machine may ask for, and nothing else, by QEMU's monitor:
#
#	stop N		the machine stands still for N s
#	key N		a key is pressed every N s, which wakes it if it sleeps,
#	nothing		until that is said, or the program is over
answer() {
	local m=$1

	case $2 in
	'stop '[1-9])
		echo stop >&"${to_monitor[$m]}"
		# The others go on meanwhile.
		{
			sleep "${2##* }"
			echo cont
		} >&"${to_monitor[$m]}" &
		;;
	'key '[1-9])
		key_every[$m]=${2##* } key_at[$m]=$((SECONDS + ${2##* }))
		;;
	nothing)
		key_every[$m]=''
		;;
	esac
}

# event MACHINE WORD TEXT: a line of its report
event() {
	local m=$1

	silent[$m]=0
	case $2 in
	alive) ;;
	booted)
		booted=$((booted + 1))
		limit[$m]=$silence said[$m]=''
		;;
	next)
		pass_on "$m"
		give "$m"
		;;
	ask)
		answer "$m" "$3"
		;;
	complete)
		complete[$m]=1
		;;
	gone)
		gone "$m"
		;;
	*)
		[ "$2" != out ] || [ "${VERBOSE:-}" != 1 ] || printf 'live %s\n' "$3"
		block[$m]+="$2${3:+ $3}"$'\n'
		[ "$2" != end ] || key_every[$m]=''
		;;
	esac
}

# Has a CPU come to a breakpoint that is not there? Now and then an emulated machine goes
# on with what it has translated before its kernel patched that: the kernel finds that the
# breakpoint is gone and tries again, for ever. What every CPU says when it is asked where
# it is has the code around the address to return to, as <the byte> and those before it.
breakpoint_is_gone() {
	tr -d '\r' <"${directory[$1]}/console.log" | awk '
		/NMI backtrace for cpu/ { int3 = at = 0 }
		/RIP: 0010:/ { at = int3 }
		/int3/ { int3 = 1 }
		/Code:/ && at && match($0, /[0-9a-f][0-9a-f] <[0-9a-f][0-9a-f]>/) {
			if (substr($0, RSTART, 2) != "cc")
				gone = 1
			at = 0
		}
		END { exit !gone }'
}

# where MACHINE: a line for each CPU, if it was asked: what it did, and what had called that
where() {
	tr -d '\r' <"${directory[$1]}/console.log" | awk '
		function cpu_is_over() {
			if (cpu != "")
				print "cpu " cpu ":" chain
			chain = ""
		}
		/NMI backtrace for cpu/ { cpu_is_over(); cpu = $NF }
		cpu == "" || / \? / { next }
		/end_repeat_nmi\+/ { chain = ""; next }
		match($0, /RIP: 0010:[^ +]*/) { chain = chain " [" substr($0, RSTART + 10, RLENGTH - 10) "]"; next }
		match($0, /\]  [A-Za-z_][^ +]*\+0x/) { chain = chain " " substr($0, RSTART + 3, RLENGTH - 6) }
		END { cpu_is_over() }'
}

# gone MACHINE: it has ended, by itself or because it was killed
gone() {
	local m=$1 i fd

	for i in "${!living[@]}"; do
		[ "${living[$i]}" != "$m" ] || unset "living[$i]"
	done
	for fd in "${to_monitor[$m]}" "${to_init[$m]}"; do
		exec {fd}>&-
	done
	if [ -z "${complete[$m]}" ]; then
		if [ -n "${kill_at[$m]}" ] && [ "$again" -gt 0 ] && breakpoint_is_gone "$m"; then
			again=$((again - 1))
			[ -z "${line[$m]}" ] || queue=("${line[$m]}" "${queue[@]}")
			block[$m]=''
			where "$m" | sed 's/^/note /'
			echo "again an emulated machine hung at a breakpoint that is not in its memory"
		else
			died "$m"
		fi
	fi
	pass_on "$m"
	if [ ${#queue[@]} -ne 0 ] && [ "$deaths" -lt "$most_deaths" ]; then
		start_machine
	fi
}

# died MACHINE: without a complete report
died() {
	local m=$1 dir=${directory[$1]} during='between two programs'

	deaths=$((deaths + 1))
	if [ -n "${said[$m]}" ]; then
		during='while it booted'
		# If none ever has, the next one would not either.
		[ "$booted" -ne 0 ] || deaths=$most_deaths
	elif [ -n "${program[$m]}" ]; then
		during="while it ran ${program[$m]}"
	fi
	# It may not even have said that it begins.
	if [ -n "${program[$m]}" ] && [[ ${block[$m]} != "run "* ]]; then
		block[$m]="run ${program[$m]}"$'\n'${block[$m]}
	fi
	block[$m]+=$(
		tail -n 100 "$dir/console.log" | tr -d '\r' | sed 's/^/console /'
		grep -v -e '^(qemu)' -e 'monitor - type' "$dir/qemu.log" | sed 's/^/console qemu: /'
		where "$m" | sed 's/^/console /'
		if [ -n "${kill_at[$m]}" ]; then
			echo "died the machine hung $during: it said nothing for ${limit[$m]} s, and was ended"
		else
			echo "died the machine ended $during, without a complete report"
		fi
	)$'\n'
}

# Has the console of a machine that boots gone on?
listen() {
	local size

	size=$(stat -c %s "${directory[$1]}/console.log")
	[ "$size" = "${said[$1]}" ] || silent[$1]=0
	said[$1]=$size
}

# Once a second. Seconds in which all of this machine stood still count as one.
tick() {
	local m

	for m in "${living[@]}"; do
		silent[$m]=$((silent[$m] + 1))
		[ -z "${said[$m]}" ] || listen "$m"
		if [ -n "${key_every[$m]}" ] && [ "$SECONDS" -ge "${key_at[$m]}" ]; then
			echo sendkey ret >&"${to_monitor[$m]}"
			key_at[$m]=$((SECONDS + key_every[$m]))
		fi
		if [ -n "${kill_at[$m]}" ]; then
			[ "$SECONDS" -lt "${kill_at[$m]}" ] || kill -KILL "${process[$m]}" 2>/dev/null
		elif [ "${silent[$m]}" -ge "${limit[$m]}" ]; then
			# Every CPU says where it is, before the end.
			echo nmi >&"${to_monitor[$m]}"
			kill_at[$m]=$((SECONDS + 10))
			echo "note machine $m has said nothing for ${limit[$m]} s: ${program[$m]:-no program} runs there"
		fi
	done
}

progress() {
	local m text=''

	for m in "${living[@]}"; do
		text+="${text:+, }${program[$m]:-machine $m} ($((SECONDS - since[$m])) s)"
	done
	echo "progress ${#queue[@]} to come; running: $text"
}

# run_in_machines: what is in the queue
run_in_machines() {
	local event part='' rest text now=$SECONDS last=$SECONDS work=0 wanted entry seconds

	[ ${#queue[@]} -ne 0 ] || return 0
	for entry in "${queue[@]}"; do
		read -r _ _ seconds _ <<<"$entry"
		work=$((work + seconds))
	done
	wanted=$((1 + work / worth_a_boot))
	[ "$wanted" -le "$machines" ] || wanted=$machines
	[ "$wanted" -le ${#queue[@]} ] || wanted=${#queue[@]}

	rm -rf "$results"/machine-*
	mkfifo "$results/events.$$" || exit 1
	exec {events}<>"$results/events.$$"
	rm "$results/events.$$"
	trap stop_machines EXIT
	trap 'exit 130' INT TERM
	while [ "$started" -lt "$wanted" ]; do
		start_machine
	done
	while [ ${#living[@]} -ne 0 ]; do
		# What is indented stays so. The second may be over in the middle of a line.
		if IFS= read -r -t 1 -u "$events" event; then
			event=$part$event part=''
			rest=${event#* }
			text=${rest#"${rest%% *}"}
			event "${event%% *}" "${rest%% *}" "${text# }"
			[ "$rest" != next ] || last=$SECONDS
		else
			part+=$event
		fi
		[ "$SECONDS" != "$now" ] || continue
		now=$SECONDS
		tick
		if [ $((now - last)) -ge "$progress_every" ]; then
			last=$now
			progress
		fi
	done
	for entry in "${queue[@]}"; do
		printf 'run %s\nend %s unrun 0 0\nover\n' "${entry%%[[:space:]]*}" "${entry%%[[:space:]]*}"
	done
}
