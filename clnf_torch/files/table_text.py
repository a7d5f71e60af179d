"""Text of tables, as other programs and spreadsheets write them: names of columns, rows of cells, numbers."""

import csv
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path

import torch

from clnf_torch.files.reading import open_text, read_text

DELIMITERS = (",", ";", "\t", "|", " ")
# What programs write where they know no number
MISSING = {"", "na", "n/a", "nan", "-nan", "nan(ind)", "-nan(ind)", "null", "none", "#n/a"}
# Rows after which it is told how many are read
TOLD = 1000
# Beyond it, float64 does not hold every whole number
LARGEST_FRAME = 2**53


class TableError(ValueError):
    """A table that cannot be used; its text is one line."""


def read_table_text(path: Path) -> str:
    """The text of a table in whatever encoding it has.

    Raises:
        TableError: A byte of it is zero, which no text has.
        OSError: It cannot be read.
    """
    text = read_text(path)
    if "\0" in text:
        row = text.count("\n", 0, text.index("\0")) + 1
        raise TableError(f"{path}: {_zero_byte(row)}")
    return text


def table_lines(path: Path) -> Iterator[str]:
    """The lines of a table in whatever encoding it has, one after the other, with line feeds.

    Raises:
        TableError: A byte of it is zero, which no text has.
        OSError: It cannot be read.
    """
    with open_text(path) as text:
        for row, line in enumerate(text, start=1):
            if "\0" in line:
                raise TableError(_zero_byte(row))
            yield line


def _zero_byte(row: int) -> str:
    """What is wrong with a row that has a byte which no text has."""
    return f"row {row}: expected text, found a zero byte; save the table as CSV"


def header(lines: Iterable[str], wanted: str) -> tuple[str, list[str]]:
    """The delimiter, and the names of the columns: of those that delimiters give, the most.

    Args:
        lines: Of the table.
        wanted: The name of a column, in small letters; a delimiter that gives it is the right one.

    Raises:
        TableError: There is no line of names.
    """
    empty = True

    def seen() -> Iterator[str]:
        nonlocal empty
        for line in lines:
            empty = empty and not line.strip()
            yield line

    line = next((line for _, line in filled_lines(seen())), "")
    if not line:
        raise TableError(f"expected a table, found {'an empty file' if empty else 'no line but comments'}")
    found = [(delimiter, next(cells_of([line], delimiter), [])) for delimiter in DELIMITERS]
    delimiter, names = max(found, key=lambda one: (wanted in map(plain, one[1]), len(one[1])))
    return delimiter, [name.strip() for name in names]


def plain(name: str) -> str:
    """The name of a column without its quotes and blanks, in small letters."""
    return bare(name).lower()


def distinct(names: list[str]) -> list[str]:
    """Names of columns as `plain` gives them, but those as they are whose small letters are another column's.

    ``X_0`` is ``x_0`` in a table without ``x_0``, ``x_1`` and so on, and otherwise a column of its own: a millimetre
    beside a pixel.
    """
    found = [bare(name) for name in names]
    stems = {_stem(name) for name in found}
    return [name if _stem(name).lower() in stems else name.lower() for name in found]


def bare(name: str) -> str:
    """A name without its quotes and blanks."""
    return name.strip().strip("\"'").strip()


def _stem(name: str) -> str:
    """A name without the number at its end."""
    return name.rstrip("0123456789")


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text, however they end, with line feeds; `io.StringIO` would copy it to four bytes a letter."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def filled_lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Lines that hold something, with their numbers: no comments, and not what Excel notes in the first one.

    Behind a line of names that begins with ``image`` none is a comment: images may be called ``#1.png``.
    """
    named, of_images = False, False
    for number, line in enumerate(lines, start=1):
        begin = line.lstrip()
        if not begin or (begin.startswith("#") and not of_images):
            continue
        if number == 1 and re.fullmatch(r"sep=.\r?\n?", begin):
            continue
        if not named:
            named, of_images = True, re.match(r"[\"']?image\b", begin, re.IGNORECASE) is not None
        yield number, line


def cells_of(lines: list[str] | Iterator[str], delimiter: str) -> Iterator[list[str]]:
    """The cells of each line, or of lines that one cell goes over."""
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter == " ")


def data_rows(
    lines: Iterable[str], delimiter: str, count: int, read: Callable[[int], None] = lambda rows: None
) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of each row that has a cell which is not empty.

    Args:
        lines: Of the table.
        delimiter: Between its cells.
        count: Of its columns.
        read: Told now and then how many rows more are read.

    Raises:
        TableError: A row has another number of cells than there are columns.
    """
    last = 0

    def counted() -> Iterator[str]:
        nonlocal last
        for number, line in filled_lines(lines):
            last = number
            yield line

    rows = cells_of(counted(), delimiter)
    try:
        next(rows, None)
        for number, cells in enumerate(rows, start=1):
            if number % TOLD == 0:
                read(TOLD)
            # Some programs end every row with a delimiter
            if len(cells) == count + 1 and not cells[-1].strip():
                cells.pop()
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != count:
                raise TableError(miscounted(last, cells, count))
            yield last, cells
    except csv.Error as error:
        raise TableError(f"row {last}: {error}") from error


def repetition(name: str, keys: Iterable[tuple[Hashable, ...]]) -> str | None:
    """A line about rows that say of themselves what an earlier one says; None where there are none.

    Args:
        name: Of the first value of a key: "frame" or "image".
        keys: What tells the rows apart.
    """
    seen, again = set[tuple[Hashable, ...]](), list[Hashable]()
    for key in keys:
        if key in seen:
            again.append(key[0])
        seen.add(key)
    if not again:
        return None
    found = "1 row has" if len(again) == 1 else f"{len(again)} rows have"
    return f"{found} the {name} and face of an earlier row, first in {name} {again[0]}; remove copies"


def miscounted(line: int, cells: list[str], count: int) -> str:
    """What is wrong with a row that has another number of cells than there are columns."""
    hint = "; are decimals written with commas? Separate cells by semicolons" if len(cells) > count else ""
    return f"row {line} has {len(cells)} cells for {count} columns{hint}"


def numbers(line: int, cells: list[str], places: list[int], names: list[str]) -> list[float]:
    """The numbers of a row's cells; NaN for those that are empty or say that nothing is known.

    Raises:
        TableError: A cell holds none; says which.
    """
    try:
        return [float(cells[place]) for place in places]
    except ValueError:
        return [_number(line, cells[place], names[place]) for place in places]


def _number(line: int, cell: str, name: str) -> float:
    """The number of a cell that may have quotes, a decimal comma, or none."""
    text = bare(cell)
    # R, pandas and spreadsheets write it so
    if plain(name) == "success" and text.lower() in {"true", "false"}:
        return float(text.lower() == "true")
    try:
        return torch.nan if text.lower() in MISSING else decimal(text)
    except ValueError:
        raise TableError(f"row {line}, {plain(name)}: expected a number, found {excerpt(text)}") from None


def decimal(text: str) -> float:
    """The number of a text that may have a decimal comma.

    Raises:
        ValueError: It is none.
    """
    return float(re.sub(r"^([^.,]*),([^.,]*)$", r"\1.\2", text))


def frame_number(line: int, cell: str) -> int:
    """The number of a row's frame.

    Raises:
        TableError: The cell holds no whole number.
    """
    try:
        number = float(cell.strip().strip("\"'").replace(",", "."))
    except ValueError:
        number = torch.nan
    if number != number or abs(number) > LARGEST_FRAME or number != int(number):
        raise TableError(f"row {line}, frame: expected a whole number, found {excerpt(cell)}")
    return int(number)


def excerpt(cell: str) -> str:
    """A cell as it is shown in a line."""
    return repr(cell if len(cell) <= 40 else f"{cell[:40]}...")[:80]
