# The commands of Slipway. Everything runs in .venv, which is made from requirements.txt alone.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := libs/common libs/runner libs/client services/gateway services/accounts \
           services/packager services/scheduler runtimes/open local
SOURCES := $(addsuffix /src,$(MEMBERS)) runtimes/open/build.py

.PHONY: help demo down cluster cluster-down doctor test test-unit check format schemas requirements bench bench-cluster clean

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is remade whenever what it is made of has changed.
$(VENV)/.ready: requirements.txt $(addsuffix /pyproject.toml,$(MEMBERS))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Slipway needs Python 3.11 or newer: apt-get install -y python3.11 python3.11-venv, then make PYTHON=python3.11 …"; exit 3; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "Python lacks venv: apt-get install -y python3-venv"; exit 3; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements.txt)"
	@$(BIN)/uv pip install --quiet --require-hashes --requirement requirements.txt
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation $(addprefix --editable ,$(MEMBERS))
	@touch $@

demo: $(VENV)/.ready  ## start everything, publish the sample app, print where to log on (SESSIONS=pods: sessions in a cluster; DEMO=once: run the whole job and stop)
	@$(BIN)/python -m slipway_local demo $(if $(filter once,$(DEMO)),--once) $(if $(SESSIONS),--sessions '$(SESSIONS)')

down: $(VENV)/.ready  ## stop what make demo started, also a cluster that it started; the data stays
	@$(BIN)/python -m slipway_local down

cluster: $(VENV)/.ready  ## start a real Kubernetes here, with our images in it (NODES=kubelet, kwok, both or none)
	@$(BIN)/python -m slipway_local cluster up $(if $(NODES),--nodes $(NODES))

cluster-down: $(VENV)/.ready  ## stop what make cluster started; its objects and images stay
	@$(BIN)/python -m slipway_local cluster down

doctor: $(VENV)/.ready  ## tell what this machine lacks, and how to install it
	@$(BIN)/python -m slipway_local doctor

test: $(VENV)/.ready  ## run all tests, on real parts
	@$(BIN)/python tests/support/machine.py
	@$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-unit: $(VENV)/.ready  ## run the tests that need nothing but Python
	@$(BIN)/pytest tests/unit tests/contracts $(PYTEST_ARGS)

check: $(VENV)/.ready  ## format, lint, types, import rules, schema drift
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy $(SOURCES)
	@$(BIN)/lint-imports --no-cache > .import-rules.log || { cat .import-rules.log; exit 1; }
	@$(BIN)/python -m slipway_common.contracts.documents --check libs/common/schemas
	@$(BIN)/python -m slipway_gateway.openapi --check services/gateway/openapi.json
	@$(BIN)/squawk services/accounts/src/slipway_accounts/migrations/*.sql > /dev/null

format: $(VENV)/.ready  ## put the code into its form
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

schemas: $(VENV)/.ready  ## write JSON Schemas, AsyncAPI and OpenAPI anew
	@$(BIN)/python -m slipway_common.contracts.documents libs/common/schemas
	@$(BIN)/python -m slipway_gateway.openapi services/gateway/openapi.json

requirements: $(VENV)/.ready  ## pin all dependencies anew, with their hashes
	@$(BIN)/uv lock --quiet
	@$(BIN)/uv export --quiet --frozen --no-emit-workspace --all-groups --no-header > requirements.txt

bench: $(VENV)/.ready  ## measure, and write the tables in bench/
	@$(BIN)/python -m bench

bench-cluster: $(VENV)/.ready  ## measure sessions in a cluster, up to 10,000 of them, in about 20 minutes
	@$(BIN)/python -m bench.cluster

clean: $(VENV)/.ready  ## stop everything and delete its data
	@$(BIN)/python -m slipway_local clean
