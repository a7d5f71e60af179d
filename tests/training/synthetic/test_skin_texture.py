"""Skin and pen marks in the texture: where they are painted, and that seeds tell them apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.synthetic.skin_texture import (
    MM,
    SIDE,
    along,
    blurred,
    paint_skin,
    polygon_mask,
    random_skin_look,
)
from clnf_torch.training.synthetic.texture_marks import draw_marks


def sampler(seed: int = 0) -> Sampler:
    return Sampler(torch.Generator().manual_seed(seed), torch.device("cpu"))


@pytest.fixture
def places() -> Tensor:
    """Landmarks spread as on a face in the middle of the texture."""
    turn = torch.linspace(torch.pi, 0, 17)
    jaw = torch.stack((0.5 + 0.2 * turn.cos(), 0.4 + 0.25 * turn.sin()), 1)
    brows = torch.stack((torch.linspace(0.36, 0.64, 10), torch.full((10,), 0.36)), 1)
    nose = torch.stack((torch.linspace(0.46, 0.54, 9), torch.linspace(0.42, 0.52, 9)), 1)
    ring = torch.linspace(torch.pi, -torch.pi, 7)[:-1]
    eyes = [torch.stack((x + 0.04 * ring.cos(), 0.42 - 0.015 * ring.sin()), 1) for x in (0.42, 0.58)]
    ring = torch.linspace(torch.pi, -torch.pi, 13)[:-1]
    mouth = torch.stack((0.5 + 0.06 * ring.cos(), 0.57 - 0.02 * ring.sin()), 1)
    return torch.cat((jaw, brows, nose, *eyes, mouth, mouth[:8] * 0.5 + 0.5 * torch.tensor([0.5, 0.57])))


def test_lips_are_redder_than_cheeks(places):
    looks = random_skin_look(sampler(), age=0.5)
    skin = paint_skin(places, looks, 0.5, 0.0, sampler()).float()
    assert skin.shape == (SIDE, SIDE, 4)
    lips, forehead = skin[int(0.575 * SIDE), int(0.48 * SIDE) : int(0.52 * SIDE)], skin[int(0.3 * SIDE), 480:560]
    assert (lips[:, 1] / lips[:, 0]).mean() < (forehead[:, 1] / forehead[:, 0]).mean() - 0.02


def test_every_seed_has_a_skin_of_its_own(places):
    looks = random_skin_look(sampler(), age=0.5)
    first, again, other = (paint_skin(places, looks, 0.5, 1.0, sampler(seed)) for seed in (1, 1, 2))
    assert first.equal(again) and not first.equal(other)


def test_marks_change_some_of_the_skin_and_leave_the_rest(places):
    skin = torch.full((SIDE, SIDE, 3), 0.7)
    marked = draw_marks(skin, places * SIDE, sampler(3))
    changed = (marked != skin).any(-1).float().mean()
    assert 0.0005 < changed < 0.2 and (marked <= 0.7001).all()


def test_a_polygon_is_filled_inside_alone():
    corners = torch.tensor([[200.0, 200], [600, 200], [600, 500], [200, 500]])
    mask = polygon_mask(corners, MM)
    assert mask[350, 400] == 1 and mask[350, 700] == 0 and mask[150, 400] == 0


def test_shares_along_a_polyline():
    line = torch.tensor([[0.0, 0], [2, 0], [2, 4]])
    assert along(line, torch.tensor([0.0, 0.25, 0.75, 2.0])).tolist() == [[0, 0], [1, 0], [2, 2], [2, 4]]


def test_a_blurred_mask_holds_means_of_squares(rng):
    mask = torch.rand(9, 14, generator=rng)
    expected = torch.nn.functional.avg_pool2d(mask[None], 5, 1, 2, count_include_pad=False)[0]
    torch.testing.assert_close(blurred(mask, 5), expected)
