"""The whole training of a small model: it fits, it is a bundle, it goes on where it was stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.detection import load_face_detector
from clnf_torch.models.bundle import BundleError, build_model, load_bundle, save_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.mesh import MeshNetwork
from clnf_torch.pipeline import LandmarkDetector, load
from clnf_torch.training.calibration.early_termination import with_early_termination
from clnf_torch.training.checkpoint import CheckpointError
from clnf_torch.training.data.boxes import box_around
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.data.heatmap_samples import PoseJitter
from clnf_torch.training.end_to_end import EndToEndConfig
from clnf_torch.training.heatmap import HeatmapConfig
from clnf_torch.training.recipe import FULL, SMALL, UNETS, Recipe, networks_of, recipe_of, train_landmark_model
from clnf_torch.training.retraining import retrain_networks
from clnf_torch.training.shape.pdm import ShapeConfig
from tests.training.heads import MIRROR, make_crops, make_gaussian, make_heads

COARSE = HeatmapConfig(
    scale=0.15,
    width=64,
    widths=(6, 8, 12),
    jitter=PoseJitter(rotation=0.1, scale=0.05, translation=2.0),
    levels=1,
    steps=3,
    batch=4,
)
FINE = replace(COARSE, scale=0.3, jitter=PoseJitter(rotation=0.05, scale=0.02, translation=1.0))
TOGETHER = EndToEndConfig(steps=1, batch=2, held_out=5, judge_every=1)
RECORD = {"writer": "test", "licence": "", "numerics": "exact", "sources": [{"name": "heads"}]}
RECIPE = Recipe(shape=ShapeConfig(rounds=1), scales=(COARSE, FINE), end_to_end=TOGETHER)


def heads(count: int = 10) -> FaceCrops:
    pdm = make_gaussian().pdm()
    return make_crops(pdm.landmarks(make_heads(pdm, count)))


def train(folder, recipe: Recipe = RECIPE, reported: list | None = None) -> LandmarkModel:
    report = (lambda *what: None) if reported is None else (lambda *what: reported.append(what[:3]))
    return train_landmark_model(heads(), make_gaussian(), MIRROR, recipe, folder, report)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> LandmarkModel:
    return train(tmp_path_factory.mktemp("work"))


def test_coarse_experts_are_asked_twice(trained):
    assert trained.patch_scales == (0.15, 0.15, 0.3) and trained.family is HeatmapExperts
    assert trained.experts_at(0) is trained.experts_at(1)


def test_a_second_call_trains_nothing_again(tmp_path):
    first, second = [], []
    once, again = train(tmp_path, reported=first), train(tmp_path, reported=second)
    assert ("scale_1", 3, 3) in first and second == []
    assert all(torch.equal(one, other) for one, other in zip(once.parameters(), again.parameters(), strict=True))


def test_another_recipe_in_the_same_folder_is_refused(tmp_path):
    train(tmp_path)
    with pytest.raises(CheckpointError, match=r"scale_0\.pt: is a checkpoint of another training"):
        train(tmp_path, replace(RECIPE, seed=1))


def test_the_bundle_fits_as_the_model_does(trained, tmp_path):
    faces, path = heads(3), tmp_path / "model.pt"
    rules = torch.tensor([[1.0], [0.0], [1.0]])
    model = LandmarkModel(trained.pdm, list(trained.experts), rules)
    save_bundle(path, model, **RECORD)
    loaded, boxes = load(path), box_around(faces.landmarks)
    assert loaded.numerics.name == "exact" and loaded.model.early_termination is not None
    assert loaded.model.experts_at(0) is loaded.model.experts_at(1)
    kept, found = (
        detector.fit(faces.gray[:, None], boxes).landmarks
        for detector in (LandmarkDetector(model, "exact").eval(), loaded)
    )
    torch.testing.assert_close(found, kept, rtol=0, atol=0.05)  # weights are kept in float16
    with pytest.raises(BundleError, match="holds no face detector"):
        load_face_detector(path)


def test_a_damaged_record_is_refused(trained, tmp_path):
    save_bundle(tmp_path / "model.pt", trained, **RECORD)
    bundle = load_bundle(tmp_path / "model.pt")
    del bundle["model"]["experts"][0]["network"]["stem.0.weight"]
    with pytest.raises(BundleError, match="do not make a model"):
        build_model(bundle)


def test_calibration_leaves_a_model_that_always_fails_as_it_is(trained):
    faces = heads(4)
    assert with_early_termination(trained, faces, seed=0) is trained or trained.early_termination is None


def mesh_network(widths: tuple[int, ...] = ()) -> MeshNetwork:
    """One that stands for MediaPipe's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return MeshNetwork(68, widths, normalised=True)


def test_models_that_ship_have_their_recipes():
    default, small = load().model, load("small").model
    assert (recipe_of(default), recipe_of(small)) == (FULL, SMALL)
    for model, recipe in ((default, FULL), (small, SMALL)):
        assert [config for _, config in networks_of(model, recipe)] == list(recipe.scales)
    unet, mesh = default.experts[-1], small.experts[0]
    # As models were before
    assert recipe_of(LandmarkModel(default.pdm, [unet, unet])) is UNETS
    alone = LandmarkModel(default.pdm, [mesh, mesh])
    assert recipe_of(alone) is SMALL and [config for _, config in networks_of(alone, SMALL)] == [SMALL.scales[0]]


def test_of_two_mesh_networks_the_frozen_one_keeps_its_trunk_in_all_steps(tmp_path):
    mesh = replace(COARSE, mesh=True, widths=())
    recipe = replace(RECIPE, scales=(mesh, replace(mesh, frozen_trunk=True)), passes=(0, 1))
    faces = heads()
    trained = train_landmark_model(faces, make_gaussian(), MIRROR, recipe, tmp_path / "1", begin=mesh_network)
    retrained = retrain_networks(trained.eval(), faces, MIRROR, recipe, tmp_path / "2")
    (moved, _), (kept, frozen) = networks_of(retrained, recipe)
    assert frozen.frozen_trunk
    begun = mesh_network().state_dict()
    for name, value in kept.network.state_dict().items():
        if name.partition(".")[0] in MeshNetwork.trunk_layers:
            assert torch.equal(value, begun[name]), name
    assert not torch.equal(moved.network.stem.weight, begun["stem.weight"])
    assert not torch.equal(kept.network.head.weight, begun["head.weight"])
