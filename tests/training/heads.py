"""Made-up heads: a PDM of 68 points with known modes, and images in which every point is a dark dot."""

from __future__ import annotations

import torch
from torch import Tensor

from clnf_torch.geometry import landmarks68
from clnf_torch.models.pdm import PDM, ShapeParams
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.shape.gaussian import ShapeGaussian
from tests.factories import seeded

MIRROR = torch.tensor(landmarks68.MIRROR)


def round_head() -> Tensor:
    """68 mirror-symmetric points on a bowl as wide as a face, millimetres, (68, 3)."""
    points = 70 * torch.rand(68, 3, generator=seeded(1), dtype=torch.float64) - 35
    points[:, 0] *= 2
    points = (points + points[MIRROR] * torch.tensor([-1.0, 1, 1])) / 2
    points[:, 2] = 0.006 * points[:, :2].square().sum(-1)
    points = points - points.mean(0)
    return points * (140 / (points[:, 0].amax() - points[:, 0].amin()))


def make_gaussian(modes: int = 4, seed: int = 2, deviation: float = 3.0) -> ShapeGaussian:
    """Heads that vary along a few random directions, without pose, mirror-symmetric."""
    moves = deviation * torch.randn(modes, 68 * 3, generator=seeded(seed), dtype=torch.float64)
    return ShapeGaussian(round_head(), moves.mT @ moves / modes).without_pose().symmetrised(MIRROR)


def make_heads(pdm: PDM, count: int, seed: int = 3) -> ShapeParams:
    """Heads of that PDM, turned up to some 30 degrees, in the middle of images of 96 pixels."""
    rng = seeded(seed)
    deviations = pdm.variances.sqrt()
    return ShapeParams(
        0.4 + 0.05 * torch.rand(count, generator=rng, dtype=torch.float64),
        0.25 * torch.randn(count, 3, generator=rng, dtype=torch.float64),
        47.5 + torch.randn(count, 2, generator=rng, dtype=torch.float64),
        deviations * torch.randn(count, pdm.num_modes, generator=rng, dtype=torch.float64),
    )


def make_crops(landmarks: Tensor, side: int = 96) -> FaceCrops:
    """Images with a smooth dark dot at every landmark (F, 68, 2)."""
    steps = torch.arange(side, dtype=landmarks.dtype)
    across = (-0.5 * (landmarks[..., 0, None] - steps).square() / 1.5**2).exp()
    down = (-0.5 * (landmarks[..., 1, None] - steps).square() / 1.5**2).exp()
    dots = torch.einsum("fny,fnx->fyx", down, across).clamp(max=1)
    return FaceCrops(gray=(220 - 180 * dots).round().to(torch.uint8), landmarks=landmarks.float())
