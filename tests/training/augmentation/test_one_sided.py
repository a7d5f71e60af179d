"""Sides that move each for itself: by what was asked for, the other side still, and the image goes along."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import clnf_torch
from clnf_torch.geometry.landmarks68 import BROWS, EYES, JAW, MIRROR
from clnf_torch.training.augmentation.moved_landmarks import move_landmarks
from clnf_torch.training.augmentation.one_sided import (
    BROW,
    BROW_ABOVE_LID,
    LOWER_LID,
    UPPER_LID,
    OneSided,
    SideMovement,
    one_sided_shifts,
    side_shifts,
    with_one_sided,
)
from clnf_torch.training.augmentation.random import Sampler
from clnf_torch.training.data.crops import FaceCrops
from tests.factories import seeded

CPU = torch.device("cpu")
SIDE = 160


@pytest.fixture(scope="module")
def heads() -> Tensor:
    """Landmarks (8, 68, 2) of faces that differ a little, in crops of `SIDE` pixels."""
    pdm = clnf_torch.load("small").model.pdm
    local = torch.randn(8, pdm.num_modes, generator=seeded(9)) * pdm.variances.sqrt() * 0.3
    return pdm.reference_landmarks(local, 0.7) + SIDE / 2


def sides(count: int, **changes: Tensor) -> SideMovement:
    none = torch.zeros(count)
    still = SideMovement(corner=torch.zeros(count, 2), brow=none, brow_tilt=none, nostril=none, opening=none + 1)
    return replace(still, **changes)


def eyes_apart(landmarks: Tensor) -> Tensor:
    return (landmarks[:, 45] - landmarks[:, 36]).norm(dim=-1)


def turned(landmarks: Tensor, angle: float) -> Tensor:
    cosine, sine = torch.tensor(angle).cos(), torch.tensor(angle).sin()
    return landmarks @ torch.stack((torch.stack((cosine, sine)), torch.stack((-sine, cosine))))


def test_a_corner_moves_by_what_was_asked_for_and_takes_the_lips_along(heads):
    down = sides(8, corner=torch.tensor([0.0, 0.1]).expand(8, 2))
    shifts = side_shifts(heads, down, sides(8))
    moved = shifts.norm(dim=-1) / eyes_apart(heads)[:, None]
    torch.testing.assert_close(moved[:, 48], torch.full((8,), 0.1))
    assert (moved[:, 51] < 0.05).all() and (moved[:, 51] > 0.005).all() and (moved[:, 54] == 0).all()
    assert not shifts[:, JAW].any() and not shifts[:, BROWS].any() and not shifts[:, EYES].any()


def test_down_is_the_face_s_own(heads):
    down = sides(8, corner=torch.tensor([0.0, 0.1]).expand(8, 2))
    shifts = side_shifts(heads, down, sides(8))
    torch.testing.assert_close(side_shifts(turned(heads, 2.0), down, sides(8)), turned(shifts, 2.0), atol=1e-4, rtol=0)


def test_the_other_side_is_the_mirrored_one(heads):
    movement = OneSided().draw(8, Sampler(seeded(1), CPU))
    mirror, flip = list(MIRROR), torch.tensor([-1.0, 1.0])
    left = side_shifts(heads, movement, sides(8))
    right = side_shifts(heads[:, mirror] * flip, sides(8), movement)
    torch.testing.assert_close(right[:, mirror] * flip, left, atol=1e-4, rtol=0)


def test_eyes_are_opened_by_what_was_asked_for(heads):
    before = (heads[:, LOWER_LID] - heads[:, UPPER_LID]).norm(dim=-1)
    for opening in (0.1, 1.5):
        moved = heads + side_shifts(heads, sides(8, opening=torch.full((8,), opening)), sides(8))
        torch.testing.assert_close((moved[:, LOWER_LID] - moved[:, UPPER_LID]).norm(dim=-1), opening * before)
        assert torch.equal(moved[:, 42:48], heads[:, 42:48])


def test_brows_stay_above_their_eyes(heads):
    moved = heads + side_shifts(heads, sides(8, brow=torch.full((8,), 0.5)), sides(8))
    axis = (heads[:, 45] - heads[:, 36]) / eyes_apart(heads)[:, None]
    down = torch.stack((-axis[:, 1], axis[:, 0]), -1)[:, None]
    height = ((moved[:, UPPER_LID] * down).sum(-1).amin(1) - (moved[:, BROW] * down).sum(-1).amax(1)) / eyes_apart(
        heads
    )
    before = ((heads[:, UPPER_LID] * down).sum(-1).amin(1) - (heads[:, BROW] * down).sum(-1).amax(1)) / eyes_apart(
        heads
    )
    assert (moved != heads).any()
    assert (height >= torch.minimum(before, torch.tensor(BROW_ABOVE_LID)) - 1e-4).all()


def test_sides_move_each_for_itself_and_not_all_parts(heads):
    many = heads[:1].expand(400, -1, -1)
    shifts = one_sided_shifts(many, Sampler(seeded(2), CPU)) / eyes_apart(many)[:, None, None]
    corners = shifts[:, [48, 54]].norm(dim=-1)
    assert corners.T.corrcoef()[0, 1].abs() < 0.15
    assert 0.03 < corners.mean() < 0.1
    still = (shifts[:, 17] == 0).all(-1).float().mean()
    assert 0.03 < still < 0.2  # neither its height nor its tilt: 0.3 squared
    assert not one_sided_shifts(heads, Sampler(seeded(2), CPU), OneSided(part=0.0)).any()


def test_faces_without_eyes_apart_stay_where_they_are(heads):
    one_place = heads[:, :1].expand(-1, 68, -1)
    assert not one_sided_shifts(one_place, Sampler(seeded(2), CPU)).any()


def test_landmarks_of_other_schemes_stay_where_they_are(heads):
    assert torch.equal(one_sided_shifts(heads[:, :28], Sampler(seeded(2), CPU)), torch.zeros(8, 28, 2))


@pytest.mark.parametrize("knot", [1, 4])
def test_images_go_along_with_landmarks(heads, knot):
    moved = heads + one_sided_shifts(heads, Sampler(seeded(4), CPU))
    columns = torch.arange(SIDE).float().expand(8, SIDE, SIDE)
    found = torch.stack([move_landmarks(image, heads, moved, knot) for image in (columns, columns.mT)], 1)
    place = (moved / (SIDE - 1) * 2 - 1)[:, :, None]
    seen = torch.nn.functional.grid_sample(found, place, align_corners=True).squeeze(-1).mT
    away = (seen - heads).norm(dim=-1)
    assert (moved - heads).norm(dim=-1).mean() > 0.5
    assert away.mean() < 0.1 and (away < 0.5).float().mean() > 0.98
    # The border stays
    torch.testing.assert_close(found[:, 0, 0], columns[:, 0], atol=0.05, rtol=0)


def test_crops_keep_their_type_and_number(heads):
    gray = (torch.rand(8, SIDE, SIDE, generator=seeded(6)) * 255).to(torch.uint8)
    faces = FaceCrops(gray=gray, landmarks=heads)
    moved = with_one_sided(faces, Sampler(seeded(7), CPU))
    assert len(moved) == 8 and moved.gray.dtype == torch.uint8 and (moved.gray != gray).any()
    again = with_one_sided(faces, Sampler(seeded(7), CPU))
    assert torch.equal(again.gray, moved.gray) and torch.equal(again.landmarks, moved.landmarks)
    assert len(with_one_sided(faces[:0], Sampler(seeded(7), CPU))) == 0
