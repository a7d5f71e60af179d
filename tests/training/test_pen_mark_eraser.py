"""The training of the eraser: what it learns from, and that it goes on from a checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import clnf_torch
from clnf_torch.media.images import read_image
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.checkpoint import Checkpoint, fingerprint
from clnf_torch.training.pen_mark_eraser import ColourFaces, EraserConfig, EraserTask, colour_faces, train_eraser
from clnf_torch.training.trainer import Trainer

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.jpg"
CONFIG = EraserConfig(widths=(8, 12), steps=4, batch=3, side=64)


@pytest.fixture(scope="module")
def faces() -> ColourFaces:
    """One face, twice."""
    image = read_image(ASTRONAUT)
    finder, detector = clnf_torch.load_face_detector("free"), clnf_torch.load("free")
    blank = torch.zeros_like(image)
    return colour_faces([image, blank, image], finder, detector, lambda count: None)


def test_photographs_without_faces_are_left_out(faces):
    assert len(faces) == 2 and faces.images.shape == (2, 3, 384, 384)
    assert ((faces.landmarks > 0) & (faces.landmarks < 384)).all()
    with pytest.raises(ValueError, match="show no face"):
        colour_faces([], clnf_torch.load_face_detector("free"), clnf_torch.load("free"), lambda count: None)


def test_views_differ_where_marks_are_drawn(faces):
    task = EraserTask(EraserConfig(batch=12, side=64, marked=1.0, noise=0.0, gray=0.0), faces)
    bare, marked = task.views(Sampler(torch.Generator().manual_seed(0), torch.device("cpu")))
    share = ((bare - marked).abs().amax(1) > 5).float().mean((1, 2))
    assert bare.shape == (12, 3, 64, 64) and (share > 0).float().mean() > 0.8 and share.max() < 0.5
    task = EraserTask(EraserConfig(batch=4, side=64, marked=0.0), faces)
    bare, marked = task.views(Sampler(torch.Generator().manual_seed(0), torch.device("cpu")))
    assert torch.equal(bare, marked)


def test_a_training_goes_on_where_it_stopped(faces, tmp_path):
    whole = train_eraser(faces, CONFIG)
    task = EraserTask(CONFIG, faces)
    settings = f"{CONFIG} {fingerprint(faces.images, faces.landmarks, faces.photographed)}"
    trainer = Trainer(task)
    trainer.run(until=2)
    Checkpoint.within(tmp_path, "eraser", settings).save(trainer.state())
    rounds = []
    resumed = train_eraser(faces, CONFIG, tmp_path, lambda name, done, total, loss: rounds.append(done))
    assert rounds == [3, 4]
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_command_makes_a_bundle_that_erases(clnf_torch_cli, tmp_path):
    (tmp_path / "portraits").mkdir()
    shutil.copy(ASTRONAUT, tmp_path / "portraits")
    out = tmp_path / "eraser.pt"
    done = clnf_torch_cli("train", "eraser", tmp_path / "portraits", "-o", out, "--steps", 1)
    assert done.exit_code == 0, done.stderr
    assert "trained on 1 faces" in done.stdout
    eraser = clnf_torch.load_pen_mark_eraser(out)
    frames = torch.zeros(1, 3, 200, 200, dtype=torch.uint8)
    assert eraser.erase(frames, torch.tensor([[50.0, 50.0, 90.0, 90.0]])).shape == frames.shape
    (tmp_path / "empty").mkdir()
    done = clnf_torch_cli("train", "eraser", tmp_path / "empty", "-o", tmp_path / "other.pt", "--steps", 1)
    assert done.exit_code == 1 and "show no face" in done.stderr
