# Two commands for a new machine: `make demo` fits a face, `make test` runs the tests.
# Each sets up .venv first when it is missing or older than pyproject.toml.

PYTHON ?= python3
# What pip installs as torch: make test TORCH="torch==2.4.1 --index-url ..."; a torch that is in .venv already is kept.
TORCH ?= torch==2.13.0
PYTEST_ARGS ?= -n 2

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test fuzz kills dryrun lint types bench weights small eyes eraser free docs clean

help:
	@echo "make demo    find the face in a photograph and its landmarks (IMAGE=file: in yours)"
	@echo "             with OPENFACE=model_dir: with OpenFace's model instead of the default one"
	@echo "make test    run the tests (PYTEST_ARGS='-k fit' narrows them)"
	@echo "make fuzz    open and use damaged files of every format (SECONDS=600, FUZZ_ARGS='--formats bundle')"
	@echo "make kills   kill every command at random moments, with three signals (KILLS=30 each; an hour)"
	@echo "make dryrun  run the benchmark of a card on one that the processor simulates (four minutes)"
	@echo "make lint    ruff (rules and format) and mypy"
	@echo "make bench   time the fit and print a table"
	@echo "make weights train the default model again (hours; MESH=wheel of mediapipe 0.10.14, FACES=, ASSETS=folders, SHAPES=, MTCNN=wheel)"
	@echo "make small   train the small model again (hours; MESH=wheel as above, FACES=, ASSETS=, SHAPES=)"
	@echo "make free    train the free model again (hours; MESH=wheel as above, FREE=folder of free photographs, ASSETS=, SHAPES=)"
	@echo "make eraser  train the eraser of pen marks again (FREE=folder of free photographs)"
	@echo "make docs    build the documentation into build/site"

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

# ---- make demo ------------------------------------------------------------------------------------------------------

DEMO := build/demo
# Eileen Collins, photographed by NASA; in the public domain
ASTRONAUT := docs/images/astronaut.jpg
IMAGE ?= $(ASTRONAUT)
COMPRESS := import cv2, sys; cv2.imwrite(sys.argv[2], cv2.imread(sys.argv[1]), [cv2.IMWRITE_JPEG_QUALITY, 90])

# The image at the top of the README is this one's drawing, which is stored anew where it is missing.
demo: $(READY)
	@mkdir -p $(DEMO)
	$(if $(OPENFACE),$(BIN)/clnf-torch convert "$(OPENFACE)" -o $(DEMO)/openface.pt)
	$(BIN)/clnf-torch detect $(IMAGE) $(if $(OPENFACE),--model $(DEMO)/openface.pt) \
		--draw $(DEMO) --json $(DEMO)/faces.json --csv $(DEMO)/faces.csv
	@test "$(IMAGE)" != "$(ASTRONAUT)" || test -f $(ASTRONAUT:.jpg=_landmarks.jpg) || \
		$(BIN)/python -c "$(COMPRESS)" $(DEMO)/astronaut_landmarks.png $(ASTRONAUT:.jpg=_landmarks.jpg)
	@echo "landmarks, head pose and quality of every face: $(DEMO)/faces.json and $(DEMO)/faces.csv"

# ---- checks ---------------------------------------------------------------------------------------------------------

test: $(READY)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

SECONDS ?= 60

# The exit code is 1 if there was a fault; the files are in build/fuzz then
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(FUZZ_ARGS)

KILLS ?= 30

kills: $(READY)
	CLNF_KILLS=$(KILLS) $(BIN)/python -m pytest -n 0 -v tests/cli/test_kills.py tests/cli/test_track_kills.py

# Before a card is at hand
dryrun: $(READY)
	CLNF_DRY_RUN=1 $(BIN)/python -m pytest -n 0 -v tests/benchmarks/gpu/test_dry_run.py

lint: $(READY) types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy reads folders, not import hooks: converters/ and weights/ are linked under their import names for it.
types: $(READY)
	@mkdir -p build/types/clnf_torch
	@ln -sfn ../../../converters build/types/clnf_torch/converters
	@ln -sfn ../../../weights build/types/clnf_torch/weights
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks

# ---- the default model ----------------------------------------------------------------------------------------------

FACES ?= ../shared/faces
SHAPES ?= ../shared/shape/ict_68.npz
FREE ?= ../shared/free
ASSETS ?= $(FREE)/makehuman
MTCNN ?= weights/default.pt
BLAZEFACE ?= weights/blazeface.pt
WORK ?= build/training
# What MediaPipe's face mesh teaches needs pip install mediapipe==0.10.14; empty: without it
TEACHER ?= --teacher

# The first model is measured on faces that it was not trained on, and its calibrations learned; the second one knows all faces.
# Two of its networks begin as MediaPipe's face mesh: MESH=wheel
weights: $(READY)
	$(BIN)/clnf-torch train model $(FACES) --split helen_train --split lfpw_train --prior $(SHAPES) --detector $(MTCNN) \
		--mesh "$(MESH)" --threads 1 --work $(WORK)/first -o build/first.pt
	$(BIN)/clnf-torch train retrain $(FACES) --model build/first.pt --threads 1 --work $(WORK)/all -o build/blind.pt
	$(MAKE) eyes BLIND=build/blind.pt OUT=build/default.pt

# Two networks, the first of which begins so too
small: $(READY)
	$(BIN)/clnf-torch train model $(FACES) --split helen_train --split lfpw_train --prior $(SHAPES) --detector $(BLAZEFACE) \
		--mesh "$(MESH)" --small --threads 1 --work $(WORK)/small -o build/small_first.pt
	$(BIN)/clnf-torch train retrain $(FACES) --split helen_train --split lfpw_train --model build/small_first.pt --threads 1 \
		--work $(WORK)/small_all -o build/blind_small.pt
	$(MAKE) eyes BLIND=build/blind_small.pt OUT=build/small.pt

# All models get them, each by its own fits of the portraits
eyes: $(READY)
	$(BIN)/clnf-torch train render $(WORK)/rendered --faces 9472 --seed 2 --assets $(ASSETS) --threads 1
	$(BIN)/clnf-torch train eyes $(WORK)/rendered --model $(BLIND) --portraits $(FREE)/london --portraits $(FREE)/congress \
		--templates $(FREE)/london $(TEACHER) --steps 8000 --work $(BLIND).eyes -o $(OUT)

# In forty minutes
eraser: $(READY)
	$(BIN)/clnf-torch train eraser $(FREE)/congress $(FREE)/london --licence "$(ERASER_TERMS)" --work $(WORK)/eraser -o build/pen_marks.pt

ERASER_TERMS := MIT License. Made of the London Set of DeBruine and Jones, doi 10.6084/m9.figshare.5047666 (CC BY 4.0), and of \
	portraits of the US Congress (public domain)

# ---- the free model -------------------------------------------------------------------------------------------------

FREE_TERMS := MIT License. Made of MakeHuman's heads (CC0), the London Set of DeBruine and Jones, doi \
	10.6084/m9.figshare.5047666 (CC BY 4.0), portraits of the US Congress (public domain), ICT-FaceKit (MIT), BlazeFace (Apache 2.0)

# Three networks, two of which begin as MediaPipe's face mesh: MESH=wheel
free: $(READY)
	$(BIN)/clnf-torch train render $(WORK)/free_faces --faces 5120 --seed 21 --assets $(ASSETS) --threads 1
	$(BIN)/clnf-torch train free $(WORK)/free_faces --templates $(FREE)/london --portraits $(FREE)/london \
		--portraits $(FREE)/congress --mesh "$(MESH)" $(TEACHER) --prior $(SHAPES) --licence "$(FREE_TERMS)" --threads 1 \
		--work $(WORK)/free -o build/blind_free.pt
	$(MAKE) eyes BLIND=build/blind_free.pt OUT=build/free.pt

# ---- documentation --------------------------------------------------------------------------------------------------

docs: $(READY)
	@$(BIN)/python -c "import material, mkdocstrings" 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/site/index.html; it needs no server, its search neither"

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
