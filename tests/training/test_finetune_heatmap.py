"""Fine-tuning of heatmap experts: maps come nearer to the truth, in one network where it is asked twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.files.archive import save_archive
from clnf_torch.geometry.boxes import box_around
from clnf_torch.models.bundle import FORMAT, VERSION, load_bundle
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.mesh import LARGE, MeshNetwork
from clnf_torch.models.patch_experts.unet import UNet
from clnf_torch.pipeline import LandmarkDetector, load
from clnf_torch.training.augmentation.photometric import NO_AUGMENTATION
from clnf_torch.training.checkpoint import CheckpointError
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.finetune import (
    TUNABLE,
    FineTuneConfig,
    fine_tune,
    frontal_first,
    tuned_bundle,
)
from clnf_torch.training.recipe import COARSE, FINE, LARGE_MESH, MESH, config_like, heatmap_experts
from tests.training.heads import MIRROR, make_crops, make_gaussian, make_heads
from tests.training.untrained import untrained_model

FAST = FineTuneConfig(epochs=2, batch=2, learning_rate=3e-2, held_out=4, augmentation=NO_AUGMENTATION)


def heads(count: int = 8) -> FaceCrops:
    pdm = make_gaussian().pdm()
    return make_crops(pdm.landmarks(make_heads(pdm, count)))


def asked_twice() -> LandmarkModel:
    """Untrained experts of one network at two scales of a fit, and others at a third."""
    first, other = untrained_model(), untrained_model(seed=7)
    experts = [first.experts_at(0), first.experts_at(0), other.experts_at(0)]
    return LandmarkModel(first.pdm, experts).eval()


def numbers(model: LandmarkModel) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.experts.parameters()])


def test_maps_come_nearer_to_the_truth():
    model, told = asked_twice(), []
    result = fine_tune(model, heads(), MIRROR, FAST, report=lambda *words: told.append(words[:3]))
    assert result.scales == (0.15, 0.15) and told == [("scale 0.15", 1, 2), ("scale 0.15", 2, 2)] * 2
    assert all(after < 0.9 * before for before, after in zip(result.before, result.after, strict=True))
    assert model.experts_at(0) is model.experts_at(1)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_seed_repeats_itself():
    first, again, other = (asked_twice() for _ in range(3))
    for model, seed in ((first, 0), (again, 0), (other, 1)):
        fine_tune(
            model,
            heads(),
            MIRROR,
            replace(FAST, epochs=1, seed=seed, augmentation=TUNABLE[HeatmapExperts].suitable.augmentation),
        )
    assert torch.equal(numbers(first), numbers(again)) and not torch.equal(numbers(first), numbers(other))


def test_a_stopped_tuning_goes_on(tmp_path):
    whole, stopped, resumed = (asked_twice() for _ in range(3))
    fine_tune(whole, heads(), MIRROR, FAST)

    def stop(_: str, epoch: int, *__: float) -> None:
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(stopped, heads(), MIRROR, FAST, tmp_path, stop)
    told: list[tuple[object, ...]] = []
    fine_tune(resumed, heads(), MIRROR, FAST, tmp_path, lambda *words: told.append(words[:3]))
    assert told == [("scale 0.15", *epochs) for epochs in ((2, 2), (1, 2), (2, 2))]
    assert torch.equal(numbers(whole), numbers(resumed))


def test_checkpoints_of_another_model_are_refused(tmp_path):
    fine_tune(asked_twice(), heads(), MIRROR, replace(FAST, epochs=1), tmp_path)
    with pytest.raises(CheckpointError, match=r"tuned_0\.pt: is a checkpoint of another training"):
        fine_tune(untrained_model(seed=8), heads(), MIRROR, replace(FAST, epochs=1), tmp_path)


def test_a_tuned_bundle_keeps_all_else_and_fits(tmp_path):
    model, faces = asked_twice(), heads(4)
    kept = {"licence": "mine", "sources": [{"name": "heads"}], "validator": None, "face_detector": None}
    bundle = {"format": FORMAT, "version": VERSION, "numerics": "exact", **kept, "model": model.to_record()}
    fine_tune(model, faces, MIRROR, replace(FAST, epochs=1))
    save_archive(tuned_bundle(bundle, model, "4 faces"), tmp_path / "tuned.pt")
    content, loaded = load_bundle(tmp_path / "tuned.pt"), load(tmp_path / "tuned.pt")
    assert {name: content[name] for name in kept} == {**kept, "sources": [{"name": "heads"}, {"name": "4 faces"}]}
    assert content["model"]["experts"][1] == {"family": "repeat", "of": 0}
    torch.testing.assert_close(numbers(loaded.model), numbers(model), rtol=1e-3, atol=1e-4)  # kept in float16
    assert not torch.allclose(numbers(loaded.model), numbers(asked_twice()), rtol=1e-3, atol=1e-4)
    boxes = box_around(faces.landmarks)
    ours, theirs = (detector.fit(faces.gray, boxes) for detector in (LandmarkDetector(model, "exact").eval(), loaded))
    torch.testing.assert_close(theirs.landmarks, ours.landmarks, rtol=0, atol=0.1)


def test_experts_learn_as_those_of_the_nearest_scale_were_trained():
    unet, mesh, large = UNet(68, (4, 6), normalised=False), MeshNetwork(68), MeshNetwork(68, LARGE)
    configs = [replace(COARSE, scale=scale) for scale in (0.1, 0.2, 0.25, 0.5)]
    assert [config_like(heatmap_experts(each, unet, 68)) for each in configs] == [COARSE, COARSE, FINE, FINE]
    assert {config_like(heatmap_experts(each, mesh, 68)) for each in configs} == {MESH}
    assert {config_like(heatmap_experts(each, large, 68)) for each in configs} == {LARGE_MESH}


def test_the_less_turned_faces_come_first():
    model, faces = untrained_model(), heads()
    ordered = frontal_first(faces, model.pdm)
    turned = make_heads(make_gaussian().pdm(), 8).rotation[:, 1].abs()
    assert torch.equal(ordered.landmarks[0], faces.landmarks[turned.argmin()])
    assert torch.equal(ordered.gray[-1], faces.gray[turned.argmax()])
