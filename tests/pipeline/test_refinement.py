"""The refinement as the last step of `LandmarkDetector.fit`, of the default model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

import clnf_torch
from clnf_torch.fitting.config import preset_named
from clnf_torch.fitting.fitter import FitState, LandmarkFitter
from clnf_torch.fitting.initialise import params_from_box
from clnf_torch.models.refinement import Refinement
from clnf_torch.pipeline.inputs import read_images

# Pixels: a fit of few faces is computed on one thread, which sums in another order
ROUNDED = 1e-4


@pytest.fixture(scope="module")
def detector() -> clnf_torch.LandmarkDetector:
    return clnf_torch.load()


def fit(detector: clnf_torch.LandmarkDetector, image: torch.Tensor, **settings) -> clnf_torch.FitResult:
    height, width = image.shape[-2:]
    box = torch.tensor([[0.3 * width, 0.3 * height, 0.4 * width, 0.4 * height]])
    return detector.fit(image, box, **settings)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return (255 * torch.rand(1, 160, 160, generator=torch.Generator().manual_seed(0))).to(torch.uint8)


@contextmanager
def refined_by(detector: clnf_torch.LandmarkDetector, refinement: Refinement | None) -> Iterator[None]:
    whole, detector.model.refinement = detector.model.refinement, refinement
    try:
        yield
    finally:
        detector.model.refinement = whole


def of_last_scales(whole: Refinement) -> Refinement:
    """A refinement without the first scale's centroids."""
    return Refinement(whole.share[1:].detach(), whole.shape_offset.detach(), whole.centroid_offset[1:].detach())


def test_parameters_are_those_of_a_model_without(detector, image):
    refined = fit(detector, image)
    with refined_by(detector, None):
        plain = fit(detector, image)
    torch.testing.assert_close(plain.landmarks, detector.model.pdm.landmarks(plain.params), atol=ROUNDED, rtol=0)
    assert torch.equal(refined.params.local, plain.params.local)
    assert torch.equal(refined.confidence, plain.confidence)
    apart = (refined.landmarks - plain.landmarks).norm(dim=-1) / plain.params.scale[:, None]
    assert 0.3 < apart.mean() < 10  # millimetres


def test_hidden_landmarks_stay_the_shapes(detector, image):
    seen = torch.ones(68, dtype=torch.bool)
    seen[48:] = False
    result = fit(detector, image, visible=seen)
    shape = detector.model.pdm.landmarks(result.params)
    moved = (result.landmarks - shape).abs().amax(-1)[0]
    assert moved[~seen].max() < ROUNDED < moved[seen].min()


def test_a_fit_that_ends_before_its_scales_has_none(detector, image):
    preset = preset_named("default", detector.model.family)
    with refined_by(detector, of_last_scales(detector.model.refinement)):
        coarse = fit(detector, image, preset=replace(preset, window_sizes=(preset.window_sizes[0], 0, 0)))
    torch.testing.assert_close(coarse.landmarks, detector.model.pdm.landmarks(coarse.params), atol=ROUNDED, rtol=0)


def test_the_shape_has_the_share_of_a_scale_that_is_skipped(detector, image):
    preset = preset_named("default", detector.model.family)
    late = replace(preset, window_sizes=(0, *preset.window_sizes[1:]))
    skipped = fit(detector, image, preset=late)
    with refined_by(detector, of_last_scales(detector.model.refinement)):
        torch.testing.assert_close(fit(detector, image, preset=late).landmarks, skipped.landmarks, atol=ROUNDED, rtol=0)


def test_gradients_go_through_it(detector, image):
    refinement = detector.model.refinement.requires_grad_()
    try:
        result = fit(detector, image)
        moved = result.landmarks - detector.model.pdm.landmarks(result.params)
        gradients = torch.autograd.grad(moved.square().sum(), list(refinement.parameters()))
    finally:
        refinement.requires_grad_(False)
    assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in gradients)


def test_a_fit_that_goes_on_from_a_finished_one_forgets_its_centroids(detector, image):
    fitter = LandmarkFitter(detector.model, preset_named("default", detector.model.family), detector.numerics)
    images, _ = read_images(image, None, 1, image.device)
    params = params_from_box(detector.model.pdm, torch.tensor([[48.0, 48.0, 64.0, 64.0]]), torch.zeros(1, 3))
    once = fitter.fit(images, FitState.at(params, 68))
    again = fitter.fit(images, once)
    anew = fitter.fit(images, FitState.at(once.params, 68))
    assert again.centroids.shape == once.centroids.shape == (1, 3, 68, 2)
    torch.testing.assert_close(again.centroids, anew.centroids, atol=ROUNDED, rtol=0)
