"""Training of shapes: heads that were made up are found again from their images' points."""

from __future__ import annotations

import torch

from clnf_torch.training.shape import ShapeConfig, train_shape
from clnf_torch.training.shape_gaussian import ShapeGaussian
from tests.training.heads import MIRROR, make_gaussian, make_heads


def test_variation_is_learned_from_images():
    """The prior knows the true head, but little of how it varies, and much of something else."""
    truth, other = make_gaussian(modes=3, seed=2), make_gaussian(modes=3, seed=9)
    prior = ShapeGaussian(truth.mean, 0.05 * truth.covariance + 2 * other.covariance)
    pdm = truth.pdm()
    landmarks = pdm.landmarks(make_heads(pdm, 80))
    errors: list[float] = []
    config = ShapeConfig(rounds=5, noise=0.5, prior_faces=2.0)
    found = train_shape(landmarks, prior, MIRROR, config, lambda _, error: errors.append(error))
    learned = ShapeGaussian.of_pdm(found)
    assert len(errors) == 5 and errors[-1] < errors[0]
    assert distance(learned, truth) < 0.3 * distance(prior, truth)
    torch.testing.assert_close(learned.mirrored(MIRROR).covariance, learned.covariance, rtol=1e-4, atol=1e-4)


def distance(one: ShapeGaussian, other: ShapeGaussian) -> float:
    """Of two covariances."""
    return float((one.covariance - other.covariance).norm())


def test_slack_lets_points_move_by_themselves():
    shapes = make_gaussian(modes=2)
    loose = shapes.with_point_noise(0.5)
    torch.testing.assert_close(loose.covariance.trace() - shapes.covariance.trace(), torch.tensor(204 * 0.25).double())
    assert loose.pdm(most=300).num_modes > shapes.pdm(most=300).num_modes


def test_the_unit_of_length_is_the_priors():
    truth = make_gaussian()
    pdm = truth.pdm()
    landmarks = 7 * pdm.landmarks(make_heads(pdm, 40))  # larger images, not larger heads
    found = train_shape(landmarks, truth, MIRROR, ShapeConfig(rounds=2))
    torch.testing.assert_close(found.mean.norm(), truth.mean.norm(), rtol=1e-3, atol=0)
