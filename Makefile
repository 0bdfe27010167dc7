# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help demo test test-browser test-slow test-faults check docs bench base-model clean
.DEFAULT_GOAL := help

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,check,docs]'
	touch $@

demo: $(VENV)/.installed  ## Run the quickstart's first three generations: unselected, voted, human only
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo

# The files in their order: xdist would leave those with few tests for the end, which take longest.
test: $(VENV)/.installed  ## Run the test suite
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder -m 'not browser and not slow and not faults'

test-browser: $(VENV)/.installed  ## Run the tests of the page in a real browser (needs a Chromium)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[browser]'
	$(BIN)/pytest -m browser -rs

test-slow: $(VENV)/.installed  ## Run the tests that take minutes each, and those on a real Ray
	$(BIN)/pytest -m slow

test-faults: $(VENV)/.installed  ## Run the sweeps of faults, with TEXTMAD_FUZZ=N mutated inputs (20,000)
	$(BIN)/pytest -n auto --dist worksteal -m faults

check: $(VENV)/.installed  ## Lint, format check, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed  ## Build the handbook's site in build/docs and check its links
	$(BIN)/sphinx-build -c docs -b html -W --keep-going . build/docs
	$(BIN)/sphinx-build -c docs -b linkcheck -q -W --keep-going -D nb_execution_mode=off . build/linkcheck

bench: $(VENV)/.installed  ## Measure textmad beside the plain way of doing the same work
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/bench

base-model: $(VENV)/.installed  ## Train data/tiny-gpt2 anew
	$(BIN)/python scripts/base_model.py

clean:  ## Remove the virtual environment and caches, not the runs
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
