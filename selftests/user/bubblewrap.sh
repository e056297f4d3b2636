#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The distribution's bubblewrap, which does not know parkclock, with the device bound in:
# the unmodified tool works inside as it does outside.
#
# Checked, for root, for a member of the group clock and for a user without rights, with the
# device as the udev rule makes it: the time inside is the time outside, by page and by READ. A
# process that registers itself is registered, and no longer once it is killed; it holds a
# reference instead if its user may not write to the device, who cannot do so inside, either. In
# a time namespace the clock reads as clock_gettime() does there.
#
# Fails if a clock that is opened in other namespaces is not the host's, or has another
# namespace's time, or if anything of it is left when the sandbox is dead.
#
# shellcheck disable=SC2317 # the tests are called by their names

# shellcheck source=selftests/lib/script.sh
. "${0%/*}/script.sh"

# All namespaces, or those that this kernel has
namespaces=--unshare-all
for ns in user pid ipc net uts; do
	[ -e "/proc/self/ns/$ns" ] || namespaces=
done
if [ -z "$namespaces" ]; then
	for ns in user pid ipc net uts; do
		[ ! -e "/proc/self/ns/$ns" ] || namespaces="$namespaces --unshare-$ns"
	done
fi

lacks()
{
	[ -z "$namespaces" ] || return
	skip "needs a kernel with namespaces"
}

# make NAME COMMAND: a program that runs its arguments in a sandbox, by COMMAND. That is not
# on the initramfs, whose root pivot_root() cannot move, but on what is mounted over it.
make()
{
	printf '%s\n' '#!/bin/sh' "exec unshare --mount sh -c '
		mkdir -p /mnt && mount --rbind / /mnt && cd /mnt && mount --move . / &&
			exec chroot . $2' sandbox \"\$@\"" >"$dir/$1"
	chmod +x "$dir/$1"
}

bwrap="bwrap $namespaces --die-with-parent --ro-bind / / --proc /proc --dev /dev \
	--dev-bind /dev/parkclock /dev/parkclock --"
make as_root "$bwrap \"\$@\""
make as_nobody "su -s /bin/sh nobody -c \"exec $bwrap \$*\""
make as_member "su -s /bin/sh member -c \"exec $bwrap \$*\""
make in_timens "/bin/unshare --time --fork --monotonic 1000000 --boottime 2000000 $bwrap \"\$@\""
add_nobody
echo 'clock:x:990:member' >>/etc/group
echo 'member:x:1000:1000::/:/bin/sh' >>/etc/passwd
chgrp 990 /dev/parkclock && chmod 664 /dev/parkclock

# ns FILE CLOCK: the time that read --json has printed
ns()
{
	sed -n "s/.*\"clock\":\"$2\".*\"ns\":\([0-9]*\).*/\1/p" "$1"
}

# right FILE: four readings, each as far from clock_gettime() as it says at most
right()
{
	tr -d '{}"' <"$1" | tr ':' ',' | awk -F , '
		{
			for (i = 1; i < NF; i += 2)
				v[$i] = $(i + 1)
			diff = v["difference_ns"] < 0 ? -v["difference_ns"] : v["difference_ns"]
			if (diff > v["error_ns"] + v["bracket_ns"])
				bad = 1
		}
		END { exit bad || NR != 4 }' && return
	echo "not four readings that are right:"
	cat "$1"
	return 1
}

# same_time SANDBOX: not before that outside before, nor after that outside after
same_time()
{
	parkclock read --json >"$dir/before" && expect 0 "$dir/$1" parkclock read --json && right "$out" &&
		parkclock read --json >"$dir/after" || return
	for clock in monotonic boottime realtime tai; do
		before=$(ns "$dir/before" "$clock")
		inside=$(ns "$out" "$clock")
		after=$(ns "$dir/after" "$clock")
		[ "$before" -le "$inside" ] && [ "$inside" -le "$after" ] && continue
		echo "$clock: before $before, inside $inside, after $after"
		return 1
	done
}

root_reads()
{
	lacks && return
	same_time as_root
}

nobody_reads()
{
	lacks && return
	same_time as_nobody
}

# What is held outside is valid inside: it is the same page.
held_page()
{
	lacks && return
	if [ "$usable" -eq 0 ]; then
		skip "needs a host that keeps time by the TSC"
		return
	fi
	echo 20000 >"$params/interval_ms"
	background parkclock hold >/dev/null
	wait_until is references 1 && expect 0 "$dir/as_nobody" parkclock read --page --json &&
		right "$out" && ! grep -v '"from":"page"' "$out"
}

has_switches()
{
	[ -d /sys/kernel/tracing/events/sched/sched_switch ] && return
	skip "needs a kernel with tracepoints"
	return 1
}

# Its sandbox is killed, and so is what is in it.
registers()
{
	lacks && return
	has_switches || return 0
	for user in root member; do
		background "$dir/as_$user" parkclock run sleep 1000
		wait_until is all_tasks 1 && wait_until is all_running 0 &&
			wait_until is state parked && is references 0 || return
		end_background 2>/dev/null
		wait_until unused || return
	done
}

# Who may not register holds a reference, as long as the sandbox lives.
holds()
{
	lacks && return
	background "$dir/as_nobody" parkclock run sleep 1000 2>"$err"
	wait_until is references 1 && is all_tasks 0 && has 'group clock' "$err" || return
	end_background 2>/dev/null
	wait_until unused
}

# It runs all the time, and for that time it holds a reference.
runs()
{
	lacks && return
	has_switches || return 0
	background "$dir/as_root" parkclock run sh -c 'while :; do :; done'
	wait_until is all_running 1 && is all_tasks 1 && wait_until is references 1 || return
	[ "$usable" -eq 0 ] || wait_until parkclock read --page >"$out"
}

# Not even root of the sandbox's own, who is nobody outside.
may_not_write()
{
	lacks && return
	expect 0 "$dir/as_nobody" test -r /dev/parkclock &&
	expect 1 "$dir/as_nobody" dd if=/dev/null of=/dev/parkclock &&
	refused 'Permission denied' "$dir/as_nobody" parkclock register 1 &&
	refused 'Permission denied' "$dir/as_nobody" sandbox
}

# Its opener's namespace has an offset, which everybody in it sees.
time_namespace()
{
	lacks && return
	if ! [ -e /proc/self/ns/time ]; then
		skip "needs a kernel with time namespaces"
		return
	fi
	expect 0 "$dir/in_timens" parkclock read --json && right "$out" &&
		[ "$(ns "$out" monotonic)" -ge 1000000000000000 ] &&
		[ "$(ns "$out" boottime)" -ge 2000000000000000 ] && return
	cat "$out"
	return 1
}

run_tests root_reads nobody_reads held_page registers holds runs may_not_write time_namespace
