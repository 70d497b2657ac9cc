# The commands of this project. `make setup` is done by itself where it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUT ?=
ARGS ?=

.PHONY: help setup demo test test-full lint docs bench clean

help:
	@echo "make setup            create $(VENV) with everything (again only if pyproject.toml changed)"
	@echo "make demo             the whole way on a synthetic walk; INPUT=file-or-folder ARGS='--source-fps 30' for your own"
	@echo "make test             lint, types, import rules and the test suite (what CI runs)"
	@echo "make test-full        the same, and the heavier tests (browser, kill and resume, cluster)"
	@echo "make docs             regenerate the generated pages of docs/"
	@echo "make bench            the benchmarks; needs ../shared/data"

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lmm needs Python 3.11 or newer: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/lmm doctor --fix > /dev/null || echo "poses cannot be estimated from video here, all else works"
	@touch $@
	@echo "$(VENV) is ready: $(BIN)/lmm --help"

demo: setup
	@$(BIN)/lmm demo $(if $(INPUT),"$(INPUT)") $(ARGS)

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

test: lint
	@$(BIN)/python -m pytest -n 2 -m "not slow"

test-full: lint
	@$(BIN)/python -m pytest -n 2

docs: setup
	@$(BIN)/python docs/generate.py

bench: setup
	@$(BIN)/python benchmarks/ingest.py

clean:
	rm -rf $(VENV) demo_out .pytest_cache .mypy_cache .ruff_cache
