"""`clnf_torch.models.patch_experts.view_tiles`: what devices that are not asked compute is what others compute."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.patch_experts.base import PatchExperts
from clnf_torch.models.patch_experts.view_tiles import ViewTiles
from tests.factories import N, make_experts
from tests.models.patch_experts.template_factories import make_ccnf, make_svr

FAMILIES = {"cen": make_experts, "ccnf": make_ccnf, "svr": make_svr}


@pytest.mark.parametrize("views", [[], [0], [2], [1, 1, 1], [2, 0, 1, 0, 2, 2, 2], [0] * 40, [0, 1] * 30])
def test_tiles_hold_faces_of_one_view_each(views):
    view = torch.tensor(views, dtype=torch.int64)
    tiles = ViewTiles.of(view, 3)
    assert tiles.view[tiles.place // tiles.faces].tolist() == views
    assert len(set(tiles.place.tolist())) == len(views)
    faces = torch.arange(len(views) * 2.0).view(-1, 2)
    laid = tiles.lay(faces)
    assert laid.shape == (len(tiles.view), tiles.faces, 2)
    torch.testing.assert_close(tiles.take(laid), faces, rtol=0, atol=0)
    assert laid.sum() == faces.sum()


@pytest.mark.parametrize("count", [1, 3, 50, 200])
def test_few_places_stay_empty(count):
    """Twice as many places as faces, and one more tile for each view, are the most."""
    tiles = ViewTiles.of(torch.zeros(count, dtype=torch.int64), 7)
    assert len(tiles.view) * tiles.faces <= 2 * count + 7


@pytest.mark.parametrize("numerics", [OPENFACE, EXACT], ids=["openface", "exact"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("views", [[0], [2, 0, 1, 0, 2, 2, 2], [1] * 9])
def test_tiles_are_answered_as_views_are(family, views, numerics, rng):
    experts, view = FAMILIES[family](), torch.tensor(views)
    areas = 255 * torch.rand(len(views), N, 7, 7, generator=rng, dtype=torch.float64)
    tiles = ViewTiles.of(view, experts.num_views)
    answers = tiles.take(experts.respond_in_tiles(tiles.lay(areas), tiles.view, numerics))
    torch.testing.assert_close(answers, experts(areas, view, numerics))


def test_families_that_gather_no_experts_answer_too(rng):
    experts, view = make_experts(), torch.tensor([2, 0, 1, 0, 2])
    areas = 255 * torch.rand(len(view), N, 7, 7, generator=rng, dtype=torch.float64)
    tiles = ViewTiles.of(view, experts.num_views)
    answers = tiles.take(PatchExperts.respond_in_tiles(experts, tiles.lay(areas), tiles.view, EXACT))
    torch.testing.assert_close(answers, experts(areas, view, EXACT))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_flow_through_tiles(family, rng):
    experts, view = FAMILIES[family](), torch.tensor([2, 0, 1, 0])
    areas = (255 * torch.rand(4, N, 7, 7, generator=rng, dtype=torch.float64)).requires_grad_()
    tiles = ViewTiles.of(view, experts.num_views)
    expected = torch.autograd.grad(experts(areas, view, EXACT).square().sum(), areas)[0]
    answers = tiles.take(experts.respond_in_tiles(tiles.lay(areas), tiles.view, EXACT))
    torch.testing.assert_close(torch.autograd.grad(answers.square().sum(), areas)[0], expected)
