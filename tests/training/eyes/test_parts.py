"""Parts of both eyes from rendered faces: regions, mirror images, shape, and parts that a model can use."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.fitting.config import part_preset
from clnf_torch.geometry.landmarks28 import EYE_MIRROR, LIDS
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.training.eyes.parts import (
    EYES,
    IN_EYE,
    SIDE,
    EyeRecipe,
    EyeRegions,
    eye_regions,
    eye_shapes,
    mirrored_eye,
    train_eyes,
)
from tests.training.rendered_eyes import eye, rendered_eyes


@pytest.fixture(scope="module")
def eyes() -> EyeRegions:
    return eye_regions([rendered_eyes()])


def test_partners_lie_at_mirrored_places():
    left = eye(0, 0, 5)[:, :2]
    torch.testing.assert_close(mirrored_eye(left, 0.0), left, atol=1e-4, rtol=0)
    assert [EYE_MIRROR[partner] for partner in EYE_MIRROR] == list(range(28))


def test_regions_show_the_eye_and_the_right_one_is_mirrored(eyes):
    assert eyes.crops.gray.shape == (12, SIDE, SIDE) and eyes.points.shape == (12, 28, 3)
    middle = eyes.crops.landmarks[:, :8].mean(1).round().long()
    assert (eyes.crops.gray[torch.arange(12), middle[:, 1], middle[:, 0]] < 40).all()
    # Both eyes look to the image's right by 2 mm: the mirrored one to its left
    iris = eyes.points[[10, 11], :8].mean(1)[:, 0] - eyes.points[[10, 11]][:, LIDS, 0].mean(1)
    torch.testing.assert_close(iris, torch.tensor([2.0, -2.0]), atol=1e-4, rtol=0)


def test_hidden_eyes_are_left_out():
    faces = rendered_eyes(2)
    faces.eyes_visible[0, 1] = False
    assert len(eye_regions([faces]).points) == 3
    with pytest.raises(ValueError, match="no eye whose lids are visible"):
        eye_regions([replace(faces, eyes_visible=torch.zeros(2, 2, 28, dtype=torch.bool))])


def test_the_shape_is_symmetric_and_knows_lids_and_gaze(eyes):
    shapes = eye_shapes(eyes.points)
    mean = mirrored_eye(shapes.mean, 0.0)
    torch.testing.assert_close(mean, shapes.mean, atol=1e-6, rtol=0)
    assert len(shapes.pdm(0.99).variances) == 2


def test_parts_can_be_fitted_and_go_on_from_their_checkpoint(eyes, tmp_path):
    experts = replace(EyeRecipe().experts, steps=3, batch=4, widths=(4, 4, 4, 4))
    recipe = replace(EyeRecipe(), experts=experts)
    steps: list[int] = []
    left, right = train_eyes(eyes, recipe, tmp_path, lambda name, done, total, loss: steps.append(done))
    assert steps == [1, 2, 3] and (left.name, right.name) == tuple(EYES)
    assert left.in_parent.tolist() == list(EYES["left_eye_28"]) and right.in_part.tolist() == list(IN_EYE)
    areas = torch.rand(2, 96, 96) * 255
    maps = left.model.experts_at(0).maps(areas)
    assert maps.shape == (2, 28, 48, 48) and maps.sum((-1, -2)).sub(1).abs().max() < 1e-4


def test_eyes_of_heatmaps_are_looked_for_further_away_than_openfaces():
    assert part_preset("left_eye_28", HeatmapExperts).window_sizes == (21,)
    assert part_preset("left_eye_28").window_sizes[0] == 3
