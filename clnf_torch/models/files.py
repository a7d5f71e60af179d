"""Files: regular ones alone are read, new ones appear under their names once they are complete; names and messages."""

import codecs
import contextlib
import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

# Windows has no such locks
if sys.platform != "win32":
    import fcntl

# What a file is called until it is complete
PARTIAL, NEW = ".partial", "new"
# Seconds for which a process waits until others have written what they share
PATIENCE = 10.0
# Seconds in which a process that only looks at a file lets it go again
MOMENT = 0.2
# What a path may name instead of a file, and whose opening waits, never ends, or does something
_OTHER_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
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


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file in any of the encodings that programs write tables and settings in.

    A byte order mark decides; without one it is UTF-8, or UTF-16 where every other byte of the beginning is 0, or else
    Windows' Latin alphabet. No file is refused: what is no text has strange characters.

    Args:
        path: The file.

    Returns:
        Its text, without the mark; line ends as they are.

    Raises:
        OSError: It is no file, or cannot be read.
    """
    require_regular_file(path)
    with open(path, "rb") as file:
        content = file.read()
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    beginning = content[:256]
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(beginning) > 3 and not any(beginning[start::2]) and all(beginning[1 - start :: 2]):
            return content.decode(encoding, "replace")
    with contextlib.suppress(UnicodeDecodeError):
        return content.decode("utf-8")
    # Five bytes that cp1252 has no letters for are control characters in Latin-1
    with contextlib.suppress(UnicodeDecodeError):
        return content.decode("cp1252")
    return content.decode("latin-1")


def partial_of(path: str | os.PathLike[str]) -> Path:
    """Where a file lies until it is complete: ``NAME.partial``."""
    path = Path(path)
    return path.with_name(path.name + PARTIAL)


def new_partial_of(path: str | os.PathLike[str]) -> Path:
    """Where what takes the place of a file lies for a moment, while ``NAME.partial`` is what it is made of."""
    partial = partial_of(path)
    # Programs that read all of a folder leave out what begins so
    return partial / f"_{NEW}" if partial.is_dir() else partial.with_name(f"{partial.name}.{NEW}")


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike[str], temporary: Path | None = None) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends; a file of that name is replaced then, and not before.

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
    # Holds the lock until the file has its name, also where a writer closes it
    lock = os.dup(opened)
    try:
        with open(opened, "w+b") as file:
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
        os.close(lock)


def _opened_alone(temporary: Path) -> int:
    """An empty file that no other process writes, as a descriptor with a lock that ends with it."""
    until = time.monotonic() + PATIENCE
    while True:
        opened = os.open(temporary, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _require_lock(opened, temporary, until)
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


def _require_lock(opened: int, path: Path, until: float) -> None:
    """Locks what is open, where locks are known, as soon as it is free; refuses what is not before a time."""
    if sys.platform == "win32" or _lock(opened, until):
        return
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        problem = "another process is writing this file; wait until it has finished, or give another name"
        raise OSError(errno.EBUSY, problem, os.fspath(path)) from None
    except OSError:
        # A network disk without locks
        return


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
        _require_lock(opened, path, time.monotonic() + MOMENT)
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
    opened, until = os.open(folder, os.O_RDONLY), time.monotonic() + PATIENCE
    try:
        yield _lock(opened, until)
    finally:
        os.close(opened)


def _lock(opened: int, until: float) -> bool:
    """Locks an open folder as soon as it is free; whether it could be done before a time of `time.monotonic`."""
    while time.monotonic() < until:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:
            return False
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
        path: Its final name, on the same disk; a file of that name is replaced.
    """
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
    path.unlink(missing_ok=True)
    partial_of(path).unlink(missing_ok=True)


# Characters of a message about a file
LONGEST_MESSAGE = 300
# What breaks lines, drives terminals, or is no letter in UTF-8
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LIKE_A_BYTE = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def one_line(text: str) -> str:
    """A message as one short line: nothing in it breaks the line or the terminal, and long ones are cut.

    See `printable` for what cannot be shown.
    """
    text = printable(text)
    if len(text) <= LONGEST_MESSAGE:
        return text
    end = LONGEST_MESSAGE // 3
    return f"{text[: LONGEST_MESSAGE - end - 5]} ... {text[-end:]}"


def printable(text: str) -> str:
    r"""Text on one line that any terminal can show; what it cannot show is written as its bytes in UTF-8, ``\xHH``."""
    return text if text.isprintable() else "".join(one if one.isprintable() else _escaped(one) for one in text)


def escaped_name(name: str) -> str:
    r"""A file's name for a table, on one line and in UTF-8, that can be read back: ``\xHH`` stands for a byte of it.

    So are control characters, ends of lines, bytes that are not UTF-8, and backslashes that stand before ``xHH``.
    """
    return _CONTROL.sub(lambda found: _escaped(found[0]), _LIKE_A_BYTE.sub(r"\\x5c", name))


def name_from_escaped(written: str) -> str:
    """The file's name of which `escaped_name` made a text."""
    content = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode("ascii")), written.encode("utf-8"))
    return os.fsdecode(content)


def escaped_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same record with `escaped_name` of its texts."""
    return {key: escaped_name(value) if isinstance(value, str) else value for key, value in record.items()}


def _escaped(character: str) -> str:
    """The bytes of a character; of one that stands for a byte which is not UTF-8, that byte."""
    try:
        found = character.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        found = character.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in found)


def lookalike(path: Path) -> Path | None:
    """The file or folder beside a missing one, or a folder deeper, whose name differs as downloads and copies make it.

    Such names have other letter cases, a browser's ``(1)``, or the ``?dl=1`` of a link; and what an archive was
    unpacked to may lie one folder deeper than expected, in a folder of the same name.
    """
    for folder in (path.parent, path.parent / path.parent.name):
        try:
            names = sorted(entry.name for entry in os.scandir(folder))
        except (OSError, ValueError):
            continue
        for name in names:
            if (folder != path.parent or name != path.name) and _plain_name(name) == _plain_name(path.name):
                return folder / name
    return None


def _plain_name(name: str) -> str:
    """A name without what downloads and copies add to it."""
    name = re.sub(r"[?%&].*$|\.(download|part|crdownload)$", "", name.casefold())
    return re.sub(r"[ _-]*(\(\d+\)|copy)(?=\.|$)", "", name)
