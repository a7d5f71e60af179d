"""The shape model of one face: points, landmarks, their Jacobian, and a step of the parameters.

A pose is scale, x, y and the nine numbers of the rotation. Shape coefficients stand where their columns of the Jacobian
do, behind the six of the pose.
"""

import triton
import triton.language as tl

from clnf_torch.fitting.kernels.cuda.equations import at
from clnf_torch.fitting.kernels.cuda.rotation import to_euler, to_matrix, turn


@triton.jit
def modes_at(model, i, P: tl.constexpr):
    """The modes at landmarks i (C,), as x, y and z, each (P, C); 0 in the rows of the pose."""
    _, modes, landmarks, count = model
    k = tl.arange(0, P)[:, None] - 6
    known = (k >= 0) & (k < count) & (i[None, :] < landmarks)
    places = modes + (k * landmarks + i[None, :]) * 3
    x, y = tl.load(places, mask=known, other=0.0), tl.load(places + 1, mask=known, other=0.0)
    return x, y, tl.load(places + 2, mask=known, other=0.0)


@triton.jit
def points_of(model, i, local, modes):
    """`PDM.points` of landmarks i (C,), millimetres, as x, y and z, from `modes_at` them."""
    places, known = model[0] + 3 * i, i < model[2]
    x = tl.load(places, mask=known, other=0.0) + tl.sum(local[:, None] * modes[0], axis=0)
    y = tl.load(places + 1, mask=known, other=0.0) + tl.sum(local[:, None] * modes[1], axis=0)
    return x, y, tl.load(places + 2, mask=known, other=0.0) + tl.sum(local[:, None] * modes[2], axis=0)


@triton.jit
def project(pose, points):
    """Points as landmarks in the image, pixels, as x and y."""
    x, y, z = points
    across = pose[3] * x + pose[4] * y + pose[5] * z
    down = pose[6] * x + pose[7] * y + pose[8] * z
    return pose[0] * across + pose[1], pose[0] * down + pose[2]


@triton.jit
def distance_moved(model, pose, local, new_pose, new_local, P: tl.constexpr, C: tl.constexpr):
    """How far the landmarks of two shapes are apart, over all coordinates, pixels."""
    total = tl.zeros((C,), tl.float32)
    for first in range(0, model[2], C):
        i = first + tl.arange(0, C)
        modes = modes_at(model, i, P)
        x, y = project(pose, points_of(model, i, local, modes))
        new_x, new_y = project(new_pose, points_of(model, i, new_local, modes))
        total += tl.where(i < model[2], (new_x - x) * (new_x - x) + (new_y - y) * (new_y - y), 0.0)
    return tl.sqrt_rn(tl.sum(total, axis=0))


@triton.jit
def linearise(scale, r0, r1, r2, points, modes, used, shift, P: tl.constexpr):
    """The Jacobian of one coordinate, which row (r0, r1, r2) of the rotation makes, as columns (P, C).

    So many modes have columns; the translation's of this coordinate is number `shift`.
    """
    x, y, z = points
    p = tl.arange(0, P)[:, None]
    sx, sy, sz = scale * r0, scale * r1, scale * r2
    columns = tl.where(p < 6 + used, sx * modes[0] + sy * modes[1] + sz * modes[2], 0.0)
    columns = tl.where(p == 0, (r0 * x + r1 * y + r2 * z)[None, :], columns)
    columns = tl.where(p == 1, (y * sz - z * sy)[None, :], columns)
    columns = tl.where(p == 2, (z * sx - x * sz)[None, :], columns)
    columns = tl.where(p == 3, (x * sy - y * sx)[None, :], columns)
    return tl.where(p == shift, 1.0, columns)


@triton.jit
def step_pose(pose, step):
    """The pose after a step (P,), as `PosedShape.step` takes it."""
    p = tl.arange(0, step.shape[0])
    x, y, z = at(step, p, 1), at(step, p, 2), at(step, p, 3)
    first, second = turn(pose[3], pose[4], pose[5], x, y, z), turn(pose[6], pose[7], pose[8], x, y, z)
    rotation = first + second + turn(pose[9], pose[10], pose[11], x, y, z)
    return (pose[0] + at(step, p, 0), pose[1] + at(step, p, 4), pose[2] + at(step, p, 5)) + rotation


@triton.jit
def load_pose(scale, euler, translation):
    """The pose in these places."""
    rotation = to_matrix(tl.load(euler), tl.load(euler + 1), tl.load(euler + 2))
    return (tl.load(scale), tl.load(translation), tl.load(translation + 1)) + rotation


@triton.jit
def store_pose(pose, scale, euler, translation):
    """The other way round."""
    x, y, z = to_euler((pose[3], pose[4], pose[5], pose[6], pose[7], pose[8], pose[9], pose[10], pose[11]))
    tl.store(scale, pose[0])
    tl.store(euler, x)
    tl.store(euler + 1, y)
    tl.store(euler + 2, z)
    tl.store(translation, pose[1])
    tl.store(translation + 1, pose[2])
