"""The shape model as loops: points, landmarks, their Jacobian, and a step of the parameters."""

import math

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32


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
def take_step(step: Array, used: int, shape: Arrays) -> None:
    """`PosedShape.step` of a step (P,) in place; the rotation as `turn` does it."""
    scale, rotation, translation, local = shape
    scale[0] += step[0]
    translation[0] += step[4]
    translation[1] += step[5]
    for k in range(used):
        local[k] += step[6 + k]
    x, y, z = step[1], step[2], step[3]
    cosine = f32(1) / f32(math.sqrt(f32(1) + x * x + y * y + z * z))
    twice = cosine / (f32(1) + cosine)
    for a in range(3):
        u, v, w = rotation[a]
        cu, cv, cw = (v * z - w * y) * cosine, (w * x - u * z) * cosine, (u * y - v * x) * cosine
        rotation[a, 0] = u + cu + (cv * z - cw * y) * twice
        rotation[a, 1] = v + cv + (cw * x - cu * z) * twice
        rotation[a, 2] = w + cw + (cu * y - cv * x) * twice
