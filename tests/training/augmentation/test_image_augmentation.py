"""What is done to images: markings where asked for, bad light where asked for, nothing otherwise."""

from __future__ import annotations

import torch

from clnf_torch.training.augmentation.photometric import CLEAN, ImageAugmentation
from clnf_torch.training.augmentation.random import Sampler
from tests.factories import seeded


def dice() -> Sampler:
    return Sampler(seeded(1), torch.device("cpu"))


def test_markings_lie_on_the_faces(rng):
    landmarks = 30 + 36 * torch.rand(3, 68, 2, generator=rng)
    gray = torch.full((3, 96, 96), 150.0)
    marked = ImageAugmentation(light=False, marked=1.0)(gray, landmarks, dice())
    assert (marked != gray).flatten(1).any(1).all() and torch.equal(CLEAN(gray, landmarks, dice()), gray)
