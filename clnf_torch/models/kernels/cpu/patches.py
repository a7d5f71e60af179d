"""Patches of an area, normalised, and their answers laid out as a response map, as loops."""

import math
from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, f32, inlined
from clnf_torch.models.patch_experts.patches import TINY

# Side of the patches of all of OpenFace's experts
USUAL = 11


@compiled
def cut_patches(area: Array, flipped: bool, checkerboard: bool, patches: Array) -> None:
    """`patches.cut_patches` of one area.

    Args:
        area: Gray levels, shape (A, A).
        flipped: Look at its mirror image.
        checkerboard: Only the cells with an odd column + row: first those of even rows, then those of odd ones.
        patches: Become the patches, pixels row by row, shape (cells, S * S).
    """
    support = round(patches.shape[1] ** 0.5)
    window = len(area) - support + 1
    shown = np.ascontiguousarray(area[:, ::-1]) if flipped else area
    cell = 0
    for part in range(2 if checkerboard else 1):
        step = 2 if checkerboard else 1
        for v in range(part, window, step):
            for u in range(1 - part if checkerboard else 0, window, step):
                if support == USUAL:
                    # A number that is known when loops are compiled makes them twice as fast
                    cut_patch(shown, v, u, USUAL, patches[cell])
                else:
                    cut_patch(shown, v, u, support, patches[cell])
                cell += 1


@inlined
def cut_patch(shown: Array, v: int, u: int, support: int, patch: Array) -> None:
    """One patch, minus its mean, divided by its length; a length of 0 counts as 1."""
    # Counted from a pixel: exact where there is no contrast, and less rounded where there is little
    first, size = shown[v, u], support * support
    for y in range(support):
        for x in range(support):
            patch[y * support + x] = shown[v + y, u + x] - first
    total, squares = f32(0), f32(0)
    for i in range(size):
        total += patch[i]
    mean = total / f32(size)
    for i in range(size):
        patch[i] -= mean
        squares += patch[i] * patch[i]
    factor = f32(1) / math.sqrt(squares + f32(size) * f32(TINY))
    for i in range(size):
        patch[i] *= factor


@compiled
def lay_out(answers: Array, flipped: bool, checkerboard: bool, response: Array) -> None:
    """`patches.lay_out` of one area's answers (cells,) as a response map (R, R), mirrored back if it was."""
    window, cell = len(response), 0
    for part in range(2 if checkerboard else 1):
        step = 2 if checkerboard else 1
        for v in range(part, window, step):
            for u in range(1 - part if checkerboard else 0, window, step):
                response[v, window - 1 - u if flipped else u] = answers[cell]
                cell += 1
    if not checkerboard:
        return
    for v in range(window):
        for u in range(v % 2, window, 2):
            response[v, u] = mean_around(response, v, u)


@compiled
def mean_around(response: Array, v: int, u: int) -> Any:
    """The mean of the two to four direct neighbours of a cell; 0 where there are none."""
    last, total, count = len(response) - 1, f32(0), f32(0)
    if v > 0:
        total, count = total + response[v - 1, u], count + f32(1)
    if v < last:
        total, count = total + response[v + 1, u], count + f32(1)
    if u > 0:
        total, count = total + response[v, u - 1], count + f32(1)
    if u < last:
        total, count = total + response[v, u + 1], count + f32(1)
    return total / max(count, f32(1))
