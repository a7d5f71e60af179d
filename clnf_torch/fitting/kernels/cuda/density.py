"""The mean shift of some landmarks of one face: a Gaussian kernel over response maps."""

import triton
import triton.language as tl

from clnf_torch.fitting import mean_shift

EDGE: tl.constexpr = tl.constexpr(mean_shift.EDGE)


@triton.jit
def shift_in_cells(maps, strides, seen, window, x, y, sigma, apart, V: tl.constexpr, R: tl.constexpr):
    """`mean_shift` of landmarks (C,), cells.

    Args:
        maps: Where each landmark's response map begins, shape (C,).
        strides: Numbers between two rows and two columns of a map.
        seen: Landmarks that exist, shape (C,).
        window: Side of the maps.
        x: Positions in the maps, cells, shape (C,).
        y: Likewise.
        sigma: Kernel width, cells.
        apart: Kernels are centred on multiples of this many cells; 0: on the landmark.
        V: Rows of the maps that are read at once.
        R: At least the side of the maps; a power of two.
    """
    x, y = inside(x, window), inside(y, window)
    centre_x, centre_y = centre(x, apart), centre(y, apart)
    factor = tl.div_rn(-0.5, sigma * sigma)
    u = tl.arange(0, R)
    apart_x = centre_x[:, None] - u[None, :]
    across = tl.exp(apart_x * apart_x * factor)
    total, sum_x, sum_y = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    for first in range(0, window, V):
        v = first + tl.arange(0, V)
        apart_y = centre_y[:, None] - v[None, :]
        down = tl.where(v[None, :] < window, tl.exp(apart_y * apart_y * factor), 0.0)
        cells = maps[:, None, None] + v[None, :, None] * strides[0] + u[None, None, :] * strides[1]
        known = seen[:, None, None] & (v[None, :, None] < window) & (u[None, None, :] < window)
        weighted = tl.load(cells, mask=known, other=0.0) * across[:, None, :]
        by_row = tl.sum(weighted, axis=2) * down
        total += tl.sum(by_row, axis=1)
        sum_x += tl.sum(tl.sum(weighted * u[None, None, :], axis=2) * down, axis=1)
        sum_y += tl.sum(by_row * v[None, :], axis=1)
    empty = total <= 0
    total = tl.where(empty, 1.0, total)
    return tl.where(empty, 0.0, tl.div_rn(sum_x, total) - x), tl.where(empty, 0.0, tl.div_rn(sum_y, total) - y)


@triton.jit
def inside(position, window):
    """A position held inside its map; not a number where it is none."""
    last = window - EDGE
    return tl.where(position < 0, 0.0, tl.where(position > last, last, position))


@triton.jit
def centre(position, apart):
    """The nearest multiple of `apart`, ties to even as ``torch.round`` has them; the position itself where it is 0."""
    steps = tl.div_rn(position, tl.where(apart > 0, apart, 1.0))
    below = tl.floor(steps)
    rest = steps - below
    odd = below - 2 * tl.floor(below * 0.5)
    up = (rest > 0.5) | ((rest == 0.5) & (odd == 1))
    return tl.where(apart > 0, (below + tl.where(up, 1.0, 0.0)) * apart, position)
