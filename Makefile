# Entry points for people and for CI; everything else is CMake (CMakePresets.json).

SHELL := /bin/bash
BUILD := build
TINY := tests/data/models/nemotron-h-tiny
JOBS ?= $(shell nproc)

.PHONY: help run test build setup setup-check asan tsan bench docs format lint install clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: build ## Set up, build, compile the tiny model and generate text
	$(BUILD)/bin/nemotron-compile $(TINY) -o $(BUILD)/nemotron-h-tiny.plan
	$(BUILD)/bin/nemotron-run $(BUILD)/nemotron-h-tiny.plan --prompt "And it came to pass" -n 120 --seed 7

test: build ## Set up, build and pass all tests, also under ASan, UBSan and TSan
	ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)
	$(MAKE) --no-print-directory asan tsan

build: setup ## Set up and build everything
	@cmake --preset release > $(BUILD).configure.log || { cat $(BUILD).configure.log; exit 1; }
	@rm -f $(BUILD).configure.log
	cmake --build $(BUILD) -j $(JOBS)

setup: ## Install what is missing (Debian packages; needs root only if something is missing)
	@scripts/setup.sh

asan: setup ## Runtime tests and fuzzers under AddressSanitizer and UndefinedBehaviorSanitizer
	@cmake --preset asan > /dev/null
	cmake --build build-asan -j $(JOBS)
	ctest --test-dir build-asan --output-on-failure -j $(JOBS)

tsan: setup ## Threaded runtime tests under ThreadSanitizer
	@cmake --preset tsan > /dev/null
	cmake --build build-tsan -j $(JOBS) --target tsan-tests
	ctest --test-dir build-tsan --output-on-failure -j $(JOBS) -L tsan

docs: build ## Generate the pages of dialects and passes into build/docs
	cmake --build $(BUILD) --target docs

format: ## Format all sources
	git ls-files '*.cc' '*.h' '*.c' '*.cuh' | xargs clang-format-19 -i
	git ls-files '*.cpp' | xargs clang-format-19 -i --style=file:.clang-format

lint: ## Check the formatting
	git ls-files '*.cc' '*.h' '*.c' '*.cuh' | xargs clang-format-19 --dry-run -Werror
	git ls-files '*.cpp' | xargs clang-format-19 --dry-run -Werror --style=file:.clang-format

install: build ## Install to PREFIX (default /usr/local)
	cmake --install $(BUILD) --prefix $(or $(PREFIX),/usr/local)

clean: ## Remove the build trees
	rm -rf build build-asan build-tsan
