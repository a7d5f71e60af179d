"""Rotations of one head as loops: Euler angles and matrices, in float64 on the way."""

import math

import numpy as np

from clnf_torch.compilation.compiler import Array, compiled_exactly


@compiled_exactly
def to_matrix(euler: Array, rotation: Array) -> None:
    """`euler_to_matrix` of angles (3,) into (3, 3)."""
    x, y, z = np.float64(euler[0]), np.float64(euler[1]), np.float64(euler[2])
    sx, sy, sz, cx, cy, cz = math.sin(x), math.sin(y), math.sin(z), math.cos(x), math.cos(y), math.cos(z)
    rotation[0, 0], rotation[0, 1], rotation[0, 2] = cy * cz, -cy * sz, sy
    rotation[1, 0], rotation[1, 1], rotation[1, 2] = cx * sz + cz * sx * sy, cx * cz - sx * sy * sz, -cy * sx
    rotation[2, 0], rotation[2, 1], rotation[2, 2] = sx * sz - cz * cx * sy, cz * sx + cx * sy * sz, cx * cy


@compiled_exactly
def to_euler(rotation: Array, euler: Array) -> None:
    """`PosedShape.params` of a rotation (3, 3) into angles (3,): all of them 0 where one is not a number."""
    q0 = math.sqrt(1.0 + rotation[0, 0] + rotation[1, 1] + rotation[2, 2]) / 2
    q1, q2, q3 = rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]
    q1, q2, q3 = q1 / (4 * q0), q2 / (4 * q0), q3 / (4 * q0)
    q00, q11, q22, q33 = q0 * q0, q1 * q1, q2 * q2, q3 * q3
    x = math.atan2(2 * (q0 * q1 - q2 * q3), q00 - q11 - q22 + q33)
    y = math.asin(min(max(2 * (q0 * q2 + q1 * q3), -1.0), 1.0))
    z = math.atan2(2 * (q0 * q3 - q1 * q2), q00 + q11 - q22 - q33)
    euler[0], euler[1], euler[2] = x, y, z
    if math.isnan(x) or math.isnan(y) or math.isnan(z):
        euler[0], euler[1], euler[2] = 0, 0, 0
