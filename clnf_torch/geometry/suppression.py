"""Non-maximum suppression (NMS) in tables of fixed size, without the host reading anything."""

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import box_iou, ranked, whole_boxes


def without_rivals(rivals: Tensor, passes: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows that no kept row suppresses.

    Args:
        rivals: The better rows that overlap each row too much, int64, shape (C, R), filled up with C.
        passes: How often rows are decided on; each decides at least one more for good, mostly nearly all. None: until
            nothing changes, which the host reads.

    Returns:
        Rows that are kept, bool, shape (C,); and how many the last pass changed, int64, shape ().
    """
    rows = rivals.shape[0]
    suppressed = torch.zeros(rows + 1, dtype=torch.bool, device=rivals.device)
    # Nobody's rival
    suppressed[rows:].fill_(True)
    kept = before = ~suppressed[:rows]
    done = 0
    while done < (rows + 1 if passes is None else passes):
        before, kept = kept, suppressed.take(rivals).all(1)
        torch.logical_not(kept, out=suppressed[:rows])
        done += 1
        if passes is None and torch.equal(before, kept):
            break
    return kept, (before != kept).sum()


def nms_table(
    boxes: Tensor, score: Tensor, group: Tensor, threshold: float, of_smaller: bool, width: int, passes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `nms`, for groups of at most so many rows.

    Args:
        boxes: Shape (C, 4).
        score: Shape (C,).
        group: Boxes of different groups do not see each other, int64, shape (C,).
        threshold: The `box_iou` that two kept boxes may have.
        of_smaller: As for `box_iou`.
        width: Better rows of its group that a row is compared with.
        passes: As for `without_rivals`.

    Returns:
        Indices that sort the rows by group and from the best to the worst, int64, shape (C,); which of the sorted rows
        are kept, bool, shape (C,); the width that the largest group needs, int64, shape (); and how many rows the last
        pass changed, int64, shape ().
    """
    order = ranked(score, group)
    rows, group = order.shape[0], group[order]
    rank = torch.arange(rows, device=order.device)
    first = torch.searchsorted(group, group)
    better = rank[:, None] - 1 - torch.arange(width, device=order.device)
    whole = whole_boxes(boxes[order])
    iou = box_iou(whole[:, None], whole[better.clamp_min(0)], of_smaller)
    rivals = torch.where((better >= first[:, None]) & (iou > threshold), better, rows)
    kept, unsettled = without_rivals(rivals, passes)
    return order, kept, (rank - first).amax(), unsettled
