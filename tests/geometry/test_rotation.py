"""`clnf_torch.geometry.rotation`: conventions, round trips, and small turns against a singular value decomposition."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.geometry.rotation import (
    angle_of,
    euler_by_quaternion,
    euler_to_matrix,
    matrix_to_euler,
    rodrigues_to_matrix,
    turn,
)

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


def test_a_half_turn_is_not_a_number_by_way_of_the_quaternion():
    assert euler_by_quaternion(torch.diag(torch.tensor([1.0, -1.0, -1.0]))).isnan().any()


@pytest.mark.parametrize("axes", [(0,), (2,), (0, 2)])
@pytest.mark.parametrize("short", [0.0, 1e-4, 1e-2])
def test_half_turns_have_angles(dtype, axes, short):
    """Of one axis, or of two; a head that is upside down, as in films of a turned camera, is one."""
    euler = torch.tensor([0.0, 0.2, 0.0], dtype=dtype)
    euler[list(axes)] = torch.pi - short
    matrix = euler_to_matrix(euler)
    found = matrix_to_euler(matrix)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    torch.testing.assert_close(euler_to_matrix(found), matrix, rtol=0, atol=tolerance)
    torch.testing.assert_close(found[1], euler[1], rtol=0, atol=tolerance)


def test_angles_by_way_of_the_quaternion_are_those_of_the_matrix(rng):
    matrix = euler_to_matrix(angles(rng, 200))
    torch.testing.assert_close(euler_by_quaternion(matrix), matrix_to_euler(matrix))


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-3, 0.3, 2.0])
def test_turns_by_the_rotation_closest_to_identity_plus_cross(rng, size):
    rotation = euler_to_matrix(angles(rng, 20))
    angle = size * torch.randn(20, 3, generator=rng, dtype=torch.float64)
    cross = torch.linalg.cross(angle[:, None], torch.eye(3, dtype=torch.float64)[None]).mT  # columns w x e_i
    u, _, vh = torch.linalg.svd(torch.eye(3, dtype=torch.float64) + cross)
    torch.testing.assert_close(turn(rotation, angle), rotation @ u @ vh)


def test_turned_rotations_are_rotations(rng):
    matrix = turn(euler_to_matrix(angles(rng, 20)), 3 * torch.randn(20, 3, generator=rng, dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(20, dtype=torch.float64))


def test_no_turn_stays(rng):
    rotation = euler_to_matrix(angles(rng, 5))
    torch.testing.assert_close(turn(rotation, torch.zeros(5, 3, dtype=torch.float64)), rotation)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_device_and_dtype(shape, device, dtype):
    euler = torch.zeros(shape, device=device, dtype=dtype)
    matrix = turn(euler_to_matrix(euler), euler)
    assert matrix.shape == (*shape, 3) and matrix_to_euler(matrix).shape == shape
    for result in (matrix, matrix_to_euler(matrix)):
        assert result.dtype == dtype and result.device.type == device.type


def test_gradients(rng):
    euler = angles(rng, 3).requires_grad_()
    angle = torch.cat((torch.zeros(1, 3), torch.randn(2, 3, generator=rng))).double().requires_grad_()
    rotation = euler_to_matrix(euler).detach().requires_grad_()
    assert torch.autograd.gradcheck(euler_to_matrix, (euler,))
    assert torch.autograd.gradcheck(matrix_to_euler, (rotation,))
    assert torch.autograd.gradcheck(euler_by_quaternion, (rotation,))
    assert torch.autograd.gradcheck(lambda e: matrix_to_euler(euler_to_matrix(e)), (euler,))
    assert torch.autograd.gradcheck(turn, (rotation, angle))


def test_an_angle_rounds_the_same_wherever_it_stands(rng):
    y, x = torch.randn(2, 1000, generator=rng, dtype=torch.float64)
    together = angle_of(y, x)
    alone = torch.cat([angle_of(y[row : row + 1], x[row : row + 1]) for row in range(1000)])
    assert torch.equal(alone, together)
    torch.testing.assert_close(together, torch.atan2(y, x), rtol=0, atol=1e-15)
    corners = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(
        angle_of(*torch.meshgrid(corners, corners, indexing="ij")), torch.atan2(corners[:, None], corners)
    )


def test_a_rodrigues_vector_turns_as_the_matrix_exponential_and_alone_as_among_others(rng):
    vectors = torch.randn(50, 3, generator=rng, dtype=torch.float64) * torch.logspace(-9, 0.4, 50)[:, None]
    vectors[0] = 0
    rotations = rodrigues_to_matrix(vectors)
    axes = torch.eye(3, dtype=torch.float64)
    exponential = torch.linalg.matrix_exp(torch.linalg.cross(vectors[:, None], axes[None]).mT)
    torch.testing.assert_close(rotations, exponential, rtol=0, atol=1e-14)
    assert torch.equal(torch.cat([rodrigues_to_matrix(vector[None]) for vector in vectors]), rotations)
