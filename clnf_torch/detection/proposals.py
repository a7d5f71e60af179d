"""The first stage of MTCNN: a proposal network over an image pyramid, then non-maximum suppression (NMS)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.detection.box_tables import NO_GROUP, Tables
from clnf_torch.detection.pyramid import STRIDE, SUPPORT, PaddedFrames, cells_of, pyramid_of, pyramid_scales
from clnf_torch.geometry.boxes import box_iou, ranked, whole_boxes
from clnf_torch.geometry.records import Rows
from clnf_torch.models.layers import respond_to_all

# Names that belong together, wherever they are made
__all__ = ["PaddedFrames", "Proposals", "face_probability", "propose", "pyramid_scales"]

# Of two faces found at one level
MAX_IOU = 0.5
# Pixels of a level, or of several small ones, whose maps a core's cache holds
CPU_PIXELS = 1 << 16
# Cells in each direction that may overlap by more; those farther away share less, whatever they are rounded to
REACH = 2


@dataclass(frozen=True)
class Proposals(Rows):
    """Boxes that may hold faces.

    Attributes:
        boxes: x, y, width, height in pixels, shape (K, 4).
        score: Probability of a face, shape (K,).
        regression: Bounding-box regression: how far to move left, top, right and bottom, in widths and heights, shape
            (K, 4).
        image_index: Which of the frames each box is in, int64, shape (K,).
        valid: Rows that hold a box, bool, shape (K,); None: all, as on the CPU.
    """

    boxes: Tensor
    score: Tensor
    regression: Tensor
    image_index: Tensor
    valid: Tensor | None = None

    def after_nms(
        self, threshold: float, group: Tensor | None = None, of_smaller: bool = False, tables: Tables | None = None
    ) -> "Proposals":
        """Those left by non-maximum suppression within an image (or a finer group), from the best to the worst."""
        group = self.image_index if group is None else group
        tables = tables or Tables()
        index, valid = tables.nms(self.boxes, self.score, group, self.valid, threshold, of_smaller)
        return replace(self[index], valid=valid)

    def compacted(self, mask: Tensor, stage: str, tables: Tables) -> "Proposals":
        """Those where a mask (K,) is true, in a table of their own; see `Tables.compact`."""
        index, valid = tables.compact(mask if self.valid is None else mask & self.valid, stage)
        return replace(self[index], valid=valid)

    def holds(self) -> Tensor:
        """Rows that hold a box, bool, shape (K,)."""
        return torch.ones_like(self.image_index, dtype=torch.bool) if self.valid is None else self.valid

    def best_first(self, group: Tensor | None = None) -> "Proposals":
        """By image (or a finer group), from the best to the worst; rows that hold no box come last."""
        group = self.image_index if group is None else group
        if self.valid is not None:
            group = torch.where(self.valid, group, NO_GROUP)
        return self[ranked(self.score, group)]

    def regressed(self, grown: int = 0) -> "Proposals":
        """The boxes, rounded to whole pixels, after bounding-box regression.

        Args:
            grown: Pixels to add to width and height first.

        Source:
            OpenFace ``apply_correction``.
        """
        start, size = whole_boxes(self.boxes).to(self.boxes.dtype).split(2, -1)
        size = size + grown if grown else size
        first, last = self.regression.split(2, -1)
        low, high = start + first * size, (start + size) + size * last
        return replace(self, boxes=torch.cat((low, high - low), -1))

    def squared(self) -> "Proposals":
        """The boxes made as high as they are wide, around their middle, in whole pixels towards zero.

        Source:
            OpenFace ``rectify``.
        """
        start, size = self.boxes.split(2, -1)
        side = size.amax(-1, keepdim=True)
        start = (start + 0.5 * (size - side)).trunc()
        return replace(self, boxes=torch.cat((start, side.trunc().expand(-1, 2)), -1))


def propose(
    network: nn.Module,
    images: PaddedFrames,
    scales: Sequence[float],
    threshold: float,
    dtype: torch.dtype,
    tables: Tables | None = None,
) -> Proposals:
    """Where the first network sees a face, at each scale the best of those that overlap.

    Args:
        network: Maps (F, 3, h, w) to (F, 6, (h - 10) / 2, (w - 10) / 2): two logits and four numbers of bounding-box
            regression.
        images: The frames.
        scales: From `pyramid_scales`, at least one.
        threshold: Least probability of a face.
        dtype: Number type of the arithmetic.
        tables: For the candidates; None: as long as there are some, which is read.

    Returns:
        By frame, then by scale, then from the best to the worst.
    """
    tables, device = tables or Tables(), images.padded.device
    pyramid = pyramid_of(images.height, images.width, tuple(scales), device, dtype)
    # OpenFace: column by column
    answers = [maps.mT for maps in _in_bands(network, list(pyramid.levels(images, dtype)))]
    cells = cells_of(tuple((maps.shape[3], maps.shape[2]) for maps in answers), tuple(scales), device)
    maps = torch.cat([maps.flatten(2) for maps in answers], 2).mT
    score = face_probability(maps)
    candidates = score >= threshold
    if images.valid is not None:
        candidates = candidates & images.valid[:, None]
    index, valid = tables.compact(candidates.flatten(), "cells")
    image_index = index.div(cells.count, rounding_mode="floor")
    level, column, row = cells.places(index - image_index * cells.count)
    boxes = cells.boxes_around(level, column, row, REACH)
    # A group for each image and level
    group, regression = image_index * len(scales) + level, maps[..., 2:6].flatten(0, 1)[index]
    found = Proposals(boxes[:, REACH, REACH].to(dtype), score.flatten()[index], regression, group, valid)
    around = cells.around(level, column, row, REACH)
    kept = tables.without_rivals(_rivals(found, boxes, index, around, score.numel()))
    found = found.compacted(kept, "proposals", tables).best_first()
    return replace(found, image_index=found.image_index.div(len(scales), rounding_mode="floor"))


def face_probability(answers: Tensor) -> Tensor:
    """Probability (...) of a face, given answers (..., 2 or more) that begin with the logits of none and of one."""
    return 1 / (1 + (answers[..., 0] - answers[..., 1]).exp())


def _in_bands(network: nn.Module, levels: list[Tensor]) -> list[Tensor]:
    """What a network makes of levels (F, 3, h, w), on the CPU of so many pixels at a time as its cache holds."""
    bands = [_bands(level) for level in levels]
    answers = iter(respond_to_all(network, [frames for level in bands for band in level for frames in band]))
    return [_joined([_joined([next(answers) for _ in band], 0) for band in level], 2) for level in bands]


def _bands(level: Tensor) -> list[Sequence[Tensor]]:
    """The bands of a level's images (F, 3, h, w), from top to bottom, each in batches of frames."""
    frames, _, height, width = level.shape
    if level.device.type != "cpu" or frames * height * width <= CPU_PIXELS:
        return [[level]]
    if height * width <= CPU_PIXELS:
        return [level.split(CPU_PIXELS // (height * width))]
    # A band's last rows are the next one's first: what a cell looks at, but for a step
    shared = SUPPORT - STRIDE
    rows = max(1, (CPU_PIXELS // width - shared) // STRIDE)
    starts = range(0, height - shared + height % STRIDE, STRIDE * rows)
    return [level[:, :, start : start + STRIDE * rows + shared].split(1) for start in starts]


def _joined(maps: list[Tensor], axis: int) -> Tensor:
    """Maps side by side, without a copy where there is one alone."""
    return maps[0] if len(maps) == 1 else torch.cat(maps, axis)


def _rivals(found: Proposals, boxes: Tensor, index: Tensor, around: tuple[Tensor, Tensor], total: int) -> Tensor:
    """The better candidates (C, 25) around each of the C in its map that overlap it too much, filled up with C.

    Args:
        found: The candidates.
        boxes: Of the cells around each, shape (C, 5, 5, 4).
        index: Cell of each, counted through all images, int64, shape (C,).
        around: How many cells farther those around each are, int64, and which of them there are, bool, (C, 5, 5).
        total: Number of all images' cells.
    """
    count, (steps, inside) = len(index), around
    # Candidate of each cell
    own, nobody = torch.arange(count, device=index.device), index.new_full((total + 1,), count)
    target = index if found.valid is None else torch.where(found.valid, index, total)
    candidate = nobody.scatter(0, target, own)
    # Where rows that hold no box went
    candidate[total:].fill_(count)
    other = candidate[torch.where(inside, index[:, None, None] + steps, total)]
    score, mine = pad(found.score, (0, 1), value=-1.0)[other], found.score[:, None, None]
    better = (score > mine) | ((score == mine) & (other > own[:, None, None]))
    close = box_iou(boxes, boxes[:, REACH, REACH, None, None]) > MAX_IOU
    return torch.where(better & close, other, count).flatten(1)
