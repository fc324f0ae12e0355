# make demo · make serve · make test · make test-quick · make lint · make docs · make build ·
# make native · make notebook · make weights · make bench · make faults · make audit
# Another Python: make demo PYTHON=python3.12 VENV=.venv312
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

# CUDA where an NVIDIA driver answers, else CPU; requirements-tpu.txt by hand.
REQUIREMENTS ?= $(shell nvidia-smi >/dev/null 2>&1 \
	&& echo requirements.txt || echo requirements-cpu.txt)

.PHONY: demo serve test test-quick lint docs build native notebook weights bench faults audit
.DELETE_ON_ERROR:
.NOTPARALLEL:

# Machines with an accelerator do not need it.
NATIVE := $(if $(findstring cpu,$(REQUIREMENTS)),$(VENV)/.tried-native)

# Without --overwrite, a run that was interrupted goes on.
demo: $(VENV)/.installed $(NATIVE)
	$(RUN) train.py --dataset=synthetic --preset=small --data_dir=data \
		--name=demo $(if $(wildcard runs/demo/report.json),--overwrite) $(FLAGS)
	$(RUN) eval.py --run=runs/demo
	@echo
	@echo "Report and pictures: runs/demo/report.md"

# A page on this machine: make serve FLAGS=--runs=runs
serve: $(VENV)/.installed $(NATIVE)
	$(RUN) -m meranet_jax serve $(FLAGS)

# One process more than cores, at most four: some tests wait for programs.
PROCESSES := $(shell $(PYTHON) -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')
# Each process imports all tests: their bytecode is kept even where Python writes none.
PYTEST := PYTHONDONTWRITEBYTECODE= $(RUN) -m pytest -n $(PROCESSES) --dist=loadfile \
          --no-loadscope-reorder

test: $(VENV)/.installed-parity $(NATIVE)
	$(PYTEST) --durations=30 $(FLAGS)

# Without the tests that start clusters, notebooks or complete programs
test-quick: $(VENV)/.installed-parity $(NATIVE)
	$(PYTEST) -m "not e2e and not slow" $(FLAGS)

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/nbstripout --verify notebooks/*.ipynb
	$(VENV)/bin/lint-imports --no-logo
	$(RUN) -m mypy

# The site of the docs, in site/; a broken link fails.
docs: $(VENV)/.installed-dev
	$(RUN) -m mkdocs build --strict

# The wheel and the source archive, in dist/
build: $(VENV)/.installed-dev
	$(RUN) -m build

# The extension that makes convolutions on a CPU faster; see native/README.md.
native: $(VENV)/.installed
	native/install.sh $(RUN)
	@touch $(VENV)/.tried-native

# From top to bottom in a clean kernel; what it shows is in the copy.
notebook: $(VENV)/.installed-dev
	@mkdir -p results
	$(VENV)/bin/jupyter execute --output=../results/meranet notebooks/meranet.ipynb
	@echo "With its outputs: results/meranet.ipynb"

# The weights that --init=pretrained names, from nothing, and their accuracy on faces
# that they were not trained on; docs/pretrained.md has the numbers. Without the extension
# in native/, which changes the last digits, they are the same bytes.
PRETRAINED := meranet_jax/pretrained
TESTED_ON := medium hard photo photo_small photo_subtle sketch sketch_small sketch_subtle
PRETRAIN := MERANET_CONVOLUTION=planes $(RUN) train.py --data_dir=data --preset=small \
	--protocol=holdout_subject --test_fraction=0.1 --validation_fraction=0.1 --overwrite
weights: $(VENV)/.installed $(NATIVE)
	$(PRETRAIN) --dataset=synthetic/varied --input=flow --epochs=18 --name=pretrained \
		--augment shift rotate scale time_shift speed drop $(FLAGS)
	$(PRETRAIN) --dataset=synthetic/wild_b_training --input=onset_apex_flow --epochs=40 \
		--select=last --name=pretrained_onset_apex --augment shift rotate scale $(FLAGS)
	$(RUN) -m meranet_jax.convert runs/pretrained $(PRETRAINED)/flow.npz --overwrite
	$(RUN) -m meranet_jax.convert runs/pretrained_onset_apex \
		$(PRETRAINED)/onset_apex_flow.npz --overwrite
	for run in pretrained pretrained_onset_apex; do for set in $(TESTED_ON); do \
		$(RUN) eval.py --run=runs/$$run --dataset=synthetic/$$set --data_dir=data \
		|| exit 1; done; done
	for set in wild wild_dev; do $(RUN) eval.py --run=runs/pretrained_onset_apex \
		--dataset=synthetic/$$set --data_dir=data --calibrate || exit 1; done
	cp runs/pretrained_onset_apex/cross/synthetic-wild/calibration.json \
		$(PRETRAINED)/onset_apex_flow.calibration.json

bench: $(VENV)/.installed-parity $(NATIVE)
	$(RUN) -m benchmarks $(FLAGS)

# Runs and processes that are killed, ten minutes.
faults: $(VENV)/.installed-dev
	$(RUN) -m pytest -m slow
	$(RUN) -m tests.faults.kills $(FLAGS)

# Known weaknesses of what the requirements install; asks PyPI.
audit: $(VENV)/.installed
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet pip-audit
	$(RUN) -m pip freeze --all --exclude-editable \
		| grep -v '^meranet-native' > $(VENV)/audit/requirements.txt
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip \
		--requirement $(VENV)/audit/requirements.txt

# Once, and without it where it cannot be built
$(VENV)/.tried-native: $(VENV)/.installed $(wildcard native/* native/src/* native/meranet_native/*.py)
	@native/install.sh $(RUN) >$(VENV)/native.log 2>&1 \
		|| echo "Going on without native/, which makes training on a CPU faster:" \
			"see $(VENV)/native.log; make native tries again"
	@touch $@

# requirements*.txt install the checkout: versions are in pyproject.toml.
$(VENV)/.installed: pyproject.toml $(REQUIREMENTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python " \
		"3.11 or newer is needed; name one with make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV), which takes minutes"
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet -r $(REQUIREMENTS)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(RUN) -m pip install --quiet -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-parity: requirements-parity.txt $(VENV)/.installed-dev
	$(RUN) -m pip install --quiet -r requirements-parity.txt
	@touch $@
