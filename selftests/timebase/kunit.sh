#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The unit tests of the module's arithmetic, in the kernel.
#
# Checked: KUnit runs them when parkclock_kunit.ko is loaded. This script makes TAP of what
# KUnit writes into the kernel's log. (debugfs of 6.1 cuts off the text of a failure.)
#
# Fails if a unit test fails, or if the log does not have the result of each.

module=/lib/parkclock_kunit.ko
mark="kunit.sh $$ begins"

echo "TAP version 13"
if ! grep -qw kunit_run_tests /proc/kallsyms; then
	echo "1..0 # SKIP this kernel has no KUnit"
	exit 4
fi
echo "<6>$mark" >/dev/kmsg
if ! insmod "$module" || ! rmmod parkclock_kunit; then
	echo "# $module does not load, or unload. It is built where the kernel has CONFIG_KUNIT"
	exit 1
fi

# Tests are indented by 4 spaces, suites are not; what is not ours is neither.
dmesg | sed 's/^\[[^]]*\] //' | awk -v mark="$mark" '
	$0 == mark {
		begun = 1
	}
	!begun || !/^    / {
		next
	}
	{
		sub(/^    /, "")
	}
	/^# Subtest: / {
		suite = $3
	}
	/^1\.\.[0-9]+$/ {
		planned += substr($0, 4)
		next
	}
	/^(not )?ok [0-9]+ / {
		failed += /^not/
		sub(/[0-9]+ /, ++n " " suite ".")
		print
		next
	}
	{
		sub(/^(# )?/, "# ")
		print
	}
	END {
		print "1.." planned + 0
		exit failed || !n
	}'
