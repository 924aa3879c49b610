# Every target sets up its own environment; a second run reuses it and starts at once.
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python -m
READY  := $(VENV)/.ready

.PHONY: quickstart test lint types docs validation benchmarks clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "photonet needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
# by itself: it asks for torchvision, which does not import beside the pinned torch
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps 'onnx2torch>=1.5.15'
	@touch $@

quickstart: $(READY)
	$(VENV)/bin/photonet quickstart $(ARGS)

# one thread for each of the two: more would wait for one another
test: export OMP_NUM_THREADS = 1
test: $(READY)
	$(RUN) pytest --numprocesses 2 --dist worksteal $(ARGS)

lint: $(READY)
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: $(READY)
	$(RUN) mypy

# the gallery's small products gain nothing from threads, and threads that wait for one another cost much
docs: export OMP_NUM_THREADS = 1
docs: $(READY)
	$(RUN) sphinx -q -W --keep-going -b html docs docs/_build/html

validation: $(READY)
	$(RUN) validation $(ARGS)

benchmarks: $(READY)
	$(RUN) benchmarks $(ARGS)

clean:
	rm -rf $(VENV) docs/_build docs/gallery docs/sg_execution_times.rst build dist
