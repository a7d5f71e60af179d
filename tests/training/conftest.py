"""The free model, its image and its face, for trainings that need whole fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch.converters import convert
from clnf_torch.geometry.gray import to_gray
from clnf_torch.media.images import read_image


class FreeFace(NamedTuple):
    detector: clnf_torch.LandmarkDetector  # with exact numerics
    gray: Tensor  # (1, H, W)
    box: Tensor  # (1, 4)


@pytest.fixture
def free_face(golden_dir: Path, tmp_path: Path) -> FreeFace:
    """A detector of the free model that may learn, and the face that it finds."""
    folder = golden_dir / "free_model"
    convert(folder, tmp_path / "free.pt")
    box = json.loads((folder / "boxes.json").read_text())["image.png"]
    detector = clnf_torch.load(tmp_path / "free.pt", numerics="exact")
    return FreeFace(detector, to_gray(read_image(folder / "image.png")[None]), torch.tensor(box).float())
