# Two commands: `make demo` and `make test`. Both set up .venv themselves; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Thrice the two cores of a small machine: tests with real processes wait more than they work.
PYTEST_WORKERS ?= 6
# What is asked to take minutes is not held to a test's time.
PATIENT := --timeout 0 -o faulthandler_timeout=0

.PHONY: help setup setup-dev demo test check bench fuzz lock acceptance audit update attacks peers clean
help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: $(VENV)/.ready            ## the virtual environment that the demo and the daemon run in
setup-dev: $(VENV)/.ready-dev    ## the same with the tools of the tests and checks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: Tocsin needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)."; \
	  echo "      Install it (Debian: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "make: this Python lacks the venv module. Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	@echo "make: creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: requirements.lock pyproject.toml | $(BIN)/python
	@echo "make: installing what requirements.lock names (hashes checked)"
	@$(PIP) install --require-hashes -r requirements.lock || { \
	  echo "make: pip could not install requirements.lock. It needs a package index: check the network, or set PIP_INDEX_URL to your mirror."; exit 2; }
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "make: installing what requirements-dev.lock names (hashes checked)"
	@$(PIP) install --require-hashes -r requirements-dev.lock || { \
	  echo "make: pip could not install requirements-dev.lock. It needs a package index: check the network, or set PIP_INDEX_URL to your mirror."; exit 2; }
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.ready

demo: setup      ## everything on this machine, with faults injected on a loop: watch the messages appear
	@$(BIN)/tocsin demo

test: setup-dev  ## the tests, with a count and the coverage at the end
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal --cov --cov-report=term:skip-covered tests

check: setup-dev ## layers, style, types, and that the shipped content is sound
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/tocsin check

fuzz: setup-dev  ## what a daemon's HTTP port makes of random requests, for longer than the tests look
	@TOCSIN_FUZZ=$${TOCSIN_FUZZ:-200} $(BIN)/python -m pytest -q $(PATIENT) tests/e2e/test_console_door_daemon.py -k openapi

bench: setup-dev ## every benchmark; each prints its figure and, beside a peer, the ratio
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

lock: setup-dev  ## write both lock files anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --extra demo --group build --universal $(UPGRADE) --generate-hashes --no-strip-extras --no-header --no-annotate --quiet -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra demo --group dev -c requirements.lock --universal $(UPGRADE) --generate-hashes --no-strip-extras --no-header --no-annotate --quiet -o requirements-dev.lock

acceptance: setup-dev ## the seven promises to the watched application, the load test with its time
	@TOCSIN_ACCEPTANCE=1 $(BIN)/python -m pytest -q -s $(PATIENT) tests/e2e/test_acceptance.py

audit: setup-dev ## known vulnerabilities in both locks; fails on a high one, an unrated one, or when nobody could be asked
	@$(BIN)/tocsin doctor dependencies $(AUDIT) requirements.lock requirements-dev.lock

update: setup-dev ## raise every locked version, show what changed, then check, test and audit; the old locks stay if that fails
	@mkdir -p $(VENV)/locks && cp requirements.lock requirements-dev.lock $(VENV)/locks/
	@$(MAKE) --no-print-directory lock UPGRADE=--upgrade \
	  && { for lock in requirements.lock requirements-dev.lock; do diff -U0 $(VENV)/locks/$$lock $$lock; done \
	       | grep -E '^[-+][a-z0-9]' || echo "make: nothing newer"; } \
	  && $(MAKE) --no-print-directory check test audit \
	  || { for lock in requirements.lock requirements-dev.lock; do \
	         mv $$lock $(VENV)/locks/$$lock.refused; cp $(VENV)/locks/$$lock $$lock; done; \
	       echo "make: the locks are as before; those that failed: $(VENV)/locks/*.refused"; exit 2; }

attacks: setup-dev ## 200,000 fuzzed tokens at both doors, 100,000 errors and a million paths at the layers (minutes)
	@TOCSIN_ATTACK=full $(BIN)/python -m pytest -q $(PATIENT) tests/e2e/test_access_attacks_fuzzed.py \
	  tests/e2e/test_console_door_daemon.py tests/asgi/test_storms_and_cardinality.py -k "fuzzed or storms"

soak: setup-dev  ## 10,000 seeds of the delivery simulation (SEEDS=500 for fewer); SEED=4711 replays one
	@$(BIN)/python -m tocsin.testing.soak $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),10000))

mutants: setup-dev ## bugs that the simulation must find, and the seed that finds each
	@$(BIN)/python -m tocsin.testing.soak --mutants

peers: setup-dev ## fetch the real peers that some tests and benchmarks stand beside (Debian's packages)
	@$(BIN)/python -m tocsin.testing.peers

clean:           ## remove what the targets above made
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .coverage .coverage.* .peers .demo
