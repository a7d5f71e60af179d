"""Photometric augmentation: random erasing, jitter, blur, JPEG compression; and what an ImageAugmentation does."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.training.augmentation.photometric import (
    NO_AUGMENTATION,
    ImageAugmentation,
    augment,
    blur,
    cut_off,
    jpeg_compression,
    photometric_jitter,
    random_erasing,
)
from clnf_torch.training.augmentation.random import Sampler
from tests.factories import make_images, seeded


def sampler(seed: int = 1) -> Sampler:
    return Sampler(seeded(seed), torch.device("cpu"))


def images(count: int = 12) -> torch.Tensor:
    return make_images(count, 64, 64).float()


def test_augmented_images_are_images():
    augmented = augment(images(), sampler())
    assert (
        augmented.shape == (12, 64, 64)
        and augmented.isfinite().all()
        and augmented.min() >= 0
        and augmented.max() <= 255
    )
    assert torch.equal(augmented, augment(images(), sampler()))
    assert not torch.equal(augmented, augment(images(), sampler(2)))


@pytest.mark.parametrize("change", [blur, cut_off, jpeg_compression, random_erasing])
def test_a_share_of_the_images_is_changed(change):
    before = images(200)
    changed = (change(before, sampler(), probability=0.3) - before).abs().amax((-2, -1)) > 1
    assert 0.15 < changed.float().mean() < 0.45


def test_blur_takes_contrast_and_keeps_light():
    before = images()
    after = blur(before, sampler(), probability=1.0)
    assert (after.std((-2, -1)) < before.std((-2, -1))).all()
    torch.testing.assert_close(after.mean((-2, -1)), before.mean((-2, -1)), rtol=0, atol=4)


def test_compression_is_a_projection():
    """Frequencies that were rounded once are round."""
    once = jpeg_compression(images(), sampler(), probability=1.0)
    torch.testing.assert_close(jpeg_compression(once, sampler(), probability=1.0), once, rtol=0, atol=0.05)


def test_brighter_stays_brighter():
    """Along a line across which the light does not change, gray levels keep their order."""
    steps = torch.arange(16.0) * 16
    ramps = steps.repeat_interleave(4).repeat(64, 1).expand(40, 64, 64)
    lit = photometric_jitter(ramps, sampler())
    falls = lit.diff(dim=-1).amin((-2, -1))
    assert (falls > -6).sum() >= 30  # lights from the side make some images darker to the right
    assert lit.min() >= 0 and lit.max() <= 255


def test_pen_marks_lie_on_the_faces(rng):
    landmarks = 30 + 36 * torch.rand(3, 68, 2, generator=rng)
    gray = torch.full((3, 96, 96), 150.0)
    marked = ImageAugmentation(photometric=False, pen_marks=1.0)(gray, landmarks, sampler())
    assert (marked != gray).flatten(1).any(1).all() and torch.equal(NO_AUGMENTATION(gray, landmarks, sampler()), gray)


def test_an_image_that_is_cut_off_is_black_on_one_side_of_a_line_and_as_it_was_on_the_other():
    light = torch.full((200, 64, 64), 150.0)
    cut = cut_off(light, sampler(), probability=1.0)
    columns, rows = (cut == 0).all(1), (cut == 0).all(2)
    assert torch.equal(cut == 0, torch.where(columns.any(1)[:, None, None], columns[:, None], rows[:, :, None]))
    black = torch.where(columns.any(1, keepdim=True), columns, rows)
    # One edge of the image alone, each of the four now and then, and never most of the image
    assert ((black.diff(dim=1) != 0).sum(1) == 1).all() and (black[:, 0] != black[:, -1]).all()
    sides = torch.stack((columns[:, 0], columns[:, -1], rows[:, 0], rows[:, -1])).sum(1)
    assert (sides > 25).all() and black.float().mean(1).max() <= 0.7


def test_light_and_noise_do_not_reach_beyond_the_edge_of_an_image():
    gray, landmarks = torch.full((40, 96, 96), 150.0), torch.zeros(40, 68, 2)
    cut = ImageAugmentation(cut_off=1.0)(gray, landmarks, sampler())
    assert ((cut == 0).all(1).any(1) | (cut == 0).all(2).any(1)).all()
