"""Tables of landmarks that any method wrote, in the names of OpenFace's columns."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

FRAME, IDENTITY = "frame", "face_id"
COLUMNS = [f"{axis}_{point}" for axis in "xy" for point in range(68)]


class TableError(ValueError):
    """A table that cannot be used; its text is one line."""


@dataclass(frozen=True, kw_only=True)
class LandmarkTable:
    """The rows as they were read, and what they say."""

    names: list[str]  # of the columns
    rows: list[list[str]]  # B rows
    frame: Tensor  # (B,) int64, the first frame being 0
    identity: Tensor  # (B,) int64
    landmarks: Tensor  # (B, 68, 2) float64 pixels; NaN where a cell is empty

    def text(self, landmarks: Tensor, changed: Tensor) -> str:
        """The table with other landmarks (B, 68, 2) in the rows (B,) that changed; the rest is as it was."""
        places, written = [self.names.index(name) for name in COLUMNS], io.StringIO()
        lines = csv.writer(written, lineterminator="\n")
        lines.writerow(self.names)
        for row, other, points in zip(self.rows, changed.tolist(), landmarks, strict=True):
            cells = list(row)
            for place, value in zip(places, points.mT.flatten().tolist() if other else (), strict=other):
                cells[place] = f"{value:.3f}"
            lines.writerow(cells)
        return written.getvalue()


def read_table(path: Path) -> LandmarkTable:
    """A table with a column ``frame``, counted from 1, maybe ``face_id``, and ``x_0`` to ``x_67``, ``y_0`` to ``y_67``.

    Raises:
        TableError: A column is missing, or a cell holds no number; says which and where.
        OSError: It cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file)
        names = [name.strip() for name in next(lines, [])]
        rows = [row for row in lines if row]
    missing = [name for name in (FRAME, *COLUMNS) if name not in names]
    if missing:
        raise TableError(f"{path}: expected columns frame, x_0 to x_67 and y_0 to y_67, found no {missing[0]}")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise TableError(f"{path}: row {number} has {len(row)} cells for {len(names)} columns")
    values = torch.tensor([_column(path, names, rows, name) for name in COLUMNS], dtype=torch.float64)
    frame = torch.tensor(_column(path, names, rows, FRAME), dtype=torch.float64)
    identity = _column(path, names, rows, IDENTITY) if IDENTITY in names else [0.0] * len(rows)
    return LandmarkTable(
        names=names,
        rows=rows,
        frame=frame.nan_to_num(0).long() - 1,
        identity=torch.tensor(identity, dtype=torch.float64).nan_to_num(0).long(),
        landmarks=values.view(2, 68, len(rows)).permute(2, 1, 0).contiguous(),
    )


def _column(path: Path, names: list[str], rows: list[list[str]], name: str) -> list[float]:
    """The numbers of a column; NaN for empty cells."""
    place, numbers = names.index(name), []
    for row, cells in enumerate(rows, start=2):
        try:
            numbers.append(float(cells[place].strip() or "nan"))
        except ValueError:
            raise TableError(f"{path}: row {row}, {name}: expected a number, found {cells[place]!r}") from None
    return numbers
