"""Views: whose faces they are, what their mirror images are, and what happens to views without faces."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.training.data.cen_samples import CenViews, faces_of_views, views_with_faces
from tests.factories import MIRROR


def yaws(*degrees: float) -> torch.Tensor:
    rotation = torch.zeros(len(degrees), 3)
    rotation[:, 1] = torch.tensor(degrees).deg2rad()
    return rotation


def test_openfaces_views_are_symmetric():
    views = CenViews()
    assert views.mirror == (0, 6, 5, 4, 3, 2, 1) and views.trained == (0, 1, 2, 3)
    torch.testing.assert_close(views.centers[views.mirror, 1], -views.centers[:, 1])


def test_faces_go_to_the_nearest_view_and_their_mirror_images_to_its_opposite():
    rows = faces_of_views(CenViews(), yaws(0, -22, 19, -44, 60, 80))
    found = {view: list(zip(some.face.tolist(), some.flip.tolist(), strict=True)) for view, some in rows.items()}
    assert found == {
        0: [(0, False), (0, True)],
        1: [(1, False), (2, True)],
        2: [(3, False)],
        3: [(4, True), (5, True)],
    }


def test_the_other_angles_are_mirrored_too():
    rotation = torch.tensor([[0.0, 0.35, 0.0], [0.9, -1.0, 0.9]])
    rows = faces_of_views(CenViews((0.0, -20.0, 20.0)), rotation)
    assert rows[1].face.tolist() == [1, 0] and rows[1].flip.tolist() == [False, True]


def test_in_profile_the_far_half_is_hidden():
    left = torch.tensor([True, False, True, True, False])
    visible = CenViews().visible(left, torch.tensor(MIRROR))
    assert visible[[0, 1, 2, 5, 6]].all()
    assert torch.equal(visible[3], left) and visible[4].tolist() == [False, True, True, False, True]


@pytest.mark.parametrize(
    ("least", "stay"),
    [
        (1, (0.0, -20.0, -45.0, -70.0, 70.0, 45.0, 20.0)),
        (2, (0.0, -20.0, -45.0, 45.0, 20.0)),
        (4, (0.0, -20.0, 20.0)),
        (9, (0.0,)),
    ],
)
def test_views_with_too_few_faces_leave_theirs_to_the_neighbours(least, stay):
    rotation = yaws(0, 0, 0, -21, 22, -44, 45, 72)
    views = views_with_faces(rotation, least)
    assert views.yaws == stay
    assert sum(len(rows.face) for rows in faces_of_views(views, rotation).values()) >= len(rotation)


def test_faces_of_a_view_that_left_are_counted_where_they_go():
    rotation = yaws(-70, -70, -45, -45)
    assert views_with_faces(rotation, 3).yaws == (0.0, -45.0, 45.0)
