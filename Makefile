# Every command of the project. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: requirements.txt $(wildcard */pyproject.toml)
	@echo "==> Python packages into $(VENV)"
	@python3 -m venv $(VENV)
	@$(BIN)/pip install -q --require-hashes -r requirements.txt
	@$(BIN)/pip install -q --no-deps --no-build-isolation -e crds -e operator -e nodeagent -e playground
	@touch $@

venv: $(VENV)/.ready  ## the Python environment

check: venv  ## format, lint, import contracts, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/mypy

format: venv  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix-only -q .

test-unit: venv  ## unit tests: no root, seconds
	@$(BIN)/pytest -q tests/unit

lock: ## pin every dependency with its hashes
	@test -x $(BIN)/uv || (python3 -m venv $(VENV) && $(BIN)/pip install -q uv)
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	  --python-version 3.11 --no-emit-package seta-crds \
	  --group pyproject.toml:dev operator/pyproject.toml nodeagent/pyproject.toml playground/pyproject.toml crds/pyproject.toml -o requirements.txt
	@for part in operator agent; do \
	  dir=$$part; [ $$part = agent ] && dir=nodeagent; \
	  $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header \
	    --python-version 3.11 --no-emit-package seta-crds -c requirements.txt $$dir/pyproject.toml crds/pyproject.toml -o deploy/requirements-$$part.txt; \
	done

.PHONY: help venv check format test-unit lock
