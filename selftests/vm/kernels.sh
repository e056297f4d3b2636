# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2154
#
# The kernels that tests can run on, see kernel_select() in lib.sh. Sourced.

# Debian 12's own. The headers are installed; the image is only unpacked into
# the cache, so that the machine never boots it.
bookworm_find() {
	local version
	version=$(dpkg-query -W -f '${Version}' linux-headers-cloud-amd64 2>/dev/null)
	bookworm_release=$(dpkg-query -W -f '${Depends}' linux-headers-cloud-amd64 2>/dev/null |
		sed -n 's/^linux-headers-\([^ ]*\).*/\1/p')
	bookworm_image=linux-image-$bookworm_release=$version
	kdir=/usr/src/linux-headers-$bookworm_release
	vmlinuz=$cache/kernel-$bookworm_release-$version/boot/vmlinuz-$bookworm_release
	preload=$cache/kernel-$bookworm_release-$version/preload
}

bookworm_prepare() {
	packages linux-headers-cloud-amd64
	bookworm_find
	[ -r "$vmlinuz" ] && return
	if ! obtainable "$bookworm_image"; then
		# The archive has moved on since the headers were installed.
		step "updating the list of packages" lists_update
		step "updating linux-headers-cloud-amd64" install linux-headers-cloud-amd64
		bookworm_find
		[ -r "$vmlinuz" ] && return
	fi
	step "unpacking ${bookworm_image%%=*}" unpack "$bookworm_image" "${vmlinuz%/boot/*}" './boot/vmlinuz*'
}
