"""Rotations of the head: Euler angles, matrices and small turns, in OpenFace's convention R = Rx(rx) Ry(ry) Rz(rz)."""

import torch
from torch import Tensor


def euler_to_matrix(euler: Tensor) -> Tensor:
    """Rotation matrices of Euler angles.

    Args:
        euler: Angles (rx, ry, rz) in radians, shape (..., 3).

    Returns:
        Matrices, shape (..., 3, 3).

    Source:
        OpenFace ``Euler2RotationMatrix``.
    """
    (sx, sy, sz), (cx, cy, cz) = euler.sin().unbind(-1), euler.cos().unbind(-1)
    cx_sy, sx_sy = cx * sy, sx * sy
    rows = (cy * cz, -cy * sz, sy,
            cx * sz + cz * sx_sy, cx * cz - sx_sy * sz, -cy * sx,
            sx * sz - cz * cx_sy, cz * sx + cx_sy * sz, cx * cy)  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_euler(matrix: Tensor) -> Tensor:
    """Euler angles of rotation matrices, by way of the unit quaternion.

    Args:
        matrix: Rotations, shape (..., 3, 3).

    Returns:
        Angles (rx, ry, rz) in radians, shape (..., 3); NaN at a half turn, where the quaternion's first part is 0.

    Source:
        OpenFace ``RotationMatrix2Euler``.
    """
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
    q0 = (1 + trace).sqrt() / 2
    opposite = (matrix - matrix.mT) / (4 * q0[..., None, None])
    q1, q2, q3 = opposite[..., 2, 1], opposite[..., 0, 2], opposite[..., 1, 0]
    q00, q11, q22, q33 = q0 * q0, q1 * q1, q2 * q2, q3 * q3
    return torch.stack(
        (
            _angle(2 * (q0 * q1 - q2 * q3), q00 - q11 - q22 + q33),
            (2 * (q0 * q2 + q1 * q3)).clamp(-1, 1).asin(),
            _angle(2 * (q0 * q3 - q1 * q2), q00 + q11 - q22 - q33),
        ),
        dim=-1,
    )


def _angle(y: Tensor, x: Tensor) -> Tensor:
    """``torch.atan2``, in float64 so that it rounds the same wherever in its tensor a number stands."""
    return torch.atan2(y.double(), x.double()).to(y.dtype)


def turn(rotation: Tensor, angles: Tensor) -> Tensor:
    """Rotations, multiplied on the right by the rotations closest to I + [w]x.

    The closest rotation turns about w by atan(|w|). With c = cos atan|w| = 1 / sqrt(1 + |w|^2), Rodrigues' formula
    makes it I + c [w]x + c^2 / (1 + c) [w]x^2, which is smooth at w = 0 and needs no singular value decomposition. The
    rows of R [w]x are those of R, crossed with w.

    Args:
        rotation: Rotations R, shape (..., 3, 3).
        angles: Small turns w in radians, shape (..., 3).

    Returns:
        Rotations, shape (..., 3, 3); R itself, to the last bit, where w is 0.

    Source:
        OpenFace ``Orthonormalise`` as ``PDM::UpdateModelParameters`` uses it.
    """
    axis = angles[..., None, :]
    cosine = (1 + axis.square().sum(-1, keepdim=True)).rsqrt()
    crossed = torch.linalg.cross(rotation, axis) * cosine
    return rotation + crossed + torch.linalg.cross(crossed, axis) * (cosine / (1 + cosine))
