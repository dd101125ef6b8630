# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
STAMP := $(VENV)/.installed

FUZZ_S ?= 120

.PHONY: ops-test monitor-test k8s demo test test-all lint format bench soak fuzz quality clean setup

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[test,lint]'
	touch $(STAMP)

demo: $(STAMP)  ## make small datasets with planted errors, audit them, print how well they were found
	$(BIN)/ray-audit demo

test: $(STAMP) lint  ## what CI runs
	$(BIN)/python -m pytest -m 'not slow'

test-all: $(STAMP) lint  ## the slow tests too
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## every benchmark (about an hour); writes benchmarks/results/ and docs/performance.md
	$(BIN)/python -m benchmarks.today
	$(BIN)/python -m benchmarks.relay
	$(BIN)/python -m benchmarks.vog
	$(BIN)/python -m benchmarks.columns
	$(BIN)/python -m benchmarks.confident
	$(BIN)/python -m benchmarks.hops
	$(BIN)/python -m benchmarks.payload
	$(BIN)/python -m benchmarks.decode
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.slices
	$(BIN)/python -m benchmarks.reliability
	$(BIN)/python -m benchmarks.tables

soak: $(STAMP)  ## kills drivers, actors and nodes for a quarter of an hour; every table must be right
	$(BIN)/python -m tests.faults.soak --minutes 15 --seed 0

fuzz: $(STAMP)  ## hostile bytes for the readers, guided by coverage; needs atheris
	$(BIN)/python -m tests.fuzz.fuzz_labels -max_total_time=$(FUZZ_S)
	$(BIN)/python -m tests.fuzz.fuzz_archives -max_total_time=$(FUZZ_S)

ops-test: $(STAMP)  ## jobs on a Ray cluster of its own, two nights, Prometheus (Debian: prometheus, prometheus-pushgateway)
	$(BIN)/python -m pytest tests/integration/test_operations.py

monitor-test: $(STAMP)  ## the part of it that asks Prometheus: numbers of the manifests, every query of the dashboard
	$(BIN)/python -m pytest tests/integration/test_operations.py -k 'prometheus or dashboard'

k8s: $(STAMP)  ## render k8s/base and the folders beside it from k8s/example.yaml
	$(BIN)/ray-audit render k8s k8s/example.yaml --to k8s --gpus 4 \
	  --image ghcr.io/example/ray-audit:0.1.0-ray2.60.0 \
	  --gpu-image ghcr.io/example/ray-audit:0.1.0-ray2.60.0-cuda

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

quality: $(STAMP)  ## how well the scores find label errors (hours); writes docs/quality.md
	$(BIN)/python -m benchmarks.quality
