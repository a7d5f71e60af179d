"""Appearance descriptors: the same however the face is turned, lit and sized; others for other faces."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import interpolate

from clnf_torch.tracking import appearance
from clnf_torch.tracking.appearance import (
    PIXELS,
    appearance_descriptor,
    is_known,
    moving_average,
    normalised_cross_correlation,
    scene_descriptor,
)
from tests.factories import make_pdm

MEAN = make_pdm().mean


def world(seed: int) -> torch.Tensor:
    """A smooth image, float64, shape (200, 200)."""
    rough = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 200 * interpolate(rough, (200, 200), mode="bicubic")[0, 0].clamp(0, 1)


def face_at(x: float, y: float, scale: float = 1.0, angle: float = 0.0) -> torch.Tensor:
    """Landmarks (1, 5, 2) of an upright face that was turned."""
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    return (scale * MEAN[None, :, :2] @ turn.mT) + torch.tensor([x, y], dtype=torch.float64)


def descriptors(image: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
    return appearance_descriptor(
        image.to(torch.uint8)[None], torch.zeros(len(landmarks), dtype=torch.int64), landmarks, MEAN
    )


def test_a_vector_of_length_one_for_each_face():
    appearance = descriptors(world(0), torch.cat((face_at(80, 80), face_at(120, 100))))
    assert appearance.shape == (2, PIXELS) and appearance.dtype == torch.float64
    torch.testing.assert_close(appearance.norm(dim=1), torch.ones(2, dtype=torch.float64))
    assert normalised_cross_correlation(appearance, appearance)[0, 1] < 0.6


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotated_upright(quarters):
    image = world(1)
    x, y = 90.0, 110.0
    for _ in range(quarters):  # a quarter turn to the left takes (x, y) to (y, 199 - x)
        x, y = y, 199 - x
    turned = descriptors(image.rot90(quarters), face_at(x, y, angle=-quarters * math.pi / 2))
    torch.testing.assert_close(turned, descriptors(image, face_at(90, 110)), atol=1e-6, rtol=0)


def test_scaled_to_one_size():
    large = interpolate(world(2)[None, None], scale_factor=2, mode="bilinear")[0, 0]
    pair = descriptors(world(2), face_at(100, 100)), descriptors(large, face_at(200.5, 200.5, scale=2.0))
    assert normalised_cross_correlation(*pair).item() > 0.99


def test_illumination_and_contrast_do_not_count():
    image = world(3)
    dim = 0.5 * image + torch.linspace(0, 100, 200, dtype=torch.float64)  # lit from the right
    assert (
        normalised_cross_correlation(descriptors(image, face_at(100, 100)), descriptors(dim, face_at(100, 100))).item()
        > 0.95
    )


def test_faces_of_their_own_images_in_one_batch():
    images = torch.stack((world(4), world(5))).to(torch.uint8)
    both = appearance_descriptor(images, torch.tensor([1, 0]), face_at(90, 90).repeat(2, 1, 1), MEAN)
    alone = torch.cat([descriptors(world(seed), face_at(90, 90)) for seed in (5, 4)])
    torch.testing.assert_close(both, alone, rtol=0, atol=0)


@pytest.mark.parametrize("landmarks", [face_at(-500, 90), face_at(90, 90) * 0, face_at(90, 90) * torch.nan])
def test_nothing_is_known_of_invisible_faces(landmarks):
    appearance = descriptors(world(6), landmarks)
    assert not appearance.any() and not is_known(appearance).any()
    assert normalised_cross_correlation(appearance, descriptors(world(6), face_at(90, 90))).tolist() == [[0.0]]


def test_no_faces():
    assert descriptors(world(6), torch.zeros(0, 5, 2, dtype=torch.float64)).shape == (0, PIXELS)


def test_loops_agree_with_torch(monkeypatch, rng):
    """Faces inside, across the border, outside and unknown, in both images, one and several to a thread."""
    pytest.importorskip("numba", reason="the compiled loops need numba")
    images = torch.stack((world(9), world(10))).to(torch.uint8)
    turns = 6.3 * torch.rand(12, generator=rng, dtype=torch.float64)
    places, scales = 220 * torch.rand(12, 2, generator=rng), 0.5 + torch.rand(12, generator=rng)
    faces = [face_at(*place, scale, turn) for place, scale, turn in zip(places, scales.tolist(), turns, strict=True)]
    landmarks = torch.cat((*faces, face_at(-500, 90), 0 * faces[0], torch.nan * faces[0])).float()
    image_index = torch.arange(len(landmarks)) % 2
    found = appearance_descriptor(images, image_index, landmarks, MEAN.float())
    monkeypatch.setattr(appearance, "load_kernels", lambda module: None)
    expected = appearance_descriptor(images, image_index, landmarks, MEAN.float())
    assert expected.any(1).tolist() == [True] * 12 + [False] * 3
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [(0, 0), (5, 0), (0, 5)])
def test_nothing_is_known_of_scenes_without_pixels(size):
    found = scene_descriptor(torch.zeros(2, *size, dtype=torch.uint8))
    assert found.shape == (2, 256) and not found.any()


def test_exponential_moving_average():
    first, second = descriptors(world(7), face_at(90, 90)), descriptors(world(8), face_at(90, 90))
    mean = moving_average(torch.zeros_like(first), first)
    torch.testing.assert_close(mean, first)
    mean = moving_average(mean, second)
    torch.testing.assert_close(mean, 0.95 * first + 0.05 * second)
    assert normalised_cross_correlation(mean, first) > 0.99
    for _ in range(100):
        mean = moving_average(mean, second)
    assert normalised_cross_correlation(mean, second) > 0.99
