"""Robust shape fitting: iteratively reweighted least squares, so that outliers among the landmarks hardly pull."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.fitting.gauss_newton import gauss_newton_step
from clnf_torch.geometry.records import Rows
from clnf_torch.geometry.rotation import angle_of, euler_to_matrix
from clnf_torch.geometry.similarity import similarity_between
from clnf_torch.models.pdm import PDM, PosedShape, ShapeParams

# Standard deviation of each coordinate, mm: how far careful people's landmarks lie from the shape model
NOISE = 2.0
# Widths of the robust kernel, mm; see `robust_fit`. From half an eye distance to four times NOISE
KERNEL_WIDTHS = (40.0, 25.0, 16.0, 10.0, 8.0)
# Gauss-Newton steps at each width
ITERATIONS = 5
# Pixels per millimetre
SMALLEST = 1e-3


@dataclass(frozen=True, kw_only=True)
class RobustFit(Rows):
    """The shapes fitted to B faces, and how well their landmarks obey them.

    Attributes:
        params: Pose and shape.
        landmarks: Of the fitted shapes, pixels, shape (B, N, 2).
        residuals: Distances of the given landmarks from these, mm, shape (B, N); infinite for what is not a number.
        mahalanobis: Squared Mahalanobis distance of the shape coefficients divided by their number, shape (B,).
        tilt: Angle between the face's own axis and the camera's, radians, shape (B,).
    """

    params: ShapeParams
    landmarks: Tensor
    residuals: Tensor
    mahalanobis: Tensor
    tilt: Tensor


def robust_fit(pdm: PDM, landmarks: Tensor, trusted: Tensor) -> RobustFit:
    """Shapes that fit most of the landmarks of each face.

    Gauss-Newton steps of a maximum a posteriori estimate of pose and shape with iteratively reweighted least squares: a
    landmark with a residual of r mm has Geman and McClure's weight (1 + (r / width)²)^-2. The kernel's width shrinks
    (graduated non-convexity), so that the shape first follows all landmarks and in the end those that agree.

    Args:
        pdm: The shape model.
        landmarks: Pixels, shape (B, N, 2).
        trusted: Landmarks that count, bool, shape (B, N). They are finite.

    Returns:
        One row per face; something finite even where no landmark counts.

    Source:
        Black and Rangarajan, "On the unification of line processes, outlier rejection, and robust statistics", 1996.
    """
    given = torch.where(trusted[..., None], landmarks, 0)
    shape = PosedShape.of(_initial_shape(pdm, given, trusted))
    precision = 1 / pdm.variances[None]
    for width in KERNEL_WIDTHS:
        for _ in range(ITERATIONS):
            fitted, jacobian = pdm.landmarks_and_jacobian(shape, rigid=False)
            weight = trusted / (1 + _residuals(given, fitted, shape.scale).square() / width**2).square()
            weight = weight / (NOISE * shape.scale[:, None]).square()
            step = gauss_newton_step(jacobian, weight, given - fitted, precision, shape.local)
            shape = _limit_scale_change(shape, shape.step(step))
    fitted = pdm.landmarks(shape)
    return RobustFit(
        params=shape.params(),
        landmarks=fitted,
        residuals=_residuals(landmarks, fitted, shape.scale).nan_to_num(torch.inf, torch.inf),
        mahalanobis=(shape.local.square() / pdm.variances).mean(-1),
        tilt=shape.rotation[:, 2, 2].clamp(-1, 1).acos(),
    )


def _residuals(landmarks: Tensor, fitted: Tensor, scale: Tensor) -> Tensor:
    """Distances in millimetres, (B, N)."""
    return torch.linalg.vector_norm(landmarks - fitted, dim=-1) / scale[:, None]


def _limit_scale_change(before: PosedShape, after: PosedShape) -> PosedShape:
    """A step whose scale changes by no more than a half, so that faces of strange landmarks stay faces."""
    scale = torch.minimum(torch.maximum(after.scale, before.scale / 1.5), before.scale * 1.5).clamp_min(SMALLEST)
    return PosedShape(scale, after.rotation, after.translation, after.local)


def _initial_shape(pdm: PDM, landmarks: Tensor, known: Tensor) -> ShapeParams:
    """The mean face at the median of the known landmarks, as large as they spread, rotated in the image plane."""
    mean = pdm.mean[:, :2].expand_as(landmarks)
    median, mean_median = _median(landmarks, known), _median(mean, known)
    offset, mean_offset = landmarks - median[:, None], mean - mean_median[:, None]
    spread, mean_spread = (
        _median(torch.linalg.vector_norm(points, dim=-1, keepdim=True), known)[:, 0] for points in (offset, mean_offset)
    )
    scale = (spread / mean_spread.clamp_min(SMALLEST)).clamp_min(SMALLEST)
    mask = known[..., None]
    similarity = similarity_between(torch.where(mask, mean_offset, 0), torch.where(mask, offset, 0))
    roll = angle_of(similarity[:, 1, 0], similarity[:, 0, 0]).nan_to_num(0)
    rotation = torch.stack((torch.zeros_like(roll), torch.zeros_like(roll), roll), dim=-1)
    rotated_median = (euler_to_matrix(rotation)[:, :2, :2] @ mean_median[..., None]).squeeze(-1)
    local = landmarks.new_zeros(landmarks.shape[0], pdm.num_modes)
    return ShapeParams(scale, rotation, median - scale[:, None] * rotated_median, local)


def _median(values: Tensor, known: Tensor) -> Tensor:
    """Medians (B, C) over the known landmarks' values (B, N, C); 0 where none is known."""
    return torch.where(known[..., None], values, torch.nan).nanmedian(1).values.nan_to_num(0)
