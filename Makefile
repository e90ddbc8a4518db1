# The commands of the README; the build itself is meson.build.
#
# BUILD is the build folder (and BUILD-asan, BUILD-clang beside it), so that two
# checkouts of one tree need not share it: make BUILD=/tmp/mine

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
SECONDS_EACH ?= $(or $(SECONDS),60)
PYTHON := /usr/bin/python3
MESON := meson
NINJA := ninja

.PHONY: all demo test test-unit test-e2e test-matrix install bench lint format fuzz clean

all: $(BUILD)/build.ninja
	$(NINJA) -C $(BUILD)

$(BUILD)/build.ninja:
	$(MESON) setup $(BUILD) --prefix=$(PREFIX)

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

install: all
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
	tools/fuzz --build $(BUILD)-fuzz --seconds $(SECONDS_EACH)

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-clang $(BUILD)-fuzz
