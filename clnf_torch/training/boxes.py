"""Boxes to start from: where the landmarks are, near there, or what a face detector found."""

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import extent_boxes, overlap

SAME_FACE = 0.3  # the least overlap of a found box with the extent of the face that it belongs to


def perturb_boxes(landmarks: Tensor, generator: torch.Generator, size: float = 0.05, center: float = 0.03) -> Tensor:
    """Boxes as face detectors give them: not quite where the landmarks are.

    Each is the landmarks' extent, its two sides multiplied by one Gaussian number around 1, its middle moved by
    Gaussian shares of the extent's own width and height.

    Args:
        landmarks: Pixels, shape (B, N, 2).
        generator: On the CPU.
        size: Standard deviation of the factor.
        center: Standard deviation of the shares.

    Returns:
        x, y, width, height in pixels, shape (B, 4).
    """
    boxes = extent_boxes(landmarks)
    middle, extent = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]
    drawn = torch.randn(len(boxes), 3, generator=generator).to(boxes)
    grown = extent * (1 + size * drawn[:, :1])
    return torch.cat([middle + center * drawn[:, 1:] * extent - grown / 2, grown], 1)


def box_of_face(found: Tensor, extent: Tensor) -> Tensor:
    """The box that overlaps the extent of a face most.

    Args:
        found: Boxes found in the picture, shape (K, 4).
        extent: Of the face's landmarks: x, y, width, height, shape (4,).

    Returns:
        Shape (4,); NaN where no box overlaps the extent by `SAME_FACE`.
    """
    found = found.to(extent)
    nowhere = found.new_full((1, 4), torch.nan)
    common = overlap(found, extent)
    common = torch.cat([common.new_full((1,), SAME_FACE), common.nan_to_num(0)])
    return torch.cat([nowhere, found])[common.argmax()]
