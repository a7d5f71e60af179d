"""`clnf_torch.geometry.similarity`: against known similarities and least squares."""

from __future__ import annotations

import math

import pytest
import torch

from clnf_torch.geometry.similarity import invert_similarity, similarity_between


def scaled_rotation(scale: float, angle: float) -> torch.Tensor:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


@pytest.mark.parametrize("angle", [0.0, 0.4, -1.3, 2.9])
@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0])
def test_recovers_a_similarity(rng, scale, angle):
    points = torch.randn(1, 9, 2, generator=rng, dtype=torch.float64)
    matrix = scaled_rotation(scale, angle)
    found = similarity_between(points, points @ matrix.mT + torch.tensor([7.0, -3.0]))
    torch.testing.assert_close(found[0], matrix)


def test_rotation_is_that_of_least_squares_and_scale_the_ratio_of_radii(rng):
    source, target = torch.randn(2, 4, 9, 2, generator=rng, dtype=torch.float64)
    found = similarity_between(source, target)
    for matrix, a, b in zip(found, source - source.mean(1, True), target - target.mean(1, True), strict=True):
        x, y = a.unbind(-1)
        columns = torch.stack((torch.stack((x, -y), -1), torch.stack((y, x), -1)), 1).flatten(0, 1)  # of (c, s)
        cosine, sine = torch.linalg.lstsq(columns, b.flatten()[:, None]).solution.squeeze(-1)
        radius = math.sqrt(b.square().sum() / a.square().sum())
        expected = torch.stack((cosine, -sine, sine, cosine)).view(2, 2) / torch.hypot(cosine, sine) * radius
        torch.testing.assert_close(matrix, expected)


def test_ignores_where_the_points_are(rng):
    source, target = torch.randn(2, 2, 6, 2, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(similarity_between(source + 100, target - 40), similarity_between(source, target))


def test_inverse(rng):
    source, target = torch.randn(2, 5, 6, 2, generator=rng, dtype=torch.float64)
    matrix = similarity_between(source, target)
    torch.testing.assert_close(invert_similarity(matrix), torch.linalg.inv(matrix))


@pytest.mark.parametrize("faces", [0, 1, 5])
def test_batch_shape_device_and_dtype(rng, faces, device, dtype):
    source, target = torch.randn(2, faces, 6, 2, generator=rng, dtype=torch.float64).to(device, dtype)
    together = similarity_between(source, target)
    assert together.shape == (faces, 2, 2) and together.dtype == dtype and together.device.type == device.type
    for i in range(faces):
        torch.testing.assert_close(similarity_between(source[i : i + 1], target[i : i + 1])[0], together[i])


def test_gradients(rng):
    points = [torch.randn(2, 5, 2, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(similarity_between, points)
    assert torch.autograd.gradcheck(lambda a, b: invert_similarity(similarity_between(a, b)), points)
