"""The named checks of landmark quality: what each one measures, relative to its threshold in `QualityConfig`.

Each check gives its violation for B faces, shape (B,): measurement divided by threshold, 1 at the threshold and more
beyond it, 0 where nothing is known to measure. To add a check, write its function and list it in `CHECKS`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry import landmarks68
from clnf_torch.geometry.boxes import box_around
from clnf_torch.geometry.landmarks68 import Pairs
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.quality import ordering
from clnf_torch.quality.config import QualityConfig
from clnf_torch.quality.robust_fit import RobustFit


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that is known about the landmarks of B faces; None where it was not given.

    Attributes:
        landmarks: Pixels, shape (B, N, 2); unknown ones are where the fitted shape has them.
        known: Landmarks that are finite numbers of usual size, bool, shape (B, N).
        shape: The shape fitted to most of the landmarks.
        outside_image: Landmarks outside the image, bool, shape (B, N).
        boxes: Face boxes (x, y, width, height), pixels, shape (B, 4); NaN or no area: unknown.
        outside_box: Landmarks outside the enlarged box, bool, shape (B, N).
        adjacent: The same faces' landmarks in adjacent frames, each of shape (B, N, 2).
        mean_agreement: Mean expert agreement of the visible landmarks, shape (B,).
        min_agreement: Its threshold for the family of the experts.
        has_image: Faces whose image exists, bool, shape (B,).
        confidence: The other method's, shape (B,).
    """

    landmarks: Tensor
    known: Tensor
    shape: RobustFit
    outside_image: Tensor | None = None
    boxes: Tensor | None = None
    outside_box: Tensor | None = None
    adjacent: tuple[Tensor, ...] = ()
    mean_agreement: Tensor | None = None
    min_agreement: float = 0.0
    has_image: Tensor | None = None
    confidence: Tensor | None = None

    @property
    def no_violation(self) -> Tensor:
        """Zeros, shape (B,)."""
        return torch.zeros_like(self.shape.tilt)

    @property
    def in_millimetres(self) -> tuple[Tensor, Tensor]:
        """Landmarks and fitted landmarks, divided by the face's scale."""
        scale = self.shape.params.scale[:, None, None]
        return self.landmarks / scale, self.shape.landmarks / scale


def not_finite(faces: Evidence, limits: QualityConfig) -> Tensor:
    """A landmark is NaN, infinite, or absurdly far away."""
    return torch.where(faces.known.all(-1), faces.no_violation, torch.inf)


def implausible(faces: Evidence, limits: QualityConfig) -> Tensor:
    """No face has such a shape: residuals and coefficients together, outliers, and the tilt."""
    residuals = torch.where(faces.known, faces.shape.residuals, 0)
    count = faces.known.sum(-1).clamp_min(1)
    fit = torch.hypot(residuals.sum(-1) / count / limits.mean_residual, faces.shape.mahalanobis / limits.mahalanobis)
    outliers = ((residuals > limits.outlier_distance).sum(-1) / count) / limits.outlier_ratio
    return torch.stack((fit, outliers, faces.shape.tilt / limits.tilt)).amax(0)


def eyes_crossed(faces: Evidence, limits: QualityConfig) -> Tensor:
    """Eyelids inside out, eye corners exchanged, or eyes exchanged."""
    return _crossing(faces, landmarks68.EYELIDS, landmarks68.ALONG_EYES) / limits.crossing


def mouth_crossed(faces: Evidence, limits: QualityConfig) -> Tensor:
    """Lips inside out, or mouth corners exchanged."""
    return _crossing(faces, landmarks68.LIPS, landmarks68.ALONG_MOUTH) / limits.crossing


def jaw_collapsed(faces: Evidence, limits: QualityConfig) -> Tensor:
    """The jaw line is folded, or not as long, wide or far below the mouth as in the fitted shape."""
    points, fitted = faces.in_millimetres
    jaw = landmarks68.ALONG_JAW
    folding = ordering.wrong_way(points, jaw, ordering.directions(fitted, jaw)).clamp_min(0)
    length, width, chin = (
        ordering.misfit(ordering.lengths(points, pairs).sum(-1), ordering.lengths(fitted, pairs).sum(-1))
        for pairs in (jaw, (landmarks68.EAR_TO_EAR,), (landmarks68.CHIN_TO_MOUTH,))
    )
    ratios = (
        folding / limits.jaw_folding,
        length / limits.jaw_length,
        width / limits.jaw_width,
        chin / limits.chin_distance,
    )
    return torch.stack(ratios).amax(0)


def outside(faces: Evidence, limits: QualityConfig) -> Tensor:
    """Outside the image or the given box, or of another size than the box."""
    violation = faces.no_violation
    if faces.outside_image is not None:
        violation = torch.maximum(violation, ratio_of(faces.outside_image) / limits.outside_image)
    if faces.boxes is not None and faces.outside_box is not None:
        violation = torch.maximum(violation, ratio_of(faces.outside_box) / limits.outside_box)
        scale_ratio = box_scale_ratio(faces.landmarks, faces.boxes)
        violation = torch.maximum(violation, scale_ratio / math.log(limits.box_scale_ratio))
    return violation


def jumped(faces: Evidence, limits: QualityConfig) -> Tensor:
    """Away from where the face is in both adjacent frames."""
    if not faces.adjacent:
        return faces.no_violation
    moved = torch.stack([torch.linalg.vector_norm(faces.landmarks - one, dim=-1).mean(-1) for one in faces.adjacent])
    nearest = torch.where(moved.isfinite(), moved, torch.inf).amin(0)
    return torch.where(nearest.isfinite(), nearest / faces.shape.params.scale, 0) / limits.jump


def unlikely(faces: Evidence, limits: QualityConfig) -> Tensor:
    """The experts see the landmarks elsewhere."""
    if faces.mean_agreement is None or faces.has_image is None:
        return faces.no_violation
    return torch.where(faces.has_image, (1 - faces.mean_agreement) / (1 - faces.min_agreement), 0)


def unsure(faces: Evidence, limits: QualityConfig) -> Tensor:
    """The other method itself says so."""
    return faces.no_violation if faces.confidence is None else (1 - faces.confidence) / (1 - limits.min_confidence)


@dataclass(frozen=True)
class Check:
    """A reason to call a face's landmarks poor.

    Attributes:
        reason: Its name.
        violation: What it measures relative to the threshold, shape (B,).
    """

    reason: str
    violation: Callable[[Evidence, QualityConfig], Tensor]


CHECKS = (
    Check("not finite", not_finite),
    Check("implausible", implausible),
    Check("eyes crossed", eyes_crossed),
    Check("mouth crossed", mouth_crossed),
    Check("jaw collapsed", jaw_collapsed),
    Check("outside", outside),
    Check("jumped", jumped),
    Check("unlikely", unlikely),
    Check("unsure", unsure),
)
REASONS = tuple(check.reason for check in CHECKS)


def run_checks(faces: Evidence, limits: QualityConfig) -> Tensor:
    """The violations of all checks, shape (B, R) in the order of `REASONS`; infinite where one is not a number."""
    violations = [check.violation(faces, limits).to(faces.landmarks) for check in CHECKS]
    return torch.stack(violations, -1).nan_to_num(torch.inf, torch.inf)


def ratio_of(landmarks: Tensor) -> Tensor:
    """The share of landmarks (B, N) that are true, shape (B,)."""
    return landmarks.float().mean(-1)


def usable_boxes(boxes: Tensor) -> Tensor:
    """Boxes (B, 4) that are finite and have an area, bool, shape (B,)."""
    return boxes.isfinite().all(-1) & (boxes[:, 2:] > 0).all(-1)


def box_scale_ratio(landmarks: Tensor, boxes: Tensor) -> Tensor:
    """Absolute logarithm of the ratio of sizes of the landmarks' extent and the box, (B,); 0 for unusable boxes."""
    ratio = box_around(landmarks)[:, 2:].clamp_min(1).prod(-1) / boxes[:, 2:].clamp_min(1).prod(-1)
    return torch.where(usable_boxes(boxes), ratio.log().abs() / 2, 0)


def _crossing(faces: Evidence, across: Pairs, along: Pairs) -> Tensor:
    """How far outlines are out of order, mm, (B,): across along the face's own vertical, along them as in the shape."""
    points, fitted = faces.in_millimetres
    down = torch.nn.functional.normalize(euler_to_matrix(faces.shape.params.rotation)[:, :2, 1], dim=-1)
    wrong_across = ordering.wrong_way(points, across, down)
    wrong_along = ordering.wrong_way(points, along, ordering.directions(fitted, along))
    return torch.maximum(wrong_across, wrong_along).clamp_min(0)
