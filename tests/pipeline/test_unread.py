"""What a fit does on a card: nothing is read, nothing is sent, and the results are those of a fit that reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from clnf_torch.detection.validator import DetectionValidator
from clnf_torch.fitting.config import preset_named
from clnf_torch.geometry.host import is_readable, unread
from clnf_torch.models.landmark_model import LandmarkModel, Part
from clnf_torch.models.patch_experts.heatmap import HeatmapExperts
from clnf_torch.pipeline import LandmarkDetector
from tests.factories import CONFIG, make_boxes, make_images, make_model, make_params, make_pdm, make_rules
from tests.models.patch_experts.heatmap_factories import make_heatmap_model, make_mesh_model, make_unet_model
from tests.models.patch_experts.template_factories import make_ccnf, make_svr
from tests.transfers import count_transfers
from tests.validators import make_validator_record

FAMILIES = ["cen", "ccnf", "svr", "heatmap", "unet", "mesh"]


def make_detector(family: str, rules: torch.Tensor | None = None, with_parts: bool = True) -> LandmarkDetector:
    """A detector with everything that a fit can have: parts, a validator, early termination."""
    networks = {"heatmap": make_heatmap_model, "unet": make_unet_model, "mesh": make_mesh_model}
    if family in networks:
        return LandmarkDetector(networks[family](), "exact")
    if family == "cen":
        whole = make_model(rules=rules)
    else:
        make = {"ccnf": make_ccnf, "svr": make_svr}[family]
        whole = LandmarkModel(make_pdm(), [make(), make()], rules)
    shared = torch.tensor([0, 2, 3])
    names = ("left_eye_28", "right_eye_28") if with_parts else ()
    parts = [Part(name, make_model(), shared, shared) for name in names]
    model = LandmarkModel(whole.pdm, list(whole.experts), rules, parts=parts)
    return LandmarkDetector(model, "openface", DetectionValidator.from_record(make_validator_record(), torch.float64))


def calls(detector: LandmarkDetector, device: str, iterations: int = 5) -> dict[str, object]:
    """Every entry point, with arguments on a device."""
    frames, boxes = make_images(2).to(device, torch.uint8), make_boxes(5).to(device)
    index = torch.tensor([0, 1, 1, 0, 1]).to(device)
    landmarks = make_boxes(5)[:, None, :2].to(device) + 10 * detector.model.pdm.mean[None, :, :2]
    params = make_params(5)
    params = replace(params, **{name: value.to(device, landmarks.dtype) for name, value in vars(params).items()})
    family = detector.model.family
    preset = preset_named("default", family) if issubclass(family, HeatmapExperts) else CONFIG
    preset = replace(preset, iterations=iterations)
    return {
        "fit": lambda: detector.fit(frames, boxes, index, preset=preset),
        "multi-view": lambda: detector.fit(frames, boxes, index, preset=preset, multi_view=True),
        "what is known": lambda: detector.fit(
            frames, boxes, index, preset=preset, regularisation=9.0, landmark_weight=torch.ones_like(landmarks[0, :, 0])
        ),
        "landmarks": lambda: detector.fit_from_landmarks(frames, landmarks, index, preset=preset),
        "params": lambda: detector.fit_from_params(frames, params, index, preset=preset),
    }


CALLS = ["fit", "multi-view", "landmarks", "params"]


@pytest.mark.parametrize("rules", [None, -9.0, 9.0], ids=["all", "ended", "unsure"])
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_transferred(family, rules):
    """The meta device stands for a card: reading its tensors would fail, and so would a shape that depends on them."""
    if family in ("heatmap", "unet", "mesh") and rules is not None:
        pytest.skip("these detectors have no early termination")
    detector = make_detector(family, None if rules is None else make_rules(cutoff=rules)).to("meta")
    # One step of each search is as good as many
    for name in CALLS if rules is None else ["multi-view"]:
        counted = count_transfers(calls(detector, "meta", iterations=1)[name])
        assert not counted.to_host and not counted.to_device, name
        assert counted.operations.total() > 200, name


def test_a_number_that_the_caller_gives_is_sent():
    counted = count_transfers(calls(make_detector("cen").to("meta"), "meta", iterations=1)["what is known"])
    assert not counted.to_host and counted.to_device.total() <= 2


@pytest.mark.parametrize("cutoff", [None, -9.0, -0.3, 9.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_results_are_those_of_a_fit_that_reads(family, cutoff):
    if family in ("heatmap", "unet", "mesh") and cutoff is not None:
        pytest.skip("these detectors have no early termination")
    detector = make_detector(family, None if cutoff is None else make_rules(cutoff=cutoff))
    for name, call in calls(detector, "cpu").items():
        expected = call()
        with unread():
            assert not is_readable(detector.model.pdm.mean)
            found = call()
        assert is_readable(detector.model.pdm.mean)
        torch.testing.assert_close(found.landmarks, expected.landmarks, rtol=0, atol=1e-6, msg=name, equal_nan=True)
        for field in ("success", "view", "visible", "hypothesis", "confidence"):
            assert getattr(found, field).tolist() == getattr(expected, field).tolist(), (name, field)
        assert found.landmarks.shape == (5, detector.model.pdm.num_landmarks, 2)
