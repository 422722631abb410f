# Words of this project. Everything they need is made on first use in .venv/ and .peers/;
# a fresh machine needs Python >= 3.11 with pip and venv, and make.
#
#   make demo     a demo server in the foreground; Ctrl-C ends it
#   make test     lint, types, layers, all tests, the real peers included
#   make bench    speed against p4p's own server and client in the same run (wants a C compiler);
#                 ONLY=server or ONLY=client is half of it, ARGS="--only get --check" selects cases
#   make lint     the quick checks alone
#   make peers    the environments of p4p, pvapy and spvirit alone
#   make clean    forget everything that was made

PYTHON ?= python3
ONLY ?= server client
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input

.PHONY: demo test bench lint peers clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: .venv/installed
	@exec $(BIN)/python examples/demo.py

test: lint peers
	@exec $(BIN)/python -m pytest --cov=p4p_trio/data --cov=p4p_trio/wire --cov=p4p_trio/protocol --cov-fail-under=95 $(ARGS)

bench: .venv/installed
	$(if $(filter-out server client,$(ONLY)),$(error ONLY is server, client, or both; not $(ONLY)))
	@$(BIN)/python tests/interop/environments.py p4p
	@status=0; \
	$(if $(filter server,$(ONLY)),$(BIN)/python -m benchmarks.run $(ARGS) || status=1;) \
	$(if $(filter client,$(ONLY)),$(BIN)/python -m benchmarks.client $(ARGS) || status=1;) \
	exit $$status

lint: .venv/tools
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "ruff format would change: "; $(BIN)/ruff format --check . ; exit 1; }
	@$(BIN)/mypy --no-error-summary

peers: .venv/bin/python
	@$(BIN)/python tests/interop/environments.py

clean:
	rm -rf .venv .peers .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage benchmarks/.build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "p4p_trio needs Python 3.11 or newer, \
	and $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "making .venv" && $(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	@echo "installing p4p_trio into .venv" && $(PIP_INSTALL) --editable .
	@touch $@

.venv/tools: .venv/bin/python pyproject.toml
	@echo "installing what the tests need into .venv" && $(PIP_INSTALL) --editable '.[test]'
	@touch .venv/installed $@
