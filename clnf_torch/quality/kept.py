"""Which landmarks of a poor face may stay: crossed eyes are no reason to move the jaw."""

import torch
from torch import Tensor

from clnf_torch.quality.result import LandmarkQuality

NEAR_SHAPE = 5.0  # mm, from the shape that most of the given landmarks agree on; mean of annotated landmarks 2
NEAR_FIT = 8.0  # mm, from where the fit has it: an expert's view of a jaw may differ so much from a person's
SUPPORT = 0.7  # by the landmark's own expert; annotated landmarks 0.9
ENOUGH = 0.4  # of the landmarks: with fewer, the agreement is no agreement


def good_landmarks(given: Tensor, fitted: Tensor, quality: LandmarkQuality) -> Tensor:
    """Landmarks that all agree on: the other given ones, the fit, and the landmark's own expert.

    Args:
        given: Landmarks of another method, pixels, shape (B, N, 2).
        fitted: Where the fit has them, shape (B, N, 2).
        quality: Of the given ones.

    Returns:
        Bool, shape (B, N); none of a face of which too few are good.
    """
    apart = torch.linalg.vector_norm(given - fitted, dim=-1) / quality.shape.params.scale[:, None]
    good = (quality.shape.residuals < NEAR_SHAPE) & (quality.support > SUPPORT) & (apart < NEAR_FIT)
    return good & (good.float().mean(-1, keepdim=True) >= ENOUGH)
