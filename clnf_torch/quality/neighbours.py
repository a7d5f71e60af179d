"""The same face one frame earlier and one frame later, in a table of faces."""

import torch
from torch import Tensor


def neighbours(landmarks: Tensor, frame: Tensor, identity: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Landmarks of each face in the frames before and after, for `check_landmark_quality`.

    Args:
        landmarks: Pixels, shape (B, N, 2), in any order.
        frame: Number of each face's frame, int64, shape (B,).
        identity: Which face it is, or which face of which video, int64, shape (B,); default: all are one face.

    Returns:
        Both of shape (B, N, 2); NaN where the face is not in that frame.
    """
    identity = torch.zeros_like(frame) if identity is None else identity
    _, number = identity.unique(return_inverse=True)
    first = frame.amin() if frame.numel() else 0
    time = frame - first + 1
    key = number * (time.amax() + 2 if frame.numel() else 1) + time
    order = key.argsort(stable=True)
    return _at(landmarks, key[order], order, key - 1), _at(landmarks, key[order], order, key + 1)


def _at(landmarks: Tensor, ordered: Tensor, order: Tensor, wanted: Tensor) -> Tensor:
    """Landmarks of the rows with the wanted keys (B,); NaN where there is none."""
    place = torch.searchsorted(ordered, wanted).clamp_max(max(0, len(ordered) - 1))
    there = ordered[place] == wanted
    return torch.where(there[:, None, None], landmarks[order[place]], torch.nan)
