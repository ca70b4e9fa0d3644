# Every command of the project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: playground-ready  ## a three-node cluster with Seta, and the Star Wars policy on it
	@$(BIN)/playground up
	@PATH="$(CURDIR)/$(BIN):$$PATH" examples/starwars/demo.sh

test: playground-ready check test-unit test-datapath test-api test-e2e  ## everything that proves it

check: venv  ## format, lint, import contracts, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

format: venv  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only -q .

test-unit: venv  ## unit tests: no root, seconds
	@$(PYTEST) -q -n auto tests/unit tests/policy tests/services

test-datapath: install  ## the shipped eBPF objects, in namespaces: root
	@$(PYTEST) -q -n auto --dist loadfile tests/datapath

test-api: playground-ready  ## the operator against a kube-apiserver alone
	@$(PYTEST) -q tests/api

test-e2e: playground-ready  ## the playground, both routing modes: root
	@$(PYTEST) -q tests/e2e

bench: playground-ready  ## measure, and write docs/benchmarks.md: root, more than an hour
	@$(BIN)/python -m tests.bench

clean: ## take down what runs, and forget what was built here (not the cache)
	@test ! -x $(BIN)/playground || $(BIN)/playground down --all
	@rm -rf $(VENV) build

objects: install  ## build the eBPF objects again
	@$(MAKE) -s -C bpf

crds: venv  ## generate the CRD manifests again
	@$(BIN)/python -m seta_crds.generate

lock:  ## pin every dependency with its hashes
	@test -x $(BIN)/uv || (python3 -m venv $(VENV) && $(BIN)/pip install -q uv)
	@$(call compile,requirements.txt,--group pyproject.toml:dev */pyproject.toml)
	@$(call compile,deploy/requirements-operator.txt,-c requirements.txt operator/pyproject.toml crds/pyproject.toml)
	@$(call compile,deploy/requirements-agent.txt,-c requirements.txt nodeagent/pyproject.toml crds/pyproject.toml)

install: apt venv  ## Debian and Python packages

playground-ready: install  ## also the one-time build: Kubernetes' binaries and the images
	@$(BIN)/playground install

apt:
	@tools/apt-install.sh

venv: $(VENV)/.ready

$(VENV)/.ready: requirements.txt $(wildcard */pyproject.toml) | apt
	@echo "==> Python packages into $(VENV)"
	@python3 -m venv $(VENV)
	@$(BIN)/pip install -q --require-hashes -r requirements.txt
	@$(BIN)/pip install -q --no-deps --no-build-isolation -e crds -e operator -e nodeagent -e playground
	@touch $@

define compile
$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
  --no-emit-index-url --no-emit-find-links --no-emit-package seta-crds -o $(1) $(2)
endef

.PHONY: help demo test check format test-unit test-datapath test-api test-e2e bench clean objects crds lock install \
  playground-ready apt venv
