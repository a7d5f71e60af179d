"""The refinement as the last step of `LandmarkDetector.fit`, of the default model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import clnf_torch
from clnf_torch.fitting.config import preset_named

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


def test_parameters_are_those_of_a_model_without(detector, image):
    refined = fit(detector, image)
    refinement, detector.model.refinement = detector.model.refinement, None
    plain = fit(detector, image)
    detector.model.refinement = refinement
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


def test_a_fit_that_ends_before_the_last_scale_has_none(detector, image):
    preset = preset_named("default", detector.model.family)
    coarse = fit(detector, image, preset=replace(preset, window_sizes=(preset.window_sizes[0], 0, 0)))
    torch.testing.assert_close(coarse.landmarks, detector.model.pdm.landmarks(coarse.params), atol=ROUNDED, rtol=0)


def test_gradients_go_through_it(detector, image):
    refinement = detector.model.refinement.requires_grad_()
    try:
        result = fit(detector, image)
        moved = result.landmarks - detector.model.pdm.landmarks(result.params)
        gradients = torch.autograd.grad(moved.square().sum(), list(refinement.parameters()))
    finally:
        refinement.requires_grad_(False)
    assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in gradients)
