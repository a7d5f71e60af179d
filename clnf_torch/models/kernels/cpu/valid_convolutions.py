"""Convolutions without padding, their activation and pooling as one loop, and fully connected layers.

Maps have their channels as the last axis, shape (B, H, W, C). Where a layer has fewer channels than a vector has
numbers, each cell's vector reaches into the next cell, whose own follows: cells are written in their order, and behind
the last one there is space for as much as a vector.
"""

from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, compiled_exactly
from clnf_torch.compilation.products import LOWEST, NOTHING, multiply
from clnf_torch.compilation.tiles import LANES

# Numbers of a band of maps that is pooled while it is in the first cache
BAND = 1 << 13


@compiled
def convolve_and_pool(
    maps: Array,
    weight: Array,
    bias: Array,
    gains: Array,
    sides: tuple[int, int],
    pool: tuple[int, int, int, int],
) -> Array:
    """Maxima over windows of a convolution whose negative numbers are multiplied by a gain.

    Args:
        maps: Shape (B, H, W, C).
        weight: Filters (h, w, C, C'), packed as a matrix (h * w * C, C'), with as many columns as fill a vector.
        bias: As many numbers.
        gains: Of each channel, shape (C',).
        sides: Height and width of a filter.
        pool: Height and width of the windows, and their distances down and across. The last ones may reach beyond.

    Returns:
        Maps, shape (B, H', W', C').
    """
    channels, high, wide = len(gains), maps.shape[1] - sides[0] + 1, maps.shape[2] - sides[1] + 1
    rows, columns = windows_along(high, pool[0], pool[2]), windows_along(wide, pool[1], pool[3])
    found = np.empty((len(maps), rows, columns, channels), np.float32)
    line = wide * channels
    at_once = max(1, (BAND // line - pool[0]) // pool[2] + 1)
    most = min(high, (at_once - 1) * pool[2] + pool[0])
    band = np.empty(most * line + LANES, np.float32)
    begins, places = np.empty((2, most * wide), np.int64)
    row_gains, highest = np.empty(line, np.float32), np.empty((2, line), np.float32)
    for i in range(line):
        row_gains[i] = gains[i % channels]
    for cell in range(most * wide):
        places[cell] = cell * channels
    apart = maps.shape[2] * maps.shape[3]
    segments = sides[0], apart, sides[1] * maps.shape[3]
    for b in range(len(maps)):
        first = 0
        while first < rows:
            last = min(rows, first + at_once)
            top, bottom = first * pool[2], min(high, (last - 1) * pool[2] + pool[0])
            count, cell = (bottom - top) * wide, 0
            for row in range(top, bottom):
                start = (b * maps.shape[1] + row) * apart
                for column in range(wide):
                    begins[cell] = start + column * maps.shape[3]
                    cell += 1
            multiply(
                maps.reshape(-1), begins[:count], segments, weight, True, bias, band, places[:count], NOTHING, LOWEST,
                NOTHING,
            )  # fmt: skip
            for y in range(bottom - top):
                activate(band[y * line : (y + 1) * line], row_gains)
            for row in range(first, last):
                begin = row * pool[2] - top
                end = begin + min(pool[0], bottom - top - begin)
                pool_row(band[begin * line : end * line], pool, highest, channels, found[b, row].reshape(-1))
            first = last
    return found


@compiled_exactly
def windows_along(size: int, side: int, step: int) -> int:
    """How many windows there are along an axis, the last of which may reach beyond its end."""
    return (size - side + step - 1) // step + 1


@compiled_exactly
def activate(values: Array, gains: Array) -> None:
    """Multiplies what is not positive by its gain; a NaN stays one."""
    for i in range(len(values)):
        value = values[i]
        values[i] = value if value > 0 else value * gains[i]


@compiled_exactly
def larger(one: Any, other: Any) -> Any:
    """The larger of two numbers; a NaN stays one."""
    return other if other > one or other != other else one


@compiled_exactly
def pool_row(lines: Array, pool: tuple[int, int, int, int], highest: Array, channels: int, found: Array) -> None:
    """Maxima of a row of windows, flat, of the lines that they are as high as; `highest` is two lines of space."""
    line, (down, across) = highest.shape[1], highest
    down[:] = lines[:line]
    for first in range(line, len(lines), line):
        other = lines[first : first + line]
        for i in range(line):
            down[i] = larger(down[i], other[i])
    if pool[1] == 1 and pool[3] == 1:
        found[:] = down
        return
    # Of a window at each cell: rows of numbers, whatever the cells, are vector instructions
    across[:] = down
    for column in range(1, pool[1]):
        other = down[column * channels :]
        for i in range(len(other)):
            across[i] = larger(across[i], other[i])
    for x in range(len(found) // channels):
        left = x * pool[3] * channels
        for c in range(channels):
            found[x * channels + c] = across[left + c]


@compiled
def connect(rows: Array, weight: Array, bias: Array, gains: Array) -> Array:
    """Products of rows (B, K) with a packed matrix (K, C'), plus a bias, negative ones times their gain: (B, C')."""
    count, inner, channels = len(rows), rows.shape[1], len(gains)
    found = np.empty(count * channels + LANES, np.float32)
    begins, places = np.arange(count) * inner, np.arange(count) * channels
    multiply(
        rows.reshape(-1), begins, (1, 0, inner), weight, True, bias, found, places, NOTHING, LOWEST, NOTHING
    )  # fmt: skip
    for b in range(count):
        activate(found[b * channels : (b + 1) * channels], gains)
    return found[: count * channels].reshape(count, channels)
