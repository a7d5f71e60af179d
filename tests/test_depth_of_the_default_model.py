"""The depth shape of the default model: proportions of a head, and what is measured of heads whose points are known."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch.fitting.initialise import params_from_landmarks
from clnf_torch.geometry.camera import Intrinsics, project
from clnf_torch.geometry.host import unread
from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.face_measures import face_measures, points_in_head
from clnf_torch.measures.head_in_space import measure_head
from clnf_torch.measures.head_pose import HeadPose
from clnf_torch.measures.landmarks_3d import FittedShape
from clnf_torch.media.images import read_image
from clnf_torch.pipeline import measure_faces
from tests.factories import seeded

CAMERA = Intrinsics.of(500.0, 500.0, 320.0, 240.0).to(torch.zeros(()))
RIGHT_CORNER, ITS_NEIGHBOURS = 54, [53, 55, 64]
HEADS = 16


@pytest.fixture(scope="module")
def model():
    return clnf_torch.load().model


def test_proportions_are_those_of_a_head(model):
    """Millimetres in front of the corners of the eyes: corners of the mouth, tip of the nose, ears."""
    mean = model.depth_shape.pdm.mean
    front = mean[[36, 39, 42, 45], 2].mean() - mean[:, 2]
    assert 4 < front[[48, 54]].mean() < 12 and 25 < front[30] < 36 and -70 < front[[0, 16]].mean() < -45
    torch.testing.assert_close(mean[list(MIRROR)] * torch.tensor([-1.0, 1, 1]), mean, atol=1e-3, rtol=0)


def measured(model, heads: Tensor, yaw: float) -> tuple[Tensor, HeadPose]:
    """Heads (B, 68, 3) that are turned, seen from 60 cm, fitted with the model's own shape, and measured."""
    rotation = euler_to_matrix(torch.tensor([[0.1, math.radians(yaw), 0.05]]))
    seen = project(heads @ rotation.mT + torch.tensor([20.0, 10.0, 600.0]), CAMERA)
    face = FittedShape(model.pdm, params_from_landmarks(model.pdm, seen), seen, depth=model.depth_shape)
    points, pose = measure_head(face, CAMERA)
    return face_measures(points_in_head(points, pose)).commissure_lateral_difference, pose


@pytest.mark.parametrize("yaw", [-20, -10, 0, 10, 20])
def test_a_corner_of_the_mouth_that_moves_sideways_is_measured_in_full(model, yaw):
    pdm = model.depth_shape.pdm
    heads = pdm.points(torch.randn(HEADS, pdm.num_modes, generator=seeded(1)) * pdm.variances.sqrt())
    moved = heads.clone()
    moved[:, RIGHT_CORNER, 0] += 5
    moved[:, ITS_NEIGHBOURS, 0] += 2.5
    (before, pose), (after, _) = measured(model, heads, yaw), measured(model, moved, yaw)
    change = after - before
    assert 4.8 < change.mean() < 5.2 and bool(((change - 5).abs() < 0.3).all())
    off = torch.rad2deg(pose.rotation) - torch.tensor([math.degrees(0.1), yaw, math.degrees(0.05)])
    assert bool((off.mean(0).abs() < 1.5).all()) and bool((off.std(0) < 4).all())


@pytest.mark.parametrize(
    ("camera", "place"),
    [
        ((500.0, 500.0, 320.0, 240.0), (200.0, 0.0, 500.0)),
        ((500.0, 500.0, 320.0, 240.0), (-200.0, 100.0, 500.0)),
        ((500.0, 500.0, 320.0, 240.0), (80.0, 50.0, 250.0)),
        ((500.0, 600.0, 320.0, 240.0), (20.0, 10.0, 600.0)),
        ((600.0, 500.0, 320.0, 240.0), (20.0, 10.0, 600.0)),
        ((500.0, 500.0, 320.0, 240.0), (20.0, 10.0, 600.0)),
    ],
    ids=["right border", "left border", "near", "tall pixels", "wide pixels", "middle"],
)
def test_neither_place_nor_camera_turns_a_head(model, camera, place):
    """Weak perspective, by which the shape is placed, holds around the axis and for square pixels alone."""
    camera, place, euler = Intrinsics.of(*camera).to(torch.zeros(())), torch.tensor(place), torch.tensor([0.1, 0.2, 0])
    points = model.depth_shape.pdm.mean[None] @ euler_to_matrix(euler).mT + place
    seen = project(points, camera)
    face = FittedShape(model.pdm, params_from_landmarks(model.pdm, seen), seen, depth=model.depth_shape)
    found, pose = measure_head(face, camera)
    torch.testing.assert_close(project(found, camera), seen, atol=1e-3, rtol=0)
    assert (found - points).norm(dim=-1).mean() < 3
    torch.testing.assert_close(pose.translation[0], place, atol=3, rtol=0)
    torch.testing.assert_close(pose.rotation[0, 1:], euler[1:], atol=0.03, rtol=0)
    torch.testing.assert_close(pose.rotation[0, 0], euler[0], atol=0.08, rtol=0)


def test_the_shape_of_the_fit_alone_does_not_measure_it(model):
    """Which is why there is another one: it takes half of a turn for an asymmetry."""
    pdm = model.depth_shape.pdm
    rotation = euler_to_matrix(torch.tensor([[0.1, math.radians(20), 0.05]]))
    seen = project(pdm.mean[None] @ rotation.mT + torch.tensor([20.0, 10.0, 600.0]), CAMERA)
    face = FittedShape(model.pdm, params_from_landmarks(model.pdm, seen), seen)
    asymmetry = [
        face_measures(points_in_head(*measure_head(one, CAMERA))).mouth_asymmetry
        for one in (face, FittedShape(face.pdm, face.params, seen, depth=model.depth_shape))
    ]
    assert float(asymmetry[0]) > 3 * float(asymmetry[1])


def test_a_captured_fit_is_measured_like_a_plain_one():
    detector, image = clnf_torch.load(), read_image(Path(__file__).parents[1] / "docs" / "images" / "astronaut.jpg")
    boxes = torch.tensor([[168.0, 62.0, 111.0, 112.0], [160.0, 60.0, 120.0, 120.0]])
    index = torch.zeros(2, dtype=torch.int64)
    with torch.inference_mode():
        plain = measure_faces(detector.fit(image[None], boxes, index), detector, CAMERA)
        found = detector.captured(2, (image.shape[1], image.shape[2])).fit(image[None], boxes, index)
        with unread():
            captured = measure_faces(found, detector, CAMERA)
    torch.testing.assert_close(captured.pose.values, plain.pose.values, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(captured.eyes.gaze, plain.eyes.gaze, rtol=0, atol=1e-3)
