"""`clnf_torch.fitting.mean_shift`: against a loop over cells, and what invisible landmarks get."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.fitting.mean_shift import UNSEEN, landmark_likelihoods, model_likelihood


def naive(response: list[list[float]], x: float, y: float, sigma: float) -> float:
    cells = range(len(response))
    return sum(response[i][j] * math.exp(-0.5 * ((y - i) ** 2 + (x - j) ** 2) / sigma**2) for i in cells for j in cells)


@pytest.mark.parametrize("window", [1, 3, 11])
def test_landmarks_cell_by_cell(rng, window):
    responses = torch.rand(2, 3, window, window, generator=rng, dtype=torch.float64)
    positions = (window + 4) * torch.rand(2, 3, 2, generator=rng, dtype=torch.float64) - 2  # not clamped
    visible = torch.tensor([[True, True, False], [False, True, True]])
    expected = [
        [naive(responses[b, n].tolist(), *positions[b, n].tolist(), 1.3) if visible[b, n] else UNSEEN for n in range(3)]
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
def test_batch_shape_device_and_dtype(rng, faces, device, dtype):
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


def test_gradients(rng):
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
