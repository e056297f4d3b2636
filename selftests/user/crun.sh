#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Containers of the distribution's crun, which does not know parkclock, with clocks of their own:
#
#	parkclock-crun --> parkclock keep --> keeper: the owner's descriptor, a socket
#	                       |
#	                       +--> crun --> oci-hook: the cgroup is registered
#	                              |
#	                              +--> init (uid 1000): a view that keeps that, as descriptor 3
#
# Checked: an unmodified program inside reads a MONOTONIC that begins near zero and never goes
# back; when crun is gone, and whatever is killed, the first reading after a sleep comes from the
# page, as does that of a process that joins by exec; paused, the clock stands still or goes on as
# the policy says. A container can do nothing with its view but look. Whatever ends first (crun,
# init, the keeper, the cgroup) leaves nothing.
#
# Fails if a registration ends with crun or with the keeper, if a pause lets time be lost or go
# back, if a keeper outlives its container, or if a stopped clock cannot be started again.
#
# shellcheck disable=SC2317 # the tests are called by their names

# shellcheck source=selftests/lib/containers.sh
. "${0%/*}/containers.sh"

near_zero()
{
	lacks && return
	began=$(uptime_ns)
	begin zero "$inside" read 100000 && wait_until has_printed zero || return
	least=$(field zero first) most=$(($(uptime_ns) - began + 10000000))
	if [ "$(field zero back)" -ne 0 ] || [ "$least" -eq 0 ] ||
		[ "$(field zero last)" -ge "$most" ]; then
		echo "at most $most:"
		cat "$dir/zero/out"
		return 1
	fi
	# Nobody has deleted it yet: the keeper ends with what ran there.
	wait_until no_keepers && delete zero
}

# crun is gone when it has printed that.
outlives_crun()
{
	lacks && return
	begin alone "$inside" wakes 20 && wait_until grep -q sleeps "$dir/alone/out" &&
		by_page alone && delete alone
}

# One joins, whose clock is that of the others, and who is registered.
joins()
{
	lacks && return
	begin joined "$inside" idle && parkclock-crun exec joined "$inside" wakes 10 \
		>"$dir/joined/out" && by_page joined &&
		parkclock --name joined read monotonic --json >"$dir/before" &&
		parkclock-crun exec joined parkclock read monotonic --json >"$dir/within" &&
		parkclock --name joined read monotonic --json >"$dir/after" || return
	last=0
	for when in before within after; do
		now=$(sed -n 's/.*"ns":\([0-9]*\).*/\1/p' "$dir/$when")
		if ! [ "$now" -gt "$last" ]; then
			cat "$dir/before" "$dir/within" "$dir/after"
			return 1
		fi
		last=$now
	done
	delete joined
}

# goes_on NAME TIME: its last reading is later than that
goes_on()
{
	[ "$(field "$1" last)" -gt "$2" ]
}

# One command each. In between nobody gets a time, and nothing inside runs. However slow the
# machine is: what passed while the clock was stopped is missing (freeze), or is not (include).
pauses()
{
	lacks && return
	for gap in include freeze; do
		begin paused "$inside" watch && wait_until has_printed paused || return
		now=$(uptime_ns)
		expect 0 parkclock --name paused read monotonic --json || return
		ahead=$(($(sed -n 's/.*"ns":\([0-9]*\).*/\1/p' "$out") - now))
		parkclock-crun pause paused && [ "$(keeper paused stopped)" = true ] || return
		stopped=$(uptime_ns)
		expect 1 parkclock --name paused read monotonic && has 'is stopped' "$err" || return
		at=$(field paused last)
		sleep 2
		[ "$(field paused last)" -eq "$at" ] || return
		stopped=$(($(uptime_ns) - stopped - 10000000))
		PARKCLOCK_GAP=$gap parkclock-crun resume paused && wait_until goes_on paused "$at" ||
			return
		now=$(($(uptime_ns) + 10000000))
		# The first reading after the pause
		after=$(awk -v at="$at" '$2 == at { print $4; exit }' "$dir/paused/out")
		[ "$(field paused back)" -eq 0 ] && [ "$stopped" -gt 1500000000 ] || return
		if [ "$gap" = include ]; then
			[ "$after" -ge $((at + stopped)) ]
		else
			[ "$after" -gt "$at" ] && [ "$after" -le $((now + ahead - stopped)) ]
		fi || {
			echo "$gap: stopped for $stopped, from $at on to $after, at most $((now + ahead))"
			return 1
		}
		delete paused || return
	done
}

# replaced NAME PID: somebody else serves, and has a guard
replaced()
{
	now=$(keeper "$1" pid)
	[ -n "$now" ] && [ "$now" -ne "$2" ] && ! exited "$(keeper "$1" guard)"
}

# guarded NAME PID: by another one
guarded()
{
	now=$(keeper "$1" guard)
	[ -n "$now" ] && [ "$now" -ne "$2" ]
}

# A stopped clock can be started, whichever of the two processes was killed before.
keeper_killed()
{
	lacks && return
	begin kept "$inside" idle && parkclock --name kept stop || return
	victim=$(keeper kept pid)
	kill -KILL "$victim" && wait_until replaced kept "$victim" || return
	victim=$(keeper kept guard)
	kill -KILL "$victim" && wait_until guarded kept "$victim" || return
	[ "$(keeper kept stopped)" = true ] && [ "$(keeper kept cgroup)" = "$cgroups/kept" ] &&
		parkclock --name kept start --gap freeze && [ "$(keeper kept stopped)" = false ] || return
	# Both: the container goes on, registered, by its own view.
	kill -KILL "$(keeper kept pid)" "$(keeper kept guard)"
	wait_until refused 'were killed' parkclock --name kept stop &&
		[ -z "$(keeper kept pid)" ] || return
	spin=$(status run_wakes)
	crun exec kept sh -c 'sleep 0.1; sleep 0.1' && [ "$(status run_wakes)" -gt "$spin" ] || return
	# A new keeper takes the place of the socket that is left.
	parkclock keep kept true && wait_until no_keepers && delete kept
}

# crun is killed at some moment, then what it has left is deleted.
crun_killed()
{
	lacks && return
	bundle half "$inside" idle
	for delay in 0 0.05 0.1 0.2 0.4 0.8; do
		parkclock-crun run --no-pivot --bundle "$dir/half" half >/dev/null 2>&1 </dev/null &
		sleep "$delay"
		kill -KILL $! 2>/dev/null
		wait $! 2>/dev/null
		crun delete --force half 2>/dev/null
		[ ! -d "$cgroups/half" ] || {
			echo 1 >"$cgroups/half/cgroup.kill"
			wait_until rmdir "$cgroups/half" 2>/dev/null
		}
		rm -rf /run/crun/half
		nothing_left half || return
	done
}

# What runs in it is killed, and nobody deletes anything for now.
inside_killed()
{
	lacks && return
	begin dead "$inside" idle && kill -KILL "$(cat "$dir/dead/pid")" &&
		wait_until no_keepers && delete dead || return
	begin dead "$inside" idle && echo 1 >"$cgroups/dead/cgroup.kill" &&
		wait_until no_keepers && delete dead
}

# No hook in the bundle: what engines call, create, does without.
without_hook()
{
	lacks && return
	hooks=
	bundle plain "$inside" wakes 5
	unset hooks
	parkclock-crun create --no-pivot --bundle "$dir/plain" plain >"$dir/plain/out" 2>&1 </dev/null &&
		[ "$(keeper plain cgroup)" = "$cgroups/plain" ] && parkclock-crun start plain &&
		wait_until grep -q sleeps "$dir/plain/out" && by_page plain && delete plain
}

# Every request, and every other thing that a program does with a descriptor
can_only_look()
{
	lacks && return
	preload=
	begin probe "$inside" probe
	result=$?
	unset preload
	[ "$result" -eq 0 ] && wait_until grep -q 0x1f "$dir/probe/out" || return
	{
		echo 'uid 1000 fds 0 1 2 3'
		echo 'open ENOENT'
		echo 'read 0'
		echo 'write EBADF'
		echo 'poll 0'
		echo 'map_ro 0'
		echo 'map_rw EACCES'
		echo 'map_rx EACCES'
	} >"$dir/look"
	grep -v '^ioctl' "$dir/probe/out" | diff "$dir/look" - || return
	# READ, and TIMER, for which this view was made
	printf 'ioctl_0x%s 0\n' 01 11 >"$dir/may"
	grep '^ioctl' "$dir/probe/out" | grep -v ENOTTY | diff "$dir/may" - && delete probe
}

# A container that would run without its clock does not run.
hook_fails()
{
	lacks && return
	bundle bare "$inside" idle
	expect 1 crun run --no-pivot --detach --bundle "$dir/bare" bare &&
		has 'No clock of that name is kept' "$dir/bare/hook" && [ ! -d "$cgroups/bare" ]
}

# as_nobody WORD...
as_nobody()
{
	su -s /bin/sh nobody -c "exec $*"
}

# The directory lets in or does not; a keeper lends its rights to nobody.
rights()
{
	lacks && return
	add_nobody
	begin mine "$inside" idle || return
	refused 'may not enter' as_nobody parkclock --name mine stop || return
	chmod 755 "$keepers"
	refused 'may not move processes' as_nobody parkclock --name mine cgroup "$cgroups/mine" &&
		expect 0 as_nobody parkclock --name mine stop &&
		[ "$(keeper mine stopped)" = true ] && delete mine
}

messages()
{
	lacks && return
	for name in ../x .x 'a b' ''; do
		refused 'is no name of a container' parkclock keep "$name" true || return
	done
	refused 'no clock is named' parkclock stop &&
	refused 'No clock of that name' parkclock --name nobody stop &&
	refused 'open already' parkclock keep name true 3<&0 &&
	refused 'no absolute path' env PARKCLOCK_KEEPERS=here parkclock keep name true &&
	refused 'cannot read' parkclock keep --restore /nonsense name true || return
	expect 127 parkclock keep name nonsense && nothing_left name || return
	mkdir "$cgroups/empty" && background parkclock keep --cgroup "$cgroups/empty" first &&
		wait_until test -S "$keepers/first" || return
	refused 'kept as first already' parkclock keep first true &&
	refused 'not the directory of a cgroup' parkclock --name first cgroup "$dir" &&
	refused 'wanted state' parkclock --name first start || return
	kill -TERM "$pid"
	wait "$pid"
	rmdir "$cgroups/empty"
	nothing_left empty
}

run_tests near_zero outlives_crun joins pauses keeper_killed crun_killed inside_killed without_hook \
	can_only_look hook_fails rights messages
