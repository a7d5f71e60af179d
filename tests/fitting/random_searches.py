"""Faces and response maps, made at random, for the searches of a fit."""

from __future__ import annotations

import torch

from clnf_torch.fitting.responses import ResponseField
from clnf_torch.geometry.similarity import invert_similarity, similarity_between
from clnf_torch.models.pdm import PDM, PosedShape, ShapeParams
from tests.factories import seeded


def make_pdm(landmarks: int, modes: int, seed: int = 5) -> PDM:
    """A face of points on a curved surface, 100 mm wide, float32."""
    rng = seeded(seed)
    across = 100 * torch.rand(landmarks, 2, generator=rng) - 50
    depth = -across.square().sum(-1, keepdim=True) / 100
    made = torch.randn(modes, landmarks, 3, generator=rng) / landmarks**0.5
    return PDM(torch.cat((across, depth), -1), made, torch.linspace(200, 5, modes))


def make_search(pdm: PDM, faces: int, window: int, seed: int = 6) -> tuple[ShapeParams, ResponseField]:
    """Faces that are turned and shaped at random, and response maps with a peak beside each landmark."""
    rng = seeded(seed)
    local = torch.randn(faces, pdm.num_modes, generator=rng) * pdm.variances.sqrt() / 2
    euler, shift = 0.4 * torch.randn(faces, 3, generator=rng), 100 * torch.rand(faces, 2, generator=rng)
    start = ShapeParams(0.8 + torch.rand(faces, generator=rng), euler, shift, local)
    # The torch form, so that searches begin the same with and without compiled loops
    base = pdm.landmarks(PosedShape.of(start))
    to_reference = similarity_between(base, pdm.reference_landmarks(local, 0.5))
    cells = torch.arange(window) - window // 2
    peak = 0.2 * window * torch.randn(faces, pdm.num_landmarks, 2, 1, generator=rng)
    across, down = (-0.1 * (cells - peak).square()).exp().unbind(-2)
    noise = 0.1 * torch.rand(faces, pdm.num_landmarks, window, window, generator=rng)
    return start, ResponseField(
        responses=down[..., :, None] * across[..., None, :] + noise,
        base=base,
        to_reference=to_reference,
        to_image=invert_similarity(to_reference),
        weight=(torch.rand(faces, pdm.num_landmarks, generator=rng) > 0.2).float(),
    )
