"""``clnf-torch train model`` from images to a bundle: in a few steps, stopped and resumed, and with bad input."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from clnf_torch.cli.main import app
from clnf_torch.models.bundle import load_bundle
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.models.patch_experts.mesh import LARGE, MeshExperts
from clnf_torch.pipeline import load
from clnf_torch.training.recipe import SMALL_FINE
from clnf_torch.training.shape.depth import HEADS
from tests.factories import seeded
from tests.measures.heads import FACE

FEW = ("--effort", "0.0002", "--hold-out", "3", "--threads", "1")


@pytest.fixture(autouse=True)
def heads(monkeypatch):
    """Heads that need no package."""

    def made_up(count: int, seed: int) -> torch.Tensor:
        return FACE.mean.float() + torch.randn(40, 68, 3, generator=seeded(seed))

    monkeypatch.setattr("clnf_torch.training.shape.depth.random_shapes", made_up)


def run(faces, out, *more: str):
    given = ("--prior", str(faces.parent / "shapes.npz"), "--detector", str(faces.parent / "detector.pt"))
    command = ("train", "model", str(faces), "-o", str(out), "--work", str(out.parent / "work"), *given, *FEW, *more)
    return CliRunner().invoke(app, command)


def test_a_bundle_is_made_and_made_again(dotted_faces, tmp_path):
    ended = run(dotted_faces, tmp_path / "model.pt")
    assert ended.exit_code == 0, ended.output
    assert "8 faces, 4 held out" in ended.output
    assert ended.output.count("calibrating: ") == 3
    bundle = load_bundle(tmp_path / "model.pt")
    assert bundle["face_detector"]["kind"] == "mtcnn" and bundle["validator"]["kind"] == "cnn"
    assert "research use only" in bundle["licence"] and bundle["sources"] == [
        {"name": "faces: 12 faces"},
        {"name": HEADS},
    ]
    assert load(tmp_path / "model.pt").validator is not None
    first = (tmp_path / "model.pt").read_bytes()
    assert run(dotted_faces, tmp_path / "model.pt").exit_code == 0
    assert (tmp_path / "model.pt").read_bytes() == first
    described = CliRunner().invoke(app, ("info", str(tmp_path / "model.pt"))).output
    assert "HEATMAP" in described and "experts again" in described and "trained on" in described


def test_without_the_package_of_heads_there_is_no_depth_shape(dotted_faces, tmp_path, monkeypatch):
    def missing(count: int, seed: int) -> torch.Tensor:
        raise ModuleNotFoundError("anny is missing")

    monkeypatch.setattr("clnf_torch.training.shape.depth.random_shapes", missing)
    ended = run(dotted_faces, tmp_path / "model.pt")
    assert ended.exit_code == 0 and "depths stay those of the shape model: anny is missing" in ended.output
    bundle = load_bundle(tmp_path / "model.pt")
    assert bundle["model"]["depth_shape"] is None and bundle["sources"] == [{"name": "faces: 12 faces"}]


def test_a_bundle_without_a_face_detector_is_refused_at_once(dotted_faces, bundle, tmp_path):
    ended = run(dotted_faces, tmp_path / "model.pt", "--detector", str(bundle))
    assert ended.exit_code == 1 and "holds no face detector" in ended.output and not (tmp_path / "work").exists()


def test_checkpoints_of_another_training_are_refused(dotted_faces, tmp_path):
    assert run(dotted_faces, tmp_path / "model.pt").exit_code == 0
    ended = run(dotted_faces, tmp_path / "other.pt", "--seed", "4")
    assert ended.exit_code == 1 and "is a checkpoint of another training" in ended.output


def retrain(faces, out, *more: str):
    command = ("train", "retrain", str(faces), "-o", str(out), "--effort", "0.0002", "--threads", "1", *more)
    return CliRunner().invoke(app, command)


def test_its_networks_are_trained_again(dotted_faces, tmp_path):
    first = tmp_path / "model.pt"
    assert run(dotted_faces, first).exit_code == 0
    ended = retrain(dotted_faces, tmp_path / "again.pt", "--model", str(first))
    assert ended.exit_code == 0, ended.output
    assert "trained on 12 faces, none held out" in ended.output
    before, after = load_bundle(first), load_bundle(tmp_path / "again.pt")
    assert before["sources"] != after["sources"] and before["licence"] == after["licence"]
    for kept in ("early_termination", "refinement", "error_model", "depth_shape"):
        assert (after["model"][kept] is None) == (before["model"][kept] is None)
    assert load(tmp_path / "again.pt").validator is not None


def test_a_small_model_has_one_that_begins_as_another_network_and_a_small_unet(dotted_faces, tmp_path):
    pytest.importorskip("tflite", reason="the extra mediapipe is not installed")
    from tests.converters.mesh_package import random_network, write_wheel

    first, wheel = tmp_path / "model.pt", write_wheel(tmp_path / "mediapipe-0.10.14.whl", random_network())
    ended = run(dotted_faces, first, "--mesh", str(wheel), "--small")
    assert ended.exit_code == 0, ended.output
    made, content = load(first).model, load_bundle(first)
    assert [type(experts) for experts in made.experts] == [MeshExperts, HeatmapExperts]
    assert [experts.sizes() for experts in made.experts] == [{}, {"widths": list(SMALL_FINE.widths)}]
    assert made.refinement is not None and made.refinement.scales == 2 and made.error_model is not None
    assert "research" in content["licence"] and "Apache License" in content["licence"]
    assert any("face mesh" in source["name"] for source in content["sources"])
    ended = retrain(dotted_faces, tmp_path / "again.pt", "--model", str(first))
    assert ended.exit_code == 0, ended.output
    after = load(tmp_path / "again.pt").model
    for scale in range(2):
        before, now = (model.experts_at(scale).network.head.weight for model in (made, after))
        assert not torch.equal(before, now)


def test_a_full_model_has_two_of_these_and_a_unet(dotted_faces, tmp_path):
    pytest.importorskip("tflite", reason="the extra mediapipe is not installed")
    from tests.converters.mesh_package import random_network, write_wheel

    first, wheel = tmp_path / "model.pt", write_wheel(tmp_path / "mediapipe-0.10.14.whl", random_network())
    ended = run(dotted_faces, first, "--mesh", str(wheel))
    assert ended.exit_code == 0, ended.output
    ended = retrain(dotted_faces, tmp_path / "again.pt", "--model", str(first))
    assert ended.exit_code == 0, ended.output
    for path in (first, tmp_path / "again.pt"):
        made = load(path).model
        assert [type(experts) for experts in made.experts] == [MeshExperts, MeshExperts, HeatmapExperts]
        assert [experts.sizes().get("widths", []) for experts in made.experts][:2] == [[], list(LARGE)]
        assert made.family is HeatmapExperts and made.refinement is not None and made.refinement.scales == 3
        assert len(made.refinement.centroid_offset.unique(dim=0)) == 3
        assert "Apache License" in load_bundle(path)["licence"]


def test_a_small_model_wants_a_network_to_begin_with(dotted_faces, tmp_path):
    ended = run(dotted_faces, tmp_path / "small.pt", "--small")
    assert ended.exit_code == 2 and "give --mesh too" in ended.output


def test_what_is_no_package_is_refused(dotted_faces, tmp_path):
    pytest.importorskip("tflite", reason="the extra mediapipe is not installed")
    ended = run(dotted_faces, tmp_path / "small.pt", "--mesh", str(tmp_path / "none.whl"))
    assert ended.exit_code == 1 and "none.whl" in ended.output and not (tmp_path / "small.pt").exists()


def test_other_experts_are_not_trained_again(dotted_faces, bundle, tmp_path):
    ended = retrain(dotted_faces, tmp_path / "again.pt", "--model", str(bundle))
    assert ended.exit_code == 1 and "this trains heatmap experts" in ended.output


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [("--effort", "0", "give a number above 0"), ("--hold-out", "9", "faces are too few"), ("--split", "x", "x")],
)
def test_bad_words_are_refused(dotted_faces, tmp_path, option, value, complaint):
    ended = run(dotted_faces, tmp_path / "model.pt", option, value)
    assert ended.exit_code != 0 and complaint in ended.output and not (tmp_path / "model.pt").exists()
