# Proxeny's commands. `make demo` and `make test` set up all they need on a fresh machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MAPS := $(shell find src/proxeny -name '*.pxd')
# The kernel, the maps of types, and the Python modules that have one: these are compiled.
COMPILED := $(wildcard src/proxeny/kernel/*.pyx) $(MAPS) $(wildcard $(MAPS:.pxd=.py))

# Every start of a proxy would compile a few hundred modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help build demo test fuzz check bench docs clean peers

help:
	@echo "make demo   set everything up and run the proxy with embedded upstreams"
	@echo "make test   set everything up and run all tests (real Envoy included)"
	@echo "make fuzz   fuzz what meets bytes from the wire, FUZZ=60 seconds per target; what is new joins the corpus"
	@echo "make check  linters, types, generated documents"
	@echo "make bench  compare CPU per request with Envoy, nginx and HAProxy"
	@echo "make build  leave .venv/bin/proxeny ready to run"

build: .stamps/build

.stamps/venv: tools/setup-system.sh
	@tools/setup-system.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --upgrade pip "setuptools>=77" wheel "Cython>=3.1"
	@mkdir -p .stamps && touch $@

.stamps/build: .stamps/venv pyproject.toml setup.py $(COMPILED)
	@echo "building the kernel and installing into $(VENV)"
	@$(BIN)/python -m pip install -q --no-build-isolation -e '.[dev]'
	@touch $@

.stamps/peers: tools/setup-peers.sh
	@tools/setup-peers.sh
	@mkdir -p .stamps && touch $@

peers: .stamps/peers

demo: build
	@$(BIN)/proxeny demo

# Most tests wait for one proxy or another: four files at a time keep two cores busy.
test: build peers
	@$(BIN)/python -m pytest -n 4 --dist loadfile -rfER

FUZZ ?= 60
fuzz: build
	@FUZZ_SECONDS=$(FUZZ) FUZZ_KEEP=1 $(BIN)/python -m pytest tests/fuzz --timeout 0

check: build
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint src/proxeny/kernel
	@$(BIN)/python -m proxeny.config.compatibility --check

docs: build
	@$(BIN)/python -m proxeny.config.compatibility

bench: build peers
	@$(BIN)/python -m benchmarks $(BENCH)

clean:
	@rm -rf build dist .stamps src/*.egg-info
	@find src -name '*.so' -delete
	@rm -f src/proxeny/kernel/*.c
