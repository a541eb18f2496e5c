# segtrace: `make demo` shows it, `make test` checks it, `make help` lists the rest.

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
MIRROR ?=
VENV := .venv
VALIDATOR := .venv-validator
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MOTO := .venv-moto
PEERS := .venv-peers
BROWSER := .browser
PAGES ?=
RUN := $(BIN)/snakemake --cores $(CORES)
WITH_MIRROR := $(if $(MIRROR),mirror=$(MIRROR))

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-fast test-crate test-remotes test-slurm test-browser lint format hippocampus busi unlock lock bench measure clean

help:  ## list every target
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo "  variables: CORES=$(CORES)  MIRROR=<folder with archives>  PYTHON=$(PYTHON)"

$(STAMP): envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else "segtrace needs Python 3.11 to 3.13, this is %d.%d: make PYTHON=/path/to/python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: $(STAMP)  ## create .venv from the lock (done once, by every target that needs it)

demo: $(STAMP)  ## run the whole chain on the embedded phantoms and say where the reports lie
	$(RUN) --config experiments=demo_2d,demo_3d
	@echo; echo "Reports, to open in a browser:"; for e in demo_2d demo_3d; do echo "  file://$(CURDIR)/reports/$$e/index.html"; done

test: $(STAMP)  ## all tests but the slow proofs: no network, under 12 minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(STAMP)  ## the slow proofs: data, branches, methods and kills under DVC
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

test-fast: $(STAMP)  ## the tests without the end-to-end runs
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not workflow"

# An environment of its own: the validator's pins (rich below 14) do not go with those of segtrace.
$(VALIDATOR)/.installed: envs/validator.txt
	$(PYTHON) -m venv $(VALIDATOR)
	$(VALIDATOR)/bin/python -m pip install --quiet --disable-pip-version-check -r envs/validator.txt
	@touch $@

test-crate: $(STAMP) $(VALIDATOR)/.installed  ## judge an exported crate with rocrate-validator
	SEGTRACE_VALIDATOR=$(CURDIR)/$(VALIDATOR)/bin/python $(BIN)/python -m pytest -s tests/trace/test_validator.py

$(MOTO)/.installed: envs/moto.txt
	$(PYTHON) -m venv $(MOTO)
	$(MOTO)/bin/python -m pip install --quiet --disable-pip-version-check -r envs/moto.txt
	@touch $@

test-remotes: $(STAMP) $(MOTO)/.installed  ## DVC remotes over SSH and S3, on servers of its own (needs sshd)
	SEGTRACE_MOTO=$(CURDIR)/$(MOTO)/bin/moto_server $(BIN)/python -m pytest -m remotes tests/remotes

# slurmd needs root. Debian's packages stay installed; they start no daemon of their own that the tests would use.
test-slurm: $(STAMP)  ## the chain on a Slurm of its own, which it starts and stops, with faults (needs root)
	@if ! command -v slurmctld >/dev/null && ! [ -x /usr/sbin/slurmctld ] && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge; fi
	$(BIN)/python -m pytest -v -m slurm tests/slurm

# Exact versions from the lock file; the browser is the system's.
$(BROWSER)/.installed: tests/browser/package.json tests/browser/package-lock.json
	mkdir -p $(BROWSER)
	cp tests/browser/package.json tests/browser/package-lock.json $(BROWSER)
	cd $(BROWSER) && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund
	@touch $@

test-browser: $(STAMP)  ## pages in the system's Chromium, judged with axe-core (needs node; PAGES="reports/…/index.html …")
	@if command -v npm >/dev/null && command -v node >/dev/null; then $(MAKE) $(BROWSER)/.installed; else echo "test-browser: no node and npm on this machine: the tests are skipped"; fi
	SEGTRACE_BROWSER=$(CURDIR)/$(BROWSER) SEGTRACE_PAGES="$(PAGES)" $(BIN)/python -m pytest -s tests/browser

lint: $(STAMP)  ## ruff, mypy, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

format: $(STAMP)  ## put code and rules into the project's form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

hippocampus: $(STAMP)  ## the smallest real experiment: downloads 27 MB, or MIRROR=<folder>
	$(RUN) --config experiments=hippocampus $(WITH_MIRROR)
	@echo; echo "Report: file://$(CURDIR)/reports/hippocampus/index.html"

busi: $(STAMP)  ## U-Net on breast ultrasound: downloads about 200 MB, or MIRROR=<folder>
	$(RUN) --config experiments=busi $(WITH_MIRROR)
	@echo; echo "Report: file://$(CURDIR)/reports/busi/index.html"

unlock: $(STAMP)  ## free the lock that a killed Snakemake left (only when none is running here)
	$(BIN)/snakemake --unlock --cores 1

lock: $(STAMP)  ## renew envs/requirements.lock from pyproject.toml in a fresh environment
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet torch==2.13.0 ".[dev]"
	{ sed -n '/^#/p' envs/requirements.lock; .venv-lock/bin/python -m pip freeze --all --exclude segtrace --exclude pip | sed 's/+cpu$$//' | grep -vE '^(nvidia|triton)'; } > envs/requirements.lock.new
	mv envs/requirements.lock.new envs/requirements.lock
	rm -rf .venv-lock

$(PEERS)/.installed: envs/peers.lock
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r envs/peers.lock
	@touch $@

bench: $(STAMP) $(PEERS)/.installed  ## time segtrace beside its peers, equality first; writes benchmarks/RESULTS.md (MIRROR for real data)
	$(BIN)/python benchmarks/bench.py --peers $(PEERS)/bin/python $(if $(MIRROR),--mirror $(MIRROR)) $(if $(ONLY),--only $(ONLY))

clean:  ## remove everything that a run made, but not data/raw and not .venv
	rm -rf data/index data/prepared data/splits checkpoints predictions scores results reports logs .snakemake .segtrace

measure: $(STAMP)  ## measure the whole chain on fresh clones (needs MIRROR; about 25 minutes)
	$(BIN)/python benchmarks/chain.py demo hippocampus busi identical --mirror $(MIRROR)
