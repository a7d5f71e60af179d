"""A person who develops methods: exchanges parts of a model, trains and saves them, and takes networks elsewhere.

Each test is what such a person types first, from the top to the bottom, with the model that ships.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

import clnf_torch
from clnf_torch.models.bundle import FAMILIES
from clnf_torch.models.landmark_model import LandmarkModel
from clnf_torch.models.patch_experts.base import PatchExperts, common_fields

PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "astronaut.jpg"


@pytest.fixture
def detector() -> clnf_torch.LandmarkDetector:
    return clnf_torch.load()


def test_what_is_inside_can_be_looked_at(detector):
    assert detector.model.pdm.num_landmarks == 68
    assert [experts.scale for experts in detector.model.experts] == [0.225, 0.225, 0.3]
    assert sum(value.numel() for value in detector.model.experts.parameters()) > 1e6


def test_another_shape_model_is_put_in_saved_and_loaded(detector, tmp_path):
    before = clnf_torch.detect(PHOTO, detector)
    other = copy.deepcopy(detector.model.pdm)
    other.variances *= 0.25  # shapes vary half as much
    detector.model.pdm = other
    stiff = clnf_torch.detect(PHOTO, detector)
    assert not torch.equal(stiff.landmarks, before.landmarks)
    clnf_torch.save(detector, tmp_path / "stiff.pt")
    again = clnf_torch.detect(PHOTO, tmp_path / "stiff.pt")
    torch.testing.assert_close(again.landmarks, stiff.landmarks, rtol=0, atol=0)


def test_learned_weights_are_saved(detector, tmp_path):
    """A step of gradient descent on the experts, through the fit."""
    exact = clnf_torch.load(numerics="exact")
    exact.model.experts.requires_grad_()
    found = clnf_torch.detect(PHOTO, detector)
    frames = found.sources[0].pixels()[None].float()
    optimizer = torch.optim.SGD(exact.model.experts.parameters(), lr=0.1)
    target = found.landmarks + 1
    loss = (exact.fit(frames, found.boxes).landmarks - target).square().mean()
    loss.backward()
    optimizer.step()
    clnf_torch.save(exact, tmp_path / "learned.pt")
    learned = clnf_torch.load(tmp_path / "learned.pt")
    weights = [list(each.model.experts.parameters()) for each in (learned, exact, detector)]
    # Heatmap experts are stored in float16
    assert all(torch.equal(saved, own.half().float()) for saved, own, _ in zip(*weights, strict=True))
    assert any(not torch.equal(saved, before) for saved, _, before in zip(*weights, strict=True))
    assert learned.numerics.name == "exact"


class DarkExperts(PatchExperts):
    """Experts that take the darkest places for their landmarks."""

    name = "journey_dark"

    def respond(self, areas, view, numerics):
        reach = self.support // 2
        middle = areas[..., reach : areas.shape[-1] - reach, reach : areas.shape[-1] - reach]
        return (1 - middle / 255) * self.visible[view, :, None, None]

    @classmethod
    def from_record(cls, record, dtype):
        return cls(**common_fields(record, dtype))


def test_experts_of_ones_own_make_a_model(detector, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, DarkExperts.name, DarkExperts)
    points = detector.model.pdm.num_landmarks
    experts = DarkExperts(0.25, 3, torch.zeros(1, 3), torch.ones(1, points, dtype=torch.bool), torch.ones(1, points))
    own = clnf_torch.LandmarkDetector(LandmarkModel(detector.model.pdm, [experts]), "exact")
    clnf_torch.save(own, tmp_path / "dark.pt", licence="mine")
    found = clnf_torch.detect(PHOTO, tmp_path / "dark.pt", boxes=[220, 80, 100, 100])
    expected = clnf_torch.detect(PHOTO, own, boxes=[220, 80, 100, 100])
    torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=0)


def test_networks_go_to_another_runtime(detector, tmp_path):
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'clnf-torch[onnx]' onnxruntime")
    import onnxruntime

    from clnf_torch.export.onnx import export_onnx

    coarse, _ = export_onnx(detector.model, tmp_path / "experts.onnx")
    areas = torch.zeros(1, 64, 64)
    (maps,) = onnxruntime.InferenceSession(coarse).run(["maps"], {"areas": areas.numpy()})
    torch.testing.assert_close(torch.from_numpy(maps), detector.model.experts[0].maps(areas), rtol=0, atol=2e-6)


def test_a_directory_of_openface_is_named_as_such(free_model):
    with pytest.raises(clnf_torch.BundleError, match="convert it with: clnf-torch convert"):
        clnf_torch.load(free_model)
