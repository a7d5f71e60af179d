"""Parts of images resized as ``cv::resize`` does it: all to one size, or each by its own factor.

The two forms round differently, as OpenCV does: of float32 images it places the samples in float32 by the ratio of the
sizes; of uint8 images it places them in float64 by the given factor, and rounds the levels to whole ones.
"""

from typing import Any

import torch
from torch import Tensor

from clnf_torch.compilation.conditions import load_kernels
from clnf_torch.geometry.gray import image_loops
from clnf_torch.geometry.sampling import MARGIN

Grids = tuple[Tensor, Tensor, Tensor, Tensor]
"""Pixels left of columns (K, w) and above rows (K, h), int64, and the ways from there to the next ones."""


def resize_patches(
    padded: Tensor, image_index: Tensor, patches: Tensor, size: tuple[int, int], dtype: torch.dtype
) -> Tensor:
    """Rectangles of images, resized bilinearly, pixel centres on pixel centres, without smoothing.

    Args:
        padded: Images from `pad_with_black`, shape (F, C, H + 4, W + 4), uint8 or floating point.
        image_index: Image of each patch, int64, shape (K,).
        patches: x, y, width, height in whole pixels, int64, shape (K, 4); what lies outside the image is black.
        size: Height h and width w to resize to.
        dtype: Number type of the result.

    Returns:
        Shape (K, C, h, w).

    Source:
        ``cv::resize`` with ``INTER_LINEAR`` on float32 images, which places its samples in float32.
    """
    _, channels, rows, columns = padded.shape
    if size[0] == size[1]:
        pixel, fraction = positions(patches[:, :2], patches[:, 2:], size[0])
        (column, row), (right, down) = pixel.unbind(1), fraction.to(dtype).unbind(1)
    else:
        column, right = positions(patches[:, 0], patches[:, 2], size[1])
        row, down = positions(patches[:, 1], patches[:, 3], size[0])
    # Black lies all around
    column, row = column.clamp(-MARGIN, columns - 2 * MARGIN), row.clamp(-MARGIN, rows - 2 * MARGIN)
    right, down = right.to(dtype), down.to(dtype)
    loops = resizing_loops(padded, dtype)
    if loops is not None:
        return read_grids(loops, padded, image_index, (column, row, right, down))
    image = image_index[:, None] * channels + torch.arange(channels, device=image_index.device)
    origin = image * (rows * columns) + MARGIN * (columns + 1)
    corner = origin[:, :, None, None] + torch.add(column[:, None, :], row[:, :, None], alpha=columns)[:, None]
    pixels, place = padded.reshape(-1), corner.reshape(-1)
    ends = (
        pixels[shift:].index_select(0, place).to(dtype).view(corner.shape) for shift in (0, 1, columns, columns + 1)
    )
    right, down = right[:, None, None, :], down[:, None, :, None]
    top, bottom = next(ends).lerp_(next(ends), right), next(ends).lerp_(next(ends), right)
    return top.lerp_(bottom, down)


def resizing_loops(padded: Tensor, dtype: torch.dtype) -> Any:
    """The compiled loops that read float32 levels between the pixels of images; None where they cannot run."""
    known = image_loops(padded) is not None and dtype == torch.float32
    return load_kernels("clnf_torch.geometry.kernels.cpu.resizing") if known else None


def read_grids(loops: Any, padded: Tensor, image_index: Tensor, grids: Grids) -> Tensor:
    """What images from `pad_with_black` show on grids, read by `resizing_loops`: (K, C, h, w), channels side by side.

    Args:
        loops: From `resizing_loops`.
        padded: Shape (F, C, H + 4, W + 4).
        image_index: Image of each grid, int64, shape (K,).
        grids: Their columns and rows.
    """
    column, row, _, _ = grids
    levels = row.new_empty(len(row), row.shape[1], column.shape[1], padded.shape[1], dtype=torch.float32)
    numbers = (values.contiguous().numpy() for values in (image_index, *grids))
    loops.read_grids(padded.numpy(), *numbers, MARGIN, levels.numpy())
    return levels.permute(0, 3, 1, 2)


def positions(first: Tensor, length: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pixels (K, ..., count) left of evenly spaced samples of the ranges, and the fractions to the next ones.

    Args:
        first: Of the pixels of each range, int64, shape (K, ...).
        length: Of each range, pixels, int64, shape (K, ...).
        count: Samples of each.
    """
    steps = torch.arange(count, dtype=torch.float64, device=length.device) + 0.5
    position = (steps * (length[..., None].double() / count) - 0.5).float()
    # The outermost pixels go on outwards
    position = torch.minimum(position.clamp_min(0), length[..., None] - 1.0)
    pixel = position.floor()
    return first[..., None] + pixel.long(), position - pixel


def resize_by_factors(images: Tensor, image_index: Tensor, patches: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """Rectangles of images, each resized bilinearly by its own factor, without smoothing.

    Args:
        images: Shape (F, H, W), uint8 or whole numbers.
        image_index: Image of each patch, int64, shape (R,).
        patches: x, y, width, height in whole pixels inside the images, int64, shape (R, 4).
        factor: Shape (R,), float64.

    Returns:
        Whole gray levels, float64, shape (R, h, w), 0 beyond each one's own size; and the sizes (R, 2), width and
        height. (OpenCV rounds the weights to 1/2048, so that some levels differ by 1.)

    Source:
        ``cv::resize`` with ``INTER_LINEAR`` on uint8 images, called with factors.
    """
    size = (patches[:, 2:] * factor[:, None]).round().long()
    width, height = (size.amax(0) if len(size) else size.new_zeros(2)).tolist()
    if not (width and height):
        return torch.zeros(len(size), height, width, dtype=torch.float64, device=images.device), size
    left, right, across = _neighbours(patches[:, 0], patches[:, 2], factor, width)
    top, bottom, down = _neighbours(patches[:, 1], patches[:, 3], factor, height)
    upper, lower = (
        torch.lerp(
            pixels_at(images, image_index, left, rows), pixels_at(images, image_index, right, rows), across[:, None, :]
        )
        for rows in (top, bottom)
    )
    levels = torch.lerp(upper, lower, down[:, :, None]).round()
    return levels * size_mask(size, height, width), size


def _neighbours(first: Tensor, length: Tensor, factor: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels on both sides of evenly spaced samples (R, count) of ranges, and the fractions to the second ones."""
    position = (torch.arange(count, dtype=torch.float64, device=factor.device) + 0.5) / factor[:, None] - 0.5
    last = (length[:, None] - 1).clamp_min(0)
    position = torch.minimum(position.clamp_min(0), last.double())
    pixel = position.floor().long()
    return first[:, None] + pixel, first[:, None] + torch.minimum(pixel + 1, last), position - pixel


def pixels_at(images: Tensor, image_index: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Pixels of images (F, H, W) at columns (R, w) and rows (R, h), float64, shape (R, h, w)."""
    return images[image_index[:, None, None], rows[:, :, None], columns[:, None, :]].double()


def size_mask(size: Tensor, height: int, width: int) -> Tensor:
    """1 inside patches of their own sizes (R, 2), width and height, and 0 beyond, float64, shape (R, height, width)."""
    across = torch.arange(width, device=size.device) < size[:, :1]
    down = torch.arange(height, device=size.device) < size[:, 1:]
    return (down[:, :, None] & across[:, None, :]).double()
