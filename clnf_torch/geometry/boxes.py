"""Boxes (x, y, width, height): whole pixels, overlap, and the best of those that overlap."""

import torch
from torch import Tensor

PAIRS = 1 << 22  # boxes compared with each other at once: a few 32 MiB of numbers, whatever the frames show
LARGEST = 2.0**29  # pixels; coordinates stay below, so that sums and products of them are whole numbers too


def whole_boxes(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) with each number rounded to an int64, halves to the even one; what is not a number becomes 0."""
    return boxes.detach().nan_to_num(0.0).clamp(-LARGEST, LARGEST).round().long()


def overlap(one: Tensor, other: Tensor, of_smaller: bool = False) -> Tensor:
    """How much of two boxes they have in common.

    Args:
        one: Boxes, shape (..., 4), whole or fractional; the shapes broadcast.
        other: Boxes, shape (..., 4).
        of_smaller: Divide the common area by that of the smaller box; otherwise by that of both together.

    Returns:
        Shape (...), from 0 to 1; NaN for two boxes without area.
    """
    x, y, width, height = one.unbind(-1)
    x2, y2, width2, height2 = other.unbind(-1)
    across = torch.minimum(x + width, x2 + width2) - torch.maximum(x, x2)
    down = torch.minimum(y + height, y2 + height2) - torch.maximum(y, y2)
    common = across.clamp_min(0) * down.clamp_min(0)
    area, area2 = width * height, width2 * height2
    return common / (torch.minimum(area, area2) if of_smaller else area + area2 - common)


def suppress(boxes: Tensor, score: Tensor, group: Tensor, threshold: float, of_smaller: bool = False) -> Tensor:
    """Non-maximum suppression: of boxes that overlap, the one with the best score.

    Within a group, the best box is kept and every box that overlaps it by more than the threshold is dropped; then the
    best of the rest, and so on. Of equal scores the later one is the better. Boxes are rounded to whole pixels first.

    Args:
        boxes: Shape (K, 4).
        score: Shape (K,).
        group: Boxes of different groups do not see each other, int64, shape (K,).
        threshold: The overlap that two kept boxes may have.
        of_smaller: As for `overlap`.

    Returns:
        Indices of the kept boxes, int64, by group and from the best to the worst.

    Source:
        OpenFace ``non_maximum_supression``.
    """
    order = _ranked(score, group)
    if order.numel() == 0:
        return order
    _, row, counts = torch.unique_consecutive(group[order], return_inverse=True, return_counts=True)
    place = torch.arange(order.shape[0], device=order.device) - (counts.cumsum(0) - counts)[row]
    table = boxes.new_zeros((counts.shape[0], int(counts.max()), 4), dtype=torch.int64)
    table[row, place] = whole_boxes(boxes[order])
    real = torch.zeros(table.shape[:2], dtype=torch.bool, device=table.device)
    real[row, place] = True
    return order[_kept(table, real, threshold, of_smaller)[row, place]]


def _ranked(score: Tensor, group: Tensor) -> Tensor:
    """Indices that sort by group, then from the highest score to the lowest, then from the last to the first."""
    order = torch.arange(score.shape[0], device=score.device).flip(0)
    order = order[score[order].sort(descending=True, stable=True).indices]
    return order[group[order].sort(stable=True).indices]


def _kept(boxes: Tensor, real: Tensor, threshold: float, of_smaller: bool) -> Tensor:
    """Which of the sorted boxes (G, K, 4) are kept, (G, K); a block of columns at a time."""
    groups, count, _ = boxes.shape
    kept, step = real, max(1, PAIRS // (groups * count))
    for start in range(0, count, step):
        before, block = boxes[:, :start, None], boxes[:, None, start : start + step]
        beaten = (overlap(before, block, of_smaller) > threshold) & kept[:, :start, None]
        among = overlap(block.transpose(1, 2), block, of_smaller) > threshold
        found = _settled(real[:, start : start + step] & ~beaten.any(1), among.triu(1))
        kept = torch.cat((kept[:, :start], found, real[:, start + step :]), dim=1)
    return kept


def _settled(candidates: Tensor, beats: Tensor) -> Tensor:
    """Which candidates (G, K) no kept candidate before them beats (G, K, K).

    Each pass decides at least the next one of every row for good; mostly, all of them in a few passes.
    """
    kept, previous = candidates, ~candidates
    while not torch.equal(kept, previous):
        kept, previous = candidates & ~(kept[:, :, None] & beats).any(1), kept
    return kept
