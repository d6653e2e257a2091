# Every target needs only make and Python 3.11 or newer. The first run creates .venv and installs into it.
PYTHON ?= python3
# The versions and hashes that every target installs. CI names other files here to test other versions.
LOCK ?= requirements.txt
# What "make lock" upgrades: nothing, the named packages, or all.
UPGRADE ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := $(patsubst %/pyproject.toml,%,$(wildcard packages/*/pyproject.toml))
# uv verifies the hashes of constraints too. The build constraint covers hatchling, which builds the editable packages.
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint $(LOCK) --build-constraint $(LOCK)

# Tests compare the output of a make that they start, and "Entering directory" lines would be part of it.
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help serve test lint types build workflows lock ci ci-full clean

help: ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

serve: $(READY) ## the example project with demo data on 127.0.0.1; PORT=8123 chooses the port
	@PORT=$(PORT) $(BIN)/python example_project/serve.py

test: $(READY) ## the test lanes that need no service; LANES="core swapped" chooses lanes
	$(BIN)/python -m tests $(LANES) --jobs 3

lint: $(READY) ## style, format and import contracts
	$(BIN)/ruff check && $(BIN)/ruff format --check && PYTHONPATH=example_project $(BIN)/lint-imports

types: $(READY) ## mypy, strict
	$(INSTALL) --group types && $(BIN)/mypy

build: $(READY) ## wheel and sdist of every package in dist/
	$(INSTALL) --group build && rm -rf dist && $(BIN)/hatch build --all

workflows: $(READY) ## audit of the GitHub workflows, and the schemas of the files that GitHub reads
	$(INSTALL) --group repository
	$(BIN)/zizmor --offline --pedantic --strict-collection .
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/pre-commit validate-config .pre-commit-config.yaml

lock: | $(BIN)/uv ## requirements.txt after a change of dependencies; UPGRADE="django celery" or UPGRADE=all takes newer versions
	@# The packages come twice: as paths, because no index has them yet, and as projects, because --all-extras needs those.
	@printf -- '-e ./%s\n' $(PACKAGES) | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-emit-index-url --no-emit-find-links $(patsubst packages/%,--no-emit-package dovetail-%,$(PACKAGES)) \
		--custom-compile-command 'make lock (UPGRADE=all takes newer versions)' \
		$(patsubst %,--upgrade-package %,$(filter-out all,$(UPGRADE))) $(if $(filter all,$(UPGRADE)),--upgrade) \
		--all-extras $(addsuffix /pyproject.toml,$(PACKAGES)) - \
		$$($(BIN)/python -c 'import tomllib; print(*(f"--group {name}" for name in tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]))') \
		--output-file $(LOCK)

ci: ## everything the project promises; needs PostgreSQL, MariaDB, Redis and RabbitMQ; PIECES="static postgres" chooses
	.ci/run $(PIECES)

ci-full: ## the same on every pair of Python and Django, as every night
	.ci/run --full $(PIECES)

clean: ## remove what the other targets made
	rm -rf $(VENV) .tox dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(READY): pyproject.toml $(LOCK) $(wildcard packages/*/pyproject.toml) | $(BIN)/uv
	@# Compiled once here, instead of in each of the many processes that tests start.
	$(INSTALL) --compile-bytecode $(addprefix -e ,$(PACKAGES)) --group example --group postgres --group test --group lint
	@touch $@

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Dovetail needs Python 3.11 or newer; $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v[:2])'
	@$(PYTHON) -c 'import ensurepip, sys' 2>/dev/null || $(PYTHON) -c 'import sys; sys.exit("$(PYTHON) cannot make virtual environments: its ensurepip module is missing. On Debian and Ubuntu: apt install python%d.%d-venv" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# pip refuses hashes in a constraint without a pin, so it reads uv's entry of the lock as a requirement.
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.txt >$(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.txt
