"""A detector of 68 landmarks, and faces that it takes for possible."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch.converters import convert
from clnf_torch.media.images import read_image
from clnf_torch.models.pdm import ShapeParams


@pytest.fixture(scope="session")
def detector(golden_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> clnf_torch.LandmarkDetector:
    """The free model; its experts are made up and agree on nothing but their own fits."""
    path = tmp_path_factory.mktemp("bundle") / "free.pt"
    convert(golden_dir / "free_model" / "main_ceclm_free.txt", path)
    return clnf_torch.load(path)


@pytest.fixture(scope="session")
def image(golden_dir: Path) -> Tensor:
    """The image that belongs to it, shape (1, 3, H, W)."""
    return read_image(golden_dir / "free_model" / "image.png")[None]


@pytest.fixture(scope="session")
def fitted(detector: clnf_torch.LandmarkDetector, image: Tensor, golden_dir: Path) -> Tensor:
    """The landmarks that the detector finds there, shape (1, 68, 2)."""
    box = json.loads((golden_dir / "free_model" / "boxes.json").read_text())["image.png"]
    return detector.fit(image, torch.tensor(box, dtype=torch.float32)).landmarks


@pytest.fixture
def faces(detector: clnf_torch.LandmarkDetector) -> Tensor:
    """Six plausible faces, each turned and bent another way, about 160 pixels wide, shape (6, 68, 2)."""
    rng = torch.Generator().manual_seed(11)
    pdm = detector.model.pdm
    params = ShapeParams(
        torch.linspace(1.0, 1.4, 6),
        torch.cat([0.25 * torch.randn(6, 2, generator=rng), torch.linspace(-0.8, 0.8, 6)[:, None]], 1),
        torch.full((6, 2), 200.0),
        0.5 * pdm.variances.sqrt() * torch.randn(6, pdm.num_modes, generator=rng),
    )
    return pdm.landmarks(params)
