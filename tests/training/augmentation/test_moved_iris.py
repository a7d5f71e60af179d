"""Irises moved in photographs of eyes: where the labels say, and nothing but the eyeball."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import max_pool2d

from clnf_torch.geometry.landmarks28 import CORNERS, IRIS, LIDS
from clnf_torch.training.augmentation.moved_iris import LEAST, move_irises
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.eyes.parts import photographed_regions
from tests.factories import seeded
from tests.training.rendered_eyes import eye

COUNT, SIDE = 12, 256
# Pixels per millimetre, and grey levels of white, iris and skin
FOCAL, WHITE, DARK, SKIN = 3.0, 220, 30, 120


def drawn_eyes() -> FaceCrops:
    """Eyes as `photographed_regions` cuts them: a dark disc in what is white between the lids; turned a little."""
    angle = torch.tensor(0.2)
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos())).view(2, 2)
    points = torch.stack([eye(0, look, 7.5)[:, :2] for look in torch.linspace(-3, 3, COUNT)])
    grid = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="xy"), -1)
    flat = (grid - (SIDE - 1) / 2) / FOCAL @ turn
    inside = (flat[..., 0] / 15).square() + (flat[..., 1] / 7.5).square() < 1
    gray = torch.full((COUNT, SIDE, SIDE), SKIN, dtype=torch.uint8)
    gray[:, inside] = WHITE
    for image, look in zip(gray, points[:, :IRIS, 0].mean(1), strict=True):
        image[inside & ((flat - torch.stack((look, torch.tensor(0.0)))).norm(dim=-1) < 6)] = DARK
    placed = points @ turn.T * FOCAL + (SIDE - 1) / 2
    return photographed_regions(gray, torch.stack((placed, torch.full_like(placed, torch.nan)), 1))


@pytest.fixture(scope="module")
def moved() -> tuple[FaceCrops, FaceCrops]:
    eyes = drawn_eyes()
    return eyes, move_irises(eyes, Sampler(seeded(0), torch.device("cpu")))


def middles(eyes: FaceCrops) -> torch.Tensor:
    """Where the dark pixels lie, (E, 2)."""
    rows, columns = torch.meshgrid(*(torch.arange(eyes.gray.shape[-1]),) * 2, indexing="ij")
    dark = (eyes.gray < 70).float()
    return torch.stack([(dark * axis).sum((1, 2)) / dark.sum((1, 2)) for axis in (columns, rows)], -1)


def test_irises_lie_where_their_landmarks_say(moved):
    before, after = moved
    for eyes in moved:
        # What the lids hide of an iris is another part of it near the corners; pixels, of eyes 44 wide
        away = (middles(eyes) - eyes.landmarks[:, :IRIS].mean(1)).norm(dim=-1)
        assert away.max() < 1.5
    assert (middles(before) - middles(after)).norm(dim=-1).median() > 3


def test_lids_and_what_is_around_stay(moved):
    before, after = moved
    assert torch.equal(before.landmarks[:, LIDS], after.landmarks[:, LIDS])
    # Not at the edges, which are mixed
    skin = max_pool2d((before.gray.float() - SKIN).abs(), 5, 1, 2) < 8
    assert skin.float().mean() > 0.5
    assert (after.gray[skin].float() - before.gray[skin].float()).abs().max() < 8


def test_irises_stay_between_the_corners(moved):
    _, after = moved
    first, last = (after.landmarks[:, corner] for corner in CORNERS)
    along = ((after.landmarks[:, :IRIS] - first[:, None]) * (last - first)[:, None]).sum(-1)
    along = along / (last - first).square().sum(-1)[:, None]
    assert along.min() > LEAST - 0.02 and along.max() < 1 - LEAST + 0.02


def test_moves_are_those_of_the_seed():
    eyes = drawn_eyes()
    one, same, other = (move_irises(eyes, Sampler(seeded(seed), torch.device("cpu"))) for seed in (1, 1, 2))
    assert torch.equal(one.gray, same.gray) and torch.equal(one.landmarks, same.landmarks)
    assert not torch.equal(one.landmarks, other.landmarks)
    assert len(move_irises(eyes[:0], Sampler(seeded(1), torch.device("cpu")))) == 0
