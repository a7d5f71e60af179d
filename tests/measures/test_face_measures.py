"""`clnf_torch.measures.face_measures`: a face whose points are moved by known millimetres."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from clnf_torch.geometry.landmarks68 import MIRROR
from clnf_torch.geometry.rotation import euler_to_matrix
from clnf_torch.measures.face_measures import ANGLES, FaceMeasures, face_measures, level_face, points_in_head
from clnf_torch.measures.head_pose import HeadPose
from tests.factories import seeded

# Half of a face: the points on the left of the image and those in the middle; across, down, into the face
HALF = {
    **{point: (-70.0 + 8 * point, 10.0 * point, 40.0 - 4 * point) for point in range(8)}, 8: (0, 85, 0),
    17: (-55, -15, 10), 18: (-48, -22, 5), 19: (-39, -24, 2), 20: (-28, -22, 0), 21: (-16, -18, -2),
    27: (0, -2, -10), 28: (0, 8, -15), 29: (0, 18, -20), 30: (0, 28, -25), 31: (-12, 36, -8), 32: (-6, 38, -10),
    33: (0, 40, -12),
    36: (-45, 0, 15), 37: (-38, -5, 11), 38: (-28, -5, 10), 39: (-18, 0, 13), 40: (-28, 4, 11), 41: (-38, 4, 12),
    48: (-25, 65, 0), 49: (-16, 60, -7), 50: (-7, 57, -11), 51: (0, 58, -12), 57: (0, 75, -11), 58: (-8, 74, -9),
    59: (-17, 71, -6), 60: (-22, 65, -1), 61: (-8, 63, -9), 62: (0, 63, -10), 66: (0, 67, -9), 67: (-8, 67, -8),
}  # fmt: skip


def make_face(**moved: tuple[float, float]) -> Tensor:
    """A symmetric face (1, 68, 3) with some points, as in ``p48=(1, -2)``, moved across and down."""
    face = torch.zeros(68, 3, dtype=torch.float64)
    for point, place in HALF.items():
        face[point] = torch.tensor(place)
        face[MIRROR[point]] = torch.tensor((-place[0], *place[1:]))
    for name, move in moved.items():
        face[int(name[1:]), :2] += torch.tensor(move, dtype=torch.float64)
    return face[None]


def measured(name: str, face: Tensor, rest: Tensor | None = None) -> float:
    return getattr(face_measures(face, rest), name).item()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("outer_canthal_distance", 90), ("inner_canthal_distance", 36), ("palpebral_fissure_height_image_left", 9),
        ("palpebral_fissure_width_image_right", 27), ("brow_height_image_left", 68 / 3), ("mouth_width", 50),
        ("mouth_opening", 4), ("commissure_distance_image_left", math.hypot(25, 10)),
        ("smile_angle_image_right", math.degrees(math.atan2(25, 10))), ("philtrum_length", 18),
        ("nasolabial_distance_image_left", math.hypot(13, 29)), ("philtrum_deviation", 0), ("mouth_tilt", 0),
        ("mouth_asymmetry", 0), ("eye_asymmetry", 0), ("brow_asymmetry", 0), ("brow_height_difference", 0),
        ("commissure_lateral_difference", 0), ("commissure_height_difference", 0), ("palpebral_fissure_difference", 0),
    ],
)  # fmt: skip
def test_a_symmetric_face(name, expected):
    assert measured(name, make_face()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("moved", "name", "expected"),
    [
        ({"p48": (-3, -4)}, "commissure_excursion_image_left", 5),
        ({"p48": (-3, -4)}, "commissure_excursion_image_right", 0),
        ({"p54": (3, -4)}, "commissure_excursion_image_right", 5),
        # The right corner is higher and farther out
        ({"p54": (3, -4)}, "commissure_height_difference", -4),
        ({"p54": (3, -4)}, "commissure_lateral_difference", 3),
        ({"p54": (0, -5)}, "mouth_tilt", -math.degrees(math.atan2(5, 50))),
        # A corner and its partner are each 5 mm from where they should be, of 20 points
        ({"p54": (3, -4)}, "mouth_asymmetry", 2 * 5 / 20),
        # A point on the midline is mirrored to the other side of it
        ({"p51": (2, 0)}, "mouth_asymmetry", 2 * 2 / 20),
        ({"p51": (2, 0)}, "philtrum_deviation", 2),
        # The right lid is half closed
        ({"p43": (0, 4), "p44": (0, 4)}, "palpebral_fissure_height_image_right", 5),
        ({"p43": (0, 4), "p44": (0, 4)}, "palpebral_fissure_difference", -4),
        ({"p43": (0, 4), "p44": (0, 4)}, "eye_asymmetry", 4 * 4 / 12),
        ({"p18": (0, -6), "p19": (0, -6), "p20": (0, -6)}, "brow_height_image_left", 68 / 3 + 6),
        ({"p18": (0, -6), "p19": (0, -6), "p20": (0, -6)}, "brow_height_difference", -6),
        ({"p18": (0, -6), "p19": (0, -6), "p20": (0, -6)}, "brow_asymmetry", 6 * 6 / 10),
        ({"p66": (0, 10)}, "mouth_opening", 14),
        ({"p48": (0, -10)}, "smile_angle_image_left", math.degrees(math.atan2(25, 20))),
        ({"p48": (0, -10)}, "nasolabial_distance_image_left", math.hypot(13, 19)),
    ],
)
def test_points_moved_by_known_millimetres(moved, name, expected):
    assert measured(name, make_face(**moved), rest=make_face()) == pytest.approx(expected, abs=1e-9)


def make_poses(faces: int) -> HeadPose:
    rng = seeded(5)
    shift = torch.tensor((20.0, -30.0, 600.0)) + 50 * torch.randn(faces, 3, generator=rng, dtype=torch.float64)
    return HeadPose(shift, 0.5 * torch.randn(faces, 3, generator=rng, dtype=torch.float64))


def make_faces(faces: int) -> Tensor:
    """Faces (B, 68, 3) that are not symmetric."""
    noise = torch.randn(faces, 68, 3, generator=seeded(6), dtype=torch.float64)
    return make_face() + 2 * noise


def test_pose_does_not_matter():
    faces, pose = make_faces(4), make_poses(4)
    in_camera = faces @ euler_to_matrix(pose.rotation).mT + pose.translation[:, None]
    torch.testing.assert_close(points_in_head(in_camera, pose), faces)
    rest = make_face()
    ours = face_measures(points_in_head(in_camera, pose), rest).values
    torch.testing.assert_close(ours, face_measures(faces, rest).values)


def test_neither_roll_nor_place_in_the_heads_axes_matters():
    faces, angle = make_faces(3), torch.tensor([[0, 0, 0.1], [0, 0, -0.3], [0, 0, 1.0]], dtype=torch.float64)
    moved = faces @ euler_to_matrix(angle).mT + torch.tensor((5.0, -8.0, 3.0))
    expected = face_measures(faces, make_face()).values
    torch.testing.assert_close(face_measures(moved, make_face()).values, expected)


def test_a_mirrored_image_exchanges_sides_and_signs():
    faces = make_faces(3)
    ours = face_measures(faces, make_face())
    mirrored = face_measures(faces[:, MIRROR] * torch.tensor((-1, 1, 1)), make_face())
    for column in FaceMeasures.columns():
        name = column.rpartition("_")[0]
        other = name.replace("image_left", "image_?").replace("image_right", "image_left").replace("?", "right")
        sign = -1 if name.endswith(("difference", "deviation", "tilt")) else 1
        torch.testing.assert_close(getattr(mirrored, name), sign * getattr(ours, other))


@pytest.mark.parametrize("faces", [0, 1, 4])
def test_faces_alone_and_together(faces):
    points = make_faces(faces)
    together = face_measures(points, points.flip(0)).values
    assert together.shape == (faces, len(FaceMeasures.columns()))
    for row in range(faces):
        one = face_measures(points[row : row + 1], points.flip(0)[row : row + 1]).values
        torch.testing.assert_close(together[row : row + 1], one, rtol=0, atol=1e-12)


def test_rows_that_are_not_numbers_spare_the_others():
    points = make_faces(4)
    # A row that is nowhere, one whose eyes are at one place, and one without a corner of the mouth
    points[0], points[1, 36:48], points[2, 48] = torch.nan, 0.0, torch.nan
    found = face_measures(points, make_face())
    assert found.values[0].isnan().all() and found.mouth_width[1].isnan() and found.mouth_width[2].isnan()
    assert found.values[3].isfinite().all() and found.brow_height_image_left[2].isfinite()


def test_without_rest_there_is_no_excursion():
    found = face_measures(make_faces(2))
    assert found.commissure_excursion_image_left.isnan().all() and found.mouth_width.isfinite().all()


def test_columns_have_units():
    columns = FaceMeasures.columns()
    assert {name.removesuffix("_deg") for name in columns if name.endswith("_deg")} == ANGLES
    assert all(name.endswith(("_mm", "_deg")) for name in columns)


def test_level_eyes():
    level = level_face(make_faces(3))
    left, right = (level[:, corners].mean(1) for corners in ((36, 39), (42, 45)))
    torch.testing.assert_close(left[:, 1], right[:, 1], atol=1e-9, rtol=0)
    torch.testing.assert_close(left[:, 0], -right[:, 0])


@pytest.mark.parametrize("shape", [(68, 3), (2, 67, 3), (2, 68, 2)])
def test_other_points_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(B, 68, 3\)"):
        face_measures(torch.zeros(shape))


def test_a_rest_of_other_rows_is_refused():
    with pytest.raises(ValueError, match=r"rest has shape \(3, 68, 3\); expected \(1 or 2, 68, 3\)"):
        face_measures(make_faces(2), make_faces(3))


def test_gradients():
    points = make_faces(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda some: face_measures(some, make_face()).values, [points])


def test_device_and_dtype(device, dtype):
    points = make_faces(2).to(device, dtype)
    found = face_measures(points, make_face().to(device, dtype)).values
    assert found.dtype == dtype and found.device.type == device.type
