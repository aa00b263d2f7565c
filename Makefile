# What a person types most. `make demo` and `make test` each install what they need.
PYTHON ?= python3
BIN := .venv/bin
SERVE ?= 1
MODEL ?=
PORT ?= 8000

.PHONY: demo serve test test-shared test-postgres lint format bench clean

demo: .venv/.ready
	@$(BIN)/python manage.py demo --port $(PORT) $(if $(MODEL),--model "$(MODEL)") $(if $(filter 0,$(SERVE)),--no-serve)

serve: .venv/.ready
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py serve --port $(PORT)

test: .venv/.ready-dev
	@$(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not postgres" --ignore tests/shared $(ARGS)

# What is tested on the real data and models beside the checkout; without them it skips.
test-shared: .venv/.ready-dev
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/shared $(ARGS)

# What needs PostgreSQL, and the tests that touch the database on a server started for the purpose and thrown away.
test-postgres: .venv/.ready-dev
	@$(BIN)/python -m tests.postgres $(BIN)/python -m pytest -q -n 2 --dist worksteal tests/annotation tests/rlhf tests/contract $(ARGS)
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal -m postgres tests/faults

lint: .venv/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy annotation rlhf config training
	$(BIN)/lint-imports

format: .venv/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.ready-dev
	@for file in bench/*.py; do $(BIN)/python $$file; done

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hone needs Python 3.11 or newer: make demo PYTHON=python3.11")'
	@$(PYTHON) -m venv .venv

.venv/.ready: .venv/bin/pip pyproject.toml constraints.txt
	@echo "Installing the pinned packages into .venv (a few minutes the first time)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt .
	@touch $@

.venv/.ready-dev: .venv/bin/pip pyproject.toml constraints.txt
	@echo "Installing the pinned packages and the tools for tests into .venv"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt '.[dev]'
	@touch $@ .venv/.ready

clean:
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache
