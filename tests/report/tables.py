"""Tables of a made-up face that opens its mouth, as files in every format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from clnf_torch.export.csv import csv_file
from clnf_torch.export.face_table import FaceTable
from clnf_torch.export.parquet import parquet_file
from tests.export.tables import by_name, make_table


def face_68() -> torch.Tensor:
    """68 points of a face that looks into the camera, millimetres, (68, 3): level eyes, a mouth that is shut."""
    points = torch.zeros(68, 3, dtype=torch.float64)
    points[:17, 0], points[:17, 1] = torch.linspace(-70, 70, 17), 60 - torch.linspace(-9, 9, 17) ** 2
    points[17:36] = torch.linspace(-10, 10, 19)[:, None] * torch.tensor([3.0, 0.5, 0.1])
    for first, side in ((36, -1), (42, 1)):
        eye = torch.tensor([[-15.0, 0], [-5, -5], [5, -5], [15, 0], [5, 5], [-5, 5]])
        points[first : first + 6, :2] = eye + torch.tensor([30.0 * side, -35])
    points[48:68, 1] = 40
    points[[48, 54], 0] = torch.tensor([-25.0, 25], dtype=torch.float64)
    return points


def talking(frames: int, *, lost: slice = slice(0, 0), faces: int = 1, **other: object) -> FaceTable:
    """A recording of 30 frames per second in which a mouth opens by a tenth of a millimetre with every frame."""
    rows = frames * faces
    step = torch.arange(frames).repeat_interleave(faces)
    points = face_68().repeat(rows, 1, 1)
    points[:, 66, 1] += 0.1 * step
    points[:, :, 2] += 500
    success = torch.ones(rows, dtype=torch.bool)
    success[lost.start * faces : lost.stop * faces] = False
    values = {
        "frame": 1 + step,
        "face_id": torch.arange(faces).repeat(frames),
        "timestamp": step.double() / 30,
        "confidence": 0.5 + 0.4 * step.double() / frames,
        "success": success,
        "points": points,
        "landmarks": 40 + points[..., :2] / 4,
        "pose": torch.tensor([0, 0, 500, 0.1, -0.2, 0], dtype=torch.float64).repeat(rows, 1),
        "params_global": torch.tensor([0.25, 0.1, -0.2, 0, 40, 40], dtype=torch.float64).repeat(rows, 1),
        "gaze_angle": torch.tensor([0.3, 0.1], dtype=torch.float64).repeat(rows, 1),
        "eye_landmarks": 30 + torch.linspace(0, 1, rows * 112, dtype=torch.float64).view(rows, 56, 2),
    }
    return make_table(rows, dtype=torch.float64, **{**values, **other})


def write_table(path: Path, table: FaceTable, *, image_mode: bool = False) -> Path:
    """The path, with a table in the format of its suffix."""
    if path.suffix == ".csv":
        with csv_file(path, image_mode=image_mode) as rows:
            rows.append(table)
    elif path.suffix == ".parquet":
        with parquet_file(path, image_mode=image_mode) as rows:
            rows.append(table)
    else:
        path.write_text(json.dumps(_document(table)))
    return path


def write_columns(path: Path, columns: dict[str, list], blank: str = "") -> Path:
    """The path, with a CSV file of columns, with blanks after the commas if wanted."""
    lines = [list(columns), *zip(*columns.values(), strict=True)]
    path.write_text("".join(f",{blank}".join(map(str, line)) + "\n" for line in lines))
    return path


def columns_of(table: FaceTable, *without: str) -> dict[str, list]:
    """The columns of a table but some."""
    return {name: values for name, values in by_name(table).items() if name not in without}


def _document(table: FaceTable) -> dict[str, object]:
    """A table as the commands write it in JSON."""
    keys = {
        "frame": table.frame, "timestamp": table.timestamp, "face_id": table.face_id, "success": table.success,
        "confidence": table.confidence, "params_global": table.params_global, "landmarks": table.landmarks,
        "landmarks_3d": table.points, "pose": table.pose, "gaze_angle": table.gaze_angle,
        "eye_landmarks": table.eye_landmarks,
    }  # fmt: skip
    rows = zip(*(value.tolist() for value in keys.values()), strict=True)
    return {"model": "default", "video": "clip.mp4", "faces": [dict(zip(keys, row, strict=True)) for row in rows]}


def pictures(count: int, width: int = 96, height: int = 80) -> list[np.ndarray]:
    """Frames of one gray level each."""
    return [np.full((height, width, 3), 40 + number, np.uint8) for number in range(count)]
