"""Small seeded models and images: five landmarks, two modes, three views, two scales; made in milliseconds."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from clnf_torch.fitting.config import FitConfig
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.cen import CENExperts
from clnf_torch.models.patch_experts.mlp_stack import MLPStack
from clnf_torch.models.pdm import PDM, ShapeParams

N, M, V = 5, 2, 3
MIRROR = (1, 0, 2, 4, 3)  # the landmark on the other side of the face

# Which stored expert serves each landmark in each view, -1 where it is not visible. View 2 is view 1 seen in a mirror,
# and in the frontal view landmarks 1 and 4 borrow the experts of 0 and 3. Experts 0 to 3 are in the first stack.
EXPERT = ((0, 0, 1, 4, 4), (2, -1, 3, 5, 6), (-1, 2, 3, 6, 5))
FLIPPED = ((0, 1, 0, 0, 1), (0, 0, 0, 0, 0), (0, 1, 1, 1, 1))
YAWS = (0.0, -0.6, 0.6)

CONFIG = FitConfig(window_sizes=(5, 3), iterations=3)


def seeded(seed: int) -> torch.Generator:
    """Random numbers of one's own."""
    return torch.Generator().manual_seed(seed)


def make_pdm(dtype: torch.dtype = torch.float64) -> PDM:
    """Two eyes, a nose and two corners of a mouth, about as wide as a face is in millimetres."""
    mean = torch.tensor(
        [[-31.0, -30.0, 8.0], [31.0, -30.0, 8.0], [0.0, 2.0, 30.0], [-22.0, 33.0, 14.0], [22.0, 33.0, 14.0]],
        dtype=dtype,
    )
    modes = torch.randn(M, N * 3, generator=seeded(1), dtype=torch.float64)
    modes = torch.linalg.qr(modes.mT).Q.mT.reshape(M, N, 3)
    return PDM(mean, modes.to(dtype).contiguous(), torch.tensor([40.0, 15.0], dtype=dtype))


def make_params(faces: int, dtype: torch.dtype = torch.float64, seed: int = 2) -> ShapeParams:
    """Plausible faces, each turned and bent another way."""
    rng = seeded(seed)
    return ShapeParams(
        0.4 + 0.5 * torch.rand(faces, generator=rng, dtype=torch.float64).to(dtype),
        0.4 * torch.randn(faces, 3, generator=rng, dtype=torch.float64).to(dtype),
        36 + 3 * torch.randn(faces, 2, generator=rng, dtype=torch.float64).to(dtype),
        4 * torch.randn(faces, M, generator=rng, dtype=torch.float64).to(dtype),
    )


def make_stack(
    experts: int, widths: tuple[int, ...], activations: list[str], seed: int, dtype: torch.dtype
) -> MLPStack:
    """Random networks whose answers vary; ``widths`` begins with the number of pixels and ends with 1."""
    rng, weights, biases = seeded(seed), [], []
    for before, after in pairwise(widths):
        weights.append((2.5 * torch.randn(experts, before, after, generator=rng)).to(dtype))
        biases.append((0.5 * torch.randn(experts, after, generator=rng)).to(dtype))
    return MLPStack(weights, biases, activations)


def make_experts(
    scale: float = 0.25, support: int = 3, views: int = V, dtype: torch.dtype = torch.float64, seed: int = 3
) -> CENExperts:
    """CEN experts in two stacks of different depth, with mirrored ones and a landmark that is not visible."""
    pixels = support * support
    stacks = [
        make_stack(4, (pixels, 6, 4, 1), ["relu", "sigmoid", "sigmoid"], seed, dtype),
        make_stack(3, (pixels, 5, 1), ["sigmoid", "sigmoid"], seed + 1, dtype),
    ]
    expert = torch.tensor(EXPERT)[:views]
    centers = torch.zeros(V, 3, dtype=dtype)
    centers[:, 1] = torch.tensor(YAWS, dtype=dtype)
    confidence = 0.2 + torch.rand(V, N, generator=seeded(seed + 2), dtype=torch.float64).to(dtype)
    flipped = torch.tensor(FLIPPED)[:views].bool()
    return CENExperts(scale, support, centers[:views], expert >= 0, confidence[:views], expert, flipped, stacks)


def make_rules(dtype: torch.dtype = torch.float64, cutoff: float = 0.0, views: int = V) -> Tensor:
    """Early-termination numbers that differ between the views."""
    steps = torch.arange(views, dtype=dtype)
    return torch.stack((1 + 0.1 * steps, 0.05 * steps, cutoff + 0.02 * steps))


def make_model(
    dtype: torch.dtype = torch.float64, views: int = V, rules: Tensor | None = None, seed: int = 3
) -> LandmarkModel:
    """Two scales with different supports."""
    experts = [make_experts(0.25, 3, views, dtype, seed), make_experts(0.5, 5, views, dtype, seed + 10)]
    return LandmarkModel(make_pdm(dtype), experts, rules)


def make_images(frames: int = 1, height: int = 72, width: int = 80) -> Tensor:
    """Smooth gray images, float64 in 0 to 255, shape (F, H, W)."""
    rng = seeded(5)
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    waves = torch.zeros(frames, height, width, dtype=torch.float64)
    for _ in range(12):
        across, down, phase = (torch.rand(3, frames, 1, 1, generator=rng, dtype=torch.float64) - 0.5) * 40
        waves = waves + torch.sin(across * x + down * y + phase)
    return 127.5 + 120 * torch.tanh(waves / 3)


def make_boxes(faces: int, seed: int = 7) -> Tensor:
    """Boxes (B, 4) inside the images, about 40 pixels wide."""
    rng = seeded(seed)
    corner = 12 + 10 * torch.rand(faces, 2, generator=rng, dtype=torch.float64)
    size = 32 + 14 * torch.rand(faces, 2, generator=rng, dtype=torch.float64)
    return torch.cat((corner, size), dim=-1)
