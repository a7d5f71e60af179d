"""`clnf_torch.export.face_table`: OpenFace's 679 columns, each in its place, and tables that cannot be."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.export.face_table import FaceTable, columns
from clnf_torch.measures.gaze import EYE_PARTS
from clnf_torch.measures.measure import measure
from tests.export.tables import by_name, make_table, names_of
from tests.measures.heads import CAMERA, EYE, make_face, make_params, make_shape

# Where each group begins when all are there, how many columns it has, and the first and the last of them.
GROUPS = [
    (0, 1, "frame", "frame"),
    (1, 1, "face_id", "face_id"),
    (2, 1, "timestamp", "timestamp"),
    (3, 1, "confidence", "confidence"),
    (4, 1, "success", "success"),
    (5, 3, "gaze_0_x", "gaze_0_z"),
    (8, 3, "gaze_1_x", "gaze_1_z"),
    (11, 2, "gaze_angle_x", "gaze_angle_y"),
    (13, 56, "eye_lmk_x_0", "eye_lmk_x_55"),
    (69, 56, "eye_lmk_y_0", "eye_lmk_y_55"),
    (125, 56, "eye_lmk_X_0", "eye_lmk_X_55"),
    (181, 56, "eye_lmk_Y_0", "eye_lmk_Y_55"),
    (237, 56, "eye_lmk_Z_0", "eye_lmk_Z_55"),
    (293, 3, "pose_Tx", "pose_Tz"),
    (296, 3, "pose_Rx", "pose_Rz"),
    (299, 68, "x_0", "x_67"),
    (367, 68, "y_0", "y_67"),
    (435, 68, "X_0", "X_67"),
    (503, 68, "Y_0", "Y_67"),
    (571, 68, "Z_0", "Z_67"),
    (639, 1, "p_scale", "p_scale"),
    (640, 3, "p_rx", "p_rz"),
    (643, 2, "p_tx", "p_ty"),
    (645, 34, "p_0", "p_33"),
]


def test_every_column_is_in_its_place():
    names = names_of(make_table(2))
    assert len(names) == len(set(names)) == 679 == sum(count for _, count, _, _ in GROUPS)
    for start, count, first, last in GROUPS:
        assert (names[start], names[start + count - 1]) == (first, last)
    assert [start for start, *_ in GROUPS[1:]] == [start + count for start, count, _, _ in GROUPS[:-1]]


def test_images_begin_with_face_and_confidence():
    table = make_table(2)
    names = names_of(table, image_mode=True)
    assert names[:2] == ["face", "confidence"] and names[2:-1] == names_of(table)[5:]
    assert by_name(table, image_mode=True)["face"] == [0, 1]


def test_rejected_fits_of_images_are_marked_behind_openfaces_columns():
    table = make_table(2, likelihoods=torch.rand(2, 68), image=("a.png", "b.png"), success=torch.tensor([True, False]))
    names = names_of(table, image_mode=True)
    assert names.index("success") == 679 - 3 and names[-1] == "image"
    assert by_name(table, image_mode=True)["success"] == [1, 0]


def test_values_stand_under_their_names():
    table = make_table(3)
    found = by_name(table)
    for name, values in {
        "success": table.success.long(), "face_id": table.face_id, "gaze_1_y": table.gaze[:, 1, 1],
        "eye_lmk_x_28": table.eye_landmarks[:, 28, 0], "eye_lmk_Z_3": table.eye_points[:, 3, 2],
        "pose_Tz": table.pose[:, 2], "pose_Rx": table.pose[:, 3], "x_1": table.landmarks[:, 1, 0],
        "y_0": table.landmarks[:, 0, 1], "Y_67": table.points[:, 67, 1], "p_scale": table.params_global[:, 0],
        "p_ty": table.params_global[:, 5], "p_10": table.params_local[:, 10],
    }.items():  # fmt: skip
        assert found[name] == values.tolist(), name


@pytest.mark.parametrize(
    ("groups", "left_out"),
    [
        (("gaze", "gaze_angle"), 8),
        (("eye_landmarks", "eye_points"), 280),
        (("pose",), 6),
        (("landmarks",), 136),
        (("points",), 204),
        (("params_global", "params_local"), 40),
    ],
)
def test_groups_can_be_left_out(groups, left_out):
    table = make_table(1)
    names, fewer = names_of(table), names_of(table.without(*groups))
    assert len(fewer) == 679 - left_out and fewer == [name for name in names if name in set(fewer)]


def test_what_openface_does_not_have_comes_last():
    table = make_table(2, likelihoods=torch.rand(2, 68), image=("a.png", "b.png"))
    names = names_of(table)
    assert names[:679] == names_of(make_table(2))
    assert names[679:] == [*(f"lm_likelihood_{number}" for number in range(68)), "image"]
    assert by_name(table)["image"] == ["a.png", "b.png"]


def test_other_models_have_other_numbers_of_columns():
    table = make_table(1, landmarks=torch.zeros(1, 5, 2), points=torch.zeros(1, 5, 3), params_local=torch.zeros(1, 2))
    assert len(names_of(table)) == 679 - 63 * 5 - 32


def test_digits_that_openface_prints():
    digits = {block.names[0]: block.decimals for block in columns(make_table(1))}
    assert digits == {
        "frame": 0, "face_id": 0, "timestamp": 3, "confidence": 2, "success": 0, "gaze_0_x": 6, "gaze_angle_x": 3,
        "eye_lmk_x_0": 1, "eye_lmk_X_0": 1, "pose_Tx": 1, "pose_Rx": 3, "x_0": 1, "X_0": 1, "p_scale": 3, "p_0": 3,
    }  # fmt: skip
    image = {block.names[0]: block.decimals for block in columns(make_table(1), image_mode=True)}
    assert image["confidence"] == 3


def table_of(faces: int, parts: bool = True, **other: object) -> FaceTable:
    """Measured faces; those with odd numbers were not found."""
    face = make_face(faces)
    eyes = {name: make_shape(EYE, make_params(faces, 0.9, seed)) for seed, name in enumerate(EYE_PARTS)}
    number = torch.arange(faces)
    return FaceTable.of(
        frame=number + 1,
        face_id=0 * number,
        timestamp=number / 25,
        confidence=0.9 + 0 * number,
        success=number % 2 == 0,
        landmarks=face.landmarks,
        params=face.params,
        measures=measure(face, eyes if parts else {}, CAMERA),
        **other,
    )


def test_everything_measured_is_in_it():
    table, face = table_of(4), make_face(4)
    assert len(table) == 4
    torch.testing.assert_close(table.params_global, face.params.globals)
    torch.testing.assert_close(table.landmarks, face.landmarks)
    assert table.eye_landmarks.shape == (4, 56, 2) and table.eye_points.shape == (4, 56, 3)
    left = make_shape(EYE, make_params(4, 0.9, 0))
    torch.testing.assert_close(table.eye_landmarks[:, :28], left.landmarks)


def test_gaze_is_0_where_the_face_was_not_found():
    table = table_of(4)
    assert (table.gaze[1::2] == 0).all() and (table.gaze_angle[1::2] == 0).all()
    torch.testing.assert_close(table.gaze[::2].norm(dim=-1), torch.ones(2, 2, dtype=torch.float64))
    assert table.pose[1::2].abs().min() > 0  # all else is what the last fit left


def test_models_without_eyes_have_no_gaze():
    table = table_of(2, parts=False)
    assert table.gaze is table.gaze_angle is table.eye_landmarks is table.eye_points is None
    assert names_of(table)[5] == "pose_Tx"


def test_no_faces():
    assert len(table_of(0)) == 0 and len(names_of(table_of(0))) == 679 - 34 + 3  # three modes instead of 34


def test_likelihoods_when_they_are_wanted():
    assert names_of(table_of(2, likelihoods=torch.zeros(2, 68)))[-1] == "lm_likelihood_67"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("success", torch.ones(3, dtype=torch.bool), r"success has shape \(3,\); expected \(2\)"),
        ("gaze", torch.ones(2, 3), r"gaze has shape \(2, 3\); expected \(2, 2, 3\)"),
        ("points", torch.ones(2, 68, 2), r"points has shape \(2, 68, 2\); expected \(2, any, 3\)"),
        ("pose", torch.ones(1, 6), r"pose has shape \(1, 6\); expected \(2, 6\)"),
        ("image", ("a.png",), "there are 1 names of images for 2 rows"),
    ],
)
def test_fields_that_do_not_belong_together_are_refused(field, value, expected):
    with pytest.raises(ValueError, match=expected):
        make_table(2, **{field: value})


@pytest.mark.parametrize("group", ["frame", "smile"])
def test_some_groups_cannot_be_left_out(group):
    with pytest.raises(ValueError, match=f"there are no groups \\['{group}'\\] that can be left out"):
        make_table(1).without(group)
