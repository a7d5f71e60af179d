"""Pyramids: the image itself where it is sharp enough, ramps exactly, fine patterns smoothed away."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry import pyramid
from clnf_torch.geometry.pyramid import Pyramid, halve
from tests.factories import make_images, seeded


def zoomed(step: float, left: float = 20.0, top: float = 30.0) -> Tensor:
    """The map of one window (1, 1, 2, 3) whose pixels lie a step apart in the image."""
    return torch.tensor([[[[step, 0.0, left], [0.0, step, top]]]], dtype=torch.float64)


def test_small_faces_are_read_from_the_image_itself(device, dtype):
    images = make_images(2, 90, 100).to(device, dtype)
    image_index = torch.tensor([1, 0, 1], device=device)
    landmarks = 90 * torch.rand(3, 4, 2, generator=seeded(1), dtype=torch.float64).to(device, dtype)
    to_image = torch.eye(2, device=device, dtype=dtype) * torch.tensor([0.4, 1.0, 1.9], device=device)[:, None, None]
    cut = ImageBatch(images, image_index)
    torch.testing.assert_close(
        cut.cut_smooth_areas(landmarks, to_image.to(dtype), 9), cut.cut_areas(landmarks, to_image.to(dtype), 9, False)
    )


def test_a_ramp_is_a_ramp_in_every_size():
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(240.0), indexing="ij")
    ramp = (0.5 * x + 0.3 * y).double()[None]
    for step in (1.0, 2.0, 3.7, 8.0):
        window = Pyramid.of(ramp).read(torch.tensor([0]), zoomed(step), 12)[0, 0]
        steps = step * torch.arange(12, dtype=torch.float64)
        expected = 0.5 * (20 + steps) + 0.3 * (30 + steps)[:, None]
        torch.testing.assert_close(window, expected)


def test_patterns_finer_than_a_window_pixel_are_averaged():
    board = torch.tensor([[0, 200], [200, 0]], dtype=torch.uint8).repeat(60, 60)[None]
    window = Pyramid.of(board).read(torch.tensor([0]), zoomed(4.0).float(), 10)
    torch.testing.assert_close(window, torch.full_like(window, 100))


def test_outside_is_black_in_every_size():
    white = torch.full((1, 80, 80), 255, dtype=torch.uint8)
    window = Pyramid.of(white).read(torch.tensor([0]), zoomed(4.0, left=-400.0).float(), 8)
    assert not window.any()


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_compiled_loops_read_the_same(monkeypatch, kind):
    pytest.importorskip("numba", reason="the compiled loops need numba")
    rng, loops = seeded(3), pyramid.load_kernels("clnf_torch.geometry.kernels.cpu.pyramids")
    sizes = Pyramid.of((255 * torch.rand(2, 100, 130, generator=rng)).to(kind))
    matrix = torch.randn(40, 2, 2, 3, generator=rng) * torch.tensor([3.0, 3.0, 60.0])
    matrix[0, 0, 0, 0], matrix[1, 1, 1, 2], matrix[2] = torch.nan, torch.inf, 0
    index = torch.arange(40) % 2
    found = sizes.read(index, matrix, 8)
    monkeypatch.setattr(pyramid, "load_kernels", lambda module: None)
    torch.testing.assert_close(found, sizes.read(index, matrix, 8), atol=2e-2, rtol=0, equal_nan=True)
    assert loops is not None and len(sizes._level(matrix).unique()) >= 3


def test_gradients_reach_the_image():
    image = make_images(1, 70, 70).requires_grad_()
    matrix = zoomed(3.0, 5.0, 6.0)
    assert torch.autograd.gradcheck(lambda p: Pyramid.of(p).read(torch.tensor([0]), matrix, 4), (image,))


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
def test_halved_pixels_are_means_of_four(kind):
    images = torch.tensor([[[0, 1, 9], [1, 1, 9], [9, 9, 9]], [[10, 20, 9], [31, 41, 9], [9, 9, 9]]]).to(kind)
    found = halve(images)
    assert found.dtype == kind and found.shape == (2, 1, 1)
    assert found.flatten().tolist() == ([1, 26] if kind == torch.uint8 else [0.75, 25.5])
