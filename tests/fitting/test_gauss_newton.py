"""`clnf_torch.fitting.gauss_newton`: the normal equations, and rows that cannot be solved."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.fitting.gauss_newton import gauss_newton_step, normal_equations, solve
from tests.factories import N
from tests.transfers import count_transfers


def systems(rng, faces: int, size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive definite matrices and right sides."""
    root = torch.randn(faces, size, size, generator=rng, dtype=torch.float64)
    return root @ root.mT + torch.eye(size), torch.randn(faces, size, generator=rng, dtype=torch.float64)


def spoil(hessian: torch.Tensor, right: torch.Tensor, how: str) -> None:
    """Make row 1 unsolvable."""
    if how == "singular":
        hessian[1] = 0
    elif how == "indefinite":
        hessian[1, 0, 0] = -1
    elif how == "right":
        right[1, 2] = math.nan
    else:
        hessian[1, 3, 2] = hessian[1, 2, 3] = float(how)


def test_normal_equations_of_stacked_coordinates(rng):
    jacobian = torch.randn(3, 2, N, 8, generator=rng, dtype=torch.float64)
    weight = torch.rand(3, N, generator=rng, dtype=torch.float64)
    shift = torch.randn(3, N, 2, generator=rng, dtype=torch.float64)
    hessian, right = normal_equations(jacobian, weight, shift)
    for b in range(3):
        stacked = torch.cat((jacobian[b, 0], jacobian[b, 1]))
        diagonal = torch.diag(torch.cat((weight[b], weight[b])))
        torch.testing.assert_close(hessian[b], stacked.T @ diagonal @ stacked)
        torch.testing.assert_close(right[b], stacked.T @ diagonal @ torch.cat((shift[b, :, 0], shift[b, :, 1])))


def test_weight_zero_leaves_a_landmark_out(rng):
    jacobian = torch.randn(1, 2, N, 6, generator=rng, dtype=torch.float64)
    shift = torch.randn(1, N, 2, generator=rng, dtype=torch.float64)
    weight = torch.tensor([[1.0, 0.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    kept = [0, 2, 3, 4]
    expected = normal_equations(jacobian[:, :, kept], weight[:, kept], shift[:, kept])
    for found, wanted in zip(normal_equations(jacobian, weight, shift), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_regularised_step_is_the_minimum_of_the_residuals_and_the_prior(rng, rows):
    """Of a quadratic the gradient vanishes after one step; the pose has no prior."""
    jacobian, local = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((3, 2, N, 8), (3, 2)))
    weight, shift = (torch.rand(shape, generator=rng, dtype=torch.float64) for shape in ((3, N), (3, N, 2)))
    precision = 1 + torch.rand(rows, 2, generator=rng, dtype=torch.float64)

    def cost(step):
        left = shift - torch.einsum("bcnp,bp->bnc", jacobian, step)
        prior = precision * (local + step[:, 6:]).square()
        return (weight[..., None] * left.square()).sum() + prior.sum()

    step = gauss_newton_step(jacobian, weight, shift, precision, local)
    torch.testing.assert_close(torch.func.grad(cost)(step), torch.zeros_like(step), atol=1e-9, rtol=0)


def test_a_step_without_a_prior_solves_the_normal_equations(rng):
    jacobian = torch.randn(3, 2, N, 6, generator=rng, dtype=torch.float64)
    weight, shift = (torch.rand(shape, generator=rng, dtype=torch.float64) for shape in ((3, N), (3, N, 2)))
    expected = solve(*normal_equations(jacobian, weight, shift))
    assert torch.equal(gauss_newton_step(jacobian, weight, shift), expected)


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_solves(rng, faces, device, dtype):
    hessian, right = (value.to(device, dtype) for value in systems(rng, faces))
    steps = solve(hessian, right)
    assert steps.shape == (faces, 8) and steps.dtype == dtype and steps.device.type == device.type
    torch.testing.assert_close((hessian @ steps[..., None]).squeeze(-1), right, atol=1e-4, rtol=1e-3)
    for i in range(faces):
        torch.testing.assert_close(solve(hessian[i : i + 1], right[i : i + 1])[0], steps[i])


@pytest.mark.parametrize("how", ["singular", "indefinite", "right", "nan", "inf", "-inf"])
@pytest.mark.parametrize("gradient", [False, True])
def test_an_unsolvable_row_stays_still_and_spares_the_others(rng, how, gradient):
    hessian, right = systems(rng, 4)
    expected = solve(hessian, right)
    spoil(hessian, right, how)
    steps = solve(hessian.requires_grad_(gradient), right)
    assert (steps[1] == 0).all()
    torch.testing.assert_close(steps[[0, 2, 3]], expected[[0, 2, 3]])


@pytest.mark.parametrize("how", ["singular", "indefinite", "nan", "inf"])
@pytest.mark.parametrize(("of_hessian", "of_right"), [(True, True), (True, False), (False, True)])
def test_an_unsolvable_row_sends_no_nan_back(rng, how, of_hessian, of_right):
    hessian, right = systems(rng, 3)
    spoil(hessian, right, how)
    hessian.requires_grad_(of_hessian)
    right.requires_grad_(of_right)
    solve(hessian, right).sum().backward()
    for value in (hessian, right):
        if value.requires_grad:
            assert (value.grad[1] == 0).all()
            assert value.grad[::2].isfinite().all() and value.grad[::2].abs().sum() > 0


def test_gradients(rng):
    root = torch.randn(2, 4, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    right = torch.randn(2, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: solve(a @ a.mT + torch.eye(4), b), (root, right))
    jacobian = torch.randn(2, 2, 3, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(2, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(2, 3, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(normal_equations, (jacobian, weight, shift))


@pytest.mark.parametrize("size", [6, 33, 40, 61, 62])
def test_a_row_is_solved_alone_as_among_others(rng, size):
    hessian, right = (values.float() for values in systems(rng, 8, size))
    together = solve(hessian, right)
    for row in range(8):
        assert torch.equal(solve(hessian[row : row + 1], right[row : row + 1]), together[row : row + 1])
    torch.testing.assert_close(together, torch.linalg.solve(hessian, right), atol=1e-4, rtol=1e-4)


def test_a_card_solves_with_cublas_alone():
    """MAGMA, which torch may take for batches of `cholesky_solve`, waits for the card: no fit can be captured."""
    hessian, right = torch.zeros(3, 8, 8, device="meta"), torch.zeros(3, 8, device="meta")
    operations = count_transfers(lambda: solve(hessian, right)).operations
    assert operations["linalg_solve_triangular"] == 2
    assert not [name for name in operations if name.startswith("cholesky_")]
