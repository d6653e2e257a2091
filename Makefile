# Every target needs nothing but make and Python 3.11 or newer; the first run makes .venv and fills it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := $(patsubst %/pyproject.toml,%,$(wildcard packages/*/pyproject.toml))

# A make inside a test must not talk of directories.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help serve test lint types build ci clean

help: ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

serve: $(READY) ## the example project with demo data on 127.0.0.1; PORT=8123 chooses the port
	@PORT=$(PORT) $(BIN)/python example_project/serve.py

test: $(READY) ## the test lanes that need no service; LANES="core swapped" chooses
	$(BIN)/python -m tests $(LANES) --jobs 2

lint: $(READY) ## style, format and who may import whom
	$(BIN)/ruff check && $(BIN)/ruff format --check && PYTHONPATH=example_project $(BIN)/lint-imports

types: $(READY) ## mypy, strict
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group types && $(BIN)/mypy

build: $(READY) ## wheel and sdist of every package in dist/
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group build && rm -rf dist && $(BIN)/hatch build --all

ci: ## everything the project promises, on every supported Python; needs PostgreSQL, MariaDB, Redis and RabbitMQ
	.ci/run

clean: ## remove what the other targets made
	rm -rf $(VENV) .tox dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(READY): pyproject.toml $(wildcard packages/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Dovetail needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v[:2])'
	@$(PYTHON) -c 'import ensurepip, sys' 2>/dev/null || $(PYTHON) -c 'import sys; sys.exit("$(PYTHON) cannot make virtual environments: its ensurepip module is missing. On Debian and Ubuntu: apt install python%d.%d-venv" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.8"
	@# Compiled once, not by each of the many processes that tests start.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python $(addprefix -e ,$(PACKAGES)) --group example --group postgres --group test --group lint
	@touch $@
