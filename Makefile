# The everyday commands. Each is a line that can be typed by hand; everything happens in .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
SOURCES := src tests benchmarks

.PHONY: help demo setup test check format truth bench peers golden dist clean fit-devices

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/demo  ## install without torch and weigh a few networks
	$(BIN)/weigh vgg16
	$(BIN)/weigh "(Input)(3,224,224)->(Conv)6c5w1s0p" --formulas
	$(BIN)/weigh paper googlenet
	$(BIN)/weigh compare vgg16 googlenet resnet50 densenet121

setup: .venv/setup  ## install everything that tests and checks need, torch included

test: .venv/setup  ## the tests
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not slow"

check: .venv/setup node_modules/setup  ## format, lint, types (the page's JavaScript too), the arrows between the rooms
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	node_modules/.bin/tsc -p jsconfig.json

format: .venv/setup  ## put the sources into shape
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

truth: .venv/setup  ## the long tests: every network against its witnesses, and memory against allocator, formulas, figures
	$(BIN)/python -m benchmarks truth --pages docs/truth
	$(BIN)/python -m pytest -n auto --dist loadgroup -m slow

fit-devices: .venv/setup  ## fit what published times say of devices, and write it into the package
	$(BIN)/python -m benchmarks fit

bench: .venv/setup  ## speed and accuracy, as ratios within one run
	$(BIN)/python -m benchmarks

peers: .venv-peers/setup  ## every counter side by side, against sums by hand (half an hour)
	$(BIN)/python -m benchmarks peers --page docs/peers.md
	$(BIN)/python -m benchmarks peers --speed --page docs/peers.md

golden: .venv/setup  ## rewrite the expected screens; read the diff before committing it
	$(BIN)/python -m pytest -q tests/golden tests/docs --update-golden

dist: .venv/setup  ## a wheel and a source archive under dist/
	$(PIP) build
	$(BIN)/python -m build

clean:  ## remove the virtual environment and what was built
	rm -rf .venv .venv-peers node_modules dist build

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

.venv/setup: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) torch torchvision
	$(PIP) --editable ".[torch,timm,hf,dataframe,plot,serve,test,check]"
	touch $@ .venv/demo

node_modules/setup: package.json package-lock.json
	npm ci
	touch $@

.venv-peers/setup: .venv/setup benchmarks/peers/requirements.txt
	$(BIN)/python -m benchmarks.peers.install
	touch $@
