"""How much a card is told to do: operations of a fit, a search being one, counted on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

import clnf_torch
from clnf_torch.converters import convert
from clnf_torch.fitting import compiled
from clnf_torch.fitting.initialise import upright_start
from tests.transfers import count_transfers

# Operations that only look at a tensor in another way
VIEWS = {
    "alias", "as_strided", "detach", "diagonal", "expand", "permute", "select", "slice", "split", "split_with_sizes",
    "t", "transpose", "unbind", "unfold", "unsafe_split", "squeeze", "unsqueeze", "view", "_unsafe_view",
}  # fmt: skip


@pytest.fixture(scope="module")
def ceclm(openface_models, tmp_path_factory) -> clnf_torch.LandmarkDetector:
    """A CE-CLM model with its parts and its validator."""
    path = tmp_path_factory.mktemp("launches") / "ceclm.pt"
    convert(openface_models / "main_ceclm_general.txt", path)
    return clnf_torch.load(path)


@pytest.fixture(autouse=True)
def searches_are_kernels(monkeypatch):
    """On the meta device too, where they make results of the right shapes, in as many launches as on CUDA: one."""

    def search_responses(pdm, start, field, config, kernel_step):
        return torch.empty_like(start.scale), start, field.base

    def search_landmarks(pdm, landmarks, known, rotation):
        start, _, _ = upright_start(pdm, landmarks, known, rotation)
        torch.empty_like(start.scale)
        return start

    stand_in = SimpleNamespace(search_responses=search_responses, search_landmarks=search_landmarks)
    monkeypatch.setattr(compiled, "kernels", lambda device_type: stand_in)


def launches(run: Callable[[], object]) -> int:
    """Operations of the second of two calls, without views."""
    with torch.no_grad():
        operations = count_transfers(run).operations
    return sum(count for name, count in operations.items() if name not in VIEWS)


def fit(detector: clnf_torch.LandmarkDetector, faces: int = 3, **settings) -> Callable[[], object]:
    detector = detector.to("meta")
    frames = torch.zeros(1, 3, 200, 200, dtype=torch.uint8, device="meta")
    boxes, index = torch.ones(faces, 4, device="meta"), torch.zeros(faces, dtype=torch.int64, device="meta")
    return lambda: detector.fit(frames, boxes, index, **settings)


def test_main_fit_of_the_default_model():
    assert 500 < launches(fit(clnf_torch.load(), parts=False, validate=False)) <= 1300


def test_whole_detection_with_the_default_model():
    """Eyes, gaze and validation included; both eyes are rows of one fit."""
    detector = clnf_torch.load()
    assert len(detector.model.parts) == 2 and detector.validator is not None
    assert 1500 < launches(fit(detector)) <= 2200


def test_main_fit_of_ce_clm(ceclm):
    assert 500 < launches(fit(ceclm, parts=False, validate=False)) <= 1700


def test_whole_detection_with_ce_clm(ceclm):
    """Eyes and validation included."""
    assert ceclm.model.parts and ceclm.validator is not None
    assert 2000 < launches(fit(ceclm)) <= 4500


def test_faces_cost_no_launches():
    detector = clnf_torch.load()
    assert launches(fit(detector, faces=1)) == launches(fit(detector, faces=500))
