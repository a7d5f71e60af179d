"""Catmull-Clark subdivision: the cube of their paper, borders, and unused vertices."""

from __future__ import annotations

import torch

from clnf_torch.training.synthetic.subdivision import Subdivision, SurfacePoints

CUBE = torch.tensor([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
CUBE_QUADS = torch.tensor([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])


def test_a_cube_as_by_hand():
    cube = Subdivision.of(CUBE_QUADS, 8)
    refined, quads = cube.refine(CUBE), cube.refined_quads()
    assert refined.shape == (8 + 12 + 6, 3) and quads.shape == (24, 4)
    torch.testing.assert_close(refined[:8], CUBE * 5 / 9)
    torch.testing.assert_close(refined[8:20].abs().sort(1).values, torch.tensor([0, 0.75, 0.75]).expand(12, 3))
    torch.testing.assert_close(refined[20:].abs().sum(1), torch.ones(6))


def test_a_moved_mesh_is_refined_to_the_moved_surface():
    cube = Subdivision.of(CUBE_QUADS, 8)
    torch.testing.assert_close(cube.refine(2 * CUBE + 5), 2 * cube.refine(CUBE) + 5)
    assert cube.refined_quads()[:, 0].view(-1, 4).equal(CUBE_QUADS)


def test_a_flat_sheet_stays_flat_inside_its_border():
    line = torch.arange(4.0)
    sheet = torch.stack((line.repeat(4), line.repeat_interleave(4), torch.full((16,), 2.0)), 1)
    corner = torch.tensor([0, 1, 2, 4, 5, 6, 8, 9, 10])
    refined = Subdivision.of(torch.stack((corner, corner + 1, corner + 5, corner + 4), 1), 16).refine(sheet)
    assert (refined[:, 2] == 2).all()
    torch.testing.assert_close(refined[5], sheet[5])
    torch.testing.assert_close(refined[1], torch.tensor([1.0, 0, 2]))


def test_vertices_without_faces_stay():
    points = torch.arange(15.0).view(5, 3)
    torch.testing.assert_close(Subdivision.of(torch.tensor([[0, 1, 2, 3]]), 5).refine(points)[4], points[4])


def test_points_between_vertices_follow_them():
    points = SurfacePoints(vertices=torch.tensor([[0, 1], [2, 2]]), shares=torch.tensor([[0.25, 0.75], [1.0, 0]]))
    surface = torch.tensor([[0.0, 0, 0], [4, 0, 8], [1, 1, 1]])
    torch.testing.assert_close(points.on(surface), torch.tensor([[3.0, 0, 6], [1, 1, 1]]))
