"""Surroundings of crops: images stay what they show, and what lies outside them goes on from their edges."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.training.augmentation import surroundings
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.augmentation.surroundings import MIXED, with_surroundings
from clnf_torch.training.data.crops import FaceCrops
from tests.factories import seeded

SIDE, FACES = 60, 40
# Rows and columns of the crops that show something, the others are black
TOP, BOTTOM, LEFT, RIGHT = 14, 49, 10, 55


def crops() -> FaceCrops:
    gray = torch.zeros(FACES, SIDE, SIDE, dtype=torch.uint8)
    shown = torch.randint(20, 200, (FACES, BOTTOM - TOP, RIGHT - LEFT), generator=seeded(1), dtype=torch.uint8)
    gray[:, TOP:BOTTOM, LEFT:RIGHT] = shown
    return FaceCrops(gray=gray, landmarks=torch.rand(FACES, 68, 2, generator=seeded(2)))


def filled(seed: int = 0) -> tuple[FaceCrops, FaceCrops]:
    before = crops()
    return before, with_surroundings(before, Sampler(seeded(seed), torch.device("cpu")))


def inner(gray: Tensor, by: int = MIXED) -> Tensor:
    return gray[:, TOP + by : BOTTOM - by, LEFT + by : RIGHT - by]


@pytest.fixture
def always(monkeypatch):
    """Sets what is left to chance."""

    def to(black: float, line: float) -> None:
        monkeypatch.setattr(surroundings, "BLACK", black)
        monkeypatch.setattr(surroundings, "LINE", line)

    return to


def test_what_images_show_stays(always):
    always(black=0.0, line=0.3)
    before, after = filled()
    assert torch.equal(inner(after.gray), inner(before.gray))
    assert torch.equal(after.landmarks, before.landmarks)
    # Pixels there are 20 at least, mixed ones too
    assert (after.gray >= 19).all()


def test_an_image_goes_on_as_its_mirror_image(always):
    always(black=0.0, line=0.0)
    before, after = filled()
    edge = inner(before.gray)[:, :, -1].int()
    beyond = after.gray[:, TOP + MIXED : BOTTOM - MIXED, RIGHT - MIXED].int()
    # The other image has faded in by 1 of 3 pixels at the narrowest
    mirrored = (beyond - edge).abs().float().mean(1)
    assert (mirrored < 25).all() and mirrored.max() > 0
    far = after.gray[:, TOP + MIXED : BOTTOM - MIXED, -1].int() - inner(before.gray)[:, :, -(SIDE - RIGHT + 4)].int()
    assert far.abs().float().mean() > 25


def test_some_stay_black(always):
    always(black=1.0, line=0.3)
    before, after = filled()
    assert torch.equal(inner(after.gray), inner(before.gray)) and not after.gray[:, :TOP].any()
    always(black=0.5, line=0.3)
    _, half = filled()
    assert 10 < int((half.gray[:, 0, 0] == 0).sum()) < 30


def test_whole_crops_are_left_alone():
    full = torch.randint(1, 255, (3, SIDE, SIDE), generator=seeded(3), dtype=torch.uint8)
    black = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    faces = FaceCrops(gray=torch.cat((full, black)), landmarks=torch.zeros(4, 68, 2))
    after = with_surroundings(faces, Sampler(seeded(0), torch.device("cpu")))
    assert torch.equal(after.gray[:3], full)
    assert len(with_surroundings(faces[:0], Sampler(seeded(0), torch.device("cpu")))) == 0


def test_the_same_seed_fills_the_same(always):
    always(black=0.1, line=0.3)
    one, again, other = filled(4)[1], filled(4)[1], filled(5)[1]
    assert torch.equal(one.gray, again.gray) and not torch.equal(one.gray, other.gray)
