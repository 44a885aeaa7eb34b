# `make repro` runs the pipeline and `make test` the tests; both set everything up first.
# `make ratios` measures every speed ratio three times, held to AVX2, to AVX-512 and with AMX where the processor has them,
# and writes ratios/<instruction set>/*.json: twenty minutes each.
# `make large` upscales an image of 24 megapixels and writes the peak memory to docs/large.json and docs/large.md.
# `make rounding` measures what rounding the input of each layer costs and writes docs/rounding.csv and docs/rounding.md.
# `make verify` re-evaluates the published networks; `make train MINUTES=60` trains the next ones of the queue,
# `make status` shows their progress, and `make publish` scores them.
# `make torture` tries to break it all, thousands of times, and writes docs/faults.json and docs/faults.md.
# `make audit` writes a bill of materials of what is installed, bom.json (CycloneDX), and asks for known vulnerabilities.
# `make readme` updates the README's verdicts and picture from the last report.
.NOTPARALLEL: # what is timed runs alone
.PHONY: setup repro test torture lint ratios large rounding verify train status publish readme audit

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
	$(ACTIVATED) python -m pytest --numprocesses 3 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder

torture: setup
	$(ACTIVATED) python -m tests.torture

# With CLUSTER=tcp://HOST:8786, on the workers of that Dask scheduler.
ON_CLUSTER = --scheduler $(CLUSTER)
verify: setup
	$(ACTIVATED) python -m pipeline.$(if $(CLUSTER),cluster verify $(ON_CLUSTER),zoo.verify)

PROFILE ?= cpu
train: setup
	$(ACTIVATED) python -m pipeline.profiles $(PROFILE) zoo/$(PROFILE).yaml
	$(ACTIVATED) python -m pipeline.$(if $(CLUSTER),cluster train $(ON_CLUSTER),zoo.train) \
		--params zoo/$(PROFILE).yaml $(if $(MINUTES),--minutes $(MINUTES))

status: setup
	$(ACTIVATED) python -m pipeline.profiles $(PROFILE) zoo/$(PROFILE).yaml
	$(ACTIVATED) python -m pipeline.zoo.status --params zoo/$(PROFILE).yaml

publish: setup
	$(ACTIVATED) python -m pipeline.zoo.publish

large: setup
	$(ACTIVATED) python -m pipeline.commands.large

rounding: setup
	$(ACTIVATED) python -m pipeline.profiles cpu zoo/cpu.yaml
	$(ACTIVATED) python -m pipeline.commands.rounding

readme: setup
	$(ACTIVATED) python -m pipeline.commands.readme

audit: setup .venv/audit/ready
	.venv/audit/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml -o bom.json .venv/bin/python
	.venv/audit/bin/pip-audit --skip-editable --path .venv/lib/python*/site-packages

.venv/audit/ready:
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/pip install --quiet cyclonedx-bom pip-audit
	touch $@

RATIOS = layer wide_layer $(foreach model,srresnet edsr vdsr,$(model)-body $(model))
ISAS = avx2 $(foreach set,avx512:avx512bw amx:amx_int8,\
	$(if $(shell grep -m 1 -w $(word 2,$(subst :, ,$(set))) /proc/cpuinfo),$(word 1,$(subst :, ,$(set)))))
ratios: setup $(foreach isa,$(ISAS),$(RATIOS:%=ratios/$(isa)/%.json))

ratios/%.json: FORCE
	@mkdir -p $(@D)
	$(ACTIVATED) python -m pipeline.engine.bench --runs 3 --scale 4 --size 128x128 --isa $(firstword $(subst /, ,$*)) --json $@ \
		--model $(firstword $(subst -, ,$(notdir $*))) $(if $(findstring -body,$*),--body)

FORCE:
