"""Rasterisation of thick line segments with anti-aliasing: by the distance from each pixel nearby."""

from dataclasses import dataclass

import torch
from torch import Tensor

from clnf_torch.geometry.records import Rows

# Worked on at once: some 100 MiB of numbers
PIXELS = 1 << 22


@dataclass(frozen=True, kw_only=True)
class LineSegments(Rows):
    """Short lines with round ends, one per row."""

    start: Tensor  # (K, 2) pixels (x, y)
    end: Tensor  # (K, 2)
    radius: Tensor  # (K,) pixels: half the thickness
    softness: Tensor  # (K,) pixels over which the edge fades; 1 is a sharp one
    opacity: Tensor  # (K,) 0 to 1
    sheet: Tensor  # (K,) int64: which of the sheets it is drawn on


def rasterize(segments: LineSegments, sheets: int, height: int, width: int) -> Tensor:
    """Coverage of every pixel by line segments; where they overlap, that of the strongest.

    Each line is drawn in a square patch around it, as large as the longest and thickest of them needs.

    Args:
        segments: K lines; those with a number that is not finite are left out.
        sheets: Number of sheets F to draw on.
        height: Of a sheet, pixels.
        width: Of a sheet, pixels.

    Returns:
        Shape (F, height, width), 0 to 1.
    """
    coverage = segments.start.new_zeros(sheets * height * width)
    segments = segments[_reaches(segments, height, width)]
    if not len(segments.start):
        return coverage.view(sheets, height, width)
    # Patches lie around the pixel nearest to the middle
    reach = int((_reach(segments).amax() + 0.5).ceil())
    step = torch.arange(-reach, reach + 1, device=coverage.device)
    block = max(1, PIXELS // len(step) ** 2)
    for first in range(0, len(segments.start), block):
        some = segments[first : first + block]
        middle = ((some.start + some.end) / 2).round()
        column, row = (middle.long()[..., None] + step).unbind(1)  # (K, R) each
        place = (some.sheet[:, None, None] * height + row[:, :, None]) * width + column[:, None, :]
        outside = ((row < 0) | (row >= height))[:, :, None] | ((column < 0) | (column >= width))[:, None, :]
        covered = _coverage(some, middle, step.to(coverage)).masked_fill_(outside, 0)
        coverage.scatter_reduce_(0, place.masked_fill_(outside, 0).flatten(), covered.flatten(), "amax")
    return coverage.view(sheets, height, width)


def _coverage(segments: LineSegments, middle: Tensor, step: Tensor) -> Tensor:
    """How much each line covers of the pixels (R, R) around its middle, shape (K, R, R), rows along y."""
    axis = segments.end - segments.start
    half = torch.linalg.vector_norm(axis, dim=1) / 2
    # Dots look anywhere
    x, y = torch.where(half > 1e-6, axis.T / (2 * half), axis.new_tensor([[1.0], [0.0]]))
    center = (segments.start + segments.end) / 2 - middle
    right, down = step - center[:, :1], step - center[:, 1:]  # (K, R) from the true middle to the pixels
    along = (x[:, None] * right)[:, None, :] + (y[:, None] * down)[:, :, None]
    across = (y[:, None] * right)[:, None, :] - (x[:, None] * down)[:, :, None]
    beyond = along.abs_().sub_(half[:, None, None]).clamp_min_(0)
    distance = beyond.square_().add_(across.square_()).sqrt_()
    # Lines thinner than a pixel never fill one
    opacity = segments.opacity * (2 * segments.radius).clamp_max(1)
    edge = distance.sub_(segments.radius[:, None, None]).div_(-segments.softness[:, None, None]).add_(0.5)
    return edge.clamp_(0, 1).mul_(opacity[:, None, None])


def _reach(segments: LineSegments) -> Tensor:
    """How far from its middle a line can cover pixels (K,)."""
    half = torch.linalg.vector_norm(segments.end - segments.start, dim=1) / 2
    return half + segments.radius + segments.softness / 2


def _reaches(segments: LineSegments, height: int, width: int) -> Tensor:
    """Which lines (K,) can cover a pixel of their sheet; none that is not finite."""
    middle, reach = (segments.start + segments.end) / 2, _reach(segments)[:, None]
    size = middle.new_tensor([width, height])
    return ((middle > -reach) & (middle < size - 1 + reach)).all(1)
