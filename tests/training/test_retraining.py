"""Networks trained further on more faces; all else of the model stays as it is."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import clnf_torch
from clnf_torch.geometry.gray import to_gray
from clnf_torch.media.images import read_image
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.training.checkpoint import CheckpointError
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.trial_fits import fit_unseen
from clnf_torch.training.end_to_end import EndToEndConfig
from clnf_torch.training.recipe import Recipe, train_landmark_model
from clnf_torch.training.retraining import retrain_networks
from clnf_torch.training.shape.pdm import ShapeConfig
from tests.factories import seeded
from tests.training.heads import MIRROR, make_crops, make_gaussian, make_heads
from tests.training.test_recipe import COARSE, FINE

TOGETHER = EndToEndConfig(steps=1, batch=2, held_out=5, judge_every=1)
RECIPE = Recipe(shape=ShapeConfig(rounds=1), scales=(COARSE, FINE), end_to_end=TOGETHER)


@pytest.fixture(scope="module")
def heads():
    pdm = make_gaussian().pdm()
    return make_crops(pdm.landmarks(make_heads(pdm, 10)))


@pytest.fixture(scope="module")
def trained(heads, tmp_path_factory) -> LandmarkModel:
    folder = tmp_path_factory.mktemp("work")
    return train_landmark_model(heads[:8], make_gaussian(), MIRROR, RECIPE, folder).eval()


def again(model: LandmarkModel, heads, folder, recipe: Recipe = RECIPE, reported: list | None = None):
    report = (lambda *what: None) if reported is None else (lambda *what: reported.append(what[:3]))
    return retrain_networks(copy.deepcopy(model), heads, MIRROR, recipe, folder, report)


def test_networks_are_trained_further(trained, heads, tmp_path):
    model = again(trained, heads, tmp_path)
    assert model.experts_at(0) is model.experts_at(1)
    for scale in (0, 2):
        before, after = trained.experts_at(scale).network, model.experts_at(scale).network
        assert after.widths == before.widths and not torch.equal(after.head.weight, before.head.weight)
        assert (after.head.weight - before.head.weight).norm() < 0.5 * before.head.weight.norm()
    for name in ("mean", "modes", "variances"):
        assert torch.equal(getattr(model.pdm, name), getattr(trained.pdm, name))


def test_expected_errors_keep_their_mean(tmp_path):
    image = read_image(Path(__file__).parents[2] / "docs" / "images" / "astronaut.jpg")[None]
    detector = clnf_torch.load()
    where = detector.fit(image, clnf_torch.load_face_detector().detect(image).boxes).landmarks
    gray = to_gray(image).to(torch.uint8).expand(4, -1, -1)
    faces = FaceCrops(gray=gray, landmarks=where + torch.randn(4, 68, 2, generator=seeded(5)))
    recipe = Recipe()
    # So few steps that the warm-up leaves a hundredth of this learning rate
    scales = tuple(replace(scale, batch=2, steps=9, learning_rate=0.1) for scale in recipe.scales)
    model = again(detector.model, faces, tmp_path, replace(recipe, scales=scales, end_to_end=TOGETHER)).eval()
    assert (model.error_model.log_error - detector.model.error_model.log_error).abs().mean() > 1e-3
    fits = [fit_unseen(each, faces, recipe.seed)[0] for each in (detector.model, model)]
    means = [(some.landmark_errors / some.params.scale[:, None]).log().mean(0) for some in fits]
    torch.testing.assert_close(*means, rtol=0, atol=1e-4)


def test_a_second_call_trains_nothing_again(trained, heads, tmp_path):
    first, second = [], []
    once, twice = (again(trained, heads, tmp_path, reported=reported) for reported in (first, second))
    assert ("scale_1", 1, 1) in first and second == []
    assert all(torch.equal(one, other) for one, other in zip(once.parameters(), twice.parameters(), strict=True))


def test_another_retraining_in_the_same_folder_is_refused(trained, heads, tmp_path):
    again(trained, heads, tmp_path)
    with pytest.raises(CheckpointError, match=r"scale_0\.pt: is a checkpoint of another training"):
        again(trained, heads, tmp_path, replace(RECIPE, seed=1))
