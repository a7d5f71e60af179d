"""Faces of five landmarks, each marked by a spot that looks the same on all faces: what small experts can learn."""

from __future__ import annotations

import torch
from torch import Tensor

from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.training.data.crops import FaceCrops
from tests.factories import MIRROR, M, make_pdm, seeded

SIDE = 96  # of the crops, pixels
SPOTS = ((90.0, 2.0), (90.0, 2.0), (-90.0, 3.0), (60.0, 4.0), (60.0, 4.0))  # gray levels and width of each landmark's


def mirror() -> Tensor:
    return torch.tensor(MIRROR)


def pdm() -> PDM:
    return make_pdm(torch.float32)


def turned(faces: int, yaw: float, seed: int) -> ShapeParams:
    """Parameters of faces turned by about a yaw, radians, in the middle of their crops."""
    rng = seeded(seed)
    rotation = 0.04 * torch.randn(faces, 3, generator=rng) + torch.tensor([0.0, yaw, 0.0])
    middle = SIDE / 2 + torch.randn(faces, 2, generator=rng)
    size = 0.7 + 0.1 * torch.rand(faces, generator=rng)
    return ShapeParams(size, rotation, middle, 2 * torch.randn(faces, M, generator=rng))


def patterned_faces(faces: int = 24, yaw: float = 0.0, seed: int = 11) -> FaceCrops:
    """Gray images with a spot at each landmark, and a little noise."""
    landmarks = pdm().landmarks(turned(faces, yaw, seed))
    line = torch.arange(SIDE, dtype=torch.float32)
    gray = torch.full((faces, SIDE, SIDE), 120.0) + 4 * torch.randn(faces, SIDE, SIDE, generator=seeded(seed + 1))
    for number, (height, width) in enumerate(SPOTS):
        fading = (-0.5 * ((line - landmarks[:, number, :, None]) / width).square()).exp()  # (F, 2, S)
        gray = gray + height * fading[:, 1, :, None] * fading[:, 0, None]
    return FaceCrops(gray=gray.clamp(0, 255).to(torch.uint8), landmarks=landmarks)


def together(*crops: FaceCrops) -> FaceCrops:
    return FaceCrops(gray=torch.cat([c.gray for c in crops]), landmarks=torch.cat([c.landmarks for c in crops]))
