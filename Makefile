# Two commands for a fresh machine (Linux, Python 3.11 or newer, git, make): `make demo`, `make test`.
# `make help` lists the others. Everything made lies in .venv, build and demo; `make clean` removes it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

# The first Python on the PATH that is new enough; another one: make PYTHON=/path/to/python demo
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$name"; exit; }; done; echo python3)

VENV := .venv
VENV_PYTHON := $(VENV)/bin/python
PGSTAC_VENV := .venv-pgstac
# Not the newest: 3.0.0 was published by accident and cannot read what the library writes.
CDK_VERSION := 2.1148.1
CDK := build/aws-cdk-$(CDK_VERSION)/node_modules/.bin/cdk
ASL_VALIDATOR_VERSION := 4.0.0
ASL_VALIDATOR := build/asl-validator-$(ASL_VALIDATOR_VERSION)/node_modules/.bin/asl-validator
NPM_INSTALL := PATH="$(CURDIR)/$(VENV)/bin:$$PATH" npm install --no-save --no-package-lock --no-audit --no-fund --loglevel=error
PIP_INSTALL := PYTHONWARNINGS='ignore:Editable installation' $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
WORLD := demo/world
SIZE ?= small
PYTEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_ARGS ?=

.PHONY: help demo browser test test-pgstac e2e image e2e-containers check format fuzz bench constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## install, write the sample world and make its cloud-free mosaic (SIZE=small|full)
	@$(VENV)/bin/cloudbuster sample $(WORLD) --size $(SIZE)
	@$(VENV)/bin/cloudbuster run $(WORLD)/request.json

test: $(VENV)/.installed-dev $(ASL_VALIDATOR) ## install what tests need and run them (PYTEST_ARGS="-k merge")
	@CLOUDBUSTER_ASL_VALIDATOR=$(CURDIR)/$(ASL_VALIDATOR) $(VENV_PYTHON) -m pytest $(PYTEST_ARGS)

browser: ## install the browser that tests of the report use, where there is none (Debian, Ubuntu, as root)
	@scripts/install_browser.sh

# The real imagery has nothing to do with it, so its count does not apply here.
test-pgstac: $(VENV)/.installed-dev $(PGSTAC_VENV)/.installed ## query a real STAC API: pgstac on PostgreSQL
	@scripts/install_postgis.sh
	@CLOUDBUSTER_REQUIRE_REAL_DATA=0 CLOUDBUSTER_PGSTAC_PYTHON=$(CURDIR)/$(PGSTAC_VENV)/bin/python \
		$(VENV_PYTHON) -m pytest tests/pgstac $(PYTEST_ARGS)

e2e: $(VENV)/.installed-dev $(CDK) ## deploy the stack to a loopback AWS and run it
	@CLOUDBUSTER_REQUIRE_REAL_DATA=0 CLOUDBUSTER_CDK=$(CURDIR)/$(CDK) \
		$(VENV_PYTHON) -m pytest tests/e2e $(PYTEST_ARGS)

image: $(VENV)/.installed ## build the images of jobs and functions with podman, without a registry (as root)
	@containers/local/install.sh
	@containers/local/build.sh $(VENV_PYTHON)

# In a network of its own that has nothing but a loopback.
e2e-containers: image $(VENV)/.installed-dev $(CDK) ## run those images, and an execution whose jobs are containers
	@PATH=$$PATH:/usr/sbin:/sbin CLOUDBUSTER_REQUIRE_REAL_DATA=0 CLOUDBUSTER_CDK=$(CURDIR)/$(CDK) \
		CLOUDBUSTER_IMAGES=localhost/cloudbuster CONTAINERS_CONF=$(CURDIR)/containers/local/containers.conf \
		unshare --net bash -c 'ip link set lo up && exec "$$@"' bash \
		$(VENV_PYTHON) -m pytest tests/containers $(PYTEST_ARGS)

check: $(VENV)/.installed-dev ## formatting, lint, types and the layers of imports
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(VENV)/.installed-dev ## format, and mend what lint can mend
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

fuzz: $(VENV)/.installed-dev ## read mutations of valid samples by every parser (FUZZ_ARGS="item --executions 1000")
	@$(VENV_PYTHON) -m tests.fuzz $(FUZZ_ARGS)

bench: $(VENV)/.installed-dev ## measure CPU time and memory (BENCH_ARGS="merge --repeat 1")
	@$(VENV_PYTHON) -m benchmarks $(BENCH_ARGS)

constraints: ## write constraints.txt anew, with the newest versions, and the images' hashes of them
	@scripts/make_constraints.sh $(PYTHON)
	@scripts/make_image_requirements.sh $(PYTHON)

clean: ## remove everything that was made here
	rm -rf $(VENV) $(PGSTAC_VENV) build dist demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python that was removed or upgraded under the virtual environment leaves it broken: make it anew.
ifneq ($(shell { $(VENV_PYTHON) -c 'import pip' || echo broken; } 2>/dev/null),)
.PHONY: $(VENV_PYTHON) $(VENV)/.installed
endif

# Where `venv` lacks ensurepip, a pip that is there can put one in.
$(VENV_PYTHON):
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo "make: needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>/dev/null || echo none)." \
			"Name another one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" --version)"
	@rm -rf $(VENV)
	@"$(PYTHON)" -m venv $(VENV) >/dev/null 2>&1 || { \
		"$(PYTHON)" -m venv --clear --without-pip $(VENV) && \
		"$(PYTHON)" -m pip --python $(VENV) install --quiet pip; } 2>/dev/null || { \
		rm -rf $(VENV); \
		echo "make: $(PYTHON) cannot make a virtual environment with pip. Install its venv module" \
			"(Debian, Ubuntu: apt-get install python3-venv), or name another Python: make PYTHON=..." >&2; \
		exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV_PYTHON)
	@echo "installing cloudbuster"
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "installing what tests need (about 1.5 GB, most of it PyTorch)"
	@$(PIP_INSTALL) --editable '.[dev]'
	@$(VENV_PYTHON) -c 'import lightgbm' 2>/dev/null || \
		{ [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq -y install libgomp1; } >/dev/null 2>&1 || \
		echo "make: LightGBM (s2cloudless) does not load; it needs the OpenMP library" \
			"(Debian, Ubuntu: apt-get install libgomp1)" >&2
	@touch $@

$(PGSTAC_VENV)/.installed: constraints-pgstac.txt $(VENV_PYTHON)
	@echo "installing pgstac in $(PGSTAC_VENV)"
	@rm -rf $(PGSTAC_VENV)
	@"$(PYTHON)" -m venv --without-pip $(PGSTAC_VENV)
	@$(VENV_PYTHON) -m pip --python $(PGSTAC_VENV) install --quiet --disable-pip-version-check \
		--constraint constraints-pgstac.txt stac-fastapi-pgstac 'pypgstac[psycopg]' uvicorn
	@touch $@

$(CDK): | $(VENV)/.installed-dev
	@echo "installing the command line of the CDK"
	@$(NPM_INSTALL) --prefix build/aws-cdk-$(CDK_VERSION) aws-cdk@$(CDK_VERSION)

$(ASL_VALIDATOR): | $(VENV)/.installed-dev
	@echo "installing the validator of the state machine"
	@$(NPM_INSTALL) --prefix build/asl-validator-$(ASL_VALIDATOR_VERSION) asl-validator@$(ASL_VALIDATOR_VERSION)
