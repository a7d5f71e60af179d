"""Tables of faces as a report reads them: CSV, Parquet and JSON, with whichever columns they have."""

import codecs
import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from clnf_torch.files.names import one_line
from clnf_torch.files.reading import download_in_place
from clnf_torch.files.table_text import bare, cells_of, decimal, filled_lines, header, miscounted
from clnf_torch.report.columns import (
    IMAGE,
    NO_FACES,
    VIDEO,
    CollectedRows,
    Selection,
    frames_of_rows,
    rows_with_face,
    whole_numbers,
)
from clnf_torch.report.records import FaceLog, NoFacesError, TableError

# Keys of a face in JSON, by the fields of a log
JSON_GROUPS = {
    "landmarks": "landmarks", "points": "landmarks_3d", "pose": "pose", "gaze": "gaze_angle",
    "params": "params_global", "eyes": "eye_landmarks",
}  # fmt: skip
# As R, pandas and spreadsheets write whether a row counts
TRUTHS = {"true": 1.0, "false": 0.0}
# Rows of a CSV file that are held as texts, and of a Parquet file at a time
CHUNK, BATCH = 512, 4096


def read_log(path: Path, selection: Selection | None = None) -> FaceLog:
    """The faces of a table.

    Args:
        path: ``.csv``, ``.parquet`` or ``.json``, as the commands write them or with fewer columns.
        selection: What is read of it; None: all. JSON, which is in memory anyway, is always read whole.

    Raises:
        TableError: It cannot be read, or is no table of faces.
    """
    try:
        return READERS[path.suffix.lower()](path, selection or Selection())
    except TableError:
        raise
    except (OSError, ValueError, KeyError, TypeError, csv.Error, RecursionError) as error:
        if download := download_in_place(path):
            raise TableError(f"{path}: expected a table of faces, found {download}") from error
        raise TableError(f"{path}: cannot be read as a table of faces: {one_line(str(error))}") from error


def read_rows(path: Path, log: FaceLog, rows: np.ndarray, read: Callable[[int], None]) -> FaceLog:
    """All that a table holds of some rows.

    Args:
        path: The table.
        log: What was read of it.
        rows: Numbers of the rows, ascending, shape (R,).
        read: See `Selection`.

    Raises:
        TableError: It cannot be read any more.
    """
    whole = read_log(path, Selection(rows=frozenset(rows.tolist()), read=read))
    if len(whole) != len(rows):
        raise TableError(
            f"{path}: expected {len(rows)} of its rows again, found {len(whole)}; it has changed meanwhile"
        )
    # Images are numbered as in the whole table
    return replace(whole, frame=log.frame[rows], face=log.face[rows], success=log.success[rows], images=log.images)


def _read_csv(path: Path, selection: Selection) -> FaceLog:
    """Delimiter and decimal mark are the file's. Rows that are too short, and texts that are no numbers, become NaN.

    Raises:
        TableError: A row has more cells than there are columns: its numbers would stand in wrong ones.
    """
    # How far the file is read is known below its text alone
    with path.open("rb") as file, TextIOWrapper(file, _encoding(path), "replace", newline="") as text:
        lines = (line for _, line in filled_lines(text))
        first = next(lines, "")
        if not first:
            raise NoFacesError(f"{path}: expected a table of faces, found an empty file")
        delimiter, named = header([first], "confidence")
        names = [bare(name) for name in named]
        # Foreign tables may have rows of any length
        if not {"x_0", "confidence"}.intersection(names):
            raise _other_table(path)
        wanted, kept = selection.columns(names)
        collected, cut, before = CollectedRows(path, [names[column] for column in wanted], kept), 0, 0
        cells = _filled(path, enumerate(cells_of(lines, delimiter), start=2), len(names))
        if selection.rows is not None:
            cells = (each for number, each in enumerate(cells) if number in selection.rows)
        while rows := list(islice(cells, CHUNK)):
            values = np.array([_numbers(row, wanted) for row in rows]).reshape(len(rows), len(wanted))
            images, videos = (_texts(rows, names, name) for name in (IMAGE, VIDEO))
            # A row that ends before tells no other video
            collected.add(values, [image or "" for image in images], [video for video in videos if video is not None])
            cut += sum(len(row) < len(names) for row in rows)
            selection.read(file.tell() - before)
            before = file.tell()
    return replace(collected.log(of_images=IMAGE in names), cut=cut)


def _other_table(path: Path) -> TableError:
    """The error about a text without columns of faces."""
    if download := download_in_place(path):
        return TableError(f"{path}: expected a table of faces, found {download}")
    return NoFacesError(f"{path}: {NO_FACES}")


def _texts(rows: Sequence[Sequence[str]], names: Sequence[str], name: str) -> list[str | None]:
    """The texts of a column, None for rows that end before it; nothing where there is no such column."""
    if name not in names:
        return []
    place = names.index(name)
    return [row[place] if place < len(row) else None for row in rows]


def _encoding(path: Path) -> str:
    """That of a text, by its first bytes: spreadsheets write UTF-16 too."""
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else "utf-8-sig"


def _filled(path: Path, rows: Iterable[tuple[int, list[str]]], count: int) -> Iterator[list[str]]:
    """Rows with a cell that is not empty, none longer than the names of the columns."""
    for number, cells in rows:
        if any(map(str.strip, cells)):
            if any(map(str.strip, cells[count:])):
                raise TableError(f"{path}: {miscounted(number, cells, count)}")
            yield cells


def _numbers(row: Sequence[str], wanted: Sequence[int]) -> list[float]:
    """The numbers of a row in some columns."""
    try:
        return [float(row[column]) for column in wanted]
    except (ValueError, IndexError):
        return [_number(row[column]) if column < len(row) else np.nan for column in wanted]


def _number(text: str) -> float:
    text = bare(text)
    try:
        return decimal(text)
    except ValueError:
        return TRUTHS.get(text.lower(), np.nan)


def _read_parquet(path: Path, selection: Selection) -> FaceLog:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise TableError(f"{path}: Parquet needs pyarrow; pip install 'clnf_torch[tables]'") from error
    # pyarrow opens no file whose name is not UTF-8
    with path.open("rb") as opened:
        file = pyarrow.parquet.ParquetFile(opened)
        every, start = file.schema_arrow.names, 0
        wanted, kept = selection.columns(every)
        names = [every[place] for place in wanted]
        texts = [name for name in (IMAGE, VIDEO) if name in every]
        collected = CollectedRows(path, names, kept)
        for batch in file.iter_batches(BATCH, columns=[*names, *texts]):
            chosen = _among(selection.rows, start, len(batch))
            start += len(batch)
            selection.read(path.stat().st_size * len(batch) // max(file.metadata.num_rows, 1))
            if len(chosen):
                numbers = [batch[name].to_numpy(zero_copy_only=False).astype(float)[chosen] for name in names]
                found = {name: np.array(batch[name].to_pylist(), dtype=object)[chosen].tolist() for name in texts}
                values = np.stack(numbers, axis=1) if numbers else np.zeros((len(chosen), 0))
                collected.add(values, found.get(IMAGE, ()), found.get(VIDEO, ()))
    return collected.log(of_images=IMAGE in every)


def _among(rows: Collection[int] | None, start: int, count: int) -> np.ndarray:
    """Which of the next rows of a table are read, by their number among them."""
    return np.array([number for number in range(count) if rows is None or start + number in rows], dtype=np.int64)


def _read_json(path: Path, selection: Selection) -> FaceLog:
    content = json.loads(path.read_bytes())
    selection.read(path.stat().st_size)
    faces = content.get("faces") if isinstance(content, dict) else None
    if not isinstance(faces, list) or not all(isinstance(face, dict) for face in faces):
        raise NoFacesError(f"{path}: expected an object with a list of faces; found another document")
    first: Mapping[str, Any] = faces[0] if faces else {}
    frame = _column(faces, "frame") if "frame" in first else None
    frames, names = frames_of_rows(
        frame, [str(face.get(IMAGE)) for face in faces] if IMAGE in first else None, len(faces)
    )
    groups = {field: _rows(faces, key) for field, key in JSON_GROUPS.items()}
    found = rows_with_face(groups["landmarks"], len(faces))
    success = _column(faces, "success") > 0 if "success" in first else found
    video = content.get("video")
    return FaceLog(
        frame=frames,
        face=whole_numbers(_column(faces, "face_id")) if "face_id" in first else np.zeros(len(faces), dtype=np.int64),
        time=_column(faces, "timestamp") if "timestamp" in first else None,
        confidence=_column(faces, "confidence"),
        success=success,
        images=names,
        video=video if isinstance(video, str) else None,
        judged="success" in first or not faces,
        cut=0,
        kept=None,
        **groups,
    )


def _column(faces: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """One number of each face, (R,); NaN where it is missing or null."""
    return np.array([face.get(key) for face in faces], dtype=float)


def _rows(faces: Sequence[Mapping[str, Any]], key: str) -> np.ndarray | None:
    """A list of numbers of each face, (R, ...); NaN where it is null. None where no face has it."""
    like = next((np.array(face[key], dtype=float) for face in faces if face.get(key) is not None), None)
    if like is None:
        return None
    return np.array([np.full_like(like, np.nan) if face.get(key) is None else face[key] for face in faces], dtype=float)


READERS: dict[str, Callable[[Path, Selection], FaceLog]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".json": _read_json,
}
