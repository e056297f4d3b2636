# SPDX-License-Identifier: GPL-2.0
#
# "make help" says what there is.

# Everything is built below $(B), nothing beside its source.
B ?= build/local
out := $(abspath $(B))

# The running kernel's headers, or else the newest that are installed.
headers := $(wildcard /lib/modules/$(shell uname -r)/build)
headers := $(or $(headers),$(lastword $(shell ls -dv /lib/modules/*/build 2>/dev/null)))

all: module tools

# The scripts ask for KDIR, KERNEL and so on in the environment.
module: kdir = $(or $(KDIR),$(headers))
module: mirror
	$(if $(kdir),,$(error no kernel headers here: install linux-headers-amd64, or say KDIR=DIR))
	$(MAKE) -C $(kdir) M=$(out)/module CONFIG_PARKCLOCK=m modules

# Kbuild builds beside the source, so it gets a copy. Only what differs is
# copied, so that only that is built again; what is gone goes there too.
sources := $(filter-out %.mod.c,$(wildcard module/*.[ch] include/uapi/linux/*.h)) \
	module/Kbuild module/Makefile
copies := $(patsubst $(out)/%,%,$(filter-out %.mod.c,\
	$(wildcard $(out)/module/*.[ch] $(out)/include/uapi/linux/*.h)))

mirror:
	@mkdir -p $(out)/module $(out)/include/uapi/linux
	@for f in $(sources); do cmp -s $$f $(out)/$$f || cp $$f $(out)/$$f || exit 1; done
	@cd $(out) && rm -f $(filter-out $(sources),$(copies))

tools:
	$(MAKE) -C tools O=$(out)/tools

install: all
	$(MAKE) -C $(or $(KDIR),$(headers)) M=$(out)/module CONFIG_PARKCLOCK=m \
		$(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) modules_install
	$(MAKE) -C tools O=$(out)/tools install

check:
	@selftests/setup check
	@selftests/vm/run

unit:
	@selftests/setup unit
	@selftests/vm/run host

check-all:
	@selftests/vm/matrix

# What the containers, and what is theirs in the kernel, take
check-runtimes: export VM_MEMORY := $(or $(VM_MEMORY),1536)
check-runtimes:
	@selftests/setup check
	@selftests/vm/shell /tests/crowd.sh
	@TESTS=crun.sh selftests/vm/run

sim:
	@SIM_SECONDS=$(or $(SECONDS),60) selftests/sim/run

check-harness:
	@selftests/harness/run

mutants:
	@selftests/setup unit
	@selftests/mutants/run

bench:
	@selftests/bench/run

demo:
	@selftests/setup check
	@selftests/vm/shell /tests/demo.sh

shell:
	@selftests/setup check
	@selftests/vm/shell

lint:
	@selftests/setup lint
	@selftests/lint

clean:
	rm -rf build

help:
	@echo '  make             the module, for the headers of the running kernel (or the newest'
	@echo '                   installed), and the tools, into build/local'
	@echo '  make module      the module alone; KDIR=DIR: for the kernel built there'
	@echo '  make tools       the libraries, the command line tool and the examples alone'
	@echo '  make install     installs both; DESTDIR=DIR, PREFIX=DIR (/usr/local)'
	@echo '  make clean       removes build/'
	@echo
	@echo 'These get what they need themselves (Debian 12; packages, by sudo if not root), and'
	@echo 'load the module only into a VM:'
	@echo '  make demo        what the module does, in under a minute'
	@echo '  make unit        the tests that need no VM: a few seconds'
	@echo '  make check       builds and runs all tests, ends with "N passed, N failed"'
	@echo '  make check-all   the same on all kernels and machines of selftests/runs'
	@echo '  make check-runtimes  100 containers by crun, with clocks and without: what they cost'
	@echo '  make sim         the module'"'"'s own sources under millions of schedules (SECONDS=60)'
	@echo '  make check-harness  breaks things on purpose: does what runs the tests notice?'
	@echo '  make mutants     small wrong changes to the module: does a test notice each of them?'
	@echo '  make bench       what run transitions cost, in instructions, on bookworm and sid'
	@echo '  make shell       a prompt in the VM, with the module loaded'
	@echo '  make lint        checkpatch, W=1, sparse, shellcheck, mandoc'
	@echo
	@echo '  VERBOSE=1                shows everything'
	@echo '  TESTS="NAME..."          runs these of selftests/programs only'
	@echo '  WITHOUT="NAME..."        leaves these out'
	@echo '  BRIEF=1                  does a tenth of what takes long'
	@echo '  KERNEL=NAME              the kernel to run on: bookworm (Debian 12, the default),'
	@echo '                           bookworm-rt (PREEMPT_RT), backports, trixie, sid, or one that'
	@echo '                           is built here: debug, kcsan, minimal, sections'
	@echo '  RUNS="NAME..."           check-all does these of selftests/runs only'
	@echo '  BREAKS="NAME..."         check-harness breaks these only'
	@echo '  MUTANTS="NAME..."        mutants tries these of selftests/mutants/rules only'
	@echo '  BENCH_KERNELS="NAME..."  bench runs on these'
	@echo '  KDIR=DIR BZIMAGE=FILE    another: what it was built in, and its image'
	@echo '  VM_MACHINES=3            how many VMs run side by side'
	@echo '  VM_CPUS=2 VM_MEMORY=512  CPUs and memory (MB) of each VM'
	@echo '  VM_TSC=unstable          lets its kernel find out that the TSC is not reliable'
	@echo '  VM_CMDLINE="WORD..."     more arguments for its kernel'
	@echo '  PARKCLOCK_CACHE=DIR      where downloads are kept (~/.cache/parkclock)'

export KDIR BZIMAGE KERNEL RUNS BREAKS MUTANTS BENCH_KERNELS TESTS WITHOUT BRIEF VERBOSE VM_MACHINES VM_CPUS VM_MEMORY VM_TSC VM_CMDLINE PARKCLOCK_CACHE

.PHONY: all module mirror tools install check unit sim check-all check-runtimes check-harness mutants bench demo shell lint clean help
