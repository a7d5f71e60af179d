"""Early-termination numbers: how many bad fits they let through, and what views without fits get."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from clnf_torch.fitting.config import FitConfig
from clnf_torch.training.calibration.early_termination import calibrate_early_termination, try_rotations
from clnf_torch.training.data.crops import FaceCrops


def fits(rng: torch.Generator, count: int, views: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Likelihoods of good fits around -3 and of bad ones around -5, lower by 1 in each further view."""
    view = torch.randint(views, (count,), generator=rng)
    good = torch.rand(count, generator=rng) < 0.4
    noise = torch.randn(count, generator=rng)
    return torch.where(good, -3.0, -5.0) - view + 0.8 * noise, view, good


def accepted(rules: Tensor, likelihood: Tensor, view: Tensor) -> Tensor:
    weight, bias, cutoff = rules[:, view]
    return likelihood * weight + bias > cutoff


@pytest.mark.parametrize("share", [0.02, 0.05, 0.2])
def test_the_share_of_bad_fits_that_pass_is_the_asked_one(rng, share):
    rules = calibrate_early_termination(*fits(rng, 6000), views=3, false_accepts=share)
    likelihood, view, good = fits(rng, 30000)
    passed = accepted(rules, likelihood, view)
    for v in range(3):
        assert float(passed[~good & (view == v)].double().mean()) == pytest.approx(share, abs=0.35 * share + 0.004)
        assert passed[good & (view == v)].double().mean() > 0.6


def test_scores_are_log_odds_in_every_view(rng):
    rules = calibrate_early_termination(*fits(rng, 20000), views=3)
    expected = 2 / 0.8**2  # slope of the log-odds of two Gaussians 2 apart
    torch.testing.assert_close(rules[0], torch.full((3,), expected).double(), rtol=0.08, atol=0)
    middle = torch.tensor([-4.0, -5.0, -6.0]).double()
    torch.testing.assert_close(
        middle * rules[0] + rules[1], torch.full((3,), math.log(0.4 / 0.6)).double(), rtol=0, atol=0.2
    )


def test_a_view_without_fits_gets_the_common_numbers(rng):
    likelihood, view, good = fits(rng, 500, views=1)
    rules = calibrate_early_termination(likelihood, view, good, views=2)
    assert rules.shape == (3, 2)
    for numbers in rules:
        assert float(numbers[1]) == pytest.approx(float(numbers[0]), rel=0.1, abs=0.1)


def test_without_enough_bad_fits_none_of_them_passes():
    likelihood = torch.tensor([-1.0, -2.0, -1.5, -1.7, -2.5])
    good = torch.tensor([True, True, True, False, False])
    rules = calibrate_early_termination(likelihood, torch.zeros(5, dtype=torch.int64), good, views=1)
    assert accepted(rules, likelihood, torch.zeros(5, dtype=torch.int64)).tolist() == [True, False, True, False, False]


def test_fits_without_a_likelihood_do_not_count(rng):
    likelihood, view, good = fits(rng, 300)
    more = torch.cat([likelihood, torch.tensor([-torch.inf, torch.nan])])
    rules = calibrate_early_termination(likelihood, view, good, views=3)
    again = calibrate_early_termination(
        more, torch.cat([view, view[:2]]), torch.cat([good, torch.tensor([True, False])]), views=3
    )
    assert torch.equal(rules[2], again[2]) and torch.equal(rules[0], again[0])


@pytest.mark.parametrize("good", [True, False])
def test_one_kind_of_fits_is_refused(good):
    with pytest.raises(ValueError, match="some are good and some bad"):
        calibrate_early_termination(torch.rand(4), torch.zeros(4).long(), torch.full((4,), good), views=1)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate_early_termination(torch.rand(2), torch.zeros(2).long(), torch.tensor([True, False]), 1, share)


def test_trials_end_where_the_detector_does(free_face):
    detector, gray, boxes = free_face
    config = FitConfig(window_sizes=(5, 5, 0, 0), iterations=2)
    found = detector.fit(gray, boxes, preset=config)
    faces = FaceCrops(gray=gray, landmarks=found.landmarks)
    trials = try_rotations(detector, faces, boxes, config, rotations=((0.0, 0.0, 0.0), (0.0, 0.5, 0.0)))
    assert float(trials.error[0]) == pytest.approx(0, abs=1e-5) and float(trials.error[1]) > 1e-3
    assert trials.view.shape == trials.likelihood.shape == (2,) and trials.likelihood.isfinite().all()
    assert not torch.allclose(trials.likelihood[0], found.likelihood[0])  # of the first scale, not of the last
    with pytest.raises(ValueError, match="at least two"):
        try_rotations(detector, faces, boxes, FitConfig(window_sizes=(5, 0, 0, 0)))
