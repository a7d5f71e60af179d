"""Weights of one expert of many, float32 in place, or float16 widened; and products too narrow for vectors."""

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from clnf_torch.compilation.compiler import Array, compiled, f32
from clnf_torch.compilation.products import NOTHING


def own_weights(weights: Array, expert: int, scratch: Array) -> Array:
    """Weights (all, in, out) of one expert, flat, float32; of float16, seen as int16, in the scratch."""
    raise NotImplementedError("only compiled loops call this")


def weights_ahead(weights: Array, expert: int) -> Array:
    """What to fetch while others are in use: the weights of one expert, flat; nothing of those yet to be widened."""
    raise NotImplementedError("only compiled loops call this")


@overload(own_weights, strict=False)
def _own_weights(weights: Any, expert: Any, scratch: Any) -> Any:
    if weights.dtype == types.float32:
        return lambda weights, expert, scratch: weights[expert].reshape(-1)

    def widened(weights: Array, expert: int, scratch: Array) -> Array:
        halves = weights[expert].reshape(-1)
        widen(halves, scratch)
        return scratch[: len(halves)]

    return widened


@overload(weights_ahead, strict=False)
def _weights_ahead(weights: Any, expert: Any) -> Any:
    if weights.dtype == types.float32:
        return lambda weights, expert: weights[expert].reshape(-1)
    return lambda weights, expert: NOTHING


@compiled
def widen(halves: Array, found: Array) -> None:
    """float16, seen as int16, as float32: numbers whose exponents are counted from elsewhere."""
    for i in range(len(halves)):
        half = np.int32(halves[i])
        bits = np.int32((half & np.int32(0x7FFF)) << np.int32(13))
        size = bits.view(np.float32) * f32(2.0**112)
        if half & np.int32(0x7C00) == np.int32(0x7C00):
            size = np.int32(bits | np.int32(0x7F800000)).view(np.float32)
        found[i] = -size if half < 0 else size


@compiled
def multiply_few(rows: Array, weight: Array, bias: Array, found: Array) -> None:
    """Products of rows (R, K) with a matrix (K, C) of a few columns, plus a bias, flat."""
    columns = np.ascontiguousarray(weight.T)
    for r in range(len(rows)):
        for c in range(len(columns)):
            total = f32(0)
            for k in range(rows.shape[1]):
                total += rows[r, k] * columns[c, k]
            found[r * len(columns) + c] = total + bias[c]
