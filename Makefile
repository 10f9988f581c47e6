# Everything a checkout needs: `make demo` and `make test` set themselves up first.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test mutants check format services lock clean

BIN := .venv/bin
ARGS ?=
# Two processes, a file of tests each at a time: the suites start chains, brokers and a database of their own.
WORKERS ?= 2
PYTEST_ARGS ?=

help: ## List the targets
	@echo "make TARGET, where TARGET is one of:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv, node_modules and the tests' packages match the locks (PYTHON=/path/to/python3 to choose)
	@bash scripts/setup.sh

demo: setup ## Run the keeper's whole story on a local chain (ARGS="--json FILE")
	@$(BIN)/keeper demo $(ARGS)

test: check ## Run the checks, then every test (PYTEST_ARGS="-k name")
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --durations=5 $(PYTEST_ARGS)

mutants: setup ## Delete each check of the steward's contracts in turn; a test must fail (ARGS="--only limits.vy:147")
	@PYTHONPATH=tests $(BIN)/python -m mutants --jobs $(WORKERS) $(ARGS)

check: setup ## Run ruff, mypy --strict and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

format: setup ## Reformat the code and apply ruff's safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

services: ## Install the Mosquitto broker for its tests, where root and apt-get allow
	@bash scripts/services.sh

lock: ## Resolve pyproject.toml anew into the requirements locks (takes Python 3.11)
	@$${PYTHON:-python3.11} scripts/lock.py

clean: ## Remove what set-up, checks and the demo made; journals stay
	rm -rf .venv node_modules .cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
	rm -f .setup-running demo-report.json demo-report.html
	find config models chain keeper tests -name __pycache__ -type d -prune -exec rm -rf {} +
