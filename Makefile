# Two commands for a fresh machine: `make demo` shows the main job, `make test` checks it.
# Each sets up .venv first when it is missing or older than pyproject.toml.

PYTHON ?= python3
# Another build of torch: make test TORCH="torch==2.4.1 --index-url ..."; a torch that is in .venv already is kept.
TORCH ?= torch==2.13.0
PYTEST_ARGS ?= -n 2

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test lint bench docs clean

help:
	@echo "make demo    convert the free model of tests/golden and fit its picture"
	@echo "             with OPENFACE=model_dir PICTURE=file [BOX='x y w h']: a real model, a real picture"
	@echo "make test    run the tests (PYTEST_ARGS='-k fit' narrows them)"
	@echo "make lint    ruff and mypy"
	@echo "make bench   time the fit and print a table"
	@echo "make docs    build the handbook into build/site"

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

# ---- make demo ------------------------------------------------------------------------------------------------------

DEMO := build/demo
FREE := tests/golden/free_model
SOURCE := $(if $(OPENFACE),$(OPENFACE),$(FREE)/main_ceclm_free.txt)
PICTURE ?= $(FREE)/image.png
# Without a face detector the demo guesses: the face fills the middle of a picture that comes without its box.
MIDDLE := import cv2, sys; h, w = cv2.imread(sys.argv[1]).shape[:2]; print(0.25 * w, 0.25 * h, 0.5 * w, 0.5 * h)

demo: $(READY)
	@test -z "$(OPENFACE)" || test "$(PICTURE)" != "$(FREE)/image.png" || \
		{ echo "make demo: OPENFACE needs PICTURE=file as well" >&2; exit 2; }
	@test -f "$(PICTURE)" || { echo "make demo: there is no picture $(PICTURE)" >&2; exit 2; }
	@mkdir -p $(DEMO)
	$(BIN)/clnf-torch convert "$(SOURCE)" -o $(DEMO)/model.pt
	$(BIN)/clnf-torch fit "$(PICTURE)" --model $(DEMO)/model.pt --json $(DEMO)/landmarks.json --draw $(DEMO) \
		$(if $(BOX),--box $(BOX),$(if $(OPENFACE),--box $$($(BIN)/python -c "$(MIDDLE)" "$(PICTURE)"),--boxes $(FREE)/boxes.json))
	@echo "landmarks: $(DEMO)/landmarks.json"

# ---- checks ---------------------------------------------------------------------------------------------------------

test: $(READY)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# mypy reads folders, not import hooks: the two neighbours are linked under their import names for it.
lint: $(READY)
	$(BIN)/ruff check .
	@mkdir -p build/types/clnf_torch
	@ln -sfn ../../../converters build/types/clnf_torch/converters
	@ln -sfn ../../../weights build/types/clnf_torch/weights
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks

# ---- the handbook ---------------------------------------------------------------------------------------------------

docs: $(READY)
	@$(BIN)/python -c "import material, mkdocstrings" 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/site/index.html; to search in it: $(BIN)/mkdocs serve"

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
