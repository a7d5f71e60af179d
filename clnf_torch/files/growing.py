"""Files that grow while a run lasts: readable as ``NAME.partial`` whatever ends it, renamed when they are complete."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from clnf_torch.files.locks import held
from clnf_torch.files.writing import move_into_place, names_what_is_full, new_partial_of, partial_of

# Seconds from one time to the next at which a run writes all that waits, of the five that it may lose when it is killed
SAVE_EVERY = 3.0

Publish = Callable[[Path, Path], None]
"""Makes of a partial file (the first path) the complete one (the second); the partial one is gone then."""


class PartialError(ValueError):
    """A partial file that cannot be gone on with; its text is one line."""


def set_aside(path: str | os.PathLike[str]) -> Path | None:
    """Renames the partial file that an earlier run left of a file, so that a new one does not take its place.

    What it left while it made the complete one of it is removed.

    Args:
        path: The complete file.

    Returns:
        ``NAME.partial.1``, or the first number that is free; None where no run left anything.

    Raises:
        OSError: Another process writes it at this moment.
    """
    partial, number = partial_of(path), 1
    with held(partial) if partial.exists() else contextlib.nullcontext():
        new_partial_of(path).unlink(missing_ok=True)
        left = any(partial.iterdir()) if partial.is_dir() else partial.is_file() and partial.stat().st_size > 0
        if not left:
            return None
        while os.path.lexists(kept := partial.with_name(f"{partial.name}.{number}")):
            number += 1
        partial.rename(kept)
        return kept


class GrowingFile:
    """A file to which pieces are appended that are there as a whole or not at all, also on a disk that is full.

    Nothing waits in the memory of the process: what was appended stays when it is killed.

    Args:
        file: Open for writing at its end, without a buffer.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.position = file, file.tell()

    def write(self, piece: bytes) -> int:
        """Appends a piece."""
        rest = memoryview(piece)
        try:
            # A file in memory has no name, and is never full
            with names_what_is_full(getattr(self._file, "name", "")):
                while rest:
                    rest = rest[self._file.write(rest) :]
        except BaseException:
            with contextlib.suppress(OSError):
                self._file.truncate(self.position)
            raise
        self.position += len(piece)
        return len(piece)


@contextlib.contextmanager
def growing_file(
    path: str | os.PathLike[str], position: int | None = None, publish: Publish = move_into_place
) -> Iterator[GrowingFile]:
    """A file that grows beside a name which it gets when the block ends; a file of that name is replaced then.

    Where an error, a signal or the end of the process stops the block, what was written stays beside it, as
    ``NAME.partial``, and a file of that name stays what it was.

    Args:
        path: The complete file; its folder must exist.
        position: Bytes of an earlier partial file to go on behind; None: it is written anew, see `set_aside`.
        publish: Makes the complete file.

    Raises:
        PartialError: The partial file is missing or shorter than that.
        OSError: It cannot be written, or another process writes it.
    """
    path, partial = Path(path), partial_of(path)
    if position is None:
        set_aside(path)
    else:
        size = partial.stat().st_size if partial.is_file() else 0
        if size < position:
            raise PartialError(f"{partial}: expected at least {position} bytes to go on with, found {size}")
    partial.touch()
    with held(partial):
        with open(partial, "r+b", buffering=0) as file:
            file.truncate(position or 0)
            file.seek(0, os.SEEK_END)
            try:
                yield GrowingFile(file)
                os.fsync(file.fileno())
            except BaseException:
                if not file.tell():
                    partial.unlink()
                raise
        publish(partial, path)
