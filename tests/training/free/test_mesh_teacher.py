"""Landmarks of portraits by MediaPipe's face mesh, which a made-up mesh stands in for."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import EYES, JAW, MIRROR, MOUTH
from clnf_torch.training.data.crops import FaceCrops
from clnf_torch.training.free import mesh_teacher
from clnf_torch.training.free.mesh_teacher import ON_EDGES, STILL, VERTICES, MeshTeacher, drawn_to
from tests.factories import seeded

SIDE, RADIUS = 128, 20
# Of every landmark from its vertex, over the radius
OFFSET = torch.tensor([0.0, 0.02])


def symmetric_face() -> Tensor:
    """Landmarks (68, 2), 0.2 apart and more, over the radius, each as far on its side as its partner."""
    face = torch.zeros(68, 2)
    for landmark, partner in enumerate(MIRROR):
        column, row = divmod(min(landmark, partner), 17)
        side = (landmark > partner) - (landmark < partner)
        face[landmark] = torch.tensor([side * (0.2 + 0.2 * column), 0.2 * row + 0.05 * column - 1.6])
    return face


def vertices_of(face: Tensor) -> tuple[Tensor, list[int]]:
    """Vertices (V, 2) of a mesh, and those that the landmarks of a face lie at, but for the offset."""
    allowed = {landmark: list(vertices) for landmarks, vertices in ON_EDGES for landmark in landmarks}
    edges = {vertex for vertices in allowed.values() for vertex in vertices}
    others = [vertex for vertex in range(STILL.stop) if vertex not in edges]
    chosen: list[int] = []
    for landmark in range(68):
        chosen.append(next(vertex for vertex in allowed.get(landmark, others) if vertex not in chosen))
    mesh = torch.randn(VERTICES, 2, generator=seeded(1)) * 0.1 + torch.tensor([0.0, 5.0])
    mesh[chosen] = face - OFFSET
    # One on no edge lies where the lips do, and the iris where lids do
    mesh[others[-1]], mesh[STILL.stop] = face[62], face[37]
    return mesh, chosen


def disc(x: float, y: float) -> Tensor:
    """A crop (S, S) with a face there, which is a white disc."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return ((columns - x).square() + (rows - y).square() < RADIUS**2).to(torch.uint8) * 255


@pytest.fixture
def face(monkeypatch) -> Tensor:
    """The face that a made-up mesh finds around discs."""
    face = symmetric_face()
    mesh, _ = vertices_of(face)

    class FaceMesh:
        """Finds a disc, of any size."""

        def __init__(self, **settings: object) -> None:
            assert settings["static_image_mode"] and settings["refine_landmarks"]

        def process(self, image: np.ndarray) -> SimpleNamespace:
            """The answer for an RGB image (H, W, 3), in shares of its sides."""
            assert image.dtype == np.uint8 and image.shape[2] == 3
            rows, columns = np.nonzero(image[..., 0] > 127)
            if not len(rows):
                return SimpleNamespace(multi_face_landmarks=None)
            radius = (len(rows) / np.pi) ** 0.5
            found = (mesh.numpy() * radius + [columns.mean(), rows.mean()]) / image.shape[1::-1]
            points = [SimpleNamespace(x=x, y=y) for x, y in found]
            return SimpleNamespace(multi_face_landmarks=[SimpleNamespace(landmark=points)])

    solutions = SimpleNamespace(face_mesh=SimpleNamespace(FaceMesh=FaceMesh))
    monkeypatch.setitem(sys.modules, "mediapipe", SimpleNamespace(solutions=solutions))
    mesh_teacher.face_mesh.cache_clear()
    yield face
    mesh_teacher.face_mesh.cache_clear()


def templates(face: Tensor) -> FaceCrops:
    middles = torch.tensor([[60.0, 64.0], [70.0, 50.0]])
    gray = torch.stack([disc(*middle.tolist()) for middle in middles])
    return FaceCrops(gray=gray, landmarks=face * RADIUS + middles[:, None])


def test_landmarks_lie_where_templates_have_them(face):
    teacher = MeshTeacher(templates(face))
    portraits = torch.stack((disc(50, 70), torch.zeros(SIDE, SIDE, dtype=torch.uint8)))
    found = teacher.landmarks(portraits)
    assert found.dtype == torch.float32
    # 0.2: the disc's middle and radius by its pixels
    torch.testing.assert_close(found[0], face * RADIUS + torch.tensor([50.0, 70.0]), rtol=0, atol=0.4)
    assert found[1].isnan().all()


def test_lips_and_lids_lie_at_vertices_of_their_edges(face):
    teacher = MeshTeacher(templates(face))
    for landmarks, vertices in ON_EDGES:
        assert set(teacher._chosen[list(landmarks)].tolist()) <= set(vertices)
    assert teacher._chosen.tolist() == vertices_of(face)[1]


def test_templates_without_a_face_are_refused(face):
    dark = FaceCrops(gray=torch.zeros(1, SIDE, SIDE, dtype=torch.uint8), landmarks=torch.zeros(1, 68, 2))
    with pytest.raises(ValueError, match="no face in the templates"):
        MeshTeacher(dark)


def test_lips_are_taken_from_the_mesh_and_jaws_hardly():
    own, taught = torch.zeros(2, 68, 2), torch.ones(2, 68, 2)
    taught[1] = torch.nan
    drawn = drawn_to(own, taught)
    assert (drawn[0, MOUTH] == 1).all() and (drawn[0, JAW] < 0.5).all() and (drawn[0, EYES] > 0.5).all()
    assert torch.equal(drawn[1], own[1])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    mesh_teacher.face_mesh.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install mediapipe==0\.10\.14"):
        mesh_teacher.mesh_vertices(torch.zeros(1, SIDE, SIDE, dtype=torch.uint8))
