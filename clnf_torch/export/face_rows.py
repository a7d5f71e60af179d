"""Fitted faces with their place in images or videos, and the table of everything that can be measured of them."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from clnf_torch.export.face_table import FaceTable
from clnf_torch.geometry.camera import Intrinsics
from clnf_torch.pipeline import FitResult, LandmarkDetector, measure_faces

# Fields that keep their values in rows without a face
HEAD = {"frame", "face_id", "timestamp", "confidence", "success"}


@dataclass(frozen=True, kw_only=True)
class FaceRows:
    """R fitted faces, and where they belong."""

    faces: FitResult  # R rows
    success: Tensor  # (R,) bool
    frame: Tensor  # (R,) int64, from 1
    face_id: Tensor  # (R,) int64
    timestamp: Tensor  # (R,) seconds, float64

    def __len__(self) -> int:
        """Number of rows R."""
        return len(self.frame)


def face_table(rows: FaceRows, detector: LandmarkDetector, camera: Intrinsics, likelihoods: bool = False) -> FaceTable:
    """Measures fitted faces: 3D landmarks, head pose, and gaze where the model has eyes.

    Args:
        rows: The faces.
        detector: What fitted them.
        camera: What took the images.
        likelihoods: Whether to add the landmarks' likelihoods, and their expected errors where the model has some.

    Returns:
        As many rows, on the CPU. Where no face has been seen yet all numbers are 0.
    """
    faces = rows.faces
    table = FaceTable.of(
        frame=rows.frame,
        face_id=rows.face_id,
        timestamp=rows.timestamp,
        confidence=faces.confidence,
        success=rows.success,
        landmarks=faces.landmarks,
        params=faces.params,
        measures=measure_faces(faces, detector, camera),
        likelihoods=faces.landmark_likelihoods if likelihoods else None,
        errors=faces.landmark_errors if likelihoods else None,
    )
    # Landmarks that are NaN count as seen
    seen = (faces.landmarks != 0).flatten(1).any(1)
    return _zero_unseen(table, seen)


def _zero_unseen(table: FaceTable, seen: Tensor) -> FaceTable:
    """The table on the CPU, with 0 for everything that is measured in rows (R,) where no face was seen."""
    changed: dict[str, Any] = {}
    for field in fields(table):
        value = getattr(table, field.name)
        if isinstance(value, Tensor):
            kept = seen | (field.name in HEAD)
            kept = kept.view(-1, *[1] * (value.ndim - 1))
            changed[field.name] = torch.where(kept, value, 0).to("cpu", value.dtype)
    return replace(table, **changed)
