"""The searches of a fit as loops: along response maps, and for given landmarks."""

from typing import Any

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.fitting.initialise import DAMPING, MAX_STEPS, SLOW_STEPS
from clnf_torch.fitting.kernels.cpu.density import kernel_table, pad_rows, shift_landmarks
from clnf_torch.fitting.kernels.cpu.equations import normal_equations, solve
from clnf_torch.fitting.kernels.cpu.records import Maps, Params, Widths
from clnf_torch.fitting.kernels.cpu.shape import distance, linearise, project, take_step
from clnf_torch.geometry.kernels.cpu.rotation import to_euler, to_matrix
from clnf_torch.models.kernels.cpu.shapes import ShapeModel, set_points


@compiled
def search_responses(
    pdm: ShapeModel,
    params: Params,
    maps: Maps,
    precision: Array,
    iterations: int,
    widths: Widths,
    rigid: Array,
    found: Array,
) -> None:
    """`search_responses` of `nu_rlms`, a rigid and a non-rigid search, for faces one by one.

    Args:
        pdm: The shape model.
        params: Where to start; changed in place.
        maps: The response maps, and where they lie.
        precision: Weight of the prior, shape (1 or B, M).
        iterations: How many at most, rigid and non-rigid each.
        widths: Of the kernels.
        rigid: Output: the scale after the rigid search, shape (B,).
        found: Output: where landmarks were before the last step, cells, shape (B, N, 2).
    """
    scale, euler, translation, local = params
    work, modes = workspace(len(pdm.modes), pdm.mean.shape[1]), len(pdm.modes)
    table = kernel_table(maps.responses.shape[2], widths.sigma, widths.kernel_step)
    rotation = np.empty((3, 3), f32)
    for b in range(len(scale)):
        to_matrix(euler[b], rotation)
        shape = scale[b : b + 1], rotation, translation[b], local[b]
        responses = pad_rows(maps.responses[b])
        own = Maps(responses, maps.base[b], maps.to_reference[b], maps.to_image[b], maps.weight[b])
        prior = precision[min(b, len(precision) - 1)]
        _search(pdm, shape, own, prior, iterations, widths, 0, table, work, found[b])
        rigid[b] = scale[b]
        _search(pdm, shape, own, prior, iterations, widths, modes, table, work, found[b])
        to_euler(rotation, euler[b])


@compiled
def _search(
    pdm: ShapeModel,
    shape: Arrays,
    maps: Maps,
    prior: Array,
    iterations: int,
    widths: Widths,
    used: int,
    table: Array,
    work: Arrays,
    found: Array,
) -> None:
    """`nu_rlms` of one face, with so many modes: 0 or all of them."""
    scale, rotation, translation, local = shape
    jacobian, hessian, right, points, landmarks, shift = work
    for count in range(iterations):
        # A rigid step changes the points once, where it clamps coefficients that began beyond their limits
        if count < 2 or used:
            set_points(pdm.mean, pdm.modes, local, points)
        linearise(pdm.columns, points, scale[0], rotation, used, jacobian)
        moved = project(jacobian, scale[0], translation, landmarks)
        if count > 0 and widths.tolerance > 0 and not moved >= widths.tolerance:
            break
        shift_landmarks(landmarks, maps, widths, table, found, shift)
        normal_equations(jacobian, maps.weight, shift, prior, local, used, hessian, right)
        solve(hessian, right, 6 + used)
        take_step(right, used, shape)
        for k in range(len(pdm.limit)):
            local[k] = min(max(local[k], -pdm.limit[k]), pdm.limit[k])


@compiled
def search_landmarks(pdm: ShapeModel, params: Params, landmarks: Array, known: Array) -> None:
    """`params_from_landmarks` of faces one by one.

    Args:
        pdm: The shape model.
        params: Output: the parameters; the angles are those to start from.
        landmarks: Where the landmarks are, pixels, shape (B, N, 2).
        known: Landmarks that count, bool, shape (B, N).
    """
    scale, euler, translation, local = params
    work, rotation = workspace(len(pdm.modes), pdm.mean.shape[1]), np.empty((3, 3), f32)
    target, weight = np.empty((2, pdm.mean.shape[1]), f32), np.empty(pdm.mean.shape[1], f32)
    for b in range(len(scale)):
        for i in range(len(weight)):
            weight[i] = f32(1) if known[b, i] else f32(0)
            for a in range(2):
                target[a, i] = landmarks[b, i, a] if known[b, i] else f32(0)
        scale[b] = start_upright(pdm.mean, target, weight, translation[b])
        local[b] = 0
        to_matrix(euler[b], rotation)
        shape = scale[b : b + 1], rotation, translation[b], local[b]
        _search_landmarks(pdm, shape, target, weight, work)
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
    pdm: ShapeModel,
    shape: Arrays,
    target: Array,
    weight: Array,
    work: Arrays,
) -> None:
    """The search for given landmarks (2, N) of one face."""
    scale, rotation, translation, local = shape
    jacobian, hessian, right, points, landmarks, shift = work
    modes = len(pdm.modes)
    set_points(pdm.mean, pdm.modes, local, points)
    slow, error = 0, distance(points, scale[0], rotation, translation, target, weight)
    for _ in range(MAX_STEPS):
        if slow >= SLOW_STEPS:
            break
        set_points(pdm.mean, pdm.modes, local, points)
        linearise(pdm.columns, points, scale[0], rotation, modes, jacobian)
        project(jacobian, scale[0], translation, landmarks)
        shift[:] = target - landmarks
        normal_equations(jacobian, weight, shift, pdm.precision, local, modes, hessian, right)
        solve(hessian, right, len(right))
        right *= f32(DAMPING)
        take_step(right, modes, shape)
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
