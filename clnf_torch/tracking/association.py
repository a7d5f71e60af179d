"""Data association: tracks to detections by IoU or by distance and appearance, and suppression of duplicate tracks."""

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import CPU_PAIRS, CUDA_PAIRS, box_iou, nms, whole_boxes
from clnf_torch.geometry.host import is_readable

# Passes between two looks at whether pairs are left, where the host has to wait for the answer
UNREAD_PASSES = 8
# Faces in a row of which each overlaps the next too much, as is decided without a look: faces of one video seldom are 3
LONGEST_CHAIN = 16


def associate(score: Tensor) -> Tensor:
    """Greedy one-to-one assignment of tracks to detections.

    Args:
        score: How well tracks and detections match, shape (R, K); the greatest score is taken first, then the greatest
            of the rest, and so on; of equals the first. Minus infinity (or NaN) means that they do not.

    Returns:
        The track of each detection, -1 for none, int64, shape (K,).
    """
    match = torch.full(score.shape[1:], -1, dtype=torch.int64, device=score.device)
    if not score.numel():
        return match
    score = score.masked_fill(score.isnan(), -torch.inf)
    rows, columns = (torch.arange(size, device=score.device) for size in score.shape)
    every = 1 if is_readable(score) else UNREAD_PASSES
    # Each pass takes every pair that is the best of its row and of its column, so at least one while there are any
    for number in range(min(score.shape)):
        looked = every == 1 or (number > 0 and number % every == 0)
        if looked and not (score > -torch.inf).any():
            break
        best = score.argmax(0)
        mutual = (score.argmax(1)[best] == columns) & (score[best, columns] > -torch.inf)
        match = torch.where(mutual, best, match)
        taken = (mutual & (best == rows[:, None])).any(1, keepdim=True)
        score = score.masked_fill(mutual | taken, -torch.inf)
    return match


def iou_scores(tracks: Tensor, boxes: Tensor, allowed: Tensor, min_iou: float) -> Tensor:
    """Intersection over union (IoU) of tracks and boxes, shape (R, K); minus infinity for pairs that do not match.

    Args:
        tracks: Boxes of tracks, pixels, shape (R, 4).
        boxes: Detected boxes, pixels, shape (K, 4).
        allowed: Pairs that may match, bool, shape (R, K).
        min_iou: The least IoU of a match.
    """
    iou = box_iou(tracks[:, None], boxes[None])
    return torch.where(allowed & (iou >= min_iou), iou, -torch.inf)


def center_distances(tracks: Tensor, boxes: Tensor) -> Tensor:
    """Distances between the centres of boxes (R, 4) and (K, 4), in their mean widths, shape (R, K)."""
    one, other = tracks[:, None], boxes[None]
    distance = (one[..., :2] + one[..., 2:] / 2 - other[..., :2] - other[..., 2:] / 2).norm(dim=-1)
    return 2 * distance / (one[..., 2] + other[..., 2])


def reidentification_scores(similarity: Tensor, distance: Tensor, allowed: Tensor, min_similarity: float) -> Tensor:
    """How well detections match lost tracks, shape (R, K); minus infinity for pairs that do not match.

    The farther away a face is detected, in place and time, the more similar it must be: at distance 0 anything will do,
    and the similarity that is asked for rises with the square root of the distance, quickly at first.

    Args:
        similarity: Correlations of their appearance descriptors, shape (R, K).
        distance: Their distance, 1 where place says nothing any more, shape (R, K).
        allowed: Pairs that may match, bool, shape (R, K).
        min_similarity: The least correlation at distances of 1 and more.
    """
    margin = similarity + 1 - (min_similarity + 1) * distance.clamp(0, 1).sqrt()
    return torch.where(allowed & (margin >= 0), margin, -torch.inf)


def suppress_duplicates(boxes: Tensor, rank: Tensor, group: Tensor, max_iou: float) -> Tensor:
    """Faces that are no duplicates of others: non-maximum suppression (NMS) by rank.

    Args:
        boxes: Pixels, shape (B, 4).
        rank: Of overlapping faces of one group, the one of lowest rank is kept; int64, shape (B,).
        group: Faces of different groups (videos) do not suppress each other; int64, shape (B,).
        max_iou: The IoU that two faces may have.

    Returns:
        Faces that are kept, bool, shape (B,).
    """
    readable = is_readable(boxes)
    if readable and len(boxes) ** 2 > CPU_PAIRS:
        kept = nms(boxes, -rank, group, max_iou)
        return torch.zeros_like(rank, dtype=torch.bool).index_fill(0, kept, True)
    beats = _rivals(whole_boxes(boxes), rank, group, max_iou)
    kept = torch.ones_like(rank, dtype=torch.bool)
    # Each pass decides the next face of every chain
    for _ in range(len(boxes) if readable else min(len(boxes), LONGEST_CHAIN)):
        previous, kept = kept, ~(beats & kept[:, None]).any(0)
        if readable and torch.equal(kept, previous):
            break
    return kept


def _rivals(boxes: Tensor, rank: Tensor, group: Tensor, max_iou: float) -> Tensor:
    """Which faces (rows) of a group overlap which worse ones (columns) too much, bool, shape (B, B)."""
    number = torch.arange(len(boxes), device=boxes.device)
    found = [torch.zeros_like(rank[:0], dtype=torch.bool).new_zeros(0, len(boxes))]
    for block in number.split(max(1, CUDA_PAIRS // max(1, len(boxes)))):
        # Of equals the later one is the better, as `nms` has it
        better = (rank[block, None] < rank) | ((rank[block, None] == rank) & (block[:, None] > number))
        overlap = box_iou(boxes[block, None], boxes) > max_iou
        found.append(better & overlap & (group[block, None] == group))
    return torch.cat(found)
