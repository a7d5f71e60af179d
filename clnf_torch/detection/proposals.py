"""The first stage of MTCNN: a proposal network over an image pyramid, then non-maximum suppression (NMS)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clnf_torch.detection.pyramid import SUPPORT, Cells, PaddedFrames, cells_of, pyramid_of, pyramid_scales
from clnf_torch.detection.tables import NO_GROUP, Tables
from clnf_torch.geometry.boxes import box_iou, ranked, whole_boxes
from clnf_torch.geometry.records import Rows

__all__ = ["SUPPORT", "PaddedFrames", "Proposals", "face_probability", "propose", "pyramid_scales"]

# Of two faces found at one level
MAX_IOU = 0.5
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

    def trimmed(self, mask: Tensor, tables: Tables) -> "Proposals":
        """Those where a mask (K,) is true; see `Tables.trim`."""
        rows, valid = tables.trim(mask if self.valid is None else mask & self.valid)
        return replace(self[rows], valid=valid)

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
    answers = [network(level).mT for level in pyramid.levels(images, dtype)]
    cells = cells_of(tuple((maps.shape[3], maps.shape[2]) for maps in answers), tuple(scales), device)
    maps = torch.cat([maps.flatten(2) for maps in answers], 2).mT
    score = face_probability(maps)
    candidates = score >= threshold
    if images.valid is not None:
        candidates = candidates & images.valid[:, None]
    index, valid = tables.compact(candidates.flatten(), "cells")
    image_index = index.div(cells.count, rounding_mode="floor")
    level, column, row = cells.places(index - image_index * cells.count)
    boxes = torch.stack((*cells.extents(level, column, row),), -1).to(dtype)
    # A group for each image and level
    group, regression = image_index * len(scales) + level, maps[..., 2:6].flatten(0, 1)[index]
    found = Proposals(boxes, score.flatten()[index], regression, group, valid)
    kept = tables.without_rivals(_rivals(cells, found, index, (level, column, row), score.numel()))
    found = found.compacted(kept, "proposals", tables).best_first()
    return replace(found, image_index=found.image_index.div(len(scales), rounding_mode="floor"))


def face_probability(answers: Tensor) -> Tensor:
    """Probability (...) of a face, given answers (..., 2 or more) that begin with the logits of none and of one."""
    return 1 / (1 + (answers[..., 0] - answers[..., 1]).exp())


def _rivals(cells: Cells, found: Proposals, index: Tensor, places: tuple[Tensor, Tensor, Tensor], total: int) -> Tensor:
    """The better candidates (C, 25) around each of the C in its map that overlap it too much, filled up with C.

    Args:
        cells: All cells.
        found: The candidates.
        index: Cell of each, counted through all images, int64, shape (C,).
        places: Level, column and row of each, int64, shape (C,).
        total: Number of all images' cells.
    """
    (level, column, row), count = places, len(index)
    steps = torch.arange(-REACH, REACH + 1, device=index.device)
    columns, rows = column[:, None, None] + steps[:, None], row[:, None, None] + steps
    high = cells.rows[level, None, None]
    inside = (columns >= 0) & (columns < cells.columns[level, None, None]) & (rows >= 0) & (rows < high)
    around = index[:, None, None] + steps[:, None] * high + steps
    # Candidate of each cell
    own, nobody = torch.arange(count, device=index.device), index.new_full((total + 1,), count)
    target = index if found.valid is None else torch.where(found.valid, index, total)
    candidate = nobody.scatter(0, target, torch.where(target < total, own, count))
    other = candidate[torch.where(inside, around, total)]
    score = pad(found.score, (0, 1), value=-1.0)[other]
    mine = found.score[:, None, None]
    better = (score > mine) | ((score == mine) & (other > own[:, None, None]))
    boxes = torch.stack(torch.broadcast_tensors(*cells.extents(level, columns, rows)), -1).long()
    close = box_iou(boxes, boxes[:, REACH, REACH, None, None]) > MAX_IOU
    return torch.where(better & close, other, count).flatten(1)
