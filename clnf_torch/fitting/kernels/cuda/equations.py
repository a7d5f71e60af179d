"""The Gauss-Newton step of one face: normal equations, and their solution by Cholesky."""

import triton
import triton.language as tl


@triton.jit
def add_landmarks(hessian, right, columns, weight, shift):
    """Adds one coordinate of some landmarks to both sides of J' W J d = J' W v.

    Args:
        hessian: Shape (P, P).
        right: Shape (P,).
        columns: Columns of the Jacobian, shape (P, C).
        weight: Weight of each landmark, shape (C,).
        shift: Where it should go, pixels, shape (C,).
    """
    weighted = columns * weight[None, :]
    # Never TF32: its 10 bits move landmarks by pixels
    hessian += tl.dot(weighted, tl.trans(columns), input_precision="ieee")
    return hessian, right + tl.sum(weighted * shift[None, :], axis=1)


@triton.jit
def add_prior(hessian, right, precision, local):
    """Adds the prior of the shape coefficients; precision and coefficients stand where their columns do, (P,)."""
    p = tl.arange(0, hessian.shape[0])
    diagonal = tl.where(p[:, None] == p[None, :], precision[:, None], 0.0)
    return hessian + diagonal, right - precision * local


@triton.jit
def solve(hessian, right, size):
    """The step (P,) of the first so many parameters; zero where there is none, as in `gauss_newton.solve`."""
    p = tl.arange(0, hessian.shape[0])
    row, column = p[:, None], p[None, :]
    definite = size > 0
    for j in range(size):
        own = tl.sum(tl.where(column == j, hessian, 0.0), axis=1)
        pivot = at(own, p, j)
        definite = definite & (pivot > 0)
        root = tl.sqrt_rn(pivot)
        below = tl.where(p > j, tl.div_rn(own, root), 0.0)
        value = tl.div_rn(at(right, p, j), root)
        right = tl.where(p == j, value, right - below * value)
        factor = tl.where(row == j, root, below[:, None])
        hessian = tl.where(column == j, factor, hessian - below[:, None] * below[None, :])
    for back in range(size):
        j = size - 1 - back
        own = tl.sum(tl.where(column == j, hessian, 0.0), axis=1)
        rest = tl.sum(tl.where(p > j, own * right, 0.0), axis=0)
        right = tl.where(p == j, tl.div_rn(at(right, p, j) - rest, at(own, p, j)), right)
    total = tl.sum(right, axis=0)
    return tl.where(definite & (tl.abs(total) < float("inf")), right, 0.0)


@triton.jit
def at(values, p, place):
    """One number of a vector (P,)."""
    return tl.sum(tl.where(p == place, values, 0.0), axis=0)
