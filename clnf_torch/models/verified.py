"""Remembers which large files agreed with their checksums, so that reading all of a file costs once.

A file is known by its place, size, inode, and the times of its last changes. That of its inode cannot be set by hand,
so that no edit goes unnoticed; what a disk does to a file by itself does, until somebody asks for ``verify=True``.
"""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from clnf_torch.compilation.cache import user_cache
from clnf_torch.files.writing import write_atomically

# Bytes; smaller files are read every time: 18 MB in 7 ms
SMALL = 64 << 20
# Seconds after a change in which another one might have the same time
UNSETTLED = 2.0
# Of what is looked at; files that were looked at otherwise are not known
LAYOUT = 1


def stamp_of(path: Path) -> str:
    """What changes with a file.

    Raises:
        OSError: There is no such file.
    """
    status = path.stat()
    times = [status.st_mtime_ns, status.st_ctime_ns]
    return json.dumps([LAYOUT, os.path.realpath(path), status.st_size, status.st_dev, status.st_ino, *times])


def is_known(path: Path, stamp: str) -> bool:
    """Whether a large file was verified and has not changed since."""
    # RuntimeError: the user has no home
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        return path.stat().st_size >= SMALL and _note(path).read_text(encoding="utf-8") == stamp
    return False


def remember(path: Path, stamp: str) -> None:
    """Takes note that a large file was verified; nothing happens where notes cannot be written.

    Args:
        path: The file.
        stamp: Its `stamp_of` before it was read; it must still have it.
    """
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        status = path.stat()
        settled = time.time() - max(status.st_mtime, status.st_ctime) > UNSETTLED
        if status.st_size >= SMALL and settled and stamp == stamp_of(path):
            note = _note(path)
            note.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(note) as file:
                file.write(stamp.encode())


def _note(path: Path) -> Path:
    """The file of a file's note."""
    place = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    return user_cache() / "clnf_torch" / "verified" / place
