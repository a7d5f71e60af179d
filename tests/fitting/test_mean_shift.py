"""`clnf_torch.fitting.mean_shift`: against loops over cells, at the edges, on empty maps, and of hidden landmarks."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.fitting.mean_shift import UNSEEN, landmark_likelihoods, mean_shift, model_likelihood


def naive(response: list[list[float]], x: float, y: float, sigma: float, step: float | None) -> tuple[float, float]:
    """One landmark, cell by cell, as in section 5 of OpenFace's description."""
    window = len(response)
    x, y = (min(max(v, 0.0), window - 0.1) for v in (x, y))
    qx, qy = (v if step is None else round(v / step) * step for v in (x, y))
    total = sum_x = sum_y = 0.0
    for i in range(window):
        for j in range(window):
            v = response[i][j] * math.exp(-0.5 / sigma**2 * ((qy - i) ** 2 + (qx - j) ** 2))
            total, sum_x, sum_y = total + v, sum_x + v * j, sum_y + v * i
    return (sum_x / total - x, sum_y / total - y) if total > 0 else (0.0, 0.0)


@pytest.mark.parametrize("step", [None, 0.1])
@pytest.mark.parametrize("window", [1, 3, 5, 11])
def test_landmarks_cell_by_cell(rng, window, step):
    responses = torch.rand(3, 4, window, window, generator=rng, dtype=torch.float64)
    positions = (window + 4) * torch.rand(3, 4, 2, generator=rng, dtype=torch.float64) - 2  # some outside the map
    found = mean_shift(responses, positions, 1.3, step)
    expected = [
        [naive(responses[b, n].tolist(), *positions[b, n].tolist(), 1.3, step) for n in range(4)] for b in range(3)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("step", [None, 0.1])
def test_points_at_a_lone_peak(device, dtype, step):
    responses = torch.zeros(1, 1, 11, 11, device=device, dtype=dtype)
    responses[0, 0, 7, 4] = 1.0  # row 7 (y), column 4 (x)
    shift = mean_shift(responses, torch.tensor([[[5.5, 4.5]]], device=device, dtype=dtype), 2.0, step)
    assert shift.dtype == dtype and shift.device.type == device.type
    torch.testing.assert_close(shift, torch.tensor([[[-1.5, 2.5]]], device=device, dtype=dtype))


def test_a_landmark_outside_is_pulled_from_the_edge():
    responses = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    responses[0, 0, 2, 2] = 1.0
    positions = torch.tensor([[[-30.0, 99.0]]], dtype=torch.float64)
    for step in (None, 0.1):
        shift = mean_shift(responses, positions, 1.0, step)
        torch.testing.assert_close(shift, torch.tensor([[[2.0, 2 - 4.9]]], dtype=torch.float64))


@pytest.mark.parametrize("step", [None, 0.1])
def test_an_empty_map_does_not_pull_and_spares_the_others(rng, step):
    responses = torch.rand(2, 2, 5, 5, generator=rng, dtype=torch.float64)
    positions = 4 * torch.rand(2, 2, 2, generator=rng, dtype=torch.float64)
    expected = mean_shift(responses, positions, 1.0, step)
    responses[1, 0] = 0
    shift = mean_shift(responses, positions, 1.0, step)
    assert (shift[1, 0] == 0).all()
    torch.testing.assert_close(shift[0], expected[0])
    torch.testing.assert_close(shift[1, 1], expected[1, 1])


def test_the_kernel_moves_in_steps_but_the_shift_does_not(rng):
    """Two landmarks that round to one tenth look through the same kernel, so their targets agree."""
    responses = torch.rand(1, 1, 7, 7, generator=rng, dtype=torch.float64).expand(1, 2, 7, 7)
    positions = torch.tensor([[[3.02, 2.0], [2.97, 2.03]]], dtype=torch.float64)
    target = positions + mean_shift(responses, positions, 1.5, 0.1)
    torch.testing.assert_close(target[0, 0], target[0, 1])
    exact = positions + mean_shift(responses, positions, 1.5)
    assert (exact[0, 0] - exact[0, 1]).abs().max() > 1e-4


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_batch_and_shape(rng, faces):
    responses = torch.rand(faces, 3, 5, 5, generator=rng, dtype=torch.float64)
    positions = 4 * torch.rand(faces, 3, 2, generator=rng, dtype=torch.float64)
    together = mean_shift(responses, positions, 1.5)
    assert together.shape == (faces, 3, 2)
    for i in range(faces):
        torch.testing.assert_close(mean_shift(responses[i : i + 1], positions[i : i + 1], 1.5)[0], together[i])


def test_gradients(rng):
    responses = torch.rand(2, 3, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    positions = (0.5 + 3 * torch.rand(2, 3, 2, generator=rng, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda r, p: mean_shift(r, p, 1.5), (responses, positions))


def test_gradient_of_an_empty_map_is_finite():
    responses = torch.zeros(1, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    positions = torch.full((1, 1, 2), 2.2, dtype=torch.float64, requires_grad=True)
    mean_shift(responses, positions, 1.5).sum().backward()
    assert responses.grad.isfinite().all() and positions.grad.isfinite().all()


# Likelihoods


def naive_density(response: list[list[float]], x: float, y: float, sigma: float) -> float:
    cells = range(len(response))
    return sum(response[i][j] * math.exp(-0.5 * ((y - i) ** 2 + (x - j) ** 2) / sigma**2) for i in cells for j in cells)


@pytest.mark.parametrize("window", [1, 3, 11])
def test_likelihoods_cell_by_cell(rng, window):
    responses = torch.rand(2, 3, window, window, generator=rng, dtype=torch.float64)
    positions = (window + 4) * torch.rand(2, 3, 2, generator=rng, dtype=torch.float64) - 2  # not clamped
    visible = torch.tensor([[True, True, False], [False, True, True]])
    expected = [
        [
            naive_density(responses[b, n].tolist(), *positions[b, n].tolist(), 1.3) if visible[b, n] else UNSEEN
            for n in range(3)
        ]
        for b in range(2)
    ]
    likelihoods = landmark_likelihoods(responses, positions, visible, 1.3)
    torch.testing.assert_close(likelihoods, torch.tensor(expected, dtype=torch.float64))
    means = [sum(math.log(v + 1e-8) for v in row if v != UNSEEN) / 2 for row in expected]
    torch.testing.assert_close(model_likelihood(likelihoods, visible), torch.tensor(means, dtype=torch.float64))


def test_a_face_without_visible_landmarks_is_the_least_likely():
    likelihoods = torch.tensor([[UNSEEN, UNSEEN], [0.0, UNSEEN]])
    visible = torch.tensor([[False, False], [True, False]])
    found = model_likelihood(likelihoods, visible)
    assert found[0] == -math.inf
    torch.testing.assert_close(found[1], torch.tensor(math.log(1e-8)))


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_likelihoods_batch_shape_device_and_dtype(rng, faces, device, dtype):
    responses = torch.rand(faces, 3, 5, 5, generator=rng, dtype=torch.float64).to(device, dtype)
    positions = 4 * torch.rand(faces, 3, 2, generator=rng, dtype=torch.float64).to(device, dtype)
    visible = (torch.rand(faces, 3, generator=rng) > 0.3).to(device)
    likelihoods = landmark_likelihoods(responses, positions, visible, 1.5)
    whole = model_likelihood(likelihoods, visible)
    assert likelihoods.shape == (faces, 3) and whole.shape == (faces,)
    assert likelihoods.dtype == whole.dtype == dtype and whole.device.type == device.type
    for i in range(faces):
        row = slice(i, i + 1)
        alone = landmark_likelihoods(responses[row], positions[row], visible[row], 1.5)
        torch.testing.assert_close(alone[0], likelihoods[i])
        torch.testing.assert_close(model_likelihood(alone, visible[row])[0], whole[i])


def test_gradients_of_likelihoods(rng):
    responses = torch.rand(2, 3, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    positions = (4 * torch.rand(2, 3, 2, generator=rng, dtype=torch.float64)).requires_grad_()
    visible = torch.tensor([[True, True, False], [True, True, True]])

    def run(responses, positions):
        return model_likelihood(landmark_likelihoods(responses, positions, visible, 1.5), visible)

    assert torch.autograd.gradcheck(run, (responses, positions))


def test_invisible_landmarks_send_no_nan_back(rng):
    responses = torch.rand(1, 2, 5, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    visible = torch.zeros(1, 2, dtype=torch.bool)
    likelihoods = landmark_likelihoods(responses, torch.zeros(1, 2, 2, dtype=torch.float64), visible, 1.5)
    torch.where(visible.any(-1), model_likelihood(likelihoods, visible), 0).sum().backward()
    assert (responses.grad == 0).all()
