"""Normalised mean error (NME), failure rates, and the area under the cumulative error curve (AUC)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import ALL_POINTS, OUTER_EYE_CORNERS

# NME above which a fit counts as a failure
FAILED, FAR_OFF = 0.08, 0.10


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Statistics of the NME of many faces. Faces that were not found count as worse than all others."""

    faces: int  # how many there are
    not_found: int  # how many of them have no landmarks
    mean: float  # over the faces that were found; NaN where none was
    median: float  # infinite where half of the faces were not found
    percentile_90: float  # infinite where a tenth was not found
    failure_rate_008: float  # share of the faces with an error above 0.08, or not found
    failure_rate_010: float  # share above 0.10, or not found
    auc_008: float  # area under the cumulative error curve up to 0.08, over 0.08: 1 where all errors are 0


def face_errors(landmarks: Tensor, truth: Tensor, points: slice = ALL_POINTS) -> Tensor:
    """Normalised mean error (NME) of each face: mean landmark distance over the distance of the outer eye corners.

    Args:
        landmarks: As they were found, pixels, shape (B, 68, 2).
        truth: As they were annotated, pixels, shape (B, 68, 2).
        points: Which of them count.

    Returns:
        Shape (B,); infinite for faces whose landmarks are not all finite.
    """
    left, right = (truth[:, corner] for corner in OUTER_EYE_CORNERS)
    away = torch.linalg.vector_norm(landmarks[:, points] - truth[:, points], dim=2).mean(1)
    return (away / torch.linalg.vector_norm(left - right, dim=1)).nan_to_num(torch.inf, torch.inf)


def score(errors: Tensor) -> Scores:
    """The numbers of faces with errors (B,) from `face_errors`; those of no faces at all are NaN."""
    errors = errors.double()
    found = errors.isfinite()
    return Scores(
        faces=len(errors),
        not_found=int((~found).sum()),
        mean=float(errors[found].mean()),
        median=quantile(errors, 0.5),
        percentile_90=quantile(errors, 0.9),
        failure_rate_008=float((errors > FAILED).double().mean()),
        failure_rate_010=float((errors > FAR_OFF).double().mean()),
        auc_008=float((1 - errors / FAILED).clamp_min(0).mean()),
    )


def quantile(errors: Tensor, share: float) -> float:
    """The error below which such a share of errors (B,) lies, between two of them as numpy does it; NaN of none."""
    if not len(errors):
        return float("nan")
    ordered = errors.sort().values
    place = share * (len(errors) - 1)
    below, above = ordered[int(place)], ordered[min(int(place) + 1, len(errors) - 1)]
    weight = place - int(place)
    return float(below if weight == 0 else below * (1 - weight) + above * weight)


def cumulative_curve(errors: Tensor, upto: float, steps: int = 200) -> tuple[Tensor, Tensor]:
    """Share of the faces whose error is at most as large, for evenly spaced errors.

    Args:
        errors: Shape (B,).
        upto: The largest error of the curve.
        steps: Number of places after 0.

    Returns:
        Errors and shares, each float64, shape (steps + 1,).
    """
    places = torch.linspace(0, upto, steps + 1, dtype=torch.float64)
    counts = torch.searchsorted(errors.double().sort().values, places, right=True)
    return places, counts / max(1, len(errors))


def roc_auc(confidence: Tensor, good: Tensor) -> float:
    """Area under the ROC curve: how often a good fit has more confidence than a failed one, ties counted half.

    Args:
        confidence: Of the fits, shape (B,).
        good: Which of them succeeded, bool, shape (B,).

    Returns:
        0 to 1, 0.5 by chance; NaN where all fits are good, or none is.
    """
    levels, level = confidence.unique(return_inverse=True)
    of_good = level[good].bincount(minlength=len(levels)).double()
    of_others = level[~good].bincount(minlength=len(levels)).double()
    less_certain = of_others.cumsum(0) - of_others / 2
    return float((of_good * less_certain).sum() / (of_good.sum() * of_others.sum()))
