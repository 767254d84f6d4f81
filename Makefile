# `make` shows what there is. Needs GNU make, git and Python 3.11, 3.12 or 3.13; everything else is installed into .venv.
#
# PYTHON=/path/to/python3.12 chooses the interpreter that .venv is made with.
# PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL and pip's other settings hold: see "Which torch" in CONTRIBUTING.md.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
# One environment is shared by every target, and one install at a time may change it.
.NOTPARALLEL:
.PHONY: help demo test test-system ui clean

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

BIN := .venv/bin
INTERPRETERS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: .venv/.demo ## set up, then train, evaluate and release the shipped pipeline sms_spam
	@$(BIN)/freshtune run sms_spam
	@echo 'For the commands above: source .venv/bin/activate'

test: .venv/.test ## lint, types, import contract, and every test that needs no server
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not system" -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

test-system: .venv/.test ## the tests with daemon, webserver and browser; what this machine lacks is skipped by name
	$(BIN)/python -m pytest -m system tests/system

ui: .venv/.demo ## open Dagster's UI on loopback
	@$(BIN)/freshtune ui

clean: ## remove .venv, caches and builds; results in .freshtune stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -type d -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# An environment whose interpreter is gone counts as none.
$(BIN)/python:
	@for python in $(INTERPRETERS); do \
	  "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || continue; \
	  echo "Making .venv with $$("$$python" --version) ($$python)"; \
	  rm -rf .venv && "$$python" -m venv .venv && exit 0; \
	  rm -rf .venv; echo "$$python could not make .venv; its reason is above." >&2; exit 1; \
	done; \
	echo 'freshtune needs Python 3.11, 3.12 or 3.13 with its module venv; none of these is one: $(INTERPRETERS).' >&2; \
	echo '  fix: install one (Debian, Ubuntu: apt install python3-venv), or name it: make demo PYTHON=/path/to/python3.12' >&2; \
	exit 1

# Stamps: what was installed, and from which pyproject.toml and constraints.txt.
.venv/.demo: EXTRAS := demo
.venv/.test: EXTRAS := demo,dev,pii,production,s3,search
.venv/.demo .venv/.test: $(BIN)/python pyproject.toml constraints.txt
	@echo 'Installing into .venv; the first time takes minutes'
	@$(BIN)/python -m pip install --upgrade pip && $(BIN)/python -m pip install -c constraints.txt -e '.[$(EXTRAS)]' || \
	  { echo "Installing failed; pip's reason is above. What is in .venv is kept: the same command goes on from there." >&2; exit 1; }
	@# A GPU machine wants a torch that uses it, also where a CPU build is what pip finds first; === takes no local build.
	@if nvidia-smi -L >/dev/null 2>&1 && $(BIN)/python -m pip show torch | grep -q '^Version: .*+cpu$$'; then \
	  echo 'This machine has a GPU: replacing the CPU build of torch'; \
	  $(BIN)/python -m pip install -c constraints.txt "$$(sed -n 's/^torch==/torch===/p' constraints.txt)"; \
	fi
	@touch $@ $(if $(findstring dev,$(EXTRAS)),.venv/.demo)
