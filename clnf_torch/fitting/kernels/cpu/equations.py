"""The Gauss-Newton step as loops: normal equations, and their solution by Cholesky."""

import math

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled, f32


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
    """Both sides of `gauss_newton_step`'s equation, (P, P), its lower half, and (P,), for shifts (2, N)."""
    weighted = np.empty_like(shift)
    for p in range(6 + used):
        right[p] = 0
        for a in range(2):
            for i in range(len(weight)):
                weighted[a, i] = jacobian[p, a, i] * weight[i]
                right[p] += weighted[a, i] * shift[a, i]
        for q in range(p + 1):
            total = f32(0)
            for i in range(len(weight)):
                total += weighted[0, i] * jacobian[q, 0, i] + weighted[1, i] * jacobian[q, 1, i]
            hessian[p, q] = total
        if p >= 6:
            hessian[p, p] += precision[p - 6]
            right[p] -= precision[p - 6] * local[p - 6]


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
