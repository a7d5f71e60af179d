"""A bundle of the free model, its image, and the program itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import clnf_torch
from clnf_torch.cli import annotated_faces
from clnf_torch.cli.images import read_image
from clnf_torch.cli.main import app
from clnf_torch.converters import convert


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
