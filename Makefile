# Safelight. `make help` lists what can be made.
SHELL := /bin/bash
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X safelight/internal/cli.Version=$(VERSION)
TESTFLAGS ?=
TAGS ?=
PACKAGES ?= ./...
N ?= 20
FUZZTIME ?= 30s

# Vector instructions for the metric, eight times as fast. Go without it works too.
export GOEXPERIMENT ?= simd

.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-bench setup-compress codecs build run test verify lint fuzz golden crash bench bench-peers bench-compress clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what building and running need (Debian, Ubuntu: through apt)
	@scripts/setup run

setup-test:
	@scripts/setup test

setup-bench:
	@scripts/setup bench

setup-compress:
	@scripts/setup compress

codecs: ## Fetch a newer libvips, from npm, into codecs/, and print how to use it
	@scripts/codecs

build: setup ## Build bin/safelight; TAGS=clouds adds gs:// and azblob:// destinations
	@mkdir -p bin
	$(GO) build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o bin/safelight ./cmd/safelight

run: build ## Build, and serve http://127.0.0.1:8080 with ./data; ARGS="--listen …" is passed on
	exec bin/safelight serve $(ARGS)

test: setup-test ## Run every test, with the race detector
	$(GO) test -race -timeout 20m $(TESTFLAGS) $(PACKAGES)
	GOEXPERIMENT= $(GO) test ./internal/metric
	$(GO) test -race -tags clouds -run 'Others|Check|Hidden|NoHost' ./internal/cdkblob

verify: setup-test lint ## Check format, vet, staticcheck and layers

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags clouds ./internal/cdkblob
	$(GO) tool -modfile=tools/go.mod staticcheck ./...
	$(GO) tool -modfile=tools/go.mod staticcheck -tags clouds ./internal/cdkblob
	$(GO) test ./internal

fuzz: setup-test ## Fuzz every target for FUZZTIME (30s)
	@scripts/fuzz $(FUZZTIME)

golden: setup-test ## Write the golden renders anew; look at the difference before committing
	$(GO) test ./internal/e2e -run TestGolden -update

crash: setup-test ## Kill the server, and workers, N times (20) under load; nothing acknowledged may be lost
	SAFELIGHT_CRASH_CYCLES=$(N) $(GO) test ./internal/e2e -run '^Test(Task)?Crash' -count=1 -v -timeout 6h

bench: build ## One table of ratios: hot, cold, ingest, memory, tasks, scale
	$(GO) run ./bench

bench-peers: build setup-bench ## nginx and ipx beside us on the same requests
	$(GO) run ./bench -peers

bench-compress: setup-compress ## Bytes at equal quality, and their cost, into docs/compression.md; ARGS=-quick only tries it
	$(GO) run ./bench/compress $(if $(ARGS),$(ARGS),-write docs)

clean: ## Remove what was built; ./data stays
	rm -rf bin
