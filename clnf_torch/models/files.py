"""Files that appear under their names only when they are complete."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


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
