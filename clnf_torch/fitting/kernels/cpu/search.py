"""The searches of a fit as loops: along response maps, and for given landmarks."""

from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.fitting.initialise import DAMPING, MAX_STEPS, SLOW_STEPS
from clnf_torch.fitting.kernels.cpu.density import kernel_table, pad_rows, shift_landmarks
from clnf_torch.fitting.kernels.cpu.equations import normal_equations, solve
from clnf_torch.fitting.kernels.cpu.shape import distance, linearise, project, take_step
from clnf_torch.geometry.kernels.cpu.rotation import to_euler, to_matrix
from clnf_torch.models.kernels.cpu.shapes import set_points


@compiled
def search_responses(
    pdm: Arrays, params: Arrays, field: Arrays, precision: Array, steps: int, widths: Arrays, rigid: Array, found: Array
) -> None:
    """`search_responses` of `nu_rlms`, a rigid and a non-rigid search, for faces one by one.

    Args:
        pdm: As `model_arrays` gives it.
        params: Scale (B,), Euler angles (B, 3), translation (B, 2) and local (B, M); changed in place.
        field: Responses, base, to_reference, to_image and weight, as in `ResponseField`.
        precision: Weight of the prior, shape (1 or B, M).
        steps: How many at most, rigid and non-rigid each.
        widths: Kernel width in cells; multiples of it that kernels are centred on, 0 for none; tolerance in pixels.
        rigid: Becomes the scale after the rigid search, shape (B,).
        found: Becomes where landmarks were before the last step, cells, shape (B, N, 2).
    """
    (mean, modes, _, _, _), (scale, euler, translation, local) = pdm, params
    work = workspace(len(modes), mean.shape[1])
    rotation, table = np.empty((3, 3), f32), kernel_table(field[0].shape[2], widths[0], widths[1])
    for b in range(len(scale)):
        to_matrix(euler[b], rotation)
        shape = scale[b : b + 1], rotation, translation[b], local[b]
        maps = pad_rows(field[0][b]), field[1][b], field[2][b], field[3][b], field[4][b]
        prior = precision[min(b, len(precision) - 1)]
        _search(pdm, shape, maps, prior, steps, widths, 0, table, work, found[b])
        rigid[b] = scale[b]
        _search(pdm, shape, maps, prior, steps, widths, len(modes), table, work, found[b])
        to_euler(rotation, euler[b])


@compiled
def _search(
    pdm: Arrays,
    shape: Arrays,
    maps: Arrays,
    prior: Array,
    steps: int,
    widths: Arrays,
    used: int,
    table: Array,
    work: Arrays,
    found: Array,
) -> None:
    """`nu_rlms` of one face, with so many modes: 0 or all of them."""
    (mean, modes, limit, _, columns), (scale, rotation, translation, local) = pdm, shape
    jacobian, hessian, right, points, landmarks, shift = work
    for count in range(steps):
        # A rigid step changes the points once, where it clamps coefficients that began beyond their limits
        if count < 2 or used:
            set_points(mean, modes, local, points)
        linearise(columns, points, scale[0], rotation, used, jacobian)
        moved = project(jacobian, scale[0], translation, landmarks)
        if count > 0 and widths[2] > 0 and not moved >= widths[2]:
            break
        shift_landmarks(landmarks, maps, widths, table, found, shift)
        normal_equations(jacobian, maps[4], shift, prior, local, used, hessian, right)
        solve(hessian, right, 6 + used)
        take_step(right, used, shape)
        for k in range(len(limit)):
            local[k] = min(max(local[k], -limit[k]), limit[k])


@compiled
def search_landmarks(pdm: Arrays, params: Arrays, landmarks: Array, known: Array) -> None:
    """`params_from_landmarks` of faces one by one.

    Args:
        pdm: As for `search_responses`.
        params: Become the parameters, as there; the angles are those to start from.
        landmarks: Where the landmarks are, pixels, shape (B, N, 2).
        known: Landmarks that count, bool, shape (B, N).
    """
    (mean, modes, _, precision, columns), (scale, euler, translation, local) = pdm, params
    work, rotation = workspace(len(modes), mean.shape[1]), np.empty((3, 3), f32)
    target, weight = np.empty((2, mean.shape[1]), f32), np.empty(mean.shape[1], f32)
    for b in range(len(scale)):
        for i in range(len(weight)):
            weight[i] = f32(1) if known[b, i] else f32(0)
            for a in range(2):
                target[a, i] = landmarks[b, i, a] if known[b, i] else f32(0)
        scale[b] = start_upright(mean, target, weight, translation[b])
        local[b] = 0
        to_matrix(euler[b], rotation)
        shape = scale[b : b + 1], rotation, translation[b], local[b]
        _search_landmarks(mean, modes, columns, shape, target, weight, precision, work)
        to_euler(rotation, euler[b])


@compiled
def start_upright(mean: Array, target: Array, weight: Array, translation: Array) -> Any:
    """`upright_start` of one face: its scale, and its translation (2,)."""
    scale = f32(0)
    for a in range(2):
        lowest, highest = extent(target[a], weight)
        least, most = extent(mean[a], weight)
        translation[a] = (lowest + highest) / f32(2)
        scale += (highest - lowest) / (most - least) / f32(2)
    return scale


@compiled
def extent(values: Array, weight: Array) -> tuple[Array, Array]:
    """Least and greatest of the values (N,) that count; NaN where one of them is."""
    lowest, highest = f32(np.inf), f32(-np.inf)
    for i in range(len(values)):
        if weight[i] > 0:
            lowest = values[i] if values[i] < lowest or values[i] != values[i] else lowest
            highest = values[i] if values[i] > highest or values[i] != values[i] else highest
    return lowest, highest


@compiled
def _search_landmarks(
    mean: Array,
    modes: Array,
    columns: Array,
    shape: Arrays,
    target: Array,
    weight: Array,
    precision: Array,
    work: Arrays,
) -> None:
    """The search for given landmarks (2, N) of one face."""
    scale, rotation, translation, local = shape
    jacobian, hessian, right, points, landmarks, shift = work
    set_points(mean, modes, local, points)
    slow, error = 0, distance(points, scale[0], rotation, translation, target, weight)
    for _ in range(MAX_STEPS):
        if slow >= SLOW_STEPS:
            break
        set_points(mean, modes, local, points)
        linearise(columns, points, scale[0], rotation, len(modes), jacobian)
        project(jacobian, scale[0], translation, landmarks)
        shift[:] = target - landmarks
        normal_equations(jacobian, weight, shift, precision, local, len(modes), hessian, right)
        solve(hessian, right, len(right))
        right *= f32(DAMPING)
        take_step(right, len(modes), shape)
        # With the new pose, but the points from before the step, as there
        following = distance(points, scale[0], rotation, translation, target, weight)
        slow += not following < f32(0.999) * error
        error = following


@compiled
def workspace(modes: int, landmarks: int) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Jacobian (2 N, P), normal equations (P, P) and (P,), points (3, N), landmarks and shifts (2, N) of a face."""
    jacobian = np.zeros((2 * landmarks, 6 + modes), f32)
    # The columns of the translation never change
    jacobian[:landmarks, 4], jacobian[landmarks:, 5] = 1, 1
    hessian, right, points = (
        np.empty((6 + modes, 6 + modes), f32),
        np.empty(6 + modes, f32),
        np.empty((3, landmarks), f32),
    )
    return jacobian, hessian, right, points, np.zeros((2, landmarks), f32), np.zeros((2, landmarks), f32)
