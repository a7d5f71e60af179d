"""Made-up heads of 68 landmarks with both eyes, in front of a camera."""

from __future__ import annotations

import torch
from torch import Tensor

from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.measures.landmarks_3d import FittedShape
from clnf_torch.models.pdm import PDM, ShapeParams
from tests.factories import seeded

CAMERA = Intrinsics.of(450.0, 470.0, 310.0, 250.0)


def make_pdm(landmarks: int, size: float, seed: int, modes: int = 3) -> PDM:
    """Landmarks spread over a bowl as wide as `size` millimetres, and modes that bend it."""
    rng = seeded(seed)
    mean = size * (torch.rand(landmarks, 3, generator=rng, dtype=torch.float64) - 0.5)
    mean[:, 2] = mean[:, :2].square().sum(-1) / size
    bends = torch.randn(modes, landmarks, 3, generator=rng, dtype=torch.float64) / landmarks**0.5
    return PDM(mean - mean.mean(0), bends, torch.full((modes,), 9.0, dtype=torch.float64))


FACE, EYE = make_pdm(68, 140.0, 1), make_pdm(28, 24.0, 2)


def make_params(faces: int, scale: float, seed: int, spread: float = 40.0) -> ShapeParams:
    """Heads turned this way and that around the middle of the image."""
    rng = seeded(seed)
    return ShapeParams(
        scale * (1 + 0.3 * torch.rand(faces, generator=rng, dtype=torch.float64)),
        0.3 * torch.randn(faces, 3, generator=rng, dtype=torch.float64),
        torch.tensor((310.0, 250.0)) + spread * torch.randn(faces, 2, generator=rng, dtype=torch.float64),
        3 * torch.randn(faces, 3, generator=rng, dtype=torch.float64),
    )


def make_shape(pdm: PDM, params: ShapeParams, noise: float = 0.0, seed: int = 9) -> FittedShape:
    """Landmarks of parameters, or some pixels beside them."""
    landmarks = pdm.landmarks(params)
    offset = noise * torch.randn(landmarks.shape, generator=seeded(seed), dtype=torch.float64)
    return FittedShape(pdm, params, landmarks + offset)


def make_face(faces: int, noise: float = 0.5) -> FittedShape:
    """Fitted faces."""
    return make_shape(FACE, make_params(faces, 0.8, seed=3), noise)


def rows(shape: FittedShape, keep: slice) -> FittedShape:
    """Some of the faces."""
    return FittedShape(shape.pdm, shape.params[keep], shape.landmarks[keep])


def cast(shape: FittedShape, like: Tensor) -> FittedShape:
    """The same in another number type, on another device."""
    pdm = PDM(*(value.to(like) for value in (shape.pdm.mean, shape.pdm.modes, shape.pdm.variances)))
    params = ShapeParams.from_globals(shape.params.globals.to(like), shape.params.local.to(like))
    return FittedShape(pdm, params, shape.landmarks.to(like))


def spoiled(shape: FittedShape) -> FittedShape:
    """The same faces, but the second without a scale, the third with a NaN, the fourth with a landmark nowhere."""
    params, landmarks = shape.params.globals.clone(), shape.landmarks.clone()
    params[1, 0], params[2, 1], landmarks[3, 5, 0] = 0.0, torch.nan, torch.inf
    return FittedShape(shape.pdm, ShapeParams.from_globals(params, shape.params.local), landmarks)
