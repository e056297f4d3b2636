# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
#
# What tests share that are scripts and run containers by crun. Sourced, and sources script.sh.

# shellcheck source=selftests/lib/script.sh
. "${0%/*}/script.sh"

keepers=/run/parkclock
cgroups=/sys/fs/cgroup
inside=/tests/preload_inside

lacking=
[ -e "$cgroups/cgroup.controllers" ] || lacking="cgroups of version 2"
[ -d /sys/kernel/tracing/events/sched/sched_switch ] || lacking=${lacking:-tracepoints}
# By which crun says which devices there are
[ -e /proc/sys/kernel/unprivileged_bpf_disabled ] || lacking=${lacking:-bpf(2)}
for ns in pid ipc uts mnt cgroup; do
	[ -e "/proc/self/ns/$ns" ] || lacking=${lacking:-"$ns namespaces"}
done

lacks()
{
	[ -n "$lacking" ] || return
	skip "needs a kernel with $lacking"
}

# bundle NAME ARGUMENT...: what crun makes the container from; no root inside, no capabilities
bundle()
{
	name=$1
	shift
	mkdir -p "$dir/$name/root"
	args=
	for word; do
		args="$args${args:+, }\"$word\""
	done
	mounts=
	for place in /bin /lib /lib64 /usr /tests; do
		[ -e "$place" ] || continue
		mounts="$mounts, { \"destination\": \"$place\", \"type\": \"bind\", \"source\": \"$place\",
			\"options\": [ \"bind\", \"ro\" ] }"
	done
	cat >"$dir/$name/config.json" <<-END
	{ "ociVersion": "1.0.2",
	  "process": {
		"user": { "uid": 1000, "gid": 1000 }, "cwd": "/", "args": [ $args ],
		"env": [ "PATH=/bin", "PARKCLOCK_FD=3"${preload-,
			\"LD_PRELOAD=/usr/local/lib/libparkclock-preload.so\"} ],
		"noNewPrivileges": true },
	  "annotations": { "run.oci.hooks.stderr": "$dir/$name/hook" },
	  "root": { "path": "root" },
	  "mounts": [ { "destination": "/proc", "type": "proc", "source": "proc" },
		{ "destination": "/dev", "type": "tmpfs", "source": "tmpfs" }$mounts ],
	  ${hooks-"\"hooks\": { \"createRuntime\": [ { \"path\": \"/usr/local/lib/parkclock/oci-hook\" } ] },"}
	  "linux": { "cgroupsPath": "/$name", "namespaces": [ { "type": "pid" }, { "type": "mount" },
		{ "type": "ipc" }, { "type": "uts" }, { "type": "cgroup" } ] } }
	END
}

# begin NAME ARGUMENT...: a container in the background, which writes to $dir/NAME/out
begin()
{
	bundle "$@"
	parkclock-crun run --no-pivot --detach --pid-file "$dir/$1/pid" --bundle "$dir/$1" "$1" \
		>"$dir/$1/out" 2>"$dir/$1/err" </dev/null && return
	echo "run: exit status $?"
	cat "$dir/$1/err"
	return 1
}

# delete NAME: and then nothing is left of any
delete()
{
	parkclock-crun delete --force "$1" && nothing_left "$1"
}

no_keepers()
{
	[ -z "$(ls -A "$keepers" 2>/dev/null)" ] && [ -z "$(pidof parkclock-keep)" ]
}

nothing_left()
{
	wait_until no_keepers && wait_until unused && [ ! -e "$cgroups/$1" ] && return
	echo "left: $(ls -A "$keepers") $(pidof parkclock-keep)"
	return 1
}

# keeper NAME FIELD: of keepers --json
keeper()
{
	parkclock keepers --json | sed -n "s/.*\"name\":\"$1\",.*\"$2\":\"*\([^,\"}]*\).*/\1/p"
}

# field NAME WORD: the number behind the last WORD in what the container NAME has printed
field()
{
	sed -n "s/.*$2 \([0-9]*\).*/\1/p" "$dir/$1/out" | tail -n 1
}

# Nothing of a test that has failed is left for the next one.
clean()
{
	for name in $(crun list -q 2>/dev/null); do
		crun delete --force "$name"
	done
	# shellcheck disable=SC2046 # ids
	kill -KILL $(pidof parkclock-keep) 2>/dev/null
	rm -rf "${keepers:?}"
}

# BOOTTIME in ns
uptime_ns()
{
	read -r seconds _ </proc/uptime
	echo "$(echo "$seconds" | tr -d .)0000000"
}

# has_printed NAME: something
has_printed()
{
	[ -s "$dir/$1/out" ]
}

# by_page NAME: on a host that can, each of its first readings
by_page()
{
	has '^sleeps' "$dir/$1/out" || return
	[ "$usable" -eq 0 ] || [ "$(field "$1" by_page)" -eq "$(field "$1" sleeps)" ] && return
	cat "$dir/$1/out"
	return 1
}

# park() is what every test begins and ends with.
park()
{
	clean
	echo 10 >"$params/interval_ms"
	wait_until unused
}
