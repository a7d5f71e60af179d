"""A validator's frame of reference: landmarks in place, weights by hand, and images warped through it."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.geometry.warp import WarpTable, warp_positions
from clnf_torch.training.warp_table import corner_weights, frame_landmarks, make_warp_table

SIDE = 17
SHAPE = torch.tensor([[-40.0, -30.0], [40.0, -30.0], [0.0, 5.0], [-30.0, 30.0], [30.0, 30.0]])


def table_of(fields) -> WarpTable:
    column_row = torch.stack((fields["pixels"] % SIDE, fields["pixels"] // SIDE), -1).double()
    return WarpTable(
        fields["triangles"], fields["alpha"], fields["beta"], column_row + fields["origin"], fields["triangle"]
    )


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
    torch.testing.assert_close(warp_positions(frame_landmarks(SHAPE, SIDE)[None], table)[0], table.pixels)


def test_pixels_at_landmarks_lie_at_the_landmarks(rng):
    table = table_of(make_warp_table(SHAPE, SIDE))
    landmarks = 50 * torch.rand(1, 5, 2, generator=rng, dtype=torch.float64)
    positions = warp_positions(landmarks, table)[0]
    for corner, landmark in zip(frame_landmarks(SHAPE, SIDE), landmarks[0], strict=True):
        (here,) = (table.pixels == corner).all(-1).nonzero()
        torch.testing.assert_close(positions[here[0]], landmark)


@pytest.mark.parametrize("side", [16, 56])
def test_every_pixel_lies_in_its_triangle(side):
    fields = make_warp_table(SHAPE, side)
    place = torch.stack((torch.ones_like(fields["pixels"]), fields["pixels"] % side, fields["pixels"] // side), -1)
    second, third = ((fields[name][fields["triangle"]] * place).sum(-1) for name in ("alpha", "beta"))
    assert min(second.min(), third.min()) > -1e-8
    assert (second + third).max() < 1 + 1e-8
