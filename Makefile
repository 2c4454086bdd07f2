# Two commands do all: `make demo` and `make test`. Everything else is a part of them or a longer check.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install demo test test-all bench lint docs audit clean

install: $(STAMP)

# torch comes first and pinned: its plain name draws a CUDA build of several gigabytes.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[offline,tune,wandb,search,baselines,report,fast,postgresql,serve,studio,browser,dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/flanrec demo --out runs/demo

lint: $(STAMP)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two workers: each test runs torch on one thread.
test: lint
	$(BIN)/python -m pytest --numprocesses 2

test-all: lint
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[oracle,fuzz,export,distributed,mlflow,trackio]'
	$(BIN)/python -m pytest --numprocesses 2 -m ''

bench: $(STAMP)
	$(BIN)/python benchmarks/quality.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/scale.py
	test ! -d runs/demo/model || $(BIN)/python benchmarks/engines.py --model runs/demo/model
	test ! -d runs/demo/model || $(BIN)/python benchmarks/serving.py --model runs/demo/model --ask wish --engine int8 --connections 8 --warm 45 --soak 600
	test ! -d runs/demo/model || $(BIN)/python benchmarks/kills.py --model runs/demo/model --kills 50

# Asks for known weaknesses of the pinned versions; needs the network. It has an environment of its own, so that nothing
# that it needs is among what it audits. Without --strict a package that the service does not know counts as sound.
audit:
	test -x $(VENV)/audit/bin/python || $(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip $(AUDIT)

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf runs build dist .pytest_cache .mypy_cache .ruff_cache
