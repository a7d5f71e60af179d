"""Perspective-n-point as loops: the rigid motion of one object after the other."""

import math

import numpy as np
from torch import Tensor

from clnf_torch.compilation.compiler import Array, Arrays, compiled_exactly
from clnf_torch.compilation.threads import arrays, in_threads
from clnf_torch.fitting.kernels.cpu.equations import solve

# Small turns, then shifts
SIZE = 6


def search_motions(
    points: Tensor,
    pixels: Tensor,
    camera: tuple[Tensor, Tensor],
    start: tuple[Tensor, Tensor],
    search: tuple[int, float, float],
) -> tuple[Tensor, Tensor]:
    """`pnp._levenberg_marquardt`.

    Args:
        points: Shape (B, N, 3).
        pixels: Shape (B, N, 2).
        camera: Focal lengths and principal points, shape (B, 2) each.
        start: Rotations (B, 3, 3) and translations (B, 3).
        search: The most iterations, the tolerance, and the damping to begin with.

    Returns:
        Rotations and translations, in memory of their own.
    """
    rotation, translation = (values.clone() for values in start)

    def some(rows: Arrays) -> None:
        levenberg_marquardt(*rows, *search)

    in_threads(some, (arrays(points, pixels, *camera, rotation, translation),), len(points))
    return rotation, translation


@compiled_exactly
def levenberg_marquardt(
    points: Array,
    pixels: Array,
    focal: Array,
    center: Array,
    rotation: Array,
    translation: Array,
    most: int,
    tolerance: float,
    initial_damping: float,
) -> None:
    """Improves rotations (B, 3, 3) and translations (B, 3) in place; arguments as of `search_motions`."""
    hessian, new_hessian, damped = np.empty((SIZE, SIZE)), np.empty((SIZE, SIZE)), np.empty((SIZE, SIZE))
    descent, new_descent, delta = np.empty(SIZE), np.empty(SIZE), np.empty(SIZE)
    turned, moved = np.empty((3, 3)), np.empty(3)
    for b in range(len(points)):
        seen = points[b], pixels[b], focal[b], center[b]
        cost = equations(seen, rotation[b], translation[b], hessian, descent)
        damping = initial_damping
        for _ in range(most):
            damped[:], delta[:] = hessian, descent
            for p in range(SIZE):
                damped[p, p] += damping * hessian[p, p]
            solve(damped, delta, SIZE)
            turn(rotation[b], delta, turned)
            for a in range(3):
                moved[a] = translation[b, a] + delta[3 + a]
            new_cost = equations(seen, turned, moved, new_hessian, new_descent)
            if new_cost < cost:
                rotation[b], translation[b], cost = turned, moved, new_cost
                hessian[:], descent[:], damping = new_hessian, new_descent, damping / 10
            else:
                damping *= 10
            # Not one that is no number
            if not max(length(delta[:3]), length(delta[3:]) / length(translation[b])) > tolerance:
                break


@compiled_exactly
def equations(
    seen: tuple[Array, Array, Array, Array], rotation: Array, translation: Array, hessian: Array, descent: Array
) -> float:
    """`Correspondences.equations` of one object, and half the squared length of its residuals."""
    points, pixels, focal, center = seen
    hessian[:], descent[:] = 0, 0
    row, cost = np.empty(SIZE), 0.0
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        depth = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + translation[2]
        for a in range(2):
            across = rotation[a, 0] * x + rotation[a, 1] * y + rotation[a, 2] * z + translation[a]
            # As `camera.project` sees a point at depth 0
            place = across if depth == 0 else focal[a] * across / depth + center[a]
            residual = pixels[i, a] - place
            sideways, into = focal[a] / depth, -across / depth * (focal[a] / depth)
            # How the place moves with the point, in the object's axes
            u = sideways * rotation[a, 0] + into * rotation[2, 0]
            v = sideways * rotation[a, 1] + into * rotation[2, 1]
            w = sideways * rotation[a, 2] + into * rotation[2, 2]
            row[0], row[1], row[2] = y * w - z * v, z * u - x * w, x * v - y * u
            row[3], row[4], row[5] = 0, 0, into
            row[3 + a] = sideways
            for p in range(SIZE):
                descent[p] += row[p] * residual
                for q in range(p + 1):
                    hessian[p, q] += row[p] * row[q]
            cost += residual * residual
    return cost / 2


@compiled_exactly
def turn(rotation: Array, angles: Array, turned: Array) -> None:
    """`rotation.turn` of one rotation (3, 3) by the first three angles."""
    x, y, z = angles[0], angles[1], angles[2]
    cosine = 1 / math.sqrt(1 + (x * x + y * y + z * z))
    for a in range(3):
        p, q, r = rotation[a, 0], rotation[a, 1], rotation[a, 2]
        u, v, w = (q * z - r * y) * cosine, (r * x - p * z) * cosine, (p * y - q * x) * cosine
        share = cosine / (1 + cosine)
        turned[a, 0] = p + u + (v * z - w * y) * share
        turned[a, 1] = q + v + (w * x - u * z) * share
        turned[a, 2] = r + w + (u * y - v * x) * share


@compiled_exactly
def length(vector: Array) -> float:
    """Of a vector (3,)."""
    return math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
