# Everything a person or a machine does with the tree. What a target needs it
# sets up itself; see tools/pinned for where programs are kept.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# How long each fuzz target runs.
FUZZTIME ?= 30s
# How often each benchmark runs, which, and how many lines those of logs have.
BENCHCOUNT ?= 5
BENCH ?= .
BENCHLINES ?= 5000000
# In how many worlds each attack is made.
WORLDS ?= 32
# More arguments of the demo, such as ARGS='--for 30s'.
ARGS ?=

# tool puts the programs of a nested module of tools/ on the path.
tool = PATH="$$(go run ./tools/install tools/$(1)):$$PATH"

# Packages below e2e ask real servers and the built binary.
UNIT = $$(go list ./... | grep -v '/parley/e2e')
# Where goroutines meet. What only computes is left to make race.
RACE = ./tenants/... ./federation/peer/... ./federation/traces/otlpreceiver/... ./gateway/...

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Start three organizations that ask one another; ARGS='--for 30s' goes to parley demo
	@bin/parley demo $(ARGS)

.PHONY: build
build: ## Build bin/parley
	@echo 'building parley (the first time takes some minutes) ...' >&2
	@CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/parley ./cmd/parley

.PHONY: test
test: ## Run every test: unit, race, and end to end against real servers
	@$(MAKE) -j2 --output-sync=target unit servers
	@$(MAKE) race-concurrent
	@$(MAKE) e2e

.PHONY: unit
unit: ## Run the tests that need no server, in under two minutes
	@packages=$(UNIT); go test $$packages

.PHONY: race-concurrent
race-concurrent:
	@echo "with the race detector:"
	@go test -race -skip '^(TestOracle|TestNoLogsEndpointTellsHiddenDifferences|TestThePeerDoorTellsNoHiddenTraces|TestNoTracesEndpointTellsHiddenDifferences)$$' $(RACE) # of which one asking after another, without the detector, is enough

.PHONY: race
race: ## Run all unit tests with the race detector
	@packages=$(UNIT); go test -race $$packages

.PHONY: e2e
e2e: build servers ## Run the built binary against real servers
	@go test -count=1 -timeout 20m ./e2e/...

.PHONY: servers
servers:
	@go run ./tools/install e2e/servers/prometheus e2e/servers/node_exporter e2e/servers/loki e2e/servers/jaeger e2e/servers/collector e2e/servers/registry >/dev/null

.PHONY: bench
bench: build servers ## Measure, five times each, and summarize; BENCH selects, BENCHCOUNT repeats
	@go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(BENCHCOUNT) -timeout 3h ./e2e/bench -lines $(BENCHLINES) | tee bin/bench.out
	@$(call tool,go); benchstat bin/bench.out

.PHONY: attacks
attacks: servers ## Attack policies as a partner in WORLDS worlds, 32 unless told, and count the bits
	@go run ./tools/install e2e/attacks/prom-label-proxy >/dev/null
	@mkdir -p bin
	@go test -count=1 -timeout 2h -run '^TestAttacks$$' -v ./e2e/attacks -all -worlds $(WORLDS) -results "$$PWD/bin/attacks.json" | grep -v -e '^=== ' -e '^ *--- PASS'

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME, 30s unless told, and the oracles with a new seed
	@go test -count=1 -run 'TestOracle|TestAnswersEqual|TestHiddenDifferences' ./federation/metrics ./gateway/gatewaytest -oracle.seed=0
	@go test -count=1 -run 'TestNoLogsEndpoint|TestAnswersEqual' ./federation/logs ./gateway/gatewaytest -logs.seed=0 -logs.questions=3000
	@go test -count=1 -run 'TestAnswersEqual|TestTheViewIsAStore|TestHiddenDifferences' ./federation/traces -traces.seed=0 -traces.worlds=1000
	@go test -count=1 -run 'TestThePeerDoorTellsNoHiddenTraces|TestNoTracesEndpoint' ./gateway/gatewaytest -traces.seed=0 -traces.questions=300
	@go test -count=1 -run TestSelectorsSayWhatOPASaysOfEach ./policy/rego -include.seed=0
	@go test -count=1 -run TestSelectsWhatTheNaiveDo ./federation/traces/traceql -traceql.seed=0 -traceql.queries=5000
	@tools/fuzz $(FUZZTIME)

.PHONY: lint
lint: lint-go lint-proto lint-modules lint-vulnerabilities ## Check code, protos, modules and licences

.PHONY: lint-go
lint-go:
	@go vet -stdmethods=false ./... # Prometheus's iterators have another Seek than io.Seeker
	@$(call tool,go); unformatted=$$(git ls-files -z '*.go' ':!*.pb.go' | xargs -0 gofumpt -l); \
		if [ -n "$$unformatted" ]; then \
			echo "not formatted, see make format:"; echo "$$unformatted"; exit 1; \
		fi
	@$(call tool,golangci-lint); golangci-lint run --allow-serial-runners ./...

.PHONY: lint-proto
lint-proto:
	@$(call tool,proto); tools/protocheck

.PHONY: lint-modules
lint-modules:
	@go mod tidy -diff
	@go run ./tools/licences

# What is known of vulnerabilities changes without us, so it is reported.
.PHONY: lint-vulnerabilities
lint-vulnerabilities:
	@$(call tool,go); status=0; report=$$(govulncheck ./... 2>&1) || status=$$?; \
		case $$status in \
			0 | 3) echo "$$report" ;; \
			*) echo "vulnerabilities aren't checked here: $$report" ;; \
		esac

.PHONY: format
format: ## Format the code with gofumpt
	@$(call tool,go); git ls-files -z '*.go' ':!*.pb.go' | xargs -0 gofumpt -w

.PHONY: proto
proto: ## Generate the Go code of proto/
	@$(call tool,proto); buf generate
