"""Landmarks of photographs that nobody has annotated, of those on which a model agrees with itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch.geometry.landmarks68 import JAW, MIRROR, MOUTH
from clnf_torch.media.images import read_image
from clnf_torch.training.evaluation.metrics import face_errors
from clnf_torch.training.free.self_training import Agreement, Portraits, annotate, cut_portraits
from tests.factories import seeded

LOOKS = Agreement(looks=2)


@pytest.fixture(scope="module")
def photograph() -> Tensor:
    return read_image(Path(__file__).parents[3] / "docs" / "images" / "astronaut.jpg")


@pytest.fixture(scope="module")
def portraits(photograph) -> Portraits:
    nobody = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=seeded(0))
    return cut_portraits([nobody, photograph], clnf_torch.load_face_detector("blazeface"), 256)


def test_faces_are_cut_with_room_around_their_boxes(portraits):
    assert portraits.gray.shape == (1, 256, 256)
    x, y, width, height = portraits.boxes[0].tolist()
    assert max(width, height) == pytest.approx(128, abs=1)
    assert (x + width / 2, y + height / 2) == pytest.approx((127.5, 127.5), abs=1)


def test_what_is_believed_is_where_the_model_fits(portraits):
    detector = clnf_torch.load()
    believed = annotate(detector.model, portraits, torch.tensor(MIRROR), 0, LOOKS)
    found = detector.fit(portraits.gray[:, None], portraits.boxes).landmarks
    # 0.007: the mirrored looks
    assert face_errors(believed.landmarks, found)[0] < 0.02
    assert torch.equal(believed.gray, portraits.gray)


def test_the_mirrored_portrait_gets_the_mirrored_landmarks(portraits):
    model, mirror = clnf_torch.load().model, torch.tensor(MIRROR)
    x, y, width, height = portraits.boxes[0]
    other = Portraits(gray=portraits.gray.flip(-1), boxes=torch.stack((255 - x - width, y, width, height))[None])
    one, two = (annotate(model, each, mirror, 0, LOOKS).landmarks for each in (portraits, other))
    # 0.004: other boxes
    assert face_errors(two[:, mirror] * torch.tensor([-1.0, 1]) + torch.tensor([255.0, 0]), one)[0] < 0.01


def test_lips_are_those_of_a_teacher_who_knows_them(portraits):
    model, mirror = clnf_torch.load().model, torch.tensor(MIRROR)
    taught = torch.full((1, 68, 2), 7.0)
    own, drawn = (annotate(model, portraits, mirror, 0, LOOKS, each).landmarks for each in (None, taught))
    assert (drawn[:, MOUTH] == 7).all()
    torch.testing.assert_close(drawn[:, JAW], own[:, JAW].lerp(taught[:, JAW], 0.2))


def test_landmarks_without_agreement_are_not_believed(portraits):
    noise = torch.randint(0, 256, (1, 256, 256), dtype=torch.uint8, generator=seeded(1))
    both = Portraits(gray=torch.cat((noise, portraits.gray)), boxes=portraits.boxes.repeat(2, 1))
    believed = annotate(clnf_torch.load().model, both, torch.tensor(MIRROR), 0, LOOKS)
    assert torch.equal(believed.gray, portraits.gray)
    assert not len(annotate(clnf_torch.load().model, both, torch.tensor(MIRROR), 0, Agreement(looks=2, most=1e-6)))


def test_an_image_without_a_face_is_left_out():
    nobody = torch.zeros(3, 64, 64, dtype=torch.uint8)
    assert cut_portraits([nobody], clnf_torch.load_face_detector("blazeface"), 64).gray.shape == (0, 64, 64)
