"""The need itself: faces with pen markings, their landmarks spoilt, mended by the installed model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import clnf_torch
from clnf_torch.geometry.gray import to_gray
from clnf_torch.media.images import read_image
from clnf_torch.models.bundle import default_bundle
from clnf_torch.training.augmentation.landmark_corruption import CORRUPTIONS, corrupt_landmarks
from clnf_torch.training.data.annotations import read_annotations
from clnf_torch.training.evaluation.annotated import stack_padded, with_pen_marks
from clnf_torch.training.evaluation.metrics import FAILED, face_errors

FACES = 24


@pytest.mark.slow
def test_spoilt_landmarks_on_marked_faces_are_mended_and_annotated_ones_left_alone(shared: Path):
    if not default_bundle().is_file():
        pytest.skip("no weights/default.pt: make it with clnf-torch train")
    detector = clnf_torch.load()
    faces = read_annotations(shared / "faces").of_split("afw")[:: 337 // FACES][:FACES]
    read = with_pen_marks(lambda row: read_image(faces.images[row]), faces.landmarks, seed=1)
    frames = stack_padded([to_gray(read(row)[None])[0] for row in range(FACES)])[:, None]
    kind = torch.arange(FACES) // 2 % len(CORRUPTIONS)
    kind[::4] = -1  # a quarter is left as annotated
    mean = detector.model.pdm.mean[:, :2].detach()
    corrupted = corrupt_landmarks(faces.landmarks, kind, mean, torch.Generator().manual_seed(1))

    repaired = clnf_torch.repair_landmarks(corrupted, detector, frames, torch.arange(FACES))

    good = kind < 0
    assert repaired.before.poor[~good].float().mean() >= 0.9
    assert repaired.refitted[good].sum() <= 1 and repaired.after.poor.sum() <= 1
    left = ~repaired.refitted
    assert torch.equal(repaired.landmarks[left], corrupted[left])
    wrong = face_errors(repaired.landmarks, faces.landmarks) > FAILED
    assert (face_errors(corrupted, faces.landmarks) > FAILED).sum() >= 12 and wrong.sum() <= 2
