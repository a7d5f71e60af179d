"""Loops of edges and connected parts of meshes of quads, mirror images, and the table of landmarks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.training.synthetic.face_mesh import (
    LANDMARK_VERTICES,
    components,
    edge_loop,
    landmark_points,
    mirrored,
    vertex_normals,
)


def tube(around: int = 6, along: int = 5) -> Tensor:
    """The quads of a tube: vertex r * around + k lies on ring r at place k."""
    place = torch.arange((along - 1) * around).view(along - 1, around)
    return torch.stack((place, place.roll(-1, 1), place.roll(-1, 1) + around, place + around), -1).view(-1, 4)


def test_a_loop_goes_around_a_tube():
    assert edge_loop(tube(), 13, 14).tolist() == [13, 14, 15, 16, 17, 12]


def test_a_loop_that_ends_at_a_border_is_refused():
    with pytest.raises(ValueError, match="make no closed loop"):
        edge_loop(tube(), 7, 13)


def test_a_loop_parts_a_tube_in_two():
    quads, loop = tube(), edge_loop(tube(), 12, 13)
    parts = components(quads, torch.stack((loop, loop.roll(-1)), 1))
    assert parts[:12].unique().numel() == 1 and parts[12:].unique().numel() == 1 and parts[0] != parts[-1]
    assert components(quads, torch.zeros(0, 2, dtype=torch.int64)).unique().numel() == 1


def test_every_landmark_has_vertices_on_one_side_or_the_other():
    half = torch.rand(10000, 3, generator=torch.Generator().manual_seed(1)) + 0.1
    base = torch.cat((half, half.flip(0) * torch.tensor([-1.0, 1, 1])))
    points = landmark_points(base)
    assert points.vertices.shape[0] == 68
    torch.testing.assert_close(points.shares.sum(1), torch.ones(68))
    assert points.vertices[39, 0] == 19999 - LANDMARK_VERTICES[42][0]
    assert {*LANDMARK_VERTICES, *(MIRROR[landmark] for landmark in LANDMARK_VERTICES)} == set(range(68))


def test_the_mirror_image_of_a_vertex():
    base = torch.tensor([[1.0, 2, 3], [-1, 2, 3], [0, 5, 1]])
    assert mirrored(torch.tensor([2, 0]), base).tolist() == [2, 1]


def test_normals_point_outwards_and_have_length_one():
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    torch.testing.assert_close(
        vertex_normals(square, torch.tensor([[0, 1, 2, 3]])), torch.tensor([[0.0, 0, 1]]).expand(4, 3)
    )
