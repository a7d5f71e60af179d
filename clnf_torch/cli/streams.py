"""The program's own stdin, stdout and stderr, whatever the caller has made of them."""

import io
import os
import sys
from typing import Any

import typer

STDIN, OUT, ERR = 0, 1, 2


class _NamedStdout(io.FileIO):
    """stdout whose error says so, once: the system names no file, and Python tries again when it ends."""

    _failed = False

    def write(self, piece: Any, /) -> int:
        """Writes bytes; drops those behind an error."""
        if self._failed:
            return len(piece)
        try:
            return super().write(piece)
        except OSError as error:
            self._failed, error.filename = True, "stdout"
            raise


class _LastingStderr(io.FileIO):
    """stderr that ends no run of hours where its terminal is gone, or the disk of its log is full."""

    def write(self, piece: Any, /) -> int:
        """Writes bytes, or drops them."""
        try:
            return super().write(piece)
        except OSError:
            return len(piece)


def open_streams() -> None:
    """Makes stderr take everything and stdout name itself in errors; closed streams lead nowhere.

    A file that is opened gets the lowest free number: it would be stderr where that is closed, and hold what libraries
    print. Python's own ``sys.stdout`` stays None where the caller closed it, see `require_stdout`.
    """
    for number in (STDIN, OUT, ERR):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stderr = _text(_LastingStderr(ERR, "w", closefd=False), sys.stderr, line_buffering=True)
    if sys.stdout is not None:
        sys.stdout = _text(
            _NamedStdout(OUT, "w", closefd=False), sys.stdout, line_buffering=bool(sys.stdout.line_buffering)
        )


def _text(raw: io.FileIO, before: Any, *, line_buffering: bool) -> io.TextIOWrapper:
    """A stream of text in the encoding of the one before; what that has no letters for is shown as its number."""
    encoding = getattr(before, "encoding", None) or "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=line_buffering)


def require_stdout(remedy: str) -> None:
    """Refuses to print results where the caller has closed stdout.

    Args:
        remedy: What to do instead, such as "give --out a file".

    Raises:
        typer.BadParameter: It is closed.
    """
    # Python has none then
    if sys.stdout is None:
        raise typer.BadParameter(f"stdout, where results would go, is closed; {remedy}")
