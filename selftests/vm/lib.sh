# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the scripts share: where things are, and how they speak. Sourced.

set -u

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${PARKCLOCK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parkclock}

# Messages of tools are read by these scripts.
export LC_ALL=C

# The make that started this says nothing to the ones that are started here.
unset MAKEFLAGS MFLAGS MAKELEVEL

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# log_to FILE: where step puts what its commands print
log_to() {
	log=$1
	mkdir -p "$(dirname "$log")" || exit 1
	: >"$log"
}

# step TEXT COMMAND...: one line of progress. What the command prints goes to
# the log, and is shown if it fails, or always with VERBOSE=1.
step() {
	local text=$1 begin=$SECONDS from
	shift
	if [ "${VERBOSE:-}" = 1 ]; then
		printf '%s\n' "$text"
		"$@" </dev/null 2>&1 | tee -a "$log"
		[ "${PIPESTATUS[0]}" -eq 0 ] || die "failed: $text"
		return
	fi
	printf '%-58s ' "$text"
	from=$(wc -l <"$log")
	if "$@" </dev/null >>"$log" 2>&1; then
		printf 'done (%d s)\n' $((SECONDS - begin))
		return
	fi
	printf 'FAILED\n'
	tail -n +$((from + 1)) "$log" | tail -n 30 | sed 's/^/  | /'
	die "failed: $text. All of its output is in $log"
}

# packages and chroots are root's business
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# The style checker; the harness of the kernel's selftests, and some of these themselves.
source_files="scripts/checkpatch.pl scripts/const_structs.checkpatch scripts/spelling.txt
tools/testing/selftests/kselftest.h tools/testing/selftests/kselftest_harness.h
tools/testing/selftests/timers/inconsistency-check.c
tools/testing/selftests/timers/nanosleep.c tools/testing/selftests/timers/nsleep-lat.c
tools/testing/selftests/timers/threadtest.c
tools/testing/selftests/timers/posix_timers.c
tools/testing/selftests/timers/set-timer-lat.c"

# find_sources: where setup puts these files of linux-source-6.1, $sources
find_sources() {
	source_version=$(dpkg-query -W -f '${Version}' linux-source-6.1 2>/dev/null)
	sources=$cache/linux-source-$source_version-$(echo "$source_files" | hash_of)
}

# shellcheck source=selftests/vm/kernels.sh
. "$top/selftests/vm/kernels.sh"
