"""Files: regular ones alone are read, and new ones appear under their names only when they are complete."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# What a path may name instead of a file, and whose opening waits, never ends, or does something
_OTHER_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


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


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike[str], *, keep_partial: bool = False) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends; a file of that name is replaced then, and not before.

    Args:
        path: The file to write; its folder must exist.
        keep_partial: What was written appears whatever ends the block, be it an error or Ctrl-C, unless it is nothing:
            for results that grow while a video runs. Otherwise nothing appears when the block fails.

    Yields:
        A temporary file in the same folder, open for writing and reading.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    complete = False
    try:
        with open(temporary, "x+b") as file:
            yield file
            # Some writers close it
            if not file.closed:
                file.flush()
                os.fsync(file.fileno())
        complete = True
    finally:
        try:
            if _has_content(temporary) if keep_partial else complete:
                os.replace(temporary, path)
        finally:
            # Nothing else is left behind, not even by KeyboardInterrupt
            with contextlib.suppress(OSError):
                temporary.unlink()


def _has_content(path: Path) -> bool:
    """Whether a file exists and is not empty."""
    return path.exists() and path.stat().st_size > 0
