"""The search of one face for the parameters of given landmarks."""

import triton
import triton.language as tl

from clnf_torch.fitting import initialise
from clnf_torch.fitting.kernels.cuda.equations import add_landmarks, add_prior, solve
from clnf_torch.fitting.kernels.cuda.shape import (
    linearise,
    load_pose,
    modes_at,
    points_of,
    project,
    step_pose,
    store_pose,
)

DAMPING: tl.constexpr = tl.constexpr(initialise.DAMPING)
MAX_STEPS: tl.constexpr = tl.constexpr(initialise.MAX_STEPS)
SLOW_STEPS: tl.constexpr = tl.constexpr(initialise.SLOW_STEPS)


@triton.jit(do_not_specialize=["landmarks", "count"])
def search_landmarks(
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
    # Where the landmarks are, pixels, and which of them count
    target,
    weight,
    # What becomes of them
    new_scale,
    new_euler,
    new_translation,
    new_local,
    # Parameters and landmarks at once: powers of two
    P: tl.constexpr,
    C: tl.constexpr,
):
    """The steps of `params_from_landmarks` for the face of this program."""
    face = tl.program_id(0).to(tl.int64)
    p = tl.arange(0, P)
    shaped = (p >= 6) & (p < 6 + count)
    precision = tl.where(shaped, tl.div_rn(1.0, tl.load(variances + p - 6, mask=shaped, other=1.0)), 0.0)
    pose = load_pose(scale + face, euler + 3 * face, translation + 2 * face)
    shape = tl.load(local + face * count + p - 6, mask=shaped, other=0.0)
    model = mean, modes, landmarks, count
    wanted = target + 2 * face * landmarks, weight + face * landmarks
    error = distance(model, pose, shape, wanted, P, C)
    slow, steps = 0, 0
    while (slow < SLOW_STEPS) & (steps < MAX_STEPS):
        hessian, right = equations(model, pose, shape, wanted, P, C)
        hessian, right = add_prior(hessian, right, precision, shape)
        step = DAMPING * solve(hessian, right, 6 + count)
        pose = step_pose(pose, step)
        # With the new pose, but the shape from before the step, as there
        following = distance(model, pose, shape, wanted, P, C)
        shape = shape + tl.where(shaped, step, 0.0)
        slow += tl.where(following < 0.999 * error, 0, 1)
        error = following
        steps += 1
    store_pose(pose, new_scale + face, new_euler + 3 * face, new_translation + 2 * face)
    tl.store(new_local + face * count + p - 6, shape, mask=shaped)


@triton.jit
def equations(model, pose, local, wanted, P: tl.constexpr, C: tl.constexpr):
    """Both sides of the normal equations, (P, P) and (P,), without prior."""
    hessian, right = tl.zeros((P, P), tl.float32), tl.zeros((P,), tl.float32)
    for first in range(0, model[2], C):
        i = first + tl.arange(0, C)
        modes = modes_at(model, i, P)
        points = points_of(model, i, local, modes)
        missing_x, missing_y, weight = missing(pose, points, wanted, i, i < model[2])
        by_x = linearise(pose[0], pose[3], pose[4], pose[5], points, modes, model[3], 4, P)
        hessian, right = add_landmarks(hessian, right, by_x, weight, missing_x)
        by_y = linearise(pose[0], pose[6], pose[7], pose[8], points, modes, model[3], 5, P)
        hessian, right = add_landmarks(hessian, right, by_y, weight, missing_y)
    return hessian, right


@triton.jit
def distance(model, pose, local, wanted, P: tl.constexpr, C: tl.constexpr):
    """Euclidean norm of the known landmarks' differences from where they should be, over all coordinates."""
    total = tl.zeros((C,), tl.float32)
    for first in range(0, model[2], C):
        i = first + tl.arange(0, C)
        points = points_of(model, i, local, modes_at(model, i, P))
        missing_x, missing_y, weight = missing(pose, points, wanted, i, i < model[2])
        total += (missing_x * missing_x + missing_y * missing_y) * weight
    return tl.sqrt_rn(tl.sum(total, axis=0))


@triton.jit
def missing(pose, points, wanted, i, seen):
    """What points lack of where they should be, pixels, as x and y, and how much they count."""
    x, y = project(pose, points)
    target_x = tl.load(wanted[0] + 2 * i, mask=seen, other=0.0)
    target_y = tl.load(wanted[0] + 2 * i + 1, mask=seen, other=0.0)
    return target_x - x, target_y - y, tl.load(wanted[1] + i, mask=seen, other=0.0)
