# Two commands: `make repro` runs the pipeline, `make test` the tests. Both set everything up first.
.PHONY: setup repro test lint

PYTHON ?= python3
ACTIVATED = . .venv/bin/activate &&

setup: .venv/ready

.venv/ready: setup.sh pyproject.toml constraints.txt
	PYTHON=$(PYTHON) sh setup.sh

repro: setup
	$(ACTIVATED) python -m pipeline.params
	$(ACTIVATED) dvc repro
	@echo "The report is $(CURDIR)/reports/index.html"

lint: setup
	$(ACTIVATED) ruff check . && ruff format --check . && mypy

test: lint
	$(ACTIVATED) python -m pytest
