# `make` prints what there is to do.
.DEFAULT_GOAL := help
SHELL := /bin/bash
GO ?= go
TOOL := $(GO) tool -modfile=tools/go.mod
PACKAGES := ./...

# The program needs no C compiler; only the race detector does.
export CGO_ENABLED ?= 0

.PHONY: help
help: ## Show this help
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/outrider (static) and its plugin bin/outrider-llamacpp, without a C compiler
	$(GO) build -trimpath -o bin/ ./cmd/...

.PHONY: demo
demo: build ## Edge, cloud and an emulated 40 ms link on this machine, then a table (BACKEND=llamacpp)
	@bin/outrider demo $(if $(BACKEND),--engine $(BACKEND))

.PHONY: test
test: ## Run the tests (no C compiler, no network)
	$(GO) test $(PACKAGES)

.PHONY: race
race: ## Run the tests under the race detector (needs a C compiler)
	GORACE=atexit_sleep_ms=0 CGO_ENABLED=1 $(GO) test -race -short $(PACKAGES)

.PHONY: vet
vet:
	$(GO) vet $(PACKAGES)

.PHONY: lint
lint: ## golangci-lint and buf lint, pinned in tools/go.mod
	$(TOOL) golangci-lint run
	$(TOOL) buf lint

.PHONY: generate
generate: ## Regenerate proto/**/*.pb.go and the tables in docs/configuration.md and docs/observability.md
	$(TOOL) buf generate
	$(GO) test ./cmd/outrider -run '^(TestKeyTable|TestMetricsAreDocumented)$$' -count=1 -args -update

# Generated code must be what the pinned generators make of the .proto files.
.PHONY: generated
generated:
	@tmp=$$(mktemp -d) && trap 'rm -rf $$tmp' EXIT && $(TOOL) buf generate -o $$tmp && \
	for f in $$(cd $$tmp && find . -name '*.pb.go'); do \
	  cmp -s $$tmp/$$f $$f || { echo "$$f is stale: run make generate"; exit 1; }; done && echo "generated code is fresh"
	@$(GO) test ./cmd/outrider -run '^TestKeyTable$$' -count=1

# The wire may only change compatibly; compares with the last commit that touched nothing in proto/.
.PHONY: breaking
breaking:
	@base=$$(git describe --tags --abbrev=0 2>/dev/null); \
	if [ -z "$$base" ]; then echo "buf breaking: no release tag yet, nothing to compare with"; \
	else $(TOOL) buf breaking --against ".git#tag=$$base"; fi

PLATFORMS := linux/amd64 linux/arm64 linux/riscv64 darwin/arm64 windows/amd64 android/arm64

.PHONY: cross
cross: ## Cross-build for every supported platform into dist/
	@for p in $(PLATFORMS); do os=$${p%/*} arch=$${p#*/} ext=; [ $$os = windows ] && ext=.exe; \
	  echo "build $$p"; CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -o dist/$$os-$$arch/outrider$$ext ./cmd/outrider || exit 1; done

.PHONY: check
check: vet test race lint generated breaking ## All that must hold before a commit (10 minutes at most)

# Where the plugin finds them; YZMA_LIB names another folder.
LLAMACPP := $(CURDIR)/bin/llamacpp

.PHONY: llamacpp
llamacpp: build ## Fetch llama.cpp's shared libraries into bin/llamacpp (npm)
	@[ -e $(LLAMACPP) ] || bin/outrider install llamacpp --dir $(LLAMACPP)

.PHONY: verify
verify: build cross ## What is slow: cross builds, many seeds, mutants, faults, SDKs, 600 generations, 2,000 sessions, 500 API clients
	@[ -n "$$YZMA_LIB" ] || $(MAKE) llamacpp || echo "llama.cpp's libraries are not to be had: its tests will skip"
	@[ -n "$$YZMA_LIB" ] || [ ! -e $(LLAMACPP) ] || export YZMA_LIB=$(LLAMACPP); PATH="$(CURDIR)/bin:$$PATH" \
	OUTRIDER_VERIFY=1 $(GO) test -tags verify -timeout 30m -count=1 $(PACKAGES)
	cd test/deploy && $(GO) test -count=1 ./...

# Packages, a bill of materials and checksums of what make cross has built; VERSION names them.
VERSION ?= 0.0.0
.PHONY: release
release: cross ## Debian packages, SBOM and SHA256SUMS into dist/ (VERSION=1.0.0)
	@for a in amd64 arm64 riscv64; do $(GO) run -C test/deploy ./pack -root $(CURDIR) -binary dist/linux-$$a/outrider -arch $$a -version $(VERSION) -out dist/outrider_$(VERSION)_$$a.deb || exit 1; done
	@cd test/deploy && $(GO) tool cyclonedx-gomod bin -json -output $(CURDIR)/dist/outrider.cdx.json $(CURDIR)/dist/linux-amd64/outrider
	@cd dist && sha256sum *.deb *.json */outrider* > SHA256SUMS && cat SHA256SUMS

.PHONY: bench-tables
bench-tables: build ## Make the generated tables of docs/benchmarks.md anew (a minute)
	bin/outrider bench tables docs/benchmarks.md

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist
