# The targets and what they do: `make` or `make help`.
CARGO ?= cargo
SHELL := bash
# What is compiled for WebAssembly is a workspace of its own; here it is compiled for this machine.
GUESTS := cd presets && $(CARGO)
GO_MODULES := tests/cluster tests/cluster/images/server
# The tests in tests/*.rs need no cluster; those in tests/controller/ do.
# Always with --workspace: with other packages, dependencies have other features, and are compiled again.
LIGHT_TESTS := $(patsubst tests/%.rs,--test %,$(wildcard tests/*.rs)) --test attacks --test catalogue --test policy
# No part of --all-targets.
CLUSTER_TESTS := --test controller --test chaos
SCRIPTS = $(shell grep -lIE '^\#!/(usr/bin/env bash|bin/bash|bin/sh)' $$(git ls-files -co --exclude-standard)) k8s/demo/common.sh
# Downloads are tried again: a network is not always there.
export CARGO_NET_RETRY ?= 10
export PATH := $(PATH):/usr/local/go/bin

.PHONY: help
help: ## this list
	@awk -F ' *## *' '/^[a-z-]+:.*##/ { sub(/:.*/, "", $$1); printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo demo-down dev
demo: ## a Kubernetes on this machine with Ephemeron installed, and a service that answers (CONTEXT=name: in a cluster of the kubeconfig)
	@k8s/demo/up
demo-down: ## remove the demo and its cluster; what was built stays
	@k8s/demo/down
dev: ## controller and REST API from the sources as they are, in the foreground, beside the demo's cluster
	@k8s/demo/dev

.PHONY: presets images
images: ## the images of controller and REST API without Docker, in target/images
	@k8s/images/build
presets: ## the presets of this project from source, in target/presets: NAME.wasm
	@presets/build

.PHONY: test clients test-fast test-go lint generate bench
test: ## everything: test-fast, and the tests against a real Kubernetes on this machine (root)
	@tests/all
clients: ## clients in five languages from openapi/, schemathesis and Swagger UI, on the same kind of Kubernetes
	@tests/clients/with-api tests/clients/all
test-fast: ## format, lints, and all tests that need neither a cluster nor root
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace $(CLUSTER_TESTS) -- -D warnings
	$(CARGO) test --locked --workspace --lib --bins $(LIGHT_TESTS)
	$(CARGO) test --locked --workspace --doc
	$(GUESTS) fmt --all --check
	$(GUESTS) clippy --locked --all-targets -- -D warnings
	$(GUESTS) test --locked
	@$(MAKE) --no-print-directory test-go
test-go: ## vet and test the test cluster's own Go code
	@set -e; for module in $(GO_MODULES); do (set -x; cd $$module; go mod download || { sleep 5; go mod download; }; go vet ./...; go test ./...); done
lint: ## format, clippy, go vet, shellcheck, and cargo-deny where it is installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace $(CLUSTER_TESTS) -- -D warnings
	$(GUESTS) fmt --all --check
	$(GUESTS) clippy --locked --all-targets -- -D warnings
	@set -e; for module in $(GO_MODULES); do (set -x; cd $$module; test -z "$$(gofmt -l . | tee /dev/stderr)"; go vet ./...); done
	shellcheck -x $(SCRIPTS)
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --locked check; else echo "cargo-deny is not installed: left out (cargo install --locked cargo-deny)"; fi
generate: ## write what is made from the code: k8s/ephemerons.yaml, docs/reference/conditions.md, openapi/openapi.json
	$(CARGO) run --locked --quiet --bin crd > k8s/ephemerons.yaml.new
	mv k8s/ephemerons.yaml.new k8s/ephemerons.yaml
	$(CARGO) run --locked --quiet --example conditions > docs/reference/conditions.md.new
	mv docs/reference/conditions.md.new docs/reference/conditions.md
	mkdir -p openapi
	$(CARGO) run --locked --quiet --bin api -- --spec > openapi/openapi.json.new
	mv openapi/openapi.json.new openapi/openapi.json

bench: ## measure the controller on a real Kubernetes on this machine (root), and presets
	tests/cluster/cluster up --add-ons traefik,contour,kwok
	$(CARGO) bench --locked --bench performance
	presets/build nginx web echo
	$(CARGO) bench --locked --package ephemeron-preset-host --no-default-features --bench presets

.PHONY: chaos
chaos: ## break everything around the controllers and check what they make of it (root; SEED=1,2,3 LIVES=1900 FAULTS=killed,…)
	@tests/chaos/run

.PHONY: upgrade
upgrade: ## services live through a change from another version's programs to these, and back (root; FROM=TAG or commit)
	@tests/upgrade

FUZZ := presets/host/fuzz
TIME ?= 60
# What cargo-fuzz does, with the stable compiler: edges and comparisons are counted, and no sanitizer is
# needed where nothing is unsafe.
FUZZ_FLAGS := --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1
.PHONY: fuzz
fuzz: ## feed the policy on presets, and the reader of their documents, whatever comes to mind (TIME=60: seconds for each)
	@set -e; host=$$(rustc -vV | sed -n 's/^host: //p'); \
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --locked --manifest-path $(FUZZ)/Cargo.toml --target-dir target/fuzz --target $$host; \
	for target in policy document; do \
		mkdir -p target/fuzz/corpus/$$target; \
		(set -x; target/fuzz/$$host/debug/$$target -max_total_time=$(TIME) -timeout=10 -rss_limit_mb=1024 -max_len=65536 \
			-dict=$(FUZZ)/json.dict -artifact_prefix=target/fuzz/$$target- target/fuzz/corpus/$$target $(FUZZ)/corpus/$$target); \
	done

.PHONY: cluster-up cluster-down
cluster-up: ## the Kubernetes of the tests, with the gateways Traefik and Contour (root)
	tests/cluster/cluster up --add-ons traefik,contour
cluster-down: ## take it down; what was built stays
	tests/cluster/cluster down
