"""What a face detector gives, and the choice of one face per frame."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from clnf_torch.geometry.frames import as_tensor
from clnf_torch.geometry.records import loadable

# OpenFace: the score of a frame without a face
NO_FACE = -2.0


@loadable
@dataclass(frozen=True, kw_only=True)
class FaceBoxes:
    """Faces found in frames, by frame, the surest first.

    Attributes:
        boxes: x, y, width, height in pixels: the extent of 68 landmarks, brows to chin and jaw to jaw, shape (K, 4).
        score: Probability of a face, shape (K,).
        image_index: Which of the frames each box is in, int64, shape (K,).
    """

    boxes: Tensor
    score: Tensor
    image_index: Tensor


class FaceDetector(Protocol):
    """Anything that finds faces."""

    def detect(self, frames: Tensor) -> FaceBoxes:
        """Faces in frames.

        Args:
            frames: Gray (F, 1, H, W) or RGB (F, 3, H, W) images, uint8 or floating point in 0 to 255.

        Returns:
            The faces of all frames; none for a frame that shows none.
        """
        ...


def widest(faces: FaceBoxes, frames: int) -> FaceBoxes:
    """The widest face of each frame.

    Args:
        faces: All faces.
        frames: Number of frames F.

    Returns:
        F rows, one per frame; without a face the box is 0, 0, 0, 0 and the score -2.

    Source:
        OpenFace ``DetectSingleFaceMTCNN`` without a preferred point.
    """
    return _first(faces, -faces.boxes[:, 2], frames)


def nearest(faces: FaceBoxes, points: Any) -> FaceBoxes:
    """The face of each frame whose centre is nearest to a point.

    Args:
        faces: All faces.
        points: x, y in pixels, shape (F, 2), as a tensor or an array.

    Returns:
        F rows; see `widest`.

    Source:
        OpenFace ``DetectSingleFaceMTCNN`` with a preferred point.
    """
    centres = faces.boxes[:, :2] + faces.boxes[:, 2:] / 2
    points = as_tensor("points", points).to(centres)
    return _first(faces, (centres - points[faces.image_index]).norm(dim=-1), points.shape[0])


def _first(faces: FaceBoxes, cost: Tensor, frames: int) -> FaceBoxes:
    """The face of least cost (K,) of each frame; the first of several."""
    image_index = torch.arange(frames, device=faces.image_index.device)
    order = cost.sort(stable=True).indices
    order = order[faces.image_index[order].sort(stable=True).indices]
    # One row more, so that a frame without faces has something to look at
    sorted_frames = torch.cat((faces.image_index[order], faces.image_index.new_full((1,), frames)))
    start = torch.searchsorted(sorted_frames, image_index)
    found = sorted_frames[start] == image_index
    boxes = torch.cat((faces.boxes[order], faces.boxes.new_zeros(1, 4)))[start]
    score = torch.cat((faces.score[order], faces.score.new_zeros(1)))[start]
    return FaceBoxes(
        boxes=torch.where(found[:, None], boxes, 0.0),
        score=torch.where(found, score, NO_FACE),
        image_index=image_index,
    )
