"""Tables of landmarks, as other programs and spreadsheets write them: read, and written with other landmarks."""

import csv
import io
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path

import torch
from torch import Tensor

from clnf_torch.files.table_text import (
    TableError,
    bare,
    data_rows,
    distinct,
    frame_number,
    header,
    lines_of,
    numbers,
    read_table_text,
)
from clnf_torch.geometry.landmarks68 import NUM_LANDMARKS

FRAME, IDENTITY, OUTCOME = "frame", "face_id", "repair"
COLUMNS = [f"{axis}_{point}" for axis in "xy" for point in range(NUM_LANDMARKS)]
# The same points where a program counts them from 1
COLUMNS_FROM_1 = [f"{axis}_{point + 1}" for axis in "xy" for point in range(NUM_LANDMARKS)]


@dataclass(frozen=True, kw_only=True)
class LandmarkTable:
    """A table as it was read, and what its B rows say."""

    lines: str  # the text
    delimiter: str
    names: list[str]  # of the columns
    columns: list[str]  # those of the landmarks: `COLUMNS`, or `COLUMNS_FROM_1`
    frame: Tensor  # (B,) int64, as the table counts
    identity: Tensor  # (B,) int64
    landmarks: Tensor  # (B, 68, 2) float64 pixels; NaN where a cell is empty

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def rows(self) -> Iterator[list[str]]:
        """The cells of each row."""
        return (cells for _, cells in data_rows(lines_of(self.lines), self.delimiter, len(self.names)))

    @cached_property
    def decimal_comma(self) -> bool:
        """Whether its numbers have decimal commas; not where there is no number that says so."""
        place = _places(self.names)[self.columns[0]]
        return self.delimiter != "," and any("," in cells[place] for cells in self.rows)

    def head(self) -> str:
        """The line of names, the last of which, ``repair``, is of what became of a row."""
        last = _places(self.names).get(OUTCOME, len(self.names))
        return self._line([*self.names, OUTCOME][: max(len(self.names), last + 1)])

    def text(
        self, rows: Iterable[tuple[int, list[str]]], landmarks: Tensor, changed: Tensor, outcomes: list[str]
    ) -> str:
        """Rows of the table with other landmarks in some of them, and what became of each in the last column.

        Args:
            rows: Numbers and cells of the rows.
            landmarks: Of all rows, pixels, shape (B, 68, 2).
            changed: Rows that get them, bool, shape (B,).
            outcomes: What became of each row.

        Returns:
            The rest as it was, with landmarks that are where the table has them; cells are separated as they were.
        """
        places, text = _places(self.names), []
        targets, last = [places[name] for name in self.columns], places.get(OUTCOME, len(self.names))
        for row, before in rows:
            cells = [*before, ""][: max(len(before), last + 1)]
            cells[last] = outcomes[row]
            if changed[row]:
                same = torch.isclose(landmarks[row], self.landmarks[row], rtol=0, atol=0, equal_nan=True)
                moved = (~same).any(-1).repeat(2)
                values = landmarks[row].mT.flatten()[moved].tolist()
                for place, value in zip(compress(targets, moved.tolist()), values, strict=True):
                    cells[place] = f"{value:.3f}".replace(".", "," if self.decimal_comma else ".")
            text.append(self._line(cells))
        return "".join(text)

    def _line(self, cells: list[str]) -> str:
        """Cells as a line, separated as they were."""
        csv.writer(written := io.StringIO(), delimiter=self.delimiter, lineterminator="\n").writerow(cells)
        return written.getvalue()


def read_table(path: Path, read: Callable[[int], None] = lambda rows: None) -> LandmarkTable:
    """Reads columns ``frame``, maybe ``face_id``, and ``x_0`` to ``x_67``, ``y_0`` to ``y_67``, or 1 to 68.

    Encoding, delimiter, decimal mark and line ends are those that the file has. Empty lines, and those that begin with
    ``#``, are left out.

    Args:
        path: The table; its first line names the columns, in any order and among others.
        read: Told now and then how many rows more are read.

    Raises:
        TableError: A column is missing, or a cell holds no number; says which and where.
        OSError: It cannot be read.
    """
    text = read_table_text(path)
    try:
        return _parse(text, read)
    except (TableError, csv.Error) as error:
        raise TableError(f"{path}: {error}") from error


def _parse(text: str, read: Callable[[int], None]) -> LandmarkTable:
    """The table of a text."""
    delimiter, names = header(lines_of(text), FRAME)
    columns = _landmark_columns(names)
    places = _places(names)
    targets = [places[name] for name in columns]
    values, frames, keys = array("d"), array("q"), dict[str, int]()
    identity = array("q")
    for line, cells in data_rows(lines_of(text), delimiter, len(names), read):
        values.extend(numbers(line, cells, targets, names))
        frames.append(frame_number(line, cells[places[FRAME]]))
        key = cells[places[IDENTITY]].strip() if IDENTITY in places else ""
        identity.append(keys.setdefault(key, len(keys)))
    none = torch.zeros(0, dtype=torch.float64, device="cpu")
    found = torch.frombuffer(values, dtype=torch.float64) if values else none
    return LandmarkTable(
        lines=text,
        delimiter=delimiter,
        names=names,
        columns=columns,
        frame=torch.tensor(frames, dtype=torch.int64, device="cpu"),
        identity=torch.tensor(identity, dtype=torch.int64, device="cpu"),
        landmarks=found.view(-1, 2, NUM_LANDMARKS).mT.contiguous(),
    )


def _landmark_columns(names: list[str]) -> list[str]:
    """The columns of the landmarks, which points are counted from 0 or from 1 in."""
    there = Counter(distinct(names))
    columns = COLUMNS if "x_0" in there or "x_68" not in there else COLUMNS_FROM_1
    _require_pixels(names, columns[0].removeprefix("x"))
    for name in (FRAME, *columns):
        if not there[name]:
            expected = f"frame, {columns[0]} to {columns[67]} and {columns[68]} to {columns[-1]}"
            raise TableError(f"expected columns {expected}, found no {name}")
        if there[name] > 1:
            raise TableError(f"expected one column {name}, found {there[name]}; remove the others")
    return columns


def _require_pixels(names: list[str], number: str) -> None:
    """Refuses a table of 3D landmarks alone, whose capitals are not another spelling of pixels.

    Args:
        names: Of the columns.
        number: Behind the axis in the names of the first point, such as ``_0``.
    """
    there = set(map(bare, names))
    in_capitals = {f"X{number}", f"Y{number}"} <= there and f"x{number}" not in there
    # Programs that spell x_0 as X_0 spell the frame so too, and have no depth
    if in_capitals and (f"Z{number}" in there or FRAME in there):
        raise TableError(
            f"expected landmarks in pixels, x{number} and so on, found those in millimetres alone, X{number}; "
            "write the table with 2D landmarks, in OpenFace by -2Dfp"
        )


def _places(names: list[str]) -> dict[str, int]:
    """The place of each column."""
    return {name: place for place, name in reversed(list(enumerate(distinct(names))))}
