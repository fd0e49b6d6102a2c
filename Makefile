# The course in two commands: `make lab` to study, `make test` to check. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help lab test smollm2 test-unit test-notebooks test-processors test-avx2 test-live test-portuguese test-colab colab test-browser drill bench gpu pretrained student site crawl handouts slides lint format notebooks \
	stamp translate hooks clean

VENV := .venv
ifneq ($(words $(VENV)),1)
$(error VENV must be one folder, without spaces: "$(VENV)")
endif
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A mark that the published model of notebook 11 was asked for: once for each environment, with a network or without
ASKED := $(VENV)/.smollm2
# What only pages and PDFs need
SITE_STAMP := $(VENV)/.site
COLAB_BIN := .venv-colab/bin
# The course's notebooks in a folder, by their names: copies and trials beside them are the reader's own
numbered = $(addprefix $(1)/,$(shell ls $(1) | LC_ALL=C grep -x '[0-9][0-9]_[a-z0-9_]*[.]ipynb'))
# Of the Portuguese edition two: the rest in test-portuguese
NOTEBOOKS = $(call numbered,notebooks) $(filter pt-BR/notebooks/02_% pt-BR/notebooks/04_%,$(call numbered,pt-BR/notebooks))
CELL_TIMEOUT := 120
# Tests run on two processes with a thread each; what stands in one file, or one notebook, stays together: WORKERS=0 is none
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist loadfile
BROWSER_TESTS ?= tests/browser
LAB_ARGS ?=
# Notebooks run without a network: what asks for one is sent to a port where nobody answers
NO_NETWORK := HF_HUB_OFFLINE=1 http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 no_proxy=127.0.0.1,localhost
# A processor that has AVX2 and nothing newer
AVX2 := MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Haswell \
	NPY_DISABLE_CPU_FEATURES='X86_V4 AVX512_ICL AVX512_SPR'
EDITION := $(if $(filter pt%,$(LANGUAGE)),pt-BR/)
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
PIP_ARGS ?=

# Threads that wait must sleep: spinning ones make two cores ten times slower as soon as anything else runs beside them
export OMP_WAIT_POLICY ?= PASSIVE
# What a shell sets for other Pythons would put their packages before the course's, keep its Python from starting, or take
# out of it what tests assert and what commands say of themselves
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS PYTHONINSPECT
# A reader's json.py beside this file is no module of Python's; notebooks may still import from their own folder
export PYTHONSAFEPATH := 1

# Where HOME, or Jupyter's folder in it, takes no file: one beside the environment takes what Jupyter, Matplotlib and
# downloads keep there
ifneq ($(shell test -d "$$HOME" && test -w "$$HOME" && d="$${XDG_DATA_HOME:-$$HOME/.local/share}/jupyter/runtime" \
	&& until test -e "$$d"; do d=$$(dirname "$$d"); done && f=$$(mktemp "$$d/XXXXXX" 2>/dev/null) \
	&& { { echo 1 >"$$f"; } 2>/dev/null && echo 1; rm -f "$$f"; }),1)
unexport XDG_DATA_HOME
export HOME := $(shell { mkdir -p "$(VENV).home" 2>/dev/null && cd "$(VENV).home" || cd "$$(mktemp -d)"; } && pwd)
export PIP_NO_CACHE_DIR := 1
$(info HOME, or Jupyter's folder in it, cannot be written: settings and downloads go to $(HOME))
endif

# Matplotlib lists the machine's fonts once, for all Pythons. Where it did so while an environment was being removed, the
# list lacks its own fonts from then on, and every figure with a logarithmic axis warns of it. Here it keeps another list
ifneq ($(shell test -e $(VENV) && ! test -w $(VENV) && echo 1),1)
export MPLCONFIGDIR ?= $(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)/matplotlib
endif

# The first Python of at least 3.11 that can make an environment; `make lab PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	command -v $$p >/dev/null 2>&1 && $$p -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$p; break; }; done)

# An environment that was cut short, or whose Python is gone, is made anew; one that moved with the course goes on
ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell $(BIN)/python -I tools/install.py --whole $(VENV) 2>/dev/null && echo 1),1)
.PHONY: $(STAMP)
endif
endif

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

lab: $(STAMP) $(ASKED) ## install what is missing and open the notebooks in JupyterLab; in Portuguese: make lab LANGUAGE=pt_BR
	-@$(BIN)/python -m tools.notebooks trust
	env -u PYTHONSAFEPATH $(BIN)/python -P -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/$(EDITION)notebooks $(AS_ROOT) $(LAB_ARGS)

test: $(STAMP) $(ASKED) ## unit tests, then every notebook re-run and compared with its stored outputs
	@failed=0; $(MAKE) test-unit || failed=1; $(MAKE) test-notebooks || failed=1; exit $$failed

smollm2: $(STAMP) ## fetch the published model of notebook 11 (98 MB, once), where `make lab` had no network
	$(BIN)/python -m helpers.storage.weights smollm2-135m

$(ASKED): | $(STAMP)
	@$(BIN)/python -m helpers.storage.weights smollm2-135m || echo "Notebook 11 will show a stand-in; make smollm2 tries again."
	@touch $@ 2>/dev/null || true

test-unit test-notebooks: export COURSE_THREADS ?= 1
test-avx2: export COURSE_THREADS ?= 2

test-unit: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) tests

test-notebooks: $(STAMP)
	$(NO_NETWORK) $(BIN)/python -m pytest -p tests.nbval_tolerance --nbval --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --durations=5 $(PARALLEL) $(NOTEBOOKS)

test-processors: $(STAMP) ## unit tests and notebooks as other processors and thread counts compute them
	$(AVX2) $(MAKE) test
	ATEN_CPU_CAPABILITY=default $(MAKE) test
	COURSE_THREADS=2 $(MAKE) test

test-avx2: $(STAMP) ## the short form of it: what is computed with floats, and three notebooks, without AVX-512 and AMX, on two threads
	$(AVX2) $(BIN)/python -m pytest $(PARALLEL) tests/gpt tests/labs/test_pretrain_sharded.py
	$(AVX2) $(MAKE) test-notebooks NOTEBOOKS='notebooks/02_the_loss_in_six_steps.ipynb notebooks/04_the_training_loop.ipynb notebooks/10_scaling_laws.ipynb'

colab: $(STAMP) ## one zip for Colab: upload it there or to Drive
	$(BIN)/python -m tools.colab

test-colab: $(STAMP) ## first cells and all notebooks with Colab's versions (3 GB, once): make test-colab PYTHON=python3.12
	$(BIN)/python -m tools.colab --out build/pretraining-a-gpt.zip
	$(COLAB_BIN)/python -c 'import pip._internal.cli.main' 2>/dev/null || $(PYTHON) -m venv --clear .venv-colab
	$(COLAB_BIN)/python -m pip install --quiet -r tests/colab/requirements.txt
	COURSE_ZIP="$(CURDIR)/build/pretraining-a-gpt.zip" $(COLAB_BIN)/python -m pytest -c tests/colab/pytest.ini tests/colab

test-live: $(STAMP) ## as in a class: run each notebook, then its predictions and its plan's cells again in the same kernel
	$(NO_NETWORK) $(BIN)/python -m tools.again $(NOTEBOOKS)

test-portuguese: $(STAMP) ## the notebooks of the Portuguese edition, run again and compared with their stored outputs
	$(MAKE) test-notebooks NOTEBOOKS="$(call numbered,pt-BR/notebooks)"

test-browser: $(STAMP) ## run the notebooks in headless Chromium, move their sliders, keep screenshots in build/
	$(BIN)/python -m pytest -m browser $(PARALLEL) $(BROWSER_TESTS) -rP --durations=10

drill: $(STAMP) ## kill a training run a hundred times, resume it, and compare its final weights
	$(BIN)/python -m tools.drill --kills 100

bench: $(STAMP) ## speed of training and generation beside a plain GPT, nanoGPT's shape and transformers'
	$(BIN)/python -m tools.bench

gpu: $(STAMP) ## eight minutes of measurements on a GPU, into notebooks/data and build/gpu.json; it goes on where it was
	$(BIN)/python -m tools.gpu

pretrained: $(STAMP) ## make the course's own model again (hours; needs Debian's packages): make pretrained WORK=/some/folder
	@test -n "$(WORK)" || { echo "Where to? make pretrained WORK=/some/folder"; exit 1; }
	$(BIN)/python -m tools.pretrained --work $(WORK)

student: $(STAMP) ## the course without solutions and answers, into build/student: what students get
	$(BIN)/python -m tools.student

slides: $(STAMP) ## the projector edition, a deck for each class in both languages, into build/slides (npm fetches reveal.js, once)
	$(BIN)/python -m tools.slides

site: $(SITE_STAMP) ## both editions as static pages, into build/site; with QR codes: make site ADDRESS=https://where.it/will/be
	$(BIN)/python -m tools.site $(if $(ADDRESS),--address $(ADDRESS))

crawl: $(STAMP) ## open every page of build/site in headless Chromium, at 1280 and 390 px, and move its cards
	$(BIN)/python -m pytest -m 'browser or crawl' -n $(WORKERS) tests/browser/test_site.py tests/browser/test_slides_in_browser.py

handouts: $(SITE_STAMP) ## a page of paper for each class, the lecture notes and the exam, as PDFs in both languages
	$(BIN)/python -m tools.handouts

$(SITE_STAMP): requirements-site.txt | $(STAMP)
	@echo "Installing what makes pages and PDFs, once"
	@$(BIN)/python -m pip install --quiet -r requirements-site.txt -c requirements.txt \
		|| { echo "What makes pages and PDFs was not installed, for the reason above: once it needs a network and room in $(VENV)."; exit 1; }
	@touch $@

lint: $(STAMP) ## style of code and notebooks, badges and first cells up to date, both editions in step
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m tools.notebooks stamp --check
	$(BIN)/python -m tools.notebooks tidy --check
	$(BIN)/python -m tools.translate gate

format: $(STAMP) ## put code and notebooks into that style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m tools.notebooks tidy

notebooks: $(STAMP) ## re-execute every notebook and store its outputs
	$(BIN)/python -m tools.notebooks run

stamp: $(STAMP) ## write the repository's address from pyproject.toml into badges and first cells
	$(BIN)/python -m tools.notebooks stamp

translate: $(STAMP) ## catalogues in step with the English, then the Portuguese edition, executed where its code is new
	$(BIN)/python -m tools.translate update
	$(BIN)/python -m tools.translate build

hooks: $(STAMP) ## check style at every commit (pre-commit)
	$(BIN)/python -m pre_commit install

# What shows that the environment is ours goes last: interrupted before, make still knows it; of a link only the link goes
clean: ## remove the environment and everything that was built
	@if test -L $(VENV:%/=%); then rm $(VENV:%/=%); \
	elif test -e $(VENV)/.installed || test -e $(VENV)/.unfinished; then touch $(VENV)/.unfinished; \
		find $(VENV) -mindepth 1 -maxdepth 1 ! -name .installed ! -name .unfinished -exec rm -rf {} + && rm -rf $(VENV); \
	elif test -d $(VENV); then rmdir $(VENV) 2>/dev/null || echo "make did not make $(VENV): it stays"; fi
	rm -rf $(VENV:%/=%).home notebooks/.ipynb_checkpoints build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml helpers/lab.py
	@test -n "$(PYTHON)" || { echo "This course needs Python 3.11 or newer with its venv module, and none was found."; \
		echo "Install one (python.org; Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python),"; \
		echo "or name it: make lab PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -Es -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "%s is Python %d.%d; this course needs 3.11 or newer: make lab PYTHON=/path/to/python3.12" % (sys.executable, v[0], v[1]))'
	@$(PYTHON) -I tools/install.py $(VENV) $(STAMP) $(PIP_ARGS)
