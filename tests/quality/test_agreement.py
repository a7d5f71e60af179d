"""Agreement of the experts: the response at a landmark relative to the largest one nearby."""

from __future__ import annotations

import torch

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.fitting.mean_shift import landmark_likelihoods
from clnf_torch.geometry.gray import to_gray
from clnf_torch.quality.agreement import SIGMA, expert_agreement, smooth_responses
from clnf_torch.quality.robust_fit import robust_fit


def test_maps_are_smoothed_as_likelihoods_are(rng):
    responses = torch.rand(2, 3, 7, 7, generator=rng)
    seen = torch.ones(2, 3, dtype=torch.bool)
    for column, row in ((0, 0), (3, 5), (6, 2)):
        position = torch.tensor([float(column), float(row)]).expand(2, 3, 2)
        expected = landmark_likelihoods(responses, position, seen, SIGMA)
        torch.testing.assert_close(smooth_responses(responses, SIGMA)[..., row, column], expected)


def test_agreement_is_a_ratio_and_falls_away_from_the_landmarks(detector, image, fitted):
    images = ImageBatch(to_gray(image), torch.zeros(1, dtype=torch.int64))
    shape = robust_fit(detector.model.pdm, fitted, torch.ones(1, 68, dtype=torch.bool)).params
    here, visible = expert_agreement(detector.model, detector.numerics, images, shape, fitted)
    assert visible.any() and (here >= 0).all() and (here <= 1).all() and (here[~visible] == 0).all()
    far, _ = expert_agreement(detector.model, detector.numerics, images, shape, fitted + 1000)
    assert (far == 0).all() and here[visible].mean() > 0.1


def test_nothing_agrees_with_an_unreadable_image(detector, image, fitted):
    blank = ImageBatch(torch.full((1, *image.shape[-2:]), torch.nan), torch.zeros(1, dtype=torch.int64))
    shape = robust_fit(detector.model.pdm, fitted, torch.ones(1, 68, dtype=torch.bool)).params
    share, _ = expert_agreement(detector.model, detector.numerics, blank, shape, fitted)
    assert (share == 0).all()
