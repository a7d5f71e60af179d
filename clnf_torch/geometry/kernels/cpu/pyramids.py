"""Windows of images in several sizes, as loops."""

import math

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled_exactly, f32
from clnf_torch.geometry.kernels.cpu.sampling import lerp, whole


@compiled_exactly
def read(pixels: Array, tables: Arrays, margin: int, index: Array, matrix: Array, found: Array) -> None:
    """`Pyramid.read`.

    Args:
        pixels: Every size of every image, each with its margin, uint8 or float32, shape (P,).
        tables: Where each size begins, its rows and its columns, int64, shape (L,) each.
        margin: Width of the margins.
        index: Image of each face, int64, shape (B,).
        matrix: Maps from window to image, shape (B, K, 2, 3).
        found: Become the gray levels, shape (B, K, A, A).
    """
    starts, heights, widths = tables
    for b in range(len(matrix)):
        for k in range(matrix.shape[1]):
            own = matrix[b, k]
            level = level_of(own, len(starts))
            rows, columns = heights[level], widths[level]
            first = starts[level] + index[b] * rows * columns
            halving = f32(1) / f32(1 << level)
            # Of the first pixel, from its upper left corner
            shift = (halving - f32(1)) * f32(0.5)
            a, c, x = own[0, 0] * halving, own[0, 1] * halving, own[0, 2] * halving + shift
            d, e, y = own[1, 0] * halving, own[1, 1] * halving, own[1, 2] * halving + shift
            for v in range(found.shape[2]):
                across, down = c * f32(v) + x, e * f32(v) + y
                for u in range(found.shape[3]):
                    column, row = a * f32(u) + across, d * f32(u) + down
                    left, top = np.floor(column), np.floor(row)
                    i = min(max(np.int64(whole(left)), -margin), columns - 2 * margin) + margin
                    j = min(max(np.int64(whole(top)), -margin), rows - 2 * margin) + margin
                    corner = first + j * columns + i
                    right, below = column - left, row - top
                    upper = lerp(f32(pixels[corner]), f32(pixels[corner + 1]), right)
                    lower = lerp(f32(pixels[corner + columns]), f32(pixels[corner + columns + 1]), right)
                    found[b, k, v, u] = lerp(upper, lower, below)


@compiled_exactly
def level_of(matrix: Array, sizes: int) -> int:
    """The size for a map (2, 3): 0 is the image itself."""
    step = math.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    # Of what is no number, the image itself
    level = 0
    while level + 1 < sizes and step >= f32(1 << (level + 1)):
        level += 1
    return level
