"""Whole rendered faces; skipped without the package anny or OpenGL."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.landmarks68 import JAW
from clnf_torch.training.synthetic.face_generator import FaceGenerator
from clnf_torch.training.synthetic.labels import RenderedFace

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def generator() -> FaceGenerator:
    pytest.importorskip("moderngl")
    try:
        return FaceGenerator(128)
    except (ModuleNotFoundError, RuntimeError) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def faces(generator) -> list[RenderedFace]:
    return [generator.face(0, number) for number in range(6)]


def test_the_same_seed_and_number_give_the_same_face(generator, faces):
    again = generator.face(0, 3)
    assert again.image.equal(faces[3].image) and again.labels.landmarks.equal(faces[3].labels.landmarks)
    assert not generator.face(1, 3).labels.landmarks.equal(faces[3].labels.landmarks)


def test_points_in_space_fall_onto_their_landmarks(faces):
    for face in faces:
        label = face.labels
        focal, center = label.camera[0], label.camera[1:]
        torch.testing.assert_close(
            label.points[:, :2] / label.points[:, 2:] * focal + center, label.landmarks, atol=1e-3, rtol=0
        )
        seen = label.eye_points[..., :2] / label.eye_points[..., 2:] * focal + center
        torch.testing.assert_close(seen, label.eyes, atol=1e-3, rtol=0)


def test_landmarks_lie_on_what_was_drawn(faces):
    shares = []
    for face in faces:
        place = ((face.labels.landmarks[17:] + 0.5) / 2).long().clamp(0, 63)
        around = face.depth.float()[None, None].nan_to_num(posinf=1e6)
        # Of the pixels beside, too: where the surface is steep, they show another depth
        beside = torch.nn.functional.unfold(around, 3, padding=1).view(9, 64, 64)[:, place[:, 1], place[:, 0]]
        near = (beside - face.labels.points[17:, 2]).abs().amin(0) < 8
        shares.append(near[face.labels.visible[17:]].float().mean())
    assert min(shares) > 0.9


def test_lids_and_corners_of_both_schemes_agree(faces):
    for face in faces:
        torch.testing.assert_close(face.labels.eyes[0, [8, 14]], face.labels.landmarks[[36, 39]], atol=1e-3, rtol=0)
        torch.testing.assert_close(face.labels.eyes[1, [8, 14]], face.labels.landmarks[[42, 45]], atol=1e-3, rtol=0)


def test_eyes_look_along_the_line_from_their_centre_to_the_pupil(faces):
    for face in faces:
        rings = face.labels.eye_points[:, [*range(8)]].mean(1)
        spread = rings[1] - rings[0]
        assert face.labels.gaze.norm(dim=1).sub(1).abs().max() < 1e-5
        assert (face.labels.gaze[0] @ face.labels.gaze[1]) > 0.9 and 40 < float(spread.norm()) < 90


def test_only_the_jaw_differs_on_the_contour(faces):
    for face in faces:
        assert face.labels.contour[JAW.stop :].equal(face.labels.landmarks[JAW.stop :])
        assert face.labels.contour.isfinite().all()
