"""`clnf_torch.measures.measure`: everything at once is everything by itself."""

from __future__ import annotations

import pytest
import torch

from clnf_torch.faces.detection import camera_of
from clnf_torch.measures.gaze import EYE_PARTS, gaze_angles, gaze_directions
from clnf_torch.measures.head_pose import head_pose
from clnf_torch.measures.landmarks_3d import FittedShape, landmarks_3d
from clnf_torch.measures.measure import measure
from clnf_torch.pipeline import measure_faces
from tests.measures.heads import CAMERA, EYE, make_face, make_params, make_shape, spoiled


def make_parts(faces: int) -> dict[str, FittedShape]:
    """Both eyes of faces."""
    return {name: make_shape(EYE, make_params(faces, 0.9, seed), 0.2, seed) for seed, name in enumerate(EYE_PARTS, 20)}


def test_measures_what_the_single_functions_measure():
    face, parts = make_face(3), make_parts(3)
    found = measure(face, parts, CAMERA, "exact")
    points, pose = landmarks_3d(face, CAMERA), head_pose(face, CAMERA, "exact")
    eyes = torch.stack([landmarks_3d(parts[name], CAMERA) for name in EYE_PARTS], dim=1)
    gaze = gaze_directions(points, eyes, pose.rotation, "exact")
    for ours, expected in (
        (found.points, points),
        (found.pose.values, pose.values),
        (found.eyes.points, eyes),
        (found.eyes.gaze, gaze),
        (found.eyes.gaze_angle, gaze_angles(gaze)),
        (found.eyes.landmarks[:, 1], parts["right_eye_28"].landmarks),
    ):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)


def test_without_both_eyes_there_is_no_gaze():
    parts = make_parts(2)
    del parts["left_eye_28"]
    found = measure(make_face(2), parts, CAMERA)
    assert found.eyes is None and found.pose.values.isfinite().all()


def test_spoiled_rows_spare_the_others():
    face, parts = make_face(5), make_parts(5)
    clean, found = measure(face, parts, CAMERA), measure(spoiled(face), parts, CAMERA)
    assert found.eyes.gaze[1:4].isnan().all()
    torch.testing.assert_close(found.eyes.gaze[[0, 4]], clean.eyes.gaze[[0, 4]])
    torch.testing.assert_close(found.eyes.points, clean.eyes.points)  # the eyes have parameters of their own


def test_what_is_no_camera_is_named():
    for given, kind in ((None, "NoneType"), ((500, 500, 320, 240), "tuple")):
        with pytest.raises(ValueError, match=rf"camera is of type {kind}; expected Intrinsics, .*for_image\(width"):
            measure_faces(None, None, given)
    with pytest.raises(ValueError, match="camera is of type str; expected Intrinsics"):
        camera_of("webcam")
