"""What a validator is taught: which of C steps of certainty the error of some landmarks belongs to.

Errors are mean distances from where the landmarks belong, in distances of the outer corners of the eyes. Every bin but
the last is as wide as the others; the last one has no end. The runtime takes landmarks for a face where its certainty
exceeds 0.725: of 20 certainties these are the best five, so the end of the fifth bin is the error that still passes.
"""

import torch
from torch import Tensor

from clnf_torch.detection.validator import certainty_of, is_face


def passing_bins(bins: int) -> int:
    """How many of C bins the runtime takes for faces."""
    return int(is_face(certainty_of(torch.eye(bins))).sum())


def places_of(errors: Tensor, bins: int, passing: float) -> Tensor:
    """Where errors lie among the bins, in bins: between k and k + 1 in bin k; those in the last one lie in its middle.

    Args:
        errors: Shape (B,), maybe infinite.
        bins: Number of bins C.
        passing: The error below which landmarks are taken for a face.
    """
    return (errors * (passing_bins(bins) / passing)).clamp(max=bins - 0.5)


def targets(errors: Tensor, bins: int, passing: float, softness: float) -> Tensor:
    """What the softmax of the scores shall be: a Gaussian around the error, since next to right is nearly right.

    Args:
        errors: Shape (B,).
        bins: Number of bins C.
        passing: The error below which landmarks are taken for a face.
        softness: Width of the Gaussian, bins.

    Returns:
        Shares, shape (B, C).
    """
    middles = torch.arange(bins, device=errors.device) + 0.5
    away = middles - places_of(errors, bins, passing)[:, None]
    return torch.softmax(-0.5 * (away / softness).square(), -1)
