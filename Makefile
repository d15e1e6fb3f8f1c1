# Everything lives in .venv and is set up by what needs it. ARGS goes to the command: make up ARGS=--once
ARGS ?=
SHELL := /bin/bash

.PHONY: help environment up test lint wheel clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

environment: ## set up .venv: llama-server, packages, demo weights
	@scripts/environment.sh

up: environment ## set up, then run registry, node and gateway here; ARGS=--once exits after one chat
	@.venv/bin/waypost up $(ARGS)

test: environment ## set up, then run every test; ARGS="-k name" picks some
	@scripts/node_clients.sh
	@.venv/bin/python -m pytest $(ARGS)

lint: environment ## linter, formatter, type checker
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/python -m mypy scripts

wheel: environment ## build dist/*.whl and the source archive
	.venv/bin/python -m build --outdir dist

clean: ## remove all that was made here; built llama.cpp wheels stay in ~/.cache/waypost
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/clients/node_modules
