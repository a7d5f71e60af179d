"""What is done to pictures: markings where asked for, bad light where asked for, nothing otherwise."""

from __future__ import annotations

import torch

from clnf_torch.training.augmentation.photometric import CLEAN, Spoiling
from clnf_torch.training.augmentation.random import Dice
from tests.factories import seeded


def dice() -> Dice:
    return Dice(seeded(1), torch.device("cpu"))


def test_markings_lie_on_the_faces(rng):
    landmarks = 30 + 36 * torch.rand(3, 68, 2, generator=rng)
    grey = torch.full((3, 96, 96), 150.0)
    marked = Spoiling(light=False, marked=1.0)(grey, landmarks, dice())
    assert (marked != grey).flatten(1).any(1).all() and torch.equal(CLEAN(grey, landmarks, dice()), grey)
