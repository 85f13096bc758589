# trigan: `make help` lists the targets. Only Python 3.11 or later and make are needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
SETUP  := $(VENV)/.setup-done
DEV    := $(VENV)/.dev-done
JOBS   ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS)

.DEFAULT_GOAL := help
.PHONY: help setup demo smoke test test-all test-faults lint types docs bench bench-gpu bench-records calibration wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(SETUP) ## create the virtual environment with the pinned dependencies and trigan (about 1.7 GB, 2 minutes)

demo: setup ## run all four strategies on the embedded digits, 10 labels per class (three to four minutes on 2 CPU cores)
	$(BIN)/trigan study demo

smoke: $(DEV) ## check a change in 60 seconds: lint, quick tests, a short run of each strategy
	$(BIN)/ruff check .
	$(PYTEST) -m "not slow" tests/test_layers.py tests/test_style.py tests/test_smoke.py tests/losses tests/tables tests/training/test_golden.py

test: $(DEV) ## run the test suite (about 13 minutes on 2 CPU cores)
	$(PYTEST) -m "not slow and not faults"

test-all: $(DEV) ## run the test suite with the slow cross products
	$(PYTEST) -m "not faults"

test-faults: $(DEV) ## kill, interrupt, fill disks, damage files and fuzz command lines (docs/reliability.md)
	$(PYTEST) -m faults

lint: $(DEV) ## check formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV) ## check static types
	$(BIN)/mypy

docs: $(DEV) ## build the site with the API reference in site/
	$(BIN)/python docs/build_schemas.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(DEV) ## measure speed and memory against minimal references, 15 minutes on 2 cores; write benchmarks/results/
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/bench.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/jobs.py

bench-records: $(DEV) ## time the commands that read records, on 5,000 of them (15 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/records.py

bench-gpu: $(DEV) ## what a GPU makes of steps, precisions and jobs side by side, and fits of the papers' length (8 minutes; DATA=FOLDER of MNIST)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/gpu.py $(if $(DATA),--data $(DATA))

calibration: $(DEV) ## check the tables' statistics on simulated trials and real fits (half an hour; `--quick` a tenth)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/calibration.py

wheel: $(DEV) ## build dist/trigan-*.whl with conf/ and experiments/
	$(BIN)/python -m build --wheel

clean: ## remove the virtual environment, builds and caches, but not outputs/
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "trigan needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(SETUP): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the pinned dependencies: about 1.7 GB, two minutes"
	@$(PIP) install -q -c constraints.txt -e '.[onnx]'
	@touch $@

$(DEV): $(SETUP)
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	$(PIP) install -q -c constraints.txt --no-deps --upgrade --target $(VENV)/timm timm torchvision
	@touch $@
