"""The Gauss-Newton step as loops: normal equations, and their solution by Cholesky."""

import math

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, f32
from clnf_torch.compilation.products import LOWEST, NOTHING, multiply
from clnf_torch.compilation.tiles import LANES


@compiled
def normal_equations(
    jacobian: Array,
    weight: Array,
    shift: Array,
    precision: Array,
    local: Array,
    used: int,
    hessian: Array,
    right: Array,
) -> None:
    """Both sides of `gauss_newton_step`'s equation.

    Args:
        jacobian: Landmark by landmark, first all x, then all y, shape (2 N, P).
        weight: Of the landmarks, shape (N,).
        shift: Of the landmarks, shape (2, N).
        precision: Weight of the prior, shape (M,).
        local: Shape coefficients, shape (M,).
        used: So many modes take part: 0 or all.
        hessian: Becomes the left side, its lower half at least, shape (P, P).
        right: Becomes the right side, shape (P,).
    """
    size, count = 6 + used, len(weight)
    weighted = np.empty((2 * count, size), np.float32)
    right[:size] = 0
    for a in range(2):
        for i in range(count):
            own, row, moved = weighted[a * count + i], jacobian[a * count + i], shift[a, i]
            for p in range(size):
                own[p] = row[p] * weight[i]
                right[p] += own[p] * moved
    multiply_transposed(weighted, jacobian, hessian)
    for k in range(used):
        hessian[6 + k, 6 + k] += precision[k]
        right[6 + k] -= precision[k] * local[k]


@compiled
def multiply_transposed(weighted: Array, jacobian: Array, hessian: Array) -> None:
    """The product of two matrices (2 N, P), the first one transposed, (P, P), or only its lower half."""
    inner, size = weighted.shape
    if size == jacobian.shape[1] and size >= LANES:
        # A number of each row after the other: one segment of one number for each
        begins, places, nothing = np.arange(size), np.arange(size) * size, np.zeros(size, np.float32)
        multiply(
            weighted.reshape(-1), begins, (inner, size, 1), jacobian.reshape(-1), False, nothing,
            hessian.reshape(-1), places, NOTHING, LOWEST, NOTHING,
        )  # fmt: skip
        return
    for p in range(size):
        hessian[p, : p + 1] = 0
    for k in range(inner):
        for p in range(size):
            for q in range(p + 1):
                hessian[p, q] += weighted[k, p] * jacobian[k, q]


@compiled
def solve(hessian: Array, right: Array, size: int) -> None:
    """The step in place of the right side, by Cholesky; zero where there is none. See `gauss_newton.solve`."""
    definite = True
    for i in range(size):
        row = hessian[i]
        for j in range(i + 1):
            other, rest = hessian[j], row[j]
            for k in range(j):
                rest -= row[k] * other[k]
            row[j] = rest / other[j] if j < i else math.sqrt(rest)
        definite = definite and row[i] > 0
        for k in range(i):
            right[i] -= row[k] * right[k]
        right[i] /= row[i]
    total = f32(0)
    for i in range(size - 1, -1, -1):
        right[i] /= hessian[i, i]
        total += right[i]
        for k in range(i):
            right[k] -= hessian[i, k] * right[i]
    # A comparison: the compiler takes math.isfinite for true where sums may be taken in any order
    if not (definite and abs(total) < np.inf):
        right[:] = 0
