"""The shape model in a search, as loops: landmarks, their Jacobian, and a step of the parameters."""

import math

from clnf_torch.compilation.compiler import Array, Arrays, compiled, f32


@compiled
def linearise(modes: Array, points: Array, scale: float, rotation: Array, used: int, jacobian: Array) -> None:
    """The Jacobian of `PDM.landmarks_and_jacobian` with the columns of so many modes.

    Args:
        modes: Shape (3, N, M).
        points: Shape (3, N).
        scale: Pixels per millimetre.
        rotation: Shape (3, 3).
        used: So many modes: 0 or all.
        jacobian: Becomes the Jacobian, first of all x, then of all y, shape (2 N, P); the columns of the translation
            stay as they are.
    """
    count = points.shape[1]
    for a in range(2):
        u, v, w = rotation[a, 0], rotation[a, 1], rotation[a, 2]
        sx, sy, sz = scale * u, scale * v, scale * w
        for i in range(count):
            row, x, y, z = jacobian[a * count + i], points[0, i], points[1, i], points[2, i]
            row[0] = u * x + v * y + w * z
            row[1], row[2], row[3] = y * sz - z * sy, z * sx - x * sz, x * sy - y * sx
            for k in range(used):
                row[6 + k] = sx * modes[0, i, k] + sy * modes[1, i, k] + sz * modes[2, i, k]


@compiled
def project(jacobian: Array, scale: float, translation: Array, landmarks: Array) -> float:
    """Landmarks (2, N) in the image, and how far they are from those that stood there, over all coordinates."""
    moved, count = f32(0), landmarks.shape[1]
    for a in range(2):
        for i in range(count):
            value = scale * jacobian[a * count + i, 0] + translation[a]
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
