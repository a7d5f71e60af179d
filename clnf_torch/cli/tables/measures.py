"""Tables of face measures: made of the tables that detect, track and OpenFace write."""

import csv
import io
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.files.table_text import (
    TableError,
    data_rows,
    frame_number,
    header,
    numbers,
    repetition,
    table_lines,
)
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS
from clnf_torch.geometry.records import join_rows, take_rows
from clnf_torch.measures.face_measures import FaceMeasures, face_measures, points_in_head
from clnf_torch.measures.head_pose import HeadPose

POSE = [f"pose_{name}" for name in ("Tx", "Ty", "Tz", "Rx", "Ry", "Rz")]
POINTS = [f"{axis}_{point}" for axis in "XYZ" for point in range(NUM_LANDMARKS)]
FRAME, SUCCESS = "frame", "success"
# Tables of clusters hold several videos, each with faces of its own
VIDEO, FACE = "video", "face_id"
IMAGE = "image"
# What a table of measures keeps of the one that it is made of, where that has it
KEPT = (VIDEO, IMAGE, FRAME, "face", FACE, "timestamp", "confidence", SUCCESS)
# Of these, numbers that need not be whole
FRACTIONS = {"timestamp", "confidence"}
# Digits after the point: a tenth of a micrometre
DECIMALS = 4
# Rows that are parsed, measured and written together: all texts, numbers and points of a long table are gigabytes
BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class PointTable:
    """What a table says about R rows, each a face in a frame or in an image.

    Attributes:
        names: Columns that a table of measures keeps.
        cells: Those of each row, as they were written.
        frame: Numbers of the frames, shape (R,) int64; the rows' own numbers in a table of images.
        identity: Numbers that the faces have among each other, shape (R,) int64.
        points: 68 points in the heads' axes, millimetres, shape (R, 68, 3) float64; NaN without success.
        rejected: Rows without success, shape (R,) bool; None: no column says it.
    """

    names: list[str]
    cells: list[list[str]]
    frame: Tensor
    identity: Tensor
    points: Tensor
    rejected: Tensor | None

    def __len__(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class MeasureTable:
    """Measures of R faces, and what their rows begin with."""

    names: list[str]
    cells: list[list[str]]
    measures: FaceMeasures  # R rows
    rejected: int | None  # rows without success; None: the table does not say which
    notes: tuple[str, ...] = ()  # what a user should know of the table, a line each

    def texts(self) -> Iterator[str]:
        """The table as CSV, some rows at a time; measures that are not known are ``nan``."""
        known = [place for place, name in enumerate(FaceMeasures.columns()) if self._is_known(name)]
        yield _csv([[*self.names, *(FaceMeasures.columns()[place] for place in known)]])
        for rows in _blocks(len(self.cells)):
            numbers = take_rows(self.measures, rows).values[:, known].tolist()
            written = ([f"{value:.{DECIMALS}f}" for value in values] for values in numbers)
            yield _csv([*cells, *values] for cells, values in zip(self.cells[rows], written, strict=True))

    def _is_known(self, column: str) -> bool:
        """Whether a column is written: excursions only where some face has a rest to be compared with."""
        return "excursion" not in column or not self.measures.commissure_excursion_image_left.isnan().all()


def measure_table(
    path: Path,
    rest: tuple[int, int] | None = None,
    smooth: Callable[[PointTable], Tensor] | None = None,
    read: Callable[[int], None] = lambda rows: None,
) -> MeasureTable:
    """Measures the faces of a table.

    Args:
        path: CSV with columns ``X_0`` to ``Z_67`` and ``pose_Tx`` to ``pose_Rz``, as detect, track and OpenFace write
            it.
        rest: First and last frame in which the faces are at rest: their mean is what movement is measured against.
        smooth: Makes smoother points (R, 68, 3) of a table.
        read: Told now and then how many rows more are read.

    Returns:
        One row per row; NaN where ``success`` is not 1.

    Raises:
        TableError: A column is missing, a cell holds no number, no face is seen at rest, or a table of images is to be
            smoothed or compared with a rest.
        OSError: It cannot be read.
    """
    if rest is None and smooth is None:
        # Points are forgotten as soon as they are measured
        measured = [(_without_points(block), face_measures(block.points)) for block in _point_blocks(path, read)]
        table = _joined([block for block, _ in measured])
        return _measured(table, join_rows(*(measures for _, measures in measured)))
    table = read_points(path, read)
    if FRAME not in table.names:
        raise TableError(f"{path}: has no column frame; leave out --rest and --smooth, which are of videos")
    notes = []
    if smooth is not None:
        points = smooth(table)
        if table.points.isfinite().any() and points.allclose(table.points, rtol=0, atol=0, equal_nan=True):
            notes.append("nothing is smoothed: no face was found in enough frames in a row")
        table = replace(table, points=points)
    try:
        at_rest = None if rest is None else faces_at_rest(table, *rest)
    except TableError as error:
        raise TableError(f"{path}: {error}") from error
    measured_blocks = (
        face_measures(table.points[rows], None if at_rest is None else at_rest[table.identity[rows]])
        for rows in _blocks(len(table))
    )
    return _measured(table, join_rows(*measured_blocks), *notes)


def _measured(table: PointTable, measures: FaceMeasures, *notes: str) -> MeasureTable:
    """The measures of a table, with what a user should know of it."""
    again = _repetition(table)
    rejected = None if table.rejected is None else int(table.rejected.sum())
    return MeasureTable(table.names, table.cells, measures, rejected, (*([again] if again else []), *notes))


def _blocks(count: int) -> Iterator[slice]:
    """So many rows in blocks; of none one without rows."""
    return (slice(start, start + BLOCK) for start in range(0, max(count, 1), BLOCK))


def _csv(rows: Iterable[list[str]]) -> str:
    """Rows of cells as text."""
    csv.writer(written := io.StringIO(), lineterminator="\n").writerows(rows)
    return written.getvalue()


def _repetition(table: PointTable) -> str | None:
    """A line about rows of the same frame or image and face; None where there are none."""
    name = next((name for name in (FRAME, IMAGE) if name in table.names), None)
    if name is None:
        return None
    places = [table.names.index(one) for one in (VIDEO, "face", FACE) if one in table.names]
    first = table.frame.tolist() if name == FRAME else [row[table.names.index(IMAGE)] for row in table.cells]
    keys = ((one, *(row[place] for place in places)) for one, row in zip(first, table.cells, strict=True))
    return repetition(name, keys)


def faces_at_rest(table: PointTable, first: int, last: int) -> Tensor:
    """The mean of each face over some frames.

    Args:
        table: R rows.
        first: The first of the frames.
        last: The last one.

    Returns:
        Points in the heads' axes by `identity`, millimetres, shape (I, 68, 3); NaN for faces that these frames do not
        show.

    Raises:
        TableError: They show none.
    """
    points = table.points
    inside = (table.frame >= first) & (table.frame <= last) & points.isfinite().all(-1).all(-1)
    if not inside.any():
        found = f"frames {table.frame.min()} to {table.frame.max()}" if len(table) else "no rows"
        raise TableError(f"expected a face at rest in frames {first} to {last}, found none in its {found}")
    faces = int(table.identity.max()) + 1
    total = points.new_zeros(faces, NUM_LANDMARKS, 3).index_add_(0, table.identity[inside], points[inside])
    count = torch.bincount(table.identity[inside], minlength=faces)
    return total / count[:, None, None]


def read_points(path: Path, read: Callable[[int], None] = lambda rows: None) -> PointTable:
    """Reads a table of 3D landmarks.

    Args:
        path: CSV; its first line names the columns, in any order, among others, and with blanks around them or not.
        read: Told now and then how many rows more are read.

    Raises:
        TableError: A column is missing, or a cell holds no number; says which and where.
        OSError: It cannot be read.
    """
    return _joined(list(_point_blocks(path, read)))


def _joined(tables: Sequence[PointTable]) -> PointTable:
    """Tables of one file, one after the other."""
    first, rejected = tables[0], [table.rejected for table in tables if table.rejected is not None]
    return PointTable(
        names=first.names,
        cells=[cells for table in tables for cells in table.cells],
        frame=torch.cat([table.frame for table in tables]),
        identity=torch.cat([table.identity for table in tables]),
        points=torch.cat([table.points for table in tables]),
        rejected=torch.cat(rejected) if rejected else None,
    )


def _without_points(table: PointTable) -> PointTable:
    """The table without what takes the most memory."""
    return replace(table, points=table.points[:0].clone())


def _point_blocks(path: Path, read: Callable[[int], None]) -> Iterator[PointTable]:
    """The rows of a table, in blocks; see `read_points`. Of a table without rows one that has none."""
    try:
        yield from _parse(path, read)
    except (TableError, csv.Error) as error:
        raise TableError(f"{path}: {error}") from error


def _parse(path: Path, read: Callable[[int], None]) -> Iterator[PointTable]:
    """The blocks of a table."""
    delimiter, names = header(table_lines(path), "pose_tx")
    # x_0 is a pixel and X_0 a millimetre
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    if missing := [name for name in (*POSE, *POINTS) if name not in places]:
        raise TableError(f"expected columns X_0 to Z_67 and pose_Tx to pose_Rz, found no {missing[0]}")
    kept = [name for name in KEPT if name in places]
    wanted = [*POSE, *POINTS, *(name for name in (SUCCESS,) if name in places)]
    targets, identify, start = [places[name] for name in wanted], _Numbering(), 1
    rows = data_rows(table_lines(path), delimiter, len(names), read)
    while (some := list(islice(rows, BLOCK))) or start == 1:
        values, frames = array("d"), array("q")
        for number, (line, row) in enumerate(some, start):
            values.extend(numbers(line, row, targets, names))
            frames.append(frame_number(line, row[places[FRAME]]) if FRAME in places else number)
        points, failed = _points(torch.tensor(values, dtype=torch.float64, device="cpu").view(-1, len(targets)))
        keys = (tuple(row[places[name]].strip() for name in (VIDEO, FACE) if name in places) for _, row in some)
        yield PointTable(
            names=kept,
            cells=[[_kept(name, row[places[name]].strip()) for name in kept] for _, row in some],
            frame=torch.tensor(frames, dtype=torch.int64, device="cpu"),
            identity=torch.tensor(list(map(identify, keys)), dtype=torch.int64, device="cpu"),
            points=points,
            rejected=failed if SUCCESS in places else None,
        )
        start += max(len(some), 1)


def _points(values: Tensor) -> tuple[Tensor, Tensor]:
    """Of columns `POSE`, `POINTS`, maybe `SUCCESS` the points in the heads' axes (R, 68, 3), and failed rows (R,)."""
    pose, rest = values.split((len(POSE), values.shape[1] - len(POSE)), dim=1)
    points = rest[:, : len(POINTS)].view(-1, 3, NUM_LANDMARKS).mT
    points = points_in_head(points, HeadPose(pose[:, :3], pose[:, 3:]))
    # An empty cell is no success either
    failed = ~(rest[:, len(POINTS) :] > 0).all(1)
    return torch.where(failed[:, None, None], torch.nan, points), failed


def _kept(name: str, cell: str) -> str:
    """A cell as a table of measures has it, whose decimals have points whatever those of the other table have."""
    return cell.replace(",", ".") if name in FRACTIONS else cell


class _Numbering:
    """Numbers of groups of texts, equal ones having the same, from 0."""

    def __init__(self) -> None:
        self._known = dict[tuple[str, ...], int]()

    def __call__(self, texts: tuple[str, ...]) -> int:
        return self._known.setdefault(texts, len(self._known))
