"""Data association: tracks to detections by IoU or by distance and appearance, and suppression of duplicate tracks."""

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import box_iou, nms


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
    columns = torch.arange(score.shape[1], device=score.device)
    # Each pass takes every pair that is the best of its row and of its column
    while (score > -torch.inf).any():
        best = score.argmax(0)
        mutual = (score.argmax(1)[best] == columns) & (score[best, columns] > -torch.inf)
        match = torch.where(mutual, best, match)
        score = score.masked_fill(mutual, -torch.inf).index_fill(0, best[mutual], -torch.inf)
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
    kept = nms(boxes, -rank, group, max_iou)
    return torch.zeros_like(rank, dtype=torch.bool).index_fill(0, kept, True)
