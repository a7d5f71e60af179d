"""Where Matroska (WebM) and ASF (WMV) files should end, by their outermost elements: those cut off end before."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# EBML's header, then all else: a segment
MATROSKA, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
# The first bytes of the identifier that ASF's header has; each object begins with one, and its size
ASF, OBJECT = bytes.fromhex("3026b2758e66cf11"), struct.Struct("<16sQ")


def missing_bytes(path: Path) -> int:
    """How many bytes of a file are not there that its outermost elements hold; 0 where it does not say."""
    size, end = path.stat().st_size, 0
    with path.open("rb") as file:
        beginning = file.read(len(ASF))
        file.seek(0)
        if beginning.startswith(MATROSKA):
            end = max(_matroska_ends(file), default=0)
        elif beginning == ASF:
            end = max(_asf_ends(file, size), default=0)
    return max(end - size, 0)


def _matroska_ends(file: BinaryIO) -> Iterator[int]:
    """Where the header and the segment end."""
    for name in (MATROSKA, SEGMENT):
        if file.read(len(name)) != name:
            return
        length = _matroska_size(file)
        if length is None:
            return
        yield file.seek(length, 1)


def _matroska_size(file: BinaryIO) -> int | None:
    """The size of an element, in as many bytes as its first one has leading zeros; None: it is not known yet."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(more), "big") - (1 << (7 * (more + 1)))
    # Of broadcasts, and where a recorder was stopped before it came back here
    return None if value == (1 << (7 * (more + 1))) - 1 else value


def _asf_ends(file: BinaryIO, size: int) -> Iterator[int]:
    """Where the objects end, the last of them perhaps behind the file."""
    end = 0
    while end + OBJECT.size <= size:
        file.seek(end)
        _, length = OBJECT.unpack(file.read(OBJECT.size))
        # Of broadcasts
        if length < OBJECT.size:
            return
        end += length
        yield end
