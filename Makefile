# make train | lab | test: each sets up .venv on first use; nothing else has to be done by hand.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] < (3,13))' 2>/dev/null && { echo $$p; break; }; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PRESET ?= quick
TESTS  ?= tests
OUT    ?= runs/$(PRESET)
export TOKENIZERS_PARALLELISM = false

.PHONY: train lab test setup readme clean-notebooks check-notebooks smoke
.DEFAULT_GOAL := help

help:
	@echo 'make train   train an agent from the tutorial notebook; results in $(OUT) (PRESET=smoke for a one-minute tour)'
	@echo 'make lab     open JupyterLab on the tutorials'
	@echo 'make test    notebooks, tests, and the whole pipeline in small'

setup: $(READY)

# -qq: errors in full, no warnings about how others build their packages.
# CPU torch where there is no GPU: the index of CPU builds is tried first, the package index serves otherwise.
$(READY): constraints.txt settings.ini setup.py
	@test -n "$(PYTHON)" || { echo 'stephrl needs Python 3.11 or 3.12 (python3 -V says: '"$$(python3 -V 2>&1)"'); make PYTHON=/path/to/python3.11 ...'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --upgrade pip
	@command -v nvidia-smi >/dev/null 2>&1 || $(BIN)/pip install -qq --no-deps --retries 0 --timeout 15 \
	  --index-url https://download.pytorch.org/whl/cpu -c constraints.txt torch >/dev/null 2>&1 || true
	$(BIN)/pip install -qq -c constraints.txt -e '.[dev]'
	@command -v cmake >/dev/null || $(BIN)/pip install -qq 'cmake<4' || true
	@if command -v g++ >/dev/null; then echo 'a compiler is here: installing ALFWorld, too (about two minutes)'; \
	  PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pip install -qq -c constraints.txt -e '.[alfworld]' || echo 'ALFWorld could not be installed; everything else works'; \
	  else echo 'no g++: ALFWorld is left out (its planner is compiled); everything else works'; fi
	@touch $(READY)

train: $(READY)
	$(BIN)/stephrl notebook tutorials/01_full_train.ipynb --preset $(PRESET) --out $(OUT)

lab: $(READY)
	$(BIN)/jupyter lab tutorials

test: $(READY) check-notebooks
	$(BIN)/nbdev_test --path nbs --n_workers 2 --do_print
	$(BIN)/pytest -q $(TESTS)
	$(MAKE) --no-print-directory smoke

# the tutorial with the smoke preset: the whole pipeline in about a minute
smoke: $(READY)
	rm -rf runs/smoke-test
	$(BIN)/stephrl notebook tutorials/01_full_train.ipynb --preset smoke --out runs/smoke-test

# what is exported and what is written down agree with the notebooks (in a scratch copy: nothing of yours is touched)
check-notebooks: $(READY)
	$(BIN)/python .ci/check_notebooks.py

readme: $(READY)
	$(BIN)/python .ci/check_notebooks.py --write-readme
