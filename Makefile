# SPDX-License-Identifier: MIT
# What people type; meson and ninja do the work. `make help` lists the targets.
BUILD ?= build
PREFIX ?= /usr/local
BENCH ?=
FUZZ_SECONDS ?= 300

.PHONY: all help check check-core check-kvm check-lane demo bench bench-peers install clean format \
	coverage fuzz

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@command -v meson >/dev/null && command -v ninja >/dev/null || { \
		echo 'meson and ninja are not installed; try: scripts/setup build' >&2; exit 1; }
	@meson setup --prefix $(PREFIX) $(BUILD)

help:
	@echo 'make             build the library, the command and the guests in $(BUILD)/'
	@echo 'make check       set up, then run every test that this machine can run'
	@echo 'make check-core  what needs no KVM, no root and no network'
	@echo 'make check-kvm   the tests with guests, on /dev/kvm'
	@echo 'make check-lane  the same in an emulated machine with nested paging'
	@echo 'make demo        show what it does'
	@echo 'make bench       measure; BENCH=name for one of them'
	@echo 'make bench-peers the same beside the published Hyperlight host (needs Rust)'
	@echo 'make fuzz        fuzz each input; FUZZ_SECONDS=300 each'
	@echo 'make coverage    lines that the tests execute'
	@echo 'make format      format the C sources'
	@echo 'make install     install to PREFIX=$(PREFIX); DESTDIR works'
	@echo 'make clean       remove $(BUILD)/'

check:
	@scripts/check all

check-core:
	@scripts/check core

check-kvm:
	@scripts/check kvm

check-lane:
	@scripts/check lane

demo:
	@scripts/demo

bench:
	@scripts/bench $(BENCH)

bench-peers:
	@scripts/bench-peers $(BENCH)

fuzz:
	@MOTE_FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/check fuzz

coverage:
	@scripts/check coverage

format:
	@scripts/list-sources c h cc | xargs clang-format -i

install: all
	@meson configure -Dprefix=$(PREFIX) $(BUILD)
	@meson install -C $(BUILD)

clean:
	@rm -rf $(BUILD)
