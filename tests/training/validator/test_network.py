"""The network of a validator, its bins and soft targets, and the triangles and pixels of its reference frame."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.detection.validator import is_face
from clnf_torch.detection.view_validator import confidence_of
from clnf_torch.models.layers import build_network, layer_records
from clnf_torch.training.validator.network import (
    bin_positions,
    corner_weights,
    delaunay,
    frame_landmarks,
    make_network,
    make_warp_table,
    passing_bins,
    soft_targets,
)
from tests.validators import warped


def test_layers_of_a_bundle_give_the_same_scores(rng):
    network = make_network(19, (3, 4, 5), hidden=6, bins=7)
    images = torch.randn(4, 1, 19, 19, generator=rng)
    layers = layer_records(network)
    assert [layer["kind"] for layer in layers] == [
        *("conv", "relu", "max_pool", "conv", "relu", "max_pool", "conv", "relu", "linear", "relu", "linear"),
    ]
    assert layers[0]["weight"].shape == (3, 1, 5, 5) and layers[3]["weight"].shape == (4, 3, 3, 3)
    with torch.no_grad():
        scores = network(images)
    assert scores.shape == (4, 7)
    torch.testing.assert_close(build_network(layers)(images), scores)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="leave nothing"):
        make_network(12, (2, 2, 2, 2), hidden=3, bins=4)


def test_as_many_bins_pass_as_the_runtime_lets_pass():
    assert (passing_bins(20), passing_bins(30), passing_bins(4)) == (5, 8, 1)


@pytest.mark.parametrize(("bins", "failure_limit"), [(20, 0.08), (20, 0.1), (30, 0.08), (4, 0.2)])
def test_errors_below_the_limit_are_what_the_runtime_takes_for_faces(bins, failure_limit):
    errors = torch.tensor([0, 0.021, 0.053, failure_limit - 1e-4, failure_limit + 1e-4, 0.3, 5, torch.inf])
    scores = soft_targets(errors, bins, failure_limit, target_sigma=0.3)
    assert is_face(confidence_of(scores)).tolist() == (errors < failure_limit).tolist()
    place = bin_positions(errors, bins, failure_limit).long()
    assert scores.argmax(-1).tolist() == place.tolist()


def test_places_are_even_and_the_last_bin_has_no_end():
    found = bin_positions(torch.tensor([0, 0.008, 0.08, 0.31, torch.inf]), bins=20, failure_limit=0.08)
    torch.testing.assert_close(found, torch.tensor([0, 0.5, 5, 19.375, 19.5]))


def test_targets_are_gaussians():
    found = soft_targets(
        torch.tensor([0.04]), bins=4, failure_limit=0.02, target_sigma=2.0
    )  # in the middle: one bin is 0.02 wide
    weights = torch.tensor([1.5, 0.5, 0.5, 1.5]).square().mul(-1 / 8).exp()
    torch.testing.assert_close(found[0], weights / weights.sum())


SIDE = 17
SHAPE = torch.tensor([[-40.0, -30.0], [40.0, -30.0], [0.0, 5.0], [-30.0, 30.0], [30.0, 30.0]])


def table_of(fields) -> dict[str, torch.Tensor]:
    column_row = torch.stack((fields["pixels"] % SIDE, fields["pixels"] // SIDE), -1).double()
    return {**fields, "pixels": column_row + fields["origin"]}


def test_the_longer_extent_fills_the_image_and_the_other_is_in_its_middle():
    corners = frame_landmarks(SHAPE, SIDE)
    assert corners.dtype == torch.float64
    assert corners[:, 0].tolist() == [0, 16, 8, 2, 14]
    assert corners[:, 1].tolist() == [2, 2, 9, 14, 14]


def test_weights_are_one_at_their_corner_and_nothing_at_the_others():
    corners, triangles = torch.tensor([[1.0, 1.0], [5.0, 1.0], [1.0, 3.0]]).double(), torch.tensor([[0, 1, 2]])
    alpha, beta = corner_weights(corners, triangles)
    torch.testing.assert_close(alpha, torch.tensor([[-0.25, 0.25, 0.0]]).double())
    torch.testing.assert_close(beta, torch.tensor([[-0.5, 0.0, 0.5]]).double())


def test_pixels_are_those_of_the_hull_row_by_row():
    fields = make_warp_table(SHAPE, SIDE)
    pixels = fields["pixels"]
    assert (pixels.diff() > 0).all()
    rows = (pixels // SIDE).bincount(minlength=SIDE).tolist()
    assert rows[0] == rows[1] == rows[15] == rows[16] == 0
    assert rows[2] == 17 and rows[14] == 13  # between the upper two landmarks, and between the lower two
    assert len(fields["triangles"]) == 4


def test_landmarks_in_their_own_frame_move_no_pixel():
    table = table_of(make_warp_table(SHAPE, SIDE))
    torch.testing.assert_close(warped(frame_landmarks(SHAPE, SIDE)[None], table)[0], table["pixels"])


def test_pixels_at_landmarks_lie_at_the_landmarks(rng):
    table = table_of(make_warp_table(SHAPE, SIDE))
    landmarks = 50 * torch.rand(1, 5, 2, generator=rng, dtype=torch.float64)
    positions = warped(landmarks, table)[0]
    for corner, landmark in zip(frame_landmarks(SHAPE, SIDE), landmarks[0], strict=True):
        (here,) = (table["pixels"] == corner).all(-1).nonzero()
        torch.testing.assert_close(positions[here[0]], landmark)


@pytest.mark.parametrize("side", [16, 56])
def test_every_pixel_lies_in_its_triangle(side):
    fields = make_warp_table(SHAPE, side)
    place = torch.stack((torch.ones_like(fields["pixels"]), fields["pixels"] % side, fields["pixels"] // side), -1)
    second, third = ((fields[name][fields["triangle"]] * place).sum(-1) for name in ("alpha", "beta"))
    assert min(second.min(), third.min()) > -1e-8
    assert (second + third).max() < 1 + 1e-8


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
