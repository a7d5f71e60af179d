"""The converters' one error, a line that says where, what, and what to do; and refusals of files of other kinds."""

import os
from dataclasses import dataclass
from pathlib import Path

from clnf_torch.files.names import lookalike, one_line
from clnf_torch.files.reading import InputError, wrong_download

DOWNLOAD_AGAIN = "the file is damaged or incomplete; download it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A place in a source file.

    Attributes:
        file: The file.
        byte: Offset from its start, or None.
        line: Line of a text file, from 1, or None.
        view: The view whose record is being read, or None.
        landmark: The landmark whose record is being read, or None.
    """

    file: Path
    byte: int | None = None
    line: int | None = None
    view: int | None = None
    landmark: int | None = None

    def __str__(self) -> str:
        """The place in words, such as ``cen.dat: byte 2576, view 0, landmark 3``."""
        names = ("byte", "line", "view", "landmark")
        parts = [f"{name} {getattr(self, name)}" for name in names if getattr(self, name) is not None]
        return f"{self.file}: {', '.join(parts)}" if parts else str(self.file)


class ConversionError(InputError):
    """A file that cannot be converted; its text is one line.

    Args:
        place: Where it went wrong, or the file alone.
        expected: What should have been there.
        found: What was there.
        remedy: What to do about it.

    Attributes:
        place: Where it went wrong.
    """

    def __init__(self, place: Place | Path, *, expected: str, found: str, remedy: str = DOWNLOAD_AGAIN) -> None:
        self.place = place if isinstance(place, Place) else Place(file=place)
        super().__init__(one_line(f"{self.place}: expected {expected}, found {found}; {remedy}"))


def quote(content: bytes, limit: int = 40) -> str:
    """A short printable excerpt of a file, in quotes."""
    cut = "..." if len(content) > limit else ""
    return f'"{content[:limit].decode("ascii", "backslashreplace")}{cut}"'


def require_file(path: Path, what: str, remedy: str) -> None:
    """Refuses a path that is not a plain file (missing, a folder, a device).

    Raises:
        ConversionError: It is not.
    """
    if not os.path.isfile(path):
        near = None if path.exists() else lookalike(path)
        found = (
            "a folder"
            if os.path.isdir(path)
            else f"no such file, but {near.relative_to(path.parent)}"
            if near
            else "no such file"
        )
        raise ConversionError(path, expected=what, found=found, remedy=remedy)


def refuse_other_formats(content: bytes, file: Path, size: int, what: str) -> None:
    """Refuses an empty file, a download page and a text file where a binary one belongs.

    Args:
        content: The file's first bytes.
        file: The file.
        size: Its size in bytes.
        what: What it should be.

    Raises:
        ConversionError: It is one of these.
    """
    place = Place(file=file, byte=0)
    if size == 0:
        raise ConversionError(place, expected=what, found="an empty file")
    refuse_downloads(content, place, what)
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in content):
        remedy = "put the file that OpenFace's download gives in its place"
        raise ConversionError(place, expected=what, found=f"text, {quote(content)}", remedy=remedy)


def refuse_downloads(content: bytes, place: Place, what: str) -> None:
    """Refuses what a download left in a file's place.

    Args:
        content: The file's first bytes.
        place: The file.
        what: What it should be.

    Raises:
        ConversionError: It is a web page, or a pointer of Git LFS.
    """
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script", b"<!--")):
        remedy = "the download saved a page in the model's place; download the file itself"
        raise ConversionError(place, expected=what, found=f"a web page, {quote(content)}", remedy=remedy)
    if download := wrong_download(content):
        found, _, remedy = download.partition("; ")
        raise ConversionError(place, expected=what, found=found, remedy=remedy)
