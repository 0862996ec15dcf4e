# Each target does its whole set-up: a virtual environment, the install, the run.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Where this is set, every process that a run or a test starts compiles all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo demo-select demo-synthesize test lint bench clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	$(BIN)/python -m curate.warm
	touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test,neural]"
	touch $@

$(VENV)/neural: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[neural]"
	touch $@

# Makes a small pool of spoilt documents, trains on it, scores, filters and releases it.
demo: $(VENV)/installed
	$(BIN)/python configs/quickstart/generate.py build/quickstart
	$(BIN)/curate run configs/quickstart/pipeline.yaml
	$(BIN)/python configs/quickstart/check.py runs/quickstart

# Makes a pool of conversations of several tasks, and selects those that serve one of them, five ways.
demo-select: $(VENV)/neural
	$(BIN)/python configs/quickstart/conversations.py build/conversations
	$(BIN)/curate run configs/quickstart/selection.yaml --workers 1
	$(BIN)/python configs/quickstart/check_selection.py runs/quickstart-selection arithmetic

# Makes questions for a small classifier out of six label names, by answers that are recorded, and tests what it learns.
demo-synthesize: $(VENV)/installed
	$(BIN)/curate run configs/quickstart/questions.yaml --replay

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

bench: $(VENV)/tested
	$(BIN)/python benchmarks/scoring.py

clean:
	rm -rf $(VENV) build runs
