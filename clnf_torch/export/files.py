"""Files that grow while a video runs, and that keep what was written whatever ends it."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def growing_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends, be it by an error or by Ctrl-C, with what it has.

    A file of that name is replaced then, and not before. If nothing was written, nothing appears.

    Args:
        path: The file to write; its folder must exist.

    Yields:
        A temporary file in the same folder, open for writing.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "xb") as file:
            yield file
    finally:
        if temporary.exists() and temporary.stat().st_size:
            os.replace(temporary, path)
        else:
            temporary.unlink(missing_ok=True)
