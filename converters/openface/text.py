"""Text files: numbers and matrices as OpenFace ``ReadMat`` reads them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clnf_torch.converters.openface.binary import FLOAT32, FLOAT32_MAX, FLOAT64, INT32, TYPE_NAMES, UINT8
from clnf_torch.converters.openface.errors import ConversionError, Place, quote, refuse_downloads, require_file
from clnf_torch.files.reading import BEGINNING

# A text file of a model is far smaller; anything larger is something else
MAX_BYTES = 1 << 24
_IGNORED = re.compile(rb"(?:\s+|#[^\n]*)*")
_TOKEN = re.compile(rb"\s*([^\s]+)")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
# No number is longer; Python refuses to read some that are
_MAX_TOKEN = 64
_INT32_MAX = 2**31 - 1


def read_text(path: Path, what: str) -> bytes:
    """Reads a whole text file.

    Args:
        path: The file.
        what: What it should be, for messages.

    Returns:
        Its bytes, without a byte order mark.

    Raises:
        ConversionError: It is missing, empty, too large or not text.
    """
    require_file(path, what, "complete the model directory")
    size = os.path.getsize(path)
    if size == 0 or size > MAX_BYTES:
        raise ConversionError(path, expected=what, found="an empty file" if size == 0 else f"a file of {size} bytes")
    content = path.read_bytes()
    refuse_downloads(content[:BEGINNING], Place(file=path), what)
    if b"\0" in content:
        place = Place(file=path, byte=content.index(b"\0"))
        raise ConversionError(place, expected=f"{what}, a text file", found="binary data")
    return content.removeprefix(b"\xef\xbb\xbf")


@dataclass(kw_only=True)
class TextReader:
    """Reads whitespace-separated numbers from front to back.

    Attributes:
        file: The file, for messages.
        content: Its bytes.
        offset: Of the next byte.
        view: The view being read, for messages.
        landmark: The landmark being read, for messages.
    """

    file: Path
    content: bytes
    offset: int = 0
    view: int | None = None
    landmark: int | None = None

    @classmethod
    def open(cls, path: Path, what: str) -> "TextReader":
        """A reader at the start of a file; see ``read_text``."""
        return cls(file=path, content=read_text(path, what))

    @property
    def place(self) -> Place:
        """The line that the next byte is on."""
        return self.place_of(self.offset)

    def place_of(self, byte: int) -> Place:
        """The line that a byte is on."""
        line = self.content.count(b"\n", 0, byte) + 1
        return Place(file=self.file, line=line, view=self.view, landmark=self.landmark)

    def skip_comments(self) -> None:
        """Skips lines that begin with ``#``, a space or nothing, as OpenFace ``SkipComments`` does."""
        while self.content[self.offset : self.offset + 1] in (b"#", b" ", b"\t", b"\r", b"\n"):
            end = self.content.find(b"\n", self.offset)
            self.offset = len(self.content) if end < 0 else end + 1

    def token(self, what: str) -> bytes:
        """The next word.

        Raises:
            ConversionError: There is none.
        """
        match = _TOKEN.match(self.content, self.offset)
        if match is None:
            raise ConversionError(self.place_of(len(self.content)), expected=what, found="the end of the file")
        self.offset = match.end()
        return match[1]

    def number(self, what: str) -> float:
        """The next word as a finite number."""
        token = self.token(what)
        if len(token) <= _MAX_TOKEN and _NUMBER.fullmatch(token):
            value = float(token)
            if abs(value) <= FLOAT32_MAX:
                return value
        raise ConversionError(self.place_of(self.offset), expected=f"{what}, a finite number", found=quote(token))

    def integer(self, what: str, low: int) -> int:
        """The next word as a whole number of at least ``low``."""
        value = self.number(what)
        if not low <= value <= _INT32_MAX or value != int(value):
            expected = f"{what}, a whole number of at least {low}"
            raise ConversionError(self.place_of(self.offset), expected=expected, found=f"{value:g}")
        return int(value)

    def numbers(self, count: int, what: str) -> NDArray[np.float64]:
        """The next ``count`` numbers, shape (count,); memory is asked for only when the file can hold them."""
        self.require_numbers(count, what)
        values = np.empty(count)
        for k in range(count):
            values[k] = self.number(f"number {k + 1} of {count} of {what}")
        return values

    def require_numbers(self, count: int, what: str) -> None:
        """Refuses more numbers than the rest of the file can hold, before memory is asked for."""
        remaining = len(self.content) - self.offset
        # A digit each, and something between them
        if 2 * count - 1 > remaining:
            found = f"{remaining} bytes before the end"
            raise ConversionError(self.place, expected=f"{what}, {count} numbers", found=found)

    def matrix(self, what: str, codes: tuple[int, ...] = (FLOAT32, FLOAT64)) -> NDArray[np.float64]:
        """Reads a matrix after its comment lines.

        Args:
            what: What it is, for messages.
            codes: The element codes it may have.

        Returns:
            The matrix, shape (rows, cols), float64.

        Raises:
            ConversionError: It is not there, not allowed or incomplete.

        Source:
            OpenFace ``ReadMat``.
        """
        self.skip_comments()
        values = self.matrix_here(what, codes)
        self.end_line(what)
        return values

    def matrix_here(self, what: str, codes: tuple[int, ...] = (FLOAT32, FLOAT64)) -> NDArray[np.float64]:
        """Reads a matrix that begins with the next word; arguments, value and errors as for ``matrix``."""
        start = self.offset
        rows, cols = self.integer(f"rows of {what}", 0), self.integer(f"columns of {what}", 0)
        code = self.integer(f"element type of {what}", 0)
        if rows < 1 or cols < 1:
            raise ConversionError(
                self.place_of(start), expected=f"{what} with at least one row and column", found=f"{rows} x {cols}"
            )
        if code not in codes:
            allowed = " or ".join(f"{code} ({TYPE_NAMES[code]})" for code in codes)
            raise ConversionError(
                self.place_of(start), expected=f"{what} of element type {allowed}", found=f"type {code}"
            )
        values = self.numbers(rows * cols, what).reshape(rows, cols)
        if code in (UINT8, INT32) and (values != np.rint(values)).any():
            raise ConversionError(self.place_of(start), expected=f"{what} of whole numbers", found="fractions")
        return values

    def end_line(self, what: str) -> None:
        """Refuses anything on the rest of a line."""
        end = self.content.find(b"\n", self.offset)
        rest = self.content[self.offset : end if end >= 0 else len(self.content)]
        if rest.strip():
            raise ConversionError(self.place, expected=f"the end of the line after {what}", found=quote(rest.strip()))
        self.offset += len(rest)

    def expect_end(self, what: str) -> None:
        """Refuses anything but empty lines and comments after the last number."""
        self.end_line(what)
        ignored = _IGNORED.match(self.content, self.offset)
        self.offset = ignored.end() if ignored else self.offset
        if self.offset < len(self.content):
            found = quote(self.content[self.offset : self.offset + 99])
            raise ConversionError(self.place, expected=f"the end of the file after {what}", found=found)


def matrix_text(values: NDArray[Any], code: int) -> str:
    """A matrix as a text file has it: rows, columns and element code, a line each, then the rows."""
    rows, columns = values.shape
    return f"{rows}\n{columns}\n{code}\n" + "".join(map(number_line, values))


def number_line(values: NDArray[Any]) -> str:
    """A line of numbers, as short as they can be read back exactly."""
    return " ".join(np.format_float_positional(v, trim="-") if v.dtype.kind == "f" else str(v) for v in values) + "\n"


def shape_text(values: NDArray[Any]) -> str:
    """A matrix's shape in words."""
    return " x ".join(map(str, values.shape))
