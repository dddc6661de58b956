# Holdfast's tasks. On a fresh Debian 12 this needs make and python3 (3.11 or newer) with its venv module; everything
# else is installed from the hash-pinned locks, into .uv and .venv of this folder only.

SHELL := /bin/sh
PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
READY := .venv/.ready
COMPILE := $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header
PYTEST := $(BIN)/pytest

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these tasks.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(READY) ## Run a whole Holdfast on this machine, with PostgreSQL and Temporal, until Ctrl-C.
	@exec $(BIN)/holdfast up

.PHONY: demo
demo: $(READY) ## Walk buyers through paying, cancelling and expiry, against what `make run` runs.
	@exec $(BIN)/holdfast demo

.PHONY: test
test: lint types ## Lint, types, and every test that is not slow (half an hour).
	$(PYTEST) -m "not slow"

.PHONY: test-slow
test-slow: $(READY) ## Kills, long races and fuzzing (a quarter of an hour).
	$(PYTEST) -m slow

.PHONY: bench
bench: $(READY) ## Measure on this machine; docs/performance.md tells what the figures mean.
	$(BIN)/python -m bench

.PHONY: lint
lint: $(READY) ## Style, and the layers that may not be crossed.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.PHONY: fmt
fmt: $(READY) ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: $(READY) ## Check types, strictly.
	$(BIN)/mypy

.PHONY: lock
lock: $(UV) ## Write the locks anew from pyproject.toml, at the newest versions it allows.
	$(COMPILE) --upgrade pyproject.toml -o locks/runtime.txt
	$(COMPILE) --upgrade pyproject.toml --group dev -o locks/dev.txt -c locks/runtime.txt
	$(COMPILE) --upgrade locks/uv.in -o locks/uv.txt

.PHONY: clean
clean: ## Remove what was installed or cached here. The data of `make run` stays.
	rm -rf .uv .venv .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The two environments. Each is rebuilt when its lock changed; the marker is made last, so that an interrupted
# installation is done again.

$(READY): locks/dev.txt pyproject.toml $(UV)
	@echo "installing what locks/dev.txt names into .venv"
	@test -x $(BIN)/python || $(UV) venv --quiet --clear --no-python-downloads --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes locks/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(UV): locks/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Holdfast needs Python 3.11 or newer as $(PYTHON); name another one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing; on Debian: sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "installing uv into .uv"
	@rm -rf .uv && $(PYTHON) -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r locks/uv.txt
	@touch $@
