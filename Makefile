# Everything lives in .venv and is set up by what needs it. ARGS goes to the command: make up ARGS=--once
ARGS ?=
SHELL := /bin/bash
# `make test` runs as many test files beside each other. Most tests wait more than they compute.
PROCESSES ?= 3

.PHONY: help environment environment-all environment-dev up test kill-test busy-test soak gpu-test chain aleph-node \
  bench-registry bench-gas bench-endpoints bench-footprint bench-switching bench-relay bench-llama bench-resuming bench-balance bench-sizing image image-test image-repeat container-test lint wheel clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

environment: ## set up .venv: llama-server, packages, demo weights
	@scripts/environment.sh

environment-all: ## the same with every engine and its demo model, and what tests and linters take
	@scripts/environment.sh all dev

environment-dev:
	@scripts/environment.sh dev

up: ## set up, then run registry, node and gateway here; ARGS=--once exits after one chat; ARGS=--all serves every endpoint
	@scripts/environment.sh $(filter all,$(ARGS:--all=all))
	@.venv/bin/waypost up $(ARGS)

test: environment-all ## set up, then run every test, three files at a time; ARGS="-k name" picks some, PROCESSES=1 one at a time
	@scripts/node_packages.sh
	@scripts/network_tools.sh
	@.venv/bin/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

kill-test: environment-all ## set up, then kill nodes under running streams 100 times; ARGS="-k greedy" picks
	@WAYPOST_KILLS=$${WAYPOST_KILLS:-100} .venv/bin/python -m pytest tests/killing $(ARGS)

busy-test: environment-all ## set up, then 40 clients on 8 slots for 3 minutes, restarts under load, 3 days without a registry
	@scripts/network_tools.sh
	@WAYPOST_BUSY_S=$${WAYPOST_BUSY_S:-180} WAYPOST_AWAY_DAYS=$${WAYPOST_AWAY_DAYS:-3} .venv/bin/python -m pytest tests/busy $(ARGS)

soak: environment-all ## set up, then run the tests that take minutes each; ARGS="-k name" picks some
	@.venv/bin/python -m pytest -m soak $(ARGS)

gpu-test: ## build llama-server with CUDA in .venv-gpu, and test a node with it; says so where no NVIDIA GPU is
	@scripts/gpu_test.sh $(ARGS)

chain: environment ## a chain of one's own to try an EVM registry on: anvil on 127.0.0.1:8545
	@scripts/chain.sh $(ARGS)

aleph-node: environment-dev ## a stand-in for a node of the Aleph network, on 127.0.0.1:4024
	@.venv/bin/python -m tests.fakes.aleph_node --port 4024 --db .aleph-node.db $(ARGS)

image: environment-dev ## build the VM image into image/ (as root); ARGS="--bake FILE" puts weights in
	@scripts/vm_tools.sh
	@.venv/bin/waypost deploy image $(ARGS)

image-test: environment-dev ## build the VM image with the demo model, boot it twice in QEMU, chat with it through a gateway here
	@scripts/vm_tools.sh
	@.venv/bin/python -m tests.vm.image_test $(ARGS)

image-repeat: environment-dev ## build the VM image twice from one package cache: one digest
	@scripts/vm_tools.sh
	@.venv/bin/python -m tests.vm.image_repeat $(ARGS)

container-test: environment-dev ## build the container images (as root) and run docker-compose.yml's services to a chat; ARGS=--kept keeps layers
	@scripts/container_tools.sh
	@.venv/bin/python -m tests.container.container_test $(ARGS)

bench-registry: environment-dev ## what reading a registry costs; ARGS="1000 10000" are counts of adverts
	@.venv/bin/python -m bench.registry $(ARGS)

bench-gas: environment-dev ## what posting to an EVM registry costs
	@scripts/node_packages.sh chain
	@.venv/bin/python -m bench.gas

bench-endpoints: environment-all ## what a node adds to each endpoint; ARGS="--requests 100 --pairs 4 tokenize" picks
	@.venv/bin/python -m bench.endpoints $(ARGS)

bench-footprint: environment-dev ## what a model was estimated to take in memory, and what it takes
	@.venv/bin/python -m bench.footprint $(ARGS)

bench-switching: environment-dev ## what changing from one model to another takes
	@.venv/bin/python -m bench.switching $(ARGS)

bench-relay: environment-dev ## what a hop costs beside nginx, HAProxy, LiteLLM and Portkey; ARGS="--runs 5 --only nginx,gateway"
	@scripts/peers.sh
	@.venv/bin/python -m bench.relay $(ARGS)

bench-resuming: environment-dev ## what it costs to bring a broken stream to its end elsewhere; ARGS="--rounds 5"
	@.venv/bin/python -m bench.resuming $(ARGS)

bench-balance: environment-dev ## which node is asked: time to first token and prompts read, by policy; ARGS="--rounds 5"
	@.venv/bin/python -m bench.balance $(ARGS)

bench-llama: environment-dev ## what node and gateway cost before a real llama-server; ARGS="--pairs 5 --streams 1,8,16"
	@.venv/bin/python -m bench.llama $(ARGS)

bench-sizing: environment-dev ## what common models take on common GPUs, by the node's estimate
	@.venv/bin/python -m bench.sizing $(ARGS)

lint: environment-all ## linter, formatter, type checker
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/python -m mypy scripts

wheel: environment-dev ## build dist/*.whl and the source archive
	.venv/bin/python -m build --outdir dist

clean: ## remove all that was made here; built wheels and written models stay in ~/.cache/waypost
	rm -rf .venv .venv-gpu dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .chain .aleph-node.db* tests/clients/node_modules tests/chain/node_modules
