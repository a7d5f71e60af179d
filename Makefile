# Two commands for a fresh machine: `make demo` shows the main job, `make test` checks it.
# Each sets up .venv first when it is missing or older than pyproject.toml.

PYTHON ?= python3
# Another build of torch: make test TORCH="torch==2.4.1 --index-url ..."; a torch that is in .venv already is kept.
TORCH ?= torch==2.13.0
PYTEST_ARGS ?= -n 2

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test lint bench weights docs clean

help:
	@echo "make demo    find a face in a photograph and its landmarks (IMAGE=file: in yours)"
	@echo "             with OPENFACE=model_dir: by OpenFace's model instead of our own"
	@echo "make test    run the tests (PYTEST_ARGS='-k fit' narrows them)"
	@echo "make lint    ruff and mypy"
	@echo "make bench   time the fit and print a table"
	@echo "make weights train the default model again (hours; FACES=folder, SHAPES=ict_68.npz, MTCNN=wheel)"
	@echo "make docs    build the handbook into build/site"

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

# ---- make demo ------------------------------------------------------------------------------------------------------

DEMO := build/demo
ASTRONAUT := $(DEMO)/astronaut.png
IMAGE ?= $(ASTRONAUT)
# Eileen Collins, photographed by NASA: in the public domain, and in every scikit-image
SAVE := import cv2, skimage, sys; cv2.imwrite(sys.argv[1], skimage.data.astronaut()[:, :, ::-1])

demo: $(READY)
	@mkdir -p $(DEMO)
	@test "$(IMAGE)" != "$(ASTRONAUT)" || test -f $(ASTRONAUT) || { \
		$(BIN)/python -c "import skimage" 2>/dev/null || $(BIN)/python -m pip install --quiet "scikit-image>=0.22"; \
		$(BIN)/python -c "$(SAVE)" $(ASTRONAUT); }
	$(if $(OPENFACE),$(BIN)/clnf-torch convert "$(OPENFACE)" -o $(DEMO)/openface.pt)
	$(BIN)/clnf-torch detect $(IMAGE) $(if $(OPENFACE),--model $(DEMO)/openface.pt) \
		--draw $(DEMO) --json $(DEMO)/faces.json --csv $(DEMO)/faces.csv
	@echo "landmarks, head pose and quality of every face: $(DEMO)/faces.json and $(DEMO)/faces.csv"

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

# ---- the default model ----------------------------------------------------------------------------------------------

FACES ?= ../shared/faces
SHAPES ?= ../shared/shape/ict_68.npz
MTCNN ?= weights/default.pt
WORK ?= build/training

weights: $(READY)
	$(BIN)/clnf-torch train model $(FACES) --split helen_train --split lfpw_train --prior $(SHAPES) --detector $(MTCNN) \
		--threads 1 --work $(WORK) -o build/default.pt

# ---- the handbook ---------------------------------------------------------------------------------------------------

docs: $(READY)
	@$(BIN)/python -c "import material, mkdocstrings" 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/site/index.html; to search in it: $(BIN)/mkdocs serve"

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
