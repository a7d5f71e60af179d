"""Which track is which detected face, one to one, by overlap, then by distance; and who follows the same face."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import overlap, suppress


def landmark_boxes(landmarks: Tensor) -> Tensor:
    """Boxes (B, 4) around landmarks (B, N, 2): x, y, width, height, pixels. OpenFace ``CLNF::GetBoundingBox``."""
    lowest, highest = landmarks.amin(-2), landmarks.amax(-2)
    return torch.cat((lowest, highest - lowest), dim=-1)


def associate(scores: Sequence[Tensor]) -> Tensor:
    """Partners of detected boxes, by one criterion after the other.

    Args:
        scores: For each criterion how well tracks and boxes go together, shape (R, K); the greatest score is taken
            first, and minus infinity (or NaN) means that they do not. Who has a partner by one criterion is not
            considered by the next.

    Returns:
        The track of each box, -1 for none, int64, shape (K,).
    """
    partner = torch.full(scores[0].shape[1:], -1, dtype=torch.int64, device=scores[0].device)
    if not scores[0].numel():
        return partner
    taken = torch.zeros(scores[0].shape[0], dtype=torch.bool, device=partner.device)
    for score in scores:
        found = _greedy(score.masked_fill(score.isnan() | taken[:, None] | (partner >= 0), -torch.inf))
        partner = torch.where(found >= 0, found, partner)
        taken = taken.index_fill(0, partner[partner >= 0], True)
    return partner


def _greedy(score: Tensor) -> Tensor:
    """The row of each column (K,) when the greatest score is taken first, then the greatest of the rest, and so on.

    Each pass takes every pair that is the best of its row and of its column; of equals, the first.
    """
    partner = torch.full(score.shape[1:], -1, dtype=torch.int64, device=score.device)
    columns = torch.arange(score.shape[1], device=score.device)
    while (score > -torch.inf).any():
        best = score.argmax(0)
        mutual = (score.argmax(1)[best] == columns) & (score[best, columns] > -torch.inf)
        partner = torch.where(mutual, best, partner)
        score = score.masked_fill(mutual, -torch.inf).index_fill(0, best[mutual], -torch.inf)
    return partner


def overlap_scores(tracks: Tensor, boxes: Tensor, together: Tensor, least: float) -> Tensor:
    """Overlaps of tracks and boxes, shape (R, K); minus infinity below `least` and where they cannot be together.

    Args:
        tracks: Boxes of tracks, shape (R, 4).
        boxes: Detected boxes, shape (K, 4).
        together: Pairs of one video that may be the same face, bool, shape (R, K).
        least: The least overlap (common area by the area of both) of one face.
    """
    common = overlap(tracks[:, None], boxes[None])
    return torch.where(together & (common >= least), common, -torch.inf)


def distance_scores(tracks: Tensor, boxes: Tensor, together: Tensor, reach: float) -> Tensor:
    """How near boxes are to tracks, shape (R, K): minus the distance of the centres, in mean box widths.

    Minus infinity where it is more than `reach`, where one is more than twice as wide as the other, and where they
    cannot be together.
    """
    one, other = tracks[:, None], boxes[None]
    apart = (one[..., :2] + one[..., 2:] / 2 - other[..., :2] - other[..., 2:] / 2).norm(dim=-1)
    width, width2 = one[..., 2], other[..., 2]
    apart = 2 * apart / (width + width2)
    alike = torch.maximum(width, width2) <= 2 * torch.minimum(width, width2)
    return torch.where(together & alike & (apart <= reach), -apart, -torch.inf)


def leaders(boxes: Tensor, rank: Tensor, group: Tensor, threshold: float) -> Tensor:
    """Faces that do not follow the face of another one.

    Args:
        boxes: Shape (B, 4).
        rank: Of faces of one group that overlap, the one of lowest rank leads; int64, shape (B,).
        group: Faces of different groups (videos) do not see each other; int64, shape (B,).
        threshold: The overlap that two faces may have.

    Returns:
        Bool, shape (B,).
    """
    kept = suppress(boxes, -rank, group, threshold)
    return torch.zeros_like(rank, dtype=torch.bool).index_fill(0, kept, True)
