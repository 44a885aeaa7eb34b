# Two commands: `make repro` runs the pipeline, `make test` the tests. Both set everything up first.
# `make ratios` measures every speed ratio three times, in some twenty minutes, and writes ratios/*.json.
# `make verify` evaluates the published networks anew; `make train MINUTES=60` trains further ones, `make
# status` says how far they are, and `make publish` scores them. `make readme` brings the README's verdicts and picture up to date with the last report.
.PHONY: setup repro test lint ratios verify train status publish readme

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
	$(ACTIVATED) python -m pytest --numprocesses 2 --dist loadfile

verify: setup
	$(ACTIVATED) python -m pipeline.zoo.verify

PROFILE ?= cpu
train: setup
	$(ACTIVATED) python -m pipeline.profiles $(PROFILE) zoo/$(PROFILE).yaml
	$(ACTIVATED) python -m pipeline.zoo.train --params zoo/$(PROFILE).yaml $(if $(MINUTES),--minutes $(MINUTES))

status: setup
	$(ACTIVATED) python -m pipeline.profiles $(PROFILE) zoo/$(PROFILE).yaml
	$(ACTIVATED) python -m pipeline.zoo.status --params zoo/$(PROFILE).yaml

publish: setup
	$(ACTIVATED) python -m pipeline.zoo.publish

readme: setup
	$(ACTIVATED) python -m pipeline.commands.readme

RATIOS = layer wide_layer $(foreach model,srresnet edsr vdsr,$(model)-body $(model))
ratios: setup $(addprefix ratios/,$(addsuffix .json,$(RATIOS)))

ratios/%.json: FORCE
	@mkdir -p ratios
	$(ACTIVATED) python -m pipeline.engine.bench --runs 3 --scale 4 --json $@ \
		--model $(firstword $(subst -, ,$*)) $(if $(findstring -body,$*),--body)

FORCE:
