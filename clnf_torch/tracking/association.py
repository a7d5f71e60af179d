"""Which track is which detected face, one to one, by overlap or by place and looks; and who follows the same face."""

import torch
from torch import Tensor

from clnf_torch.geometry.boxes import overlap, suppress


def box_around_landmarks(landmarks: Tensor) -> Tensor:
    """Boxes (B, 4) around landmarks (B, N, 2): x, y, width, height, pixels. OpenFace ``CLNF::GetBoundingBox``."""
    lowest, highest = landmarks.amin(-2), landmarks.amax(-2)
    return torch.cat((lowest, highest - lowest), dim=-1)


def associate(score: Tensor) -> Tensor:
    """Partners of detected faces.

    Args:
        score: How well tracks and faces go together, shape (R, K); the greatest score is taken first, then the greatest
            of the rest, and so on; of equals the first. Minus infinity (or NaN) means that they do not.

    Returns:
        The track of each face, -1 for none, int64, shape (K,).
    """
    partner = torch.full(score.shape[1:], -1, dtype=torch.int64, device=score.device)
    if not score.numel():
        return partner
    score = score.masked_fill(score.isnan(), -torch.inf)
    columns = torch.arange(score.shape[1], device=score.device)
    # Each pass takes every pair that is the best of its row and of its column
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


def distances(tracks: Tensor, boxes: Tensor) -> Tensor:
    """How far boxes (K, 4) are from tracks (R, 4), shape (R, K): from centre to centre, in mean box widths."""
    one, other = tracks[:, None], boxes[None]
    apart = (one[..., :2] + one[..., 2:] / 2 - other[..., :2] - other[..., 2:] / 2).norm(dim=-1)
    return 2 * apart / (one[..., 2] + other[..., 2])


def recognition_scores(alike: Tensor, away: Tensor, together: Tensor, far: float) -> Tensor:
    """How well found faces pass for lost ones, shape (R, K); minus infinity where they do not.

    The further away a face is found, in place and time, the more it must look like the lost one: at the same place it
    may look like anything, and what is asked for rises with the root of the way, soon at first.

    Args:
        alike: Correlations of their looks, shape (R, K).
        away: How far they are from each other: 0 at the same place, 1 and more where place says nothing; shape (R, K).
        together: Pairs of one video, of a lost face, bool, shape (R, K).
        far: The least correlation from 1 on.
    """
    spare = alike + 1 - (far + 1) * away.clamp(0, 1).sqrt()
    return torch.where(together & (spare >= 0), spare, -torch.inf)


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
