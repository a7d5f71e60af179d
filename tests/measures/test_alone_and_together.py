"""What is measured of a face, and said of its landmarks, is the same alone and among 37 others, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from clnf_torch.measures.face_measures import face_measures, level_face, points_in_head
from clnf_torch.measures.gaze import EYE_PARTS, gaze_angles, gaze_directions
from clnf_torch.measures.head_pose import HeadPose, head_pose, pose_to_line_of_sight
from clnf_torch.measures.landmarks_3d import landmarks_3d
from clnf_torch.measures.measure import measure
from clnf_torch.quality.checks import Evidence, run_checks
from clnf_torch.quality.config import QualityConfig
from clnf_torch.quality.robust_fit import robust_fit
from tests.factories import seeded
from tests.measures.heads import CAMERA, EYE, cast, make_face, make_params, make_pdm, make_shape
from tests.measures.heads import rows as rows_of

FACES = 38
SINGLE = torch.zeros(0)


HEADS = cast(make_face(FACES), SINGLE)
EYES = {
    name: cast(make_shape(EYE, make_params(FACES, 0.9, seed), 0.2, seed), SINGLE)
    for seed, name in enumerate(EYE_PARTS, 20)
}
POINTS = landmarks_3d(HEADS, CAMERA)
EYE_POINTS = torch.stack([landmarks_3d(EYES[name], CAMERA) for name in EYE_PARTS], dim=1)
POSE = head_pose(HEADS, CAMERA)
LEVEL = points_in_head(POINTS, POSE)
REST = LEVEL + torch.randn(LEVEL.shape, generator=seeded(5))
# With ten parameters; MKL rounds products of matrices of nine columns by their place in memory
SHAPE = make_pdm(68, 140.0, 1, modes=4).float()
KNOWN = torch.rand(FACES, 68, generator=seeded(6)) < 0.9


def posed(rows: slice) -> HeadPose:
    return HeadPose(POSE.translation[rows], POSE.rotation[rows])


def checked(rows: slice) -> Any:
    """What every check says of these faces."""
    landmarks, known = HEADS.landmarks[rows], KNOWN[rows]
    shape = robust_fit(SHAPE, landmarks, known)
    return run_checks(Evidence(landmarks=landmarks, known=known, shape=shape), QualityConfig())


MEASURES: dict[str, Callable[[slice], Any]] = {
    "points": lambda rows: landmarks_3d(rows_of(HEADS, rows), CAMERA),
    "pose": lambda rows: head_pose(rows_of(HEADS, rows), CAMERA),
    "pose to the line of sight": lambda rows: pose_to_line_of_sight(posed(rows)),
    "gaze": lambda rows: gaze_directions(POINTS[rows], EYE_POINTS[rows], POSE.rotation[rows]),
    "gaze angles": lambda rows: gaze_angles(gaze_directions(POINTS, EYE_POINTS, POSE.rotation)[rows]),
    "all": lambda rows: measure(
        rows_of(HEADS, rows), {name: rows_of(eye, rows) for name, eye in EYES.items()}, CAMERA, "exact"
    ),
    "points in the head": lambda rows: points_in_head(POINTS[rows], posed(rows)),
    "level face": lambda rows: level_face(LEVEL[rows]),
    "face": lambda rows: face_measures(LEVEL[rows], REST[rows]),
    "robust fit": lambda rows: robust_fit(SHAPE, HEADS.landmarks[rows], KNOWN[rows]),
    "quality": checked,
}


def leaves(record: Any) -> list[Tensor]:
    """The tensors of a record with a row for each face, in order."""
    if isinstance(record, Tensor):
        return [record]
    values = [getattr(record, field.name) for field in fields(record)] if is_dataclass(record) else []
    return [leaf for value in values for leaf in leaves(value)]


@pytest.mark.parametrize("name", MEASURES)
def test_alone_and_together(name):
    together = leaves(MEASURES[name](slice(None)))
    assert together and all(len(values) == FACES for values in together)
    # Places in a tensor, not the faces, decide which routine rounds them: some faces are as good as all
    for row in range(0, FACES, 3):
        for one, every in zip(leaves(MEASURES[name](slice(row, row + 1))), together, strict=True):
            assert torch.equal(one.nan_to_num(7.0), every[row : row + 1].nan_to_num(7.0)), (name, row)
