"""Convolutions as loops over matrix products of what the filters see, of maps whose channels are their last axis.

Maps have a border of zeros, shape (B, H + 2 E, W + 2 E, C) with a border of E pixels: all that filters of up to 2 E + 1
pixels see.
"""

import math

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, f32
from clnf_torch.compilation.products import multiply
from clnf_torch.models.kernels.cpu.activations import exponential

# Of what a layer of the network gives
BORDER = 1


@compiled
def convolve(
    maps: Array, border: int, weight: Array, bias: Array, side: int, stride: int, least: float, added: Array, edge: int
) -> Array:
    """A convolution, padded to keep the maps' size, and divided by the stride.

    Args:
        maps: Maps, shape (B, H + 2 border, W + 2 border, C).
        border: At least half of a filter's side.
        weight: Filters, shape (side, side, C, C'), packed as a matrix (side * side * C, C').
        bias: Shape (C',).
        side: Of a filter.
        stride: Between the filters.
        least: Results below are raised to it.
        added: Flat maps of the result's shape, which are added to it; `NOTHING` for none.
        edge: Border of the result.

    Returns:
        Maps, shape (B, H / stride + 2 edge, W / stride + 2 edge, C').
    """
    faces, rows, columns, channels = maps.shape
    high, wide = (rows - 2 * border) // stride, (columns - 2 * border) // stride
    found = np.empty((faces, high + 2 * edge, wide + 2 * edge, len(bias)), np.float32)
    clear_border(found, edge)
    begins, places = np.empty((2, faces * high * wide), np.int64)
    corner, cell = border - side // 2, 0
    for b in range(faces):
        for y in range(high):
            for x in range(wide):
                begins[cell] = ((b * rows + y * stride + corner) * columns + x * stride + corner) * channels
                place = (b * found.shape[1] + y + edge) * found.shape[2] + x + edge
                places[cell] = place * len(bias)
                cell += 1
    segments = side, columns * channels, side * channels
    multiply(maps.reshape(-1), begins, segments, weight, True, bias, found.reshape(-1), places, added, least, weight)
    return found


@compiled
def clear_border(maps: Array, edge: int) -> None:
    """Sets the outermost pixels of maps to 0."""
    maps[:, :edge] = 0
    maps[:, maps.shape[1] - edge :] = 0
    maps[:, :, :edge] = 0
    maps[:, :, maps.shape[2] - edge :] = 0


@compiled
def standardise(gray: Array, border: int, least: float) -> Array:
    """Images (B, A, A) minus their mean, divided by their deviation, at least `least`, as maps of one channel."""
    faces, size = gray.shape[0], f32(gray.shape[1] * gray.shape[2])
    found = np.zeros((faces, gray.shape[1] + 2 * border, gray.shape[2] + 2 * border, 1), np.float32)
    for b in range(faces):
        first, total, squares = gray[b, 0, 0], f32(0), f32(0)
        for y in range(gray.shape[1]):
            for x in range(gray.shape[2]):
                total += gray[b, y, x] - first
        mean = total / size
        for y in range(gray.shape[1]):
            row = found[b, y + border]
            for x in range(gray.shape[2]):
                row[x + border, 0] = gray[b, y, x] - first - mean
                squares += row[x + border, 0] * row[x + border, 0]
        deviation = math.sqrt(squares / (size - f32(1)))
        # A NaN stays one
        deviation = least if deviation < least else deviation
        for y in range(gray.shape[1]):
            row = found[b, y + border]
            for x in range(gray.shape[2]):
                row[x + border, 0] /= deviation
    return found


@compiled
def add_upsampled(maps: Array, smaller: Array) -> None:
    """Adds maps (B, H / 2 + 2, W / 2 + 2, C), each pixel four times, to maps (B, H + 2, W + 2, C) in place."""
    for b in range(len(maps)):
        for y in range(maps.shape[1] - 2 * BORDER):
            for x in range(maps.shape[2] - 2 * BORDER):
                own = maps[b, y + BORDER, x + BORDER]
                other = smaller[b, y // 2 + BORDER, x // 2 + BORDER]
                for c in range(len(own)):
                    own[c] += other[c]


@compiled
def softmax(scores: Array, found: Array) -> None:
    """The softmax over all cells of scores (B, H, W, N), as maps (B, N, H, W)."""
    faces, cells, landmarks = len(scores), scores.shape[1] * scores.shape[2], scores.shape[3]
    highest, totals = np.empty((2, landmarks), np.float32)
    for b in range(faces):
        own, maps = scores[b].reshape(cells, landmarks), found[b].reshape(landmarks, cells)
        highest[:], totals[:] = own[0], 0
        for cell in range(cells):
            for n in range(landmarks):
                highest[n] = own[cell, n] if own[cell, n] > highest[n] else highest[n]
        for cell in range(cells):
            for n in range(landmarks):
                own[cell, n] = exponential(own[cell, n] - highest[n])
                totals[n] += own[cell, n]
        for n in range(landmarks):
            totals[n] = f32(1) / totals[n]
        for n in range(landmarks):
            for cell in range(cells):
                maps[n, cell] = own[cell, n] * totals[n]
