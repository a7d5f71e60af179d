"""Separable convolutions as loops: a filter for each channel, and a product while its results are in the cache.

Maps have their channels as the last axis and a border of zeros; see `convolutions`.
"""

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, compiled_exactly, f32
from clnf_torch.compilation.products import NOTHING, multiply
from clnf_torch.compilation.tiles import LANES, filter_cells
from clnf_torch.models.kernels.cpu.convolutions import BORDER, clear_border

# Numbers of filtered maps that are multiplied while they are in the first cache
BAND = 1 << 12


@compiled_exactly
def separable(
    maps: Array, filters: Array, stride: int, weight: Array, bias: Array, least: float, added: Array
) -> Array:
    """Products of what 3 x 3 filters give, one for each channel, padded to keep the maps' size, divided by the stride.

    Args:
        maps: Maps, shape (B, H + 2, W + 2, C).
        filters: Offsets, and nine filters, of all channels, (10, C), flat; C at least as many as fill a vector.
        stride: Between the filters, 1 or 2.
        weight: Matrix (C, C'), packed.
        bias: Shape (C',), C' at least as many as fill a vector.
        least: Results below are raised to it.
        added: Flat maps of the result's shape, which are added to it; `NOTHING` for none.

    Returns:
        Maps, shape (B, H / stride + 2, W / stride + 2, C').
    """
    count, rows, columns, channels = maps.shape
    high, wide = (rows - 2 * BORDER) // stride, (columns - 2 * BORDER) // stride
    found = np.empty((count, high + 2 * BORDER, wide + 2 * BORDER, len(bias)), np.float32)
    clear_border(found, BORDER)
    line, at_once = wide * channels, max(1, BAND // (wide * channels))
    band, places = np.empty(at_once * line, np.float32), np.empty(at_once * wide, np.int64)
    flat, begins = maps.reshape(-1), np.arange(at_once * wide) * channels
    for b in range(count):
        for top in range(0, high, at_once):
            bottom = min(high, top + at_once)
            for y in range(top, bottom):
                begin = (b * rows + y * stride) * columns * channels
                filter_row(flat, begin, columns, stride, filters, channels, band[(y - top) * line :][:line])
                place = ((b * found.shape[1] + y + BORDER) * found.shape[2] + BORDER) * len(bias)
                for x in range(wide):
                    places[(y - top) * wide + x] = place + x * len(bias)
            many = (bottom - top) * wide
            multiply(
                band, begins[:many], (1, 0, channels), weight, True, bias, found.reshape(-1), places[:many], added,
                least, NOTHING,
            )  # fmt: skip
    return found


@compiled_exactly
def filter_row(maps: Array, begin: int, columns: int, stride: int, filters: Array, channels: int, found: Array) -> None:
    """What filters give of three rows of so many columns of flat maps, the first of which begins there, flat."""
    line, last = columns * channels, channels - LANES
    for first in range(0, channels, LANES):
        # The last channels come with as many before as it takes
        channel = min(first, last)
        upper = begin + channel
        filter_cells(
            (len(found) // channels, stride * channels, channels),
            (maps, upper, upper + line, upper + 2 * line),
            (filters, channel),
            (found, channel),
        )


@compiled
def add_interpolated(maps: Array, smaller: Array) -> None:
    """Adds maps (B, H / 2 + 2, W / 2 + 2, C), enlarged bilinearly, to maps (B, H + 2, W + 2, C) in place."""
    high, wide, channels = smaller.shape[1] - 2 * BORDER, smaller.shape[2] - 2 * BORDER, maps.shape[3]
    between = np.empty((wide + 2 * BORDER, channels), np.float32)
    near, far = f32(0.75), f32(0.25)
    for b in range(len(maps)):
        for y in range(2 * high):
            own = smaller[b, y // 2 + BORDER].reshape(-1)
            # Beyond the border lies what lies at it
            beside = min(max(y // 2 + (y % 2) * 2 - 1, 0), high - 1)
            other, line = smaller[b, beside + BORDER].reshape(-1), between.reshape(-1)
            for i in range(len(line)):
                line[i] = near * own[i] + far * other[i]
            between[0], between[wide + 1] = between[1], between[wide]
            for x in range(wide):
                left, middle, right = between[x], between[x + 1], between[x + 2]
                even, odd = maps[b, y + BORDER, 2 * x + BORDER], maps[b, y + BORDER, 2 * x + 1 + BORDER]
                for c in range(channels):
                    even[c] += near * middle[c] + far * left[c]
                    odd[c] += near * middle[c] + far * right[c]
