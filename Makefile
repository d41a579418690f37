.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
SEED ?= 0
PROTOS = $(shell cd protos && find crossfade -name '*.proto' | LC_ALL=C sort)
SERVICES = $(shell cd protos && grep -l '^service ' $$(find crossfade -name '*.proto') | LC_ALL=C sort)

.PHONY: help demo test lint format proto verify-proto bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## six versions of a model, live, on real data (SEED=n changes the seed)
	$(BIN)/python -m examples.digits.demo --seed $(SEED)

test: $(VENV)/ready ## every test: unit, integration, e2e, three at a time
	$(BIN)/python -m pytest -n 3 --dist worksteal

test-cockroach: $(VENV)/ready ## the Registry's tests on a CockroachDB of yours (URL=cockroachdb+psycopg://USER@HOST:26257/NAME)
	@test -n "$(URL)" || { echo "say which: make test-cockroach URL=cockroachdb+psycopg://root@127.0.0.1:26257/defaultdb"; exit 2; }
	CROSSFADE_TEST_DATABASE='$(URL)' $(BIN)/python -m pytest tests/integration/registry -m 'not postgres_only'

test-upgrade: $(VENV)/ready ## upgrade from an earlier release under load, service by service, and back (BEFORE=REVISION)
	@test -n "$(BEFORE)" || { echo "say from which: make test-upgrade BEFORE=v0.1.0"; exit 2; }
	@rm -rf $(VENV)/before && mkdir $(VENV)/before && git archive $(BEFORE) | tar -x -C $(VENV)/before
	CROSSFADE_TEST_RELEASE_BEFORE='$(CURDIR)/$(VENV)/before' $(BIN)/python -m pytest tests/e2e/test_upgrade.py

lint: $(VENV)/ready verify-proto ## ruff, mypy --strict, import rules, contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd protos && $(CURDIR)/$(BIN)/buf lint && $(CURDIR)/$(BIN)/buf format --diff --exit-code

format: $(VENV)/ready ## put the code into its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd protos && $(CURDIR)/$(BIN)/buf format --write

proto: $(VENV)/ready ## generate the stubs in sdk/ from protos/
	find sdk/crossfade -name '*_pb2*' -delete
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=protos \
		--python_out=sdk --mypy_out=quiet:sdk $(PROTOS)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=protos \
		--grpc_python_out=sdk --mypy_grpc_out=quiet:sdk $(SERVICES)

verify-proto: $(VENV)/ready ## check that the committed stubs are those of protos/
	@cp -r sdk/crossfade $(VENV)/stubs-committed && $(MAKE) --silent proto; \
	diff -r -x __pycache__ $(VENV)/stubs-committed sdk/crossfade; code=$$?; \
	rm -rf $(VENV)/stubs-committed; \
	test $$code = 0 || { echo "the stubs were not those of protos/; now they are: commit them"; exit 1; }

bench: $(VENV)/ready ## every benchmark, each with a table and a line of JSON
	$(BIN)/python -m benchmarks

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/ready: pyproject.toml sdk/pyproject.toml constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
		{ echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e 'sdk[cli,torch]' -e '.[dev]'
	touch $@
