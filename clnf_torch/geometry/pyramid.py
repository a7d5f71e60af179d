"""Images in several sizes, so that a large face is read as smoothly as a small one."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from clnf_torch.compilation.conditions import load_kernels, plain_numbers, recorded
from clnf_torch.geometry.constants import constant
from clnf_torch.geometry.gray import image_loops
from clnf_torch.geometry.sampling import MARGIN, Cells, affine_cells, pad_with_black

# Pixels; a side shorter than this is not halved again
SMALLEST = 16


def halve(images: Tensor) -> Tensor:
    """Images of half the size: each pixel is the mean of four, rounded for integers.

    Args:
        images: Shape (F, H, W), uint8 or floating point; a last odd row or column is left out.

    Returns:
        In the same number type, shape (F, H // 2, W // 2).
    """
    loops = image_loops(images)
    if loops is not None:
        found = images.new_empty(len(images), images.shape[1] // 2, images.shape[2] // 2)
        # Loops over rows that are known to lie side by side are vector instructions: ten times as fast
        loops.halve(images.contiguous().numpy(), found.numpy())
        return found
    mean = avg_pool2d(images[:, None].to(torch.promote_types(images.dtype, torch.float32)), 2)[:, 0]
    return mean.to(images.dtype) if images.is_floating_point() else mean.round().to(images.dtype)


@dataclass(frozen=True)
class Pyramid:
    """Gray images, halved again and again, laid one after the other into one row of pixels."""

    pixels: Tensor  # (P,) every size of every image, each with its black margin
    start: Tensor  # (L,) int64: where the images of each size begin
    rows: Tensor  # (L,) int64: height of each size, margins included
    columns: Tensor  # (L,) int64: width of each size, margins included

    @classmethod
    def of(cls, gray: Tensor) -> "Pyramid":
        """The sizes of images (F, H, W), uint8 or floating point. Every other pixel's mean is rounded for uint8."""
        sizes = [gray]
        while min(sizes[-1].shape[-2:]) >= 2 * SMALLEST:
            sizes.append(halve(sizes[-1]))
        padded = [pad_with_black(size) for size in sizes]
        starts = tuple(accumulate((size.numel() for size in padded[:-1]), initial=0))
        tables = starts, *(tuple(size.shape[axis] for size in padded) for axis in (-2, -1))
        return cls(
            torch.cat([size.flatten() for size in padded]), *(constant(table, gray, torch.int64) for table in tables)
        )

    def read(self, image_index: Tensor, matrix: Tensor, width: int) -> Tensor:
        """Square windows of images, each from the size in which its pixels lie one to two pixels apart.

        Args:
            image_index: Image of each row, int64, shape (B,).
            matrix: Maps from window to image, pixels, shape (B, K, 2, 3).
            width: Side A of the windows, pixels.

        Returns:
            Gray levels, 0 outside the image, in the matrix's number type, shape (B, K, A, A).
        """
        loops = self._loops_for(matrix)
        if loops is not None:
            found = matrix.new_empty(*matrix.shape[:2], width, width)
            tables = tuple(table.numpy() for table in (self.start, self.rows, self.columns))
            maps = matrix.detach().contiguous().numpy()
            loops.read(self.pixels.numpy(), tables, MARGIN, image_index.numpy(), maps, found.numpy())
            return found
        level = self._level(matrix)
        halving = torch.ldexp(torch.ones_like(level, dtype=matrix.dtype), -level)[..., None, None]
        # Of the first pixel, from its upper left corner
        middle = constant((0.0, 0.0, 0.5), matrix)
        return self._take(
            image_index, level, affine_cells(matrix * halving + (halving - 1) * middle, width), matrix.dtype
        )

    def _loops_for(self, matrix: Tensor) -> Any:
        """The compiled loops that read windows; None where they cannot run."""
        plain = matrix.is_cpu and self.pixels.dtype in (torch.uint8, torch.float32)
        if not plain or recorded(self.pixels) or not plain_numbers(matrix):
            return None
        return load_kernels("clnf_torch.geometry.kernels.cpu.pyramids")

    def _level(self, matrix: Tensor) -> Tensor:
        """The size for maps (B, K, 2, 3), int64, shape (B, K): 0 is the image itself."""
        (a, b), (c, d) = (row.unbind(-1) for row in matrix[..., :2].detach().unbind(-2))
        step = (a * d - b * c).abs().sqrt().nan_to_num(1.0)
        return step.clamp(min=1).log2().floor().long().clamp(max=len(self.start) - 1)

    def _take(self, image_index: Tensor, level: Tensor, cells: Cells, dtype: torch.dtype) -> Tensor:
        """Gray levels between the pixels of sizes (B, K) at cells (B, K, A, A)."""
        start, rows, columns = (numbers[level][..., None, None] for numbers in (self.start, self.rows, self.columns))
        column, row, right, down = cells
        column = column.long().clamp(min=-MARGIN).minimum(columns - 2 * MARGIN)
        row = row.long().clamp(min=-MARGIN).minimum(rows - 2 * MARGIN)
        origin = start + image_index[:, None, None, None] * (rows * columns) + MARGIN * (columns + 1)
        corner = origin + row * columns + column
        right, down = right.to(dtype), down.to(dtype)

        def at(index: Tensor) -> Tensor:
            return self.pixels.index_select(0, index.reshape(-1)).to(dtype).view(index.shape)

        top = torch.lerp(at(corner), at(corner + 1), right)
        bottom = torch.lerp(at(corner + columns), at(corner + columns + 1), right)
        return torch.lerp(top, bottom, down)
