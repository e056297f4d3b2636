# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154
#
# The kernels that tests can run on. Sourced by lib.sh.
#
# A kernel is a name, an image ($vmlinuz), the directory that modules are built
# against ($kdir), the command that runs a build for it ($inside, nothing if it
# runs here), where its modules for KVM are ($modules, nothing if it has none), and what
# memory the VM needs ($memory, MB). There are kinds of kernels, each with a function
# KIND_find, which sets these, and KIND_prepare, which gets what is missing, for "setup"
# and with its functions:
#
#	host	Debian 12's own: headers installed, the image unpacked into the cache
#	chroot	another release's, with the compiler that it was built with
#	built	from linux-source-6.1, with the fragments of config/
#
# What is made in the cache has a hash of what it is made from in its name.

kernels="bookworm bookworm-rt backports trixie sid debug kcsan minimal sections"

# KVM as QEMU can emulate it, AMD's, and what it depends on, in the order to load it. Not
# every kernel has all of them as modules.
kvm_modules="irqbypass ccp kvm kvm-amd"

# What is taken of a distribution's kernel, which is not installed
image_files="/vmlinuz|/(${kvm_modules// /|})\.ko"

kernel_kind() {
	memory=512
	case $1 in
	bookworm)	kind=host flavour=cloud-amd64 ;;
	bookworm-rt)	kind=host flavour=rt-amd64 ;;
	backports)	kind=chroot suites="bookworm bookworm-backports" ;;
	trixie | sid)	kind=chroot suites=$1 ;;
	debug)		kind=built fragments="base full debug" memory=1536 ;;
	kcsan)		kind=built fragments="base full kcsan" memory=1024 ;;
	minimal)	kind=built fragments="base minimal" ;;
	sections)	kind=built fragments="base full sections" memory=2048 ;;
	*)		return 1 ;;
	esac
}

# kernel_select: the kernel that KERNEL names, or the one of KDIR and BZIMAGE
kernel_select() {
	inside=() modules=
	if [ -n "${KDIR:-}${BZIMAGE:-}" ]; then
		[ -z "${KERNEL:-}" ] || die "KERNEL= and KDIR= both name a kernel: give one of them"
		if [ -z "${KDIR:-}" ] || [ -z "${BZIMAGE:-}" ]; then
			die "KDIR= and BZIMAGE= go together: build directory and image of one kernel"
		fi
		[ -f "$KDIR/Makefile" ] || die "KDIR=$KDIR is not a kernel build directory: no Makefile there"
		[ -r "$BZIMAGE" ] || die "BZIMAGE=$BZIMAGE cannot be read: give the path of a kernel image"
		kernel=custom kind=custom memory=512
		kdir=$(realpath "$KDIR")
		vmlinuz=$(realpath "$BZIMAGE")
		# Objects that were built for one kernel must not be taken for another.
		build=$top/build/custom${kdir//\//-}
		return
	fi
	kernel=${KERNEL:-bookworm}
	kernel_kind "$kernel" || die "KERNEL=$kernel is not known. Known are: $kernels"
	build=$top/build/$kernel
	"${kind}_find"
}

hash_of() {
	sha256sum | cut -c 1-12
}

# clean_before PATH...: remove older ones of what has just been made
clean_before() {
	local new=$1 old

	for old in "${new%-*}"-*; do
		[ "$old" = "$new" ] || as_root rm -rf --one-file-system "$old"
	done
}

host_find() {
	local version

	version=$(dpkg-query -W -f '${Version}' "linux-headers-$flavour" 2>/dev/null)
	release=$(dpkg-query -W -f '${Depends}' "linux-headers-$flavour" 2>/dev/null |
		sed -n 's/^linux-headers-\([^ ]*\).*/\1/p')
	image=linux-image-$release=$version
	kdir=/usr/src/linux-headers-$release
	modules=$cache/kernel-$release-$version-$(echo "$image_files" | hash_of)
	vmlinuz=$modules/boot/vmlinuz-$release
}

# The machine must never boot the image: it is only unpacked.
host_prepare() {
	packages "linux-headers-$flavour"
	host_find
	missing "$vmlinuz" || return 0
	if ! obtainable "$image"; then
		# The archive has moved on since the headers were installed.
		step "updating the list of packages" lists_update
		step "updating linux-headers-$flavour" install "linux-headers-$flavour"
		host_find
		[ -r "$vmlinuz" ] && return
	fi
	step "unpacking ${image%%=*}" unpack "$image" "$modules" "$image_files"
	clean_before "$modules"
}

# The image, which must not be installed here either, when mmdebstrap has done its own
# work. It and the modules are in packages of their own since 7.2.
# shellcheck disable=SC2016
chroot_hook="files='$image_files'"'
set -e
release=$(basename "$1"/usr/src/linux-headers-*-cloud-amd64)
release=${release#linux-headers-}
mkdir "$1/image"
cd "$1/image"
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
apt-get -q download "linux-binary-$release" "linux-modules-$release" ||
	apt-get -q download "linux-image-$release"
for package in ./*.deb; do
	dpkg-deb -x "$package" .
done
find . -regextype egrep -regex ".*($files).*" -exec mv -t "$1/boot" {} +
cd "$1/boot"
[ -e "vmlinuz-$release" ] || mv vmlinuz "vmlinuz-$release"
rm -r "$1/image"'

chroot_find() {
	chroot_packages=make,linux-headers-cloud-amd64
	[ "${suites% *}" = "$suites" ] || chroot_packages+=/${suites#* }
	root=$cache/chroot-$kernel-$(echo "$suites $chroot_packages $chroot_hook" | hash_of)
	kdir=$(echo "$root"/usr/src/linux-headers-*-cloud-amd64)
	kdir=${kdir#"$root"}
	modules=$root/boot
	vmlinuz=$modules/vmlinuz-${kdir##*/linux-headers-}
	inside=(in_chroot "$root")
}

chroot_prepare() {
	missing "$root" || return 0
	packages mmdebstrap
	step "making a chroot for $kernel (about a minute)" debian "$root" "$suites" \
		--variant=essential --include="$chroot_packages" --customize-hook="$chroot_hook"
	chroot_find
	[ -r "$vmlinuz" ] || die "no kernel image in $root: remove it, and try again"
	clean_before "$root"
}

# in_chroot DIR COMMAND...: as this user, with the project where it is here
#
# The mounts are in a namespace of their own, and gone when the command ends.
in_chroot() {
	local root=$1
	shift

	# shellcheck disable=SC2016
	as_root unshare --mount --propagation private sh -c '
		root=$1 top=$2 user=$3
		shift 3
		mkdir -p "$root$top" && mount -t proc proc "$root/proc" &&
			mount --bind "$top" "$root$top" &&
			exec chroot --userspec="$user" "$root" "$@"' \
		in_chroot "$root" "$top" "$(id -u):$(id -g)" "$@"
}

built_find() {
	local name

	find_sources
	linux=$cache/linux-$source_version
	configs=()
	for name in $fragments; do
		configs+=("$top/selftests/vm/config/$name.config")
	done
	# Another comment makes no other kernel.
	kdir=$cache/built-$kernel-$( (echo "$source_version"; gcc -dumpfullversion 2>/dev/null
		grep -h CONFIG_ "${configs[@]}") | hash_of)
	vmlinuz=$kdir/arch/x86/boot/bzImage
}

unpack_linux() {
	make_temp &&
		tar -xJf /usr/src/linux-source-6.1.tar.xz -C "$temp" --strip-components=1 &&
		mv "$temp" "$linux"
}

# All off but what the fragments say; then every line of them must hold.
configure() {
	local symbol value status=0

	mkdir -p "$kdir" && cat "${configs[@]}" >"$kdir/wanted" &&
		make -C "$linux" "O=$kdir" "KCONFIG_ALLCONFIG=$kdir/wanted" allnoconfig || return
	while read -r symbol value; do
		grep -qx "$symbol=$value" "$kdir/.config" && continue
		[ "$value" = n ] && ! grep -q "^$symbol=" "$kdir/.config" && continue
		echo "$symbol=$value is wanted, but the configuration has: $(grep -w "$symbol" \
			"$kdir/.config" || echo nothing)"
		status=1
	done < <(sed -n -e 's/^# \(CONFIG_[A-Z0-9_]*\) is not set$/\1=n/' -e '/^CONFIG_/p' "$kdir/wanted" |
		awk -F = '{ wanted[$1] = $2 } END { for (s in wanted) print s, wanted[s] }')
	return $status
}

built_prepare() {
	packages bc bison flex libelf-dev
	built_find
	missing "$kdir/complete" || return 0
	! missing "$linux" || step "unpacking linux-source-6.1" unpack_linux
	step "configuring the $kernel kernel" configure
	step "building the $kernel kernel (some minutes)" \
		make -C "$linux" "O=$kdir" -j "$(nproc)" bzImage modules
	touch "$kdir/complete"
	clean_before "$kdir"
}
