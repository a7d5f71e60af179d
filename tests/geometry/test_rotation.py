"""`clnf_torch.geometry.rotation`: conventions, round trips, and the closest rotation against a singular value decomposition."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.geometry.rotation import cross_matrix, euler_to_matrix, matrix_to_euler, small_turn_to_matrix

SHAPES = [(3,), (0, 3), (1, 3), (5, 3), (2, 4, 3)]


def angles(rng, *shape):
    """Head rotations short of the gimbal lock."""
    return 2.4 * (torch.rand(*shape, 3, generator=rng, dtype=torch.float64) - 0.5)


def about(axis: int, angle: float) -> torch.Tensor:
    """An elementary rotation, from the textbook."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[i, i] = matrix[j, j] = math.cos(angle)
    matrix[i, j], matrix[j, i] = -math.sin(angle), math.sin(angle)
    return matrix


def test_euler_angles_turn_about_x_then_y_then_z(rng):
    euler = angles(rng, 6)
    expected = torch.stack([about(0, x) @ about(1, y) @ about(2, z) for x, y, z in euler.tolist()])
    torch.testing.assert_close(euler_to_matrix(euler), expected)


def test_round_trip(rng):
    euler = angles(rng, 200)
    torch.testing.assert_close(matrix_to_euler(euler_to_matrix(euler)), euler)


@pytest.mark.parametrize("axis", range(3))
def test_round_trip_about_one_axis_nearly_to_a_half_turn(axis):
    limit = 1.57 if axis == 1 else 3.1
    euler = torch.zeros(41, 3, dtype=torch.float64)
    euler[:, axis] = torch.linspace(-limit, limit, 41, dtype=torch.float64)
    torch.testing.assert_close(matrix_to_euler(euler_to_matrix(euler)), euler, atol=1e-6, rtol=0)


def test_a_half_turn_is_not_a_number():
    assert matrix_to_euler(torch.diag(torch.tensor([1.0, -1.0, -1.0]))).isnan().any()


def test_cross_matrix(rng):
    v, u = torch.randn(2, 7, 3, generator=rng, dtype=torch.float64)
    torch.testing.assert_close((cross_matrix(v) @ u[..., None]).squeeze(-1), torch.linalg.cross(v, u))


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-3, 0.3, 2.0])
def test_small_turn_is_the_rotation_closest_to_identity_plus_cross(rng, size):
    turn = size * torch.randn(20, 3, generator=rng, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(torch.eye(3, dtype=torch.float64) + cross_matrix(turn))
    torch.testing.assert_close(small_turn_to_matrix(turn), u @ vh)


def test_small_turn_is_a_rotation(rng):
    matrix = small_turn_to_matrix(3 * torch.randn(20, 3, generator=rng, dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(20, dtype=torch.float64))


@pytest.mark.parametrize("function", [euler_to_matrix, small_turn_to_matrix, cross_matrix])
@pytest.mark.parametrize("shape", SHAPES)
def test_shape_device_and_dtype(function, shape, device, dtype):
    matrix = function(torch.zeros(shape, device=device, dtype=dtype))
    assert matrix.shape == (*shape, 3) and matrix.dtype == dtype and matrix.device.type == device.type


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_of_euler_angles(shape, device, dtype):
    euler = matrix_to_euler(torch.eye(3, device=device, dtype=dtype).expand(*shape, 3))
    assert euler.shape == shape and euler.dtype == dtype and euler.device.type == device.type


def test_gradients(rng):
    euler = angles(rng, 3).requires_grad_()
    turn = torch.cat((torch.zeros(1, 3), torch.randn(2, 3, generator=rng))).double().requires_grad_()
    assert torch.autograd.gradcheck(euler_to_matrix, (euler,))
    assert torch.autograd.gradcheck(lambda e: matrix_to_euler(euler_to_matrix(e)), (euler,))
    assert torch.autograd.gradcheck(matrix_to_euler, (euler_to_matrix(euler).detach().requires_grad_(),))
    assert torch.autograd.gradcheck(small_turn_to_matrix, (turn,))
