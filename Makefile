# Everything a fresh machine needs is set up by `make demo` and `make test`, in .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 4
# Tests of the page to chat in need a browser; .ci/run installs one.
BROWSER := $(firstword $(foreach name,chromium chromium-browser google-chrome google-chrome-stable,$(shell command -v $(name))))
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Not the llama.cpp that a source archive holds.
native_sources := $(shell find native -name bundled -prune -o -type f -print)
native_code := $(shell find native -name bundled -prune -o -name '*.[ch]' -print -o -name '*.cpp' -print)

# Tests that need no native module, so no build. test-fast also has those that need the module but hardly a model.
PURE_TESTS := tests/grammar tests/models tests/types/test_types.py tests/build/test_c_headers.py \
  tests/build/test_fetch.py tests/chat_format/test_named.py tests/chat_format/test_named_tools.py \
  tests/chat_format/test_formatter.py tests/chat_format/test_tool_text.py

FAST_TESTS := $(PURE_TESTS) tests/build tests/chat_format tests/display tests/response tests/types \
  tests/test_layering.py tests/test_import.py tests/test_pure.py tests/integrations/test_limits.py \
  $(addprefix tests/langchain/test_,docs.py messages.py refusals.py tools.py) \
  $(addprefix tests/llama_index/test_,llm_scripted.py llm_scripted_tools.py messages.py partial_json.py refusals.py)

.PHONY: help demo check test test-fast test-pure lint types format docs bench-tools fuzz guided storm asan tsan notebooks wheel wheel-check sdist clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Set everything up and let a model answer questions over real documents
	@$(BIN)/python -m llamacpp_integrations.demo

check: lint types test-fast ## Check style and types and run the quick tests

test: $(VENV)/.dev lint types ## Set everything up and run all checks and tests
	@$(if $(BROWSER),,echo "No Chromium is installed: the tests of the page to chat in are left out." >&2)
	$(BIN)/python -m pytest $(PYTEST_ARGS) $(if $(BROWSER),,-m 'not browser')

test-fast: $(VENV)/.dev ## Run the tests that take less than two minutes together
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'not slow and not network and not model' $(FAST_TESTS)

test-pure: $(VENV)/.pure ## Run the tests of pure Python, without building anything
	PYTHONPATH=core:. $(BIN)/python -m pytest $(PYTEST_ARGS) -m 'not slow and not network' $(PURE_TESTS)

lint: $(VENV)/.dev ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(native_code)

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(native_code)

docs: $(VENV)/.dev ## Run the notebooks and build the pages into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -j 1 docs docs/_build/html
	@echo "docs/_build/html/index.html"

FUZZ_CASES ?= 20000
fuzz: $(VENV)/.dev ## Try FUZZ_CASES damaged files, pictures, templates, states, grammars, failures; findings go to build/fuzz
	@failed=0; for machine in gguf media templates states grammars failures; do \
	  $(BIN)/python -m fuzz $$machine --cases $(FUZZ_CASES) || failed=1; done; exit $$failed

GUIDED_INPUTS ?= 20000
guided: $(VENV)/.dev ## Try GUIDED_INPUTS inputs on each part that reads text of others, led by what they reach in the code
	$(BIN)/python -m fuzz.guided --inputs $(GUIDED_INPUTS)

STORM_REQUESTS ?= 10000
storm: $(VENV)/.dev ## Run STORM_REQUESTS random requests with cancellations, closes, interrupts and forks
	$(BIN)/python -m fuzz.storm --requests $(STORM_REQUESTS)

notebooks: $(VENV)/.dev ## Bring notebooks/*.ipynb up to their .py, without outputs
	$(BIN)/python docs/pair_notebooks.py

# llama.cpp's own programs as published (OpenMP, none of native/llama_cpp), from the same source, for benchmarks/.
bench-tools: $(VENV)/.dev ## Build llama-bench, llama-batched-bench and llama-server for benchmarks/
	cmake -S native -B build/bench -G Ninja -DLLAMACPP_BUILD_BENCH_TOOLS=ON -DLLAMACPP_CHANGES=OFF -DGGML_OPENMP=ON -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
	cmake --build build/bench --target bench-tools

# Our code and llama.cpp's server core compiled with a sanitizer, in a folder of its own: some minutes of CPU the first
# time. The scenario under tests/sanitizers runs on it; a report makes it fail.
asan: ## Run the engine under the sanitizers of addresses and of undefined behaviour
	$(call watch,asan,"-DLLAMACPP_SANITIZE=address$(comma)undefined")

tsan: ## Run the engine under the thread sanitizer
	$(call watch,tsan,-DLLAMACPP_SANITIZE=thread)

comma := ,
asan tsan: $(VENV)/.dev
define watch
cmake -S native -B build/$(1) -G Ninja $(2) -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python
cmake --build build/$(1) --target _cpu _native
$(BIN)/python tests/sanitizers/run.py $(1)
endef

# For x86-64 Linux with glibc 2.28 or newer: a module for each level of CPUs.
wheel: $(VENV)/.venv ## Build a wheel for Linux into dist/ and inspect it
	@$(PIP) install -q --group wheel
	$(BIN)/python release/build_wheel.py

wheel-check: ## Install the wheel in dist/ (or WHEEL=) without a compiler, run the demo and the core's tests on it
	$(PYTHON) release/check_wheel.py $(or $(WHEEL),$(wildcard dist/*.whl))

sdist: $(VENV)/.venv ## Build the source archive into dist/, with the pinned llama.cpp in it
	@$(PIP) install -q build
	$(BIN)/python -m build --sdist
	@rm -rf native/bundled # is in the archive, and of no use here

clean: ## Remove the environment and the build, not the caches of models and sources
	rm -rf $(VENV) build

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is needed, e.g.: apt install python3-venv" >&2; exit 1; }
	@$(PIP) install -q --upgrade 'pip>=25.1'
	@touch $@

# The build runs in this environment (no isolation), so that a change of a source file rebuilds in seconds. With a
# wheel at hand (make WHEEL=dist/... demo) its compiled modules are used, and nothing is built.
ifdef WHEEL
INSTALL := $(PIP) install -q --no-build-isolation -C wheel.cmake=false -C wheel.platlib=true -e
else
INSTALL := $(PIP) install -q --no-build-isolation -e
endif

$(VENV)/.build: $(VENV)/.venv pyproject.toml $(native_sources)
	@$(PIP) install -q --group build
ifdef WHEEL
	@$(INSTALL) .
	@$(BIN)/python release/use_wheel.py "$(WHEEL)"
else
	@rm -f core/llamacpp_core/native/_*.abi3.so # of a wheel, by an earlier WHEEL=
	@echo "Building llama.cpp into the extension module: some minutes the first time."
	@$(BIN)/python native/build_progress.py build/build.log \
	  $(PIP) install -v --no-build-isolation -e .
endif
	@$(BIN)/python -m llamacpp_core.native.selftest
	@touch $@

$(VENV)/.pure: $(VENV)/.venv pyproject.toml
	@$(PIP) install -q --group pure
	@touch $@

$(VENV)/.demo: $(VENV)/.build pyproject.toml
	@$(INSTALL) '.[cli,langchain,llama-index,models]'
	@touch $@

$(VENV)/.dev: $(VENV)/.build pyproject.toml
	@$(INSTALL) '.[all]' --group dev
	@touch $@
