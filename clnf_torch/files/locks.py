"""Locks of files and folders that several processes write; they end with the process, however it ends."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# Windows has no such locks
if sys.platform != "win32":
    import fcntl

# Seconds for which a process waits until others have written what they share
PATIENCE = 10.0
# Seconds in which a process that only looks at a file lets it go again
MOMENT = 0.2


def require_lock(opened: int, path: Path, until: float) -> None:
    """Locks what is open, where locks are known, as soon as it is free; refuses what is not before a time."""
    if sys.platform == "win32":
        return
    try:
        _lock(opened, until)
    except BlockingIOError:
        problem = "another process is writing this file; wait until it has finished, or give another name"
        raise OSError(errno.EBUSY, problem, os.fspath(path)) from None


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keeps other processes from a file or folder until the block or the process ends, also if it is renamed.

    Args:
        path: What is there.

    Raises:
        OSError: It is missing, or another process holds it.
    """
    if sys.platform == "win32":
        yield
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        require_lock(opened, path, time.monotonic() + MOMENT)
        yield
    finally:
        os.close(opened)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[bool]:
    """Lets one process at a time read, change and replace files of a folder that several processes share.

    The folder itself is locked, so that no other file appears, and nothing stays locked when a process is killed.

    Args:
        folder: The folder, which exists.

    Yields:
        Whether it is locked; not on Windows, on network disks that cannot do it, or behind a process that is stopped.
    """
    if sys.platform == "win32":
        yield False
        return
    opened, until, locked = os.open(folder, os.O_RDONLY), time.monotonic() + PATIENCE, False
    try:
        with contextlib.suppress(BlockingIOError):
            locked = _lock(opened, until)
        yield locked
    finally:
        os.close(opened)


def _lock(opened: int, until: float) -> bool:
    """Locks what is open as soon as it is free; False where the disk knows no locks, as some in networks.

    Raises:
        BlockingIOError: Another process holds it at a time of `time.monotonic`.
    """
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.01)
        except OSError:
            return False
