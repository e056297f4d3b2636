# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
#
# Builds what goes into the VM, and starts it. Sourced after lib.sh and
# kernel_select. Can be set: VM_CPUS, VM_MEMORY (MB), VM_TSC (reliable, or else the
# kernel is left to find that the TSC of this machine is not), VM_CMDLINE (more
# arguments for the kernel), VM_ICOUNT=1 (one CPU, emulated, on which every
# instruction takes 1 ns and one cycle of the TSC; VM_CPUS does not count then), VM_KCFLAGS
# (the compiler's for the module, if not -Werror).

# The first QEMU that locks a page of code before it translates it. One that does not
# can keep, for ever, a breakpoint that another CPU has long removed: now and
# then a machine with several CPUs hangs while its kernel patches itself.
qemu_version=1:8.1
qemu_suite=trixie
qemu_package="qemu-system-x86"

# qemu_find: this machine's QEMU if it will do, or else what setup puts into the
# cache, with its own libraries. Sets $qemu, the command, and $qemu_dir.
qemu_find() {
	local installed

	qemu_dir=
	installed=$(dpkg-query -W -f '${Version}' "$qemu_package" 2>/dev/null)
	if [ -n "$installed" ] && dpkg --compare-versions "$installed" ge "$qemu_version"; then
		qemu=(qemu-system-x86_64)
		return
	fi
	qemu_dir=$cache/qemu-$(echo "$qemu_suite $qemu_package" | hash_of)
	qemu=(env "QEMU_MODULE_DIR=$qemu_dir/usr/lib/x86_64-linux-gnu/qemu"
		"$qemu_dir/usr/lib64/ld-linux-x86-64.so.2"
		--library-path "$qemu_dir/usr/lib/x86_64-linux-gnu"
		"$qemu_dir/usr/bin/qemu-system-x86_64"
		-L "$qemu_dir/usr/share/seabios" -L "$qemu_dir/usr/share/qemu")
}

# compile NAME OPTION...: selftests/vm/NAME.c into $programs, if it has changed
compile() {
	local source=$top/selftests/vm/$1.c program=$programs/$1
	shift

	[ "$program" -nt "$source" ] || step "building $(basename "$program")" \
		gcc -O2 -g -Wall -Wextra -Werror "$@" -o "$program" "$source"
}

# machine_build: modules for $kernel into $build; tools, tests and init, which are the
# same for all kernels, into $programs. What a run makes goes to $results.
machine_build() {
	local make=(make -C "$top" --no-print-directory -j "$(nproc)")

	find_sources
	qemu_find
	programs=$top/build/programs
	results=$build${VM_CPUS:+-cpus-$VM_CPUS}${VM_TSC:+-tsc-$VM_TSC}${VM_ICOUNT:+-icount}
	mkdir -p "$build" "$programs" "$results"
	log_to "$results/build.log"
	# Other runs may be building the same.
	exec 9>"$top/build/lock"
	flock 9
	step "building the module for $kernel" "${inside[@]}" \
		"${make[@]}" "B=$build" "KDIR=$kdir" "KCFLAGS=${VM_KCFLAGS:--Werror}" module
	mkdir -p "$build/modules"
	cp -u "$top"/selftests/modules/* "$build/modules/" || exit 1
	step "building the tests' module for $kernel" "${inside[@]}" \
		make -C "$kdir" "M=$build/modules" KCFLAGS=-Werror modules
	step "building the tools" "${make[@]}" "B=$programs" tools
	step "building the tests" make -C "$top/selftests" --no-print-directory -j "$(nproc)" \
		"O=$programs/selftests" "TOOLS=$programs/tools" \
		"KSELFTEST=$sources/tools/testing/selftests"
	compile init -static
	compile tsc_khz
	exec 9>&-
}

# host_build NAME...: of the tests only these, for this machine: no kernel is needed
host_build() {
	local make=(make -C "$top" --no-print-directory -j "$(nproc)") name built=()

	find_sources
	programs=$top/build/programs
	for name; do
		[ "${name%.sh}" != "$name" ] || built+=("$programs/selftests/$name")
	done
	mkdir -p "$programs"
	log_to "$programs/host.log"
	exec 9>"$top/build/lock"
	flock 9
	step "building the tools" "${make[@]}" "B=$programs" tools
	step "building the tests of this machine" make -C "$top/selftests" --no-print-directory \
		-j "$(nproc)" "O=$programs/selftests" "TOOLS=$programs/tools" \
		"KSELFTEST=$sources/tools/testing/selftests" "${built[@]}"
	exec 9>&-
}

# test_files: every test, one a line. What else is in selftests/ is in no room.
test_files() {
	local room rooms

	rooms=$(sed -n 's/^rooms := //p' "$top/selftests/Makefile")
	for room in $rooms; do
		find "$top/selftests/$room" -maxdepth 1 -name '*.c' -o -name '*.sh'
	done
}

# Of the distribution's own programs: bubblewrap, crun, and an unshare that knows time
# namespaces.
foreign=(/usr/bin/bwrap /usr/bin/crun /usr/bin/unshare)

# c_library ROOT: what the dynamic programs need of this machine, where they look for it
c_library() {
	ldd "$programs"/selftests/{preload_{child,waiter,inside},timers_*} \
		"$programs/tools/libparkclock-preload.so" "${foreign[@]}" |
		awk '$2 == "=>" { print $3 } $1 ~ "^/" && $2 ~ "^[(]" { print $1 }' | sort -u |
		xargs cp -L --parents -t "$1"
}

# kvm ROOT: KVM's modules, to be loaded in the order of their names. Not where instructions
# are counted: KVM has some whenever the time is updated.
kvm() {
	local name file n=0

	{ [ -n "$modules" ] && [ "${VM_ICOUNT:-}" != 1 ]; } || return 0
	mkdir "$1/lib/kvm" || return
	for name in $kvm_modules; do
		file=$(find "$modules" -name "$name.ko*")
		[ -n "$file" ] || continue
		n=$((n + 1))
		# Not every release compresses them: -f passes on what is not compressed.
		xz -dcf "$file" >"$1/lib/kvm/$n-$name.ko" || return
	done
}

# initramfs: into $results/initramfs.gz
initramfs() {
	local root=$results/root applet

	rm -rf "$root"
	mkdir -p "$root"/{bin,lib,tests,dev,proc,sys,tmp,root,etc,run,usr/local/lib/parkclock} ||
		return
	ln -s bin "$root/sbin"
	ln -s ../bin "$root/usr/bin"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	cp "$top/selftests/vm/profile" "$root/etc/profile" || return
	cp "$cache/busybox/bin/busybox" "$programs/tools/parkclock" \
		"$programs"/tools/examples/{sandbox,kvm-guest} "${foreign[@]}" "$root/bin/" &&
		cp "$programs/tools/libparkclock-preload.so" "$root/usr/local/lib/" &&
		cp "$top/tools/oci/parkclock-crun" "$root/bin/" &&
		cp "$top/tools/oci/oci-hook" "$root/usr/local/lib/parkclock/" &&
		cp "$build"/module/*.ko "$build"/modules/*.ko "$root/lib/" && c_library "$root" && kvm "$root" &&
		cp "$programs/init" "$root/" &&
		cp "$top"/selftests/{demo,lib/*,runtimes/*}.sh "$root/tests/" &&
		test_files | grep '[.]sh$' | xargs -d '\n' cp -t "$root/tests" &&
		find "$programs/selftests" -maxdepth 1 -type f -perm -u+x -exec cp -t "$root/tests" {} + &&
		find "$root"/lib/*.ko "$root/tests" -type f ! -name '*.sh' \
			-exec strip --strip-debug {} + || return
	for applet in $("$cache/busybox/bin/busybox" --list); do
		[ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
	done
	(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0) | gzip -1 >"$results/initramfs.gz" &&
		[ "${PIPESTATUS[0]}" -eq 0 ]
}

# qemu ACCELERATION CONSOLE INIT-ARGUMENTS...: sets $machine, the command.
# On an NMI, which is what run sends when it hangs, every CPU says where it is.
# CONSOLE is QEMU's word for where the console goes, the report to $report. From
# $answers, if that is set, comes what init reads.
qemu() {
	local accel=$1 console=$2 cmdline cpus=${VM_CPUS:-2}
	shift 2

	cmdline="console=ttyS0 panic=-1 oops=panic log_buf_len=4M"
	# A machine that does not boot says how far it came, where nobody waits for a prompt.
	[ "$1" = check ] || cmdline+=" quiet"
	cmdline+=" unknown_nmi_panic panic_print=64"
	# Where this machine has no time for the emulated one, the kernel counts too few ticks
	# when it boots, and would give up: "IO-APIC + timer doesn't work".
	cmdline+=" no_timer_check"
	[ "${VM_TSC:-reliable}" != reliable ] || cmdline+=" tsc=reliable"
	[ "${VM_ICOUNT:-}" != 1 ] || accel=icount cpus=1
	# What the kernel does not know becomes the environment of init, and so of the tests.
	[ "${BRIEF:-}" != 1 ] || cmdline+=" BRIEF=1"
	machine=("${qemu[@]}" -nodefaults -no-user-config -display none -no-reboot
		-smp "$cpus" -m "${VM_MEMORY:-$memory}" -kernel "$vmlinuz" -initrd "$results/initramfs.gz"
		-serial "$console" -serial chardev:report
		-chardev "file,id=report,path=${report//,/,,}${answers:+,input-path=${answers//,/,,}}")
	if [ "$accel" = kvm ]; then
		# Under KVM, Linux would keep time by KVM's clock and not by the TSC.
		machine+=(-accel kvm -cpu host)
		cmdline+=" no-kvmclock"
	elif [ "$accel" = icount ]; then
		machine+=(-accel "tcg,thread=single" -icount "shift=0,sleep=off" -cpu max
			-seed 1 -rtc "base=2026-01-01,clock=vm")
	else
		machine+=(-accel "tcg,thread=multi" -cpu "max,+svm")
		# The emulated TSC is this machine's. A kernel that measures it while the
		# machine stands still for a moment believes in another one, for ever, and
		# its clock runs at several times the speed.
		cmdline+=" tsc_early_khz=$("$programs/tsc_khz")"
	fi
	machine+=(-append "$cmdline ${VM_CMDLINE:-} -- $*")
	rm -f "$report"
}

# start: the machine; sets $pid. Where QEMU reads and prints is where the caller says.
start() {
	"${machine[@]}" <&0 &
	pid=$!
}

# End the machine, if it has not ended.
stop() {
	kill -KILL "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
}

# Does this kernel really boot with KVM? It can be there and not work, or hang:
# the one who asks waits for 10 s at most, and once until the next boot.
kvm_boots() {
	local answer pid i

	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return
	answer=$cache/kvm-$(id -u)-$(cat /proc/sys/kernel/random/boot_id)
	if ! [ -e "$answer" ]; then
		rm -f "$cache/kvm-$(id -u)"-*
		report=$results/probe.txt
		qemu kvm "file:$results/probe-console.log" probe
		pid=$("${machine[@]}" </dev/null >"$results/probe.log" 2>&1 & echo $!)
		for ((i = 0; i < 100; i++)); do
			sleep 0.1
			kill -0 "$pid" 2>/dev/null || break
		done
		# Not waited for: with a broken KVM it may not even be possible to kill it.
		kill -KILL "$pid" 2>/dev/null
		if grep -qx complete "$report" 2>/dev/null; then
			echo yes >"$answer"
		else
			echo no >"$answer"
		fi
	fi
	grep -qx yes "$answer"
}

# acceleration: sets $accel
acceleration() {
	accel=tcg
	! kvm_boots || accel=kvm
}
