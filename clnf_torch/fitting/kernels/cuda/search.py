"""The search of one face along its response maps: rigid, then non-rigid."""

import triton
import triton.language as tl

from clnf_torch.fitting.kernels.cuda.density import shift_in_cells
from clnf_torch.fitting.kernels.cuda.equations import add_landmarks, add_prior, solve
from clnf_torch.fitting.kernels.cuda.shape import (
    distance_moved,
    linearise,
    load_pose,
    modes_at,
    points_of,
    project,
    step_pose,
    store_pose,
)


@triton.jit(do_not_specialize=["landmarks", "count", "window", "by_face", "by_landmark", "by_row", "steps"])
def search_responses(
    # The shape model
    mean,
    modes,
    variances,
    landmarks,
    count,
    # Where to start
    scale,
    euler,
    translation,
    local,
    # The response field; strides of the maps: face, landmark, row, column
    responses,
    base,
    to_reference,
    to_image,
    weight,
    window,
    by_face,
    by_landmark,
    by_row,
    by_column,
    # Settings; a regularisation for each face, or one for all
    regularisation,
    steps,
    sigma,
    apart,
    tolerance,
    # What becomes of them
    rigid_scale,
    new_scale,
    new_euler,
    new_translation,
    new_local,
    found,
    # Parameters, landmarks at once, and rows and columns of a map at once: powers of two
    P: tl.constexpr,
    C: tl.constexpr,
    V: tl.constexpr,
    R: tl.constexpr,
    OWN_PRIOR: tl.constexpr,
):
    """`search_responses` of `nu_rlms` for the face of this program.

    Names are as there and in `FitConfig`, but for `steps`, its `iterations`; `apart`, its kernel step, 0 for none; and
    `found`, where landmarks were in their maps before the last step, cells.
    """
    face = tl.program_id(0).to(tl.int64)
    p = tl.arange(0, P)
    shaped = (p >= 6) & (p < 6 + count)
    variance = tl.load(variances + p - 6, mask=shaped, other=1.0)
    prior = tl.load(regularisation + face) if OWN_PRIOR else regularisation
    precision = tl.where(shaped, tl.div_rn(prior + tl.zeros_like(variance), variance), 0.0)
    limit = tl.where(shaped, 3 * tl.sqrt_rn(variance), 0.0)
    pose = load_pose(scale + face, euler + 3 * face, translation + 2 * face)
    shape = tl.load(local + face * count + p - 6, mask=shaped, other=0.0)

    model = mean, modes, landmarks, count
    places = face * landmarks
    field = responses + face * by_face, base + 2 * places, weight + places, found + 2 * places
    frame = load_frame(to_reference + 4 * face) + load_frame(to_image + 4 * face)
    sizes, widths = (window, by_landmark, by_row, by_column), (sigma, apart, tolerance)
    # A loop, though its two rounds differ: what they share is compiled once
    for number in range(2):
        used = number * count
        pose, shape = nu_rlms(
            model, pose, shape, used, precision, limit, field, frame, sizes, steps, widths, P, C, V, R
        )
        tl.store(rigid_scale + face, pose[0], mask=number == 0)
    store_pose(pose, new_scale + face, new_euler + 3 * face, new_translation + 2 * face)
    tl.store(new_local + face * count + p - 6, shape, mask=shaped)


@triton.jit
def load_frame(matrix):
    """The four numbers of a (2, 2) matrix."""
    return tl.load(matrix), tl.load(matrix + 1), tl.load(matrix + 2), tl.load(matrix + 3)


@triton.jit
def nu_rlms(
    model,
    pose,
    local,
    used,
    precision,
    limit,
    field,
    frame,
    sizes,
    steps,
    widths,
    P: tl.constexpr,
    C: tl.constexpr,
    V: tl.constexpr,
    R: tl.constexpr,
):
    """`nu_rlms` of one face, with so many modes: 0 or all of them."""
    p = tl.arange(0, P)
    free = p < 6 + used
    count = 0
    moving = steps > 0
    while moving:
        hessian, right = equations(model, pose, local, used, field, frame, sizes, widths, P, C, V, R)
        hessian, right = add_prior(hessian, right, tl.where(free, precision, 0.0), local)
        step = solve(hessian, right, 6 + used)
        new_pose = step_pose(pose, step)
        new_local = local + tl.where((p >= 6) & free, step, 0.0)
        new_local = tl.where(new_local > limit, limit, tl.where(new_local < -limit, -limit, new_local))
        moved = distance_moved(model, pose, local, new_pose, new_local, P, C)
        pose, local = new_pose, new_local
        count += 1
        # False where it is not a number
        moving = (count < steps) & ((widths[2] <= 0) | (moved >= widths[2]))
    return pose, local


@triton.jit
def equations(
    model,
    pose,
    local,
    used,
    field,
    frame,
    sizes,
    widths,
    P: tl.constexpr,
    C: tl.constexpr,
    V: tl.constexpr,
    R: tl.constexpr,
):
    """Both sides of the normal equations, (P, P) and (P,), without prior; stores where the landmarks are."""
    hessian, right = tl.zeros((P, P), tl.float32), tl.zeros((P,), tl.float32)
    for first in range(0, model[2], C):
        i = first + tl.arange(0, C)
        modes = modes_at(model, i, P)
        points = points_of(model, i, local, modes)
        x, y = project(pose, points)
        shift_x, shift_y = shift_landmarks(field, frame, sizes, widths, i, i < model[2], x, y, V, R)
        weight = tl.load(field[2] + i, mask=i < model[2], other=0.0)
        by_x = linearise(pose[0], pose[3], pose[4], pose[5], points, modes, used, 4, P)
        hessian, right = add_landmarks(hessian, right, by_x, weight, shift_x)
        by_y = linearise(pose[0], pose[6], pose[7], pose[8], points, modes, used, 5, P)
        hessian, right = add_landmarks(hessian, right, by_y, weight, shift_y)
    return hessian, right


@triton.jit
def shift_landmarks(field, frame, sizes, widths, i, seen, x, y, V: tl.constexpr, R: tl.constexpr):
    """The mean shift of landmarks i at (x, y), pixels; stores where they are in their maps."""
    responses, base, _, found = field
    window, by_landmark, by_row, by_column = sizes
    x = x - tl.load(base + 2 * i, mask=seen, other=0.0)
    y = y - tl.load(base + 2 * i + 1, mask=seen, other=0.0)
    u = frame[0] * x + frame[1] * y + (window - 1) // 2
    v = frame[2] * x + frame[3] * y + (window - 1) // 2
    tl.store(found + 2 * i, u, mask=seen)
    tl.store(found + 2 * i + 1, v, mask=seen)
    maps = responses + i * by_landmark
    across, down = shift_in_cells(maps, (by_row, by_column), seen, window, u, v, widths[0], widths[1], V, R)
    return frame[4] * across + frame[5] * down, frame[6] * across + frame[7] * down
