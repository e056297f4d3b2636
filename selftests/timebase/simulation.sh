#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module's own sources under schedules that seeds make: see selftests/sim. First those
# that found a fault once, and the first ones there are: the same each time, so that this
# says something about a change. Then new ones for some seconds, by the clock, so that all
# who run this look at schedules that nobody has looked at. "make sim" does so for longer.
#
# Checked, at each step of each schedule: a reading is within its bound and none goes back;
# the page is valid while a reference is held; the updater parks, and not too late.
#
# Fails if one schedule shows otherwise. It is named; selftests/sim/run --seed SEED shows it.

sim=${0%/*}/../sim
failed=0

echo "TAP version 13"
echo "1..2"

# verdict NUMBER NAME STATUS OUTPUT
verdict() {
	printf '%s\n' "$4" | sed 's/^/# /'
	if [ "$3" -ne 0 ]; then
		printf 'not '
		failed=1
	fi
	echo "ok $1 $2"
}

count=40000
[ -z "${SIM_SECONDS:-}" ] || count=4000
output=$("$sim/run" --first 1 --count "$count" --jobs "$(nproc)" 2>&1 &&
	 "$sim/kept" "$sim/../../build/sim/sim" 2>&1)
verdict 1 "none of the schedules of every run breaks a guarantee" $? "$output"

output=$("$sim/run" --seconds "${SIM_SECONDS:-4}" --jobs "$(nproc)" 2>&1)
verdict 2 "no new schedule breaks a guarantee" $? "$output"
exit $failed
