# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154
#
# Builds what goes into the VM, and starts it. Sourced after lib.sh and
# kernel_select. VM_MEMORY (MB) and VM_CMDLINE (more arguments for the kernel)
# can be set.

# For messages from where the standard error goes elsewhere.
exec 3>&2

# machine_build: module, tools, tests and init for $kernel, into $build
machine_build() {
	local make=(make -C "$top" --no-print-directory -j "$(nproc)" "B=$build" "KDIR=$kdir")

	log_to "$build/build.log"
	step "building the module for $kernel" "${make[@]}" module
	step "building the tools" "${make[@]}" tools
	step "building the tests" make -C "$top/selftests" --no-print-directory -j "$(nproc)" \
		"O=$build/selftests" "TOOLS=$build/tools" \
		"KSELFTEST=$sources/tools/testing/selftests"
	step "building init" gcc -O2 -g -Wall -Wextra -Werror -static -o "$build/init" \
		"$top/selftests/vm/init.c"
}

# initramfs LIST: into $build/initramfs.gz; LIST becomes /tests/programs
initramfs() {
	local root=$build/root applet

	rm -rf "$root"
	mkdir -p "$root"/{bin,lib/preload,tests,dev,proc,sys,tmp,root,etc,usr} || return
	ln -s bin "$root/sbin"
	ln -s ../bin "$root/usr/bin"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	cp "$top/selftests/vm/profile" "$root/etc/profile" || return
	cp "$cache/busybox/bin/busybox" "$build/tools/parkclock" "$root/bin/" &&
		cp "$build/module/parkclock.ko" "$root/lib/" &&
		cp "$build/init" "$root/" &&
		cp "$top"/selftests/*.sh "$root/tests/" && cp "$1" "$root/tests/programs" &&
		find "$build/selftests" -maxdepth 1 -type f -perm -u+x -exec cp -t "$root/tests" {} + &&
		strip --strip-debug "$root"/lib/*.ko || return
	[ ! -d "$preload" ] || cp "$preload"/*.ko "$root/lib/preload/" || return
	for applet in $("$cache/busybox/bin/busybox" --list); do
		[ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
	done
	(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0) | gzip -1 >"$build/initramfs.gz" &&
		[ "${PIPESTATUS[0]}" -eq 0 ]
}

# qemu ACCELERATION CONSOLE INIT-ARGUMENTS...: sets $machine, the command.
# CONSOLE is QEMU's word for where the console goes, the report to $report.
qemu() {
	local accel=$1 console=$2 cmdline
	shift 2

	cmdline="console=ttyS0 panic=-1 oops=panic quiet log_buf_len=4M tsc=reliable"
	machine=(qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot
		-smp 2 -m "${VM_MEMORY:-512}" -kernel "$vmlinuz" -initrd "$build/initramfs.gz"
		-serial "$console" -serial "file:$report")
	if [ "$accel" = kvm ]; then
		# Under KVM, Linux would keep time by KVM's clock and not by the TSC.
		machine+=(-accel kvm -cpu host)
		cmdline+=" no-kvmclock"
	else
		machine+=(-accel "tcg,thread=multi" -cpu max)
	fi
	machine+=(-append "$cmdline ${VM_CMDLINE:-} -- $*")
	rm -f "$report"
}

# Start the machine, sets $pid. What QEMU prints goes where the caller says. One boot in some hundred without KVM
# hangs before there is a user space, and so before there is our module: that says
# nothing about it, and is tried again.
start() {
	local try i

	for try in 1 2 3; do
		"${machine[@]}" </dev/null &
		pid=$!
		for ((i = 0; i < 600; i++)); do
			[ -s "$report" ] && return
			kill -0 "$pid" 2>/dev/null || return
			sleep 0.1
		done
		echo "no sign of life of the VM for 60 s (try $try of 3): it is ended" >&3
		stop
	done
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
		report=$build/probe.txt
		qemu kvm "file:$build/probe-console.log" probe
		pid=$("${machine[@]}" </dev/null >"$build/probe.log" 2>&1 & echo $!)
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
