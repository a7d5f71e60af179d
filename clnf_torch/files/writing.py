"""Files that are written: each appears under its name once it is complete, and is ``NAME.partial`` until then."""

import contextlib
import errno
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from clnf_torch.files.locks import PATIENCE, require_lock

# What a file is called until it is complete
PARTIAL, NEW = ".partial", "new"
# What a disk says that takes no more
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def target_of(path: str | os.PathLike[str]) -> Path:
    """The file that is written where a path is given: behind a symbolic link the one it leads to, there or not yet."""
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def partial_of(path: str | os.PathLike[str]) -> Path:
    """Where a file lies until it is complete: ``NAME.partial``, beside what a symbolic link leads to."""
    path = target_of(path)
    return path.with_name(path.name + PARTIAL)


def new_partial_of(path: str | os.PathLike[str]) -> Path:
    """Where what takes the place of a file lies for a moment, while ``NAME.partial`` is what it is made of."""
    partial = partial_of(path)
    # Programs that read all of a folder leave out what begins so
    return partial / f"_{NEW}" if partial.is_dir() else partial.with_name(f"{partial.name}.{NEW}")


@contextlib.contextmanager
def names_what_is_full(path: str | os.PathLike[str]) -> Iterator[None]:
    """Lets the error of a full disk say which file was being written: the system's own does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike[str], temporary: Path | None = None) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends; a file of that name is replaced then, and not before.

    A symbolic link stays, and the file that it leads to is written.
    Nothing appears when the block fails, and the temporary file is removed. One that a killed process left is written
    over; behind a process that writes the same file, this one waits. For results that grow while a video runs see
    `growing_file`.

    Args:
        path: The file to write; its folder must exist.
        temporary: Where it lies until it is complete, on the same disk; by default ``NAME.partial``, or, where that is
            a folder, a file in it.

    Yields:
        The temporary file, open for writing and reading.

    Raises:
        OSError: It cannot be written, or another process writes it for longer than `PATIENCE`.
    """
    path = Path(path)
    if temporary is None:
        temporary = new_partial_of(path) if partial_of(path).is_dir() else partial_of(path)
    opened = _opened_alone(temporary)
    # Holds the lock until the file has its name, also where a writer closes it; Windows renames no open files
    lock = None if sys.platform == "win32" else os.dup(opened)
    try:
        with names_what_is_full(path), open(opened, "w+b") as file:
            yield file
            # Some writers close it
            if not file.closed:
                file.flush()
                os.fsync(file.fileno())
        move_into_place(temporary, path)
    except BaseException:
        # Nothing else is left behind, not even by KeyboardInterrupt
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    finally:
        if lock is not None:
            os.close(lock)


def _opened_alone(temporary: Path) -> int:
    """An empty file that no other process writes, as a descriptor with a lock that ends with it."""
    until = time.monotonic() + PATIENCE
    while True:
        opened = os.open(temporary, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            require_lock(opened, temporary, until)
            if _is_there(opened, temporary):
                os.ftruncate(opened, 0)
                return opened
        except BaseException:
            os.close(opened)
            raise
        # Whoever held it has renamed it since
        os.close(opened)


def _is_there(opened: int, path: Path) -> bool:
    """Whether what is open still has this name."""
    try:
        return os.path.samestat(os.fstat(opened), os.stat(path))
    except FileNotFoundError:
        return False


def shared_partial_of(path: Path, locked: bool) -> Path:
    """Where a file that several processes write lies until it is complete; a name of its own where none is locked out.

    Args:
        path: The file.
        locked: Whether its folder is, by `locked_folder`.
    """
    partial = partial_of(path)
    return partial if locked else partial.with_name(f"{partial.name}.{os.getpid()}-{secrets.token_hex(4)}")


def move_into_place(temporary: Path, path: Path) -> None:
    """Renames a file that is on the disk to its final name, and lets the new name reach the disk too.

    Args:
        temporary: The file.
        path: Its final name, on the same disk; a file of that name is replaced, or what a symbolic link leads to.
    """
    path = target_of(path)
    os.replace(temporary, path)
    # Windows opens no folders, and some file systems cannot do it
    if hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def remove_file(path: Path) -> None:
    """Removes a file from `write_atomically`, if it is there, and what a killed process left of another."""
    target_of(path).unlink(missing_ok=True)
    partial_of(path).unlink(missing_ok=True)
