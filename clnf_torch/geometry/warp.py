"""Piecewise affine warps: where the pixels of a triangulated frame of reference lie in the image of a face."""

import torch
from torch import Tensor


def triangle_maps(landmarks: Tensor, triangles: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """The affine map from the frame of reference to the image within each triangle.

    At a position (X, Y) of the frame, a triangle's corners j and k weigh alpha . (1, X, Y) and beta . (1, X, Y), and
    its corner i the rest.

    Args:
        landmarks: The corners' places in the image (x, y), shape (B, N, 2).
        triangles: The landmarks at the corners i, j, k, int64, shape (T, 3).
        alpha: Weights of the corners j, shape (T, 3).
        beta: Weights of the corners k, shape (T, 3).

    Returns:
        What the image's (x, y) are at (0, 0), gain with each step along X, and with each along Y: (B, T, 3, 2).

    Source:
        OpenFace ``PAW::CalcCoeff``.
    """
    first, second, third = landmarks[:, triangles].unbind(2)  # (B, T, 2) each
    to_second, to_third = second - first, third - first
    (alpha, alpha_x, alpha_y), (beta, beta_x, beta_y) = alpha[..., None].unbind(1), beta[..., None].unbind(1)
    constant = _fused(beta, to_third, _fused(alpha, to_second, first))
    along_x = _fused(alpha_x, to_second, beta_x * to_third)
    along_y = _fused(alpha_y, to_second, beta_y * to_third)
    return torch.stack((constant, along_x, along_y), dim=2)


def warp_positions(maps: Tensor, pixels: Tensor, triangle: Tensor) -> Tensor:
    """Where the pixels of the frame of reference lie in the image.

    Args:
        maps: From `triangle_maps`, shape (B, T, 3, 2).
        pixels: Where the pixels lie in the frame, (X, Y), shape (P, 2).
        triangle: The triangle that each pixel lies in, int64, shape (P,).

    Returns:
        Positions (x, y), shape (B, P, 2), differentiable in the maps.

    Source:
        OpenFace ``PAW::WarpRegion``.
    """
    constant, along_x, along_y = maps.index_select(1, triangle).unbind(-2)
    x, y = pixels.split(1, dim=-1)  # (P, 1) each
    return _fused(y, along_y, _fused(x, along_x, constant))


def _fused(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The sum a * b + c, rounded once.

    OpenFace: its compiler fuses these products and sums, and so decides ties of the 1/32-pixel lattice.
    """
    return torch.addcmul(c.double(), a.double(), b.double()).to(c.dtype)
