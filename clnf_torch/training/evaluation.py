"""Landmarks of annotated faces, found by a detector in images of any sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clnf_torch.fitting.config import FitConfig
from clnf_torch.geometry.gray import to_gray
from clnf_torch.pipeline import LandmarkDetector
from clnf_torch.training.augmentation.pen_marks import draw_pen_marks
from clnf_torch.training.data.annotations import LANDMARKS

Reader = Callable[[int], Tensor]
"""Gives the image of a face by its row: RGB, uint8, shape (3, H, W)."""


@dataclass(frozen=True, kw_only=True)
class FoundFaces:
    """What a detector makes of faces, one per row."""

    landmarks: Tensor  # (F, 68, 2) float32 pixels (x, y) on the CPU; NaN where there was no box
    success: Tensor  # (F,) bool: whether the detector itself takes it for a face


def find_landmarks(
    detector: LandmarkDetector,
    read: Reader,
    boxes: Tensor,
    *,
    batch: int = 16,
    preset: str | FitConfig = "default",
    multi_view: bool | None = None,
    done: Callable[[int], None] | None = None,
) -> FoundFaces:
    """Fits one face in each image, several images together.

    Args:
        detector: Of 68 landmarks.
        read: Gives the images.
        boxes: x, y, width, height in pixels, shape (F, 4); a row with NaN stands for a face without a box.
        batch: Images that are worked on together.
        preset: As for `LandmarkDetector.fit`.
        multi_view: As for `LandmarkDetector.fit`.
        done: Told after each batch how many more are done.

    Returns:
        F rows.
    """
    landmarks, success = [torch.zeros(0, LANDMARKS, 2)], [torch.zeros(0, dtype=torch.bool)]
    for first in range(0, len(boxes), batch):
        some = boxes[first : first + batch]
        frames = stack_padded([to_gray(read(first + row)[None])[0] for row in range(len(some))])
        with torch.inference_mode():
            result = detector.fit(frames, some, torch.arange(len(some)), preset=preset, multi_view=multi_view)
        landmarks.append(result.landmarks.float().cpu())
        success.append(result.success.cpu())
        if done:
            done(len(some))
    return FoundFaces(landmarks=torch.cat(landmarks), success=torch.cat(success))


def stack_padded(images: Sequence[Tensor]) -> Tensor:
    """Images (H, W) of several sizes as one tensor, black to the right of and below the smaller ones.

    No fit changes by this: what lies outside an image counts as black anyway.
    """
    height, width = (max(image.shape[axis] for image in images) for axis in range(2))
    return torch.stack([F.pad(one, (0, width - one.shape[1], 0, height - one.shape[0])) for one in images])


def with_pen_marks(read: Reader, landmarks: Tensor, seed: int) -> Reader:
    """The same images with pen markings on the faces.

    Args:
        read: Gives the images.
        landmarks: Of the faces, pixels, shape (F, 68, 2).
        seed: With the row it decides what is drawn, so a face is marked alike in every run.
    """

    def read_marked(row: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + row)
        return draw_pen_marks(read(row)[None], landmarks[row][None], generator)[0]

    return read_marked
