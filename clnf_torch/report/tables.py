"""Tables of faces as a report reads them: CSV, Parquet and JSON, with whichever columns they have."""

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count as count_up
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from clnf_torch.files.names import one_line
from clnf_torch.files.table_text import bare, cells_of, decimal, filled_lines, header, miscounted
from clnf_torch.report.records import FaceLog, NoFacesError, TableError

# Columns that a report looks at; all others are not even converted
WANTED = re.compile(
    r"frame|face|face_id|timestamp|confidence|success|gaze_angle_[xy]|pose_[TR][xyz]|p_scale|p_r[xyz]|p_t[xy]|"
    r"(eye_lmk_[xy]|[xyXYZ])_\d+"
)
# Of several videos, as tables that are joined have it, no page can be made: their frames have the same numbers
IMAGE, VIDEO = "image", "video"
PARAMS = ("p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty")
POSE = ("pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz")
# Keys of a face in JSON, by the fields of a log
JSON_GROUPS = {
    "landmarks": "landmarks", "points": "landmarks_3d", "pose": "pose", "gaze": "gaze_angle",
    "params": "params_global", "eyes": "eye_landmarks",
}  # fmt: skip
# As R, pandas and spreadsheets write whether a row counts
TRUTHS = {"true": 1.0, "false": 0.0}
NO_FACES = "expected columns of faces (x_0, y_0 and so on, or confidence), found none"
# Rows of a CSV file that are held as texts
CHUNK = 512

Columns = dict[str, np.ndarray]


def read_log(path: Path) -> FaceLog:
    """The faces of a table.

    Args:
        path: ``.csv``, ``.parquet`` or ``.json``, as the commands write them or with fewer columns.

    Raises:
        TableError: It cannot be read, or is no table of faces.
    """
    try:
        return READERS[path.suffix.lower()](path)
    except TableError:
        raise
    except (OSError, ValueError, KeyError, TypeError, csv.Error, RecursionError) as error:
        raise TableError(f"{path}: cannot be read as a table of faces: {one_line(str(error))}") from error


def _read_csv(path: Path) -> FaceLog:
    """Delimiter and decimal mark are the file's. Rows that are too short, and texts that are no numbers, become NaN.

    Raises:
        TableError: A row has more cells than there are columns: its numbers would stand in wrong ones.
    """
    with path.open(newline="", encoding=_encoding(path), errors="replace") as file:
        lines = (line for _, line in filled_lines(file))
        first = next(lines, "")
        if not first:
            raise NoFacesError(f"{path}: expected a table of faces, found an empty file")
        delimiter, named = header(first, "confidence")
        names = [bare(name) for name in named]
        # Foreign tables may have rows of any length
        if not {"x_0", "confidence"}.intersection(names):
            raise NoFacesError(f"{path}: {NO_FACES}")
        wanted = [column for column, name in enumerate(names) if WANTED.fullmatch(name)]
        place, of_video = (names.index(name) if name in names else None for name in (IMAGE, VIDEO))
        images, videos, chunks, cut = list[str](), set[str](), list[np.ndarray](), 0
        cells = _filled(path, enumerate(cells_of(lines, delimiter), start=2), len(names))
        while rows := list(islice(cells, CHUNK)):
            chunks.append(np.array([_numbers(row, wanted) for row in rows]).reshape(len(rows), len(wanted)))
            cut += sum(len(row) < len(names) for row in rows)
            if place is not None:
                images += [row[place] if place < len(row) else "" for row in rows]
            if of_video is not None:
                videos.update(row[of_video] for row in rows if of_video < len(row))
    _require_one_video(path, videos)
    values = np.concatenate(chunks) if chunks else np.zeros((0, len(wanted)))
    columns = {names[column]: values[:, number] for number, column in enumerate(wanted)}
    return replace(_of_columns(path, columns, images if place is not None else None), cut=cut)


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


def _read_parquet(path: Path) -> FaceLog:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise TableError(f"{path}: Parquet needs pyarrow; pip install 'clnf_torch[tables]'") from error
    # pyarrow opens no file whose name is not UTF-8
    with path.open("rb") as opened:
        file = pyarrow.parquet.ParquetFile(opened)
        names = [name for name in file.schema_arrow.names if WANTED.fullmatch(name) or name in (IMAGE, VIDEO)]
        table = file.read(columns=names)
    _require_one_video(path, set(table[VIDEO].to_pylist()) if VIDEO in names else set())
    columns = {name: table[name].to_numpy().astype(float) for name in names if name not in (IMAGE, VIDEO)}
    return _of_columns(path, columns, table[IMAGE].to_pylist() if IMAGE in names else None)


def _require_one_video(path: Path, videos: set[str]) -> None:
    """Refuses a table of several videos, whose frames would be taken for those of one."""
    if len(videos) > 1:
        found = ", ".join(sorted(map(str, videos))[:3])
        raise TableError(
            f"{path}: expected one video, column video names {len(videos)}: {found}; write a table of each"
        )


def _of_columns(path: Path, columns: Columns, images: Sequence[str] | None) -> FaceLog:
    """A log of the columns that a table has."""
    landmarks = _points(columns, "x_", "y_")
    if landmarks is None and "confidence" not in columns:
        raise NoFacesError(f"{path}: {NO_FACES}")
    rows = len(next(iter(columns.values())))
    frame, names = _places(columns.get("frame"), images, rows)
    success = columns.get("success")
    return FaceLog(
        frame=frame,
        face=_whole(columns.get("face_id", columns.get("face", np.zeros(rows)))),
        time=None if names else columns.get("timestamp"),
        confidence=columns.get("confidence", np.full(rows, np.nan)),
        success=_seen(landmarks, rows) if success is None else success > 0,
        landmarks=landmarks,
        points=_points(columns, "X_", "Y_", "Z_"),
        pose=_group(columns, POSE),
        gaze=_group(columns, ("gaze_angle_x", "gaze_angle_y")),
        params=_group(columns, PARAMS),
        eyes=_points(columns, "eye_lmk_x_", "eye_lmk_y_"),
        images=names,
        judged=success is not None,
    )


def _points(columns: Columns, *axes: str) -> np.ndarray | None:
    """Points (R, N, D) of columns such as x_0, x_1 and y_0, y_1; None where one of them is missing."""
    count = next(number for number in count_up() if f"{axes[0]}{number}" not in columns)
    names = [f"{axis}{number}" for number in range(count) for axis in axes]
    if not count or any(name not in columns for name in names):
        return None
    return np.stack([columns[name] for name in names], axis=1).reshape(-1, count, len(axes))


def _group(columns: Columns, names: Sequence[str]) -> np.ndarray | None:
    """Columns side by side, (R, C); None where one of them is missing."""
    return np.stack([columns[name] for name in names], axis=1) if all(name in columns for name in names) else None


def _places(
    frame: np.ndarray | None, images: Sequence[str] | None, rows: int
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The frame of each row, (R,), and the names of images by frame."""
    if frame is not None and not images:
        return _whole(frame), None
    if images is None:
        return np.arange(1, rows + 1), None
    names = tuple(dict.fromkeys(images))
    number = {name: place for place, name in enumerate(names, 1)}
    return np.array([number[name] for name in images], dtype=np.int64), names


def _whole(values: np.ndarray) -> np.ndarray:
    """Numbers as integers; those that are not finite as -1."""
    return np.where(np.isfinite(values), values, -1).astype(np.int64)


def _seen(landmarks: np.ndarray | None, rows: int) -> np.ndarray:
    """Rows with a face, where no column says it: those whose landmarks are finite and not all 0."""
    if landmarks is None:
        return np.ones(rows, dtype=bool)
    axes = tuple(range(1, landmarks.ndim))
    return np.isfinite(landmarks).all(axes) & (landmarks != 0).any(axes)


def _read_json(path: Path) -> FaceLog:
    content = json.loads(path.read_bytes())
    faces = content.get("faces") if isinstance(content, dict) else None
    if not isinstance(faces, list) or not all(isinstance(face, dict) for face in faces):
        raise NoFacesError(f"{path}: expected an object with a list of faces; found another document")
    first: Mapping[str, Any] = faces[0] if faces else {}
    frame = _column(faces, "frame") if "frame" in first else None
    frames, names = _places(frame, [str(face.get(IMAGE)) for face in faces] if IMAGE in first else None, len(faces))
    groups = {field: _rows(faces, key) for field, key in JSON_GROUPS.items()}
    video = content.get("video")
    return FaceLog(
        frame=frames,
        face=_whole(_column(faces, "face_id")) if "face_id" in first else np.zeros(len(faces), dtype=np.int64),
        time=_column(faces, "timestamp") if "timestamp" in first else None,
        confidence=_column(faces, "confidence"),
        success=_column(faces, "success") > 0 if "success" in first else _seen(groups["landmarks"], len(faces)),
        images=names,
        video=video if isinstance(video, str) else None,
        judged="success" in first or not faces,
        cut=0,
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


READERS: dict[str, Callable[[Path], FaceLog]] = {".csv": _read_csv, ".parquet": _read_parquet, ".json": _read_json}
