# Two commands on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
STAMP := $(VENV)/.installed

# Pins that stand above the lowest: where an index has a light build of one version only.
KEEP ?=
# Whatever starts Ray runs in one of the processes, and shares a cluster: see tests/conftest.py.
WORKERS ?= 2
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile
# What `check` runs, and `unit` and `test` need not run again.
CHECKED := tests/docs tests/unit/test_imports.py
FUZZ_S ?= 120
FUZZ_ENGINE_MIN ?= 10
FUZZ_ENGINE_SEED ?= 0

.PHONY: bench changelog check clean cluster-test correction demo docs doctests export-test format fuzz fuzz-engine gpu in-step k8s lint lock lowest-test monitor-test ops-test page-test prometheus quality release setup soak test test-all unit wheel-test zoo-test

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[test,lint]'
	touch $(STAMP)

demo: $(STAMP)  ## make small datasets with planted errors, audit them, print how well they were found
	$(BIN)/ray-audit demo

check: $(STAMP)  ## seconds: lint, types, doctests, pages in step with the code
	+$(MAKE) --jobs=2 --output-sync=target --no-print-directory in-step lint doctests

in-step: $(STAMP)
	$(BIN)/python -m pytest -q $(CHECKED)

doctests: $(STAMP)
	$(BIN)/python -m pytest -q --doctest-modules ray_audit

changelog: $(STAMP)  ## what the next release will say
	$(BIN)/towncrier build --draft --version next

unit: $(STAMP)  ## two minutes: no audits, no trainings, no Ray; what `check` holds is not held again
	$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) tests/unit $(CHECKED:%=--ignore=%)

test: $(STAMP) check  ## what CI runs, in two processes
	$(BIN)/python -m pytest -m 'not slow' $(SIDE_BY_SIDE) $(CHECKED:%=--ignore=%)

test-all: $(STAMP) check  ## the slow tests too
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(CHECKED:%=--ignore=%)

wheel-test: $(STAMP)  ## builds the wheel, installs it elsewhere, and runs commands and a rendered night from it
	$(BIN)/python -m pytest -q tests/functional/test_wheel.py

# By uv where the tests' packages come in: pip would look for versions that go with these for most of an hour.
lowest-test:  ## the suite with the lowest versions that pyproject.toml allows, in an environment of its own
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --upgrade pip
	$(PYTHON) -m tests.versions.lowest compiled medical plots --keep $(KEEP) > $(VENV)-lowest/lowest.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint $(VENV)-lowest/lowest.txt --editable '.[compiled,medical,plots]'
	$(VENV)-lowest/bin/python -m pip install --quiet uv
	$(VENV)-lowest/bin/uv pip install --quiet --python $(VENV)-lowest/bin/python --constraint $(VENV)-lowest/lowest.txt --editable '.[test]'
	$(VENV)-lowest/bin/python -m pytest -m 'not slow'

docs: $(STAMP)  ## the docs as a site, in build/site; runs the notebook, and fails at a broken link
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs,plots]'
	$(BIN)/sphinx-build -W --keep-going -q -c docs/site -d build/doctrees -b html docs build/site
	@echo "build/site/index.html"

release: $(STAMP)  ## builds sdist and wheel, and tries the wheel where nothing else is
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[release]'
	rm -rf dist build/lib
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m tests.versions.released dist

lock: $(STAMP)  ## the image's packages with their hashes; torch, whose build is chosen, is not among them
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[release]'
	echo "torch ; python_version < '0'" > $(VENV)/without-torch.txt
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
	  --extra medical --constraints constraints.txt --overrides $(VENV)/without-torch.txt \
	  --output-file k8s/requirements.txt pyproject.toml

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What decides most comes first. BEFORE: an earlier checkout, with which `crates` compares this one.
BEFORE ?=

bench: $(STAMP)  ## every benchmark (hours); writes benchmarks/results/ and docs/performance.md
	$(BIN)/python -m benchmarks.today
	$(BIN)/python -m benchmarks.relay
	$(BIN)/python -m benchmarks.crates $(BEFORE:%=--before %)
	$(BIN)/python -m benchmarks.device
	$(BIN)/python -m benchmarks.overlap
	$(BIN)/python -m benchmarks.last_checkpoint
	$(BIN)/python -m benchmarks.confident
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.reduction
	$(BIN)/python -m benchmarks.planning
	$(BIN)/python -m benchmarks.planner
	$(BIN)/python -m benchmarks.vog
	$(BIN)/python -m benchmarks.columns
	$(BIN)/python -m benchmarks.prefix
	$(BIN)/python -m benchmarks.hops
	$(BIN)/python -m benchmarks.payload
	$(BIN)/python -m benchmarks.locality
	$(BIN)/python -m benchmarks.decode
	$(BIN)/python -m benchmarks.slices
	$(BIN)/python -m benchmarks.reliability --only nights --repeats 2
	$(BIN)/python -m benchmarks.reliability --only faults --repeats 2
	$(BIN)/python -m benchmarks.adaptive
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.tables

soak: $(STAMP)  ## kills drivers, actors, nodes and raylets for a quarter of an hour; every table must be right
	$(BIN)/python -m tests.faults.soak --minutes 15 --seed 0

fuzz: $(STAMP)  ## hostile bytes for the readers, guided by coverage; needs atheris
	$(BIN)/python -m tests.fuzz.fuzz_labels -max_total_time=$(FUZZ_S)
	$(BIN)/python -m tests.fuzz.fuzz_archives -max_total_time=$(FUZZ_S)

fuzz-engine: $(STAMP)  ## random specifications and nights, with errors and kills, against an oracle and fresh runs
	$(BIN)/python -m tests.fuzz.fuzz_engine --minutes $(FUZZ_ENGINE_MIN) --seed $(FUZZ_ENGINE_SEED)

page-test: $(STAMP)  ## the report's page in headless Chromium (Debian: chromium); nothing is skipped
	[ -n "$$(which chromium chromium-browser google-chrome)" ] || \
	  { apt-get update && apt-get install --yes --no-install-recommends chromium; }
	RAY_AUDIT_REQUIRE_CHROMIUM=1 $(BIN)/python -m pytest tests/pages

PROMETHEUS := prometheus prometheus-pushgateway

prometheus:  ## installs Prometheus and its Pushgateway (Debian's packages) where they are missing
	@which promtool $(PROMETHEUS) > /dev/null || \
	  apt-get install --yes --no-install-recommends $(PROMETHEUS) || \
	  echo "Prometheus is missing, and apt-get could not install it: what needs it will be skipped"

ops-test: $(STAMP) prometheus  ## the whole chain: a Ray cluster, jobs, two nights with changed data, their diff, Prometheus
	$(BIN)/python -m pytest -v -s tests/integration/test_operations.py

monitor-test: $(STAMP) prometheus  ## its short form: the two nights, Prometheus' numbers, alerts, every query of the dashboard
	$(BIN)/python -m pytest -v -s tests/functional/monitoring tests/integration/test_operations.py \
	  -k 'monitoring or second_night or prometheus or dashboard'

cluster-test: $(STAMP)  ## manifests and starter on the Kubernetes API server of KUBECONFIG; fails where there is none
	$(BIN)/python -m tests.cluster.check

export-test: $(STAMP)  ## every export read by the tools' own packages, in an environment of their own (2 GB)
	$(PYTHON) -m venv $(VENV)-readers
	$(VENV)-readers/bin/python -m pip install --quiet -r tests/readers/requirements.txt
	rm -rf $(VENV)-readers/written
	$(BIN)/python -m tests.readers.written $(VENV)-readers/written
	$(VENV)-readers/bin/python tests/readers/read.py $(VENV)-readers/written

zoo-test:  ## real models by checkpoints of their own trainers, in an environment of their own (2 GB); losses against a plain loop
	$(PYTHON) -m venv $(VENV)-zoo
	$(VENV)-zoo/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[medical]' -r tests/zoo/requirements.txt
	$(VENV)-zoo/bin/python -m pip install --quiet --no-deps -r tests/zoo/without-dependencies.txt
	HF_HUB_OFFLINE=1 $(VENV)-zoo/bin/python -m tests.zoo.check

k8s: $(STAMP)  ## render k8s/base and the folders beside it from k8s/example.yaml
	$(BIN)/ray-audit render k8s k8s/example.yaml --to k8s --gpus 4 \
	  --image ghcr.io/example/ray-audit:0.2.0-ray2.60.0 \
	  --gpu-image ghcr.io/example/ray-audit:0.2.0-ray2.60.0-cuda

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

gpu: $(STAMP)  ## tests and benchmarks that need a GPU (ten minutes at most); a missing one is a failure
	$(BIN)/python -m benchmarks.gpu_session

quality: $(STAMP)  ## how well the scores find label errors (hours); writes docs/quality.md
	$(BIN)/python -m benchmarks.quality

correction: $(STAMP)  ## what correcting labels gains (hours); goes on where it was stopped; writes docs/correction-quality.md
	$(BIN)/python -m benchmarks.correction.memorising
	$(BIN)/python -m benchmarks.correction
