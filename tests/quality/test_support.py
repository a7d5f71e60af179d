"""What experts say: the share of the best response nearby."""

from __future__ import annotations

import torch

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.mean_shift import landmark_likelihoods
from clnf_torch.geometry.gray import to_gray
from clnf_torch.quality.check import SIGMA, expert_support, smoothed
from clnf_torch.quality.robust_fit import robust_fit


def test_maps_are_smoothed_as_likelihoods_are(rng):
    responses = torch.rand(2, 3, 7, 7, generator=rng)
    seen = torch.ones(2, 3, dtype=torch.bool)
    for column, row in ((0, 0), (3, 5), (6, 2)):
        position = torch.tensor([float(column), float(row)]).expand(2, 3, 2)
        expected = landmark_likelihoods(responses, position, seen, SIGMA)
        torch.testing.assert_close(smoothed(responses, SIGMA)[..., row, column], expected)


def test_support_is_a_share_and_falls_away_from_the_landmarks(detector, image, fitted):
    images = ImageBatch(to_gray(image), torch.zeros(1, dtype=torch.int64))
    shape = robust_fit(detector.model.pdm, fitted, torch.ones(1, 68, dtype=torch.bool)).params
    here, visible = expert_support(detector.model, detector.numerics, images, shape, fitted)
    assert visible.any() and (here >= 0).all() and (here <= 1).all() and (here[~visible] == 0).all()
    far, _ = expert_support(detector.model, detector.numerics, images, shape, fitted + 1000)
    assert (far == 0).all() and here[visible].mean() > 0.1


def test_a_image_that_cannot_be_read_supports_nothing(detector, image, fitted):
    blank = ImageBatch(torch.full((1, *image.shape[-2:]), torch.nan), torch.zeros(1, dtype=torch.int64))
    shape = robust_fit(detector.model.pdm, fitted, torch.ones(1, 68, dtype=torch.bool)).params
    share, _ = expert_support(detector.model, detector.numerics, blank, shape, fitted)
    assert (share == 0).all()
