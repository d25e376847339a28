# Each target is one intent; what takes more than a line or two stands in .ci/.
.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
.PHONY: help dev test build bench gen lint fuzz race clean e2e web release images

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: build ## install what is needed, build, run everything in one process on http://127.0.0.1:4000
	@exec bin/skein dev $(ARGS)

test: ## install what is needed, run every check and every test
	@.ci/test

build: web ## bin/skein, bin/skein-edge, bin/skein-router, bin/skein-presence
	@.ci/build

web: ## build the page that is embedded in the binaries, if its sources changed
	@.ci/web

release: ## reproducible archives, Debian packages and checksums of all systems, in dist/
	@.ci/release

images: ## images of all four programs, by docker: make images TAG=1.2.3
	@.ci/images $(or $(TAG),local)

lint: web ## formatting, linters, protos, generated code and generated docs
	@.ci/lint

race: web ## the Go tests alone, with the race detector: make race PKG=./services/...
	go test -race $(or $(PKG),./...)

e2e: build ## the tests with real processes, phoenix.js and a browser alone
	@.ci/e2e

fuzz: ## every fuzz target for a while: make fuzz TIME=1m
	@.ci/fuzz $(or $(TIME),10s)

bench: build ## the benchmark suite: Go benchmarks, then load on real processes
	@.ci/bench

gen: ## regenerate the Go code of proto/ and docs/configuration.md
	@.ci/gen

clean: ## remove everything that was built or installed into the tree
	rm -rf bin dist web/node_modules tests/*/node_modules
	find web/dist -mindepth 1 ! -name .gitkeep -delete
