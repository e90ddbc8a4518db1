# The commands of the README; the build itself is meson.build.
#
# BUILD is the build folder (and BUILD-asan, BUILD-clang beside it), so that two
# checkouts of one tree need not share it: make BUILD=/tmp/mine

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS ?= 60
SEED ?= 1
ROUNDS ?= 20
FAMILY ?=
PG ?= pg15
REDIS ?= redis70
PYTHON := /usr/bin/python3
MESON := meson
NINJA := ninja

.PHONY: all demo test test-unit test-e2e test-matrix install torture torture-redis torture-mutants \
    bench lint format fuzz clean

# Configured anew when a fuzz target comes or goes; ninja sees the rest by itself.
FUZZ_TARGETS := $(wildcard fuzz/fuzz_*.c)

all: $(BUILD)/build.ninja
	$(NINJA) -C $(BUILD)

$(BUILD)/build.ninja: $(FUZZ_TARGETS) $(wildcard src/*/meson.build tests/unit/*/meson.build)
	$(MESON) setup $(if $(wildcard $(BUILD)/build.ninja),--reconfigure) $(BUILD) --prefix=$(PREFIX)
	@touch $@

# Setting up comes first and by itself: before it there may be no compiler.
demo:
	tools/setup demo
	$(MAKE) all
	tools/demo

test:
	tools/setup test
	tools/test all --build $(BUILD)

test-unit: all
	tools/test unit --build $(BUILD)

test-e2e: all
	tools/test e2e --build $(BUILD)

test-matrix:
	tools/setup matrix
	tools/test matrix --build $(BUILD)

torture: all
	tools/setup test
	tools/torture --build $(BUILD) --seed $(SEED) --rounds $(ROUNDS) --pg $(PG) \
	    $(if $(FAMILY),--family '$(FAMILY)')

torture-redis: all
	tools/setup test
	tools/torture-redis --build $(BUILD) --seed $(SEED) --rounds $(ROUNDS) --redis $(REDIS) \
	    $(if $(FAMILY),--family '$(FAMILY)')

torture-mutants:
	tools/setup test
	tools/torture --build $(BUILD) --mutants --pg $(PG)

install: all
	$(MESON) configure $(BUILD) -Dprefix=$(PREFIX)
	$(NINJA) -C $(BUILD)
	DESTDIR='$(DESTDIR)' $(MESON) install -C $(BUILD) --no-rebuild

bench: all
	tools/setup bench
	tools/bench

lint:
	tools/lint

format:
	tools/lint --fix

fuzz:
	tools/setup test
	tools/fuzz --build $(BUILD)-fuzz --seconds $(SECONDS)

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-clang $(BUILD)-fuzz $(BUILD)-mutants $(BUILD)-logs
