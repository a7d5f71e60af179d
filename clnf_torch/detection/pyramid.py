"""The image pyramid of MTCNN: which pixels its levels show, and which of them each cell of the proposal maps sees."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from clnf_torch.geometry.resizing import Grids, positions, read_grids, resize_patches, resizing_loops
from clnf_torch.geometry.sampling import MARGIN, pad_with_black

# Pixels that the first network looks at, and those between two looks
SUPPORT, STRIDE = 12, 2
MEAN, SPREAD = 127.5, 0.0078125
# Sizes of images whose pyramids are kept: 4 MiB each at 1280 x 720
KEPT_SIZES = 8


class PaddedFrames(NamedTuple):
    """Frames that the networks look at."""

    padded: Tensor  # (F, 1 or 3, H + 4, W + 4)
    height: int
    width: int
    valid: Tensor | None = None  # (F,) bool: those without infinities and NaNs; None: all

    @classmethod
    def of(cls, frames: Tensor) -> "PaddedFrames":
        """Gray (F, 1, H, W) or RGB (F, 3, H, W) frames; those with infinities or NaNs become black."""
        valid = None
        if frames.is_floating_point():
            valid = frames.isfinite().flatten(1).all(1)
            frames = torch.where(valid[:, None, None, None], frames, 0.0)
        return cls(pad_with_black(frames), frames.shape[2], frames.shape[3], valid)

    def patches(self, image_index: Tensor, boxes: Tensor, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """What the networks are shown of rectangles (K, 4): (K, 3, h, w), from -1 to 1, black outside the frame."""
        return shown(resize_patches(self.padded, image_index, boxes, size, dtype))


def shown(levels: Tensor) -> Tensor:
    """Gray levels (K, 1 or 3, ...) as the networks are shown them, (K, 3, ...); the given ones are used up."""
    return levels.sub_(MEAN).mul_(SPREAD).expand(-1, 3, *[-1] * (levels.ndim - 2))


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


def overlap_of_levels(min_face: float, factor: float) -> float:
    """The greatest intersection over union that boxes of different levels can have, whatever they are rounded to."""
    # A box is 11 cells' steps large, and a pixel more or less
    side = (SUPPORT - 1) * min_face / SUPPORT
    return ((side + 1) / (side / factor - 1)) ** 2


@dataclass(frozen=True)
class ProposalPyramid:
    """The levels of all images of one size, one after the other.

    Attributes:
        sizes: Height and width of each level, pixels.
        corner: Place of the pixel up and to the left of each level's pixel, in an image from `pad_with_black`, int64,
            shape (P,).
        right: Way from there to the next pixel, shape (P,).
        down: Likewise, shape (P,).
        row_pixels: Pixels of a padded image's row.
        grids: The same places by columns and rows, for each level.
    """

    sizes: tuple[tuple[int, int], ...]
    corner: Tensor
    right: Tensor
    down: Tensor
    row_pixels: int
    grids: tuple[Grids, ...]

    def levels(self, images: PaddedFrames, dtype: torch.dtype) -> Iterator[Tensor]:
        """All frames (F, 3, h, w) at each level, as the networks are shown them."""
        loops = resizing_loops(images.padded, dtype)
        if loops is not None:
            frames = torch.arange(len(images.padded), device="cpu")
            for grids in self.grids:
                left, above, right, down = (part.expand(len(frames), -1) for part in grids)
                yield shown(read_grids(loops, images.padded, frames, (left, above, right, down)))
            return
        pixels, row = images.padded.flatten(2), self.row_pixels
        corner = self.corner.expand(*pixels.shape[:2], -1)
        lines = []
        for shift in (0, row):
            left, right = (pixels[:, :, first:].gather(2, corner).to(dtype) for first in (shift, shift + 1))
            lines.append(left.lerp_(right, self.right))
        flat = shown(lines[0].lerp_(lines[1], self.down))
        counts = [height * width for height, width in self.sizes]
        for level, (height, width) in zip(flat.split(counts, 2), self.sizes, strict=True):
            yield level.unflatten(2, (height, width))


@lru_cache(KEPT_SIZES)
def pyramid_of(
    height: int, width: int, scales: tuple[float, ...], device: torch.device, dtype: torch.dtype
) -> ProposalPyramid:
    """The levels of images of a size at these scales, made once for each size."""
    sizes = tuple((math.ceil(height * scale), math.ceil(width * scale)) for scale in scales)
    row_pixels = width + 2 * MARGIN
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    grids: list[Grids] = []
    first = torch.zeros(1, dtype=torch.int64, device="cpu")
    for rows, columns in sizes:
        row, down = positions(first, first + height, rows)
        column, right = positions(first, first + width, columns)
        grids.append((column, row, right.to(dtype), down.to(dtype)))
        corner = (row[0] + MARGIN)[:, None] * row_pixels + column[0] + MARGIN
        parts.append(
            (corner.flatten(), right.expand(rows, -1).flatten(), down[0, :, None].expand(-1, columns).flatten())
        )
    corner, right, down = (torch.cat(part).to(device) for part in zip(*parts, strict=True))
    return ProposalPyramid(sizes, corner, right.to(dtype), down.to(dtype), row_pixels, tuple(grids))


@dataclass(frozen=True)
class Cells:
    """The cells of all levels' proposal maps, level by level and in each column by column, as OpenFace lists them.

    Attributes:
        count: How many there are.
        level: Of each, int64, shape (cells,).
        start: First cell of each level, int64, shape (L,).
        rows: Of each level's map, int64, shape (L,).
        columns: Likewise, int64, shape (L,).
        divisor: Scale of each level, float32, shape (L,).
    """

    count: int
    level: Tensor
    start: Tensor
    rows: Tensor
    columns: Tensor
    divisor: Tensor

    def boxes_around(self, level: Tensor, column: Tensor, row: Tensor, reach: int) -> Tensor:
        """The pixels that cells and those around them see: x, y, width, height, int64, shape (C, columns, rows, 4).

        Args:
            level: Of each cell, shape (C,).
            column: Place in the level's map, shape (C,).
            row: Likewise.
            reach: Cells to each side.
        """
        steps = torch.arange(-reach, reach + 1, device=level.device)
        first = STRIDE * (torch.stack((column, row), -1)[..., None] + steps).float() + 1
        # OpenFace: divides in float32
        divisor = self.divisor[level, None, None]
        low, high = (first / divisor).long(), ((first + (SUPPORT - 1)) / divisor).long()
        (left, top), (width, height) = low.unbind(1), (high - low).unbind(1)
        count = 2 * reach + 1
        across = (part[:, :, None].expand(-1, -1, count) for part in (left, width))
        down = (part[:, None].expand(-1, count, -1) for part in (top, height))
        return torch.stack([part for pair in zip(across, down, strict=True) for part in pair], -1)

    def around(self, level: Tensor, column: Tensor, row: Tensor, reach: int) -> tuple[Tensor, Tensor]:
        """How many cells farther those around a cell are, int64, and which there are, bool, (C, columns, rows)."""
        steps = torch.arange(-reach, reach + 1, device=level.device)
        rows = self.rows[level, None]
        columns, lines = column[:, None] + steps, row[:, None] + steps
        across = (columns >= 0) & (columns < self.columns[level, None])
        down = (lines >= 0) & (lines < rows)
        return (steps * rows)[:, :, None] + steps, across[:, :, None] & down[:, None]

    def places(self, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Level, column and row of cells (C,)."""
        level = self.level[cell]
        within, rows = cell - self.start[level], self.rows[level]
        column = within.div(rows, rounding_mode="floor")
        return level, column, within - column * rows


@lru_cache(KEPT_SIZES)
def cells_of(maps: tuple[tuple[int, int], ...], scales: tuple[float, ...], device: torch.device) -> Cells:
    """The cells of maps of these sizes (rows, columns) at these scales, made once for each."""
    rows, columns = torch.tensor(maps, device="cpu").unbind(1)
    ends = (rows * columns).cumsum(0)
    level = torch.arange(len(maps), device="cpu").repeat_interleave(rows * columns)
    divisor = torch.tensor(scales, dtype=torch.float32, device="cpu")
    tables = (level, ends - rows * columns, rows, columns, divisor)
    return Cells(int(ends[-1]), *(table.to(device) for table in tables))
