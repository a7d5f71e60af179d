"""The face that most of the landmarks agree on: a shape fitted so that wrong ones hardly pull."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from clnf_torch.fitting.gauss_newton import normal_equations, solve
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.geometry.similarity import similarity_between
from clnf_torch.models.pdm import PDM, PosedShape, ShapeParams

# Millimetres, each coordinate: how far careful people's landmarks lie from the shape model
NOISE = 2.0
# Millimetres; see `robust_fit`. From half an eye distance to five NOISEs
REACHES = (40.0, 25.0, 16.0, 10.0, 8.0)
# At each reach
STEPS = 5
# Pixels per millimetre
SMALLEST = 1e-3


@dataclass(frozen=True, kw_only=True)
class RobustFit:
    """The shapes of B faces, and how well their landmarks obey them."""

    params: ShapeParams
    landmarks: Tensor  # (B, N, 2) of the shapes, pixels
    residuals: Tensor  # (B, N) distance of the given landmarks from these, millimetres; infinite for what is no number
    unlikeness: Tensor  # (B,) mean square of the shape coefficients, in variances of theirs
    tilt: Tensor  # (B,) angle between the face's own axis and the camera's, radians

    def __getitem__(self, rows: Tensor | slice) -> "RobustFit":
        """The faces of these rows."""
        return RobustFit(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def replaced(self, rows: Tensor, other: "RobustFit") -> "RobustFit":
        """The same with other faces in some rows (K,), the K faces of `other`."""
        order = torch.arange(len(self.tilt), device=rows.device).index_copy(
            0, rows, len(self.tilt) + torch.arange(len(rows), device=rows.device)
        )
        return RobustFit(
            params=ShapeParams.concatenate([self.params, other.params])[order],
            landmarks=torch.cat((self.landmarks, other.landmarks))[order],
            residuals=torch.cat((self.residuals, other.residuals))[order],
            unlikeness=torch.cat((self.unlikeness, other.unlikeness))[order],
            tilt=torch.cat((self.tilt, other.tilt))[order],
        )


def robust_fit(pdm: PDM, landmarks: Tensor, trusted: Tensor) -> RobustFit:
    """Shapes that fit most of the landmarks of each face.

    Gauss-Newton steps for the posterior of pose and shape, in which a landmark that is r millimetres off weighs
    (1 + (r / reach)²)^-2 (Geman and McClure's weight); the reach shrinks, so that the shape first follows all landmarks
    and in the end those that agree.

    Args:
        pdm: The shape model.
        landmarks: Pixels, shape (B, N, 2).
        trusted: Landmarks that count, bool, shape (B, N). They are finite.

    Returns:
        One row per face; something finite even where no landmark counts.

    Source:
        Black and Rangarajan, "On the unification of line processes, outlier rejection, and robust statistics", 1996:
        graduated non-convexity.
    """
    given = torch.where(trusted[..., None], landmarks, 0)
    shape = PosedShape.of(_start(pdm, given, trusted))
    precision = torch.cat((pdm.variances.new_zeros(6), 1 / pdm.variances))
    for reach in REACHES:
        for _ in range(STEPS):
            found, jacobian = pdm.landmarks_and_jacobian(shape, rigid=False)
            weight = trusted / (1 + _residuals(given, found, shape.scale).square() / reach**2).square()
            weight = weight / (NOISE * shape.scale[:, None]).square()
            hessian, right = normal_equations(jacobian, weight, given - found)
            right = torch.cat((right[:, :6], right[:, 6:] - precision[6:] * shape.local), dim=-1)
            shape = _held(shape, shape.step(solve(hessian + precision.diag(), right)))
    found = pdm.landmarks(shape)
    return RobustFit(
        params=shape.params(),
        landmarks=found,
        residuals=_residuals(landmarks, found, shape.scale).nan_to_num(torch.inf, torch.inf),
        unlikeness=(shape.local.square() / pdm.variances).mean(-1),
        tilt=shape.rotation[:, 2, 2].clamp(-1, 1).acos(),
    )


def _residuals(landmarks: Tensor, found: Tensor, scale: Tensor) -> Tensor:
    """Distances (B, N) in millimetres."""
    return torch.linalg.vector_norm(landmarks - found, dim=-1) / scale[:, None]


def _held(before: PosedShape, after: PosedShape) -> PosedShape:
    """A step whose size changes by no more than a half, so that faces of strange landmarks stay faces."""
    scale = torch.minimum(torch.maximum(after.scale, before.scale / 1.5), before.scale * 1.5).clamp_min(SMALLEST)
    return PosedShape(scale, after.rotation, after.translation, after.local)


def _start(pdm: PDM, landmarks: Tensor, known: Tensor) -> ShapeParams:
    """The mean face at the median of the known landmarks, as large as they spread, turned in the image's plane."""
    mean = pdm.mean[:, :2].expand_as(landmarks)
    middle, mean_middle = _median(landmarks, known), _median(mean, known)
    away, mean_away = landmarks - middle[:, None], mean - mean_middle[:, None]
    spread, mean_spread = (
        _median(torch.linalg.vector_norm(points, dim=-1, keepdim=True), known)[:, 0] for points in (away, mean_away)
    )
    scale = (spread / mean_spread.clamp_min(SMALLEST)).clamp_min(SMALLEST)
    on = known[..., None]
    similar = similarity_between(torch.where(on, mean_away, 0), torch.where(on, away, 0))
    roll = torch.atan2(similar[:, 1, 0], similar[:, 0, 0]).nan_to_num(0)
    rotation = torch.stack((torch.zeros_like(roll), torch.zeros_like(roll), roll), dim=-1)
    seen_middle = (euler_to_matrix(rotation)[:, :2, :2] @ mean_middle[..., None]).squeeze(-1)
    local = landmarks.new_zeros(landmarks.shape[0], pdm.num_modes)
    return ShapeParams(scale, rotation, middle - scale[:, None] * seen_middle, local)


def _median(values: Tensor, known: Tensor) -> Tensor:
    """Medians (B, C) over the known landmarks' values (B, N, C); 0 where none is known."""
    return torch.where(known[..., None], values, torch.nan).nanmedian(1).values.nan_to_num(0)
