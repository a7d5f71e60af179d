"""Similarities of the plane: the 2x2 scaled rotations that take one centred point set to another."""

import torch
from torch import Tensor


def similarity_between(source: Tensor, target: Tensor) -> Tensor:
    """The scaled rotation that takes centred source points to centred target points.

    The scale is the ratio of the two sets' root mean square radii, the rotation the one of least squares (Kabsch, whose
    closed form in the plane is the angle of the summed cross and dot products).

    Args:
        source: Points (x, y), shape (B, N, 2).
        target: Points (x, y), shape (B, N, 2).

    Returns:
        Matrices M with target ~ M source, shape (B, 2, 2).

    Source:
        OpenFace ``AlignShapesWithScale``.
    """
    source = source - source.mean(-2, keepdim=True)
    target = target - target.mean(-2, keepdim=True)
    dot = (source * target).sum((-2, -1))
    cross = (source[..., 0] * target[..., 1] - source[..., 1] * target[..., 0]).sum(-1)
    scale = (target.square().sum((-2, -1)) / source.square().sum((-2, -1))).sqrt()
    scale = scale / torch.hypot(dot, cross)
    cosine, sine = scale * dot, scale * cross
    return torch.stack((cosine, -sine, sine, cosine), dim=-1).unflatten(-1, (2, 2))


def invert_similarity(similarity: Tensor) -> Tensor:
    """Inverses of scaled rotations, shape (..., 2, 2): the transpose over the squared scale."""
    squared_scale = similarity[..., 0, :].square().sum(-1)
    return similarity.mT / squared_scale[..., None, None]
