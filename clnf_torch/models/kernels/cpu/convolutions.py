"""Convolutions as loops over matrix products of what the filters see, of maps whose channels are their last axis.

Maps have a border of zeros, shape (B, H + 2 E, W + 2 E, C) with a border of E pixels: all that filters of up to 2 E + 1
pixels see.
"""

import math
from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.compilation.products import LOWEST, NOTHING, multiply, next_panel
from clnf_torch.compilation.tiles import LANES
from clnf_torch.models.kernels.cpu.activations import exponential
from clnf_torch.models.kernels.cpu.windows import cut_window

# Of what a layer of the network gives
BORDER = 1
# Numbers that are compared side by side
BAND = 64


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
def heatmaps_of(maps: Array, weight: Array, found: Array) -> None:
    """The softmax over all cells of products of maps with a matrix: a layer of filters of one pixel.

    Args:
        maps: Shape (B, H + 2, W + 2, C).
        weight: Rows of a bias and C factors, shape (N, 1 + C).
        found: Become the heatmaps, shape (B, N, H, W).
    """
    columns, nothing = new_columns(maps)
    for b in range(len(maps)):
        own = found[b].reshape(found.shape[1], -1)
        fill_scores(maps[b], weight, columns, nothing, own)
        for n in range(len(own)):
            gain = exponentials(own[n])
            for i in range(own.shape[1]):
                own[n, i] *= gain


@compiled
def windows_of(maps: Array, weight: Array, middle: Array, found: Array) -> None:
    """Square parts of the heatmaps of `heatmaps_of`, which are themselves not kept.

    Args:
        maps: Shape (B, H + 2, W + 2, C).
        weight: Rows of a bias and C factors, shape (N, 1 + C).
        middle: The cell (x, y) in the middle of each part, int64, shape (B, N, 2).
        found: Become the parts, 0 outside the maps, shape (B, N, R, R).
    """
    (columns, nothing), count = new_columns(maps), found.shape[1]
    high, wide = maps.shape[1] - 2 * BORDER, maps.shape[2] - 2 * BORDER
    scores = np.empty((count, high * wide), np.float32)
    for b in range(len(maps)):
        fill_scores(maps[b], weight, columns, nothing, scores)
        for n in range(count):
            gain, part = exponentials(scores[n]), found[b, n]
            cut_window(scores[n].reshape(high, wide), middle[b, n], part)
            for v in range(part.shape[0]):
                for u in range(part.shape[1]):
                    part[v, u] *= gain


@compiled
def new_columns(maps: Array) -> Arrays:
    """Space for the columns of `fill_scores`, and as many zeros as maps (B, H + 2, W + 2, C) have cells."""
    cells = (maps.shape[1] - 2 * BORDER) * (maps.shape[2] - 2 * BORDER)
    return np.empty((maps.shape[3] + 1) * (cells + LANES), np.float32), np.zeros(cells, np.float32)


@compiled
def fill_scores(maps: Array, weight: Array, columns: Array, nothing: Array, found: Array) -> None:
    """Products of a face's maps with a matrix, which come as maps, not as channels.

    So it is the maps that are made into columns, panel by panel.

    Args:
        maps: Shape (H + 2, W + 2, C).
        weight: Rows of a bias and C factors, shape (N, 1 + C).
        columns: From `new_columns`.
        nothing: From there.
        found: Become the scores, shape (N, H * W).
    """
    wide, channels = maps.shape[1] - 2 * BORDER, maps.shape[2]
    count, cells = found.shape
    inner, first, done = channels + 1, 0, 0
    while first < cells:
        first, vectors = next_panel(first, cells)
        size = vectors * LANES
        columns[done : done + size] = 1
        for i in range(size):
            cell = maps[(first + i) // wide + BORDER, (first + i) % wide + BORDER]
            for c in range(channels):
                columns[done + (c + 1) * size + i] = cell[c]
        first, done = first + size, done + inner * size
    multiply(
        weight.reshape(-1), np.arange(count) * inner, (1, 0, inner), columns, True, nothing, found.reshape(-1),
        np.arange(count) * cells, NOTHING, LOWEST, NOTHING,
    )  # fmt: skip


@compiled
def exponentials(scores: Array) -> Any:
    """Replaces scores by their exponentials, the largest by 1; what these are to be multiplied by to add up to 1."""
    highest, total = largest(scores), f32(0)
    for i in range(len(scores)):
        scores[i] = exponential(scores[i] - highest)
        total += scores[i]
    return f32(1) / total


@compiled
def largest(values: Array) -> Any:
    """The largest of some numbers: of as many side by side first as are compared at once."""
    most = np.full(BAND, values[0], np.float32)
    for first in range(0, len(values) - BAND + 1, BAND):
        own = values[first : first + BAND]
        for i in range(BAND):
            most[i] = own[i] if own[i] > most[i] else most[i]
    highest = most[0]
    for i in range(BAND):
        highest = most[i] if most[i] > highest else highest
    for i in range(len(values) // BAND * BAND, len(values)):
        highest = values[i] if values[i] > highest else highest
    return highest
