"""`clnf_torch.models.pdm`: the rotation as a matrix and back."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.rotation import euler_to_matrix, turn
from clnf_torch.models.pdm import PosedShape
from tests.factories import M, make_params


def test_there_and_back():
    params = make_params(5)
    back = PosedShape.of(params).params()
    torch.testing.assert_close(back.globals, params.globals)
    torch.testing.assert_close(back.local, params.local)


def test_a_half_turn_becomes_no_turn_in_its_row_alone():
    params = make_params(3)
    posed = PosedShape.of(params)
    posed.rotation[1] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    euler = posed.params().rotation
    assert euler[1].tolist() == [0, 0, 0]
    torch.testing.assert_close(euler[::2], params.rotation[::2])


@pytest.mark.parametrize("size", [6, 6 + M])
def test_a_step_adds_and_turns(rng, size):
    params = make_params(4)
    delta = 0.3 * torch.randn(4, size, generator=rng, dtype=torch.float64)
    stepped = PosedShape.of(params).step(delta)
    torch.testing.assert_close(stepped.scale, params.scale + delta[:, 0])
    torch.testing.assert_close(stepped.rotation, turn(euler_to_matrix(params.rotation), delta[:, 1:4]))
    torch.testing.assert_close(stepped.translation, params.translation + delta[:, 4:6])
    torch.testing.assert_close(stepped.local, params.local + delta[:, 6:] if size > 6 else params.local)


def test_many_small_steps_keep_a_rotation(rng):
    """The matrix is not made orthogonal again between steps; the search takes at most a few dozen."""
    posed = PosedShape.of(make_params(4, torch.float32))
    for _ in range(100):
        posed = posed.step(0.2 * torch.randn(4, 6, generator=rng))
    torch.testing.assert_close(posed.rotation @ posed.rotation.mT, torch.eye(3).expand(4, 3, 3), atol=2e-5, rtol=0)


def test_no_step_stays_to_the_last_bit():
    posed = PosedShape.of(make_params(4, torch.float32))
    stepped = posed.step(torch.zeros(4, 6 + M))
    assert all(torch.equal(a, b) for a, b in zip(vars(posed).values(), vars(stepped).values(), strict=True))
