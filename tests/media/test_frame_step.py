"""`clnf_torch.media.frame_step`: one rule for smoothing and for reports."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clnf_torch.media.frame_step import usual_step
from clnf_torch.report.records import FaceLog

CASES = [
    ("every frame", [1, 2, 3, 4], [0, 0, 0, 0], 1),
    ("every fifth, unsorted", [11, 1, 6, 16], [0, 0, 0, 0], 5),
    ("more gaps than steps", [1, 2, 3, 9, 14, 20, 40], [0] * 7, 1),
    ("faces that take turns", [1, 6, 11, 16, 21, 26], [0, 1, 0, 1, 0, 1], 10),
    ("the least of equals", [1, 2, 7], [0, 0, 0], 1),
    ("one row of each face", [1, 6, 11], [0, 1, 2], 5),
    ("a single row", [7], [0], 1),
    ("no row", [], [], 1),
]


@pytest.mark.parametrize(("frames", "faces", "step"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_usual_step(frames, faces, step):
    frame, face = torch.tensor(frames, dtype=torch.int64), torch.tensor(faces, dtype=torch.int64)
    assert usual_step(frame, face) == step
    none = np.zeros(len(frames))
    log = FaceLog(frame=frame.numpy(), face=face.numpy(), time=none, confidence=none, success=none == 0)
    assert log.step() == step
