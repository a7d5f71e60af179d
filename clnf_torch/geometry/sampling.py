"""Reading images at fractional positions, exact or on OpenCV's 1/32-pixel lattice, in affine grids or anywhere."""

import torch
from torch import Tensor
from torch.nn.functional import pad

# Black pixels around a padded image: positions further out are moved there
MARGIN = 2


Cells = tuple[Tensor, Tensor, Tensor, Tensor]
"""Fractional positions: the pixel up and to the left of them and the way from it to the next.

Column and row, int, shape (..., A, A); fractions of a pixel to the right and down, in [0, 1), broadcast to it.
"""


def cells_at(positions: Tensor) -> Cells:
    """Where any positions (x, y) lie, exactly and differentiably; shape (..., 2) gives cells of shape (...)."""
    x, y = positions.unbind(-1)
    column, row = x.floor(), y.floor()
    return _to_int(column), _to_int(row), x - column, y - row


def cells_at_32nds(positions: Tensor) -> Cells:
    """Where ``cv::remap`` (OpenCV 4) reads positions (x, y), shape (..., 2): at the nearest multiples of 1/32 pixel.

    Half a 32nd goes to the even one. Not differentiable.
    """
    x, y = _to_int((positions.detach() * 32).round()).unbind(-1)
    return _lattice_cells(x, y)


def affine_cells(matrix: Tensor, width: int) -> Cells:
    """Where an affine map puts the pixels of a square window, exactly.

    Args:
        matrix: Maps from window to image, shape (..., 2, 3): (x, y) = M (u, v, 1) at column u and row v.
        width: Side A of the window, pixels.

    Returns:
        Positions of shape (..., A, A), differentiable in the matrix.
    """
    steps = torch.arange(width, dtype=matrix.dtype, device=matrix.device)
    along_u = matrix[..., 0, None] * steps  # (..., 2, A)
    along_v = matrix[..., 1, None] * steps + matrix[..., 2, None]
    return cells_at((along_u[..., None, :] + along_v[..., :, None]).movedim(-3, -1))


def affine_cells_32nds(matrix: Tensor, width: int) -> Cells:
    """Where ``cv::warpAffine`` (OpenCV 4) puts the pixels of a square window: on multiples of 1/32 pixel.

    Not differentiable.

    Args:
        matrix: Maps from window to image, shape (..., 2, 3).
        width: Side A of the window, pixels.

    Returns:
        Positions of shape (..., A, A).

    Source:
        OpenCV 4's fixed-point ``cv::warpAffine``, as OpenFace's ``Patch_experts::Response`` calls it.
    """
    matrix = matrix.detach().double()
    steps = torch.arange(width, dtype=torch.float64, device=matrix.device)
    along_u = _to_int((matrix[..., 0, None] * steps * 1024).round())
    along_v = _to_int(((matrix[..., 1, None] * steps + matrix[..., 2, None]) * 1024).round()) + 16
    x, y = ((along_u[..., None, :] + along_v[..., :, None]) >> 5).unbind(-3)
    return _lattice_cells(x, y)


def pad_with_black(images: Tensor) -> Tensor:
    """Gray images (F, H, W) with the black margin that `read_bilinear` relies on, shape (F, H + 4, W + 4)."""
    return pad(images, (MARGIN, MARGIN, MARGIN, MARGIN))


def read_bilinear(padded: Tensor, image_index: Tensor, cells: Cells, dtype: torch.dtype) -> Tensor:
    """Gray levels between pixels; every pixel outside its image counts 0.

    Args:
        padded: Images from `pad_with_black`, shape (F, H + 4, W + 4), uint8 or floating point.
        image_index: Image of each row, int64, shape (B,).
        cells: Positions, shape (B, ...).
        dtype: Number type of the result.

    Returns:
        Gray levels, shape (B, ...).
    """
    _, rows, columns = padded.shape
    column, row, right, down = cells
    column, row = column.clamp(-MARGIN, columns - 2 * MARGIN), row.clamp(-MARGIN, rows - 2 * MARGIN)
    # Of each row's image in the flat pixels
    origin = image_index * (rows * columns) + MARGIN * (columns + 1)
    corner = origin.reshape(-1, *[1] * (row.ndim - 1)) + torch.add(column, row, alpha=columns)
    pixels, right, down = padded.reshape(-1), right.to(dtype), down.to(dtype)
    top = torch.lerp(_take(pixels, corner, dtype), _take(pixels[1:], corner, dtype), right)
    below = pixels[columns:]
    bottom = torch.lerp(_take(below, corner, dtype), _take(below[1:], corner, dtype), right)
    return torch.lerp(top, bottom, down)


def _take(pixels: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixels of a flat image at whole positions; ``index_select`` is four times as fast as indexing."""
    return pixels.index_select(0, index.reshape(-1)).to(dtype).view(index.shape)


def _lattice_cells(x: Tensor, y: Tensor) -> Cells:
    """Cells of positions that are counted in 32nds of a pixel."""
    return x >> 5, y >> 5, (x & 31) / 32, (y & 31) / 32


def _to_int(whole: Tensor) -> Tensor:
    """Whole numbers as int32, kept well inside its range; anything that is not a number becomes 0."""
    limit = 2.0**29
    return whole.detach().nan_to_num(0.0).clamp(-limit, limit).int()
