"""`clnf_torch.export.face_table`: tables of what was measured, and tables that cannot be."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.export.face_table import FaceTable
from clnf_torch.measures.gaze import EYE_PARTS
from clnf_torch.measures.measure import measure
from tests.export.tables import make_table, names_of
from tests.measures.heads import CAMERA, EYE, make_face, make_params, make_shape


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
