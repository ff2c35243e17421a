# `make demo` and `make test` do all the set-up; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The first and the last that our code is compared with, call by call.
TENSORRT := 10.3.0 11.4.0.106

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-tensorrt check types format bench lock clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.demo ## run the shipped model on a generated scene: out/demo.mp4, out/demo.jsonl
	$(BIN)/sam-edge demo --out out

test: $(VENV)/.dev ## run every test
	@PIP_RETRIES=1 $(MAKE) --silent $(VENV)/.rtx 2>/dev/null || \
		echo "NVIDIA's builder cannot be installed here: the tests that build with it are skipped"
	@# In the order of the tree: a file of few long tests would come last, and one core would wait for it.
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/.dev ## the tests of the core without networks and outputs, for the loop while coding
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m 'not slow' tests/test_*.py \
		$(addprefix --ignore=tests/streaming/,gaze/live session sinks sources/live zenoh) \
		tests/bundle tests/cli tests/host tests/imaging tests/sessions tests/storage tests/streaming tests/synthetic \
		tests/runtimes/test_contract.py tests/runtimes/openvino

check: $(VENV)/.dev types ## lint, format, types and known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive sam_edge runtimes exporters calibration \
		benchmarks training examples
	$(BIN)/python tests/audit_libraries.py
	@PIP_RETRIES=1 $(MAKE) --silent $(VENV)/.bindings 2>/dev/null || \
		echo "TensorRT's bindings cannot be fetched here: what we say of them is not compared"
	@! test -e $(VENV)/.bindings || PIP_NO_INDEX=1 PIP_FIND_LINKS=$(VENV)/bindings \
		$(BIN)/python tests/typing/check_tensorrt_api.py $(TENSORRT)

# mypy looks at the package as it installs: outer folders inside sam_edge.
types: $(VENV)/.dev ## types alone
	@rm -rf $(VENV)/typing && mkdir -p $(VENV)/typing/sam_edge
	@ln -s $(CURDIR)/sam_edge/* $(addprefix $(CURDIR)/,runtimes exporters calibration benchmarks training) $(VENV)/typing/sam_edge/
	@ln -s $(CURDIR)/tests $(VENV)/typing/tests
	$(BIN)/mypy

format: $(VENV)/.dev ## format, and repair what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## measure engines, what our API adds, the shipped model and a run's memory
	$(BIN)/python -m sam_edge.benchmarks.speed.decoder
	$(BIN)/python -m sam_edge.benchmarks.speed.encoder
	$(BIN)/python -m sam_edge.benchmarks.speed.overhead
	for runtime in onnxruntime openvino; do \
		$(BIN)/python -m sam_edge.benchmarks.speed.stages --runtime $$runtime && \
		$(BIN)/python -m sam_edge.benchmarks.speed.startup --runtime $$runtime || exit 1; done

test-tensorrt: $(VENV)/.rtx ## also build graphs with NVIDIA's TensorRT builder: 95 MB, no GPU
	$(BIN)/pytest tests/exporters/lint tests/runtimes/tensorrt/test_build.py

lock: $(VENV)/.dev ## write constraints.txt from what is installed
	$(BIN)/pip freeze --exclude sam-edge --exclude tensorrt-rtx-cu13-libs --exclude tensorrt-rtx-cu13-bindings --exclude-editable | sed -E 's/\+cpu//; s/$$/; python_version >= "3.11"/' > constraints.txt

clean: ## remove the environment and everything that was made
	rm -rf $(VENV) out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "sam-edge needs Python 3.10 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	# Dependency groups need pip 25.1.
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable '.[cpu]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) --editable '.[cpu,openvino,eval,export,train]' --group dev
	@touch $@

$(VENV)/.rtx: $(VENV)/.dev
	$(INSTALL) --no-deps --group rtx
	@touch $@

# The Python side of TensorRT alone, 1 MB a version.
$(VENV)/.bindings: Makefile | $(VENV)/.dev
	$(INSTALL) --no-deps pybind11-stubgen==3.0.0
	for version in $(TENSORRT); do $(BIN)/pip download --quiet --no-deps --dest $(VENV)/bindings \
		tensorrt-cu12-bindings==$$version || exit 1; done
	@touch $@
