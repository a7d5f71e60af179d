"""Eyes of photographs as 28 landmarks: by hand-set points, and by a mesh."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from clnf_torch.geometry.landmarks28 import CORNERS, IRIS, LIDS
from clnf_torch.media.images import read_image
from clnf_torch.training.eyes.parts import IN_EYE, SIDE
from clnf_torch.training.free import photographed_eyes as photographed
from clnf_torch.training.free.photographed_eyes import MESH, PUPIL, TEMPLATE, EyeTeacher, template_eyes
from clnf_torch.training.free.templates import NUM_POINTS, held_out, landmarks_of_templates
from tests.factories import seeded

WIDTH, RADIUS = 40.0, 8.0
ASTRONAUT = Path(__file__).parents[3] / "docs" / "images" / "astronaut.jpg"


def points_of(table, count: int, angle: float = 0.0) -> Tensor:
    """Points (P, 2) of which those of a table lie on two eyes, the face turned by an angle, radians."""
    points = torch.zeros(count, 2)
    for side, (upper, lower, pupil, edges) in enumerate(table):
        outwards = 1 - 2 * side
        for line, down in ((upper, -1), (lower, 1)):
            turn = torch.linspace(math.pi, 0, len(line)) if down < 0 else torch.linspace(0, math.pi, len(line))
            points[list(line)] = torch.stack((outwards * WIDTH / 2 * turn.cos(), down * 6 * turn.sin()), -1)
        points[pupil] = torch.tensor([3.0, 1.0])
        points[list(edges)] = points[pupil] + torch.tensor([[-RADIUS, 0.0], [RADIUS, 0.0]])
        middle = torch.tensor([-50.0 if side == 0 else 50.0, 0.0])
        points[[*upper, *lower[1:-1], pupil, *edges]] += middle
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return points @ turn.T + 100


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_points_become_lids_iris_and_pupil_of_both_eyes(angle):
    points = points_of(TEMPLATE, NUM_POINTS, angle)
    (eyes,) = template_eyes(points[None])
    for eye, (upper, _, pupil, _) in zip(eyes, TEMPLATE, strict=True):
        ends = points[[upper[0], upper[-1]]]
        # The corner on the left of the image comes first
        torch.testing.assert_close(eye[list(CORNERS)], ends[ends[:, 0].argsort()])
        iris, ball = eye[:IRIS] - points[pupil], eye[LIDS.stop :] - points[pupil]
        torch.testing.assert_close(iris.norm(dim=1), torch.full((8,), RADIUS))
        torch.testing.assert_close(ball.norm(dim=1), torch.full((8,), PUPIL * RADIUS))
        # The first of the iris lies at its left, the next ones above
        assert iris[:, 0].argmin() == 0 and iris[2, 1] < -0.9 * RADIUS
    # Lids are at the landmarks of the face, as far as both have them
    face = landmarks_of_templates(points[None])[0]
    for eye, first in zip(eyes, (36, 42), strict=True):
        away = (eye[list(IN_EYE)] - face[first : first + 6]).norm(dim=1)
        assert away.max() < 0.1 * WIDTH


def test_a_mesh_tells_eyes_where_templates_have_them(monkeypatch):
    meshes = torch.stack([points_of(MESH, 478, angle) for angle in (0.0, 0.1, -0.2)]).double()
    meshes[2] = torch.nan
    monkeypatch.setattr(photographed, "mesh_vertices", lambda gray: meshes[: len(gray)])
    truth = template_eyes(torch.stack([points_of(TEMPLATE, NUM_POINTS, angle) for angle in (0.0, 0.1)]))
    # Irises larger, and lids lower, than the mesh has them
    middle = truth[:, :, :IRIS].mean(2, keepdim=True)
    truth = torch.cat((middle + 1.2 * (truth[:, :, :IRIS] - middle), truth[:, :, IRIS:]), 2)
    gray = torch.zeros(3, 8, 8, dtype=torch.uint8)
    found = EyeTeacher(gray[:2], truth).eyes(gray)
    assert found.dtype == torch.float32
    # 0.3: lids between other points of their curves
    torch.testing.assert_close(found[:2], truth, rtol=0, atol=0.5)
    assert found[2].isnan().all()
    with pytest.raises(ValueError, match="no face in the templates"):
        monkeypatch.setattr(photographed, "mesh_vertices", lambda gray: meshes[2:])
        EyeTeacher(gray[:1], truth[:1])


@pytest.fixture
def templates(tmp_path) -> Path:
    """Three photographs with points, noise that shows an eye's points in their middle; the second is held out."""
    points = torch.stack([points_of(TEMPLATE, NUM_POINTS) + 50 for _ in range(3)])
    for number in range(3):
        noise = torch.randint(0, 256, (300, 300, 3), dtype=torch.uint8, generator=seeded(number))
        cv2.imwrite(str(tmp_path / f"{number}.jpg"), noise.numpy())
    np.savez(tmp_path / "templates.npz", names=np.array(["0", "1", "2"]), points=points.numpy())
    return tmp_path


def test_eyes_of_templates_come_as_they_are_and_moved(templates):
    found = photographed.photographed_eyes(templates, [], read_image, False, 0)
    eyes, plain = 4, photographed.PLAIN
    assert len(found) == eyes * (plain + photographed.MOVED) and found.gray.shape[-1] == SIDE
    assert torch.equal(found.gray[:eyes], found.gray[eyes : 2 * eyes])
    moved = found.landmarks[plain * eyes :].view(-1, eyes, 28, 2)
    assert torch.equal(moved[0, :, LIDS], found.landmarks[:eyes, LIDS])
    assert (moved[0] - moved[1])[:, :IRIS].norm(dim=-1).max() > 1
    assert held_out(3).tolist() == [False, True, False]


def test_a_teacher_adds_the_eyes_of_portraits(templates, tmp_path, monkeypatch):
    taught = []

    class Teacher:
        """Finds eyes in the middle of crops."""

        def __init__(self, gray: Tensor, eyes: Tensor) -> None:
            taught.append((len(gray), tuple(eyes.shape)))

        def eyes(self, gray: Tensor) -> Tensor:
            """Those of a template."""
            return template_eyes(points_of(TEMPLATE, NUM_POINTS)[None]).expand(len(gray), -1, -1, -1)

    monkeypatch.setattr(photographed, "EyeTeacher", Teacher)
    shutil.copy(ASTRONAUT, tmp_path / "portrait.jpg")
    without = photographed.photographed_eyes(templates, [], read_image, False, 0)
    files = [tmp_path / "portrait.jpg", templates / "0.jpg"]
    found = photographed.photographed_eyes(templates, files, read_image, True, 0)
    assert taught == [(2, (2, 2, 28, 2))]
    # Two eyes, plain and moved; the templates are no portraits
    assert len(found) == len(without) + 4
