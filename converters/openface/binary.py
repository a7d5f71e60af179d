"""Binary files: numbers and matrices as OpenFace ``ReadMatBin`` reads them, and never past the file's end."""

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from clnf_torch.converters.openface.errors import ConversionError, Place, refuse_other_formats, require_file

UINT8, INT32, FLOAT32, FLOAT64 = 0, 4, 5, 6
DTYPES: dict[int, np.dtype[Any]] = {
    UINT8: np.dtype("u1"),
    INT32: np.dtype("<i4"),
    FLOAT32: np.dtype("<f4"),
    FLOAT64: np.dtype("<f8"),
}
"""OpenCV's element codes that OpenFace ``ReadMatBin`` knows."""

# OpenFace computes in float32, and so does the runtime unless told otherwise
FLOAT32_MAX = float(np.finfo(np.float32).max)
FLOAT32_MIN = float(np.finfo(np.float32).tiny)
# Rows, columns, element code
HEADER = struct.Struct("<3i")
TYPE_NAMES = {UINT8: "uint8", INT32: "int32", FLOAT32: "float32", FLOAT64: "float64"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BinaryMatrix:
    """Where a matrix lies in a file; its header has been checked against the file's size.

    Attributes:
        place: Its header's place.
        rows: Number of rows.
        cols: Number of columns.
        code: OpenCV's element code, a key of ``DTYPES``.
    """

    place: Place
    rows: int
    cols: int
    code: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.cols

    @property
    def description(self) -> str:
        """Shape and element type in words."""
        return f"{self.rows} x {self.cols} of {TYPE_NAMES[self.code]}"

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return self.rows * self.cols * DTYPES[self.code].itemsize

    def read(self) -> NDArray[Any]:
        """Reads the elements.

        Returns:
            The matrix, shape (rows, cols), in the file's element type.

        Raises:
            ConversionError: The file shrank since it was looked at, or an element is not finite.
        """
        assert self.place.byte is not None
        values = np.empty(self.shape, DTYPES[self.code])
        start = self.place.byte + HEADER.size
        with open(self.place.file, "rb", buffering=0) as file:
            file.seek(start)
            got = _read_into(file, values.data.cast("B"))
        if got != self.nbytes:
            found = f"{got}; it changed while it was read"
            raise ConversionError(self.place, expected=f"{self.nbytes} bytes of matrix", found=found)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int(np.flatnonzero(~np.isfinite(values))[0])
            place = replace(self.place, byte=start + bad * values.itemsize)
            raise ConversionError(place, expected="a finite number", found=str(values.flat[bad]))
        return values


def _read_into(file: Any, buffer: memoryview) -> int:
    """Fills a buffer; returns the bytes that were there."""
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done:])
        if not count:
            break
        done += count
    return done


class BinaryReader:
    """Reads a little-endian file from front to back and never past its end.

    Args:
        stream: The file, opened for reading bytes.
        file: Its name, for messages.

    Attributes:
        view: The view being read, for messages.
        landmark: The landmark being read, for messages.
    """

    def __init__(self, stream: BinaryIO, file: Path) -> None:
        self.stream, self.file = stream, file
        self.size, self.offset = os.fstat(stream.fileno()).st_size, 0
        self.view: int | None = None
        self.landmark: int | None = None

    @property
    def place(self) -> Place:
        """Where the next byte comes from."""
        return Place(file=self.file, byte=self.offset, view=self.view, landmark=self.landmark)

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self.size - self.offset

    def take(self, layout: str, what: str) -> Any:
        """Reads ``struct`` fields: a single value, or a tuple of several.

        Raises:
            ConversionError: The file ends before them.
        """
        fields = struct.Struct("<" + layout)
        self.require(fields.size, what)
        content = self.stream.read(fields.size)
        if len(content) != fields.size:
            raise ConversionError(self.place, expected=what, found="the end of a file that changed while it was read")
        self.offset += fields.size
        values = fields.unpack(content)
        return values if len(values) > 1 else values[0]

    def expect(self, value: int, what: str) -> None:
        """Reads an int32 that must have a value.

        Raises:
            ConversionError: It has another one.
        """
        place = self.place
        found = self.take("i", what)
        if found != value:
            raise ConversionError(place, expected=what, found=str(found))

    def finite(self, count: int, what: str) -> tuple[float, ...]:
        """Reads float64 numbers that float32 can hold, too.

        Raises:
            ConversionError: One is not finite, or too large.
        """
        start = self.place
        self.require(8 * count, what)
        values: tuple[float, ...] = tuple(self.take("d", what) for _ in range(count))
        for k, value in enumerate(values):
            # Not a number is not, either
            if not abs(value) <= FLOAT32_MAX:
                place = replace(start, byte=self.offset - 8 * (count - k))
                raise ConversionError(place, expected=f"{what}, finite", found=str(value))
        return values

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end of the file, without moving on."""
        content = self.stream.read(min(size, self.remaining))
        self.stream.seek(self.offset)
        return content

    def require(self, size: int, what: str) -> None:
        """Refuses a length that the file cannot hold, before memory is asked for."""
        if size > self.remaining:
            raise ConversionError(
                self.place, expected=f"{what} ({size} bytes)", found=f"{self.remaining} bytes before the end"
            )

    def matrix(self, what: str) -> BinaryMatrix:
        """Reads a matrix's header and skips its elements.

        Args:
            what: What the matrix is, for messages.

        Raises:
            ConversionError: The header is impossible, or promises more than the file holds.

        Source:
            OpenFace ``ReadMatBin``.
        """
        place = self.place
        rows, cols, code = self.take("3i", f"{what}, a matrix header")
        if code not in DTYPES:
            expected = f"{what} with element type 0 (uint8), 4 (int32), 5 (float32) or 6 (float64)"
            raise ConversionError(place, expected=expected, found=f"type {code} ({rows} x {cols})")
        if rows < 1 or cols < 1:
            raise ConversionError(place, expected=f"{what} with at least one row and column", found=f"{rows} x {cols}")
        matrix = BinaryMatrix(place=place, rows=rows, cols=cols, code=code)
        self.require(matrix.nbytes, f"{what} of {rows} x {cols} {TYPE_NAMES[code]}")
        self.offset += matrix.nbytes
        self.stream.seek(self.offset)
        return matrix

    def vector(self, what: str, code: int, length: int | None = None) -> tuple[NDArray[Any], tuple[int, int]]:
        """Reads a matrix of one row or one column.

        Args:
            what: What it is, for messages.
            code: The element code it must have.
            length: The number of elements it must have, or None for any.

        Returns:
            The elements, shape (length,), and the shape in the file.
        """
        matrix = self.matrix(what)
        count = matrix.rows * matrix.cols
        if 1 not in matrix.shape or matrix.code != code or (length is not None and count != length):
            some = "some" if length is None else length
            expected = f"{what}, {some} values of {TYPE_NAMES[code]}"
            raise ConversionError(matrix.place, expected=expected, found=matrix.description)
        return matrix.read().reshape(-1), matrix.shape

    def expect_end(self, what: str) -> None:
        """Refuses bytes after the last record."""
        if self.remaining:
            expected = f"the end of the file after {what}"
            raise ConversionError(self.place, expected=expected, found=f"{self.remaining} further bytes")


@contextlib.contextmanager
def open_binary(path: Path, what: str) -> Iterator[BinaryReader]:
    """A reader at the start of a binary file.

    Args:
        path: The file.
        what: What it should be, for messages.

    Raises:
        ConversionError: It is missing, empty, a web page or a text.
    """
    require_file(path, what, "complete the model directory")
    with open(path, "rb") as stream:
        reader = BinaryReader(stream, path)
        refuse_other_formats(reader.peek(64), path, reader.size, what)
        yield reader
