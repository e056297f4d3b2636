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

# kernel_select: which kernel to test, from KERNEL, or KDIR and BZIMAGE.
#
# A kernel is a name, a kernel image ($vmlinuz), the directory that modules are
# built against ($kdir), and modules to load before ours ($preload: a directory,
# whose *.ko files are loaded in the order of their names; it need not exist).
# Results go to $build. Every name but "custom" has functions NAME_find, which
# sets these, and NAME_prepare, which gets what is missing, in kernels.sh.
kernel_select() {
	if [ -n "${KDIR:-}${BZIMAGE:-}" ]; then
		[ -z "${KERNEL:-}" ] || die "KERNEL= and KDIR= both name a kernel: give one of them"
		if [ -z "${KDIR:-}" ] || [ -z "${BZIMAGE:-}" ]; then
			die "KDIR= and BZIMAGE= go together: build directory and image of one kernel"
		fi
		[ -f "$KDIR/Makefile" ] || die "KDIR=$KDIR is not a kernel build directory: no Makefile there"
		[ -r "$BZIMAGE" ] || die "BZIMAGE=$BZIMAGE cannot be read: give the path of a kernel image"
		kernel=custom
		kdir=$(realpath "$KDIR")
		vmlinuz=$(realpath "$BZIMAGE")
		preload=$kdir/preload
		# Objects that were built for one kernel must not be taken for another.
		build=$top/build/custom${kdir//\//-}
		return
	fi
	kernel=${KERNEL:-bookworm}
	# shellcheck source=selftests/vm/kernels.sh
	. "$top/selftests/vm/kernels.sh"
	declare -F "${kernel}_find" >/dev/null ||
		die "KERNEL=$kernel is not known. Known are: $(declare -F | sed -n 's/^declare -f \(.*\)_find$/\1/p' | paste -sd ' ')"
	build=$top/build/$kernel
	"${kernel}_find"
}

# find_sources: where setup puts the files of linux-source-6.1, $sources
find_sources() {
	sources=$cache/linux-source-$(dpkg-query -W -f '${Version}' linux-source-6.1 2>/dev/null)
}
