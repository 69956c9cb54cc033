# make quickstart   install, fetch the model, run the loop, print the path of its report
# make test         install with the tools, run the tests
# make lint         style, types and import rules
# make bench        training side by side with the peers, into bench/results/; BENCH="--data FILE" for other comparisons
# make bench-people judging: 200 raters at once, and side by side with Potato in a browser (an hour and a half)
# make bench-help   what help is worth to simulated raters, and whether the statistics hold (an hour and a half)
# make docs         the reference from the code, and tables from what was measured

PYTHON ?= python3
WORKERS ?= 3
MODEL := smollm2-135m

VENV := .venv
BENCH_VENV := .bench-venv
POTATO_VENV := .potato-venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
INSTALLED_DEV := $(VENV)/installed-dev
INSTALLED_BENCH := $(BENCH_VENV)/installed
# Progress for people; into a log only what went wrong.
QUIET := $(shell test -t 2 || echo --quiet)
PIP_INSTALL := -m pip install --disable-pip-version-check $(QUIET) -c constraints.txt

export PIP_ROOT_USER_ACTION ?= ignore

.PHONY: quickstart test lint bench bench-people bench-help docs install dev help clean

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

quickstart: $(INSTALLED)
	@$(BIN)/kilter models pull $(MODEL)
	@$(BIN)/kilter run recipes/quickstart.yaml

install: $(INSTALLED)

dev: $(INSTALLED_DEV)

# One thread per worker; a worker more than cores, for browsers, servers and other processes are waited for.
test: $(INSTALLED_DEV)
	@$(BIN)/kilter models pull $(MODEL) || echo "Without the model, the tests that need it are skipped."
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(INSTALLED_BENCH)
	@$(BENCH_VENV)/bin/kilter models pull $(MODEL)
	$(BENCH_VENV)/bin/python bench/training.py $(BENCH)

bench-people: $(INSTALLED_DEV) $(POTATO_VENV)/installed
	$(BIN)/python bench/raters.py
	$(BIN)/python bench/raters.py --kills 10
	$(BIN)/python bench/raters.py --postgresql
	$(BIN)/python bench/raters.py --postgresql --kills 10
	$(BIN)/python bench/judging.py --potato $(POTATO_VENV)/bin/potato

bench-help: $(INSTALLED_DEV)
	$(BIN)/python bench/oversight.py --testbeds stories code
	$(BIN)/python bench/critics.py

docs: $(INSTALLED_DEV)
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_scale.py
	$(BIN)/python docs/make_oversight.py

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing into $(VENV) (some minutes the first time) ..."
	@$(BIN)/python $(PIP_INSTALL) -e .
	@touch $@

# Both stamps: what has the tools also has what the quickstart needs.
$(INSTALLED_DEV): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing with the tools into $(VENV) (some minutes the first time) ..."
	@$(BIN)/python $(PIP_INSTALL) -e ".[dev]"
	@touch $(INSTALLED) $@

$(INSTALLED_BENCH): pyproject.toml constraints.txt bench/requirements.txt | $(BENCH_VENV)/bin/pip
	@echo "Installing with the peers into $(BENCH_VENV) (some minutes the first time) ..."
	@$(BENCH_VENV)/bin/python $(PIP_INSTALL) -e . -r bench/requirements.txt
	@touch $@

# Potato pins libraries otherwise than Kilter does, so it lives apart.
$(POTATO_VENV)/installed: | $(POTATO_VENV)/bin/pip
	@$(POTATO_VENV)/bin/python -m pip install --disable-pip-version-check $(QUIET) potato-annotation==2.12.1
	@touch $@

# bin/pip is the last thing that venv makes, so a half-made environment is made again.
%/bin/pip:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no '$(PYTHON)' here. Install Python 3.11 or newer, or name yours: make PYTHON=/path/to/python3"; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Kilter needs Python 3.11 or newer; '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1). Name a newer one: make PYTHON=python3.11"; \
	  exit 1; }
	@"$(PYTHON)" -m venv $* || { \
	  echo "'$(PYTHON)' cannot make a virtual environment. On Debian and Ubuntu its package python3-venv is missing."; \
	  exit 1; }
