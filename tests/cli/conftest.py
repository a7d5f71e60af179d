"""A bundle of the free model, its image, and the program itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import clnf_torch
from clnf_torch.cli import annotated_faces
from clnf_torch.cli.images import read_image
from clnf_torch.cli.main import app
from clnf_torch.converters import convert
from clnf_torch.models.archive import save_archive
from clnf_torch.models.bundle import FORMAT, VERSION
from tests.mtcnns import make_mtcnn_record
from tests.training.heads import make_crops, make_gaussian, make_heads


@pytest.fixture(scope="session")
def free_model(golden_dir: Path) -> Path:
    """The folder of the free model and its image."""
    return golden_dir / "free_model"


@pytest.fixture(scope="session")
def image(free_model: Path) -> Path:
    """The free model's image."""
    return free_model / "image.png"


@pytest.fixture(scope="session")
def box(free_model: Path) -> list[float]:
    """The face in it."""
    return json.loads((free_model / "boxes.json").read_text())["image.png"][0]


@pytest.fixture(scope="session")
def bundle(free_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The free model, converted."""
    path = tmp_path_factory.mktemp("bundle") / "free.pt"
    convert(free_model, path)
    return path


@pytest.fixture(scope="session")
def dotted_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of dots with their annotations, shapes to begin with, and a bundle with a face detector."""
    folder = tmp_path_factory.mktemp("faces")
    pdm = make_gaussian().pdm()
    crops = make_crops(pdm.landmarks(make_heads(pdm, 12)))
    for row, (gray, landmarks) in enumerate(zip(crops.gray, crops.landmarks, strict=True)):
        cv2.imwrite(str(folder / f"{row}.png"), gray.numpy())
        points = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in landmarks.tolist())
        (folder / f"{row}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    own = folder.parent
    mean, moves = pdm.mean.detach().numpy() / 10 * np.array([1, -1, -1]), pdm.modes.detach().numpy() / 10
    np.savez(own / "shapes.npz", mean=mean, identity=moves * [1, -1, -1], expression=np.zeros((1, 68, 3)))
    save_archive({"format": FORMAT, "version": VERSION, "face_detector": make_mtcnn_record()}, own / "detector.pt")
    return folder


@pytest.fixture
def clnf_torch_cli() -> Callable[..., Result]:
    """Runs the program in this process with the given words."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def four_copies(tmp_path: Path, bundle: Path, image: Path, box: list[float]) -> Path:
    """A folder of four annotated faces, which are one."""
    found = clnf_torch.load(bundle).fit(read_image(image)[None], torch.tensor([box])).landmarks[0]
    (folder := tmp_path / "faces").mkdir()
    names = [f"{number}.png" for number in range(4)]
    for name in names:
        shutil.copy(image, folder / name)
    np.savez(folder / "landmarks.npz", names=np.array(names), landmarks=np.stack([found.numpy()] * 4))
    return folder


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets four faces be learned from."""
    monkeypatch.setattr(annotated_faces, "LEAST_FACES", 4)
