"""Faces as JSON: an object with one face on each line, valid whatever ends the writing."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from torch import Tensor

from clnf_torch.export.face_table import FaceTable
from clnf_torch.models.files import write_atomically
from clnf_torch.pipeline import FitResult

# Fields of a table, by their keys in JSON
MEASURED = {
    "landmarks_3d": "points",
    "pose": "pose",
    "gaze": "gaze",
    "gaze_angle": "gaze_angle",
    "eye_landmarks": "eye_landmarks",
    "eye_landmarks_3d": "eye_points",
}


def face_records(heads: Sequence[Mapping[str, Any]], result: FitResult, table: FaceTable) -> Iterator[dict[str, Any]]:
    """Fitted and measured faces as plain values; numbers that are not finite become None.

    Args:
        heads: What each of R records begins with.
        result: The fits, R rows.
        table: What was measured of them, R rows.

    Yields:
        One record per row.
    """
    for row, head in enumerate(heads):
        validated = {"success": bool(table.success[row]), "confidence": _plain(table.confidence[row])}
        measured = {name: getattr(table, field) for name, field in MEASURED.items()}
        known = {name: _plain(values[row]) for name, values in measured.items() if values is not None}
        yield {**head, **validated, **_fitted(result, row), **known}


class JSONRows:
    """Appends faces, one on each line, to a document that is valid once it is closed.

    Args:
        file: Open for writing bytes.
        head: What the document begins with.
    """

    def __init__(self, file: BinaryIO, head: Mapping[str, Any]) -> None:
        self._file, self._first = file, True
        file.write(json.dumps(dict(head)).encode("ascii")[:-1] + b', "faces": [')

    def append(self, faces: Iterable[Mapping[str, Any]]) -> None:
        """Writes faces."""
        for face in faces:
            self._file.write((b"\n" if self._first else b",\n") + json.dumps(face, allow_nan=False).encode("ascii"))
            self._first = False

    def close(self) -> None:
        """Writes the end of the document."""
        self._file.write(b"]}\n")
        self._file.flush()


@contextlib.contextmanager
def json_rows(file: BinaryIO, head: Mapping[str, Any]) -> Iterator[JSONRows]:
    """A JSON document in an open file, such as stdout; it is completed however the block ends.

    Args:
        file: Open for writing bytes.
        head: What the document begins with.
    """
    rows = JSONRows(file, head)
    try:
        yield rows
    finally:
        rows.close()


@contextlib.contextmanager
def json_file(path: str | os.PathLike[str], head: Mapping[str, Any]) -> Iterator[JSONRows]:
    """A JSON file that grows with the faces appended to it.

    It appears under its name when the block ends, with all faces so far, also when an error or Ctrl-C ends it.

    Args:
        path: The file, replaced if it exists.
        head: What the document begins with.
    """
    with write_atomically(path, keep_partial=True) as file, json_rows(file, head) as rows:
        yield rows


def _fitted(result: FitResult, row: int) -> dict[str, Any]:
    """What a fit says about a face."""
    return {
        "likelihood": _plain(result.likelihood[row]),
        "view": int(result.view[row]),
        "params_global": _plain(result.params.globals[row]),
        "params_local": _plain(result.params.local[row]),
        "landmarks": _plain(result.landmarks[row]),
        "landmark_likelihoods": _plain(result.landmark_likelihoods[row]),
    }


def _plain(values: Tensor) -> Any:
    """A tensor as nested lists of numbers."""
    return _finite(values.tolist())


def _finite(value: Any) -> Any:
    """Numbers with nine digits, which tell any two float32 apart; None where a number is not finite."""
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return float(f"{value:.9g}") if math.isfinite(value) else None
