"""`clnf_torch.models.pdm`: projection, the Jacobian against autograd, steps and clamps."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.geometry.rotation import euler_to_matrix, turn
from clnf_torch.models.pdm import PDM, ShapeParams
from tests.factories import M, N, make_params, make_pdm


def test_points_and_landmarks_point_by_point():
    pdm, params = make_pdm(), make_params(3)
    points, landmarks = pdm.points(params.local), pdm.landmarks(params)
    for b in range(3):
        rotation = euler_to_matrix(params.rotation[b])
        for i in range(N):
            point = pdm.mean[i] + sum(params.local[b, j] * pdm.modes[j, i] for j in range(M))
            torch.testing.assert_close(points[b, i], point)
            seen = params.scale[b] * (rotation @ point)[:2] + params.translation[b]
            torch.testing.assert_close(landmarks[b, i], seen)


@pytest.mark.parametrize("rigid", [True, False])
def test_jacobian_matches_autograd(rigid):
    pdm, params = make_pdm(), make_params(4)
    size = 6 if rigid else 6 + M
    landmarks, jacobian = pdm.landmarks_and_jacobian(params, rigid)
    assert jacobian.shape == (4, 2, N, size)
    torch.testing.assert_close(landmarks, pdm.landmarks(params))
    for b in range(4):
        row = params[b : b + 1]
        expected = torch.func.jacrev(lambda d, row=row: pdm.landmarks(pdm.step(row, d[None]))[0])(
            torch.zeros(size, dtype=torch.float64)
        )
        torch.testing.assert_close(jacobian[b], expected.transpose(0, 1))


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_batch_shape_device_and_dtype(faces, device, dtype):
    pdm, params = make_pdm(dtype).to(device), make_params(faces, dtype)
    params = ShapeParams(*(value.to(device) for value in vars(params).values()))
    together, jacobian = pdm.landmarks_and_jacobian(params, rigid=False)
    assert together.shape == (faces, N, 2) and together.dtype == dtype and together.device.type == device.type
    for i in range(faces):
        alone, alone_jacobian = pdm.landmarks_and_jacobian(params[i : i + 1], rigid=False)
        torch.testing.assert_close(alone[0], together[i])
        torch.testing.assert_close(alone_jacobian[0], jacobian[i])


def test_step_adds_and_turns_on_the_right():
    pdm, params = make_pdm(), make_params(3)
    delta = 0.2 * torch.randn(3, 6 + M, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    stepped = pdm.step(params, delta)
    torch.testing.assert_close(stepped.scale, params.scale + delta[:, 0])
    torch.testing.assert_close(stepped.translation, params.translation + delta[:, 4:6])
    torch.testing.assert_close(stepped.local, params.local + delta[:, 6:])
    expected = turn(euler_to_matrix(params.rotation), delta[:, 1:4])
    torch.testing.assert_close(euler_to_matrix(stepped.rotation), expected)


def test_rigid_step_keeps_the_shape():
    pdm, params = make_pdm(), make_params(3)
    assert pdm.step(params, torch.ones(3, 6, dtype=torch.float64)).local is params.local


def test_zero_step_stays():
    pdm, params = make_pdm(), make_params(6)
    stepped = pdm.step(params, torch.zeros(6, 6 + M, dtype=torch.float64))
    torch.testing.assert_close(stepped.globals, params.globals)


def test_angles_that_are_no_numbers_become_zero_in_their_row_alone():
    pdm, params = make_pdm(), make_params(3)
    params.rotation[1] = math.nan
    stepped = pdm.step(params, torch.zeros(3, 6, dtype=torch.float64))
    assert stepped.rotation[1].tolist() == [0, 0, 0]
    torch.testing.assert_close(stepped.rotation[::2], params.rotation[::2])


def test_clamp_holds_the_shape_within_three_deviations():
    local = torch.tensor([[100.0, -100.0], [1.0, 2.0]], dtype=torch.float64)
    limits = [3 * math.sqrt(40), -3 * math.sqrt(15)]
    torch.testing.assert_close(make_pdm().clamp(local), torch.tensor([limits, [1.0, 2.0]], dtype=torch.float64))


def test_reference_landmarks_are_the_upright_face():
    pdm, params = make_pdm(), make_params(3)
    zero = torch.zeros(3, 3, dtype=torch.float64)
    upright = ShapeParams(torch.full((3,), 0.25, dtype=torch.float64), zero, zero[:, :2], params.local)
    torch.testing.assert_close(pdm.reference_landmarks(params.local, 0.25), pdm.landmarks(upright))


def test_gradients_of_parameters_and_model():
    pdm, params = make_pdm(), make_params(2)
    learned = [value.detach().clone().requires_grad_() for value in (pdm.mean, pdm.modes)]
    values = [value.clone().requires_grad_() for value in vars(params).values()]
    delta = (0.1 * torch.randn(2, 6 + M, generator=torch.Generator().manual_seed(0))).double().requires_grad_()

    def run(mean, modes, delta, *values):
        own = {"mean": mean, "modes": modes}
        return torch.func.functional_call(Stepped(pdm), {f"pdm.{k}": v for k, v in own.items()}, (values, delta))

    assert torch.autograd.gradcheck(run, (*learned, delta, *values))


class Stepped(torch.nn.Module):
    """Landmarks and Jacobian after a step, for `functional_call`."""

    def __init__(self, pdm):
        super().__init__()
        self.pdm = pdm

    def forward(self, values, delta):
        return self.pdm.landmarks_and_jacobian(self.pdm.step(ShapeParams(*values), delta), rigid=False)


@pytest.mark.parametrize(
    ("mean", "modes", "variances"), [((5, 2), (2, 5, 2), (2,)), ((5, 3), (2, 4, 3), (2,)), ((5, 3), (2, 5, 3), (3,))]
)
def test_shapes_that_do_not_belong_together_are_refused(mean, modes, variances):
    with pytest.raises(ValueError, match=r"do not belong together; expected \(N, 3\), \(M, N, 3\) and \(M,\)"):
        PDM(torch.zeros(mean), torch.zeros(modes), torch.zeros(variances))
