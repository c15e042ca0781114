# `make` alone prints the targets. Everything runs in .venv, which the first target that needs it builds, but for
# Meta-World, whose mujoco is another one.

PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo

# The demo's length, and further options for its training and its evaluation.
ITERATIONS ?= 100
DEMO_ARGS ?=
EVALUATE_ARGS ?=

# How long `make soak` takes.
SOAK_MINUTES ?= 60
SOAK_CONFIGS ?= 2000

.DEFAULT_GOAL := help
.PHONY: help demo test test-faults soak test-thirdparty test-metaworld lint format clean python

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.installed  ## train, evaluate and report MAML on point-goal in runs/demo (ITERATIONS=100)
	@if [ -e $(DEMO) ]; then echo "Removing the previous $(DEMO)"; rm -rf $(DEMO); fi
	$(BIN)/metarl train maml --family point-goal --iterations $(ITERATIONS) --out $(DEMO) $(DEMO_ARGS)
	$(BIN)/metarl evaluate $(DEMO) --baselines random pretrained oracle $(EVALUATE_ARGS)
	$(BIN)/metarl report $(DEMO)

test: lint  ## lint, then run every test but those of test-faults
	$(BIN)/pytest --ignore tests/faults

test-faults: .venv/.installed  ## kill, damage, fill up, attack: nothing is lost and no one let in
	$(BIN)/pytest tests/faults

soak: .venv/.installed  ## train under SIGKILL for SOAK_MINUTES=60, then try SOAK_CONFIGS=2000 configurations
	$(BIN)/python tests/faults/soak.py --minutes $(SOAK_MINUTES)
	METARL_EXAMPLES=$(SOAK_CONFIGS) $(BIN)/pytest -n 0 tests/faults/test_any_config.py

test-thirdparty: .venv/.thirdparty  ## meta-train environments that others wrote, from the package index
	$(BIN)/pytest tests/thirdparty

test-metaworld: .venv-metaworld/.installed  ## test the Meta-World families, in .venv-metaworld
	.venv-metaworld/bin/pytest tests/meta_world

lint: .venv/.installed  ## ruff, mypy and the import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: .venv/.installed  ## sort imports and format all Python files
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## remove the virtual environments and every cache (runs/ stays)
	rm -rf .venv .venv-metaworld dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find metarl envs tests -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@command -v $(PYTHON) >/dev/null || { echo "metarl needs Python 3.11 or newer: no $(PYTHON) found; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "metarl needs Python 3.11 or newer: $(PYTHON) is $$($(PYTHON) --version 2>&1); set PYTHON=/path/to/python3.11" >&2; exit 1; }

.venv/.installed: pyproject.toml constraints.txt | python
	@echo "Installing metarl and its development tools into .venv (a few minutes the first time)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

.venv/.thirdparty: .venv/.installed
	@echo "Installing third-party environments into .venv"
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e ".[thirdparty]"
	@touch $@

.venv-metaworld/.installed: pyproject.toml constraints.txt constraints-metaworld.txt | python
	@echo "Installing metarl with Meta-World into .venv-metaworld (a few minutes the first time)"
	@$(PYTHON) -m venv --clear .venv-metaworld
	@grep -v '^mujoco==' constraints.txt >.venv-metaworld/constraints.txt
	@.venv-metaworld/bin/pip install -qq --disable-pip-version-check -c .venv-metaworld/constraints.txt \
		-c constraints-metaworld.txt -e ".[metaworld]" pytest pytest-xdist hypothesis beartype
	@touch $@
