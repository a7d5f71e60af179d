"""`clnf_torch.export.face_rows`: measured faces, and zeros where no face was seen."""

from __future__ import annotations

from dataclasses import replace

import torch

from clnf_torch.export.face_rows import FaceRows, face_table
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.measures.landmarks_3d import FittedShape
from clnf_torch.measures.measure import measure
from clnf_torch.pipeline import LandmarkDetector
from tests.factories import CONFIG, make_boxes, make_images, make_model

CAMERA = Intrinsics.for_image(80, 72)


def make_rows(faces: int) -> tuple[LandmarkDetector, FaceRows]:
    """Fitted faces in frames 1, 2, 3, ..., and what fitted them."""
    detector = LandmarkDetector(make_model(), "exact")
    with torch.no_grad():
        result = detector.fit(make_images(), make_boxes(faces), preset=CONFIG)
    number = torch.arange(faces)
    rows = FaceRows(faces=result, success=result.success, frame=number + 1, face_id=number, timestamp=number / 25)
    return detector, rows


def test_rows_say_where_faces_belong_and_what_was_measured_of_them():
    detector, rows = make_rows(3)
    faces = rows.faces
    table = face_table(rows, detector, CAMERA)
    measured = measure(FittedShape(detector.model.pdm, faces.params, faces.landmarks), {}, CAMERA, "exact")
    assert (table.frame.tolist(), table.face_id.tolist(), table.likelihoods) == ([1, 2, 3], [0, 1, 2], None)
    torch.testing.assert_close(table.landmarks, faces.landmarks, check_device=False)
    torch.testing.assert_close(table.pose, measured.pose.values, check_device=False)
    assert torch.equal(face_table(rows, detector, CAMERA, likelihoods=True).likelihoods, faces.landmark_likelihoods)


def test_rows_of_faces_that_were_never_seen_are_zero():
    detector, rows = make_rows(3)
    landmarks = rows.faces.landmarks.clone()
    landmarks[1] = 0
    landmarks[2] = torch.nan
    unseen = replace(rows, faces=replace(rows.faces, landmarks=landmarks))
    table = face_table(unseen, detector, CAMERA)
    for values in (table.points, table.pose, table.params_global, table.params_local):
        assert (values[1] == 0).all() and not (values[0] == 0).all()
    assert table.frame.tolist() == [1, 2, 3] and table.confidence[1] == rows.faces.confidence[1]
    assert table.landmarks[2].isnan().all() and table.params_global[2].all()
