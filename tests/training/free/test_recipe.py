"""The whole training of a small free model: each kind of face counts, and a second call trains nothing again."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.geometry.boxes import box_around
from clnf_torch.training.end_to_end import EndToEndConfig
from clnf_torch.training.free import recipe as free
from clnf_torch.training.free.self_training import Agreement, Portraits
from clnf_torch.training.recipe import Recipe
from clnf_torch.training.shape.pdm import ShapeConfig
from tests.training.heads import MIRROR, make_crops, make_gaussian, make_heads
from tests.training.test_recipe import COARSE, FINE

STEPS = Recipe(shape=ShapeConfig(rounds=1), scales=(COARSE, FINE), end_to_end=EndToEndConfig(steps=0))
RECIPE = free.FreeRecipe(
    first=STEPS,
    rounds=2,
    again=1.0,
    end_to_end=EndToEndConfig(steps=0),
    templates=3,
    opened=2,
    portraits=2,
    agreement=Agreement(looks=1),
)


def faces() -> free.FreeFaces:
    pdm = make_gaussian().pdm()
    crops = make_crops(pdm.landmarks(make_heads(pdm, 12)))
    return free.FreeFaces(
        rendered=crops[:5],
        templates=crops[5:7],
        held_out=crops[7:9],
        judges=crops[7:9],
        portraits=Portraits(gray=crops.gray[9:], boxes=box_around(crops.landmarks[9:])),
    )


def test_every_kind_of_face_is_trained_on(tmp_path, monkeypatch):
    material, seen = faces(), []
    believed = material.held_out[:1]

    def noting(train, place):
        """The same training, of which the faces are kept."""

        def noted(*given, **named):
            seen.append(given[place])
            return train(*given, **named)

        return noted

    monkeypatch.setattr(free, "train_landmark_model", noting(free.train_landmark_model, 0))
    monkeypatch.setattr(free, "retrain_networks", noting(free.retrain_networks, 1))
    taught = torch.zeros(1, 68, 2)

    def annotated(model, portraits, *others):
        """A face in the place of the portraits."""
        assert others[-1] is taught
        return believed

    monkeypatch.setattr(free, "annotate", annotated)
    material = replace(material, taught=taught)
    free.train_free_model(material, make_gaussian(), MIRROR, RECIPE, tmp_path)
    first, *rounds = seen
    assert torch.equal(first.gray[:5], material.rendered.gray)
    assert all(torch.equal(part, material.templates.gray) for part in first.gray[5:11].split(2))
    opened = first.landmarks[11:]
    assert len(opened) == 4 and (opened[:2, 66, 1] - opened[:2, 62, 1] != opened[2:, 66, 1] - opened[2:, 62, 1]).all()
    for more in rounds:
        assert torch.equal(more.gray[:15], first.gray)
        assert torch.equal(more.landmarks[15:], believed.landmarks.repeat(2, 1, 1))
    assert len(rounds) == 2


def test_a_second_call_trains_nothing_again(tmp_path):
    reported: list[str] = []
    models = [
        free.train_free_model(
            faces(), make_gaussian(), MIRROR, RECIPE, tmp_path, lambda name, *_: reported.append(name)
        )
        for _ in range(2)
    ]
    assert reported.count("scale_1") == COARSE.steps + 2 * max(1, round(4 / 9 * COARSE.steps))
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_effort_is_a_share_of_the_steps():
    recipe = free.FreeRecipe().with_effort(0.01, seed=4)
    assert [scale.steps for scale in recipe.first.scales] == [30, 40] and recipe.first.seed == 4
    assert recipe.end_to_end.steps == 4 and recipe.first.end_to_end.steps == 0
    assert replace(recipe.first, seed=0).shape == free.FreeRecipe().first.shape


def test_networks_of_a_meshed_recipe():
    recipe = free.FreeRecipe().meshed()
    kinds = [(config.mesh, config.frozen_trunk, config.jitter.far_off > 0) for config in recipe.first.scales]
    assert kinds == [(True, False, True), (True, True, False), (False, False, False)]
    # Each is asked from where the one before leads, and all learn together from boxes far off
    assert recipe.first.passes == (0, 1, 2) and recipe.end_to_end.far_off > 0
    assert recipe.with_effort(0.01, seed=4).end_to_end.steps == 4
