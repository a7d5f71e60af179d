"""The searches of one face after the other as compiled loops (numba), for the processor.

`clnf_torch.fitting.nu_rlms` and `initialise` define what they compute, with torch for all faces at once: a face is some
thousand numbers, and a batched operation costs more to start than to run. Arrays are float32 and contiguous; landmarks
run along the last axis, so that inner loops are vector instructions. A face's result does not depend on the others.
"""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import njit

from clnf_torch.fitting.initialise import DAMPING, MAX_STEPS, SLOW_STEPS
from clnf_torch.fitting.mean_shift import EDGE

# numba knows the types
Array: TypeAlias = Any
Arrays: TypeAlias = Any
f32 = np.float32
# Sums may be taken in any order and products fused; infinities and NaNs stay what they are
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function compiled when it is first called, and kept on disk for the next program where there is a place."""
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:
        return njit(**OPTIONS)(function)


@compiled
def search(
    pdm: Arrays, shape: Arrays, field: Arrays, precision: Array, steps: int, widths: Arrays, rigid: bool, found: Array
) -> None:
    """The search of `nu_rlms` for faces one by one; pose and shape are changed in place.

    Args:
        pdm: Mean points (3, N), modes (M, 3, N) and greatest coefficients (M,).
        shape: Scale (B,), rotation (B, 3, 3), translation (B, 2) and local (B, M), as in `PosedShape`.
        field: Responses, base, to_reference, to_image and weight, as in `ResponseField`.
        precision: Weight of the prior, shape (1 or B, M).
        steps: How many at most.
        widths: Kernel width in cells; multiples of it that kernels are centred on, 0 for none; tolerance in pixels.
        rigid: Change the pose alone, without prior.
        found: Where landmarks were before the last step, cells, shape (B, N, 2).
    """
    (mean, modes, limit), (scale, rotation, translation, local) = pdm, shape
    weight, window, used = field[4], field[0].shape[2], 0 if rigid else len(modes)
    jacobian, hessian, right, points = workspace(used, mean.shape[1])
    landmarks, shift, kernel = np.zeros_like(mean[:2]), np.zeros_like(mean[:2]), np.empty((4, window), f32)
    for b in range(len(scale)):
        for count in range(steps):
            if count == 0 or not rigid:
                set_points(mean, modes, local[b], points)
            linearise(modes, points, scale[b], rotation[b], used, jacobian)
            moved = project(jacobian, scale[b], translation[b], landmarks)
            if count > 0 and widths[2] > 0 and not moved >= widths[2]:
                break
            shift_landmarks(landmarks, field, b, widths, kernel, found[b], shift)
            prior = precision[min(b, len(precision) - 1)]
            normal_equations(jacobian, weight[b], shift, prior, local[b], hessian, right)
            solve(hessian, right)
            take_step(right, used, b, shape)
            for k in range(len(limit)):
                local[b, k] = min(max(local[b, k], -limit[k]), limit[k])


@compiled
def search_landmarks(pdm: Arrays, shape: Arrays, target: Array, weight: Array, precision: Array) -> None:
    """The search of `params_from_landmarks` for faces one by one; pose and shape are changed in place.

    Args:
        pdm: As for `search`.
        shape: Likewise.
        target: Where the landmarks are, pixels, finite, shape (B, 2, N).
        weight: 1 for landmarks that count, 0 for the others, shape (B, N).
        precision: Weight of the prior, shape (M,).
    """
    (mean, modes, _), (scale, rotation, translation, local) = pdm, shape
    jacobian, hessian, right, points = workspace(len(modes), mean.shape[1])
    landmarks = np.zeros_like(mean[:2])
    for b in range(len(scale)):
        set_points(mean, modes, local[b], points)
        slow, error = 0, distance(points, scale[b], rotation[b], translation[b], target[b], weight[b])
        for _ in range(MAX_STEPS):
            if slow >= SLOW_STEPS:
                break
            set_points(mean, modes, local[b], points)
            linearise(modes, points, scale[b], rotation[b], len(modes), jacobian)
            project(jacobian, scale[b], translation[b], landmarks)
            normal_equations(jacobian, weight[b], target[b] - landmarks, precision, local[b], hessian, right)
            solve(hessian, right)
            right *= f32(DAMPING)
            take_step(right, len(modes), b, shape)
            # With the new pose, but the points from before the step, as there
            following = distance(points, scale[b], rotation[b], translation[b], target[b], weight[b])
            slow += not following < f32(0.999) * error
            error = following


@compiled
def workspace(modes: int, landmarks: int) -> tuple[Array, Array, Array, Array]:
    """Jacobian (P, 2, N), normal equations (P, P) and (P,), and points (3, N) of the face at hand."""
    jacobian = np.zeros((6 + modes, 2, landmarks), f32)
    # The columns of the translation never change
    jacobian[4, 0], jacobian[5, 1] = 1, 1
    return jacobian, np.empty((6 + modes, 6 + modes), f32), np.empty(6 + modes, f32), np.empty((3, landmarks), f32)


@compiled
def set_points(mean: Array, modes: Array, local: Array, points: Array) -> None:
    """`PDM.points` of coefficients (M,) into (3, N)."""
    for c in range(3):
        for i in range(mean.shape[1]):
            points[c, i] = mean[c, i]
        for k in range(len(modes)):
            for i in range(mean.shape[1]):
                points[c, i] += local[k] * modes[k, c, i]


@compiled
def linearise(modes: Array, points: Array, scale: float, rotation: Array, used: int, jacobian: Array) -> None:
    """The Jacobian of `PDM.landmarks_and_jacobian`, with the columns of so many modes."""
    x, y, z = points[0], points[1], points[2]
    for a in range(2):
        seen = rotation[a]
        sx, sy, sz = scale * seen[0], scale * seen[1], scale * seen[2]
        by_scale, turn_x, turn_y, turn_z = jacobian[0, a], jacobian[1, a], jacobian[2, a], jacobian[3, a]
        for i in range(len(x)):
            by_scale[i] = seen[0] * x[i] + seen[1] * y[i] + seen[2] * z[i]
            turn_x[i] = y[i] * sz - z[i] * sy
            turn_y[i] = z[i] * sx - x[i] * sz
            turn_z[i] = x[i] * sy - y[i] * sx
        for k in range(used):
            mx, my, mz, column = modes[k, 0], modes[k, 1], modes[k, 2], jacobian[6 + k, a]
            for i in range(len(x)):
                column[i] = sx * mx[i] + sy * my[i] + sz * mz[i]


@compiled
def project(jacobian: Array, scale: float, translation: Array, landmarks: Array) -> float:
    """Landmarks (2, N) in the image, and how far they are from those that stood there, over all coordinates."""
    moved = f32(0)
    for a in range(2):
        for i in range(landmarks.shape[1]):
            value = scale * jacobian[0, a, i] + translation[a]
            moved += (value - landmarks[a, i]) * (value - landmarks[a, i])
            landmarks[a, i] = value
    return math.sqrt(moved)


@compiled
def distance(points: Array, scale: float, rotation: Array, translation: Array, target: Array, weight: Array) -> float:
    """Euclidean norm of the known landmarks' differences from their targets, over all coordinates."""
    total = f32(0)
    for a in range(2):
        seen = rotation[a]
        for i in range(points.shape[1]):
            value = scale * (seen[0] * points[0, i] + seen[1] * points[1, i] + seen[2] * points[2, i])
            value += translation[a] - target[a, i]
            total += value * value * weight[i]
    return math.sqrt(total)


@compiled
def shift_landmarks(
    landmarks: Array, field: Arrays, b: int, widths: Arrays, kernel: Array, found: Array, shift: Array
) -> None:
    """`mean_shift` of landmarks (2, N) in pixels, (2, N), and where they are in their maps, cells, (N, 2)."""
    responses, base, to_reference, to_image, weight = field[0][b], field[1][b], field[2][b], field[3][b], field[4][b]
    window = responses.shape[1]
    for i in range(len(base)):
        x, y = landmarks[0, i] - base[i, 0], landmarks[1, i] - base[i, 1]
        for a in range(2):
            found[i, a] = to_reference[a, 0] * x + to_reference[a, 1] * y + f32((window - 1) // 2)
        shift[0, i], shift[1, i] = 0, 0
        if weight[i] == 0:
            continue
        x = min(max(found[i, 0], f32(0)), f32(window) - f32(EDGE))
        y = min(max(found[i, 1], f32(0)), f32(window) - f32(EDGE))
        total, mean_x, mean_y = kernel_mean(responses[i], x, y, widths, kernel)
        if not total <= 0:
            across, down = mean_x / total - x, mean_y / total - y
            shift[0, i] = to_image[0, 0] * across + to_image[0, 1] * down
            shift[1, i] = to_image[1, 0] * across + to_image[1, 1] * down


@compiled
def kernel_mean(responses: Array, x: float, y: float, widths: Arrays, kernel: Array) -> tuple[Any, Any, Any]:
    """The kernel-weighted sum of a response map (R, R) around (x, y), and the sums of its columns and rows."""
    sigma, apart, _ = widths
    if apart > 0:
        x, y = f32(np.rint(x / apart)) * apart, f32(np.rint(y / apart)) * apart
    across, ramp, down, _ = kernel
    gaussian(x, sigma, kernel[3], across)
    gaussian(y, sigma, kernel[3], down)
    for u in range(len(across)):
        ramp[u] = across[u] * f32(u)
    total, sum_x, sum_y = f32(0), f32(0), f32(0)
    for v in range(len(down)):
        row, own, own_x = responses[v], f32(0), f32(0)
        for u in range(len(across)):
            own += row[u] * across[u]
            own_x += row[u] * ramp[u]
        total += own * down[v]
        sum_x += own_x * down[v]
        sum_y += own * down[v] * f32(v)
    return total, sum_x, sum_y


@compiled
def gaussian(centre: float, sigma: float, power: Array, values: Array) -> None:
    """exp(-(centre - u)^2 / 2 sigma^2) at u = 0, 1, ... R - 1: 2^k, made of its bits, times a polynomial of the rest.

    Both loops are vector instructions; the library's exponential, as accurate, takes one number at a time.
    """
    bits = power.view(np.int32)
    factor = f32(-0.5) / (sigma * sigma)
    for u in range(len(values)):
        exponent = max((centre - f32(u)) * (centre - f32(u)) * factor, f32(-87))
        whole = np.rint(exponent * f32(1.44269504))
        # ln 2 in two parts, so that the difference is exact
        rest = exponent - whole * f32(0.693359375) + whole * f32(2.12194440e-4)
        series = (f32(1.9875691500e-4) * rest + f32(1.3981999507e-3)) * rest + f32(8.3334519073e-3)
        series = ((series * rest + f32(4.1665795894e-2)) * rest + f32(1.6666665459e-1)) * rest + f32(5.0000001201e-1)
        values[u] = series * rest * rest + rest + f32(1)
        bits[u] = (np.int32(whole) + np.int32(127)) << 23
    for u in range(len(values)):
        values[u] *= power[u]


@compiled
def normal_equations(
    jacobian: Array, weight: Array, shift: Array, precision: Array, local: Array, hessian: Array, right: Array
) -> None:
    """Both sides of `gauss_newton_step`'s equation, (P, P), its lower half, and (P,), for shifts (2, N)."""
    weighted = np.empty_like(shift)
    for p in range(len(jacobian)):
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
def solve(hessian: Array, right: Array) -> None:
    """The step in place of the right side, by Cholesky; zero where there is none. See `gauss_newton.solve`."""
    size, definite = len(right), True
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


@compiled
def take_step(step: Array, used: int, b: int, shape: Arrays) -> None:
    """`PosedShape.step` of a step (P,) in place; the rotation as `turn` does it."""
    scale, rotation, translation, local = shape
    scale[b] += step[0]
    translation[b, 0] += step[4]
    translation[b, 1] += step[5]
    for k in range(used):
        local[b, k] += step[6 + k]
    x, y, z = step[1], step[2], step[3]
    cosine = f32(1) / f32(math.sqrt(f32(1) + x * x + y * y + z * z))
    twice = cosine / (f32(1) + cosine)
    for a in range(3):
        u, v, w = rotation[b, a]
        cu, cv, cw = (v * z - w * y) * cosine, (w * x - u * z) * cosine, (u * y - v * x) * cosine
        rotation[b, a, 0] = u + cu + (cv * z - cw * y) * twice
        rotation[b, a, 1] = v + cv + (cw * x - cu * z) * twice
        rotation[b, a, 2] = w + cw + (cu * y - cv * x) * twice
