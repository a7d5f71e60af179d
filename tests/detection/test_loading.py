"""`clnf_torch.detection.mtcnn`: the face detector of a bundle, and bundles without one."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.detection import MTCNNConfig, load_face_detector
from clnf_torch.detection.mtcnn import TO_LANDMARKS
from clnf_torch.files.archive import save_archive
from clnf_torch.models.bundle import FORMAT, VERSION, BundleError
from tests.mtcnns import CONFIG, make_mtcnn, make_mtcnn_record


def write(path, **fields):
    save_archive({"format": FORMAT, "version": VERSION, **fields}, path)
    return path


def test_round_trip(tmp_path):
    path = write(tmp_path / "m.pt", face_detector=make_mtcnn_record())
    frames = 255 * torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(2))
    found = load_face_detector(path, dtype=torch.float64, config=CONFIG).detect(frames)
    expected = make_mtcnn().detect(frames)
    assert torch.equal(found.boxes, expected.boxes) and len(found.boxes) > 0
    assert load_face_detector(path).config == MTCNNConfig()


def test_a_bundle_may_name_settings_and_its_boxes(tmp_path):
    named = {"config": {"min_face": 24.0, "thresholds": (0.55, 0.45, 0.4)}, "to_landmarks": [0.0, 0.0, 1.0, 0.5]}
    frames = 255 * torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(2))
    path = write(tmp_path / "m.pt", face_detector={**make_mtcnn_record(), **named})
    detector = load_face_detector(path, dtype=torch.float64)
    assert detector.config == CONFIG
    found, plain = detector.detect(frames).boxes, make_mtcnn().detect(frames).boxes
    right, down, wider, higher = TO_LANDMARKS
    assert len(plain) > 0
    torch.testing.assert_close(found[:, 2] / plain[:, 2], torch.full_like(plain[:, 0], 1 / wider))
    torch.testing.assert_close(found[:, 3] / plain[:, 3], torch.full_like(plain[:, 0], 0.5 / higher))
    torch.testing.assert_close(
        plain[:, :2] - found[:, :2], torch.stack((right * found[:, 2], down * 2 * found[:, 3]), 1)
    )
    assert load_face_detector(path, config=MTCNNConfig()).config == MTCNNConfig()
    assert load_face_detector(path, config=MTCNNConfig()).to_landmarks == (0.0, 0.0, 1.0, 0.5)


@pytest.mark.parametrize("fields", [{}, {"face_detector": None}])
def test_a_bundle_without_face_detector(tmp_path, fields):
    with pytest.raises(BundleError, match=r"m\.pt: holds no face detector; convert"):
        load_face_detector(write(tmp_path / "m.pt", **fields))


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "haar"},
        {"kind": "mtcnn"},
        {"kind": "mtcnn", "pnet": {"layers": [{}]}},
        {**make_mtcnn_record(), "to_landmarks": [0.0, 1.0]},
        {**make_mtcnn_record(), "config": {"smallest": 20.0}},
        {**make_mtcnn_record(), "config": {"min_face": 2.0}},
        7,
    ],
)
def test_fields_that_make_no_detector(tmp_path, record):
    with pytest.raises(BundleError, match=r"m\.pt: face_detector.*: (expected|is of kind)"):
        load_face_detector(write(tmp_path / "m.pt", face_detector=record))
