"""Piecewise affine warps: where the pixels of a triangulated frame of reference lie in the image of a face."""

from typing import NamedTuple

import torch
from torch import Tensor


class WarpTable(NamedTuple):
    """A triangulated frame of reference and its pixels, all of them known before any face is.

    At a position (X, Y) of the frame, a triangle's corners j and k weigh alpha . (1, X, Y) and beta . (1, X, Y),
    and its corner i the rest.
    """

    triangles: Tensor  # (T, 3) int64: the landmarks at the corners i, j, k
    alpha: Tensor  # (T, 3)
    beta: Tensor  # (T, 3)
    pixels: Tensor  # (P, 2): where the pixels lie in the frame, (X, Y)
    triangle: Tensor  # (P,) int64: the triangle that each pixel lies in


def warp_positions(landmarks: Tensor, table: WarpTable) -> Tensor:
    """Where the pixels of the frame of reference lie in the image.

    Args:
        landmarks: The corners' places in the image (x, y), shape (B, N, 2).
        table: The frame of reference.

    Returns:
        Positions (x, y), shape (B, P, 2), differentiable in the landmarks.

    Source:
        OpenFace ``PAW::CalcCoeff``, ``PAW::WarpRegion``.
    """
    constant, along_x, along_y = triangle_maps(landmarks, table).index_select(1, table.triangle).unbind(-2)
    x, y = table.pixels.split(1, dim=-1)  # (P, 1) each
    return _fused(y, along_y, _fused(x, along_x, constant))


def triangle_maps(landmarks: Tensor, table: WarpTable) -> Tensor:
    """The affine map from the frame of reference to the image within each triangle.

    Args:
        landmarks: The corners' places in the image (x, y), shape (B, N, 2).
        table: The frame of reference.

    Returns:
        What the image's (x, y) are at (0, 0), gain with each step along X, and with each along Y: (B, T, 3, 2).

    Source:
        OpenFace ``PAW::CalcCoeff``.
    """
    first, second, third = landmarks[:, table.triangles].unbind(2)  # (B, T, 2) each
    to_second, to_third = second - first, third - first
    (alpha, alpha_x, alpha_y), (beta, beta_x, beta_y) = (
        table.alpha[..., None].unbind(1),
        table.beta[..., None].unbind(1),
    )
    constant = _fused(beta, to_third, _fused(alpha, to_second, first))
    along_x = _fused(alpha_x, to_second, beta_x * to_third)
    along_y = _fused(alpha_y, to_second, beta_y * to_third)
    return torch.stack((constant, along_x, along_y), dim=2)


def _fused(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The sum a * b + c, rounded once.

    OpenFace: its compiler fuses these products and sums, and so decides ties of the 1/32-pixel lattice.
    """
    return torch.addcmul(c.double(), a.double(), b.double()).to(c.dtype)
