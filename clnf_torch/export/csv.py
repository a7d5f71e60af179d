"""Tables as comma-separated text, row by row as they come."""

import contextlib
import csv
import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import torch
from torch import Tensor

from clnf_torch.export.decimals import shortest_texts
from clnf_torch.export.face_table import Block, FaceTable, columns
from clnf_torch.export.openface_columns import Unknown, openface_columns
from clnf_torch.files.growing import growing_file

# What begins a formula in spreadsheets, also in full width; and the mark of those that are none
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")
# What nobody knows. An empty cell is 0 to some readers; this is a number that is none to Python, R, MATLAB and numpy
UNKNOWN = "NaN"


@dataclass(frozen=True, kw_only=True)
class CSVForm:
    """How the text of a table looks.

    Attributes:
        openface_precision: Print as few digits as OpenFace does, instead of as many as tell any two numbers apart.
        header_blanks: A blank behind every comma, as older versions of OpenFace wrote, in the header and in rows.
        openface_groups: All of OpenFace's columns of these groups, see `openface_columns`; None: those that the model
            has.
    """

    openface_precision: bool = False
    header_blanks: bool = False
    openface_groups: frozenset[str] | None = None

    @property
    def comma(self) -> str:
        """What separates cells."""
        return ", " if self.header_blanks else ","

    def columns(self, table: FaceTable, image_mode: bool) -> Sequence[Block | Unknown]:
        """The columns of a table."""
        if self.openface_groups is None:
            return columns(table, image_mode=image_mode)
        return openface_columns(table, self.openface_groups, image_mode=image_mode)


DEFAULT_FORM = CSVForm()


class ByteFile(Protocol):
    """Anything that takes bytes, and says how many it has taken."""

    position: int

    def write(self, piece: bytes, /) -> int:
        """Takes all of them."""
        ...


class CSVRows:
    """Appends rows to a file; the first table brings the header, unless the file has rows already.

    Args:
        file: Grows.
        image_mode: See `columns`.
        form: How the text looks.
    """

    def __init__(self, file: ByteFile, *, image_mode: bool = False, form: CSVForm = DEFAULT_FORM) -> None:
        self._file, self._image_mode, self._form = file, image_mode, form
        self._names: tuple[str, ...] = ()
        self._headed = file.position > 0

    def append(self, table: FaceTable) -> None:
        """Writes the rows of a table; whole lines only.

        Raises:
            ValueError: It has other columns than the first one.
        """
        blocks = self._form.columns(table, self._image_mode)
        names = tuple(itertools.chain.from_iterable([block.names for block in blocks]))
        if self._names and names != self._names:
            raise ValueError(f"these rows have {len(names)} columns that are not the {len(self._names)} of the first")
        head = () if self._headed else (f"{self._form.comma.join(names)}\n",)
        self._file.write("".join((*head, *_lines(blocks, self._form))).encode("utf-8"))
        self._names, self._headed = names, True

    def position(self) -> int:
        """Bytes that are written, for `csv_file` to go on behind."""
        return self._file.position


@contextlib.contextmanager
def csv_file(
    path: str | os.PathLike[str],
    *,
    image_mode: bool = False,
    form: CSVForm = DEFAULT_FORM,
    position: int | None = None,
) -> Iterator[CSVRows]:
    """A CSV file in OpenFace's columns that grows with the rows appended to it.

    It appears under its name when the block ends; until then, and if anything stops the block, its rows are in
    ``NAME.partial``.

    Args:
        path: The file, replaced if it exists.
        image_mode: See `columns`.
        form: How the text looks.
        position: Bytes of an earlier ``NAME.partial`` to go on behind.

    Raises:
        PartialError: That file is missing or shorter.
    """
    with growing_file(path, position) as file:
        yield CSVRows(file, image_mode=image_mode, form=form)


class _Stream:
    """A stream whose bytes are counted, and seen at once by whoever reads them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.position = stream, 0

    def write(self, piece: bytes, /) -> int:
        """Writes all of them."""
        self._stream.write(piece)
        self._stream.flush()
        self.position += len(piece)
        return len(piece)


def csv_stream(stream: BinaryIO, *, image_mode: bool = False, form: CSVForm = DEFAULT_FORM) -> CSVRows:
    """A CSV table on a stream, such as stdout.

    Args:
        stream: Takes the text in UTF-8.
        image_mode: See `columns`.
        form: How the text looks.
    """
    return CSVRows(_Stream(stream), image_mode=image_mode, form=form)


def text_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: an apostrophe stands before what begins one, or before another.

    Without its first apostrophe, if it has one, a cell is the text again.
    """
    return f"'{text}" if text.startswith(FORMULA) else text


def _lines(blocks: Sequence[Block | Unknown], form: CSVForm) -> Iterator[str]:
    """The lines of R rows: numbers with fixed decimals, or the shortest text that reads back the same."""
    known, comma = [block for block in blocks if isinstance(block, Block)], form.comma
    found = [_fixed(block, comma) for block in known] if form.openface_precision else _shortest(known)
    cells: Iterator[Iterable[Sequence[str]]] = iter(found)
    # Blocks without numbers are the same in every row
    row_cells = [next(cells) if isinstance(b, Block) else itertools.repeat((UNKNOWN,) * len(b.names)) for b in blocks]
    return (f"{comma.join(row)}\n" for row in map(itertools.chain.from_iterable, zip(*row_cells, strict=False)))


def _fixed(block: Block, comma: str) -> list[list[str]]:
    """The cells of R rows of a block, numbers with fixed decimals."""
    if isinstance(block.values, tuple):
        return _texts(block.values)
    form = comma.join([f"%.{block.decimals}f"] * len(block.names))
    return [[form % tuple(row)] for row in block.values.tolist()]


def _shortest(blocks: Sequence[Block]) -> list[list[list[str]]]:
    """The cells of R rows of each block, numbers in the shortest text; those of one type are converted together."""
    numbers = [block.values for block in blocks if isinstance(block.values, Tensor)]
    cells: dict[torch.dtype, Iterator[list[list[str]]]] = {}
    for dtype in {values.dtype for values in numbers}:
        alike = [values for values in numbers if values.dtype == dtype]
        ends = list(itertools.accumulate((values.shape[1] for values in alike), initial=0))
        rows = shortest_texts(torch.cat(alike, 1))
        # One list of rows for each block
        cells[dtype] = iter([[row[start:end] for row in rows] for start, end in itertools.pairwise(ends)])
    return [next(cells[b.values.dtype]) if isinstance(b.values, Tensor) else _texts(b.values) for b in blocks]


def _texts(texts: Sequence[str]) -> list[list[str]]:
    """The cells of R rows of texts."""
    # Only they need quotes
    return [[_quoted(text_cell(text))] for text in texts]


def _quoted(text: str) -> str:
    """A text as a cell among others."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(("", text))
    return line.getvalue()[1:]
