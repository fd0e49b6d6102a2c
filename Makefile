# The course in two commands: `make lab` to study, `make test` to check. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help lab test test-unit test-notebooks test-processors test-live test-browser drill bench pretrained lint format notebooks \
	stamp hooks clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
CELL_TIMEOUT := 120
BROWSER_TESTS ?= tests/browser
LAB_ARGS ?=
# Notebooks run without a network: what asks for one is sent to a port where nobody answers
NO_NETWORK := HF_HUB_OFFLINE=1 http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 no_proxy=127.0.0.1,localhost
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
PIP_ARGS ?=

# Threads that wait must sleep: spinning ones make two cores ten times slower as soon as anything else runs beside them
export OMP_WAIT_POLICY ?= PASSIVE

# The first Python of at least 3.11 that can make an environment; `make lab PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)

# An environment that was moved, or whose Python is gone, is made anew
ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell $(BIN)/python -c "print(1)" 2>/dev/null),1)
.PHONY: $(STAMP)
endif
endif

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

lab: $(STAMP) ## install what is missing and open the notebooks in JupyterLab
	-@$(BIN)/python -m jupyter trust $(NOTEBOOKS) >/dev/null
	$(BIN)/python -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(AS_ROOT) $(LAB_ARGS)

test: test-unit test-notebooks ## unit tests, then every notebook re-run and compared with its stored outputs

test-unit: $(STAMP)
	$(BIN)/python -m pytest tests

test-notebooks: $(STAMP)
	$(NO_NETWORK) $(BIN)/python -m pytest -p tests.nbval_tolerance --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --durations=5 $(NOTEBOOKS)

test-processors: $(STAMP) ## the notebooks' stored outputs against other instruction sets and thread counts
	ATEN_CPU_CAPABILITY=default $(MAKE) test-notebooks
	ATEN_CPU_CAPABILITY=avx2 $(MAKE) test-notebooks
	MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 $(MAKE) test-notebooks
	COURSE_THREADS=1 $(MAKE) test-notebooks
	COURSE_THREADS=2 $(MAKE) test-notebooks

test-live: $(STAMP) ## as in a class: run each notebook, then its predictions and its plan's cells again in the same kernel
	$(NO_NETWORK) $(BIN)/python -m tools.again $(NOTEBOOKS)

test-browser: $(STAMP) ## run the notebooks in headless Chromium, move their sliders, keep screenshots in build/
	$(BIN)/python -m pytest -m browser $(BROWSER_TESTS) -s --durations=10

drill: $(STAMP) ## kill a training run a hundred times, resume it, and compare its final weights
	$(BIN)/python -m tools.drill --kills 100

bench: $(STAMP) ## speed of training and generation beside a plain GPT, nanoGPT's shape and transformers'
	$(BIN)/python -m tools.bench

pretrained: $(STAMP) ## make the course's own model again (hours; needs Debian's packages): make pretrained WORK=/some/folder
	@test -n "$(WORK)" || { echo "Where to? make pretrained WORK=/some/folder"; exit 1; }
	$(BIN)/python -m tools.pretrained --work $(WORK)

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
	rm -rf $(VENV) notebooks/.ipynb_checkpoints build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml helpers/lab.py
	@test -n "$(PYTHON)" || { echo "This course needs Python 3.11 or newer with its venv module, and none was found."; \
		echo "Install one (python.org; Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python),"; \
		echo "or name it: make lab PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "%s is Python %d.%d; this course needs 3.11 or newer: make lab PYTHON=/path/to/python3.12" % (sys.executable, v[0], v[1]))'
	@test -x $(BIN)/python && $(BIN)/python -c '' || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m helpers.lab >/dev/null
	@touch $(STAMP)
