"""Delaunay's triangulation: small cases by hand, and its defining properties on many points."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.training.warp_table import delaunay


def areas(points, triangles):
    first, second, third = points[triangles].unbind(1)
    (ax, ay), (bx, by) = (second - first).unbind(-1), (third - first).unbind(-1)
    return (ax * by - ay * bx).abs() / 2


def test_a_triangle_is_its_own_triangulation():
    assert delaunay(torch.tensor([[0.0, 0.0], [4.0, 1.0], [1.0, 3.0]])).tolist() == [[0, 1, 2]]


def test_the_shorter_diagonal_of_a_kite():
    kite = torch.tensor([[0.0, 0.0], [10.0, 1.0], [20.0, 0.0], [10.0, -1.0]])
    assert sorted(delaunay(kite).tolist()) == [[0, 1, 3], [1, 2, 3]]


def test_points_on_one_circle_are_covered_once():
    angle = torch.arange(8) * torch.pi / 4
    octagon = torch.stack((angle.cos(), angle.sin()), -1).double()
    triangles = delaunay(octagon)
    assert len(triangles) == 6
    assert float(areas(octagon, triangles).sum()) == pytest.approx(2 * 2**0.5)


def test_no_circle_holds_a_point_and_the_hull_is_filled(rng):
    points = torch.rand(30, 2, generator=rng, dtype=torch.float64)
    points[:4] = torch.tensor([[-1.0, -1.0], [2.0, -1.0], [2.0, 2.0], [-1.0, 2.0]])
    triangles = delaunay(points)
    assert len(triangles) == 2 * 30 - 2 - 4  # Euler, with four points on the hull
    assert float(areas(points, triangles).sum()) == pytest.approx(9)
    for corners in triangles:
        system = torch.cat((2 * points[corners], torch.ones(3, 1, dtype=torch.float64)), -1)
        *centre, rest = torch.linalg.solve(system, points[corners].square().sum(-1)).tolist()
        middle = torch.tensor(centre, dtype=torch.float64)
        radius = (rest + middle.square().sum()).sqrt()
        others = torch.ones(30, dtype=torch.bool).index_fill(0, corners, False)
        assert ((points[others] - middle).norm(dim=-1) > radius - 1e-6).all()
