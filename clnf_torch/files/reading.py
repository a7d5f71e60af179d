"""Files that are read: regular ones alone, and text in whatever encoding programs wrote it."""

import codecs
import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO, TextIO

# What a path may name instead of a file, and whose opening waits, never ends, or does something
_OTHER_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
# Bytes of a file that tell what a download left in its place
BEGINNING = 256
# And of which so many are decoded at a time, to see whether they can be
BLOCK = 1 << 20
# Byte order marks, the longer ones first
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class InputError(Exception):
    """Something given that cannot be used, and that a user can change; its text is one line."""


def require_regular_file(path: str | os.PathLike[str]) -> int:
    """Refuses what is no regular file, behind any number of links, without opening it.

    Opening a pipe waits for whoever writes into it, a device may never end.

    Args:
        path: What is about to be read.

    Returns:
        Its size in bytes.

    Raises:
        OSError: It is missing, or a folder, pipe, socket or device; `strerror` says which, `filename` is the path.
    """
    try:
        status = os.stat(path)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no name of a file: {error}", os.fspath(path)) from error
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    kind = next((name for is_kind, name in _OTHER_KINDS if is_kind(status.st_mode)), "something else")
    code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
    remedy = "" if kind == "a folder" else "; save what it gives as a file first"
    raise OSError(code, f"expected a file, found {kind}{remedy}", os.fspath(path))


def wrong_download(beginning: bytes) -> str | None:
    """What was saved in place of a file by a download that failed, and what to do; None where nothing says so.

    Args:
        beginning: Its first bytes, a hundred or more.
    """
    if beginning.startswith(b"version https://git-lfs.github.com/"):
        return "a pointer of Git LFS in place of the file; fetch it with git lfs pull"
    word = beginning.removeprefix(codecs.BOM_UTF8).lstrip()[:9].lower()
    if word.startswith((b"<!doctype", b"<html")):
        return "a web page, as downloads leave that failed; download the file anew"
    return None


def download_in_place(path: str | os.PathLike[str]) -> str | None:
    """What `wrong_download` says of a file that could not be used; None where it says nothing, or it cannot be read."""
    with contextlib.suppress(OSError):
        require_regular_file(path)
        with open(path, "rb") as file:
            return wrong_download(file.read(BEGINNING))
    return None


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file, with line ends as they are; see `open_text`."""
    with open_text(path, newline="") as file:
        return file.read()


@contextlib.contextmanager
def open_text(path: str | os.PathLike[str], newline: str | None = None) -> Iterator[TextIO]:
    """The text of a file in any of the encodings that programs write tables and settings in.

    A byte order mark decides; without one it is UTF-8, or UTF-16 where every other byte of the beginning is 0, or else
    Windows' Latin alphabet. What is no text has strange characters; refused are only `wrong_download`s.

    Args:
        path: The file.
        newline: As of `open`: None makes all line ends line feeds, "" leaves them.

    Yields:
        Its text, without the mark.

    Raises:
        OSError: It is no file, cannot be read, or is what a download left in its place.
    """
    require_regular_file(path)
    with open(path, "rb") as file:
        beginning = file.read(BEGINNING)
        if download := wrong_download(beginning):
            raise OSError(errno.EINVAL, f"expected the file itself, found {download}", os.fspath(path))
        encoding, mark = _encoding(file, beginning)
        file.seek(mark)
        with io.TextIOWrapper(file, encoding, "replace", newline) as text:
            yield text


def _encoding(file: BinaryIO, beginning: bytes) -> tuple[str, int]:
    """That of a file, and how many bytes its mark takes."""
    for mark, encoding in _MARKS:
        if beginning.startswith(mark):
            return encoding, len(mark)
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(beginning) > 3 and not any(beginning[start::2]) and all(beginning[1 - start :: 2]):
            return encoding, 0
    # Five bytes that cp1252 has no letters for are control characters in Latin-1, which has all
    return next(encoding for encoding in ("utf-8", "cp1252", "latin-1") if _is_in(file, encoding)), 0


def _is_in(file: BinaryIO, encoding: str) -> bool:
    """Whether all bytes of a file are text in an encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    try:
        while block := file.read(BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
