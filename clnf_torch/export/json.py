"""Faces as JSON: an object with one face on each line; until it is complete, JSON Lines that begin with its head."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from clnf_torch.export.decimals import nine_digit_texts
from clnf_torch.export.face_table import FaceTable
from clnf_torch.files.growing import GrowingFile, growing_file
from clnf_torch.files.names import escaped_name
from clnf_torch.files.writing import new_partial_of, write_atomically
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
# What is known of a face, as it is written
ORDER = (
    "success", "confidence", "likelihood", "view", "params_global", "params_local", "landmarks", "landmark_likelihoods",
    "landmark_errors", *MEASURED,
)  # fmt: skip


def face_lines(heads: Sequence[Mapping[str, Any]], result: FitResult, table: FaceTable) -> Iterator[bytes]:
    """Fitted and measured faces as JSON; numbers that are not finite become null.

    Args:
        heads: What each of R records begins with.
        result: The fits, R rows.
        table: What was measured of them, R rows.

    Yields:
        One record per row, on one line.
    """
    measured = {name: getattr(table, field) for name, field in MEASURED.items()}
    errors = {"landmark_errors": result.landmark_errors}
    numbers = {
        "confidence": table.confidence,
        "likelihood": result.likelihood,
        "params_global": result.params.globals,
        "params_local": result.params.local,
        "landmarks": result.landmarks,
        "landmark_likelihoods": result.landmark_likelihoods,
        **{name: values for name, values in (measured | errors).items() if values is not None},
    }
    order = [name for name in ORDER if name in numbers]
    form = _form(tuple((name, tuple(numbers[name].shape[1:])) for name in order))
    texts = nine_digit_texts([numbers[name] for name in order])
    whole = zip(table.success.tolist(), result.view.tolist(), strict=True)
    for head, (success, view), own in zip(heads, whole, texts, strict=True):
        start = f"{_line(head)[:-1].decode()}, " if head else "{"
        # See `ORDER`: a confidence and a likelihood stand before the view
        values = "true" if success else "false", *own[:2], view, *own[2:]
        yield f"{start}{form % values}}}".encode("ascii")


# Far more than a program has kinds of faces
@lru_cache(256)
def _form(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> str:
    """A record without its braces, with a ``%s`` in the place of each number, of numbers in these shapes by name."""
    forms = {"success": "%s", "view": "%s", **{name: _nested(shape) for name, shape in shapes}}
    return ", ".join(f'"{name}": {forms[name]}' for name in ORDER if name in forms)


def _nested(shape: tuple[int, ...]) -> str:
    """Places of numbers in lists of lists of a shape."""
    return f"[{', '.join([_nested(shape[1:])] * shape[0])}]" if shape else "%s"


def image_heads(names: Iterable[str], boxes: Iterable[Sequence[float]]) -> list[dict[str, Any]]:
    """What the records of faces in images begin with: the image's name, and the box that was fitted in."""
    return [{"image": escaped_name(name), "box": list(box)} for name, box in zip(names, boxes, strict=True)]


def frame_heads(table: FaceTable) -> list[dict[str, Any]]:
    """What the records of faces in the frames of a video begin with."""
    columns = table.frame.tolist(), table.timestamp.tolist(), table.face_id.tolist()
    return [{"frame": frame, "timestamp": time, "face_id": face} for frame, time, face in zip(*columns, strict=True)]


class JSONRows(Protocol):
    """Anything that takes faces."""

    def append(self, faces: Iterable[bytes]) -> None:
        """Takes faces, each of them JSON on one line."""
        ...

    def position(self) -> int:
        """Bytes that are written."""
        ...


class JSONDocument:
    """Appends faces, one on each line, to a document that is valid once it is closed.

    Args:
        file: Open for writing bytes.
        head: What the document begins with.
    """

    def __init__(self, file: BinaryIO, head: Mapping[str, Any]) -> None:
        self._file, self._first, self._written = file, True, 0
        self._write(_line(head)[:-1] + b', "faces": [')

    def append(self, faces: Iterable[bytes]) -> None:
        """Writes faces, each of them JSON on one line."""
        for face in faces:
            self._write((b"\n" if self._first else b",\n") + face)
            self._first = False

    def position(self) -> int:
        """Bytes that are written."""
        return self._written

    def close(self) -> None:
        """Writes the end of the document."""
        self._write(b"]}\n")
        self._file.flush()

    def _write(self, text: bytes) -> None:
        self._file.write(text)
        self._written += len(text)


@contextlib.contextmanager
def json_document(file: BinaryIO, head: Mapping[str, Any]) -> Iterator[JSONDocument]:
    """A JSON document in an open file, such as stdout; it is completed however the block ends.

    Args:
        file: Open for writing bytes.
        head: What the document begins with.
    """
    rows = JSONDocument(file, head)
    try:
        yield rows
    finally:
        rows.close()


class JSONLines:
    """Appends faces to JSON Lines, whose first line is the head of the document.

    Args:
        file: Grows.
        head: What the document begins with.
    """

    def __init__(self, file: GrowingFile, head: Mapping[str, Any]) -> None:
        self._file = file
        if not file.position:
            file.write(_line(head) + b"\n")

    def append(self, faces: Iterable[bytes]) -> None:
        """Writes faces, each of them JSON on one line; whole lines only."""
        self._file.write(b"".join(face + b"\n" for face in faces))

    def position(self) -> int:
        """Bytes that are written, for `json_file` to go on behind."""
        return self._file.position


@contextlib.contextmanager
def json_file(
    path: str | os.PathLike[str], head: Mapping[str, Any], *, position: int | None = None
) -> Iterator[JSONLines]:
    """A JSON file that grows with the faces appended to it.

    It appears under its name when the block ends; until then, and if anything stops the block, its faces are in
    ``NAME.partial``, which is JSON Lines.

    Args:
        path: The file, replaced if it exists.
        head: What the document begins with.
        position: Bytes of an earlier ``NAME.partial`` to go on behind.

    Raises:
        PartialError: That file is missing or shorter.
    """
    with growing_file(path, position, _publish) as file:
        yield JSONLines(file, head)


def _publish(partial: Path, path: Path) -> None:
    """Makes the document of JSON Lines."""
    with open(partial, "rb") as lines, write_atomically(path, new_partial_of(path)) as file:
        with json_document(file, json.loads(next(lines))) as document:
            document.append(line[:-1] for line in lines)
    partial.unlink()


def _line(record: Mapping[str, Any]) -> bytes:
    """A record as JSON on one line."""
    return json.dumps(dict(record), allow_nan=False).encode("ascii")
