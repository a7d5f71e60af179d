"""The expected errors of landmarks as `LandmarkDetector.fit` and `VideoTracker.step` give them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import clnf_torch
from clnf_torch.export.face_table import columns
from tests.factories import CONFIG, make_boxes, make_images, make_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def detector() -> clnf_torch.LandmarkDetector:
    return clnf_torch.load()


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    cv2 = pytest.importorskip("cv2")
    image = cv2.cvtColor(cv2.imread(str(ROOT / "docs" / "images" / "astronaut.jpg")), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def test_blurred_and_covered_faces_have_larger_ones(detector, photo):
    (box,) = clnf_torch.load_face_detector().detect(photo).boxes
    x, y, width, height = box.int().tolist()
    covered = photo.clone()
    covered[..., y + height // 2 : y + height, x : x + width] = 128
    with torch.inference_mode():
        found = detector.fit(torch.cat((photo, covered)), torch.stack((box, box)))
    errors = found.landmark_errors / found.params.scale[:, None]
    assert bool((errors > 0.2).all())  # millimetres
    mouth, eyes = slice(48, 68), slice(36, 48)
    assert errors[0].mean() < 3
    assert errors[1, mouth].mean() > 1.5 * errors[0, mouth].mean()
    assert errors[1, mouth].mean() > errors[1, eyes].mean()


def test_they_are_pixels(detector, photo):
    (box,) = clnf_torch.load_face_detector().detect(photo).boxes
    large = torch.nn.functional.interpolate(photo.float(), scale_factor=2, mode="bilinear").to(torch.uint8)
    with torch.inference_mode():
        one, other = detector.fit(photo, box[None]), detector.fit(large, 2 * box[None])
    torch.testing.assert_close(other.landmark_errors.mean(), 2 * one.landmark_errors.mean(), rtol=0.1, atol=0)


def test_hidden_landmarks_have_none(detector, photo):
    seen = torch.ones(68, dtype=torch.bool)
    seen[:17] = False
    (box,) = clnf_torch.load_face_detector().detect(photo).boxes
    errors = detector.fit(photo, box[None], visible=seen).landmark_errors[0]
    assert bool(errors[:17].isnan().all()) and bool(errors[17:].isfinite().all())


def test_a_model_that_does_not_tell():
    found = clnf_torch.LandmarkDetector(make_model(), "exact").fit(make_images(), make_boxes(2), preset=CONFIG)
    assert found.landmark_errors is None


def test_tables_have_columns_for_them(detector, photo):
    found = clnf_torch.detect(photo[0], likelihoods=True)
    names = [name for block in columns(found.table, image_mode=True) for name in block.names]
    assert names[-69:-1] == [f"lm_error_{number}" for number in range(68)]
    torch.testing.assert_close(found.table.errors, found.landmark_errors)
    plain = clnf_torch.detect(photo[0])
    assert plain.table.errors is None and plain[0].landmark_errors.shape == (68,)


def test_a_tracker_gives_them_too(detector, photo):
    tracker = clnf_torch.VideoTracker(detector, clnf_torch.load_face_detector())
    state = tracker.begin(1)
    with torch.inference_mode():
        for _ in range(3):
            state, result = tracker.step(state, photo)
    assert result.faces.landmark_errors.shape == (1, 68)
    assert bool(result.faces.landmark_errors.isfinite().all())
