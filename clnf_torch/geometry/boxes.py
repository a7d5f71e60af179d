"""Boxes (x, y, width, height): around points, in whole pixels, their IoU, and non-maximum suppression (NMS)."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Pairs of boxes compared at once: what a core's cache holds, or some 100 MiB to keep a GPU busy with
CPU_PAIRS, CUDA_PAIRS = 1 << 14, 1 << 20
# Pixels; coordinates stay below, so that sums and products of them are whole numbers too
LARGEST = 2.0**29
# What the four numbers of a box may be: left, top, width, height; or left, top, right, bottom
FORMATS = ("xywh", "xyxy")


def whole_boxes(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) with each number rounded to an int64, halves to the even one; what is not a number becomes 0."""
    return boxes.detach().nan_to_num(0.0).clamp(-LARGEST, LARGEST).round().long()


def boxes_from(boxes: Tensor, box_format: str) -> Tensor:
    """Boxes x, y, width, height of boxes (..., 4) in one of `FORMATS`.

    Raises:
        ValueError: There is no such format.
    """
    if box_format not in FORMATS:
        raise ValueError(f"box_format is {box_format!r}; expected 'xywh' (x, y, width, height) or 'xyxy' (two corners)")
    return boxes if box_format == "xywh" else torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), -1)


def box_around(points: Tensor) -> Tensor:
    """The boxes (B, 4) that points (B, N, 2) just fill. OpenFace ``CLNF::GetBoundingBox``."""
    low = points.amin(1)
    return torch.cat((low, points.amax(1) - low), 1)


def box_iou(one: Tensor, other: Tensor, of_smaller: bool = False) -> Tensor:
    """Intersection over union (IoU) of boxes.

    Args:
        one: Boxes, shape (..., 4), whole or fractional; the shapes broadcast.
        other: Boxes, shape (..., 4).
        of_smaller: Divide the intersection by the area of the smaller box instead of the union.

    Returns:
        Shape (...), from 0 to 1; NaN for two boxes without area.
    """
    start, size, start2, size2 = one[..., :2], one[..., 2:], other[..., :2], other[..., 2:]
    ends = torch.minimum(start + size, start2 + size2)
    common = _area((ends - torch.maximum(start, start2)).clamp_min(0))
    area, area2 = _area(size), _area(size2)
    return common / (torch.minimum(area, area2) if of_smaller else area + area2 - common)


def _area(size: Tensor) -> Tensor:
    """Areas (...) of boxes of these widths and heights (..., 2)."""
    return size[..., 0] * size[..., 1]


def nms(boxes: Tensor, score: Tensor, group: Tensor, threshold: float, of_smaller: bool = False) -> Tensor:
    """Non-maximum suppression (NMS): of boxes that overlap, the one with the best score.

    Within a group, the best box is kept and every box that overlaps it by more than the threshold is dropped; then the
    best of the rest, and so on. Of equal scores the later one is the better. Boxes are rounded to whole pixels first.

    Args:
        boxes: Shape (K, 4).
        score: Shape (K,).
        group: Boxes of different groups do not see each other, int64, shape (K,).
        threshold: The `box_iou` that two kept boxes may have.
        of_smaller: As for `box_iou`.

    Returns:
        Indices of the kept boxes, int64, by group and from the best to the worst.

    Source:
        OpenFace ``non_maximum_supression``.
    """
    order = ranked(score, group)
    better, worse = _rivals(whole_boxes(boxes[order]), group[order], threshold, of_smaller)
    kept = torch.ones_like(order, dtype=torch.bool)
    previous = ~kept
    # Each pass decides at least one more box for good, mostly nearly all
    while not torch.equal(kept, previous):
        beaten = torch.zeros_like(order).index_add_(0, worse, kept[better].long())
        kept, previous = beaten == 0, kept
    return order[kept]


def ranked(score: Tensor, group: Tensor) -> Tensor:
    """Indices that sort by group, then from the highest score to the lowest, then from the last to the first."""
    order = torch.arange(score.shape[0], device=score.device).flip(0)
    order = order[score[order].sort(descending=True, stable=True).indices]
    return order[group[order].sort(stable=True).indices]


def _rivals(boxes: Tensor, group: Tensor, threshold: float, of_smaller: bool) -> tuple[Tensor, Tensor]:
    """Indices (better, worse) of the pairs of sorted boxes (K, 4) of one group that overlap too much."""
    rank = torch.arange(group.shape[0], device=group.device)
    # Worse boxes of the same group
    followers = torch.searchsorted(group, group, right=True) - rank - 1
    found = [rank.new_zeros(2, 0)]
    for block in _blocks(rank, followers):
        count = followers[block]
        better = block.repeat_interleave(count)
        step = torch.arange(better.shape[0], device=rank.device) - (count.cumsum(0) - count).repeat_interleave(count)
        worse = better + 1 + step
        rivals = box_iou(boxes[better], boxes[worse], of_smaller) > threshold
        found.append(torch.stack((better[rivals], worse[rivals])))
    better, worse = torch.cat(found, dim=1)
    return better, worse


def _blocks(rank: Tensor, followers: Tensor) -> Sequence[Tensor]:
    """Ranks (K,) in blocks of so many pairs that the number of blocks grows with that of pairs, not of boxes."""
    if not len(rank):
        return ()
    some = CPU_PAIRS if rank.device.type == "cpu" else CUDA_PAIRS
    pairs = followers.cumsum(0)
    full = torch.arange(1, int(pairs[-1]) // some + 1, device=rank.device) * some
    return rank.tensor_split((torch.searchsorted(pairs, full) + 1).tolist())
