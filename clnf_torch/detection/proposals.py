"""The first stage of MTCNN: a proposal network over an image pyramid, then non-maximum suppression (NMS)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clnf_torch.geometry.boxes import nms, whole_boxes
from clnf_torch.geometry.records import Rows
from clnf_torch.geometry.resizing import resize_patches
from clnf_torch.geometry.sampling import pad_with_black


@dataclass(frozen=True)
class Proposals(Rows):
    """Boxes that may hold faces.

    Attributes:
        boxes: x, y, width, height in pixels, shape (K, 4).
        score: Probability of a face, shape (K,).
        regression: Bounding-box regression: how far to move left, top, right and bottom, in widths and heights, shape
            (K, 4).
        image_index: Which of the frames each box is in, int64, shape (K,).
    """

    boxes: Tensor
    score: Tensor
    regression: Tensor
    image_index: Tensor

    def after_nms(self, threshold: float, group: Tensor | None = None, of_smaller: bool = False) -> "Proposals":
        """Those left by non-maximum suppression within an image (or a finer group), from the best to the worst."""
        group = self.image_index if group is None else group
        return self[nms(self.boxes, self.score, group, threshold, of_smaller)]

    def regressed(self, grown: int = 0) -> "Proposals":
        """The boxes, rounded to whole pixels, after bounding-box regression.

        Args:
            grown: Pixels to add to width and height first.

        Source:
            OpenFace ``apply_correction``.
        """
        x, y, width, height = whole_boxes(self.boxes).to(self.boxes.dtype).unbind(-1)
        width, height = width + grown, height + grown
        left, top, right, bottom = self.regression.unbind(-1)
        x1, y1 = x + left * width, y + top * height
        x2, y2 = (x + width) + width * right, (y + height) + height * bottom
        return replace(self, boxes=torch.stack((x1, y1, x2 - x1, y2 - y1), dim=-1))

    def squared(self) -> "Proposals":
        """The boxes made as high as they are wide, around their middle, in whole pixels towards zero.

        Source:
            OpenFace ``rectify``.
        """
        x, y, width, height = self.boxes.unbind(-1)
        side = torch.maximum(width, height)
        x, y = (x + 0.5 * (width - side)).trunc(), (y + 0.5 * (height - side)).trunc()
        return replace(self, boxes=torch.stack((x, y, side.trunc(), side.trunc()), dim=-1))


# Pixels that the first network looks at, and those between two looks
SUPPORT, STRIDE = 12, 2
# Of two faces found at one level
MAX_IOU = 0.5
MEAN, SPREAD = 127.5, 0.0078125


class PaddedFrames(NamedTuple):
    """Frames that the networks look at."""

    padded: Tensor  # (F, 1 or 3, H + 4, W + 4)
    height: int
    width: int

    @classmethod
    def of(cls, frames: Tensor) -> "PaddedFrames":
        """Gray (F, 1, H, W) or RGB (F, 3, H, W) frames."""
        return cls(pad_with_black(frames), *frames.shape[2:])

    def patches(self, image_index: Tensor, boxes: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """What the networks are shown of rectangles (K, 4): (K, 3, h, w), from -1 to 1, black outside the frame."""
        patches = resize_patches(self.padded, image_index, boxes, size, dtype)
        return ((patches - MEAN) * SPREAD).expand(-1, 3, -1, -1)


def pyramid_scales(height: int, width: int, min_face: float, factor: float) -> list[float]:
    """Scales at which images are searched, large to small; none where the image is smaller than a face.

    Args:
        height: Of the image, pixels.
        width: Of the image, pixels.
        min_face: Size of the smallest face to be found, pixels.
        factor: Ratio of one scale to the one before.

    Source:
        OpenFace ``FaceDetectorMTCNN::DetectFaces``.
    """
    smaller = min(height, width)
    count = math.floor(math.log(min_face / smaller) / math.log(factor)) + 1 if smaller else 0
    return [SUPPORT / min_face * factor**k for k in range(max(0, count))]


def propose(
    network: nn.Module, images: PaddedFrames, scales: list[float], threshold: float, dtype: torch.dtype
) -> Proposals:
    """Where the first network sees a face, at each scale the best of those that overlap.

    Args:
        network: Maps (F, 3, h, w) to (F, 6, (h - 10) / 2, (w - 10) / 2): two logits and four numbers of bounding-box
            regression.
        images: The frames.
        scales: From `pyramid_scales`, at least one.
        threshold: Least probability of a face.
        dtype: Number type of the arithmetic.

    Returns:
        By frame, then by scale, then from the best to the worst.
    """
    answers, sizes = [], []
    for scale in scales:
        # OpenFace: column by column
        maps = network(_level(images, scale, dtype)).mT
        answers.append(maps.flatten(2))
        sizes.append(maps.shape[2:])
    maps = torch.cat(answers, 2).mT
    score = face_probability(maps)
    image_index, cell = (score >= threshold).nonzero(as_tuple=True)
    level, boxes = _cell_boxes(cell, sizes, scales)
    found = Proposals(boxes.to(dtype), score[image_index, cell], maps[image_index, cell, 2:6], image_index)
    return found.after_nms(MAX_IOU, image_index * len(scales) + level)


def face_probability(answers: Tensor) -> Tensor:
    """Probability (...) of a face, given answers (..., 2 or more) that begin with the logits of none and of one."""
    return 1 / (1 + (answers[..., 0] - answers[..., 1]).exp())


def _level(images: PaddedFrames, scale: float, dtype: torch.dtype) -> Tensor:
    """All frames (F, 3, h, w) at a scale."""
    height, width = images.height, images.width
    image_index = torch.arange(images.padded.shape[0], device=images.padded.device)
    whole = torch.tensor([[0, 0, width, height]], device=image_index.device).expand(image_index.shape[0], 4)
    return images.patches(image_index, whole, (math.ceil(height * scale), math.ceil(width * scale)), dtype)


def _cell_boxes(cell: Tensor, sizes: Sequence[Sequence[int]], scales: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The level of cells (K,), counted through the maps (columns, rows) of all, and the pixels (K, 4) they look at."""
    columns, rows = torch.tensor(sizes, device=cell.device).unbind(1)
    ends = (columns * rows).cumsum(0)
    level = torch.searchsorted(ends, cell, right=True)
    within = cell - (ends - columns * rows)[level]
    place = torch.stack((within // rows[level], within % rows[level]), -1)
    first = STRIDE * place.float() + 1
    # OpenFace: divides in float32
    divisor = torch.tensor(scales, dtype=torch.float32, device=cell.device)[level, None]
    low, high = (first / divisor).trunc(), ((first + (SUPPORT - 1)) / divisor).trunc()
    return level, torch.cat((low, high - low), -1)
