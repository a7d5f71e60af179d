"""What is done to images: markings where asked for, bad light where asked for, nothing otherwise."""

from __future__ import annotations

import torch

from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION, ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from tests.factories import seeded


def sampler() -> Sampler:
    return Sampler(seeded(1), torch.device("cpu"))


def test_markings_lie_on_the_faces(rng):
    landmarks = 30 + 36 * torch.rand(3, 68, 2, generator=rng)
    gray = torch.full((3, 96, 96), 150.0)
    pen_marks = ImageAugmentation(photometric=False, pen_marks=1.0)(gray, landmarks, sampler())
    assert (pen_marks != gray).flatten(1).any(1).all() and torch.equal(
        NO_AUGMENTATION(gray, landmarks, sampler()), gray
    )
