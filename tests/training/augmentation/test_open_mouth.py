"""Mouths opened in photographs: the lips part by what was asked for, something else is seen between, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch.geometry.gray import to_gray
from clnf_torch.geometry.landmarks68 import OUTER_EYE_CORNERS
from clnf_torch.media.images import read_image
from clnf_torch.training.augmentation.open_mouth import OpenMouth, open_mouths
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops
from tests.factories import seeded

WIDE = OpenMouth(smile=0.0, speech_gap=(0.2, 0.3), shut=1.0)
FACES = 6


@pytest.fixture(scope="module")
def faces() -> FaceCrops:
    """A photograph several times; its lips are apart, so all of it is allowed to open them further."""
    image = read_image(Path(__file__).parents[3] / "docs" / "images" / "astronaut.jpg")
    boxes = clnf_torch.load_face_detector("blazeface").detect(image[None]).boxes
    found = clnf_torch.load().fit(image[None], boxes).landmarks[0]
    low = found.amin(0).floor() - 40
    left, top = int(low[0]), int(low[1])
    gray = to_gray(image[None])[0, top : top + 192, left : left + 192].round().to(torch.uint8)
    landmarks = found - low
    # Shut: both edges of the inner lips in the middle between them
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        landmarks[[upper, lower]] = (landmarks[upper] + landmarks[lower]) / 2
    return FaceCrops(gray=gray.expand(FACES, -1, -1), landmarks=landmarks.expand(FACES, -1, -1))


def opened(faces: FaceCrops, config: OpenMouth, seed: int = 0) -> FaceCrops:
    return open_mouths(faces, Sampler(seeded(seed), torch.device("cpu")), config)


def gaps(landmarks: Tensor) -> Tensor:
    """Between the lips, over the distance of the outer eye corners."""
    left, right = (landmarks[:, corner] for corner in OUTER_EYE_CORNERS)
    return (landmarks[:, 66] - landmarks[:, 62]).norm(dim=1) / (right - left).norm(dim=1)


@pytest.mark.parametrize("smile", [0.0, 1.0])
def test_the_lips_part_as_far_as_asked_for(faces, smile):
    config = OpenMouth(smile=smile, smile_gap=(0.1, 0.15), speech_gap=(0.2, 0.3))
    low, high = config.smile_gap if smile else config.speech_gap
    found = gaps(opened(faces, config).landmarks)
    # The lips part by as much in their middle, and by a little less beside it
    assert ((found > 0.9 * low) & (found < high + 1e-6)).all() and found.unique().numel() == FACES


def test_eyes_brows_and_nose_stay(faces):
    done = opened(faces, WIDE)
    assert torch.allclose(done.landmarks[:, 17:48], faces.landmarks[:, 17:48], atol=1e-3)
    above = int(faces.landmarks[0, 27, 1])
    assert (done.gray[:, :above].float() - faces.gray[:, :above].float()).abs().mean() < 6


def test_the_chin_falls_when_a_mouth_speaks(faces):
    done = opened(faces, WIDE)
    assert (done.landmarks[:, 8, 1] > faces.landmarks[:, 8, 1] + 5).all()


def test_the_lips_are_where_their_landmarks_are(faces):
    """The pixels of the lower lip, and of the chin, are those of the photograph."""
    done = opened(faces, WIDE)
    for number in (57, 8):
        before, after = (each.landmarks[0, number].round().long() for each in (faces, done))
        one, other = (
            each.gray[0, y - 2 : y + 3, x - 2 : x + 3].float().mean()
            for each, (x, y) in ((faces, before.tolist()), (done, after.tolist()))
        )
        assert abs(one - other) < 12


def test_between_the_lips_is_something_else(faces):
    done = opened(faces, WIDE)
    middle = ((done.landmarks[:, 62] + done.landmarks[:, 66]) / 2).round().long()
    seen = torch.stack([gray[y, x] for gray, (x, y) in zip(done.gray, middle.tolist(), strict=True)])
    assert seen.unique().numel() > FACES // 2


def test_open_mouths_are_left_out(faces):
    apart = faces.landmarks.clone()
    apart[::2, [65, 66, 67], 1] += 12
    done = opened(FaceCrops(gray=faces.gray, landmarks=apart), OpenMouth())
    assert len(done) == FACES // 2
    assert len(opened(faces[:0], OpenMouth())) == 0


def test_the_same_seed_opens_the_same_mouths(faces):
    one, two, other = (opened(faces, OpenMouth(), seed) for seed in (1, 1, 2))
    assert torch.equal(one.gray, two.gray) and torch.equal(one.landmarks, two.landmarks)
    assert not torch.equal(one.landmarks, other.landmarks)
