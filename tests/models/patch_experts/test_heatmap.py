"""Heatmap experts: windows of maps, where they lie in the image, and what a fit makes of them."""

from __future__ import annotations

import torch

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.models.numerics import EXACT, OPENFACE
from clnf_torch.models.patch_experts.heatmap import cut_windows
from tests.factories import N, seeded
from tests.models.patch_experts.heatmap_factories import make_heatmap


def spot(x: float, y: float, side: int = 160) -> torch.Tensor:
    """An image (1, H, W) with a bright spot."""
    steps = torch.arange(side, dtype=torch.float64)
    return 250 * torch.exp(-((steps - x) ** 2 + (steps[:, None] - y) ** 2) / (2 * 18.0**2))[None]


def test_windows_are_cut_with_zeros_outside():
    maps = torch.arange(2 * 25, dtype=torch.float64).view(1, 2, 5, 5)
    windows = cut_windows(maps, torch.tensor([[[2, 1], [4, 0]]]), 3)
    assert torch.equal(windows[0, 0], maps[0, 0, 0:3, 1:4])
    assert windows[0, 1].tolist() == [[0, 0, 0], [28, 29, 0], [33, 34, 0]]


def test_maps_are_probabilities():
    maps = make_heatmap().maps(255 * torch.rand(3, 64, 64, generator=seeded(1), dtype=torch.float64))
    torch.testing.assert_close(maps.sum((-2, -1)), torch.ones(3, N, dtype=torch.float64))


def test_no_faces_have_no_maps():
    assert make_heatmap().maps(torch.zeros(0, 64, 64, dtype=torch.float64)).shape == (0, N, 32, 32)


def answer(experts, images, landmarks, to_image, window=9, numerics=EXACT) -> tuple[torch.Tensor, torch.Tensor]:
    """Responses and the maps' middles of faces that are all seen from the front."""
    request = experts.crop_request(landmarks, to_image, window)
    crops, readable = images.crop(request, numerics)
    assert readable.all()
    view = torch.zeros(len(landmarks), dtype=torch.int64)
    return experts.respond_around(landmarks, request, crops, view, window, numerics)


def test_a_spot_in_the_image_lies_where_the_window_says():
    """A face turned by 30 degrees at 1.5 px/mm: the peak of each window, taken back to the image, is the spot."""
    experts, angle, zoom = make_heatmap(), torch.tensor(0.5236, dtype=torch.float64), 1.5 / 0.25
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos())).view(1, 2, 2)
    to_image = zoom * turn
    around = torch.tensor([80.0, 75.0]) + 20 * torch.randn(1, N, 2, generator=seeded(2))
    landmarks = around.double()
    images = ImageBatch(spot(88.0, 70.0), torch.tensor([0]))
    responses, middles = answer(experts, images, landmarks, to_image, window=21)
    cells = torch.arange(21, dtype=torch.float64) - 10
    total = responses.sum((-2, -1))
    mean = torch.stack(((responses.sum(-2) * cells).sum(-1) / total, (responses.sum(-1) * cells).sum(-1) / total), -1)
    found = middles + mean @ to_image.mT
    torch.testing.assert_close(found, torch.tensor([88.0, 70.0]).double().expand(1, N, 2), rtol=0, atol=0.2)
    away = torch.linalg.solve(to_image, (middles - landmarks).mT).mT
    assert away.abs().max() <= 0.5 + 1e-9  # windows are cut around the nearest cell


def test_openface_numerics_change_nothing():
    experts, landmarks = make_heatmap(), torch.full((1, N, 2), 80.0, dtype=torch.float64)
    to_image, images = 4.0 * torch.eye(2).double()[None], ImageBatch(spot(83.0, 77.0), torch.tensor([0]))
    answers = [answer(experts, images, landmarks, to_image, numerics=numerics) for numerics in (EXACT, OPENFACE)]
    assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))


def test_faces_in_a_batch_do_not_see_each_other():
    experts = make_heatmap()
    images = torch.cat((spot(60.0, 60.0), spot(90.0, 70.0)))
    landmarks = 75 + 5 * torch.randn(2, N, 2, generator=seeded(3), dtype=torch.float64)
    to_image = 4.0 * torch.eye(2).double().expand(2, 2, 2)
    together = answer(experts, ImageBatch(images, torch.arange(2)), landmarks, to_image)
    for row in range(2):
        rows = slice(row, row + 1)
        alone = answer(experts, ImageBatch(images, torch.tensor([row])), landmarks[rows], to_image[rows])
        for one, both in zip(alone, together, strict=True):
            torch.testing.assert_close(one, both[rows], rtol=1e-12, atol=1e-12)
