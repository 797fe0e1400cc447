# make demo    the whole road on the built-in sample crawl: needs Python 3.11-3.13 and pip, nothing else
# make test    the test suite            make check   ruff and mypy
# make bench   runnable comparisons      make clean   remove what was made here
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo

.PHONY: demo test check bench assets clean
.DELETE_ON_ERROR:

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "curate needs Python 3.11 to 3.13, and $(PYTHON) is another: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	touch $@

.venv/.core: .venv/.made pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/.core
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,bench,check]"
	touch $@

# word lists come with npm; the tests that need them skip without it
assets: .venv/.core
	$(BIN)/curate assets fetch lid.176 llama3-tokenizer mistral-v1-32k
	if command -v npm >/dev/null; then $(BIN)/curate assets fetch bad-words || echo "going on without bad-words" >&2; fi

demo: .venv/.core
	$(BIN)/curate assets fetch lid.176
	mkdir -p $(DEMO)
	$(BIN)/curate sample $(DEMO)/crawl
	cd $(DEMO) && ../../$(BIN)/curate run crawl-to-shards.toml --output run
	$(BIN)/curate stats $(DEMO)/run
	$(BIN)/curate shards info $(DEMO)/run/shards --decode 1

test: .venv/.dev assets
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: .venv/.dev assets
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build dist runs .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find curate tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
