# Every target does the set-up it needs, and nothing twice.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Named after the interpreter, so that make PYTHON=… does not go on with another one's environment.
READY := $(VENV)/.ready-$(notdir $(PYTHON))
SEGS_HOME ?= $(CURDIR)/.segs
export SEGS_HOME
DEMO_SECONDS ?= 120
FAULTS ?= 100
CASES ?= 5000
SEED ?= 1

.PHONY: help demo test torture torture-tests torture-api torture-alerts check bench clean docs

help:
	@echo "make demo    simulated meters, gateway, receiver, database: the whole way, live (DEMO_SECONDS=0: until Ctrl-C)"
	@echo "make test    every test but the long ones, on real servers"
	@echo "make torture faults of every kind over everything, and then the books (FAULTS=100 SEED=1; see CONTRIBUTING.md, Torture)"
	@echo "make torture-tests  the long tests: those that wait, repeat or fill for many seconds"
	@echo "make torture-api  made-up requests to every operation of the API for every role (CASES=5000 SEED=1)"
	@echo "make torture-alerts  alerts of quarter-hours and days by faults of simulated meters, in real time, half an hour"
	@echo "make check   style, types, import contracts"
	@echo "make bench   benchmarks, each a ratio against a limit or a peer of the same run"
	@echo "make docs    regenerate the generated documents"
	@echo "make clean   stop everything and remove the virtual environment and the data folder"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "SEGS needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12 …"; exit 1; }
	@version='import sys; print(sys.version)'; \
	  { test -f $(VENV)/pyvenv.cfg && test "$$($(BIN)/python -c "$$version" 2>&1)" = "$$($(PYTHON) -c "$$version")" && \
	    $(BIN)/python -m pip --version >/dev/null 2>&1; } || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "No virtual environment could be made; on Debian: apt install python3-venv"; rm -rf $(VENV); exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/segs demo --seconds $(DEMO_SECONDS)

# Four workers on two cores: much of their time is waiting. They keep to the order of tests/conftest.py. Tests start
# hundreds of processes of ours, each of which would compile what it imports if Python were told to keep no bytecode.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 4 --dist loadgroup --no-loadscope-reorder

test: $(READY)
	@$(PYTEST) -m "not long"

torture-tests: $(READY)
	@$(PYTEST) -m long

torture: $(READY)
	@$(BIN)/python -m tests.torture --faults $(FAULTS) --seed $(SEED)

torture-api: $(READY)
	@$(BIN)/python -m tests.torture_api --cases $(CASES) --seed $(SEED)

torture-alerts: $(READY)
	@$(BIN)/python -m tests.torture_alerts

check: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(READY)
	@$(BIN)/segs-cloud schema reference
	@$(BIN)/python -m edge.profiles.reference --output docs/meters.md
	@$(BIN)/segs-cloud openapi --output docs/openapi.json

bench: $(READY)
	@$(BIN)/python -m bench

clean:
	@test ! -x $(BIN)/segs || $(BIN)/segs stop
	rm -rf "$(VENV)"
# By name: SEGS_HOME may be a folder that holds other things too.
	cd "$(SEGS_HOME)" 2>/dev/null && rm -rf cache field keys log mosquitto postgres provider-secret run seed bench-* || true
	rmdir "$(SEGS_HOME)" 2>/dev/null || true
	rm -rf .pytest_cache .hypothesis .ruff_cache .mypy_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
