"""The searches of a fit as loops: along response maps, and for given landmarks."""

import numpy as np

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32
from clnf_torch.fitting.initialise import DAMPING, MAX_STEPS, SLOW_STEPS
from clnf_torch.fitting.kernels.cpu.density import shift_landmarks
from clnf_torch.fitting.kernels.cpu.equations import normal_equations, solve
from clnf_torch.fitting.kernels.cpu.rotation import to_euler, to_matrix
from clnf_torch.fitting.kernels.cpu.shape import distance, linearise, project, set_points, take_step


@compiled
def search_responses(
    pdm: Arrays, params: Arrays, field: Arrays, precision: Array, steps: int, widths: Arrays, rigid: Array, found: Array
) -> None:
    """`search_responses` of `nu_rlms`, a rigid and a non-rigid search, for faces one by one.

    Args:
        pdm: Mean points (3, N), modes (M, 3, N) and greatest coefficients (M,).
        params: Scale (B,), Euler angles (B, 3), translation (B, 2) and local (B, M); changed in place.
        field: Responses, base, to_reference, to_image and weight, as in `ResponseField`.
        precision: Weight of the prior, shape (1 or B, M).
        steps: How many at most, rigid and non-rigid each.
        widths: Kernel width in cells; multiples of it that kernels are centred on, 0 for none; tolerance in pixels.
        rigid: Becomes the scale after the rigid search, shape (B,).
        found: Becomes where landmarks were before the last step, cells, shape (B, N, 2).
    """
    (mean, modes, _), (scale, euler, translation, local) = pdm, params
    work, kernel = workspace(len(modes), mean.shape[1]), np.empty((4, field[0].shape[2]), f32)
    rotation = np.empty((3, 3), f32)
    for b in range(len(scale)):
        to_matrix(euler[b], rotation)
        shape = scale[b : b + 1], rotation, translation[b], local[b]
        maps = field[0][b], field[1][b], field[2][b], field[3][b], field[4][b]
        prior = precision[min(b, len(precision) - 1)]
        _search(pdm, shape, maps, prior, steps, widths, 0, kernel, work, found[b])
        rigid[b] = scale[b]
        _search(pdm, shape, maps, prior, steps, widths, len(modes), kernel, work, found[b])
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
    kernel: Array,
    work: Arrays,
    found: Array,
) -> None:
    """`nu_rlms` of one face, with so many modes: 0 or all of them."""
    (mean, modes, limit), (scale, rotation, translation, local) = pdm, shape
    jacobian, hessian, right, points, landmarks, shift = work
    for count in range(steps):
        # A rigid step changes the points once, where it clamps coefficients that began beyond their limits
        if count < 2 or used:
            set_points(mean, modes, local, points)
        linearise(modes, points, scale[0], rotation, used, jacobian)
        moved = project(jacobian, scale[0], translation, landmarks)
        if count > 0 and widths[2] > 0 and not moved >= widths[2]:
            break
        shift_landmarks(landmarks, maps, widths, kernel, found, shift)
        normal_equations(jacobian, maps[4], shift, prior, local, used, hessian, right)
        solve(hessian, right, 6 + used)
        take_step(right, used, shape)
        for k in range(len(limit)):
            local[k] = min(max(local[k], -limit[k]), limit[k])


@compiled
def search_landmarks(pdm: Arrays, params: Arrays, target: Array, weight: Array, precision: Array) -> None:
    """The search of `params_from_landmarks` for faces one by one.

    Args:
        pdm: As for `search_responses`.
        params: Where to start; as for `search_responses`.
        target: Where the landmarks are, pixels, finite, shape (B, 2, N).
        weight: 1 for landmarks that count, 0 for the others, shape (B, N).
        precision: Weight of the prior, shape (M,).
    """
    (mean, modes, _), (scale, euler, translation, local) = pdm, params
    work, rotation = workspace(len(modes), mean.shape[1]), np.empty((3, 3), f32)
    for b in range(len(scale)):
        to_matrix(euler[b], rotation)
        shape = scale[b : b + 1], rotation, translation[b], local[b]
        _search_landmarks(mean, modes, shape, target[b], weight[b], precision, work)
        to_euler(rotation, euler[b])


@compiled
def _search_landmarks(
    mean: Array, modes: Array, shape: Arrays, target: Array, weight: Array, precision: Array, work: Arrays
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
        linearise(modes, points, scale[0], rotation, len(modes), jacobian)
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
    """Jacobian (P, 2, N), normal equations (P, P) and (P,), points (3, N), landmarks and shifts (2, N) of a face."""
    jacobian = np.zeros((6 + modes, 2, landmarks), f32)
    # The columns of the translation never change
    jacobian[4, 0], jacobian[5, 1] = 1, 1
    hessian, right, points = (
        np.empty((6 + modes, 6 + modes), f32),
        np.empty(6 + modes, f32),
        np.empty((3, landmarks), f32),
    )
    return jacobian, hessian, right, points, np.zeros((2, landmarks), f32), np.zeros((2, landmarks), f32)
