PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DIST ?= dist

.DEFAULT_GOAL := help
.PHONY: help demo wheel test slow gpu sharded peft docs table lint types format assets clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

# pip compiles on one core; compileall fails on files that this Python cannot compile
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev,docs,quant,sweep,tensorboard,trackio,triton]'
	$(BIN)/python -m compileall -qq -j 2 -x '/tests?/' $(VENV)/lib || true
	touch $@

demo: $(VENV)/installed ## install, then fine-tune the tiny shipped model: goft train
	$(BIN)/goft train

wheel: $(VENV)/installed ## build and check the wheel: pip install dist/goft_cli-VERSION-py3-none-any.whl
	rm -f $(DIST)/goft_cli-*
	$(BIN)/python -m build --no-isolation --outdir $(DIST)
	$(BIN)/twine check --strict $(DIST)/goft_cli-*

test: $(VENV)/installed ## run the test suite (offline, two CPU cores, minutes)
	$(BIN)/python -m pytest -n 2 --dist worksteal

slow: $(VENV)/installed ## run the slow tests, which train or start processes: every recipe and document
	$(BIN)/python -m pytest -n 2 --dist loadscope -m slow

gpu: $(VENV)/installed ## run the tests and benchmarks of a CUDA device (ten minutes): outputs/benchmarks/gpu.md
	$(BIN)/python scripts/gpu_report.py

sharded: $(VENV)/installed ## run the tests of FSDP2 and, with the extra deepspeed, of ZeRO-2 and ZeRO-3
	$(BIN)/python -m pytest -m sharded

peft: $(VENV)/installed ## download PEFT's own tests and run them with GOFT and qGOFT added
	$(BIN)/python scripts/peft_tests.py -n 2

docs: $(VENV)/installed ## build the pages of docs/ as a site: outputs/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

table: $(VENV)/installed ## write the tables and figures of the documents from recipes/results
	$(BIN)/python scripts/results_table.py

lint: $(VENV)/installed ## check style and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/installed ## check types
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/installed ## format the sources
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

assets: $(VENV)/installed ## generate the demos' rows and pretrain the tiny models
	$(BIN)/python scripts/make_demo_rows.py
	$(BIN)/python scripts/make_tiny_models.py

clean: ## remove the environment, all outputs and caches
	rm -rf $(VENV) outputs dist build *.egg-info .pytest_cache .ruff_cache .hypothesis
