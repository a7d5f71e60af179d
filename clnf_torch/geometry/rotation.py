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
    # Sine and cosine of each angle, and both of one times both of another: few operations
    x, y, z = torch.stack((euler.sin(), euler.cos()), -1).unbind(-2)
    xy, xz, yz = _products(x, y), _products(x, z), _products(y, z)
    _, sx_cy, _, cx_cy = _entries(xy)
    sx_sz, sx_cz, cx_sz, cx_cz = _entries(xz)
    _, _, cy_sz, cy_cz = _entries(yz)
    sx_sy_sz, sx_sy_cz, cx_sy_sz, cx_sy_cz = _entries(_products(xy[..., 0], z))
    rows = (cy_cz, -cy_sz, y[..., 0],
            cx_sz + sx_sy_cz, cx_cz - sx_sy_sz, -sx_cy,
            sx_sz - cx_sy_cz, sx_cz + cx_sy_sz, cx_cy)  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def _products(one: Tensor, other: Tensor) -> Tensor:
    """Each of two numbers times each of two others, (..., 2, 2), of pairs (..., 2)."""
    return one[..., None] * other[..., None, :]


def _entries(products: Tensor) -> tuple[Tensor, ...]:
    """The four entries (...) of matrices (..., 2, 2), row by row."""
    return products.flatten(-2).unbind(-1)


def matrix_to_euler(matrix: Tensor) -> Tensor:
    """Euler angles of rotation matrices, half turns among them.

    Args:
        matrix: Rotations, shape (..., 3, 3).

    Returns:
        Angles (rx, ry, rz) in radians, shape (..., 3); where ry is a quarter turn, rx and rz are about one axis, and
        neither is known.
    """
    rows = matrix.flatten(-2).unbind(-1)
    return torch.stack((angle_of(-rows[5], rows[8]), rows[2].clamp(-1, 1).asin(), angle_of(-rows[1], rows[0])), dim=-1)


def euler_by_quaternion(matrix: Tensor) -> Tensor:
    """Euler angles of rotation matrices, by way of the unit quaternion, as a fit has them.

    Args:
        matrix: Rotations, shape (..., 3, 3).

    Returns:
        Angles (rx, ry, rz) in radians, shape (..., 3); NaN at a half turn, where the quaternion's first part is 0, and
        inexact near one.

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
            angle_of(2 * (q0 * q1 - q2 * q3), q00 - q11 - q22 + q33),
            (2 * (q0 * q2 + q1 * q3)).clamp(-1, 1).asin(),
            angle_of(2 * (q0 * q3 - q1 * q2), q00 + q11 - q22 - q33),
        ),
        dim=-1,
    )


def rodrigues_to_matrix(vector: Tensor) -> Tensor:
    """Rotation matrices of Rodrigues vectors, rounded the same for one as among others, unlike ``matrix_exp``.

    Args:
        vector: Axes times angles, radians, shape (B, 3).

    Returns:
        Shape (B, 3, 3).

    Source:
        Rodrigues' formula: cos a I + sin a / a [v] + (1 - cos a) / a^2 v v', with the angle a = |v|.
    """
    angle = torch.linalg.vector_norm(vector, dim=-1)[:, None, None]
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    across = torch.linalg.cross(vector[:, None], identity[None]).mT
    # (1 - cos a) / a^2 = (sin(a/2) / (a/2))^2 / 2, which is exact for small angles too
    half = torch.sinc(angle / (2 * torch.pi))
    outer = vector[:, :, None] * vector[:, None]
    return angle.cos() * identity + torch.sinc(angle / torch.pi) * across + half.square() / 2 * outer


def angle_of(y: Tensor, x: Tensor) -> Tensor:
    """``torch.atan2``, which rounds the same wherever in its tensor a number stands.

    ``torch.atan2`` itself takes another routine for the last numbers of a tensor than for the others. That is lost when
    its float64 result is rounded to float32; numbers of float64 go by way of ``torch.atan``.

    Args:
        y: Any shape.
        x: The same, or one that broadcasts with it.

    Returns:
        Angles in radians; 0 where both are 0.
    """
    if y.dtype != torch.float64:
        return torch.atan2(y.double(), x.double()).to(y.dtype)
    steep = y.abs() > x.abs()
    rise, run = torch.where(steep, x, y), torch.where(steep, y, x)
    angle = (rise / torch.where(run == 0, 1, run)).atan()
    half_turn = y.new_full((), torch.pi).copysign(y)
    return torch.where(steep, half_turn / 2 - angle, torch.where(x < 0, angle + half_turn, angle))


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
