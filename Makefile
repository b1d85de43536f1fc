# Every target works in a fresh clone; .venv is created when first needed.
# CI calls only these targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EVAL ?= eval
# Tests at once. A test mostly waits for a command: two per processor on two processors.
JOBS ?= 4
# What package-test installs the wheel for: commands, and folders with a system in them, as made by
# "debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates sid FOLDER".
PYTHONS ?= python3.11 python3.12 python3.13 python3.14

.DEFAULT_GOAL := help
.PHONY: help run test lint types check docs reference man pictures package package-test image bench bench-quota bench-api bench-memory bench-rerun bench-quality bench-server bench-parts bench-report bench-start bench-embedded peers clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.local: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	@touch $@

$(VENV)/.dev: $(VENV)/.local
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: $(VENV)/.local ## Cut the people out of sample_images/ into out/
	$(BIN)/hbseg segment sample_images -o out
	@echo "look at out/cutouts, or open this page:"
	@$(BIN)/hbseg report out

test: $(VENV)/.dev ## Run all tests
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

lint: $(VENV)/.dev ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check types
	$(BIN)/mypy

check: lint types test ## Everything that must hold before a change lands

docs: $(VENV)/.dev ## Build the documentation into build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "open this page: build/docs/index.html"

reference: $(VENV)/.dev ## Write docs/reference anew from the commands
	$(BIN)/python -m docs.make_reference

man: $(VENV)/.dev ## Write the man pages, docs/man/*.1, from the commands
	$(BIN)/python -m docs.make_man

pictures: $(VENV)/.dev ## Make the pictures of the documentation from sample_images
	$(BIN)/python docs/images/make_pictures.py

package: $(VENV)/.dev ## Build the sdist, and the wheel from it, into dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	@ls -l dist

package-test: package ## Install the wheel with pip, pipx and uv for all PYTHONS, and use it
	$(PYTHON) tests/support/interpreters.py dist/*.whl sample_images $(PYTHONS)

image: ## Build the container image hbseg with Docker
	docker build -t hbseg .

.venv-peers/.done:
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check 'rembg[cpu,cli]' onnx
	@touch $@

peers: .venv-peers/.done ## Install what the benchmarks compare with, in an environment of its own

bench: $(VENV)/.dev peers ## Every comparison of speed and memory; writes benchmarks/RESULTS.md (an hour)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check aiohttp
	$(BIN)/python benchmarks/results.py

bench-start: $(VENV)/.dev ## How soon the command answers, beside an import of click
	$(BIN)/python benchmarks/bench_start.py

bench-embedded: $(VENV)/.dev peers ## The embedded engine beside rembg and its own functions
	$(BIN)/python benchmarks/bench_embedded.py

bench-quota: $(VENV)/.dev ## How much of the quota a run uses, against a local server
	$(BIN)/python benchmarks/bench_quota.py

bench-api: $(VENV)/.dev ## Photos per second and CPU of the API engine, beside a plain script
	$(BIN)/python -m pip install --quiet --disable-pip-version-check aiohttp
	$(BIN)/python benchmarks/bench_api.py

bench-memory: $(VENV)/.dev ## Peak memory of 1,000 and of 10,000 photos
	$(BIN)/python benchmarks/bench_memory.py

bench-rerun: $(VENV)/.dev ## A second run over 100,000 finished photos, compared with find
	$(BIN)/python benchmarks/bench_rerun.py

bench-quality: $(VENV)/.dev ## Mask quality on your own photographs: make bench-quality EVAL=folder
	$(BIN)/python benchmarks/bench_quality.py $(EVAL)

bench-server: $(VENV)/.dev peers ## hbseg serve compared with rembg s
	$(BIN)/python benchmarks/bench_server.py

bench-parts: $(VENV)/.dev ## Unusual parts, each compared with the usual way
	$(BIN)/python benchmarks/bench_parts.py

bench-report: $(VENV)/.dev ## The report on 20,000 photos in Chromium
	$(BIN)/python benchmarks/bench_report.py

clean: ## Remove everything that was built or generated
	rm -rf $(VENV) .venv-peers out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
