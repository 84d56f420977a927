# Everything that can be run, here and in CI. Needs Rust; the rest is found or set up by the scripts it calls.

CACHE := $(or $(CLOS_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/clos)
export CARGO_TARGET_DIR ?= $(CACHE)/target

.PHONY: help demo demo-down test quick soak bench engine tools check generated regenerate fmt deny

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## a running, repaired shop in minutes, from nothing
	@deploy/demo/demo.sh up

demo-down: ## stops the demo and removes everything it made
	@deploy/demo/demo.sh down

test: engine tools check ## everything CI checks: format, lints, all tests (real engines, real kubectl), stale files, a soak
	@e2e/test.sh

quick: ## the tests that take seconds: unit, property, golden, API
	@e2e/test.sh quick

soak: engine tools ## random faults and changes for MINUTES, then everything must be as declared (MINUTES=5 SEED= ENGINE=)
	cargo build --quiet --package clos --package clos-soak
	KUBECTL=$$(e2e/tools.sh kubectl) $(CARGO_TARGET_DIR)/debug/clos-soak --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED)) --engine $(or $(ENGINE),$(if $(filter 0,$(shell id -u)),second,default))

bench: engine ## clos beside the raw engine in one run (BENCH="10 50", "--full", "--swarm")
	cargo build --release --quiet --package clos --package clos-bench
	$(CARGO_TARGET_DIR)/release/clos-bench $(BENCH)

engine: ## a container engine for the tests: one that answers, else Docker from the distribution
	@deploy/engine.sh up

tools: ## kubectl 1.32 or newer for the tests: the one on the PATH, else built from source
	@e2e/tools.sh kubectl >/dev/null

check: ## format and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings

generated: ## the committed generated files are current
	@e2e/generated.sh check

regenerate: ## writes the generated files anew
	@e2e/generated.sh write

fmt: ## formats the code
	cargo fmt --all

deny: ## advisories, licences, duplicates and sources of dependencies (needs cargo-deny)
	cargo deny check
