"""The order of a face's outlines: lids above each other, lips above each other, the jaw from ear to ear."""

import torch
from torch import Tensor

from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.landmarks68 import Pairs


def wrong_way(points: Tensor, pairs: Pairs, direction: Tensor) -> Tensor:
    """How far the second point of a pair lies on the wrong side of the first: the farthest of all pairs.

    An outline whose points keep their order along it and across it neither crosses itself nor is turned inside out.

    Args:
        points: Shape (B, N, 2).
        pairs: K pairs.
        direction: Unit vectors from the first to the second point, shape (B, 2) or (B, K, 2).

    Returns:
        In the unit of the points, shape (B,); negative where all pairs are in order.
    """
    steps = _steps(points, pairs)
    direction = direction if direction.ndim == 3 else direction[:, None]
    return -(steps * direction).sum(-1).amin(-1)


def directions(points: Tensor, pairs: Pairs) -> Tensor:
    """Unit vectors (B, K, 2) from the first to the second point of pairs; 0 where they are one."""
    return torch.nn.functional.normalize(_steps(points, pairs), dim=-1)


def lengths(points: Tensor, pairs: Pairs) -> Tensor:
    """Distances of the points of pairs, shape (B, K)."""
    return torch.linalg.vector_norm(_steps(points, pairs), dim=-1)


def misfit(length: Tensor, expected: Tensor) -> Tensor:
    """Absolute logarithm of the ratio of two lengths, both taken to be at least 1."""
    return (length.clamp_min(1) / expected.clamp_min(1)).log().abs()


def _steps(points: Tensor, pairs: Pairs) -> Tensor:
    """Ways (B, K, 2) from the first to the second point of pairs."""
    first, second = constant(pairs, points, torch.int64).unbind(-1)
    return points[:, second] - points[:, first]
