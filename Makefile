# The course in two commands: `make lab` to study, `make test` to check. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help lab test test-unit test-notebooks test-browser lint format notebooks stamp hooks clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
CELL_TIMEOUT := 120
LAB_ARGS ?=
PIP_ARGS ?=

# The first Python of at least 3.11 that can make an environment; `make lab PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

lab: $(STAMP) ## install what is missing and open the notebooks in JupyterLab
	@$(BIN)/jupyter trust $(NOTEBOOKS) >/dev/null
	$(BIN)/jupyter lab --notebook-dir=notebooks $(LAB_ARGS)

test: test-unit test-notebooks ## unit tests, then every notebook re-run and compared with its stored outputs

test-unit: $(STAMP)
	$(BIN)/python -m pytest tests

test-notebooks: $(STAMP)
	$(BIN)/python -m pytest -p tests.nbval_tolerance --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --durations=5 $(NOTEBOOKS)

test-browser: $(STAMP) ## run the notebooks in headless Chromium, move their sliders, keep screenshots in build/
	$(BIN)/python -m pytest -m browser tests/browser -s

lint: $(STAMP) ## style of code and notebooks, badges and first cells up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/notebooks.py stamp --check
	$(BIN)/python tools/notebooks.py tidy --check

format: $(STAMP) ## put code and notebooks into that style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/notebooks.py tidy

notebooks: $(STAMP) ## re-execute every notebook and store its outputs
	$(BIN)/python tools/notebooks.py run

stamp: $(STAMP) ## write the repository's address from pyproject.toml into badges and first cells
	$(BIN)/python tools/notebooks.py stamp

hooks: $(STAMP) ## check style at every commit (pre-commit)
	$(BIN)/pre-commit install

clean: ## remove the environment and everything that was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "This course needs Python 3.11 or newer with its venv module, and none was found."; \
		echo "Install one (python.org; Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python),"; \
		echo "or name it: make lab PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"{sys.executable} is Python {v[0]}.{v[1]}; this course needs 3.11 or newer: make lab PYTHON=/path/to/python3.12")'
	@test -x $(BIN)/python && $(BIN)/python -c '' || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
