"""`GazeNetwork`: what it looks at, whose axes its directions have, and what of it a bundle holds."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from clnf_torch.fitting.images import ImageBatch
from clnf_torch.geometry.landmarks68 import EYE_CORNERS, MIRROR, STEADY
from clnf_torch.measures.gaze import eye_middles
from clnf_torch.models.gaze_network import EYE_ROWS, EYE_SIDE, FACE_SIDE, GazeNetwork
from clnf_torch.models.numerics import EXACT
from clnf_torch.models.schema import Context, SchemaError
from tests.factories import seeded

SIDE = 120


@pytest.fixture(scope="module")
def faces() -> Tensor:
    """Landmarks (3, 68, 2) of a symmetric face at several places, 1.2 pixels per millimetre."""
    half = 30 * torch.randn(68, 2, generator=seeded(1))
    half[list(corner for eye in EYE_CORNERS for corner in eye)] = torch.tensor(
        [[-45, -20], [-15, -20], [15, -20], [45, -20.0]]
    )
    mirrored = half[list(MIRROR)] * torch.tensor([-1.0, 1.0])
    face = 1.2 * (half + mirrored) / 2
    return torch.stack([face + torch.tensor(place) for place in ((59.5, 59.5), (64.0, 57.0), (52.0, 66.0))])


@pytest.fixture(scope="module")
def network(faces) -> GazeNetwork:
    """A small one with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        eye, face = (
            nn.Sequential(
                nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2, 2, ceil_mode=True), nn.Flatten(), nn.Linear(4 * size, 6)
            )
            for size in (16 * 22, 22 * 22)
        )
        look = nn.Sequential(nn.Linear(18, 8), nn.ReLU(), nn.Linear(8, 3))
    return GazeNetwork(faces[0, STEADY] / 1.2 - 50, eye, face, look).requires_grad_(False)


@pytest.fixture(scope="module")
def gray() -> Tensor:
    return (
        255
        * torch.nn.functional.interpolate(
            torch.rand(1, 1, 30, 30, generator=seeded(2)), (SIDE, SIDE), mode="bicubic"
        ).clamp(0, 1)[0]
    )


def look(network: GazeNetwork, gray: Tensor, landmarks: Tensor) -> Tensor:
    images = ImageBatch(gray, torch.zeros(len(landmarks), dtype=torch.int64))
    requests = network.crop_requests(landmarks, eye_middles(landmarks))
    eyes, face = (images.crop(request, EXACT)[0] for request in requests)
    return network(eyes, face, requests[0].to_image)


def test_it_looks_at_both_eyes_and_the_face(network, faces, gray):
    images = ImageBatch(gray, torch.zeros(3, dtype=torch.int64))
    eyes, face = (images.crop(request, EXACT)[0] for request in network.crop_requests(faces, eye_middles(faces)))
    assert eyes.shape == (3, 2, EYE_SIDE, EYE_SIDE) and face.shape == (3, 1, FACE_SIDE, FACE_SIDE)
    # 1.2 pixels per millimetre in image and crop: the crop is a piece of the image
    middle = faces[0, list(EYE_CORNERS[0])].mean(0)
    left, top = (middle - (EYE_SIDE - 1) / 2).round().int().tolist()
    torch.testing.assert_close(eyes[0, 0], gray[0, top : top + EYE_SIDE, left : left + EYE_SIDE], atol=0.02, rtol=0)


def test_mirrored_faces_have_the_mirrored_gaze(network, faces, gray):
    found = look(network, gray, faces)
    other = faces[:, list(MIRROR)] * torch.tensor([-1.0, 1.0]) + torch.tensor([SIDE - 1.0, 0.0])
    mirrored = look(network, gray.flip(-1), other).flip(1) * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(mirrored, found, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(3, 2))
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_a_turned_image_has_the_turned_gaze(network, faces, gray):
    """By a right angle, at which pixels fall on pixels: a point (x, y) goes to (SIDE - 1 - y, x)."""
    found = look(network, gray, faces)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = look(network, gray.rot90(-1, (1, 2)), faces @ turn.mT + torch.tensor([SIDE - 1.0, 0.0]))
    torch.testing.assert_close(turned[..., :2], found[..., :2] @ turn.mT, atol=1e-4, rtol=0)
    torch.testing.assert_close(turned[..., 2], found[..., 2], atol=1e-4, rtol=0)


def test_rows_do_not_see_each_other(network, faces, gray):
    alone = look(network, gray, faces[:1])
    some = faces.clone()
    some[1, 36] = math.nan
    some[2] = 1e6
    found = look(network, gray, some)
    assert torch.equal(found[:1], alone)
    assert found[1:].isnan().all()


def test_light_and_contrast_hardly_matter(network, faces, gray):
    darker = 20 + 0.6 * gray
    torch.testing.assert_close(look(network, darker, faces[:1]), look(network, gray, faces[:1]), atol=0.05, rtol=0)


def test_a_record_comes_back(network, faces, gray, dtype):
    record = network.to_record()
    GazeNetwork.check_record(record, "gaze", Context({"N": 68}))
    again = GazeNetwork.from_record(record, dtype)
    assert record["eye"][0]["weight"].dtype == torch.float16
    found = look(again, gray, faces.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), look(network, gray, faces), atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("changes", "landmarks", "fault"),
    [
        ({"places": torch.zeros(3, 2)}, 68, "places"),
        ({}, 28, "expected a model of 68 landmarks, found one of 28"),
        ({"eye": []}, 68, "gaze.eye"),
        (
            {"look": [{"kind": "linear", "weight": torch.zeros(2, 18), "bias": torch.zeros(2)}]},
            68,
            "expected a network of 3",
        ),
        ({"look": [{"kind": "linear", "weight": torch.zeros(3, 9), "bias": torch.zeros(3)}]}, 68, "gaze.look"),
        ({"face": [{"kind": "relu"}]}, 68, "end in numbers"),
        ({"face": None}, 68, "gaze.face"),
    ],
)
def test_other_records_are_refused(network, changes, landmarks, fault):
    with pytest.raises(SchemaError, match=fault):
        GazeNetwork.check_record({**network.to_record(), **changes}, "gaze", Context({"N": landmarks}))


def test_rows_of_an_eye_are_lids(network):
    assert EYE_ROWS.start == EYE_SIDE - EYE_ROWS.stop


def test_eyes_without_contrast_send_back_no_nan(network, faces, gray):
    flat = torch.full_like(gray, 90.0).requires_grad_()
    look(network, flat, faces[:1]).sum().backward()
    assert flat.grad is not None and flat.grad.isfinite().all()
